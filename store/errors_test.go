package store_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

func TestTakenIdentitiesAreAccountErrors(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.newcomer(t, "ada@example.com", named("ada"))

	_, err := w.Register(t.Context(), store.Registration{Attempt: w.park(t, account.SignupByRegister, "ada@example.com").ID, Bonus: bonus})
	require.ErrorIs(t, err, account.ErrEmailExists)
	_, err = w.Register(t.Context(), store.Registration{
		Attempt: w.park(t, account.SignupByRegister, "eve@example.com", named("ada")).ID, Bonus: bonus,
	})
	require.ErrorIs(t, err, account.ErrUsernameTaken)
	w.requireInvariants(t)
}

func TestErrorsShowNoRow(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "canary"
	w.newcomer(t, canary+"@example.com", named("canary1"))
	taken := w.park(t, account.SignupByRegister, canary+"@example.com")
	// What the schema refuses, and no account error stands for.
	malformed := w.park(t, account.SignupByRegister, "CANARY@example.com")
	badName := w.park(t, account.SignupByRegister, canary+"2@example.com", named("canary !"))
	register := func(a account.SignupAttempt) error {
		_, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, Bonus: bonus})
		return err
	}
	_, json := func() (account.SignupAttempt, error) {
		a, _, err := w.OpenSignup(t.Context(), account.SignupAttempt{
			ID: uuid.New(), Kind: account.SignupByCode, Email: "x@example.com", Origin: account.Origin{Fingerprint: []byte(`{"canary`)},
		}, signupTTL)
		return a, err
	}()
	_, orphan := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: uuid.New(), Method: "canary"})

	for name, err := range map[string]error{
		"taken": register(taken), "malformed email": register(malformed), "bad username": register(badName), "bad json": json,
		"orphan": orphan,
	} {
		require.Error(t, err, name)
		for e := err; e != nil; e = errors.Unwrap(e) {
			require.NotContains(t, fmt.Sprintf("%s %+v", e, e), canary, name)
			require.NotContains(t, fmt.Sprintf("%s %+v", e, e), "CANARY", name)
			var pg *pgconn.PgError
			require.NotErrorAs(t, e, &pg, "%s: Postgres's own error quotes the row in its detail", name)
		}
	}
	require.ErrorContains(t, register(malformed), "accounts_email_form", "what was broken is named")
	require.NotErrorIs(t, register(malformed), account.ErrUnavailable)
	w.requireInvariants(t)
}

func TestTranslate(t *testing.T) {
	t.Parallel()
	pg := func(code string) error {
		return fmt.Errorf("query: %w", &pgconn.PgError{Code: code, Message: "canary", Detail: "canary"})
	}
	for name, c := range map[string]struct {
		in   error
		want error
	}{
		"no row":                      {sql.ErrNoRows, account.ErrNotFound},
		"no row of pgx":               {pgx.ErrNoRows, account.ErrNotFound},
		"an error of ours":            {fmt.Errorf("x: %w", account.ErrInvalidCode), account.ErrInvalidCode},
		"connection failure":          {pg("08006"), account.ErrUnavailable},
		"too many connections (F-14)": {pg("53300"), account.ErrUnavailable},
		"disk full (F-20)":            {pg("53100"), account.ErrUnavailable},
		"out of memory":               {pg("53200"), account.ErrUnavailable},
		"administrator's command":     {pg("57P01"), account.ErrUnavailable},
		"crash (F-11)":                {pg("57P02"), account.ErrUnavailable},
		"starting up":                 {pg("57P03"), account.ErrUnavailable},
		"statement timeout":           {pg("57014"), account.ErrUnavailable},
		"read-only standby (F-13)":    {pg("25006"), account.ErrUnavailable},
		"deadlock":                    {pg("40P01"), account.ErrUnavailable},
		"serialization":               {pg("40001"), account.ErrUnavailable},
		"lock timeout":                {pg("55P03"), account.ErrUnavailable},
		"idle in a transaction":       {pg("25P03"), account.ErrUnavailable},
		"cut connection":              {io.ErrUnexpectedEOF, account.ErrUnavailable},
		"closed connection":           {&net.OpError{Op: "read", Err: net.ErrClosed}, account.ErrUnavailable},
		"connection died in between":  {driver.ErrBadConn, account.ErrUnavailable},
		"deadline":                    {fmt.Errorf("x: %w", context.DeadlineExceeded), account.ErrUnavailable},
	} {
		require.ErrorIs(t, store.Translate(c.in), c.want, name)
	}
	require.NoError(t, store.Translate(nil))
	for _, code := range []string{"22P02", "42601", "23514", "XX000"} {
		err := store.Translate(pg(code))
		require.NotErrorIs(t, err, account.ErrUnavailable, code)
		require.Equal(t, account.Internal, account.AsError(err).Kind, code)
		require.ErrorContains(t, err, code)
	}
	require.NotContains(t, store.Translate(pg("22P02")).Error(), "canary", "class 22 quotes the value in its message")
}

func TestKilledConnectionsAreUnavailableAndRecover(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	for range 10 {
		_, err := w.sql.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'store-test' AND datname = current_database()`)
		require.NoError(t, err)
		errs := race(32, func(i int) error {
			if i%2 == 0 {
				_, err := w.PrincipalBySession(t.Context(), signed.SessionID)
				return err
			}
			return w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
				_, err := tx.OwnerOf(ctx, "ada@example.com")
				return err
			})
		})
		winners(t, errs, account.ErrUnavailable)
	}
	testkit.Eventually(t, 10*time.Second, func() bool { return w.Ping(t.Context()) == nil }, "the pool to recover")
	for range 20 {
		_, err := w.OwnerOf(t.Context(), "ada@example.com")
		require.NoError(t, err)
	}
}

func TestKilledWithinATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	err := w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		if err := tx.LoginFailed(ctx, failures(5, time.Minute, []byte("half"))); err != nil {
			return err
		}
		w.exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE application_name = 'store-test' AND datname = current_database() AND state = 'idle in transaction'`)
		testkit.Eventually(t, 10*time.Second, func() bool {
			return w.count(t, `pg_stat_activity WHERE application_name = 'store-test' AND datname = current_database()
				AND state = 'idle in transaction'`) == 0
		}, "the backend to end")
		first := tx.LoginFailed(ctx, failures(5, time.Minute, []byte("half")))
		require.ErrorIs(t, first, account.ErrUnavailable)
		return tx.LoginFailed(ctx, failures(5, time.Minute, []byte("half")))
	})
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Zero(t, w.count(t, "login_throttles"), "nothing of it happened")
	require.NoError(t, w.LoginFailed(t.Context(), failures(5, time.Minute, []byte("whole"))))
}

func TestWaitingStatementsAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hurried, err := store.Open(store.Options{URL: w.url, Pool: 2, StatementTimeout: 50 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(func() { _ = hurried.Close() })
	blocker, err := w.sql.Begin(t.Context())
	require.NoError(t, err)
	_, err = blocker.Exec(t.Context(), `LOCK TABLE accounts IN ACCESS EXCLUSIVE MODE`)
	require.NoError(t, err)

	_, err = hurried.OwnerOf(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, account.ErrUnavailable, "statement timeout")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = w.OwnerOf(ctx, "ada@example.com")
	require.ErrorIs(t, err, account.ErrUnavailable, "the caller's deadline")

	require.NoError(t, blocker.Rollback(t.Context()))
	_, err = hurried.OwnerOf(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestCutWire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	wire, through := testkit.NewWire(t, w.url)
	s := openStore(t, through)
	_, err := s.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)

	wire.Cut(true)
	for range 5 {
		_, err = s.PrincipalBySession(t.Context(), signed.SessionID)
		require.ErrorIs(t, err, account.ErrUnavailable)
		require.ErrorIs(t, s.RevokeSession(t.Context(), signed.AccountID, signed.SessionID, "logout"), account.ErrUnavailable,
			"SES-06: no revocation is reported that did not happen")
	}
	require.ErrorIs(t, s.Ping(t.Context()), account.ErrUnavailable)

	wire.Mend()
	_, err = s.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err, "the first call after the fault is served")
	require.NoError(t, s.RevokeSession(t.Context(), signed.AccountID, signed.SessionID, "logout"))
}

func TestClosedStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s, err := store.Open(store.Options{URL: w.url, Pool: 2})
	require.NoError(t, err)
	require.NoError(t, s.Ping(t.Context()))
	require.Equal(t, int32(2), s.PoolUse().Max)
	require.NoError(t, s.Close())

	require.ErrorIs(t, s.Ping(t.Context()), account.ErrUnavailable)
	_, err = s.OwnerOf(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, account.ErrUnavailable)
	_, err = s.PrincipalBySession(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrUnavailable)
	err = s.InTx(t.Context(), func(context.Context, *store.Store) error { return nil })
	require.ErrorIs(t, err, account.ErrUnavailable)
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	u := url.URL{Scheme: "postgres", User: url.UserPassword("gatehouse", "canary"), Host: l.Addr().String(), Path: "/gatehouse"}
	s, err := store.Open(store.Options{URL: u.String()})
	require.NoError(t, err, "Open does not connect")
	t.Cleanup(func() { _ = s.Close() })

	err = s.Ping(t.Context())
	require.ErrorIs(t, err, account.ErrUnavailable)
	for e := err; e != nil; e = errors.Unwrap(e) {
		require.NotContains(t, e.Error(), "canary", "the password is not shown")
	}
	_, err = s.OwnerOf(t.Context(), "ada@example.com")
	require.ErrorIs(t, err, account.ErrUnavailable)
}

func TestUnreadableURLShowsNoPassword(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"postgres://gatehouse:canary@localhost:port/x", "postgres://gatehouse:canary@localhost/x?sslmode=odd"} {
		_, err := store.Open(store.Options{URL: bad})
		require.ErrorContains(t, err, "DATABASE_URL")
		require.NotContains(t, err.Error(), "canary")
	}
}

func TestInTxIsAllOrNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failed := errors.New("failed")
	err := w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		require.NoError(t, tx.LoginFailed(ctx, failures(5, time.Minute, []byte("outer"))))
		inner := tx.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
			require.NoError(t, tx.LoginFailed(ctx, failures(5, time.Minute, []byte("inner"))))
			return failed
		})
		require.ErrorIs(t, inner, failed)
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, "outer", string(one[[]byte](t, w, "SELECT key FROM login_throttles")), "the inner one alone is rolled back")

	require.ErrorIs(t, w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		require.NoError(t, tx.LoginFailed(ctx, failures(5, time.Minute, []byte("other"))))
		return failed
	}), failed)
	require.Equal(t, 1, w.count(t, "login_throttles"))
}

// What was sent is not sent again because its answer is lost: it may have been done.
func TestLostAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	wire, through := testkit.NewWire(t, w.url)
	s := openStore(t, through)
	open := func() (uuid.UUID, <-chan error) {
		n, done := store.NewSession{ID: uuid.New(), AccountID: signed.AccountID, Method: "password", TTL: time.Hour}, make(chan error, 1)
		go func() {
			_, _, err := s.OpenSession(t.Context(), n, store.Gate{})
			done <- err
		}()
		return n.ID, done
	}
	for range 5 {
		testkit.Eventually(t, 10*time.Second, func() bool {
			_, heard := open()
			return <-heard == nil
		}, "a connection that has its statements prepared")
		wire.Mute.Store(true)
		id, unheard := open()
		testkit.Eventually(t, 10*time.Second, func() bool {
			_, err := w.PrincipalBySession(t.Context(), id)
			return err == nil
		}, "the session to be there")
		wire.Mute.Store(false)
		wire.Cut(false)
		require.ErrorIs(t, <-unheard, account.ErrUnavailable)
	}
}

// Nobody is told that nothing was done while it is being done: a deadline that passes in the middle of a commit waits for its end.
func TestDeadlineOfATransaction(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	_, err := w.sql.Exec(t.Context(), `CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(0.4); RETURN NULL; END';
		CREATE CONSTRAINT TRIGGER slowly AFTER UPDATE ON sessions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow()`)
	require.NoError(t, err)
	ends := func(within time.Duration, wait bool) error {
		ctx, cancel := context.WithTimeout(t.Context(), within)
		defer cancel()
		return w.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
			err := tx.RevokeSession(ctx, signed.AccountID, signed.SessionID, "logout")
			if wait {
				<-ctx.Done()
			}
			return err
		})
	}
	require.ErrorIs(t, ends(200*time.Millisecond, true), account.ErrUnavailable, "late before the commit")
	_, err = w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err, "nothing was done")
	require.NoError(t, ends(300*time.Millisecond, false), "late in the commit")
	_, err = w.PrincipalBySession(t.Context(), signed.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
}
