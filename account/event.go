package account

import (
	"context"
	"net/netip"
	"time"

	"github.com/google/uuid"
)

// EventName says what has happened, as <noun>.<what became of it>. Names are part of what leaves Gatehouse: one that is out in
// the world keeps its meaning.
type EventName string

// The events of accounts. Their details hold ids, counts and words of our own, never an address, a name or a number.
const (
	// EventAccountCreated has method: signup, register or the name of a provider. EventAccountPurged ends an account whose address
	// nobody proved, EventAccountErased the personal data of a closed one.
	EventAccountCreated     EventName = "account.created"
	EventAccountPurged      EventName = "account.purged"
	EventAccountClosed      EventName = "account.closed"
	EventAccountReopened    EventName = "account.reopened"
	EventAccountErased      EventName = "account.erased"
	EventAccountDeactivated EventName = "account.deactivated"
	EventAccountReactivated EventName = "account.reactivated"

	EventEmailVerified   EventName = "account.email_verified"
	EventEmailChanged    EventName = "account.email_changed"
	EventEmailRemoved    EventName = "account.email_removed"
	EventPhoneVerified   EventName = "account.phone_verified"
	EventPhoneChanged    EventName = "account.phone_changed"
	EventUsernameChanged EventName = "account.username_changed"

	// EventPasswordAdded gives its first password to an account, EventPasswordReset is a change by whoever owns the mailbox.
	EventPasswordAdded   EventName = "password.added"
	EventPasswordChanged EventName = "password.changed"
	EventPasswordReset   EventName = "password.reset"

	// EventSessionRevoked ends one session, which session_id names, EventSessionsRevoked all but one or all, with their
	// number in sessions.
	EventSessionRevoked  EventName = "session.revoked"
	EventSessionsRevoked EventName = "session.all_revoked"

	EventFactorEnabled  EventName = "mfa.enabled"
	EventFactorDisabled EventName = "mfa.disabled"
	EventFactorLocked   EventName = "mfa.locked"
	EventBackupCodeUsed EventName = "mfa.backup_code_used"

	EventDeviceTrusted EventName = "device.trusted"
	EventDeviceRevoked EventName = "device.revoked"

	EventProviderLinked   EventName = "provider.linked"
	EventProviderUnlinked EventName = "provider.unlinked"

	EventKeyCreated EventName = "api_key.created"
	EventKeyRevoked EventName = "api_key.revoked"

	EventMembershipSet     EventName = "membership.set"
	EventMembershipRemoved EventName = "membership.removed"
)

// The events of the installation itself, whose AccountID is the zero id.
const (
	EventServiceKeyCreated EventName = "service_key.created"
	EventServiceKeyRevoked EventName = "service_key.revoked"
	// The receivers of webhooks: endpoint_id names one. EventWebhookDisabled has the reason.
	EventWebhookAdded    EventName = "webhook.added"
	EventWebhookRemoved  EventName = "webhook.removed"
	EventWebhookEnabled  EventName = "webhook.enabled"
	EventWebhookDisabled EventName = "webhook.disabled"
	EventWebhookRotated  EventName = "webhook.secret_rotated"
	// EventAuditBegan is the first of all, EventAuditPruned says that old events were removed.
	EventAuditBegan  EventName = "audit.began"
	EventAuditPruned EventName = "audit.pruned"
)

// Event is one change that an owner, support or another system may have to know of: one row of the audit log, written in the
// transaction of the change. The sequences of an account have no gap.
type Event struct {
	ID        uuid.UUID
	AccountID uuid.UUID
	Sequence  int64
	Name      EventName
	Acting    Acting
	Details   map[string]any
	At        time.Time
}

// ActorKind says what somebody acted by.
type ActorKind string

// The kinds of actors. A session or key has its id, an operator their login name, a flow its workflow id. A visitor was not
// signed in: what they showed allowed the change. ActorSystem is Gatehouse by itself.
const (
	ActorSession    ActorKind = "session"
	ActorKey        ActorKind = "api_key"
	ActorServiceKey ActorKind = "service_key"
	ActorVisitor    ActorKind = "visitor"
	ActorOperator   ActorKind = "operator"
	ActorFlow       ActorKind = "flow"
	ActorSystem     ActorKind = "system"
)

// Acting is who makes a change, and from where.
type Acting struct {
	Kind ActorKind `json:"kind"`
	// ID is empty for kinds that have none.
	ID string `json:"id,omitempty"`
	// Network is the caller's address without its end: a /24, of IPv6 a /48. It is empty where nobody called.
	Network string `json:"network,omitempty"`
	// RequestID is the X-Request-Id of the call, empty where there was none.
	RequestID string `json:"request_id,omitempty"`
}

// Acting tells who the caller of a request is.
func (c Caller) Acting(requestID string) Acting {
	a := Acting{Kind: ActorVisitor, Network: Network(c.IP), RequestID: requestID}
	switch p := c.Principal; {
	case p == nil:
	case p.Service():
		a.Kind, a.ID = ActorServiceKey, p.APIKey.ID.String()
	case p.APIKey != nil:
		a.Kind, a.ID = ActorKey, p.APIKey.ID.String()
	case p.Session != nil:
		a.Kind, a.ID = ActorSession, p.Session.ID.String()
	}
	return a
}

type actingKey struct{}

// WithActing says on whose behalf what happens under the context happens.
func WithActing(ctx context.Context, a Acting) context.Context {
	return context.WithValue(ctx, actingKey{}, a)
}

// ActingIn tells on whose behalf something happens: Gatehouse's own, where nobody said.
func ActingIn(ctx context.Context) Acting {
	if a, ok := ctx.Value(actingKey{}).(Acting); ok {
		return a
	}
	return Acting{Kind: ActorSystem}
}

// Network is what logs keep of an address: its /24, of IPv6 its /48, or nothing for no address.
func Network(address netip.Addr) string {
	bits := 48
	if address = address.Unmap(); address.Is4() {
		bits = 24
	}
	prefix, err := address.Prefix(bits)
	if err != nil || !prefix.IsValid() {
		return ""
	}
	return prefix.String()
}

// EventNames lists the events of accounts, in the order of this file.
func EventNames() []EventName {
	return []EventName{
		EventAccountCreated, EventAccountPurged, EventAccountClosed, EventAccountReopened, EventAccountErased,
		EventAccountDeactivated, EventAccountReactivated, EventEmailVerified, EventEmailChanged, EventEmailRemoved,
		EventPhoneVerified, EventPhoneChanged, EventUsernameChanged, EventPasswordAdded, EventPasswordChanged, EventPasswordReset,
		EventSessionRevoked, EventSessionsRevoked, EventFactorEnabled, EventFactorDisabled, EventFactorLocked, EventBackupCodeUsed,
		EventDeviceTrusted, EventDeviceRevoked, EventProviderLinked, EventProviderUnlinked, EventKeyCreated, EventKeyRevoked,
		EventMembershipSet, EventMembershipRemoved,
	}
}
