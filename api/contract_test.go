package api_test

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/api/endpoint"
	"gatehouse/api/openapi/spectest"
)

func TestRoutesEqualFiles(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	mounted := map[string]endpoint.Route{}
	for _, r := range app.Routes() {
		if r.Dialect.Name != "site" {
			mounted[r.Dialect.Name+" "+r.Method+" "+template(r.Path)+" "+r.ID] = r
		}
	}
	for _, o := range contract.Operations() {
		name := o.Dialect + " " + o.Method + " " + o.Path + " " + o.OperationID
		r, found := mounted[name]
		require.True(t, found, "documented but not mounted: %s", name)
		delete(mounted, name)
		requireSecurity(t, name, r, o)
		require.Equal(t, r.Idempotent, takesKey(o), name)
		require.NotNil(t, o.Responses.Value(itoa(r.Status)), "%s: success %d is not documented", name, r.Status)
	}
	require.Empty(t, mounted, "mounted but not documented")
}

func template(path string) string {
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if name, ok := strings.CutPrefix(part, ":"); ok {
			parts[i] = "{" + name + "}"
		}
	}
	return strings.Join(parts, "/")
}

func takesKey(o spectest.Operation) bool {
	return slices.ContainsFunc(o.Parameters, func(p *openapi3.ParameterRef) bool { return p.Value.Name == "Idempotency-Key" })
}

func requireSecurity(t *testing.T, name string, r endpoint.Route, o spectest.Operation) {
	t.Helper()
	require.NotNil(t, o.Security, "%s: security is not stated", name)
	var schemes []string
	for _, requirement := range *o.Security {
		for scheme := range requirement {
			schemes = append(schemes, scheme)
		}
	}
	var want []string
	if r.Policy != endpoint.Public {
		want = append(want, "bearer")
		if r.Dialect.AllowKeys {
			want = append(want, "apiKey")
		}
	}
	if r.Policy == endpoint.Optional && r.Service {
		want = append(want, "serviceKey")
	}
	require.Equal(t, r.Policy.Optional(), optional(o), name)
	require.ElementsMatch(t, want, schemes, name)
	_, unauthorized := o.Responses.Map()["401"]
	judges := slices.Contains([]string{"login", "authenticate", "refreshToken", "signInByGoogle"}, o.OperationID)
	require.Equal(t, r.Policy == endpoint.Session || r.Policy == endpoint.SecondStep || judges, unauthorized, name)
}

func TestOperationIDsAreUniqueWithinAFile(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, o := range contract.Operations() {
		id := o.Dialect + " " + o.OperationID
		require.False(t, seen[id], id)
		seen[id] = true
	}
}

func TestResponseBodiesAreClosed(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for status, response := range o.Responses.Map() {
			if status == "204" {
				continue
			}
			schema := response.Value.Content["application/json"].Schema.Value
			for _, one := range slices.Concat(openapi3.SchemaRefs{{Value: schema}}, schema.AllOf, schema.OneOf) {
				if one.Value.Type.Is("array") {
					one = one.Value.Items
				}
				if one.Value.Type == nil {
					continue // narrows a closed schema beside it
				}
				require.NotNil(t, one.Value.AdditionalProperties.Has, "%s %s is open", o.OperationID, status)
				require.False(t, *one.Value.AdditionalProperties.Has, "%s %s is open", o.OperationID, status)
			}
		}
	}
}

// A key that a route refuses for want of a scope must be foreseeable.
func TestFilesSayWhatAKeyNeeds(t *testing.T) {
	t.Parallel()
	needs := map[string]bool{}
	for _, r := range newApp(t).Routes() {
		if r.Dialect.AllowKeys && r.Scope == account.ScopeSecurity {
			needs[r.ID] = true
		}
	}
	for _, o := range contract.Operations() {
		if o.Dialect == "authv1" && needs[o.OperationID] {
			require.Regexp(t, "account:security|service key", o.Description, o.OperationID)
		}
	}
}

func TestEveryCodeIsInTheFiles(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"authv1", "usersv1"} {
		names := map[any]bool{}
		for code := range account.Catalogue() {
			names[wireCode(dialect, code)] = true
		}
		codes := slices.Collect(maps.Keys(names))
		listed := contract.Documents[dialect].Components.Schemas["ErrorCode"].Value.Enum
		require.ElementsMatch(t, codes, listed, dialect)
	}
}

// codesOf returns the codes that a documented response lists.
func codesOf(response *openapi3.Response) []string {
	var codes []string
	listed, _ := response.Extensions["x-error-codes"].([]any)
	schema := response.Content["application/json"].Schema.Value
	for _, alternative := range slices.Concat(openapi3.SchemaRefs{{Value: schema}}, schema.OneOf) {
		for _, part := range slices.Concat(openapi3.SchemaRefs{alternative}, alternative.Value.AllOf) {
			if property := part.Value.Properties["error"]; property != nil && property.Ref == "" {
				listed = append(listed, property.Value.Enum...)
			}
		}
	}
	for _, code := range listed {
		codes = append(codes, code.(string))
	}
	return codes
}

func TestEveryDocumentedFailureIsRendered(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		for status, response := range o.Responses.Map() {
			if status < "400" {
				continue
			}
			codes := codesOf(response.Value)
			require.NotEmpty(t, codes, "%s %s lists no codes", o.OperationID, status)
			for _, code := range codes {
				t.Run(o.OperationID+"/"+status+"/"+code, func(t *testing.T) {
					t.Parallel()
					if own, ok := map[string]string{
						"invalid_request": account.ErrInvalid.Code, "invalid_state": account.ErrSubscriptionState.Code,
					}[code]; ok && o.Dialect == "usersv1" {
						code = own
					}
					e, known := account.Lookup(code)
					require.True(t, known, "%s is not in the catalogue", code)
					if e.Kind == account.Invalid && code == account.ErrInvalid.Code {
						e = e.On("email", "is odd")
					}
					app := newApp(t)
					app.core.fails = e.Because(errors.New("hidden"))
					got := app.good(t, o)
					require.Equal(t, status, itoa(got.Status), got.Body)
					if rendered := requireFailure(t, o.Dialect, got.Status, got); rendered != "" {
						require.Equal(t, wireCode(o.Dialect, code), rendered)
					}
					require.NotContains(t, got.Body, "hidden")
				})
			}
		}
	}
}

func TestEveryOperationSucceedsWithItsExample(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		t.Run(o.OperationID, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			got := app.good(t, o)
			require.Equal(t, successOf(o), got.Status, got.Body)
			require.Len(t, app.core.called(), 1)
			require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
			require.Equal(t, "no-cache", got.Header.Get("Pragma"))
			if got.Status != http.StatusNoContent {
				require.Equal(t, "application/json", got.Header.Get("Content-Type"))
			}
			require.Equal(t, "no-referrer", got.Header.Get("Referrer-Policy"))
			require.Empty(t, got.Header.Get("Server"))
		})
	}
}

func TestUnfinishedFlowsAnswerWithTheirOperation(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		if o.Responses.Value("202") == nil {
			continue
		}
		t.Run(o.OperationID, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.core.fails = account.ErrPending.Running(sessionID.String())
			got := app.good(t, o)
			require.Equal(t, 202, got.Status)
			url := "/v1/operations/" + sessionID.String()
			require.Equal(t, url, got.Header.Get("Location"))
			require.Equal(t, url, got.json(t)["operation"])
		})
	}
}

// asksNothing reports whether an operation takes nothing that could be at fault.
func asksNothing(o spectest.Operation) bool {
	return o.RequestBody == nil && !slices.ContainsFunc(o.Parameters, func(p *openapi3.ParameterRef) bool {
		return !slices.Contains([]string{"X-Request-Id", "Idempotency-Key"}, p.Value.Name)
	})
}

// What the files tell of scopes, proofs and waiting is what can come: keys open A and C alone, fields are at fault where there are
// some, and a flow goes on by itself once it has been asked for, not once it has been proven.
func TestNoAnswerIsDocumentedThatCannotCome(t *testing.T) {
	t.Parallel()
	var wait []string
	refused := map[string][]string{}
	for _, o := range contract.Operations() {
		if o.Responses.Value("202") != nil {
			wait = append(wait, o.OperationID)
		}
		for status, response := range o.Responses.Map() {
			if status < "400" {
				continue
			}
			codes := codesOf(response.Value)
			if o.Dialect != "authv1" {
				require.NotContains(t, codes, account.ErrInsufficientScope.Code, "%s %s", o.OperationID, status)
			}
			if asksNothing(o) {
				require.NotContains(t, codes, wireCode(o.Dialect, account.ErrInvalid.Code), "%s %s", o.OperationID, status)
			}
			for _, code := range codes {
				if o.Dialect == "accountv1" {
					refused[code] = append(refused[code], o.OperationID)
				}
			}
		}
	}
	require.ElementsMatch(t, []string{"initiateEmailLink", "unlinkEmail", "linkOAuth", "setPassword", "enableTwoFactor"},
		refused[account.ErrEmailNotVerified.Code])
	require.ElementsMatch(t, []string{
		"initiateEmailLink", "unlinkEmail", "linkOAuth", "unlinkOAuth", "setPassword", "disableTwoFactor", "deactivate",
	}, refused[account.ErrReauthenticationRequired.Code])
	require.ElementsMatch(t, []string{
		"closeAccount", "forgotPassword", "initiateSignup", "signup", "sendPhoneVerification", "updateProfile", // A and C
		"register", "resetPassword", // B
	}, wait)
}
