package account

import (
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"
)

// The roles. Everybody is a user; the administrators are those whom documents A and C show as is_superuser and is_admin.
const (
	RoleUser  = "user"
	RoleAdmin = "admin"
)

// Account is one person: the identity that all four documents share. Email is nil only after the email link was
// removed, which only the owner of a proven address can do; Username only until one is chosen.
type Account struct {
	ID              uuid.UUID
	Email           *string
	EmailVerified   bool
	Username        *string
	HasPassword     bool
	Active          bool
	Locked          bool
	Roles           []string
	PrimaryProvider string
	TwoFactor       bool
	PhoneNumber     *string
	CountryCode     *string
	PhoneVerified   bool
	Profile         Profile
	OnboardingDone  bool
	CreatedAt       time.Time
	UpdatedAt       time.Time
}

// Proven reports whether somebody has shown that the account is theirs (design D5): by its address, or before the address was
// taken away.
func (a Account) Proven() bool {
	return a.EmailVerified || a.Email == nil && a.ID != uuid.Nil
}

// DisplayUsername is the username, or the email of an account without one (contract X09).
func (a Account) DisplayUsername() string {
	switch {
	case a.Username != nil:
		return *a.Username
	case a.Email != nil:
		return *a.Email
	default:
		return ""
	}
}

// Profile is how a person appears.
type Profile struct {
	FullName       *string
	AvatarURL      *string
	UserType       *string
	AudioUsage     *string
	ReferralSource *string
}

// Credits are the balances of an account.
type Credits struct {
	Balance            int64
	PayAsYouGo         int64
	LastResetAt        time.Time
	NextResetAt        time.Time
	TotalUsed          int64
	TotalPurchased     int64
	DiscountEligible   bool
	DiscountActive     bool
	MultiplierByAction map[string]float64
}

// Session is a signed-in session. A pending session has a second step to finish.
type Session struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	State     SessionState
	// Method is how it was signed in: SessionByPassword, SessionByKey, a provider's name, or the sign-up that it came with.
	Method string
	// DeviceInfo is the label that the client chose, nil for none.
	DeviceInfo *string
	// Client is what the client called its device when it signed in.
	Client       ClientDevice
	IP           string
	UserAgent    string
	CreatedAt    time.Time
	LastActiveAt time.Time
	AuthTime     time.Time
	// FactorAt is when it last showed the account's second factor, nil for never.
	FactorAt  *time.Time
	ExpiresAt time.Time
	// ReadAt is when it was read. Like all its times it is the database's, whose clock alone tells how old something of it is: those
	// of the machines that ask may be off (reliability.md F-17).
	ReadAt time.Time
}

// SessionByPassword is the method of sessions that a password opened, SessionByKey that of the implicit sessions of API keys
// (contract X06).
const (
	SessionByPassword = "password"
	SessionByKey      = "api_key"
)

// RevokedForReuse is the reason of a session that ended because one of its refresh tokens was used again.
const RevokedForReuse = "refresh_reuse"

// RevokedByRestore is the reason of what ended because a restored database could not know whether it had ended before.
const RevokedByRestore = "restored"

// Device is what to call the session's device: the client's own label, else what its user agent says.
func (s Session) Device() string {
	if s.DeviceInfo != nil {
		return *s.DeviceInfo
	}
	return DeviceLabel(s.UserAgent)
}

// SessionState is the state of a live session.
type SessionState string

// The states of a live session.
const (
	SessionActive  SessionState = "active"
	SessionPending SessionState = "pending"
)

// Principal is who is calling, as one query returned it: the account, and either a session or an API key with its implicit
// session.
type Principal struct {
	Account Account
	// Wallet is nil where nobody asked for it.
	*Wallet
	Session *Session
	APIKey  *APIKey
}

// Wallet is what an account has to spend, and the plan it has it from.
type Wallet struct {
	Credits      Credits
	Subscription Entitlement
}

// Can reports whether the credential carries scope. Sessions carry every scope.
func (p Principal) Can(scope Scope) bool {
	return p.APIKey == nil || slices.Contains(p.APIKey.Scopes, scope)
}

// Roles are those that the credential shows of its account: who is more than a user is told to a full session alone, and neither to
// an API key nor to a login that owes its second step (security.md section 6).
func (p Principal) Roles() []string {
	if p.APIKey != nil || p.Session == nil || p.Session.State != SessionActive {
		return []string{RoleUser}
	}
	return p.Account.Roles
}

// Admin reports whether the credential shows the admin role.
func (p Principal) Admin() bool { return slices.Contains(p.Roles(), RoleAdmin) }

// Service reports whether the credential is a service key, which belongs to no account.
func (p Principal) Service() bool { return p.APIKey != nil && p.APIKey.Service }

// Caller is the outside of a request as an operation sees it. Principal is nil on public routes.
type Caller struct {
	Principal *Principal
	// KeyHeader is set when X-API-Key alone named the caller: where documents A and C share a path, the credential says
	// which of them is spoken (contract X02, X03).
	KeyHeader bool
	// Asserted is set when a service key has signed the request (security.md section 6).
	Asserted  bool
	IP        netip.Addr
	UserAgent string
	// IdempotencyKey is the keyed hash of caller, route and the client's Idempotency-Key header, or empty.
	IdempotencyKey string
	// KeyHolder is who the request is among all that have held IdempotencyKey: only the last of them may make its change.
	KeyHolder uuid.UUID
	// KeyUntil is when IdempotencyKey is forgotten: the requests under it until then are one, and those after that another one.
	KeyUntil time.Time
	// Made is what an earlier request under IdempotencyKey has made, as JSON, where its change was committed and nobody lived to
	// keep its answer; nil for nothing.
	Made []byte
	// Begun, where set, takes the operation that the request begins.
	Begun *Begun
}
