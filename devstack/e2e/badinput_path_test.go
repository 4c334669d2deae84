//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/api/openapi/spectest"
)

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
