//go:build unix

package e2e_test

import (
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/alerts"
	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
)

const (
	alertRules = "../../deploy/prometheus/gatehouse.rules.yaml"
	dashboard  = "../../deploy/grafana/gatehouse.json"
)

// slowMachine are the alarms that a busy machine raises by itself.
var slowMachine = []string{"GatehouseSlow", "GatehouseTasksWait", "GatehouseTasksWaitLong", "GatehouseTemporalSlow"}

// prometheus scrapes real processes, and has each scrape stand for the next fifteen seconds: no test waits for minutes.
type prometheus struct {
	t     *testing.T
	board *alerts.Board
	// targets are the ops listeners by the name of their process.
	targets map[string]string
	names   map[string]bool
	client  *http.Client
}

// step scrapes every target once, and returns the alarms that ring then.
func (p *prometheus) step() []string {
	p.t.Helper()
	for instance, target := range p.targets {
		text := p.scrape(target)
		for _, name := range alerts.Names(p.t, text) {
			p.names[name] = true
		}
		p.board.Scrape(instance, text)
	}
	return p.board.Advance()
}

// scrape returns nothing where nobody answers.
func (p *prometheus) scrape(target string) []byte {
	request, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, target+"/metrics", nil)
	require.NoError(p.t, err)
	answer, err := p.client.Do(request)
	if err != nil {
		return nil
	}
	defer func() { _ = answer.Body.Close() }()
	text, err := io.ReadAll(answer.Body)
	require.NoError(p.t, err)
	return text
}

// pass lets time pass, and returns every alarm that rang meanwhile.
func (p *prometheus) pass(d time.Duration) []string {
	rang := map[string]bool{}
	for range int(d / alerts.Step) {
		for _, name := range p.step() {
			rang[name] = true
		}
	}
	return slices.Sorted(maps.Keys(rang))
}

// until lets time pass until an alarm rings, or rings no more.
func (p *prometheus) until(alarm string, rings bool) {
	p.t.Helper()
	what := map[bool]string{true: " to ring", false: " to be over"}[rings]
	testkit.Eventually(p.t, 2*patience, func() bool { return slices.Contains(p.step(), alarm) == rings }, alarm+what)
}

// The alarms are evaluated over what real processes tell, while real faults strike: no alarm on a good day, the right one by
// each fault, and silence once it is mended. Whatever a rule or a panel asks for is really told.
func TestAlarms_F22_RingByFaultsAndStop(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	env := withMail(mails)
	env["GATEHOUSE_SAMPLE_EVERY"] = "5s" // a busy machine must not be late for it
	s := stacktest.Start(t, stacktest.Options{Env: env})
	port, err := machine.FreePort()
	require.NoError(t, err)
	ops := map[string]string{"GATEHOUSE_WORKER_OPS_ADDR": machine.LoopbackAddress(port)}
	worker := s.StartWorker(t, ops)
	s.StartAPI(t, nil)
	c := newClient(s.BaseURL)
	p := &prometheus{
		t: t, board: alerts.Open(t, alertRules, time.Now()), names: map[string]bool{}, client: &http.Client{Timeout: callTimeout},
		targets: map[string]string{"api": s.OpsURL, "worker": "http://" + ops["GATEHOUSE_WORKER_OPS_ADDR"]},
	}

	sent := func(email string) { require.NotEmpty(t, mails.Wait(email, 1)) }
	email := newEmail()
	c.initiate(t, email)
	code := mails.Wait(email, 1)[0].Code
	wrong := string('0'+(code[0]-'0'+1)%10) + code[1:]
	c.want(t, http.StatusBadRequest, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": wrong}})
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	testkit.Eventually(t, patience, func() bool {
		p.step()
		return p.names["gatehouse_sample_timestamp_seconds"] && p.names["gatehouse_messages"]
	}, "somebody to look at what waits")
	other := newEmail()
	c.initiate(t, other)
	sent(other)
	require.Subset(t, slowMachine, p.pass(20*time.Minute), "a good day")

	mails.Down()
	waiting := []string{newEmail(), newEmail(), newEmail(), newEmail()}
	for _, email := range waiting {
		c.initiate(t, email)
	}
	p.until("GatehouseSendingFails", true)
	mails.Up()
	for _, email := range waiting {
		sent(email)
	}
	p.until("GatehouseSendingFails", false)

	worker.Stop(t, patience)
	p.until("GatehouseNoWorker", true)
	s.StartWorker(t, ops)
	p.until("GatehouseNoWorker", false)
	require.Subset(t, slowMachine, p.pass(alerts.Step), "all is mended")

	requireTold(t, p.names)
}

// requireTold checks that every metric that a rule or a panel asks for was told. Counters of Temporal's library appear with their
// first event: of those it is enough that the library knows them.
func requireTold(t *testing.T, told map[string]bool) {
	t.Helper()
	rules, err := alerts.Rules(alertRules)
	require.NoError(t, err)
	panels, err := alerts.Panels(dashboard)
	require.NoError(t, err)
	var exprs []string
	for _, r := range rules {
		exprs = append(exprs, r.Expr)
	}
	for _, panel := range panels {
		exprs = append(exprs, panel.Exprs...)
	}
	asked, err := alerts.Metrics(exprs...)
	require.NoError(t, err)
	library := sdkMetrics(t)
	for _, name := range asked {
		if told[name] {
			continue
		}
		known, ours := strings.CutPrefix(name, "temporal_")
		require.True(t, ours, "%s is asked for, and no process tells it", name)
		known = strings.TrimSuffix(known, "_total")
		for _, class := range []string{"request", "long_request"} { // the library puts these names together
			if suffix, cut := strings.CutPrefix(known, class); cut && suffix == "_resource_exhausted" {
				known = suffix
			}
		}
		require.Contains(t, library, `"`+known+`"`, "%s is no metric of Temporal's library", name)
	}
	for _, reason := range []string{"NonDeterminismError", "GrpcMessageTooLarge", "PayloadsTooLarge", "RequestTooLarge"} {
		require.Contains(t, library, `"`+reason+`"`, "a value that a rule asks for")
	}
}

// sdkMetrics is the source in which Temporal's library names its metrics.
func sdkMetrics(t *testing.T) string {
	t.Helper()
	root, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "go.temporal.io/sdk").Output()
	require.NoError(t, err)
	source, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(root)), "internal", "common", "metrics", "constants.go"))
	require.NoError(t, err)
	return string(source)
}
