package store

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
)

// errRefused makes judged roll back: a stage was not passed.
var errRefused = errors.New("refused")

// stage is one round trip of a transaction: steps that are sent together, and passed, which looks at their answers and says
// whether the transaction may go on. passed is nil for a last stage that is committed whatever it answers; its COMMIT is sent
// with it.
type stage struct {
	steps  []*step
	passed func() bool
}

// judged runs stages one after the other in a transaction of its own, never inside of InTx. It commits if all stages are passed,
// and rolls everything back at the first that is not. kept says which of the two. Each stage is a round trip, and so is the end,
// unless the last stage takes the COMMIT with it.
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

// end commits a transaction, or rolls it back if there is a reason to. If that fails, the pool closes the connection.
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
