package casebook

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Print writes a line for each case, then how many were shown.
func Print(out io.Writer, suite string, lines []Line) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	shown := 0
	for _, l := range lines {
		if l.Shown() {
			shown++
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%d tests\t%d rounds\t%s calls\t%s\n",
			l.Outcome, l.ID, len(l.Tests), l.Rounds, thousands(l.Calls), first(l.Elsewhere, l.Tried))
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print cases: %w", err)
	}
	_, err := fmt.Fprintf(out, "%s: %d of %d\n", suite, shown, len(lines))
	if err != nil {
		return fmt.Errorf("print cases: %w", err)
	}
	return nil
}

// Markdown is the table of a document. It names the commit that was played, if that is known.
func Markdown(lines []Line, commit string) string {
	var out strings.Builder
	if commit != "" {
		fmt.Fprintf(&out, "One run, at commit `%s`.\n\n", commit)
	}
	out.WriteString("| case | what was tried | tests | rounds | calls | result |\n|---|---|---|--:|--:|---|\n")
	for _, l := range lines {
		result := string(l.Outcome)
		if l.Elsewhere != "" && l.Outcome != Passed {
			result = "not here: " + l.Elsewhere
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %d | %s | %s |\n",
			l.ID, l.Tried, strings.Join(named(l.Tests), ", "), l.Rounds, thousands(l.Calls), result)
	}
	return out.String()
}

// named are the tests without their subtests, each once.
func named(tests []string) []string {
	var names []string
	for _, test := range tests {
		name, _, _ := strings.Cut(test, "/")
		names = append(names, "`"+name+"`")
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Replace returns document with what stands between the two marks of a suite replaced. It fails when the marks are not there.
func Replace(document, suite, table string) (string, error) {
	begin, end := "<!-- "+suite+": begin -->\n", "<!-- "+suite+": end -->"
	before, rest, found := strings.Cut(document, begin)
	_, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		return "", fmt.Errorf("the document has no place for %s: %q and %q", suite, strings.TrimSpace(begin), end)
	}
	return before + begin + table + end + after, nil
}

func thousands(n int) string {
	digits := strconv.Itoa(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
