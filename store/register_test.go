package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const unverifiedTTL = 7 * 24 * time.Hour

func (w world) register(t *testing.T, attempt uuid.UUID) (store.Signed, error) {
	t.Helper()
	return w.Register(t.Context(), store.Registration{Attempt: attempt, SessionTTL: sessionTTL, Bonus: bonus})
}

func TestRegistered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.park(t, account.SignupByRegister, ada, named("ada"), func(a *account.SignupAttempt) { a.MarketingOptIn = true })
	signed, err := w.register(t, a.ID)
	require.NoError(t, err)
	again, err := w.register(t, a.ID)
	require.NoError(t, err)
	require.Equal(t, signed, again)

	p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.Equal(t, "ada", *p.Account.Username)
	require.False(t, p.Account.EmailVerified)
	require.Zero(t, p.Credits.Balance, "the bonus waits for the proof")
	require.Equal(t, 1, w.count(t, "accounts WHERE marketing_opt_in"))
	closed, err := w.Signup(t.Context(), a.ID)
	require.NoError(t, err)
	require.True(t, closed.Closed)
	require.Equal(t, &signed.AccountID, closed.AccountID)
	require.Equal(t, &signed.SessionID, closed.SessionID)
	require.Empty(t, closed.PasswordHash)
	_, err = w.register(t, uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.register(t, w.park(t, account.SignupByCode, "eve@example.com").ID)
	require.ErrorIs(t, err, account.ErrNotFound, "an attempt by code is no registration")
	w.requireInvariants(t)
}

func TestRegisterRaceOfOneAttempt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		a := w.park(t, account.SignupByRegister, fmt.Sprintf("ada%d@example.com", round))
		signed := make([]store.Signed, crowd)
		errs := race(crowd, func(i int) (err error) {
			signed[i], err = w.register(t, a.ID)
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		for _, s := range signed {
			require.Equal(t, signed[0], s)
		}
		require.Equal(t, round+1, w.count(t, "sessions"))
		w.requireInvariants(t)
	}
}

func TestUsernameRaceHasOneOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		attempts := make([]uuid.UUID, crowd)
		for i := range attempts {
			attempts[i] = w.park(t, account.SignupByRegister, fmt.Sprintf("u%d-%d@example.com", round, i), named(fmt.Sprintf("name%d", round))).ID
		}
		errs := race(crowd, func(i int) error {
			_, err := w.register(t, attempts[i])
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrUsernameTaken))
		require.Equal(t, round+1, w.count(t, "accounts"))
		w.requireInvariants(t)
	}
}

// ENU-03: a registration that must not tell leaves its username to everybody until the address is proven.
func TestRegister_NameAtProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	nameless := func(email, username string) (store.Signed, account.Challenge) {
		a := w.park(t, account.SignupByRegister, email, named(username))
		signed, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus, NameAtProof: true})
		require.NoError(t, err)
		ch := w.sent(t, account.PurposeEmail, email, &signed.AccountID)
		w.prove(t, ch, store.Proof{})
		return signed, ch
	}
	nameOf := func(signed store.Signed) *string {
		p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
		require.NoError(t, err)
		return p.Account.Username
	}
	first, proof := nameless(ada, "ada")
	require.Nil(t, nameOf(first))
	taken, err := w.UsernameTaken(t.Context(), "ada")
	require.NoError(t, err)
	require.False(t, taken)
	for range 2 {
		_, err = w.ConfirmEmail(t.Context(), proof.ID, bonus)
		require.NoError(t, err)
		require.Equal(t, "ada", *nameOf(first))
	}

	late, proof := nameless("late@example.com", "ada")
	_, err = w.ConfirmEmail(t.Context(), proof.ID, bonus)
	require.NoError(t, err, "the address is proven all the same")
	require.Nil(t, nameOf(late))

	w.newcomer(t, "former@example.com", named("held"))
	owner, err := w.OwnerOf(t.Context(), "former@example.com")
	require.NoError(t, err)
	w.exec(t, `UPDATE accounts SET username = 'other' WHERE id = $1`, owner.AccountID)
	w.exec(t, `INSERT INTO username_history (account_id, old_username, new_username, held_until) VALUES ($1, 'held', 'other', now() + interval '1 day')`, owner.AccountID)
	held, proof := nameless("held@example.com", "held")
	_, err = w.ConfirmEmail(t.Context(), proof.ID, bonus)
	require.NoError(t, err)
	require.Nil(t, nameOf(held), "kept for whoever gave it up")
}

func TestNameAtProofRaceHasOneOwner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		proofs := make([]uuid.UUID, crowd)
		name := fmt.Sprintf("name%d", round)
		for i := range proofs {
			email := fmt.Sprintf("u%d-%d@example.com", round, i)
			a := w.park(t, account.SignupByRegister, email, named(name))
			signed, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus, NameAtProof: true})
			require.NoError(t, err)
			ch := w.sent(t, account.PurposeEmail, email, &signed.AccountID)
			w.prove(t, ch, store.Proof{})
			proofs[i] = ch.ID
		}
		errs := race(crowd, func(i int) error {
			_, err := w.ConfirmEmail(t.Context(), proofs[i], bonus)
			return err
		})
		require.Equal(t, crowd, winners(t, errs), "every address is proven")
		require.Equal(t, 1, w.count(t, "accounts WHERE username = $1", name))
		w.requireInvariants(t)
	}
}

func TestPRE09_SignupRaceOnOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		email := fmt.Sprintf("ada%d@example.com", round)
		_, ch := w.proven(t, email)
		attempts := make([]uuid.UUID, crowd)
		for i := range attempts {
			attempts[i] = w.park(t, account.SignupByRegister, email, named(fmt.Sprintf("ada%d.%d", round, i))).ID
		}
		signed := make([]store.Signed, crowd)
		errs := race(crowd, func(i int) (err error) {
			if i%2 == 0 {
				signed[i], err = w.complete(t, ch.ID)
			} else {
				signed[i], err = w.register(t, attempts[i])
			}
			return err
		})
		winners(t, errs, account.ErrEmailExists, account.ErrUnavailable)
		require.Equal(t, 1, w.count(t, "accounts WHERE email = $1", email), "one live account")
		w.requireInvariants(t)

		owner, err := w.complete(t, ch.ID)
		require.NoError(t, err, "whoever proved the mailbox gets the account in the end")
		require.Equal(t, 1, w.count(t, "accounts WHERE email = $1 AND id = $2 AND email_verified_at IS NOT NULL", email, owner.AccountID))
		require.Equal(t, 1, w.count(t, "sessions s JOIN accounts a ON a.id = s.account_id WHERE a.email = $1", email))
		w.requireInvariants(t)
	}
}

func TestConfirmEmailRaceGrantsOneBonus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		email := fmt.Sprintf("ada%d@example.com", round)
		signed := w.newcomer(t, email)
		ch := w.sent(t, account.PurposeEmail, email, &signed.AccountID)
		w.prove(t, ch, store.Proof{})
		results := make([]store.ChallengeResult, crowd)
		errs := race(crowd, func(i int) (err error) {
			results[i], err = w.ConfirmEmail(t.Context(), ch.ID, bonus)
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		for _, r := range results {
			require.Equal(t, store.ChallengeResult{AccountID: signed.AccountID, CreditsAwarded: 100}, r)
		}
		_, err := w.PrincipalBySession(t.Context(), signed.SessionID)
		require.NoError(t, err, "an uncontested account keeps its session")
		w.requireInvariants(t)
	}
}

func TestConfirmEmailRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada)
	refused := func(id uuid.UUID, why string) {
		t.Helper()
		_, err := w.ConfirmEmail(t.Context(), id, bonus)
		require.ErrorIs(t, err, account.ErrInvalidCode, why)
	}
	first := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	refused(first.ID, "not proven")
	w.prove(t, first, store.Proof{})
	w.exec(t, `UPDATE accounts SET email = 'changed@example.com'`)
	refused(first.ID, "the account has another address by now")
	w.exec(t, `UPDATE accounts SET email = $1, deleted_at = now()`, ada)
	refused(first.ID, "the account is gone")
	w.exec(t, `UPDATE accounts SET deleted_at = NULL`)
	_, err := w.ConfirmEmail(t.Context(), first.ID, bonus)
	require.NoError(t, err)
	second := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, second, store.Proof{})
	refused(second.ID, "verified already")
	w.requireInvariants(t)
}

func TestReducedBonusOnConfirmation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "eve@example.com", fingerprinted(`{"device":1}`))
	signed := w.newcomer(t, ada, fingerprinted(`{"device":1}`))
	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, ch, store.Proof{})
	r, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)
	require.Equal(t, int64(50), r.CreditsAwarded)
	w.requireInvariants(t)
}

func TestPRE06_ConfirmationOfAContestedAddressDropsPasswordAndSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada)
	attempt := w.park(t, account.SignupByCode, ada)
	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, ch, store.Proof{})
	_, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)

	_, err = w.PrincipalBySession(t.Context(), signed.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
	cred, err := w.CredentialsOf(t.Context(), ada, "")
	require.NoError(t, err)
	require.Empty(t, cred.PasswordHash)
	_, err = w.Signup(t.Context(), attempt.ID)
	require.ErrorIs(t, err, account.ErrNotFound, "the other attempt is over")
	w.requireInvariants(t)
}

// rivals are the other registrations of ada's.
func (w world) rivals(t *testing.T, own uuid.UUID) []store.Rival {
	t.Helper()
	found, err := w.Rivals(t.Context(), ada, own)
	require.NoError(t, err)
	return found
}

func TestPRE06_RivalsOfARegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(t, account.SignupByCode, ada)
	w.newcomer(t, "bob@example.com")
	w.park(t, account.SignupByRegister, "cy@example.com")
	require.Empty(t, w.rivals(t, uuid.Nil))

	a := w.park(t, account.SignupByRegister, ada)
	want := store.Rival{Attempt: a.ID, PasswordHash: a.PasswordHash}
	require.Equal(t, []store.Rival{want}, w.rivals(t, uuid.Nil))
	require.Empty(t, w.rivals(t, a.ID), "one's own")
	w.exec(t, `UPDATE signup_attempts SET expires_at = now() WHERE id = $1`, a.ID)
	require.Equal(t, []store.Rival{want}, w.rivals(t, uuid.Nil), "its flow waits for a worker")
	signed, err := w.register(t, a.ID)
	require.NoError(t, err)
	require.Equal(t, []store.Rival{want}, w.rivals(t, uuid.Nil), "the account has the password now")
	require.NoError(t, w.Contest(t.Context(), a.ID))
	want.Contested = true
	require.Equal(t, []store.Rival{want}, w.rivals(t, uuid.Nil))

	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, ch, store.Proof{})
	_, err = w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)
	require.Empty(t, w.rivals(t, uuid.Nil), "it is proven whose it is")
}

func TestRivals_UseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO signup_attempts (id, kind, email, password_hash, expires_at)
		SELECT gen_random_uuid(), 'register', 'g' || i || '@example.com', repeat('wide', 25), now() FROM generate_series(1, 20000) AS i`)
	w.exec(t, `INSERT INTO accounts (id, email) SELECT id, email FROM signup_attempts`)
	w.exec(t, `UPDATE signup_attempts SET account_id = id`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE signup_attempts, accounts`)
	require.NoError(t, err)
	plan := strings.Join(w.explain(t, store.RivalsQuery, []any{ada, uuid.New()}), "\n")
	require.Contains(t, plan, "signup_attempts_registering_idx", plan)
	require.NotContains(t, plan, "Seq Scan", plan)
}

// The name that somebody asked for is none of the owner's either.
func TestPRE06_ConfirmationOfAContestedRegistration(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.park(t, account.SignupByRegister, ada, named("ada"))
	signed, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus, NameAtProof: true})
	require.NoError(t, err)
	require.NoError(t, w.Contest(t.Context(), a.ID))
	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, ch, store.Proof{})
	_, err = w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)
	require.Equal(t, 1, w.count(t, "accounts WHERE email_verified_at IS NOT NULL AND password_hash IS NULL AND username IS NULL"))
	require.Zero(t, w.count(t, "sessions WHERE revoked_at IS NULL"))
	w.requireInvariants(t)
}

// Whoever is about to mark a registration is heard by the proof.
func TestPRE06_ConfirmationWaitsForTheContest(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada)
	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	w.prove(t, ch, store.Proof{})
	marking, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = marking.Exec(t.Context(), `UPDATE signup_attempts SET contested = true WHERE account_id = $1`, signed.AccountID)
	require.NoError(t, err)
	proven := make(chan error, 1)
	go func() {
		_, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
		proven <- err
	}()
	testkit.Eventually(t, 10*time.Second, func() bool {
		return len(proven) > 0 || w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, "it to wait for the mark")
	require.NoError(t, marking.Commit(t.Context()))
	require.NoError(t, <-proven)
	require.Zero(t, w.count(t, "sessions WHERE revoked_at IS NULL"))
	w.requireInvariants(t)
}

func TestConfirmationRacesWithCompletion(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds * 5 {
		email := fmt.Sprintf("ada%d@example.com", round)
		signed := w.newcomer(t, email)
		link := w.sent(t, account.PurposeEmail, email, &signed.AccountID)
		w.prove(t, link, store.Proof{})
		_, code := w.proven(t, email)
		errs := race(8, func(i int) error {
			if i%2 == 0 {
				_, err := w.ConfirmEmail(t.Context(), link.ID, bonus)
				return err
			}
			_, err := w.complete(t, code.ID)
			return err
		})
		require.Positive(t, winners(t, errs, account.ErrEmailExists, account.ErrInvalidCode, account.ErrUnavailable))
		require.Equal(t, 1, w.count(t, "accounts WHERE email = $1 AND email_verified_at IS NOT NULL", email))
		cred, err := w.CredentialsOf(t.Context(), email, "")
		require.NoError(t, err)
		if cred.AccountID == signed.AccountID {
			require.Empty(t, cred.PasswordHash, "PRE-06: the squatter's password does not survive")
		}
		w.requireInvariants(t)
	}
}

func TestPurgeUnverified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	young, old, proven := w.newcomer(t, "young@example.com"), w.newcomer(t, "old@example.com"), w.member(t, "proven@example.com")
	w.exec(t, `UPDATE accounts SET created_at = now() - interval '6 days' WHERE id = $1`, young.AccountID)
	w.exec(t, `UPDATE accounts SET created_at = now() - interval '7 days' WHERE id = $1 OR id = $2`, old.AccountID, proven.AccountID)
	w.sent(t, account.PurposeEmail, "old@example.com", &old.AccountID)

	left, err := w.PurgeUnverified(t.Context(), young.AccountID, unverifiedTTL)
	require.NoError(t, err)
	require.InDelta(t, (24 * time.Hour).Seconds(), left.Seconds(), 60)
	for _, id := range []uuid.UUID{old.AccountID, old.AccountID, proven.AccountID, uuid.New()} {
		left, err = w.PurgeUnverified(t.Context(), id, unverifiedTTL)
		require.NoError(t, err)
		require.Zero(t, left)
	}
	require.Equal(t, 2, w.count(t, "accounts"))
	for _, table := range []string{"settings", "credits", "welcomes", "sessions", "challenges"} {
		if table == "challenges" {
			table += " WHERE account_id IS NOT NULL"
			require.Zero(t, w.count(t, table))
			continue
		}
		require.Equal(t, 2, w.count(t, table), table)
	}
	_, err = w.OwnerOf(t.Context(), "old@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
	w.requireInvariants(t)
}

func TestPurgeRacesWithConfirmation(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds * 5 {
		email := fmt.Sprintf("ada%d@example.com", round)
		signed := w.newcomer(t, email)
		ch := w.sent(t, account.PurposeEmail, email, &signed.AccountID)
		w.prove(t, ch, store.Proof{})
		w.exec(t, `UPDATE accounts SET created_at = now() - interval '7 days' WHERE id = $1`, signed.AccountID)
		errs := race(4, func(i int) error {
			if i%2 == 0 {
				_, err := w.PurgeUnverified(t.Context(), signed.AccountID, unverifiedTTL)
				return err
			}
			_, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
			return err
		})
		winners(t, errs, account.ErrInvalidCode, account.ErrUnavailable)
		if errs[1] == nil || errs[3] == nil {
			require.Equal(t, 1, w.count(t, "accounts WHERE id = $1", signed.AccountID), "an acknowledged proof keeps the account")
		}
		w.requireInvariants(t)
	}
}
