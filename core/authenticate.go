package core

// Credential is what a request showed. The dialect decides what it accepts (contract X05).
type Credential struct {
	// Bearer is the Authorization header's Bearer value.
	Bearer string
	// APIKey is the X-API-Key header's value.
	APIKey string
	// AllowKeys accepts API keys, as Bearer or X-API-Key (documents A and C).
	AllowKeys bool
}
