//go:build unix

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	loginPath   = "/api/v1/auth/login"
	loginRounds = 5

	loginShare    = 0.95                   // of argon2id alone
	loginBeside   = time.Millisecond       // of CPU, beside the hash
	floodedTarget = 100 * time.Millisecond // of p99
)

// logins is the part that hashes.
type logins struct {
	// login is at many connections, quiet at one, flooded is a read while others log in.
	login, quiet, flooded *series
	// ceiling is argon2id alone, as many at once as there are cores; hash is one after the other.
	ceiling, hash *series
	// profile is what the API spent its time on at one connection.
	profile profiled
}

func loginOf(p person) []byte {
	return post(loginPath, fmt.Sprintf(`{"email":%q,"password":%q}`, p.email, password))
}

func (b *bench) logins() *part {
	alone := operation{key: "limit", name: "argon2id alone"}
	login := operation{key: keyLogin, name: keyLogin, server: b.api, requests: shown(b.people.readers, loginOf)}
	l := &logins{
		ceiling: &series{operation: alone, connections: runtime.GOMAXPROCS(0), share: 2},
		hash:    &series{operation: alone, connections: 1, share: 1.5},
	}
	l.login = &series{operation: login, connections: many, share: 3, limit: l.ceiling}
	l.quiet = &series{operation: login, connections: 1, share: 1.5, limit: l.hash}
	l.flooded = &series{
		operation: operation{
			key: keyMe, name: "`GET " + mePath + "` while 32 connections log in", server: b.api, requests: asBearer(b.people.readers, mePath),
		},
		connections: 1, share: 2,
	}
	all := l.all()
	p := &part{key: "login", title: "Login", run: l.run, report: l.report, verdicts: l.verdicts, failures: func() []error {
		var errs []error
		for _, s := range all {
			errs = append(errs, s.failures()...)
		}
		return errs
	}}
	for _, s := range all {
		p.shares += loginRounds * s.share
	}
	return p
}

func (l *logins) all() []*series { return []*series{l.ceiling, l.login, l.hash, l.quiet, l.flooded} }

func (l *logins) run(ctx context.Context, unit time.Duration) error {
	for range loginRounds {
		l.ceiling.hashAlone(ctx, unit)
		l.login.measure(ctx, unit)
		l.hash.hashAlone(ctx, unit)
		if err := l.profiled(ctx, unit); err != nil {
			return err
		}
		flood := *l.login
		flood.share = l.flooded.share
		var group errgroup.Group
		var failed error
		group.Go(func() error {
			failed = flood.sampled(ctx, unit).err
			return nil
		})
		group.Go(func() error {
			l.flooded.measure(ctx, unit)
			return nil
		})
		_ = group.Wait() // neither returns an error
		if failed != nil {
			// A read beside no flood shows nothing.
			l.flooded.samples[len(l.flooded.samples)-1].err = failed
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return nil
}

// hashFunctions begin so. The difference of a login's time and that of a hash alone would be one of two large numbers: it once came
// out below nothing.
const hashFunctions = "golang.org/x/crypto/argon2."

// profiled measures one connection, and where the time goes.
func (l *logins) profiled(ctx context.Context, unit time.Duration) error {
	var found profiled
	var group errgroup.Group
	group.Go(func() (err error) {
		found, err = profileOf(ctx, l.quiet.server, time.Duration(l.quiet.share*float64(unit)), hashFunctions)
		return err
	})
	l.quiet.measure(ctx, unit)
	if err := group.Wait(); err != nil {
		return err
	}
	l.profile.add(found)
	return nil
}

// hashAlone hashes, with nothing around it: in a process of its own, for the heap of ours makes the collector's work dearer.
func (s *series) hashAlone(ctx context.Context, unit time.Duration) {
	found, err := hashesOf(ctx, s.connections, time.Duration(s.share*float64(unit)))
	s.samples = append(s.samples, sample{
		result: result{requests: found.Hashes, rate: float64(found.Hashes) / max(found.Took.Seconds(), 1e-9)}, cpu: found.CPU, err: err,
	})
}

// hashed is what a process has hashed.
type hashed struct {
	Hashes int           `json:"hashes"`
	Took   time.Duration `json:"took"`
	CPU    time.Duration `json:"cpu"`
}

// hashesOf has a process hash for d, so many passwords at once.
func hashesOf(ctx context.Context, atOnce int, d time.Duration) (hashed, error) {
	self, err := os.Executable()
	if err != nil {
		return hashed{}, fmt.Errorf("find ourselves: %w", err)
	}
	cmd := exec.CommandContext(ctx, self, "hash", "-at-once", strconv.Itoa(atOnce), "-for", d.String()) //nolint:gosec // ourselves
	cmd.Stderr = os.Stderr
	said, err := cmd.Output()
	if err != nil {
		return hashed{}, fmt.Errorf("hash in a process: %w", err)
	}
	var out hashed
	if err := json.Unmarshal(said, &out); err != nil {
		return hashed{}, fmt.Errorf("read what was hashed: %w", err)
	}
	return out, nil
}

// runHash is that process.
func runHash(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("hash", flag.ContinueOnError)
	atOnce := flags.Int("at-once", cores(), "how many passwords are hashed at once")
	d := flags.Duration("for", time.Second, "how long")
	if err := flags.Parse(args); err != nil {
		return err
	}
	hasher, err := newHasher()
	if err != nil {
		return err
	}
	counts := make([]int, *atOnce)
	before, started := ownCPU(), clock.Now()
	var group errgroup.Group
	for i := range counts {
		group.Go(func() error {
			for clock.Now().Sub(started) < *d {
				if _, err := hasher.Hash(ctx, password); err != nil {
					return fmt.Errorf("hash: %w", err)
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	out := hashed{Took: clock.Now().Sub(started), CPU: ownCPU() - before}
	for _, n := range counts {
		out.Hashes += n
	}
	return json.NewEncoder(os.Stdout).Encode(out)
}

const (
	measureHashes = "requests/s of argon2id alone"
	measureBeside = "CPU beside the hash, 1 connection"
)

// beside is what a login costs that is not the hash.
func (l *logins) beside() (time.Duration, bool) {
	if !l.quiet.known() || l.profile.all == 0 {
		return 0, false
	}
	return time.Duration(l.profile.besides() * float64(l.quiet.cpu())), true
}

// collecting is how much of it the collector's own goroutines are.
func (l *logins) collecting() time.Duration {
	return time.Duration(l.profile.share(l.profile.collecting) * float64(l.quiet.cpu()))
}

const measureFlooded = "p99 while 32 connections log in"

func (l *logins) verdicts() []verdict {
	share := l.login.ratioVerdict(measureHashes, rateOf, fmt.Sprintf(">= %.2f", loginShare), func(x float64) bool { return x >= loginShare })
	beside := verdict{key: keyLogin, measure: measureBeside, target: "<= 1 ms"}
	if d, known := l.beside(); known {
		beside.found, beside.met = millis(d)+" ms", d <= loginBeside
	} else {
		beside.unknown = true
	}
	flooded := verdict{key: keyMe, measure: measureFlooded, target: "< 100 ms", unknown: !l.flooded.known()}
	if !flooded.unknown {
		flooded.found, flooded.met = millis(l.flooded.p99())+" ms", l.flooded.p99() < floodedTarget
	}
	return []verdict{share, beside, flooded}
}

func (l *logins) report() string {
	row := func(s *series, name string, more ...string) []string {
		if !s.known() {
			return append([]string{name, notMeasured, "", "", "", ""}, more...)
		}
		cells := []string{name, one(s.rate()), millis(s.p50()), millis(s.p99()), millis(s.cpu()), mebi(s.memory())}
		if s.server == nil {
			cells[2], cells[3], cells[5] = "", "", ""
		}
		return append(cells, more...)
	}
	compared := func(s *series) string {
		if ratios := s.ratios(rateOf); len(ratios) > 0 {
			return two(median(ratios)) + ", " + spread(ratios)
		}
		return ""
	}
	beside := notMeasured
	if d, known := l.beside(); known {
		beside = fmt.Sprintf("%s ms, of which %s ms are the garbage collector's", millis(d), millis(l.collecting()))
	}
	return "The ceiling is the product's own hash, argon2id with 19 MiB, t=2 and p=1, with nothing around it. The CPU beside the hash is the\n" +
		"share of the time in which samples of the API at one connection found it outside of " + strings.TrimSuffix(hashFunctions, ".") + ":\n" + beside +
		" (it runs because of the hashes: they allocate 19 MiB each, and all the rest of a login some 50 kB).\n\n" + table([][]string{
		{"what", "requests/s", "p50 ms", "p99 ms", "CPU ms/request", "RSS MiB", "ratio, lowest to highest"},
		row(l.ceiling, fmt.Sprintf("argon2id alone, %d at once", l.ceiling.connections), "1"),
		row(l.login, keyLogin+", 32 connections", compared(l.login)),
		row(l.hash, "argon2id alone, one after the other", "1"),
		row(l.quiet, keyLogin+", 1 connection", compared(l.quiet)),
		row(l.flooded, l.flooded.name, ""),
	})
}
