package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func (w world) complete(t *testing.T, challenge uuid.UUID) (store.Signed, error) {
	t.Helper()
	return w.CompleteSignup(t.Context(), challenge, bonus, sessionTTL, "")
}

func TestOpenSignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "Ada ? O'Hara"
	given := account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByCode, Email: ada, PasswordHash: "$argon2id$?", Name: &name, MarketingOptIn: true,
		Origin: account.Origin{
			IP: "192.0.2.7", UserAgent: "agent", Fingerprint: []byte(`{"a": "?"}`), Attribution: map[string]string{"utm": "x ? '"},
		},
	}
	got, opened, err := w.OpenSignup(t.Context(), given, signupTTL)
	require.NoError(t, err)
	require.True(t, opened)
	require.Equal(t, signupTTL, got.ExpiresAt.Sub(got.CreatedAt))
	given.CreatedAt, given.ExpiresAt = got.CreatedAt, got.ExpiresAt
	require.Equal(t, given, got)

	again, opened, err := w.OpenSignup(t.Context(), given, signupTTL)
	require.NoError(t, err)
	require.False(t, opened)
	require.Equal(t, got, again)
	other := given
	other.ID, other.PasswordHash = uuid.New(), "other"
	joined, opened, err := w.OpenSignup(t.Context(), other, signupTTL)
	require.NoError(t, err)
	require.False(t, opened)
	require.Equal(t, got, joined, "another request joins the open one")
	for _, find := range []func() (account.SignupAttempt, error){
		func() (account.SignupAttempt, error) { return w.OpenCodeSignup(t.Context(), ada) },
		func() (account.SignupAttempt, error) { return w.Signup(t.Context(), given.ID) },
	} {
		found, err := find()
		require.NoError(t, err)
		require.Equal(t, got, found)
	}

	w.exec(t, `UPDATE signup_attempts SET expires_at = now()`)
	_, err = w.OpenCodeSignup(t.Context(), ada)
	require.ErrorIs(t, err, account.ErrNotFound)
	fresh, opened, err := w.OpenSignup(t.Context(), other, signupTTL)
	require.NoError(t, err)
	require.True(t, opened, "an expired one makes room")
	require.Equal(t, other.ID, fresh.ID)
	_, err = w.Signup(t.Context(), given.ID)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestOpenSignupRaceOpensOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		email := fmt.Sprintf("ada%d@example.com", round)
		ids, opened := make([]uuid.UUID, crowd), make([]bool, crowd)
		errs := race(crowd, func(i int) error {
			a, o, err := w.OpenSignup(t.Context(), account.SignupAttempt{
				ID: uuid.New(), Kind: account.SignupByCode, Email: email, PasswordHash: "h",
			}, signupTTL)
			ids[i], opened[i] = a.ID, o
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		n := 0
		for i := range ids {
			require.Equal(t, ids[0], ids[i])
			if opened[i] {
				n++
			}
		}
		require.Equal(t, 1, n)
	}
}

func TestCompletedSignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, ch := w.proven(t, ada)
	signed, err := w.complete(t, ch.ID)
	require.NoError(t, err)
	again, err := w.complete(t, ch.ID)
	require.NoError(t, err)
	require.Equal(t, signed, again)

	closed, err := w.Signup(t.Context(), a.ID)
	require.NoError(t, err)
	require.True(t, closed.Closed)
	require.Empty(t, closed.PasswordHash, "the parked secret is gone")
	require.Empty(t, closed.Origin.IP)
	_, err = w.OpenCodeSignup(t.Context(), ada)
	require.ErrorIs(t, err, account.ErrNotFound)
	kept, err := w.ResultOf(t.Context(), ch.ID)
	require.NoError(t, err)
	require.Equal(t, store.ChallengeResult{AccountID: signed.AccountID, SessionID: signed.SessionID}, kept)
	cred, err := w.CredentialsOf(t.Context(), ada, "")
	require.NoError(t, err)
	require.Equal(t, "hash of "+ada, cred.PasswordHash)
	w.requireInvariants(t)
}

func TestOTP03_CompleteSignupRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		_, ch := w.proven(t, fmt.Sprintf("ada%d@example.com", round))
		signed := make([]store.Signed, crowd)
		errs := race(crowd, func(i int) (err error) {
			signed[i], err = w.complete(t, ch.ID)
			return err
		})
		require.Equal(t, crowd, winners(t, errs), "a repetition is answered as the first")
		for _, s := range signed {
			require.Equal(t, signed[0], s)
		}
		require.Equal(t, round+1, w.count(t, "accounts"))
		require.Equal(t, round+1, w.count(t, "sessions"))
		require.Equal(t, round+1, w.count(t, "credit_moves"))
		w.requireInvariants(t)
	}
}

func TestUnprovenCodeCompletesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(t, account.SignupByCode, ada)
	old := w.sent(t, account.PurposeSignup, ada, nil)
	refused := func(id uuid.UUID, why string) {
		t.Helper()
		_, err := w.complete(t, id)
		require.ErrorIs(t, err, account.ErrInvalidCode, why)
	}
	refused(old.ID, "not proven")
	refused(uuid.New(), "unknown")
	w.prove(t, old, store.Proof{})
	newest := w.sent(t, account.PurposeSignup, ada, nil)
	refused(old.ID, "superseded after it was proven")
	w.prove(t, newest, store.Proof{})
	w.exec(t, `UPDATE signup_attempts SET expires_at = now()`)
	refused(newest.ID, "the sign-up has expired")
	require.Zero(t, w.count(t, "accounts"))
	require.Zero(t, w.count(t, "challenges WHERE consumed_at IS NOT NULL"), "and the code is not spent")
	w.exec(t, `UPDATE signup_attempts SET expires_at = now() + interval '1 minute'`)
	_, err := w.complete(t, newest.ID)
	require.NoError(t, err)
}

func TestFailedCompletionLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ch := w.proven(t, ada)
	// The last thing that the transaction writes fails.
	w.exec(t, `WITH x AS (SELECT 1) INSERT INTO plans (id, code, name, amount) VALUES ('marker', 'marker', 'marker', 1)`)
	_, err := w.sql.Exec(t.Context(), `ALTER TABLE sessions ADD CONSTRAINT no_session CHECK (method <> 'signup')`)
	require.NoError(t, err)
	_, err = w.complete(t, ch.ID)
	require.Error(t, err)
	for _, table := range []string{"accounts", "settings", "credits", "credit_moves", "welcomes", "sessions"} {
		require.Zero(t, w.count(t, table), table)
	}
	_, err = w.sql.Exec(t.Context(), `ALTER TABLE sessions DROP CONSTRAINT no_session`)
	require.NoError(t, err)
	_, err = w.complete(t, ch.ID)
	require.NoError(t, err, "the code is still good")
	w.requireInvariants(t)
}

func TestOriginOfTheCompletionWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(t, account.SignupByCode, ada, func(a *account.SignupAttempt) {
		a.Origin.Fingerprint, a.Origin.Attribution = []byte(`{"f":1}`), map[string]string{"utm": "first"}
	})
	ch := w.sent(t, account.PurposeSignup, ada, nil)
	anonymous := "anon"
	w.prove(t, ch, store.Proof{Origin: account.Origin{
		IP: "198.51.100.1", UserAgent: "later", Attribution: map[string]string{"utm": "later"}, AnonymousID: &anonymous,
	}})
	_, err := w.complete(t, ch.ID)
	require.NoError(t, err)
	require.Equal(t, 1, w.count(t, `accounts WHERE attribution = '{"utm": "later"}' AND anonymous_id = 'anon' AND fingerprint = '{"f": 1}'
		AND octet_length(fingerprint_hash) = 32`))
	require.Equal(t, 1, w.count(t, `sessions WHERE ip_address = '198.51.100.1' AND user_agent = 'later'`))
}

func TestPRE06_ContestedSignupHasNoPassword(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := "Mallory"
	a, ch := w.proven(t, ada, fingerprinted(`{"squatter":1}`), func(a *account.SignupAttempt) { a.Name = &name })
	require.NoError(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID, Contested: true}, signupTTL))
	require.NoError(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID}, signupTTL), "a contest is never taken back")
	signed, err := w.complete(t, ch.ID)
	require.NoError(t, err)

	cred, err := w.CredentialsOf(t.Context(), ada, "")
	require.NoError(t, err)
	require.Empty(t, cred.PasswordHash)
	p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.False(t, p.Account.HasPassword)
	require.Nil(t, p.Account.Profile.FullName, "nothing of the squatter stays")
	require.Zero(t, w.count(t, "accounts WHERE fingerprint IS NOT NULL OR password_hash IS NOT NULL OR password_changed_at IS NOT NULL"))
	require.Zero(t, w.count(t, "signup_attempts WHERE password_hash <> ''"))
	w.requireInvariants(t)
}

func TestPRE06_ContestRaceIsNeverLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds * 10 {
		email := fmt.Sprintf("ada%d@example.com", round)
		a, ch := w.proven(t, email)
		errs := race(2, func(i int) error {
			if i == 0 {
				return w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID, Contested: true}, signupTTL)
			}
			_, err := w.complete(t, ch.ID)
			return err
		})
		require.NoError(t, errs[1])
		cred, err := w.CredentialsOf(t.Context(), email, "")
		require.NoError(t, err)
		if errs[0] == nil {
			require.Empty(t, cred.PasswordHash, "an accepted contest took effect")
		} else {
			require.ErrorIs(t, errs[0], account.ErrNotFound)
			require.NotEmpty(t, cred.PasswordHash)
		}
	}
}

func TestPRE01_CompletedSignupRemovesTheSquatter(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	squatter := w.newcomer(t, ada, named("ada"))
	require.NoError(t, w.storeKey(t, account.APIKey{ID: uuid.New(), AccountID: &squatter.AccountID, Scopes: []account.Scope{}}, []byte("k")))
	link := w.sent(t, account.PurposeEmail, ada, &squatter.AccountID)

	owner := w.member(t, ada)
	require.NotEqual(t, squatter.AccountID, owner.AccountID)
	_, err := w.PrincipalBySession(t.Context(), squatter.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.PrincipalByKey(t.Context(), []byte("k"), false)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(link.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound, "its link is dead")
	require.Equal(t, 1, w.count(t, "accounts"))
	w.requireInvariants(t)
}

func TestVerifiedAddressIsNotTakenOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, ch := w.proven(t, ada)
	owner := w.newcomer(t, ada)
	w.exec(t, `UPDATE accounts SET email_verified_at = now()`)
	_, err := w.complete(t, ch.ID)
	require.ErrorIs(t, err, account.ErrEmailExists)
	_, err = w.PrincipalBySession(t.Context(), owner.SessionID)
	require.NoError(t, err)
}

func TestProlongedSignups(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.park(t, account.SignupByCode, ada)
	w.exec(t, `UPDATE signup_attempts SET created_at = created_at - interval '20 minutes', expires_at = expires_at - interval '20 minutes'`)
	email, expires, err := w.SignupExpiry(t.Context(), a.ID, signupTTL)
	require.NoError(t, err)
	require.Equal(t, ada, email)
	require.InDelta(t, 50*60, expires.Sub(a.CreatedAt.Add(-20*time.Minute)).Seconds(), 60)
	_, shorter, err := w.SignupExpiry(t.Context(), a.ID, time.Minute)
	require.NoError(t, err)
	require.Equal(t, expires, shorter, "never shortened")

	w.exec(t, `UPDATE signup_attempts SET created_at = now() - interval '1435 minutes'`)
	require.NoError(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID}, signupTTL))
	require.Equal(t, 1, w.count(t, "signup_attempts WHERE expires_at = created_at + interval '1 day'"), "a day at most")

	w.exec(t, `UPDATE signup_attempts SET closed_at = now()`)
	_, _, err = w.SignupExpiry(t.Context(), a.ID, signupTTL)
	require.ErrorIs(t, err, account.ErrNotFound)
	require.ErrorIs(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID, Contested: true}, signupTTL), account.ErrNotFound)
}

func TestAbandonedSignupLeavesNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.park(t, account.SignupByCode, ada)
	w.sent(t, account.PurposeSignup, ada, nil)
	w.sent(t, account.PurposeSignup, ada, nil)
	w.sent(t, account.PurposeSignup, "eve@example.com", nil)
	abandon := func() time.Time {
		t.Helper()
		until, err := w.AbandonSignup(t.Context(), a.ID, subject(account.PurposeSignup, ada))
		require.NoError(t, err)
		return until
	}

	require.Equal(t, a.ExpiresAt, abandon(), "prolonged meanwhile: it stays")
	require.Equal(t, 2, w.count(t, "challenges WHERE destination = $1", ada))
	w.exec(t, `UPDATE signup_attempts SET expires_at = now()`)
	for range 2 {
		require.Zero(t, abandon())
		require.Zero(t, w.count(t, "signup_attempts"))
		require.Zero(t, w.count(t, "challenges WHERE destination = $1", ada))
	}
	require.Equal(t, 1, w.count(t, "challenges"), "the codes of others stay")

	w.park(t, account.SignupByCode, ada)
	w.sent(t, account.PurposeSignup, ada, nil)
	require.Zero(t, abandon(), "a late repetition")
	require.Equal(t, 1, w.count(t, "challenges WHERE destination = $1", ada), "spares the next sign-up of the address")
}

func TestAbandonRaceWithCompletion(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds * 10 {
		email := fmt.Sprintf("ada%d@example.com", round)
		a, ch := w.proven(t, email)
		w.exec(t, `UPDATE signup_attempts SET expires_at = clock_timestamp() + interval '1 millisecond' WHERE id = $1`, a.ID)
		errs := race(4, func(i int) error {
			if i%2 == 0 {
				_, err := w.AbandonSignup(t.Context(), a.ID, subject(account.PurposeSignup, email))
				return err
			}
			_, err := w.complete(t, ch.ID)
			return err
		})
		winners(t, errs, account.ErrInvalidCode, account.ErrUnavailable)
		w.requireInvariants(t)
	}
}

func TestSiblingsRaceForOneFullBonus(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		challenges := make([]uuid.UUID, crowd)
		for i := range challenges {
			_, ch := w.proven(t, fmt.Sprintf("sibling%d-%d@example.com", round, i), fingerprinted(fmt.Sprintf(`{"device":%d}`, round)))
			challenges[i] = ch.ID
		}
		errs := race(crowd, func(i int) error {
			_, err := w.complete(t, challenges[i])
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		device := fmt.Sprintf(`accounts a JOIN welcomes x ON x.account_id = a.id WHERE a.fingerprint = '{"device":%d}'`, round)
		require.Equal(t, 1, w.count(t, device+" AND x.received = 100 AND NOT x.reduced"))
		require.Equal(t, crowd-1, w.count(t, device+" AND x.received = 50 AND x.reduced AND x.full_bonus = 100"))
		w.requireInvariants(t)
	}
}

func (w world) unbegun(t *testing.T) []account.SignupAttempt {
	t.Helper()
	found, err := w.UnbegunSignups(t.Context(), 5*time.Second, signupTTL, 100)
	require.NoError(t, err)
	return found
}

func TestUnbegunSignups(t *testing.T) {
	t.Parallel()
	for _, kind := range []account.SignupKind{account.SignupByCode, account.SignupByRegister} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t)
			a := w.park(t, kind, ada)
			lost := []account.SignupAttempt{{ID: a.ID, Kind: kind, Email: ada}}
			require.Empty(t, w.unbegun(t), "its request may be under way")
			w.exec(t, `UPDATE signup_attempts SET created_at = now() - interval '5 seconds'`)
			require.Equal(t, lost, w.unbegun(t), "nothing is told of it but what its flow needs")

			for condition, change := range map[string][2]string{
				"ended":                         {`closed_at = now()`, `closed_at = NULL`},
				"expired":                       {`expires_at = now()`, `expires_at = now() + interval '30 minutes'`},
				"not asked for for a long time": {`expires_at = now() + interval '14 minutes'`, `expires_at = now() + interval '16 minutes'`},
			} {
				w.exec(t, `UPDATE signup_attempts SET `+change[0])
				require.Empty(t, w.unbegun(t), condition)
				w.exec(t, `UPDATE signup_attempts SET `+change[1])
				require.Equal(t, lost, w.unbegun(t), condition)
			}
			found, err := w.UnbegunSignups(t.Context(), time.Second, time.Minute, 1)
			require.NoError(t, err)
			require.Equal(t, lost, found, "however short attempts live")

			for _, id := range []uuid.UUID{uuid.New(), a.ID} {
				require.Len(t, w.unbegun(t), 1)
				_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
					ID: id, Purpose: account.PurposeSignup, Subject: []byte(ada), Channel: account.ChannelEmail, Destination: ada, CodeTTL: time.Minute,
				})
				require.NoError(t, err)
			}
			require.Empty(t, w.unbegun(t), "it has got its code")
		})
	}
}

func TestEndSignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.park(t, account.SignupByCode, ada)
	w.exec(t, `UPDATE signup_attempts SET created_at = now() - interval '5 seconds'`)
	require.NoError(t, w.EndSignup(t.Context(), a.ID))
	require.NoError(t, w.EndSignup(t.Context(), a.ID))
	require.Empty(t, w.unbegun(t))
	require.ErrorIs(t, w.JoinSignup(t.Context(), account.SignupAttempt{ID: a.ID}, signupTTL), account.ErrNotFound, "it cannot be prolonged again")
	require.NoError(t, w.EndSignup(t.Context(), uuid.New()))

	next := w.park(t, account.SignupByCode, ada)
	_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
		ID: next.ID, Purpose: account.PurposeSignup, Subject: []byte(ada), Channel: account.ChannelEmail, Destination: ada, CodeTTL: time.Minute,
	})
	require.NoError(t, err)
	require.NoError(t, w.EndSignup(t.Context(), next.ID))
	_, err = w.OpenCodeSignup(t.Context(), ada)
	require.NoError(t, err, "one that has got its code goes on")
}

// Many are open, and nearly all of them have their code.
func TestUnbegunSignups_UseIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `INSERT INTO signup_attempts (id, kind, email, password_hash, created_at, expires_at)
		SELECT gen_random_uuid(), 'code', 'g' || i || '@example.com', repeat('wide', 25), now() - i * interval '30 milliseconds',
			now() + interval '30 minutes' - i * interval '30 milliseconds'
		FROM generate_series(1, 60000) AS i`)
	w.exec(t, `INSERT INTO challenges (id, purpose, subject, channel, destination, send_by, code_expires_at)
		SELECT id, 'signup', int8send(row_number() OVER ()), 'email', email, now(), now() FROM signup_attempts WHERE email <> 'g9999@example.com'`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE signup_attempts, challenges`)
	require.NoError(t, err)
	plan := strings.Join(w.explain(t, store.UnbegunQuery, []any{15 * 60, 5, 100}), "\n")
	require.Contains(t, plan, "signup_attempts_expiry_idx", plan)
	require.NotContains(t, plan, "Seq Scan", plan)
	began := time.Now()
	require.Len(t, w.unbegun(t), 1)
	t.Logf("looked at 30,000 in %s", time.Since(began))
}

// The mails of a sign-up know no account: they are its own once there is one, and forgotten with it.
func TestMailsOfASignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	mail := func(flow string, of uuid.UUID) uuid.UUID {
		return w.message(t, store.NewMessage{
			Flow: flow, Step: "code", Template: "signup_code", Channel: account.ChannelEmail, Destination: "bob@example.com", AccountID: of,
			Recipe: store.Recipe{Send: "code", Input: []byte(`{}`)},
		})
	}
	const forgotten = `messages WHERE masked_destination = '' AND recipe IS NULL AND id = $1`
	_, ch := w.proven(t, "bob@example.com")
	own, other := mail("signup/bob", uuid.Nil), mail("signup/other", uuid.Nil)
	signed, err := w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "signup/bob")
	require.NoError(t, err)
	require.Equal(t, own, mail("signup/bob", uuid.Nil), "a late try of it knows the account no better")
	id := w.close(t, signed.AccountID)
	w.due(t, id, "0")
	_, err = w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, 1, w.count(t, forgotten, own))
	require.Zero(t, w.count(t, forgotten, other))

	unproven := w.newcomer(t, "cat@example.com")
	link := mail("registration/cat", unproven.AccountID)
	_, ch = w.proven(t, "cat@example.com")
	_, err = w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
	require.NoError(t, err)
	require.Equal(t, 1, w.count(t, forgotten, link), "it died for the owner of the mailbox")

	unproven = w.newcomer(t, "dan@example.com")
	link = mail("registration/dan", unproven.AccountID)
	left, err := w.PurgeUnverified(t.Context(), unproven.AccountID, time.Hour)
	require.NoError(t, err)
	require.Positive(t, left)
	require.Zero(t, w.count(t, forgotten, link))
	w.exec(t, `UPDATE accounts SET created_at = now() - interval '2 hours' WHERE id = $1`, unproven.AccountID)
	left, err = w.PurgeUnverified(t.Context(), unproven.AccountID, time.Hour)
	require.NoError(t, err)
	require.Zero(t, left)
	require.Equal(t, 1, w.count(t, forgotten, link), "nobody has proven it")
	require.Zero(t, w.count(t, forgotten, other))
}
