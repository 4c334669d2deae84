package payment

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"gatehouse/account"
)

const (
	// stripeTimeout bounds one request from dialling to the last byte of the answer. A bank may take its time.
	stripeTimeout = 40 * time.Second
	// listPage is the most that Stripe lists at once.
	listPage = 100
)

// The metadata by which things at Stripe are known again.
const (
	metaKey     = "gatehouse_key"
	metaInvoice = "gatehouse_invoice"
	metaAccount = "gatehouse_account"
)

// stripeAPI charges by PaymentIntents, off session.
type stripeAPI struct {
	client *stripe.Client
	clock  account.Clock
}

func openStripe(settings Settings, clock account.Clock) (Provider, error) {
	base, err := url.Parse(settings.StripeURL)
	if err != nil || base.Host == "" || base.User != nil || base.Scheme != "https" && base.Scheme != "http" {
		return nil, errors.New("GATEHOUSE_STRIPE_URL is not an http or https address")
	}
	config := &stripe.BackendConfig{
		URL: new(strings.TrimSuffix(base.String(), "/")),
		HTTPClient: &http.Client{
			Timeout: stripeTimeout,
			// The key goes to no other address than the one that was set.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		// Who calls retries, and counts it. Logs are ours: Stripe's words may quote what was asked for.
		MaxNetworkRetries: new(int64(0)),
		LeveledLogger:     &stripe.LeveledLogger{Level: stripe.LevelNull},
		EnableTelemetry:   new(false),
	}
	backend := stripe.GetBackendWithConfig(stripe.APIBackend, config)
	backends := &stripe.Backends{API: backend, Connect: backend, Uploads: backend, MeterEvents: backend}
	return &stripeAPI{client: stripe.NewClient(settings.StripeSecretKey, stripe.WithBackends(backends)), clock: clock}, nil
}

// Name returns "stripe".
func (*stripeAPI) Name() string { return "stripe" }

// Attach makes the payer a customer, unless it is one, and attaches the method to it. A customer that was deleted at Stripe is
// made anew.
func (s *stripeAPI) Attach(ctx context.Context, payer Payer, method string) (Method, error) {
	shown, err := s.client.V1PaymentMethods.Retrieve(ctx, method, nil)
	if err != nil {
		return Method{}, attachFailure(ctx, err)
	}
	if shown.Customer != nil {
		return s.attached(ctx, payer, shown)
	}
	customer := payer.Customer
	if customer == "" {
		if customer, err = s.createCustomer(ctx, payer, ""); err != nil {
			return Method{}, err
		}
	}
	kept, err := s.attachTo(ctx, customer, method)
	if failed, said := errors.AsType[*stripe.Error](err); said && badRequest(failed) && failed.Param == "customer" {
		deleted, unknown := s.deleted(ctx, customer)
		if unknown != nil || !deleted {
			return Method{}, cmp.Or(unknown, attachFailure(ctx, err))
		}
		if customer, err = s.createCustomer(ctx, payer, customer); err != nil {
			return Method{}, err
		}
		kept, err = s.attachTo(ctx, customer, method)
	}
	if err != nil {
		return Method{}, attachFailure(ctx, err)
	}
	if kept.Customer == nil || kept.Customer.ID != customer {
		return Method{}, errOtherAnswer
	}
	return methodOf(kept), nil
}

func (s *stripeAPI) attachTo(ctx context.Context, customer, method string) (*stripe.PaymentMethod, error) {
	params := &stripe.PaymentMethodAttachParams{Customer: &customer}
	// A test id is a new method each time it is attached; the key makes it one. It also repeats a refusal for a day.
	params.SetIdempotencyKey("attach/" + customer + "/" + method)
	return s.client.V1PaymentMethods.Attach(ctx, method, params)
}

// attached judges a method that is a customer's already: one of this payer's, perhaps from an attempt whose answer was lost, or
// somebody else's.
func (s *stripeAPI) attached(ctx context.Context, payer Payer, shown *stripe.PaymentMethod) (Method, error) {
	if shown.Customer.ID == payer.Customer {
		return methodOf(shown), nil
	}
	customer, err := s.client.V1Customers.Retrieve(ctx, shown.Customer.ID, nil)
	if err != nil {
		return Method{}, attachFailure(ctx, err)
	}
	if customer.Metadata[metaAccount] != payer.AccountID.String() {
		return Method{}, ErrNoSuchMethod
	}
	return methodOf(shown), nil
}

// createCustomer makes a payer a customer, in place of one that was deleted if there is one: the key of that one's making would
// bring it back for a day.
func (s *stripeAPI) createCustomer(ctx context.Context, payer Payer, deleted string) (string, error) {
	params := &stripe.CustomerCreateParams{Metadata: map[string]string{metaAccount: payer.AccountID.String()}}
	if payer.Email != "" {
		params.Email = &payer.Email
	}
	// The email is part of the key, because a key does not go with other parameters.
	sum := sha256.Sum256([]byte(payer.Email))
	key := "customer/" + payer.AccountID.String() + "/" + hex.EncodeToString(sum[:8])
	if deleted != "" {
		key += "/" + deleted
	}
	params.SetIdempotencyKey(key)
	customer, err := s.client.V1Customers.Create(ctx, params)
	if err != nil {
		return "", stripeFailure(ctx, err)
	}
	if customer.Metadata[metaAccount] != payer.AccountID.String() {
		return "", errOtherAnswer
	}
	return customer.ID, nil
}

func methodOf(m *stripe.PaymentMethod) Method {
	out := Method{ID: m.ID, Customer: m.Customer.ID, Brand: string(m.Type)}
	if card := m.Card; card != nil {
		// A card is good until its month ends.
		expires := time.Date(int(card.ExpYear), time.Month(card.ExpMonth)+1, 1, 0, 0, 0, 0, time.UTC).Add(-time.Second)
		out.Fingerprint, out.Brand, out.Last4, out.ExpiresAt = card.Fingerprint, string(card.Brand), card.Last4, &expires
	}
	return out
}

// Charge makes and confirms a PaymentIntent in one request. Its secret is handed to nobody, so one that was declined, or that
// waits for its owner, cannot succeed later.
func (s *stripeAPI) Charge(ctx context.Context, c Charge) (Outcome, error) {
	if c.Customer == "" || c.MethodID == "" {
		return s.refused(c, CodeNoSuchMethod), nil
	}
	params := &stripe.PaymentIntentCreateParams{
		Amount:        &c.Amount.Amount,
		Currency:      &c.Amount.Currency,
		Customer:      &c.Customer,
		PaymentMethod: &c.MethodID,
		OffSession:    new(true),
		Confirm:       new(true),
		AutomaticPaymentMethods: &stripe.PaymentIntentCreateAutomaticPaymentMethodsParams{
			Enabled: new(true), AllowRedirects: new("never"),
		},
		Metadata: map[string]string{metaKey: c.Key, metaInvoice: c.InvoiceID},
	}
	params.SetIdempotencyKey(c.Key)
	intent, err := s.client.V1PaymentIntents.Create(ctx, params)
	if err != nil {
		return s.chargeFailure(ctx, c, err)
	}
	out, err := ours(c, intent)
	if err != nil || out.State != Processing {
		return out, err
	}
	// The answer to a repetition is the first one, word by word: what has become of it since is to be asked.
	if intent, err = s.client.V1PaymentIntents.Retrieve(ctx, out.ID, nil); err != nil {
		return Outcome{}, stripeFailure(ctx, err)
	}
	return ours(c, intent)
}

// ours makes sure that the answer is about the charge that was asked for: connections have been seen to carry the answer to
// another question.
func ours(c Charge, intent *stripe.PaymentIntent) (Outcome, error) {
	if intent.Metadata[metaKey] != c.Key || intent.Amount != c.Amount.Amount || string(intent.Currency) != c.Amount.Currency {
		return Outcome{}, errOtherAnswer
	}
	out, final := intentOutcome(intent)
	if !final {
		return Outcome{}, errUnconfirmed
	}
	return out, nil
}

// intentOutcome is what an intent says, and false for one that no bank was asked about.
func intentOutcome(intent *stripe.PaymentIntent) (Outcome, bool) {
	out := Outcome{
		ID: intent.ID, Key: intent.Metadata[metaKey], At: time.Unix(intent.Created, 0).UTC(),
		Amount: account.Money{Amount: intent.Amount, Currency: string(intent.Currency)},
	}
	switch intent.Status {
	case stripe.PaymentIntentStatusSucceeded:
		out.State = Succeeded
	case stripe.PaymentIntentStatusProcessing, stripe.PaymentIntentStatusRequiresCapture:
		out.State = Processing
	case stripe.PaymentIntentStatusCanceled:
		out.State, out.Decline = Declined, declined(CodeCanceled)
	case stripe.PaymentIntentStatusRequiresAction:
		out.State, out.Decline = Declined, declined(codeAuthentication)
	case stripe.PaymentIntentStatusRequiresPaymentMethod:
		if intent.LastPaymentError == nil {
			return Outcome{}, false
		}
		out.State, out.Decline = Declined, declined(declineCode(intent.LastPaymentError))
	case stripe.PaymentIntentStatusRequiresConfirmation:
		return Outcome{}, false
	default:
		// A state of tomorrow: look again until it is one of today's.
		out.State = Processing
	}
	return out, true
}

// Find lists what the customer was ever charged. Stripe's search by metadata would be one request, but lags behind by a minute
// or more: too long for saying that nothing was charged.
func (s *stripeAPI) Find(ctx context.Context, customer, key string) (Outcome, error) {
	if customer == "" {
		return Outcome{}, ErrNotFound
	}
	params := &stripe.PaymentIntentListParams{Customer: &customer}
	params.Limit = new(int64(listPage))
	var best Outcome
	weight := map[OutcomeState]int{Declined: 1, Processing: 2, Succeeded: 3}
	for intent, err := range s.client.V1PaymentIntents.List(ctx, params).All(ctx) {
		if err != nil {
			return Outcome{}, stripeFailure(ctx, err)
		}
		if out, final := intentOutcome(intent); final && out.Key == key && weight[out.State] > weight[best.State] {
			best = out
		}
	}
	if best.State == "" {
		return Outcome{}, ErrNotFound
	}
	return best, nil
}

// Charges lists the intents that carry a key of ours. Stripe lists the newest first, so the time is gone through in spans that
// grow while they hold little. Stripe's times are whole seconds.
func (s *stripeAPI) Charges(ctx context.Context, since time.Time, yield func(Outcome) bool) error {
	end := s.clock.Now().Add(time.Minute)
	span := time.Hour
	for from := since.Truncate(time.Second); from.Before(end); {
		to := from.Add(span)
		params := &stripe.PaymentIntentListParams{
			CreatedRange: &stripe.RangeQueryParams{GreaterThanOrEqual: from.Unix(), LesserThan: to.Unix()},
		}
		params.Limit = new(int64(listPage))
		var found []Outcome
		for intent, err := range s.client.V1PaymentIntents.List(ctx, params).All(ctx) {
			if err != nil {
				return stripeFailure(ctx, err)
			}
			if out, final := intentOutcome(intent); final && out.Key != "" {
				found = append(found, out)
			}
		}
		for _, out := range slices.Backward(found) {
			if !yield(out) {
				return nil
			}
		}
		from = to
		switch {
		case len(found) < listPage:
			span *= 2
		case len(found) > 10*listPage:
			span = max(time.Minute, span/2)
		}
	}
	return nil
}
