package payment

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"gatehouse/providers"
)

var (
	errOtherAnswer = providers.Temporary(errors.New("stripe: the answer is about something else"), 0)
	errUnconfirmed = providers.Temporary(errors.New("stripe: the charge was noted and not made"), 0)
)

// chargeFailure tells a decline from an unknown outcome.
func (s *stripeAPI) chargeFailure(ctx context.Context, c Charge, err error) (Outcome, error) {
	failed, said := errors.AsType[*stripe.Error](err)
	if !said {
		return Outcome{}, stripeFailure(ctx, err)
	}
	switch {
	case failed.HTTPStatusCode == http.StatusPaymentRequired || failed.Type == stripe.ErrorTypeCard:
		out := s.refused(c, declineCode(failed))
		if intent := failed.PaymentIntent; intent != nil {
			if intent.Metadata[metaKey] != c.Key {
				return Outcome{}, errOtherAnswer
			}
			out.ID, out.At = intent.ID, time.Unix(intent.Created, 0).UTC()
		}
		return out, nil
	case badRequest(failed):
		return s.chargeRefused(ctx, c, failed)
	case failed.HTTPStatusCode >= http.StatusInternalServerError:
		// Stripe repeats such an answer for as long as it remembers the key, whatever became of the charge.
		if out, err := s.Find(ctx, c.Customer, c.Key); err == nil {
			return out, nil
		}
	}
	return Outcome{}, stripeFailure(ctx, err)
}

// badRequest reports whether Stripe refuses a request for what it says, and not for whose key it comes with or how often.
func badRequest(e *stripe.Error) bool {
	return e.Type == stripe.ErrorTypeInvalidRequest && (e.HTTPStatusCode == http.StatusBadRequest || e.HTTPStatusCode == http.StatusNotFound)
}

// chargeRefused judges a refusal to make a charge. Amount, customer and method are what one charge has of its own: a refusal of
// these is for good, and nothing was charged. Anything else is refused to every charge alike, so it is ours to mend: were it a
// decline, a mistake of ours would cost everybody the subscription.
func (s *stripeAPI) chargeRefused(ctx context.Context, c Charge, failed *stripe.Error) (Outcome, error) {
	code := ""
	switch {
	case failed.Code == stripe.ErrorCodeResourceMissing:
		// A key of another Stripe account knows none of our customers, nor that one was deleted.
		deleted, err := s.deleted(ctx, c.Customer)
		switch {
		case err != nil:
			return Outcome{}, err
		case deleted:
			return s.refused(c, CodeNoSuchMethod), nil
		case failed.Param == "payment_method":
			code = CodeNoSuchMethod
		}
	case failed.Code == stripe.ErrorCodeAmountTooSmall, failed.Code == stripe.ErrorCodeAmountTooLarge:
		code = string(failed.Code)
	case failed.Param == "amount":
		code = codeAmount
	case failed.Code == stripe.ErrorCodePaymentMethodUnactivated: // in our account
	case failed.Param == "payment_method", failed.Code == stripe.ErrorCodePaymentIntentIncompatiblePaymentMethod:
		code = CodeNoSuchMethod
	}
	if code == "" {
		return Outcome{}, stripeFailure(ctx, failed)
	}
	// A refusal does not say which charge it is of: see ours.
	out, err := s.Find(ctx, c.Customer, c.Key)
	if errors.Is(err, ErrNotFound) {
		return s.refused(c, code), nil
	}
	return out, err
}

// deleted reports whether a customer of ours was deleted at Stripe, which goes on showing it.
func (s *stripeAPI) deleted(ctx context.Context, customer string) (bool, error) {
	shown, err := s.client.V1Customers.Retrieve(ctx, customer, nil)
	if err != nil {
		return false, stripeFailure(ctx, err)
	}
	return shown.Deleted, nil
}

func (s *stripeAPI) refused(c Charge, code string) Outcome {
	return Outcome{Key: c.Key, State: Declined, Decline: declined(code), Amount: c.Amount, At: s.clock.Now()}
}

func declineCode(e *stripe.Error) string {
	return cmp.Or(string(e.DeclineCode), string(e.Code), codeGeneric)
}

func attachFailure(ctx context.Context, err error) error {
	failed, said := errors.AsType[*stripe.Error](err)
	switch {
	case said && (failed.HTTPStatusCode == http.StatusPaymentRequired || failed.Type == stripe.ErrorTypeCard):
		return ErrMethodDeclined
	case said && badRequest(failed) && failed.Param != "customer":
		return ErrNoSuchMethod
	default:
		return stripeFailure(ctx, err)
	}
}

// stripeFailure says in words of ours what an operator needs: Stripe's own quote what was asked for.
func stripeFailure(ctx context.Context, err error) error {
	failed, said := errors.AsType[*stripe.Error](err)
	if !said {
		return unreachable(ctx, err)
	}
	words := []string{"stripe:", strconv.Itoa(failed.HTTPStatusCode), string(cmp.Or(failed.Code, stripe.ErrorCode(failed.Type)))}
	if failed.RequestID != "" {
		words = append(words, failed.RequestID)
	}
	if failed.Type == stripe.ErrorTypeIdempotency && failed.HTTPStatusCode == http.StatusBadRequest {
		return ErrKeyUsed
	}
	// Also a refused key or question of ours: that is for an operator to mend, and the charge is still good.
	return providers.Temporary(errors.New(strings.Join(words, " ")), retryAfter(failed))
}

func retryAfter(failed *stripe.Error) time.Duration {
	if failed.LastResponse == nil {
		return 0
	}
	return providers.ParseRetryAfter(failed.LastResponse.Header.Get("Retry-After"))
}

func unreachable(ctx context.Context, err error) error {
	var (
		dns     *net.DNSError
		network net.Error
	)
	switch {
	case ctx.Err() != nil:
		return providers.Temporary(ctx.Err(), 0)
	case errors.As(err, &dns):
		return providers.Temporary(errors.New("stripe: the server's name cannot be resolved"), 0)
	case errors.As(err, &network) && network.Timeout():
		return providers.Temporary(errors.New("stripe: no answer in time"), 0)
	default:
		return providers.Temporary(errors.New("stripe: the exchange failed"), 0)
	}
}
