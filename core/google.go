package core

import (
	"context"
	"crypto/subtle"
	"errors"
	"regexp"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers/identity"
	"gatehouse/store"
)

const maxAuthorizationCode = 2048

// The forms that RFC 7636 gives to a code verifier and to its S256 challenge.
var (
	codeVerifierForm  = regexp.MustCompile(`^[A-Za-z0-9._~-]{43,128}$`)
	codeChallengeForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)
)

// BeginGoogleInput asks for Google's sign-in page (extension of B09).
type BeginGoogleInput struct {
	// CodeChallenge is the S256 challenge of a code verifier that the client keeps; nil for none.
	CodeChallenge *string
}

// GoogleBegun is where somebody goes to sign in, and the state that they come back with.
type GoogleBegun struct {
	AuthURL string
	State   string
	// ExpiresAt is when the page that began forgets the state.
	ExpiresAt time.Time
}

const (
	statePrefix = "gst_"
	stateTTL    = 10 * time.Minute
)

// BeginGoogle returns Google's sign-in page (extension of B09). It returns account.ErrProviderNotConfigured and
// account.ErrUnavailable.
func (c *Core) BeginGoogle(ctx context.Context, _ account.Caller, in BeginGoogleInput) (GoogleBegun, error) {
	challenge := ""
	if in.CodeChallenge != nil {
		if challenge = *in.CodeChallenge; !codeChallengeForm.MatchString(challenge) {
			return GoogleBegun{}, account.ErrInvalid.On("code_challenge", "must be 43 characters of base64url: an S256 challenge")
		}
	}
	google, err := c.Identity.Google()
	if err != nil {
		return GoogleBegun{}, err
	}
	out := GoogleBegun{State: secret.NewToken(statePrefix), ExpiresAt: c.Clock.Now().Add(stateTTL)}
	out.AuthURL, err = google.SignInURL(ctx, out.State, challenge)
	return out, err
}

// GoogleInput signs in by an authorization code of Google (B09).
type GoogleInput struct {
	Code string
	// CodeVerifier is of the challenge that the code was asked for with; nil for none.
	CodeVerifier *string
	// State is what came back with the code, StateCookie what the page was given when it began.
	State       *string
	StateCookie string
	// MarketingOptIn is for a new account alone.
	MarketingOptIn bool
	Device         ShownDevice
}

func (in GoogleInput) validate() error {
	invalid := account.ErrInvalid
	fault := blankFault(in.Code)
	if fault == "" && (len(in.Code) > maxAuthorizationCode || !printable(in.Code)) {
		fault = "is no authorization code"
	}
	if fault != "" {
		invalid = invalid.On("code", fault)
	}
	if in.CodeVerifier != nil && !codeVerifierForm.MatchString(*in.CodeVerifier) {
		invalid = invalid.On("code_verifier", "must be 43 to 128 of A-Z, a-z, 0-9, - . _ ~")
	}
	return faults(in.Device.judge(invalid))
}

// sameState reports whether the page that brings a code is the one that began (RFC 6749, 10.12).
func (in GoogleInput) sameState() bool {
	if in.State == nil {
		return in.StateCookie == ""
	}
	return in.StateCookie != "" && subtle.ConstantTimeCompare([]byte(*in.State), []byte(in.StateCookie)) == 1
}

// GoogleSignIn is the answer to GoogleInput.
type GoogleSignIn struct {
	SignIn
	// Created says that the account is new.
	Created bool
}

// errInvalidCode is all that is said of a code that opens nothing.
var errInvalidCode = account.ErrInvalidCredentials.Saying("Invalid authorization code")

// SignInByGoogle signs in whom Google names for an authorization code (B09): the account that Google's id is linked to, or a
// new one with the address that Google has seen proof of. The address alone opens no account, and cleans away one that nobody
// has proven (design D5, security.md PRE-01). It returns account.ErrInvalidCredentials for a code, verifier or state that is
// wrong, account.ErrIdentityAlreadyUsed, with a mail to the owner, when the address has an account that Google does not open,
// account.ErrEmailNotVerified for a new address that Google does not vouch for, account.ErrProviderNotConfigured and
// account.ErrUnavailable.
func (c *Core) SignInByGoogle(ctx context.Context, by account.Caller, in GoogleInput) (GoogleSignIn, error) {
	opened, done, err := made[openedByProvider](by)
	if !done {
		opened, err = c.openByGoogle(ctx, by, in)
	}
	var out SignIn
	if err == nil {
		out, err = c.signInOpened(ctx, by, opened)
	}
	if errors.Is(err, account.ErrUnauthorized) {
		err = errInvalidCode.Because(err) // the account may not be used
	}
	return GoogleSignIn{SignIn: out, Created: opened.Created}, err
}

// openByGoogle is openByProvider for a code of Google.
func (c *Core) openByGoogle(ctx context.Context, by account.Caller, in GoogleInput) (openedByProvider, error) {
	if err := in.validate(); err != nil {
		return openedByProvider{}, err
	}
	google, err := c.Identity.Google()
	if err != nil {
		return openedByProvider{}, err
	}
	if !in.sameState() {
		return openedByProvider{}, errInvalidCode.Because(errors.New("the state is another"))
	}
	verifier := ""
	if in.CodeVerifier != nil {
		verifier = *in.CodeVerifier
	}
	who, err := google.Exchange(ctx, strings.TrimSpace(in.Code), verifier)
	if errors.Is(err, account.ErrInvalidProviderToken) {
		err = errInvalidCode.Because(err)
	}
	if err != nil {
		return openedByProvider{}, err
	}
	opened, err := c.openByProvider(ctx, by, in.Device, c.signInOf(by, who.Identity, in.MarketingOptIn))
	switch {
	case errors.Is(err, account.ErrAccountExists) && !who.EmailVerified && c.hidden():
		err = account.ErrEmailNotVerified.Because(err) // who has not proven the address may not know
	case errors.Is(err, account.ErrAccountExists), errors.Is(err, account.ErrEmailExists), errors.Is(err, account.ErrProviderConnected):
		err = account.ErrIdentityAlreadyUsed.Because(err)
	}
	return opened, err
}

func (c *Core) signInOf(by account.Caller, who identity.Identity, marketing bool) store.ProviderSignIn {
	email, fault := account.ParseEmail(who.Email)
	name := shown(who.Name)
	if name != nil && nameFault(name) != "" {
		name = nil
	}
	return store.ProviderSignIn{
		Link: account.LinkedProvider{
			Provider: account.ProviderGoogle, Subject: who.Subject, Type: "oauth", Email: shown(email), DisplayName: name,
			AvatarURL: picture(shown(who.AvatarURL)),
		},
		Email: email, Vouched: who.EmailVerified && fault == "", Name: name, MarketingOptIn: marketing, Origin: origin(by, nil, nil, nil),
	}
}
