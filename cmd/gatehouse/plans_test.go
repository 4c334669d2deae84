package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestTheShippedCatalogueCanBeRead(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../../deploy/plans.yaml")
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	plans, err := readPlans(file, false)
	require.NoError(t, err)
	require.Len(t, plans, 3)
	require.True(t, plans[0].Free)
	require.Equal(t, account.Money{Amount: 2900, Currency: "usd"}, plans[2].Price)
	require.Equal(t, account.Interval{Unit: account.IntervalMonth, Count: 1}, plans[2].Interval)
	require.Equal(t, account.MainFamily, plans[2].Family)
}

func TestPlansAtFaultAreNamed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, fault string }{
		"nothing":       {"plans: []", "no plans"},
		"not a list":    {"plans: 3", "cannot be read"},
		"unknown field": {"plans: [{id: a, prize: 3}]", "prize"},
		"no name":       {"plans: [{id: a, code: b, amount: 1}]", `plan 1 ("a") needs a code and a name`},
		"negative":      {"plans: [{id: a, code: b, name: c, amount: -1}]", "amount"},
		"fraction":      {"plans: [{id: a, code: b, name: c, amount: 9.99}]", "cannot be read"},
		"currency":      {"plans: [{id: a, code: b, name: c, amount: 1, currency: dollars}]", "currency"},
		"interval":      {"plans: [{id: a, code: b, name: c, amount: 1, interval: fortnight}]", "interval"},
		"seconds":       {"plans: [{id: a, code: b, name: c, amount: 1, interval: second}]", "development"},
		"twice":         {"plans: [{id: a, code: b, name: c, amount: 1}, {id: a, code: b, name: c, amount: 1}]", "twice"},
		"trial":         {"plans: [{id: a, code: b, name: c, amount: 1, trial_days: 9999}]", "trial_days"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readPlans(strings.NewReader(c.text), false)
			require.ErrorContains(t, err, c.fault)
		})
	}
	_, err := readPlans(strings.NewReader("plans: [{id: a, code: b, name: c, amount: 1, interval: second}]"), true)
	require.NoError(t, err)
}
