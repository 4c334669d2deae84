package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// hears lists the addresses that hear of a closure, in order.
func (w world) hears(t *testing.T, closure uuid.UUID) []string {
	t.Helper()
	to, _, err := w.ClosedRecipients(t.Context(), closure)
	require.NoError(t, err)
	addresses := make([]string, len(to))
	for i, r := range to {
		addresses[i] = r.Email
	}
	return addresses
}

// move gives an account another address.
func (w world) move(t *testing.T, accountID uuid.UUID, to string) {
	t.Helper()
	e := w.moving(t, accountID, to)
	w.proveChange(t, e)
	_, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
}

// The address that an account has lost lately keeps its term: whoever takes it away (D25) and closes the account must not have it
// erased before its owner has read a mail.
func TestCloseAccount_WithoutTheAddressThatItHad(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	w.linkGoogle(t, id, "g-1")
	require.NoError(t, w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace))

	for range 2 { // a closure that was undone may be done again, with as much time
		w.exec(t, `UPDATE former_emails SET expires_at = expires_at - interval '6 days'`)
		closure := uuid.New()
		eraseAt, err := w.CloseAccount(t.Context(), store.NewClosure{ID: closure, AccountID: id, TokenHash: linkHash(closure), Grace: grace})
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(grace), eraseAt, time.Minute)
		w.exec(t, `DELETE FROM former_emails`) // as the sweep of an older build does, in the course of the term
		require.Equal(t, []string{oldMail}, w.hears(t, closure))
		wait, err := w.EraseAccount(t.Context(), closure)
		require.NoError(t, err)
		require.InDelta(t, grace, wait, float64(time.Minute))

		found, err := w.ClosureByToken(t.Context(), linkHash(closure))
		require.NoError(t, err)
		require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: found.ID}))
		require.Len(t, w.links(t, id), 1, "it opens as it did before")
		require.Nil(t, one[*string](t, w, `SELECT email FROM accounts WHERE id = $1 AND deleted_at IS NULL`, id),
			"whoever reads the former address opens the account, and does not get it")
		require.Zero(t, w.count(t, `closures WHERE former_emails IS NOT NULL`))
		require.Equal(t, 1, w.count(t, `former_emails WHERE account_id = $1 AND expires_at BETWEEN now() + interval '6 days' AND now() + interval '7 days'`, id))
	}
	w.requireInvariants(t)
}

// An account that lost its address longer ago has no term, as one that never had any.
func TestCloseAccount_LongWithoutAnAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	w.linkGoogle(t, id, "g-1")
	require.NoError(t, w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace))
	w.exec(t, `UPDATE former_emails SET expires_at = now()`)
	closure := uuid.New()
	eraseAt, err := w.CloseAccount(t.Context(), store.NewClosure{ID: closure, AccountID: id, TokenHash: linkHash(closure), Grace: grace})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), eraseAt, time.Minute)
	_, _, err = w.ClosedRecipients(t.Context(), closure)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, `UPDATE former_emails SET expires_at = now() - interval '91 days'`)
	require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
	require.Zero(t, w.count(t, "former_emails"))
}

// However many addresses a thief puts in the place of the owner's, that one hears of the closure.
func TestCloseAccount_AfterChangesOfTheAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	for _, next := range []string{"a@thief.example", "b@thief.example", "c@thief.example", "d@thief.example"} {
		w.move(t, id, next)
		w.exec(t, `UPDATE former_emails SET expires_at = expires_at - interval '1 minute'`)
	}
	closure := w.close(t, id)
	require.Equal(t, []string{oldMail, "a@thief.example", "b@thief.example", "d@thief.example"}, w.hears(t, closure))
	w.due(t, closure, "0")
	_, err := w.EraseAccount(t.Context(), closure)
	require.NoError(t, err)
	require.Zero(t, w.count(t, "former_emails"))
	require.Zero(t, w.count(t, `closures c WHERE c::text LIKE '%example%'`))

	// One that came back is no former one.
	id = w.member(t, ada).AccountID
	w.move(t, id, newMail)
	w.move(t, id, ada)
	require.Equal(t, []string{newMail, ada}, w.hears(t, w.close(t, id)))
	w.requireInvariants(t)
}

// A sign-up that is open for an address ends when an account proves it: left behind, it would cost whoever has the address next the
// password that they chose.
func TestChangeEmail_EndsTheSignUpOfItsAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	w.park(t, account.SignupByCode, newMail)
	other := w.park(t, account.SignupByCode, "other@example.com")
	w.move(t, id, newMail)
	require.Equal(t, []uuid.UUID{other.ID}, one[[]uuid.UUID](t, w, `SELECT array_agg(id) FROM signup_attempts WHERE kind = 'code' AND closed_at IS NULL`))

	w.move(t, id, "third@example.com")
	next := w.newcomer(t, newMail)
	ch := w.sent(t, account.PurposeEmail, newMail, &next.AccountID)
	w.prove(t, ch, store.Proof{})
	_, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)
	require.NotEmpty(t, w.passwordOf(t, next.AccountID))
	require.True(t, w.live(t, next.SessionID))
	w.requireInvariants(t)
}

// However long a thief goes on, the address that was lost first hears first: neither an undo nor a repeated theft makes it a late
// one.
func TestCloseAccount_TheFirstLostStaysFirst(t *testing.T) {
	t.Parallel()
	const owner = "zoe@example.com" // after all others by name
	thiefs := []string{"a@thief.example", "b@thief.example", "c@thief.example", "d@thief.example"}
	for name, steal := range map[string]func(t *testing.T, w world, id uuid.UUID){
		"undone and closed again": func(t *testing.T, w world, id uuid.UUID) {
			t.Helper()
			closure := w.close(t, id)
			require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
		},
		"undone once the sweep has passed": func(t *testing.T, w world, id uuid.UUID) {
			t.Helper()
			closure := w.close(t, id)
			w.exec(t, `UPDATE former_emails SET expires_at = now() - interval '1 day'`)
			require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
			require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
		},
		"stolen twice": func(t *testing.T, w world, id uuid.UUID) {
			t.Helper()
			w.move(t, id, owner)
			w.move(t, id, thiefs[3])
		},
		"stolen again after its term": func(t *testing.T, w world, id uuid.UUID) {
			t.Helper()
			w.move(t, id, owner)
			w.exec(t, `UPDATE former_emails SET expires_at = now() - interval '1 minute' WHERE email = $1`, owner)
			require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
			w.move(t, id, thiefs[3])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.member(t, owner).AccountID
			for _, next := range thiefs {
				w.move(t, id, next)
			}
			steal(t, w, id)
			require.Equal(t, []string{owner, thiefs[0], thiefs[1], thiefs[3]}, w.hears(t, w.close(t, id)))
			w.requireInvariants(t)
		})
	}
}

// What was there before the order was kept has the order that it had.
func TestMigration_FormerEmailsKeepTheirOrder(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	w.exec(t, `UPDATE bun_migrations SET group_id = id`)
	for w.count(t, `information_schema.columns WHERE column_name = 'first_lost_at'`) > 0 {
		require.NoError(t, w.Rollback(t.Context()))
	}
	w.exec(t, `INSERT INTO former_emails (account_id, email, expires_at) SELECT $1, d || '@example.com', now() + d * interval '1 day' FROM unnest(array[3, 1, 6]) d`, id)
	_, err := w.Migrate(t.Context())
	require.NoError(t, err)
	w.move(t, id, "0@example.com")
	require.Equal(t, []string{"1@example.com", "3@example.com", "6@example.com", ada},
		one[[]string](t, w, `SELECT array_agg(email ORDER BY first_lost_at) FROM former_emails`))
}
