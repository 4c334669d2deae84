package store

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/google/uuid"

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
	// Made is what KeepMade has stored for a key that was Claimed before, nil for nothing.
	Made []byte
	// Until is when a Claimed key is new again, by its first use alone: all who claim it until then are told the same.
	Until time.Time
}

// ClaimKey takes an idempotency key for holder and for lease, unless it holds an answer or another caller's lease. An expired
// key, and one whose holder died, is taken over; the latter is known for ttl from its first use, as whatever a request has left
// under it is, and no shorter than its lease. It returns account.ErrIdempotencyKeyReused when the key was used for another
// request.
func (s *Store) ClaimKey(
	ctx context.Context, key string, holder uuid.UUID, requestHash []byte, lease, ttl time.Duration,
) (KeyClaim, error) {
	var claimed struct {
		Made  []byte
		Until time.Time
	}
	err := translate(s.db.NewRaw(`
		INSERT INTO idempotency_keys AS k (key, holder, request_hash, locked_until, expires_at)
		VALUES (?0, ?1, ?2, now() + ?3 * interval '1 second', now() + ?4 * interval '1 second')
		ON CONFLICT (key) DO UPDATE SET holder = EXCLUDED.holder, request_hash = EXCLUDED.request_hash, locked_until = EXCLUDED.locked_until,
			status = NULL, answer = NULL, operation = NULL,
			expires_at = CASE WHEN k.expires_at > now() THEN greatest(k.expires_at, EXCLUDED.locked_until) ELSE EXCLUDED.expires_at END,
			made = CASE WHEN k.expires_at > now() THEN k.made END,
			created_at = CASE WHEN k.expires_at > now() THEN k.created_at ELSE now() END
		WHERE k.expires_at <= now()
			OR (k.status IS NULL AND k.locked_until <= now() AND k.request_hash = EXCLUDED.request_hash)
		RETURNING made, created_at + ?4 * interval '1 second' AS until`,
		key, holder, requestHash, seconds(lease), seconds(ttl)).Scan(ctx, &claimed))
	if !errors.Is(err, account.ErrNotFound) {
		return KeyClaim{Claimed: err == nil, Made: claimed.Made, Until: claimed.Until}, err
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

// KeepMade stores, in the transaction of the change that the holder of a key makes, what it has made, sealed. It returns
// account.ErrIdempotencyKeyInUse, and the change must not be, when another one holds the key by now, or has made its own.
func (s *Store) KeepMade(ctx context.Context, key string, holder uuid.UUID, made []byte) error {
	kept, err := s.run(ctx, `
		UPDATE idempotency_keys SET made = $3 WHERE key = $1 AND holder = $2 AND made IS NULL AND status IS NULL`, key, holder, made)
	if err == nil && kept == 0 {
		return account.ErrIdempotencyKeyInUse
	}
	return err
}

// KeepAnswer stores the sealed answer of a key for its holder, with the operation that it named; what was made is in the answer.
// A refusal does not replace what was made: the key is released then. Who has lost the key to another one keeps nothing.
func (s *Store) KeepAnswer(ctx context.Context, key string, holder uuid.UUID, status int, answer []byte, operation string) error {
	kept, err := s.run(ctx, `
		UPDATE idempotency_keys SET status = $3::int, answer = $4, operation = $5, made = NULL, locked_until = NULL
		WHERE key = $1 AND holder = $2 AND status IS NULL AND (made IS NULL OR $3::int < $6::int)`,
		key, holder, status, answer, nullable(operation), http.StatusBadRequest)
	if err == nil && kept == 0 {
		err = s.ReleaseKey(ctx, key, holder)
	}
	return err
}

// ReleaseKey has the holder of a key give it up without an answer. What was asked under it stays known, so that nobody can ask for
// something else under it.
func (s *Store) ReleaseKey(ctx context.Context, key string, holder uuid.UUID) error {
	_, err := s.db.NewRaw(`UPDATE idempotency_keys SET locked_until = now() WHERE key = ? AND holder = ? AND status IS NULL`, key, holder).Exec(ctx)
	return translate(err)
}

// SealedAnswers is how many kept answers begin alike: with the id of the key that sealed them.
type SealedAnswers struct {
	Prefix []byte
	Count  int
}

// SealedAnswers counts what is kept under keys that are not expired, by its first length bytes.
func (s *Store) SealedAnswers(ctx context.Context, length int) ([]SealedAnswers, error) {
	var found []SealedAnswers
	err := s.db.NewRaw(`
		SELECT substring(coalesce(answer, made) FROM 1 FOR ?) AS prefix, count(*) AS count FROM idempotency_keys
		WHERE coalesce(answer, made) IS NOT NULL AND expires_at > now() GROUP BY 1 ORDER BY 1`, length).Scan(ctx, &found)
	return found, translate(err)
}
