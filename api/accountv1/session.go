package accountv1

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type sessionCore interface {
	MarkedSessions(context.Context, account.Caller, core.MarkedSessionsInput) (core.MarkedSessions, error)
	SignOut(context.Context, account.Caller, core.SignOutInput) (core.None, error)
	SignOutOthers(context.Context, account.Caller, core.SignOutOthersInput) (core.None, error)
	SignOutAll(context.Context, account.Caller, core.OwnerProof) (core.None, error)
	RevokeSession(context.Context, account.Caller, core.SessionInput) (core.None, error)
}

func sessionRoutes(c sessionCore) []endpoint.Route {
	unknown := endpoint.Reworded(account.ErrNotFound, "Session not found")
	return []endpoint.Route{
		// D15
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "listSessions", Method: "GET", Path: "/api/v1/account/sessions", Message: "Sessions retrieved",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, sessionsRequest.input, c.MarkedSessions, newSessionsBody),
		// D16
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signOut", Method: "POST", Path: "/api/v1/account/sessions/sign-out", Message: "Signed out successfully",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, sessionsRequest.signOut, c.SignOut, newNoBody, unknown),
		// D17
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signOutOthers", Method: "POST", Path: "/api/v1/account/sessions/sign-out-others", Message: "Signed out of other devices",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify, Idempotent: true,
		}, signOutOthersRequest.input, c.SignOutOthers, newNoBody, unknown, wrongPassword, wrongOTP),
		// D18
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "signOutAll", Method: "POST", Path: "/api/v1/account/sessions/sign-out-all", Message: "Signed out of all devices",
			Policy: endpoint.Session, Scope: account.ScopeSecurity, Limit: account.LimitVerify,
		}, ownerProofRequest.input, c.SignOutAll, newNoBody, wrongPassword, wrongOTP),
		// D19
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "revokeSession", Method: "DELETE", Path: "/api/v1/account/sessions/:sessionId", Message: "Session revoked",
			Policy: endpoint.Session, Scope: account.ScopeWrite, Limit: account.LimitWrite,
		}, sessionRequest.input, c.RevokeSession, newNoBody, unknown),
	}
}

// newNoBody is the data of answers that have none but their message.
func newNoBody(core.None) any { return nil }

// sessionsRequest names a session of the caller's by header.
type sessionsRequest struct {
	SessionID *string `header:"X-Session-Id"`
}

func (r sessionsRequest) input() core.MarkedSessionsInput {
	return core.MarkedSessionsInput{Mark: r.SessionID}
}
func (r sessionsRequest) signOut() core.SignOutInput { return core.SignOutInput(r) }

type sessionBody struct {
	ID             string  `json:"id"`
	DeviceID       *string `json:"deviceId"`
	DeviceName     string  `json:"deviceName"`
	Platform       *string `json:"platform"`
	IPAddress      *string `json:"ipAddress"`
	Location       *string `json:"location"`
	LastActiveAt   string  `json:"lastActiveAt"`
	CreatedAt      string  `json:"createdAt"`
	CurrentSession bool    `json:"currentSession"`
}

type sessionsBody struct {
	Sessions       []sessionBody `json:"sessions"`
	TotalCount     int           `json:"totalCount"`
	CurrentSession *sessionBody  `json:"currentSession"`
}

func newSessionsBody(l core.MarkedSessions) any {
	body := sessionsBody{Sessions: make([]sessionBody, len(l.Sessions)), TotalCount: len(l.Sessions)}
	for i, s := range l.Sessions {
		body.Sessions[i] = newSessionBody(s)
		if l.Marked != nil && l.Marked.ID == s.ID {
			body.Sessions[i].CurrentSession = true
			body.CurrentSession = &body.Sessions[i]
		}
	}
	return body
}

func newSessionBody(s core.PlacedSession) sessionBody {
	body := sessionBody{
		ID: s.ID.String(), DeviceName: s.Device(), Platform: s.Client.Platform, Location: s.Location,
		LastActiveAt: s.LastActiveAt.UTC().Format(timeLayout), CreatedAt: s.CreatedAt.UTC().Format(timeLayout),
	}
	if s.Client.ID != "" {
		body.DeviceID = &s.Client.ID
	}
	if s.DeviceInfo == nil && s.Client.Name != nil {
		body.DeviceName = *s.Client.Name
	}
	if s.IP != "" {
		body.IPAddress = &s.IP
	}
	return body
}

type signOutOthersRequest struct {
	SessionID *string `header:"X-Session-Id"`
	Password  string  `json:"password"`
	OTP       string  `json:"otp"`
}

func (r signOutOthersRequest) input() core.SignOutOthersInput {
	return core.SignOutOthersInput{SessionID: r.SessionID, OwnerProof: core.OwnerProof{Password: r.Password, OTP: r.OTP}}
}

type sessionRequest struct {
	ID string `path:"sessionId"`
}

func (r sessionRequest) input() core.SessionInput { return core.SessionInput(r) }
