package payment

import (
	"errors"
	"fmt"

	"gatehouse/account"
)

// Settings are those of config.Payment, field by field, so that one converts into the other.
type Settings struct {
	// StripeURL is the root of Stripe's REST API.
	StripeURL string
	// StripeSecretKey is the secret key (sk_...) or a restricted one (rk_...), empty for none.
	StripeSecretKey string
	// StripeWebhookSecrets (whsec_...) sign what Stripe tells by itself; several while one replaces another.
	StripeWebhookSecrets []string
}

// vendors are the ways to money, the first whose settings are given wins. To add one: a file beside this one, its settings in
// config.Payment and Settings, a line here, and a run of the conformance suite.
var vendors = []struct {
	name       string
	configured func(Settings) bool
	open       func(Settings, account.Clock) (Provider, error)
}{
	{"stripe", func(s Settings) bool { return s.StripeSecretKey != "" }, openStripe},
}

// New returns the provider that settings ask for, or the sandbox with its books in ledger when they ask for none. It connects
// to nothing yet; an error names the setting at fault.
func New(settings Settings, ledger Ledger, clock account.Clock) (Provider, error) {
	for _, v := range vendors {
		if !v.configured(settings) {
			continue
		}
		provider, err := v.open(settings, clock)
		if err != nil {
			return nil, fmt.Errorf("payment: %s: %w", v.name, err)
		}
		return provider, nil
	}
	if ledger == nil {
		return nil, errors.New("payment: no provider is set (GATEHOUSE_STRIPE_SECRET_KEY) and there is no sandbox")
	}
	return NewSandbox(ledger, clock), nil
}
