package core

import (
	"context"
	"errors"
	"time"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/providers/payment"
	"gatehouse/workflows"
)

// PaymentNoticeInput is a message of the payment provider, as it came.
type PaymentNoticeInput struct {
	Payload   []byte
	Signature string
}

// noticeAge is how old a charge must be before a message about it matters: a younger one is being asked for, and its answer
// will say more.
const noticeAge = time.Minute

// PaymentNotice takes a message of the payment provider as a hint: the flow of a charge whose outcome is not known yet asks for
// it at once, instead of at its own pace. Nothing that the message says is believed, and one about anything else is thanked for.
// It returns account.ErrUnauthorized for a message that the provider has not signed, and account.ErrMalformed for one that
// cannot be read.
func (c *Core) PaymentNotice(ctx context.Context, _ account.Caller, in PaymentNoticeInput) (None, error) {
	hint, err := c.PaymentNotices.Read(in.Payload, in.Signature)
	switch {
	case errors.Is(err, payment.ErrBadSignature):
		return None{}, account.ErrUnauthorized.Because(err)
	case err != nil:
		return None{}, account.ErrMalformed.Because(err)
	case hint.Key == "":
		return None{}, nil
	}
	subscription, err := c.Store.AwaitedCharge(ctx, hint.Key, noticeAge)
	if errors.Is(err, account.ErrNotFound) {
		return None{}, nil
	}
	if err != nil {
		return None{}, err
	}
	err = c.Flows.Tell(ctx, durable.Tell{WorkflowID: workflows.SubscriptionWorkflowID(subscription), Update: workflows.SubscriptionLook}, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		return None{}, nil // a lost flow is the reconciler's to find
	}
	return None{}, err
}
