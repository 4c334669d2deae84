package activities_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers/payment/paymenttest"
)

const starterPlan = "price_1RG2s1CxLzg0ytJK5K3V7hz6"

// till is a bench with a provider and one subscription whose first invoice is open.
type till struct {
	*bench
	paymenttest.Vendor
	owner uuid.UUID
	state activities.SubscriptionState
}

// everyProvider plays a story with the sandbox, and with Stripe before its stand-in.
func everyProvider(t *testing.T, story func(t *testing.T, s *till)) {
	t.Helper()
	t.Run("sandbox", func(t *testing.T) {
		t.Parallel()
		b := newBench(t)
		story(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
	})
	t.Run("stripe", func(t *testing.T) {
		t.Parallel()
		vendor, _ := paymenttest.Stripe(t)
		story(t, opened(t, newBench(t), vendor))
	})
}

func opened(t *testing.T, b *bench, v paymenttest.Vendor) *till {
	t.Helper()
	b.Payments, b.Clock = v.Provider, account.SystemClock{}
	b.Billing = account.BillingRules{
		IncompleteTTL: 23 * time.Hour, Dunning: []time.Duration{24 * time.Hour}, DunningEnd: account.SubscriptionCanceled, LookUpAge: 23 * time.Hour,
	}
	s := &till{bench: b, Vendor: v, owner: b.signedUp(t).AccountID}
	method, err := run[activities.AttachedMethod](b, b.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_visa"})
	require.NoError(t, err)
	s.state = twice[activities.SubscriptionState](t, b, b.OpenSubscription, activities.OpenSubscriptionInput{
		SubscriptionID: "sub_1", AccountID: s.owner, Generation: 1, PlanID: starterPlan, MethodID: method.MethodID, At: b.Clock.Now(),
	})
	require.Equal(t, account.SubscriptionIncomplete, s.state.Subscription.Status)
	return s
}

func (s *till) due() activities.ChargeInput {
	i := s.state.Subscription.Invoice
	return activities.ChargeInput{SubscriptionID: i.SubscriptionID, InvoiceID: i.ID, Attempt: i.Attempt}
}

// charge asks for what is due, and keeps what that has left.
func (s *till) charge() error {
	state, err := run[activities.SubscriptionState](s.bench, s.ChargeInvoice, s.due())
	if err == nil {
		s.state = state
	}
	return err
}

func (s *till) unknown(t *testing.T, err error) {
	t.Helper()
	require.ErrorIs(t, err, account.ErrUnavailable)
	now, err := s.Store.Subscription(t.Context(), "sub_1")
	require.NoError(t, err)
	require.Equal(t, s.state.Subscription.Version, now.Version, "what is not known changes nothing")
}

// renewed pays the first invoice, and opens the next one.
func (s *till) renewed(t *testing.T) {
	t.Helper()
	require.NoError(t, s.charge())
	s.change(t, activities.SubscriptionCommand{Kind: activities.CommandRenew, Key: "renew", At: s.state.Subscription.PeriodEnd})
}

// change asks for a change, and keeps what that has left.
func (s *till) change(t *testing.T, command activities.SubscriptionCommand) {
	t.Helper()
	command.SubscriptionID = "sub_1"
	state, err := run[activities.SubscriptionState](s.bench, s.ChangeSubscription, command)
	require.NoError(t, err)
	s.state = state
}

func TestCharge_PaysOnceHoweverOftenItRuns(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		state := twice[activities.SubscriptionState](t, s.bench, s.ChargeInvoice, due)
		require.Equal(t, "paid", state.Event)
		require.Equal(t, account.SubscriptionActive, state.Subscription.Status)
		require.Equal(t, map[string]int{due.InvoiceID + "/1": 1}, s.Charged())
	})
}

func TestCharge_ManyAtOncePayOnce(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		var group sync.WaitGroup
		for range 100 {
			group.Go(func() {
				state, err := s.ChargeInvoice(t.Context(), due)
				for errors.Is(err, account.ErrUnavailable) { // a hundred wait for one row longer than a statement may
					state, err = s.ChargeInvoice(t.Context(), due)
				}
				if err != nil || state.Subscription.Status != account.SubscriptionActive {
					t.Errorf("%v: %v", state.Subscription.Status, err)
				}
			})
		}
		group.Wait()
		require.Equal(t, map[string]int{due.InvoiceID + "/1": 1}, s.Charged())
		now, err := s.Store.Subscription(t.Context(), "sub_1")
		require.NoError(t, err)
		require.Equal(t, int64(2), now.Version)
	})
}

// F-25: the provider charges and never says so. The repetition has the same key.
func TestCharge_F25_AnAnswerThatIsLostChargesOnce(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		s.Down()
		s.unknown(t, s.charge())
		require.Empty(t, s.Charged())
		s.Lost()
		s.unknown(t, s.charge())
		require.NoError(t, s.charge())
		require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
		require.Equal(t, map[string]int{due.InvoiceID + "/1": 1}, s.Charged())
	})
}

// F-26: the provider was away for so long that it has forgotten the key.
func TestCharge_F26_WhatMayBeForgottenIsLookedUpFirst(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		s.renewed(t)
		heard := s.due()
		s.Lost()
		s.unknown(t, s.charge())
		if s.Later != nil {
			s.Later()
		}
		s.Billing.LookUpAge = 0
		require.NoError(t, s.charge())
		require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
		require.Nil(t, s.state.Subscription.Invoice)
		require.Equal(t, 1, s.Charged()[heard.InvoiceID+"/1"])
	})
}

func TestCharge_F26_WhatNeverGotThereIsStillOwed(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		s.renewed(t)
		unheard := s.due()
		s.Down()
		s.unknown(t, s.charge())
		s.Billing.LookUpAge = 0
		require.NoError(t, s.charge())
		require.Equal(t, "paid", s.state.Event)
		require.Equal(t, 1, s.Charged()[unheard.InvoiceID+"/1"])
	})
}

func TestCharge_AFirstPaymentThatNeverGotThereIsNotMadeADayLate(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		s.Down()
		s.unknown(t, s.charge())
		s.Billing.LookUpAge = 0
		require.NoError(t, s.charge())
		require.Equal(t, "payment_declined", s.state.Event)
		require.Equal(t, account.SubscriptionIncomplete, s.state.Subscription.Status)
		require.Empty(t, s.Charged())
	})
}

// A worker that dies between the attempt and its outcome leaves behind whether the provider may be asked.
func TestCharge_OfAClosedAccountIsNotMadeByARepetition(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		require.NoError(t, s.Store.DeactivateAccount(t.Context(), s.owner, ""))
		for range 2 {
			_, err := s.Store.BeginAttempt(t.Context(), s.Payments.Name(), due.InvoiceID, due.Attempt, nil)
			require.NoError(t, err)
		}
		require.NoError(t, s.charge())
		require.Equal(t, "payment_declined", s.state.Event)
		require.Empty(t, s.Charged())
	})
}

// What the provider may have heard of before the account was closed keeps its key, and is asked for until its outcome is known.
func TestCharge_ThatTheAccountsEndOvertakesHasItsOutcome(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		s.Lost()
		s.unknown(t, s.charge())
		require.NoError(t, s.Store.DeactivateAccount(t.Context(), s.owner, ""))
		require.NoError(t, s.charge())
		require.Equal(t, "paid", s.state.Event)
		require.Equal(t, map[string]int{due.InvoiceID + "/1": 1}, s.Charged())
	})
}

// movable is the machine's clock, ahead by as long as a test says.
type movable struct{ ahead time.Duration }

func (m *movable) Now() time.Time { return time.Now().UTC().Add(m.ahead) }

// Nobody served an opening for a day: its owner has long gone on without it.
func TestCharge_AFirstPaymentThatNobodyBegan(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		s.Clock = &movable{ahead: 23*time.Hour + time.Minute}
		require.NoError(t, s.charge())
		require.Equal(t, "payment_declined", s.state.Event)
		require.Equal(t, account.ActionExpire, s.state.Action)
		require.Empty(t, s.Charged())

		// Another card, at the last moment, is asked for anew.
		s.change(t, activities.SubscriptionCommand{
			Kind: activities.CommandChangeMethod, Key: "method", At: s.Clock.Now(), MethodID: s.state.Subscription.MethodID,
		})
		require.NoError(t, s.charge())
		require.Equal(t, "paid", s.state.Event)
	})
}

func TestCharge_AFirstPaymentThatIsLateIsNotMadeByARepetition(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		begun, err := s.Store.BeginAttempt(t.Context(), s.Payments.Name(), due.InvoiceID, due.Attempt, func(account.DueCharge) bool { return true })
		require.NoError(t, err)
		require.Equal(t, account.DeclineExpired, begun.Refused)
		require.NoError(t, s.charge())
		require.Equal(t, "payment_declined", s.state.Event)
		require.Empty(t, s.Charged())
	})
}

// A dearer plan is not paid once the period is over that its price was for, or after a day.
func TestCharge_AnUpgradeThatComesTooLate(t *testing.T) {
	t.Parallel()
	upgraded := func(t *testing.T, s *till) map[string]int {
		t.Helper()
		require.NoError(t, s.charge())
		s.change(t, activities.SubscriptionCommand{Kind: activities.CommandChangePlan, PlanID: "premium_monthly", Key: "up", At: s.Clock.Now()})
		require.NotNil(t, s.state.Subscription.Upgrade)
		return s.Charged()
	}
	for name, c := range map[string]struct {
		ahead time.Duration
		rules func(*account.BillingRules)
	}{
		"a day":                 {23*time.Hour + time.Minute, func(*account.BillingRules) {}},
		"the end of a period":   {31 * 24 * time.Hour, func(r *account.BillingRules) { r.LookUpAge = 9999 * time.Hour }},
		"a charge that is lost": {0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			everyProvider(t, func(t *testing.T, s *till) {
				t.Helper()
				paid := upgraded(t, s)
				if c.rules == nil {
					s.Down()
					s.unknown(t, s.charge())
					s.Billing.LookUpAge = 0
				} else {
					c.rules(&s.Billing)
					s.Clock = &movable{ahead: c.ahead}
				}
				require.NoError(t, s.charge())
				require.Equal(t, "plan_change_declined", s.state.Event)
				require.Equal(t, starterPlan, s.state.Subscription.Plan.ID)
				require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
				require.Equal(t, paid, s.Charged())
			})
		})
	}
}

func TestCharge_DeclinesLeadWhereTheyShould(t *testing.T) {
	t.Parallel()
	for code, retried := range map[string]bool{"insufficient_funds": true, "stolen_card": false, "authentication_required": false} {
		t.Run(code, func(t *testing.T) {
			t.Parallel()
			everyProvider(t, func(t *testing.T, s *till) {
				t.Helper()
				s.renewed(t)
				invoice := s.due().InvoiceID
				s.Decline(code)
				require.NoError(t, s.charge())
				require.Equal(t, account.SubscriptionPastDue, s.state.Subscription.Status)
				require.Equal(t, retried, s.state.Subscription.RetryAt != nil)
				require.NoError(t, s.charge(), "the next attempt has a key of its own")
				require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
				charged := s.Charged()
				require.Equal(t, 1, charged[invoice+"/2"])
				require.Zero(t, charged[invoice+"/1"])
			})
		})
	}
}

// A change of plan that costs less than can be charged is given, without a word to the provider; where the rule says nothing, the
// provider's refusal leaves the plan as it was.
func TestCharge_AChangeOfPlanForCents(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		require.NoError(t, s.charge())
		paid := s.Charged()
		s.Billing.MinCharge = 50
		eve := s.state.Subscription.PeriodEnd.Add(-15 * time.Minute)
		s.change(t, activities.SubscriptionCommand{Kind: activities.CommandChangePlan, PlanID: "premium_monthly", Key: "up", At: eve})
		require.Zero(t, s.state.Subscription.Invoice.Amount.Amount)
		require.NoError(t, s.charge())
		require.Equal(t, "plan_changed", s.state.Event)
		require.Equal(t, "premium_monthly", s.state.Subscription.Plan.ID)
		require.Equal(t, paid, s.Charged())
	})
}

func TestCharge_AChangeOfPlanThatIsRefusedHoldsNothingUp(t *testing.T) {
	t.Parallel()
	vendor, _ := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	require.NoError(t, s.charge())
	end := s.state.Subscription.PeriodEnd
	s.change(t, activities.SubscriptionCommand{Kind: activities.CommandChangePlan, PlanID: "premium_monthly", Key: "up", At: end.Add(-time.Hour)})
	require.Less(t, s.state.Subscription.Invoice.Amount.Amount, int64(50))
	require.NoError(t, s.charge())
	require.Equal(t, "plan_change_declined", s.state.Event)
	require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
	s.change(t, activities.SubscriptionCommand{Kind: activities.CommandRenew, Key: "renew", At: end})
	require.NoError(t, s.charge())
	require.Equal(t, "paid", s.state.Event)
}

// B20 with both: a card that can be attached and not charged does not take the old one's place.
func TestCharge_AChangeOfPlanAndMethod(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		require.NoError(t, s.charge())
		old := s.state.Subscription.MethodID
		other, err := run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_mastercard"})
		require.NoError(t, err)
		require.NotEqual(t, old, other.MethodID)
		both := activities.SubscriptionCommand{
			Kind: activities.CommandChangeBoth, PlanID: "premium_monthly", MethodID: other.MethodID, Key: "up", At: s.Clock.Now(),
		}
		s.change(t, both)
		require.Equal(t, old, s.state.Subscription.MethodID)
		s.Decline("card_declined")
		require.NoError(t, s.charge())
		require.Equal(t, "plan_change_declined", s.state.Event)
		require.Equal(t, old, s.state.Subscription.MethodID)
		declined := s.state.Subscription.Version
		s.change(t, both)
		require.Equal(t, declined, s.state.Subscription.Version, "a repetition changes nothing more")
		both.Key = "up again"
		s.change(t, both)
		require.NoError(t, s.charge())
		require.Equal(t, "plan_changed", s.state.Event)
		require.Equal(t, other.MethodID, s.state.Subscription.MethodID)
	})
}

// What the provider refuses to charge for good is a decline like any other: nothing waits for it, and another card is taken.
func TestCharge_WhatIsRefusedForGoodIsDeclined(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func(*paymenttest.Server){
		"the amount": func(server *paymenttest.Server) {
			server.Next(paymenttest.Fault{Status: 400, Refusal: "amount_too_small", Param: "amount"})
		},
		"a customer who left": func(server *paymenttest.Server) { server.DeleteCustomer(server.Customers()[0]) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			vendor, server := paymenttest.Stripe(t)
			s := opened(t, newBench(t), vendor)
			s.renewed(t)
			invoice := s.due().InvoiceID
			refuse(server)
			require.NoError(t, s.charge())
			require.Equal(t, account.SubscriptionPastDue, s.state.Subscription.Status)
			require.Nil(t, s.state.Subscription.RetryAt)
			require.Equal(t, account.ActionGiveUp, s.state.Action)

			server.Advance(48 * time.Hour)
			method, err := run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_amex"})
			require.NoError(t, err)
			s.change(t, activities.SubscriptionCommand{Kind: activities.CommandChangeMethod, Key: "method", At: s.state.DueAt, MethodID: method.MethodID})
			require.NoError(t, s.charge())
			require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
			require.Equal(t, 1, s.Charged()[invoice+"/2"])
			require.Zero(t, s.Charged()[invoice+"/1"])
		})
	}
}

// A mistake of an operator, such as the key of another Stripe account, declines nobody.
func TestCharge_WhatIsOursToMendHasNoOutcome(t *testing.T) {
	t.Parallel()
	vendor, server := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	for _, fault := range []paymenttest.Fault{{Status: 401}, {Status: 403}, {Status: 400, Refusal: "parameter_missing", Param: "confirm"}} {
		server.Next(fault)
		s.unknown(t, s.charge())
	}
	require.NoError(t, s.charge())
	require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
}

func TestCharge_AnOpenOutcomeIsAskedForLater(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		due := s.due()
		s.Processing(time.Second)
		err := s.charge()
		s.unknown(t, err)
		require.Equal(t, 10*time.Second, account.AsError(err).RetryAfter)
		require.Eventually(t, func() bool { return s.charge() == nil }, 10*time.Second, 50*time.Millisecond)
		require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status)
		require.Equal(t, map[string]int{due.InvoiceID + "/1": 1}, s.Charged())
	})
}

func TestCharge_TheProviderSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	vendor, server := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	server.Next(paymenttest.Fault{Status: 429, RetryAfter: 90})
	err := s.charge()
	s.unknown(t, err)
	require.Equal(t, 90*time.Second, account.AsError(err).RetryAfter)
}

// An account may live without an email: it pays all the same.
func TestAttachMethod_OfAnAccountWithoutEmail(t *testing.T) {
	t.Parallel()
	vendor, _ := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	_, err := s.Store.LinkProvider(t.Context(), s.owner, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	require.NoError(t, s.Store.UnlinkEmail(t.Context(), uuid.New(), s.owner, time.Hour, time.Hour))
	attached, err := run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_amex"})
	require.NoError(t, err)
	require.NotEmpty(t, attached.MethodID)
	_, err = run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: uuid.New(), MethodID: "pm_card_amex"})
	require.ErrorIs(t, err, account.ErrUnauthorized, "an account that is gone")
}

// A provider's door is no place to try out stolen cards.
func TestAttachMethod_OnlySoManyADay(t *testing.T) {
	t.Parallel()
	vendor, server := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	s.Policy.PaymentMethodsPerDay = 3
	attach := func(id string) error {
		_, err := run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: id})
		return err
	}
	for range 5 {
		require.NoError(t, attach("pm_card_amex"), "the same one counts once")
	}
	require.ErrorIs(t, attach("pm_card_chargeDeclined"), account.ErrPaymentDeclined)
	require.ErrorIs(t, attach("pm_none"), account.ErrInvalid)
	asked := server.Requests()
	require.ErrorIs(t, attach("pm_card_mastercard"), account.ErrTooManyRequests)
	require.Equal(t, asked, server.Requests())
	require.NoError(t, attach("pm_card_amex"))
}

// PAY-09: the method of somebody else is refused before the provider hears of it.
func TestPAY09_AttachMethod_SomebodyElsesIsNone(t *testing.T) {
	t.Parallel()
	vendor, server := paymenttest.Stripe(t)
	s := opened(t, newBench(t), vendor)
	asked := server.Requests()
	_, err := run[activities.AttachedMethod](s.bench, s.AttachMethod,
		activities.AttachMethodInput{AccountID: uuid.New(), MethodID: s.state.Subscription.MethodID})
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Equal(t, asked, server.Requests())

	again := twice[activities.AttachedMethod](t, s.bench, s.AttachMethod,
		activities.AttachMethodInput{AccountID: s.owner, MethodID: s.state.Subscription.MethodID})
	require.Equal(t, s.state.Subscription.MethodID, again.MethodID)
	for id, want := range map[string]*account.Error{"pm_none": account.ErrInvalid, "pm_card_chargeDeclined": account.ErrPaymentDeclined} {
		_, err = run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: id})
		require.ErrorIs(t, err, want, id)
	}
	server.Always(&paymenttest.Fault{Status: 503})
	_, err = run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_amex"})
	require.ErrorIs(t, err, account.ErrUnavailable)
}
