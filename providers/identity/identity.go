// Package identity asks outside identity providers who somebody is. The vendors are the lines of the table in this file,
// each with a file of its own. Nothing is asked before it is needed, and what one vendor does hurts no other.
package identity

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"

	"gatehouse/account"
)

// Settings are those of config.Identity, field by field, so that one converts into the other.
type Settings struct {
	GoogleIssuer       string
	GoogleClientID     string
	GoogleClientSecret string
	// GoogleRedirectURL is the one that codes of Google are asked for with; no request can name another.
	GoogleRedirectURL  string
	AppleIssuer        string
	AppleClientID      string
	GitHubAPIURL       string
	GitHubClientID     string
	GitHubClientSecret string
}

// Identity is who a provider says that somebody is. Subject is the provider's own id, and the only part that identifies.
type Identity struct {
	Subject string
	Email   string
	// EmailVerified is set when the provider says that it has seen proof of the address.
	EmailVerified bool
	Name          string
	AvatarURL     string
}

// Assertion is what an ID token says.
type Assertion struct {
	Identity
	IssuedAt time.Time
	// Content is the whole of it, whatever the token's spelling: the same content twice is a replay.
	Content string
}

// Provider is one vendor. All calls are bounded: 2 seconds and 64 kB for each request, and no redirects.
type Provider interface {
	// Owner asks the vendor whose access token it is. It returns account.ErrInvalidProviderToken when the vendor does not
	// accept the token, and account.ErrUnavailable when it gives no answer.
	Owner(ctx context.Context, accessToken string) (Identity, error)
	// Verify reads an ID token that the vendor has signed for this application and that has not expired. It returns
	// account.ErrInvalidProviderToken for any other, and account.ErrUnavailable when the vendor's keys cannot be had.
	Verify(ctx context.Context, idToken string) (Assertion, error)
	// AuthorizeURL is where somebody goes to sign in and come back to redirect with state. It returns
	// account.ErrUnavailable when that cannot be learnt.
	AuthorizeURL(ctx context.Context, redirect, state string) (string, error)
}

// CodeProvider is a vendor at which people sign in, and come back with an authorization code (B09).
type CodeProvider interface {
	// Exchange trades a code for what the vendor says of its owner. It returns account.ErrInvalidProviderToken for a code that
	// is unknown, used or expired, or that was asked for with another code verifier (RFC 7636; empty for none), and
	// account.ErrUnavailable when the vendor gives no answer, or does not know this application.
	Exchange(ctx context.Context, code, verifier string) (Assertion, error)
	// SignInURL is the vendor's page for state and the challenge of a code verifier. It returns
	// account.ErrProviderNotConfigured where codes come to no page of ours, and account.ErrUnavailable.
	SignInURL(ctx context.Context, state, challenge string) (string, error)
}

var vendors = []struct {
	name       account.Provider
	configured func(Settings) bool
	open       func(Settings, account.Clock) Provider
}{
	{account.ProviderGoogle, func(s Settings) bool { return s.GoogleClientID != "" }, openGoogle},
	{account.ProviderApple, func(s Settings) bool { return s.AppleClientID != "" }, openApple},
	{account.ProviderGitHub, func(s Settings) bool { return s.GitHubClientID != "" }, openGitHub},
}

// Providers are the vendors that are set up. They are safe for concurrent use.
type Providers struct {
	open map[account.Provider]Provider
}

// New prepares the vendors whose client id is set, and connects to none.
func New(s Settings) *Providers { return NewAt(s, account.SystemClock{}) }

// NewAt is New with another clock, by which tokens expire and keys grow old.
func NewAt(s Settings, clock account.Clock) *Providers {
	p := &Providers{open: make(map[account.Provider]Provider, len(vendors))}
	for _, v := range vendors {
		if v.configured(s) {
			p.open[v.name] = v.open(s, clock)
		}
	}
	return p
}

// Of returns a vendor, or account.ErrProviderNotConfigured.
func (p *Providers) Of(name account.Provider) (Provider, error) {
	if v, ok := p.open[name]; ok {
		return v, nil
	}
	return nil, account.ErrProviderNotConfigured
}

// Google returns the vendor Google, or account.ErrProviderNotConfigured.
func (p *Providers) Google() (CodeProvider, error) {
	if v, ok := p.open[account.ProviderGoogle].(*openID); ok {
		return v, nil
	}
	return nil, account.ErrProviderNotConfigured
}

// authorizeURL adds what every vendor takes to its page.
func authorizeURL(page, clientID, redirect, scope, state string, more ...string) (string, error) {
	u, err := url.Parse(page)
	if err != nil || u.Host == "" {
		return "", account.ErrUnavailable.Because(errors.New("identity: the provider's sign-in page is no address"))
	}
	q := u.Query()
	q.Set("client_id", clientID)
	q.Set("redirect_uri", redirect)
	q.Set("response_type", "code")
	q.Set("scope", scope)
	q.Set("state", state)
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}

// IsIDToken reports whether a token has the form of an ID token, which nobody needs to be asked about.
func IsIDToken(token string) bool { return strings.Count(token, ".") == 2 }

func trimSlash(s string) string { return strings.TrimSuffix(s, "/") }
