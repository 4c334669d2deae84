//go:build unix

package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/crypto/argon2"
	"golang.org/x/sync/errgroup"
)

const (
	// many is the load at which throughput is compared; one connection shows the latency.
	many = 32

	accountPath = "/api/v1/auth/me"
	detailsPath = "/v1/users/details"
	canSetPath  = "/api/v1/account/password/can-set"
	loginPath   = "/api/v1/auth/login"
)

// series is one thing measured once a round, always next to its limit: on a shared machine only the ratio of neighbours
// tells anything.
type series struct {
	name        string
	server      server
	requests    [][]byte
	connections int
	// share of a round's unit of time that one measurement takes.
	share float64
	// limit is what it is compared with, nil for a limit itself.
	limit *series
	// reference is compared for information and has no target.
	reference bool
	samples   []sample
}

type sample struct {
	result
	// cpu is what the server used for it, rss what it held after it, in bytes.
	cpu time.Duration
	rss int64
}

// sampled runs a load and what the server used for it.
func (s *series) sampled(ctx context.Context, unit time.Duration) (sample, error) {
	before := usageOf(s.server.pid)
	found, err := load{
		address: s.server.address, requests: s.requests, connections: s.connections,
		duration: time.Duration(s.share * float64(unit)), skip: len(s.samples) * 7919,
	}.run(ctx)
	if err != nil {
		return sample{}, fmt.Errorf("%s: %w", s.name, err)
	}
	after := usageOf(s.server.pid)
	return sample{result: found, cpu: after.cpu - before.cpu, rss: after.rss}, nil
}

func (s *series) measure(ctx context.Context, unit time.Duration) error {
	found, err := s.sampled(ctx, unit)
	s.samples = append(s.samples, found)
	return err
}

// suite is everything that a run measures.
type suite struct {
	reads, single []*series
	// login is at many connections, quiet at one, flooded is a read while others log in.
	login, quiet, flooded *series
	// ceiling is argon2id alone, as many at once as there are cores; hash is one after the other.
	ceiling, hash *series
}

// rounds is how often everything is measured, in turn.
const rounds = 7

// unit is the time of a share of 1 when the whole may take d.
func (s *suite) unit(d time.Duration) time.Duration {
	shares := s.login.share + s.quiet.share + s.flooded.share + s.ceiling.share + s.hash.share
	for _, r := range slices.Concat(s.reads, s.single) {
		shares += r.share
	}
	warm := warmShare * float64(len(s.reads))
	return time.Duration(float64(d) / (rounds*shares + warm))
}

const warmShare = 0.5

// newSuite asks each operation once, to learn the length of its body.
func newSuite(ctx context.Context, s *stack, c clients) (*suite, error) {
	bearer := func(path string) [][]byte {
		return requestsOf(c.tokens, func(t string) []byte { return get(path, "Authorization", "Bearer "+t) })
	}
	withKeys := requestsOf(c.keys, func(k string) []byte { return get(accountPath, "X-API-Key", k) })
	out := &suite{}
	for _, group := range [][]series{
		{
			{name: "A01, C16 `GET " + accountPath + "`, access token", server: s.api, requests: bearer(accountPath)},
			{name: "the same, access log on", server: s.logging, requests: bearer(accountPath)},
			{name: "the same, API key", server: s.api, requests: withKeys},
		},
		{{name: "B12 `GET " + detailsPath + "`", server: s.api, requests: bearer(detailsPath)}},
		{{name: "D08 `GET " + canSetPath + "`", server: s.api, requests: bearer(canSetPath)}},
	} {
		length, err := ask(ctx, group[0].server.address, group[0].requests[0])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", group[0].name, err)
		}
		limit := series{name: fmt.Sprintf("limit handler, %d bytes", length), server: s.limit}
		limit.requests = limitRequests(rowPath, length, c.rows)
		if len(out.reads) == 0 {
			bare := series{name: "limit handler, one column", server: s.limit, reference: true}
			bare.requests = limitRequests(barePath, length, c.rows)
			group = append(group, bare)
		}
		out.reads = append(out.reads, beside(limit, group, many, 1)...)
		out.single = append(out.single, beside(limit, group, 1, 0.5)...)
	}
	out.addLogins(s.api, c, bearer(accountPath))
	return out, nil
}

func limitRequests(path string, length int, rows []uuid.UUID) [][]byte {
	requests := make([][]byte, len(rows))
	for i, id := range rows {
		requests[i] = get(fmt.Sprintf("%s%d/%s", path, length, id), "", "")
	}
	return requests
}

func (s *suite) addLogins(api server, c clients, reads [][]byte) {
	s.ceiling = &series{name: "argon2id alone", connections: runtime.GOMAXPROCS(0), share: 2}
	s.hash = &series{name: "argon2id alone", connections: 1, share: 1.5}
	login := series{
		name: "C14 `POST " + loginPath + "`", server: api, connections: many, share: 3, limit: s.ceiling,
		requests: requestsOf(c.emails, func(e string) []byte {
			return post(loginPath, fmt.Sprintf(`{"email":%q,"password":%q}`, e, password))
		}),
	}
	quiet := login
	quiet.connections, quiet.share, quiet.limit = 1, 1.5, s.hash
	s.login, s.quiet = &login, &quiet
	s.flooded = &series{
		name: "`GET " + accountPath + "` while 32 connections log in", server: api, requests: reads, connections: 1, share: 2,
	}
}

func requestsOf(shown []string, render func(string) []byte) [][]byte {
	requests := make([][]byte, len(shown))
	for i, s := range shown {
		requests[i] = render(s)
	}
	return requests
}

// beside is a limit and what is compared with it, at one number of connections.
func beside(limit series, group []series, connections int, share float64) []*series {
	limit.connections, limit.share = connections, share
	out := []*series{&limit}
	for _, s := range group {
		s.connections, s.share, s.limit = connections, share, &limit
		out = append(out, &s)
	}
	return out
}

// run measures everything, round by round. progress is told when a round is done.
func (s *suite) run(ctx context.Context, unit time.Duration, progress func(round int)) error {
	for _, r := range s.reads {
		warm := *r
		warm.share = warmShare
		if _, err := warm.sampled(ctx, unit); err != nil {
			return err
		}
	}
	for round := range rounds {
		for _, r := range slices.Concat(s.reads, s.single) {
			if err := r.measure(ctx, unit); err != nil {
				return err
			}
		}
		if err := s.runLogins(ctx, unit); err != nil {
			return err
		}
		progress(round + 1)
	}
	return nil
}

func (s *suite) runLogins(ctx context.Context, unit time.Duration) error {
	s.ceiling.hashAlone(unit)
	if err := s.login.measure(ctx, unit); err != nil {
		return err
	}
	s.hash.hashAlone(unit)
	if err := s.quiet.measure(ctx, unit); err != nil {
		return err
	}
	flood := *s.login
	flood.share = s.flooded.share
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := flood.sampled(ctx, unit)
		return err
	})
	group.Go(func() error { return s.flooded.measure(ctx, unit) })
	return group.Wait()
}

// hashAlone hashes as internal/secret does, with nothing around it.
func (s *series) hashAlone(unit time.Duration) {
	d := time.Duration(s.share * float64(unit))
	counts := make([]int, s.connections)
	before, started := ownCPU(), clock.Now()
	var group errgroup.Group
	for i := range counts {
		group.Go(func() error {
			salt := make([]byte, 16)
			for clock.Now().Sub(started) < d {
				_, _ = rand.Read(salt) // it ends the process instead of failing
				argon2.IDKey([]byte(password), salt, 2, 19*1024, 1, 32)
				counts[i]++
			}
			return nil
		})
	}
	_ = group.Wait()
	elapsed, total := clock.Now().Sub(started), 0
	for _, n := range counts {
		total += n
	}
	s.samples = append(s.samples, sample{
		result: result{requests: total, rate: float64(total) / elapsed.Seconds()}, cpu: ownCPU() - before,
	})
}
