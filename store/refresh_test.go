package store_test

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const (
	refreshGrace = 10 * time.Second
	refreshIdle  = 14 * 24 * time.Hour
)

// family is a session and the hashes of its refresh tokens, R1 first.
type family struct {
	w       world
	session uuid.UUID
	name    string
}

func (w world) family(t *testing.T, accountID uuid.UUID) family {
	t.Helper()
	f := family{w: w, session: uuid.New(), name: uuid.NewString()}
	_, err := w.CreateSession(t.Context(), store.NewSession{
		ID: f.session, AccountID: accountID, Method: "password", TTL: sessionTTL, RefreshHash: f.token(1), RefreshIdle: refreshIdle,
	})
	require.NoError(t, err)
	return f
}

func (f family) token(n int) []byte { return []byte(f.name + strconv.Itoa(n)) }

func (f family) rotate(t *testing.T, n int) (store.Rotated, error) {
	t.Helper()
	return f.w.RotateRefresh(t.Context(), store.Rotation{
		Hash: f.token(n), Successor: f.token(n + 1), Grace: refreshGrace, Idle: refreshIdle,
	})
}

func (f family) good(t *testing.T, n int) {
	t.Helper()
	got, err := f.rotate(t, n)
	require.NoError(t, err)
	require.Equal(t, f.session, got.SessionID)
	require.False(t, got.Reused)
}

func (f family) later(t *testing.T) {
	t.Helper()
	f.w.exec(t, `UPDATE refresh_tokens SET rotated_at = rotated_at - interval '11 seconds' WHERE session_id = $1`, f.session)
}

// requireDead checks that nothing of the family works: neither its tokens nor its session (I-04).
func (f family) requireDead(t *testing.T, tokens int) {
	t.Helper()
	for n := range tokens {
		_, err := f.rotate(t, n+1)
		require.ErrorIs(t, err, account.ErrNotFound, "R%d", n+1)
	}
	_, err := f.w.PrincipalBySession(t.Context(), f.session)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestRefreshTokensRotate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.family(t, w.member(t, "ada@example.com").AccountID)
	for n := range 5 {
		f.good(t, n+1)
		require.Equal(t, 1, w.count(t, `refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL`, f.session))
	}
	_, err := f.rotate(t, 77)
	require.ErrorIs(t, err, account.ErrNotFound, "an unknown token is nobody's")
	_, err = w.PrincipalBySession(t.Context(), f.session)
	require.NoError(t, err)
	require.Equal(t, refreshIdle, one[time.Duration](t, w, `SELECT max(expires_at - created_at) FROM refresh_tokens WHERE rotated_at IS NULL`).Round(time.Minute))
}

func TestSES01_AReusedRefreshTokenEndsItsFamily(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	f, other := w.family(t, ada.AccountID), w.family(t, ada.AccountID)
	f.good(t, 1)
	f.good(t, 2)
	f.later(t)

	got, err := f.rotate(t, 1)
	require.NoError(t, err, "the end is committed, not rolled back")
	require.True(t, got.Reused)
	require.Equal(t, ada.AccountID, got.AccountID)
	f.requireDead(t, 3)
	require.Equal(t, 1, w.count(t, `sessions WHERE id = $1 AND revoke_reason = 'refresh_reuse'`, f.session))
	other.good(t, 1)
}

func TestRefreshGraceReturnsTheSameSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.family(t, w.member(t, "ada@example.com").AccountID)
	f.good(t, 1)
	f.good(t, 1)
	require.Equal(t, 2, w.count(t, `refresh_tokens WHERE session_id = $1`, f.session), "R1 and R2, no third")
	f.good(t, 2)
	f.later(t)
	got, err := f.rotate(t, 2)
	require.NoError(t, err)
	require.True(t, got.Reused, "the grace is over")
}

func TestSES03_GraceEndsWithTheUseOfTheSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	f := w.family(t, w.member(t, "ada@example.com").AccountID)
	f.good(t, 1)
	f.good(t, 2)
	got, err := f.rotate(t, 1)
	require.NoError(t, err)
	require.True(t, got.Reused, "within the grace, but R2 was used")
	f.requireDead(t, 3)
}

func TestRefreshOfEndedSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	for _, end := range []string{
		`UPDATE sessions SET revoked_at = now() WHERE id = $1`,
		`UPDATE sessions SET expires_at = now() WHERE id = $1`,
		`UPDATE refresh_tokens SET expires_at = now() WHERE session_id = $1`,
		`UPDATE accounts SET is_locked = true WHERE id = (SELECT account_id FROM sessions WHERE id = $1)`,
	} {
		f := w.family(t, ada.AccountID)
		w.exec(t, end, f.session)
		_, err := f.rotate(t, 1)
		require.ErrorIs(t, err, account.ErrNotFound, end)
		require.Zero(t, w.count(t, `refresh_tokens WHERE session_id = $1 AND rotated_at IS NOT NULL`, f.session), end)
	}
}

// 100 clients with one token, as after a crash of a browser with many tabs: all get the one successor.
func TestRefreshRace_OneSuccessor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	for range *rounds {
		f := w.family(t, ada.AccountID)
		errs := race(crowd, func(int) error {
			got, err := f.rotate(t, 1)
			if got.Reused {
				return errors.New("taken for a thief")
			}
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, 2, w.count(t, `refresh_tokens WHERE session_id = $1`, f.session))
		f.good(t, 2)
	}
}

// Reuse, rotation and revocation at the same moment: once anybody was told of the reuse, nothing of the family works.
func TestSES01_ReuseRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	for range *rounds {
		f := w.family(t, ada.AccountID)
		f.good(t, 1)
		f.later(t)
		reused := make([]bool, crowd)
		errs := race(crowd, func(i int) error {
			got, err := f.rotate(t, 1+i%2)
			reused[i] = got.Reused
			if got.Reused {
				if _, alive := w.PrincipalBySession(t.Context(), f.session); alive == nil {
					return errors.New("alive after the reuse was told")
				}
			}
			return err
		})
		winners(t, errs, account.ErrNotFound)
		told := 0
		for _, r := range reused {
			if r {
				told++
			}
		}
		require.Equal(t, 1, told, "one notice")
		f.requireDead(t, 3)
	}
}

// Tokens that are used at the same moment share a statement. Each caller gets what is theirs: the principal of their own session,
// with their own successor to come, however many others come along, some of them twice and some with tokens that are not good.
func TestFirstUsesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	families := make([]family, crowd)
	for i := range families {
		families[i] = w.family(t, w.member(t, "first-use-"+strconv.Itoa(i)+"@example.com").AccountID)
	}
	used := func(f family, n int) (account.Principal, error) {
		return w.FirstUse(t.Context(), store.Rotation{Hash: f.token(n), Successor: f.token(n + 1), Grace: refreshGrace, Idle: refreshIdle})
	}
	for generation := 1; generation <= 3; generation++ {
		errs := race(3*crowd, func(i int) error {
			f := families[i%crowd]
			if i >= 2*crowd {
				_, err := used(f, 99)
				return err
			}
			p, err := used(f, generation)
			if err == nil && p.Session.ID != f.session {
				err = errors.New("somebody else's session")
			}
			return err
		})
		require.Equal(t, crowd, winners(t, errs, account.ErrNotFound), "each token is used for the first time once")
		for i, f := range families {
			require.NotEqual(t, errs[i] == nil, errs[i+crowd] == nil, "one of the two who came with it")
			require.Equal(t, generation+1, w.count(t, `refresh_tokens WHERE session_id = $1`, f.session))
			require.Equal(t, 1, w.count(t, `refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL`, f.session))
		}
	}
}

// What the database refuses one of them, it refuses that one alone.
func TestFirstUsesAtOnce_OneFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com").AccountID
	families := make([]family, crowd)
	for i := range families {
		families[i] = w.family(t, ada)
	}
	for _, sql := range []string{
		`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''not this one''; END'`,
		`CREATE TRIGGER refuse BEFORE INSERT ON refresh_tokens FOR EACH ROW WHEN (NEW.session_id = '` + families[0].session.String() + `')
			EXECUTE FUNCTION refuse()`,
	} {
		_, err := w.sql.Exec(t.Context(), sql)
		require.NoError(t, err)
	}
	errs := race(crowd, func(i int) error {
		f := families[i]
		_, err := w.FirstUse(t.Context(), store.Rotation{Hash: f.token(1), Successor: f.token(2), Grace: refreshGrace, Idle: refreshIdle})
		return err
	})
	require.Error(t, errs[0])
	require.NotErrorIs(t, errs[0], account.ErrNotFound)
	for i, err := range errs[1:] {
		require.NoError(t, err, i+1)
	}
}
