package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// securityCode is a code that guards an account for one of its sessions, and has reached the provider.
func (w world) securityCode(t *testing.T, me store.Signed, session uuid.UUID) account.Challenge {
	t.Helper()
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposePasswordChange, Subject: subject(account.PurposePasswordChange, me.AccountID.String()),
		AccountID: &me.AccountID, SessionID: &session, Channel: account.ChannelEmail, Destination: ada, CodeTTL: codeTTL,
	}
	_, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	ch, err := w.StoreCode(t.Context(), n.ID, codeHash(n.ID), nil)
	require.NoError(t, err)
	return ch
}

func securityGuess(me store.Signed, session uuid.UUID) store.Guess {
	g := guessOf(account.PurposePasswordChange, me.AccountID.String(), "")
	g.SessionID = &session
	return g
}

// provenFor is a proven code and what it is to be spent on.
func (w world) provenFor(t *testing.T, me store.Signed, session uuid.UUID, proof store.Proof) account.Challenge {
	t.Helper()
	ch := w.securityCode(t, me, session)
	require.NoError(t, w.Prove(t.Context(), ch.ID, securityGuess(me, session), proof))
	return ch
}

func (w world) spend(ctx context.Context, challenge uuid.UUID) error {
	_, err := w.SpendPasswordCode(ctx, challenge)
	return err
}

func newHash(hash string) store.Proof {
	return store.Proof{Use: store.UseSetPassword, PasswordHash: hash}
}

func TestOTP07_CodeCountsForItsSessionAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine, other := w.signIn(t, me.AccountID), w.signIn(t, me.AccountID)
	ch := w.securityCode(t, me, mine)
	for _, g := range []store.Guess{securityGuess(me, other), guessOf(account.PurposePasswordChange, me.AccountID.String(), "")} {
		_, err := w.CountGuess(t.Context(), g)
		require.ErrorIs(t, err, account.ErrNotFound)
	}
	require.Zero(t, one[int](t, w, "SELECT attempts FROM challenges WHERE id = $1", ch.ID), "nor can they use up its tries")
	counted, err := w.CountGuess(t.Context(), securityGuess(me, mine))
	require.NoError(t, err)
	require.Equal(t, ch.ID, counted.ID)
	live, err := w.LiveChallenge(t.Context(), ch.Purpose, securityGuess(me, mine).Subject)
	require.NoError(t, err)
	require.Equal(t, &mine, live.SessionID)
	require.NoError(t, w.RevokeSession(t.Context(), me.AccountID, other, "revoked"))
	w.exec(t, "DELETE FROM sessions WHERE id = $1", mine)
	require.Zero(t, w.count(t, "challenges WHERE id = $1", ch.ID))
}

func TestSpendPasswordCode_OfANumberThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	session := w.signIn(t, me.AccountID)
	texted := func() account.Challenge {
		ch := w.securityCode(t, me, session)
		w.exec(t, `UPDATE challenges SET channel = 'sms', destination = '+1555010001' WHERE id = $1`, ch.ID)
		require.NoError(t, w.Prove(t.Context(), ch.ID, securityGuess(me, session), newHash("new")))
		return ch
	}
	number := func(n string, verified bool) {
		w.exec(t, `UPDATE accounts SET phone_number = $2, phone_verified_at = CASE WHEN $3 THEN now() END WHERE id = $1`, me.AccountID, n, verified)
	}
	number("+1555010002", true)
	require.ErrorIs(t, w.spend(t.Context(), texted().ID), account.ErrInvalidCode, "a stolen phone whose number was replaced")
	number("+1555010001", false)
	require.ErrorIs(t, w.spend(t.Context(), texted().ID), account.ErrInvalidCode)
	number("+1555010001", true)
	require.NoError(t, w.spend(t.Context(), texted().ID))
}

func TestSpendPasswordCode_SetsThePassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine, other := w.signIn(t, me.AccountID), w.signIn(t, me.AccountID)
	link := w.resetLink(t, ada, me.AccountID)
	ch := w.provenFor(t, me, mine, newHash("new"))
	want := store.ChallengeResult{AccountID: me.AccountID, PasswordSet: true, HadPassword: true}
	for range 2 {
		got, err := w.SpendPasswordCode(t.Context(), ch.ID)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	require.Equal(t, "new", w.passwordOf(t, me.AccountID))
	require.True(t, w.live(t, mine))
	require.False(t, w.live(t, other))
	require.Equal(t, 1, w.count(t, "sessions WHERE id = $1 AND auth_time > now() - interval '1 minute'", mine))
	_, _, err := w.ChallengeByLink(t.Context(), account.PurposeReset, linkHash(link.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound, "an open reset ends with the password it was for")
	require.Zero(t, w.count(t, "challenges WHERE proof::text LIKE '%new%'"), "no hash stays behind")
	require.NoError(t, w.Reauthenticated(t.Context(), me.AccountID, mine))

	w.exec(t, "UPDATE accounts SET password_hash = NULL")
	got, err := w.SpendPasswordCode(t.Context(), w.provenFor(t, me, mine, newHash("first")).ID)
	require.NoError(t, err)
	require.False(t, got.HadPassword)
	w.requireInvariants(t)
}

func TestSpendPasswordCode_OnEveryOtherUse(t *testing.T) {
	t.Parallel()
	for use, left := range map[store.CodeUse][2]bool{
		store.UseReauthenticate: {true, true}, store.UseSignOutOthers: {true, false}, store.UseSignOutAll: {false, false},
	} {
		t.Run(string(use), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			me := w.member(t, ada)
			mine, other := w.signIn(t, me.AccountID), w.signIn(t, me.AccountID)
			stranger := w.member(t, "eve@example.com")
			ch := w.provenFor(t, me, mine, store.Proof{Use: use})
			ended := map[store.CodeUse]int{store.UseSignOutOthers: 2, store.UseSignOutAll: 3}[use]
			for range 2 {
				got, err := w.SpendPasswordCode(t.Context(), ch.ID)
				require.NoError(t, err)
				require.Equal(t, store.ChallengeResult{AccountID: me.AccountID, HadPassword: true, SessionsEnded: ended}, got)
			}
			alive := [2]bool{w.live(t, mine), w.live(t, other)}
			require.Equal(t, left, alive)
			require.True(t, w.live(t, stranger.SessionID))
			require.Equal(t, "hash of "+ada, w.passwordOf(t, me.AccountID))
			require.Equal(t, 1, w.count(t, "sessions WHERE id = $1 AND auth_time > now() - interval '1 minute'", mine))
		})
	}
}

func TestSpendPasswordCode_RefusesWhatProvesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine := w.signIn(t, me.AccountID)
	require.ErrorIs(t, w.spend(t.Context(), uuid.New()), account.ErrInvalidCode)
	require.ErrorIs(t, w.spend(t.Context(), w.securityCode(t, me, mine).ID), account.ErrInvalidCode, "not proven")
	for name, proof := range map[string]store.Proof{"no use": {}, "another use": {Use: "x"}, "no password": {Use: store.UseSetPassword}} {
		require.ErrorIs(t, w.spend(t.Context(), w.provenFor(t, me, mine, proof).ID), account.ErrInvalidCode, name)
	}
	older := w.provenFor(t, me, mine, newHash("new"))
	w.securityCode(t, me, mine)
	require.ErrorIs(t, w.spend(t.Context(), older.ID), account.ErrInvalidCode, "OTP-09: a newer code")
	other := w.sent(t, account.PurposeEmail, ada, &me.AccountID)
	w.prove(t, other, newHash("new"))
	require.ErrorIs(t, w.spend(t.Context(), other.ID), account.ErrInvalidCode, "another purpose")

	ch := w.provenFor(t, me, mine, newHash("new"))
	w.exec(t, "UPDATE accounts SET is_locked = true")
	require.ErrorIs(t, w.spend(t.Context(), ch.ID), account.ErrInvalidCode)
	w.exec(t, "UPDATE accounts SET is_locked = false")
	require.NoError(t, w.RevokeSession(t.Context(), me.AccountID, mine, "revoked"))
	require.ErrorIs(t, w.spend(t.Context(), ch.ID), account.ErrInvalidCode, "the session has ended")
	require.ErrorIs(t, w.Reauthenticated(t.Context(), me.AccountID, mine), account.ErrNotFound)
	require.Equal(t, "hash of "+ada, w.passwordOf(t, me.AccountID))
}

func TestProvenContact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine := w.signIn(t, me.AccountID)
	contact := func(session uuid.UUID, channel account.Channel) (string, error) {
		return w.ProvenContact(t.Context(), me.AccountID, session, channel, 24*time.Hour)
	}
	for _, session := range []uuid.UUID{me.SessionID, mine} {
		to, err := contact(session, account.ChannelEmail)
		require.NoError(t, err, "its first session began with the proof")
		require.Equal(t, ada, to)
	}
	_, err := contact(mine, account.ChannelSMS)
	require.ErrorIs(t, err, account.ErrNotFound)
	for proven, known := range map[string]bool{
		"NULL": false, "now()": false, "now() - interval '23 hours'": false, "now() - interval '25 hours'": true,
		"(SELECT created_at FROM sessions WHERE id = '" + mine.String() + "')": true,
	} {
		w.exec(t, `UPDATE sessions SET created_at = now() - interval '23 hours 30 minutes' WHERE id = $1`, mine)
		w.exec(t, `UPDATE accounts SET phone_number = '+4915112345678', phone_verified_at = `+proven)
		for _, channel := range []account.Channel{account.ChannelSMS, account.ChannelWhatsApp} {
			to, err := contact(mine, channel)
			if known {
				require.NoError(t, err, proven)
				require.Equal(t, "+4915112345678", to)
			} else {
				require.ErrorIs(t, err, account.ErrNotFound, proven)
			}
		}
		_, err := w.VerifiedPhone(t.Context(), me.AccountID)
		require.Equal(t, proven != "NULL", err == nil)
	}
	require.NoError(t, w.RevokeSession(t.Context(), me.AccountID, mine, "revoked"))
	_, err = contact(mine, account.ChannelEmail)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.ProvenContact(t.Context(), w.member(t, "eve@example.com").AccountID, me.SessionID, account.ChannelEmail, 0)
	require.ErrorIs(t, err, account.ErrNotFound, "a session of somebody else")
}

// OTP-13: whoever got hold of a session and put contacts and ways to sign in there has no younger session for which these contacts
// count, as long as they do not know the password.
func TestOTP13_ProvenContactOfEverySession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	session := func(method string) uuid.UUID {
		s, err := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: me.AccountID, Method: method, TTL: sessionTTL})
		require.NoError(t, err)
		return s.ID
	}
	stepped := func() uuid.UUID {
		s, step := w.enter(t, me.AccountID, nil, phone("laptop"))
		require.Equal(t, account.StepDevice, step)
		require.NoError(t, w.LiftSession(t.Context(), store.Lift{AccountID: me.AccountID, SessionID: s.ID, Method: "device_otp", TTL: sessionTTL}))
		return s.ID
	}
	byKey := func() uuid.UUID {
		s, err := w.useKey(t, w.key(t, me.AccountID))
		require.NoError(t, err)
		return s.ID
	}
	// want are the sessions for which a contact counts.
	requireCounts := func(channel account.Channel, to string, all map[string]uuid.UUID, want ...string) {
		t.Helper()
		var got []string
		for name, id := range all {
			contact, err := w.ProvenContact(t.Context(), me.AccountID, id, channel, 24*time.Hour)
			if err != nil {
				require.ErrorIs(t, err, account.ErrNotFound, name)
				continue
			}
			require.Equal(t, to, contact)
			got = append(got, name)
		}
		require.ElementsMatch(t, want, got)
	}
	every := []string{"password", "password and code", "google", "API key"}
	begin := func() map[string]uuid.UUID {
		return map[string]uuid.UUID{"password": session("password"), "password and code": stepped(), "google": session("google"), "API key": byKey()}
	}
	challenge := w.provenPhone(t, me.AccountID)
	_, err := w.BindPhone(t.Context(), challenge, toldOf(challenge))
	require.NoError(t, err)
	before := begin()
	requireCounts(account.ChannelEmail, ada, before, every...)
	requireCounts(account.ChannelSMS, number, before, "password", "password and code")
	requireCounts(account.ChannelWhatsApp, number, before, "password", "password and code")
	requireCounts(account.ChannelEmail, ada, map[string]uuid.UUID{"sign-up": me.SessionID}, "sign-up")
	requireCounts(account.ChannelSMS, number, map[string]uuid.UUID{"sign-up": me.SessionID})

	e := w.moving(t, me.AccountID, newMail)
	w.proveChange(t, e)
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
	requireCounts(account.ChannelEmail, newMail, before)
	after := begin()
	requireCounts(account.ChannelEmail, newMail, after, "password", "password and code")
	w.exec(t, `UPDATE accounts SET email_verified_at = now() - interval '23 hours', email_changed_at = now() - interval '23 hours',
		phone_verified_at = now() - interval '23 hours'`)
	requireCounts(account.ChannelEmail, newMail, after, "password", "password and code")
	requireCounts(account.ChannelSMS, number, after, "password", "password and code")
	w.exec(t, `UPDATE accounts SET email_verified_at = now() - interval '25 hours', email_changed_at = now() - interval '25 hours',
		phone_verified_at = now() - interval '25 hours'`)
	requireCounts(account.ChannelEmail, newMail, after, every...)
	requireCounts(account.ChannelSMS, number, after, every...)
}

func TestOTP03_SpendPasswordCodeRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine := w.signIn(t, me.AccountID)
	for range *rounds {
		ch := w.provenFor(t, me, mine, newHash("new"))
		errs := race(crowd, func(int) error { return w.spend(t.Context(), ch.ID) })
		require.Equal(t, crowd, winners(t, errs), "each gets the one result")
		require.Equal(t, 1, w.count(t, "challenges WHERE id = $1 AND consumed_at IS NOT NULL", ch.ID))
		w.requireInvariants(t)
	}
}

func TestOTP03_ProofOfASecurityCodeRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	mine := w.signIn(t, me.AccountID)
	for range *rounds {
		ch := w.securityCode(t, me, mine)
		errs := race(crowd, func(int) error { return w.Prove(t.Context(), ch.ID, securityGuess(me, mine), newHash("new")) })
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound))
	}
}

// Whatever sets a password at the same moment: each leaves the account whole, and nobody waits for the other for ever.
func TestSpendPasswordCodeRaceAgainstEverything(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	me := w.member(t, ada)
	for range *rounds {
		w.exec(t, "UPDATE accounts SET password_hash = 'before'")
		mine := w.signIn(t, me.AccountID)
		link := w.resetLink(t, ada, me.AccountID)
		require.NoError(t, w.Prove(t.Context(), link.ID, guessOf(account.PurposeReset, ada, ""), store.Proof{PasswordHash: "reset"}))
		ch := w.provenFor(t, me, mine, newHash("code"))
		errs := race(crowd, func(i int) error {
			switch i % 5 {
			case 0:
				return w.spend(t.Context(), ch.ID)
			case 1:
				return w.reset(t.Context(), link.ID)
			case 2:
				return w.ChangePassword(t.Context(), store.PasswordChange{AccountID: me.AccountID, Before: "before", After: "changed", Keep: &mine})
			case 3:
				return w.Reauthenticated(t.Context(), me.AccountID, mine)
			default:
				_, err := w.CountGuess(t.Context(), securityGuess(me, mine))
				return err
			}
		})
		require.Positive(t, winners(t, errs, account.ErrNotFound, account.ErrInvalidCode))
		require.Contains(t, []string{"reset", "code", "changed"}, w.passwordOf(t, me.AccountID))
		// A reset ends every session; after it no code counts.
		if w.passwordOf(t, me.AccountID) == "reset" {
			require.False(t, w.live(t, mine))
		}
		require.Zero(t, w.count(t, `challenges WHERE purpose IN ('reset', 'password_change') AND consumed_at IS NULL AND superseded_at IS NULL`))
		w.requireInvariants(t)
		w.exec(t, "DELETE FROM challenges")
	}
}
