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

// maxRetryAfter is the longest pause that a vendor's word is taken for.
const maxRetryAfter = time.Hour

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
	case failed.Type == stripe.ErrorTypeInvalidRequest && failed.Param == "payment_method" && failed.HTTPStatusCode < 409:
		return s.refused(c, CodeNoSuchMethod), nil
	case failed.HTTPStatusCode >= http.StatusInternalServerError:
		// Stripe repeats such an answer for as long as it remembers the key, whatever became of the charge.
		if out, err := s.Find(ctx, c.Customer, c.Key); err == nil {
			return out, nil
		}
	}
	return Outcome{}, stripeFailure(ctx, err)
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
	case said && failed.Type == stripe.ErrorTypeInvalidRequest && failed.Param != "customer" && failed.HTTPStatusCode < http.StatusConflict &&
		failed.HTTPStatusCode != http.StatusUnauthorized && failed.HTTPStatusCode != http.StatusForbidden:
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
	told := errors.New(strings.Join(words, " "))
	switch status := failed.HTTPStatusCode; {
	case failed.Type == stripe.ErrorTypeIdempotency && status == http.StatusBadRequest:
		return ErrKeyUsed
	case status == http.StatusBadRequest || status == http.StatusNotFound:
		return providers.Permanent(told)
	default:
		// Also a refused key of ours: that is for an operator to mend, and the charge is still good.
		return providers.Temporary(told, retryAfter(failed))
	}
}

func retryAfter(failed *stripe.Error) time.Duration {
	if failed.LastResponse == nil {
		return 0
	}
	seconds, err := strconv.Atoi(failed.LastResponse.Header.Get("Retry-After"))
	if err != nil || seconds < 0 {
		return 0
	}
	return time.Duration(min(seconds, int(maxRetryAfter/time.Second))) * time.Second
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
