package telemetry

import (
	"context"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"gatehouse/account"
)

// Meter counts what operations and activities meet. Each count begins at zero with the process, so that its first event is a
// rise that an alert sees.
type Meter struct {
	limited, guesses, alerts, attempts, charges, findings, hooks *prometheus.CounterVec
}

// NewMeter registers the counters. It panics when the registry has them already.
func NewMeter(registry prometheus.Registerer) *Meter {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(v)
		return v
	}
	m := &Meter{
		limited: counter("gatehouse_rate_limited_total", "Requests refused by a rate limit per client address.", "limit"),
		guesses: counter("gatehouse_code_guesses_total",
			"Codes that were tried: right, wrong, or refused because too many were guessed.", "purpose", "result"),
		alerts:   counter("gatehouse_alerts_total", "What the log tells with an attribute alert, at most once an hour for each cause.", "alert"),
		attempts: counter("gatehouse_message_attempts_total", "Messages handed to a provider: sent, dead (refused for good) or failed.", "channel", "result"),
		charges:  counter("gatehouse_charge_attempts_total", "Charges asked for: succeeded, declined, or unknown yet.", "result"),
		findings: counter("gatehouse_billing_findings_total",
			"What reconciliations found amiss; what was not repaired is an alarm.", "kind", "repaired"),
		hooks: counter("gatehouse_webhook_attempts_total",
			"Attempts to tell receivers of events, by how the delivery stands: delivered, waiting, dead, or owed (receiver disabled).", "state"),
	}
	for _, limit := range account.RateLimits() {
		m.limited.WithLabelValues(limit.Name)
	}
	for _, purpose := range account.Purposes() {
		for _, result := range []account.GuessResult{account.GuessRight, account.GuessWrong, account.GuessRefused} {
			m.guesses.WithLabelValues(string(purpose), string(result))
		}
	}
	for _, alert := range []string{account.AlertCodeGuessing, account.AlertWebhookDisabled} {
		m.alerts.WithLabelValues(alert)
	}
	for _, state := range []account.WebhookState{account.WebhookDelivered, account.WebhookWaiting, account.WebhookDead, account.WebhookOwed} {
		m.hooks.WithLabelValues(string(state))
	}
	for _, channel := range account.Channels() {
		for _, result := range []account.SendResult{account.SendSent, account.SendDead, account.SendFailed} {
			m.attempts.WithLabelValues(string(channel), string(result))
		}
	}
	for _, result := range []account.ChargeResult{account.ChargeSucceeded, account.ChargeDeclined, account.ChargeUnknown} {
		m.charges.WithLabelValues(string(result))
	}
	for _, repaired := range []bool{true, false} {
		for _, kind := range account.FindingKinds() {
			m.findings.WithLabelValues(string(kind), strconv.FormatBool(repaired))
		}
	}
	return m
}

// Limited counts a refusal by a rate limit.
func (m *Meter) Limited(limit account.RateLimit) { m.limited.WithLabelValues(limit.Name).Inc() }

// Guessed counts a code that was tried.
func (m *Meter) Guessed(purpose account.Purpose, result account.GuessResult) {
	m.guesses.WithLabelValues(string(purpose), string(result)).Inc()
}

// Alerted counts an event that the log holds for the operators' alarms.
func (m *Meter) Alerted(alert string) { m.alerts.WithLabelValues(alert).Inc() }

// Tried counts a message handed to a provider.
func (m *Meter) Tried(channel account.Channel, result account.SendResult) {
	m.attempts.WithLabelValues(string(channel), string(result)).Inc()
}

// Charged counts a charge that was asked for.
func (m *Meter) Charged(result account.ChargeResult) { m.charges.WithLabelValues(string(result)).Inc() }

// Found counts what a reconciliation found amiss.
func (m *Meter) Found(f account.Finding) {
	m.findings.WithLabelValues(string(f.Kind), strconv.FormatBool(f.Repaired)).Inc()
}

// Hooked counts an attempt to tell a receiver of an event, by how the delivery stands after it.
func (m *Meter) Hooked(state account.WebhookState) { m.hooks.WithLabelValues(string(state)).Inc() }

// Sweeps watches the sweeps of a worker.
type Sweeps struct {
	clock    account.Clock
	last     *prometheus.GaugeVec
	failures *prometheus.CounterVec
	took     *prometheus.HistogramVec
}

// NewSweeps registers the measures of sweeps. It panics when the registry has them already.
func NewSweeps(registry prometheus.Registerer, clock account.Clock) *Sweeps {
	s := &Sweeps{
		clock: clock,
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "gatehouse_sweep_last_success_timestamp_seconds", Help: "When a sweep last came to its end; at first when the process began.",
		}, []string{"sweep"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gatehouse_sweep_failures_total", Help: "Sweeps that failed; the next turn takes them up.",
		}, []string{"sweep"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "gatehouse_sweep_duration_seconds", Help: "Time a sweep took.", Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30, 60, 300},
		}, []string{"sweep"}),
	}
	registry.MustRegister(s.last, s.failures, s.took)
	return s
}

// Watch returns sweep, watched under a name.
func (s *Sweeps) Watch(name string, sweep func(context.Context) error) func(context.Context) error {
	s.last.WithLabelValues(name).Set(float64(s.clock.Now().Unix()))
	s.failures.WithLabelValues(name)
	return func(ctx context.Context) error {
		began := s.clock.Now()
		err := sweep(ctx)
		ended := s.clock.Now()
		s.took.WithLabelValues(name).Observe(ended.Sub(began).Seconds())
		switch {
		case err == nil:
			s.last.WithLabelValues(name).Set(float64(ended.Unix()))
		case ctx.Err() == nil:
			s.failures.WithLabelValues(name).Inc()
		}
		return err
	}
}
