//go:build unix

package e2e_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

var (
	fuzzCalls = flag.Int("fuzz-calls", 15, "how many random requests each operation gets; make attack gives it 400")
	fuzzSeed  = flag.Uint64("fuzz-seed", 20261122, "what the random requests are made from")
)

// chance makes the random requests of one operation: the same for the same seed.
type chance struct{ *rand.Rand }

func chanceOf(operation string) chance {
	h := fnv.New64a()
	_, _ = h.Write([]byte(operation))
	return chance{rand.New(rand.NewPCG(*fuzzSeed, h.Sum64()))}
}

func oneOf[T any](c chance, all []T) T { return all[c.IntN(len(all))] }

// scraps are texts that parsers, databases, templates and logs have stumbled over.
var scraps = []string{
	"", " ", "\t", "\n", "0", "-0", "null", "true", "\u00a0", "\u200b", "\u202e", "\ufeff", "\ufffd", "\U0010ffff", "e\u0301", "\u212a", "\u0130", "\u0000",
	"'", "\"", "\\", "%00", "%s%n", "${x}", "{{.}}", "<script>", "';--", "../../etc/passwd", "a@b.c", "+1234567890", "482910", "\U0001F468\u200d\U0001F469",
	"9223372036854775808", "1e400", "NaN", "2026-02-30", "0001-01-01T00:00:00Z", "00000000-0000-0000-0000-000000000000", "\x7f", "\x1b[31m", "ghk_", "ghr_",
	"dvt_", "Bearer ", "eyJhbGciOiJub25lIn0.e30.", "me", "user@xn--80ak6aa92e.com", "IT-IS-ME", "jpeg", "SMS", "GOOGLE", "https://169.254.169.254/",
}

func (c chance) text() string {
	switch c.IntN(6) {
	case 0:
		return strings.Repeat(oneOf(c, scraps), c.IntN(400))
	case 1:
		return strings.Repeat("x", oneOf(c, []int{1, 7, 8, 63, 64, 200, 254, 255, 256, 500, 4095, 9_999, 10_000, 10_001}))
	case 2:
		runes := make([]rune, c.IntN(40))
		for i := range runes {
			runes[i] = rune(c.IntN(0xd7ff)) // below the surrogates
		}
		return string(runes)
	case 3:
		return oneOf(c, scraps) + oneOf(c, scraps) + oneOf(c, scraps)
	default:
		return oneOf(c, scraps)
	}
}

// number is a number as JSON may write it.
func (c chance) number() json.RawMessage {
	return json.RawMessage(oneOf(c, []string{
		"0", "-0", "1", "-1", "1.0", "1.5", "1e2", "1E-7", "2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e308", "1e309",
		"1e999999999", "0.1e-400", "123456789012345678901234567890", strings.Repeat("9", 400), "1" + strings.Repeat("0", 5000), "0." + strings.Repeat("0", 4000) + "1",
	}))
}

// value is any JSON, at most depth levels deep.
func (c chance) value(depth int) any {
	kinds := 7
	if depth <= 0 {
		kinds = 5
	}
	switch c.IntN(kinds) {
	case 0:
		return c.IntN(2) == 0
	case 1:
		return c.number()
	case 2:
		return nil
	case 3, 4:
		return c.text()
	case 5:
		list := make([]any, c.IntN(4))
		for i := range list {
			list[i] = c.value(depth - 1)
		}
		return list
	default:
		object := map[string]any{}
		for range c.IntN(4) {
			object[c.text()] = c.value(depth - 1)
		}
		return object
	}
}

// body is a body that the route takes, with some of it replaced, dropped, misspelt or added to.
func (c chance) body(t *testing.T, r route) string {
	t.Helper()
	body := r.good(t)
	names := slices.Sorted(maps.Keys(r.schema().Properties))
	for range 1 + c.IntN(3) {
		name := c.text()
		if len(names) > 0 && c.IntN(8) > 0 {
			name = oneOf(c, names)
		}
		switch c.IntN(8) {
		case 0:
			delete(body, name)
		case 1:
			body[strings.ToUpper(name)] = body[name]
		case 2:
			body[name] = map[string]any{"$ne": body[name]}
		case 3:
			body[name] = []any{body[name]}
		case 4:
			body[name] = c.value(c.IntN(40))
		default:
			body[name] = c.value(2)
		}
	}
	text, err := json.Marshal(body)
	require.NoError(t, err)
	return string(text)
}

// spoilt is an object that no reader of JSON takes, whatever else is in it.
func (c chance) spoilt(t *testing.T, r route) string {
	t.Helper()
	var text string
	for text = ""; len(text) < 3; {
		text = c.body(t, r)
	}
	inside := `"` + c.plainName() + `":"` + oneOf(c, []string{`\ud800`, `\udfff\udfff`, `\u0000`, "\x00", "\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\n", `\x41`, `\u12`, "\\"}) + `"`
	switch c.IntN(6) {
	case 0: // cut off
		return text[:1+c.IntN(len(text)-1)]
	case 1: // a name twice, in one spelling or two
		return `{"` + strings.Repeat(`a`, 1+c.IntN(3)) + `":{"b":1,"` + oneOf(c, []string{"b", `\u0062`, `\u0062`}) + `":2},` + text[1:]
	case 2: // too deep
		depth := 33 + c.IntN(400)
		return `{"` + c.plainName() + `":` + strings.Repeat(oneOf(c, []string{"[", `{"a":`}), depth) + "1" // closed or not makes no difference
	case 3: // more than one value
		return text + oneOf(c, []string{"x", "{}", ",", "]", "\x00", "null", "\xff"})
	default:
		return "{" + inside + strings.Replace(","+text[1:], ",}", "}", 1)
	}
}

func (c chance) plainName() string { return fmt.Sprintf("n%d", c.IntN(1_000_000)) }

// path is the route's with something in place of each parameter.
func (c chance) path(r route) string {
	path := pathParameter.ReplaceAllStringFunc(r.o.Path, func(string) string {
		text := c.text()
		if c.IntN(5) == 0 {
			text += oneOf(c, []string{"\xff", "\xed\xa0\x80", "\x00"})
		}
		return url.PathEscape(text[:min(len(text), 4000)])
	})
	query := url.Values{}
	for _, p := range r.o.Parameters {
		if p.Value.In != "query" || c.IntN(4) == 0 {
			continue
		}
		for range 1 + c.IntN(20)/19 {
			text := oneOf(c, []string{c.text(), string(c.number()), "\xff\xfe", "a\x00b"})
			query.Add(p.Value.Name, text[:min(len(text), 2000)])
		}
	}
	if c.IntN(8) == 0 {
		query.Add(c.plainName(), oneOf(c, scraps))
	}
	if len(query) == 0 {
		return path
	}
	return path + "?" + oneOf(c, []string{query.Encode(), query.Encode(), "%zz&" + query.Encode(), query.Encode() + "&&=;&"})
}

// headers are some that mean something, and what nobody would put there.
func (c chance) headers(r route, token string) []string {
	names := []string{
		"Accept", "Accept-Language", "User-Agent", "X-Forwarded-For", "X-Request-Id", "Traceparent", "Cookie", "Origin", "X-API-Key", "Idempotency-Key",
		"X-Device-Token", "X-Session-Id", "X-Assertion", "Content-Encoding", "If-None-Match", "Range", "X-HTTP-Method-Override",
	}
	for _, p := range r.o.Parameters {
		if p.Value.In == openapi3.ParameterInHeader {
			names = append(names, p.Value.Name, p.Value.Name)
		}
	}
	var headers []string
	for range c.IntN(4) {
		text := strings.Map(func(one rune) rune {
			if one < ' ' || one == 0x7f {
				return -1 // no client can send them
			}
			return one
		}, c.text())
		name := oneOf(c, names)
		headers = append(headers, name, text[:min(len(text), 3000)])
	}
	if token != "" && c.IntN(12) > 0 {
		headers = append(headers, "Authorization", "Bearer "+token)
	}
	return headers
}

// refusesSpoilt sends what can only be refused: the database must not show that it was there.
func (r route) refusesSpoilt(t *testing.T) {
	t.Helper()
	c := chanceOf("spoilt " + r.o.OperationID)
	stacktest.Called(t, *fuzzCalls)
	for range *fuzzCalls {
		text := c.spoilt(t, r)
		status, code := http.StatusBadRequest, "malformed_request"
		if len(text) > 64<<10 {
			status, code = http.StatusRequestEntityTooLarge, "body_too_large"
		}
		requireRefusal(t, r.o.Dialect, status, code, r.send(t, text), fmt.Sprintf("%.300q", text))
	}
}

// survivesAnything sends what may mean anything, and wants nothing but an answer that the file allows, soon, and no fault of
// ours: s.http sees to that.
func (r route) survivesAnything(t *testing.T, person *passerby) {
	t.Helper()
	c := chanceOf("anything " + r.o.OperationID)
	stacktest.Called(t, *fuzzCalls)
	for range *fuzzCalls {
		path, body := c.path(r), ""
		if r.o.RequestBody != nil || c.IntN(10) == 0 {
			body = c.body(t, r)
		}
		headers := c.headers(r, person.token)
		ask := func() (answer, time.Duration) {
			started := time.Now()
			return r.s.raw(t, r.o.Method, path, body, headers...), time.Since(started)
		}
		got, took := ask()
		for end := time.Now().Add(calm); got.Status >= 400 && took > hangs*crowding(); got, took = ask() {
			if time.Now().After(end) {
				t.Errorf("%s %.200q took %s: %d", r.o.Method, path, took, got.Status)
				break
			}
		}
		if got.Status < 300 && r.o.Method != http.MethodGet || got.Status == http.StatusUnauthorized {
			person.comeBack(t)
		}
	}
}

// passerby is somebody with an account, which random requests may change, lock or close.
type passerby struct {
	s     *system
	email string
	token string
}

// comeBack makes sure that the token is good, and begins a new life where it is not.
func (p *passerby) comeBack(t *testing.T) {
	t.Helper()
	if p.token != "" && p.s.send(t, call{Path: pathMe, Token: p.token}).ok() {
		return
	}
	p.email = newEmail()
	p.token = p.s.signUp(t, p.email)
}

// survivesRandomInput gives every operation random requests, by a few people at once. The memory of the API stays what it was.
func survivesRandomInput(t *testing.T, s *system) {
	t.Helper()
	contract, err := spec()
	require.NoError(t, err)
	const people = 4
	if known, is := s.http.Transport.(*checked).next.(remembering); is {
		s.http.Transport.(*checked).next = known.next // what is sent as a password by chance may be an ordinary word
	}
	t.Run("WEB05_Anything", func(t *testing.T) {
		shares := map[string]int{}
		for i := range people {
			shares[fmt.Sprint(i)] = i
		}
		beside(t, shares, func(t *testing.T, share int) {
			person := &passerby{s: s}
			for n, o := range contract.Operations() {
				if n%people == share {
					person.comeBack(t)
					route{s, o, person.token}.survivesAnything(t, person)
				}
			}
		})
	})
	s.requireModest(t)
}
