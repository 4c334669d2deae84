package activities_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/testkit"
	"gatehouse/providers/payment"
	"gatehouse/providers/payment/paymenttest"
)

// herd is the flows of subscriptions, of which some run.
type herd struct {
	mu      sync.Mutex
	running map[string]bool
	looked  []string
	// charging is whether their charges wait for their turn.
	charging bool
	// hangs, if set, is what happens to whoever asks.
	hangs func()
	away  error
}

func (h *herd) Revive(_ context.Context, id string, owner uuid.UUID, plan string) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if owner == uuid.Nil || plan == "" {
		return false, errors.New("nothing to start it with")
	}
	revived := !h.running[id]
	h.running[id] = h.away == nil
	return revived, h.away
}

func (h *herd) Look(_ context.Context, id string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.looked = append(h.looked, id)
	if h.hangs != nil {
		h.hangs()
	}
	return h.away
}

func (h *herd) LookIfIdle(ctx context.Context, id string) error {
	if h.charging {
		return nil
	}
	return h.Look(ctx, id)
}

func (h *herd) Running(_ context.Context, before time.Time, page []byte) (ids []string, next []byte, err error) {
	if time.Since(before) < 50*time.Minute {
		return nil, nil, errors.New("flows that have yet to make their row")
	}
	if page == nil {
		return []string{"sub_never"}, []byte("more"), h.away
	}
	return []string{"sub_1"}, nil, h.away
}

// audit is a till whose books are compared with the provider's.
type audit struct {
	*till
	flows  *herd
	log    *bytes.Buffer
	alarms []account.Finding
	run    account.Reconciliation
}

func audited(t *testing.T, s *till) *audit {
	t.Helper()
	a := &audit{till: s, flows: &herd{running: map[string]bool{"sub_1": true}}, log: &bytes.Buffer{}}
	s.Flows, s.Log = a.flows, slog.New(slog.NewTextHandler(a.log, nil))
	s.Meter = a
	a.run = twice[account.Reconciliation](t, s.bench, s.BeginReconciliation, activities.ReconciliationInput{ID: "run"})
	a.run.Until = a.run.Until.Add(time.Hour) // what is young is judged as well: no test waits
	return a
}

func (a *audit) Found(f account.Finding) { a.alarms = append(a.alarms, f) }

func (*audit) Tried(account.Channel, account.SendResult) {}

func (*audit) Charged(account.ChargeResult) {}

func (*audit) Hooked(account.WebhookState) {}

func (*audit) Alerted(string) {}

func (a *audit) input() activities.ReconciliationInput {
	return activities.ReconciliationInput{ID: "run", Since: a.run.Since, Until: a.run.Until}
}

// compare asks for both sides, twice, and returns what was found.
func (a *audit) compare(t *testing.T) []account.Finding {
	t.Helper()
	a.alarms = nil
	twice[activities.ReconciliationPage](t, a.bench, a.CompareCharges, a.input())
	for range 2 {
		_, err := run[activities.ReconciliationPage](a.bench, a.CompareAttempts, a.input())
		require.NoError(t, err)
	}
	return a.alarms
}

// sql breaks something behind the back of the store.
func (a *audit) sql(t *testing.T, statement string) {
	t.Helper()
	testkit.Change(t, a.url, statement)
}

func TestCompare_SoundBooks(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		a := audited(t, s)
		s.Decline("insufficient_funds")
		require.NoError(t, s.charge())
		require.Empty(t, a.compare(t), "a declined charge took no money")
		method := s.another(t)
		state, err := run[activities.SubscriptionState](s.bench, s.ChangeSubscription, activities.SubscriptionCommand{
			SubscriptionID: "sub_1", Kind: activities.CommandChangeMethod, MethodID: method, Key: "method", At: s.Clock.Now(),
		})
		require.NoError(t, err)
		s.state = state
		require.NoError(t, s.charge())
		require.Empty(t, a.compare(t))
		left, err := s.Store.UnconfirmedAttempts(t.Context(), s.Provider.Name(), "", a.run.Until, 10)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

// another shows a method that works.
func (s *till) another(t *testing.T) string {
	t.Helper()
	method, err := run[activities.AttachedMethod](s.bench, s.AttachMethod, activities.AttachMethodInput{AccountID: s.owner, MethodID: "pm_card_mastercard"})
	require.NoError(t, err)
	return method.MethodID
}

func TestCompare_AForeignCharge(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		a := audited(t, s)
		require.NoError(t, s.charge())
		i, err := s.Store.InvoiceAt(t.Context(), "sub_1", 1)
		require.NoError(t, err)
		known, err := s.Store.AttemptsByKey(t.Context(), []string{i.ID + "/1"})
		require.NoError(t, err)
		_, err = s.Provider.Charge(t.Context(), payment.Charge{
			Key: "nobody/1", InvoiceID: "nobody", Customer: known[i.ID+"/1"].Customer, MethodID: s.state.Subscription.MethodID,
			Amount: account.Money{Amount: 700, Currency: "usd"},
		})
		require.NoError(t, err)
		found := a.compare(t)
		require.Len(t, found, 1, "one alarm, however often it is compared")
		require.Equal(t, account.FindingForeignCharge, found[0].Kind)
		require.Equal(t, "nobody/1", found[0].Subject)
		require.Contains(t, a.log.String(), "msg=billing_alarm kind=foreign_charge subject=nobody/1")
	})
}

func TestCompare_AChargeWithoutOutcomeHere(t *testing.T) {
	t.Parallel()
	everyProvider(t, func(t *testing.T, s *till) {
		t.Helper()
		a := audited(t, s)
		s.Lost()
		s.unknown(t, s.charge())
		require.Empty(t, a.compare(t))
		require.NotEmpty(t, a.flows.looked)
		require.Equal(t, "sub_1", a.flows.looked[0], "its flow is to look it up")
	})
}

func TestCompare_BooksThatDiffer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		breaks string
		found  account.FindingKind
	}{
		"charge gone":        {`DELETE FROM sandbox_charges`, account.FindingChargeMissing},
		"another amount":     {`UPDATE sandbox_charges SET amount = amount + 1`, account.FindingAmountDiffers},
		"another currency":   {`UPDATE sandbox_charges SET currency = 'eur'`, account.FindingAmountDiffers},
		"declined there":     {`UPDATE sandbox_charges SET decline_code = 'lost_card'`, account.FindingOutcomeDiffers},
		"declined here":      {`UPDATE payment_attempts SET state = 'declined'`, account.FindingOutcomeDiffers},
		"processing there":   {`UPDATE sandbox_charges SET settles_at = now() + interval '1 day'`, account.FindingOutcomeDiffers},
		"another charge":     {`UPDATE sandbox_charges SET id = 'ch_other'`, account.FindingChargedTwice},
		"invoice not paid":   {`UPDATE invoices SET status = 'void', paid_at = NULL`, account.FindingOutcomeDiffers},
		"no attempt at all":  {`DELETE FROM payment_attempts`, account.FindingForeignCharge},
		"another's customer": {`UPDATE sandbox_charges SET customer = 'cus_other'`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			a := audited(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
			require.NoError(t, a.charge())
			a.sql(t, c.breaks)
			found := a.compare(t)
			if c.found == "" {
				require.Empty(t, found)
				return
			}
			require.NotEmpty(t, found)
			require.Equal(t, c.found, found[0].Kind, "%v", found)
			require.NotEmpty(t, found[0].Detail)
		})
	}
}

// A provider that goes away in the middle is asked again; what it said before is compared.
func TestCompare_ProviderAway(t *testing.T) {
	t.Parallel()
	vendor, server := paymenttest.Stripe(t)
	a := audited(t, opened(t, newBench(t), vendor))
	require.NoError(t, a.charge())
	server.Always(&paymenttest.Fault{Status: 503})
	_, err := run[activities.ReconciliationPage](a.bench, a.CompareCharges, a.input())
	require.ErrorIs(t, err, account.ErrUnavailable)
	_, err = run[activities.ReconciliationPage](a.bench, a.CompareAttempts, a.input())
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Empty(t, a.alarms)
}

func TestReviveFlows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := audited(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
	page := twice[activities.ReconciliationPage](t, b, b.ReviveFlows, a.input())
	require.Equal(t, activities.ReconciliationPage{Seen: 1}, page)
	require.Empty(t, a.alarms)

	a.flows.running = map[string]bool{}
	twice[activities.ReconciliationPage](t, b, b.ReviveFlows, a.input())
	require.Equal(t, []account.Finding{{Kind: account.FindingFlowLost, Subject: "sub_1", Repaired: true}}, a.alarms)
	require.NotContains(t, a.log.String(), "billing_alarm")

	a.flows.away = account.ErrUnavailable
	_, err := run[activities.ReconciliationPage](b, b.ReviveFlows, a.input())
	require.ErrorIs(t, err, account.ErrUnavailable)
}

func TestReviewFlows(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := audited(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
	first := twice[activities.ReconciliationPage](t, b, b.ReviewFlows, a.input())
	require.Equal(t, activities.ReconciliationPage{Seen: 1, Page: []byte("more")}, first)
	require.Equal(t, []account.Finding{{Kind: account.FindingFlowLeft, Subject: "sub_never"}}, a.alarms)
	in := a.input()
	in.Page = first.Page
	twice[activities.ReconciliationPage](t, b, b.ReviewFlows, in)
	require.Len(t, a.alarms, 1, "this one has a row")
}

func TestReviewBooksAndEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := audited(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
	a.Lost()
	a.unknown(t, a.charge())
	for range 2 {
		_, err := b.env.ExecuteActivity(b.ReviewBooks, a.input())
		require.NoError(t, err)
		_, err = b.env.ExecuteActivity(b.HastenCharges, a.input())
		require.NoError(t, err)
	}
	require.Empty(t, a.alarms)
	require.Empty(t, a.flows.looked)
	a.sql(t, `UPDATE payment_attempts SET created_at = now() - interval '24 hours'`)
	_, err := b.env.ExecuteActivity(b.HastenCharges, a.input())
	require.NoError(t, err)
	require.Equal(t, []string{"sub_1"}, a.flows.looked)
	a.sql(t, `UPDATE payment_attempts SET state = 'declined'`)
	a.sql(t, `UPDATE invoices SET created_at = now() - interval '2 hours'`)
	a.flows.charging = true
	_, err = b.env.ExecuteActivity(b.HastenCharges, a.input())
	require.NoError(t, err)
	require.Equal(t, []string{"sub_1"}, a.flows.looked, "a charge that waits for its turn keeps its place")
	a.flows.charging = false
	_, err = b.env.ExecuteActivity(b.HastenCharges, a.input())
	require.NoError(t, err)
	require.Equal(t, []string{"sub_1", "sub_1"}, a.flows.looked, "nobody asks for what is owed")
	a.sql(t, `UPDATE payment_attempts SET state = 'pending', created_at = now() - interval '26 hours'`)
	_, err = b.env.ExecuteActivity(b.ReviewBooks, a.input())
	require.NoError(t, err)
	require.Len(t, a.alarms, 1)
	require.Equal(t, account.FindingOutcomeUnknown, a.alarms[0].Kind)

	ended := twice[activities.Reconciled](t, b, b.EndReconciliation, activities.ReconciliationEnd{ID: "run", Missed: []string{"charges", "charges"}})
	require.Equal(t, activities.Reconciled{Alarms: 2}, ended)
	require.Equal(t, account.Finding{Kind: account.FindingIncomplete, Subject: "charges"}, a.alarms[1])
}

// What was cut short is not done: the reconciliation takes it up again, or says that it was missed.
func TestHastenCharges_CutShort(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := audited(t, opened(t, b, paymenttest.Sandbox(t, b.Store)))
	a.Lost()
	a.unknown(t, a.charge())
	a.sql(t, `UPDATE payment_attempts SET created_at = now() - interval '24 hours'`)
	ctx, stop := context.WithCancel(t.Context())
	a.flows.hangs, a.flows.away = stop, account.ErrOutcomeUnknown
	require.ErrorIs(t, b.HastenCharges(ctx, a.input()), context.Canceled)
}

// Whoever has closed or deactivated an account pays no more, whatever the flow was about to do.
func TestCharge_NobodyPaysForAnInactiveAccount(t *testing.T) {
	t.Parallel()
	for _, change := range []string{`deactivated_at = now()`, `deleted_at = now()`} {
		t.Run(change, func(t *testing.T) {
			t.Parallel()
			everyProvider(t, func(t *testing.T, s *till) {
				t.Helper()
				s.renewed(t)
				a := audited(t, s)
				a.sql(t, `UPDATE accounts SET `+change)
				due := s.due()
				require.NoError(t, s.charge())
				require.Equal(t, account.SubscriptionPastDue, s.state.Subscription.Status)
				require.Nil(t, s.state.Subscription.RetryAt)
				require.NotContains(t, s.Charged(), due.InvoiceID+"/1")
			})
		})
	}
	t.Run("asked for before", func(t *testing.T) {
		t.Parallel()
		everyProvider(t, func(t *testing.T, s *till) {
			t.Helper()
			s.renewed(t)
			a := audited(t, s)
			due := s.due()
			s.Lost()
			s.unknown(t, s.charge())
			a.sql(t, `UPDATE accounts SET deactivated_at = now()`)
			require.NoError(t, s.charge())
			require.Equal(t, account.SubscriptionActive, s.state.Subscription.Status, "the money was taken")
			require.Equal(t, 1, s.Charged()[due.InvoiceID+"/1"])
		})
	})
}
