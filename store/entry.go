package store

import (
	"cmp"
	"context"
	"time"

	"gatehouse/account"
)

// Gate is what a login shows and may be asked for beside its first proof (design D7).
type Gate struct {
	// DeviceHash is the hash of the device token that was shown, nil for none.
	DeviceHash []byte
	// StepHash is the hash of the token that names the session if a code is due.
	StepHash []byte
	// CodeLife and FactorLife are how long the session waits for a code and for the second factor.
	CodeLife, FactorLife time.Duration
}

// Entry is a login whose first proof was right.
type Entry struct {
	Session NewSession
	Gate    Gate
	// Compared is what the password was compared with, nil for a login without one.
	Compared *Credentials
	// Forget are the keys under which wrong passwords were counted.
	Forget [][]byte
}

// accountHeld keeps an account as it is until the transaction ends: whoever changes the password, the second factor or the
// devices waits, or has done so before the next statement looks. The lock and the look are two statements, because one that
// waits for a lock sees of the other tables what was there before.
const accountHeld = `SELECT a.id FROM accounts a WHERE a.id = $1 AND a.deleted_at IS NULL FOR SHARE`

// A second step is due when two-factor is on, the account has a trusted device, or the client names its device or shows the token
// of one that is trusted no more, and no trusted device shows its token. An account whose address is unproven has nothing to guard,
// and owes none. A trusted device lends the session its name. Wrong passwords are forgotten in the order in which LoginFailed locks
// them.
const sessionOpened = `
	WITH facts AS (
		SELECT a.two_factor_enabled AS two_factor, a.email IS NOT NULL AND a.email_verified_at IS NOT NULL AS reachable,
			EXISTS (SELECT 1 FROM totp_factors f WHERE f.account_id = a.id AND f.confirmed_at IS NOT NULL) AS app,
			EXISTS (SELECT 1 FROM devices d WHERE d.account_id = a.id AND ` + deviceLive + `) AS guarded
		FROM accounts a WHERE a.id = $1 AND a.deleted_at IS NULL AND (NOT $16::boolean
			OR ` + accountUsable + ` AND ` + passwordOpens + ` AND a.password_changed_at IS NOT DISTINCT FROM $17::timestamptz)),
	shown AS (
		UPDATE devices d SET last_used_at = now() FROM facts
		WHERE d.token_hash = $12::bytea AND d.account_id = $1 AND ` + deviceLive + `
		RETURNING d.device_id, d.device_name, d.platform),
	due AS (
		SELECT CASE WHEN shown.device_id IS NOT NULL THEN '' WHEN two_factor AND app THEN 'factor'
				WHEN two_factor OR reachable AND (guarded OR $8::text IS NOT NULL OR $12::bytea IS NOT NULL) THEN 'device' ELSE '' END AS step,
			CASE WHEN shown.device_id IS NOT NULL THEN shown.device_id ELSE $8::text END AS device_id,
			CASE WHEN shown.device_id IS NOT NULL THEN shown.device_name ELSE $9::text END AS device_name,
			CASE WHEN shown.device_id IS NOT NULL THEN shown.platform ELSE $10::text END AS platform
		FROM facts LEFT JOIN shown ON true),
	created AS (
		INSERT INTO sessions
			(id, account_id, method, ip_address, user_agent, expires_at, state, device_id, device_name, platform, step_hash)
		SELECT $2::uuid, $1, $3::text, $4::text, $5::text,
			now() + least($6::float8, CASE step WHEN 'device' THEN $13::float8 WHEN 'factor' THEN $14::float8 END) * interval '1 second',
			CASE step WHEN '' THEN 'active' ELSE 'pending' END, device_id, device_name, platform,
			CASE step WHEN 'device' THEN $15::bytea END
		FROM due RETURNING id, state, created_at, last_active_at, auth_time, expires_at),
	refresh AS (
		INSERT INTO refresh_tokens (token_hash, session_id, expires_at)
		SELECT $7::bytea, id, now() + $11::float8 * interval '1 second' FROM created WHERE $7::bytea IS NOT NULL),
	history AS (
		INSERT INTO login_history (account_id, method, outcome, ip_address, user_agent)
		SELECT $1, $3::text, CASE state WHEN 'active' THEN 'succeeded' ELSE 'second_step' END, $4::text, $5::text FROM created),
	forgotten AS (
		DELETE FROM login_throttles WHERE key IN (
			SELECT key FROM login_throttles WHERE key = ANY ($18::bytea[]) ORDER BY key FOR UPDATE))
	SELECT due.step, created.state, created.created_at, created.last_active_at, created.auth_time, created.expires_at,
		coalesce(due.device_id, ''), due.device_name, due.platform
	FROM created, due`

// open returns the steps that open the session of a login, and where their answer goes: nowhere if the account is gone, may not
// be used, or, where a password was compared, has got another one or lost its address meanwhile.
func (e Entry) open(out *account.Session, due *string) (held, opened *step) {
	n := e.Session
	*out = account.Session{ID: n.ID, AccountID: n.AccountID, Method: n.Method, IP: n.IP, UserAgent: n.UserAgent}
	var changed *time.Time
	if e.Compared != nil {
		changed = e.Compared.ChangedAt
	}
	held = &step{query: accountHeld, args: []any{n.AccountID}}
	opened = &step{
		query: sessionOpened,
		args: []any{
			n.AccountID, n.ID, n.Method, nullable(n.IP), nullable(n.UserAgent), seconds(n.TTL), n.RefreshHash,
			nullable(n.Client.ID), n.Client.Name, n.Client.Platform, seconds(min(cmp.Or(n.RefreshIdle, n.TTL), n.TTL)),
			e.Gate.DeviceHash, seconds(e.Gate.CodeLife), seconds(e.Gate.FactorLife), e.Gate.StepHash,
			e.Compared != nil, changed, e.Forget,
		},
		into: []any{
			due, &out.State, &out.CreatedAt, &out.LastActiveAt, &out.AuthTime, &out.ExpiresAt,
			&out.Client.ID, &out.Client.Name, &out.Client.Platform,
		},
	}
	return held, opened
}

// OpenSession creates the session of a login, pending if a second step is due. Whoever changes what the account demands waits
// for this session, or this session owes what was changed. It returns account.ErrNotFound when the account is gone.
func (s *Store) OpenSession(ctx context.Context, n NewSession, g Gate) (account.Session, account.SecondStep, error) {
	var out account.Session
	var due string
	held, opened := Entry{Session: n, Gate: g}.open(&out, &due)
	err := s.atOnce(ctx, held, opened)
	if err == nil && !opened.found {
		err = errNoRows
	}
	return out, account.SecondStep(due), err
}

const newPrincipal = `SELECT ` + sessionColumns + `, ` + accountColumns + walletColumns + sessionFrom + walletJoins + `
	WHERE s.id = $1` + sessionWhere

// Enter is OpenSession for a login by password, all of it in one round trip: the password is still the one that was compared,
// wrong ones are forgotten, and the principal of the new session comes back. A change of the password waits and ends the
// session, or there is none. It returns account.ErrNotFound when the account may not be used, has another password, or has no
// address any more.
func (s *Store) Enter(ctx context.Context, e Entry) (account.Principal, account.SecondStep, error) {
	var out account.Session
	var due string
	var p account.Principal
	held, opened := e.open(&out, &due)
	read := &step{query: newPrincipal, args: []any{e.Session.ID}, into: wholePrincipal(&p)}
	err := s.atOnce(ctx, held, opened, read)
	if err == nil && (!opened.found || !read.found) {
		err = errNoRows
	}
	if err != nil {
		return account.Principal{}, account.StepNone, err
	}
	return p, account.SecondStep(due), s.namePlan(ctx, &p)
}
