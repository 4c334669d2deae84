//go:build unix

package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const (
	// renewalRate is GATEHOUSE_PAYMENT_RATE as it is by default: charges a second.
	renewalRate = 20
	// drainSlack is how much longer than at that rate the renewals may take, drainPatience how much longer is waited for them.
	drainSlack, drainPatience = 1.25, 3 * time.Minute
	idleFactor                = 2.0
	// renewalShares are set aside for this part, which takes its time in seconds.
	renewalShares = 12
	keyRenewals   = "renewals"
	measureDrain  = "charges/s against the configured rate"
	measureOthers = "p99 of sign-ups against idle, 1 connection"
	// bearable is the share of what the machine makes at its most that the second wave is configured for, waveLasts how long it
	// ought to take in seconds. Idle is measured as long: of fewer requests the slowest in a hundred would not be as slow.
	bearable, waveLasts = 0.5, 20
)

// renewing is the part in which many subscriptions renew at one instant: at the rate that is configured by default, and then at one
// that leaves the machine room for others.
type renewing struct {
	*flowing

	idle  *series
	waves []*wave
}

// wave is n subscriptions that renew at one instant, at most rate charges a second.
type wave struct {
	key     string
	n, rate int
	during  *series
	took    time.Duration
}

func (f *flowing) renewing() *part {
	of := func(name string) *series {
		return &series{connections: 1, operation: operation{
			key: keyInitiate, name: name, server: f.api, helpers: []*server{f.worker}, supply: fresh(initiate),
		}}
	}
	r := &renewing{flowing: f, idle: of(keyInitiate + ", nothing renews"), waves: []*wave{
		{key: keyRenewals + ", the default rate", n: f.renewals, rate: renewalRate, during: of("the same, during the renewals")},
		{key: keyRenewals + ", half of what this machine makes", during: of("the same, during renewals at half of what this machine makes")},
	}}
	return &part{
		key: "renewals", title: "Renewals at one instant", shares: renewalShares, run: r.run, report: r.report, verdicts: r.verdicts,
		failures: func() []error { return append(r.idle.failures(), r.failures()...) },
	}
}

func (r *renewing) failures() (all []error) {
	for _, w := range r.waves {
		all = append(all, w.during.failures()...)
	}
	return all
}

func (r *renewing) run(ctx context.Context, unit time.Duration) error {
	if err := r.settle(ctx); err != nil {
		return err
	}
	r.idle.share = shareOf(waveLasts*time.Second, unit)
	r.idle.measure(ctx, unit)
	most, gentle := r.waves[0], r.waves[1]
	if err := r.roll(ctx, unit, most); err != nil {
		return err
	}
	gentle.rate = max(int(bearable*float64(most.n)/most.took.Seconds()), 1)
	gentle.n = gentle.rate * waveLasts
	return r.roll(ctx, unit, gentle)
}

// roll has the subscriptions of a wave renew, and people sign up meanwhile.
func (r *renewing) roll(ctx context.Context, unit time.Duration, w *wave) error {
	if err := r.restartWorker(ctx, map[string]string{paymentRate: fmt.Sprint(w.rate)}); err != nil {
		return err
	}
	if err := r.settle(ctx); err != nil {
		return err
	}
	// All flows must wait when the moment comes; starting one takes up to 30 ms on a machine that is busy with the ones before.
	due := clock.Now().Add(10*time.Second + time.Duration(w.n)*45*time.Millisecond).Truncate(time.Second)
	if err := r.open(ctx, due, w.n); err != nil {
		return err
	}
	if clock.Now().After(due) {
		return fmt.Errorf("starting %d flows took too long: some were late", w.n)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(due.Sub(clock.Now())):
	}
	expected := time.Duration(float64(w.n) / float64(w.rate) * float64(time.Second))
	w.during.share = shareOf(expected, unit)
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		w.during.measure(ctx, unit)
		return nil
	})
	group.Go(func() error { return r.await(ctx, w, due, expected+drainPatience) })
	return group.Wait()
}

func shareOf(d, unit time.Duration) float64 { return float64(d) / float64(unit) }

// open makes payers whose paid month ends at one instant, and starts the flows of their subscriptions.
func (r *renewing) open(ctx context.Context, due time.Time, n int) error {
	if _, err := r.db.Exec(ctx, `DROP TABLE IF EXISTS renewers`); err != nil {
		return fmt.Errorf("forget the last wave: %w", err)
	}
	for _, statement := range []string{
		`CREATE TEMPORARY TABLE renewers AS SELECT account_id AS id, 'pm_renew_' || account_id AS method, 'sub_renew_' || account_id AS sub
			FROM settings s WHERE NOT EXISTS (SELECT FROM subscriptions o WHERE o.account_id = s.account_id)
			ORDER BY account_id DESC LIMIT $1`,
		`INSERT INTO sandbox_methods (id, customer, test_id) SELECT method, 'cus_' || id, 'pm_card_visa' FROM renewers LIMIT $1`,
		`INSERT INTO payment_methods (provider, id, account_id, customer) SELECT 'sandbox', method, id, 'cus_' || id FROM renewers LIMIT $1`,
	} {
		if _, err := r.db.Exec(ctx, statement, n); err != nil {
			return fmt.Errorf("make payers: %w\n%s", err, statement)
		}
	}
	_, err := r.db.Exec(ctx, `INSERT INTO subscriptions (id, account_id, plan_id, status, method_id, period_start, period_end, anchor)
		SELECT sub, id, $2, 'active', method, $1::timestamptz - interval '1 month', $1, $1 FROM renewers`, due, premiumPlan)
	if err != nil {
		return fmt.Errorf("make subscriptions: %w", err)
	}
	_, err = r.db.Exec(ctx, `INSERT INTO subscription_events (subscription_id, version, key, event, status, at)
		SELECT sub, 1, 'open', 'paid', 'active', now() FROM renewers`)
	if err != nil {
		return fmt.Errorf("make subscriptions: %w", err)
	}
	rows, err := r.db.Query(ctx, `SELECT sub FROM renewers`)
	if err != nil {
		return fmt.Errorf("read subscriptions: %w", err)
	}
	var ids []string
	for rows.Next() {
		var id string
		if err := rows.Scan(&id); err != nil {
			return err
		}
		ids = append(ids, id)
	}
	if rows.Err() != nil {
		return rows.Err()
	}
	return r.startAll(ctx, ids)
}

func (r *renewing) startAll(ctx context.Context, ids []string) error {
	ring, err := durable.NewKeyring(r.codecKeys)
	if err != nil {
		return err
	}
	flows, err := durable.Dial(durable.Options{
		Address: r.temporal, Namespace: namespace, Keyring: ring, Logger: slog.New(slog.DiscardHandler), Timeout: patience,
	})
	if err != nil {
		return err
	}
	defer flows.Close()
	var next atomic.Int64
	group, ctx := errgroup.WithContext(ctx)
	for range 16 {
		group.Go(func() error {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(ids) {
					return nil
				}
				err := flows.Start(ctx, durable.Start{
					WorkflowID: workflows.SubscriptionWorkflowID(ids[i]), Workflow: workflows.SubscriptionWorkflow, Queue: durable.QueueBilling,
					Input: workflows.SubscriptionFlow{SubscriptionID: ids[i]},
				})
				if err != nil {
					return fmt.Errorf("start %s: %w", ids[i], err)
				}
			}
		})
	}
	return group.Wait()
}

// await waits until all are paid.
func (r *renewing) await(ctx context.Context, w *wave, due time.Time, most time.Duration) error {
	for {
		var paid int
		err := r.db.QueryRow(ctx, `SELECT count(*) FROM invoices WHERE subscription_id IN (SELECT sub FROM renewers) AND status = 'paid'`).Scan(&paid)
		if err != nil {
			return fmt.Errorf("count what is paid: %w", err)
		}
		took := clock.Now().Sub(due)
		switch {
		case paid >= w.n:
			w.took = took
			return nil
		case took > most:
			return fmt.Errorf("after %s only %d of %d were paid", took.Round(time.Second), paid, w.n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// share is that of the configured rate at which charges were made.
func (w *wave) share() float64 { return float64(w.n) / w.took.Seconds() / float64(w.rate) }

func (r *renewing) verdicts() (all []verdict) {
	for _, w := range r.waves {
		drain := verdict{key: w.key, measure: measureDrain, target: ">= " + two(1/drainSlack), unknown: w.took == 0}
		if !drain.unknown {
			drain.found, drain.met = two(w.share()), w.share() >= 1/drainSlack
		}
		others := verdict{key: w.key, measure: measureOthers, target: "<= 2.0", unknown: !r.idle.known() || !w.during.known()}
		if !others.unknown {
			ratio := float64(w.during.p99()) / float64(r.idle.p99())
			others.found, others.met = two(ratio), ratio <= idleFactor
		}
		all = append(all, drain, others)
	}
	return all
}

func (r *renewing) report() string {
	row := func(s *series) []string {
		if !s.known() {
			return absent(s.name, 4)
		}
		return []string{s.name, millis(s.p50()), millis(s.p99()), fmt.Sprint(s.samples[0].requests)}
	}
	var text strings.Builder
	lines := [][]string{{"what", "p50 ms", "p99 ms", "requests"}, row(r.idle)}
	for _, w := range r.waves {
		drained := notMeasured
		if w.took > 0 {
			drained = fmt.Sprintf("all paid %.1f s later, %.0f charges a second", w.took.Seconds(), float64(w.n)/w.took.Seconds())
		}
		fmt.Fprintf(&text, "%d subscriptions due at one instant, the sandbox as provider, at most %d charges a second: %s.\n", w.n, w.rate, drained)
		lines = append(lines, row(w.during))
	}
	return text.String() + "\n" + table(lines)
}
