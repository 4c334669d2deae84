// Package activities holds the steps of the flows: each makes one change in the store or one call to a provider, may run
// twice, and takes and returns ids, never personal data or secrets.
package activities

import (
	"log/slog"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers"
	"gatehouse/providers/payment"
	"gatehouse/store"
)

// Activities is the one struct whose methods are registered.
type Activities struct {
	Store *store.Store
	Keys  *secret.Keys
	Mail  providers.Sender
	// Phones sends SMS and WhatsApp messages.
	Phones providers.Sender
	// Push sends messages to devices; nil sends none.
	Push providers.Sender
	// Payments takes money.
	Payments payment.Provider
	Policy   account.Policy
	Billing  account.BillingRules
	Clock    account.Clock
	// ConfirmURL is the page that confirmation mails link to; the token is appended to it.
	ConfirmURL string
	// ResetURL is the same for password reset mails.
	ResetURL string
	// UndoURL is the page that the mail about a closed account links to, in the same way.
	UndoURL string
	// Flows are the flows of subscriptions; reconciliations alone ask for them.
	Flows Flows
	// Webhooks hands events to receivers, on the terms of WebhookRules.
	Webhooks     WebhookPoster
	WebhookRules account.WebhookRules
	// Meter counts what operators watch; nil counts nothing.
	Meter Meter
	Log   *slog.Logger
}

// Meter counts what operators watch.
type Meter interface {
	// Tried counts a message handed to a provider.
	Tried(channel account.Channel, result account.SendResult)
	// Charged counts a charge that was asked for.
	Charged(result account.ChargeResult)
	// Found counts what a reconciliation found amiss, once a reconciliation.
	Found(f account.Finding)
	// Hooked counts an attempt to tell a receiver of an event, by how the delivery stands after it.
	Hooked(state account.WebhookState)
	// Alerted counts an event that the log holds for the operators' alarms.
	Alerted(alert string)
}

func (a *Activities) bonus() store.Bonus {
	return store.Bonus{Full: a.Policy.WelcomeBonus, Reduced: a.Policy.WelcomeBonusReduced}
}
