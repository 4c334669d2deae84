//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	temporalclient "go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/durable"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
	"gatehouse/providers/push/fcmtest"
)

// I-16: whoever reads Temporal's store, our logs or our traces learns nobody's address, name, password, code or token; whoever
// reads the database learns no password, code or token. The same search finds all of them where nothing is encrypted.
func TestLeak_WEB14_I16_NothingInTheClear(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	env := withMail(mails)
	env["GATEHOUSE_SEND_GAP"], env["GATEHOUSE_LOG_LEVEL"] = "10ms", "debug"
	devices := fcmtest.Start(t)
	env["GATEHOUSE_FCM_URL"], env["GATEHOUSE_FCM_CREDENTIALS"] = devices.URL, credentialsFile(t, devices)
	traces := startCollector(t)
	s, api, worker := stacktest.StartAll(t, stacktest.Options{Env: traces.env(env)})
	j := &journey{
		t: t, c: newClient(s.BaseURL), db: openDatabase(t, s), stack: s, mails: mails, temporal: readTemporal(t, s),
	}
	j.signUpUnderFailures()
	j.logIn()
	j.notifyDevice(devices)
	j.register()
	hidden := j.askForTakenAddress()
	for _, mail := range mails.Mails() {
		j.credential("code", mail.Code)
	}

	kept := j.dumps
	testkit.Eventually(t, patience, func() bool {
		d, flows := dumpWorkflows(t, j.temporal, s.Namespace, "")
		kept = append(j.dumps, d)
		return len(flows) >= 3 // by code, by registration, and for the address that was taken
	}, "the flows to be seen")
	logs := dump{}
	logs.text("log of the API", api.Output())
	logs.text("log of the hidden API", hidden.Output())
	logs.text("log of the worker", worker.Output())
	logs.text("traces", traces.text())
	require.Contains(t, traces.text(), "RunActivity:SendCode")
	stored := dumpDatabase(t, j.db)

	j.requireMeaningful(kept, logs, stored)
	for _, s := range slices.Concat(j.personal, j.credentials) {
		for _, d := range append(kept, logs) {
			require.Empty(t, d.found(s), "%s %q", s.name, s.value)
		}
	}
	for _, s := range j.credentials {
		require.Empty(t, stored.found(s), "%s %q", s.name, s.value)
	}
	requireEncrypted(t, kept)
	requireFoundWithoutCodec(t, j)
}

// journey plays everything that a user can do, with every failure on the way, and remembers the secrets that passed.
type journey struct {
	t        *testing.T
	c        *client
	db       database
	stack    *stacktest.Stack
	mails    *smtptest.Server
	temporal temporalclient.Client
	// personal is what only the database may know, credentials what nothing may.
	personal, credentials []canary
	// dumps are those taken while an activity was being tried again.
	dumps []dump

	email, password string
}

func (j *journey) person(name, value string) string {
	j.personal = append(j.personal, canary{name, value})
	return value
}

func (j *journey) credential(name, value string) string {
	if value != "" {
		j.credentials = append(j.credentials, canary{name, value})
	}
	return value
}

func (j *journey) newEmail() string {
	return j.person("local part", "canary"+strings.ToLower(rand.Text())) + "@example.com"
}

func (j *journey) newPassword() string { return j.credential("password", "Canary-Pass-"+rand.Text()) }

func (j *journey) newKey() string { return j.credential("Idempotency-Key", "canary-key-"+rand.Text()) }

func (j *journey) newWrongCode(right ...string) string {
	for _, code := range distinctCodes(len(right)+2, right[0]) {
		if !slices.Contains(right, code) {
			return j.credential("wrong code", code)
		}
	}
	j.t.Fatal("no wrong code")
	return ""
}

// signUpUnderFailures has the mail server repeat the address and the code in its refusals, passing and final.
func (j *journey) signUpUnderFailures() {
	t := j.t
	j.email, j.password = j.newEmail(), j.newPassword()
	j.mails.Always(smtptest.Reply(smtptest.Accepted, 451, "4.3.0"))
	j.c.want(t, http.StatusOK, call{Path: pathInitiateSignup, Key: j.newKey(), Body: fields{
		"email": j.email, "password": j.password, "name": j.person("name", "Canary Name "+rand.Text()),
		"device_fingerprint": fields{"canvas": j.person("fingerprint", rand.Text())},
	}})
	testkit.Eventually(t, patience, func() bool {
		d, _ := dumpWorkflows(t, j.temporal, j.stack.Namespace, "")
		j.dumps = []dump{d}
		return strings.Contains(string(d[placePending]), "lastFailure")
	}, "the sending to fail")
	j.mails.Heal()
	testkit.Eventually(t, patience, func() bool {
		return j.db.number(t, `SELECT count(*) FROM challenges WHERE sent_at IS NOT NULL`) == 1
	}, "the code to be sent")
	first := j.mails.To(j.email)[0].Code

	j.refused(pathVerifyCode, j.newWrongCode(first))
	j.refused(pathCompleteSignup, j.newWrongCode(first))
	j.mails.Next(smtptest.Reply(smtptest.RcptTo, 451, "4.7.1"))
	j.c.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": j.email}})
	var second string
	testkit.Eventually(t, patience, func() bool {
		mails := j.mails.To(j.email)
		second = mails[len(mails)-1].Code
		return second != first
	}, "the second code")
	j.refused(pathCompleteSignup, first)

	j.mails.Next(smtptest.Reply(smtptest.RcptTo, 550, "5.1.1"))
	done := j.c.want(t, http.StatusOK, call{
		Path: pathCompleteSignup, Key: j.newKey(), Body: fields{"email": j.email, "code": second},
	})
	j.credential("session token", done.text(t, "session_token"))
	testkit.Eventually(t, patience, func() bool {
		return j.db.number(t, `SELECT count(*) FROM messages WHERE template = 'welcome' AND state = 'dead'`) == 1
	}, "the welcome mail to be refused")
}

func (j *journey) refused(path, code string) {
	j.t.Helper()
	j.c.want(j.t, http.StatusBadRequest, call{Path: path, Body: fields{"email": j.email, "code": code}})
}

func (j *journey) logIn() {
	t := j.t
	j.c.want(t, http.StatusUnauthorized, call{Path: pathLogin, Body: fields{"email": j.email, "password": j.newPassword()}})
	token := j.c.want(t, http.StatusOK, call{Path: pathLogin, Body: fields{"email": j.email, "password": j.password}}).
		text(t, "session_token")
	j.credential("session token", token)
	tokens := j.c.want(t, http.StatusOK, call{Path: pathAuthenticate, Body: fields{"username": j.email, "password": j.password}})
	j.credential("refresh token", tokens.text(t, "refreshToken"))
	j.credential("access token", tokens.text(t, "accessToken"))
	key := j.stack.Command(t, nil, "keys", "create", "--name", "canary", "--account", j.email)
	key = j.credential("API key", strings.TrimSpace(key))
	for _, credential := range []string{token, key, tokens.text(t, "accessToken")} {
		j.c.want(t, http.StatusOK, call{Path: pathMe, Token: credential})
	}
	j.c.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: token})
	j.c.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: token})
}

var linkToken = regexp.MustCompile(`token=([A-Za-z0-9_-]+)`)

// register has several people register one username at the same moment: all but one are refused, the late ones by the flow.
func (j *journey) register() {
	t := j.t
	username := j.person("username", "canary"+strings.ToLower(rand.Text()[:20]))
	calls := make([]call, 5)
	for i := range calls {
		calls[i] = call{Path: pathRegister, Key: j.newKey(), Body: fields{
			"email": j.newEmail(), "username": username, "password": j.newPassword(),
		}}
	}
	var email string
	for i, got := range burst(t, j.c, calls) {
		if !got.ok() {
			require.Equal(t, http.StatusBadRequest, got.Status, "%s", got.Body)
			continue
		}
		require.Empty(t, email, "a second one got the username")
		j.credential("session token", got.text(t, "token"))
		email = got.text(t, "email")
		require.Equal(t, calls[i].Body.(fields)["email"], email)
	}
	require.NotEmpty(t, email)
	link := linkToken.FindStringSubmatch(j.mails.Wait(email, 1)[0].Text)
	require.NotNil(t, link)
	confirm := func(token string) call {
		return call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": token}}
	}
	j.c.want(t, http.StatusBadRequest, confirm(j.credential("wrong link token", rand.Text())))
	j.c.want(t, http.StatusOK, confirm(j.credential("link token", link[1])))
	j.mails.Wait(email, 2) // the welcome
}

// askForTakenAddress signs up with the owner's address where that must not be told.
func (j *journey) askForTakenAddress() *stacktest.Process {
	t := j.t
	settings, addr := secondAPI(t)
	settings["GATEHOUSE_ENUMERATION"] = "hidden"
	api := j.stack.StartAPI(t, settings)
	before := len(j.mails.To(j.email))
	newClient("http://"+addr).want(t, http.StatusOK, call{
		Path: pathInitiateSignup, Body: fields{"email": j.email, "password": j.newPassword()},
	})
	j.mails.Wait(j.email, before+1)
	return api
}

// requireMeaningful fails when a search could find nothing because there was nothing to search.
func (j *journey) requireMeaningful(flows []dump, logs, stored dump) {
	t := j.t
	require.Contains(t, string(flows[0][placePending]), "lastFailure", "a failure was pending")
	last := flows[len(flows)-1]
	for _, place := range []string{placeHistory, placeDescribed, placeAttributes, placeMetadata} {
		require.NotEmpty(t, last[place], place)
	}
	require.Contains(t, string(last[placeHistory]), "lastFailure")
	require.Contains(t, string(last[placeAttributes]), "FlowKind")
	for place, content := range logs {
		require.Greater(t, strings.Count(string(content), "\n"), 1, place)
	}
	for _, s := range j.personal[:2] {
		require.NotEmpty(t, stored.found(s), "the database holds the %s", s.name)
	}
	kinds := map[string]bool{}
	for _, s := range slices.Concat(j.personal, j.credentials) {
		kinds[s.name] = true
	}
	require.Len(t, kinds, 16, "%v", kinds)
}

// failureText is the text of a failure in JSON.
var failureText = regexp.MustCompile(`"message":\s*"([^"]*)"`)

// requireEncrypted holds the second line of defence: flows carry no secret, yet what they do carry is unreadable.
func requireEncrypted(t *testing.T, flows []dump) {
	t.Helper()
	const encoded = "Encoded failure"
	// The others are the server's own.
	known := []string{encoded, "UnhandledCommand", "activity StartToClose timeout"}
	seen := map[string]bool{}
	for _, d := range flows {
		for _, readable := range []string{"***@example.com", "Sign-up of", "ChallengeID"} {
			require.Empty(t, d.found(canary{"text", readable}), readable)
		}
		for _, place := range []string{placeHistory, placePending} {
			for _, text := range failureText.FindAllStringSubmatch(string(d[place]), -1) {
				seen[text[1]] = true
			}
		}
	}
	require.Contains(t, seen, encoded)
	require.Subset(t, known, slices.Collect(maps.Keys(seen)))
}

// requireFoundWithoutCodec is the control: a flow of a client and a worker that encrypt nothing.
func requireFoundWithoutCodec(t *testing.T, j *journey) {
	t.Helper()
	const queue, flow = "control", "Control"
	secrets := slices.Concat(j.personal, j.credentials)
	var values []string
	for _, s := range secrets {
		values = append(values, s.value)
	}
	w := worker.New(j.temporal, queue, worker.Options{})
	w.RegisterWorkflowWithOptions(control, workflow.RegisterOptions{Name: flow})
	w.RegisterActivityWithOptions(refuse, activity.RegisterOptions{Name: refuseActivity})
	require.NoError(t, w.Start())
	t.Cleanup(w.Stop)
	run, err := j.temporal.ExecuteWorkflow(t.Context(), temporalclient.StartWorkflowOptions{
		TaskQueue: queue, Memo: map[string]any{"values": values},
		TypedSearchAttributes: temporal.NewSearchAttributes(durable.FlowKind.ValueSet(values[0])),
	}, flow, values)
	require.NoError(t, err)

	places := []string{placeHistory, placeMemo, placePending, placeDescribed, placeMetadata}
	missing := secrets
	testkit.Eventually(t, patience, func() bool {
		d, _ := dumpWorkflows(t, j.temporal, j.stack.Namespace, "WorkflowType = '"+flow+"'")
		missing = slices.DeleteFunc(slices.Clone(secrets), func(s canary) bool {
			return len(d) > 0 && !slices.ContainsFunc(places, func(place string) bool { return !slices.Contains(d.found(s), place) })
		})
		return len(missing) == 0 && slices.Contains(d.found(secrets[0]), placeAttributes)
	}, "every secret to be found where nothing is encrypted")
	require.NoError(t, j.temporal.TerminateWorkflow(t.Context(), run.GetID(), run.GetRunID(), "the test is over"))
}

const refuseActivity = "Refuse"

// control is a flow as one must not be written.
func control(ctx workflow.Context, values []string) error {
	workflow.SetCurrentDetails(ctx, strings.Join(values, "\n"))
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{InitialInterval: time.Hour},
	})
	var all []workflow.Future
	for _, value := range values {
		all = append(all, workflow.ExecuteActivity(ctx, refuseActivity, value))
	}
	for _, one := range all {
		if err := one.Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func refuse(_ context.Context, value string) error { return errors.New("refused: " + value) }

// readTemporal is a client that has no key.
func readTemporal(t testing.TB, s *stacktest.Stack) temporalclient.Client {
	t.Helper()
	c, err := temporalclient.Dial(temporalclient.Options{
		HostPort: s.TemporalAddress, Namespace: s.Namespace, Logger: log.NewStructuredLogger(slog.New(slog.DiscardHandler)),
	})
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}
