//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
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

// burst sends the same number of calls at one moment and returns their answers.
func burst(t testing.TB, c *client, calls []call) []answer {
	t.Helper()
	stacktest.Called(t, len(calls))
	bursts.Lock()
	defer bursts.Unlock()
	answers, failures := make([]answer, len(calls)), make([]error, len(calls))
	atOnce(len(calls), func(i int) { answers[i], failures[i] = c.try(t.Context(), calls[i]) })
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

// OTP-03 and "100 parallel complete-signup calls": one account, one session, one bonus.
func TestRace_OTP03_CompleteSignupWithTheRightCode_MakesOneAccount(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	for range stacktest.Rounds(t) {
		email := newEmail()
		c.initiate(t, email)
		right := call{Path: pathCompleteSignup, Body: fields{"email": email, "code": c.awaitCode(t, email)}}

		answers := burst(t, c, slices.Repeat([]call{right}, crowd))

		requireClean(t, answers)
		require.Len(t, successes(answers), 1, "%v", tally(answers))
		require.Equal(t, 1, db.number(t, accounts, email))
		require.Equal(t, 1, db.number(t, sessions, email))
		require.Equal(t, 1, db.number(t, bonuses, email))
		token := successes(answers)[0].text(t, "session_token")
		c.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	}
	require.Zero(t, db.number(t, unbalanced))
	require.Zero(t, db.number(t, orphans))
}

// OTP-02: at most five codes of a challenge are compared, however many come at once.
func TestRace_OTP02_I03_AtMostFiveGuessesAreCompared(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	for _, path := range []string{pathCompleteSignup, pathVerifyCode} {
		for range stacktest.Rounds(t) {
			email := newEmail()
			c.initiate(t, email)
			calls := make([]call, crowd)
			for i, code := range distinctCodes(crowd, c.awaitCode(t, email)) {
				calls[i] = call{Path: path, Body: fields{"email": email, "code": code}}
			}

			answers := burst(t, c, calls)

			requireClean(t, answers)
			require.LessOrEqual(t, len(successes(answers)), 1)
			attempts := db.number(t, attemptsOf, email)
			require.LessOrEqual(t, attempts, 5)
			require.Positive(t, attempts)
			if len(successes(answers)) == 0 {
				require.Equal(t, 5, attempts, "every try was spent")
				require.Zero(t, db.number(t, accounts, email))
			}
		}
	}
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

func TestRace_InitiateSignup_SendsOneMail(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	for range 2 {
		email := newEmail()
		body := fields{"email": email, "password": password}

		answers := burst(t, c, slices.Repeat([]call{{Path: pathInitiateSignup, Body: body}}, crowd))

		requireClean(t, answers)
		require.NotEmpty(t, successes(answers), "%v", tally(answers))
		code := c.awaitCode(t, email)
		require.Equal(t, 1, db.number(t, allCodes, email))
		require.Equal(t, 1, db.number(t, `SELECT count(*) FROM signup_attempts WHERE email = $1`, email))
		c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
		require.Len(t, codesOf(c.inbox(t, email)), 1)
		c.want(t, http.StatusOK, call{Path: pathLogin, Body: body})
	}
}

// PRE-09: sign-ups by code and by registration for one address at the same moment.
func TestRace_PRE09_CompleteAndRegister_LeaveOneAccount(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	for range stacktest.Rounds(t) {
		email := newEmail()
		c.initiate(t, email)
		complete := call{Path: pathCompleteSignup, Body: fields{"email": email, "code": c.awaitCode(t, email)}}
		register := call{Path: pathRegister, Body: fields{"email": email, "username": email, "password": "Another-Horse-9-battery"}}

		answers := burst(t, c, slices.Repeat([]call{complete, register}, crowd/2))

		requireClean(t, answers)
		require.NotEmpty(t, successes(answers), "%v", tally(answers))
		require.Equal(t, 1, db.number(t, accounts, email))
		require.LessOrEqual(t, db.number(t, bonuses, email), 1)
		var completed []answer
		for i, a := range answers {
			if i%2 == 0 && a.ok() {
				completed = append(completed, a)
			}
		}
		require.LessOrEqual(t, len(completed), 1, "%v", tally(answers))
		if len(completed) == 1 {
			// The proof of the mailbox wins: the account is the prover's, whoever else registered it unproven.
			me := c.want(t, http.StatusOK, call{Path: pathMe, Token: completed[0].text(t, "session_token")})
			require.Equal(t, true, me.object(t)["is_verified"])
			require.Equal(t, 1, db.number(t, bonuses, email))
			require.Equal(t, 1, db.number(t, sessions, email))
		}
	}
	require.Zero(t, db.number(t, unbalanced))
	require.Zero(t, db.number(t, orphans))
}

// One Idempotency-Key is one execution, and everybody who knows it gets the same bytes.
func TestRace_I15_SameIdempotencyKey_ExecutesOnce(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	for name, test := range killedAnswers() {
		email := newEmail()
		one := call{Path: test.path, Body: test.prepare(t, c, email), Key: rand.Text()}

		answers := burst(t, c, slices.Repeat([]call{one}, crowd/2))

		for _, a := range answers {
			require.Equal(t, http.StatusOK, a.Status, "%s: %s", name, a.Body)
			require.Equal(t, string(answers[0].Body), string(a.Body), name)
		}
		require.Equal(t, 1, db.number(t, allCodes, email), name)
		require.LessOrEqual(t, db.number(t, sessions, email), 1, name)
		require.LessOrEqual(t, db.number(t, accounts, email), 1, name)
		other := one
		other.Body = fields{"email": newEmail(), "code": "123456", "username": "", "password": password}
		require.Contains(t, string(c.send(t, other).Body), "idempotency_key_reused", name)
	}
}

// I-05: after the answer to a logout, no request with its token succeeds, on whichever API.
func TestRace_SES05_I05_NoRequestStartedAfterALogoutSucceeds(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	replica, addr := secondAPI(t)
	s.StartAPI(t, replica)
	clients := []*client{newClient(s.BaseURL), newClient("http://" + addr)}
	for range 3 {
		token := clients[0].signUp(t, newEmail())
		reading := readUntilRefused(t, clients, token)
		testkit.Eventually(t, patience, func() bool { return reading.served.Load() >= 20 }, "the readers to be served")

		clients[0].want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: token})
		reading.loggedOut.Store(true)

		reading.wait()
		require.Zero(t, reading.late.Load(), "requests that started after the logout's answer and succeeded")
		require.Positive(t, reading.refused.Load())
	}
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
