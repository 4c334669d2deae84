package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/providers/identity"
)

// LinkByTokenInput links an outside account by a token that the provider's SDK gave to the client (D26).
type LinkByTokenInput struct {
	// Provider is GOOGLE or APPLE.
	Provider string
	// IDToken is an ID token. The document's own sample is an access token, which the provider is asked about.
	IDToken string
}

// documentProvider returns the provider that document D calls by name.
func documentProvider(name string) (account.Provider, bool) {
	switch name {
	case "GOOGLE":
		return account.ProviderGoogle, true
	case "APPLE":
		return account.ProviderApple, true
	default:
		return "", false
	}
}

func (in LinkByTokenInput) validate() (account.Provider, error) {
	invalid := account.ErrInvalid
	provider, known := documentProvider(in.Provider)
	if !known {
		invalid = invalid.On("provider", "must be GOOGLE or APPLE")
	}
	fault := blankFault(in.IDToken)
	if fault == "" && (len(in.IDToken) > maxProviderToken || !printable(in.IDToken) || strings.ContainsRune(in.IDToken, ' ')) {
		fault = "is no token"
	}
	if fault != "" {
		invalid = invalid.On("id_token", fault)
	}
	return provider, faults(invalid)
}

// LinkByToken lets an outside account open the caller's account: the one that a fresh ID token of the provider names, or that
// the provider names when it is asked about an access token (D26, security.md OAU-01). An ID token links once. The owner is
// told by mail. Errors are those of ConnectProvider.
func (c *Core) LinkByToken(ctx context.Context, by account.Caller, in LinkByTokenInput) (account.LinkedProvider, error) {
	if out, done, err := made[account.LinkedProvider](by); done {
		return out, err
	}
	name, err := in.validate()
	if err != nil {
		return account.LinkedProvider{}, err
	}
	if err := c.mayBind(by); err != nil {
		return account.LinkedProvider{}, err
	}
	provider, err := c.Identity.Of(name)
	if err != nil {
		return account.LinkedProvider{}, err
	}
	who, err := c.named(ctx, provider, in.IDToken)
	if err != nil {
		return account.LinkedProvider{}, err
	}
	return c.bindProvider(ctx, by, account.LinkedProvider{Provider: name}, who)
}

// idTokenAge is how old an ID token may be. Clocks differ a little, to both sides.
const idTokenAge, idTokenSkew = 10 * time.Minute, time.Minute

// named returns whom a token of a provider names. An ID token names somebody once (security.md OAU-03).
func (c *Core) named(ctx context.Context, provider identity.Provider, token string) (identity.Identity, error) {
	if !identity.IsIDToken(token) {
		return provider.Owner(ctx, token)
	}
	said, err := provider.Verify(ctx, token)
	if err != nil {
		return identity.Identity{}, err
	}
	age := c.Clock.Now().Sub(said.IssuedAt)
	if age > idTokenAge+idTokenSkew || age < -idTokenSkew {
		return identity.Identity{}, account.ErrInvalidProviderToken.Because(errors.New("the ID token is not fresh"))
	}
	once := []account.Quota{{Max: 1, Per: idTokenAge + 3*idTokenSkew}}
	err = c.Store.TakeQuota(ctx, c.Keys.Subject("id-token", said.Content), once)
	if errors.Is(err, account.ErrTooManyRequests) {
		err = account.ErrInvalidProviderToken.Because(err)
	}
	return said.Identity, err
}

// UnlinkByNameInput names the provider whose link is to go, as document D calls it, in any case (D27).
type UnlinkByNameInput struct {
	Provider string
}

// Unlinked names the provider whose link is gone.
type Unlinked struct {
	Provider account.Provider
}

// UnlinkByName is DisconnectProvider for the two providers of document D (D27).
func (c *Core) UnlinkByName(ctx context.Context, by account.Caller, in UnlinkByNameInput) (Unlinked, error) {
	provider, known := documentProvider(strings.ToUpper(in.Provider))
	if !known {
		return Unlinked{}, account.ErrInvalid.On("provider", "must be GOOGLE or APPLE")
	}
	_, err := c.DisconnectProvider(ctx, by, DisconnectProviderInput{Provider: string(provider)})
	return Unlinked{Provider: provider}, err
}
