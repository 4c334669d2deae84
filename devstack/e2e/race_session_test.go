//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/alexedwards/argon2id"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// doomed is a session that somebody is about to end, from another session of the account.
type doomed struct {
	email, token, id, other string
}

// endings are the requests that end sessions. SES-05 names seven; here is every one.
func endings(t *testing.T, a *arena) map[string]func(d doomed) call {
	byPassword := fields{"password": password}
	return map[string]func(d doomed) call{
		"B04_Logout": func(d doomed) call { return call{Method: http.MethodPost, Path: pathLogout, Token: d.token} },
		"A10_One": func(d doomed) call {
			return call{Path: pathRevokeSession, Token: d.other, Body: fields{"session_id": d.id}}
		},
		"A10_Others": func(d doomed) call {
			return call{Path: pathRevokeSession, Token: d.other, Body: fields{"revoke_all_others": true}}
		},
		"C25_All": func(d doomed) call { return call{Method: http.MethodDelete, Path: pathSessions, Token: d.other} },
		"C27_One": func(d doomed) call {
			return call{Method: http.MethodDelete, Path: pathSessions + "/" + d.id, Token: d.other}
		},
		"D16_SignOut": func(d doomed) call {
			return call{Method: http.MethodPost, Path: pathSignOut, Token: d.other, Header: map[string]string{"X-Session-Id": d.id}}
		},
		"D17_SignOutOthers": func(d doomed) call {
			return call{Path: pathSignOutOthers, Token: d.other, Body: byPassword, Header: map[string]string{"X-Session-Id": a.sessionID(t, d.other)}}
		},
		"D18_SignOutAll": func(d doomed) call { return call{Path: pathSignOutAll, Token: d.other, Body: byPassword} },
		"D19_One": func(d doomed) call {
			return call{Method: http.MethodDelete, Path: pathAccountSessions + "/" + d.id, Token: d.other}
		},
		"A05_Password": func(d doomed) call { return change(d.other, password, newPassword) },
		"B07_Password": func(d doomed) call {
			return call{Method: http.MethodPut, Path: pathPasswordsB, Token: d.other, Body: fields{"currentPassword": password, "newPassword": newPassword}}
		},
		"D05_Password": func(d doomed) call {
			return call{Path: pathReplacePassword, Token: d.other, Body: fields{
				"currentPassword": password, "newPassword": newPassword, "confirmPassword": newPassword,
			}}
		},
		"D07_Password": func(d doomed) call {
			temp, code := a.newOTP(t, d.other, d.email, 1)
			return withOTP(d.other, temp, code, newPassword)
		},
		"C21_Reset": func(d doomed) call {
			return call{Path: pathResetPassword, Body: fields{"token": a.forgot(t, d.email, 1), "new_password": newPassword}}
		},
		"D27_Deactivation": func(d doomed) call { return deactivate(d.other, byPassword) },
		"C01_Closure":      func(d doomed) call { return closeWith(d.other, byPassword) },
	}
}

// SES-05, I-05: while a session is used 50 times a second on three APIs, it is ended; no request that starts after the answer is
// served, on whichever of them. The same for an API key that is revoked, and for a family whose token was stolen.
func TestRace_SES05_I05_NothingStartedAfterTheAnswerSucceeds(t *testing.T) {
	a := startArena(t)
	settings, addr := secondAPI(t)
	a.stack.StartAPI(t, settings)
	a.apis = append(a.apis, newClient("http://"+addr))
	t.Run("at once", func(t *testing.T) {
		for name := range endings(t, a) {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for range stacktest.Rounds(t) {
					d := doomed{email: newEmail()}
					d.other = a.signUp(t, d.email)
					d.token = a.signedIn(t, d.email, password)
					d.id = a.sessionID(t, d.token)
					a.endUnderLoad(t, d.token, http.StatusOK, endings(t, a)[name](d))
				}
			})
		}
		t.Run("RevokedKey", func(t *testing.T) {
			t.Parallel()
			for range stacktest.Rounds(t) {
				owner := a.signUp(t, newEmail())
				made := a.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: owner, Body: fields{"name": "ci", "scopes": []string{"account:read"}}})
				revoke := call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + made.text(t, "id"), Token: owner}
				a.endUnderLoad(t, made.text(t, "key"), http.StatusNoContent, revoke)
			}
		})
		t.Run("SES-01_StolenFamily", func(t *testing.T) {
			t.Parallel()
			for range stacktest.Rounds(t) {
				_, first := a.pairs(t)
				second := pairOf(t, a.refresh(t, first.refresh))
				third := pairOf(t, a.refresh(t, second.refresh))
				a.endUnderLoad(t, third.access, http.StatusUnauthorized, refreshing(first.refresh))
			}
		})
	})
	a.close(t)
}

// endUnderLoad ends what a credential stands for while it is used, by a call that is answered with a status.
func (a *arena) endUnderLoad(t *testing.T, credential string, status int, end call) {
	t.Helper()
	reading := readUntilRefused(t, a.apis, credential)
	testkit.Eventually(t, patience, func() bool { return reading.served.Load() >= 10 }, "the readers to be served")
	for got := (answer{Status: http.StatusServiceUnavailable}); got.Status == http.StatusServiceUnavailable; {
		got = a.apis[1].send(t, end) // another one's hashes may be in the way
		require.Contains(t, []int{status, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
	}
	reading.loggedOut.Store(true)
	reading.wait()
	stacktest.Called(t, int(reading.served.Load()+reading.refused.Load()))
	require.Zero(t, reading.late.Load(), "requests that started after the answer and succeeded")
	require.Positive(t, reading.refused.Load())
	for _, api := range a.apis {
		requireDead(t, credential, api)
	}
}

func refreshing(token string) call {
	return call{Method: http.MethodPost, Path: pathRefresh, Header: map[string]string{refreshName: token}}
}

// Logins, refresh tokens, factors and devices, a hundred at once over two APIs.
func TestRace_Sessions(t *testing.T) { //nolint:paralleltest // one arena at a time
	var heard atomic.Int64
	race(t, map[string]func(*testing.T, *arena){
		"SES-01_I-04_OneSuccessor":           oneSuccessor,
		"SES-01_ReuseAmongRightOnes":         reuseAmongRight,
		"SES-03_OldAndNewAtOnce":             graceAtOnce,
		"SES-05_RefreshAgainstLogout":        refreshAgainstLogout,
		"MFA-03_OneStepOnce":                 oneStepOnce,
		"MFA-03_OneStepForManyLogins":        oneStepForManyLogins,
		"MFA-03_OneBackupCodeOnce":           oneBackupCodeOnce,
		"MFA-03_TenBackupCodesTenTimes":      tenBackupCodes,
		"MFA-04_GuessesAtOnce":               factorGuesses(&heard),
		"MFA-11_DeviceEndsWhileItSignsIn":    deviceEnds,
		"MFA-11_PasswordEndsWhileItSignsIn":  devicePasswordEnds,
		"MFA-13_CodesOfManyLogins":           codesOfManyLogins,
		"LOG-01_GuessesAtOnce":               passwordsAtOnce,
		"LOG-09_OldHashIsRenewedOnce":        oldHashAtOnce,
		"SES-05_PasswordChangesAgainstLogin": changeAgainstLogin,
	}, quickSends...)
	require.LessOrEqual(t, int(heard.Load()), mostByChance(stacktest.Rounds(t), 5./crowd), "right codes among a hundred guesses")
}

func oneSuccessor(t *testing.T, a *arena) {
	_, first := a.pairs(t)
	answers := a.burst(t, filled(refreshing(first.refresh))...)
	successors := map[string]bool{}
	for _, got := range answers {
		if got.Status != http.StatusServiceUnavailable {
			successors[pairOf(t, got).refresh] = true
		}
	}
	require.Len(t, successors, 1)
	for successor := range successors {
		pairOf(t, a.refresh(t, successor))
	}
	_, claims := opened(t, first.access)
	require.Equal(t, 1, a.db.number(t, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL`, claims["sid"]))
	require.Equal(t, 3, a.db.number(t, `SELECT count(*) FROM refresh_tokens WHERE session_id = $1`, claims["sid"]))
}

// A thief's token among those of its owner: whatever was handed out meanwhile is dead afterwards.
func reuseAmongRight(t *testing.T, a *arena) {
	email, first := a.pairs(t)
	second := pairOf(t, a.refresh(t, first.refresh))
	third := pairOf(t, a.refresh(t, second.refresh))
	a.outlive(t, email)
	answers := a.burst(t, filled(refreshing(first.refresh), refreshing(third.refresh))...)
	dead := []pair{first, second, third}
	for _, got := range successes(answers) {
		dead = append(dead, pairOf(t, got))
	}
	a.requireFamilyDead(t, dead)
	a.see(t, effect{1, mails, []any{email, "A device was signed out of your Gatehouse account"}})
}

// requireFamilyDead asks each API for some of many.
func (a *arena) requireFamilyDead(t *testing.T, pairs []pair) {
	t.Helper()
	seen := map[string]bool{}
	for i, p := range pairs {
		api := a.apis[i%len(a.apis)]
		require.Equal(t, http.StatusUnauthorized, api.send(t, call{Path: pathMe, Token: p.access}).Status)
		if !seen[p.refresh] {
			require.Equal(t, http.StatusUnauthorized, api.send(t, refreshing(p.refresh)).Status)
		}
		seen[p.refresh] = true
	}
}

// A token and its successor at the same moment: one leaf, or a family that is dead altogether.
func graceAtOnce(t *testing.T, a *arena) {
	_, first := a.pairs(t)
	second := pairOf(t, a.refresh(t, first.refresh))
	answers := a.burst(t, filled(refreshing(first.refresh), refreshing(second.refresh))...)
	given, all, refused := map[string]bool{}, []pair{first, second}, false
	for _, got := range answers {
		switch got.Status {
		case http.StatusOK:
			all = append(all, pairOf(t, got))
			given[all[len(all)-1].refresh] = true
		case http.StatusUnauthorized:
			refused = true
		}
	}
	delete(given, second.refresh)
	require.LessOrEqual(t, len(given), 1, "one successor of the successor")
	if refused {
		a.requireFamilyDead(t, all)
	} else {
		for third := range given {
			pairOf(t, a.refresh(t, third))
		}
	}
}

func refreshAgainstLogout(t *testing.T, a *arena) {
	_, first := a.pairs(t)
	logout := call{Method: http.MethodPost, Path: pathLogout, Token: first.access}
	answers := a.burst(t, filled(refreshing(first.refresh), refreshing(first.refresh), logout)...)
	all := []pair{first}
	for i, got := range answers {
		if i%3 != 2 && got.ok() {
			all = append(all, pairOf(t, got))
		}
	}
	a.requireFamilyDead(t, all)
}

func isValid(got answer) bool {
	return got.ok() && strings.Contains(string(got.Body), `"isValid":true`)
}

// refusedFactor is what a code of a factor may be told: 200 says that it is not valid.
var refusedFactor = []int{http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests}

func oneStepOnce(t *testing.T, a *arena) {
	x := a.enrolled(t)
	before := x.code(t, -1)
	a.once(t, once{calls: filled(verify(x.token, x.code(t, 0))), won: isValid, refused: refusedFactor})
	require.False(t, a.valid(t, x.token, before), "a step before the used one")
	require.True(t, a.valid(t, x.token, x.backup[1]), "whoever repeats a right code locks nobody out")
}

// One code of the app lifts one of many logins that wait for it.
func oneStepForManyLogins(t *testing.T, a *arena) {
	x := a.enrolled(t)
	var waiting []call
	code := x.code(t, 0)
	for range 5 {
		access, _ := a.owing(t, x.email)
		waiting = append(waiting, verify(access, code))
	}
	a.once(t, once{calls: filled(waiting...), won: isValid, refused: refusedFactor, lasting: true})
	lifted := 0
	for _, w := range waiting {
		if a.send(t, call{Path: pathMe, Token: w.Token}).ok() {
			lifted++
		}
	}
	require.Equal(t, 1, lifted)
}

func oneBackupCodeOnce(t *testing.T, a *arena) {
	x := a.enrolled(t)
	a.once(t, once{
		calls: filled(verify(x.token, x.backup[0])), won: isValid, refused: refusedFactor,
		effects: []effect{{1, mails, []any{x.email, "A backup code was used for your Gatehouse account"}}},
	})
}

func tenBackupCodes(t *testing.T, a *arena) {
	x := a.enrolled(t)
	var calls []call
	for _, code := range x.backup {
		calls = append(calls, verify(x.token, code))
	}
	answers := a.burst(t, filled(calls...)...)
	valid := map[int]int{}
	for i, got := range answers {
		if isValid(got) {
			valid[i%len(calls)]++
		}
	}
	for nth, times := range valid {
		require.Equal(t, 1, times, "backup code %d", nth)
	}
	for _, code := range x.backup {
		if got := a.send(t, verify(x.token, code)); isValid(got) {
			continue // was told to come back, and is good once
		}
		require.False(t, isValid(a.send(t, verify(x.token, code))))
	}
}

// factorGuesses are wrong codes of an app with a right one among them. Which of them counts is decided one by one: once five
// were wrong, none is told to be right any more, though others of the same moment are still told that they are not.
func factorGuesses(heard *atomic.Int64) func(t *testing.T, a *arena) {
	return func(t *testing.T, a *arena) {
		x := a.enrolled(t)
		calls := make([]call, crowd)
		for i, code := range distinctCodes(crowd, x.code(t, 0)) {
			calls[i] = verify(x.token, code)
		}
		answers := a.burst(t, calls...)
		for status := range tally(answers) {
			require.Contains(t, []int{200, 429, 503}, status)
		}
		valid := len(slices.DeleteFunc(answers, func(got answer) bool { return !isValid(got) }))
		require.LessOrEqual(t, valid, 1)
		heard.Add(int64(valid))
		for i, code := range []string{x.code(t, 0), x.backup[0]} {
			require.Equal(t, http.StatusTooManyRequests, a.apis[i].send(t, verify(x.token, code)).Status, "no further code is heard")
		}
		a.see(t, effect{1, `SELECT count(*) FROM audit_events e JOIN accounts a ON a.id = e.account_id
			WHERE a.email = $1 AND e.name = 'mfa.locked'`, []any{x.email}})
	}
}

// deviceEnds takes the trust in a device away while it signs in: it signs in no more without a second step.
func deviceEnds(t *testing.T, a *arena) {
	email := newEmail()
	a.signUp(t, email)
	trusted := a.trust(t, email, "a")
	access, _ := trusted["accessToken"].(string)
	id, _ := a.devices(t, access)[0]["id"].(string)
	a.endsDevice(t, email, fmt.Sprint(trusted["deviceToken"]), password,
		call{Method: http.MethodDelete, Path: pathDevices + "/" + id, Token: access})
}

func devicePasswordEnds(t *testing.T, a *arena) {
	email := newEmail()
	a.signUp(t, email)
	trusted := a.trust(t, email, "a")
	access, _ := trusted["accessToken"].(string)
	a.endsDevice(t, email, fmt.Sprint(trusted["deviceToken"]), newPassword, change(access, password, newPassword))
}

func (a *arena) endsDevice(t *testing.T, email, device, pass string, end call) {
	t.Helper()
	calls := []call{end, end, end, end}
	for range 20 { // hashing is slow, and what counts is that some are under way
		calls = append(calls, entering(email, password, "X-Device-Id", "a", "X-Device-Token", device))
	}
	answers := a.burst(t, calls...)
	if len(successes(answers[:4])) == 0 {
		require.True(t, a.send(t, end).ok())
	}
	for i, api := range a.apis {
		got := api.send(t, entering(email, pass, "X-Device-Id", "a", "X-Device-Token", device))
		require.Equal(t, http.StatusOK, got.Status, "%d %s", i, got.Body)
		require.Equal(t, http.StatusForbidden, api.send(t, call{Path: pathMe, Token: got.text(t, "accessToken")}).Status, "trusted still")
	}
}

// The code of one login at the tokens of many: each is finished by its own alone.
func codesOfManyLogins(t *testing.T, a *arena) {
	email := newEmail()
	a.signUp(t, email)
	tokens, codes := make([]string, 4), make([]string, 4)
	for i := range tokens {
		tokens[i] = a.enter(t, email, "X-Device-Id", fmt.Sprint("device-", i)).text(t, "deviceVerificationToken")
		codes[i] = a.deviceCode(t, email, tokens[i])
	}
	var calls []call
	for i := range crowd / 2 {
		calls = append(calls, finishing(tokens[1+i%3], codes[0], "a"), finishing(tokens[0], codes[0], "a"))
	}
	answers := a.burst(t, calls...)
	for i, got := range answers {
		require.False(t, i%2 == 0 && got.ok() && codes[0] != codes[1+i/2%3], "finished by the code of another login")
	}
	own := 0
	for i, got := range answers {
		if i%2 == 1 && got.ok() {
			own++
		}
	}
	require.LessOrEqual(t, own, 1)
}

// LOG-01: however many guesses come at once, on however many APIs, few are compared before the account rests.
func passwordsAtOnce(t *testing.T, a *arena) {
	email := newEmail()
	a.signUp(t, email)
	calls := make([]call, crowd)
	for i := range calls {
		calls[i] = call{Path: pathLogin, Body: fields{"email": email, "password": fmt.Sprint("guess number ", i)}}
		if i%2 == 0 {
			calls[i] = entering(email, fmt.Sprint("guess number ", i))
		}
	}
	answers := a.burst(t, calls...)
	count := tally(answers)
	for status := range count {
		require.Contains(t, []int{401, 429, 503}, status, "%v", count)
	}
	require.LessOrEqual(t, count[http.StatusUnauthorized], 12, "%v", count)
}

// LOG-09: of twenty logins at once, on two APIs, one brings an old hash to the parameters of today.
func oldHashAtOnce(t *testing.T, a *arena) {
	a.db.define(t, `CREATE TABLE IF NOT EXISTS renewals (account_id uuid)`)
	a.db.define(t, `CREATE OR REPLACE FUNCTION note_renewal() RETURNS trigger LANGUAGE plpgsql AS
		$$ BEGIN INSERT INTO renewals VALUES (NEW.id); RETURN NEW; END $$`)
	a.db.define(t, `CREATE OR REPLACE TRIGGER note_renewal AFTER UPDATE OF password_hash ON accounts FOR EACH ROW
		WHEN (OLD.password_hash LIKE '%m=7168%') EXECUTE FUNCTION note_renewal()`)
	email := newEmail()
	token := a.signUp(t, email)
	old := a.weakly(t, password, argon2id.Params{Memory: 7168, Iterations: 5, Parallelism: 1, SaltLength: 16, KeyLength: 32})
	a.db.change(t, `UPDATE accounts SET password_hash = $2 WHERE email = $1`, email, old)
	changed := a.db.texts(t, `SELECT password_changed_at::text FROM accounts WHERE email = $1`, email)
	hash := func() string { return a.db.texts(t, `SELECT password_hash FROM accounts WHERE email = $1`, email)[0] }
	require.Equal(t, http.StatusUnauthorized, a.login(t, email, "not the password").Status)
	require.Equal(t, old, hash(), "a wrong password renews nothing")

	answers := a.burst(t, filled(call{Path: pathLogin, Body: fields{"email": email, "password": password}})[:20]...)
	require.NotEmpty(t, successes(answers), "%v", tally(answers))
	require.NotContains(t, tally(answers), http.StatusUnauthorized, "the hash changed under a login")
	require.Contains(t, hash(), "$m=19456,t=2,p=1$")
	require.Equal(t, changed, a.db.texts(t, `SELECT password_changed_at::text FROM accounts WHERE email = $1`, email), "the password is the same")
	a.requireAlive(t, token)
	require.Equal(t, http.StatusOK, a.login(t, email, password).Status)
	a.see(t, effect{1, `SELECT count(*) FROM renewals WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, []any{email}})
}

// Whoever signs in by the old password while it is changed has nothing afterwards.
func changeAgainstLogin(t *testing.T, a *arena) {
	email := newEmail()
	mine := a.signUp(t, email)
	calls := []call{change(mine, password, newPassword)}
	for i := range 30 {
		if i%3 == 0 {
			calls = append(calls, entering(email, password))
		} else {
			calls = append(calls, call{Path: pathLogin, Body: fields{"email": email, "password": password}})
		}
	}
	answers := a.burst(t, calls...)
	if !answers[0].ok() {
		testkit.Eventually(t, patience, func() bool { return a.send(t, calls[0]).ok() }, "the password to be changed")
	}
	for i, got := range successes(answers) {
		if token, ok := got.object(t)["session_token"].(string); ok {
			requireDead(t, token, a.apis[i%2])
		} else if token, ok := got.object(t)["accessToken"].(string); ok {
			requireDead(t, token, a.apis[i%2])
		}
	}
	a.requireAlive(t, mine)
	require.Equal(t, 1, a.db.number(t, sessions+` AND s.revoked_at IS NULL`, email))
}
