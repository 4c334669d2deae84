package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

// A catalogue is good in every plan or names what is at fault; whatever is taken can be billed.
func FuzzReadPlans(f *testing.F) {
	shipped, err := os.ReadFile("../../deploy/plans.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(shipped))
	for _, seed := range []string{
		"", "plans: []", "plans: 3", "plans: [{id: a, code: b, name: c, amount: 0}]", "plans: [{id: a, code: b, name: c, amount: 9.99}]",
		"a: &a [*a]", "plans: [{id: a, code: b, name: c, amount: 0x7fffffffffffffff}]", "plans: [{id: a, code: b, name: c, amount: 1, interval_count: 99999999999999999999}]",
		"plans: [{id: a, code: \"b\\0\", name: c, amount: 1}]", "--- {}\n--- {}", "plans: [{<<: {id: a}}]", "\xff", strings.Repeat("[", 1000),
		"plans: [{id: a, code: b, name: c, amount: 1, interval: year, interval_count: 1000}]",
	} {
		f.Add(seed)
	}
	anchor := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		plans, err := readPlans(strings.NewReader(text), false)
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, p := range plans {
			if fault := p.Fault(); fault != "" || seen[p.ID] {
				t.Fatalf("%+v was taken: %s", p, fault)
			}
			seen[p.ID] = true
			if strings.ContainsRune(p.Code+p.Name+p.Family+strings.Join(p.Features, ""), 0) {
				t.Fatalf("%+v holds NUL, which no row can", p)
			}
			end := p.Interval.After(anchor, anchor)
			if !end.After(anchor) || p.Interval.After(anchor, end).Before(end) || p.Interval.Months() < 1 {
				t.Fatalf("%+v has no period: %s", p, end)
			}
		}
	})
}
