package core

import (
	"context"
	"encoding/base32"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
	"gatehouse/workflows"
)

// maxProviderID bounds the ids of plans and payment methods that clients name, in bytes.
const maxProviderID = 255

// Plans returns the plans that can be subscribed to, the cheapest first; anybody may ask (design D16).
func (c *Core) Plans(ctx context.Context, _ account.Caller, _ None) ([]account.Plan, error) {
	all, err := c.Store.Plans(ctx)
	offered := make([]account.Plan, 0, len(all))
	for _, p := range all {
		if !p.Retired {
			offered = append(offered, p)
		}
	}
	return offered, err
}

// Subscriptions returns every subscription of the caller, those that are over included, the newest first (B18).
func (c *Core) Subscriptions(ctx context.Context, by account.Caller, _ None) ([]account.Subscription, error) {
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	return c.Store.SubscriptionsOf(ctx, by.Principal.Account.ID)
}

// SubscribeInput creates a subscription (B19).
type SubscribeInput struct {
	PlanID   string
	MethodID string
}

func (in SubscribeInput) validate() error {
	invalid := account.ErrInvalid
	if fault := providerIDFault(in.PlanID); fault != "" {
		invalid = invalid.On("plan_id", fault)
	}
	if fault := providerIDFault(in.MethodID); fault != "" {
		invalid = invalid.On("payment_method_id", fault)
	}
	return faults(invalid)
}

// providerIDFault returns what is wrong with an id that a catalogue or a provider has given out.
func providerIDFault(id string) string {
	switch {
	case id == "":
		return "is required"
	case len(id) > maxProviderID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "is not an id"
	}
	return ""
}

// Subscribe subscribes the caller to a plan, and waits a moment for the first charge (B19). A subscription whose charge was
// declined, or has no outcome yet, is returned as incomplete. The same request within BillingRules.JoinWindow gets the same
// subscription (PAY-01); one for an incomplete subscription brings it another payment method. It returns
// account.ErrUnknownPlan, account.ErrAlreadySubscribed, account.ErrNotFound for a payment method of somebody else, and
// account.ErrEmailNotVerified.
func (c *Core) Subscribe(ctx context.Context, by account.Caller, in SubscribeInput) (account.Subscription, error) {
	if err := in.validate(); err != nil {
		return account.Subscription{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return account.Subscription{}, err
	}
	plan, err := c.Store.Plan(ctx, in.PlanID)
	if errors.Is(err, account.ErrNotFound) || err == nil && (plan.Free || plan.Retired) {
		return account.Subscription{}, account.ErrUnknownPlan.Because(err)
	}
	if err != nil {
		return account.Subscription{}, err
	}
	owner := by.Principal.Account.ID
	ended, current, err := c.Store.Generation(ctx, owner, plan.Family)
	if err != nil {
		return account.Subscription{}, err
	}
	if current != nil {
		return c.joinSubscription(ctx, by, *current, in)
	}
	id := c.subscriptionID(owner, plan.Family, ended+1)
	by.Begin(id)
	// Equal requests at the same moment ask once: a flow bears only so many at a time.
	shared, err, _ := c.opening.Do(id+" "+plan.ID+" "+in.MethodID, func() (any, error) {
		return c.askSubscription(context.WithoutCancel(ctx), id, owner, plan.Code, &workflows.SubscriptionOpening{
			AccountID: owner, Generation: ended + 1, PlanID: plan.ID, MethodID: in.MethodID,
		}, workflows.SubscriptionOpen, nil)
	})
	if err != nil {
		return account.Subscription{}, err
	}
	out, _ := shared.(account.Subscription)
	return c.asAsked(ctx, out, in)
}

// asAsked returns a subscription that was opened for a request, if it is what the request asks for: one for another plan or
// method may have come first, at the same moment.
func (c *Core) asAsked(ctx context.Context, s account.Subscription, in SubscribeInput) (account.Subscription, error) {
	shown, err := c.Store.MethodShown(ctx, s.AccountID, s.MethodID)
	if err == nil && (s.Plan.ID != in.PlanID || shown != in.MethodID) {
		err = account.ErrAlreadySubscribed
	}
	return s, err
}

// joinSubscription answers a request for a subscription of which there is one already.
func (c *Core) joinSubscription(ctx context.Context, by account.Caller, id string, in SubscribeInput) (account.Subscription, error) {
	by.Begin(id)
	s, err := c.Store.Subscription(ctx, id)
	if err != nil {
		return s, err
	}
	shown, err := c.Store.MethodShown(ctx, s.AccountID, s.MethodID)
	switch {
	case err != nil:
		return s, err
	case s.Plan.ID != in.PlanID:
		return s, account.ErrAlreadySubscribed
	case shown == in.MethodID && c.Clock.Now().Sub(s.CreatedAt) < c.Billing.JoinWindow:
		if s.Status != account.SubscriptionIncomplete || s.Declines > 0 {
			return s, nil
		}
		return c.askSubscription(ctx, s.ID, s.AccountID, s.Plan.Code, nil, workflows.SubscriptionOpen, nil)
	case s.Status == account.SubscriptionIncomplete:
		return c.changeSubscription(ctx, by, s, activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: in.MethodID})
	}
	return s, account.ErrAlreadySubscribed
}

// subscriptionPrefix begins the ids of subscriptions.
const subscriptionPrefix = "sub_"

// subscriptionID is the same for every request that wants the same subscription, so that they meet in one flow.
func (c *Core) subscriptionID(owner uuid.UUID, family string, generation int) string {
	hash := c.Keys.Subject("subscription", owner.String()+"/"+family+"/"+strconv.Itoa(generation))
	return subscriptionPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(hash[:15]))
}

// askSubscription speaks to the flow of a subscription, and starts it if it does not run: a flow that was lost goes on with
// what the store knows.
func (c *Core) askSubscription(
	ctx context.Context, id string, owner uuid.UUID, plan string, opening *workflows.SubscriptionOpening, update string, arg any,
) (account.Subscription, error) {
	var state activities.SubscriptionState
	err := c.Flows.Ask(ctx, workflows.AskSubscription(id, owner, plan, opening, update, arg), &state)
	return state.Subscription, err
}

// SubscriptionInput names a subscription of the caller.
type SubscriptionInput struct {
	ID string
}

// ownSubscription returns a subscription of the caller, or account.ErrNotFound.
func (c *Core) ownSubscription(ctx context.Context, by account.Caller, id string) (account.Subscription, error) {
	if err := c.requireVerified(by); err != nil {
		return account.Subscription{}, err
	}
	if providerIDFault(id) != "" {
		return account.Subscription{}, account.ErrNotFound
	}
	s, err := c.Store.Subscription(ctx, id)
	if err == nil && s.AccountID != by.Principal.Account.ID {
		err = account.ErrNotFound
	}
	return s, err
}

// changeSubscription has the flow of a subscription do what its owner asks for, under the key of r, or else of by and kind.
func (c *Core) changeSubscription(
	ctx context.Context, by account.Caller, s account.Subscription, kind activities.SubscriptionCommandKind, r workflows.SubscriptionRequest,
) (account.Subscription, error) {
	if r.Key == "" {
		r.Key = commandKey(by, kind)
	}
	after, err := s, error(account.ErrSubscriptionState.Saying("Subscription has ended"))
	if !s.Status.Ended() {
		by.Begin(s.ID)
		after, err = c.askSubscription(ctx, s.ID, s.AccountID, s.Plan.Code, nil, string(kind), r)
	}
	if by.IdempotencyKey != "" && errors.Is(err, account.ErrSubscriptionState) {
		// What cannot be done once more may have been done, by a request whose answer was lost.
		return c.subscriptionChanged(ctx, s.ID, r.Key, err)
	}
	return after, err
}

// commandKey makes a request happen once: it is fresh, or the same for the same Idempotency-Key, for as long as that is known.
func commandKey(by account.Caller, kind activities.SubscriptionCommandKind) string {
	if by.IdempotencyKey == "" {
		return store.RequestKeyPrefix + uuid.NewString()
	}
	return store.RequestKeyPrefix + by.IdempotencyKey + "/" + string(kind)
}

// subscriptionChanged returns a subscription that was changed under key, and refusal where it was not.
func (c *Core) subscriptionChanged(ctx context.Context, id, key string, refusal error) (account.Subscription, error) {
	changed, err := c.Store.SubscriptionChanged(ctx, id, key)
	if err == nil && !changed {
		err = refusal
	}
	if err != nil {
		return account.Subscription{}, err
	}
	return c.Store.Subscription(ctx, id)
}

// CancelSubscriptionInput ends a subscription with its period, or at once.
type CancelSubscriptionInput struct {
	ID          string
	Immediately bool
}

// CancelSubscription ends a subscription with its period, or at once; nothing is paid back (B21). It returns
// account.ErrNotFound and account.ErrSubscriptionState.
func (c *Core) CancelSubscription(ctx context.Context, by account.Caller, in CancelSubscriptionInput) (account.Subscription, error) {
	kind := activities.CommandCancel
	if in.Immediately {
		kind = activities.CommandCancelNow
	}
	return c.command(ctx, by, in.ID, kind, workflows.SubscriptionRequest{})
}

// KeepSubscription undoes a cancellation, until the period ends. Its errors are those of CancelSubscription.
func (c *Core) KeepSubscription(ctx context.Context, by account.Caller, in SubscriptionInput) (account.Subscription, error) {
	return c.command(ctx, by, in.ID, activities.CommandUndoCancel, workflows.SubscriptionRequest{})
}

// PauseSubscriptionInput pauses a subscription, until ResumesAt (RFC 3339) if that is set.
type PauseSubscriptionInput struct {
	ID        string
	ResumesAt *string
}

// PauseSubscription stops service and charges; the paid time that is left is kept (B22). It returns account.ErrInvalid,
// account.ErrNotFound and account.ErrSubscriptionState.
func (c *Core) PauseSubscription(ctx context.Context, by account.Caller, in PauseSubscriptionInput) (account.Subscription, error) {
	r := workflows.SubscriptionRequest{Reason: account.PausedByOwner}
	if in.ResumesAt != nil {
		at, err := time.Parse(time.RFC3339Nano, *in.ResumesAt)
		if err != nil {
			return account.Subscription{}, account.ErrInvalid.On("resumes_at", "must be a time as in RFC 3339")
		}
		at = at.UTC()
		r.ResumesAt = &at
		if err := c.judgeResumption(ctx, by, in.ID, at); err != nil {
			return account.Subscription{}, err
		}
	}
	return c.command(ctx, by, in.ID, activities.CommandPause, r)
}

// judgeResumption judges the end of a pause before anything is looked up. What an earlier request under the key of by has paused is
// not judged again: it may go on by now.
func (c *Core) judgeResumption(ctx context.Context, by account.Caller, id string, at time.Time) error {
	fault := c.Billing.JudgeResumption(&at, c.Clock.Now())
	if fault == nil || by.IdempotencyKey == "" || providerIDFault(id) != "" {
		return fault
	}
	paused, err := c.Store.SubscriptionChanged(ctx, id, commandKey(by, activities.CommandPause))
	if err != nil || paused {
		return err
	}
	return fault
}

// ResumeSubscription ends a pause (B23). It returns account.ErrNotFound and account.ErrSubscriptionState.
func (c *Core) ResumeSubscription(ctx context.Context, by account.Caller, in SubscriptionInput) (account.Subscription, error) {
	return c.command(ctx, by, in.ID, activities.CommandResume, workflows.SubscriptionRequest{})
}

func (c *Core) command(
	ctx context.Context, by account.Caller, id string, kind activities.SubscriptionCommandKind, r workflows.SubscriptionRequest,
) (account.Subscription, error) {
	s, err := c.ownSubscription(ctx, by, id)
	if err != nil {
		return s, err
	}
	return c.changeSubscription(ctx, by, s, kind, r)
}

// maxInvoices is how many invoices are listed.
const maxInvoices = 100

// Invoices returns the invoices of a subscription of the caller, the newest first, at most 100 (design D16). It returns
// account.ErrNotFound.
func (c *Core) Invoices(ctx context.Context, by account.Caller, in SubscriptionInput) ([]account.Invoice, error) {
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	if providerIDFault(in.ID) != "" {
		return nil, account.ErrNotFound
	}
	return c.Store.InvoicesOf(ctx, by.Principal.Account.ID, in.ID, maxInvoices)
}
