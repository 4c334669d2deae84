//go:build unix

package main

import (
	"cmp"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// The targets, as the specification of the project sets them.
const (
	readShare     = 0.70                   // of the limit handler's requests/s
	readLatency   = 1.5                    // times the limit handler's median
	loginShare    = 0.95                   // of argon2id alone
	loginBeside   = time.Millisecond       // of CPU, beside the hash
	floodedTarget = 100 * time.Millisecond // of p99
	memoryTarget  = 64 << 20
)

// median of a value of every sample. It takes the lower one of two in the middle.
func median[T cmp.Ordered](of []T) T {
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)-1)/2]
}

func each[T any](s *series, value func(sample) T) []T {
	out := make([]T, len(s.samples))
	for i, x := range s.samples {
		out[i] = value(x)
	}
	return out
}

// ratios compares every sample with its neighbour's.
func (s *series) ratios(value func(sample) float64) []float64 {
	out := make([]float64, len(s.samples))
	for i, x := range s.samples {
		out[i] = value(x) / value(s.limit.samples[i])
	}
	return out
}

func rateOf(s sample) float64   { return s.rate }
func medianOf(s sample) float64 { return float64(s.p50) }

func (s *series) rate() float64 { return median(each(s, rateOf)) }
func (s *series) p50() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.p50 }))
}

func (s *series) p99() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.p99 }))
}

// cpu of the server for one request.
func (s *series) cpu() time.Duration {
	return median(each(s, func(x sample) time.Duration { return x.cpu / time.Duration(max(x.requests, 1)) }))
}

func (s *series) memory() int64 { return slices.Max(each(s, func(x sample) int64 { return x.rss })) }

// cpuSeconds of the server in all rounds.
func (s *series) cpuSeconds() float64 {
	var sum time.Duration
	for _, x := range s.samples {
		sum += x.cpu
	}
	return sum.Seconds()
}

// report renders what was found as Markdown that a terminal shows well too.
func (s *suite) report() string {
	return "## Reads, 32 connections: requests/s against the limit handler\n\n" + s.throughput() +
		"\n## Reads, 1 connection: median against the limit handler\n\n" + s.latency() +
		"\n## Login\n\n" + s.logins() +
		"\n## Memory of the API process\n\n" + s.memory()
}

func (s *suite) throughput() string {
	rows := [][]string{{
		"operation", "requests/s", "p50 ms", "p99 ms", "ratio", "lowest to highest", "target", "met",
		"CPU us/request", "server CPU s", "RSS MiB",
	}}
	for _, r := range s.reads {
		row := []string{r.name, whole(r.rate()), millis(r.p50()), millis(r.p99())}
		row = append(row, r.compared(rateOf, fmt.Sprintf(">= %.2f", readShare), enough(readShare))...)
		rows = append(rows, append(row, micros(r.cpu()), two(r.cpuSeconds()), mebi(r.memory())))
	}
	return table(rows)
}

func (s *suite) latency() string {
	rows := [][]string{{
		"operation", "p50 ms", "p99 ms", "requests/s", "ratio of p50", "lowest to highest", "target", "met",
	}}
	for _, r := range s.single {
		row := []string{r.name, millis(r.p50()), millis(r.p99()), whole(r.rate())}
		rows = append(rows, append(row, r.compared(medianOf, fmt.Sprintf("<= %.1f", readLatency),
			func(x float64) bool { return x <= readLatency })...))
	}
	return table(rows)
}

// compared is the cells of the ratio, its spread, its target and whether it is met.
func (s *series) compared(value func(sample) float64, target string, good func(float64) bool) []string {
	if s.limit == nil {
		return []string{"1", "", "", ""}
	}
	ratios := s.ratios(value)
	cells := []string{two(median(ratios)), spread(ratios), "", ""}
	if !s.reference {
		cells[2], cells[3] = target, met(good(median(ratios)))
	}
	return cells
}

func (s *suite) logins() string {
	row := func(r *series, name string) []string {
		return []string{name, one(r.rate()), millis(r.p50()), millis(r.p99())}
	}
	beside := s.quiet.cpu() - s.hash.cpu()
	return table([][]string{
		{"what", "requests/s", "p50 ms", "p99 ms", "compared", "lowest to highest", "target", "met"},
		{
			fmt.Sprintf("%s, %d at once", s.ceiling.name, s.ceiling.connections), one(s.ceiling.rate()),
			"", "", "1", "", "", "",
		},
		append(row(s.login, s.login.name+", 32 connections"),
			s.login.compared(rateOf, fmt.Sprintf(">= %.2f", loginShare), enough(loginShare))...),
		{
			s.hash.name + ", one after the other", one(s.hash.rate()),
			"", "", millis(s.hash.cpu()) + " ms of CPU", "", "", "",
		},
		append(row(s.quiet, s.quiet.name+", 1 connection"), millis(beside)+" ms of CPU more", "",
			fmt.Sprintf("<= %d ms", loginBeside.Milliseconds()), met(beside <= loginBeside)),
		append(row(s.flooded, s.flooded.name), "p99", "", fmt.Sprintf("< %d ms", floodedTarget.Milliseconds()),
			met(s.flooded.p99() < floodedTarget)),
	})
}

func (s *suite) memory() string {
	var reads int64
	for _, r := range s.reads {
		if r.limit != nil && !r.reference {
			reads = max(reads, r.memory())
		}
	}
	row := func(name string, bytes int64) []string {
		return []string{name, mebi(bytes), fmt.Sprintf("<= %d", memoryTarget>>20), met(bytes <= memoryTarget)}
	}
	return table([][]string{
		{"after", "most RSS MiB", "target", "met"},
		row("reads", reads),
		row(fmt.Sprintf("logins, %d hashes of 19 MiB at once", s.ceiling.connections), s.login.memory()),
	})
}

// document is docs/performance.md.
func (s *suite) document(accounts, sample, postgres int, duration time.Duration) string {
	return fmt.Sprintf(preamble, "`", machineName(), runtime.Version(), postgres, rounds, int(duration.Seconds()),
		accounts, sample, poolSize) + s.report()
}

const preamble = `# Speed

%[1]smake bench%[1]s wrote this file. Figures depend on the machine and on what else it does, so compare only the ratios:
each is the median of those of neighbours in one run. Here: %[2]s, %[3]s, PostgreSQL %[4]d with fsync on;
servers, Postgres and the load generator share the cores.

- **Limit handler**: Fiber, one prepared primary-key select through pgx of the columns that our reads return, but from
  one flat table, and a constant body as long as ours. "One column" reads a single text of the same width instead: what
  leaving out the columns would bring at most.
- Every figure is the median of %[5]d rounds; in each, everything is measured in turn, each operation next to its limit.
  About %[6]d s in all, after a warm-up. Connections are kept alive, and every answer must be 200.
- %[7]d accounts; the clients are %[8]d of them, each with its own session, token and API key. The API is the real
  binary with its access log off (level warn) unless the line says otherwise, and with the default pool of %[9]d
  connections, which the limit server has too. Temporal is not running: reads and logins ask nothing of it.
- The limits per client address are raised by %[1]sGATEHOUSE_LIMIT_SCALE%[1]s and not switched off, so the counting of
  logins is in the figures.
- What 10,000 renewals at one instant do is in [performance-renewals.md](performance-renewals.md), by %[1]smake bench-renewals%[1]s.

`

func machineName() string {
	name := fmt.Sprintf("%d cores", runtime.NumCPU())
	if kB := kilobytes("/proc/meminfo", "MemTotal:"); kB > 0 {
		name += fmt.Sprintf(", %d GiB of memory", (kB+1<<19)>>20)
	}
	return name
}

// table pads the cells of a Markdown table; the first row is its head.
func table(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
		}
		b.WriteString("|\n")
		if n == 0 {
			for _, w := range widths {
				b.WriteString("|" + strings.Repeat("-", w+2))
			}
			b.WriteString("|\n")
		}
	}
	return b.String()
}

func enough(least float64) func(float64) bool { return func(x float64) bool { return x >= least } }

func met(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func spread(of []float64) string { return two(slices.Min(of)) + " to " + two(slices.Max(of)) }

func whole(f float64) string        { return fmt.Sprintf("%.0f", f) }
func one(f float64) string          { return fmt.Sprintf("%.1f", f) }
func two(f float64) string          { return fmt.Sprintf("%.2f", f) }
func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }
func mebi(bytes int64) string       { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }
