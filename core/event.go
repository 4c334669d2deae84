package core

import (
	"context"
	"strconv"

	"gatehouse/account"
	"gatehouse/store"
)

const (
	defaultEvents = 20
	maxEvents     = 100
)

// SecurityEventsInput asks for what has happened to the caller's account, newest first, 20 at a time unless Limit says
// otherwise. Cursor is the Next of the page before, empty for the first.
type SecurityEventsInput struct {
	Limit  *int64
	Cursor string
}

func (in SecurityEventsInput) validate() (store.EventPage, error) {
	page := store.EventPage{Limit: defaultEvents}
	invalid := account.ErrInvalid
	switch {
	case in.Limit == nil:
	case *in.Limit < 1 || *in.Limit > maxEvents:
		invalid = invalid.On("limit", "must be between 1 and 100")
	default:
		page.Limit = int(*in.Limit)
	}
	if in.Cursor != "" {
		before, err := strconv.ParseInt(in.Cursor, 10, 64)
		if err != nil || before < 1 {
			invalid = invalid.On("cursor", "is not one of a page before")
		}
		page.Before = before
	}
	return page, faults(invalid)
}

// SecurityEvent is an event as an owner may see it. Current says that the caller's own session has caused it.
type SecurityEvent struct {
	account.Event
	Current bool
}

// SecurityEvents is a page of events. Next is empty on the last one.
type SecurityEvents struct {
	Events []SecurityEvent
	Next   string
}

// SecurityEvents lists what has happened to the caller's account: every change of what protects it. Who else than a session or
// key of the owner has made a change is told by its kind alone.
func (c *Core) SecurityEvents(ctx context.Context, by account.Caller, in SecurityEventsInput) (SecurityEvents, error) {
	page, err := in.validate()
	if err != nil {
		return SecurityEvents{}, err
	}
	if by.Principal == nil {
		return SecurityEvents{}, account.ErrUnauthorized
	}
	page.AccountID = by.Principal.Account.ID
	events, more, err := c.Store.Events(ctx, page)
	if err != nil {
		return SecurityEvents{}, err
	}
	out := SecurityEvents{Events: make([]SecurityEvent, len(events))}
	for i, e := range events {
		own := e.Acting.Kind == account.ActorSession || e.Acting.Kind == account.ActorKey
		if !own {
			e.Acting.ID, e.Acting.RequestID = "", ""
		}
		s := by.Principal.Session
		out.Events[i] = SecurityEvent{Event: e, Current: own && s != nil && e.Acting.ID == s.ID.String()}
	}
	if more {
		out.Next = strconv.FormatInt(events[len(events)-1].Sequence, 10)
	}
	return out, nil
}
