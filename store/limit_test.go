package store_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
	"gatehouse/store"
)

// checking is a test or a round of rapid.
type checking interface {
	require.TestingT
	Helper()
	Context() context.Context
}

// retryAfter is what a refusal says.
func retryAfter(t checking, err error) time.Duration {
	t.Helper()
	var e *account.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	return e.RetryAfter
}

// age moves all hits of all quotas into the past.
func (w world) age(t checking, d time.Duration) {
	t.Helper()
	_, err := w.sql.Exec(t.Context(), `UPDATE quotas SET hits = array(SELECT h - $1 * interval '1 second' FROM unnest(hits) h),
		expires_at = expires_at - $1 * interval '1 second'`, d.Seconds())
	require.NoError(t, err)
}

var hourAndDay = []account.Quota{{Max: 5, Per: time.Hour}, {Max: 8, Per: 24 * time.Hour}}

func TestTakeQuotaRaceNeverExceeds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		key := fmt.Appendf(nil, "subject %d", round)
		take := func(int) error { return w.TakeQuota(t.Context(), key, hourAndDay) }

		errs := race(crowd, take)
		require.Equal(t, 5, winners(t, errs, account.ErrTooManyRequests))
		for _, err := range errs {
			if err != nil {
				require.InDelta(t, time.Hour.Seconds(), retryAfter(t, err).Seconds(), 60)
			}
		}
		w.age(t, 61*time.Minute)
		errs = race(crowd, take)
		require.Equal(t, 3, winners(t, errs, account.ErrTooManyRequests), "the hour is over, the day is not")
		for _, err := range errs {
			if err != nil {
				require.InDelta(t, (23*time.Hour - time.Minute).Seconds(), retryAfter(t, err).Seconds(), 60)
			}
		}
		w.age(t, 23*time.Hour)
		require.Equal(t, 5, winners(t, race(crowd, take), account.ErrTooManyRequests))
	}
}

func TestTakeQuotaCountsOnlyWhatItAllows(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	quota := []account.Quota{{Max: 1, Per: time.Minute}}
	require.NoError(t, w.TakeQuota(t.Context(), []byte("k"), quota))
	w.age(t, 59*time.Second)
	wait := retryAfter(t, w.TakeQuota(t.Context(), []byte("k"), quota))
	require.LessOrEqual(t, wait, time.Second)
	require.Positive(t, wait, "never an empty Retry-After")
	require.Equal(t, 1, one[int](t, w, "SELECT cardinality(hits) FROM quotas"), "a refusal is not a hit")
	require.NoError(t, w.TakeQuota(t.Context(), []byte("another"), quota))
	for key, want := range map[string]bool{"k": true, "unknown": false} {
		used, err := w.QuotaUsed(t.Context(), []byte(key), quota[0])
		require.NoError(t, err)
		require.Equal(t, want, used, key)
	}
	w.age(t, 2*time.Second)
	used, err := w.QuotaUsed(t.Context(), []byte("k"), quota[0])
	require.NoError(t, err)
	require.False(t, used, "the hit is over")
	require.NoError(t, w.TakeQuota(t.Context(), []byte("k"), quota))
	require.Equal(t, 1, one[int](t, w, "SELECT cardinality(hits) FROM quotas WHERE key = 'k'"), "old hits are dropped")
}

// The quota agrees with a list of hits, whatever happens when.
func TestTakeQuotaModel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	rapid.Check(t, func(r *rapid.T) {
		key := []byte(rapid.StringMatching(`[a-z]{16}`).Draw(r, "key"))
		quotas := make([]account.Quota, rapid.IntRange(1, 3).Draw(r, "quotas"))
		for i := range quotas {
			quotas[i] = account.Quota{
				Max: rapid.IntRange(1, 4).Draw(r, "max"), Per: time.Duration(rapid.IntRange(1, 20).Draw(r, "minutes")) * time.Minute,
			}
		}
		var ages []time.Duration // of the hits that were let through, newest first
		for range rapid.IntRange(1, 12).Draw(r, "steps") {
			// Half minutes, while windows are whole minutes: the seconds that the test itself takes decide nothing.
			step := time.Duration(rapid.IntRange(0, 8).Draw(r, "step"))*time.Minute + 30*time.Second
			w.age(r, step)
			for i := range ages {
				ages[i] += step
			}
			var wait time.Duration
			for _, q := range quotas {
				inside := slices.DeleteFunc(slices.Clone(ages), func(a time.Duration) bool { return a >= q.Per })
				if len(inside) >= q.Max {
					wait = max(wait, q.Per-inside[q.Max-1])
				}
			}
			err := w.TakeQuota(r.Context(), key, quotas)
			if wait == 0 {
				require.NoError(r, err)
				ages = slices.Insert(ages, 0, 0)
				continue
			}
			require.InDelta(r, wait.Seconds(), retryAfter(r, err).Seconds(), 20)
		}
	})
}

func TestCountRateRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	minuteAndHour := []account.Quota{{Max: 20, Per: time.Minute}, {Max: 30, Per: time.Hour}}
	for round := range *rounds {
		keys := [][]byte{fmt.Appendf(nil, "m%d", round), fmt.Appendf(nil, "h%d", round)}
		hit := func(int) error { return w.CountRate(t.Context(), keys, minuteAndHour) }

		errs := race(20, hit)
		require.Equal(t, 20, winners(t, errs))
		wait := retryAfter(t, w.CountRate(t.Context(), keys, minuteAndHour))
		require.InDelta(t, time.Minute.Seconds(), wait.Seconds(), 30)

		w.exec(t, `UPDATE rate_limits SET ends_at = now() WHERE key = $1`, keys[0])
		require.Equal(t, 9, winners(t, race(crowd, hit), account.ErrTooManyRequests), "30 an hour less 21")
		wait = retryAfter(t, w.CountRate(t.Context(), keys, minuteAndHour))
		require.InDelta(t, time.Hour.Seconds(), wait.Seconds(), 60, "the longer wait is told")
		require.Equal(t, 122, one[int](t, w, "SELECT hits FROM rate_limits WHERE key = $1", keys[1]))

		w.exec(t, `UPDATE rate_limits SET ends_at = now()`)
		require.NoError(t, hit(0))
	}
}

func TestLOG01_WrongPasswordsDoubleTheWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	name := []byte("name")
	fail := func() error { return w.LoginFailed(t.Context(), failures(5, 15*time.Minute, name)) }
	delay := func() error { return w.loginDelay(t, name) }

	require.NoError(t, delay(), "an unknown name waits for nothing")
	for range 4 {
		require.NoError(t, fail())
		require.NoError(t, delay())
	}
	for _, seconds := range []float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900} {
		require.NoError(t, fail())
		require.InDelta(t, seconds, one[float64](t, w, "SELECT extract(epoch FROM not_before - updated_at)::float8 FROM login_throttles"), 0.001)
		if seconds > 16 { // shorter ones may have passed meanwhile
			require.InDelta(t, seconds, retryAfter(t, delay()).Seconds(), 15)
		}
	}
	require.NoError(t, w.loginDelay(t, []byte("another name")))

	w.exec(t, `UPDATE login_throttles SET not_before = now()`)
	require.NoError(t, delay(), "the wait is over")
	require.NoError(t, fail())
	require.Error(t, delay(), "and the next failure waits again")

	w.exec(t, `UPDATE login_throttles SET updated_at = now() - interval '25 hours'`)
	require.NoError(t, fail())
	require.NoError(t, delay(), "a name that rested for a day begins anew")
	require.Equal(t, 1, one[int](t, w, "SELECT failures FROM login_throttles"))

	for range 10 {
		require.NoError(t, fail())
	}
	require.NoError(t, w.LoginSucceeded(t.Context(), [][]byte{name}))
	require.NoError(t, delay())
	require.Zero(t, w.count(t, "login_throttles"))
}

func TestLOG01_FirstFailureCanWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	require.NoError(t, w.LoginFailed(t.Context(), failures(1, time.Minute, []byte("name"))))
	require.InDelta(t, 1, one[float64](t, w, "SELECT extract(epoch FROM not_before - updated_at)::float8 FROM login_throttles"), 0.001)
}

func TestLoginFailedRaceLosesNoCount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		name := fmt.Appendf(nil, "name %d", round)
		errs := race(crowd, func(int) error { return w.LoginFailed(t.Context(), failures(5, 15*time.Minute, name)) })
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, crowd, one[int](t, w, "SELECT failures FROM login_throttles WHERE key = $1", name))
		require.InDelta(t, 900, retryAfter(t, w.loginDelay(t, name)).Seconds(), 30)
	}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada, named("ada"))
	for _, c := range []struct{ email, username string }{{ada, ""}, {"ada", "ada"}} {
		cred, err := w.CredentialsOf(t.Context(), c.email, c.username)
		require.NoError(t, err)
		require.Equal(t, signed.AccountID, cred.AccountID)
		require.Equal(t, "hash of "+ada, cred.PasswordHash)
	}
	for _, c := range []struct{ email, username string }{{"eve@example.com", ""}, {"", ""}, {"ADA@example.com", "ADA"}, {"' OR true --", "?"}} {
		_, err := w.CredentialsOf(t.Context(), c.email, c.username)
		require.ErrorIs(t, err, account.ErrNotFound, "%v", c)
	}
	require.NoError(t, w.RenewPasswordHash(t.Context(), signed.AccountID, "not its hash", "new"))
	require.Zero(t, w.count(t, "accounts WHERE password_hash = 'new'"), "the password was changed meanwhile")
	require.NoError(t, w.RenewPasswordHash(t.Context(), signed.AccountID, "hash of "+ada, "new"))
	require.Equal(t, 1, w.count(t, "accounts WHERE password_hash = 'new'"), "LOG-09")
	w.exec(t, `UPDATE accounts SET password_hash = NULL`)
	cred, err := w.CredentialsOf(t.Context(), ada, "")
	require.NoError(t, err)
	require.Empty(t, cred.PasswordHash)
	w.exec(t, `UPDATE accounts SET password_hash = 'x', email = NULL`)
	cred, err = w.CredentialsOf(t.Context(), "", "ada")
	require.NoError(t, err)
	require.Equal(t, []any{signed.AccountID, ""}, []any{cred.AccountID, cred.PasswordHash}, "D25: without an address a password opens nothing")
	w.exec(t, `UPDATE accounts SET email = $1`, ada)
	for _, state := range []string{"is_active = false", "is_locked = true", "deleted_at = now()"} {
		w.exec(t, `UPDATE accounts SET `+state)
		_, err := w.CredentialsOf(t.Context(), ada, "ada")
		require.ErrorIs(t, err, account.ErrNotFound, state)
		w.exec(t, `UPDATE accounts SET is_active = true, is_locked = false, deleted_at = NULL`)
	}
}

func TestOwnersAndNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada, named("ada"))
	o, err := w.OwnerOf(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, o.AccountID)
	require.False(t, o.Verified)
	_, err = w.OwnerOf(t.Context(), "eve@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
	for name, want := range map[string]bool{"ada": true, "eve": false, "a_a": false, "": false} {
		taken, err := w.UsernameTaken(t.Context(), name)
		require.NoError(t, err)
		require.Equal(t, want, taken, name)
	}
	r, err := w.RecipientOf(t.Context(), signed.AccountID)
	require.NoError(t, err)
	require.Equal(t, ada, r.Email)
	require.Equal(t, "ada", r.Username)
	require.Empty(t, r.Name)

	w.exec(t, `UPDATE accounts SET deleted_at = now()`)
	_, err = w.RecipientOf(t.Context(), signed.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.OwnerOf(t.Context(), ada)
	require.ErrorIs(t, err, account.ErrNotFound)
	taken, err := w.UsernameTaken(t.Context(), "ada")
	require.NoError(t, err)
	require.False(t, taken)
	second := w.newcomer(t, ada, named("ada"))
	require.NotEqual(t, signed.AccountID, second.AccountID, "the identity of a deleted account is free")
}

func failures(free int, longest time.Duration, keys ...[]byte) store.LoginFailure {
	return store.LoginFailure{Keys: keys, Free: free, Longest: longest}
}

func (w world) loginDelay(t *testing.T, key []byte) error {
	t.Helper()
	left, err := w.LoginDelays(t.Context(), key)
	require.NoError(t, err)
	require.Len(t, left, 1)
	if left[0] > 0 {
		return account.ErrTooManyRequests.After(left[0])
	}
	return nil
}

// Names and the accounts behind them are counted together, by callers that name them in either order and succeed in between.
func TestLOG01_CountersOfANameAndItsAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	name, behind, other := []byte("name"), []byte("account"), []byte("other name")
	of := failures(1, 15*time.Minute, name, behind)
	of.Record = account.LoginRecord{AccountID: ada.AccountID, Method: "password", Outcome: account.LoginWrongPassword}
	require.NoError(t, w.LoginFailed(t.Context(), of))
	require.NoError(t, w.LoginFailed(t.Context(), failures(1, 15*time.Minute, behind)))
	left, err := w.LoginDelays(t.Context(), other, behind, name)
	require.NoError(t, err)
	require.Zero(t, left[0])
	require.InDelta(t, 2*time.Second, left[1], float64(time.Second))
	require.Less(t, left[2], left[1])
	require.Equal(t, 1, one[int](t, w, "SELECT count(*) FROM login_history WHERE outcome = 'wrong_password'"))

	for range *rounds {
		errs := race(crowd, func(i int) error {
			switch i % 3 {
			case 0:
				return w.LoginFailed(t.Context(), failures(5, time.Minute, name, behind))
			case 1:
				return w.LoginFailed(t.Context(), failures(5, time.Minute, behind, name))
			}
			return w.LoginSucceeded(t.Context(), [][]byte{behind, name})
		})
		require.Equal(t, crowd, winners(t, errs), "none waits for the other for ever")
	}
}
