package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// OwnProof returns the newest challenge that g.ProofKey has proven already, so that a request whose answer was lost can be
// repeated without being counted as another guess. It returns account.ErrNotFound when there is none.
func (s *Store) OwnProof(ctx context.Context, g Guess) (Counted, error) {
	var code countedRow
	proven := &step{
		query: `SELECT ` + countedColumns + ` FROM challenges
		WHERE purpose = $1 AND subject = $2 AND session_id IS NOT DISTINCT FROM $3::uuid AND proof_key = $4::text AND code_hash IS NOT NULL
			AND superseded_at IS NULL AND (consumed_at IS NOT NULL OR code_expires_at > now())
		ORDER BY created_at DESC LIMIT 1`,
		args: []any{string(g.Purpose), g.Subject, g.SessionID, nullable(g.ProofKey)}, into: code.targets(),
	}
	if err := s.atOnce(ctx, proven); err != nil {
		return Counted{}, err
	}
	if !proven.found {
		return Counted{}, errNoRows
	}
	return code.counted(Refusal{})
}

// countedRow is the one challenge that a guess is about: countedColumns.
type countedRow struct {
	id               uuid.UUID
	destination      string
	codeHash, result []byte
	consumed         *time.Time
}

const countedColumns = `id, destination, code_hash, consumed_at, result::text`

func (r *countedRow) targets() []any {
	return []any{&r.id, &r.destination, &r.codeHash, &r.consumed, &r.result}
}

func (r *countedRow) counted(refusal Refusal) (Counted, error) {
	c := Counted{ID: r.id, Destination: r.destination, CodeHash: r.codeHash, Refusal: refusal}
	if r.consumed == nil {
		return c, nil
	}
	var err error
	c.Done, err = decodeResult(r.result)
	return c, err
}

// QuotaUsed reports whether a quota holds any hit. It counts nothing.
func (s *Store) QuotaUsed(ctx context.Context, key []byte, quota account.Quota) (bool, error) {
	var used bool
	err := s.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM quotas AS q, unnest(q.hits) AS h
			WHERE q.key = ? AND h > now() - ? * interval '1 second')`, key, seconds(quota.Per)).Scan(ctx, &used)
	return used, translate(err)
}
