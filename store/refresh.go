package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

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

// firstUsed is tokenRotated for several tokens, that also tells whose each is, by its number in the list. It takes no lock on a
// session: what moves a token is the update of its row, of which there is one. A session that is ended at the same moment takes
// the successor with it.
const firstUsed = `
	WITH asked (nth, hash, successor, idle) AS NOT MATERIALIZED (VALUES %s),
	used AS (
		UPDATE refresh_tokens r SET rotated_at = clock_timestamp()
		FROM asked k, sessions s JOIN accounts a ON a.id = s.account_id` + walletJoins + `
		WHERE r.token_hash = k.hash AND r.rotated_at IS NULL AND r.expires_at > now() AND s.id = r.session_id
			AND s.state = 'active' AND s.api_key_id IS NULL AND ` + sessionLive + ` AND ` + accountUsable + `
		RETURNING k.nth, r.session_id AS family, s.expires_at AS family_end, ` + sessionColumns + `, ` + accountColumns + walletColumns + `),
	next AS (
		INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
		SELECT k.successor, used.family, least(used.family_end, now() + k.idle * interval '1 second') FROM used JOIN asked k ON k.nth = used.nth)
	SELECT * FROM used`

// firstUses are the sizes in which firstUsed is asked for: Postgres plans what it knows the number of only once. A size that is not
// there is filled up with NULL, which finds nothing.
var firstUses = func() (texts map[int]string) {
	texts = map[int]string{}
	for size := 1; size <= groupLimit; size *= 2 {
		asked := make([]string, size)
		for i := range asked {
			asked[i] = fmt.Sprintf("(%d, $%d::bytea, $%d::bytea, $%d::float8)", i, 3*i+1, 3*i+2, 3*i+3)
		}
		texts[size] = fmt.Sprintf(firstUsed, strings.Join(asked, ", "))
	}
	return texts
}()

// FirstUse is RotateRefresh for a token that was not used before, all of it in one statement. It returns whose the token is,
// and account.ErrNotFound for any other token, which it leaves alone: RotateRefresh tells what that means. Tokens that come at
// the same time are moved in one transaction, so that they share its commit.
func (s *Store) FirstUse(ctx context.Context, r Rotation) (account.Principal, error) {
	p, err := s.rotations.get(ctx, r)
	if errors.Is(err, errTogether) {
		alone := []*reading[Rotation, *account.Principal]{{ctx: ctx, key: r}}
		err = cmp.Or(s.useFirst(ctx, alone), alone[0].err)
		p = alone[0].value
	}
	if err != nil {
		return account.Principal{}, translate(err)
	}
	err = s.namePlan(ctx, p)
	return *p, err
}

// errTogether says that nothing was done for a group, perhaps because of one of them alone.
var errTogether = errors.New("the tokens could not be moved together")

// useFirst moves the tokens of a group by one statement, in the order of their hashes: two groups with the same tokens do not
// deadlock.
func (s *Store) useFirst(ctx context.Context, group []*reading[Rotation, *account.Principal]) error {
	sorted := slices.SortedFunc(slices.Values(group), func(a, b *reading[Rotation, *account.Principal]) int {
		return bytes.Compare(a.key.Hash, b.key.Hash)
	})
	size := 1
	for size < len(sorted) {
		size *= 2
	}
	args := make([]any, 1+3*size)
	args[0] = pgx.QueryExecModeCacheStatement
	for i, r := range sorted {
		args[3*i+1], args[3*i+2], args[3*i+3] = r.key.Hash, r.key.Successor, seconds(r.key.Idle)
	}
	return s.ownTx(ctx, func(conn *pgx.Conn) error {
		err := moveTokens(ctx, conn, sorted, firstUses[size], args)
		if _, refused := errors.AsType[*pgconn.PgError](err); refused && len(sorted) > 1 {
			err = errTogether
		}
		return err
	})
}

func moveTokens(ctx context.Context, conn *pgx.Conn, sorted []*reading[Rotation, *account.Principal], query string, args []any) error {
	for _, r := range sorted {
		r.value, r.err = nil, errNoRows
	}
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var nth int32
		var family uuid.UUID
		var end time.Time
		p := &account.Principal{}
		if err := row(append([]any{&nth, &family, &end}, wholePrincipal(p)...)).fill(rows.RawValues()); err != nil {
			return err
		}
		sorted[nth].value, sorted[nth].err = p, nil
	}
	return rows.Err()
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
		return tx.DisownSession(ctx, out.AccountID, out.SessionID, account.RevokedForReuse)
	})
	return out, translate(err)
}

func (s *Store) succeed(ctx context.Context, r Rotation) error {
	_, err := s.run(ctx, tokenRotated, r.Hash, r.Successor, seconds(r.Idle))
	return err
}
