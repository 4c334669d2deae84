package store

import (
	"context"
	"database/sql"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"
)

// Here are the ways to run prepared statements. When to use which: doc.go.

// step is one statement of a transaction that goes to the database at once: no step builds on what another one has
// answered, but each sees what those before it have done, and what others had committed when its turn came.
type step struct {
	query string
	args  []any
	// into gets the first row, decoded as by row; nil wants none.
	into []any
	// found says that there was a row, touched how many were written or returned.
	found   bool
	touched int64
}

// only reads the one row of a prepared statement into targets. It returns the error of no rows when there is none.
func (s *Store) only(ctx context.Context, query string, args []any, targets ...any) error {
	if tx, ok := s.db.(bun.Tx); ok {
		return translate(tx.Tx.QueryRowContext(ctx, query, bindings(args)...).Scan(targets...))
	}
	return translate(s.pool.QueryRow(ctx, query, bindings(args)...).Scan(targets...))
}

// run executes a prepared statement and returns how many rows it has written.
func (s *Store) run(ctx context.Context, query string, args ...any) (touched int64, err error) {
	if tx, ok := s.db.(bun.Tx); ok {
		res, err := tx.Tx.ExecContext(ctx, query, bindings(args)...)
		if err != nil {
			return 0, translate(err)
		}
		touched, err = res.RowsAffected()
		return touched, translate(err)
	}
	tag, err := s.pool.Exec(ctx, query, bindings(args)...)
	return tag.RowsAffected(), translate(err)
}

// change is run for a statement that has to write: it returns account.ErrNotFound when it has written nothing.
func (s *Store) change(ctx context.Context, query string, args ...any) error {
	n, err := s.run(ctx, query, args...)
	if err == nil && n == 0 {
		return errNoRows
	}
	return err
}

// bindings has the driver prepare a statement and keep it. A uuid.UUID would travel as text, because it is a driver.Valuer.
func bindings(args []any) []any {
	return append([]any{pgx.QueryExecModeCacheStatement}, values(args)...)
}

func values(args []any) []any {
	out := make([]any, len(args))
	for i, arg := range args {
		switch id := arg.(type) {
		case uuid.UUID:
			arg = pgtype.UUID{Bytes: id, Valid: true}
		case *uuid.UUID:
			if arg = (pgtype.UUID{}); id != nil {
				arg = pgtype.UUID{Bytes: *id, Valid: true}
			}
		}
		out[i] = arg
	}
	return out
}

// atOnce runs steps in one round trip, in the caller's transaction or in one of their own. Their own is repeated when it was
// given up for a deadlock. It is not repeated when the connection was lost: it may have been committed, even where
// pgconn.SafeToRetry holds, which looks at the last failure of a pipeline, not at the first.
func (s *Store) atOnce(ctx context.Context, steps ...*step) error {
	if s.conn != nil {
		return translate(driven(s.conn, func(conn *pgx.Conn) error {
			// The driver's connection does not know that database/sql has ended the transaction with its context.
			if conn.PgConn().TxStatus() != inTransaction {
				return sql.ErrTxDone
			}
			return sendSteps(ctx, conn, steps)
		}))
	}
	return s.ownTx(ctx, func(conn *pgx.Conn) error { return sendSteps(ctx, conn, steps) })
}

// ownTx lends send a connection for one transaction. It calls send again after a deadlock, and when a migration has made prepared
// statements outdated: nothing was done then.
func (s *Store) ownTx(ctx context.Context, send func(conn *pgx.Conn) error) error {
	var err error
	for range deadlockTries {
		err = s.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
			err := send(conn.Conn())
			if !outdated(err) {
				return err
			}
			if err := forgetStatements(ctx, conn.Conn()); err != nil {
				return err
			}
			return send(conn.Conn())
		})
		if !deadlocked(err) {
			break
		}
	}
	return translate(err)
}

// forgetStatements makes a connection prepare its statements anew. If that fails it closes the connection: when only our side has
// forgotten them, preparing them again would fail, since the server still has their names.
func forgetStatements(ctx context.Context, conn *pgx.Conn) error {
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), pingTimeout)
	defer done()
	err := conn.DeallocateAll(ctx)
	if err != nil {
		_ = conn.Close(ctx)
	}
	return err
}

// inTransaction is how Postgres says, after each message, that a transaction is open and has not failed.
const inTransaction = 'T'

// sendSteps sends all steps before it reads an answer. Postgres takes what comes before a Sync message as one transaction.
func sendSteps(ctx context.Context, conn *pgx.Conn, steps []*step) error {
	batch := &pgx.Batch{}
	for _, st := range steps {
		// The pool's default is not to prepare, and a batch has no mode of its own. Prepared before, it costs nothing.
		if _, err := conn.Prepare(ctx, st.query, st.query); err != nil {
			return err
		}
		batch.Queue(st.query, values(st.args)...)
	}
	results := conn.SendBatch(ctx, batch)
	for _, st := range steps {
		if err := st.read(results); err != nil {
			_ = results.Close()
			return err
		}
	}
	return results.Close()
}

func (st *step) read(results pgx.BatchResults) error {
	st.found, st.touched = false, 0
	rows, err := results.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	if st.found = rows.Next(); st.found && st.into != nil {
		if err := rows.Scan(row(st.into)); err != nil {
			return err
		}
	}
	rows.Close()
	st.touched = rows.CommandTag().RowsAffected()
	return rows.Err()
}
