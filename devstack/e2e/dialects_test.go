//go:build unix

package e2e_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/internal/testkit"
)

// TestDialects_OneAccount lives random lives. The model is one account; every step of its life is taken through one of the
// dialects that document it, drawn at random, and after every step the reads of all dialects must tell what the model knows,
// and whatever was revoked must be dead in each. -rapid.checks and -rapid.steps make it longer, -rapid.seed another one.
func TestDialects_OneAccount(t *testing.T) {
	t.Parallel()
	startLiving(t).play(t, nil)
}

// living is where random lives are lived.
type living struct {
	s       *system
	outside *outside
	service string
}

func startLiving(t *testing.T) living {
	t.Helper()
	o := startOutside(t)
	// Nobody waits here: what must be waited for has tests of its own.
	settings := append([]string{
		"GATEHOUSE_LINK_REDIRECT_URL", "https://app.example.com/linked", "GATEHOUSE_GOOGLE_REDIRECT_URL", redirectPage,
		"GATEHOUSE_RECOVERY_AGE", "1ms", "GATEHOUSE_CONTACT_AGE", "1ms",
		"GATEHOUSE_CODE_TRIES_PER_HOUR", "1000", "GATEHOUSE_CODE_TRIES_PER_DAY", "1000", "GATEHOUSE_LOGIN_FREE_FAILURES", "1000",
		"GATEHOUSE_TRUSTED_DEVICES", "1000", "GATEHOUSE_PHONE_SENDS_PER_HOUR", "1000", "GATEHOUSE_PHONE_PREFIX_PER_HOUR", "1000",
	}, quickSends...)
	for name, value := range o.settings() {
		settings = append(settings, name, value)
	}
	s := startSystem(t, settings...)
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "lives"))
	return living{s, o, service}
}

// play lives lives through what through makes of the transport of each, or through that itself.
func (on living) play(t *testing.T, through func(testing.TB, http.RoundTripper) http.RoundTripper) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		l := newLife(t, rt, on.s, on.outside, on.service)
		if through != nil {
			l.http.Transport = through(l.t, l.http.Transport)
		}
		defer l.http.CloseIdleConnections()
		l.begin()
		rt.Repeat(map[string]func(*rapid.T){
			"":                 l.step(l.agree),
			"proveAddress":     l.step(l.proveAddress),
			"logIn":            l.step(l.logIn),
			"logInAgain":       l.step(l.logIn),
			"refreshToken":     l.within(l.refreshToken),
			"choosePassword":   l.within(l.choosePassword),
			"forgetPassword":   l.step(l.forgetPassword),
			"rename":           l.within(l.rename),
			"onboard":          l.within(l.onboard),
			"changeSettings":   l.within(l.changeSettings),
			"chooseUsername":   l.within(l.chooseUsername),
			"moveEmail":        l.within(l.moveEmail),
			"unlinkEmail":      l.within(l.unlinkEmail),
			"provePhone":       l.within(l.provePhone),
			"linkProvider":     l.within(l.linkProvider),
			"unlinkProvider":   l.within(l.unlinkProvider),
			"turnTwoFactorOn":  l.within(l.turnTwoFactorOn),
			"turnTwoFactorOff": l.within(l.turnTwoFactorOff),
			"forgetDevice":     l.within(l.forgetDevice),
			"makeKey":          l.within(l.makeKey),
			"revokeKey":        l.within(l.revokeKey),
			"endSession":       l.within(l.endSession),
			"endOthers":        l.within(l.endOthers),
			"endAll":           l.within(l.endAll),
			"deactivate":       l.within(l.deactivate),
			"close":            l.within(l.close),
			"reopen":           l.step(l.reopen),
		})
	})
}

// player is a test that fails the life under way, so that rapid may make it shorter.
type player struct {
	testing.TB
	rt *rapid.T
}

func (p player) Helper()                      { p.rt.Helper() }
func (p player) Log(args ...any)              { p.rt.Log(args...) }
func (p player) Logf(format string, a ...any) { p.rt.Logf(format, a...) }
func (p player) Error(args ...any)            { p.Errorf("%s", fmt.Sprintln(args...)) }
func (p player) Fatal(args ...any)            { p.Fatalf("%s", fmt.Sprintln(args...)) }
func (p player) Fail()                        { p.rt.Fail() }
func (p player) FailNow()                     { p.rt.FailNow() }
func (p player) Failed() bool                 { return p.rt.Failed() }

// Errorf says it to the test, too: of a failure that does not come again rapid tells nothing.
func (p player) Errorf(format string, a ...any) {
	p.TB.Helper()
	p.TB.Logf(format, a...)
	p.rt.Errorf(format, a...)
}

func (p player) Fatalf(format string, a ...any) {
	p.Errorf(format, a...)
	p.rt.FailNow()
}

const (
	lifeOpen        = "open"
	lifeDeactivated = "deactivated"
	lifeClosed      = "closed"

	factorMail = "mail"
	factorApp  = "app"
)

// visit is a session of the account.
type visit struct {
	id, token, refresh string
	// factor is whether it has shown the second factor.
	factor bool
}

// life is what the model knows of one account. Empty texts stand for what is not there.
type life struct {
	*system
	t       player
	outside *outside
	service string

	state, undo         string
	id, email, password string
	proven              bool
	// muted says that what was mailed to prove the address has died since.
	muted          bool
	username, name string
	// renamed counts changes of the username, the first choice aside; former are the ones before.
	renamed              int
	former               []string
	theme, phone         string
	onboarded            bool
	providers            map[string]string
	factor               string
	app                  app
	devices, deadDevices []string
	visits, ended        []*visit
	keys, deadKeys       map[string]string
	pastEmails           []string
	// events is what the account's audit log holds: one for each change, whatever the way it was made.
	events []string
}

func newLife(t *testing.T, rt *rapid.T, s *system, o *outside, service string) *life {
	t.Helper()
	mine := *s
	mine.client = newClient(s.base)
	l := &life{
		system: &mine, t: player{t, rt}, outside: o, service: service, state: lifeOpen, theme: "dark",
		providers: map[string]string{}, keys: map[string]string{}, deadKeys: map[string]string{},
	}
	l.watch(l.t)
	return l
}

// step is an action of the life.
func (l *life) step(do func()) func(*rapid.T) {
	return func(rt *rapid.T) {
		l.t.rt = rt
		do()
	}
}

// need skips a step that this life cannot take now. Nothing may have happened before.
func (l *life) need(may bool) {
	if !may {
		l.t.rt.SkipNow()
	}
}

// way draws one of the ways to take a step: most are called after the row of the document.
func (l *life) way(ways ...string) string { return rapid.SampledFrom(ways).Draw(l.t.rt, "way") }

// within is an action within a session. A life that has none finds its way back to one instead.
func (l *life) within(do func(*visit)) func(*rapid.T) {
	return l.step(func() {
		switch {
		case l.state != lifeOpen:
			l.reopen()
		case len(l.visits) == 0:
			l.logIn()
		default:
			do(l.visit())
		}
	})
}

// logs says that a step has changed what protects the account.
func (l *life) logs(event string) { l.events = append(l.events, event) }

// visit draws a live session.
func (l *life) visit() *visit {
	return l.visits[rapid.IntRange(0, len(l.visits)-1).Draw(l.t.rt, "session")]
}

// fresh says whether a session may change how the account is opened (design D13): all are young.
func (l *life) fresh(v *visit) bool { return l.factor == "" || v.factor }

// binds says whether a session may bind something new to the account (design D5).
func (l *life) binds(v *visit) bool { return l.proven && l.fresh(v) }

// reachable says whether the account has a proven address.
func (l *life) reachable() bool { return l.proven && l.email != "" }

// does sends a request that must succeed, or be refused with a status.
func (l *life) does(succeeds bool, refusal int, in call) answer {
	l.t.Helper()
	got := l.send(l.t, in)
	if succeeds {
		require.True(l.t, got.ok(), "%s: %d %s", in.Path, got.Status, got.Body)
	} else {
		require.Equal(l.t, refusal, got.Status, "%s: %s", in.Path, got.Body)
	}
	return got
}

// may is does for a request that only some sessions may make.
func (l *life) may(allowed bool, in call) bool {
	l.t.Helper()
	l.does(allowed, http.StatusForbidden, in)
	return allowed
}

// mailed returns the mail with a subject that do has sent to an address.
func (l *life) mailed(email, subject string, do func()) inboxMessage {
	l.t.Helper()
	sent := func() []inboxMessage {
		return slices.DeleteFunc(l.inbox(l.t, email), func(m inboxMessage) bool { return m.Subject != subject })
	}
	before := len(sent())
	do()
	var now []inboxMessage
	testkit.Eventually(l.t, patience, func() bool {
		now = sent()
		return len(now) > before
	}, subject)
	return now[0]
}

// enters keeps a new session.
func (l *life) enters(v *visit) {
	l.t.Helper()
	v.id = l.sessionID(l.t, v.token)
	l.visits = append(l.visits, v)
}

// ends ends the sessions that go.
func (l *life) ends(goes func(*visit) bool) {
	for _, v := range l.visits {
		if goes(v) {
			l.ended = append(l.ended, v)
		}
	}
	l.visits = slices.DeleteFunc(l.visits, goes)
}

// endsAllBut ends all sessions but one, nil for none.
func (l *life) endsAllBut(kept *visit) { l.ends(func(v *visit) bool { return v != kept }) }

func (l *life) forgetsDevices() {
	l.deadDevices = append(l.deadDevices, l.devices...)
	l.devices = nil
}

// shuts ends whatever opens the account.
func (l *life) shuts() {
	l.endsAllBut(nil)
	l.forgetsDevices()
	l.losesKeys()
}

func (l *life) losesKeys() {
	maps.Copy(l.deadKeys, l.keys)
	clear(l.keys)
}

// unused is a password that nobody has.
func unused() string { return "Fresh-7-" + rand.Text()[:16] }

// begin makes the account.
func (l *life) begin() {
	l.email, l.password = newEmail(), unused()
	way := l.way("C08", "C29", "B02", "B09", "C17")
	v := &visit{}
	var got answer
	switch way {
	case "C08", "C29":
		path := map[string]string{"C08": pathInitiateSignup, "C29": "/api/v1/auth/signup"}[way]
		l.want(l.t, http.StatusOK, call{Path: path, Body: fields{"email": l.email, "password": l.password}})
		got = l.want(l.t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": l.email, "code": l.awaitCode(l.t, l.email)}})
		v.token, l.proven = got.text(l.t, "session_token"), true
	case "B02":
		l.username = newUsername()
		got = l.want(l.t, http.StatusOK, call{Path: pathRegister, Body: fields{"username": l.username, "email": l.email, "password": l.password}})
		v.token = got.text(l.t, "token")
	case "C17":
		l.password, l.name, l.proven = "", "Ann", true
		l.providers["google"] = "sub-" + rand.Text()
		got = l.byBackend("google", nil)
		require.Equal(l.t, http.StatusOK, got.Status, "%s", got.Body)
		v.token = got.text(l.t, "session_token")
	case "B09":
		l.password, l.name, l.proven = "", "Jane Doe", true
		l.providers["google"] = "sub-" + rand.Text()
		got = l.byGoogle(nil)
		require.Equal(l.t, "Registration successful", got.text(l.t, "message"))
		v.token = got.text(l.t, "token")
	}
	l.id = l.want(l.t, http.StatusOK, call{Path: pathMe, Token: v.token}).text(l.t, "id")
	l.logs("account.created")
	l.enters(v)
}

// byGoogle signs in at Google's own page.
func (l *life) byGoogle(header map[string]string) answer {
	page := &googleSystem{system: l.system, oidc: l.outside.oidc}
	code := page.code(l.t, visitor{subject: l.providers["google"], email: l.email, verified: true})
	return l.send(l.t, call{Path: pathGoogle, Header: header, Body: fields{"code": code}})
}

// byBackend signs in by an outside account that a backend has seen.
func (l *life) byBackend(provider string, header map[string]string) answer {
	email := l.email
	if email == "" {
		email = newEmail() // an account that has none
	}
	return l.send(l.t, call{Path: pathOAuthSignin, Token: l.service, Header: header, Body: fields{
		"email": email, "provider": provider, "provider_account_id": l.providers[provider], "name": "Ann",
	}})
}
