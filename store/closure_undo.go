package store

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
)

// MostFormer bounds the mails about one closure. The longest gone come first: whoever has taken an account over adds addresses, and
// cannot push out the one that was there before.
const MostFormer = 3

// former are the other addresses that account ?1 has had within a term of grace, at most ?4, or NULL. When they end says nothing of
// their order: an undo prolongs them, and so does losing one again.
const former = `former AS (SELECT array_agg(email ORDER BY first_lost_at, email) AS emails FROM (
	SELECT f.email, f.first_lost_at FROM former_emails f JOIN accounts a ON a.id = f.account_id
	WHERE f.account_id = ?1 AND f.expires_at > now() AND f.email IS DISTINCT FROM a.email ORDER BY f.first_lost_at, f.email LIMIT ?4) oldest)`

// restorable is the address that closure c may give its account back: that of the link (?0), if the account has lost none before it
// that we know of, not even the one that is its own again. Whatever came later may be a thief's, whom no undo may let in.
const restorable = `coalesce((SELECT f.email FROM former_emails f WHERE f.account_id = c.account_id AND f.email = c.former_emails[?0]
	AND NOT EXISTS (SELECT 1 FROM former_emails e
		WHERE e.account_id = f.account_id AND (e.first_lost_at, e.email) < (f.first_lost_at, f.email))), '')`

// Undo is the undo of a closure.
type Undo struct {
	ClosureID uuid.UUID
	// By, where it is not nil, names the request whose undo it is to ClosureUndoneBy.
	By []byte
	// Former is whose link was followed, as in ClosedRecipient: whoever has it reads that mailbox.
	Former int
	// Told is owed to the account's last address where that is left to somebody else.
	Told account.Notice
}

// ReopenAccount undoes a closure in one transaction: the account has its email, username, password and outside accounts
// back, and no session. An unverified account of the address dies, and so does a sign-up that is open for it: the link that undoes
// it went to the mailbox (design D5). A username that somebody else has by now, or that is kept for them, and an outside account
// that opens another one stay there. So does an email that somebody else has proven: the account gets the one that it lost first
// instead, by the link that went there, if that is free. Repeating it changes nothing. It returns account.ErrEmailExists when no address is left, and
// account.ErrNotFound when the term of grace is over. The addresses that the closure could be undone from beside the account's own
// are kept for another term: it may be closed again.
func (s *Store) ReopenAccount(ctx context.Context, u Undo) error {
	err := s.reopenAccount(ctx, u)
	if errors.Is(err, account.ErrUsernameTaken) || u.Former > 0 && errors.Is(err, account.ErrEmailExists) {
		err = s.reopenAccount(ctx, u) // it was taken this moment: by now that can be seen
	}
	return err
}

func (s *Store) reopenAccount(ctx context.Context, u Undo) error {
	return s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var accountID uuid.UUID
		var undone, due bool
		var instead string
		err := tx.db.NewRaw(`
			SELECT account_id, undone_at IS NOT NULL, erase_at <= now() OR erased_at IS NOT NULL, `+restorable+`
			FROM closures c WHERE id = ?1 FOR UPDATE`, u.Former, u.ClosureID).Scan(ctx, &accountID, &undone, &due, &instead)
		switch {
		case err != nil:
			return err
		case undone:
			return nil
		case due:
			return errNoRows
		}
		lost, err := tx.restoreNames(ctx, accountID, instead)
		if err != nil {
			return err
		}
		// A login that was under way at the closure may have made one more session.
		if err := tx.endAccess(ctx, accountID, "account_closed"); err != nil {
			return err
		}
		if lost != "" {
			if err := tx.leaveTaken(ctx, u, accountID, lost, instead); err != nil {
				return err
			}
		}
		// The order stays. An older build may have swept a row away by now: that address comes last.
		_, err = tx.db.NewRaw(`
			WITH c AS (SELECT providers FROM closures WHERE id = ?0 AND jsonb_typeof(providers) = 'array'),
			back AS (INSERT INTO linked_providers SELECT l.* FROM c, jsonb_populate_recordset(NULL::linked_providers, c.providers) AS l
				ON CONFLICT DO NOTHING),
			kept AS (INSERT INTO former_emails (account_id, email, expires_at, first_lost_at)
				SELECT k.account_id, f.email, now() + (k.erase_at - k.created_at), now() + f.nth * interval '1 microsecond'
				FROM closures k CROSS JOIN LATERAL unnest(k.former_emails) WITH ORDINALITY AS f (email, nth) WHERE k.id = ?0
				ON CONFLICT (account_id, email) DO UPDATE SET expires_at = EXCLUDED.expires_at)
			UPDATE closures SET undone_at = now(), undone_by = ?1, token_hash = NULL, providers = NULL, former_emails = NULL WHERE id = ?0`,
			u.ClosureID, u.By).Exec(ctx)
		if err != nil {
			return err
		}
		return tx.record(ctx, accountID, account.EventAccountReopened, map[string]any{"closure_id": u.ClosureID})
	})
}

// restoreNames opens a closed account again, with its email, which it has proven, whichever address the link was mailed to, and
// with its username if that is still free: nobody who takes a public name at once may keep the rest of the account from its owner.
// Neither may a thief who takes the email that they gave it: then it gets the one instead. It returns the email that is lost so.
func (s *Store) restoreNames(ctx context.Context, accountID uuid.UUID, instead string) (lost string, err error) {
	var email, username string
	err = s.db.NewRaw(`SELECT CASE WHEN `+reachable+` THEN email ELSE '' END, coalesce(username, '') FROM accounts WHERE id = ?`, accountID).
		Scan(ctx, &email, &username)
	if err != nil {
		return "", err
	}
	if email != "" && instead != "" {
		owner, err := s.OwnerOf(ctx, email)
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return "", err
		}
		if owner.Verified {
			email, lost = instead, email
		}
	}
	if email != "" {
		if err := s.clearEmail(ctx, email); err != nil {
			return "", err
		}
	}
	free := username != ""
	if free {
		if free, err = s.usernameFree(ctx, accountID, username); err != nil {
			return "", err
		}
	}
	// When the email last changed stays: whoever moved the account gains no time by its closure (account.Policy.RecoveryAge).
	_, err = s.db.NewRaw(`
		UPDATE accounts SET deleted_at = NULL, username = CASE WHEN ?1 THEN username END, updated_at = now(),
			email = CASE WHEN ?3 THEN ?2 ELSE email END, email_verified_at = CASE WHEN ?3 THEN now() ELSE email_verified_at END
		WHERE id = ?0`, accountID, free, email, lost != "").Exec(ctx)
	switch {
	case err != nil:
	case free:
		err = s.requireUnheld(ctx, accountID, username)
	case username != "":
		err = s.record(ctx, accountID, account.EventUsernameChanged, nil)
	}
	if err == nil && lost != "" {
		err = s.record(ctx, accountID, account.EventEmailChanged, nil)
	}
	return lost, translate(err)
}

// leaveTaken keeps the address that an account has lost to somebody else while it was closed, as leaveEmail does, and has it told:
// it may have been the owner's own, who has signed up anew.
func (s *Store) leaveTaken(ctx context.Context, u Undo, accountID uuid.UUID, lost, email string) error {
	_, err := s.db.NewRaw(`
		WITH c AS (SELECT id, account_id, now() + (erase_at - created_at) AS until FROM closures WHERE id = ?0),
		kept AS (INSERT INTO former_emails (account_id, email, expires_at) SELECT account_id, ?1, until FROM c
			ON CONFLICT (account_id, email) DO UPDATE SET expires_at = EXCLUDED.expires_at)
		INSERT INTO email_changes (id, account_id, old_email, new_email, expires_at, closed_at) SELECT id, account_id, ?1, ?2, until, now() FROM c`,
		u.ClosureID, lost, email).Exec(ctx)
	if err != nil {
		return translate(err)
	}
	return s.owe(ctx, accountID, u.Told)
}

// ClosedRecipients returns where the mails about a closure go, and how long its undo still works: the other addresses that the
// account has had within a term of grace, the longest gone first, and then its own, unless nobody has proven that. The order stays
// the same. It returns account.ErrNotFound when the closure is undone or erased, or there is no such address.
func (s *Store) ClosedRecipients(ctx context.Context, closure uuid.UUID) ([]ClosedRecipient, time.Duration, error) {
	var rows []struct {
		ID                    uuid.UUID
		Email, Name, Username string
		Former                int
		Seconds               float64
	}
	err := s.db.NewRaw(`
		SELECT a.id, t.email, coalesce(a.full_name, '') AS name, coalesce(a.username, '') AS username, t.former,
			extract(epoch FROM c.erase_at - now())::float8 AS seconds
		FROM closures c JOIN accounts a ON a.id = c.account_id CROSS JOIN LATERAL (
			SELECT f.email, f.former FROM unnest(c.former_emails) WITH ORDINALITY AS f (email, former)
			UNION ALL SELECT a.email, 0 WHERE a.email IS NOT NULL AND a.email_verified_at IS NOT NULL) t
		WHERE c.id = ? AND c.undone_at IS NULL AND c.erased_at IS NULL ORDER BY t.former = 0, t.former`, closure).Scan(ctx, &rows)
	if err != nil {
		return nil, 0, translate(err)
	}
	if len(rows) == 0 {
		return nil, 0, account.ErrNotFound
	}
	to := make([]ClosedRecipient, len(rows))
	for i, r := range rows {
		to[i] = ClosedRecipient{Recipient: Recipient{AccountID: r.ID, Email: r.Email, Name: r.Name, Username: r.Username}, Former: r.Former}
	}
	return to, max(0, time.Duration(rows[0].Seconds*float64(time.Second))), nil
}

// ClosedRecipient is an address that is told of a closure. Former counts those that were the account's until lately, from 1; the
// account's own is 0.
type ClosedRecipient struct {
	Recipient
	Former int
}
