// Package fcmtest is a stand-in for Firebase Cloud Messaging and for the place where service accounts get their access
// tokens, for tests: it takes messages, and fails as it is told.
package fcmtest

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/stretchr/testify/require"
)

// Project is the one that the server knows, Account its service account and AccessToken what that one is given.
const (
	Project     = "canary-project"
	Account     = "push@canary-project.iam.example"
	AccessToken = "canary-access-token"
)

// Message is a message that was taken.
type Message struct {
	// Name is the server's name for it.
	Name, Token, Title, Body string
	ID                       string
}

// Code returns the six digits in the message.
func (m Message) Code() string { return sixDigits.FindString(m.Body) }

var sixDigits = regexp.MustCompile(`\b\d{6}\b`)

// Fault is how one request fails.
type Fault struct {
	// Status and Code are FCM's, Field the one that is at fault. Status 0 never answers.
	Status      int
	Code, Field string
	// RetryAfter goes into the header when it is not 0.
	RetryAfter int
	// Raw answers with a body that is no JSON.
	Raw bool
}

// Server is the stand-in. It may be used by many goroutines.
type Server struct {
	*httptest.Server
	key      *rsa.PrivateKey
	mutex    sync.Mutex
	taken    []Message
	requests int
	grants   int
	refuses  bool
	next     []Fault
	always   *Fault
	gone     []string
	ended    chan struct{}
}

// key is made once: that takes a while.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// Start runs a server until the test ends.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{ended: make(chan struct{})}
	var err error
	s.key, err = key()
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", s.grant)
	mux.HandleFunc("/", s.serve)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		close(s.ended)
		s.Close()
	})
	return s
}

// Credentials is the JSON file of the service account.
func (s *Server) Credentials(t testing.TB) []byte {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(s.key)
	require.NoError(t, err)
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": Project, "client_email": Account, "token_uri": s.URL + "/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})),
	})
	require.NoError(t, err)
	return file
}

// Next makes the next messages fail, one each.
func (s *Server) Next(faults ...Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.next = append(s.next, faults...)
}

// Always makes every message fail; nil mends it.
func (s *Server) Always(f *Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.always = f
}

// Unregister makes the server forget the device of a token.
func (s *Server) Unregister(token string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.gone = append(s.gone, token)
}

// RefuseAccount makes the server give no access tokens.
func (s *Server) RefuseAccount() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.refuses = true
}

// Messages are those that were taken, oldest first.
func (s *Server) Messages() []Message {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return append([]Message(nil), s.taken...)
}

// Requests is how many messages came, whatever became of them, Grants how many access tokens were given.
func (s *Server) Requests() (requests, grants int) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.requests, s.grants
}

// grant gives an access token for a signed assertion (RFC 7523).
func (s *Server) grant(w http.ResponseWriter, r *http.Request) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	claims := jwt.MapClaims{}
	_, err := jwt.ParseWithClaims(r.PostFormValue("assertion"), claims, func(*jwt.Token) (any, error) { return &s.key.PublicKey, nil },
		jwt.WithValidMethods([]string{"RS256"}), jwt.WithAudience(s.URL+"/token"), jwt.WithIssuer(Account), jwt.WithExpirationRequired())
	if err != nil || s.refuses || claims["scope"] != "https://www.googleapis.com/auth/firebase.messaging" {
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_grant", "error_description": "canary " + Account})
		return
	}
	s.grants++
	answer(w, http.StatusOK, map[string]any{"access_token": AccessToken, "token_type": "Bearer", "expires_in": 3600})
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	m, fault := s.read(r)
	if fault == nil {
		answer(w, http.StatusOK, map[string]any{"name": m.Name})
		return
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
	if fault.Raw {
		w.WriteHeader(fault.Status)
		_, _ = w.Write([]byte("<html>" + m.Token))
		return
	}
	details := []map[string]any{{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": fault.Code}}
	if fault.Field != "" {
		details = append(details, map[string]any{
			"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": []map[string]string{{"field": fault.Field, "description": m.Token}},
		})
	}
	answer(w, fault.Status, map[string]any{"error": map[string]any{
		"code": fault.Status, "status": "STATUS", "message": "The device " + m.Token + " of " + Project, "details": details,
	}})
}

// read takes the message, or says how the request fails.
func (s *Server) read(r *http.Request) (Message, *Fault) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests++
	var body struct {
		Message struct {
			Token        string `json:"token"`
			Notification struct {
				Title string `json:"title"`
				Body  string `json:"body"`
			} `json:"notification"`
			Data map[string]string `json:"data"`
		} `json:"message"`
	}
	switch {
	case r.Header.Get("Authorization") != "Bearer "+AccessToken:
		return Message{}, &Fault{Status: http.StatusUnauthorized}
	case r.Method != http.MethodPost || r.URL.Path != "/v1/projects/"+Project+"/messages:send":
		return Message{}, &Fault{Status: http.StatusNotFound}
	case json.NewDecoder(r.Body).Decode(&body) != nil:
		return Message{}, &Fault{Status: http.StatusBadRequest, Code: "INVALID_ARGUMENT"}
	}
	sent := body.Message
	m := Message{
		Name: "projects/" + Project + "/messages/" + rand.Text(), Token: sent.Token, Title: sent.Notification.Title,
		Body: sent.Notification.Body, ID: sent.Data["message_id"],
	}
	switch {
	case len(s.next) > 0:
		fault := s.next[0]
		s.next = s.next[1:]
		return m, &fault
	case s.always != nil:
		fault := *s.always
		return m, &fault
	case slices.Contains(s.gone, m.Token):
		return m, &Fault{Status: http.StatusNotFound, Code: "UNREGISTERED"}
	case m.Token == "" || m.Body == "":
		return m, &Fault{Status: http.StatusBadRequest, Code: "INVALID_ARGUMENT"}
	}
	s.taken = append(s.taken, m)
	return m, nil
}

func answer(w http.ResponseWriter, status int, body map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(body)
}
