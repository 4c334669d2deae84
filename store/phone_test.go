package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const number = "+4915112345678"

func phoneAttempt(owner uuid.UUID) store.PhoneAttempt {
	return store.PhoneAttempt{ID: uuid.New(), AccountID: owner, Number: number}
}

func bound(key string, limit int, per time.Duration) store.Bound {
	return store.Bound{Key: []byte(key), Quotas: []account.Quota{{Max: limit, Per: per}}}
}

func TestParkPhoneChargesAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	quotas := []store.Bound{bound("to", 3, time.Hour)}
	budgets := []store.Bound{bound("all", 2, 24*time.Hour)}
	first := phoneAttempt(owner)
	require.NoError(t, w.ParkPhone(t.Context(), first, quotas, budgets))
	require.NoError(t, w.ParkPhone(t.Context(), phoneAttempt(owner), quotas, budgets))

	err := w.ParkPhone(t.Context(), phoneAttempt(owner), quotas, budgets)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	require.InDelta(t, 24*time.Hour, account.AsError(err).RetryAfter, float64(time.Minute), "until the window ends")
	require.Equal(t, 2, w.count(t, "phone_attempts"), "nothing was parked")
	require.Equal(t, 2, one[int](t, w, "SELECT cardinality(hits) FROM quotas"), "and nothing charged")

	w.exec(t, "UPDATE budgets SET ends_at = now() - interval '1 second'")
	require.NoError(t, w.ParkPhone(t.Context(), phoneAttempt(owner), quotas, budgets), "the next window begins")
	require.Equal(t, 1, one[int](t, w, "SELECT used FROM budgets"))
	err = w.ParkPhone(t.Context(), phoneAttempt(owner), quotas, budgets)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	require.Equal(t, 1, one[int](t, w, "SELECT used FROM budgets"), "the budget is not charged for what a quota refuses")
	require.ErrorIs(t, w.ParkPhone(t.Context(), phoneAttempt(owner), nil, []store.Bound{bound("off", 0, time.Hour)}),
		account.ErrTooManyRequests, "a budget of nothing stops everything")

	got, err := w.PhoneAttempt(t.Context(), first.ID)
	require.NoError(t, err)
	first.CreatedAt = got.CreatedAt
	require.Equal(t, first, got)
	_, err = w.PhoneAttempt(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.NewestPhoneAttempt(t.Context(), owner, "+4915112345679", time.Minute)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, "UPDATE phone_attempts SET created_at = now() - interval '2 minutes' WHERE id <> $1", first.ID)
	newest, err := w.NewestPhoneAttempt(t.Context(), owner, number, time.Minute)
	require.NoError(t, err)
	require.Equal(t, first, newest)
}

func TestParkPhoneRaceKeepsTheBudget(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	for range *rounds {
		key := uuid.NewString()
		errs := race(crowd, func(int) error {
			return w.ParkPhone(t.Context(), phoneAttempt(owner), nil, []store.Bound{bound(key, 7, time.Hour), bound("all"+key, 100, time.Hour)})
		})
		require.Equal(t, 7, winners(t, errs, account.ErrTooManyRequests), "OTP-13")
		require.Equal(t, 7, one[int](t, w, "SELECT used FROM budgets WHERE key = $1", []byte("all"+key)), "what was refused is not charged")
	}
}

// provenPhone issues and proves the code of an attempt.
func (w world) provenPhone(t *testing.T, owner uuid.UUID) uuid.UUID {
	t.Helper()
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposePhone, Subject: subject(account.PurposePhone, owner.String()), AccountID: &owner,
		Channel: account.ChannelSMS, Destination: number, CodeTTL: codeTTL,
	}
	_, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	_, err = w.StoreCode(t.Context(), n.ID, codeHash(n.ID), nil)
	require.NoError(t, err)
	counted, err := w.CountGuess(t.Context(), guessOf(account.PurposePhone, owner.String(), ""))
	require.NoError(t, err)
	require.Equal(t, number, counted.Destination)
	require.NoError(t, w.Prove(t.Context(), n.ID, guessOf(account.PurposePhone, owner.String(), ""), store.Proof{}))
	return n.ID
}

func TestBindPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	challenge := w.provenPhone(t, owner)
	for range 2 {
		got, err := w.BindPhone(t.Context(), challenge, toldOf(challenge))
		require.NoError(t, err)
		require.Equal(t, owner, got)
	}
	w.requireTold(t, owner, challenge)
	require.Equal(t, number+" DE", one[string](t, w,
		"SELECT phone_number || ' ' || country_code FROM accounts WHERE id = $1 AND phone_verified_at IS NOT NULL", owner))
	_, err := w.BindPhone(t.Context(), uuid.New(), toldOf(uuid.New()))
	require.ErrorIs(t, err, account.ErrInvalidCode)

	unproven := w.newcomer(t, "eve@example.com").AccountID
	_, err = w.BindPhone(t.Context(), w.provenPhone(t, unproven), toldOf(uuid.New()))
	require.ErrorIs(t, err, account.ErrInvalidCode, "PRE-03")
	_, other := w.proven(t, "bob@example.com")
	_, err = w.BindPhone(t.Context(), other.ID, toldOf(other.ID))
	require.ErrorIs(t, err, account.ErrInvalidCode, "a code of another purpose")
	require.Equal(t, 1, w.count(t, "accounts WHERE phone_number IS NOT NULL"))
	w.requireInvariants(t)
}

func TestBindPhoneRaceBindsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	challenge := w.provenPhone(t, owner)
	errs := race(crowd, func(int) error {
		_, err := w.BindPhone(t.Context(), challenge, toldOf(challenge))
		return err
	})
	require.Equal(t, crowd, winners(t, errs), "a repeated step says the same")
}

func TestDropQueuedLeavesWhatHasEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	m := store.NewMessage{Flow: "phone/1", Template: "phone_code", Channel: account.ChannelSMS, Destination: number}
	states := map[string]store.MessageState{"code/1/sms": store.MessageQueued, "code/1/whatsapp": store.MessageDead, "code/2/sms": store.MessageQueued}
	for step, state := range states {
		m.Step = step
		_, _, err := w.BeginMessage(t.Context(), m)
		require.NoError(t, err)
		require.NoError(t, w.MessageFailed(t.Context(), m.Flow, step, state, "x"))
	}
	require.NoError(t, w.DropQueued(t.Context(), m.Flow, "code/1/"))
	for step, want := range map[string]string{"code/1/sms": "expired", "code/1/whatsapp": "dead", "code/2/sms": "queued"} {
		require.Equal(t, want, one[string](t, w, "SELECT state FROM messages WHERE step = $1", step))
	}
	require.Equal(t, 3, w.count(t, "messages WHERE masked_destination = '+***78'"))
}
