//go:build unix

package e2e_test

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

var (
	renewalCount    = flag.Int("renewals", 100, "how many subscriptions renew at one instant in TestRenewalsAtOneInstant")
	renewalDocument = flag.String("renewals-document", "", "the file that TestRenewalsAtOneInstant writes its table to")
)

const (
	// renewalRate is GATEHOUSE_PAYMENT_RATE as it is by default: charges a second.
	renewalRate = 20
	// perWindow is how long a window is in which charges are counted.
	perWindow = 5
	// startEach is the time that is left for starting one flow, before all renew.
	startEach = 15 * time.Millisecond
)

// TestRenewalsAtOneInstant has many subscriptions renew at one instant: the provider is asked at the rate it bears, each is
// charged once, and people who sign up and log in meanwhile do not wait for it. `make bench-renewals` runs it with 10,000.
func TestRenewalsAtOneInstant(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	n := *renewalCount
	email := newEmail()
	s.signUp(t, email)
	before := s.interactive(t, email, func(rounds int) bool { return rounds >= 20 })
	due := time.Now().Add(5*time.Second + time.Duration(n)*startEach).Truncate(time.Second)
	s.seedRenewals(t, n, due)
	late := s.startRenewals(t, n, due)
	time.Sleep(max(0, time.Until(due)))

	const done = `SELECT count(*) FROM invoices WHERE id LIKE 'in_sub_bench_%' AND status = 'paid'`
	during := s.interactive(t, email, func(rounds int) bool { return rounds >= 20 && s.db.number(t, done) == n })
	took := time.Since(due)

	require.Equal(t, n, s.db.number(t, done))
	require.Equal(t, n, s.db.number(t, `SELECT count(*) FROM sandbox_charges WHERE invoice_id LIKE 'in_sub_bench_%'`), "each charged once")
	most := s.db.number(t, `SELECT coalesce(max(n), 0) FROM (SELECT count(*) AS n FROM sandbox_charges WHERE invoice_id LIKE 'in_sub_bench_%'
		GROUP BY floor(extract(epoch FROM created_at) / 5)) w`)
	// A window may begin with the tasks that the bucket has saved up.
	require.LessOrEqual(t, most, renewalRate*(perWindow+2), "charges within %d s", perWindow)
	s.requireBooks(t)

	table := fmt.Sprintf("%d renewals due at one instant (%d of them started late): all paid %.0f s later, at most %d charges in %d s (limit %d/s)\n\n",
		n, late, took.Seconds(), most, perWindow, renewalRate)
	table += "| what | when | requests | p50 ms | p99 ms | slowest ms |\n|---|---|---|---|---|---|\n" +
		before.rows("before") + during.rows("during the renewals")
	t.Log("\n" + table)
	if *renewalDocument != "" {
		require.NoError(t, os.WriteFile(*renewalDocument, []byte(fmt.Sprintf(renewalText, runtime.NumCPU(), table)), 0o600))
	}
}

const renewalText = `# Renewals at one instant

` + "`make bench-renewals`" + ` wrote this file. %d cores run everything: Postgres, Temporal in memory, one API, one worker, the load. The
provider is the sandbox; its rate is the default of ` + "`GATEHOUSE_PAYMENT_RATE`" + `. One client signs up and logs in, one request after the
other, before the renewals and while they run.

%s`

// seedRenewals makes payers whose paid month ends at one instant.
func (s *system) seedRenewals(t *testing.T, n int, due time.Time) {
	t.Helper()
	for _, statement := range []string{
		`INSERT INTO accounts (id, email, email_verified_at) SELECT gen_random_uuid(), 'bench' || i || '@example.com', now() FROM generate_series(1, $1) i`,
		`INSERT INTO credits (account_id) SELECT id FROM accounts WHERE email LIKE 'bench%' AND $1 > 0`,
		`INSERT INTO sandbox_methods (id, customer, test_id) SELECT 'pm_' || email, 'cus_' || email, 'pm_card_visa' FROM accounts WHERE email LIKE 'bench%' AND $1 > 0`,
		`INSERT INTO payment_methods (provider, id, account_id, customer) SELECT 'sandbox', 'pm_' || email, id, 'cus_' || email FROM accounts
			WHERE email LIKE 'bench%' AND $1 > 0`,
	} {
		s.db.changeMany(t, statement, n)
	}
	s.db.changeMany(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, method_id, period_start, period_end, anchor)
		SELECT 'sub_bench_' || substr(split_part(email, '@', 1), 6), id, 'premium_monthly', 'active', 'pm_' || email,
			$1::timestamptz - interval '1 month', $1, $1 FROM accounts WHERE email LIKE 'bench%'`, due)
	s.db.changeMany(t, `INSERT INTO subscription_events (subscription_id, version, key, event, status, at)
		SELECT id, 1, 'open', 'paid', 'active', now() FROM subscriptions WHERE id LIKE 'sub_bench_%'`)
}

// startRenewals starts the flows, and returns how many came after they were due.
func (s *system) startRenewals(t *testing.T, n int, due time.Time) (late int) {
	t.Helper()
	keys, err := durable.NewKeyring(s.stack.Setting("GATEHOUSE_CODEC_KEYS"))
	require.NoError(t, err)
	client, err := durable.Dial(durable.Options{
		Address: s.stack.TemporalAddress, Namespace: s.stack.Namespace, Keyring: keys, Logger: slog.New(slog.DiscardHandler), Timeout: 15 * time.Second,
	})
	require.NoError(t, err)
	defer client.Close()
	next := make(chan string)
	var all sync.WaitGroup
	var mu sync.Mutex
	for range 16 {
		all.Go(func() {
			for id := range next {
				err := client.Start(context.WithoutCancel(t.Context()), durable.Start{
					WorkflowID: workflows.SubscriptionWorkflowID(id), Workflow: workflows.SubscriptionWorkflow, Queue: durable.QueueBilling,
					Input: workflows.SubscriptionFlow{SubscriptionID: id},
				})
				mu.Lock()
				if err != nil {
					t.Errorf("start %s: %v", id, err)
				}
				if time.Now().After(due) {
					late++
				}
				mu.Unlock()
			}
		})
	}
	for i := range n {
		next <- fmt.Sprintf("sub_bench_%d", i+1)
	}
	close(next)
	all.Wait()
	return late
}

// latencies are how long requests took, by what they asked for.
type latencies map[string][]time.Duration

// interactive signs up and logs in, one after the other, until enough is known.
func (s *system) interactive(t *testing.T, email string, enough func(rounds int) bool) latencies {
	t.Helper()
	took := latencies{}
	other := s.tolerant(t)
	measure := func(name string, in call) {
		began := time.Now()
		got := other.send(t, in)
		took[name] = append(took[name], time.Since(began))
		if got.Status != http.StatusOK {
			took[name+" (not 200)"] = append(took[name+" (not 200)"], time.Since(began))
		}
	}
	for rounds := 0; ; rounds++ {
		measure("C08 sign up", call{Path: pathInitiateSignup, Body: fields{"email": newEmail(), "password": password}})
		measure("C14 log in", call{Path: "/api/v1/auth/login", Body: fields{"email": email, "password": password}})
		if enough(rounds) {
			return took
		}
	}
}

func (l latencies) rows(when string) string {
	var names []string
	for name := range l {
		names = append(names, name)
	}
	slices.Sort(names)
	var out strings.Builder
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	for _, name := range names {
		all := slices.Sorted(slices.Values(l[name]))
		fmt.Fprintf(&out, "| %s | %s | %d | %.0f | %.0f | %.0f |\n", name, when, len(all), ms(all[len(all)/2]), ms(all[len(all)*99/100]), ms(all[len(all)-1]))
	}
	return out.String()
}
