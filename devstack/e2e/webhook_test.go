//go:build unix

package e2e_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// told is one request that a receiver got.
type told struct {
	id, eventType, body string
	header              http.Header
	data                map[string]any
}

// receiver is somebody else's server. Without an answer it takes everything.
type receiver struct {
	url, id, secret string

	mu     sync.Mutex
	all    []told
	answer http.HandlerFunc
}

// receive starts a receiver and adds it by the command line.
func (s *system) receive(t *testing.T, events string) *receiver {
	t.Helper()
	r := &receiver{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		content, err := io.ReadAll(q.Body)
		if err != nil {
			return
		}
		got := told{id: q.Header.Get("webhook-id"), body: string(content), header: q.Header.Clone()}
		var body struct {
			Type string         `json:"type"`
			Data map[string]any `json:"data"`
		}
		if json.Unmarshal(content, &body) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		got.eventType, got.data = body.Type, body.Data
		r.mu.Lock()
		r.all = append(r.all, got)
		answer := r.answer
		r.mu.Unlock()
		if answer != nil {
			answer(w, q)
		}
	}))
	t.Cleanup(server.Close)
	r.url = server.URL + "/canary-path"
	added := strings.Fields(s.stack.Command(t, nil, "webhooks", "add", "--url", r.url, "--events", events))
	require.Len(t, added, 2)
	r.id, r.secret = added[0], added[1]
	return r
}

func (r *receiver) answers(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func (r *receiver) got() []told {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]told(nil), r.all...)
}

// await waits until the receiver was told n times of a type, and returns these.
func (r *receiver) await(t *testing.T, n int, eventType string) []told {
	t.Helper()
	var of []told
	testkit.Eventually(t, 2*repairPatience, func() bool {
		of = nil
		for _, one := range r.got() {
			if one.eventType == eventType {
				of = append(of, one)
			}
		}
		return len(of) >= n
	}, eventType)
	return of
}

// verify checks a signature as receivers do.
func (r *receiver) verify(t *testing.T, got told, secret string) {
	t.Helper()
	hook, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, hook.Verify([]byte(got.body), got.header))
}

const delivered = `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND state <> 'delivered'`

func (s *system) allDelivered(t *testing.T, r *receiver) {
	t.Helper()
	s.db.eventually(t, 0, delivered, r.id)
}

// hooked are settings under which a receiver is tried again soon.
var hooked = []string{"GATEHOUSE_WEBHOOK_RETRIES", "1s,1s,2s,4s,8s,8s,8s", "GATEHOUSE_WEBHOOK_TIMEOUT", "1s"}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	s := startSystem(t, hooked...)
	everything, paid := s.receive(t, "*"), s.receive(t, "subscription.paid,password.*")
	t.Run("an account and its subscription are told, signed", func(t *testing.T) { tellLife(t, s, everything, paid) })
	t.Run("a receiver that fails or is slow is tried again", func(t *testing.T) { failThenTake(t, s, everything) })
	t.Run("one that is gone is disabled, and what waits comes after", func(t *testing.T) { goneThenBack(t, s, paid) })
	t.Run("replays, secrets, pings and removal", func(t *testing.T) { operate(t, s, everything) })
}

func tellLife(t *testing.T, s *system, everything, paid *receiver) {
	token, email := s.payer(t)
	me := s.want(t, 200, call{Method: "GET", Path: pathMe, Token: token}).object(t)
	made := everything.await(t, 1, "account.created")[0]
	everything.verify(t, made, everything.secret)
	require.Equal(t, me["id"], made.data["account_id"])
	require.InDelta(t, 1, made.data["sequence"], 0)

	id := s.want(t, 200, subscribe(token, premiumPlan, visa)).text(t, "id")
	for _, r := range []*receiver{everything, paid} {
		of := r.await(t, 1, "subscription.paid")[0]
		r.verify(t, of, r.secret)
		require.Equal(t, id, of.data["subscription_id"])
		require.Equal(t, "active", of.data["status"])
		require.Equal(t, made.data["account_id"], of.data["account_id"])
	}
	require.Equal(t, everything.await(t, 1, "subscription.paid")[0].id, paid.await(t, 1, "subscription.paid")[0].id, "one event, one id")
	everything.await(t, 1, "subscription.created")
	s.allDelivered(t, everything)
	s.allDelivered(t, paid)
	require.Len(t, paid.got(), 1, "it wants nothing else")
	// The log, the books and what was told are one.
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM audit_events a WHERE a.account_id = $1
		AND NOT EXISTS (SELECT 1 FROM webhook_events e WHERE e.id = a.id AND e.type = a.name)`, me["id"]))
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM subscription_events b WHERE b.subscription_id = $1
		AND (SELECT count(*) FROM webhook_events e WHERE e.type = 'subscription.' || b.event
			AND e.data ->> 'subscription_id' = b.subscription_id AND (e.data ->> 'version')::bigint = b.version) <> 1`, id))
	seen := map[string]bool{}
	for _, one := range everything.got() {
		require.False(t, seen[one.id], "in ordinary times each event comes once")
		seen[one.id] = true
		for _, hidden := range []string{email, "@", visa, "127.0.0.1"} {
			require.NotContains(t, one.body, hidden)
		}
	}
}

func failThenTake(t *testing.T, s *system, r *receiver) {
	tries := 0
	r.answers(func(w http.ResponseWriter, q *http.Request) {
		tries++
		switch tries {
		case 1:
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusServiceUnavailable)
		case 2:
			select { // for longer than it may take
			case <-q.Context().Done():
			case <-time.After(5 * time.Second):
			}
		case 3:
			http.Redirect(w, q, "http://127.0.0.1:1/", http.StatusFound)
		}
	})
	defer r.answers(nil)
	token, _ := s.payer(t)
	before := len(r.await(t, 0, "password.changed"))
	testkit.Eventually(t, patience, func() bool { return s.db.number(t, delivered, r.id) == 0 }, "the account's creation to be told")
	require.Equal(t, 4, tries)
	created := r.await(t, 4, "account.created")
	last := created[len(created)-1]
	for _, one := range created[len(created)-4:] {
		require.Equal(t, last.id, one.id, "the same id in every attempt")
		require.Equal(t, last.body, one.body)
		r.verify(t, one, r.secret)
	}
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM webhook_deliveries WHERE attempts = 4 AND endpoint_id = $1`, r.id))
	require.Equal(t, 0, s.db.number(t, `SELECT count(*) FROM webhook_endpoints WHERE failing_since IS NOT NULL`))
	s.want(t, http.StatusOK, change(token, password, newPassword))
	r.await(t, before+1, "password.changed")
	s.allDelivered(t, r)
}

func goneThenBack(t *testing.T, s *system, r *receiver) {
	s.allDelivered(t, r) // of what others did
	r.answers(status(http.StatusGone))
	token, _ := s.payer(t)
	s.want(t, http.StatusOK, change(token, password, newPassword))
	s.db.eventually(t, 1, `SELECT count(*) FROM webhook_endpoints WHERE id = $1 AND disabled_reason = 'gone'`, r.id)
	require.Contains(t, s.stack.Command(t, nil, "webhooks", "list"), "disabled (gone)")
	n := len(r.got())
	s.want(t, http.StatusOK, change(token, newPassword, password))
	s.db.eventually(t, 2, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1 AND state = 'owed'`, r.id)
	require.Len(t, r.got(), n, "it is asked nothing any more")
	r.answers(nil)
	s.stack.Command(t, nil, "webhooks", "enable", r.id)
	s.allDelivered(t, r)
	require.Len(t, r.got(), n+2)
}

func operate(t *testing.T, s *system, r *receiver) {
	s.allDelivered(t, r)
	first := r.got()[0]
	require.Contains(t, s.stack.Command(t, nil, "webhooks", "replay", first.id, "--endpoint", r.id), "1 deliveries")
	again := r.await(t, 1, first.eventType)
	testkit.Eventually(t, patience, func() bool {
		again = r.got()
		return again[len(again)-1].id == first.id
	}, "the replay")
	require.Equal(t, first.body, again[len(again)-1].body)
	s.allDelivered(t, r)

	n := len(r.got())
	require.Contains(t, s.stack.Command(t, nil, "webhooks", "replay", "--endpoint", r.id, "--since", "2026-01-01T00:00:00Z"), "0 deliveries")
	all := s.db.number(t, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, r.id)
	s.stack.Command(t, nil, "webhooks", "replay", "--endpoint", r.id, "--since", "2026-01-01T00:00:00Z", "--all")
	testkit.Eventually(t, patience, func() bool { return len(r.got()) == n+all }, "everything once more")

	next := strings.TrimSpace(s.stack.Command(t, nil, "webhooks", "rotate-secret", r.id))
	s.stack.Command(t, nil, "webhooks", "ping", r.id)
	ping := r.await(t, 1, "webhook.ping")[0]
	r.verify(t, ping, r.secret)
	r.verify(t, ping, next)
	s.allDelivered(t, r)

	var lines []map[string]any
	require.NoError(t, json.Unmarshal([]byte(s.stack.Command(t, nil, "webhooks", "deliveries", "--endpoint", r.id, "--limit", "1", "--json")), &lines))
	require.Equal(t, ping.id, lines[0]["event"])
	require.Equal(t, "delivered", lines[0]["state"])
	s.stack.Command(t, nil, "webhooks", "remove", r.id)
	require.NotContains(t, s.stack.Command(t, nil, "webhooks", "list"), r.id)
	n = len(r.got())
	s.payer(t)
	require.Len(t, r.got(), n)
	require.Zero(t, s.db.number(t, `SELECT count(*) FROM webhook_deliveries WHERE endpoint_id = $1`, r.id))
}

// The worker dies while the receiver has the event and has not answered: the event comes again, under the same id.
func TestFault_F01_WebhookWorkerKilledWhileTheReceiverAnswers(t *testing.T) {
	t.Parallel()
	s := startSystem(t, hooked...)
	r := s.receive(t, "account.*")
	reached, release := make(chan struct{}, 10), make(chan struct{})
	r.answers(func(http.ResponseWriter, *http.Request) {
		reached <- struct{}{}
		<-release
	})
	s.payer(t)
	<-reached
	s.worker.Kill()
	r.answers(nil)
	close(release)
	s.worker = s.stack.StartWorker(t, nil)
	both := r.await(t, 2, "account.created")
	require.Equal(t, both[0].id, both[1].id)
	testkit.Eventually(t, 2*repairPatience, func() bool { return s.db.number(t, delivered, r.id) == 0 }, "the delivery")
}

// What happens while Temporal is away is told once it is back, and nothing of it twice.
func TestFault_F08_WebhookWhileTemporalIsAway(t *testing.T) {
	t.Parallel()
	stack := stacktest.Start(t, stacktest.Options{Env: quick(hooked...), OwnTemporal: true})
	stack.StartWorker(t, nil)
	s := onStack(t, stack)
	r := s.receive(t, "password.*")
	token, email := s.payer(t)
	s.awaitMail(t, email, 2)
	require.NoError(t, s.stack.Temporal.Stop())
	s.want(t, http.StatusOK, change(token, password, newPassword))
	s.want(t, http.StatusOK, change(token, newPassword, password))
	require.Equal(t, 2, s.db.number(t, delivered, r.id), "they are owed")
	s.stack.RestartTemporal(t)
	r.await(t, 2, "password.changed")
	testkit.Eventually(t, 2*repairPatience, func() bool { return s.db.number(t, delivered, r.id) == 0 }, "the deliveries")
	require.Len(t, r.got(), 2)
}
