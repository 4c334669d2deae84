package authv1

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/core"
)

// eventCore is what the owner's view of the audit log asks of the operations.
type eventCore interface {
	SecurityEvents(context.Context, account.Caller, core.SecurityEventsInput) (core.SecurityEvents, error)
}

// eventRoutes are an extension.
func eventRoutes(c Core) []endpoint.Route {
	return []endpoint.Route{
		endpoint.Handle(Dialect, endpoint.Meta{
			ID: "securityEvents", Method: "GET", Path: "/api/v1/auth/security-events",
			Policy: endpoint.Session, Scope: account.ScopeRead, Limit: account.LimitRead,
		}, eventsRequest.input, c.SecurityEvents, newEventsBody),
	}
}

type eventsRequest struct {
	Limit  *int64 `query:"limit"`
	Cursor string `query:"cursor"`
}

func (r eventsRequest) input() core.SecurityEventsInput {
	return core.SecurityEventsInput{Limit: r.Limit, Cursor: r.Cursor}
}

type eventsBody struct {
	Status     string      `json:"status"`
	Events     []eventBody `json:"events"`
	NextCursor *string     `json:"next_cursor"`
}

type eventBody struct {
	ID        uuid.UUID      `json:"id"`
	Type      string         `json:"type"`
	CreatedAt string         `json:"created_at"`
	Actor     actorBody      `json:"actor"`
	Network   *string        `json:"network"`
	RequestID *string        `json:"request_id"`
	Details   map[string]any `json:"details"`
}

type actorBody struct {
	Kind      string  `json:"kind"`
	ID        *string `json:"id"`
	IsCurrent bool    `json:"is_current"`
}

func newEventsBody(found core.SecurityEvents) any {
	body := eventsBody{Status: "ok", Events: make([]eventBody, len(found.Events)), NextCursor: optional(found.Next)}
	for i, e := range found.Events {
		body.Events[i] = eventBody{
			ID: e.ID, Type: string(e.Name), CreatedAt: endpoint.Stamp(e.At), Network: optional(e.Acting.Network),
			RequestID: optional(e.Acting.RequestID), Details: e.Details,
			Actor: actorBody{Kind: string(e.Acting.Kind), ID: optional(e.Acting.ID), IsCurrent: e.Current},
		}
	}
	return body
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
