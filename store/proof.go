package store

import (
	"context"
	"time"

	"gatehouse/account"
)

// OwnProof returns the newest challenge that g.ProofKey has proven already, so that a request whose answer was lost can be
// repeated without being counted as another guess. It returns account.ErrNotFound when there is none.
func (s *Store) OwnProof(ctx context.Context, g Guess) (Counted, error) {
	return s.counted(ctx, `
		SELECT id, destination, code_hash, consumed_at, result FROM challenges
		WHERE purpose = $1 AND subject = $2 AND session_id IS NOT DISTINCT FROM $3::uuid AND proof_key = $4::text AND code_hash IS NOT NULL
			AND superseded_at IS NULL AND (consumed_at IS NOT NULL OR code_expires_at > now())
		ORDER BY created_at DESC LIMIT 1`, string(g.Purpose), g.Subject, g.SessionID, nullable(g.ProofKey))
}

// counted reads the one challenge that a guess is about.
func (s *Store) counted(ctx context.Context, query string, args ...any) (Counted, error) {
	var c Counted
	var consumed *time.Time
	var result []byte
	err := s.only(ctx, query, args, &c.ID, &c.Destination, &c.CodeHash, &consumed, &result)
	if err == nil && consumed != nil {
		c.Done, err = decodeResult(result)
	}
	if err != nil {
		return Counted{}, err
	}
	return c, nil
}

// QuotaUsed reports whether a quota holds any hit. It counts nothing.
func (s *Store) QuotaUsed(ctx context.Context, key []byte, quota account.Quota) (bool, error) {
	var used bool
	err := s.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM quotas AS q, unnest(q.hits) AS h
			WHERE q.key = ? AND h > now() - ? * interval '1 second')`, key, seconds(quota.Per)).Scan(ctx, &used)
	return used, translate(err)
}
