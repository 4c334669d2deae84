package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"go.opentelemetry.io/otel/trace"

	"gatehouse/account"
)

// Store runs queries, in a transaction inside InTx and each on its own otherwise.
type Store struct {
	db bun.IDB
	// bun and pool are nil inside a transaction: there, db is the only handle in scope, on conn.
	bun  *bun.DB
	pool *pgxpool.Pool
	conn *sql.Conn
	// principals and plans are read, rates are counted, and refresh tokens used for the first time outside of transactions only.
	principals principals
	plans      *catalogue
	rates      *gather[rateHit, time.Duration]
	rotations  *gather[Rotation, *account.Principal]
	// lockTimeout is that of Options.
	lockTimeout time.Duration
	// prover is who showed the code that the transaction has consumed: its changes are theirs.
	prover *account.Acting
}

// Options of Open.
type Options struct {
	// URL is the Postgres connection string.
	URL string
	// Pool is the most connections held.
	Pool int
	// Application names the process in pg_stat_activity.
	Application string
	// StatementTimeout bounds every statement: 0 means 4 seconds, negative means no bound (migrations).
	StatementTimeout time.Duration
	// LockTimeout bounds how long a migration waits for a lock on a table, and so how long it holds up those who come after it,
	// before it lets them pass and tries again. 0 means no bound.
	LockTimeout time.Duration
	// Tracer makes spans of statements that are part of a trace; nil makes none.
	Tracer trace.Tracer
}

const (
	connectTimeout = 3 * time.Second
	// pingTimeout bounds the look at a connection that has been idle for a second before it is used: one whose other end is gone
	// without a word costs a request so much, not all its time (reliability.md F-29).
	pingTimeout = time.Second
	// idleTransaction is how long the server waits within a transaction for whoever has gone: until then its locks hold up others.
	idleTransaction  = 10 * time.Second
	statementTimeout = 4 * time.Second
	lockTimeoutParam = "lock_timeout"
)

// Open prepares a pool; it does not connect before the first query.
func Open(o Options) (*Store, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("DATABASE_URL cannot be read: %w", err)
	}
	cfg.MaxConns = int32(max(o.Pool, 2)) //nolint:gosec // a pool size, far below 2^31
	cfg.MinIdleConns = 1
	cfg.PingTimeout = pingTimeout
	cfg.ConnConfig.ConnectTimeout = connectTimeout
	cfg.ConnConfig.DialFunc = dial
	// bun writes its arguments into the text, so each text is new: nothing of it is worth preparing. The hot read
	// asks for a prepared statement itself.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	cfg.ConnConfig.RuntimeParams["standard_conforming_strings"] = "on"
	bound := max(cmp.Or(o.StatementTimeout, statementTimeout), 0)
	cfg.ConnConfig.RuntimeParams["statement_timeout"] = strconv.FormatInt(bound.Milliseconds(), 10)
	if bound > 0 {
		cfg.ConnConfig.RuntimeParams["idle_in_transaction_session_timeout"] = strconv.FormatInt(idleTransaction.Milliseconds(), 10)
	}
	if o.LockTimeout > 0 {
		cfg.ConnConfig.RuntimeParams[lockTimeoutParam] = strconv.FormatInt(o.LockTimeout.Milliseconds(), 10)
	}
	cfg.ConnConfig.RuntimeParams["application_name"] = o.Application
	cfg.AfterConnect = func(_ context.Context, c *pgx.Conn) error {
		c.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		return nil
	}
	if o.Tracer != nil {
		cfg.ConnConfig.Tracer = statementTracer{o.Tracer}
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg) //nolint:forbidigo // the pool outlives every caller
	if err != nil {
		return nil, fmt.Errorf("open the database pool: %w", err)
	}
	db := bun.NewDB(stdlib.OpenDBFromPool(pool), pgdialect.New())
	if o.Tracer != nil {
		db = db.WithQueryHook(statementTracer{o.Tracer})
	}
	s := &Store{db: db, bun: db, pool: pool, plans: &catalogue{}, lockTimeout: o.LockTimeout}
	parallel := parallelReads(int(cfg.MaxConns))
	s.principals = s.gatherPrincipals(parallel)
	s.rates = &gather[rateHit, time.Duration]{parallel: parallel, read: s.countRates}
	s.rotations = &gather[Rotation, *account.Principal]{parallel: parallel, read: s.useFirst}
	return s, nil
}

// Close returns every connection.
func (s *Store) Close() error {
	err := s.bun.Close()
	s.pool.Close()
	return err
}

// Ping reports whether Postgres answers.
func (s *Store) Ping(ctx context.Context) error { return translate(s.pool.Ping(ctx)) }

// PoolUse is how the pool of connections is used, for metrics.
type PoolUse struct {
	Max, Open, InUse int32
	// Acquired, Waited and Canceled count since the process began: connections taken, those taken only after a wait, and waits
	// that ended without one. Waiting is how long all waits took together.
	Acquired, Waited, Canceled int64
	Waiting                    time.Duration
}

// PoolUse tells how the pool is used.
func (s *Store) PoolUse() PoolUse {
	stat := s.pool.Stat()
	return PoolUse{
		Max: stat.MaxConns(), Open: stat.TotalConns(), InUse: stat.AcquiredConns(),
		Acquired: stat.AcquireCount(), Waited: stat.EmptyAcquireCount(), Canceled: stat.CanceledAcquireCount(),
		Waiting: stat.EmptyAcquireWaitTime(),
	}
}

// deadlockTries bounds how often a transaction is run that the database gives up.
const deadlockTries = 3

// commitGrace is how long after its caller's deadline a transaction may still commit: whoever gave up while it did would be told
// that nothing was done.
const commitGrace = time.Second

// InTx runs fn in one transaction: its error rolls everything back, and so does the end of ctx before all of fn is done; a
// savepoint takes the place of a nested one. A transaction that waited for another one which waited for it is run again, so fn
// must not build on what an earlier run of it has left outside.
func (s *Store) InTx(ctx context.Context, fn func(ctx context.Context, tx *Store) error) error {
	whole, done := ctx, func() {}
	if deadline, bound := ctx.Deadline(); bound {
		whole, done = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(commitGrace))
	}
	defer done()
	var err error
	for range deadlockTries {
		err = s.begun(whole, func(tx *Store) error {
			if err := fn(ctx, tx); err != nil {
				return err
			}
			return ctx.Err()
		})
		if s.bun == nil || !deadlocked(err) && !outdated(err) { // a savepoint is lost with its transaction
			break
		}
	}
	return translate(err)
}

// begun runs fn in one transaction, or in a savepoint of the one that there is.
func (s *Store) begun(ctx context.Context, fn func(tx *Store) error) error {
	if s.bun == nil {
		return s.db.RunInTx(ctx, &sql.TxOptions{}, func(_ context.Context, tx bun.Tx) error {
			return fn(&Store{db: tx, conn: s.conn, prover: s.prover})
		})
	}
	conn, err := s.bun.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool
	err = conn.RunInTx(ctx, &sql.TxOptions{}, func(_ context.Context, tx bun.Tx) error {
		return fn(&Store{db: tx, conn: conn.Conn, prover: s.prover})
	})
	if outdated(err) {
		_ = driven(conn.Conn, func(pg *pgx.Conn) error { return forgetStatements(ctx, pg) }) // it is closed where that fails
	}
	return err
}

// driven gives fn the driver's own connection under one of the pool. No other statement runs on it meanwhile.
func driven(conn *sql.Conn, fn func(*pgx.Conn) error) error {
	var died any
	err := conn.Raw(func(driver any) error {
		// A panic that Raw sees waits for the transaction's end, which waits for it.
		defer func() { died = recover() }()
		std, ok := driver.(*stdlib.Conn)
		if !ok {
			return fmt.Errorf("a connection of %T", driver)
		}
		return fn(std.Conn())
	})
	if died != nil {
		panic(died)
	}
	return err
}

// seconds renders a duration for interval arithmetic: ? * interval '1 second'.
func seconds(d time.Duration) float64 { return d.Seconds() }
