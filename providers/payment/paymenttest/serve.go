package paymenttest

import (
	"encoding/json"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// answer is what a request is answered with.
type answer struct {
	status int
	body   map[string]any
}

// remembered is what an idempotency key stands for.
type remembered struct {
	request string
	at      time.Time
	answer  *answer
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+SecretKey {
		write(w, refusal(http.StatusUnauthorized, "invalid_request_error", "", "", "Invalid API Key provided: "+r.Header.Get("Authorization")))
		return
	}
	if r.ParseForm() != nil {
		write(w, refusal(http.StatusBadRequest, "invalid_request_error", "", "", "unreadable"))
		return
	}
	fault := s.faultFor(r)
	if fault.Moment == Before {
		fault.reach()
		drop(w)
		return
	}
	if fault.Moment == Held {
		fault.reach()
		s.wait(r)
		return
	}
	if fault.Status != 0 && !fault.Done {
		fault.reach()
		fail(w, fault)
		return
	}
	said := s.once(r, fault)
	if isCharge(r) {
		said = s.swap(said, fault.Stale)
	}
	fault.reach()
	switch {
	case fault.Moment == After:
		drop(w)
	case fault.Moment == Never:
		s.wait(r)
	case fault.Moment == Twice:
		twice(w, said)
	case fault.Status != 0:
		fail(w, fault)
	default:
		write(w, said)
	}
}

// wait lasts until the client has gone.
func (s *Server) wait(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.ended:
	}
}

func (s *Server) faultFor(r *http.Request) Fault {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.requests++
	switch {
	case s.always != nil:
		return *s.always
	case isCharge(r) && len(s.next) > 0:
		fault := s.next[0]
		s.next = s.next[1:]
		return fault
	}
	return Fault{}
}

// swap remembers the answer to a charge, and returns it or the one before it.
func (s *Server) swap(said answer, stale bool) answer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	former := s.former
	s.former = said
	if stale {
		return former
	}
	return said
}

func (f Fault) reach() {
	if f.Reached != nil {
		close(f.Reached)
	}
}

func isCharge(r *http.Request) bool {
	return r.Method == http.MethodPost && r.URL.Path == "/v1/payment_intents"
}

// once does what a request asks for, or repeats the answer that its key has had.
func (s *Server) once(r *http.Request, fault Fault) answer {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	name, request := r.Header.Get("Idempotency-Key"), r.Method+" "+r.URL.Path+" "+r.PostForm.Encode()
	kept := s.keys[name]
	switch {
	case r.Method != http.MethodPost || name == "":
		return s.handle(r, fault)
	case kept != nil && s.now().Sub(kept.at) >= keyLife:
	case kept != nil && kept.request != request:
		return refusal(http.StatusBadRequest, "idempotency_error", "", "", "Keys for idempotent requests can only be used with the same parameters")
	case kept != nil:
		return *kept.answer
	}
	said := s.handle(r, fault)
	if fault.Status != 0 {
		// A failure is remembered like any other answer.
		said = refusal(fault.Status, "api_error", "", "", "An unknown error occurred")
	}
	s.keys[name] = &remembered{request: request, at: s.now(), answer: &said}
	return said
}

func (s *Server) handle(r *http.Request, fault Fault) answer {
	path := strings.Split(strings.TrimPrefix(r.URL.Path, "/v1/"), "/")
	switch resource := path[0]; {
	case resource == "customers" && len(path) == 1 && r.Method == http.MethodPost:
		return s.makeCustomer(r.PostForm)
	case resource == "customers" && len(path) == 2 && r.Method == http.MethodGet:
		return s.showCustomer(path[1])
	case resource == "payment_methods" && len(path) == 2 && r.Method == http.MethodGet:
		return s.showMethod(path[1])
	case resource == "payment_methods" && len(path) == 3 && path[2] == "attach" && r.Method == http.MethodPost:
		return s.attach(path[1], r.PostForm)
	case isCharge(r):
		return s.charge(r.PostForm, fault)
	case resource == "payment_intents" && len(path) == 1 && r.Method == http.MethodGet:
		return s.list(r.Form)
	case resource == "payment_intents" && len(path) == 2 && r.Method == http.MethodGet:
		return s.showIntent(path[1])
	}
	return refusal(http.StatusNotFound, "invalid_request_error", "", "", "Unrecognized request URL")
}

func refusal(status int, kind, code, param, message string) answer {
	said := map[string]any{"type": kind, "message": message}
	for name, value := range map[string]string{"code": code, "param": param} {
		if value != "" {
			said[name] = value
		}
	}
	return answer{status, map[string]any{"error": said}}
}

func fail(w http.ResponseWriter, f Fault) {
	if f.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(f.RetryAfter))
	}
	if f.Raw {
		w.WriteHeader(f.Status)
		_, _ = w.Write([]byte("<html>" + SecretKey))
		return
	}
	kind := "api_error"
	if f.Status == http.StatusTooManyRequests || f.Refusal != "" || f.Param != "" {
		kind = "invalid_request_error"
	}
	write(w, refusal(f.Status, kind, f.Refusal, f.Param, "An unknown error occurred with "+SecretKey))
}

func write(w http.ResponseWriter, a answer) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Request-Id", "req_test")
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(a.body)
}

// drop ends the connection after the first word of an answer. Without that word Go's client would ask once more by itself, for
// the request carries an idempotency key.
func drop(w http.ResponseWriter) {
	conn := take(w)
	_, _ = conn.Write([]byte("HTTP/1.1 "))
	_ = conn.Close()
}

func take(w http.ResponseWriter) net.Conn {
	hijacker, ok := w.(http.Hijacker)
	if !ok {
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return conn
}

// twice writes the answer to the connection two times over, and leaves it open.
func twice(w http.ResponseWriter, a answer) {
	conn := take(w)
	defer func() { _ = conn.Close() }()
	body, _ := json.Marshal(a.body) //nolint:errchkjson // maps of strings and numbers
	one := "HTTP/1.1 " + strconv.Itoa(a.status) + " X\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) +
		"\r\n\r\n" + string(body)
	_, _ = conn.Write([]byte(one + one))
	// The next request on this connection gets no answer of its own.
	_ = conn.SetReadDeadline(deadline())
	_, _ = conn.Read(make([]byte, 1))
}
