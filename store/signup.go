package store

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"gatehouse/account"
)

type signupAttemptRow struct {
	bun.BaseModel `bun:"table:signup_attempts,alias:sa"`

	ID             uuid.UUID         `bun:"id,pk,type:uuid"`
	Kind           string            `bun:"kind,notnull"`
	Email          string            `bun:"email,notnull"`
	Username       *string           `bun:"username"`
	PasswordHash   string            `bun:"password_hash,notnull"`
	Name           *string           `bun:"name"`
	MarketingOptIn bool              `bun:"marketing_opt_in,notnull"`
	IPAddress      string            `bun:"ip_address,nullzero"`
	UserAgent      string            `bun:"user_agent,nullzero"`
	Fingerprint    json.RawMessage   `bun:"fingerprint,type:jsonb"`
	Attribution    map[string]string `bun:"attribution,type:jsonb"`
	Contested      bool              `bun:"contested,notnull"`
	AccountID      *uuid.UUID        `bun:"account_id,type:uuid"`
	SessionID      *uuid.UUID        `bun:"session_id,type:uuid"`
	CreatedAt      time.Time         `bun:"created_at,nullzero,notnull"`
	ExpiresAt      time.Time         `bun:"expires_at,notnull"`
	ClosedAt       *time.Time        `bun:"closed_at"`
}

func (r signupAttemptRow) attempt() account.SignupAttempt {
	return account.SignupAttempt{
		ID: r.ID, Kind: account.SignupKind(r.Kind), Email: r.Email, Username: r.Username, PasswordHash: r.PasswordHash,
		Name: r.Name, MarketingOptIn: r.MarketingOptIn, Contested: r.Contested, AccountID: r.AccountID, SessionID: r.SessionID,
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, Closed: r.ClosedAt != nil,
		Origin: account.Origin{
			IP: r.IPAddress, UserAgent: r.UserAgent,
			Fingerprint: []byte(r.Fingerprint), Attribution: r.Attribution,
		},
	}
}

// OpenSignup parks a sign-up attempt for ttl and returns it with opened true. An attempt by code joins the open one of
// its address, which is then returned with opened false; a repeated id returns the attempt as it stands.
func (s *Store) OpenSignup(ctx context.Context, a account.SignupAttempt, ttl time.Duration) (out account.SignupAttempt, opened bool, err error) {
	attribution, err := json.Marshal(a.Origin.Attribution)
	if err != nil {
		return out, false, err
	}
	out = a
	added := &step{
		query: `INSERT INTO signup_attempts (id, kind, email, username, password_hash, name, marketing_opt_in, ip_address,
				user_agent, fingerprint, attribution, expires_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11::text::jsonb, now() + $12::float8 * interval '1 second')
			ON CONFLICT DO NOTHING RETURNING created_at, expires_at`,
		args: []any{
			a.ID, string(a.Kind), a.Email, a.Username, a.PasswordHash, a.Name, a.MarketingOptIn, nullable(a.Origin.IP),
			nullable(a.Origin.UserAgent), nullable(string(a.Origin.Fingerprint)), string(attribution), seconds(ttl),
		},
		into: []any{&out.CreatedAt, &out.ExpiresAt},
	}
	err = s.atOnce(ctx, &step{
		query: `DELETE FROM signup_attempts WHERE email = $1 AND kind = 'code' AND closed_at IS NULL AND expires_at <= now()`,
		args:  []any{a.Email},
	}, added)
	if err != nil || added.found {
		return out, added.found, err
	}
	var row signupAttemptRow
	err = s.db.NewSelect().Model(&row).
		Where("id = ? OR (? = 'code' AND kind = 'code' AND email = ? AND closed_at IS NULL)", a.ID, a.Kind, a.Email).Scan(ctx)
	return row.attempt(), false, translate(err)
}

// OpenCodeSignup returns the open sign-up attempt by code of an address, or account.ErrNotFound.
func (s *Store) OpenCodeSignup(ctx context.Context, email string) (account.SignupAttempt, error) {
	var row signupAttemptRow
	err := s.db.NewSelect().Model(&row).
		Where("email = ? AND kind = 'code' AND closed_at IS NULL AND expires_at > now()", email).Scan(ctx)
	return row.attempt(), translate(err)
}

// Signup returns a sign-up attempt, open or closed, or account.ErrNotFound.
func (s *Store) Signup(ctx context.Context, id uuid.UUID) (account.SignupAttempt, error) {
	var row signupAttemptRow
	err := s.db.NewSelect().Model(&row).Where("id = ?", id).Scan(ctx)
	return row.attempt(), translate(err)
}

// JoinSignup prolongs the open attempt by code of a's id, which its own client repeats with what is now given of name, fingerprint
// and attribution, or marks it contested when a is: somebody who knows another password asks for the same address, and then neither
// password may open the account, and nothing more is believed of anybody (security.md PRE-06). Asking again keeps it open for a day
// from its beginning at most. It returns account.ErrNotFound when the attempt has ended.
func (s *Store) JoinSignup(ctx context.Context, a account.SignupAttempt, ttl time.Duration) error {
	var attribution *string
	if len(a.Origin.Attribution) > 0 {
		raw, err := json.Marshal(a.Origin.Attribution)
		if err != nil {
			return err
		}
		attribution = new(string(raw))
	}
	res, err := s.db.NewRaw(`
		UPDATE signup_attempts SET contested = contested OR ?0,
			expires_at = least(created_at + interval '1 day', greatest(expires_at, now() + ?1 * interval '1 second')),
			name = CASE WHEN contested OR ?0 THEN name ELSE coalesce(?3, name) END,
			fingerprint = CASE WHEN contested OR ?0 THEN fingerprint ELSE coalesce(?4::jsonb, fingerprint) END,
			attribution = CASE WHEN contested OR ?0 THEN attribution ELSE coalesce(?5::jsonb, attribution) END
		WHERE id = ?2 AND closed_at IS NULL AND expires_at > now()`,
		a.Contested, seconds(ttl), a.ID, a.Name, nullable(string(a.Origin.Fingerprint)), attribution).Exec(ctx)
	return touched(res, err)
}

// EndSignup has an attempt expire at once that was refused before it got any code: nothing more comes of it.
func (s *Store) EndSignup(ctx context.Context, id uuid.UUID) error {
	_, err := s.db.NewRaw(`UPDATE signup_attempts SET expires_at = least(expires_at, now())
		WHERE id = ?0 AND closed_at IS NULL AND NOT EXISTS (SELECT 1 FROM challenges WHERE id = ?0)`, id).Exec(ctx)
	return translate(err)
}

// resumable is how long a sign-up that nobody repeats is looked for: who has waited that long has gone. It bounds what is looked
// at each time to the newest, which are the end of an index.
const resumable = 15 * time.Minute

// unbegun are the open attempts of some time without a code. What it compares with each is one row, however many codes there
// are: without the OFFSET the planner may read all of them instead.
const unbegun = `
	SELECT id, kind, email FROM signup_attempts sa
	WHERE closed_at IS NULL AND expires_at > now() + ? * interval '1 second' AND created_at <= now() - ? * interval '1 second'
		AND NOT EXISTS (SELECT 1 FROM challenges ch WHERE ch.id = sa.id OFFSET 0)
	ORDER BY random() LIMIT ?`

// UnbegunSignups returns open attempts that are older than since and whose first code, which has the attempt's own id, was never
// made, at most atMost, in no order: one whose flow refuses holds up no other for long. They have their id, kind and address
// alone. Attempts are looked at that were asked for in the last quarter of an hour; ttl is how long they live after that.
func (s *Store) UnbegunSignups(ctx context.Context, since, ttl time.Duration, atMost int) ([]account.SignupAttempt, error) {
	rows, err := s.db.QueryContext(ctx, unbegun, seconds(max(ttl-resumable, 0)), seconds(since), atMost)
	if err != nil {
		return nil, translate(err)
	}
	defer func() { _ = rows.Close() }()
	var found []account.SignupAttempt
	for rows.Next() {
		var one account.SignupAttempt
		if err := rows.Scan(&one.ID, &one.Kind, &one.Email); err != nil {
			return nil, translate(err)
		}
		found = append(found, one)
	}
	return found, translate(rows.Err())
}

// SignupExpiry prolongs an open attempt to ttl from now and returns its address and when it expires. It returns
// account.ErrNotFound when it is not open.
func (s *Store) SignupExpiry(ctx context.Context, id uuid.UUID, ttl time.Duration) (email string, expires time.Time, err error) {
	err = s.only(ctx, `
		UPDATE signup_attempts
		SET expires_at = least(created_at + interval '1 day', greatest(expires_at, now() + $2::float8 * interval '1 second'))
		WHERE id = $1 AND closed_at IS NULL RETURNING email, expires_at`, []any{id, seconds(ttl)}, &email, &expires)
	return email, expires, err
}

// AbandonSignup removes an open attempt by code that has expired, with every code of its address: nothing is left behind.
// An attempt that was prolonged meanwhile stays, and its new expiry is returned; the zero time means it is gone.
func (s *Store) AbandonSignup(ctx context.Context, id uuid.UUID, subject []byte) (time.Time, error) {
	var expires time.Time
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		res, err := tx.db.NewRaw(`
			DELETE FROM signup_attempts WHERE id = ? AND closed_at IS NULL AND expires_at <= now()`, id).Exec(ctx)
		err = touched(res, err)
		if errors.Is(err, account.ErrNotFound) {
			err = translate(tx.db.NewRaw(`SELECT expires_at FROM signup_attempts WHERE id = ? AND closed_at IS NULL`, id).
				Scan(ctx, &expires))
			if err == nil {
				return nil
			}
		}
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return err
		}
		// A spent code stays: its result may be asked for again.
		_, err = tx.db.NewRaw(`DELETE FROM challenges WHERE purpose = ? AND subject = ? AND consumed_at IS NULL
			AND NOT EXISTS (SELECT 1 FROM signup_attempts a WHERE a.email = destination AND a.kind = 'code' AND a.closed_at IS NULL)`,
			account.PurposeSignup, subject).Exec(ctx)
		return err
	})
	return expires, translate(err)
}

// Signed is what a finished sign-up made.
type Signed struct {
	AccountID uuid.UUID
	SessionID uuid.UUID
}

// Bonus is the welcome bonus: Full, or Reduced for a device fingerprint that was seen before.
type Bonus struct {
	Full, Reduced int64
}

// CompleteSignup consumes a proven sign-up code and makes the account in the same transaction: account, settings, credits
// with the welcome bonus, and the first session. An unverified account of the address dies with everything of it; a
// contested sign-up gets no password. The mails of flow, which could not know the account, are its own from now on, and forgotten
// with it. Repeating it returns the same account and session. It returns account.ErrInvalidCode when the code is not proven or the
// sign-up has expired, and account.ErrEmailExists when the address was taken meanwhile.
func (s *Store) CompleteSignup(ctx context.Context, challenge uuid.UUID, bonus Bonus, sessionTTL time.Duration, flow string) (Signed, error) {
	var out Signed
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		row, done, err := tx.consume(ctx, challenge)
		if err != nil {
			return err
		}
		if done != nil {
			out = Signed{AccountID: done.AccountID, SessionID: done.SessionID}
			return nil
		}
		attempt, origin, err := tx.closeCodeSignup(ctx, row)
		if err != nil {
			return err
		}
		n := newAccount{
			id: uuid.New(), email: row.Destination, verified: true, name: attempt.Name, origin: origin,
			passwordHash: nullable(attempt.PasswordHash), method: "signup", flow: flow,
		}
		if attempt.Contested {
			n.name, n.passwordHash = nil, nil
		}
		session := NewSession{
			ID: uuid.New(), AccountID: n.id, Method: "signup", IP: origin.IP, UserAgent: origin.UserAgent, TTL: sessionTTL,
		}
		out = Signed{AccountID: n.id, SessionID: session.ID}
		kept, err := ChallengeResult{AccountID: n.id, SessionID: session.ID}.kept(challenge)
		if err != nil {
			return err
		}
		return tx.createAccount(ctx, n, bonus, session.step(), kept)
	})
	return out, translate(err)
}

// closeCodeSignup ends the open attempt of a consumed challenge, empties it of its secret, and returns it as it was with
// the origin of the sign-up: what the completing request said wins over what the first one said. An unverified account that holds
// the address without proof is deleted.
func (s *Store) closeCodeSignup(ctx context.Context, row challengeRow) (account.SignupAttempt, account.Origin, error) {
	proof, err := row.proof()
	if err != nil {
		return account.SignupAttempt{}, account.Origin{}, err
	}
	var attempt signupAttemptRow
	var fingerprint, attribution *string
	const open = ` email = $1 AND kind = 'code' AND closed_at IS NULL AND expires_at > now()`
	found := &step{
		query: `SELECT id, password_hash, name, coalesce(ip_address, ''), coalesce(user_agent, ''), fingerprint::text, attribution::text,
			contested FROM signup_attempts WHERE` + open + ` FOR UPDATE`,
		args: []any{row.Destination},
		into: []any{
			&attempt.ID, &attempt.PasswordHash, &attempt.Name, &attempt.IPAddress, &attempt.UserAgent, &fingerprint, &attribution,
			&attempt.Contested,
		},
	}
	closed := &step{
		query: `UPDATE signup_attempts SET closed_at = now(), password_hash = '', name = NULL, ip_address = NULL, user_agent = NULL,
			fingerprint = NULL, attribution = NULL WHERE` + open,
		args: []any{row.Destination},
	}
	var gone uuid.UUID
	removed := unverifiedRemoved(row.Destination, &gone)
	if err := s.atOnce(ctx, found, closed, removed); err != nil {
		return account.SignupAttempt{}, account.Origin{}, err
	}
	if !found.found {
		return account.SignupAttempt{}, account.Origin{}, account.ErrInvalidCode.Because(errors.New("no sign-up is open"))
	}
	if removed.found {
		err = s.purged(ctx, gone)
	}
	if fingerprint != nil {
		attempt.Fingerprint = json.RawMessage(*fingerprint)
	}
	if attribution != nil {
		err = errors.Join(err, json.Unmarshal([]byte(*attribution), &attempt.Attribution))
	}
	origin := proof.Origin
	if !attempt.Contested {
		origin = laterWins(attempt.attempt().Origin, proof.Origin)
	}
	return attempt.attempt(), origin, err
}

func laterWins(earlier, later account.Origin) account.Origin {
	if len(later.Fingerprint) == 0 {
		later.Fingerprint = earlier.Fingerprint
	}
	if len(later.Attribution) == 0 {
		later.Attribution = earlier.Attribution
	}
	return later
}

// removeUnverified deletes the account that holds an address without proof, for whoever has just proven it.
func (s *Store) removeUnverified(ctx context.Context, email string) error {
	var gone uuid.UUID
	removed := unverifiedRemoved(email, &gone)
	if err := s.atOnce(ctx, removed); err != nil || !removed.found {
		return err
	}
	return s.purged(ctx, gone)
}

func unverifiedRemoved(email string, gone *uuid.UUID) *step {
	return &step{
		query: unverifiedGone + `email = $1` + mailsForgotten, args: []any{email}, into: []any{gone},
	}
}

// Between the two stands which unverified account is deleted, with all that is its own. That mails went to it is still counted;
// where they went is not known any more.
const (
	unverifiedGone = `
		WITH gone AS (DELETE FROM accounts WHERE email_verified_at IS NULL AND deleted_at IS NULL AND `
	mailsForgotten = ` RETURNING id),
		m AS (UPDATE messages SET masked_destination = '', recipe = NULL FROM gone WHERE messages.account_id = gone.id)
		SELECT id FROM gone`
)

// purged tells of an account that was deleted for the one who has proven its address.
func (s *Store) purged(ctx context.Context, gone uuid.UUID) error {
	return s.record(ctx, gone, account.EventAccountPurged, map[string]any{"reason": "address_proven_by_another"})
}
