//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

const stopPatience = 25 * time.Second

// A flow that waits for its user and one that no worker has seen yet outlive everything.
func TestFault_F08_OpenFlowsGoOnAfterAFullStop(t *testing.T) {
	t.Parallel()
	s, api, worker := stacktest.StartAll(t, stacktest.Options{Env: quick(), OwnTemporal: true})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	waiting, unseen := newEmail(), newEmail()
	c.initiate(t, waiting)
	code := c.awaitCode(t, waiting)
	worker.Stop(t, stopPatience)
	c.want(t, http.StatusAccepted, call{Path: pathInitiateSignup, Body: fields{"email": unseen, "password": password}})
	api.Stop(t, stopPatience)
	require.NoError(t, s.Temporal.Stop())
	_, err := c.try(t.Context(), call{Path: pathMe})
	require.Error(t, err, "all is stopped")

	s.RestartTemporal(t)
	s.StartWorker(t, nil)
	s.StartAPI(t, nil)

	for email, code := range map[string]string{waiting: code, unseen: c.awaitCode(t, unseen)} {
		done := retry(t, c, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}, Key: rand.Text()})
		require.Equal(t, http.StatusOK, done.Status, "%s", done.Body)
		require.Equal(t, 1, db.number(t, allCodes, email), "no new code was needed")
		require.Equal(t, 1, db.number(t, accounts, email))
		require.Contains(t, c.awaitMail(t, email, 2).Subject, "Welcome", "the flow goes on to its end")
	}
}

// I-01, I-14, I-15: API and worker are replaced under load. What was answered with success is there, and whoever got no
// answer gets one by asking again.
func TestFault_I01_I14_I15_GracefulStopUnderLoad_LosesNothing(t *testing.T) {
	t.Parallel()
	s, api, worker := stacktest.StartAll(t, stacktest.Options{Env: quick()})
	c, db := newClient(s.BaseURL), openDatabase(t, s)
	l := &load{c: c, db: db}
	const users, more = 6, 8
	ctx, enough := context.WithCancel(t.Context())
	defer enough()
	for range users {
		l.all.Go(func() { l.signUpAgainAndAgain(ctx, t) })
	}

	calmly(func() {
		for range 3 {
			l.await(t, more)
			next := s.StartWorker(t, nil)
			worker.Stop(t, stopPatience)
			worker = next
		}
		l.await(t, more)
	})
	require.Zero(t, l.repetitions(), "a worker that another one takes over from is not felt")
	api.Stop(t, stopPatience)
	s.StartAPI(t, nil)
	l.await(t, more)
	worker.Stop(t, stopPatience)
	s.StartWorker(t, nil)
	l.await(t, more)
	enough()
	l.all.Wait()

	require.Positive(t, l.repetitions(), "the stops were felt")
	for _, a := range l.accepted {
		found := db.number(t, accounts, a) + db.number(t, `SELECT count(*) FROM signup_attempts WHERE email = $1 AND closed_at IS NULL`, a)
		require.Equal(t, 1, found, "an accepted sign-up is an account or still open")
	}
	for _, m := range l.made {
		require.Equal(t, []string{m.id}, db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, m.email))
		require.Equal(t, m.id, c.want(t, http.StatusOK, call{Path: pathMe, Token: m.token}).text(t, "id"))
		require.Equal(t, 1, db.number(t, sessions, m.email))
		require.Equal(t, 1, db.number(t, bonuses, m.email))
		require.Equal(t, 1, db.number(t, allCodes, m.email), "one code")
	}
	require.Equal(t, len(l.made), db.number(t, `SELECT count(*) FROM accounts`), "an account that nobody was told of")
	require.Zero(t, db.number(t, unbalanced))
	require.Zero(t, db.number(t, orphans))
}

// load is users who sign up, and the journal of the answers that they got.
type load struct {
	c   *client
	db  database
	all sync.WaitGroup

	mu sync.Mutex
	// accepted are the addresses whose sign-up was accepted, made the accounts that were answered.
	accepted []string
	made     []madeAccount
	// repeated counts the requests that got no answer, or a 503, and were sent again.
	repeated int
	// refused are the answers that were a server's fault.
	refused []string
}

type madeAccount struct{ email, id, token string }

// await waits for n more accounts.
func (l *load) await(t testing.TB, n int) {
	t.Helper()
	count := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.made)
	}
	before := count()
	testkit.Eventually(t, repairPatience, func() bool { return t.Failed() || count() >= before+n }, "more sign-ups")
	require.False(t, t.Failed())
}

func (l *load) repetitions() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.repeated
}

// signUpAgainAndAgain ends between two users, never in the middle of one.
func (l *load) signUpAgainAndAgain(ctx context.Context, t testing.TB) {
	for ctx.Err() == nil && !t.Failed() {
		l.signUp(t.Context(), t)
	}
}

// signUp returns nil when it got an answer that it never should, and has said so.
func (l *load) signUp(ctx context.Context, t testing.TB) *madeAccount {
	email := newEmail()
	accepted := l.insist(ctx, t, call{
		Path: pathInitiateSignup, Key: rand.Text(), Body: fields{"email": email, "password": password},
	}, http.StatusOK, http.StatusAccepted)
	if accepted == nil {
		return nil
	}
	l.mu.Lock()
	l.accepted = append(l.accepted, email)
	l.mu.Unlock()
	code := l.mailed(ctx, t, email, `SELECT coalesce(max(code), '') FROM dev_inbox WHERE recipient = $1 AND code <> ''`)
	done := l.insist(ctx, t, call{
		Path: pathCompleteSignup, Key: rand.Text(), Body: fields{"email": email, "code": code},
	}, http.StatusOK)
	if done == nil {
		return nil
	}
	var body struct {
		ID           string `json:"id"`
		SessionToken string `json:"session_token"`
	}
	if err := json.Unmarshal(done.Body, &body); err != nil {
		t.Errorf("%s: %v", done.Body, err)
		return nil
	}
	made := madeAccount{email, body.ID, body.SessionToken}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.made = append(l.made, made)
	return &made
}

// insist sends a request until it gets one of the wanted answers; nil means that it got one it never should.
func (l *load) insist(ctx context.Context, t testing.TB, in call, wanted ...int) *answer {
	ctx, cancel := context.WithTimeout(ctx, repairPatience)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		got, err := l.c.try(ctx, in)
		switch {
		case err == nil && slices.Contains(wanted, got.Status):
			return &got
		case ctx.Err() != nil:
			t.Errorf("%s: no success within %s: %d %s %v", in.Path, repairPatience, got.Status, got.Body, err)
			return nil
		case err == nil && got.Status != http.StatusServiceUnavailable && got.Status != http.StatusConflict:
			t.Errorf("%s: %d %s", in.Path, got.Status, got.Body)
			return nil
		}
		if err == nil {
			t.Logf("%s again after %d %s", in.Path, got.Status, got.Body)
		}
		l.mu.Lock()
		l.repeated++
		// A flow may lose a task to a worker that stops, on a busy machine more than one: who asked is told to repeat.
		if err == nil && got.Status >= http.StatusInternalServerError && got.code() != "outcome_unknown" {
			l.refused = append(l.refused, fmt.Sprintf("%s: %d %s", in.Path, got.Status, got.Body))
		}
		l.mu.Unlock()
		<-again.C
	}
}

// mailed takes what a mail brought from the database, because the inbox is a page of the API that is being stopped.
func (l *load) mailed(ctx context.Context, t testing.TB, email, query string) string {
	ctx, cancel := context.WithTimeout(ctx, repairPatience)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		var found string
		err := l.db.QueryRow(ctx, query, email).Scan(&found)
		if err == nil && found != "" {
			return found
		}
		if ctx.Err() != nil {
			t.Errorf("no mail came within %s: %v", repairPatience, err)
			return ""
		}
		<-again.C
	}
}
