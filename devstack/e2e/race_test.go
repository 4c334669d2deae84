//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

const crowd = 100

const (
	bonuses = `SELECT count(*) FROM credit_moves m JOIN accounts a ON a.id = m.account_id WHERE a.email = $1`
	// unbalanced counts accounts whose ledger does not add up to their balance (I-11), or that miss a part.
	unbalanced = `SELECT count(*) FROM accounts a LEFT JOIN credits c ON c.account_id = a.id
		LEFT JOIN settings s ON s.account_id = a.id LEFT JOIN welcomes w ON w.account_id = a.id
		WHERE c.balance IS DISTINCT FROM (SELECT coalesce(sum(amount), 0) FROM credit_moves WHERE account_id = a.id)
			OR s.account_id IS NULL OR w.account_id IS NULL`
	// orphans counts rows of no account.
	orphans = `SELECT (SELECT count(*) FROM sessions WHERE account_id NOT IN (SELECT id FROM accounts))
		+ (SELECT count(*) FROM credits WHERE account_id NOT IN (SELECT id FROM accounts))`
	attemptsOf = `SELECT max(attempts) FROM challenges WHERE destination = $1`
)

// burst sends calls at one moment and returns their answers.
func burst(t testing.TB, c *client, calls []call) []answer {
	t.Helper()
	return burstOver(t, []*client{c}, calls)
}

// burstOver sends calls at one moment, each through one of the clients by lot.
func burstOver(t testing.TB, clients []*client, calls []call) []answer {
	t.Helper()
	stacktest.Called(t, len(calls))
	through := make([]*client, len(calls))
	for i := range through {
		through[i] = clients[mathrand.IntN(len(clients))]
	}
	bursts.Lock()
	defer bursts.Unlock()
	answers, failures := make([]answer, len(calls)), make([]error, len(calls))
	atOnce(len(calls), func(i int) { answers[i], failures[i] = through[i].try(t.Context(), calls[i]) })
	for i, err := range failures {
		require.NoError(t, err, calls[i].Path)
	}
	return answers
}

// tally counts answers by status.
func tally(answers []answer) map[int]int {
	count := map[int]int{}
	for _, a := range answers {
		count[a.Status]++
	}
	return count
}

// requireClean fails on a 5xx that is not a 503 with a Retry-After.
func requireClean(t testing.TB, answers []answer) {
	t.Helper()
	for _, a := range answers {
		busy := a.Status == http.StatusServiceUnavailable && a.Header.Get("Retry-After") != ""
		require.True(t, a.Status < http.StatusInternalServerError || busy, "%d %s", a.Status, a.Body)
	}
}

func successes(answers []answer) []answer {
	return slices.DeleteFunc(slices.Clone(answers), func(a answer) bool { return !a.ok() })
}

// arena is a system of two APIs on one database with one worker, and with outside providers. Races are run over both APIs, whose
// answers may be 503 with a Retry-After: a hundred password hashes at once are more than the queue holds.
type arena struct {
	*googleSystem
	out  *outside
	apis []*client

	mu sync.Mutex
	// done are the effects of the races so far, which must be the same when all is over; due are those that may take their time.
	done, due []effect
}

func startArena(t *testing.T, settings ...string) *arena {
	t.Helper()
	out := startOutside(t)
	s := startSystem(t, append([]string{
		"GATEHOUSE_GOOGLE_ISSUER", out.oidc.Issuer(), "GATEHOUSE_GOOGLE_CLIENT_ID", out.oidc.ClientID,
		"GATEHOUSE_GOOGLE_CLIENT_SECRET", out.oidc.ClientSecret, "GATEHOUSE_GOOGLE_REDIRECT_URL", redirectPage,
		"GATEHOUSE_GITHUB_API_URL", out.github.URL, "GATEHOUSE_GITHUB_CLIENT_ID", "client",
		"GATEHOUSE_LINK_REDIRECT_URL", redirectPage,
	}, settings...)...)
	replica, addr := secondAPI(t)
	second := s.stack.StartAPI(t, replica)
	t.Cleanup(func() { requireCleanLog(t, second) })
	a := &arena{out: out, googleSystem: &googleSystem{oidc: out.oidc, system: s.tolerant(t)}}
	a.apis = []*client{s.tolerant(t).client, newClient("http://" + addr)}
	a.apis[1].http.Transport = &checked{t: t, next: a.apis[1].http.Transport, mayFail: true}
	a.http.Transport = waiting{a.http.Transport}
	a.http.Timeout = 2 * patience
	return a
}

// waiting prepares races: it comes again when it is told to, for the races beside it may have the machine to themselves.
type waiting struct{ next http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (w waiting) RoundTrip(request *http.Request) (*http.Response, error) {
	var body []byte
	if request.Body != nil {
		var err error
		if body, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	for began := time.Now(); ; {
		request.Body = io.NopCloser(bytes.NewReader(body))
		got, err := w.next.RoundTrip(request)
		if err != nil || got.StatusCode != http.StatusServiceUnavailable || time.Since(began) > patience {
			return got, err
		}
		seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
		if err != nil {
			return got, nil //nolint:nilerr // nobody said to come again
		}
		_ = got.Body.Close()
		select {
		case <-request.Context().Done():
			return nil, request.Context().Err()
		case <-time.After(time.Duration(seconds) * time.Second):
		}
	}
}

// burst sends calls at one moment, each to one of the APIs by lot.
func (a *arena) burst(t testing.TB, calls ...call) []answer {
	t.Helper()
	answers := burstOver(t, a.apis, calls)
	requireClean(t, answers)
	return answers
}

// filled are the calls, one after the other, over and over, until there is a crowd.
func filled(calls ...call) []call {
	all := make([]call, crowd)
	for i := range all {
		all[i] = calls[i%len(calls)]
	}
	return all
}

// effect is what a query counts.
type effect struct {
	want  int
	query string
	args  []any
}

// once is O-once of the attack table: of calls that come at one moment one is heard, and what it does is done once.
type once struct {
	calls []call
	// won tells the one that was heard; nil is any 2xx.
	won func(answer) bool
	// refused is what the others may be told, beside 503.
	refused []int
	effects []effect
	// lasting says that the same call is heard again later, for the rule is one of a race only.
	lasting bool
}

func (o once) heard(got answer) bool {
	if o.won != nil {
		return o.won(got)
	}
	return got.ok()
}

// once runs a race and returns the answer that won. Where the machine was too busy to answer anybody else than by 503, asking
// again must get there (I-15). Afterwards the same calls are refused (OTP-05).
func (a *arena) once(t testing.TB, o once) answer {
	t.Helper()
	answers := a.burst(t, o.calls...)
	refusals := append([]int{http.StatusServiceUnavailable}, o.refused...)
	var winners []answer
	for _, got := range answers {
		if o.heard(got) {
			winners = append(winners, got)
		} else {
			require.Contains(t, refusals, got.Status, "%s", got.Body)
		}
	}
	require.LessOrEqual(t, len(winners), 1, "heard more than once: %v", tally(answers))
	for waited := time.Now(); len(winners) == 0; {
		require.Contains(t, tally(answers), http.StatusServiceUnavailable, "nobody was heard: %v", tally(answers))
		require.Less(t, time.Since(waited), patience, "nobody is ever heard: %v", tally(answers))
		if got := a.apis[0].send(t, o.calls[0]); o.heard(got) {
			winners = append(winners, got)
		}
	}
	a.see(t, o.effects...)
	if !o.lasting {
		for i, again := range []call{o.calls[0], o.calls[len(o.calls)-1]} {
			got := a.apis[i].send(t, again)
			require.False(t, o.heard(got), "heard again: %s", got.Body)
			require.Less(t, got.Status, http.StatusInternalServerError, "%s", got.Body)
		}
	}
	return winners[0]
}

// see waits for effects, and keeps them for the end.
func (a *arena) see(t testing.TB, effects ...effect) {
	t.Helper()
	for _, e := range effects {
		a.db.eventually(t, e.want, e.query, e.args...)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.done = append(a.done, effects...)
}

// expect keeps effects that the end waits for.
func (a *arena) expect(effects ...effect) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.due = append(a.due, effects...)
}

// close checks that nothing came later, and what must always hold.
func (a *arena) close(t testing.TB) {
	t.Helper()
	a.requireInvariants(t)
	// A server that is asked too much of one flow at once loses what is under way, and the worker its task.
	require.NotContains(t, a.worker.Output(), "Failed to process workflow task")
	for _, e := range a.due {
		testkit.Eventually(t, settling, func() bool { return a.db.number(t, e.query, e.args...) == e.want }, e.query)
	}
	for _, e := range append(a.done, a.due...) {
		require.Equal(t, e.want, a.db.number(t, e.query, e.args...), "%s %v", e.query, e.args)
	}
}

// race runs subtests on one arena at the same time, and then looks at it as a whole. One arena at a time: the tests that call
// it are not parallel, for each has pools of connections to the one cluster, and a hundred callers want the machine.
func race(t *testing.T, races map[string]func(*testing.T, *arena), settings ...string) {
	t.Helper()
	a := startArena(t, settings...)
	t.Run("at once", func(t *testing.T) {
		for name, run := range races {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for range stacktest.Rounds(t) {
					run(t, a)
				}
			})
		}
	})
	a.close(t)
}

// distinctCodes are n codes, the right one among them at a random place.
func distinctCodes(n int, right string) []string {
	seen := map[string]bool{right: true}
	codes := []string{right}
	for len(codes) < n {
		code := fmt.Sprintf("%06d", mathrand.IntN(1_000_000))
		if !seen[code] {
			seen[code] = true
			codes = append(codes, code)
		}
	}
	mathrand.Shuffle(n, func(i, j int) { codes[i], codes[j] = codes[j], codes[i] })
	return codes
}

// callers read the account again and again, from every API.
type callers struct {
	served, refused, late atomic.Int64
	loggedOut             atomic.Bool
	all                   sync.WaitGroup
}

func (r *callers) wait() { r.all.Wait() }

// readUntilRefused sends about 50 requests a second, until 25 were refused.
func readUntilRefused(t testing.TB, clients []*client, token string) *callers {
	const enough, perReader = 25, 100 * time.Millisecond
	r := &callers{}
	for i := range 6 {
		r.all.Go(func() {
			tick := time.NewTicker(perReader)
			defer tick.Stop()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for r.refused.Load() < enough && ctx.Err() == nil {
				after := r.loggedOut.Load()
				got, err := clients[i%len(clients)].try(ctx, call{Path: pathMe, Token: token})
				switch {
				case err == nil && got.ok() && after:
					r.late.Add(1)
				case err == nil && got.ok():
					r.served.Add(1)
				case err == nil && got.Status == http.StatusUnauthorized:
					r.refused.Add(1)
				default:
					t.Errorf("reading the account: %d %v", got.Status, err)
					return
				}
				<-tick.C
			}
		})
	}
	return r
}
