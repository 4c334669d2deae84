package activities

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/store"
)

// The steps that send messages, as recipes name them. They are stored: a name stays what it is.
const (
	sendsCode             = "code"
	sendsResetLink        = "reset_link"
	sendsMail             = "mail"
	sendsSMS              = "sms"
	sendsPush             = "push"
	sendsEmailChangeMail  = "email_change_mail"
	sendsClosureMail      = "closure_mail"
	sendsSubscriptionMail = "subscription_mail"
)

// recipe is how a message is sent once more: the name of the step that sent it, and the step's input. It is stored with the
// message, in the column of that name.
type recipe struct {
	send  string
	input any
}

var errNoRecipe = errors.New("a message without a recipe could not be sent once more")

func (r recipe) stored() (store.Recipe, error) {
	if r.send == "" {
		return store.Recipe{}, errNoRecipe
	}
	input, err := json.Marshal(r.input)
	return store.Recipe{Send: r.send, Input: input}, err
}

// ResendMessageInput names the message to send once more.
type ResendMessageInput struct {
	MessageID uuid.UUID
}

// ResendMessage sends a message once more that was given up: the same row, under the same id. One that a provider has accepted
// meanwhile is not sent again, nor is a code or a link whose time is over, nor what an owner need not hear any more. It
// returns account.ErrNotFound for a message that cannot be sent again.
func (a *Activities) ResendMessage(ctx context.Context, in ResendMessageInput) (Delivered, error) {
	m, err := a.Store.Message(ctx, in.MessageID)
	if err != nil {
		return Delivered{}, err
	}
	if m.State == string(DeliverySent) {
		return Delivered{State: DeliverySent}, nil
	}
	r, err := m.Recipe()
	if err != nil {
		return Delivered{}, err
	}
	// The message keeps its row, which belongs to the flow that sent it first.
	sent, err := a.dispatch(context.WithValue(ctx, flowKey{}, m.Flow), r)
	if err == nil && sent.State == DeliveryExpired {
		err = a.Store.MessageFailed(ctx, m.Flow, m.Step, store.MessageExpired, "has lost its point")
	}
	return sent, err
}

// dispatch runs the step that a recipe names, with the stored input.
func (a *Activities) dispatch(ctx context.Context, r store.Recipe) (Delivered, error) {
	switch r.Send {
	case sendsCode:
		return runStep(ctx, r, a.SendCode)
	case sendsResetLink:
		return runStep(ctx, r, a.SendResetLink)
	case sendsMail:
		return runStep(ctx, r, a.SendMail)
	case sendsSMS:
		return runStep(ctx, r, a.SendSMS)
	case sendsPush:
		return runStep(ctx, r, a.SendPush)
	case sendsEmailChangeMail:
		return runStep(ctx, r, a.SendEmailChangeMail)
	case sendsClosureMail:
		return runStep(ctx, r, a.SendClosureMail)
	case sendsSubscriptionMail:
		return runStep(ctx, r, a.SendSubscriptionMail)
	}
	return Delivered{}, fmt.Errorf("no step sends %q", r.Send)
}

// runStep decodes the input of a step and runs it.
func runStep[In any](ctx context.Context, r store.Recipe, send func(context.Context, In) (Delivered, error)) (Delivered, error) {
	var in In
	if err := json.Unmarshal(r.Input, &in); err != nil {
		return Delivered{}, account.ErrInternal.Because(err)
	}
	return send(ctx, in)
}

// flowKey holds the id of the flow whose message is sent, where that is another flow's.
type flowKey struct{}

// flowOf returns the id of the flow that a message belongs to.
func flowOf(ctx context.Context) string {
	if id, other := ctx.Value(flowKey{}).(string); other {
		return id
	}
	return activity.GetInfo(ctx).WorkflowExecution.ID
}

// resent reports whether an operator has asked for the message: then what was given up is worth another try.
func resent(ctx context.Context) bool {
	_, other := ctx.Value(flowKey{}).(string)
	return other
}

// nextRetry is how long after now Temporal begins the next attempt of a step that fails at now; pause is the provider's own
// word, which overrules the policy (see durable.ToTemporal). It is 0 when there will be none.
func nextRetry(info activity.Info, now time.Time, pause time.Duration) time.Duration {
	wait := pause
	if wait <= time.Second {
		wait = backoff(info.RetryPolicy, info.Attempt)
	}
	if last := info.ScheduledTime.Add(info.ScheduleToCloseTimeout); info.ScheduleToCloseTimeout > 0 && now.Add(wait).After(last) {
		return 0
	}
	return wait
}

// backoff is the pause of a policy after its n-th attempt, with the server's defaults for what it leaves open.
func backoff(policy *temporal.RetryPolicy, attempt int32) time.Duration {
	p := temporal.RetryPolicy{}
	if policy != nil {
		p = *policy
	}
	first := cmp.Or(p.InitialInterval, time.Second)
	most := cmp.Or(p.MaximumInterval, 100*first)
	grown := float64(first) * math.Pow(cmp.Or(p.BackoffCoefficient, 2), float64(max(attempt, 1)-1))
	return time.Duration(min(grown, float64(most)))
}
