package activities_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/testkit"
	"gatehouse/providers"
	"gatehouse/store"
)

// given makes a message that its provider refuses for good, and returns it as it is kept. Its flow is another one than that
// of the activities which send it once more.
func (b *bench) given(t *testing.T, send func() error) store.Message {
	t.Helper()
	b.post.fault = func() error { return providers.Permanent(errors.New("550 no such mailbox")) }
	require.NoError(t, send())
	b.post.fault = nil
	found, err := b.Store.Messages(t.Context(), store.MessageFilter{State: "dead", Limit: 2})
	require.NoError(t, err)
	require.Len(t, found, 1)
	testkit.Change(t, b.url, `UPDATE messages SET flow = 'another/flow'`)
	return found[0]
}

func (b *bench) resend(id uuid.UUID) (activities.Delivered, error) {
	return run[activities.Delivered](b, b.ResendMessage, activities.ResendMessageInput{MessageID: id})
}

func TestResentMessageIsTheSameOne(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]func(t *testing.T, b *bench) func() error{
		"code": func(t *testing.T, b *bench) func() error {
			t.Helper()
			_, challenge := b.pending(t)
			return func() error { _, err := b.sendCode(challenge); return err }
		},
		"reset link": func(t *testing.T, b *bench) func() error {
			t.Helper()
			_, challenge := b.forgotten(t)
			return func() error {
				_, err := run[activities.Delivered](b, b.SendResetLink, activities.ChallengeInput{ChallengeID: challenge})
				return err
			}
		},
		"mail": func(t *testing.T, b *bench) func() error {
			t.Helper()
			in := activities.SendMailInput{AccountID: b.newcomer(t).AccountID, Step: "notice", Template: "password_changed"}
			return func() error { _, err := run[activities.Delivered](b, b.SendMail, in); return err }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			m := b.given(t, send(t, b))
			for range 2 {
				d, err := b.resend(m.ID)
				require.NoError(t, err)
				require.Equal(t, activities.DeliverySent, d.State)
			}
			sent := b.post.messages()
			require.Len(t, sent, 2, "refused once, accepted once, however often it is asked for")
			require.Equal(t, sent[0], sent[1], "the same words and the same code, under the same id")
			kept, err := b.Store.Message(t.Context(), m.ID)
			require.NoError(t, err)
			require.Equal(t, "sent", kept.State)
			require.Equal(t, "another/flow", kept.Flow, "the row stays that of its flow")
			require.Equal(t, 2, kept.Attempts)
		})
	}
}

func TestResentPushIsTheSameOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Push = b.post
	owner := b.newcomer(t)
	in := activities.SendPushInput{TokenID: b.device(t, owner, "device-1"), Step: "push", Template: "password_changed"}
	m := b.given(t, func() error { _, err := run[activities.Delivered](b, b.SendPush, in); return err })
	require.Equal(t, owner.AccountID, *m.AccountID, "found by its account")
	d, err := b.resend(m.ID)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, d.State)
	require.Equal(t, "device-1", b.post.messages()[1].To)
}

// A code whose time is over must not go out: it would be refused, and its owner be none the wiser.
func TestLateCodeIsNotResent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	m := b.given(t, func() error { _, err := b.sendCode(challenge); return err })
	testkit.Change(t, b.url, `UPDATE challenges SET send_by = now() - interval '1 second'`)
	d, err := b.resend(m.ID)
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, d.State)
	require.Len(t, b.post.messages(), 1)
	kept, err := b.Store.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, "expired", kept.State)
}

func TestMailToNobodyIsNotResent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.newcomer(t)
	in := activities.SendMailInput{AccountID: owner.AccountID, Step: "notice", Template: "password_changed"}
	m := b.given(t, func() error { _, err := run[activities.Delivered](b, b.SendMail, in); return err })
	testkit.Change(t, b.url, `UPDATE accounts SET email = NULL, email_verified_at = NULL`)
	d, err := b.resend(m.ID)
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, d.State)
	testkit.Change(t, b.url, `UPDATE messages SET recipe = NULL`)
	_, err = b.resend(m.ID)
	require.ErrorIs(t, err, account.ErrNotFound, "nothing says how")
	_, err = b.resend(uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestResendingMeetsADownProvider(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner := b.newcomer(t)
	in := activities.SendMailInput{AccountID: owner.AccountID, Step: "notice", Template: "password_changed"}
	m := b.given(t, func() error { _, err := run[activities.Delivered](b, b.SendMail, in); return err })
	b.post.fault = func() error { return providers.Temporary(errors.New("451"), 20*time.Second) }
	_, err := b.resend(m.ID)
	require.ErrorIs(t, err, account.ErrUnavailable, "it is tried again")
	kept, err := b.Store.Message(t.Context(), m.ID)
	require.NoError(t, err)
	require.Equal(t, "queued", kept.State)
	require.NotNil(t, kept.NextRetryAt)
}
