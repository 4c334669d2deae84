//go:build unix

package e2e_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/casebook"
	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/providers/mail/smtptest"
)

var (
	soakTime     = flag.Duration("soak", 20*time.Second, "how long TestSoak breaks things")
	soakSeed     = flag.Uint64("soak-seed", 0, "the seed of the faults of TestSoak; 0 is another one each time")
	soakDocument = flag.String("soak-document", "", "the file that TestSoak writes its table to")
	soakCommit   = flag.String("soak-commit", "", "what is broken, for that file")
)

const soakUsers = 6

// replaceable is a process that a test kills, freezes and starts again under the same settings.
type replaceable struct {
	name    string
	env     map[string]string
	start   func(t testing.TB, env map[string]string) *stacktest.Process
	process *stacktest.Process
	former  []*stacktest.Process
}

func (r *replaceable) begin(t testing.TB) {
	t.Helper()
	if r.process != nil {
		r.former = append(r.former, r.process)
	}
	r.process = r.start(t, r.env)
}

// soaked is a system of two APIs and two workers with whatever can break between them.
type soaked struct {
	*system
	apis, workers      []*replaceable
	database, temporal *proxy
	through            []*client
	random             *rand.Rand
}

// startSoaked has every process reach the database and Temporal through a proxy, and a mail server and the payment sandbox that
// fail by script.
func startSoaked(t *testing.T, seed uint64) *soaked {
	t.Helper()
	mails := smtptest.Start(t)
	s := &soaked{system: &system{mails: mails, ops: map[string]string{}}, random: rand.New(rand.NewPCG(seed, seed))}
	s.stack = stacktest.Start(t, stacktest.Options{
		OwnTemporal: true, Env: withMail(mails),
		Change: func(stack *stacktest.Stack, env map[string]string) {
			s.temporal = startProxy(t, stack.TemporalAddress)
			env["TEMPORAL_ADDRESS"] = s.temporal.addr
			at, err := url.Parse(stack.DatabaseURL)
			require.NoError(t, err)
			s.database = startProxy(t, at.Host)
			at.Host = s.database.addr
			env["DATABASE_URL"] = at.String()
		},
	})
	s.db, s.client = openDatabase(t, s.stack), newClient(s.stack.BaseURL)
	s.http.Transport = &checked{t: t, next: s.http.Transport, mayFail: true}
	for i := range 2 {
		port, err := machine.FreePort()
		require.NoError(t, err)
		ops := machine.LoopbackAddress(port)
		worker := &replaceable{name: fmt.Sprint("worker ", i+1), start: s.stack.StartWorker, env: map[string]string{"GATEHOUSE_WORKER_OPS_ADDR": ops}}
		s.workers = append(s.workers, worker)
		s.ops[worker.name] = "http://" + ops

		settings, addr := secondAPI(t)
		api := &replaceable{name: fmt.Sprint("API ", i+1), start: s.stack.StartAPI, env: settings}
		if i == 0 {
			api.env, addr = nil, strings.TrimPrefix(s.stack.BaseURL, "http://")
		} else {
			s.ops[api.name] = "http://" + settings["GATEHOUSE_OPS_ADDR"]
		}
		s.apis = append(s.apis, api)
		s.through = append(s.through, newClient("http://"+addr))
	}
	for _, r := range append(s.workers, s.apis...) {
		r.begin(t)
	}
	t.Cleanup(func() {
		for _, r := range append(s.workers, s.apis...) {
			for _, p := range append(r.former, r.process) {
				requireCleanLog(t, p)
			}
		}
	})
	return s
}

// struck is a line of the soak's table.
type struck struct {
	what           string
	lasted         time.Duration
	answers, after int
	recovered      time.Duration
}

// TestSoak breaks something under mixed load again and again, checks every rule after each, and the journal of all that was
// answered at the end.
func TestSoak(t *testing.T) {
	t.Parallel()
	stacktest.Covers(t, "I-05", "I-14", "I-15", "I-17", "I-19", "I-20")
	seed := *soakSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("-soak-seed %d", seed)
	s := startSoaked(t, seed)
	period := min(time.Minute, max(5*time.Second, *soakTime/30))
	l := s.live(t, soakUsers, s.through...)
	l.await(t, calmDeeds)
	before := s.footprint(t)

	var lines []struck
	began := time.Now()
	for deck := []breakage(nil); time.Since(began) < *soakTime; {
		if len(deck) == 0 {
			deck = s.deck()
			s.random.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		}
		next := time.After(period)
		lines = append(lines, s.suffer(t, l, deck[0], s.between(period/10, period/3)))
		t.Logf("%+v", lines[len(lines)-1])
		deck = deck[1:]
		s.requireInvariants(t)
		select {
		case <-next:
		case <-t.Context().Done():
		}
	}
	soaked := time.Since(began)
	l.stop(t)
	s.requireInvariants(t)
	s.requireFootprint(t, before)
	s.write(t, lines, fmt.Sprintf("%d faults in %s under %d users on two APIs and two workers: %d answers, %d acknowledged facts looked up "+
		"at the end, %s asked again; nothing lost, nothing let in, every rule held after each.",
		len(lines), soaked.Round(time.Second), soakUsers, l.deeds, len(l.journal), again(l.repeated)))
}

// suffer breaks one thing for a while, mends it and waits until users get on.
func (s *soaked) suffer(t *testing.T, l *lives, b breakage, lasts time.Duration) struck {
	t.Helper()
	l.patience.Store(int64(repairPatience + lasts))
	was := l.done()
	began := time.Now()
	heal := b.strike(t)
	select {
	case <-time.After(lasts): // the outage's length is business time
	case <-t.Context().Done():
	}
	heal()
	mended := time.Now()
	line := struck{what: b.what, lasted: mended.Sub(began), answers: l.done() - was}
	l.patience.Store(int64(recovery))
	l.await(t, soakUsers)
	line.recovered = time.Since(mended)
	l.patience.Store(int64(repairPatience))
	l.await(t, calmDeeds)
	line.after = l.done() - was - line.answers
	l.mu.Lock()
	defer l.mu.Unlock()
	require.Empty(t, l.flaws, "%s", b.what)
	return line
}

func (s *soaked) between(least, most time.Duration) time.Duration {
	return least + time.Duration(s.random.Int64N(int64(most-least)))
}

// again says how often something was asked again, and after what.
func again(repeated map[int]int) string {
	total := 0
	for _, n := range repeated {
		total += n
	}
	return fmt.Sprintf("%d (%d after no answer, %d after 503, %d after 409)", total, repeated[0],
		repeated[http.StatusServiceUnavailable], repeated[http.StatusConflict])
}

// write prints the table, and puts it into the document of -soak-document.
func (s *soaked) write(t *testing.T, lines []struck, summary string) {
	t.Helper()
	var table strings.Builder
	table.WriteString("\n| what broke | for | answers meanwhile | six more answers after it was mended |\n|---|--:|--:|--:|\n")
	for _, line := range lines {
		fmt.Fprintf(&table, "| %s | %.1f s | %d | %.1f s |\n", line.what, line.lasted.Seconds(), line.answers, line.recovered.Seconds())
	}
	t.Log(summary + "\n" + table.String())
	if *soakDocument == "" {
		return
	}
	document, err := os.ReadFile(*soakDocument)
	require.NoError(t, err)
	if *soakCommit != "" {
		summary = fmt.Sprintf("One run, at commit `%s`. %s", *soakCommit, summary)
	}
	changed, err := casebook.Replace(string(document), "soak", summary+"\n"+table.String()+"\n")
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(*soakDocument, []byte(changed), 0o600)) // its mode stays
}
