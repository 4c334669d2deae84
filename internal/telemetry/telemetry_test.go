package telemetry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/internal/telemetry"
	"gatehouse/store"
)

type clock struct{ now time.Time }

func (c *clock) Now() time.Time { return c.now }

func started() *clock { return &clock{time.Unix(1_800_000_000, 0)} }

func TestPoolAndHasher(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	telemetry.Pool(r, func() store.PoolUse {
		return store.PoolUse{Max: 16, Open: 5, InUse: 3, Acquired: 100, Waited: 7, Canceled: 2, Waiting: 1500 * time.Millisecond}
	})
	telemetry.Hasher(r, func() secret.HashUse { return secret.HashUse{Slots: 2, InUse: 1, Queue: 64, Waiting: 4, Refused: 9} })
	require.Equal(t, map[string]float64{
		"gatehouse_db_pool_max_connections": 16, "gatehouse_db_pool_connections": 5, "gatehouse_db_pool_in_use": 3,
		"gatehouse_db_pool_acquires_total": 100, "gatehouse_db_pool_waits_total": 7, "gatehouse_db_pool_canceled_waits_total": 2,
		"gatehouse_db_pool_wait_seconds_total": 1.5,
		"gatehouse_hash_slots":                 2, "gatehouse_hash_slots_in_use": 1, "gatehouse_hash_queue_size": 64, "gatehouse_hash_waiting": 4,
		"gatehouse_hash_refusals_total": 9,
	}, values(t, r))
	lint(t, r)
}

func TestMeter_EveryCountBeginsAtZero(t *testing.T) {
	t.Parallel()
	r := prometheus.NewPedanticRegistry()
	m := telemetry.NewMeter(r)
	before := values(t, r)
	for name, value := range before {
		require.Zero(t, value, name)
	}
	m.Limited(account.LimitLogin)
	m.Guessed(account.PurposeReset, account.GuessWrong)
	m.Alerted(account.AlertCodeGuessing)
	m.Tried(account.ChannelSMS, account.SendFailed)
	m.Hooked(account.WebhookDead)
	m.Charged(account.ChargeDeclined)
	m.Found(account.Finding{Kind: account.FindingOverdue, Repaired: false})
	after := values(t, r)
	require.Len(t, after, len(before), "no event brings a new series: an alert would not see it rise")
	for _, name := range []string{
		`gatehouse_rate_limited_total{limit="login"}`, `gatehouse_code_guesses_total{purpose="reset",result="wrong"}`,
		`gatehouse_alerts_total{alert="code_guessing"}`, `gatehouse_message_attempts_total{channel="sms",result="failed"}`,
		`gatehouse_charge_attempts_total{result="declined"}`, `gatehouse_webhook_attempts_total{state="dead"}`,
		`gatehouse_billing_findings_total{kind="overdue",repaired="false"}`,
	} {
		require.InDelta(t, 1, after[name], 0, name)
	}
	lint(t, r)
}

func TestSweeps(t *testing.T) {
	t.Parallel()
	r, c := prometheus.NewPedanticRegistry(), started()
	sweeps := telemetry.NewSweeps(r, c)
	var outcome error
	sweep := sweeps.Watch("expired", func(context.Context) error {
		c.now = c.now.Add(2 * time.Second)
		return outcome
	})
	const last, failures = `gatehouse_sweep_last_success_timestamp_seconds{sweep="expired"}`, `gatehouse_sweep_failures_total{sweep="expired"}`
	require.InDelta(t, 1_800_000_000, values(t, r)[last], 0, "a sweep that never ends is seen, too")
	require.NoError(t, sweep(t.Context()))
	require.InDelta(t, 1_800_000_002, values(t, r)[last], 0)
	outcome = errors.New("no")
	require.ErrorIs(t, sweep(t.Context()), outcome)
	require.InDelta(t, 1_800_000_002, values(t, r)[last], 0)
	require.InDelta(t, 1, values(t, r)[failures], 0)
	stopping, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, sweep(stopping), outcome)
	require.InDelta(t, 1, values(t, r)[failures], 0, "a sweep that was cut off by the end of the process has not failed")
	lint(t, r)
}

func TestSamples(t *testing.T) {
	t.Parallel()
	r, c := prometheus.NewPedanticRegistry(), started()
	s := telemetry.NewSamples(r, c, time.Minute)
	require.Empty(t, values(t, r), "nobody has looked yet")
	sample := account.Sample{
		At: c.now, Backlogs: []account.Backlog{{Of: "messages", Count: 3, Oldest: 90 * time.Second}},
		Messages:      []account.MessageCount{{Channel: account.ChannelEmail, State: "queued", Count: 3}},
		Subscriptions: []account.SubscriptionCount{{Status: account.SubscriptionActive, Count: 8}},
		FlowsKnown:    true, Flows: []account.FlowCount{{Kind: "signup", Stage: "ending", Count: 2}},
		FlowsLate: map[string]int64{"signup": 1}, FlowsStuck: 4,
	}
	s.Keep(sample)
	all := map[string]float64{
		"gatehouse_sample_timestamp_seconds": 1_800_000_000, `gatehouse_backlog{of="messages"}`: 3,
		`gatehouse_backlog_oldest_seconds{of="messages"}`: 90, `gatehouse_messages{channel="email",state="queued"}`: 3,
		`gatehouse_subscriptions{status="active"}`: 8, `gatehouse_flows{kind="signup",stage="ending"}`: 2,
		`gatehouse_flows_late{kind="signup"}`: 1, "gatehouse_flows_with_problems": 4,
	}
	shown := values(t, r)
	require.Subset(t, shown, all)
	for name, value := range shown {
		if _, counted := all[name]; !counted {
			require.Zero(t, value, name)
		}
	}
	require.Contains(t, shown, `gatehouse_messages{channel="push",state="dead"}`)
	require.Contains(t, shown, `gatehouse_subscriptions{status="paused"}`)
	require.NotContains(t, shown, `gatehouse_subscriptions{status="canceled"}`)
	lint(t, r)

	sample.FlowsKnown = false
	s.Keep(sample)
	require.NotContains(t, values(t, r), "gatehouse_flows_with_problems", "what is not known is not zero")
	c.now = c.now.Add(61 * time.Second)
	require.Empty(t, values(t, r), "an old sample hides that nobody looks")
	c.now = c.now.Add(-time.Minute)
	require.NotEmpty(t, values(t, r))
	s.Drop()
	require.Empty(t, values(t, r))
}

// values are the values of all series of a registry but histograms, by name and labels.
func values(t *testing.T, r *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := r.Gather()
	require.NoError(t, err)
	all := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if m.GetHistogram() != nil {
				continue
			}
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+`="`+l.GetValue()+`"`)
			}
			name := f.GetName()
			if len(labels) > 0 {
				name += "{" + strings.Join(labels, ",") + "}"
			}
			all[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	return all
}

// lint holds names and help texts to the conventions of Prometheus.
func lint(t *testing.T, r *prometheus.Registry) {
	t.Helper()
	problems, err := testutil.GatherAndLint(r)
	require.NoError(t, err)
	require.Equal(t, []promlint.Problem(nil), problems)
}
