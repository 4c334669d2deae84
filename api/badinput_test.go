package api_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/api/openapi/spectest"
)

// These tests read the OpenAPI files, so a new route is tested the moment it is documented.

// badBodies are refused by every route, whatever its fields.
var badBodies = []struct {
	name, body string
	status     int
	code       string
	headers    []string
}{
	{name: "not JSON", body: `hello`, status: 400, code: "malformed_request"},
	{name: "cut off", body: `{"email":"user@exam`, status: 400, code: "malformed_request"},
	{name: "trailing garbage", body: `{} {}`, status: 400, code: "malformed_request"},
	{name: "trailing comma", body: `{"email":"a@example.com",}`, status: 400, code: "malformed_request"},
	{name: "array", body: `[]`, status: 400, code: "malformed_request"},
	{name: "null", body: `null`, status: 400, code: "malformed_request"},
	{name: "string", body: `"email"`, status: 400, code: "malformed_request"},
	{name: "duplicate names", body: `{"email":"a@example.com","email":"b@example.com"}`, status: 400, code: "malformed_request"},
	{name: "escaped duplicate", body: `{"email":"a","\u0065mail":"b"}`, status: 400, code: "malformed_request"},
	{name: "nested duplicate", body: `{"x":{"a":1,"a":2}}`, status: 400, code: "malformed_request"},
	{name: "deep", body: `{"x":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`, status: 400, code: "malformed_request"},
	{name: "very deep", body: strings.Repeat(`{"x":`, 10_000), status: 400, code: "malformed_request"},
	{name: "byte order mark", body: "\xef\xbb\xbf{}", status: 400, code: "malformed_request"},
	{name: "invalid UTF-8", body: "{\"email\":\"\xff\xfe\"}", status: 400, code: "malformed_request"},
	{name: "lone surrogate", body: `{"email":"\ud800"}`, status: 400, code: "malformed_request"},
	{name: "raw NUL", body: "{\"email\":\"a\x00b\"}", status: 400, code: "malformed_request"},
	{name: "NUL in unknown field", body: `{"unknown":["\u0000"]}`, status: 400, code: "malformed_request"},
	{name: "NUL in name", body: `{"a\u0000":1}`, status: 400, code: "malformed_request"},
	{name: "NaN", body: `{"email":NaN}`, status: 400, code: "malformed_request"},
	{name: "form", body: `email=a`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", "application/x-www-form-urlencoded"}},
	{name: "text", body: `{}`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", "text/plain"}},
	{name: "xml", body: `<a/>`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", "application/xml"}},
	{name: "multipart", body: "--x\r\n\r\n", status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", "multipart/form-data; boundary=x"}},
	{name: "no type", body: `{}`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", ""}},
	{name: "odd type", body: `{}`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", ";;"}},
	{name: "other charset", body: `{}`, status: 415, code: "unsupported_media_type", headers: []string{"Content-Type", "application/json; charset=latin1"}},
	{name: "compressed", body: "\x1f\x8b", status: 415, code: "unsupported_media_type", headers: []string{"Content-Encoding", "gzip"}},
}

func TestEveryRouteRefusesBadBodies(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for _, bad := range badBodies {
			t.Run(o.OperationID+"/"+bad.name, func(t *testing.T) {
				t.Parallel()
				app := newApp(t)
				got := app.send(t, o.Method, pathOf(o), bad.body, append(credentialOf(o), bad.headers...)...)
				if code := requireFailure(t, o.Dialect, bad.status, got); code != "" {
					require.Equal(t, bad.code, code)
				}
				require.Empty(t, app.core.called(), "the operation was called")
			})
		}
	}
}

func TestEveryRouteTakesHarmlessBodies(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		example := exampleOf(t, o)
		if example == "" {
			example = "{}"
		}
		for name, send := range map[string]func(app *testApp) answer{
			"charset": func(app *testApp) answer {
				return app.send(t, o.Method, pathOf(o), example, append(credentialOf(o), "Content-Type", "application/json; charset=UTF-8")...)
			},
			"unknown fields": func(app *testApp) answer {
				body := strings.TrimSuffix(example, "}") + `,"is_admin":true,"unknown":{"deep":[1,null,"x"]}}`
				return app.send(t, o.Method, pathOf(o), strings.Replace(body, "{,", "{", 1), credentialOf(o)...)
			},
		} {
			t.Run(o.OperationID+"/"+name, func(t *testing.T) {
				t.Parallel()
				require.Equal(t, successOf(o), send(newApp(t)).Status)
			})
		}
	}
}

// An empty body is an empty object, whatever the Content-Type says (contract X29).
func TestEmptyBodiesAreEmptyObjects(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for _, body := range []string{"", " \r\n"} {
			for _, contentType := range []string{"", "application/json", "text/plain"} {
				app := newApp(t)
				got := app.send(t, o.Method, pathOf(o), body, append(credentialOf(o), "Content-Type", contentType)...)
				want := successOf(o)
				if len(requiredOf(o)) > 0 {
					want = invalidStatus(o)
				}
				require.Equal(t, want, got.Status, "%s %q", o.OperationID, contentType)
			}
		}
	}
}

func schemaOf(o spectest.Operation) *openapi3.Schema {
	if o.RequestBody == nil {
		return &openapi3.Schema{}
	}
	return o.RequestBody.Value.Content["application/json"].Schema.Value
}

func requiredOf(o spectest.Operation) []string { return schemaOf(o).Required }

func invalidStatus(o spectest.Operation) int {
	if o.Dialect == "usersv1" {
		return 400
	}
	return 422
}

// requireFault sends the example with one field changed, and wants that field named.
func requireFault(t *testing.T, o spectest.Operation, field string, change func(body map[string]any), called bool) {
	t.Helper()
	var body map[string]any
	require.NoError(t, json.Unmarshal([]byte(exampleOf(t, o)), &body))
	change(body)
	sent, err := json.Marshal(body)
	require.NoError(t, err)
	app := newApp(t)
	got := app.send(t, o.Method, pathOf(o), string(sent), credentialOf(o)...)
	if code := requireFailure(t, o.Dialect, invalidStatus(o), got); code != "" {
		require.Equal(t, wireCode(o.Dialect, account.ErrInvalid.Code), code)
		require.Contains(t, got.json(t)["fields"], field)
		require.Len(t, got.json(t)["fields"], 1)
	} else {
		require.Contains(t, got.json(t)["data"], field)
	}
	require.Equal(t, called, len(app.core.called()) > 0, "the operation was called")
}

func TestEveryRequiredField(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for _, field := range requiredOf(o) {
			t.Run(o.OperationID+"/"+field, func(t *testing.T) {
				t.Parallel()
				requireFault(t, o, field, func(body map[string]any) { delete(body, field) }, true)
				requireFault(t, o, field, func(body map[string]any) { body[field] = nil }, true)
				if schemaOf(o).Properties[field].Value.Type.Is("string") {
					requireFault(t, o, field, func(body map[string]any) { body[field] = "" }, true)
				}
				requireFault(t, o, field, func(body map[string]any) {
					body[strings.ToUpper(field)] = body[field]
					delete(body, field)
				}, true)
			})
		}
	}
}

func TestNullIsAbsent(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for field := range schemaOf(o).Properties {
			if slices.Contains(requiredOf(o), field) {
				continue
			}
			var body map[string]any
			require.NoError(t, json.Unmarshal([]byte(exampleOf(t, o)), &body))
			if o.OperationID == "signup" {
				body = map[string]any{} // email and password belong together
			}
			body[field] = nil
			sent, err := json.Marshal(body)
			require.NoError(t, err)
			got := newApp(t).send(t, o.Method, pathOf(o), string(sent), credentialOf(o)...)
			require.Equal(t, successOf(o), got.Status, "%s %s: %s", o.OperationID, field, got.Body)
		}
	}
}

// valuesOf are one value of each JSON type.
var valuesOf = map[string]any{
	"string": "x", "integer": 1, "number": 1.5, "boolean": true, "array": []any{"x"}, "object": map[string]any{"a": "b"},
}

func TestEveryFieldRefusesOtherTypes(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for field, schema := range schemaOf(o).Properties {
			for name, value := range valuesOf {
				if schema.Value.Type.Is(name) {
					continue
				}
				t.Run(o.OperationID+"/"+field+"/"+name, func(t *testing.T) {
					t.Parallel()
					requireFault(t, o, field, func(body map[string]any) { body[field] = value }, false)
				})
			}
		}
	}
}

func TestEveryStringIsBoundedAndFreeOfNUL(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for field, schema := range schemaOf(o).Properties {
			if !schema.Value.Type.Is("string") {
				continue
			}
			t.Run(o.OperationID+"/"+field, func(t *testing.T) {
				t.Parallel()
				requireFault(t, o, field, func(body map[string]any) { body[field] = strings.Repeat("x", 10_001) }, false)
				requireFault(t, o, field, func(body map[string]any) { body[field] = "a\x00b" }, false)
			})
		}
	}
}

func TestAllMistypedFieldsAreReportedAtOnce(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		properties := schemaOf(o).Properties
		body := map[string]any{}
		for field, schema := range properties {
			body[field] = 1
			if schema.Value.Type.Is("integer") {
				body[field] = "x"
			}
		}
		if len(body) == 0 {
			continue
		}
		sent, err := json.Marshal(body)
		require.NoError(t, err)
		got := newApp(t).send(t, o.Method, pathOf(o), string(sent), credentialOf(o)...)
		require.Equal(t, invalidStatus(o), got.Status)
		told := got.json(t)["fields"]
		if o.Dialect == "accountv1" {
			told = got.json(t)["data"]
		}
		require.Len(t, told, len(properties), o.OperationID)
	}
}

func TestFreeObjects(t *testing.T) {
	t.Parallel()
	many := map[string]any{}
	for i := range 33 {
		many["k"+itoa(i)] = "v"
	}
	for name, one := range map[string]struct {
		field string
		value any
		fine  bool
	}{
		"three levels":          {"device_fingerprint", map[string]any{"a": map[string]any{"b": map[string]any{"c": []any{}}}}, false},
		"two levels":            {"device_fingerprint", map[string]any{"a": map[string]any{"b": []any{1, "[[[[", nil}}}, true},
		"4 kB":                  {"device_fingerprint", map[string]any{"a": strings.Repeat("x", 4096)}, false},
		"NUL in fingerprint":    {"device_fingerprint", map[string]any{"a": "\x00"}, false},
		"escaped backslash":     {"device_fingerprint", map[string]any{"a": `\u0000`}, true},
		"unknown attribution":   {"attribution", map[string]any{"utm_source": "x", "unknown": "y", "absent": nil}, true},
		"mistyped attribution":  {"attribution", map[string]any{"utm_source": 1}, false},
		"nested attribution":    {"attribution", map[string]any{"utm_source": map[string]any{}}, false},
		"too many attributions": {"attribution", many, false},
		"NUL in attribution":    {"attribution", map[string]any{"utm_source": "\x00"}, false},
		"NUL in its name":       {"attribution", map[string]any{"\x00": "x"}, false},
		"long attribution":      {"attribution", map[string]any{"utm_source": strings.Repeat("x", 10_001)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body, err := json.Marshal(map[string]any{"email": "a@example.com", "password": "long enough", one.field: one.value})
			require.NoError(t, err)
			got := newApp(t).send(t, http.MethodPost, "/api/v1/auth/initiate-signup", string(body))
			if one.fine {
				require.Equal(t, 200, got.Status, got.Body)
				return
			}
			require.Equal(t, "validation_error", requireFailure(t, "authv1", 422, got))
			require.Contains(t, got.json(t)["fields"], one.field)
		})
	}
}

// allowedOn are the methods that path is documented with; a template may take in a static path of another method.
func allowedOn(path string) []string {
	var allowed []string
	for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
		if _, found := contract.Find(method, path); found {
			allowed = append(allowed, method)
		}
	}
	if slices.Contains(allowed, http.MethodGet) {
		allowed = append(allowed, http.MethodHead)
	}
	return allowed
}

func TestWrongMethodsAndUnknownPaths(t *testing.T) {
	t.Parallel()
	methods := []string{"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "CONNECT", "PROPFIND", "BREW"}
	for _, o := range contract.Operations() {
		at, _, _ := strings.Cut(pathOf(o), "?")
		allowed := append(allowedOn(at), "OPTIONS")
		for _, method := range methods {
			if slices.Contains(allowed, method) {
				continue
			}
			got := newApp(t).send(t, method, pathOf(o), "", credentialOf(o)...)
			if code := requireFailure(t, o.Dialect, 405, got); code != "" {
				require.Equal(t, "method_not_allowed", code)
			}
			require.ElementsMatch(t, allowed, strings.Split(got.Header.Get("Allow"), ", "), "%s %s", method, o.Path)
		}
		for _, path := range []string{at + "/x.css", at + "x", strings.ToUpper(at), at + "%00"} {
			if len(allowedOn(path)) > 0 {
				continue
			}
			got := newApp(t).send(t, o.Method, path, "")
			dialect := o.Dialect
			if strings.HasPrefix(path, "/API") || strings.HasPrefix(path, "/V1") {
				dialect = "site"
			}
			if code := requireFailure(t, dialect, 404, got); code != "" {
				require.Equal(t, "not_found", code, path)
			}
		}
	}
}
