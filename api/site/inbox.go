package site

import (
	"context"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// Core is what the site asks of the operations.
type Core interface {
	PublicKeys() []byte
	PaymentNotice(context.Context, account.Caller, core.PaymentNoticeInput) (core.None, error)
	DevInbox(context.Context, account.Caller, core.DevInboxInput) ([]core.InboxMessage, error)
}

// InboxRoute is the development inbox for programs (design D16).
func InboxRoute(c Core) endpoint.Route {
	return endpoint.Handle(Dialect, endpoint.Meta{
		ID: "getDevInbox", Method: "GET", Path: "/dev/inbox.json", Policy: endpoint.Public, Limit: account.LimitRead,
	}, inboxRequest.input, c.DevInbox, newInboxBody)
}

type inboxRequest struct {
	To      string `query:"to"`
	Channel string `query:"channel"`
}

func (r inboxRequest) input() core.DevInboxInput {
	return core.DevInboxInput{To: r.To, Channel: r.Channel}
}

type messageBody struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	To        string `json:"to"`
	Subject   string `json:"subject"`
	Text      string `json:"text"`
	Code      string `json:"code"`
	CreatedAt string `json:"created_at"`
}

func newInboxBody(messages []core.InboxMessage) any {
	body := make([]messageBody, 0, len(messages))
	for _, m := range messages {
		body = append(body, messageBody{
			ID: m.ID, Channel: m.Channel, To: m.To, Subject: m.Subject, Text: m.Text, Code: m.Code,
			CreatedAt: endpoint.Stamp(m.CreatedAt),
		})
	}
	return body
}
