package usersv1

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type googleCore interface {
	BeginGoogle(context.Context, account.Caller, core.BeginGoogleInput) (core.GoogleBegun, error)
	SignInByGoogle(context.Context, account.Caller, core.GoogleInput) (core.GoogleSignIn, error)
}

func googleRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		// B09
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signInByGoogle", Method: "POST", Path: "/v1/auth/google",
			Policy: endpoint.Public, Limit: account.LimitLogin, Idempotent: true,
		}, googleRequest.input, c.SignInByGoogle, newGoogleBody,
			endpoint.Reworded(account.ErrInvalidCredentials, "Invalid authorization code")),
		// extension of B09
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "beginGoogle", Method: "POST", Path: "/v1/auth/google/authorize",
			Policy: endpoint.Public, Limit: account.LimitLogin,
		}, beginGoogleRequest.input, c.BeginGoogle, newGoogleBegunBody),
	}
}

type googleRequest struct {
	Code                string  `json:"code"`
	MarketingOptInState bool    `json:"marketingOptInState"`
	CodeVerifier        *string `json:"codeVerifier"`
	State               *string `json:"state"`

	StateCookie string `cookie:"google-state"`
	DeviceID    string `header:"X-Device-Id" asks:"-"`
	DeviceToken string `header:"X-Device-Token" asks:"-"`
}

func (r googleRequest) input() core.GoogleInput {
	return core.GoogleInput{
		Code: r.Code, CodeVerifier: r.CodeVerifier, State: r.State, StateCookie: r.StateCookie, MarketingOptIn: r.MarketingOptInState,
		Device: core.ShownDevice{ID: r.DeviceID, Token: r.DeviceToken},
	}
}

// stateCookie ties a page to the sign-in that it began. Its name is that of the request's field.
type stateCookie struct {
	state   string
	expires time.Time
}

// Cookie is the state until it expires; the answer to the code takes it away.
func (c stateCookie) Cookie() endpoint.Cookie {
	return endpoint.Cookie{Name: "google-state", Value: c.state, Expires: c.expires}
}

type googleBody struct {
	UserID   uuid.UUID `json:"userId"`
	Username string    `json:"username"`
	Email    *string   `json:"email"`
	Token    string    `json:"token"`
	Message  string    `json:"message"`
	// Both are there only while a second step is due (contract X13).
	MFARequired bool   `json:"mfaRequired,omitzero"`
	StepToken   string `json:"deviceVerificationToken,omitzero"`
	stateCookie `json:"-"`
}

func newGoogleBody(s core.GoogleSignIn) any {
	a := s.Principal.Account
	body := googleBody{
		UserID: a.ID, Username: a.DisplayUsername(), Email: a.Email, Token: s.AccessToken, Message: "Login successful",
		MFARequired: s.SecondStep != account.StepNone, StepToken: s.StepToken,
	}
	if s.Created {
		body.Message = "Registration successful"
	}
	return body
}

type beginGoogleRequest struct {
	CodeChallenge *string `json:"codeChallenge"`
}

func (r beginGoogleRequest) input() core.BeginGoogleInput { return core.BeginGoogleInput(r) }

type googleBegunBody struct {
	AuthURL     string `json:"authUrl"`
	State       string `json:"state"`
	ExpiresAt   string `json:"expiresAt"`
	stateCookie `json:"-"`
}

func newGoogleBegunBody(b core.GoogleBegun) any {
	return googleBegunBody{
		AuthURL: b.AuthURL, State: b.State, ExpiresAt: endpoint.Stamp(b.ExpiresAt),
		stateCookie: stateCookie{state: b.State, expires: b.ExpiresAt},
	}
}
