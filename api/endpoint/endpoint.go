// Package endpoint turns one typed operation into one HTTP endpoint of one dialect: strict decode, operation, encode.
// It is the only package that reads a request or renders an error; it knows no operation and no dialect by name.
package endpoint

import (
	"context"
	"net/http"
	"reflect"

	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// Policy says which sessions a route serves.
type Policy int

// The policies. Keys are no sessions: the dialect says whether they are taken, Meta.Scope what they must carry.
const (
	// Public routes judge no credential, not even one that is sent (contract X05).
	Public Policy = iota
	// Optional routes serve anybody, and those better whose credential is good: a Session's, or a service key where Meta
	// says so. One that is not good counts as none.
	Optional
	// Session routes need a credential whose second step, if one was due, is done.
	Session
	// SecondStep routes serve pending sessions too.
	SecondStep
	// OptionalStep routes are Optional ones that know pending sessions, too.
	OptionalStep
)

// Optional reports whether a route refuses nobody.
func (p Policy) Optional() bool { return p == Optional || p == OptionalStep }

// Meta is what a route table says about an endpoint.
type Meta struct {
	// ID is the operation id of the dialect's OpenAPI file.
	ID     string
	Method string
	// Path is the whole path, parameters as :name.
	Path string
	// Status of success; 0 means 200.
	Status int
	// Message is the sentence of an enveloped success. A body with its own (see Messenger) overrules it.
	Message string
	Policy  Policy
	// Scope is what an API key must carry; every route that is not Public names one.
	Scope account.Scope
	// Service routes take service keys, too, and judge their X-Assertion.
	Service bool
	// Wallet routes show what the caller has to spend, or their plan.
	Wallet bool
	Limit  account.RateLimit
	// Idempotent routes honour the Idempotency-Key header.
	Idempotent bool
}

// Messenger is a body that words the success itself, where the document has more than one sentence.
type Messenger interface {
	Message() string
}

// Route is an endpoint ready to be mounted.
type Route struct {
	Meta
	Dialect *Dialect

	serve    func(c *fiber.Ctx) error
	asking   []string
	reworded map[wording]string
	rekinded map[string]account.Kind
	extended map[string]func(failure any) any
}

// wording says whose sentence it is: that of a code, or of a code where one field alone is at fault.
type wording struct{ code, field string }

// Option changes how one route renders.
type Option func(*Route)

// Reworded says e in the words that this document prints, unless it came with a sentence of its own; code and status stay.
func Reworded(e *account.Error, message string) Option {
	return func(r *Route) { r.reworded[wording{code: e.Code}] = message }
}

// RewordedAt is Reworded where nothing but field, by its canonical name, is at fault, and goes before it.
func RewordedAt(e *account.Error, field, message string) Option {
	return func(r *Route) { r.reworded[wording{e.Code, field}] = message }
}

// Reclassified is Reworded, and answers e with the status of another kind.
func Reclassified(e *account.Error, kind account.Kind, message string) Option {
	return func(r *Route) { r.rekinded[e.Code], r.reworded[wording{code: e.Code}] = kind, message }
}

// Extended wraps the body of failure e, for documents that add members to it.
func Extended(e *account.Error, wrap func(failure any) any) Option {
	return func(r *Route) { r.extended[e.Code] = wrap }
}

// Handle builds the route of operation. Req is a struct whose fields carry one of the tags json, path, query, header
// or cookie, or are a []byte tagged body, which takes the whole of it undecoded; its input maps it to what the operation takes,
// body maps the result to the wire. A header tagged `asks:"-"` says who asks, as a name of the device does, and may differ when the
// same is asked for again.
// It panics on a Req it cannot bind and on a protected route without a scope: both are mistakes in a route table.
func Handle[Req, In, Out any](
	d *Dialect, m Meta, input func(Req) In,
	operation func(context.Context, account.Caller, In) (Out, error),
	body func(Out) any, options ...Option,
) Route {
	if m.Status == 0 {
		m.Status = http.StatusOK
	}
	if m.Policy != Public && m.Scope == "" {
		panic("endpoint: " + m.ID + " is protected and names no scope")
	}
	r := Route{
		Meta: m, Dialect: d,
		reworded: map[wording]string{}, rekinded: map[string]account.Kind{}, extended: map[string]func(any) any{},
	}
	for _, o := range options {
		o(&r)
	}
	binding := bindingOf(reflect.TypeFor[Req](), sources...)
	r.asking = binding.asking
	r.serve = func(c *fiber.Ctx) error {
		var req Req
		if err := binding.bind(c, &req); err != nil {
			return r.Fail(c, err)
		}
		state := StateOf(c)
		ctx := account.WithActing(c.UserContext(), state.Caller.Acting(state.RequestID))
		caller := state.Caller
		caller.Begun = &account.Begun{}
		out, err := operation(ctx, caller, input(req))
		if caller.Begun.Operation != "" {
			c.Set(HeaderOperation, OperationURL(caller.Begun.Operation))
		}
		if err != nil {
			return r.Fail(c, err)
		}
		return r.succeed(c, body(out))
	}
	return r
}

// Asked are path and query, body, and the headers that say what the request asks for. Two requests to one route are the same if all
// of these are.
func (r Route) Asked(c *fiber.Ctx) (uri, body []byte, headers []string) {
	for _, name := range r.asking {
		for _, value := range c.Request().Header.PeekAll(name) {
			headers = append(headers, name+": "+string(value))
		}
	}
	return c.Request().URI().RequestURI(), c.Request().Body(), headers
}

// HeaderOperation names, in an answer of whatever status, the operation that the request has begun or joined.
const HeaderOperation = "Operation-Location"

// OperationURL is where an operation can be looked at.
func OperationURL(id string) string { return "/v1/operations/" + id }

// Serve decodes, operates and encodes. It renders its own failures: an error it returns is one of the transport.
func (r Route) Serve(c *fiber.Ctx) error { return r.serve(c) }

func (r Route) succeed(c *fiber.Ctx, body any) error {
	reply := replyOf(c, r.Status, r.Message)
	if m, ok := body.(Messenger); ok {
		reply.Message = m.Message()
	}
	if b, ok := body.(Baker); ok {
		bake(c, b)
	}
	return send(c, r.Dialect, r.Status, r.Dialect.Success(reply, body))
}
