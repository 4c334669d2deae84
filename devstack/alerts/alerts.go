// Package alerts evaluates the alert rules of deploy/prometheus as Prometheus does, on samples that a test gives. It serves
// tests alone.
package alerts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/model/value"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/rules"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/util/teststorage"
)

// Step is the time between two scrapes, and between two evaluations of a rule.
const Step = 15 * time.Second

var grammar = parser.NewParser(parser.Options{})

// Rule is an alert rule as its file has it.
type Rule struct {
	Group string
	rulefmt.Rule
}

// Rules reads a file of rules as strictly as Prometheus does.
func Rules(file string) ([]Rule, error) {
	groups, faults := rulefmt.ParseFile(file, false, model.UTF8Validation, grammar)
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	var all []Rule
	for _, g := range groups.Groups {
		for _, r := range g.Rules {
			all = append(all, Rule{g.Name, r})
		}
	}
	return all, nil
}

// Panel is what one panel of a dashboard asks.
type Panel struct {
	ID     int
	Title  string
	Exprs  []string
	Source string
}

// Panels reads the panels of a Grafana dashboard, those that sit in rows as well. Rows themselves ask nothing.
func Panels(file string) ([]Panel, error) {
	raw, err := os.ReadFile(file) //nolint:gosec // a file of the repository
	if err != nil {
		return nil, err
	}
	type panel struct {
		ID         int    `json:"id"`
		Title      string `json:"title"`
		Type       string `json:"type"`
		Datasource struct {
			UID string `json:"uid"`
		} `json:"datasource"`
		Targets []struct {
			Expr string `json:"expr"`
		} `json:"targets"`
	}
	var board struct {
		Panels []struct {
			panel

			Panels []panel `json:"panels"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(raw, &board); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	var all []Panel
	add := func(p panel) {
		if p.Type == "row" {
			return
		}
		one := Panel{ID: p.ID, Title: p.Title, Source: p.Datasource.UID}
		for _, t := range p.Targets {
			one.Exprs = append(one.Exprs, strings.ReplaceAll(t.Expr, "$__rate_interval", "5m"))
		}
		all = append(all, one)
	}
	for _, p := range board.Panels {
		add(p.panel)
		for _, inner := range p.Panels {
			add(inner)
		}
	}
	return all, nil
}

// Metrics are the names of the series that expressions ask for.
func Metrics(exprs ...string) ([]string, error) {
	names := map[string]bool{}
	for _, text := range exprs {
		expr, err := grammar.ParseExpr(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", text, err)
		}
		parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
			if v, ok := n.(*parser.VectorSelector); ok {
				names[v.Name] = true
			}
			return nil
		})
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Board is a Prometheus with its rules, whose clock is the test's.
type Board struct {
	t     testing.TB
	db    *teststorage.TestStorage
	query rules.QueryFunc
	rules []*rules.AlertingRule
	// began is when the board's clock stood at the machine's, now where it stands.
	began, now time.Time
	seen       map[string]map[uint64]labels.Labels
}

// Open starts a board with the rules of a file, at a moment.
func Open(t testing.TB, file string, at time.Time) *Board {
	t.Helper()
	db := teststorage.New(t)
	b := &Board{t: t, db: db, began: at, now: at, seen: map[string]map[uint64]labels.Labels{}}
	b.query, b.rules = evaluated(t, db, file)
	return b
}

func evaluated(t testing.TB, db storage.Queryable, file string) (rules.QueryFunc, []*rules.AlertingRule) {
	t.Helper()
	written, err := Rules(file)
	if err != nil {
		t.Fatal(err)
	}
	engine := promql.NewEngine(promql.EngineOpts{
		Logger: slog.New(slog.DiscardHandler), MaxSamples: 1e6, Timeout: time.Minute, Parser: grammar,
	})
	t.Cleanup(func() { _ = engine.Close() })
	all := make([]*rules.AlertingRule, 0, len(written))
	for _, r := range written {
		expr, err := grammar.ParseExpr(r.Expr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rules.NewAlertingRule(r.Alert, expr, time.Duration(r.For), time.Duration(r.KeepFiringFor), labels.FromMap(r.Labels),
			labels.FromMap(r.Annotations), labels.EmptyLabels(), "", true, slog.New(slog.DiscardHandler)))
	}
	return rules.EngineQueryFunc(engine, db), all
}

// Scrape keeps what an instance tells at the board's present; nil is an instance that does not answer. Moments that it tells
// are moved with the board's clock, so that they keep their age.
func (b *Board) Scrape(instance string, text []byte) {
	b.t.Helper()
	before, now := b.seen[instance], map[uint64]labels.Labels{}
	b.seen[instance] = now
	samples := b.db.Appender(b.t.Context())
	put := func(series labels.Labels, v float64) {
		if _, err := samples.Append(0, series, b.now.UnixMilli(), v); err != nil {
			b.t.Fatal(err)
		}
	}
	for series, v := range parsed(b.t, instance, text) {
		if strings.HasSuffix(series.Get(model.MetricNameLabel), "_timestamp_seconds") {
			v += b.now.Sub(b.began).Seconds()
		}
		now[series.Hash()] = series
		put(series, v)
	}
	for hash, series := range before {
		if _, still := now[hash]; !still {
			put(series, math.Float64frombits(value.StaleNaN))
		}
	}
	if err := samples.Commit(); err != nil {
		b.t.Fatal(err)
	}
}

// parsed yields the series of an answer in the text format.
func parsed(t testing.TB, instance string, text []byte) func(yield func(labels.Labels, float64) bool) {
	t.Helper()
	return func(yield func(labels.Labels, float64) bool) {
		p, err := textparse.New(text, "text/plain", labels.NewSymbolTable(), textparse.ParserOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for {
			entry, err := p.Next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if entry != textparse.EntrySeries {
				continue
			}
			_, _, v := p.Series()
			var series labels.Labels
			p.Labels(&series)
			if !yield(labels.NewBuilder(series).Set("instance", instance).Labels(), v) {
				return
			}
		}
	}
}

// Advance evaluates every rule at the board's present, moves its clock on by one step, and returns the names of the alerts
// that fire, each once.
func (b *Board) Advance() []string {
	b.t.Helper()
	firing := fire(b.t, b.rules, b.query, b.now)
	b.now = b.now.Add(Step)
	return firing
}

func fire(t testing.TB, all []*rules.AlertingRule, query rules.QueryFunc, at time.Time) []string {
	t.Helper()
	var firing []string
	for _, r := range all {
		if _, err := r.Eval(t.Context(), 0, at, query, nil, 0); err != nil {
			t.Fatalf("%s: %v", r.Name(), err)
		}
		r.SetEvaluationTimestamp(at)
		if r.State() == rules.StateFiring {
			firing = append(firing, r.Name())
		}
	}
	return firing
}

// Names are the metrics that an answer in the text format tells.
func Names(t testing.TB, text []byte) []string {
	t.Helper()
	names := map[string]bool{}
	for series := range parsed(t, "", text) {
		names[series.Get(model.MetricNameLabel)] = true
	}
	return slices.Sorted(maps.Keys(names))
}
