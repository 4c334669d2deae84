//go:build unix

package e2e_test

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
	"gatehouse/providers/push/fcmtest"
)

// lives are users who sign up, log in, refresh, change, pay and leave, again and again, and the journal of what they were told
// (I-14, I-15): whoever got no answer asks again with the same key until there is one.
type lives struct {
	s *system
	// through are the clients that users go through, by lot of their number; a test may point them at more than one API.
	through []*client
	all     sync.WaitGroup
	end     context.CancelFunc

	mu      sync.Mutex
	journal []entry
	// ended are credentials that were told to be ended: nothing lets them in any more (I-05, I-20).
	ended []string
	// deeds counts what was answered, repeated what was asked again, refusals by status.
	deeds    int
	repeated map[int]int
	flaws    []string

	patience atomic.Int64
}

// entry is one acknowledged fact, and how to see that it is one.
type entry struct {
	told  string
	holds func(t testing.TB)
}

// live starts users of s until stop, or the end of the test.
func (s *system) live(t testing.TB, users int, through ...*client) *lives {
	t.Helper()
	if len(through) == 0 {
		through = []*client{newClient(s.base)}
	}
	ctx, end := context.WithCancel(t.Context())
	l := &lives{s: s, through: through, end: end, repeated: map[int]int{}}
	l.patience.Store(int64(repairPatience))
	for i := range users {
		l.all.Go(func() {
			for ctx.Err() == nil && !t.Failed() {
				l.life(t, through[i%len(through)])
			}
		})
	}
	l.all.Go(func() { l.knock(ctx, t) })
	t.Cleanup(func() { l.end(); l.all.Wait() })
	return l
}

// await waits until n more deeds were answered with success.
func (l *lives) await(t testing.TB, n int) {
	t.Helper()
	before := l.done()
	testkit.Eventually(t, time.Duration(l.patience.Load()), func() bool { return t.Failed() || l.done() >= before+n }, "more answers")
	require.False(t, t.Failed())
}

func (l *lives) done() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.deeds
}

// stop lets everybody finish what they do, and checks the journal against what is there.
func (l *lives) stop(t testing.TB) {
	t.Helper()
	l.end()
	l.all.Wait()
	for _, c := range l.through {
		c.hangUp()
	}
	require.Empty(t, l.flaws)
	for _, e := range l.journal {
		e.holds(t)
	}
	for _, token := range l.ended {
		require.Equal(t, http.StatusUnauthorized, l.s.send(t, call{Path: pathMe, Token: token}).Status)
	}
	for _, email := range l.s.db.texts(t, `SELECT email FROM accounts WHERE email_verified_at IS NOT NULL AND created_at > now() - interval '1 day'
		AND deleted_at IS NULL AND email NOT IN (SELECT recipient FROM dev_inbox)`) {
		require.False(t, l.s.mails == nil || len(l.s.mails.To(email)) == 0, "an account of nobody's")
	}
	t.Logf("%d answers, %d facts, asked again after %v", l.deeds, len(l.journal), l.repeated)
}

func (l *lives) note(told string, holds func(t testing.TB)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.journal = append(l.journal, entry{told, holds})
}

// life is one user from sign-up to silence. It ends early when an answer never came.
func (l *lives) life(t testing.TB, c *client) {
	ctx := t.Context()
	email := newEmail()
	if !l.asks(ctx, t, c, nil, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}, 200, 202) {
		return
	}
	l.note("accepted", func(t testing.TB) {
		require.Equal(t, 1, l.s.db.number(t, `SELECT (SELECT count(*) FROM accounts WHERE email = $1)
			+ (SELECT count(*) FROM signup_attempts WHERE email = $1 AND closed_at IS NULL)`, email), "an accepted sign-up is an account or open")
	})
	var account struct {
		ID           string `json:"id"`
		SessionToken string `json:"session_token"`
	}
	code := l.codeOf(ctx, t, email)
	if !l.asks(ctx, t, c, &account, call{Path: pathCompleteSignup, Body: fields{"email": email, "code": code}}, 200) {
		return
	}
	l.note("made", func(t testing.TB) {
		require.Equal(t, []string{account.ID}, l.s.db.texts(t, `SELECT id::text FROM accounts WHERE email = $1`, email))
		require.Equal(t, 1, l.s.db.number(t, bonuses+` AND m.kind = 'welcome'`, email))
	})
	l.signsInAndOut(ctx, t, c, email)
	l.changes(ctx, t, c, account.SessionToken)
	l.pays(ctx, t, c, account.SessionToken)
}

func (l *lives) signsInAndOut(ctx context.Context, t testing.TB, c *client, email string) {
	var first, second struct {
		AccessToken  string `json:"accessToken"`
		RefreshToken string `json:"refreshToken"`
	}
	if !l.asks(ctx, t, c, &first, call{Path: pathAuthenticate, Body: fields{"username": email, "password": password}}, 200) {
		return
	}
	rotate := call{Method: http.MethodPost, Path: pathRefresh, Header: map[string]string{refreshName: first.RefreshToken}}
	// Whoever asks again after the grace of ten seconds has lost the family: 401, and that is right.
	if !l.asks(ctx, t, c, &second, rotate, 200, 401) || second.AccessToken == "" {
		return
	}
	if !l.asks(ctx, t, c, nil, call{Method: http.MethodPost, Path: pathLogout, Token: second.AccessToken}, 200, 204, 401) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ended = append(l.ended, first.AccessToken, second.AccessToken)
}

func (l *lives) changes(ctx context.Context, t testing.TB, c *client, token string) {
	name := "Name " + rand.Text()
	if l.asks(ctx, t, c, nil, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": name}}, 200) {
		l.note("named", func(t testing.TB) {
			require.Equal(t, name, l.s.want(t, 200, call{Path: pathMe, Token: token}).text(t, "full_name"))
		})
	}
	device := l.registers(ctx, t, c, token)
	if l.asks(ctx, t, c, nil, change(token, password, newPassword), 200) {
		if device != "" {
			l.note("told by push", func(t testing.TB) {
				testkit.Eventually(t, settling, func() bool {
					return slices.ContainsFunc(l.s.fcm.Messages(), func(m fcmtest.Message) bool { return m.Token == device })
				}, "the device to be told of the new password")
			})
		}
		l.note("new password", func(t testing.TB) {
			l.s.want(t, 200, call{Path: pathMe, Token: token})
		})
	}
}

// registers has a device told of what happens to the account, where the system has a push service; empty means that none is.
func (l *lives) registers(ctx context.Context, t testing.TB, c *client, token string) string {
	if l.s.fcm == nil {
		return ""
	}
	device := newPushToken()
	body := fields{"userId": "nobody", "deviceToken": device, "os": "iOS"}
	if !l.asks(ctx, t, c, nil, call{Path: pathDeviceTokens, Token: token, Body: body}, 200) ||
		!l.asks(ctx, t, c, nil, call{Method: http.MethodPost, Path: pathPushToken(device), Token: token}, 200) {
		return ""
	}
	return device
}

func (l *lives) pays(ctx context.Context, t testing.TB, c *client, token string) {
	var made struct {
		ID     string `json:"id"`
		Status string `json:"status"`
	}
	if !l.asks(ctx, t, c, &made, subscribe(token, starterPlan, visa), 200) {
		return
	}
	if made.Status == "incomplete" { // the provider does not answer: it will be paid, once, or not at all after a day
		l.note("incomplete", func(t testing.TB) {
			testkit.Eventually(t, settling, func() bool {
				return l.s.db.number(t, `SELECT (SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid' AND reason = 'subscription_create')
					+ (SELECT count(*) FROM payment_attempts t JOIN invoices i ON i.id = t.invoice_id
						WHERE i.subscription_id = $1 AND t.state = 'declined' AND t.decline_code = 'expired')`, made.ID) == 1
			}, made.ID+" to be paid, or given up")
		})
		return
	}
	l.note("subscribed", func(t testing.TB) {
		require.Equal(t, 1, l.s.db.number(t, `SELECT count(*) FROM invoices WHERE subscription_id = $1 AND status = 'paid'
			AND reason = 'subscription_create'`, made.ID), "what was paid has its invoice")
	})
	if l.asks(ctx, t, c, nil, put(token, made.ID+"/cancel", nil), 200) {
		l.note("canceled", func(t testing.TB) {
			require.Equal(t, 1, l.s.db.number(t, `SELECT count(*) FROM subscriptions WHERE id = $1 AND cancel_at_period_end`, made.ID))
		})
	}
}

// asks sends a request under one key until it gets one of the wanted answers. An answer that it never should get, and none in
// time, is a flaw of the system. What says nothing of the outcome (no answer, 503, 409 of a key in use) is asked again.
func (l *lives) asks(ctx context.Context, t testing.TB, c *client, into any, in call, wanted ...int) bool {
	in.Key = rand.Text()
	ctx, cancel := context.WithTimeout(ctx, time.Duration(l.patience.Load()))
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	var last string
	for {
		stacktest.Called(t, 1)
		got, err := c.try(ctx, in)
		switch {
		case err == nil && slices.Contains(wanted, got.Status):
			l.mu.Lock()
			l.deeds++
			l.mu.Unlock()
			return into == nil || l.right(json.Unmarshal(got.Body, into) == nil, "%s: %s", in.Path, got.Body)
		case ctx.Err() != nil:
			return l.right(t.Context().Err() != nil, "%s: no success: %s", in.Path, last)
		case err == nil && got.Status != http.StatusServiceUnavailable && got.Status != http.StatusConflict && got.Status != http.StatusAccepted:
			return l.right(false, "%s: %d %s", in.Path, got.Status, got.Body)
		}
		last = fmt.Sprint(got.Status, string(got.Body), err)
		l.mu.Lock()
		l.repeated[got.Status]++
		l.mu.Unlock()
		<-again.C
	}
}

func (l *lives) right(ok bool, format string, args ...any) bool {
	if !ok {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.flaws = append(l.flaws, fmt.Sprintf(format, args...))
	}
	return ok
}

// codeOf takes the code from the database: the inbox is a page of an API that may be down.
func (l *lives) codeOf(ctx context.Context, t testing.TB, email string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(l.patience.Load()))
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		code, err := l.s.mailedCode(ctx, email)
		if err == nil && code != "" {
			return code
		}
		if ctx.Err() != nil {
			l.right(t.Context().Err() != nil, "no code came: %v", err)
			return ""
		}
		<-again.C
	}
}

// mailedCode is the code that came to an address; empty means none yet.
func (s *system) mailedCode(ctx context.Context, email string) (code string, err error) {
	if s.mails == nil {
		err = s.db.QueryRow(ctx, `SELECT coalesce(max(code), '') FROM dev_inbox WHERE recipient = $1 AND code <> ''`, email).Scan(&code)
		return code, err
	}
	for _, m := range s.mails.To(email) {
		code = cmp.Or(m.Code, code)
	}
	return code, nil
}

// knock tries what was ended, and what never was a credential, at every door all the time: nothing may open, least of all
// while something is broken (I-05, I-20).
func (l *lives) knock(ctx context.Context, t testing.TB) {
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	doors := []string{pathMe, pathDetails, pathSecurityInfo, pathSessions}
	for i := 0; ctx.Err() == nil; i++ {
		token := "ghk_" + rand.Text()
		l.mu.Lock()
		if len(l.ended) > 0 && i%8 > 0 {
			token = l.ended[len(l.ended)-1-i%min(len(l.ended), 50)]
		}
		l.mu.Unlock()
		stacktest.Called(t, 1)
		got, err := l.through[i%len(l.through)].try(ctx, call{Path: doors[i%len(doors)], Token: token})
		if err == nil && got.Status != http.StatusUnauthorized && got.Status != http.StatusServiceUnavailable {
			l.right(false, "what was ended got %d at %s: %s", got.Status, doors[i%len(doors)], got.Body)
		}
		<-again.C
	}
}
