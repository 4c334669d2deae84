package store

import (
	"context"

	"gatehouse/account"
)

// OwnProof returns the newest challenge that g.ProofKey has proven already, so that a request whose answer was lost can be
// repeated without being counted as another guess. It returns account.ErrNotFound when there is none.
func (s *Store) OwnProof(ctx context.Context, g Guess) (Counted, error) {
	var row challengeRow
	err := s.db.NewRaw(`
		SELECT id, destination, code_hash, consumed_at, result FROM challenges
		WHERE purpose = ? AND subject = ? AND session_id IS NOT DISTINCT FROM ?::uuid AND proof_key = ? AND code_hash IS NOT NULL AND superseded_at IS NULL
			AND (consumed_at IS NOT NULL OR code_expires_at > now())
		ORDER BY created_at DESC LIMIT 1`, g.Purpose, g.Subject, g.SessionID, nullable(g.ProofKey)).Scan(ctx, &row)
	if err != nil {
		return Counted{}, translate(err)
	}
	counted := Counted{ID: row.ID, Destination: row.Destination, CodeHash: row.CodeHash}
	if row.ConsumedAt != nil {
		counted.Done, err = decodeResult(row.Result)
	}
	return counted, err
}

// QuotaUsed reports whether a quota holds any hit. It counts nothing.
func (s *Store) QuotaUsed(ctx context.Context, key []byte, quota account.Quota) (bool, error) {
	var used bool
	err := s.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM quotas AS q, unnest(q.hits) AS h
			WHERE q.key = ? AND h > now() - ? * interval '1 second')`, key, seconds(quota.Per)).Scan(ctx, &used)
	return used, translate(err)
}
