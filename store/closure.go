package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// NewClosure is an account about to be closed by its owner (contract C01).
type NewClosure struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	// SessionID is the session that asks, which must live until then; nil where nobody kept it.
	SessionID *uuid.UUID
	// TokenHash is the hash of the undo link's token, which works for Grace.
	TokenHash []byte
	Grace     time.Duration
}

// CloseAccount closes an account in one transaction, and returns when it is to be erased: its email and username are free
// for others at once, and no session, API key, refresh token, code or outside account opens it any more. An account whose
// address is unproven, or that has none and had none lately, has no grace: nobody could be sent the undo link. Repeating it
// returns the same. It returns account.ErrNotFound when the account is gone or closed by another closure, or the session that asks
// has ended.
func (s *Store) CloseAccount(ctx context.Context, n NewClosure) (time.Time, error) {
	var eraseAt time.Time
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if err := tx.HoldChallenges(ctx, n.AccountID); err != nil {
			return err
		}
		// The weaker lock: that of a key's use waits for the account's row only when it is about to go.
		var live bool
		err := tx.db.NewRaw(`SELECT deleted_at IS NULL FROM accounts WHERE id = ? FOR NO KEY UPDATE`, n.AccountID).Scan(ctx, &live)
		if err != nil {
			return err
		}
		if !live {
			return tx.db.NewRaw(`SELECT erase_at FROM closures WHERE id = ? AND account_id = ?`, n.ID, n.AccountID).Scan(ctx, &eraseAt)
		}
		if n.SessionID != nil {
			if err := tx.HoldSession(ctx, n.AccountID, *n.SessionID); err != nil {
				return err
			}
		}
		err = tx.db.NewRaw(`
			WITH links AS (DELETE FROM linked_providers WHERE account_id = ?1 RETURNING *), `+former+`
			INSERT INTO closures (id, account_id, token_hash, providers, former_emails, erase_at)
			SELECT ?0, id, CASE WHEN `+reachable+` OR emails IS NOT NULL THEN ?2::bytea END, (SELECT jsonb_agg(to_jsonb(links)) FROM links),
				emails, now() + CASE WHEN `+reachable+` OR emails IS NOT NULL THEN ?3 ELSE 0 END * interval '1 second'
			FROM accounts, former WHERE id = ?1 RETURNING erase_at`,
			n.ID, n.AccountID, n.TokenHash, seconds(n.Grace), MostFormer).Scan(ctx, &eraseAt)
		if err != nil {
			return err
		}
		if _, err := tx.db.NewRaw(`UPDATE accounts SET deleted_at = now(), updated_at = now() WHERE id = ?`, n.AccountID).Exec(ctx); err != nil {
			return err
		}
		if err := tx.endAccess(ctx, n.AccountID, "account_closed"); err != nil {
			return err
		}
		return tx.record(ctx, n.AccountID, account.EventAccountClosed, map[string]any{"closure_id": n.ID})
	})
	return eraseAt, translate(err)
}

// reachable holds for an account whose owner can be written to.
const reachable = `email IS NOT NULL AND email_verified_at IS NOT NULL`

// endAccess ends whatever acts for an account, and what may be proven for it. Its subscriptions are ended or paused by their
// own flows.
func (s *Store) endAccess(ctx context.Context, accountID uuid.UUID, reason string) error {
	// Keys before sessions, each in a statement of its own: it then sees the session that a key's last use has just made.
	for _, statement := range []string{
		`UPDATE api_keys SET revoked_at = now() WHERE account_id = ?0 AND revoked_at IS NULL`,
		`UPDATE sessions SET revoked_at = now(), revoke_reason = ?1 WHERE account_id = ?0 AND revoked_at IS NULL`,
		`UPDATE devices SET revoked_at = now() WHERE account_id = ?0 AND revoked_at IS NULL`,
		`DELETE FROM refresh_tokens WHERE session_id IN (SELECT id FROM sessions WHERE account_id = ?0)`,
		endChallenges,
		`UPDATE email_changes SET closed_at = now() WHERE account_id = ?0 AND closed_at IS NULL`,
	} {
		if _, err := s.db.NewRaw(statement, accountID, reason).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

const endChallenges = `
	UPDATE challenges SET superseded_at = now() WHERE account_id = ?0 AND consumed_at IS NULL AND superseded_at IS NULL`

// Closure is a closed account that may still be opened again.
type Closure struct {
	ID        uuid.UUID
	AccountID uuid.UUID
}

// ClosureByToken returns what the token of an undo link may undo, or account.ErrNotFound.
func (s *Store) ClosureByToken(ctx context.Context, tokenHash []byte) (Closure, error) {
	var c Closure
	err := s.db.NewRaw(`SELECT id, account_id FROM closures WHERE token_hash = ? AND erase_at > now()`, tokenHash).
		Scan(ctx, &c.ID, &c.AccountID)
	return c, translate(err)
}

// ClosureUndoneBy reports whether a request has undone a closure.
func (s *Store) ClosureUndoneBy(ctx context.Context, by []byte) (undone bool, err error) {
	err = s.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM closures WHERE undone_by = ?)`, by).Scan(ctx, &undone)
	return undone, translate(err)
}

// AccountClosed reports whether an account is closed, erased ones among them, or returns account.ErrNotFound.
func (s *Store) AccountClosed(ctx context.Context, id uuid.UUID) (closed bool, err error) {
	err = s.db.NewRaw(`SELECT deleted_at IS NOT NULL FROM accounts WHERE id = ?`, id).Scan(ctx, &closed)
	return closed, translate(err)
}

// LastUndoneClosure returns the closure of an account that was undone last, or account.ErrNotFound.
func (s *Store) LastUndoneClosure(ctx context.Context, accountID uuid.UUID) (id uuid.UUID, err error) {
	err = s.db.NewRaw(`SELECT id FROM closures WHERE account_id = ? AND undone_at IS NOT NULL ORDER BY undone_at DESC LIMIT 1`, accountID).
		Scan(ctx, &id)
	return id, translate(err)
}

// What an erased account keeps, because it names nobody: the ledger with its balance, what was paid for, and the settings
// and the closure, which are emptied.
var keptTables = []string{"closures", "credit_moves", "credits", "invoices", "settings", "subscriptions", "welcomes"}

// keptColumns are the columns of an account that may be NULL and stay: moments, which the ledger's rules look at.
var keptColumns = []string{"deleted_at", "email_verified_at"}

// EraseAccount removes the personal data of a closed account whose term is over, in one transaction: every row that names
// the account except the anonymous ledger, and every optional value of the account itself. It returns how long to wait before it is
// tried again: until the term is over, and while a charge of the account has no outcome; 0 means that it is erased, or open again.
// Repeating it changes nothing.
func (s *Store) EraseAccount(ctx context.Context, closure uuid.UUID) (time.Duration, error) {
	var wait time.Duration
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var accountID uuid.UUID
		var ended bool
		var left float64
		err := tx.db.NewRaw(`
			SELECT account_id, undone_at IS NOT NULL OR erased_at IS NOT NULL, extract(epoch FROM erase_at - now())::float8
			FROM closures WHERE id = ? FOR UPDATE`, closure).Scan(ctx, &accountID, &ended, &left)
		switch {
		case errors.Is(translate(err), account.ErrNotFound):
			return nil
		case err != nil || ended:
			return err
		case left > 0:
			wait = max(time.Second, time.Duration(left*float64(time.Second)))
			return nil
		}
		charging, err := tx.charging(ctx, accountID)
		if err != nil {
			return err
		}
		if charging {
			wait = outcomeWait
			return nil
		}
		if err := tx.eraseRows(ctx, accountID); err != nil {
			return err
		}
		if err := tx.eraseColumns(ctx, accountID); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`UPDATE closures SET erased_at = CASE WHEN undone_at IS NULL THEN now() END, token_hash = NULL, providers = NULL,
			former_emails = NULL WHERE account_id = ?`, accountID).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventAccountErased, map[string]any{"closure_id": closure})
	})
	return wait, translate(err)
}

// outcomeWait is how long an erasure waits for the outcome of a charge. A reconciliation raises the alarm for one that does not
// come.
const outcomeWait = time.Hour

// charging reports whether a charge of an account has no outcome: it is looked up under the customer that an erasure would delete.
// Until the transaction ends none is begun.
func (s *Store) charging(ctx context.Context, accountID uuid.UUID) (charging bool, err error) {
	_, err = s.db.NewRaw(`SELECT id FROM invoices WHERE account_id = ? AND status = 'open' ORDER BY id FOR UPDATE`, accountID).Exec(ctx)
	if err != nil {
		return false, err
	}
	// A statement of its own: it sees the attempt that BeginAttempt made while the one above waited for its lock.
	err = s.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
		WHERE i.account_id = ? AND t.state = 'pending')`, accountID).Scan(ctx, &charging)
	return charging, err
}

// eraseRows asks the schema which tables name an account, so that a new one is erased unless it says otherwise.
func (s *Store) eraseRows(ctx context.Context, accountID uuid.UUID) error {
	var tables []struct{ Name, Ref string }
	err := s.db.NewRaw(`
		SELECT r.relname AS name, quote_ident(a.attname) AS ref FROM pg_constraint c
		JOIN pg_class r ON r.oid = c.conrelid JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
		WHERE c.contype = 'f' AND c.confrelid = 'accounts'::regclass ORDER BY 1, 2`).Scan(ctx, &tables)
	if err != nil {
		return err
	}
	// What is known of its cards, which is of nobody, before they go.
	if err := s.keepTrials(ctx, accountID); err != nil {
		return err
	}
	for _, table := range tables {
		if slices.Contains(keptTables, table.Name) {
			continue
		}
		if _, err := s.db.NewRaw(fmt.Sprintf(`DELETE FROM %q WHERE %s = ?`, table.Name, table.Ref), accountID).Exec(ctx); err != nil {
			return err
		}
	}
	// What was sent stays to be counted; where it went does not.
	_, err = s.db.NewRaw(`UPDATE messages SET masked_destination = '', recipe = NULL WHERE account_id = ?`, accountID).Exec(ctx)
	if err != nil {
		return err
	}
	_, err = s.db.NewRaw(`DELETE FROM settings WHERE account_id = ?`, accountID).Exec(ctx)
	if err == nil {
		_, err = s.db.NewRaw(`INSERT INTO settings (account_id) VALUES (?)`, accountID).Exec(ctx)
	}
	return err
}

func (s *Store) eraseColumns(ctx context.Context, accountID uuid.UUID) error {
	var columns []string
	err := s.db.NewRaw(`
		SELECT quote_ident(attname) FROM pg_attribute
		WHERE attrelid = 'accounts'::regclass AND attnum > 0 AND NOT attisdropped AND NOT attnotnull`).Scan(ctx, &columns)
	if err != nil {
		return err
	}
	sets := []string{"is_active = false", "marketing_opt_in = false", "two_factor_enabled = false", "roles = DEFAULT", "updated_at = now()"}
	for _, column := range columns {
		if !slices.Contains(keptColumns, column) {
			sets = append(sets, column+" = NULL")
		}
	}
	_, err = s.db.NewRaw(`UPDATE accounts SET `+strings.Join(sets, ", ")+` WHERE id = ?`, accountID).Exec(ctx)
	return err
}

// eraseOverdue is the safety net for closures whose flow was lost: it erases what should have been erased two days ago.
func (s *Store) eraseOverdue(ctx context.Context) error {
	var overdue []uuid.UUID
	err := s.db.NewRaw(`
		SELECT id FROM closures WHERE undone_at IS NULL AND erased_at IS NULL AND erase_at < now() - interval '2 days' LIMIT ?`, sweepBatch).
		Scan(ctx, &overdue)
	errs := []error{translate(err)}
	for _, closure := range overdue {
		_, err := s.EraseAccount(ctx, closure)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}
