package core

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/identity"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// LinkedAccounts is how an account can be opened (C09).
type LinkedAccounts struct {
	Linked        []account.LinkedProvider
	PrimaryMethod string
	HasPassword   bool
}

// LinkedAccounts returns the outside accounts that open the caller's account (A07, C09).
func (c *Core) LinkedAccounts(ctx context.Context, by account.Caller, _ None) (LinkedAccounts, error) {
	if by.Principal == nil {
		return LinkedAccounts{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	linked, err := c.Store.LinkedProviders(ctx, a.ID)
	return LinkedAccounts{Linked: linked, PrimaryMethod: a.PrimaryProvider, HasPassword: a.HasPassword}, err
}

// ConnectProviderInput links an outside account of which the client holds an access token (A06). Tokens are not kept.
type ConnectProviderInput struct {
	Provider    string
	Subject     string
	Type        string
	AccessToken string
	// ExpiresAt is when the token ends, in seconds since 1970.
	ExpiresAt *int64
	Scope     *string
}

const (
	maxSubject       = 255
	maxProviderText  = 500
	maxProviderToken = 8 << 10
	// lastSecond is the end of the year 9999, the last that RFC 3339 can say.
	lastSecond = 253402300799
)

func subjectFault(subject string) string {
	switch {
	case strings.TrimSpace(subject) == "":
		return "is required"
	case len(subject) > maxSubject:
		return "must be at most 255 bytes"
	case !printable(subject):
		return "must not contain control characters"
	}
	return ""
}

func optionalTextFault(text *string) string {
	switch {
	case text == nil:
		return ""
	case utf8.RuneCountInString(*text) > maxProviderText:
		return "must be at most 500 characters"
	case !printable(*text):
		return "must not contain control characters"
	}
	return ""
}

func (in ConnectProviderInput) validate() (account.Provider, error) {
	invalid := account.ErrInvalid
	provider, known := account.ParseProvider(in.Provider)
	switch {
	case in.Provider == "":
		invalid = invalid.On("provider", "is required")
	case !known || provider == account.ProviderApple: // document A knows these two
		invalid = invalid.On("provider", "must be google or github")
	}
	if fault := subjectFault(in.Subject); fault != "" {
		invalid = invalid.On("provider_account_id", fault)
	}
	if in.Type != "" && in.Type != "oauth" {
		invalid = invalid.On("type", "must be oauth")
	}
	switch {
	case in.AccessToken == "":
		invalid = invalid.On("access_token", "is required: the provider is asked whose account it is")
	case len(in.AccessToken) > maxProviderToken || !printable(in.AccessToken) || strings.ContainsRune(in.AccessToken, ' '):
		invalid = invalid.On("access_token", "is no access token")
	}
	if in.ExpiresAt != nil && (*in.ExpiresAt < 0 || *in.ExpiresAt > lastSecond) {
		invalid = invalid.On("expires_at", "must be seconds since 1970")
	}
	if fault := optionalTextFault(in.Scope); fault != "" {
		invalid = invalid.On("scope", fault)
	}
	return provider, faults(invalid)
}

// ConnectProvider lets an outside account open the caller's account, once the provider has said that the access token is of
// that outside account (A06, security.md OAU-05). The owner is told by mail.
// It returns account.ErrReauthenticationRequired, account.ErrEmailNotVerified, account.ErrProviderNotConfigured,
// account.ErrInvalidProviderToken, account.ErrProviderConnected, account.ErrEmailConflict when the provider vouches for an
// address that is somebody else's here, and account.ErrUnavailable when the provider gives no answer.
func (c *Core) ConnectProvider(ctx context.Context, by account.Caller, in ConnectProviderInput) (account.LinkedProvider, error) {
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
	who, err := provider.Owner(ctx, in.AccessToken)
	if err != nil {
		return account.LinkedProvider{}, err
	}
	if who.Subject != in.Subject {
		return account.LinkedProvider{}, account.ErrInvalidProviderToken.Because(errors.New("the token is of another account"))
	}
	link := account.LinkedProvider{Provider: name, Scope: in.Scope}
	if in.ExpiresAt != nil {
		expires := time.Unix(*in.ExpiresAt, 0).UTC()
		link.TokenExpiresAt = &expires
	}
	return c.bindProvider(ctx, by, link, who)
}

// bindProvider links who the provider of link has named, and tells the owner by mail.
func (c *Core) bindProvider(
	ctx context.Context, by account.Caller, link account.LinkedProvider, who identity.Identity,
) (account.LinkedProvider, error) {
	if err := c.noConflict(ctx, by, who); err != nil {
		return account.LinkedProvider{}, err
	}
	link.Subject, link.Type, link.Email = who.Subject, "oauth", shown(account.NormalizeEmail(who.Email))
	link.DisplayName, link.AvatarURL = shown(who.Name), picture(&who.AvatarURL)
	id := by.Principal.Account.ID
	linked, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (account.LinkedProvider, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return account.LinkedProvider{}, nil, err
		}
		linked, err := tx.LinkProvider(ctx, id, link)
		return linked, told{c.notice(id, templates.ProviderLinked, uuid.NewString())}, err
	})
	return linked, unauthorized(err)
}

// mayBind guards what lets something new open the account.
func (c *Core) mayBind(by account.Caller) error {
	if err := c.requireFresh(by); err != nil {
		return err
	}
	return c.requireVerified(by)
}

// noConflict refuses an outside account whose proven address belongs to another account here. Its holder may know that:
// they have proven the address.
func (c *Core) noConflict(ctx context.Context, by account.Caller, who identity.Identity) error {
	if !who.EmailVerified || who.Email == "" {
		return nil
	}
	owner, err := c.Store.OwnerOf(ctx, account.NormalizeEmail(who.Email))
	switch {
	case errors.Is(err, account.ErrNotFound):
		return nil
	case err == nil && owner.Verified && owner.AccountID != by.Principal.Account.ID:
		return account.ErrEmailConflict
	}
	return err
}

// shown makes what a provider says fit to be kept and shown, or drops it.
func shown(s string) *string {
	s = text(strings.TrimSpace(s), maxProviderText)
	if s == "" {
		return nil
	}
	return &s
}

// picture is shown for the address of a picture: whatever is no https address is dropped, as a page may show it
// (security.md USR-07).
func picture(address *string) *string {
	if address == nil {
		return nil
	}
	u, err := url.Parse(strings.TrimSpace(*address))
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || utf8.RuneCountInString(*address) > maxProviderText {
		return nil
	}
	return shown(u.String())
}

// DisconnectProviderInput names the provider whose link is to go (A08, C13).
type DisconnectProviderInput struct {
	Provider string
}

// RemainingMethods is how many ways to sign in an account has: its password, and each linked provider.
type RemainingMethods struct {
	Count int
}

// DisconnectProvider takes the caller's link of a provider away, and tells the owner by mail. It returns
// account.ErrReauthenticationRequired, account.ErrLastProvider when no way to sign in would be left (contract X19), and
// account.ErrNotFound when there is no such link.
func (c *Core) DisconnectProvider(ctx context.Context, by account.Caller, in DisconnectProviderInput) (RemainingMethods, error) {
	if err := c.requireFresh(by); err != nil {
		return RemainingMethods{}, err
	}
	provider, known := account.ParseProvider(in.Provider)
	if !known {
		return RemainingMethods{}, account.ErrNotFound
	}
	id := by.Principal.Account.ID
	var remaining int
	err := c.commit(ctx, func(ctx context.Context, tx *store.Store) (_ told, err error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return nil, err
		}
		remaining, err = tx.UnlinkProvider(ctx, id, provider, shownBy(by).Session)
		return told{c.notice(id, templates.ProviderUnlinked, uuid.NewString())}, err
	})
	return RemainingMethods{Count: remaining}, err
}
