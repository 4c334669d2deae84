//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/mail/smtptest"
)

const (
	// atOnceLimit is how soon an answer must come that waits for no provider.
	atOnceLimit = time.Second
	// repairPatience covers the time after which Temporal takes a silent worker for dead.
	repairPatience = 45 * time.Second
)

// withMail are the settings of a worker that sends its mail to server.
func withMail(server *smtptest.Server) map[string]string {
	env := quick()
	for _, pair := range server.Env() {
		name, value, _ := strings.Cut(pair, "=")
		env[name] = value
	}
	return env
}

const (
	liveCodes = `SELECT count(*) FROM challenges WHERE destination = $1 AND consumed_at IS NULL AND superseded_at IS NULL`
	allCodes  = `SELECT count(*) FROM challenges WHERE destination = $1`
	codeReady = `SELECT count(*) FROM challenges WHERE destination = $1 AND code_hash IS NOT NULL AND sent_at IS NULL`
	accounts  = `SELECT count(*) FROM accounts WHERE email = $1 AND deleted_at IS NULL`
	sessions  = `SELECT count(*) FROM sessions s JOIN accounts a ON a.id = s.account_id WHERE a.email = $1`
)

// F-01, and the moment after: the worker dies before the provider took the code of one user, and before it heard that the
// provider took the code of another.
func TestFault_F01_WorkerBetweenCodeStoredAndCodeSent_LeavesOneLiveCode(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	s, _, worker := stacktest.StartAll(t, stacktest.Options{Env: withMail(mails)})
	c, db := newClient(s.BaseURL), openDatabase(t, s)

	users := []struct {
		email string
		fault smtptest.Fault
		mails int
	}{
		{newEmail(), smtptest.Hang(smtptest.RcptTo), 1},
		{newEmail(), smtptest.Hang(smtptest.Accepted), 2},
	}
	for i, user := range users {
		mails.Next(user.fault)
		c.initiate(t, user.email)
		testkit.Eventually(t, patience, func() bool {
			return mails.Attempts() == i+1 && len(mails.To(user.email)) == user.mails-1
		}, "the sending to hang")
		require.Equal(t, 1, db.number(t, codeReady, user.email), "the code is stored and not yet sent")
	}
	worker.Kill()
	mails.Heal()
	s.StartWorker(t, nil)

	for _, user := range users {
		testkit.Eventually(t, repairPatience, func() bool { return len(mails.To(user.email)) >= user.mails }, "the code to be sent")
		got := mails.To(user.email)
		for _, mail := range got {
			require.Equal(t, got[0].Code, mail.Code, "all mails carry the one code")
		}
		require.Equal(t, 1, db.number(t, liveCodes, user.email))
		require.Equal(t, 1, db.number(t, allCodes, user.email))
		newest := got[len(got)-1].Code
		c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": user.email, "code": newest}})
		require.Equal(t, 1, db.number(t, accounts, user.email))
	}
}

// F-22: the request never waits for the mail server.
func TestFault_F22_InitiateIsAnsweredAtOnceAndTheCodeComesAfter(t *testing.T) {
	t.Parallel()
	mails := smtptest.Start(t)
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: withMail(mails)})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	mails.Down()

	email := newEmail()
	took := calmly(func() { c.initiate(t, email) })
	require.Less(t, took, atOnceLimit*crowding())
	testkit.Eventually(t, patience, func() bool {
		return db.number(t, `SELECT count(*) FROM messages WHERE state = 'queued' AND attempts >= 2`) == 1
	}, "the sending to fail twice")
	require.Equal(t, 1, db.number(t, liveCodes, email))
	mails.Up()

	code := mails.Wait(email, 1)[0].Code
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.Equal(t, 1, db.number(t, accounts, email))
}

func TestFault_F04_InitiateIsAcceptedAndTheCodeComesOnceAWorkerStarts(t *testing.T) {
	t.Parallel()
	s := stacktest.Start(t, stacktest.Options{Env: quick(promptly...)})
	s.StartAPI(t, nil)
	c := newClient(s.BaseURL)

	email := newEmail()
	var got answer
	took := calmly(func() {
		got = c.want(t, http.StatusAccepted, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})
	})
	require.Less(t, took, 4*time.Second*crowding())
	operation := got.Header.Get("Location")
	require.Equal(t, operation, got.text(t, "operation"))
	require.True(t, strings.HasPrefix(operation, "/v1/operations/"), operation)
	require.Equal(t, "pending", c.want(t, http.StatusOK, call{Path: operation}).text(t, "stage"))

	s.StartWorker(t, nil)
	code := c.awaitCode(t, email)
	require.Equal(t, "awaiting_proof", c.want(t, http.StatusOK, call{Path: operation}).text(t, "stage"))
	c.want(t, http.StatusOK, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}})
	require.Equal(t, "completed", c.want(t, http.StatusOK, call{Path: operation}).text(t, "stage"))
}

// killedAnswer is a request whose API dies after the change was committed and before the client heard of it.
type killedAnswer struct {
	path string
	// prepare makes the body, having done what comes before the request.
	prepare func(t *testing.T, c *client, email string) fields
	// committed finds one row once the request has had its effect.
	committed string
	// same are the fields of the answer that tell one account and session from another.
	same []string
}

func killedAnswers() map[string]killedAnswer {
	return map[string]killedAnswer{
		"initiate": {
			path: pathInitiateSignup,
			prepare: func(_ *testing.T, _ *client, email string) fields {
				return fields{"email": email, "password": password}
			},
			committed: `SELECT count(*) FROM challenges WHERE destination = $1 AND sent_at IS NOT NULL`,
			same:      []string{"email", "message"},
		},
		"complete": {
			path: pathCompleteSignup,
			prepare: func(t *testing.T, c *client, email string) fields {
				c.initiate(t, email)
				return fields{"email": email, "code": c.awaitCode(t, email)}
			},
			committed: accounts,
			same:      []string{"id", "session_token"},
		},
		"register": {
			path: pathRegister,
			prepare: func(_ *testing.T, _ *client, email string) fields {
				return fields{"email": email, "username": email, "password": password}
			},
			committed: accounts,
			same:      []string{"userId", "token"},
		},
	}
}

// F-05, I-15: API killed between commit and response. Temporal's answer to the API is kept back, so that the change is
// certainly made and the API certainly does not know it.
func TestFault_F05_I15_APIKilledAfterCommit_TheRetryGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	s := stacktest.Start(t, stacktest.Options{Env: quick()})
	s.StartWorker(t, nil)
	db := openDatabase(t, s)
	beside(t, killedAnswers(), func(t *testing.T, test killedAnswer) {
		held := startProxy(t, s.TemporalAddress)
		replica, addr := secondAPI(t)
		replica["TEMPORAL_ADDRESS"] = held.addr
		api := s.StartAPI(t, replica)
		c, email, key := newClient("http://"+addr), newEmail(), rand.Text()
		body := test.prepare(t, c, email)
		attempt := call{Path: test.path, Body: body, Key: key}

		held.mute()
		cutOff := make(chan error, 1)
		go func() {
			_, err := c.try(context.WithoutCancel(t.Context()), attempt)
			cutOff <- err
		}()
		testkit.Eventually(t, patience, func() bool { return db.number(t, test.committed, email) == 1 }, "the commit")
		api.Kill()
		require.Error(t, <-cutOff, "the client heard nothing")
		replica["TEMPORAL_ADDRESS"] = s.TemporalAddress
		s.StartAPI(t, replica)

		first := retry(t, c, attempt)
		require.Equal(t, http.StatusOK, first.Status, "%s", first.Body)
		second := c.want(t, http.StatusOK, attempt)
		require.Equal(t, string(first.Body), string(second.Body))
		require.Equal(t, "true", second.Header.Get("Idempotent-Replayed"))
		for _, field := range test.same {
			require.NotEmpty(t, first.text(t, field))
		}
		require.Equal(t, 1, db.number(t, allCodes, email), "one code")
		require.LessOrEqual(t, db.number(t, accounts, email), 1)
		require.Equal(t, db.number(t, accounts, email), db.number(t, sessions, email))
		require.Len(t, codesOf(c.inbox(t, email)), 1, "one mail with a code")
		if token, ok := first.object(t)[test.same[1]].(string); ok && strings.Contains(test.same[1], "token") {
			id := c.want(t, http.StatusOK, call{Path: pathMe, Token: token}).text(t, "id")
			require.Equal(t, first.text(t, test.same[0]), id)
		}
	})
}

// The answer is lost on its way while API and worker live.
func TestFault_F05_I15_CutAnswer_TheRetryGetsTheSameBytes(t *testing.T) {
	t.Parallel()
	s, _, _ := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	between := startProxy(t, strings.TrimPrefix(s.BaseURL, "http://"))
	lossy := newClient("http://" + between.addr)
	for name, test := range killedAnswers() {
		email, key := newEmail(), rand.Text()
		attempt := call{Path: test.path, Body: test.prepare(t, c, email), Key: key}
		between.mute()
		cutOff := make(chan error, 1)
		go func() {
			_, err := lossy.try(context.WithoutCancel(t.Context()), attempt)
			cutOff <- err
		}()
		testkit.Eventually(t, patience, func() bool { return db.number(t, test.committed, email) == 1 }, "the commit")
		between.cut()
		require.Error(t, <-cutOff, name)
		between.unmute()

		first := c.want(t, http.StatusOK, attempt)
		require.Equal(t, string(first.Body), string(c.want(t, http.StatusOK, attempt).Body), name)
		require.LessOrEqual(t, db.number(t, sessions, email), 1, name)
	}
}

// retry repeats a request as a client should: as long as it is told that its first try is still being served.
func retry(t testing.TB, c *client, in call) answer {
	t.Helper()
	var got answer
	testkit.Eventually(t, patience, func() bool {
		got = c.send(t, in)
		if got.Status != http.StatusConflict && got.Status != http.StatusServiceUnavailable {
			return true
		}
		require.NotEmpty(t, got.Header.Get("Retry-After"), "%d %s", got.Status, got.Body)
		return false
	}, "the outcome of the first try")
	return got
}

func codesOf(messages []inboxMessage) []string {
	var codes []string
	for _, m := range messages {
		if m.Code != "" {
			codes = append(codes, m.Code)
		}
	}
	return codes
}
