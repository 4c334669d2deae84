package authv1

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type sessionBody struct {
	SessionID  uuid.UUID `json:"session_id"`
	UserID     uuid.UUID `json:"user_id"`
	DeviceInfo string    `json:"device_info"`
	IPAddress  string    `json:"ip_address"`
	UserAgent  string    `json:"user_agent"`
	CreatedAt  string    `json:"created_at"`
	LastActive string    `json:"last_active"`
	ExpiresAt  string    `json:"expires_at"`
	IsCurrent  bool      `json:"is_current"`
}

// sessionListBody is document C's shape; document A's is the bare list (contract X03).
type sessionListBody struct {
	Status   string        `json:"status"`
	Sessions []sessionBody `json:"sessions"`
}

// shownSessions is a list with the document that asked for it.
type shownSessions struct {
	core.SessionList
	keyHeader bool
}

// listSessions keeps what the credential says about the shape of the answer.
func listSessions(c Core) func(context.Context, account.Caller, core.None) (shownSessions, error) {
	return func(ctx context.Context, by account.Caller, in core.None) (shownSessions, error) {
		list, err := c.Sessions(ctx, by, in)
		return shownSessions{list, by.KeyHeader}, err
	}
}

func newSessionsBody(s shownSessions) any {
	sessions := make([]sessionBody, len(s.Sessions))
	for i, one := range s.Sessions {
		sessions[i] = sessionBody{
			SessionID: one.ID, UserID: one.AccountID, DeviceInfo: one.Device(), IPAddress: one.IP, UserAgent: one.UserAgent,
			CreatedAt: endpoint.Stamp(one.CreatedAt), LastActive: endpoint.Stamp(one.LastActiveAt),
			ExpiresAt: endpoint.Stamp(one.ExpiresAt), IsCurrent: one.ID == s.Current,
		}
	}
	if s.keyHeader {
		return sessionListBody{"ok", sessions}
	}
	return sessions
}

// sessionStatusBody is A12's answer; C26 adds the status (contract X04).
type sessionStatusBody struct {
	Status       string          `json:"status,omitempty"`
	IsValid      bool            `json:"is_valid"`
	SessionInfo  sessionInfoBody `json:"session_info"`
	User         sessionUserBody `json:"user"`
	ExpiresIn    int64           `json:"expires_in"`
	NeedsRefresh bool            `json:"needs_refresh"`
}

type sessionInfoBody struct {
	SessionID  uuid.UUID `json:"session_id"`
	UserID     uuid.UUID `json:"user_id"`
	DeviceInfo string    `json:"device_info"`
	CreatedAt  string    `json:"created_at"`
	LastActive string    `json:"last_active"`
	ExpiresAt  string    `json:"expires_at"`
	IsCurrent  bool      `json:"is_current"`
}

type sessionUserBody struct {
	ID         uuid.UUID `json:"id"`
	Email      *string   `json:"email"`
	FullName   *string   `json:"full_name"`
	IsVerified bool      `json:"is_verified"`
}

func newSessionStatusBody(s core.SessionStatus) any { return sessionStatusOf(s) }

func newSessionStatusOKBody(s core.SessionStatus) any {
	body := sessionStatusOf(s)
	body.Status = "ok"
	return body
}

func sessionStatusOf(s core.SessionStatus) sessionStatusBody {
	a, session := s.Principal.Account, s.Principal.Session
	return sessionStatusBody{
		IsValid: true,
		SessionInfo: sessionInfoBody{
			SessionID: session.ID, UserID: a.ID, DeviceInfo: session.Device(), CreatedAt: endpoint.Stamp(session.CreatedAt),
			LastActive: endpoint.Stamp(session.LastActiveAt), ExpiresAt: endpoint.Stamp(session.ExpiresAt), IsCurrent: true,
		},
		User:      sessionUserBody{ID: a.ID, Email: a.Email, FullName: a.Profile.FullName, IsVerified: a.EmailVerified},
		ExpiresIn: int64(s.ExpiresIn / time.Second), NeedsRefresh: s.NeedsRefresh,
	}
}

type revokeSessionsRequest struct {
	SessionID       string `json:"session_id"`
	RevokeAllOthers bool   `json:"revoke_all_others"`
}

func (r revokeSessionsRequest) input() core.RevokeSessionsInput {
	return core.RevokeSessionsInput{ID: r.SessionID, AllOthers: r.RevokeAllOthers}
}

type revokedSessionsBody struct {
	Message      string `json:"message"`
	RevokedCount int    `json:"revoked_count"`
}

func newRevokedSessionsBody(r core.Revoked) any {
	return revokedSessionsBody{"Sessions revoked successfully", r.Count}
}

type revokedAllBody struct {
	Status       string `json:"status"`
	RevokedCount int    `json:"revoked_count"`
}

func newRevokedAllBody(r core.Revoked) any { return revokedAllBody{"ok", r.Count} }

type sessionRequest struct {
	SessionID string `path:"session_id"`
}

func (r sessionRequest) input() core.SessionInput { return core.SessionInput{ID: r.SessionID} }

func newOKBody(core.None) any { return statusBody{Status: "ok"} }

type activityBody struct {
	Status     string `json:"status"`
	LastActive string `json:"last_active"`
}

func newActivityBody(a core.Activity) any { return activityBody{"ok", endpoint.Stamp(a.LastActive)} }

type deviceInfoRequest struct {
	DeviceInfo *string `json:"device_info"`
}

func (r deviceInfoRequest) input() core.DescribeDeviceInput {
	return core.DescribeDeviceInput{Label: r.DeviceInfo}
}

type deviceInfoBody struct {
	Message    string `json:"message"`
	DeviceInfo string `json:"device_info"`
}

func newDeviceInfoBody(d core.Device) any {
	return deviceInfoBody{"Device information updated successfully", d.Label}
}
