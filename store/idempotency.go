package store

import (
	"bytes"
	"context"
	"errors"
	"time"

	"gatehouse/account"
)

// KeyClaim is what ClaimKey found under an idempotency key.
type KeyClaim struct {
	// Claimed is true when the caller now holds the key and must serve the request.
	Claimed bool
	// Status and Answer are the kept answer, Status 0 while another caller is still serving.
	Status int
	Answer []byte
	// Operation is what the answer said beside its body, empty for nothing.
	Operation string
}

// ClaimKey takes an idempotency key for lease, unless it holds an answer or another caller's lease. An expired key, and
// one whose holder died, is taken over. It returns account.ErrIdempotencyKeyReused when the key was used for another
// request.
func (s *Store) ClaimKey(ctx context.Context, key string, requestHash []byte, lease, ttl time.Duration) (KeyClaim, error) {
	res, err := s.db.NewRaw(`
		INSERT INTO idempotency_keys AS k (key, request_hash, locked_until, expires_at)
		VALUES (?, ?, now() + ? * interval '1 second', now() + ? * interval '1 second')
		ON CONFLICT (key) DO UPDATE SET request_hash = EXCLUDED.request_hash, locked_until = EXCLUDED.locked_until,
			status = NULL, answer = NULL, operation = NULL, expires_at = EXCLUDED.expires_at
		WHERE k.expires_at <= now()
			OR (k.status IS NULL AND k.locked_until <= now() AND k.request_hash = EXCLUDED.request_hash)`,
		key, requestHash, seconds(lease), seconds(ttl)).Exec(ctx)
	if err != nil {
		return KeyClaim{}, translate(err)
	}
	if n, err := res.RowsAffected(); err != nil || n > 0 {
		return KeyClaim{Claimed: true}, translate(err)
	}
	var row struct {
		RequestHash []byte
		Status      *int
		Answer      []byte
		Operation   string
	}
	err = translate(s.db.NewRaw(`SELECT request_hash, status, answer, coalesce(operation, '') AS operation FROM idempotency_keys WHERE key = ?`, key).Scan(ctx, &row))
	switch {
	case errors.Is(err, account.ErrNotFound):
		return KeyClaim{}, nil // swept in between: not claimed, not answered, so the caller asks again
	case err != nil:
		return KeyClaim{}, err
	case !bytes.Equal(row.RequestHash, requestHash):
		return KeyClaim{}, account.ErrIdempotencyKeyReused
	case row.Status == nil:
		return KeyClaim{}, nil
	}
	return KeyClaim{Status: *row.Status, Answer: row.Answer, Operation: row.Operation}, nil
}

// KeepAnswer stores the sealed answer of a claimed key, with the operation that it named.
func (s *Store) KeepAnswer(ctx context.Context, key string, status int, answer []byte, operation string) error {
	_, err := s.db.NewRaw(`UPDATE idempotency_keys SET status = ?, answer = ?, operation = ?, locked_until = NULL WHERE key = ?`,
		status, answer, nullable(operation), key).Exec(ctx)
	return translate(err)
}

// ReleaseKey gives up a claimed key without an answer. What was asked under it stays known, so that nobody can ask for
// something else under it.
func (s *Store) ReleaseKey(ctx context.Context, key string) error {
	_, err := s.db.NewRaw(`UPDATE idempotency_keys SET locked_until = now() WHERE key = ? AND status IS NULL`, key).Exec(ctx)
	return translate(err)
}

// SealedAnswers is how many kept answers begin alike: with the id of the key that sealed them.
type SealedAnswers struct {
	Prefix []byte
	Count  int
}

// SealedAnswers counts the answers that are kept and not expired, by their first length bytes.
func (s *Store) SealedAnswers(ctx context.Context, length int) ([]SealedAnswers, error) {
	var found []SealedAnswers
	err := s.db.NewRaw(`
		SELECT substring(answer FROM 1 FOR ?) AS prefix, count(*) AS count FROM idempotency_keys
		WHERE answer IS NOT NULL AND expires_at > now() GROUP BY 1 ORDER BY 1`, length).Scan(ctx, &found)
	return found, translate(err)
}
