package payment_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/providers/payment"
	"gatehouse/providers/payment/paymenttest"
	"gatehouse/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, StatementTimeout: -1})
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	return errors.Join(err, s.Close())
}

func openSandbox(t *testing.T) (payment.Provider, *store.Store) {
	t.Helper()
	s, err := store.Open(store.Options{
		URL: testkit.NewDatabase(t, migrate, store.MigrationFingerprint()), Pool: 8, Application: "payment-test", StatementTimeout: time.Minute,
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	provider, err := payment.New(payment.Settings{}, s, account.SystemClock{})
	require.NoError(t, err)
	require.Equal(t, "sandbox", provider.Name())
	return provider, s
}

func TestConformance_Sandbox(t *testing.T) {
	t.Parallel()
	paymenttest.Conform(t, func(t *testing.T) paymenttest.Vendor {
		t.Helper()
		_, books := openSandbox(t)
		return paymenttest.Sandbox(t, books)
	})
}

func TestSandbox_KnowsStripesTestCards(t *testing.T) {
	t.Parallel()
	provider, _ := openSandbox(t)
	for id, card := range payment.TestCards() {
		m := attach(t, provider, id)
		require.Equal(t, card.Last4, m.Last4)
		out, err := provider.Charge(t.Context(), charge(m))
		require.NoError(t, err, id)
		require.Equal(t, card.DeclineCode, out.Decline.Code, id)
		require.Equal(t, card.DeclineCode == "", out.State == payment.Succeeded, id)
	}
	// conventions.md 19
	for id, want := range map[string]account.Decline{
		"pm_card_visa":                   {},
		"pm_card_mastercard":             {},
		"pm_card_chargeDeclined":         {Code: "generic_decline"},
		"pm_card_authenticationRequired": {Code: "authentication_required", ActionRequired: true},
	} {
		out, err := provider.Charge(t.Context(), charge(attach(t, provider, id)))
		require.NoError(t, err)
		require.Equal(t, want, out.Decline, id)
	}
}

func TestSandbox_ScriptsStrikeWhomTheyName(t *testing.T) {
	t.Parallel()
	provider, books := openSandbox(t)
	visa, amex := attach(t, provider, "pm_card_visa"), attach(t, provider, "pm_card_amex")
	named := charge(amex)
	require.NoError(t, books.ScriptSandbox(t.Context(), account.SandboxFault{Kind: account.SandboxDown, TestID: "pm_card_visa", Times: 2}))
	require.NoError(t, books.ScriptSandbox(t.Context(), account.SandboxFault{Kind: account.SandboxDecline, KeyPrefix: named.InvoiceID, Times: 1}))

	out, err := provider.Charge(t.Context(), charge(amex))
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, out.State)
	for range 2 {
		_, err = provider.Charge(t.Context(), charge(visa))
		require.EqualError(t, err, "sandbox: down, as scripted")
	}
	out, err = provider.Charge(t.Context(), charge(visa))
	require.NoError(t, err)
	require.Equal(t, payment.Succeeded, out.State)
	out, err = provider.Charge(t.Context(), named)
	require.NoError(t, err)
	require.Equal(t, account.Decline{Code: "generic_decline"}, out.Decline)
}

func TestSandbox_WaitingChargesNothingYet(t *testing.T) {
	t.Parallel()
	provider, books := openSandbox(t)
	c := charge(attach(t, provider, "pm_card_visa"))
	require.NoError(t, books.ScriptSandbox(t.Context(), account.SandboxFault{Kind: account.SandboxWait, Delay: time.Hour, Times: 1}))
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := provider.Charge(ctx, c)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	_, err = provider.Find(t.Context(), c.Customer, c.Key)
	require.ErrorIs(t, err, payment.ErrNotFound)
}

// broken is a ledger whose errors quote the row, as Postgres does.
type broken struct{ payment.Ledger }

func (broken) PutSandboxMethod(context.Context, account.SandboxMethod) error {
	return account.ErrUnavailable.Because(errors.New("failing row contains canary"))
}

func (broken) SandboxMethod(context.Context, string) (account.SandboxMethod, error) {
	return account.SandboxMethod{}, errors.New("failing row contains canary")
}

func (broken) SandboxCharge(context.Context, string) (account.SandboxCharge, error) {
	return account.SandboxCharge{}, errors.New("failing row contains canary")
}

func (broken) SandboxCharges(context.Context, time.Time, string, int) ([]account.SandboxCharge, error) {
	return nil, account.ErrUnavailable
}

func TestSandbox_AFailureOfTheStoreIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	provider := payment.NewSandbox(broken{}, account.SystemClock{})
	_, err := provider.Attach(t.Context(), payment.Payer{AccountID: uuid.New()}, "pm_card_visa")
	require.EqualError(t, err, "sandbox: the store failed: unavailable")
	_, err = provider.Attach(t.Context(), payment.Payer{AccountID: uuid.New()}, "pm_1")
	require.EqualError(t, err, "sandbox: the store failed: internal")
	_, err = provider.Charge(t.Context(), charge(payment.Method{}))
	require.EqualError(t, err, "sandbox: the store failed: internal")
	_, err = provider.Find(t.Context(), "cus_1", "in_1/1")
	require.EqualError(t, err, "sandbox: the store failed: internal")
	require.EqualError(t, provider.Charges(t.Context(), time.Time{}, nil), "sandbox: the store failed: unavailable")
}
