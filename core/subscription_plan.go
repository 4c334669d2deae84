package core

import (
	"context"
	"errors"
	"time"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
)

// ChangeSubscriptionInput changes the plan, the payment method, or both (B20).
type ChangeSubscriptionInput struct {
	ID       string
	PlanID   *string
	MethodID *string
	// ProrationTime is the moment that the price of the change was shown for, RFC 3339.
	ProrationTime *string
}

// prorationWindow is how old the moment may be that a price was shown for.
const prorationWindow = 10 * time.Minute

func (in ChangeSubscriptionInput) validate(now time.Time) (at time.Time, err error) {
	invalid := account.ErrInvalid
	if in.PlanID == nil && in.MethodID == nil {
		invalid = invalid.On("plan_id", "or payment_method_id is required")
	}
	if in.PlanID != nil {
		if fault := providerIDFault(*in.PlanID); fault != "" {
			invalid = invalid.On("plan_id", fault)
		}
	}
	if in.MethodID != nil {
		if fault := providerIDFault(*in.MethodID); fault != "" {
			invalid = invalid.On("payment_method_id", fault)
		}
	}
	if in.ProrationTime != nil {
		at, err = time.Parse(time.RFC3339Nano, *in.ProrationTime)
		if err != nil || at.After(now) || at.Before(now.Add(-prorationWindow)) {
			invalid = invalid.On("proration_time", "must be a time of the last ten minutes, as the preview returned it")
		}
	}
	// The period's end is reckoned in the moment's time zone.
	return at.UTC(), faults(invalid)
}

// ChangeSubscription changes the plan, the payment method, or both (B20). A dearer plan takes over once it is paid, and so does the
// method that comes with it and pays it; any other plan takes over when the period ends, and the method at once. It returns
// account.ErrNotFound, account.ErrUnknownPlan, account.ErrSubscriptionState, and account.ErrPaymentDeclined when the dearer plan
// could not be paid: the present one stays, and so does the method.
func (c *Core) ChangeSubscription(ctx context.Context, by account.Caller, in ChangeSubscriptionInput) (account.Subscription, error) {
	begun, err := c.planChangeBegun(ctx, by, in)
	if err != nil {
		return account.Subscription{}, err
	}
	at, err := in.validate(c.Clock.Now())
	if err != nil && !begun {
		return account.Subscription{}, err
	}
	s, err := c.ownSubscription(ctx, by, in.ID)
	if err != nil {
		return s, err
	}
	if in.PlanID != nil && s.Plan.ID != *in.PlanID && !begun {
		// Before the flow is asked, which makes the method chargeable first.
		if _, err := c.prorated(ctx, s, *in.PlanID, c.Clock.Now()); err != nil {
			return s, err
		}
		if in.ProrationTime != nil {
			if err := s.PriceHeld(at); err != nil {
				return s, err
			}
		}
	}
	if in.PlanID == nil {
		return c.changeSubscription(ctx, by, s, activities.CommandChangeMethod, workflows.SubscriptionRequest{MethodID: *in.MethodID})
	}
	kind, request := activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: *in.PlanID, ProrateAt: at}
	// With a method or without, it is the change of plan of this key: planChangeBegun looks for that.
	request.Key = commandKey(by, kind)
	if in.MethodID != nil {
		kind, request.MethodID = activities.CommandChangeBoth, *in.MethodID
	}
	return c.changeSubscription(ctx, by, s, kind, request)
}

// planChangeBegun reports whether an earlier request under the key of by has begun the change of plan, which then is not judged
// again: a plan that is being paid for cannot be changed. It returns account.ErrPaymentDeclined when that could not be paid.
func (c *Core) planChangeBegun(ctx context.Context, by account.Caller, in ChangeSubscriptionInput) (bool, error) {
	if by.IdempotencyKey == "" || in.PlanID == nil || providerIDFault(in.ID) != "" {
		return false, nil
	}
	begun, declined, err := c.Store.PlanChange(ctx, in.ID, commandKey(by, activities.CommandChangePlan))
	if err == nil && declined {
		err = account.ErrPaymentDeclined
	}
	return begun, err
}

func (c *Core) prorated(ctx context.Context, s account.Subscription, planID string, at time.Time) (account.Proration, error) {
	plan, err := c.Store.Plan(ctx, planID)
	if errors.Is(err, account.ErrNotFound) || err == nil && (plan.Free || plan.Retired) {
		return account.Proration{}, account.ErrUnknownPlan.Because(err)
	}
	if err != nil {
		return account.Proration{}, err
	}
	return s.Prorate(plan, c.Billing, at)
}

// PreviewInput asks what a change to another plan would cost now.
type PreviewInput struct {
	ID     string
	PlanID string
}

// PreviewChange returns what a change of plan would cost now; ChangeSubscription takes its moment back for ten minutes
// (design D16). It returns account.ErrNotFound, account.ErrUnknownPlan and account.ErrSubscriptionState.
func (c *Core) PreviewChange(ctx context.Context, by account.Caller, in PreviewInput) (account.Proration, error) {
	if err := c.requireVerified(by); err != nil {
		return account.Proration{}, err
	}
	if fault := providerIDFault(in.PlanID); fault != "" {
		return account.Proration{}, account.ErrInvalid.On("plan_id", fault)
	}
	s, err := c.ownSubscription(ctx, by, in.ID)
	if err != nil {
		return account.Proration{}, err
	}
	return c.prorated(ctx, s, in.PlanID, c.Clock.Now().UTC().Truncate(time.Second))
}
