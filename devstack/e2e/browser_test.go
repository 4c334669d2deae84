//go:build unix

package e2e_test

import (
	"errors"
	"flag"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caarlos0/env/v11"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/devstack/browser"
	"gatehouse/devstack/stack"
	"gatehouse/internal/machine"
)

var screenshots = flag.String("screenshots", "", "the folder that TestUI_AnOperatorReadsAFlow writes its pictures to")

// watched is a system with a Temporal UI that a browser looks at, as an operator does.
type watched struct {
	*system
	browser *browser.Browser
	ui      *stack.UI
	// codec is where the browser has payloads decoded.
	codec string
}

// findBrowser skips the test where there is no browser, unless GATEHOUSE_TEST_BROWSER says that there has to be one.
func findBrowser(t *testing.T) *browser.Browser {
	t.Helper()
	var wanted struct {
		Browser string `env:"GATEHOUSE_TEST_BROWSER"`
	}
	require.NoError(t, env.Parse(&wanted))
	found, err := browser.Find(filepath.Join("..", "browser"))
	if errors.Is(err, browser.ErrNone) && wanted.Browser != "required" {
		t.Skip(err)
	}
	require.NoError(t, err)
	return found
}

// watch starts a system whose codec serves a UI. It is skipped as findBrowser says.
func watch(t *testing.T, settings ...string) *watched {
	t.Helper()
	found := findBrowser(t)
	port, err := machine.FreePort()
	require.NoError(t, err)
	w := &watched{browser: found}
	w.system = startSystem(t, append(settings, "GATEHOUSE_TEMPORAL_UI_URL", "http://localhost:"+strconv.Itoa(port))...)
	w.codec = w.stack.OpsURL // as `make run` has it
	protected := w.stack.Setting("GATEHOUSE_CODEC_PASSWORD") != ""
	if protected {
		w.codec = strings.Replace(w.codec, "127.0.0.1", "localhost", 1) // browsers keep a sign-in for one site
	}
	w.ui = w.startUI(t, stack.UIOptions{Port: port, CodecEndpoint: w.codec, CodecCredentials: protected})
	return w
}

func (w *watched) startUI(t *testing.T, o stack.UIOptions) *stack.UI {
	t.Helper()
	o.TemporalAddress, o.Namespace = w.stack.TemporalAddress, w.stack.Namespace
	ui, err := stack.StartUI(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(ui.Stop)
	return ui
}

// link is where `gatehouse flows find` says that the newest flow of a kind is.
func (w *watched) link(t *testing.T, email, kind string) string {
	t.Helper()
	for _, flow := range findFlows(t, w.stack, "--email", email).Flows {
		if flow.Kind == kind {
			return flow.Link
		}
	}
	t.Fatalf("no %s is found", kind)
	return ""
}

// look opens pages with everything that is waited for to be read, and returns what else there was.
func (w *watched) look(t *testing.T, pages ...browser.Page) []string {
	t.Helper()
	all, err := w.browser.Look(t.Context(), pages...)
	require.NoError(t, err)
	var texts []string
	for i, seen := range all {
		require.Empty(t, seen.Missing, "on %s, which shows:\n%s", pages[i].URL, seen.Text)
		texts = append(texts, seen.Text)
	}
	return texts
}

func picture(name string) string {
	if *screenshots == "" {
		return ""
	}
	return filepath.Join(*screenshots, name+".png")
}

// Where is this user's flow, why, and what next: the address leads to the flow, and the flow tells the rest, masked.
func TestUI_AnOperatorReadsAFlow(t *testing.T) {
	t.Parallel()
	w := watch(t)
	email := newEmail()
	masked := account.MaskEmail(email)
	w.initiate(t, email)
	code := w.awaitCode(t, email)
	w.db.eventually(t, 1, `SELECT count(*) FROM messages WHERE masked_destination = $1 AND state = 'sent'`, masked)
	signup := w.link(t, email, "signup")
	waiting := w.look(t,
		browser.Page{URL: signup + "/user-metadata", Screenshot: picture("flow-details"), Wait: []string{
			"Sign-up of " + masked, "Began by\tcode", "Stage\tawaiting_proof", "Address\t" + masked, "Newest code\tsent, expires 20", "Attempts\t5 for each code", "Gives up\t20",
			"Next\tthe code is entered, or another one asked for; else the sign-up is removed",
		}},
		browser.Page{URL: signup + "/timeline", Wait: []string{"SendCode • send the code to " + masked, "give up if unproven"}},
		browser.Page{URL: signup + "/history", Screenshot: picture("flow-history"), Show: "Activity Task Scheduled", Wait: []string{
			"send the code to " + masked, "give up if unproven", "make the code of the sign-up",
		}},
		browser.Page{URL: signup + "/search-attributes", Wait: []string{"FlowKind", "signup", "FlowStage", "awaiting_proof", "NextActionAt"}},
	)
	require.NotContains(t, strings.Join(waiting, "\n"), email)
	require.NotContains(t, strings.Join(waiting, "\n"), code)

	done := w.want(t, 200, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	w.want(t, 200, subscribe(done.text(t, "session_token"), starterPlan, visa))
	w.look(t,
		browser.Page{URL: signup + "/timeline", Screenshot: picture("flow-timeline"), Show: "Hide idle time", Wait: []string{"SendMail • send the mail: welcome"}},
		browser.Page{URL: w.link(t, email, "subscription") + "/user-metadata", Screenshot: picture("flow-subscription"), Wait: []string{
			"Status\tactive", "Period\t20", "Next\trenew at 20", "Mail\tsubscription_paid: sent",
		}},
		browser.Page{
			URL:  w.ui.URL + "/namespaces/" + w.stack.Namespace + "/workflows?query=" + url.QueryEscape("FlowKind = 'subscription' AND FlowStage = 'active'"),
			Wait: []string{"sub/sub_", "Subscription"},
		},
	)
}

// Whoever has the UI and not the codec reads nothing of anybody: no summary of a flow or a message, no details, no input. What the
// steps and timers of all flows are called is in the clear.
func TestUI_WithoutTheCodecAllIsSealed(t *testing.T) {
	t.Parallel()
	w := watch(t, "GATEHOUSE_CODEC_PASSWORD", codecPassword)
	email := newEmail()
	masked := account.MaskEmail(email)
	w.initiate(t, email)
	w.awaitCode(t, email)
	signup := w.link(t, email, "signup")
	clear := []string{masked, "send the code", "Sign-up of", "awaiting_proof |", "AttemptID"}

	elsewhere := strings.Replace(signup, w.ui.URL, w.startUI(t, stack.UIOptions{}).URL, 1)
	w.browser.User, w.browser.Password = "codec", "not-the-"+codecPassword
	for name, flow := range map[string]string{"no codec": elsewhere, "a wrong password": signup} {
		texts := w.look(t,
			browser.Page{URL: flow + "/history", Wait: []string{"Activity Task Scheduled", "SendCode", sealed}},
			browser.Page{URL: flow + "/user-metadata", Wait: []string{"Current Details"}},
		)
		for _, c := range clear {
			require.NotContains(t, strings.Join(texts, "\n"), c, name)
		}
	}
	// As the runbook says: signed in once at the codec, which is of the site that the UI is of.
	w.browser.Password = codecPassword
	w.look(t,
		browser.Page{URL: w.codec + "/decode"},
		browser.Page{URL: signup + "/user-metadata", Wait: []string{"Sign-up of " + masked, "Stage\tawaiting_proof"}},
		browser.Page{URL: signup + "/history", Wait: []string{"send the code to " + masked}},
	)
}

// sealed is how an encrypted payload begins where it is shown: its version, in base64.
const sealed = `"A`
