package store

import (
	"context"
	"slices"

	"github.com/google/uuid"

	"gatehouse/account"
)

// What the tests look at from inside.
var (
	PrincipalQueries = slices.Concat(callerBySession.texts, principalBySession.texts, callerByKey.texts, principalByKey.texts)
	GroupLimit       = groupLimit
)

var Translate = translate

var SearchQuery = searchQuery

var StraysQuery = strayRows(strayAge)

var UnbegunQuery = unbegun

var RivalsQuery = rivals

const UndoneOrErased = undoneOrErased

// Expired are the conditions of the sweep, by table.
func Expired() (conditions []struct{ Table, Where string }) {
	for _, e := range expired {
		conditions = append(conditions, struct{ Table, Where string }{e.table, e.where})
	}
	return conditions
}

// Swept is the statement that removes what meets a condition of the sweep.
func Swept(table, where string) string { return swept(table, where) }

// Explain returns the plan of a query of bun's form.
func (s *Store) Explain(ctx context.Context, query string, args ...any) (plan []string, err error) {
	err = s.db.NewRaw(`EXPLAIN `+query, args...).Scan(ctx, &plan)
	return plan, err
}

// Scans counts how often the transaction has read a table from end to end, and by an index.
func (s *Store) Scans(ctx context.Context, table string) (whole, indexed int64, err error) {
	err = s.db.NewRaw(`SELECT seq_scan, coalesce(idx_scan, 0) FROM pg_stat_xact_user_tables WHERE relname = ?`, table).Scan(ctx, &whole, &indexed)
	return whole, indexed, err
}

// Record writes an event of the audit log.
func (s *Store) Record(ctx context.Context, accountID uuid.UUID, name account.EventName, details map[string]any) error {
	return s.record(ctx, accountID, name, details)
}

// TrialLeft is trialLeft, in the transaction.
func (s *Store) TrialLeft(ctx context.Context, accountID uuid.UUID, family string) (bool, error) {
	return s.trialLeft(ctx, accountID, family)
}
