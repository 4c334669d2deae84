package store

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun/dialect/pgdialect"

	"gatehouse/account"
)

// usernameHeld is a condition: the name is kept for another account than me, the live one that gave it up last.
func usernameHeld(name, me string) string {
	return fmt.Sprintf(`coalesce((
		SELECT h.account_id <> %s FROM username_history h JOIN accounts o ON o.id = h.account_id
		WHERE h.old_username = %s AND h.held_until > now() AND o.deleted_at IS NULL ORDER BY h.id DESC LIMIT 1), false)`, me, name)
}

// FreeUsernames returns those of names that a new account could take, in their order.
func (s *Store) FreeUsernames(ctx context.Context, names []string) ([]string, error) {
	var free []string
	err := s.db.NewRaw(`
		SELECT n FROM unnest(?0::text[]) WITH ORDINALITY AS x(n, i)
		WHERE NOT EXISTS (SELECT 1 FROM accounts a WHERE a.username = n AND a.deleted_at IS NULL)
			AND NOT `+usernameHeld("n", "?1")+`
		ORDER BY i`, pgdialect.Array(names), uuid.Nil).Scan(ctx, &free)
	return free, translate(err)
}

// requireUnheld returns account.ErrUsernameTaken when a name is kept for another account. It is asked after the name was
// written, in the same transaction: the unique index made that wait for whoever was giving the name up, so that what is
// kept for them can be seen by now.
func (s *Store) requireUnheld(ctx context.Context, accountID uuid.UUID, username string) error {
	var held bool
	err := s.db.NewRaw(`SELECT `+usernameHeld("?0", "?1"), username, accountID).Scan(ctx, &held)
	if err == nil && held {
		err = account.ErrUsernameTaken
	}
	return translate(err)
}

// UsernameChange gives an account another username.
type UsernameChange struct {
	AccountID uuid.UUID
	Username  string
	// Limit bounds the changes; choosing the first username is none.
	Limit account.Quota
	// Hold is how long the former username stays out of reach for others.
	Hold time.Duration
}

// ChangeUsername changes the username of an account, in one transaction with its history, and returns the one before: nil
// for none. It returns account.ErrUsernameLimit, account.ErrUsernameTaken for a username that another account has, or that
// is kept for one, or that the account has already, and account.ErrNotFound when the account may not be used.
func (s *Store) ChangeUsername(ctx context.Context, ch UsernameChange) (old *string, err error) {
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		// The lock of the row puts the changes of an account one behind the other.
		err := tx.db.NewRaw(`SELECT a.username FROM accounts a WHERE a.id = ? AND `+accountUsable+` FOR NO KEY UPDATE`, ch.AccountID).
			Scan(ctx, &old)
		if err != nil {
			return err
		}
		if err := tx.requireUsernameChange(ctx, ch.AccountID, ch.Limit); err != nil {
			return err
		}
		// Told before anything waits for the account that has it: two that swap would wait for each other.
		free, err := tx.usernameFree(ctx, ch.AccountID, ch.Username)
		if err != nil {
			return err
		}
		if !free {
			return account.ErrUsernameTaken
		}
		_, err = tx.db.NewRaw(`UPDATE accounts SET username = ?, updated_at = now() WHERE id = ?`, ch.Username, ch.AccountID).Exec(ctx)
		if err != nil {
			return err
		}
		if err := tx.requireUnheld(ctx, ch.AccountID, ch.Username); err != nil {
			return err
		}
		_, err = tx.db.NewRaw(`
			INSERT INTO username_history (account_id, old_username, new_username, held_until)
			VALUES (?0, ?1::text, ?2, CASE WHEN ?1::text IS NOT NULL THEN now() + ?3 * interval '1 second' END)`,
			ch.AccountID, old, ch.Username, seconds(ch.Hold)).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.record(ctx, ch.AccountID, account.EventUsernameChanged, nil)
	})
	return old, translate(err)
}

func (s *Store) usernameFree(ctx context.Context, accountID uuid.UUID, username string) (bool, error) {
	var free bool
	err := s.db.NewRaw(`SELECT NOT EXISTS (SELECT 1 FROM accounts WHERE username = ?0 AND deleted_at IS NULL)
		AND NOT `+usernameHeld("?0", "?1"), username, accountID).Scan(ctx, &free)
	return free, translate(err)
}

// UsernameChangeable returns account.ErrUsernameLimit when the username of an account was changed as often as limit allows.
func (s *Store) UsernameChangeable(ctx context.Context, accountID uuid.UUID, limit account.Quota) error {
	return s.requireUsernameChange(ctx, accountID, limit)
}

func (s *Store) requireUsernameChange(ctx context.Context, accountID uuid.UUID, limit account.Quota) error {
	var changes int
	err := s.db.NewRaw(`
		SELECT count(*) FROM username_history
		WHERE account_id = ? AND old_username IS NOT NULL AND changed_at > now() - ? * interval '1 second'`,
		accountID, seconds(limit.Per)).Scan(ctx, &changes)
	if err == nil && changes >= limit.Max {
		err = account.ErrUsernameLimit
	}
	return translate(err)
}
