package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func ids(sessions []account.Session) []uuid.UUID {
	var found []uuid.UUID
	for _, s := range sessions {
		found = append(found, s.ID)
	}
	return found
}

func TestSessionsOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.newcomer(t, "eve@example.com")
	older, newer := w.session(t, ada.AccountID), w.session(t, ada.AccountID)
	ended, expired := w.session(t, ada.AccountID), w.session(t, ada.AccountID)
	require.NoError(t, w.RevokeSession(t.Context(), ada.AccountID, ended, "logout"))
	w.exec(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, expired)
	w.exec(t, `UPDATE sessions SET last_active_at = now() - interval '2 hours' WHERE id = $1`, ada.SessionID)
	w.exec(t, `UPDATE sessions SET last_active_at = now() - interval '1 hour', device_info = 'My phone' WHERE id = $1`, older)

	found, err := w.Sessions(t.Context(), ada.AccountID, ada.SessionID, 100)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{ada.SessionID, newer, older}, ids(found), "the current one, then the latest active; none that ended")
	require.Equal(t, ada.AccountID, found[0].AccountID)
	require.Equal(t, "signup", found[0].Method)
	require.Equal(t, "My phone", found[2].Device())
	require.Empty(t, found[1].IP)
	require.Equal(t, sessionTTL, found[1].ExpiresAt.Sub(found[1].CreatedAt))

	found, err = w.Sessions(t.Context(), ada.AccountID, ada.SessionID, 2)
	require.NoError(t, err)
	require.Len(t, found, 2)
	found, err = w.Sessions(t.Context(), eve.AccountID, ada.SessionID, 100)
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{eve.SessionID}, ids(found))
	require.Equal(t, "192.0.2.7", found[0].IP)
	require.Equal(t, "test", found[0].UserAgent)
	found, err = w.Sessions(t.Context(), uuid.New(), uuid.New(), 100)
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestRevokeSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	for range 3 {
		w.session(t, ada.AccountID)
	}
	expired := w.session(t, ada.AccountID)
	w.exec(t, `UPDATE sessions SET expires_at = now() WHERE id = $1`, expired)

	n, err := w.RevokeSessions(t.Context(), ada.AccountID, ada.SessionID, "others")
	require.NoError(t, err)
	require.Equal(t, 3, n, "neither the current nor the expired one counts")
	n, err = w.RevokeSessions(t.Context(), ada.AccountID, ada.SessionID, "others")
	require.NoError(t, err)
	require.Zero(t, n)
	_, err = w.PrincipalBySession(t.Context(), ada.SessionID)
	require.NoError(t, err)

	n, err = w.RevokeSessions(t.Context(), ada.AccountID, uuid.Nil, "all")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, err = w.PrincipalBySession(t.Context(), ada.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.PrincipalBySession(t.Context(), eve.SessionID)
	require.NoError(t, err, "SES-07: nobody else's session went")
	require.ErrorIs(t, w.RevokeSession(t.Context(), ada.AccountID, expired, "x"), account.ErrNotFound)
}

// SES-05: whoever heard that a session ended finds it dead, however many end it at once.
func TestSES05_RevokeSessionsRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	for range *rounds {
		id := w.session(t, signed.AccountID)
		counts := make([]int, crowd)
		errs := race(crowd, func(i int) (err error) {
			if i%2 == 0 {
				counts[i], err = w.RevokeSessions(t.Context(), signed.AccountID, signed.SessionID, "others")
			} else if err = w.RevokeSession(t.Context(), signed.AccountID, id, "revoked"); err == nil {
				counts[i] = 1
			}
			if err == nil || errors.Is(err, account.ErrNotFound) {
				if _, alive := w.PrincipalBySession(t.Context(), id); alive == nil {
					return fmt.Errorf("alive after its end was acknowledged")
				}
			}
			return err
		})
		winners(t, errs, account.ErrNotFound)
		total := 0
		for _, n := range counts {
			total += n
		}
		require.Equal(t, 1, total, "it ended once")
	}
}

func TestTouchSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	back := func() {
		w.exec(t, `UPDATE sessions SET last_active_at = now() - interval '1 hour' WHERE id = $1`, ada.SessionID)
	}
	back()
	before := one[time.Time](t, w, `SELECT expires_at FROM sessions WHERE id = $1`, ada.SessionID)

	_, err := w.TouchSession(t.Context(), eve.AccountID, ada.SessionID, 0)
	require.ErrorIs(t, err, account.ErrNotFound, "SES-07")
	_, err = w.TouchSession(t.Context(), ada.AccountID, uuid.New(), 0)
	require.ErrorIs(t, err, account.ErrNotFound)
	last, err := w.TouchSession(t.Context(), ada.AccountID, ada.SessionID, 2*time.Hour)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now().Add(-time.Hour), last, time.Minute, "not yet worth a note")
	last, err = w.TouchSession(t.Context(), ada.AccountID, ada.SessionID, time.Minute)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), last, time.Minute)
	require.Equal(t, before, one[time.Time](t, w, `SELECT expires_at FROM sessions WHERE id = $1`, ada.SessionID), "nothing is prolonged")

	require.NoError(t, w.RevokeSession(t.Context(), ada.AccountID, ada.SessionID, "logout"))
	back()
	_, err = w.TouchSession(t.Context(), ada.AccountID, ada.SessionID, 0)
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Equal(t, 1, w.count(t, `sessions WHERE last_active_at < now() - interval '59 minutes' AND revoked_at IS NOT NULL`))
}

func TestDescribeSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	require.NoError(t, w.DescribeSession(t.Context(), ada.AccountID, ada.SessionID, new("My laptop"), "198.51.100.9", "curl/8.4.0"))
	p, err := w.PrincipalBySession(t.Context(), ada.SessionID)
	require.NoError(t, err)
	require.Equal(t, "My laptop", p.Session.Device())
	require.Equal(t, "198.51.100.9", p.Session.IP)
	require.NoError(t, w.DescribeSession(t.Context(), ada.AccountID, ada.SessionID, nil, "", "curl/8.4.0"))
	p, err = w.PrincipalBySession(t.Context(), ada.SessionID)
	require.NoError(t, err)
	require.Equal(t, "curl 8.4", p.Session.Device())
	require.Empty(t, p.Session.IP)
	require.ErrorIs(t, w.DescribeSession(t.Context(), eve.AccountID, ada.SessionID, nil, "", "x"), account.ErrNotFound)
}

func TestLoginHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.newcomer(t, "eve@example.com")
	w.exec(t, `UPDATE login_history SET created_at = now() - interval '1 hour'`)
	w.session(t, ada.AccountID)
	w.exec(t, `UPDATE login_history SET created_at = now() - interval '30 minutes' WHERE method = 'password'`)
	refusal := func(of uuid.UUID, outcome account.LoginOutcome) error {
		return w.RecordRefusal(t.Context(), account.LoginRecord{
			AccountID: of, Method: "password", Outcome: outcome, IP: "192.0.2.1", UserAgent: "curl/8.4.0",
		})
	}
	require.NoError(t, refusal(ada.AccountID, account.LoginWrongPassword))
	w.exec(t, `UPDATE login_history SET created_at = now() - interval '2 minutes' WHERE outcome = 'wrong_password'`)
	for range 3 {
		require.NoError(t, refusal(ada.AccountID, account.LoginThrottled))
	}
	require.NoError(t, refusal(uuid.New(), account.LoginWrongPassword), "an unknown account is no failure, and leaves no trace")

	found, err := w.LoginHistory(t.Context(), ada.AccountID, 100)
	require.NoError(t, err)
	var story []string
	for _, r := range found {
		story = append(story, r.Method+" "+string(r.Outcome))
		require.Equal(t, ada.AccountID, r.AccountID)
	}
	require.Equal(t, []string{"password throttled", "password wrong_password", "password succeeded", "signup succeeded"}, story)
	require.Equal(t, "192.0.2.1", found[0].IP)
	require.Equal(t, "curl/8.4.0", found[0].UserAgent)
	found, err = w.LoginHistory(t.Context(), ada.AccountID, 2)
	require.NoError(t, err)
	require.Len(t, found, 2)

	w.exec(t, `UPDATE login_history SET created_at = now() - interval '61 seconds' WHERE outcome = 'throttled'`)
	require.NoError(t, refusal(ada.AccountID, account.LoginThrottled))
	require.Equal(t, 2, w.count(t, `login_history WHERE outcome = 'throttled'`), "one a minute")
	found, err = w.LoginHistory(t.Context(), eve.AccountID, 100)
	require.NoError(t, err)
	require.Len(t, found, 1)
	require.Equal(t, "register", found[0].Method)
	require.Equal(t, "192.0.2.7", found[0].IP)
}

var use = store.KeyUse{IP: "192.0.2.1", UserAgent: "ci/1.0", Gap: time.Minute, SessionTTL: sessionTTL}

func (w world) key(t *testing.T, of uuid.UUID) account.APIKey {
	t.Helper()
	k := account.APIKey{ID: uuid.New(), AccountID: &of, Name: "ci", Scopes: []account.Scope{account.ScopeRead}}
	k, err := w.CreateAPIKey(t.Context(), k, []byte(k.ID.String()), 50)
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), k.CreatedAt, time.Minute)
	return k
}

func (w world) useKey(t *testing.T, k account.APIKey) (account.Session, error) {
	t.Helper()
	u := use
	u.KeyID = k.ID
	return w.UseKey(t.Context(), u)
}

func (w world) byKey(t *testing.T, k account.APIKey) (account.Principal, error) {
	t.Helper()
	return w.PrincipalByKey(t.Context(), []byte(k.ID.String()), false)
}

// X06: one implicit session per key, made on first use and found by the one query of later requests.
func TestImplicitSessionOfAKey(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	k := w.key(t, ada.AccountID)
	p, err := w.byKey(t, k)
	require.NoError(t, err)
	require.Nil(t, p.Session)
	require.Nil(t, p.APIKey.LastUsedAt)

	session, err := w.useKey(t, k)
	require.NoError(t, err)
	require.Equal(t, account.SessionByKey, session.Method)
	require.Equal(t, ada.AccountID, session.AccountID)
	p, err = w.byKey(t, k)
	require.NoError(t, err)
	require.False(t, p.Session.ReadAt.Before(session.ReadAt))
	session.ReadAt = p.Session.ReadAt
	require.Equal(t, session, *p.Session)
	require.WithinDuration(t, time.Now(), *p.APIKey.LastUsedAt, time.Minute)
	_, err = w.useKey(t, k)
	require.ErrorIs(t, err, account.ErrNotFound, "noted a moment ago")
	_, err = w.PrincipalBySession(t.Context(), session.ID)
	require.ErrorIs(t, err, account.ErrNotFound, "no token opens it")

	w.exec(t, `UPDATE api_keys SET last_used_at = now() - interval '61 seconds'`)
	w.exec(t, `UPDATE sessions SET expires_at = now() + interval '1 hour', last_active_at = now() - interval '1 hour' WHERE id = $1`, session.ID)
	again, err := w.useKey(t, k)
	require.NoError(t, err)
	require.Equal(t, session.ID, again.ID)
	require.WithinDuration(t, time.Now().Add(sessionTTL), again.ExpiresAt, time.Minute, "as long as the key is used")

	n, err := w.RevokeSessions(t.Context(), ada.AccountID, uuid.Nil, "all")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	p, err = w.byKey(t, k)
	require.NoError(t, err, "C25: a key goes on working without its session")
	require.Nil(t, p.Session)
	another, err := w.useKey(t, k)
	require.NoError(t, err)
	require.NotEqual(t, session.ID, another.ID)
}

func TestImplicitSessionRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	for range *rounds {
		k := w.key(t, ada.AccountID)
		winners(t, race(crowd, func(int) error { _, err := w.useKey(t, k); return err }), account.ErrNotFound)
		require.Equal(t, 1, w.count(t, `sessions WHERE api_key_id = $1`, k.ID))

		w.exec(t, `UPDATE api_keys SET last_used_at = now() - interval '61 seconds' WHERE id = $1`, k.ID)
		errs := race(crowd, func(int) error { _, err := w.useKey(t, k); return err })
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound), "at most one write a minute")
	}
}

// SES-05 for keys: whoever heard that a key was revoked finds it dead, and no session of it outlives it.
func TestSES05_RevokeAPIKeyRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	for range *rounds {
		k := w.key(t, ada.AccountID)
		require.ErrorIs(t, w.RevokeAPIKey(t.Context(), eve.AccountID, k.ID), account.ErrNotFound, "SES-07")
		errs := race(crowd, func(i int) error {
			if i%2 == 0 {
				_, err := w.useKey(t, k)
				if err != nil && !errors.Is(err, account.ErrNotFound) {
					return err
				}
				return account.ErrNotFound
			}
			err := w.RevokeAPIKey(t.Context(), ada.AccountID, k.ID)
			if _, alive := w.byKey(t, k); alive == nil {
				return fmt.Errorf("alive after its end was acknowledged (%w)", err)
			}
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound))
		require.Zero(t, w.count(t, `sessions WHERE api_key_id = $1 AND revoked_at IS NULL`, k.ID))
	}
}

func TestAPIKeysOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	first, second, gone := w.key(t, ada.AccountID), w.key(t, ada.AccountID), w.key(t, ada.AccountID)
	w.key(t, eve.AccountID)
	require.NoError(t, w.RevokeAPIKey(t.Context(), ada.AccountID, gone.ID))
	w.exec(t, `UPDATE api_keys SET created_at = now() - interval '1 hour' WHERE id = $1`, first.ID)
	found, err := w.APIKeys(t.Context(), ada.AccountID)
	require.NoError(t, err)
	require.Len(t, found, 2)
	require.Equal(t, second.ID, found[0].ID, "newest first")
	require.Equal(t, first.ID, found[1].ID)
	require.Equal(t, []account.Scope{account.ScopeRead}, found[0].Scopes)
}

func TestAPIKeysAreBoundedRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i := range *rounds {
		ada := w.member(t, fmt.Sprintf("ada%d@example.com", i))
		errs := race(crowd, func(int) error {
			k := account.APIKey{ID: uuid.New(), AccountID: &ada.AccountID, Name: "k", Scopes: []account.Scope{account.ScopeRead}}
			_, err := w.CreateAPIKey(t.Context(), k, []byte(k.ID.String()), 5)
			return err
		})
		require.Equal(t, 5, winners(t, errs, account.ErrTooManyKeys))
	}
}
