package store

import (
	"context"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

// foundAccounts is how many accounts of one number operators are shown at most.
const foundAccounts = 20

// AccountsOfPhone returns the accounts that have a number, verified or not, or that were asked to prove it lately, the newest
// first, at most 20. The number is in E.164.
func (s *Store) AccountsOfPhone(ctx context.Context, number string) ([]uuid.UUID, error) {
	var ids []uuid.UUID
	err := s.db.NewRaw(`
		SELECT id FROM accounts WHERE deleted_at IS NULL AND id IN (
			SELECT id FROM accounts WHERE phone_number = ?0 UNION SELECT account_id FROM phone_attempts WHERE number = ?0)
		ORDER BY created_at DESC LIMIT ?1`, number, foundAccounts).Scan(ctx, &ids)
	return ids, translate(err)
}

// OpenCodes returns the challenges that could still be proven, or whose time was over within the last hour: those of accounts,
// and those for subjects, which are addresses without one. The newest come first, at most 20.
func (s *Store) OpenCodes(ctx context.Context, accounts []uuid.UUID, purpose account.Purpose, subjects [][]byte) ([]account.Challenge, error) {
	var rows []challengeRow
	err := s.db.NewSelect().Model(&rows).ColumnExpr(challengeColumns).
		Where("consumed_at IS NULL AND superseded_at IS NULL AND code_expires_at > now() - interval '1 hour'").
		Where("(account_id IN (?) OR purpose = ? AND subject IN (?))",
			bun.List(append([]uuid.UUID{uuid.Nil}, accounts...)), purpose, bun.List(append([][]byte{nil}, subjects...))).
		OrderExpr("created_at DESC").Limit(foundAccounts).Scan(ctx)
	codes := make([]account.Challenge, len(rows))
	for i, row := range rows {
		codes[i] = row.challenge()
	}
	return codes, translate(err)
}
