//go:build unix

package e2e_test

import (
	"fmt"
	"math"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

// ticket is a code, or a link's token, that somebody was sent, and what may be done with it.
type ticket struct {
	secret string
	// uses are the calls that a secret opens; each would do on its own.
	uses func(secret string) []call
	// done are the effects of the one use; with want 0 in their place nothing has happened yet.
	done []effect
	// tries counts the guesses that were compared.
	tries effect
	// again has a new secret sent for the same thing.
	again func(t testing.TB) string
}

// untouched is that nothing of what a use does has been done.
func (k ticket) untouched() []effect {
	none := make([]effect, len(k.done))
	for i, e := range k.done {
		none[i] = effect{0, e.query, e.args}
	}
	return none
}

// door is where a code is shown. Each takes an account of its own.
type door struct {
	open func(t *testing.T, a *arena) ticket
	// link says that the secret is no six digits, and not to be guessed.
	link bool
}

const (
	triesAt = `SELECT coalesce(max(attempts), 0) FROM challenges WHERE destination = $1 AND purpose = $2`
	spentAt = `SELECT count(*) FROM challenges WHERE destination = $1 AND purpose = $2 AND consumed_at IS NOT NULL`
	mails   = `SELECT count(*) FROM dev_inbox WHERE recipient = $1 AND subject = $2`
)

// doors are all places that take a code or the token of a link.
func doors() map[string]door {
	return map[string]door{
		"C06_SignUp":              {open: signupTicket},
		"C31_Registration":        {open: registrationTicket(false)},
		"C31_B08_CodeAndLink":     {open: registrationTicket(true), link: true},
		"A04_Phone":               {open: phoneTicket},
		"D05_D07_D18_EveryUse":    {open: securityTicket(everySecurityUse)},
		"D05_Password":            {open: securityTicket(byReplacing)},
		"D07_Password":            {open: securityTicket(byOTP)},
		"D13_Reauthenticate":      {open: securityTicket(byReauthentication)},
		"D18_SignOutAll":          {open: securityTicket(bySignOut)},
		"D20_Device":              {open: deviceTicket},
		"D24_EmailLink":           {open: emailLinkTicket},
		"C20_C31_EmailByCode":     {open: moveTicket(false)},
		"C20_C31_B08_EmailByBoth": {open: moveTicket(true), link: true},
		"C21_B06_ResetLink":       {open: resetTicket, link: true},
		"C01_UndoLink":            {open: undoTicket, link: true},
	}
}

// refusedCode is what a code may be told that is not heard.
var refusedCode = []int{400, 401, 403, 404, 409, 429}

func signupTicket(t *testing.T, a *arena) ticket {
	email := newEmail()
	a.initiate(t, email)
	return ticket{
		secret: a.awaitCode(t, email),
		uses: func(code string) []call {
			return []call{{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}}
		},
		done: []effect{
			{1, accounts, []any{email}}, {1, sessions, []any{email}}, {1, bonuses, []any{email}}, {1, mails, []any{email, "Welcome to Gatehouse"}},
		},
		tries: effect{query: triesAt, args: []any{email, "signup"}},
		again: func(t testing.TB) string { return a.resend(t, "signup", email, 2) },
	}
}

func registrationTicket(byLink bool) func(t *testing.T, a *arena) ticket {
	return func(t *testing.T, a *arena) ticket {
		email := newEmail()
		a.register(t, email, email)
		mail := a.awaitMail(t, email, 1)
		return ticket{
			secret: mail.Code,
			uses: func(code string) []call {
				uses := []call{{Path: pathVerifyCode, Body: fields{"email": email, "code": code}}}
				if byLink {
					uses = append(uses, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
				}
				return uses
			},
			done:  []effect{{1, bonuses, []any{email}}, {1, accounts + ` AND email_verified_at IS NOT NULL`, []any{email}}},
			tries: effect{query: triesAt, args: []any{email, "email"}},
			again: func(t testing.TB) string { return a.resend(t, "email", email, 2) },
		}
	}
}

func phoneTicket(t *testing.T, a *arena) ticket {
	email, number := newEmail(), newNumber(t)
	token := a.signUp(t, email)
	a.sendPhoneCode(t, token, number)
	again := func(t testing.TB) string {
		a.passTime(t, "phone", number, time.Minute)
		a.sendPhoneCode(t, token, number)
		return a.awaitPhoneCode(t, number, 2)
	}
	return ticket{
		again:  again,
		secret: a.awaitPhoneCode(t, number, 1),
		uses:   func(code string) []call { return []call{phoneProof(token, number, code)} },
		done: []effect{
			{1, accounts + ` AND phone_verified_at IS NOT NULL`, []any{email}}, {1, mails, []any{email, "A phone number was added to your Gatehouse account"}},
		},
		tries: effect{query: triesAt, args: []any{number, "phone"}},
	}
}

// securityUse is a use of the one code for what must be confirmed.
type securityUse func(token, temp, code string) []call

func byOTP(token, temp, code string) []call {
	return []call{withOTP(token, temp, code, newPassword)}
}

func byReplacing(token, _, code string) []call {
	return []call{{Path: pathReplacePassword, Token: token, Body: fields{"otp": code, "newPassword": newPassword, "confirmPassword": newPassword}}}
}

func byReauthentication(token, _, code string) []call {
	return []call{{Path: pathReauthenticate, Token: token, Body: fields{"otp": code}}}
}

func bySignOut(token, _, code string) []call {
	return []call{{Path: pathSignOutAll, Token: token, Body: fields{"otp": code}}}
}

func everySecurityUse(token, temp, code string) []call {
	var all []call
	for _, use := range []securityUse{byOTP, byReplacing, byReauthentication, bySignOut} {
		all = append(all, use(token, temp, code)...)
	}
	return all
}

func securityTicket(use securityUse) func(t *testing.T, a *arena) ticket {
	return func(t *testing.T, a *arena) ticket {
		email := newEmail()
		token := a.signUp(t, email)
		temp, code := a.newOTP(t, token, email, 1)
		return ticket{
			secret: code,
			uses:   func(code string) []call { return use(token, temp, code) },
			done:   []effect{{1, spentAt, []any{email, "password_change"}}},
			tries:  effect{query: triesAt, args: []any{email, "password_change"}},
			again: func(t testing.TB) string {
				_, fresh := a.newOTP(t, token, email, 2)
				return fresh
			},
		}
	}
}

func deviceTicket(t *testing.T, a *arena) ticket {
	email := newEmail()
	a.signUp(t, email)
	dvt := a.enter(t, email, "X-Device-Id", "a").text(t, "deviceVerificationToken")
	return ticket{
		secret: a.deviceCode(t, email, dvt),
		uses:   func(code string) []call { return []call{finishing(dvt, code, "a")} },
		done: []effect{
			{1, `SELECT count(*) FROM devices d JOIN accounts a ON a.id = d.account_id WHERE a.email = $1`, []any{email}},
			{1, `SELECT count(*) FROM login_history h JOIN accounts a ON a.id = h.account_id WHERE a.email = $1 AND h.method = 'device_otp'`, []any{email}},
			{1, mails, []any{email, deviceAdded}},
		},
		tries: effect{query: `SELECT coalesce(max(attempts), 0) FROM challenges c JOIN accounts a ON a.id = c.account_id WHERE a.email = $1`, args: []any{email}},
	}
}

func emailLinkTicket(t *testing.T, a *arena) ticket {
	before, after := newEmail(), newEmail()
	token := a.signUp(t, before)
	temp, code := a.link(t, token, after)
	return ticket{
		secret: code,
		uses:   func(code string) []call { return []call{verifyLink(token, temp, code)} },
		done:   []effect{{1, accounts, []any{after}}, {1, mails, []any{before, "Your Gatehouse email address was changed"}}},
		tries:  effect{query: `SELECT coalesce(max(attempts), 0) FROM challenges WHERE destination = $1`, args: []any{after}},
		again: func(t testing.TB) string {
			a.passTime(t, "email_link", after, time.Minute)
			temp, _ = a.send(t, linkTo(token, after)).data(t)["tempToken"].(string)
			return a.awaitMail(t, after, 2).Code
		},
	}
}

func moveTicket(byLink bool) func(t *testing.T, a *arena) ticket {
	return func(t *testing.T, a *arena) ticket {
		before, after := newEmail(), newEmail()
		token := a.signUp(t, before)
		mail := a.move(t, token, after)
		return ticket{
			secret: mail.Code,
			uses: func(code string) []call {
				uses := []call{{Path: pathVerifyCode, Body: fields{"email": after, "code": code}}}
				if byLink {
					uses = append(uses, call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(t, mail)}})
				}
				return uses
			},
			done:  []effect{{1, accounts, []any{after}}, {1, mails, []any{before, "Your Gatehouse email address was changed"}}},
			tries: effect{query: `SELECT coalesce(max(attempts), 0) FROM challenges WHERE destination = $1`, args: []any{after}},
			again: func(t testing.TB) string {
				a.passTime(t, "email_change", after, time.Minute)
				a.want(t, http.StatusOK, moveTo(token, after))
				return a.awaitMail(t, after, 2).Code
			},
		}
	}
}

func resetTicket(t *testing.T, a *arena) ticket {
	email := newEmail()
	a.signUp(t, email)
	return ticket{
		secret: a.forgot(t, email, 1),
		uses: func(token string) []call {
			return []call{
				{Path: pathResetPassword, Body: fields{"token": token, "new_password": newPassword}},
				{Method: http.MethodPut, Path: pathUpdatePassword, Body: fields{"token": token, "password": "third-Password-9"}},
			}
		},
		done: []effect{{1, spentAt, []any{email, "reset"}}, {1, mails, []any{email, "Your Gatehouse password was reset"}}},
	}
}

func undoTicket(t *testing.T, a *arena) ticket {
	email := newEmail()
	token := a.signUp(t, email)
	account := a.accountID(t, email)
	a.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	return ticket{
		secret: tokenOf(t, a.awaitClosureMail(t, email, "Your Gatehouse account is closed")),
		uses:   func(token string) []call { return []call{{Path: pathUndo, Body: fields{"token": token}}} },
		done: []effect{
			{1, accounts + ` AND deleted_at IS NULL`, []any{email}},
			{1, mails, []any{email, "Your Gatehouse account is open again"}},
			{1, `SELECT count(*) FROM audit_events WHERE account_id = $1 AND name = 'account.reopened'`, []any{account}},
		},
	}
}

// OTP-03 and OTP-05: one right code, or link, a hundred times at once at every door; one is heard, and none afterwards.
func TestRace_OTP03_OTP05_RightCodeAtEveryDoor(t *testing.T) { //nolint:paralleltest // one arena at a time
	races := map[string]func(*testing.T, *arena){}
	for name, d := range doors() {
		races[name] = func(t *testing.T, a *arena) {
			k := d.open(t, a)
			a.once(t, once{calls: filled(k.uses(k.secret)...), refused: refusedCode, effects: k.done})
		}
	}
	race(t, races)
}

// OTP-02: of a hundred guesses at once, the right one among them, five are compared at most. MFA-13 is D20's.
func TestRace_OTP02_MFA13_I03_GuessesAtEveryDoor(t *testing.T) { //nolint:paralleltest // one arena at a time
	var heard atomic.Int64
	races := map[string]func(*testing.T, *arena){}
	for name, d := range doors() {
		if !d.link {
			races[name] = func(t *testing.T, a *arena) { heard.Add(int64(guessAtOnce(t, a, d.open(t, a)))) }
		}
	}
	race(t, races)
	n := len(races) * stacktest.Rounds(t)
	t.Logf("%d right codes heard among the guesses of %d races", heard.Load(), n)
	require.LessOrEqual(t, int(heard.Load()), mostByChance(n, 5./crowd), "of %d", n)
}

// mostByChance is how often something of probability p may happen in n independent trials, but once in a million.
func mostByChance(n int, p float64) int {
	exactly, upTo := math.Pow(1-p, float64(n)), 0.
	for k := range n {
		if upTo += exactly; upTo > 1-1e-6 {
			return k
		}
		exactly *= p / (1 - p) * float64(n-k) / float64(k+1)
	}
	return n
}

// guessAtOnce returns how many guesses were heard.
func guessAtOnce(t *testing.T, a *arena, k ticket) int {
	t.Helper()
	calls := make([]call, crowd)
	for i, code := range distinctCodes(crowd, k.secret) {
		uses := k.uses(code)
		calls[i] = uses[i%len(uses)]
	}
	answers := a.burst(t, calls...)
	for status := range tally(answers) {
		require.Contains(t, append([]int{200, 503}, refusedCode...), status)
	}
	heard := len(successes(answers))
	require.LessOrEqual(t, heard, 1, "%v", tally(answers))
	tries := a.db.number(t, k.tries.query, k.tries.args...)
	require.LessOrEqual(t, tries, 5)
	require.Positive(t, tries)
	if heard == 0 { // and none is any more, not even the right one
		require.Equal(t, 5, tries, "every try was spent")
		for i, use := range k.uses(k.secret) {
			got := a.apis[i%2].send(t, use)
			require.False(t, got.ok(), "%s", got.Body)
		}
		a.see(t, k.untouched()...)
	}
	return heard
}

// OTP-07: the code of one person a hundred times at once at another's, who loses tries and nothing else; the first loses nothing.
func TestRace_OTP07_CodesOfOthersAtEveryDoor(t *testing.T) { //nolint:paralleltest // one arena at a time
	races := map[string]func(*testing.T, *arena){}
	for name, d := range doors() {
		if d.link {
			continue
		}
		races[name] = func(t *testing.T, a *arena) {
			mine, theirs := d.open(t, a), d.open(t, a)
			for mine.secret == theirs.secret { // once in a million
				mine = d.open(t, a)
			}
			answers := a.burst(t, filled(theirs.uses(mine.secret)...)...)
			require.Empty(t, successes(answers), "%v", tally(answers))
			require.LessOrEqual(t, a.db.number(t, theirs.tries.query, theirs.tries.args...), 5)
			a.see(t, theirs.untouched()...)
			require.Zero(t, a.db.number(t, mine.tries.query, mine.tries.args...), "nobody has shown anything to this one")
			require.True(t, a.send(t, mine.uses(mine.secret)[0]).ok())
			a.see(t, mine.done...)
		}
	}
	race(t, races)
}

// OTP-09: an old code and its successor at the same moment, fifty times each: the old one is never heard.
func TestRace_OTP09_OldAndNewCodeAtEveryDoor(t *testing.T) { //nolint:paralleltest // one arena at a time
	races := map[string]func(*testing.T, *arena){}
	for name, d := range doors() {
		if !d.link && name != "D20_Device" { // whose code is replaced by another login only: codesOfManyLogins
			races[name] = func(t *testing.T, a *arena) { oldAndNew(t, a, d) }
		}
	}
	for name, again := range linksAgain() {
		races[name] = func(t *testing.T, a *arena) { oldAndNewLink(t, a, again) }
	}
	races["OTP02_ANewCodeHasNoNewBudget"] = manyCodesOneBudget
	race(t, races)
}

func oldAndNew(t *testing.T, a *arena, d door) {
	k := d.open(t, a)
	fresh := k.again(t)
	if fresh == k.secret { // once in a million
		return
	}
	old, calls := map[int]bool{}, make([]call, crowd)
	for i := range calls {
		old[i] = i%2 == 0
		code := fresh
		if old[i] {
			code = k.secret
		}
		uses := k.uses(code)
		calls[i] = uses[i/2%len(uses)]
	}
	answers := a.burst(t, calls...)
	require.LessOrEqual(t, len(successes(answers)), 1, "%v", tally(answers))
	for i, got := range answers {
		require.False(t, old[i] && got.ok(), "an old code was heard: %s", got.Body)
	}
	require.LessOrEqual(t, a.db.number(t, k.tries.query, k.tries.args...), 5)
}

// linked is a link and its successor, which were sent for the same thing.
type linked struct {
	old, fresh string
	uses       func(token string) []call
	done       []effect
}

// linksAgain are the links that can be had once more.
func linksAgain() map[string]func(t *testing.T, a *arena) linked {
	confirm := func(token string) []call {
		return []call{{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": token}}}
	}
	return map[string]func(t *testing.T, a *arena) linked{
		"B08_Registration": func(t *testing.T, a *arena) linked {
			email := newEmail()
			a.register(t, email, email)
			old := tokenOf(t, a.awaitMail(t, email, 1))
			a.resend(t, "email", email, 2)
			return linked{old, tokenOf(t, a.awaitMail(t, email, 2)), confirm, []effect{{1, bonuses, []any{email}}}}
		},
		"C20_B08_Email": func(t *testing.T, a *arena) linked {
			before, after := newEmail(), newEmail()
			token := a.signUp(t, before)
			old := tokenOf(t, a.move(t, token, after))
			a.passTime(t, "email_change", after, time.Minute)
			a.want(t, http.StatusOK, moveTo(token, after))
			return linked{
				old, tokenOf(t, a.awaitMail(t, after, 2)), confirm,
				[]effect{{1, accounts, []any{after}}, {1, mails, []any{before, "Your Gatehouse email address was changed"}}},
			}
		},
		"C21_B06_Reset": func(t *testing.T, a *arena) linked {
			email := newEmail()
			a.signUp(t, email)
			old := a.forgot(t, email, 1)
			a.passTime(t, "reset", email, time.Minute)
			return linked{old, a.forgot(t, email, 2), func(token string) []call {
				return []call{
					{Path: pathResetPassword, Body: fields{"token": token, "new_password": newPassword}},
					{Method: http.MethodPut, Path: pathUpdatePassword, Body: fields{"token": token, "password": "third-Password-9"}},
				}
			}, []effect{{1, mails, []any{email, "Your Gatehouse password was reset"}}}}
		},
	}
}

// oldAndNewLink shows a link and its successor at the same moment. The old one alone is shown first: no successor's use hides it.
func oldAndNewLink(t *testing.T, a *arena, open func(t *testing.T, a *arena) linked) {
	t.Helper()
	l := open(t, a)
	require.NotEqual(t, l.old, l.fresh)
	answers := a.burst(t, filled(l.uses(l.old)...)[:crowd/2]...)
	require.Empty(t, successes(answers), "an old link was heard: %v", tally(answers))
	old, calls := map[int]bool{}, make([]call, crowd/2)
	for i := range calls {
		old[i] = i%2 == 0
		uses := l.uses(map[bool]string{true: l.old, false: l.fresh}[old[i]])
		calls[i] = uses[i/2%len(uses)]
	}
	answers = a.burst(t, calls...)
	require.LessOrEqual(t, len(successes(answers)), 1, "%v", tally(answers))
	for i, got := range answers {
		require.False(t, old[i] && got.ok(), "an old link was heard: %s", got.Body)
	}
	if len(successes(answers)) == 1 {
		a.see(t, l.done...)
	}
}

// Whoever has new codes sent while they guess is compared ten times in an hour all the same.
func manyCodesOneBudget(t *testing.T, a *arena) {
	email := newEmail()
	a.initiate(t, email)
	a.awaitCode(t, email)
	for round := range 4 {
		if round > 0 {
			a.passTime(t, "signup", email, time.Minute)
			a.want(t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": email}})
			a.awaitMail(t, email, round+1)
		}
		calls := make([]call, crowd)
		for i := range calls {
			calls[i] = call{Path: []string{pathCompleteSignup, pathVerifyCode}[i%2], Body: fields{"email": email, "code": fmt.Sprintf("%06d", round*crowd+i)}}
			if i%20 == 0 {
				calls[i] = call{Path: pathSendCode, Body: fields{"email": email}} // too early, and no new budget either
			}
		}
		a.burst(t, calls...)
	}
	require.LessOrEqual(t, a.db.number(t, `SELECT sum(attempts) FROM challenges WHERE destination = $1 AND purpose = 'signup'`, email), 10)
}
