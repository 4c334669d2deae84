package store

import (
	"context"
	"fmt"
	"strings"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"gatehouse/account"
)

const accountUsable = `a.is_active AND NOT a.is_locked AND a.deleted_at IS NULL`

// accountColumns is what every authenticated request reads of its account.
const accountColumns = `
	a.id, a.email, a.email IS NOT NULL AND a.email_verified_at IS NOT NULL, a.username, a.password_hash IS NOT NULL, a.is_active,
	a.is_locked, a.roles, a.primary_provider, a.two_factor_enabled, a.phone_number, a.country_code, a.phone_verified_at IS NOT NULL,
	a.full_name, a.avatar_url, a.user_type, a.audio_usage, a.referral_source, a.onboarding_done, a.created_at, a.updated_at`

func accountTargets(to []any, a *account.Account) []any {
	return append(to, &a.ID, &a.Email, &a.EmailVerified, &a.Username, &a.HasPassword, &a.Active, &a.Locked,
		&a.Roles, &a.PrimaryProvider, &a.TwoFactor, &a.PhoneNumber, &a.CountryCode, &a.PhoneVerified,
		&a.Profile.FullName, &a.Profile.AvatarURL, &a.Profile.UserType, &a.Profile.AudioUsage, &a.Profile.ReferralSource,
		&a.OnboardingDone, &a.CreatedAt, &a.UpdatedAt)
}

// walletColumns is what a route that shows credits or the plan reads beside the account. Of the plan it is the id; the rest is in
// the catalogue (plan.go).
const walletColumns = `,
	c.balance, c.payg_balance, c.last_reset_at, c.next_reset_at, c.total_used, c.total_purchased, c.discount_eligible,
	c.discount_active, sub.id, coalesce(sub.status, 'active'), coalesce(sub.period_start, a.created_at), sub.period_end,
	sub.cancel_at, coalesce(sub.plan_id, 'free')`

const walletJoins = `
	JOIN credits c ON c.account_id = a.id
	LEFT JOIN subscriptions sub ON sub.account_id = a.id AND sub.family = 'main'
		AND sub.status IN ('trialing', 'active', 'past_due', 'paused', 'unpaid')`

func walletTargets(to []any, w *account.Wallet) []any {
	c, sub := &w.Credits, &w.Subscription
	return append(to, &c.Balance, &c.PayAsYouGo, &c.LastResetAt, &c.NextResetAt, &c.TotalUsed, &c.TotalPurchased, &c.DiscountEligible,
		&c.DiscountActive, &sub.ID, &sub.Status, &sub.PeriodStart, &sub.PeriodEnd,
		&sub.CancelAt, &sub.Plan.ID)
}

// The implicit session of an API key is left out: no token names it.
const (
	sessionFrom  = ` FROM sessions s JOIN accounts a ON a.id = s.account_id`
	sessionWhere = ` AND s.api_key_id IS NULL AND ` + sessionLive + ` AND ` + accountUsable
)

const (
	// A key that was never used has no session yet.
	keySession = `s.id IS NOT NULL, coalesce(s.id, k.id), a.id, coalesce(s.state, 'active'),
		coalesce(s.method, ''), s.device_info, coalesce(s.ip_address, ''), coalesce(s.user_agent, ''),
		coalesce(s.device_id, ''), s.device_name, s.platform, coalesce(s.created_at, k.created_at),
		coalesce(s.last_active_at, k.created_at), coalesce(s.auth_time, k.created_at), s.factor_at,
		coalesce(s.expires_at, k.created_at), now()`
	keyFrom  = ` FROM api_keys k JOIN accounts a ON a.id = k.account_id LEFT JOIN sessions s ON s.api_key_id = k.id AND ` + sessionLive
	keyWhere = ` AND k.revoked_at IS NULL AND ` + accountUsable
)

// identity is the query that finds out who calls, by session or API key, once for each size of a group: for 1, 2, 4, 8 and 16
// callers. A group of three uses the text for four, with NULL as the fourth key, which finds nothing. By session and without the
// wallet, the text for two is, with a and s for the columns of account and session:
//
//	SELECT asked.n, found.* FROM (VALUES (0, $1::uuid), (1, $2::uuid)) AS asked (n, key)
//	CROSS JOIN LATERAL (
//	    SELECT s, a FROM sessions s JOIN accounts a ON a.id = s.account_id
//	    WHERE s.id = asked.key AND s.api_key_id IS NULL AND <session lives> AND <account may be used> LIMIT 1
//	) AS found
//
// n says which caller of the group a row belongs to; a caller without a row is unknown. LIMIT 1 keeps the planner to one index
// look-up per key: without it, it may choose to read a whole table that it takes to be small. The text for one has no list:
//
//	SELECT 0, s, a FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE s.id = $1 AND ...
type identity struct {
	// wallet says that the wallet's columns come after the account's.
	wallet bool
	// texts[i] is for sizes[i] callers.
	sizes []int
	texts []string
}

// identityOf makes the texts. kind is the Postgres type of key, the column that callers are looked up by; columns are those of the
// credential, which come before the account's.
func identityOf(kind, key, columns, from, where string, wallet bool) identity {
	if columns += `, ` + accountColumns; wallet {
		columns, from = columns+walletColumns, from+walletJoins
	}
	out := identity{
		wallet: wallet, sizes: []int{1},
		texts: []string{`SELECT 0, ` + columns + from + ` WHERE ` + key + ` = $1` + where},
	}
	for size := 2; size <= groupLimit; size *= 2 {
		asked := make([]string, size)
		for i := range asked {
			asked[i] = fmt.Sprintf("(%d, $%d::%s)", i, i+1, kind)
		}
		out.sizes = append(out.sizes, size)
		out.texts = append(out.texts, `SELECT asked.n, found.* FROM (VALUES `+strings.Join(asked, ", ")+`) AS asked (n, key)
			CROSS JOIN LATERAL (SELECT `+columns+from+` WHERE `+key+` = asked.key`+where+` LIMIT 1) AS found`)
	}
	return out
}

var (
	callerBySession    = identityOf("uuid", "s.id", sessionColumns, sessionFrom, sessionWhere, false)
	principalBySession = identityOf("uuid", "s.id", sessionColumns, sessionFrom, sessionWhere, true)
	callerByKey        = identityOf("bytea", "k.key_hash", keyColumns+`, `+keySession, keyFrom, keyWhere, false)
	principalByKey     = identityOf("bytea", "k.key_hash", keyColumns+`, `+keySession, keyFrom, keyWhere, true)
)

// found is all that one row tells.
type found struct {
	account.Principal
	session account.Session
	wallet  account.Wallet
	// used says that the key has a session.
	used bool
}

type (
	reader[K any]  = *gather[K, *found]
	readers[K any] = []*reading[K, *found]
)

// principals are the reads of those who call, with their wallets and without.
type principals struct {
	sessions, wholeSessions reader[pgtype.UUID]
	keys, wholeKeys         reader[[]byte]
}

func (s *Store) gatherPrincipals(parallel int) principals {
	bySession := func(i identity) reader[pgtype.UUID] {
		return &gather[pgtype.UUID, *found]{parallel: parallel, read: func(ctx context.Context, group readers[pgtype.UUID]) error {
			return readPrincipals(ctx, s, i, group, func(to []any, f *found) []any {
				f.Session = &f.session
				return sessionTargets(to, &f.session)
			})
		}}
	}
	byKey := func(i identity) reader[[]byte] {
		return &gather[[]byte, *found]{parallel: parallel, read: func(ctx context.Context, group readers[[]byte]) error {
			return readPrincipals(ctx, s, i, group, func(to []any, f *found) []any {
				f.APIKey = &account.APIKey{}
				return sessionTargets(append(keyTargets(to, f.APIKey), &f.used), &f.session)
			})
		}}
	}
	return principals{
		sessions: bySession(callerBySession), wholeSessions: bySession(principalBySession),
		keys: byKey(callerByKey), wholeKeys: byKey(principalByKey),
	}
}

// mostColumns is how many columns the widest of these reads has.
const mostColumns = 64

// readPrincipals answers a group by one prepared statement. credential appends the targets of the columns before the account's.
func readPrincipals[K any](
	ctx context.Context, s *Store, i identity, group readers[K], credential func(to []any, f *found) []any,
) error {
	at := 0
	for i.sizes[at] < len(group) {
		at++
	}
	args := make([]any, 1+i.sizes[at])
	args[0] = pgx.QueryExecModeCacheStatement
	for n, r := range group {
		args[1+n], r.err = r.key, account.ErrNotFound
	}
	rows, err := s.pool.Query(ctx, i.texts[at], args...)
	if err != nil {
		return translate(err)
	}
	defer rows.Close()
	targets := make([]any, 0, mostColumns)
	for rows.Next() {
		values := rows.RawValues()
		var n int32
		if len(values) == 0 || !decodeValue(values[0], &n) || int(n) >= len(group) {
			return fmt.Errorf("whose row it is: %w", errRow)
		}
		f := &found{}
		targets = accountTargets(credential(targets[:0], f), &f.Account)
		if i.wallet {
			f.Wallet = &f.wallet
			targets = walletTargets(targets, f.Wallet)
		}
		if err := row(targets).fill(values[1:]); err != nil {
			return err
		}
		group[n].value, group[n].err = f, nil
	}
	if err := rows.Err(); err != nil || !i.wallet {
		return translate(err)
	}
	for _, r := range group {
		if r.err == nil {
			r.err = s.namePlan(ctx, &r.value.Principal)
		}
	}
	return nil
}

// wholePrincipal are the targets of a session's columns, its account's and its wallet's.
func wholePrincipal(p *account.Principal) []any {
	p.Session, p.Wallet = &account.Session{}, &account.Wallet{}
	return walletTargets(accountTargets(sessionTargets(make([]any, 0, mostColumns), p.Session), &p.Account), p.Wallet)
}

// namePlan completes the plan of a wallet that was read, outside of a transaction.
func (s *Store) namePlan(ctx context.Context, p *account.Principal) (err error) {
	p.Subscription.Plan, err = s.plans.plan(ctx, s, p.Subscription.Plan.ID)
	return err
}

// PrincipalBySession returns who a session belongs to, by one prepared statement. It returns account.ErrNotFound when the
// session is unknown, revoked or expired, or its account may not sign in: revoked means refused from the next request on.
func (s *Store) PrincipalBySession(ctx context.Context, id uuid.UUID) (account.Principal, error) {
	return principal(s.principals.wholeSessions.get(ctx, uuidArgument(id)))
}

// CallerBySession is PrincipalBySession without the wallet.
func (s *Store) CallerBySession(ctx context.Context, id uuid.UUID) (account.Principal, error) {
	return principal(s.principals.sessions.get(ctx, uuidArgument(id)))
}

// PrincipalByKey returns who an API key belongs to, with the key's implicit session if it has one (contract X06); a
// service key belongs to nobody and carries an empty account. It returns account.ErrNotFound when the key is unknown or
// revoked, or its account may not be used.
func (s *Store) PrincipalByKey(ctx context.Context, keyHash []byte, service bool) (account.Principal, error) {
	if service {
		return s.serviceKey(ctx, keyHash)
	}
	return principalOfKey(s.principals.wholeKeys.get(ctx, keyHash))
}

// CallerByKey is PrincipalByKey without the wallet.
func (s *Store) CallerByKey(ctx context.Context, keyHash []byte, service bool) (account.Principal, error) {
	if service {
		return s.serviceKey(ctx, keyHash)
	}
	return principalOfKey(s.principals.keys.get(ctx, keyHash))
}

func principal(f *found, err error) (account.Principal, error) {
	if err != nil {
		return account.Principal{}, translate(err)
	}
	return f.Principal, nil
}

func principalOfKey(f *found, err error) (account.Principal, error) {
	if err == nil && f.used {
		f.Session = &f.session
	}
	return principal(f, err)
}

// uuidArgument is an id as the driver sends it in binary: a uuid.UUID would travel as text, because it is a driver.Valuer.
func uuidArgument(id uuid.UUID) pgtype.UUID { return pgtype.UUID{Bytes: id, Valid: true} }
