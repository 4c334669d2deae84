//go:build unix

package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

// masked are the parts of an answer that differ between any two answers.
var masked = regexp.MustCompile(`user-[a-z0-9]+@example\.com|user-[a-z0-9]{8,}|[0-9a-f]{8}-[0-9a-f-]{27}|eyJ[\w-]+\.[\w-]+\.[\w-]+|"action_time":"[^"]+"`)

// operationIDs are random but for their version and kind.
var operationIDs = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f]{2})[0-9a-f]{2}-[0-9a-f]{4}-[0-9a-f]{12}`)

// operationTimes are the ends of operations that were begun one after the other.
var operationTimes = regexp.MustCompile(`"expiresAt":"[^"]+"`)

// look is what an attacker sees of an answer: status, headers and body.
func look(a answer) string {
	var b strings.Builder
	fmt.Fprintln(&b, a.Status)
	for _, name := range slices.Sorted(maps.Keys(a.Header)) {
		if name != "Date" && name != "X-Request-Id" && name != "Retry-After" {
			fmt.Fprintln(&b, name, operationIDs.ReplaceAllString(fmt.Sprint(a.Header[name]), "*-$1-*"))
		}
	}
	b.WriteString(masked.ReplaceAllString(string(a.Body), "*"))
	return b.String()
}

// requireSame is O-same without its clock: answers to different populations look alike. Times to wait may differ by what
// passes between the calls.
func requireSame(t *testing.T, answers map[string]answer) {
	t.Helper()
	names := slices.Sorted(maps.Keys(answers))
	first := answers[names[0]]
	for _, name := range names[1:] {
		require.Equal(t, look(first), look(answers[name]), "%s and %s", names[0], name)
		waits := []float64{wait(t, first), wait(t, answers[name])}
		require.InDelta(t, waits[0], waits[1], 6, "%s and %s", names[0], name)
	}
}

func wait(t *testing.T, a answer) float64 {
	t.Helper()
	if a.Header.Get("Retry-After") == "" {
		return 0
	}
	seconds, err := strconv.Atoi(a.Header.Get("Retry-After"))
	require.NoError(t, err)
	return float64(seconds)
}

// outcomes is how often an attacker meets what.
type outcomes map[string]answer

// everywhere asks the same of every population.
func everywhere(populations map[string]string, ask func(email string) answer) outcomes {
	out := outcomes{}
	for name, email := range populations {
		out[name] = ask(email)
	}
	return out
}

func TestEnumeration(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"ENU01_Login":            loginTellsNothing,
		"ENU05_LoginBudget":      loginBudgetTellsNothing,
		"ENU05_SendBudget":       sendBudgetTellsNothing,
		"ENU05_GuessBudget":      guessBudgetTellsNothing,
		"D10_DocumentedIsAsked":  documentedModeTells,
		"ENU_OperationsAndLinks": operationsTellNothing,
	})
}

// people are accounts that must look alike to whoever does not know their password. The password is right for those that
// may not sign in.
func (s *system) people(t *testing.T) map[string]string {
	t.Helper()
	people := map[string]string{}
	for _, name := range []string{"unknown", "known", "unverified", "pending", "deactivated", "locked", "closed", "passwordless"} {
		people[name] = newEmail()
		if name != "unknown" && name != "pending" {
			s.register(t, people[name], people[name])
		}
	}
	s.initiate(t, people["pending"])
	for name, change := range map[string]string{
		"known":        "email_verified_at = now()",
		"deactivated":  "email_verified_at = now(), is_active = false",
		"locked":       "email_verified_at = now(), is_locked = true",
		"closed":       "email_verified_at = now(), deleted_at = now()",
		"passwordless": "email_verified_at = now(), password_hash = NULL",
	} {
		s.db.change(t, `UPDATE accounts SET `+change+` WHERE email = $1`, people[name])
	}
	return people
}

// pass is wrong where the right one would sign in.
func pass(name string) string {
	if name == "known" || name == "unverified" || name == "mfa" {
		return "a wrong password"
	}
	return password
}

func (s *system) signIns(t *testing.T, people map[string]string, c func(email, pass string) answer) outcomes {
	t.Helper()
	out := outcomes{}
	for name, email := range people {
		out[name] = c(email, pass(name))
	}
	return out
}

func loginTellsNothing(t *testing.T, s *system) {
	people := s.people(t)
	people["mfa"] = s.enrolled(t).email
	byC := s.signIns(t, people, func(email, pass string) answer { return s.login(t, email, pass) })
	requireSame(t, byC)
	require.Equal(t, http.StatusUnauthorized, byC["unknown"].Status)
	require.Equal(t, "invalid_credentials", byC["unknown"].code())
	byB := s.signIns(t, people, func(email, pass string) answer { return s.authenticate(t, email, pass) })
	requireSame(t, byB)
	require.Equal(t, "invalid_credentials", byB["unknown"].code())
	require.Equal(t, http.StatusOK, s.login(t, people["known"], password).Status) // the populations are what they claim
	require.Equal(t, http.StatusOK, s.login(t, people["unverified"], password).Status)
}

func (s *system) accountKey(t *testing.T, email string) []byte {
	t.Helper()
	ids := s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email)
	if len(ids) == 0 {
		return nil
	}
	return s.keys.Subject("login-account", ids[0])
}

// auc is how well the time alone tells two populations apart: 0.5 is not at all.
func auc(a, b []time.Duration) float64 {
	later := 0.0
	for _, x := range a {
		for _, y := range b {
			switch {
			case y > x:
				later++
			case y == x:
				later += 0.5
			}
		}
	}
	return later / float64(len(a)*len(b))
}

// The wait after wrong passwords begins at the same count for everybody.
func loginBudgetTellsNothing(t *testing.T, s *system) {
	people := s.people(t)
	statuses := map[string][]int{}
	for name, email := range people {
		for range 7 {
			got := s.login(t, email, pass(name))
			statuses[name] = append(statuses[name], got.Status)
			if got.Status == http.StatusTooManyRequests {
				require.Equal(t, "1", got.Header.Get("Retry-After"), name)
				break // what follows depends on the second that passes
			}
		}
	}
	for name := range people {
		require.Equal(t, []int{401, 401, 401, 401, 401, 429}, statuses[name], name)
	}
}

// The budget of codes is the same for whoever awaits one and whoever does not, once their quotas are fresh.
func sendBudgetTellsNothing(t *testing.T, s *system) {
	people := s.people(t)
	delete(people, "closed") // its address is free: as unknown
	purposes := map[string]string{}
	for name, email := range people {
		purposes[name] = "signup"
		if name == "unverified" {
			purposes[name] = "email"
		}
		_, err := s.db.Exec(t.Context(), `DELETE FROM quotas WHERE key = $1`, s.keys.Subject("send/"+purposes[name], email))
		require.NoError(t, err)
	}
	send := func(email string) answer { return s.send(t, call{Path: pathSendCode, Body: fields{"email": email}}) }
	for n := 1; n <= 6; n++ {
		got := everywhere(people, send)
		requireSame(t, got)
		want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[n <= 5]
		require.Equal(t, want, got["unknown"].Status, "code %d", n)
		again := everywhere(people, send)
		requireSame(t, again)
		require.Equal(t, http.StatusTooManyRequests, again["unknown"].Status)
		for name, email := range people {
			s.passTime(t, purposes[name], email, time.Minute)
		}
	}
}

func guessBudgetTellsNothing(t *testing.T, s *system) {
	people := s.people(t)
	s.awaitMail(t, people["pending"], 1)
	for _, path := range []string{pathCompleteSignup, pathVerifyCode} {
		for n := 1; n <= 11; n++ {
			if path == pathVerifyCode && n == 1 {
				delete(people, "pending") // its budget is spent: the two routes guess the same code
			}
			got := everywhere(people, func(email string) answer {
				return s.send(t, call{Path: path, Body: fields{"email": email, "code": fmt.Sprintf("00000%d", n%10)}})
			})
			requireSame(t, got)
			want := map[bool]int{true: http.StatusBadRequest, false: http.StatusTooManyRequests}[n <= 10]
			require.Equal(t, want, got["unknown"].Status, "guess %d", n)
		}
	}
}

// The documents print these answers, so the documented mode gives them; the other routes stay silent even then.
func documentedModeTells(t *testing.T, s *system) {
	people := s.people(t)
	for _, c := range []struct {
		name             string
		initiate, signup int
		register         int
	}{
		{"unknown", 200, 200, 200}, {"known", 409, 409, 400}, {"deactivated", 409, 409, 400}, {"unverified", 200, 200, 400},
	} {
		email := people[c.name]
		body := fields{"email": email, "password": password}
		require.Equal(t, c.register, s.send(t, call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": password}}).Status, c.name)
		require.Equal(t, c.initiate, s.send(t, call{Path: pathInitiateSignup, Body: body}).Status, c.name)
		require.Equal(t, c.signup, s.send(t, call{Path: pathSignup, Body: body}).Status, c.name)
	}
}

func operationsTellNothing(t *testing.T, s *system) {
	people := s.people(t)
	for _, email := range people {
		for _, id := range append(s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email),
			s.db.texts(t, `SELECT s.id::text FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE a.email = $1`, email)...) {
			require.Equal(t, http.StatusNotFound, s.send(t, call{Path: "/v1/operations/" + id}).Status)
		}
	}
	for _, token := range []string{"x", strings.Repeat("A", 43), strings.Repeat("-", 43)} {
		s.refused(t, http.StatusBadRequest, "invalid_token", call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": token}})
	}
}

// ENU-03: in hidden mode a sign-up tells nobody but the owner whether an address is taken.
func TestEnumeration_ENU03_Hidden(t *testing.T) {
	t.Parallel()
	s := startSystem(t, "GATEHOUSE_ENUMERATION", "hidden")
	playAll(t, s, map[string]func(*testing.T, *system){
		"InitiateSignup": hiddenInitiate,
		"ENU05_Budget":   hiddenBudget,
		"Register":       hiddenRegister,
		"Username":       hiddenUsername,
		"Guesses":        hiddenGuesses,
	})
}

func (s *system) owners(t *testing.T) (populations map[string]string, token string) {
	t.Helper()
	populations = map[string]string{"new": newEmail(), "verified": newEmail(), "unverified": newEmail()}
	token = s.signUp(t, populations["verified"])
	s.register(t, populations["unverified"], populations["unverified"])
	s.awaitMail(t, populations["verified"], 2)
	s.awaitMail(t, populations["unverified"], 1)
	s.passTime(t, "signup", populations["verified"], time.Hour)
	s.passTime(t, "email", populations["unverified"], time.Hour)
	return populations, token
}

const existsSubject = "You already have a Gatehouse account"

func hiddenInitiate(t *testing.T, s *system) {
	people, token := s.owners(t)
	attempt := func(path string) outcomes {
		return everywhere(people, func(email string) answer {
			return s.send(t, call{Path: path, Body: fields{"email": email, "password": password + " of a stranger"}})
		})
	}
	named := map[string]string{}
	for name, email := range people {
		named[email] = name
	}
	for range 2 { // the second joins the first, and sends nothing
		first := attempt(pathInitiateSignup)
		requireSame(t, first)
		require.Equal(t, http.StatusOK, first["verified"].Status)
		requireSame(t, attempt(pathSignup))
		// What they have begun looks alike as well, and tells the time alone.
		requireSame(t, everywhere(people, func(email string) answer {
			got := s.want(t, http.StatusOK, call{Path: first[named[email]].Header.Get("Operation-Location")})
			got.Body = operationTimes.ReplaceAll(got.Body, []byte("*"))
			return got
		}))
	}
	require.Equal(t, existsSubject, s.awaitMail(t, people["verified"], 3).Subject)
	require.Equal(t, "Your Gatehouse code", s.awaitMail(t, people["new"], 1).Subject)
	requireSame(t, everywhere(people, func(email string) answer {
		return s.send(t, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": "000000"}})
	}))
	// Nothing happened to the owner, who got one mail and no code.
	s.requireAlive(t, token)
	require.Equal(t, http.StatusOK, s.login(t, people["verified"], password).Status)
	require.Equal(t, http.StatusUnauthorized, s.login(t, people["verified"], password+" of a stranger").Status)
	mails := s.inbox(t, people["verified"])
	require.Len(t, mails, 3)
	require.Empty(t, mails[0].Code)
	require.NotContains(t, mails[0].Text, "token=")
}

// The budget of mails ends in silence, whether or not a code still lives.
func hiddenBudget(t *testing.T, s *system) {
	people, _ := s.owners(t)
	attempt := func() {
		got := everywhere(people, func(email string) answer {
			return s.send(t, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password + " of a stranger"}})
		})
		requireSame(t, got)
		require.Equal(t, http.StatusOK, got["verified"].Status)
	}
	mailed := func(n int) {
		t.Helper()
		for name, before := range map[string]int{"new": 0, "verified": 2, "unverified": 1} {
			s.awaitMail(t, people[name], before+n) // else the next attempt joins a mail that is still on its way
		}
		s.db.eventually(t, n, `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`, people["new"])
		s.db.eventually(t, 0, `SELECT count(*) FROM messages WHERE state = 'queued'`)
	}
	for n := 1; n <= 5; n++ {
		attempt()
		mailed(n)
		for _, email := range people {
			s.passTime(t, "signup", email, 9*time.Minute)
		}
	}
	attempt()
	_, err := s.db.Exec(t.Context(), `UPDATE challenges SET code_expires_at = now() WHERE destination = ANY($1)`, slices.Collect(maps.Values(people)))
	require.NoError(t, err)
	for _, email := range people {
		s.passTime(t, "signup", email, time.Minute)
	}
	attempt()
	for name, mails := range map[string]int{"new": 5, "verified": 7, "unverified": 6} {
		require.Len(t, s.inbox(t, people[name]), mails, name)
	}
}

func hiddenRegister(t *testing.T, s *system) {
	people, token := s.owners(t)
	got := everywhere(people, func(email string) answer {
		return s.send(t, call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": password + " of a stranger"}})
	})
	requireSame(t, got)
	require.Equal(t, http.StatusOK, got["verified"].Status)
	ids := s.db.texts(t, `SELECT id::text FROM accounts`)
	for name, a := range got {
		_, claims := opened(t, a.text(t, "token"))
		require.Equal(t, a.text(t, "userId"), claims["sub"])
		require.Equal(t, name == "new", slices.Contains(ids, a.text(t, "userId")), "the id of the owner is told")
	}
	// Nothing opens before the proof, and nothing tells that there will be anything to open.
	shown := []call{moveTo("", newEmail()), {Method: http.MethodPost, Path: pathLogout}, {Path: pathSessions}}
	for _, path := range protected {
		shown = append(shown, call{Path: path})
	}
	for _, c := range shown {
		answers := outcomes{}
		for name, a := range got {
			c.Token = a.text(t, "token")
			answers[name] = s.send(t, c)
		}
		requireSame(t, answers)
		require.Equal(t, http.StatusUnauthorized, answers["new"].Status, c.Path)
	}
	requireSame(t, everywhere(people, func(email string) answer { return s.login(t, email, password+" of a stranger") }))
	requireSame(t, everywhere(people, func(email string) answer { return s.authenticate(t, email, password+" of a stranger") }))
	for range 2 { // the second is too soon
		requireSame(t, everywhere(people, func(email string) answer {
			return s.send(t, call{Path: pathSendCode, Body: fields{"email": email}})
		}))
	}
	testkit.Eventually(t, patience, func() bool { return s.inbox(t, people["verified"])[0].Subject == existsSubject }, "the owner's mail")
	require.Equal(t, "Confirm your email address", s.awaitMail(t, people["unverified"], 2).Subject, "it is nobody's yet")
	require.Equal(t, "Confirm your email address", s.awaitMail(t, people["new"], 1).Subject)
	s.requireAlive(t, token)
	require.Equal(t, http.StatusOK, s.login(t, people["verified"], password).Status)
	require.Equal(t, http.StatusUnauthorized, s.login(t, people["verified"], password+" of a stranger").Status)
	for _, email := range people {
		require.Equal(t, 1, s.db.number(t, accounts, email))
	}
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": people["new"], "code": s.inbox(t, people["new"])[0].Code}})
	s.requireAlive(t, got["new"].text(t, "token"))
	s.requireDead(t, got["verified"].text(t, "token"))
	require.Equal(t, http.StatusOK, s.login(t, people["new"], password+" of a stranger").Status)
	// PRE-06: two passwords asked for it, so neither opens it.
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": people["unverified"], "code": s.inbox(t, people["unverified"])[0].Code}})
	for _, known := range []string{password, password + " of a stranger"} {
		require.Equal(t, http.StatusUnauthorized, s.login(t, people["unverified"], known).Status)
	}
	require.Equal(t, 0, s.db.number(t, `SELECT count(*) FROM sessions s JOIN accounts a ON a.id = s.account_id
		WHERE a.email = $1 AND s.revoked_at IS NULL`, people["unverified"]))
}

// ENU-05: ten wrong codes, and then what awaits a code only where the address is free.
func hiddenGuesses(t *testing.T, s *system) {
	beside(t, map[string]func(email string){
		"change of email": func(email string) { s.want(t, http.StatusOK, moveTo(s.signUp(t, newEmail()), email)) },
		"registration":    func(email string) { s.register(t, email, email) },
		"sign-up": func(email string) {
			s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password + " of a stranger"}})
		},
	}, func(t *testing.T, ask func(email string)) {
		people := map[string]string{"new": newEmail(), "verified": newEmail()}
		s.signUp(t, people["verified"])
		s.awaitMail(t, people["verified"], 2)
		s.passTime(t, "signup", people["verified"], time.Hour)
		guess := func(path string) int {
			got := everywhere(people, func(email string) answer {
				return s.send(t, call{Path: path, Body: fields{"email": email, "code": "000000"}})
			})
			requireSame(t, got)
			return got["new"].Status
		}
		for range 9 {
			require.Equal(t, http.StatusBadRequest, guess(pathVerifyCode))
		}
		for _, email := range people {
			ask(email)
		}
		s.awaitMail(t, people["new"], 1)
		require.Equal(t, http.StatusBadRequest, guess(pathVerifyCode))
		require.Equal(t, http.StatusTooManyRequests, guess(pathVerifyCode))
		require.Equal(t, http.StatusTooManyRequests, guess(pathCompleteSignup))
	})
}

// A taken username may be told, whatever the email; a free one tells nothing of the email.
func hiddenUsername(t *testing.T, s *system) {
	people, _ := s.owners(t)
	taken := "taken" + newEmail()[5:13]
	owner := newEmail()
	s.register(t, taken, owner)
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": owner, "code": s.awaitMail(t, owner, 1).Code}})
	register := func(username string) outcomes {
		return everywhere(people, func(email string) answer {
			return s.send(t, call{Path: pathRegister, Body: fields{"username": username, "email": email, "password": password}})
		})
	}
	got := register(taken)
	requireSame(t, got)
	require.Equal(t, "identity_already_used", got["new"].code())
	fresh := outcomes{}
	for name, email := range people {
		username := "free_" + email[5:13]
		fresh[name] = s.send(t, call{Path: pathRegister, Body: fields{"username": username, "email": email, "password": password}})
		require.Equal(t, username, fresh[name].text(t, "username"))
		fresh[name] = answer{Status: fresh[name].Status, Header: fresh[name].Header, Body: []byte(strings.ReplaceAll(string(fresh[name].Body), username, "*"))}
	}
	requireSame(t, fresh)
	// Nobody has the name before the proof; then whoever asked for it has.
	available := func(email string) bool {
		free, _ := s.available(t, "free_"+email[5:13])
		return free
	}
	for name, email := range people {
		require.True(t, available(email), name)
	}
	s.want(t, http.StatusOK, call{Path: pathVerifyCode, Body: fields{"email": people["new"], "code": s.awaitMail(t, people["new"], 1).Code}})
	require.False(t, available(people["new"]))
	require.Equal(t, http.StatusOK, s.authenticate(t, "free_"+people["new"][5:13], password).Status)
}
