package account

import "time"

// GuessResult is what became of a code that was tried.
type GuessResult string

// The results of a guess. A refused one was not compared: too many codes were guessed before it.
const (
	GuessRight   GuessResult = "right"
	GuessWrong   GuessResult = "wrong"
	GuessRefused GuessResult = "refused"
)

// SendResult is what became of one attempt to hand a message to a provider.
type SendResult string

// The results of an attempt to send: a dead message was refused for good, a failed attempt is made again.
const (
	SendSent   SendResult = "sent"
	SendDead   SendResult = "dead"
	SendFailed SendResult = "failed"
)

// ChargeResult is what became of one attempt to charge.
type ChargeResult string

// The results of an attempt to charge. An unknown one is asked again with the same key.
const (
	ChargeSucceeded ChargeResult = "succeeded"
	ChargeDeclined  ChargeResult = "declined"
	ChargeUnknown   ChargeResult = "unknown"
)

// AlertCodeGuessing is the alert that codes of many people are guessed wrong (security.md OTP-15).
const AlertCodeGuessing = "code_guessing"

// AlertWebhookDisabled is the alert that a receiver of webhooks is told nothing any more: it failed for too long, or is gone.
const AlertWebhookDisabled = "webhook_disabled"

// RateLimits returns every rate limit per client address, or service key, that refuses anybody.
func RateLimits() []RateLimit {
	return []RateLimit{LimitLogin, LimitSignup, LimitSend, LimitVerify, LimitCheck, LimitLookup, LimitPush, LimitWrite, LimitService}
}

// Purposes returns every purpose of a code.
func Purposes() []Purpose {
	return []Purpose{
		PurposeSignup, PurposeEmail, PurposePhone, PurposeReset, PurposeEmailChange, PurposeEmailLink, PurposePasswordChange, PurposeDevice,
	}
}

// FindingKinds returns everything that a reconciliation may find amiss.
func FindingKinds() []FindingKind {
	return []FindingKind{
		FindingFlowLost, FindingFlowLeft, FindingForeignCharge, FindingAmountDiffers, FindingChargedTwice, FindingOutcomeDiffers,
		FindingChargeMissing, FindingOutcomeUnknown, FindingOpenAfterEnd, FindingOverdue, FindingPaidForNothing, FindingIncomplete,
	}
}

// Channels returns every channel of a message.
func Channels() []Channel {
	return []Channel{ChannelEmail, ChannelSMS, ChannelWhatsApp, ChannelPush}
}

// LiveStatuses returns every status of a subscription that is not over.
func LiveStatuses() []SubscriptionStatus {
	return []SubscriptionStatus{
		SubscriptionIncomplete, SubscriptionTrialing, SubscriptionActive, SubscriptionPastDue, SubscriptionUnpaid, SubscriptionPaused,
	}
}

// Backlog is one kind of work that waits in the database.
type Backlog struct {
	// Of names the kind of work.
	Of string
	// Count is how much of it waits, at most BacklogCounted.
	Count int64
	// Oldest is for how long the oldest of it has waited; 0 where nothing waits.
	Oldest time.Duration
}

// BacklogCounted bounds what is counted: more is a disaster of any size, and costs no more to see.
const BacklogCounted = 10_000

// MessageCount is how many messages of a channel stand alike: of the queued ones all, of others those of the last hour.
type MessageCount struct {
	Channel Channel
	State   string
	Count   int64
}

// SubscriptionCount is how many subscriptions that are not over stand alike.
type SubscriptionCount struct {
	Status SubscriptionStatus
	Count  int64
}

// FlowCount is how many flows of a kind run at a stage.
type FlowCount struct {
	Kind  string
	Stage string
	Count int64
}

// Sample is what one look at the database and at Temporal found.
type Sample struct {
	At            time.Time
	Backlogs      []Backlog
	Messages      []MessageCount
	Subscriptions []SubscriptionCount
	// Flows is empty where Temporal did not answer; then FlowsKnown is false.
	FlowsKnown bool
	Flows      []FlowCount
	// FlowsLate is, by kind, how many flows run although the time of their next step has long passed.
	FlowsLate map[string]int64
	// FlowsStuck is how many flows run whose steps fail in our own code.
	FlowsStuck int64
}
