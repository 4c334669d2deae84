package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// stolen is a closed account whose owner's address a thief has replaced by theirs.
func (w world) stolen(t *testing.T, owners, thiefs string) (owner store.Signed, closure uuid.UUID) {
	t.Helper()
	owner = w.member(t, owners)
	w.move(t, owner.AccountID, thiefs)
	return owner, w.close(t, owner.AccountID)
}

func (w world) emailOf(t *testing.T, id uuid.UUID) string {
	t.Helper()
	return one[string](t, w, `SELECT coalesce(email, '') FROM accounts WHERE id = $1 AND deleted_at IS NULL`, id)
}

// Whoever moves an account to their address, closes it and signs up by that address does not have it erased: its owner opens it
// from the mailbox that they had, with that address.
func TestReopenAccount_WhenItsAddressIsAnothers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, closure := w.stolen(t, oldMail, newMail)
	moved := one[time.Time](t, w, `SELECT email_changed_at FROM accounts WHERE id = $1`, owner.AccountID)
	thief := w.member(t, newMail)
	squatter := w.newcomer(t, oldMail)
	w.park(t, account.SignupByCode, oldMail)
	undo := store.Undo{ClosureID: closure, Told: toldOf(closure)}
	require.ErrorIs(t, w.ReopenAccount(t.Context(), undo), account.ErrEmailExists, "by the link that went to that address")
	undo.Former = 2
	require.ErrorIs(t, w.ReopenAccount(t.Context(), undo), account.ErrEmailExists, "there was no such mailbox")

	undo.Former = 1
	for range 2 {
		require.NoError(t, w.ReopenAccount(t.Context(), undo))
	}
	require.Equal(t, oldMail, w.emailOf(t, owner.AccountID))
	require.Equal(t, newMail, w.emailOf(t, thief.AccountID))
	require.Zero(t, w.count(t, `accounts WHERE id = $1`, squatter.AccountID))
	require.Zero(t, w.count(t, `signup_attempts WHERE kind = 'code' AND closed_at IS NULL`))
	cred, err := w.CredentialsOf(t.Context(), oldMail, "")
	require.NoError(t, err)
	require.Equal(t, owner.AccountID, cred.AccountID)
	require.NotEmpty(t, cred.PasswordHash, "its owner can sign in")
	require.Equal(t, 2, w.count(t, `audit_events WHERE account_id = $1 AND name = 'account.email_changed'`, owner.AccountID))
	require.Equal(t, 1, w.count(t, `email_changes WHERE id = $1 AND old_email = $2 AND new_email = $3 AND closed_at IS NOT NULL`, closure, newMail, oldMail))
	require.Equal(t, 1, w.count(t, `owed_notices WHERE id = $1 AND account_id = $2`, toldOf(closure).ID, owner.AccountID), "the other mailbox hears of it")
	w.requireInvariants(t)

	// No sooner than by the address that it was moved to.
	require.Equal(t, moved, one[time.Time](t, w, `SELECT email_changed_at FROM accounts WHERE id = $1`, owner.AccountID))
	_, err = w.RecoverableAccount(t.Context(), oldMail, 24*time.Hour)
	require.ErrorIs(t, err, account.ErrNotFound)
	again := w.close(t, owner.AccountID)
	require.Equal(t, []string{newMail, oldMail}, w.hears(t, again))
}

// The first of the former addresses brings back itself. One that is another's brings back none.
func TestReopenAccount_TheFormerAddressIsAnothers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, oldMail).AccountID
	w.move(t, owner, ada)
	w.move(t, owner, newMail)
	closure := w.close(t, owner)
	require.Equal(t, []string{oldMail, ada, newMail}, w.hears(t, closure))
	w.member(t, newMail)
	w.member(t, oldMail)
	for former := range 3 {
		require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure, Former: former}), account.ErrEmailExists)
	}
	w.requireInvariants(t)
}

// Whoever had an account between its owner and its owner again does not get it: not by signing up for the address that its owner has
// now, and not by waiting until the sweep has passed.
func TestReopenAccount_AFormerThiefsAddress(t *testing.T) {
	t.Parallel()
	const owners, anew, thiefs = "owner@example.com", "anew@example.com", "thief@thief.example"
	for name, moves := range map[string][]string{
		"the owner has another address": {thiefs, anew},
		"the owner has theirs again":    {thiefs, owners},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, late: %t", name, late), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				id := w.member(t, owners).AccountID
				w.move(t, id, moves[0])
				if late {
					w.exec(t, `UPDATE former_emails SET expires_at = now() - interval '1 day'`)
					require.NoError(t, w.Sweep(t.Context(), unverifiedTTL))
				}
				w.move(t, id, moves[1])
				closure := w.close(t, id)
				hearing := w.hears(t, closure)
				w.member(t, hearing[len(hearing)-1]) // the last is the account's own
				undo := store.Undo{ClosureID: closure, Former: slices.Index(hearing, thiefs) + 1, Told: toldOf(closure)}
				require.Positive(t, undo.Former)
				require.ErrorIs(t, w.ReopenAccount(t.Context(), undo), account.ErrEmailExists)
				w.requireInvariants(t)
			})
		}
	}
}

// While nobody else has proven its last address the account has that, whichever link is followed.
func TestReopenAccount_WithItsLastAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, closure := w.stolen(t, oldMail, newMail)
	w.newcomer(t, newMail)
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure, Former: 1}))
	require.Equal(t, newMail, w.emailOf(t, owner.AccountID))
	require.Zero(t, w.count(t, "email_changes WHERE id = $1", closure))
	w.requireInvariants(t)
}

// An address that is proven at the very moment of the undo is another's like one that was proven before.
func TestReopenAccount_ItsAddressIsTakenMeanwhile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, closure := w.stolen(t, oldMail, newMail)
	_, ch := w.proven(t, newMail)
	reopened := make(chan error, 1)
	require.NoError(t, w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		if _, err := tx.CompleteSignup(ctx, ch.ID, bonus, sessionTTL, ""); err != nil {
			return err
		}
		go func() {
			reopened <- w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure, Former: 1, Told: toldOf(closure)})
		}()
		testkit.Eventually(t, 10*time.Second, func() bool {
			return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
		}, "the undo to wait for the address")
		return nil
	}))
	require.NoError(t, <-reopened)
	require.Equal(t, oldMail, w.emailOf(t, owner.AccountID))
	w.requireInvariants(t)
}

// Whoever of the two comes first, the account is open, and the address is one account's.
func TestRace_ReopenAgainstItsAddress(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for range *rounds {
		owners, thiefs := uuid.NewString()+"@example.com", uuid.NewString()+"@example.com"
		owner, closure := w.stolen(t, owners, thiefs)
		_, ch := w.proven(t, thiefs)
		errs := race(crowd, func(i int) error {
			if i%2 == 0 {
				return w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure, Former: 1, Told: toldOf(closure)})
			}
			_, err := w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
			return err
		})
		winners(t, errs, account.ErrInvalidCode, account.ErrEmailExists)
		for i := 0; i < crowd; i += 2 {
			require.NoError(t, errs[i])
		}
		at := w.emailOf(t, owner.AccountID)
		require.Contains(t, []string{owners, thiefs}, at)
		require.Equal(t, at == owners, w.count(t, `accounts WHERE email = $1 AND deleted_at IS NULL AND id <> $2`, thiefs, owner.AccountID) == 1)
		w.requireInvariants(t)
	}
}

// A sign-up that is open for the address ends with the undo: left behind, it would disarm whoever proves the address next.
func TestReopenAccount_EndsTheSignUpOfItsAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	closure := w.close(t, id)
	w.park(t, account.SignupByCode, ada)
	other := w.park(t, account.SignupByCode, "other@example.com")
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
	require.Equal(t, []uuid.UUID{other.ID}, one[[]uuid.UUID](t, w, `SELECT array_agg(id) FROM signup_attempts WHERE kind = 'code' AND closed_at IS NULL`))
	w.requireInvariants(t)
}
