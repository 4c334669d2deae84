package inbox_test

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/conformance"
	"gatehouse/providers/inbox"
)

// memory is a store that fails as Postgres does: its errors quote the row.
type memory struct {
	mu     sync.Mutex
	kept   []account.InboxMessage
	broken bool
	hung   bool
}

func (s *memory) PutInbox(ctx context.Context, m account.InboxMessage) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hung {
		<-ctx.Done()
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("inserting (%s, %s): %w", m.To, m.Code, err)
	}
	if s.broken {
		s.broken = false
		return account.ErrUnavailable.Because(fmt.Errorf("failing row contains (%s, %s)", m.To, m.Code))
	}
	for _, kept := range s.kept {
		if kept.ID == m.ID {
			return nil
		}
	}
	s.kept = append(s.kept, m)
	return nil
}

func (s *memory) deliveries() []conformance.Delivery {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []conformance.Delivery
	for _, m := range s.kept {
		all = append(all, conformance.Delivery{
			ProviderID: m.ID.String(), To: m.To, Subject: m.Subject, Text: m.Text, Code: m.Code,
		})
	}
	return all
}

func TestConformance(t *testing.T) {
	t.Parallel()

	conformance.Run(t, func(*testing.T) conformance.Vendor {
		s := &memory{}
		return conformance.Vendor{
			Sender:      inbox.New(s),
			Deliveries:  s.deliveries,
			Unavailable: func() { s.broken = true },
			Hang:        func() { s.hung = true },
		}
	})
}

func TestTakesEveryChannel(t *testing.T) {
	t.Parallel()

	s := &memory{}
	for _, channel := range []account.Channel{
		account.ChannelEmail, account.ChannelSMS, account.ChannelWhatsApp, account.ChannelPush,
	} {
		m := conformance.Message()
		m.Channel = channel
		_, err := inbox.New(s).Send(t.Context(), m)
		require.NoError(t, err)
	}
	require.Len(t, s.kept, 4)
}

func TestAFailureOfTheStoreKeepsItsCode(t *testing.T) {
	t.Parallel()

	_, err := inbox.New(&memory{broken: true}).Send(t.Context(), conformance.Message())
	require.EqualError(t, err, "inbox: the store failed: unavailable")
}
