//go:build unix

package e2e_test

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// What an account has, gets and loses, asked for a hundred times at once over two APIs.
func TestRace_Accounts(t *testing.T) { //nolint:paralleltest // one arena at a time
	race(t, map[string]func(*testing.T, *arena){
		"PRE-09_EverySignUpAtOnce":              everySignUp,
		"PRE-09_RegistrationsOnly":              registrationsOnly,
		"I-15_OneIdempotencyKey":                oneIdempotencyKey,
		"OTP-13_EverySendIsSentOnce":            sentOnce,
		"OTP-13_FiveInAnHourTenInADay":          boundedSends,
		"OAU-03_OneTokenTwoAccounts":            oneTokenTwoAccounts,
		"OAU-03_OneCodeOfGoogle":                oneGoogleCode,
		"OAU-07_OneState":                       oneState,
		"OAU-11_OneWayInIsLeft":                 oneWayIn,
		"USR-03_OneUsernameOfMany":              usernameOfMany,
		"USR-03_ManyUsernamesOfOne":             usernamesOfOne,
		"I-11_WelcomeIsUnlockedOnce":            welcomeOnce,
		"I-03_PasswordIsAddedOnce":              passwordOnce,
		"SES-13_TheCapOfKeys":                   capOfKeys,
		"I-05_ClosureAgainstEverything":         closureAgainstEverything,
		"I-05_ResetAgainstEverything":           resetAgainstEverything,
		"I-07_OneAddressWantedByTwo":            addressOfTwo,
		"AUT-03_PushTokenClaimedByTwo":          pushTokenOfTwo,
		"I-05_ClosureOnce":                      closureOnce,
		"I-05_DeactivationAgainstLoginAndClose": deactivationAgainstLogin,
	})
}

// everySignUp makes one account of one address by code, by registration and by Google.
func everySignUp(t *testing.T, a *arena) {
	who := newVisitor()
	a.initiate(t, who.email)
	code := a.awaitCode(t, who.email)
	complete := call{Path: pathCompleteSignup, Body: fields{"email": who.email, "code": code}}
	register := call{Path: pathRegister, Body: fields{"email": who.email, "username": who.email, "password": "Another-Horse-9-battery"}}
	var calls []call
	for len(calls) < crowd {
		calls = append(calls, complete, register, call{Path: pathGoogle, Body: fields{"code": a.code(t, who)}}, complete)
	}
	mathrand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	answers := a.burst(t, calls...)
	require.NotEmpty(t, successes(answers), "%v", tally(answers))
	completed, proven := 0, false
	for i, got := range answers {
		if got.ok() && calls[i].Path != pathRegister {
			proven = true
		}
		if got.ok() && calls[i].Path == pathCompleteSignup {
			completed++
		}
	}
	require.LessOrEqual(t, completed, 1, "%v", tally(answers))
	a.see(t, effect{1, accounts, []any{who.email}})
	require.LessOrEqual(t, a.db.number(t, bonuses, who.email), 1)
	if proven {
		// Whoever proved the mailbox has the account; a password that somebody registered before opens nothing.
		a.see(t, effect{1, bonuses, []any{who.email}}, effect{1, accounts + ` AND email_verified_at IS NOT NULL`, []any{who.email}})
		require.NotEqual(t, http.StatusOK, a.login(t, who.email, "Another-Horse-9-battery").Status)
		for i, got := range answers {
			if got.ok() && calls[i].Path == pathRegister {
				require.Equal(t, http.StatusUnauthorized, a.send(t, call{Path: pathMe, Token: got.text(t, "token")}).Status, "a squatter's token")
			}
		}
	}
}

func registrationsOnly(t *testing.T, a *arena) {
	email := newEmail()
	calls := make([]call, crowd)
	for i := range calls {
		calls[i] = call{Path: pathRegister, Body: fields{"email": email, "username": newUsername(), "password": fmt.Sprint("race-Password-", i)}}
	}
	a.once(t, once{calls: calls, refused: []int{400, 409, 429}, effects: []effect{
		{1, accounts, []any{email}}, {1, sessions, []any{email}}, {1, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, []any{email}},
	}})
}

// One Idempotency-Key is one execution, and everybody who knows it gets the same bytes, from either API.
func oneIdempotencyKey(t *testing.T, a *arena) {
	for name, test := range killedAnswers() {
		email := newEmail()
		one := call{Path: test.path, Body: test.prepare(t, a.client, email), Key: rand.Text()}
		answers := a.burst(t, filled(one)...)
		for _, got := range answers {
			require.Equal(t, http.StatusOK, got.Status, "%s: %s", name, got.Body)
			require.Equal(t, string(answers[0].Body), string(got.Body), name)
		}
		require.Equal(t, 1, a.db.number(t, allCodes, email), name)
		require.LessOrEqual(t, a.db.number(t, sessions, email), 1, name)
		require.LessOrEqual(t, a.db.number(t, accounts, email), 1, name)
		other := one
		other.Body = fields{"email": newEmail(), "code": "123456", "username": "", "password": password}
		require.Contains(t, string(a.apis[1].send(t, other).Body), "idempotency_key_reused", name)
	}
}

// sentOnce asks a hundred times for each kind of message: one is sent.
func sentOnce(t *testing.T, a *arena) {
	email, other, number := newEmail(), newEmail(), newNumber(t)
	const toAddress = `SELECT count(*) FROM dev_inbox WHERE recipient = $1`
	a.burst(t, filled(call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})...)
	code := a.awaitCode(t, email)
	require.Equal(t, 1, a.db.number(t, toAddress, email))
	require.Equal(t, 1, a.db.number(t, allCodes, email))
	require.Equal(t, 1, a.db.number(t, `SELECT count(*) FROM signup_attempts WHERE email = $1`, email))
	token := a.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}).text(t, "session_token")
	for _, one := range []struct {
		ask call
		see effect
	}{
		{call{Path: pathForgotPassword, Body: fields{"email": email}}, effect{1, mails, []any{email, "Choose a new password"}}},
		{call{Path: pathResetB, Body: fields{"email": email}}, effect{1, mails, []any{email, "Choose a new password"}}},
		{call{Path: pathSendOTP, Token: token, Body: fields{"channel": "EMAIL"}}, effect{1, mails, []any{email, securityCodeSubject}}},
		{call{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": number}}, effect{1, toAddress, []any{number}}},
		{moveTo(token, other), effect{1, toAddress, []any{other}}},
		{linkTo(token, "x"+other), effect{1, toAddress, []any{"x" + other}}},
	} {
		answers := a.burst(t, filled(one.ask)...)
		for status := range tally(answers) {
			require.Contains(t, []int{200, 202, 204, 400, 409, 429, 503}, status, one.ask.Path)
		}
		a.see(t, one.see)
	}
}

// boundedSends lets the gap of a minute pass over and over: five messages in an hour and ten in a day, however many ask.
func boundedSends(t *testing.T, a *arena) {
	email := newEmail()
	a.initiate(t, email)
	ask := filled(call{Path: pathSendCode, Body: fields{"email": email}}, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})[:16]
	sent := func(most int) {
		t.Helper()
		for range 6 {
			a.passTime(t, "signup", email, time.Minute)
			a.burst(t, ask...)
		}
		require.LessOrEqual(t, a.db.number(t, allCodes, email), most)
	}
	sent(5)
	a.passTime(t, "signup", email, time.Hour)
	sent(10)
	a.passTime(t, "signup", email, time.Hour)
	a.burst(t, ask...)
	a.db.eventually(t, 10, allCodes, email) // not kept for the end: the sweep takes codes that are as old as these seem to be
	require.LessOrEqual(t, a.db.number(t, `SELECT count(*) FROM dev_inbox WHERE recipient = $1`, email), 10)
}

func oneTokenTwoAccounts(t *testing.T, a *arena) {
	ann, bob := a.signUp(t, newEmail()), a.signUp(t, newEmail())
	subject := uuid.NewString()
	token := a.out.idToken(t, a.oidc.ClientID, subject, newEmail())
	link := func(by string) call {
		return call{Path: pathLinkOAuth, Token: by, Body: fields{"provider": "GOOGLE", "idToken": token}}
	}
	a.once(t, once{calls: filled(link(ann), link(bob)), refused: []int{400, 401, 409}, effects: []effect{
		{1, `SELECT count(*) FROM linked_providers WHERE provider = 'google' AND provider_account_id = $1`, []any{subject}},
	}})
}

// oneGoogleCode signs in by one authorization code a hundred times: one of them is.
func oneGoogleCode(t *testing.T, a *arena) {
	who := newVisitor()
	in := call{Path: pathGoogle, Body: fields{"code": a.code(t, who)}}
	a.once(t, once{calls: filled(in), refused: []int{400, 401, 409, 429}, effects: []effect{
		{1, accounts, []any{who.email}}, {1, sessions, []any{who.email}}, {1, bonuses, []any{who.email}},
	}})
}

func oneState(t *testing.T, a *arena) {
	email := newEmail()
	mine := a.signUp(t, email)
	service := strings.TrimSpace(a.stack.Command(t, nil, "keys", "create", "--service", "--name", "race"))
	state := a.want(t, http.StatusOK, call{Path: pathLinked + "/initiate", Token: mine, Body: fields{"provider": "google"}}).text(t, "state")
	calls := make([]call, crowd)
	for i := range calls {
		calls[i] = call{
			Path: pathLinked + []string{"/callback", "/complete"}[i%2], Token: []string{mine, service}[i%2],
			Body: fields{"state": state, "provider": "google", "provider_account_id": fmt.Sprint(uuid.New()), "provider_email": "ann@gmail.example"},
		}
	}
	a.once(t, once{calls: calls, refused: []int{400, 409}, effects: []effect{
		{1, `SELECT count(*) FROM linked_providers l JOIN accounts a ON a.id = l.account_id WHERE a.email = $1`, []any{email}},
	}})
}

// oneWayIn takes away password, address and both providers by every route at once: one way to sign in is left.
func oneWayIn(t *testing.T, a *arena) {
	email := newEmail()
	mine := a.signUp(t, email)
	account := a.accountID(t, email)
	github := mathrand.IntN(1 << 30)
	a.want(t, http.StatusOK, call{Path: pathLinkOAuth, Token: mine, Body: fields{
		"provider": "GOOGLE", "idToken": a.out.idToken(t, a.oidc.ClientID, uuid.NewString(), email),
	}})
	a.want(t, http.StatusOK, call{Path: pathProviders, Token: mine, Body: fields{
		"provider": "github", "provider_account_id": strconv.Itoa(github), "access_token": fmt.Sprint("gho_", github),
	}})
	var calls []call
	for _, path := range []string{
		pathProviders + "/google", pathLinked + "/github", pathLinkEmail, pathLinkOAuth + "/google", pathProviders + "/github", pathLinked + "/google",
	} {
		calls = append(calls, call{Method: http.MethodDelete, Path: path, Token: mine})
	}
	mathrand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	answers := a.burst(t, filled(calls...)...)
	for status := range tally(answers) {
		require.Contains(t, []int{200, 400, 403, 404, 409, 503}, status, "%v", tally(answers))
	}
	a.see(t, effect{1, `SELECT (SELECT count(*) FROM linked_providers l WHERE l.account_id = a.id)::int + (email IS NOT NULL)::int
		FROM accounts a WHERE id = $1`, []any{account}})
}

// usernameOfMany is one name that many want, by registering and by changing to it.
func usernameOfMany(t *testing.T, a *arena) {
	name := newUsername()
	calls := make([]call, crowd)
	var owners []string
	for range 5 {
		owners = append(owners, a.signUp(t, newEmail()))
	}
	for i := range calls {
		calls[i] = changeUsername(owners[i%len(owners)], name)
		if i%2 == 0 {
			calls[i] = call{Path: pathRegister, Body: fields{"username": name, "email": newEmail(), "password": password}}
		}
	}
	answers := a.burst(t, calls...)
	winners := 0
	for i, got := range answers {
		// Whoever has the name already and asks for it again may be told so.
		if got.ok() && (calls[i].Path == pathRegister || winners == 0) {
			winners++
		}
	}
	require.LessOrEqual(t, winners, 1, "%v", tally(answers))
	a.see(t, effect{1, `SELECT count(*) FROM accounts WHERE lower(username) = $1`, []any{name}})
}

func usernamesOfOne(t *testing.T, a *arena) {
	email := newEmail()
	token := a.signUp(t, email)
	a.want(t, http.StatusOK, changeUsername(token, newUsername()))
	calls := make([]call, crowd)
	for i := range calls {
		calls[i] = changeUsername(token, newUsername())
	}
	a.once(t, once{calls: calls, refused: []int{400, 409, 429}, effects: []effect{
		{1, `SELECT count(*) FROM username_history h JOIN accounts a ON a.id = h.account_id WHERE a.email = $1 AND old_username IS NOT NULL`, []any{email}},
	}})
}

func welcomeOnce(t *testing.T, a *arena) {
	email, twin := newEmail(), newEmail()
	a.signUpOn(t, twin, email)
	token := a.signUpOn(t, email, email)
	a.phoned(t, email, token)
	awarded := func(got answer) bool { return got.ok() && strings.Contains(string(got.Body), `"credits_awarded":50`) }
	a.once(t, once{
		calls: filled(call{Method: http.MethodPost, Path: pathUnlock, Token: token}), won: awarded, refused: []int{200, 400, 409},
		effects: []effect{{100, `SELECT sum(amount)::int FROM credit_moves m JOIN accounts a ON a.id = m.account_id WHERE a.email = $1`, []any{email}}},
	})
}

func passwordOnce(t *testing.T, a *arena) {
	email := newEmail()
	token := a.signUp(t, email)
	a.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	calls := make([]call, crowd)
	for i := range calls {
		pass := fmt.Sprint("race-Password-", i)
		calls[i] = call{Path: pathAddPassword, Token: token, Body: fields{"password": pass}}
		if i%2 == 0 {
			calls[i] = call{Path: pathSetPassword, Token: token, Body: fields{"newPassword": pass, "confirmPassword": pass}}
		}
	}
	a.once(t, once{calls: calls, refused: []int{400, 409}, effects: []effect{
		{1, mails, []any{email, "A password was added to your Gatehouse account"}},
	}})
}

// apiKeysOfOne is what an account may have by GATEHOUSE_API_KEYS.
const apiKeysOfOne = 50

// capOfKeys makes keys until there are as many as an account may have.
func capOfKeys(t *testing.T, a *arena) {
	email := newEmail()
	token := a.signUp(t, email)
	answers := a.burst(t, filled(call{Path: pathAPIKeys, Token: token, Body: fields{"name": "ci", "scopes": []string{"account:read"}}})...)
	made := tally(answers)[http.StatusCreated]
	require.LessOrEqual(t, made, apiKeysOfOne, "%v", tally(answers))
	if made < apiKeysOfOne {
		require.Contains(t, tally(answers), http.StatusServiceUnavailable)
	}
	a.see(t, effect{made, `SELECT count(*) FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE a.email = $1 AND k.revoked_at IS NULL`, []any{email}})
	require.Equal(t, made, a.db.number(t, `SELECT count(*) FROM audit_events e JOIN accounts a ON a.id = e.account_id
		WHERE a.email = $1 AND e.name = 'api_key.created'`, email), "I-12")
}

// busy is what an account may be doing at the moment in which it is closed or taken back.
func (a *arena) busy(t *testing.T, email, token string, first pair) []call {
	t.Helper()
	calls := []call{
		refreshing(first.refresh), refreshing(first.refresh),
		{Path: pathAPIKeys, Token: token, Body: fields{"name": "ci", "scopes": []string{"account:read"}}},
		subscribe(token, premiumPlan, visa), subscribe(token, starterPlan, visa),
		{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "Ada"}},
		moveTo(token, newEmail()), linkTo(token, newEmail()), changeUsername(token, newUsername()),
		{Path: pathForgotPassword, Body: fields{"email": email}},
		{Path: pathSendPhoneCode, Token: token, Body: fields{"phone_number": newNumber(t)}},
		{Path: pathLinked + "/initiate", Token: token, Body: fields{"provider": "google"}},
		{Method: http.MethodPost, Path: pathMFASetup, Token: token},
		{Path: pathLinkOAuth, Token: token, Body: fields{"provider": "GOOGLE", "idToken": a.out.idToken(t, a.oidc.ClientID, uuid.NewString(), email)}},
	}
	for range 10 {
		calls = append(calls, call{Path: pathLogin, Body: fields{"email": email, "password": password}}, entering(email, password))
	}
	return calls
}

// requireGone checks that nothing that was handed out meanwhile opens anything.
func (a *arena) requireGone(t *testing.T, answers []answer) {
	t.Helper()
	for i, got := range successes(answers) {
		var body map[string]any
		if len(got.Body) > 0 {
			body = got.object(t)
		}
		for _, name := range []string{"session_token", "accessToken", "key"} {
			if token, ok := body[name].(string); ok {
				requireDead(t, token, a.apis[i%2])
			}
		}
		if token, ok := body["refreshToken"].(string); ok {
			require.Equal(t, http.StatusUnauthorized, a.apis[i%2].send(t, refreshing(token)).Status)
		}
	}
}

// closureAgainstEverything closes an account while everything else is done to it.
func closureAgainstEverything(t *testing.T, a *arena) {
	email, first := a.pairs(t)
	account, token := a.accountID(t, email), a.signedIn(t, email, password)
	closing := closeWith(a.signedIn(t, email, password), fields{"password": password, "confirm": true})
	calls := append(a.busy(t, email, token, first), closing, closing, closing)
	answers := a.burst(t, calls...)
	if len(successes(answers[len(answers)-3:])) == 0 {
		testkit.Eventually(t, patience, func() bool { return a.send(t, closing).ok() }, "the closure")
	}
	a.requireGone(t, answers)
	requireDead(t, token, a.apis...)
	require.Equal(t, http.StatusUnauthorized, a.login(t, email, password).Status)
	a.see(t,
		effect{1, `SELECT count(*) FROM closures WHERE account_id = $1`, []any{account}},
		effect{0, `SELECT count(*) FROM sessions WHERE account_id = $1 AND revoked_at IS NULL`, []any{account}},
		effect{0, `SELECT count(*) FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL`, []any{account}},
		effect{0, `SELECT count(*) FROM subscriptions WHERE account_id = $1 AND status NOT IN ('canceled', 'incomplete_expired')`, []any{account}},
		effect{1, mails, []any{email, "Your Gatehouse account is closed"}})
}

// resetAgainstEverything takes an account back while a thief does everything with it.
func resetAgainstEverything(t *testing.T, a *arena) {
	email, first := a.pairs(t)
	token := a.signedIn(t, email, password)
	reset := call{Path: pathResetPassword, Body: fields{"token": a.forgot(t, email, 1), "new_password": newPassword}}
	calls := append(a.busy(t, email, token, first), reset, reset, reset)
	answers := a.burst(t, calls...)
	if len(successes(answers[len(answers)-3:])) == 0 {
		testkit.Eventually(t, patience, func() bool { return a.send(t, reset).ok() }, "the reset")
	}
	a.requireGone(t, answers)
	requireDead(t, token, a.apis...)
	require.NotEqual(t, http.StatusOK, a.login(t, email, password).Status)
	account := a.accountID(t, email)
	a.see(t,
		effect{0, `SELECT count(*) FROM sessions WHERE account_id = $1 AND revoked_at IS NULL`, []any{account}},
		effect{0, `SELECT count(*) FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL`, []any{account}},
		effect{0, `SELECT count(*) FROM email_changes WHERE account_id = $1 AND closed_at IS NULL`, []any{account}},
		effect{1, mails, []any{email, "Your Gatehouse password was reset"}})
}

// addressOfTwo is one new address that two accounts prove at the same moment, and a stranger signs up with.
func addressOfTwo(t *testing.T, a *arena) {
	ann, bob, wanted := a.signUp(t, newEmail()), a.signUp(t, newEmail()), newEmail()
	a.initiate(t, wanted)
	signUp := a.awaitCode(t, wanted)
	a.want(t, http.StatusOK, moveTo(ann, wanted))
	moved := a.awaitMail(t, wanted, 2)
	temp, _ := a.send(t, linkTo(bob, wanted)).data(t)["tempToken"].(string)
	linked := a.awaitMail(t, wanted, 3)
	a.once(t, once{
		calls: filled(
			call{Path: pathCompleteSignup, Body: fields{"email": wanted, "code": signUp}},
			call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, moved)}},
			verifyLink(bob, temp, linked.Code),
		), refused: refusedCode, effects: []effect{{1, accounts, []any{wanted}}},
	})
}

func pushTokenOfTwo(t *testing.T, a *arena) {
	ann, bob := a.person(t), a.person(t)
	token := newPushToken()
	a.leave(t, ann.id, token, "")
	claim := func(by string) call {
		return call{Path: "/v1/users/notifications/tokens/" + token, Token: by, Method: http.MethodPost}
	}
	answers := a.burst(t, filled(claim(ann.token), claim(bob.token))...)
	require.Equal(t, map[int]int{http.StatusOK: crowd / 2, http.StatusNotFound: crowd / 2}, tally(answers))
	for i, got := range answers {
		require.Equal(t, answers[i%2].Status, got.Status, "one owner has it, all along")
	}
}

func closureOnce(t *testing.T, a *arena) {
	email := newEmail()
	token := a.signUp(t, email)
	account := a.accountID(t, email)
	a.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email) // no slot to wait for
	answers := a.burst(t, filled(closeWith(token, fields{"confirm": true}))...)
	require.NotEmpty(t, successes(answers), "%v", tally(answers))
	requireDead(t, token, a.apis...)
	a.see(t, effect{1, `SELECT count(*) FROM closures WHERE account_id = $1`, []any{account}}, effect{1, mails, []any{email, "Your Gatehouse account is closed"}})
}

// deactivationAgainstLogin leaves nothing that is alive, now or once the account is open again.
func deactivationAgainstLogin(t *testing.T, a *arena) {
	email := newEmail()
	token := a.signUp(t, email)
	off := deactivate(token, fields{"password": password})
	calls := []call{off}
	for range 20 {
		calls = append(calls, call{Path: pathLogin, Body: fields{"email": email, "password": password}}, entering(email, password))
	}
	answers := a.burst(t, calls...)
	if !answers[0].ok() {
		testkit.Eventually(t, patience, func() bool { return a.send(t, off).ok() }, "the deactivation")
	}
	a.requireGone(t, answers[1:])
	a.stack.Command(t, nil, "accounts", "reactivate", email)
	a.requireGone(t, answers[1:])
	requireDead(t, token, a.apis...)
	stacktest.Covers(t, "SES-05")
}
