package store

import "context"

// What the tests look at from inside.
const SessionPrincipalQuery = sessionPrincipalQuery

var Translate = translate

var SearchQuery = searchQuery

const StraysQuery = strays

// Explain returns the plan of a query of bun's form.
func (s *Store) Explain(ctx context.Context, query string, args ...any) (plan []string, err error) {
	err = s.db.NewRaw(`EXPLAIN `+query, args...).Scan(ctx, &plan)
	return plan, err
}
