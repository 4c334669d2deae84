package endpoint

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofiber/fiber/v2"

	"gatehouse/account"
)

// pendingBody answers a request whose flow goes on without the client. Its members have one word each.
type pendingBody struct {
	Status    string `json:"status"`
	Message   string `json:"message"`
	Operation string `json:"operation"`
}

// Fail renders err as this route says it.
func (r Route) Fail(c *fiber.Ctx, err error) error {
	e := *classify(err)
	if coined, known := account.Lookup(e.Code); known && e.Message == coined.Message {
		e.Message = r.words(&e)
	}
	if kind, ok := r.rekinded[e.Code]; ok {
		e.Kind = kind
	}
	return fail(c, r.Dialect, r.Dialect.Status(e.Kind), &e, r.extended[e.Code])
}

// words are the route's own for e, or else those that it came with.
func (r Route) words(e *account.Error) string {
	if len(e.Fields) == 1 {
		if message, ok := r.reworded[wording{e.Code, e.Fields[0].Name}]; ok {
			return message
		}
	}
	if message, ok := r.reworded[wording{code: e.Code}]; ok {
		return message
	}
	return e.Message
}

// Fail renders err in dialect d, outside of any route.
func Fail(c *fiber.Ctx, d *Dialect, err error) error {
	e := classify(err)
	return fail(c, d, d.Status(e.Kind), e, nil)
}

// FailWith is Fail for failures of the transport, whose status no kind of ours has (408, 431).
func FailWith(c *fiber.Ctx, d *Dialect, status int, err error) error {
	return fail(c, d, status, classify(err), nil)
}

// classify is where anything that no layer below named becomes a catalogue error.
func classify(err error) *account.Error {
	if _, named := errors.AsType[*account.Error](err); !named &&
		(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)) {
		return account.ErrUnavailable.Because(err)
	}
	return account.AsError(err)
}

func fail(c *fiber.Ctx, d *Dialect, status int, e *account.Error, wrap func(any) any) error {
	report(c, e)
	if e.Kind == account.Accepted {
		return pending(c, d, e)
	}
	shown := *e
	shown.Fields = make([]account.Field, len(e.Fields))
	for i, f := range e.Fields {
		shown.Fields[i] = account.Field{Name: d.FieldName(f.Name), Message: f.Message}
	}
	if status == http.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, "Bearer")
	}
	if seconds := retryAfter(e); seconds > 0 {
		c.Set(fiber.HeaderRetryAfter, strconv.Itoa(seconds))
	}
	body := d.Failure(replyOf(c, status, e.Message), &shown)
	if wrap != nil {
		body = wrap(body)
	}
	return send(c, d, status, body)
}

// Report writes down that a request without need of a credential showed two of different people (security.md JWT-11), and is
// answered as if it had shown none.
func Report(c *fiber.Ctx, err error) {
	if e := classify(err); e.Code == account.ErrAmbiguousCredentials.Code {
		report(c, e)
	}
}

// report is the only place where faults of ours are logged.
func report(c *fiber.Ctx, e *account.Error) {
	s := StateOf(c)
	level := slog.LevelError
	switch {
	case e.Kind == account.Internal:
	case e.Kind == account.Unavailable && e.Unwrap() != nil, e.Code == account.ErrAmbiguousCredentials.Code:
		level = slog.LevelWarn
	default:
		return
	}
	cause := ""
	if err := e.Unwrap(); err != nil {
		cause = err.Error()
	}
	s.Frame.Logger.LogAttrs(c.UserContext(), level, "request failed",
		slog.String("request_id", s.RequestID), slog.String("route", s.Pattern),
		slog.String("code", e.Code), slog.String("cause", cause), slog.String("network", account.Network(s.Caller.IP)))
}

func pending(c *fiber.Ctx, d *Dialect, e *account.Error) error {
	url := OperationURL(e.Operation)
	c.Location(url)
	reply := replyOf(c, http.StatusAccepted, e.Message)
	return send(c, d, http.StatusAccepted, d.Success(reply, pendingBody{"pending", e.Message, url}))
}

// retryAfter is in whole seconds, rounded up; 429 and 503 always name one.
func retryAfter(e *account.Error) int {
	if e.RetryAfter <= 0 && e.Kind != account.TooMany && e.Kind != account.Unavailable {
		return 0
	}
	return max(1, int((e.RetryAfter+time.Second-1)/time.Second))
}

func send(c *fiber.Ctx, d *Dialect, status int, body any) error {
	if status == http.StatusNoContent {
		return Replay(c, status, nil)
	}
	buffer, _ := buffers.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= largeBody {
			buffer.Reset()
			buffers.Put(buffer)
		}
	}()
	if err := json.MarshalWrite(buffer, body, json.Deterministic(true)); err != nil {
		if status == http.StatusInternalServerError {
			return err
		}
		return Fail(c, d, err)
	}
	return Replay(c, status, buffer.Bytes())
}

// buffers are what bodies are rendered in: a new one would grow step by step for each of them. Large ones are not kept.
var buffers = sync.Pool{New: func() any { return bytes.NewBuffer(make([]byte, 0, usualBody)) }}

const usualBody, largeBody = 2 << 10, 32 << 10

// Replay sends a body that was rendered before, and keeps nothing of it.
func Replay(c *fiber.Ctx, status int, body []byte) error {
	if status == http.StatusNoContent {
		return c.SendStatus(status)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	c.Status(status).Response().SetBody(body)
	return nil
}
