package identity

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/sync/singleflight"

	"gatehouse/account"
)

const googleIssuer, googleTokenInfo = "https://accounts.google.com", "https://oauth2.googleapis.com/tokeninfo" //nolint:gosec // an address

// openID is a vendor that publishes where its endpoints are. It is asked for them on first use, and once.
type openID struct {
	issuer, clientID, scope string
	// secret and redirect are those of code exchanges.
	secret, redirect string
	// more are parameters of the sign-in page that only this vendor wants.
	more []string
	// tokenInfo tells for whom a token was made, where the vendor has that.
	tokenInfo string
	client    *http.Client
	clock     account.Clock

	flight singleflight.Group
	mutex  sync.RWMutex
	known  *endpoints
}

type endpoints struct {
	authorize, userInfo, token string
	// keys are fetched when a token names one that is not known.
	keys *publishedKeys
}

func openGoogle(s Settings, clock account.Clock) Provider {
	p := &openID{
		issuer: trimSlash(s.GoogleIssuer), clientID: s.GoogleClientID, scope: "openid email profile", client: newClient(), clock: clock,
		secret: s.GoogleClientSecret, redirect: s.GoogleRedirectURL,
	}
	if p.issuer == googleIssuer {
		p.tokenInfo = googleTokenInfo
	}
	return p
}

func openApple(s Settings, clock account.Clock) Provider {
	return &openID{
		issuer: trimSlash(s.AppleIssuer), clientID: s.AppleClientID, scope: "name email",
		more: []string{"response_mode", "form_post"}, client: newClient(), clock: clock,
	}
}

// discover returns the vendor's endpoints. Requests that come at once ask once; a failure is forgotten.
func (p *openID) discover(ctx context.Context) (endpoints, error) {
	p.mutex.RLock()
	known := p.known
	p.mutex.RUnlock()
	if known != nil {
		return *known, nil
	}
	found, err, _ := p.flight.Do("", func() (any, error) {
		// Others wait for the answer, too: it must not end with the first one's request.
		e, err := p.ask(context.WithoutCancel(ctx))
		if err == nil {
			p.mutex.Lock()
			p.known = &e
			p.mutex.Unlock()
		}
		return e, err
	})
	e, _ := found.(endpoints)
	return e, err
}

func (p *openID) ask(ctx context.Context) (endpoints, error) {
	ctx = oidc.ClientContext(ctx, p.client)
	provider, err := oidc.NewProvider(ctx, p.issuer)
	if err != nil {
		return endpoints{}, account.ErrUnavailable.Because(errors.New("identity: the issuer cannot be discovered"))
	}
	var more struct {
		Keys string `json:"jwks_uri"`
	}
	if err := provider.Claims(&more); err != nil {
		return endpoints{}, account.ErrUnavailable.Because(errors.New("identity: the issuer's description cannot be read"))
	}
	e := endpoints{
		authorize: provider.Endpoint().AuthURL, token: provider.Endpoint().TokenURL, userInfo: provider.UserInfoEndpoint(),
		keys: &publishedKeys{address: more.Keys, client: p.client, clock: p.clock},
	}
	for _, address := range []string{e.authorize, e.token, e.userInfo, more.Keys} {
		if address != "" && !p.safe(address) {
			return endpoints{}, account.ErrUnavailable.Because(errors.New("identity: the issuer names an endpoint without TLS"))
		}
	}
	return e, nil
}

// safe keeps a real issuer from naming endpoints without TLS.
func (p *openID) safe(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http" && !strings.HasPrefix(p.issuer, "https:"))
}

func (p *openID) Owner(ctx context.Context, accessToken string) (Identity, error) {
	e, err := p.discover(ctx)
	if err != nil {
		return Identity{}, err
	}
	if e.userInfo == "" {
		return Identity{}, account.ErrInvalidProviderToken.Because(errors.New("identity: the issuer tells nobody's name"))
	}
	if err := p.ours(ctx, accessToken); err != nil {
		return Identity{}, err
	}
	var u claims
	if err := get(ctx, p.client, e.userInfo, accessToken, &u); err != nil {
		return Identity{}, err
	}
	return u.identity()
}

// claims are what the vendors tell of somebody, at their endpoint and in ID tokens.
type claims struct {
	Subject       string       `json:"sub"`
	Email         string       `json:"email"`
	EmailVerified flexibleBool `json:"email_verified"`
	Name          string       `json:"name"`
	Picture       string       `json:"picture"`
}

func (c claims) identity() (Identity, error) {
	if c.Subject == "" {
		return Identity{}, account.ErrInvalidProviderToken.Because(errors.New("identity: the provider named nobody"))
	}
	return Identity{Subject: c.Subject, Email: c.Email, EmailVerified: bool(c.EmailVerified), Name: c.Name, AvatarURL: c.Picture}, nil
}

func (p *openID) Verify(ctx context.Context, idToken string) (Assertion, error) {
	e, err := p.discover(ctx)
	if err != nil {
		return Assertion{}, err
	}
	keys := &watchedKeys{keys: e.keys}
	token, err := oidc.NewVerifier(p.issuer, keys, &oidc.Config{ClientID: p.clientID, Now: p.clock.Now}).Verify(ctx, idToken)
	switch {
	case keys.failed:
		return Assertion{}, account.ErrUnavailable.Because(errKeysAway)
	case err != nil:
		// Its text quotes the token.
		return Assertion{}, account.ErrInvalidProviderToken.Because(errors.New("identity: the ID token is not valid here"))
	}
	var said claims
	var content json.RawMessage
	if err := errors.Join(token.Claims(&said), token.Claims(&content)); err != nil {
		return Assertion{}, account.ErrInvalidProviderToken.Because(errors.New("identity: the ID token cannot be read"))
	}
	who, err := said.identity()
	return Assertion{Identity: who, IssuedAt: token.IssuedAt, Content: string(content)}, err
}

// watchedKeys tells keys that cannot be had from a signature that is wrong: the verifier does not.
type watchedKeys struct {
	keys   oidc.KeySet
	failed bool
}

func (w *watchedKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := w.keys.VerifySignature(ctx, token)
	w.failed = errors.Is(err, errKeysAway)
	return payload, err
}

// ours refuses tokens that the vendor made for somebody else's application, where it tells.
func (p *openID) ours(ctx context.Context, accessToken string) error {
	if p.tokenInfo == "" {
		return nil
	}
	var info struct {
		Audience string `json:"aud"`
	}
	form := strings.NewReader(url.Values{"access_token": {accessToken}}.Encode())
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.tokenInfo, form)
	if err != nil {
		return unreachable(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := ask(p.client, request, &info); err != nil {
		return err
	}
	if info.Audience != p.clientID {
		return account.ErrInvalidProviderToken.Because(errors.New("identity: the token was made for another application"))
	}
	return nil
}

func (p *openID) AuthorizeURL(ctx context.Context, redirect, state string) (string, error) {
	e, err := p.discover(ctx)
	if err != nil {
		return "", err
	}
	return authorizeURL(e.authorize, p.clientID, redirect, p.scope, state, p.more...)
}

// flexibleBool is true only for true and "true": some vendors write it as a string.
type flexibleBool bool

// UnmarshalJSON reads either form, and takes everything else for false.
func (b *flexibleBool) UnmarshalJSON(raw []byte) error {
	*b = string(raw) == "true" || string(raw) == `"true"`
	return nil
}
