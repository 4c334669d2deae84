package ops

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	// codecUser is the name that belongs to the password.
	codecUser = "codec"
	// discoveryTimeout bounds a first look at the OpenID provider.
	discoveryTimeout = 3 * time.Second
)

// CallerOptions say who may use what only operators may.
type CallerOptions struct {
	// Password is shown by HTTP basic authentication as user "codec". Empty means that none is taken.
	Password string
	// Issuer and Audience are those of the access tokens that are taken as Bearer. Empty means that none are.
	Issuer, Audience string
	// Anybody lets everybody in when there is neither a password nor an issuer. Otherwise nobody is.
	Anybody bool
	// Log hears why the provider cannot be asked. Nil means nobody does.
	Log *slog.Logger
}

// Callers tells operators from others. It is safe for concurrent use.
type Callers struct {
	options  CallerOptions
	mu       sync.Mutex
	verifier *oidc.IDTokenVerifier
}

// NewCallers asks nobody: the provider is looked at when the first token is shown.
func NewCallers(o CallerOptions) *Callers {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Callers{options: o}
}

// Caller returns who sends a request: "codec" for the password, the subject of a token, "anybody" where that is enough.
func (c *Callers) Caller(r *http.Request) (who string, ok bool) {
	if c.options.Password == "" && c.options.Issuer == "" {
		return "anybody", c.options.Anybody
	}
	if user, password, basic := r.BasicAuth(); basic && c.options.Password != "" {
		// Hashed first, so that not even the length of the password shows in the time.
		got, want := sha256.Sum256([]byte(user+":"+password)), sha256.Sum256([]byte(codecUser+":"+c.options.Password))
		return codecUser, subtle.ConstantTimeCompare(got[:], want[:]) == 1
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") || c.options.Issuer == "" {
		return "", false
	}
	verifier, err := c.provider(r.Context())
	if err != nil {
		c.options.Log.LogAttrs(r.Context(), slog.LevelError, "the OpenID provider of operators cannot be asked",
			slog.String("issuer", c.options.Issuer), slog.String("cause", err.Error()))
		return "", false
	}
	verified, err := verifier.Verify(r.Context(), token)
	if err != nil || verified.Subject == "" {
		return "", false
	}
	return verified.Subject, true
}

// Challenge says how to authenticate.
func (c *Callers) Challenge() string {
	if c.options.Password != "" {
		return `Basic realm="codec", charset="UTF-8"`
	}
	return `Bearer realm="codec"`
}

// provider is found once; until it is, every token tries again.
func (c *Callers) provider(ctx context.Context) (*oidc.IDTokenVerifier, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.verifier != nil {
		return c.verifier, nil
	}
	// The provider's keys are fetched with this context for as long as the process lives, so no request's will do.
	client := oidc.ClientContext(context.WithoutCancel(ctx), &http.Client{Timeout: discoveryTimeout})
	found, err := oidc.NewProvider(client, c.options.Issuer)
	if err != nil {
		return nil, err
	}
	c.verifier = found.Verifier(&oidc.Config{ClientID: c.options.Audience})
	return c.verifier, nil
}
