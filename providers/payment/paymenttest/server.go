// Package paymenttest is a stand-in for Stripe's REST API, for tests, with what every payment provider must pass. It keeps
// customers, payment methods and PaymentIntents as Stripe does, forgets idempotency keys after a day, has a ledger of the money
// that it really moved, and fails as it is told.
package paymenttest

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stripe/stripe-go/v85"

	"gatehouse/account"
	"gatehouse/providers/payment"
)

// The credentials that the server knows.
const (
	SecretKey     = "sk_test_canary"
	WebhookSecret = "whsec_test_canary" //nolint:gosec // a made-up one, to be looked for in logs
)

// keyLife is how long idempotency keys are remembered.
const keyLife = 24 * time.Hour

// Entry is a line of the ledger: money that was moved.
type Entry struct {
	// IntentID is the PaymentIntent's id, Key and InvoiceID are what it was given as metadata.
	IntentID  string
	Key       string
	InvoiceID string
	Customer  string
	MethodID  string
	Amount    int64
	Currency  string
	At        time.Time
}

// Moment is where in an exchange a fault strikes.
type Moment string

// The moments.
const (
	// Before drops the request: nothing happens, and the connection ends.
	Before Moment = "before"
	// Held does nothing and leaves the client waiting.
	Held Moment = "held"
	// After does what was asked for, and ends the connection instead of answering.
	After Moment = "after"
	// Never does what was asked for and leaves the client waiting.
	Never Moment = "never"
	// Twice does it once and answers twice in a row.
	Twice Moment = "twice"
)

// Fault is how one request goes wrong.
type Fault struct {
	Moment Moment
	// Status answers so and does nothing, with RetryAfter (seconds) if that is not 0.
	Status     int
	RetryAfter int
	// Done does what was asked for before it answers with Status.
	Done bool
	// Decline is the code with which a charge is declined.
	Decline string
	// Refusal is the code, Param the parameter with which Status refuses a charge, both empty for a failure of the server.
	Refusal string
	Param   string
	// Processing leaves the outcome of a charge open for so long.
	Processing time.Duration
	// Stale does what was asked for, and answers what the charge before was answered.
	Stale bool
	// Raw answers with Status and a body that is no JSON.
	Raw bool
	// Reached is closed when the fault strikes, if it is not nil: after what was asked for was done, if it is.
	Reached chan struct{}
}

// Server is the stand-in. It may be used by many goroutines.
type Server struct {
	*httptest.Server
	cards map[string]payment.TestCard
	ended chan struct{}

	mutex     sync.Mutex
	offset    time.Duration
	customers map[string]*customer
	methods   map[string]*method
	intents   []*intent
	keys      map[string]*remembered
	entries   []Entry
	requests  int
	next      []Fault
	former    answer
	always    *Fault
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		cards: payment.TestCards(), ended: make(chan struct{}), customers: map[string]*customer{}, methods: map[string]*method{},
		keys: map[string]*remembered{},
	}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		close(s.ended)
		s.Close()
	})
	return s
}

// Settings lead a provider to the server.
func (s *Server) Settings() payment.Settings {
	return payment.Settings{StripeURL: s.URL, StripeSecretKey: SecretKey, StripeWebhookSecrets: []string{WebhookSecret}}
}

// Next makes the next charges go wrong, one each. Other requests are not counted.
func (s *Server) Next(faults ...Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.next = append(s.next, faults...)
}

// Always makes every request of any kind go wrong; nil mends it.
func (s *Server) Always(f *Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.always = f
}

// Advance moves the server's clock forward.
func (s *Server) Advance(d time.Duration) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.offset += d
}

// Now is the server's time. It makes the server an account.Clock.
func (s *Server) Now() time.Time {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return account.SystemClock{}.Now().Add(s.offset) }

// Ledger is the money that was moved, oldest first.
func (s *Server) Ledger() []Entry {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Clone(s.entries)
}

// Charged counts the times that money was moved under each key.
func (s *Server) Charged() map[string]int {
	counts := map[string]int{}
	for _, e := range s.Ledger() {
		counts[e.Key]++
	}
	return counts
}

// Notice is what Stripe tells by itself about the newest charge with a key: the body, and its Stripe-Signature header.
func (s *Server) Notice(key string) (body []byte, signature string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	event := map[string]any{"id": "evt_" + rand.Text(), "object": "event", "type": "payment_intent.succeeded"}
	for _, i := range s.intents {
		if i.metadata["gatehouse_key"] == key {
			event["data"] = map[string]any{"object": s.intentBody(i)}
		}
	}
	body, _ = json.Marshal(event) //nolint:errchkjson // maps of strings and numbers
	now := s.now()
	return body, fmt.Sprintf("t=%d,v1=%x", now.Unix(), stripe.ComputeSignature(now, body, WebhookSecret))
}

// Requests is how many requests came, whatever became of them.
func (s *Server) Requests() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.requests
}

// Customers are the ids of the customers there are.
func (s *Server) Customers() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return slices.Sorted(maps.Keys(s.customers))
}

// DeleteCustomer deletes a customer with its methods, as somebody may in Stripe's dashboard.
func (s *Server) DeleteCustomer(id string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.customers[id].deleted = true
	maps.DeleteFunc(s.methods, func(_ string, m *method) bool { return m.customer == id })
}
