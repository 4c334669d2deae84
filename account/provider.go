package account

import "time"

// Provider is an outside identity provider, as it is stored (contract X10).
type Provider string

// The providers.
const (
	ProviderGoogle Provider = "google"
	ProviderGitHub Provider = "github"
	ProviderApple  Provider = "apple"
)

// ParseProvider returns the provider of that exact name, and false for any other.
func ParseProvider(s string) (Provider, bool) {
	switch p := Provider(s); p {
	case ProviderGoogle, ProviderGitHub, ProviderApple:
		return p, true
	default:
		return "", false
	}
}

// LinkedProvider is an outside account by which its owner signs in. Subject is the provider's own id of it: it belongs to one
// account at most, and no secret of the provider is kept.
type LinkedProvider struct {
	Provider    Provider
	Subject     string
	Type        string
	Email       *string
	DisplayName *string
	AvatarURL   *string
	Scope       *string
	// TokenExpiresAt is when the access token that proved the link ends, where the client said so.
	TokenExpiresAt *time.Time
	CreatedAt      time.Time
}
