package store

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

// newAccount is an account to be inserted with everything that belongs to it.
type newAccount struct {
	id             uuid.UUID
	email          string
	verified       bool
	username       *string
	passwordHash   *string
	name           *string
	marketingOptIn bool
	origin         account.Origin
	// method is how the account came to be: signup, register or the name of a provider.
	method string
	// flow is that of the sign-up, whose mails were of no account so far; empty for none.
	flow string
}

// createAccount inserts an account with its settings, credits and welcome, and does then what further steps do; a verified one gets
// its bonus.
func (s *Store) createAccount(ctx context.Context, n newAccount, bonus Bonus, further ...*step) error {
	attribution, err := json.Marshal(n.origin.Attribution)
	if err != nil {
		return err
	}
	var fingerprint []byte
	if len(n.origin.Fingerprint) > 0 {
		sum := sha256.Sum256(n.origin.Fingerprint)
		fingerprint = sum[:]
	}
	welcome, reduced := int64(0), false
	if n.verified {
		if welcome, reduced, err = s.welcomeOf(ctx, n.id, fingerprint, bonus); err != nil {
			return err
		}
	}
	steps := []*step{{
		query: accountCreated,
		args: []any{
			n.id, n.email, n.verified, n.username, n.passwordHash, n.name, n.marketingOptIn, n.origin.AnonymousID,
			nullable(string(n.origin.Fingerprint)), fingerprint, string(attribution), bonus.Full, welcome, reduced, n.flow,
		},
	}}
	if n.verified {
		steps = append(steps, welcomeMove(n.id, welcome).step())
	}
	created, err := s.recording(ctx, n.id, account.EventAccountCreated, map[string]any{"method": n.method, "verified": n.verified})
	if err != nil {
		return err
	}
	if err := s.atOnce(ctx, slices.Concat(steps, further, []*step{created.step})...); err != nil {
		return err
	}
	if n.username != nil {
		if err := s.requireUnheld(ctx, n.id, *n.username); err != nil {
			return err
		}
	}
	return s.recorded(ctx, created)
}

const accountCreated = `
	WITH a AS (
		INSERT INTO accounts (id, email, email_verified_at, username, password_hash, password_changed_at, full_name,
			marketing_opt_in, anonymous_id, fingerprint, fingerprint_hash, attribution)
		VALUES ($1, $2, CASE WHEN $3::boolean THEN now() END, $4, $5::text, CASE WHEN $5::text IS NOT NULL THEN now() END, $6, $7, $8,
			$9::text::jsonb, $10::bytea, $11::text::jsonb)
		RETURNING id),
	s AS (INSERT INTO settings (account_id) SELECT id FROM a),
	c AS (INSERT INTO credits (account_id) SELECT id FROM a),
	m AS (UPDATE messages SET account_id = a.id FROM a WHERE flow = $15::text AND flow <> '' AND messages.account_id IS NULL)
	INSERT INTO welcomes (account_id, full_bonus, received, reduced) SELECT id, $12::bigint, $13::bigint, $14::boolean FROM a`

func welcomeMove(id uuid.UUID, amount int64) CreditMove {
	return CreditMove{AccountID: id, Kind: "welcome", Key: "welcome", Amount: amount}
}

// welcomeOf is the welcome bonus of an account: the reduced one when another account has the same device fingerprint. Accounts of
// one fingerprint wait for each other here until the transaction ends, so exactly one gets the full bonus.
func (s *Store) welcomeOf(ctx context.Context, id uuid.UUID, fingerprint []byte, bonus Bonus) (amount int64, reduced bool, err error) {
	if fingerprint == nil {
		return bonus.Full, false, nil
	}
	err = s.atOnce(ctx,
		&step{query: `SELECT pg_advisory_xact_lock(hashtextextended(encode($1::bytea, 'hex'), 0))`, args: []any{fingerprint}},
		&step{
			query: `SELECT EXISTS (SELECT 1 FROM accounts WHERE fingerprint_hash = $1 AND id <> $2 AND email_verified_at IS NOT NULL)`,
			args:  []any{fingerprint, id}, into: []any{&reduced},
		})
	if reduced {
		return bonus.Reduced, true, err
	}
	return bonus.Full, false, err
}

// grantWelcome gives an account that has just proven its address its welcome bonus, once, and returns the amount.
func (s *Store) grantWelcome(ctx context.Context, id uuid.UUID, bonus Bonus) (int64, error) {
	var fingerprint []byte
	err := s.only(ctx, `SELECT fingerprint_hash FROM accounts WHERE id = $1`, []any{id}, &fingerprint)
	if err != nil {
		return 0, err
	}
	amount, reduced, err := s.welcomeOf(ctx, id, fingerprint, bonus)
	if err != nil {
		return 0, err
	}
	moved, err := s.MoveCredits(ctx, welcomeMove(id, amount))
	if err != nil || !moved {
		return 0, err
	}
	_, err = s.run(ctx, `UPDATE welcomes SET received = received + $1, reduced = $2 WHERE account_id = $3`, amount, reduced, id)
	return amount, err
}

// Registration is an account to be made before its address is proven (B02).
type Registration struct {
	Attempt    uuid.UUID
	SessionTTL time.Duration
	Bonus      Bonus
	// NameAtProof leaves the username that was asked for to ConfirmEmail, and to everybody else until then: a name that is taken would
	// tell that the address was free (security.md ENU-03).
	NameAtProof bool
}

// Register makes the unverified account of a parked attempt with its first session, in one transaction. Repeating it
// returns the same ones. It returns account.ErrEmailExists or account.ErrUsernameTaken when the identity is taken, and
// account.ErrNotFound when the attempt is gone.
func (s *Store) Register(ctx context.Context, r Registration) (Signed, error) {
	var out Signed
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		var attempt signupAttemptRow
		err := tx.db.NewSelect().Model(&attempt).Where("id = ? AND kind = 'register'", r.Attempt).For("UPDATE").Scan(ctx)
		if err != nil {
			return err
		}
		if attempt.AccountID != nil {
			out = Signed{AccountID: *attempt.AccountID, SessionID: *attempt.SessionID}
			return nil
		}
		if attempt.ClosedAt != nil {
			return errNoRows
		}
		parked := attempt.attempt()
		n := newAccount{
			id: uuid.New(), email: parked.Email, username: parked.Username, passwordHash: &parked.PasswordHash,
			marketingOptIn: parked.MarketingOptIn, origin: parked.Origin, method: "register",
		}
		if r.NameAtProof {
			n.username = nil
		}
		session := NewSession{
			ID: uuid.New(), AccountID: n.id, Method: "register", IP: parked.Origin.IP, UserAgent: parked.Origin.UserAgent, TTL: r.SessionTTL,
		}
		if err := tx.createAccount(ctx, n, r.Bonus, session.step()); err != nil {
			return err
		}
		out = Signed{AccountID: n.id, SessionID: session.ID}
		_, err = tx.db.NewRaw(`
			UPDATE signup_attempts SET account_id = ?, session_id = ?, closed_at = now(), password_hash = '', ip_address = NULL,
				user_agent = NULL WHERE id = ?`, n.id, session.ID, r.Attempt).Exec(ctx)
		return err
	})
	return out, translate(err)
}

// ConfirmEmail consumes a proven challenge and marks the account's address as verified, with its welcome bonus, in one
// transaction. While somebody else has a sign-up open for the address, or once its registration is contested, the account loses its
// password and sessions: only the owner of the mailbox may set one again. Any other one that was registered without the username
// that it asked for gets that now, if it is free. Repeating it returns the same result. It returns account.ErrInvalidCode when the
// challenge is not proven or the account is gone.
func (s *Store) ConfirmEmail(ctx context.Context, challenge uuid.UUID, bonus Bonus) (ChallengeResult, error) {
	var out ChallengeResult
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		row, done, err := tx.consume(ctx, challenge)
		if err != nil {
			return err
		}
		if done != nil {
			out = *done
			return nil
		}
		contested, err := tx.endContest(ctx, row.Destination)
		if err != nil {
			return err
		}
		var id uuid.UUID
		err = translate(tx.db.NewRaw(`
			UPDATE accounts SET email_verified_at = now(), updated_at = now()
			WHERE id = ? AND email = ? AND email_verified_at IS NULL AND deleted_at IS NULL RETURNING id`,
			row.AccountID, row.Destination).Scan(ctx, &id))
		if errors.Is(err, account.ErrNotFound) {
			return account.ErrInvalidCode.Because(errors.New("no unverified account has the address"))
		}
		if err != nil {
			return err
		}
		marked, err := tx.registrationContested(ctx, id)
		if err != nil {
			return err
		}
		named := false
		if contested = contested || marked; contested {
			err = tx.disarm(ctx, id)
		} else {
			named, err = tx.nameAtProof(ctx, id)
		}
		if err != nil {
			return err
		}
		awarded, err := tx.grantWelcome(ctx, id, bonus)
		if err == nil {
			err = tx.record(ctx, id, account.EventEmailVerified, map[string]any{"password_dropped": contested})
		}
		if err == nil && named {
			err = tx.record(ctx, id, account.EventUsernameChanged, nil)
		}
		if err != nil {
			return err
		}
		out = ChallengeResult{AccountID: id, CreditsAwarded: awarded}
		return tx.keepResult(ctx, challenge, out)
	})
	return out, translate(err)
}

// nameAtProof gives an account whose address was just proven the username that its registration asked for, if it was left without
// (Registration.NameAtProof) and the name is still free: otherwise it chooses one itself. It reports whether it has given one.
func (s *Store) nameAtProof(ctx context.Context, id uuid.UUID) (bool, error) {
	var wanted string
	err := s.only(ctx, `
		SELECT sa.username FROM signup_attempts sa JOIN accounts a ON a.id = sa.account_id
		WHERE sa.account_id = $1 AND sa.kind = 'register' AND sa.username IS NOT NULL AND a.username IS NULL LIMIT 1`, []any{id}, &wanted)
	if errors.Is(err, account.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	// A savepoint: who is refused the name has proven the address all the same.
	err = s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		if _, err := tx.run(ctx, `UPDATE accounts SET username = $1 WHERE id = $2`, wanted, id); err != nil {
			return err
		}
		return tx.requireUnheld(ctx, id, wanted)
	})
	if errors.Is(err, account.ErrUsernameTaken) {
		return false, nil
	}
	return err == nil, err
}

// endContest removes the open sign-up of an address and reports whether there was one. It goes before the account is
// touched, in the order of CompleteSignup: the other way round the two would wait for each other.
func (s *Store) endContest(ctx context.Context, email string) (bool, error) {
	res, err := s.db.NewRaw(`DELETE FROM signup_attempts WHERE email = ? AND kind = 'code' AND closed_at IS NULL`, email).Exec(ctx)
	err = touched(res, err)
	if errors.Is(err, account.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Rival is a registration (B02) whose address nobody has proven yet.
type Rival struct {
	Attempt uuid.UUID
	// PasswordHash is that of the password it was begun with, empty for none.
	PasswordHash string
	// Contested tells that somebody knew another one.
	Contested bool
}

// Rivals returns the registrations of an address but one's own: the account that holds it without proof, and those whose account is
// yet to be made. Past its time an attempt is one, too: its flow may have waited for a worker.
func (s *Store) Rivals(ctx context.Context, email string, own uuid.UUID) ([]Rival, error) {
	// One statement: between two, an attempt could become an account and be in neither.
	rows, err := s.db.QueryContext(ctx, rivals, email, own)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var found []Rival
	for rows.Next() {
		var r Rival
		if err := rows.Scan(&r.Attempt, &r.PasswordHash, &r.Contested); err != nil {
			return nil, translate(err)
		}
		found = append(found, r)
	}
	return found, translate(rows.Err())
}

const rivals = `
	SELECT sa.id, coalesce(a.password_hash, ''), sa.contested FROM accounts a JOIN signup_attempts sa ON sa.account_id = a.id
	WHERE a.email = ?0 AND a.email_verified_at IS NULL AND a.deleted_at IS NULL AND sa.kind = 'register' AND sa.id <> ?1
	UNION ALL
	SELECT id, password_hash, contested FROM signup_attempts
	WHERE email = ?0 AND kind = 'register' AND closed_at IS NULL AND id <> ?1`

// Contest marks registrations of an address that was registered with another password as well: then neither may open the account
// (security.md PRE-06). Whoever proves the address later finds the mark.
func (s *Store) Contest(ctx context.Context, attempts ...uuid.UUID) error {
	// In one order, so that no two wait for each other.
	_, err := s.db.NewRaw(`
		WITH held AS (SELECT id FROM signup_attempts WHERE id IN (?) ORDER BY id FOR UPDATE)
		UPDATE signup_attempts sa SET contested = true FROM held WHERE sa.id = held.id`, bun.List(attempts)).Exec(ctx)
	return translate(err)
}

// registrationContested reports whether the registration that has made an account is contested. It waits for whoever is about to
// mark it, and they for this transaction: what they tell their client afterwards is told after the proof.
func (s *Store) registrationContested(ctx context.Context, id uuid.UUID) (contested bool, err error) {
	err = translate(s.db.NewRaw(`SELECT contested FROM signup_attempts WHERE account_id = ? AND kind = 'register' FOR UPDATE`, id).
		Scan(ctx, &contested))
	if errors.Is(err, account.ErrNotFound) {
		return false, nil
	}
	return contested, err
}

// disarm takes password and sessions from an account that somebody else may have prepared.
func (s *Store) disarm(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`
		WITH a AS (UPDATE accounts SET password_hash = NULL, password_changed_at = now() WHERE id = ?0)
		UPDATE sessions SET revoked_at = now(), revoke_reason = 'contested' WHERE account_id = ?0 AND revoked_at IS NULL`, id).Exec(ctx)
	return translate(err)
}

// PurgeUnverified deletes an account whose address was not proven within ttl, with everything of it. It returns how long
// the account still has; 0 means that it is gone or verified.
func (s *Store) PurgeUnverified(ctx context.Context, id uuid.UUID, ttl time.Duration) (time.Duration, error) {
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		gone := &step{query: unverifiedGone + `id = $1 AND created_at <= now() - $2::float8 * interval '1 second'` + mailsForgotten, args: []any{id, seconds(ttl)}}
		if err := tx.atOnce(ctx, gone); err != nil {
			return err
		}
		if !gone.found {
			return errNoRows
		}
		return tx.record(ctx, id, account.EventAccountPurged, map[string]any{"reason": "unproven"})
	})
	if !errors.Is(err, account.ErrNotFound) {
		return 0, err
	}
	var left float64
	err = translate(s.db.NewRaw(`
		SELECT greatest(extract(epoch FROM created_at - now()) + ?, 1)::float8 FROM accounts
		WHERE id = ? AND email_verified_at IS NULL AND deleted_at IS NULL`, seconds(ttl), id).Scan(ctx, &left))
	if errors.Is(err, account.ErrNotFound) {
		return 0, nil
	}
	return time.Duration(left * float64(time.Second)), err
}
