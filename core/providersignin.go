package core

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// ProviderSignInInput is somebody whom a backend of yours has seen signing in at a provider (C17).
type ProviderSignInInput struct {
	Email string
	// EmailVerified is what the provider says of the address; nil when the backend does not tell.
	EmailVerified *bool
	Name          *string
	Provider      string
	Subject       string
	AvatarURL     *string
	Fingerprint   json.RawMessage
	Attribution   map[string]string
	AnonymousID   *string
	// Device is what the request says of the device that the person uses.
	Device ShownDevice
}

func (in ProviderSignInInput) validate() (email string, err error) {
	invalid := account.ErrInvalid
	email, fault := account.ParseEmail(in.Email)
	if fault != "" {
		invalid = invalid.On("email", fault)
	}
	if fault := nameFault(in.Name); fault != "" {
		invalid = invalid.On("name", fault)
	}
	if in.Provider == "" {
		invalid = invalid.On("provider", "is required")
	}
	if fault := subjectFault(in.Subject); fault != "" {
		invalid = invalid.On("provider_account_id", fault)
	}
	if fault := optionalTextFault(in.AvatarURL); fault != "" {
		invalid = invalid.On("avatar_url", fault)
	}
	return email, faults(in.Device.judge(invalid))
}

// ProviderSignIn signs in whom a service key vouches for (C17, design D11): the account linked to (provider, subject), or a
// new one with a free address. Where RequireAssertion says so the request must be signed, and say that the address is proven.
// It returns account.ErrForbidden for any other credential, account.ErrInvalidAssertion, account.ErrUnsupportedProvider,
// account.ErrEmailNotVerified, account.ErrTooManyRequests when a code is due and the account got too many,
// account.ErrInvalidCredentials when the account is deactivated, and account.ErrAccountExists, with a mail to the owner, when the
// address has an account that the provider does not open.
func (c *Core) ProviderSignIn(ctx context.Context, by account.Caller, in ProviderSignInInput) (SignIn, error) {
	if by.Principal == nil || !by.Principal.Service() {
		return SignIn{}, account.ErrForbidden
	}
	email, err := in.validate()
	if err != nil {
		return SignIn{}, err
	}
	if err := c.requireAssertion(by); err != nil {
		return SignIn{}, err
	}
	provider, err := parseProvider(in.Provider)
	if err != nil {
		return SignIn{}, err
	}
	vouched := !c.RequireAssertion
	if in.EmailVerified != nil {
		vouched = *in.EmailVerified
	}
	from := origin(by, in.Fingerprint, in.Attribution, in.AnonymousID)
	opened, err := c.openByProvider(ctx, by, in.Device, store.ProviderSignIn{
		Link: account.LinkedProvider{
			Provider: provider, Subject: in.Subject, Type: "oauth", Email: &email, DisplayName: given(in.Name), AvatarURL: picture(in.AvatarURL),
		},
		Email: email, Vouched: vouched, Asserted: true, Name: given(in.Name), Origin: from,
	})
	var out SignIn
	if err == nil {
		out, err = c.signInOpened(ctx, by, opened)
	}
	if errors.Is(err, account.ErrUnauthorized) {
		err = errShutAccount.Because(err) // the key of the backend is as good as ever
	}
	return out, err
}

// errShutAccount is a login like any other that fails, of which a backend may know why (contract X18).
var errShutAccount = account.ErrInvalidCredentials.Saying("This account cannot be signed in to")

// openedByProvider is an account that an outside account has opened, or made, with a session that owes Step.
type openedByProvider struct {
	Session uuid.UUID
	Step    account.SecondStep
	Created bool
}

// signInOpened signs in to what openByProvider has opened.
func (c *Core) signInOpened(ctx context.Context, by account.Caller, opened openedByProvider) (SignIn, error) {
	out, err := c.signIn(ctx, opened.Session)
	if err != nil {
		return SignIn{}, err
	}
	return c.challenge(ctx, by, out, opened.Step)
}

// openByProvider opens the account of an outside account, or makes one, with a session that owes what every login owes. It
// tells the owner of an address that an account was opened with it, or that the outside account shares but does not open it.
func (c *Core) openByProvider(ctx context.Context, by account.Caller, device ShownDevice, p store.ProviderSignIn) (openedByProvider, error) {
	provider, session := string(p.Link.Provider), uuid.New()
	p.Bonus = store.Bonus{Full: c.Policy.WelcomeBonus, Reduced: c.Policy.WelcomeBonusReduced}
	p.Session = store.NewSession{
		ID: session, Method: provider, IP: p.Origin.IP, UserAgent: p.Origin.UserAgent, TTL: c.Policy.SessionTTL, Client: device.client(),
	}
	p.Gate = c.gate(device, session)
	var owner uuid.UUID
	opened, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (openedByProvider, told, error) {
		found, err := tx.SignInByProvider(ctx, p)
		owner = found.AccountID
		opened := openedByProvider{Session: session, Step: found.Step, Created: found.Created}
		if err != nil || !found.Created {
			return opened, nil, err
		}
		return opened, told{c.notice(owner, templates.AccountOpened, session.String())}, nil
	})
	if errors.Is(err, account.ErrAccountExists) {
		// Once a day at most, however often it is tried.
		failed := c.notify(ctx, owner, templates.ProviderRefused, provider+"/"+c.Clock.Now().Format(time.DateOnly))
		err = cmp.Or(failed, err)
	}
	return opened, err
}
