package paymenttest

import (
	"cmp"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gatehouse/account"
)

// deadline is how long a connection that was answered twice stays open.
func deadline() time.Time { return account.SystemClock{}.Now().Add(2 * time.Second) }

type customer struct {
	id       string
	email    string
	metadata map[string]string
	deleted  bool
}

type method struct {
	id       string
	testID   string
	customer string
}

type intent struct {
	id       string
	customer string
	method   string
	amount   int64
	currency string
	metadata map[string]string
	created  time.Time
	decline  string
	// settles is when the outcome is there.
	settles time.Time
}

func (c *customer) body() map[string]any {
	return map[string]any{"id": c.id, "object": "customer", "email": c.email, "metadata": c.metadata}
}

func (s *Server) methodBody(m *method) map[string]any {
	card := s.cards[m.testID]
	body := map[string]any{
		"id": m.id, "object": "payment_method", "type": "card", "customer": nil,
		"card": map[string]any{
			"brand": card.Brand, "last4": card.Last4, "exp_month": 8, "exp_year": 2040, "fingerprint": "print" + card.Last4,
		},
	}
	if m.customer != "" {
		body["customer"] = m.customer
	}
	return body
}

func (s *Server) intentBody(i *intent) map[string]any {
	body := map[string]any{
		"id": i.id, "object": "payment_intent", "amount": i.amount, "currency": i.currency, "customer": i.customer,
		"metadata": i.metadata, "created": i.created.Unix(), "status": "succeeded", "payment_method": i.method, "last_payment_error": nil,
	}
	switch {
	case i.settles.After(s.now()):
		body["status"] = "processing"
	case i.decline != "":
		body["status"], body["payment_method"], body["last_payment_error"] = "requires_payment_method", nil, declineBody(i.decline)
	}
	return body
}

func declineBody(code string) map[string]any {
	body := map[string]any{"type": "card_error", "code": "card_declined", "decline_code": code, "message": "Your card was declined."}
	if code == "expired_card" || code == "incorrect_cvc" || code == "processing_error" || code == "authentication_required" {
		body["code"] = code
	}
	return body
}

func missing(status int, param, id string) answer {
	return refusal(status, "invalid_request_error", "resource_missing", param, "No such object: '"+id+"'")
}

func metadataOf(form url.Values) map[string]string {
	out := map[string]string{}
	for name, values := range form {
		if key, is := strings.CutPrefix(name, "metadata["); is {
			out[strings.TrimSuffix(key, "]")] = values[0]
		}
	}
	return out
}

func (s *Server) makeCustomer(form url.Values) answer {
	c := &customer{id: "cus_" + rand.Text(), email: form.Get("email"), metadata: metadataOf(form)}
	s.customers[c.id] = c
	return answer{http.StatusOK, c.body()}
}

// showCustomer shows a deleted one, too.
func (s *Server) showCustomer(id string) answer {
	c := s.customers[id]
	switch {
	case c == nil:
		return missing(http.StatusNotFound, "id", id)
	case c.deleted:
		return answer{http.StatusOK, map[string]any{"id": c.id, "object": "customer", "deleted": true}}
	}
	return answer{http.StatusOK, c.body()}
}

// customer returns one that is there.
func (s *Server) customer(id string) *customer {
	if c := s.customers[id]; c != nil && !c.deleted {
		return c
	}
	return nil
}

// method returns a method; a test id is a new one each time.
func (s *Server) method(id string) *method {
	if _, test := s.cards[id]; test {
		return &method{id: "pm_" + rand.Text(), testID: id}
	}
	return s.methods[id]
}

func (s *Server) showMethod(id string) answer {
	if m := s.method(id); m != nil {
		return answer{http.StatusOK, s.methodBody(m)}
	}
	return missing(http.StatusNotFound, "payment_method", id)
}

func (s *Server) attach(id string, form url.Values) answer {
	m, to := s.method(id), form.Get("customer")
	switch {
	case m == nil:
		return missing(http.StatusNotFound, "payment_method", id)
	case s.customer(to) == nil:
		return missing(http.StatusBadRequest, "customer", to)
	case s.cards[m.testID].KeepDeclined:
		return answer{http.StatusPaymentRequired, map[string]any{"error": declineBody(s.cards[m.testID].DeclineCode)}}
	case m.customer != "" && m.customer != to:
		return refusal(http.StatusBadRequest, "invalid_request_error", "", "", "The payment method you provided has already been attached to a customer.")
	}
	m.customer = to
	s.methods[m.id] = m
	return answer{http.StatusOK, s.methodBody(m)}
}

// charge makes and confirms a PaymentIntent.
func (s *Server) charge(form url.Values, fault Fault) answer {
	amount, err := strconv.ParseInt(form.Get("amount"), 10, 64)
	m, payer := s.methods[form.Get("payment_method")], s.customer(form.Get("customer"))
	switch {
	case err != nil || amount < 50 || len(form.Get("currency")) != 3:
		return refusal(http.StatusBadRequest, "invalid_request_error", "amount_too_small", "amount", "Amount must be at least 50 cents")
	case form.Get("confirm") != "true" || form.Get("off_session") != "true" || form.Get("automatic_payment_methods[allow_redirects]") != "never":
		return refusal(http.StatusBadRequest, "invalid_request_error", "", "confirm", "this stand-in confirms off session alone")
	case payer == nil:
		return missing(http.StatusBadRequest, "customer", form.Get("customer"))
	case m == nil:
		return missing(http.StatusBadRequest, "payment_method", form.Get("payment_method"))
	case m.customer != payer.id:
		return refusal(http.StatusBadRequest, "invalid_request_error", "", "payment_method",
			"The PaymentMethod "+m.id+" does not belong to the Customer you supplied "+payer.id)
	}
	i := &intent{
		id: "pi_" + rand.Text(), customer: payer.id, method: m.id, amount: amount, currency: form.Get("currency"), metadata: metadataOf(form),
		created: s.now(), decline: cmp.Or(fault.Decline, s.cards[m.testID].DeclineCode), settles: s.now().Add(fault.Processing),
	}
	s.intents = append(s.intents, i)
	if i.decline != "" && fault.Processing == 0 {
		failed := declineBody(i.decline)
		failed["payment_intent"] = s.intentBody(i)
		return answer{http.StatusPaymentRequired, map[string]any{"error": failed}}
	}
	if i.decline == "" {
		s.entries = append(s.entries, Entry{
			IntentID: i.id, Key: i.metadata["gatehouse_key"], InvoiceID: i.metadata["gatehouse_invoice"], Customer: i.customer,
			MethodID: i.method, Amount: i.amount, Currency: i.currency, At: i.created,
		})
	}
	return answer{http.StatusOK, s.intentBody(i)}
}

func (s *Server) showIntent(id string) answer {
	for _, i := range s.intents {
		if i.id == id {
			return answer{http.StatusOK, s.intentBody(i)}
		}
	}
	return missing(http.StatusNotFound, "intent", id)
}

// list shows intents, the newest first.
func (s *Server) list(form url.Values) answer {
	from, _ := strconv.ParseInt(form.Get("created[gte]"), 10, 64)
	to, _ := strconv.ParseInt(cmp.Or(form.Get("created[lt]"), "99999999999"), 10, 64)
	limit, _ := strconv.Atoi(cmp.Or(form.Get("limit"), "10"))
	data, more := []any{}, false
	begun := form.Get("starting_after") == ""
	for _, i := range slices.Backward(s.intents) {
		created := i.created.Unix()
		if payer := form.Get("customer"); !begun || created < from || created >= to || payer != "" && payer != i.customer {
			begun = begun || i.id == form.Get("starting_after")
			continue
		}
		if more = len(data) == limit; more {
			break
		}
		data = append(data, s.intentBody(i))
	}
	return answer{http.StatusOK, map[string]any{"object": "list", "data": data, "has_more": more, "url": "/v1/payment_intents"}}
}
