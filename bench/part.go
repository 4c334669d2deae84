//go:build unix

package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// part of a run can be asked for alone: ONLY=reads,login.
type part struct {
	key, title string
	// shares is how many units of time it takes.
	shares float64
	run    func(ctx context.Context, unit time.Duration) error
	// report is its tables, verdicts its targets, failures what could not be measured.
	report   func() string
	verdicts func() []verdict
	failures func() []error
	// err is why it ended early.
	err error
}

// verdict is one target and what was found.
type verdict struct {
	// key and measure together name it: the earlier figures are known by them.
	key, measure  string
	target, found string
	met           bool
	// unknown is set when nothing was measured.
	unknown bool
}

// partOf is a part that is a matrix.
func partOf(key, title string, m *matrix, intro string) *part {
	return &part{
		key: key, title: title, shares: m.shares(), run: m.run, failures: m.failures, verdicts: m.verdicts,
		report: func() string {
			return intro + fmt.Sprintf("At %d connections:\n\n", many) + m.throughput() + "\nAt 1 connection:\n\n" + m.latency()
		},
	}
}

func (m *matrix) verdicts() []verdict {
	var all []verdict
	for i, s := range m.many {
		single := m.single[i]
		if g := s.goals.rate; g > 0 {
			all = append(all, s.ratioVerdict(measureRate, rateOf, fmt.Sprintf(">= %.2f", g), func(x float64) bool { return x >= g }))
		}
		if g := s.goals.p50; g > 0 {
			all = append(all, single.ratioVerdict(measureP50, medianOf, fmt.Sprintf("<= %.1f", g), func(x float64) bool { return x <= g }))
		}
		if g := s.goals.p99; g > 0 {
			v := verdict{key: s.key, measure: measureP99, target: fmt.Sprintf("< %d ms", g.Milliseconds()), unknown: !single.known()}
			if single.known() {
				v.found, v.met = millis(single.p99())+" ms", single.p99() < g
			}
			all = append(all, v)
		}
	}
	return all
}

// What the targets are about.
const (
	measureRate = "requests/s of the limit's, 32 connections"
	measureP50  = "p50 of the limit's, 1 connection"
	measureP99  = "p99, 1 connection"
)

// ratioOf is the median of the ratios, and whether there is one.
func (s *series) ratioOf(value func(sample) float64) (ratio float64, known bool) {
	ratios := s.ratios(value)
	if len(ratios) == 0 {
		return 0, false
	}
	return median(ratios), true
}

func (s *series) ratioVerdict(measure string, value func(sample) float64, target string, good func(float64) bool) verdict {
	ratio, known := s.ratioOf(value)
	v := verdict{key: s.key, measure: measure, target: target, unknown: !known}
	if known {
		v.found, v.met = two(ratio), good(ratio)
	}
	return v
}

func (v verdict) cells() []string {
	found, met := v.found, yesNo(v.met)
	if v.unknown {
		found, met = "not measured", "no"
	}
	return []string{v.key, v.measure, v.target, earlier(v.key, v.measure), found, met}
}

// targetTable is the table of all that were to be reached.
func targetTable(parts []*part) string {
	rows := [][]string{{"operation", "measure", "target", "before", "now", "met"}}
	var all []verdict
	for _, p := range parts {
		for _, v := range p.verdicts() {
			all, rows = append(all, v), append(rows, v.cells())
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "## Targets\n\n" + table(rows) + "\n" + reasonsOf(all)
}

// section is what a part found.
func (p *part) section() string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "## %s\n\n", p.title)
	if p.err != nil {
		_, _ = fmt.Fprintf(&b, "**This part failed: %s.** What is below is what it had found until then.\n\n", oneLine(p.err))
	}
	b.WriteString(p.report())
	failed := map[string]int{}
	var order []string
	for _, err := range p.failures() {
		text := oneLine(err)
		if failed[text] == 0 {
			order = append(order, text)
		}
		failed[text]++
	}
	if len(order) > 0 {
		b.WriteString("\nWhat failed:\n\n")
		for _, text := range order {
			_, _ = fmt.Fprintf(&b, "- %s%s\n", text, often(failed[text]))
		}
	}
	return b.String() + "\n"
}

func often(times int) string {
	if times == 1 {
		return ""
	}
	return fmt.Sprintf(" (%d times)", times)
}

func oneLine(err error) string {
	text := strings.Join(strings.Fields(err.Error()), " ")
	return text[:min(len(text), 300)]
}

// chosen are the parts whose keys are in only, all when it is empty.
func chosen(parts []*part, only string) ([]*part, error) {
	if only == "" {
		return parts, nil
	}
	var out []*part
	for key := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(parts, func(p *part) bool { return p.key == strings.TrimSpace(key) })
		if i < 0 {
			var known []string
			for _, p := range parts {
				known = append(known, p.key)
			}
			return nil, fmt.Errorf("no part %q; there are: %s", key, strings.Join(known, ", "))
		}
		out = append(out, parts[i])
	}
	return out, nil
}
