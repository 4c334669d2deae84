package paymenttest

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/payment"
)

// Stripe is the provider for Stripe before a stand-in.
func Stripe(t *testing.T) (Vendor, *Server) {
	t.Helper()
	server := Start(t)
	provider, err := payment.New(server.Settings(), nil, server)
	require.NoError(t, err)
	return Vendor{
		Provider: provider, Charged: server.Charged, Now: server.Now,
		Down:       func() { server.Next(Fault{Moment: Before}) },
		Lost:       func() { server.Next(Fault{Moment: After}) },
		Hang:       func() { server.Next(Fault{Moment: Never}) },
		Decline:    func(code string) { server.Next(Fault{Decline: code}) },
		Processing: func(d time.Duration) { server.Next(Fault{Processing: d}) },
		Later:      func() { server.Advance(25 * time.Hour) },
		Secrets:    []string{SecretKey},
	}, server
}

// Books are the sandbox's, with its script.
type Books interface {
	payment.Ledger
	ScriptSandbox(ctx context.Context, f account.SandboxFault) error
}

// Sandbox is the sandbox with its books in a store.
func Sandbox(t *testing.T, books Books) Vendor {
	t.Helper()
	provider, err := payment.New(payment.Settings{}, books, account.SystemClock{})
	require.NoError(t, err)
	script := func(f account.SandboxFault) {
		f.Times = 1
		require.NoError(t, books.ScriptSandbox(t.Context(), f))
	}
	return Vendor{
		Provider: provider, Now: account.SystemClock{}.Now,
		Charged: func() map[string]int {
			counts := map[string]int{}
			require.NoError(t, provider.Charges(t.Context(), time.Time{}, func(o payment.Outcome) bool {
				if o.State == payment.Succeeded {
					counts[o.Key]++
				}
				return true
			}))
			return counts
		},
		Down:       func() { script(account.SandboxFault{Kind: account.SandboxDown}) },
		Lost:       func() { script(account.SandboxFault{Kind: account.SandboxLost}) },
		Hang:       func() { script(account.SandboxFault{Kind: account.SandboxSlow, Delay: time.Hour}) },
		Decline:    func(code string) { script(account.SandboxFault{Kind: account.SandboxDecline, Code: code}) },
		Processing: func(d time.Duration) { script(account.SandboxFault{Kind: account.SandboxProcessing, Delay: d}) },
	}
}
