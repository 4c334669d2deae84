package store

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// Rotation trades a refresh token for its successor, both by their hashes.
type Rotation struct {
	Hash, Successor []byte
	// Grace is how long a used token still returns its successor, Idle how long the successor waits for its use.
	Grace, Idle time.Duration
}

// Rotated is the session that a refresh token belongs to. Reused says that it was used before, and that the session and
// with it the whole family of tokens has been revoked.
type Rotated struct {
	SessionID, AccountID uuid.UUID
	Reused               bool
}

const familyHeld = `
	SELECT s.id, s.account_id FROM sessions s JOIN accounts a ON a.id = s.account_id
	WHERE s.id = (SELECT session_id FROM refresh_tokens WHERE token_hash = $1)
		AND s.state = 'active' AND ` + sessionLive + ` AND ` + accountUsable + `
	FOR NO KEY UPDATE OF s`

const tokenRotated = `
	WITH used AS (
		UPDATE refresh_tokens r SET rotated_at = clock_timestamp() FROM sessions s JOIN accounts a ON a.id = s.account_id
		WHERE r.token_hash = $1 AND r.rotated_at IS NULL AND r.expires_at > now() AND s.id = r.session_id
			AND s.state = 'active' AND ` + sessionLive + ` AND ` + accountUsable + `
		RETURNING r.session_id, s.expires_at)
	INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
	SELECT $2::bytea, session_id, least(expires_at, now() + $3::float8 * interval '1 second') FROM used`

// firstUsed is tokenRotated that also tells whose the token is. It takes no lock on the session: what moves a token is the update of
// its row, of which there is one. A session that is ended at the same moment takes the successor with it.
const firstUsed = `
	WITH used AS (
		UPDATE refresh_tokens r SET rotated_at = clock_timestamp() FROM sessions s JOIN accounts a ON a.id = s.account_id` + walletJoins + `
		WHERE r.token_hash = $1 AND r.rotated_at IS NULL AND r.expires_at > now() AND s.id = r.session_id
			AND s.state = 'active' AND s.api_key_id IS NULL AND ` + sessionLive + ` AND ` + accountUsable + `
		RETURNING r.session_id AS family, s.expires_at AS family_end, ` + sessionColumns + `, ` + accountColumns + walletColumns + `),
	next AS (
		INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
		SELECT $2::bytea, family, least(family_end, now() + $3::float8 * interval '1 second') FROM used)
	SELECT * FROM used`

// FirstUse is RotateRefresh for a token that was not used before, all of it in one statement. It returns whose the token is,
// and account.ErrNotFound for any other token, which it leaves alone: RotateRefresh tells what that means.
func (s *Store) FirstUse(ctx context.Context, r Rotation) (account.Principal, error) {
	var p account.Principal
	var family uuid.UUID
	var end time.Time
	used := &step{
		query: firstUsed, args: []any{r.Hash, r.Successor, seconds(r.Idle)}, into: append([]any{&family, &end}, wholePrincipal(&p)...),
	}
	if err := s.atOnce(ctx, used); err != nil {
		return account.Principal{}, err
	}
	if !used.found {
		return account.Principal{}, errNoRows
	}
	return p, s.namePlan(ctx, &p)
}

// RotateRefresh trades a refresh token for its successor. A token used within Grace returns the same successor while that
// is unused; any other use of a used token revokes the session (security.md SES-01, SES-03). It returns
// account.ErrNotFound when the token is unknown or expired, or its session has ended or awaits its second step: that is no
// use of the token.
func (s *Store) RotateRefresh(ctx context.Context, r Rotation) (Rotated, error) {
	var out Rotated
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// The tokens of a session move one at a time. They are read after the lock is held: a statement sees no more than
		// what was there when it began.
		err := tx.only(ctx, familyHeld, []any{r.Hash}, &out.SessionID, &out.AccountID)
		if err != nil {
			return err
		}
		var unused, alive, graceful bool
		err = tx.db.NewRaw(`
			SELECT r.rotated_at IS NULL, r.expires_at > now(), coalesce(
				r.rotated_at > clock_timestamp() - ? * interval '1 second' AND next.token_hash IS NOT NULL AND next.rotated_at IS NULL, false)
			FROM refresh_tokens r
			LEFT JOIN refresh_tokens next ON next.token_hash = ? AND next.session_id = r.session_id
			WHERE r.token_hash = ?`, seconds(r.Grace), r.Successor, r.Hash).Scan(ctx, &unused, &alive, &graceful)
		switch {
		case err != nil:
			return err
		case !alive:
			return errNoRows
		case unused:
			return tx.succeed(ctx, r)
		case graceful:
			return nil
		}
		out.Reused = true
		return tx.RevokeSession(ctx, out.AccountID, out.SessionID, account.RevokedForReuse)
	})
	return out, translate(err)
}

func (s *Store) succeed(ctx context.Context, r Rotation) error {
	_, err := s.run(ctx, tokenRotated, r.Hash, r.Successor, seconds(r.Idle))
	return err
}
