//go:build unix

package e2e_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// forgetAnswers leaves idempotency keys as they are when the API dies after the change and before the answer is kept: the holder
// is gone, and what its change has committed is there.
const forgetAnswers = `
	CREATE FUNCTION forget_answer() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		NEW := OLD;
		NEW.locked_until := now();
		RETURN NEW;
	END $$;
	CREATE TRIGGER forget_answer BEFORE UPDATE ON idempotency_keys FOR EACH ROW WHEN (NEW.status IS NOT NULL)
		EXECUTE FUNCTION forget_answer()`

// forgotten sends every request that takes an Idempotency-Key with one, and sends what was answered with success once more, to
// an API that has forgotten its answer. The first answer must be the second, which is the one that goes on.
type forgotten struct {
	t    testing.TB
	next http.RoundTripper

	mu *sync.Mutex
	// asked counts what was asked twice, by method and path.
	asked map[string]int
}

// RoundTrip implements http.RoundTripper.
func (f *forgotten) RoundTrip(request *http.Request) (*http.Response, error) {
	contract, err := spec()
	if err != nil {
		return nil, err
	}
	operation, found := contract.Find(request.Method, request.URL.Path)
	if !found || operation.Parameters.GetByInAndName("header", "Idempotency-Key") == nil {
		return f.next.RoundTrip(request)
	}
	var sent []byte
	if request.Body != nil {
		if sent, err = io.ReadAll(request.Body); err != nil {
			return nil, err
		}
	}
	if request.Header.Get("Idempotency-Key") == "" {
		request.Header.Set("Idempotency-Key", rand.Text())
	}
	first, told, err := f.ask(request, sent)
	if err != nil || first.StatusCode >= http.StatusMultipleChoices {
		return first, err
	}
	stacktest.Called(f.t, 1)
	second, again, err := f.ask(request, sent)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.asked[operation.Method+" "+operation.Path]++
	f.mu.Unlock()
	name := request.Method + " " + request.URL.Path
	switch {
	case second.StatusCode == http.StatusUnauthorized && f.ended(request):
		return first, nil // by the request itself: whoever asks again is told that
	case second.Header.Get("Idempotent-Replayed") != "":
		f.t.Errorf("%s: the answer was not forgotten", name)
	case first.StatusCode == http.StatusAccepted && second.StatusCode < http.StatusMultipleChoices:
	case second.StatusCode == first.StatusCode && strings.HasPrefix(operation.Path, pathSubscriptions): // a charge may have come through
	case second.StatusCode != first.StatusCode || lasting(told) != lasting(again):
		f.t.Errorf("%s was answered\n%d %s\nand then\n%d %s", name, first.StatusCode, told, second.StatusCode, again)
	}
	return second, nil
}

// passing is what an answer says of its own moment: when it was given, and an access token, which is signed anew each time.
var passing = regexp.MustCompile(`"action_time":"[^"]*"|eyJ[\w-]+\.[\w-]+\.[\w-]+|"expires_?[iI]n":\d+`)

func lasting(body []byte) string { return passing.ReplaceAllString(string(body), "") }

// ended says whether the session of request is over.
func (f *forgotten) ended(request *http.Request) bool {
	me := request.Clone(request.Context())
	me.Method, me.URL.Path, me.URL.RawQuery = http.MethodGet, pathMe, ""
	response, _, err := f.ask(me, nil)
	return err == nil && response.StatusCode == http.StatusUnauthorized
}

func (f *forgotten) ask(request *http.Request, sent []byte) (*http.Response, []byte, error) {
	request = request.Clone(request.Context())
	request.Body, request.ContentLength = io.NopCloser(bytes.NewReader(sent)), int64(len(sent))
	if len(sent) == 0 {
		request.Body = http.NoBody
	}
	response, err := f.next.RoundTrip(request)
	if err != nil {
		return nil, nil, err
	}
	body, err := io.ReadAll(response.Body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, body, err
}

// F-05, I-15: of whatever an account may ask for in its life, under whichever document, the answer is forgotten once, and nothing
// is done twice: the model of TestDialects_OneAccount knows of one time.
func TestFault_F05_I15_AnswersForgotten_RandomLives(t *testing.T) {
	t.Parallel()
	on, asked, mu := startLiving(t), map[string]int{}, &sync.Mutex{}
	on.s.db.define(t, forgetAnswers)
	on.play(t, func(t testing.TB, next http.RoundTripper) http.RoundTripper {
		return &forgotten{t: t, next: next, mu: mu, asked: asked}
	})
	require.NotEmpty(t, asked)
	contract, err := spec()
	require.NoError(t, err)
	for _, o := range contract.Operations() {
		if n := asked[o.Method+" "+o.Path]; o.Parameters.GetByInAndName("header", "Idempotency-Key") != nil && n == 0 {
			t.Logf("not asked in these lives: %s %s", o.Method, o.Path)
		}
	}
}

// F-05, I-15: the API dies between the change and the keeping of its answer, on every kind of request that changes something.
// What is there then is what is there of somebody whose answers were all kept.
func TestFault_F05_I15_AnswersForgotten_OnEveryRoute(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	s.db.define(t, forgetAnswers)
	forgetful := *s
	forgetful.client = newClient(s.base)
	asked := map[string]int{}
	forgetful.http.Transport = &forgotten{t: t, next: forgetful.http.Transport, mu: &sync.Mutex{}, asked: asked}
	person := func(s *system) *double {
		return &double{s: s, email: newEmail(), next: newEmail(), second: newEmail(), number: newNumber(t)}
	}
	lucky, cut := person(s), person(&forgetful)
	for _, do := range deeds {
		told := s.send(t, do.make(t, lucky))
		require.True(t, told.ok(), "%s: %d %s", do.name, told.Status, told.Body)
		again := cut.s.send(t, do.make(t, cut))
		require.Equal(t, told.Status, again.Status, "%s: %s", do.name, again.Body)
		if do.keep != nil {
			do.keep(t, lucky, told)
			do.keep(t, cut, again)
		}
		testkit.Eventually(t, patience, func() bool { return sameTraces(lucky.traces(t), cut.traces(t)) }, do.name+" to leave the same of both")
	}
	times := 0
	for _, n := range asked {
		times += n
	}
	require.Equal(t, len(deeds), times, "each was asked twice: %v", asked)
	s.requireInvariants(t)
}

// stallAnswers lets nobody keep an answer while somebody holds the lock.
const stallAnswers = `
	CREATE FUNCTION stall_answer() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM pg_advisory_xact_lock_shared(4711);
		RETURN NEW;
	END $$;
	CREATE TRIGGER stall_answer BEFORE UPDATE ON idempotency_keys FOR EACH ROW WHEN (NEW.status IS NOT NULL)
		EXECUTE FUNCTION stall_answer()`

// F-05, I-15: the API is killed between the commit of a change that no flow makes and the keeping of its answer. Another one waits
// for the lease of the dead, and tells what was made.
func TestFault_F05_I15_APIKilledBeforeItKeptItsAnswer_NothingIsMadeTwice(t *testing.T) {
	t.Parallel()
	s := stacktest.Start(t, stacktest.Options{Env: quick(promptly...)})
	s.StartWorker(t, nil)
	db := openDatabase(t, s)
	db.define(t, stallAnswers)
	holder, err := db.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(holder.Release)
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_lock(4711)`)
	require.NoError(t, err)

	type killed struct {
		name, email string
		replica     map[string]string
		client      *client
		attempt     call
		heard       answer
	}
	all := map[string]killed{}
	for _, do := range deeds {
		if !slices.Contains([]string{"A02 profile", "D12 username", "API key", "A10 others", "A05 password"}, do.name) {
			continue
		}
		replica, addr := secondAPI(t)
		api := s.StartAPI(t, replica)
		k := killed{name: do.name, email: newEmail(), replica: replica, client: newClient("http://" + addr)}
		k.attempt = withKey(do.make(t, &double{token: k.client.signUp(t, k.email)}))
		told := make(chan answer, 1)
		go func() {
			got, err := k.client.try(context.WithoutCancel(t.Context()), k.attempt)
			if err != nil {
				got = answer{}
			}
			told <- got
		}()
		testkit.Eventually(t, patience, func() bool {
			return db.number(t, `SELECT count(*) FROM idempotency_keys WHERE made IS NOT NULL`) > len(all)
		}, "the commit of "+do.name)
		api.Kill()
		k.heard = <-told // by nobody, unless this machine was too busy to kill the API in time
		all[k.name] = k
	}
	// What the dead have left behind at the database must not keep their answers for them.
	db.define(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'`)
	_, err = holder.Exec(t.Context(), `SELECT pg_advisory_unlock(4711)`)
	require.NoError(t, err)
	beside(t, all, func(t *testing.T, k killed) {
		s.StartAPI(t, k.replica)
		first := retry(t, k.client, k.attempt)
		require.True(t, first.ok(), "%d %s", first.Status, first.Body)
		require.Empty(t, first.Header.Get("Idempotent-Replayed"), "no answer was kept")
		require.Equal(t, string(first.Body), string(k.client.want(t, first.Status, k.attempt).Body), "now one is")
		if k.heard.ok() {
			require.Equal(t, lasting(k.heard.Body), lasting(first.Body))
		}
		if k.name == "API key" {
			k.client.want(t, http.StatusOK, call{Path: pathMe, Header: map[string]string{"X-API-Key": first.text(t, "key")}})
			require.Equal(t, 1, db.number(t, `SELECT count(*) FROM api_keys k JOIN accounts a ON a.id = k.account_id WHERE a.email = $1`, k.email))
		}
	})
}
