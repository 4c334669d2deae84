//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/api/openapi/spectest"
	"gatehouse/devstack/stacktest"
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
		for _, o := range contract.Operations() {
			t.Run(o.OperationID, func(t *testing.T) {
				t.Parallel()
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
			})
		}
		for name, test := range map[string]func(*testing.T, *system){
			"UnknownPaths": refusesUnknownPaths, "OddTransport": refusesOddTransport, "WEB07_SlowClients": bearsSlowClients, "Inbox": refusesBadQueries,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, s)
			})
		}
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
		" 482910 ", "٤٨٢٩١٠", "１２３４５６", "0482910", true, nil, absent, "48291", "48291a",
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

var everyMethod = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW", "PROPFIND", "get"}

func (r route) refusesOtherMethods(t *testing.T) {
	t.Helper()
	allowed := map[string]bool{}
	for _, method := range everyMethod {
		if _, documented := serves(t, method, r.path()); documented {
			allowed[method] = true
			continue
		}
		got := r.s.raw(t, method, r.path(), `{"email":"a@example.com"}`, "Authorization", "Bearer "+r.token)
		requireRefusal(t, r.o.Dialect, http.StatusMethodNotAllowed, "method_not_allowed", got, method)
		for served := range allowed {
			require.Contains(t, got.Header.Get("Allow"), served, method)
		}
		require.NotContains(t, got.Header.Get("Allow"), method+",")
	}
	options := r.s.raw(t, http.MethodOptions, r.path(), "")
	require.Equal(t, http.StatusNoContent, options.Status)
	require.Contains(t, options.Header.Get("Allow"), r.o.Method)
}

// serves tells which documented operation takes a method on a path; another path's parameter may.
func serves(t *testing.T, method, path string) (spectest.Operation, bool) {
	t.Helper()
	contract, err := spec()
	require.NoError(t, err)
	return contract.Find(method, path)
}

// WEB-11: a suffix that a cache would take for a file is no alias of the route.
func (r route) refusesNearPaths(t *testing.T) {
	t.Helper()
	for _, suffix := range []string{"/x.css", "/x/y.js", ".css", ";x", "%2fx", "%00", "%0a", "/..%2f", "/%2e%2e/x", "%20"} {
		status, code := http.StatusNotFound, "not_found"
		if strings.Contains(r.o.Path, "{") && !strings.HasPrefix(suffix, "/x") {
			continue // part of the parameter: tried below
		}
		for _, method := range everyMethod {
			if o, found := serves(t, method, r.path()+suffix); found && o.Method != r.o.Method {
				status, code = http.StatusMethodNotAllowed, "method_not_allowed" // the parameter of another route
			}
		}
		if _, found := serves(t, r.o.Method, r.path()+suffix); found {
			status, code = http.StatusNotFound, "not_found"
		}
		got := r.s.raw(t, r.o.Method, r.path()+suffix, "", "Authorization", "Bearer "+r.token)
		requireRefusal(t, r.o.Dialect, status, code, got, suffix)
	}
	if !strings.Contains(r.o.Path, "{") {
		require.Equal(t, http.StatusNotFound, r.s.raw(t, r.o.Method, strings.ToUpper(r.path()), "").Status)
		return
	}
	if slices.Contains([]string{"changeSubscription", "previewPlanChange", "getMemberships", "addNotificationToken", "unlinkOAuth"}, r.o.OperationID) {
		return // the first two miss what body or query do not say before they look, the others take names, and no ids
	}
	for _, id := range []string{
		"1", "%00", "%ff", "..%2f..", "'%20OR%20true%20--", strings.Repeat("a", 4000), "urn:uuid:" + uuid.NewString(), "{" + uuid.NewString() + "}",
		uuid.Nil.String(), uuid.NewString(),
	} {
		got := r.s.raw(t, r.o.Method, pathParameter.ReplaceAllLiteralString(r.o.Path, id), "", "Authorization", "Bearer "+r.token)
		if invalid, code := r.invalid(); got.Status == invalid && r.judgesPaths() {
			requireRefusal(t, r.o.Dialect, invalid, code, got, id)
			continue
		}
		requireRefusal(t, r.o.Dialect, http.StatusNotFound, "not_found", got, id)
	}
}

// judgesPaths reports whether the route says what is wrong with its parameter, as document D does and push tokens do.
func (r route) judgesPaths() bool {
	return r.o.Dialect == "accountv1" || strings.Contains(r.o.Path, "notifications/tokens")
}

func (r route) refusesBadHeaders(t *testing.T) {
	t.Helper()
	for _, accept := range []string{"text/html", "*/*;q=0", "application/xml;q=", ";;;", strings.Repeat("a/b,", 1000), "image/webp"} {
		got := r.send(t, "[]", "Accept", accept)
		requireRefusal(t, r.o.Dialect, http.StatusBadRequest, "malformed_request", got, "Accept: "+accept)
	}
	for _, header := range []string{"Authorization", "Cookie", "X-Junk", "Idempotency-Key"} {
		got := r.s.raw(t, r.o.Method, r.path(), "", header, strings.Repeat("a", 17_000))
		// Too large to be read, so the path and its dialect are not known.
		requireRefusal(t, "site", http.StatusRequestHeaderFieldsTooLarge, "body_too_large", got, header+" of 17 kB")
	}
	flood := make([]string, 0, 800)
	for i := range 400 {
		flood = append(flood, fmt.Sprint("X-Flood-", i), strings.Repeat("f", 60))
	}
	requireRefusal(t, "site", http.StatusRequestHeaderFieldsTooLarge, "body_too_large", r.s.raw(t, r.o.Method, r.path(), "", flood...), "400 headers")

	keyed := slices.ContainsFunc(r.o.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == "Idempotency-Key" })
	if !keyed {
		return
	}
	for _, key := range [][]string{
		{"Idempotency-Key", strings.Repeat("k", 256)},
		{"Idempotency-Key", "schlüssel"},
		{"Idempotency-Key", "a\tb"},
		{"Idempotency-Key", "a", "Idempotency-Key", "b"},
	} {
		requireRefusal(t, r.o.Dialect, http.StatusBadRequest, "invalid_idempotency_key", r.send(t, mustJSON(t, r.good(t)), key...), "key")
	}
}

func refusesUnknownPaths(t *testing.T, s *system) {
	for base, dialect := range map[string]string{
		"/api/v1/auth": "authv1", "/v1": "usersv1", "/api/v1/account": "accountv1", "": "site",
	} {
		for _, path := range []string{"/nothing", "/me/../nothing", "/%2e%2e/%2e%2e/etc/passwd", "/a%00b", "/\u00e4", "/" + strings.Repeat("x", 8000), "/.env", "/.git/config"} {
			for _, method := range []string{"GET", "POST", "DELETE", "BREW"} {
				got := s.raw(t, method, base+path, "")
				requireRefusal(t, dialect, http.StatusNotFound, "not_found", got, method+" "+base+path)
			}
		}
	}
	for _, path := range []string{"/api/v1/authx", "/api/v1", "/v1x/users/details", "/api/v1/auth", "/v1", "/api/v1/account", "/"} {
		require.Equal(t, http.StatusNotFound, s.raw(t, http.MethodGet, path, "").Status, path)
	}
}

func refusesOddTransport(t *testing.T, s *system) {
	post := "POST " + pathInitiateSignup + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 60_000, strings.Repeat(" ", 60_000))
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"garbage":             {"GARBAGE\r\n\r\n", 400},
		"TLS":                 {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"negative length":     {post + "Content-Length: -5\r\n\r\n{}", 400},
		"signed length":       {post + "Content-Length: +2\r\n\r\n{}", 400},
		"overflowing length":  {post + "Content-Length: 99999999999999999999\r\n\r\n{}", 400},
		"five megabytes":      {post + "Content-Length: 5242880\r\n\r\n" + strings.Repeat("x", 5<<20), 413},
		"chunked 5 MB":        {post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat(chunk, 90) + "0\r\n\r\n", 413},
		"bad chunk":           {post + "Transfer-Encoding: chunked\r\n\r\nZZZ\r\n{}\r\n", 400},
		"huge chunk":          {post + "Transfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\n{}", 400},
		"unknown encoding":    {post + "Transfer-Encoding: xchunked\r\n\r\n{}", 400},
		"space before colon":  {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nX-A : b\r\n\r\n", 400},
		"ten megabyte header": {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat("a", 10<<20) + "\r\n\r\n", 431},
		"17 kB of URL":        {"GET " + pathMe + "?" + strings.Repeat("a", 17_000) + " HTTP/1.1\r\nHost: x\r\n\r\n", 431},
		"connect":             {"CONNECT example.com:80 HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"star":                {"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 404},
		"two types":           {post + "Content-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}", 415},
		"NUL in a header":     {"GET " + pathMe + " HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\x00b\r\n\r\n", 401},
		// Two answers to where the body ends are how requests are smuggled past a proxy (RFC 9112 section 6.3).
		"length and chunks":  {post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"two lengths":        {post + "Content-Length: 2\r\nContent-Length: 40\r\n\r\n{}" + strings.Repeat(" ", 38), 400},
		"two equal lengths":  {post + "Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400},
		"list of encodings":  {post + "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 400},
		"two encodings":      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
		"chunks in HTTP 1.0": {"POST " + pathInitiateSignup + " HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400},
	} {
		started := time.Now()
		got := s.wire(t, c.request)
		require.Equal(t, c.status, got.Status, "%s: %s", name, got.Body)
		require.Less(t, time.Since(started), hangs, name)
		require.NotEmpty(t, got.Header.Get("X-Request-Id"), name)
		require.NotEmpty(t, got.code(), "%s: %s", name, got.Body)
		if c.status == http.StatusBadRequest {
			require.Equal(t, "close", got.Header.Get("Connection"), name)
		}
	}
}

// WEB-07: clients that trickle, stop half-way or close their half hold up nobody, and are given up. Two thousand of them in full.
func bearsSlowClients(t *testing.T, s *system) {
	stacktest.Covers(t, "WEB-07")
	conns := make([]*net.TCPConn, map[bool]int{false: 300, true: 2000}[stacktest.Full()])
	slowest := func(reads int) time.Duration {
		took := make([]time.Duration, reads)
		for i := range took {
			began := time.Now()
			require.Equal(t, http.StatusUnauthorized, s.raw(t, http.MethodGet, pathMe, "").Status)
			took[i] = time.Since(began)
			require.Less(t, took[i], hangs)
		}
		slices.Sort(took)
		return took[reads*9/10]
	}
	const reads = 50
	before := slowest(reads)
	begin := "POST " + pathLogin + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	began := time.Now()
	for i := range conns {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.base, "http://"))
		require.NoError(t, err)
		defer func() { _ = conn.Close() }()
		part := begin[:len(begin)-(i%60)] // half of them stop within the headers
		_, err = conn.Write([]byte(part))
		require.NoError(t, err)
		conns[i] = conn.(*net.TCPConn)
		if i%5 == 0 {
			require.NoError(t, conns[i].CloseWrite())
		}
	}
	trickling, stop := make(chan struct{}), make(chan struct{})
	go func() { // a byte a second keeps nobody's connection alive
		defer close(trickling)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			for i := 1; i < len(conns); i += 5 {
				_, _ = conns[i].Write([]byte("x"))
			}
			select {
			case <-stop:
				return
			case <-tick.C:
			}
		}
	}()
	beside := slowest(reads)
	t.Logf("%d slow clients; reads' p90 %s before, %s beside them", len(conns), before, beside)
	require.Less(t, beside, 2*before+100*time.Millisecond)
	for i, conn := range conns {
		if !stacktest.Full() && i%60 > 2 {
			continue
		}
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(patience)))
		answered, err := io.ReadAll(conn) // an answer, or the end
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "client %d is still waited for after %s", i, time.Since(began))
		if len(answered) > 0 {
			require.Regexp(t, `^HTTP/1\.1 4\d\d `, string(answered))
		}
	}
	close(stop)
	<-trickling
}

func refusesBadQueries(t *testing.T, s *system) {
	for _, query := range []string{"to=%00", "to=%ff", "to=a&to=b", "channel=a&channel=a", "to=" + strings.Repeat("x", 10_001)} {
		got := s.raw(t, http.MethodGet, "/dev/inbox.json?"+query, "")
		requireRefusal(t, "site", http.StatusUnprocessableEntity, "validation_error", got, query)
	}
	for _, query := range []string{"", "to=", "%zz", "to=%25", "x=y", "to=%27%3B--"} {
		require.Equal(t, http.StatusOK, s.raw(t, http.MethodGet, "/dev/inbox.json?"+query, "").Status, query)
	}
}
