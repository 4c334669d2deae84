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

const (
	memoryTarget       = 64 << 20
	workerMemoryTarget = 96 << 20
	notMeasured        = "not measured"
)

// throughput is the table at many connections.
func (m *matrix) throughput() string {
	rows := [][]string{{
		"operation", "requests/s", "p50 ms", "p99 ms", "ratio", "lowest to highest", "target", "met", "CPU us/request", "refused", "RSS MiB",
	}}
	for _, s := range m.many {
		if !s.known() {
			rows = append(rows, absent(s.name, len(rows[0])))
			continue
		}
		row := append([]string{s.name, one(s.rate()), millis(s.p50()), millis(s.p99())}, s.compared(rateOf, s.goals.rate, atLeast)...)
		memory := mebi(s.memory())
		if len(s.helpers) > 0 {
			memory += " + " + mebi(s.helperMemory())
		}
		rows = append(rows, append(row, micros(s.cpu()), fmt.Sprint(s.refused()), memory))
	}
	return table(rows)
}

// latency is the table at one connection.
func (m *matrix) latency() string {
	rows := [][]string{{
		"operation", "p50 ms", "p99 ms", "requests/s", "ratio of p50", "lowest to highest", "target", "met", "CPU us/request",
	}}
	for _, s := range m.single {
		if !s.known() {
			rows = append(rows, absent(s.name, len(rows[0])))
			continue
		}
		row := append([]string{s.name, millis(s.p50()), millis(s.p99()), one(s.rate())}, s.compared(medianOf, s.goals.p50, atMost)...)
		if g := s.goals.p99; g > 0 {
			row[len(row)-2], row[len(row)-1] = fmt.Sprintf("p99 < %d ms", g.Milliseconds()), yesNo(s.p99() < g)
		}
		rows = append(rows, append(row, micros(s.cpu())))
	}
	return table(rows)
}

func absent(name string, cells int) []string {
	row := make([]string, cells)
	row[0], row[1] = name, notMeasured
	return row
}

const atLeast, atMost = ">= ", "<= "

// compared is the cells of the ratio, its spread, its target and whether it is met.
func (s *series) compared(value func(sample) float64, goal float64, sign string) []string {
	if s.limit == nil {
		return []string{"1", "", "", ""}
	}
	ratios := s.ratios(value)
	if len(ratios) == 0 {
		return []string{notMeasured, "", "", ""}
	}
	cells := []string{two(median(ratios)), spread(ratios), "", ""}
	if goal > 0 {
		good := median(ratios) >= goal
		if sign == atMost {
			good = median(ratios) <= goal
		}
		cells[2], cells[3] = sign+two(goal), yesNo(good)
	}
	return cells
}

// document is docs/performance.md.
func (b *bench) document(parts []*part, commit string, duration, took time.Duration) string {
	var out strings.Builder
	_, _ = fmt.Fprintf(&out, preamble, "`", machineName(), runtime.Version(), b.cluster.Major, b.accounts, poolSize,
		took.Round(time.Minute).String(), duration.Round(time.Second).String(), cmp.Or(commit, "unknown"))
	out.WriteString(targetTable(parts))
	out.WriteString(peers)
	for _, p := range parts {
		out.WriteString(p.section())
	}
	return strings.TrimRight(out.String(), "\n") + "\n"
}

const preamble = `# Speed

%[1]smake bench%[1]s wrote this file. Figures depend on the machine and on what else it does, so compare only the ratios: each is the median
of those of neighbours in one run. Here: %[2]s, %[3]s, PostgreSQL %[4]d with fsync on; servers, Postgres, Temporal and the load
generator share the cores. The run was made at commit %[9]s and took %[7]s, %[8]s of it under load.

- **Limit handler**: Fiber, one prepared primary-key select through pgx of the columns that our reads return, but from one flat table,
  and a constant body as long as ours. For /me and details these are the columns of account, session, credits and plan, for the others
  those of account and session. "One column" reads a single text of the same width instead.
- In each round everything is measured in turn, each operation next to its limit; a figure is the median of the rounds. Connections are
  kept alive. Every answer of a read must be 200; of flows at most 1%% may be refused, else the measurement has failed. What could not
  be measured says so, and no figure stands for it.
- %[5]d accounts in the database. API and worker are the real binary, the API with its access log off (level warn) unless the line says
  otherwise, and with the default pool of %[6]d connections, which the limit server has too.
- Every client was seen before. The first request of each in a minute (here in an hour) writes that, which is one commit more.
- Limits per client address, and bounds on the codes of one account, are set high and not switched off: all is counted, as always.
  What is counted by address comes from 4096 of them, by X-Forwarded-For; at a single one all clients would wait for one row.
- What 10,000 renewals at one instant do is in [performance-renewals.md](performance-renewals.md), by %[1]smake bench-renewals%[1]s.
- "Before" is what this file said before anything was made faster (at 10,000 accounts, where the account count matters).

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
			_, _ = fmt.Fprintf(&b, "| %-*s ", widths[i], cell)
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

func yesNo(ok bool) string {
	if ok {
		return "yes"
	}
	return "no"
}

func spread(of []float64) string { return two(slices.Min(of)) + " to " + two(slices.Max(of)) }

func one(f float64) string          { return fmt.Sprintf("%.1f", f) }
func two(f float64) string          { return fmt.Sprintf("%.2f", f) }
func millis(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }

func micros(d time.Duration) string { return fmt.Sprintf("%.0f", float64(d)/float64(time.Microsecond)) }
func mebi(bytes int64) string       { return fmt.Sprintf("%.0f", float64(bytes)/(1<<20)) }
