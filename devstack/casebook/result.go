package casebook

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// Result is what one test reports of the cases it covers.
type Result struct {
	Test  string   `json:"test"`
	Cases []string `json:"cases"`
	// Outcome is Passed, Failed or Skipped.
	Outcome Outcome `json:"outcome"`
	// Rounds is how often what the test tries was repeated, Calls how many requests it sent.
	Rounds int `json:"rounds"`
	Calls  int `json:"calls"`
	// Took is how long it ran.
	Took time.Duration `json:"took"`
}

// Outcome is how a test, or all tests of a case, ended.
type Outcome string

// The outcomes. A case of which no test reported is Missing.
const (
	Passed  Outcome = "pass"
	Failed  Outcome = "FAIL"
	Skipped Outcome = "skip"
	Missing Outcome = "MISSING"
)

// Append adds a result to a file, which is made when it is not there. Many processes may append at once.
func Append(path string, r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("results of cases: %w", err)
	}
	file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600) //nolint:gosec // the developer names the file
	if err != nil {
		return fmt.Errorf("results of cases: %w", err)
	}
	_, err = file.Write(append(line, '\n'))
	if closed := file.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("results of cases: %w", err)
	}
	return nil
}

// ReadResults reads what Append wrote.
func ReadResults(from io.Reader) ([]Result, error) {
	var all []Result
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var r Result
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			return nil, fmt.Errorf("results of cases: line %d: %w", len(all)+1, err)
		}
		all = append(all, r)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("results of cases: %w", err)
	}
	return all, nil
}

// Line is a case with all that was reported of it.
type Line struct {
	Case
	Outcome Outcome
	// Tests are the names of those that covered it, in order.
	Tests []string
	// Rounds is the most of any one test, Calls the sum of all.
	Rounds, Calls int
}

// Judge lines the cases of a suite up with the results. A case fails when any of its tests failed, and is skipped when none ran.
func (b Book) Judge(suite string, results []Result) []Line {
	lines := make([]Line, 0, len(b[suite]))
	for _, c := range b[suite] {
		line := Line{Case: c, Outcome: Missing}
		for _, r := range results {
			if !slices.Contains(r.Cases, c.ID) {
				continue
			}
			line.Tests = append(line.Tests, r.Test)
			line.Rounds = max(line.Rounds, r.Rounds)
			line.Calls += r.Calls
			line.Outcome = worse(line.Outcome, r.Outcome)
		}
		slices.Sort(line.Tests)
		lines = append(lines, line)
	}
	return lines
}

// worse is what two outcomes of one case come to: a failure stays one, a test that ran counts before one that did not.
func worse(a, b Outcome) Outcome {
	for _, o := range []Outcome{Failed, Passed, Skipped} {
		if a == o || b == o {
			return o
		}
	}
	return Missing
}

// Shown reports whether a line is as it must be: passed, or not to be shown here.
func (l Line) Shown() bool { return l.Outcome == Passed || l.Elsewhere != "" && l.Outcome != Failed }
