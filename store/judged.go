package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// errRefused rolls back what judged has done.
var errRefused = errors.New("refused")

// stage is steps of a transaction that go to the database at once, and whether what they have answered lets it go on; nil for a
// last one that is kept whatever it answers.
type stage struct {
	steps  []*step
	passed func() bool
}

// judged runs stages in a transaction of its own, a round trip each and one for its end, and keeps what they have done if all are
// passed. A last stage that is not judged takes the end with it. It reports whether they were passed.
func (s *Store) judged(ctx context.Context, stages ...stage) (kept bool, err error) {
	err = s.ownTx(ctx, func(conn *pgx.Conn) error {
		next := []*step{{query: "BEGIN"}}
		for _, st := range stages {
			next = append(next, st.steps...)
			if st.passed == nil {
				next = append(next, &step{query: "COMMIT"})
			}
			err := sendSteps(ctx, conn, next)
			if err == nil && st.passed == nil {
				return nil
			}
			if err == nil && !st.passed() {
				err = errRefused
			}
			if err != nil {
				return end(ctx, conn, err)
			}
			next = nil
		}
		return end(ctx, conn, nil)
	})
	if errors.Is(err, errRefused) {
		return false, nil
	}
	return err == nil, err
}

// end commits a transaction, or rolls it back for a reason. One that it could not end is left to the pool, which closes its
// connection.
func end(ctx context.Context, conn *pgx.Conn, reason error) error {
	if reason == nil {
		_, err := conn.Exec(ctx, "COMMIT")
		return err
	}
	if !conn.IsClosed() {
		_, _ = conn.Exec(ctx, "ROLLBACK")
	}
	return reason
}
