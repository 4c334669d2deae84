// Package twiliotest is a stand-in for Twilio's Messages resource, for tests: it takes messages, and fails as it is told.
package twiliotest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The account that the server knows.
const (
	AccountSID = "ACcanary0000000000000000000000001"
	AuthToken  = "canary-auth-token" //nolint:gosec // a made-up one, to be looked for in logs
	// From sends SMS, WhatsAppFrom WhatsApp messages.
	From         = "+15005550006"
	WhatsAppFrom = "+15005550009"
)

// Message is a message that was taken.
type Message struct {
	SID string
	// Channel is sms or whatsapp.
	Channel       string
	To, From      string
	Body          string
	Service       string
	Content, Vars string
}

// Code returns the six digits in the message.
func (m Message) Code() string { return sixDigits.FindString(m.Body + m.Vars) }

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// Fault is how one request fails.
type Fault struct {
	// Status and Code are Twilio's. Status 0 never answers; 201 answers with a message that failed at once.
	Status, Code int
	// RetryAfter goes into the header when it is not 0.
	RetryAfter int
	// Raw answers with a body that is no JSON.
	Raw bool
	// Taken takes the message all the same. With Status 0 the connection ends instead of the answer.
	Taken bool
}

// Server is the stand-in. It may be used by many goroutines.
type Server struct {
	*httptest.Server
	mutex    sync.Mutex
	taken    []Message
	requests int
	next     []Fault
	always   map[string]Fault
	ended    chan struct{}
}

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{always: map[string]Fault{}, ended: make(chan struct{})}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(func() {
		close(s.ended)
		s.Close()
	})
	return s
}

// Next makes the next requests fail, one each.
func (s *Server) Next(faults ...Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.next = append(s.next, faults...)
}

// Always makes every request for a channel fail; nil mends it.
func (s *Server) Always(channel string, f *Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.always, channel)
	if f != nil {
		s.always[channel] = *f
	}
}

// Messages are those that were taken, oldest first.
func (s *Server) Messages() []Message {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]Message(nil), s.taken...)
}

// Requests is how many requests came, whatever became of them.
func (s *Server) Requests() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.requests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	m, fault := s.read(r)
	if fault == nil {
		s.answer(w, http.StatusCreated, map[string]any{"sid": m.SID, "status": "queued", "to": m.To, "body": m.Body, "error_code": nil})
		return
	}
	if fault.Status == 0 && fault.Taken {
		panic(http.ErrAbortHandler)
	}
	if fault.Status == 0 {
		select {
		case <-r.Context().Done():
		case <-s.ended:
		}
		return
	}
	if fault.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(fault.RetryAfter))
	}
	switch {
	case fault.Raw:
		w.WriteHeader(fault.Status)
		_, _ = w.Write([]byte("<html>" + m.To))
	case fault.Status == http.StatusCreated:
		s.answer(w, fault.Status, map[string]any{"sid": m.SID, "status": "failed", "error_code": fault.Code})
	default:
		s.answer(w, fault.Status, map[string]any{
			"code": fault.Code, "message": "The 'To' number " + m.To + " and '" + m.Body + "' of " + AccountSID, "status": fault.Status,
		})
	}
}

// read takes the message, or says how the request fails.
func (s *Server) read(r *http.Request) (Message, *Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests++
	user, token, _ := r.BasicAuth()
	if user != AccountSID || token != AuthToken {
		return Message{}, &Fault{Status: http.StatusUnauthorized, Code: 20003}
	}
	if r.Method != http.MethodPost || r.URL.Path != "/2010-04-01/Accounts/"+AccountSID+"/Messages.json" || r.ParseForm() != nil {
		return Message{}, &Fault{Status: http.StatusNotFound, Code: 20404}
	}
	m := Message{
		SID: "SM" + rand.Text(), Channel: "sms", To: r.PostForm.Get("To"), From: r.PostForm.Get("From"), Body: r.PostForm.Get("Body"),
		Service: r.PostForm.Get("MessagingServiceSid"), Content: r.PostForm.Get("ContentSid"), Vars: r.PostForm.Get("ContentVariables"),
	}
	if to, ok := strings.CutPrefix(m.To, "whatsapp:"); ok {
		m.Channel, m.To, m.From = "whatsapp", to, strings.TrimPrefix(m.From, "whatsapp:")
	}
	if len(s.next) > 0 {
		fault := s.next[0]
		s.next = s.next[1:]
		return s.spoil(m, fault)
	}
	if fault, ok := s.always[m.Channel]; ok {
		return s.spoil(m, fault)
	}
	if m.To == "" || m.From == "" && m.Service == "" || m.Body == "" && m.Content == "" {
		return m, &Fault{Status: http.StatusBadRequest, Code: 21604}
	}
	s.taken = append(s.taken, m)
	return m, nil
}

// spoil is called with the lock held.
func (s *Server) spoil(m Message, fault Fault) (Message, *Fault) {
	if fault.Taken {
		s.taken = append(s.taken, m)
	}
	return m, &fault
}

func (s *Server) answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
