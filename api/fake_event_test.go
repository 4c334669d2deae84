package api_test

import (
	"context"

	"gatehouse/account"
	"gatehouse/core"
)

func (f *fakeCore) SecurityEvents(ctx context.Context, by account.Caller, in core.SecurityEventsInput) (core.SecurityEvents, error) {
	one := account.Event{
		ID: sessionID, AccountID: accountID, Sequence: 2, Name: account.EventPasswordChanged, At: moment,
		Acting:  account.Acting{Kind: account.ActorSession, ID: sessionID.String(), Network: "192.0.2.0/24", RequestID: "r-1"},
		Details: map[string]any{},
	}
	made := account.Event{
		ID: accountID, AccountID: accountID, Sequence: 1, Name: account.EventAccountCreated, At: moment,
		Acting: account.Acting{Kind: account.ActorVisitor}, Details: map[string]any{"method": "signup"},
	}
	err := f.record(ctx, "SecurityEvents", by, in, nil)
	return core.SecurityEvents{Events: []core.SecurityEvent{{Event: one, Current: true}, {Event: made}}, Next: "1"}, err
}
