package account

import (
	"fmt"
	"maps"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
)

// WebhookRules are the terms on which events are told to receivers, read from the environment (prefix GATEHOUSE_WEBHOOK_)
// once at start.
type WebhookRules struct {
	// Retries are the waits after each failed attempt to tell a receiver something; when they are used up, it is not told.
	// The first attempt is made at once. The default is the schedule that Standard Webhooks advises.
	Retries []time.Duration `env:"RETRIES" envDefault:"5s,5m,30m,2h,5h,10h,14h,20h,24h"`
	// DisableAfter is how long a receiver may fail, without a single success, before nothing is sent to it any more.
	DisableAfter time.Duration `env:"DISABLE_AFTER" envDefault:"120h"`
	// Timeout is how long a receiver may take to answer.
	Timeout time.Duration `env:"TIMEOUT" envDefault:"10s"`
	// AtOnce is about how many events are under way to one receiver at once, AtOnceFailing the same for one whose last attempt
	// failed: a slow receiver holds up no other.
	AtOnce        int `env:"AT_ONCE" envDefault:"50"`
	AtOnceFailing int `env:"AT_ONCE_FAILING" envDefault:"5"`
	// SecretOverlap is how long the former secret of a receiver signs beside a new one.
	SecretOverlap time.Duration `env:"SECRET_OVERLAP" envDefault:"24h"`
	// Networks are private networks that receivers may be in, e.g. 10.20.0.0/16. Empty means none; development allows every
	// address.
	Networks []netip.Prefix `env:"NETWORKS"`
}

// maxRetryAfter is the longest pause that a receiver's Retry-After is taken for.
const maxRetryAfter = 24 * time.Hour

// NextTry returns how long to wait after the failed attempt number try (from 1 on) before the next one, and false when there
// is none. asked is the receiver's Retry-After: it is waited for where it is longer than our own wait, up to a day.
func (r WebhookRules) NextTry(try int, asked time.Duration) (time.Duration, bool) {
	if try > len(r.Retries) {
		return 0, false
	}
	return max(r.Retries[max(try, 1)-1], min(asked, maxRetryAfter)), true
}

// WebhookEndpoint is a receiver of events.
type WebhookEndpoint struct {
	ID          uuid.UUID
	URL         string
	Description string
	// Events are the patterns of the types it wants (WebhookPatternFault).
	Events    []string
	CreatedAt time.Time
	// FailingSince is the first of the failures since the last success.
	FailingSince *time.Time
	DisabledAt   *time.Time
	// Disabled says why it is disabled, empty where it is not.
	Disabled WebhookDisabled
}

// WebhookDisabled is why a receiver is told nothing.
type WebhookDisabled string

// The reasons: it failed for too long, it answered 410, an operator did it.
const (
	WebhookFailing    WebhookDisabled = "failing"
	WebhookGone       WebhookDisabled = "gone"
	WebhookByOperator WebhookDisabled = "operator"
)

// WebhookEvent is something that receivers are told. Data holds ids and states, never personal data.
type WebhookEvent struct {
	// ID is the same in every attempt to tell every receiver.
	ID        uuid.UUID
	Type      string
	AccountID uuid.UUID
	Data      map[string]any
	At        time.Time
}

// WebhookID is how receivers see an event's id.
func WebhookID(event uuid.UUID) string { return webhookIDPrefix + event.String() }

const webhookIDPrefix = "evt_"

// ParseWebhookID reads what WebhookID wrote, or a bare id.
func ParseWebhookID(s string) (uuid.UUID, error) {
	id, err := uuid.Parse(strings.TrimPrefix(s, webhookIDPrefix))
	if err != nil {
		return id, fmt.Errorf("%q is no id of an event or a delivery", s)
	}
	return id, nil
}

// WebhookState is how a delivery, one event to one receiver, stands.
type WebhookState string

// The states of a delivery. Owed ones are started by a worker as soon as their receiver is enabled; waiting ones have failed
// and are tried again; dead ones were given up. Delivered and dead ones can be owed again (replay).
const (
	WebhookOwed      WebhookState = "owed"
	WebhookSending   WebhookState = "sending"
	WebhookWaiting   WebhookState = "waiting"
	WebhookDelivered WebhookState = "delivered"
	WebhookDead      WebhookState = "dead"
)

// WebhookStates returns every state of a delivery.
func WebhookStates() []WebhookState {
	return []WebhookState{WebhookOwed, WebhookSending, WebhookWaiting, WebhookDelivered, WebhookDead}
}

// WebhookDelivery is a delivery that its flow has to make.
type WebhookDelivery struct {
	ID         uuid.UUID
	EndpointID uuid.UUID
	Type       string
	// AccountID is the zero id for an event of no account.
	AccountID uuid.UUID
}

// WebhookURLFault says what is wrong with the address of a receiver, empty if nothing is. local is development: there, any
// scheme, port and host will do. Whether a name stands for a private address is seen when it is dialled.
func WebhookURLFault(raw string, local bool) string {
	u, err := url.Parse(raw)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Scheme != "https" && u.Scheme != "http":
		return "must be an https URL"
	case len(raw) > maxWebhookURL:
		return "is too long"
	case u.User != nil || u.Fragment != "":
		return "must hold no credentials and no fragment"
	case local:
		return ""
	case u.Scheme != "https":
		return "must be an https URL"
	case u.Port() != "" && u.Port() != "443" && u.Port() != "8443":
		return "must use port 443 or 8443"
	}
	return ""
}

const maxWebhookURL = 2000

// AllWebhooks is the pattern of every type.
const AllWebhooks = "*"

// WebhookPatterns are the patterns that cover a type: itself, its group as in subscription.*, and AllWebhooks.
func WebhookPatterns(eventType string) []string {
	group, _, _ := strings.Cut(eventType, ".")
	return []string{eventType, group + ".*", AllWebhooks}
}

var webhookPattern = regexp.MustCompile(`^[a-z0-9_]+\.([a-z0-9_.]+|\*)$`)

// WebhookPatternFault says what is wrong with a pattern of types, empty if nothing is.
func WebhookPatternFault(pattern string) string {
	if pattern != AllWebhooks && !webhookPattern.MatchString(pattern) {
		return fmt.Sprintf("%q is no type of event; say *, subscription.* or subscription.renewed", pattern)
	}
	if !slices.ContainsFunc(WebhookTypes(), func(t string) bool { return slices.Contains(WebhookPatterns(t), pattern) }) {
		return fmt.Sprintf("%q matches no type of event", pattern)
	}
	return ""
}

// WebhookPing is the type of a test event, which an operator sends to one receiver whatever it wants.
const WebhookPing = "webhook.ping"

// subscriptionEvents are the events of SubscriptionChange.
var subscriptionEvents = []string{
	"created", "trial_started", "paid", "renewed", "payment_declined", "unpaid", "expired", "canceled", "cancellation_scheduled",
	"cancellation_undone", "paused", "resumed", "method_changed", "plan_changed", "plan_change_started", "plan_change_scheduled",
	"plan_change_undone", "plan_change_declined",
}

// WebhookTypes are the types of all events that receivers can ask for.
func WebhookTypes() []string {
	var all []string
	for _, name := range EventNames() {
		all = append(all, string(name))
	}
	for _, e := range subscriptionEvents {
		all = append(all, subscriptionGroup+e)
	}
	return all
}

const subscriptionGroup = "subscription."

// WebhookEvent is what receivers are told of a change of a subscription.
func (c SubscriptionChange) WebhookEvent(at time.Time) WebhookEvent {
	return WebhookEvent{
		Type: subscriptionGroup + c.Event, AccountID: c.After.AccountID, At: at,
		Data: map[string]any{
			"account_id": c.After.AccountID, "subscription_id": c.After.ID, "version": c.After.Version,
			"status": c.After.Status, "plan": c.After.Plan.Code,
		},
	}
}

// WebhookEvent is what receivers are told of a change of an account. By the sequence they can put its events in order. Who
// made the change, and from where, is for the audit log alone.
func (e Event) WebhookEvent() WebhookEvent {
	data := maps.Clone(e.Details)
	if data == nil {
		data = map[string]any{}
	}
	data["account_id"], data["sequence"] = e.AccountID, e.Sequence
	return WebhookEvent{ID: e.ID, Type: string(e.Name), AccountID: e.AccountID, Data: data, At: e.At}
}
