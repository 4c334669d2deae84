package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"gatehouse/account"
)

// noteRefusal does nothing for an account that does not exist. Attempts that had to wait are noted once a minute, or a stranger
// could fill the history.
const noteRefusal = `
	INSERT INTO login_history (account_id, method, outcome, ip_address, user_agent)
	SELECT a.id, ?1, ?2, ?3, ?4 FROM accounts a
	WHERE a.id = ?0 AND (?2 <> 'throttled' OR NOT EXISTS (
		SELECT 1 FROM login_history h WHERE h.account_id = a.id AND h.outcome = 'throttled'
			AND h.created_at > now() - interval '1 minute'))`

// refusal are the arguments of noteRefusal.
func refusal(r account.LoginRecord) []any {
	return []any{r.AccountID, r.Method, r.Outcome, nullable(r.IP), nullable(r.UserAgent)}
}

// RecordRefusal notes a login that was refused before its password was compared. One with a wrong password is noted by
// LoginFailed, a success with its session.
func (s *Store) RecordRefusal(ctx context.Context, r account.LoginRecord) error {
	_, err := s.db.NewRaw(noteRefusal, refusal(r)...).Exec(ctx)
	return translate(err)
}

const loginHistoryQuery = `
	SELECT id, account_id, method, outcome, coalesce(ip_address, ''), coalesce(user_agent, ''), created_at
	FROM login_history WHERE account_id = $1 ORDER BY created_at DESC, id LIMIT $2`

// LoginHistory returns the latest attempts to sign in to an account, newest first.
func (s *Store) LoginHistory(ctx context.Context, accountID uuid.UUID, limit int) ([]account.LoginRecord, error) {
	rows, err := s.pool.Query(ctx, loginHistoryQuery, pgx.QueryExecModeCacheStatement,
		pgtype.UUID{Bytes: accountID, Valid: true}, limit)
	if err != nil {
		return nil, translate(err)
	}
	found, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (account.LoginRecord, error) {
		var r account.LoginRecord
		err := row.Scan(&r.ID, &r.AccountID, &r.Method, &r.Outcome, &r.IP, &r.UserAgent, &r.CreatedAt)
		return r, err
	})
	return found, translate(err)
}
