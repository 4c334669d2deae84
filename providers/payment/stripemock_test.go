package payment_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/machine"
	"gatehouse/internal/testkit"
	"gatehouse/providers/payment"
)

// spec is stripe-mock, which answers what Stripe's own description of its API says, and refuses requests that it does not
// allow. It remembers nothing, so this stands before it and puts into its answers what Stripe would have: the metadata that was
// sent, and that the money came.
type spec struct {
	*httptest.Server
	mutex    sync.Mutex
	metadata map[string]any
	asked    []string
}

// buildSpec does nothing when `make test` has done it before.
var buildSpec = sync.OnceValue(func() error {
	said, err := exec.Command("make", "-s", "-C", filepath.Join("..", ".."), "bin/tools/stripe-mock").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make bin/tools/stripe-mock: %w: %s", err, said)
	}
	return nil
})

func startSpec(t *testing.T) *spec {
	t.Helper()
	binary := filepath.Join("..", "..", "bin", "tools", "stripe-mock")
	require.NoError(t, buildSpec())
	port, err := machine.FreePort()
	require.NoError(t, err)
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	process, err := machine.Start(exec.CommandContext(t.Context(), binary,
		"-http-addr", address, "-https-addr", "127.0.0.1:0"), syscall.SIGKILL)
	require.NoError(t, err)
	t.Cleanup(process.Kill)
	testkit.Eventually(t, 30*time.Second, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, "stripe-mock listens")

	s := &spec{metadata: map[string]any{}}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: address})
	proxy.ModifyResponse = s.complete
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.remember(string(body))
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *spec) remember(body string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	form, _ := url.ParseQuery(body)
	for name, values := range form {
		if key, is := strings.CutPrefix(name, "metadata["); is {
			s.metadata[strings.TrimSuffix(key, "]")] = values[0]
		}
	}
}

func (s *spec) complete(r *http.Response) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	path := r.Request.URL.Path
	s.asked = append(s.asked, strconv.Itoa(r.StatusCode)+" "+r.Request.Method+" "+path)
	var body map[string]any
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return err
	}
	intents := []any{body}
	if list, is := body["data"].([]any); is {
		intents = list
	}
	for _, one := range intents {
		object := one.(map[string]any)
		if object["object"] == "payment_intent" || object["object"] == "customer" {
			object["metadata"] = s.metadata
		}
		if object["object"] == "payment_intent" {
			object["status"] = "succeeded"
		}
	}
	out, err := json.Marshal(body)
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(out)), int64(len(out))
	r.Header.Set("Content-Length", strconv.Itoa(len(out)))
	return err
}

// Every request is one that Stripe's description of its API allows, and every answer in its shape is understood.
func TestStripe_SpeaksAsStripeDescribesItself(t *testing.T) {
	t.Parallel()
	s := startSpec(t)
	provider, err := payment.New(payment.Settings{StripeURL: s.URL, StripeSecretKey: "sk_test_123"}, nil, account.SystemClock{})
	require.NoError(t, err)

	payer := payment.Payer{AccountID: uuid.New(), Email: "ada@example.com"}
	m, err := provider.Attach(t.Context(), payer, "pm_card_visa")
	require.NoError(t, err)
	require.NotEmpty(t, m.Customer)
	require.Equal(t, "visa", m.Brand)
	require.Len(t, m.Last4, 4)
	require.NotEmpty(t, m.Fingerprint)
	require.NotNil(t, m.ExpiresAt)

	c := charge(m)
	out, err := provider.Charge(t.Context(), c)
	require.NoError(t, err)
	require.NotEmpty(t, out.ID)
	out.ID, out.At = "", time.Time{}
	require.Equal(t, payment.Outcome{Key: c.Key, State: payment.Succeeded, Amount: c.Amount}, out)

	found, err := provider.Find(t.Context(), c.Customer, c.Key)
	require.NoError(t, err)
	require.Equal(t, c.Key, found.Key)
	require.Equal(t, payment.Succeeded, found.State)
	listed := 0
	require.NoError(t, provider.Charges(t.Context(), account.SystemClock{}.Now(), func(payment.Outcome) bool {
		listed++
		return true
	}))
	require.Equal(t, 1, listed)

	s.mutex.Lock()
	defer s.mutex.Unlock()
	require.Equal(t, []string{
		"200 GET /v1/payment_methods/pm_card_visa", "200 POST /v1/customers", "200 POST /v1/payment_methods/pm_card_visa/attach",
		"200 POST /v1/payment_intents", "200 GET /v1/payment_intents", "200 GET /v1/payment_intents",
	}, s.asked)
}

// The check above can fail: what Stripe does not describe is refused.
func TestStripe_TheDescriptionRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	s := startSpec(t)
	for body, status := range map[string]int{
		"amount=900&currency=usd&off_session=true&confirm=true": http.StatusOK,
		"amount=900&currency=usd&of_session=true":               http.StatusBadRequest,
		"amount=nine&currency=usd":                              http.StatusBadRequest,
	} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/v1/payment_intents", strings.NewReader(body))
		require.NoError(t, err)
		request.SetBasicAuth("sk_test_123", "")
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		answer, err := s.Client().Do(request)
		require.NoError(t, err)
		_ = answer.Body.Close()
		require.Equal(t, status, answer.StatusCode, body)
	}
}
