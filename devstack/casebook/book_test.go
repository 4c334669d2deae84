package casebook_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/casebook"
)

func TestRead(t *testing.T) {
	t.Parallel()
	book, err := casebook.Read()
	require.NoError(t, err)
	require.True(t, book.Has("OTP-02"))
	require.True(t, book.Has("F-13"))
	require.True(t, book.Has("I-20"))
	require.False(t, book.Has("OTP-99"))
}

func TestJudge_AFailureOfOneTestIsTheCases(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "results")
	for _, r := range []casebook.Result{
		{Test: "TestB/two", Cases: []string{"OTP-01", "OTP-02"}, Outcome: casebook.Passed, Rounds: 50, Calls: 5000},
		{Test: "TestA", Cases: []string{"OTP-02"}, Outcome: casebook.Failed, Rounds: 3, Calls: 7},
		{Test: "TestC", Cases: []string{"OTP-03"}, Outcome: casebook.Skipped},
	} {
		require.NoError(t, casebook.Append(path, r))
	}
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	results, err := casebook.ReadResults(file)
	require.NoError(t, err)

	book := casebook.Book{casebook.Attacks: {
		{ID: "OTP-01", Tried: "one"},
		{ID: "OTP-02", Tried: "two"},
		{ID: "OTP-03", Tried: "three"},
		{ID: "OTP-04", Tried: "four"},
		{ID: "OTP-05", Tried: "five", Elsewhere: "no netem"},
	}}
	lines := book.Judge(casebook.Attacks, results)
	require.Equal(t, []bool{true, false, false, false, true},
		[]bool{lines[0].Shown(), lines[1].Shown(), lines[2].Shown(), lines[3].Shown(), lines[4].Shown()})
	require.Equal(t, casebook.Line{
		Case: book[casebook.Attacks][1], Outcome: casebook.Failed, Tests: []string{"TestA", "TestB/two"}, Rounds: 50, Calls: 5007,
	}, lines[1])
	require.Equal(t, casebook.Missing, lines[3].Outcome)

	var out bytes.Buffer
	require.NoError(t, casebook.Print(&out, casebook.Attacks, lines))
	require.Contains(t, out.String(), "attacks: 2 of 5")
	require.Contains(t, casebook.Markdown(lines, ""), "| OTP-02 | two | `TestA`, `TestB` | 50 | 5,007 | FAIL |")
	require.Contains(t, casebook.Markdown(lines, "0123abc"), "at commit `0123abc`.")
	require.NotContains(t, casebook.Markdown(lines, ""), "commit")
	require.Contains(t, casebook.Markdown(lines, "0123abc"), "not here: no netem")
}

func TestReplace(t *testing.T) {
	t.Parallel()
	changed, err := casebook.Replace("a\n<!-- faults: begin -->\nold\n<!-- faults: end -->\nb\n", casebook.Faults, "new\n")
	require.NoError(t, err)
	require.Equal(t, "a\n<!-- faults: begin -->\nnew\n<!-- faults: end -->\nb\n", changed)
	_, err = casebook.Replace("nothing", casebook.Faults, "new\n")
	require.Error(t, err)
}
