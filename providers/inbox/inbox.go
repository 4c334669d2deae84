// Package inbox is the development inbox: the sender that takes every message while no real provider is set, so that
// a developer can read it at /dev/inbox.
package inbox

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/account"
	"gatehouse/providers"
)

// Store keeps the inbox.
type Store interface {
	// PutInbox adds a message; adding one whose ID is there already changes nothing and is no error.
	PutInbox(ctx context.Context, m account.InboxMessage) error
}

// Inbox is a providers.Sender for every channel.
type Inbox struct {
	store Store
}

// New returns an inbox kept in store.
func New(store Store) *Inbox { return &Inbox{store: store} }

// Name returns "inbox".
func (*Inbox) Name() string { return "inbox" }

// Send keeps the message. The provider's id is the message's own.
func (i *Inbox) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	if err := m.Check(); err != nil {
		return providers.Receipt{}, fmt.Errorf("inbox: %w", err)
	}
	err := i.store.PutInbox(ctx, account.InboxMessage{
		ID: m.ID, Channel: m.Channel, To: m.To, Subject: m.Subject, Text: m.Text, Code: m.Code,
	})
	if err != nil {
		return providers.Receipt{}, providers.Temporary(fmt.Errorf("inbox: %w", tellable(ctx, err)), 0)
	}
	return providers.Receipt{Provider: i.Name(), ProviderID: m.ID.String()}, nil
}

// tellable drops the store's own words: a database error quotes the row, recipient and code included.
func tellable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if e, ok := errors.AsType[*account.Error](err); ok {
		return errors.New("the store failed: " + e.Code)
	}
	return errors.New("the store failed")
}
