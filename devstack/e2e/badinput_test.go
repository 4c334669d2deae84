//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/api/openapi/spectest"
)

// hangs is how long an answer to bad input may take.
const hangs = 2 * time.Second

// badBodies are refused by every route, whatever it takes.
var badBodies = map[string]struct {
	body    string
	headers []string
	status  int
	code    string
}{
	"no JSON":                  {"hello", nil, 400, "malformed_request"},
	"cut off":                  {`{"email":"a@exa`, nil, 400, "malformed_request"},
	"trailing garbage":         {`{} x`, nil, 400, "malformed_request"},
	"two values":               {`{}{}`, nil, 400, "malformed_request"},
	"trailing comma":           {`{"email":"a@example.com",}`, nil, 400, "malformed_request"},
	"single quotes":            {`{'email':'a'}`, nil, 400, "malformed_request"},
	"comment":                  {`{/* */}`, nil, 400, "malformed_request"},
	"array":                    {`[{}]`, nil, 400, "malformed_request"},
	"null":                     {`null`, nil, 400, "malformed_request"},
	"number":                   {`1e999`, nil, 400, "malformed_request"},
	"string":                   {`"{}"`, nil, 400, "malformed_request"},
	"NaN":                      {`{"email":NaN}`, nil, 400, "malformed_request"},
	"duplicate key":            {`{"email":"a@example.com","email":"b@example.com"}`, nil, 400, "malformed_request"},
	"escaped duplicate key":    {`{"email":"a@example.com","\u0065mail":"b@example.com"}`, nil, 400, "malformed_request"},
	"byte order mark":          {"\xef\xbb\xbf{}", nil, 400, "malformed_request"},
	"UTF-16":                   {"{\x00}\x00", nil, 400, "malformed_request"},
	"invalid UTF-8":            {"{\"email\":\"\xff\xfe@example.com\"}", nil, 400, "malformed_request"},
	"overlong UTF-8":           {"{\"email\":\"\xc0\x80\"}", nil, 400, "malformed_request"},
	"lone surrogate":           {`{"email":"\ud800"}`, nil, 400, "malformed_request"},
	"lone surrogate as name":   {`{"\udc00":1}`, nil, 400, "malformed_request"},
	"raw NUL":                  {"{\"email\":\"a\x00b\"}", nil, 400, "malformed_request"},
	"NUL in an unknown field":  {`{"unknown":[{"a":"\u0000"}]}`, nil, 400, "malformed_request"},
	"raw line feed":            {"{\"email\":\"a\nb\"}", nil, 400, "malformed_request"},
	"deep":                     {`{"x":` + strings.Repeat("[", 30_000), nil, 400, "malformed_request"},
	"deep and closed":          {strings.Repeat(`{"x":`, 5_000) + "1" + strings.Repeat("}", 5_000), nil, 400, "malformed_request"},
	"depth 100000":             {strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000), nil, 413, "body_too_large"},
	"a million keys":           {manyKeys(1_000_000), nil, 413, "body_too_large"},
	"one megabyte":             {`{"email":"` + strings.Repeat("x", 1<<20) + `"}`, nil, 413, "body_too_large"},
	"five megabytes":           {strings.Repeat(" ", 5<<20), nil, 413, "body_too_large"},
	"form":                     {"email=a%40example.com", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
	"JSON called form":         {"{}", []string{"Content-Type", "application/x-www-form-urlencoded"}, 415, "unsupported_media_type"},
	"multipart":                {"--x\r\n\r\n--x--", []string{"Content-Type", "multipart/form-data; boundary=x"}, 415, "unsupported_media_type"},
	"multipart, no boundary":   {"--x", []string{"Content-Type", "multipart/form-data"}, 415, "unsupported_media_type"},
	"XML":                      {`<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>`, []string{"Content-Type", "application/xml"}, 415, "unsupported_media_type"},
	"text":                     {"{}", []string{"Content-Type", "text/plain"}, 415, "unsupported_media_type"},
	"no type":                  {"{}", []string{"Content-Type", ""}, 415, "unsupported_media_type"},
	"odd type":                 {"{}", []string{"Content-Type", ";;=\t"}, 415, "unsupported_media_type"},
	"JSON-like type":           {"{}", []string{"Content-Type", "application/jsonp"}, 415, "unsupported_media_type"},
	"latin charset":            {"{}", []string{"Content-Type", "application/json; charset=iso-8859-1"}, 415, "unsupported_media_type"},
	"gzip":                     {"\x1f\x8b\x08\x00", []string{"Content-Encoding", "gzip"}, 415, "unsupported_media_type"},
	"deflated, not compressed": {"{}", []string{"Content-Encoding", "deflate"}, 415, "unsupported_media_type"},
}

func manyKeys(n int) string {
	var b strings.Builder
	b.WriteString(`{"k0":0`)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, `,"k%d":0`, i)
	}
	return b.String() + "}"
}

// Bad input to every documented route, made from the OpenAPI files: clear refusals in the dialect's own shape, and nothing
// of it in the database.
func TestBadInput(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	email := newEmail()
	token := s.signUp(t, email)
	pending, unverified := newEmail(), newEmail()
	s.initiate(t, pending)
	s.register(t, unverified, unverified)
	for to, mails := range map[string]int{email: 2, pending: 1, unverified: 1} {
		s.awaitMail(t, to, mails)
	}
	s.db.eventually(t, 4, `SELECT count(*) FROM messages WHERE state = 'sent'`)
	s.db.eventually(t, 3, `SELECT count(*) FROM challenges WHERE sent_at IS NOT NULL`)
	s.http.Transport = &checked{t: t, next: s.http.Transport.(*checked).next, slow: hangs}
	service := strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "test"))
	before := s.db.fingerprint(t)

	contract, err := spec()
	require.NoError(t, err)
	t.Run("WEB05_Routes", func(t *testing.T) {
		tests := map[string]func(*testing.T, *system){
			"UnknownPaths": refusesUnknownPaths, "OddTransport": refusesOddTransport, "WEB07_SlowClients": bearsSlowClients, "Inbox": refusesBadQueries,
		}
		for _, o := range contract.Operations() {
			name := o.Dialect + "_" + o.OperationID // two documents call theirs alike
			require.Nil(t, tests[name], name)
			tests[name] = func(t *testing.T, s *system) {
				r := route{s, o, token}
				if o.OperationID == "oauthSignin" {
					r.token = service // nobody else gets as far as the body
				}
				r.refusesBadBodies(t)
				r.refusesBadFields(t)
				r.refusesOtherMethods(t)
				r.refusesNearPaths(t)
				r.refusesBadHeaders(t)
				r.refusesSpoilt(t)
			}
		}
		playAll(t, s, tests)
	})
	require.Equal(t, before, s.db.fingerprint(t), "bad input was written")
	s.http.Transport.(*checked).slow = 0 // what is taken may wait for a flow
	survivesRandomInput(t, s)
	s.requireAlive(t, token)
	select {
	case <-s.api.Done():
		t.Error("the API has ended")
	default:
	}
}

// route is a documented operation under attack.
type route struct {
	s     *system
	o     spectest.Operation
	token string
}

var pathParameter = regexp.MustCompile(`\{[^}]+\}`)

// path is the route's with a thing that nobody has.
func (r route) path() string { return pathParameter.ReplaceAllString(r.o.Path, uuid.NewString()) }

func (r route) send(t *testing.T, body string, headers ...string) answer {
	t.Helper()
	if len(*r.o.Security) > 0 {
		headers = append(headers, "Authorization", "Bearer "+r.token)
	}
	return r.s.raw(t, r.o.Method, r.path(), body, headers...)
}

// requireRefusal checks an error in the shape of the dialect. Document D has no codes.
func requireRefusal(t *testing.T, dialect string, status int, code string, got answer, about string) {
	t.Helper()
	require.Equal(t, status, got.Status, "%s: %s", about, got.Body)
	var body map[string]any
	requireJSON(t, got.Body, &body)
	require.NotEmpty(t, body["message"], about)
	if dialect == "accountv1" {
		require.Equal(t, false, body["success"], about)
		require.Equal(t, strings.ToUpper(strings.ReplaceAll(http.StatusText(status), " ", "_")), body["httpStatus"], about)
		return
	}
	require.Equal(t, code, body["error"], "%s: %s", about, got.Body)
}

func (r route) refusesBadBodies(t *testing.T) {
	t.Helper()
	for name, bad := range badBodies {
		if bad.status == http.StatusRequestEntityTooLarge && !r.heavy() {
			continue
		}
		requireRefusal(t, r.o.Dialect, bad.status, bad.code, r.send(t, bad.body, bad.headers...), name)
		if r.guarded() && bad.status != http.StatusRequestEntityTooLarge {
			got := r.s.raw(t, r.o.Method, r.path(), bad.body, bad.headers...)
			requireRefusal(t, r.o.Dialect, http.StatusUnauthorized, "unauthorized", got, name+", by a stranger")
		}
	}
}

// heavy routes take the largest bodies, which are judged before any route is known: one of each dialect is enough.
func (r route) heavy() bool {
	return slices.Contains([]string{"login", "authenticate", "changePassword", "register"}, r.o.OperationID)
}

// guarded routes serve nobody without a credential.
func (r route) guarded() bool {
	return len(*r.o.Security) > 0 && !slices.ContainsFunc(*r.o.Security, func(one openapi3.SecurityRequirement) bool { return len(one) == 0 })
}

func (r route) schema() *openapi3.Schema {
	if r.o.RequestBody == nil {
		return &openapi3.Schema{}
	}
	return r.o.RequestBody.Value.Content["application/json"].Schema.Value
}

// good is a body that the route takes, of an address that nobody has.
func (r route) good(t *testing.T) map[string]any {
	t.Helper()
	body := map[string]any{}
	if r.o.RequestBody == nil {
		return body
	}
	requireJSON(t, []byte(mustJSON(t, r.o.RequestBody.Value.Content["application/json"].Example)), &body)
	for _, name := range []string{"email", "username"} {
		if _, given := body[name]; given {
			body[name] = newEmail()
		}
	}
	if _, given := body["resumesAt"]; given {
		body["resumesAt"] = time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339) // the example's day may be over
	}
	if r.o.OperationID == "register" {
		body["username"] = "fresh_" + newEmail()[5:15]
	}
	return body
}

func (r route) invalid() (status int, code string) {
	if r.o.Dialect == "usersv1" {
		return http.StatusBadRequest, "invalid_request"
	}
	return http.StatusUnprocessableEntity, "validation_error"
}

// refusesField wants exactly one field named.
func (r route) refusesField(t *testing.T, field string, value any, about string) {
	t.Helper()
	body := r.good(t)
	if body[field] = value; value == absent {
		delete(body, field)
	}
	text, err := json.Marshal(body)
	require.NoError(t, err)
	r.refusesText(t, field, string(text), about)
}

func (r route) refusesText(t *testing.T, field, text, about string) {
	t.Helper()
	about = fmt.Sprintf("%s: %s in %.200s", field, about, text)
	status, code := r.invalid()
	got := r.send(t, text)
	requireRefusal(t, r.o.Dialect, status, code, got, about)
	var body struct {
		Fields map[string]string `json:"fields"`
		Data   map[string]string `json:"data"`
	}
	requireJSON(t, got.Body, &body)
	if r.o.Dialect == "accountv1" {
		body.Fields = body.Data
	}
	require.Equal(t, []string{field}, slices.Collect(maps.Keys(body.Fields)), about)
	require.NotEmpty(t, body.Fields[field], about)
}

// absent stands for a field that is not sent.
const absent = "\x00absent"

var (
	anyType = map[string]any{
		"string": "x", "integer": 1, "number": 1.5, "boolean": true, "array": []any{"x"}, "object": fields{"$ne": ""},
	}
	badEmails = []string{
		"a", "a@", "@example.com", "a@example", "a b@example.com", "a@example..com", "a@.example.com", "ä@example.com", "a@exämple.com",
		"a＠example.com", "a@example.com\nBcc: b@example.com", "a@[127.0.0.1]", `"a"@example.com`, "a@b@example.com", "<a@example.com>",
		"A <a@example.com>", "a@-example.com", "a@example.com.", strings.Repeat("a", 65) + "@example.com", "v\u0131ctim@example.com",
		"a@example.com,b@example.com", "a;b@example.com", "a@exa_mple.com", "a\u200b@example.com", "a@\u212Aelvin.com",
		strings.Repeat("a", 300), "a@" + strings.Repeat("b.", 140) + "com", "\t", "' OR '1'='1", "a@example.com\x7f",
	}
	badCodes = []any{ // OTP-11
		123456,
		[]any{"482910"},
		fields{"$ne": ""},
		" 482910 ", "٤٨٢٩١٠", "４８２９１０", "0482910", true, nil, absent, "48291", "48291a",
		"4829 0", "+48291", "4.8e10", "-48291", "482910\n", strings.Repeat("0", 300), "", "      ",
	}
	badPasswords  = []any{"1234567", strings.Repeat("p", 257), "password1", "Password1", "        ", "pass\x00word long", "\u00e9\u00e9\u00e9"}
	badUsernames  = []any{"ab", strings.Repeat("a", 31), "a b c", "аdmin", "ADMİN", "admin", "Root", "@support", ".abc", "abc.", "a\u200bbc", "abc\u202e", "check", "ａｄｍｉｎ", "a@b", "a/b", "<b>x</b>", "ad-min", strings.Repeat("x", 300), " "}
	badObjects    = []any{fields{"a": strings.Repeat("x", 4096)}, fields{"a": fields{"b": fields{"c": fields{"d": 1}}}}, fields{"a": "\x00"}, fields{"a\x00": 1}}
	hugeNumbers   = []string{"1e999", "-1e200000", "1e-999999", "1E+99999999999"}
	badStringMaps = []any{fields{"a": 1}, fields{"a": []any{}}, fields{"a": "\x00"}, fields{"a\x00": "b"}, fields{"a": strings.Repeat("x", 10_001)}, manyStrings(33)}
)

func manyStrings(n int) fields {
	m := fields{}
	for i := range n {
		m[fmt.Sprint("k", i)] = "v"
	}
	return m
}

func (r route) refusesBadFields(t *testing.T) {
	t.Helper()
	if r.o.RequestBody == nil {
		return
	}
	// A password or code that is compared, and not chosen, is never judged.
	login := slices.Contains([]string{
		"login", "authenticate", "closeAccount", "enableTwoFactor", "disableTwoFactor", "deactivate", "signOutOthers", "signOutAll",
		"reauthenticate",
	}, r.o.OperationID)
	for field, schema := range r.schema().Properties {
		for name, value := range anyType {
			number := name == "integer" && schema.Value.Type.Is("number")
			if !schema.Value.Type.Is(name) && !number {
				r.refusesField(t, field, value, "of type "+name)
			}
		}
		if slices.Contains(r.schema().Required, field) {
			for about, value := range map[string]any{"absent": absent, "null": nil, "empty": ""} {
				r.refusesField(t, field, value, about)
			}
			r.refusesField(t, field, absent, "absent")
			r.refusesText(t, field, strings.Replace(mustJSON(t, r.good(t)), `"`+field+`"`, `"`+strings.ToUpper(field)+`"`, 1), "in capitals")
		}
		if schema.Value.Type.Is("string") {
			r.refusesField(t, field, strings.Repeat("x", 10_001), "of 10001 bytes")
			r.refusesField(t, field, "a\x00b", "with NUL")
		}
		var bad []any
		switch {
		case field == "code" && slices.Contains([]string{"verifyMfa", "signInByGoogle"}, r.o.OperationID):
			// Document B answers every code of an app that is wrong with isValid; what a code of Google looks like, Google says.
		case field == "code":
			bad = badCodes
		case field == "device_fingerprint":
			bad = badObjects
			for _, n := range hugeNumbers {
				bad = append(bad, json.RawMessage(`{"a":[`+n+`]}`))
			}
		case field == "attribution":
			bad = badStringMaps
		case field == "name":
			bad = []any{strings.Repeat("n", 201), "a\nb", "a\x1b[31m"}
		case login || r.s == nil:
		case field == "password":
			bad = badPasswords
		case field == "username":
			bad = badUsernames
		case field == "email" && slices.Contains([]string{"initiateSignup", "signup", "register"}, r.o.OperationID):
			for _, e := range badEmails {
				bad = append(bad, e)
			}
		}
		for _, value := range bad {
			r.refusesField(t, field, value, "bad value")
		}
	}
}

func mustJSON(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	require.NoError(t, err)
	return string(text)
}
