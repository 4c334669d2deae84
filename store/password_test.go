package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const resetTTL = 30 * time.Minute

// signIn is one more session of an account, made an hour ago.
func (w world) signIn(t *testing.T, accountID uuid.UUID) uuid.UUID {
	t.Helper()
	s, err := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: accountID, Method: "password", TTL: sessionTTL})
	require.NoError(t, err)
	w.exec(t, `UPDATE sessions SET auth_time = now() - interval '1 hour' WHERE id = $1`, s.ID)
	return s.ID
}

func (w world) live(t *testing.T, session uuid.UUID) bool {
	t.Helper()
	_, err := w.PrincipalBySession(t.Context(), session)
	if err != nil {
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	return err == nil
}

func (w world) passwordOf(t *testing.T, accountID uuid.UUID) string {
	t.Helper()
	hash, err := w.PasswordOf(t.Context(), accountID)
	require.NoError(t, err)
	return hash
}

// resetLink is a link of a password reset that has reached the provider.
func (w world) resetLink(t *testing.T, email string, accountID uuid.UUID) account.Challenge {
	t.Helper()
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposeReset, Subject: subject(account.PurposeReset, email), AccountID: &accountID,
		Channel: account.ChannelEmail, Destination: email, CodeTTL: resetTTL, LinkTTL: resetTTL,
	}
	_, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	ch, err := w.StoreCode(t.Context(), n.ID, nil, linkHash(n.ID))
	require.NoError(t, err)
	_, err = w.MarkCodeSent(t.Context(), n.ID, resetTTL, resetTTL)
	require.NoError(t, err)
	return ch
}

func (w world) reset(ctx context.Context, challenge uuid.UUID) error {
	_, err := w.ResetPassword(ctx, challenge, bonus, toldOf(challenge))
	return err
}

func TestChangePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	keep, other := w.signIn(t, me.AccountID), w.signIn(t, me.AccountID)
	stranger := w.member(t, "eve@example.com")
	link := w.resetLink(t, ada, me.AccountID)
	w.exec(t, `UPDATE sessions SET failed_guesses = 3 WHERE id = $1`, keep)
	change := store.PasswordChange{AccountID: me.AccountID, Before: "hash of " + ada, After: "new", Keep: &keep}

	wrong := change
	wrong.Before = "another"
	require.ErrorIs(t, w.ChangePassword(t.Context(), wrong), account.ErrNotFound)
	require.True(t, w.live(t, other), "a failed change changes nothing")
	_, _, err := w.ChallengeByLink(t.Context(), account.PurposeReset, linkHash(link.ID), "")
	require.NoError(t, err)

	require.NoError(t, w.ChangePassword(t.Context(), change))
	require.Equal(t, "new", w.passwordOf(t, me.AccountID))
	require.True(t, w.live(t, keep))
	require.False(t, w.live(t, other))
	require.False(t, w.live(t, me.SessionID))
	require.True(t, w.live(t, stranger.SessionID))
	require.Equal(t, 1, w.count(t, "sessions WHERE id = $1 AND failed_guesses = 0 AND auth_time > now() - interval '1 minute'", keep))
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeReset, linkHash(link.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound, "an open reset ends with the password it was for")

	// An API key keeps no session.
	require.NoError(t, w.ChangePassword(t.Context(), store.PasswordChange{AccountID: me.AccountID, Before: "new", After: "newer"}))
	require.False(t, w.live(t, keep))
	w.requireInvariants(t)
}

func TestChangePasswordRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	before := "hash of " + ada
	for range *rounds {
		sessions := make([]uuid.UUID, crowd)
		for i := range sessions {
			sessions[i] = w.signIn(t, me.AccountID)
		}
		errs := race(crowd, func(i int) error {
			return w.ChangePassword(t.Context(), store.PasswordChange{
				AccountID: me.AccountID, Before: before, After: sessions[i].String(), Keep: &sessions[i],
			})
		})
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound), "the password before proves one change")
		before = w.passwordOf(t, me.AccountID)
		require.Equal(t, 1, w.count(t, "sessions WHERE revoked_at IS NULL AND id::text = $1", before), "whoever won stays")
		require.Equal(t, 1, w.count(t, "sessions WHERE revoked_at IS NULL"))
	}
}

func TestAddPasswordOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	require.ErrorIs(t, w.AddPassword(t.Context(), me.AccountID, "x"), account.ErrPasswordExists)
	require.Equal(t, "hash of "+ada, w.passwordOf(t, me.AccountID))
	w.exec(t, `UPDATE accounts SET password_hash = NULL`)
	require.Empty(t, w.passwordOf(t, me.AccountID))
	errs := race(crowd, func(int) error { return w.AddPassword(t.Context(), me.AccountID, "first") })
	require.Equal(t, 1, winners(t, errs, account.ErrPasswordExists))
	require.Equal(t, "first", w.passwordOf(t, me.AccountID))
	require.True(t, w.live(t, me.SessionID))
}

func TestPasswordOfUnusableAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	for _, state := range []string{"is_active = false", "is_locked = true", "deleted_at = now()"} {
		w.exec(t, `UPDATE accounts SET `+state)
		_, err := w.PasswordOf(t.Context(), me.AccountID)
		require.ErrorIs(t, err, account.ErrNotFound, state)
		_, err = w.RecoverableAccount(t.Context(), ada, 0)
		require.ErrorIs(t, err, account.ErrNotFound, state)
		w.exec(t, `UPDATE accounts SET is_active = true, is_locked = false, deleted_at = NULL`)
	}
	id, err := w.RecoverableAccount(t.Context(), ada, 0)
	require.NoError(t, err)
	require.Equal(t, me.AccountID, id)
	_, err = w.RecoverableAccount(t.Context(), "nobody@example.com", 0)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestSES13_GuessesCostTheSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	other := w.signIn(t, me.AccountID)
	fresh := func() bool {
		p, err := w.PrincipalBySession(t.Context(), me.SessionID)
		require.NoError(t, err)
		return time.Since(p.Session.AuthTime) < time.Hour
	}
	guess := func() {
		_, err := w.PasswordGuessed(t.Context(), me.SessionID, 5, 10)
		require.NoError(t, err)
	}
	for range 4 {
		guess()
	}
	require.True(t, fresh())
	require.NoError(t, w.PasswordProven(t.Context(), me.SessionID))
	for range 4 {
		guess()
	}
	require.True(t, fresh(), "the right password forgives")
	guess()
	require.False(t, fresh())
	for range 4 {
		guess()
	}
	require.True(t, w.live(t, me.SessionID))
	guess()
	require.False(t, w.live(t, me.SessionID))
	guess()
	require.Equal(t, "guessing", one[string](t, w, `SELECT revoke_reason FROM sessions WHERE id = $1`, me.SessionID))
	require.True(t, w.live(t, other), "the session alone pays")
}

func TestSES13_ParallelGuessesAllCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	errs := race(crowd, func(int) error {
		_, err := w.PasswordGuessed(t.Context(), me.SessionID, 5, 1000)
		return err
	})
	require.Equal(t, crowd, winners(t, errs))
	require.Equal(t, crowd, one[int](t, w, `SELECT failed_guesses FROM sessions WHERE id = $1`, me.SessionID))
}

func TestRST03_ResetEndsEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	stranger := w.member(t, "eve@example.com")
	sessions := []uuid.UUID{me.SessionID, w.signIn(t, me.AccountID)}
	w.exec(t, `UPDATE sessions SET state = 'pending' WHERE id = $1`, sessions[1])
	key := account.APIKey{ID: uuid.New(), AccountID: &me.AccountID, Name: "k", Scopes: []account.Scope{account.ScopeRead}}
	_, err := w.CreateAPIKey(t.Context(), key, []byte("key"), 100)
	require.NoError(t, err)
	foreign := account.APIKey{ID: uuid.New(), AccountID: &stranger.AccountID, Name: "k", Scopes: key.Scopes}
	_, err = w.CreateAPIKey(t.Context(), foreign, []byte("foreign"), 100)
	require.NoError(t, err)
	pending := w.sent(t, account.PurposeEmail, "new@example.com", &me.AccountID)
	link := w.resetLink(t, ada, me.AccountID)
	w.prove(t, link, store.Proof{PasswordHash: "reset"})

	require.NoError(t, w.reset(t.Context(), link.ID))
	require.NoError(t, w.reset(t.Context(), link.ID), "once more: the same answer")
	w.requireTold(t, me.AccountID, link.ID)
	require.Equal(t, "reset", w.passwordOf(t, me.AccountID))
	for _, s := range sessions {
		require.False(t, w.live(t, s))
	}
	_, err = w.PrincipalByKey(t.Context(), []byte("key"), false)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(pending.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound, "a pending change of the address dies")
	require.Zero(t, w.count(t, "challenges WHERE proof::text LIKE '%reset%'"), "the parked hash is gone")
	require.True(t, w.live(t, stranger.SessionID))
	_, err = w.PrincipalByKey(t.Context(), []byte("foreign"), false)
	require.NoError(t, err)
	w.requireInvariants(t)
}

func TestPRE01_ResetOfAnUnverifiedAccountLeavesNothingOfItsMaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	squatter := w.newcomer(t, ada, named("squatter"), fingerprinted(`{"canvas":"x"}`), func(a *account.SignupAttempt) { a.MarketingOptIn = true })
	w.exec(t, `UPDATE accounts SET full_name = 'Eve', avatar_url = 'https://evil.example/a.png', anonymous_id = 'x', user_type = 'x'`)
	w.exec(t, `UPDATE settings SET language = 'xx', notify_sms = true`)
	w.exec(t, `INSERT INTO data_providers (account_id, name, enabled) VALUES ($1, 'evil', true)`, squatter.AccountID)
	confirm := w.sent(t, account.PurposeEmail, ada, &squatter.AccountID)
	w.park(t, account.SignupByCode, ada)
	link := w.resetLink(t, ada, squatter.AccountID)
	w.prove(t, link, store.Proof{PasswordHash: "owner's"})

	result, err := w.ResetPassword(t.Context(), link.ID, bonus, toldOf(link.ID))
	require.NoError(t, err)
	require.Equal(t, store.ChallengeResult{AccountID: squatter.AccountID, CreditsAwarded: bonus.Full}, result)
	require.False(t, w.live(t, squatter.SessionID))
	require.Equal(t, "owner's", w.passwordOf(t, squatter.AccountID))
	p, err := w.PrincipalBySession(t.Context(), w.signIn(t, squatter.AccountID))
	require.NoError(t, err)
	require.True(t, p.Account.EmailVerified)
	require.Equal(t, "squatter", *p.Account.Username, "the name stays: its owner can change it")
	require.Equal(t, account.Profile{}, p.Account.Profile)
	require.Equal(t, 1, w.count(t, "settings WHERE language = 'en' AND NOT notify_sms"))
	require.Zero(t, w.count(t, "data_providers"))
	require.Equal(t, 1, w.count(t, `accounts WHERE anonymous_id IS NULL AND fingerprint IS NULL AND fingerprint_hash IS NULL
		AND attribution IS NULL AND NOT marketing_opt_in`))
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(confirm.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.OpenCodeSignup(t.Context(), ada)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.requireInvariants(t)
}

func TestPRE06_AContestedAccountGetsItsPasswordByAReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, ch := w.proven(t, ada)
	require.NoError(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID, Contested: true}, signupTTL))
	signed, err := w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
	require.NoError(t, err)
	require.Empty(t, w.passwordOf(t, signed.AccountID))
	link := w.resetLink(t, ada, signed.AccountID)
	w.prove(t, link, store.Proof{PasswordHash: "owner's"})
	require.NoError(t, w.reset(t.Context(), link.ID))
	require.Equal(t, "owner's", w.passwordOf(t, signed.AccountID))
	w.requireInvariants(t)
}

func TestRST05_NothingElseResets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	refused := func(challenge uuid.UUID, why string) {
		t.Helper()
		require.ErrorIs(t, w.reset(t.Context(), challenge), account.ErrInvalidCode, why)
		require.Equal(t, "hash of "+ada, w.passwordOf(t, me.AccountID), why)
		require.True(t, w.live(t, me.SessionID), why)
	}
	refused(uuid.New(), "unknown")
	email := w.sent(t, account.PurposeEmail, ada, &me.AccountID)
	w.prove(t, email, store.Proof{PasswordHash: "evil"})
	refused(email.ID, "another purpose")
	_, _, err := w.ChallengeByLink(t.Context(), account.PurposeReset, linkHash(email.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound)

	old := w.resetLink(t, ada, me.AccountID)
	link := w.resetLink(t, ada, me.AccountID)
	refused(link.ID, "not proven")
	require.ErrorIs(t, w.Prove(t.Context(), old.ID, guessOf(account.PurposeReset, ada, ""), store.Proof{}), account.ErrNotFound, "newest only")
	w.exec(t, `UPDATE challenges SET proven_at = now() WHERE id = $1`, link.ID)
	refused(link.ID, "no password was parked")
	w.exec(t, `UPDATE challenges SET proven_at = NULL, consumed_at = NULL WHERE id = $1`, link.ID)
	w.prove(t, link, store.Proof{PasswordHash: "evil"})
	w.exec(t, `UPDATE accounts SET email = 'moved@example.com' WHERE id = $1`, me.AccountID)
	refused(link.ID, "the address has moved on")
	w.exec(t, `UPDATE accounts SET email = $2 WHERE id = $1`, me.AccountID, ada)
	w.exec(t, `UPDATE accounts SET is_locked = true WHERE id = $1`, me.AccountID)
	require.ErrorIs(t, w.reset(t.Context(), link.ID), account.ErrInvalidCode)
	w.exec(t, `UPDATE accounts SET is_locked = false WHERE id = $1`, me.AccountID)
	require.Equal(t, "hash of "+ada, w.passwordOf(t, me.AccountID))
}

func TestResetRaceOfOneLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	for range *rounds {
		link := w.resetLink(t, ada, me.AccountID)
		errs := race(crowd, func(i int) error {
			return w.Prove(t.Context(), link.ID, guessOf(account.PurposeReset, ada, ""), store.Proof{PasswordHash: uuid.NewString()})
		})
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound), "a link is proven once")
		errs = race(crowd, func(int) error { return w.reset(t.Context(), link.ID) })
		require.Equal(t, crowd, winners(t, errs), "a repeated step gets the same answer")
	}
	w.requireInvariants(t)
}

// Confirming, changing and resetting touch the same rows; whatever comes first, nobody waits for each other.
func TestResetRaceAgainstEverything(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for range *rounds {
		newcomer := w.newcomer(t, ada)
		confirm := w.sent(t, account.PurposeEmail, ada, &newcomer.AccountID)
		w.prove(t, confirm, store.Proof{})
		link := w.resetLink(t, ada, newcomer.AccountID)
		w.prove(t, link, store.Proof{PasswordHash: "reset"})
		errs := race(30, func(i int) error {
			switch i % 3 {
			case 0:
				_, err := w.ConfirmEmail(t.Context(), confirm.ID, bonus)
				return err
			case 1:
				return w.ChangePassword(t.Context(), store.PasswordChange{AccountID: newcomer.AccountID, Before: "hash of " + ada, After: "changed"})
			default:
				return w.reset(t.Context(), link.ID)
			}
		})
		winners(t, errs, account.ErrInvalidCode, account.ErrNotFound)
		require.Contains(t, []string{"reset", "changed"}, w.passwordOf(t, newcomer.AccountID))
		require.Equal(t, 1, w.count(t, "accounts WHERE email_verified_at IS NOT NULL"))
		w.requireInvariants(t)
		w.exec(t, `DELETE FROM accounts`)
	}
}

// A login that compared the old password must not leave a session behind, wherever the reset comes in between.
func TestLoginRaceAgainstReset(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	for range *rounds {
		before, err := w.CredentialsOf(t.Context(), ada, "")
		require.NoError(t, err)
		_, err = w.byPassword(t, before)
		require.NoError(t, err)
		link := w.resetLink(t, ada, me.AccountID)
		w.prove(t, link, store.Proof{PasswordHash: uuid.NewString()})
		errs := race(40, func(i int) error {
			if i == 20 {
				return w.reset(t.Context(), link.ID)
			}
			_, err := w.byPassword(t, before)
			if errors.Is(err, account.ErrNotFound) {
				return nil
			}
			return err
		})
		require.Equal(t, 40, winners(t, errs))
		require.Zero(t, w.count(t, "sessions WHERE revoked_at IS NULL"))
	}
	w.exec(t, `UPDATE accounts SET password_hash = 'renewed'`)
	after, err := w.CredentialsOf(t.Context(), ada, "")
	require.NoError(t, err)
	require.NoError(t, w.RenewPasswordHash(t.Context(), me.AccountID, "renewed", "again"))
	p, err := w.byPassword(t, after)
	require.NoError(t, err, "a renewed hash is the same password")
	require.Equal(t, me.AccountID, p.Account.ID)
	for _, over := range []string{`is_active = false`, `is_active = true, is_locked = true`, `is_locked = false, deleted_at = now()`} {
		w.exec(t, `UPDATE accounts SET `+over)
		_, err = w.byPassword(t, after)
		require.ErrorIs(t, err, account.ErrNotFound, over)
	}
	require.Zero(t, w.count(t, "sessions WHERE id <> $1 AND revoked_at IS NULL", p.Session.ID))
}

// byPassword is a login that compared a password with cred.
func (w world) byPassword(t *testing.T, cred store.Credentials) (account.Principal, error) {
	t.Helper()
	p, _, err := w.Enter(t.Context(), store.Entry{
		Session:  store.NewSession{ID: uuid.New(), AccountID: cred.AccountID, Method: "password", TTL: sessionTTL},
		Compared: &cred,
	})
	return p, err
}

// The first use of a key makes a session while a reset waits for the key's row: neither waits for the other in a circle, for the
// statement of a request is not run again.
func TestRace_UseKeyAgainstReset(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	me := w.member(t, ada)
	k := w.key(t, me.AccountID)
	link := w.resetLink(t, ada, me.AccountID)
	w.prove(t, link, store.Proof{PasswordHash: "reset"})
	using, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = using.Exec(t.Context(), `UPDATE api_keys SET last_used_at = now() WHERE id = $1`, k.ID)
	require.NoError(t, err)
	reset := make(chan error, 1)
	go func() { reset <- w.reset(t.Context(), link.ID) }()
	testkit.Eventually(t, 10*time.Second, func() bool {
		return w.count(t, `pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`) > 0
	}, "the reset to wait for the key")
	// NOWAIT, for of two in a circle the reset may be the one that is given up and run again.
	_, err = using.Exec(t.Context(), `SELECT 1 FROM accounts WHERE id = $1 FOR KEY SHARE NOWAIT`, me.AccountID)
	require.NoError(t, err, "the reset keeps the use from referring to the account")
	session := uuid.New()
	_, err = using.Exec(t.Context(), `INSERT INTO sessions (id, account_id, method, api_key_id, expires_at)
		VALUES ($1, $2, 'api_key', $3, now() + interval '1 day')`, session, me.AccountID, k.ID)
	require.NoError(t, err)
	require.NoError(t, using.Commit(t.Context()))
	require.NoError(t, <-reset)
	require.False(t, w.live(t, session), "it was made before the reset")

	for range *rounds {
		k = w.key(t, me.AccountID)
		link = w.resetLink(t, ada, me.AccountID)
		w.prove(t, link, store.Proof{PasswordHash: uuid.NewString()})
		errs := race(20, func(i int) error {
			if i == 10 {
				return w.reset(t.Context(), link.ID)
			}
			_, err := w.useKey(t, k)
			return err
		})
		winners(t, errs, account.ErrNotFound)
		require.NoError(t, errs[10])
		require.Zero(t, w.count(t, `sessions WHERE api_key_id = $1 AND revoked_at IS NULL`, k.ID))
	}
}
