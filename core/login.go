package core

// LoginInput signs in by password (C14, B01).
type LoginInput struct {
	// Identifier is an email or, where the document allows it, a username.
	Identifier string
	Password   string
	// WithRefresh asks for a short access token and a refresh token beside it (B01).
	WithRefresh bool
}
