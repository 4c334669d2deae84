package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

var welcome = store.NewMessage{
	Flow: "signup/1", Step: "welcome", Template: "welcome", Channel: account.ChannelEmail, Destination: ada,
}

func TestStepOfAFlowHasOneMessage(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	since := one[time.Time](t, w, "SELECT now()")
	id, sent, err := w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	require.False(t, sent)
	require.NoError(t, w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, store.MessageQueued, "451"))
	again, sent, err := w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.False(t, sent)
	require.NoError(t, w.MessageSent(t.Context(), id, "smtp", "<1@example.com>"))
	again, sent, err = w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	require.Equal(t, id, again)
	require.True(t, sent)

	for _, state := range []store.MessageState{store.MessageDead, store.MessageExpired, store.MessageQueued} {
		require.NoError(t, w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, state, "late"))
	}
	d, err := w.Deliveries(t.Context(), welcome.Flow, "", since)
	require.NoError(t, err)
	require.Len(t, d, 1)
	require.Equal(t, "sent", d[0].State, "an accepted message stays so")
	require.Equal(t, 2, d[0].Attempts)
	require.Equal(t, account.ChannelEmail, account.Channel(d[0].Channel))
	require.Equal(t, "a***@example.com", one[string](t, w, "SELECT masked_destination FROM messages"), "I-16: no address in the clear")
	require.Equal(t, 0, w.count(t, "messages WHERE last_error IS NOT NULL"))

	d, err = w.Deliveries(t.Context(), welcome.Flow, "", since.Add(time.Hour))
	require.NoError(t, err)
	require.Empty(t, d)
	require.ErrorIs(t, w.MessageSent(t.Context(), uuid.New(), "smtp", ""), account.ErrNotFound)
}

// A notice that its flow has begun to send is owed no more: no worker starts it once more.
func TestBeginMessage_TakesOverTheOwedNotice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	child, mailed, other := toldOf(uuid.New()), toldOf(uuid.New()), toldOf(uuid.New())
	for _, n := range []account.Notice{child, mailed, other} {
		n.AccountID = owner
		require.NoError(t, w.OweNotice(t.Context(), n))
	}
	notice := welcome
	notice.Flow = child.ID
	of := welcome
	of.Notice = mailed.ID
	for _, m := range []store.NewMessage{notice, of} {
		_, _, err := w.BeginMessage(t.Context(), m)
		require.NoError(t, err)
	}
	require.Equal(t, other.ID, one[string](t, w, "SELECT string_agg(id, ' ') FROM owed_notices"))
}

// F-23: what is paid for is handed over so often without an answer, and no more; an answer, whatever it says, costs nothing.
func TestBeginMessage_F23_UnansweredMessagesAreGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	text := store.NewMessage{Flow: "phone/1", Step: "code/1/sms", Template: "phone_code", Channel: account.ChannelSMS, Destination: "+4915112345678", MostUnanswered: 3}
	begin := func() (uuid.UUID, error) {
		id, sent, err := w.BeginMessage(t.Context(), text)
		require.False(t, sent)
		return id, err
	}
	for range 10 {
		id, err := begin()
		require.NoError(t, err)
		require.NoError(t, w.MessageDelayed(t.Context(), id, "503", 0))
	}
	for range 2 {
		id, err := begin()
		require.NoError(t, err)
		require.NoError(t, w.MessageUnanswered(t.Context(), id, "no answer", 0))
	}
	_, err := begin()
	require.NoError(t, err, "its worker dies now: that is no answer, either")
	_, err = begin()
	require.ErrorIs(t, err, store.ErrUnanswered)
	require.Equal(t, "dead 13 3", one[string](t, w, "SELECT state || ' ' || attempts || ' ' || unanswered FROM messages"))

	_, err = begin()
	require.ErrorIs(t, err, store.ErrGivenUp, "it stays given up")
	text.Again = true
	id, err := begin()
	require.NoError(t, err, "an operator may have it sent again")
	text.Again = false
	for range 2 {
		require.NoError(t, w.MessageUnanswered(t.Context(), id, "no answer", 0))
		_, err = begin()
		require.NoError(t, err)
	}
	// Its worker was away for so long that the sweep took it for abandoned.
	require.NoError(t, w.MessageFailed(t.Context(), text.Flow, text.Step, store.MessageExpired, "abandoned"))
	_, err = begin()
	require.ErrorIs(t, err, store.ErrUnanswered, "what had no answer before it expired still counts")

	text.Flow, text.MostUnanswered = "signup/1", 0
	for range 20 {
		_, err = begin()
		require.NoError(t, err, "what costs nothing is tried on")
	}
}

// What was refused for good is not handed over again by a step that is repeated for another reason.
func TestBeginMessage_LeavesWhatWasRefusedAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _, err := w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	require.NoError(t, w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, store.MessageDead, "550"))
	row := func() string {
		return one[string](t, w, "SELECT state || ' ' || attempts || ' ' || coalesce(last_error, '') FROM messages")
	}
	for range 2 {
		_, sent, err := w.BeginMessage(t.Context(), welcome)
		require.ErrorIs(t, err, store.ErrGivenUp)
		require.False(t, sent)
	}
	require.Equal(t, "dead 1 550", row())

	asked := welcome
	asked.Again = true
	again, sent, err := w.BeginMessage(t.Context(), asked)
	require.NoError(t, err, "an operator has mended the reason")
	require.False(t, sent)
	require.Equal(t, id, again)
	require.Equal(t, "queued 2 550", row())
	_, _, err = w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err)
	require.NoError(t, w.MessageFailed(t.Context(), welcome.Flow, welcome.Step, store.MessageExpired, "late"))
	_, _, err = w.BeginMessage(t.Context(), welcome)
	require.NoError(t, err, "what the sweep took for abandoned is tried on")
}

func TestBeginMessageRaceMakesOneRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		m := welcome
		m.Flow = fmt.Sprintf("signup/%d", round)
		ids := make([]uuid.UUID, crowd)
		errs := race(crowd, func(i int) (err error) {
			ids[i], _, err = w.BeginMessage(t.Context(), m)
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		for _, id := range ids {
			require.Equal(t, ids[0], id)
		}
		require.Equal(t, crowd, one[int](t, w, "SELECT attempts FROM messages WHERE flow = $1", m.Flow))
	}
}

func TestInbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	put := func(to string, channel account.Channel, code string) account.InboxMessage {
		m := account.InboxMessage{ID: uuid.New(), Channel: channel, To: to, Subject: "s ?", Text: "it's \\ 100% ?", Code: code}
		require.NoError(t, w.PutInbox(t.Context(), m))
		require.NoError(t, w.PutInbox(t.Context(), m), "a repetition is put once")
		return m
	}
	first := put("Ada@example.com", account.ChannelEmail, "111111")
	second := put(ada, account.ChannelEmail, "222222")
	put("eve@example.com", account.ChannelEmail, "333333")
	put(ada, account.ChannelSMS, "444444")

	got, err := w.Inbox(t.Context(), "ADA@EXAMPLE.COM", "email")
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.Equal(t, second.Code, got[0].Code, "newest first")
	got[1].CreatedAt = time.Time{}
	require.Equal(t, first, got[1])
	all, err := w.Inbox(t.Context(), "", "")
	require.NoError(t, err)
	require.Len(t, all, 4)
	none, err := w.Inbox(t.Context(), "%", "")
	require.NoError(t, err)
	require.Empty(t, none)

	w.exec(t, `INSERT INTO dev_inbox (message_id, channel, recipient, subject, body)
		SELECT gen_random_uuid(), 'email', 'x', 's', 'b' FROM generate_series(1, 300)`)
	all, err = w.Inbox(t.Context(), "", "")
	require.NoError(t, err)
	require.Len(t, all, 200)
}
