package core

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

// Credential is what a request showed. The dialect decides what it accepts (contract X05).
type Credential struct {
	// Bearer is the Authorization header's Bearer value.
	Bearer string
	// APIKey is the X-API-Key header's value.
	APIKey string
	// AllowKeys accepts API keys, as Bearer or X-API-Key (documents A and C).
	AllowKeys bool
	// Wallet asks for the account's wallet, too.
	Wallet bool
	// IP and UserAgent are where it came from, for the implicit session of a key (contract X06).
	IP        netip.Addr
	UserAgent string
}

// Authenticate returns who is calling, by one query that reads the session or key and the account. It returns
// account.ErrUnauthorized for a credential that is missing, invalid, expired or revoked, and
// account.ErrAmbiguousCredentials for two of different accounts.
func (c *Core) Authenticate(ctx context.Context, cred Credential) (account.Principal, error) {
	apiKey := cred.APIKey
	// Where keys are no credential one still stands beside the token, and must not be overheard; what is no key of ours may be
	// meant for whoever stands in front of us.
	if !cred.AllowKeys && (cred.Bearer == "" || !secret.IsAPIKey(apiKey)) {
		apiKey = ""
	}
	if cred.Bearer == "" {
		return c.byKey(ctx, cred, apiKey)
	}
	var bearer account.Principal
	var err error
	if secret.IsAPIKey(cred.Bearer) {
		if !cred.AllowKeys {
			return account.Principal{}, account.ErrUnauthorized
		}
		bearer, err = c.byKey(ctx, cred, cred.Bearer)
	} else {
		bearer, err = c.byToken(ctx, cred)
	}
	if err != nil || apiKey == "" {
		return bearer, err
	}
	// Two credentials must be of one account; then Authorization speaks (contract A01, security.md JWT-11).
	other, err := c.byKey(ctx, cred, apiKey)
	if err != nil {
		return account.Principal{}, err
	}
	if other.Account.ID != bearer.Account.ID {
		return account.Principal{}, account.ErrAmbiguousCredentials.Because(fmt.Errorf("of accounts %s and %s", bearer.Account.ID, other.Account.ID))
	}
	return bearer, nil
}

func (c *Core) byToken(ctx context.Context, cred Credential) (account.Principal, error) {
	session, err := c.Tokens.Session(cred.Bearer)
	if errors.Is(err, secret.ErrTokenExpired) {
		return account.Principal{}, account.ErrUnauthorized.Saying("Token has expired").Because(err) // as document D says it
	}
	if err != nil {
		return account.Principal{}, account.ErrUnauthorized.Because(err)
	}
	read := c.Store.CallerBySession
	if cred.Wallet {
		read = c.Store.PrincipalBySession
	}
	p, err := read(ctx, session)
	if err != nil {
		return account.Principal{}, unauthorized(err)
	}
	if c.closedTo(p.Account.Proven()) {
		return account.Principal{}, account.ErrUnauthorized.Because(errUnproven)
	}
	if c.worthNoting(&p.Session.LastActiveAt) {
		p.Session.LastActiveAt, err = c.Store.TouchSession(ctx, p.Account.ID, session, c.Policy.ActivityGap)
	}
	return c.completed(p), unauthorized(err)
}

// worthNoting reports whether activity is to be written down again: most requests are one query.
func (c *Core) worthNoting(last *time.Time) bool {
	return last == nil || c.Clock.Now().Sub(*last) >= c.Policy.ActivityGap
}

const maxAPIKeyLength = 128

func (c *Core) byKey(ctx context.Context, cred Credential, key string) (account.Principal, error) {
	if !secret.IsAPIKey(key) || len(key) > maxAPIKeyLength {
		return account.Principal{}, account.ErrUnauthorized
	}
	service := strings.HasPrefix(key, secret.ServiceKeyPrefix)
	read := c.Store.CallerByKey
	if cred.Wallet {
		read = c.Store.PrincipalByKey
	}
	p, err := read(ctx, c.Keys.TokenHash(APIKeyHash, key), service)
	if err != nil {
		return p, unauthorized(err)
	}
	if service {
		if c.worthNoting(p.APIKey.LastUsedAt) {
			err = c.Store.UseServiceKey(ctx, p.APIKey.ID, c.Policy.ActivityGap)
		}
		return p, err
	}
	if c.closedTo(p.Account.Proven()) {
		return account.Principal{}, account.ErrUnauthorized.Because(errUnproven)
	}
	if err := c.useKey(ctx, cred, &p); err != nil {
		return account.Principal{}, unauthorized(err)
	}
	return c.completed(p), nil
}

// useKey notes that a key is in use, and makes its implicit session when it has none (contract X06).
func (c *Core) useKey(ctx context.Context, cred Credential, p *account.Principal) error {
	if p.Session != nil && !c.worthNoting(p.APIKey.LastUsedAt) {
		return nil
	}
	from := origin(account.Caller{IP: cred.IP, UserAgent: cred.UserAgent}, nil, nil, nil)
	session, err := c.Store.UseKey(ctx, store.KeyUse{
		KeyID: p.APIKey.ID, IP: from.IP, UserAgent: from.UserAgent, Gap: c.Policy.ActivityGap, SessionTTL: c.Policy.SessionTTL,
	})
	switch {
	case err == nil:
		p.Session = &session
	case p.Session != nil && errors.Is(err, account.ErrNotFound):
		return nil // somebody else has just noted it
	}
	return err
}

func unauthorized(err error) error {
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrUnauthorized.Because(err)
	}
	return err
}

// completed adds to a wallet what no row says.
func (c *Core) completed(p account.Principal) account.Principal {
	if p.Wallet != nil {
		p.Credits.MultiplierByAction = account.CreditMultipliers
		p.Credits.NextResetAt = p.NextReset(c.Clock.Now().UTC())
	}
	return p
}

const ipv6Prefix = 64

// Allow counts a request of a client address against a rate limit. It returns account.ErrTooManyRequests. A limit without
// quotas allows everything and costs nothing. A backend asks for many people from one address: whoever shows a service key is
// counted by that key, against account.LimitService.
func (c *Core) Allow(ctx context.Context, limit account.RateLimit, by account.Caller) error {
	if len(limit.Quotas) == 0 {
		return nil
	}
	client := clientOf(by.IP)
	if by.Principal != nil && by.Principal.Service() {
		limit, client = account.LimitService, by.Principal.APIKey.ID.String()
	}
	quotas := make([]account.Quota, len(limit.Quotas))
	keys := make([][]byte, len(limit.Quotas))
	for i, q := range limit.Quotas {
		quotas[i] = account.Quota{Max: c.scaled(q.Max), Per: q.Per}
		keys[i] = c.Keys.Subject("rate", strings.Join([]string{limit.Name, strconv.Itoa(i), client}, "|"))
	}
	err := c.Store.CountRate(ctx, keys, quotas)
	if errors.Is(err, account.ErrTooManyRequests) {
		c.Meter.Limited(limit)
	}
	return err
}

// clientOf is what counts as one client: an address, of IPv6 its /64.
func clientOf(ip netip.Addr) string {
	if ip.Is6() && !ip.Is4In6() {
		if prefix, err := ip.Prefix(ipv6Prefix); err == nil {
			return prefix.String()
		}
	}
	return ip.String()
}

func (c *Core) scaled(limit int) int { return int(math.Ceil(float64(limit) * c.Policy.LimitScale)) }
