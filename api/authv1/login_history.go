package authv1

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

type loginHistoryRequest struct {
	Limit *int64 `query:"limit"`
}

func (r loginHistoryRequest) input() core.LoginHistoryInput {
	return core.LoginHistoryInput{Limit: r.Limit}
}

type loginHistoryBody struct {
	Status  string             `json:"status"`
	History []loginAttemptBody `json:"history"`
}

// loginAttemptBody tells outcome and location beyond the document.
type loginAttemptBody struct {
	ID        uuid.UUID `json:"id"`
	Method    string    `json:"method"`
	IPAddress string    `json:"ip_address"`
	UserAgent string    `json:"user_agent"`
	Success   bool      `json:"success"`
	CreatedAt string    `json:"created_at"`
	Outcome   string    `json:"outcome"`
	Location  *string   `json:"location"`
}

func newLoginHistoryBody(attempts []core.LoginAttempt) any {
	body := loginHistoryBody{"ok", make([]loginAttemptBody, len(attempts))}
	for i, a := range attempts {
		body.History[i] = loginAttemptBody{
			ID: a.ID, Method: a.Method, IPAddress: a.IP, UserAgent: a.UserAgent, Success: a.Outcome == account.LoginSucceeded,
			CreatedAt: endpoint.Stamp(a.CreatedAt), Outcome: string(a.Outcome), Location: a.Location,
		}
	}
	return body
}
