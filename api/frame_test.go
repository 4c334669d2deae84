package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/config"
	"gatehouse/internal/secret"
)

const login = "/api/v1/auth/login"

var loginBody = `{"email":"` + canaryEmail + `","password":"canary-password-9c1d"}`

// Strings of one request are looked at after others went through the same app: Fiber lends them unless it is told not to.
func TestWhatAnOperationKeepsStaysAsItWas(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "GET", "/v1/operations/first-operation-id", "", "User-Agent", "first agent", "Idempotency-Key", "first")
	app.send(t, "GET", "/dev/inbox.json?to=first@example.com&channel=email", "", "User-Agent", "first agent")
	app.send(t, "POST", login, `{"email":"first@example.com","password":"first"}`, "User-Agent", "first agent")
	app.send(t, "GET", "/api/v1/auth/me", "", "X-API-Key", goodKey)
	for range 20 {
		app.send(t, "GET", "/v1/operations/other-operation-xx", "", "User-Agent", "other xxxxx")
		app.send(t, "GET", "/dev/inbox.json?to=other@example.org&channel=xxxxx", "", "User-Agent", "other xxxxx")
		app.send(t, "POST", login, `{"email":"other@example.org","password":"other"}`, "User-Agent", "other xxxxx")
		app.send(t, "GET", "/api/v1/auth/me", "", "X-API-Key", "xxxx-key")
	}
	calls := app.core.called()
	require.Equal(t, core.OperationInput{ID: "first-operation-id"}, calls[0].in)
	require.Equal(t, core.DevInboxInput{To: "first@example.com", Channel: "email"}, calls[1].in)
	require.Equal(t, core.LoginInput{Identifier: "first@example.com", IdentifierField: "email", Password: "first"}, calls[2].in)
	for _, c := range calls[:3] {
		require.Equal(t, "first agent", c.by.UserAgent)
	}
	require.Equal(t, goodKey, app.core.shown[0].APIKey)
}

func TestPanicsAreInternalErrorsOfTheDialect(t *testing.T) {
	t.Parallel()
	for _, o := range contract.Operations() {
		app := newApp(t)
		app.core.panics = "told to"
		got := app.good(t, o, "X-Request-Id", "req-1")
		if code := requireFailure(t, o.Dialect, 500, got); code != "" {
			require.Equal(t, "internal", code)
		}
		require.NotContains(t, got.Body, "told to")
		require.Contains(t, app.log.text(), "told to")
		require.Contains(t, app.log.text(), "api_test.(*fakeCore).record", "no stack")
	}
}

func TestUnknownErrorsAreLoggedAndNotTold(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.fails = http.ErrBodyNotAllowed
	got := app.send(t, "POST", login, loginBody, "X-Request-Id", "req-1")
	require.Equal(t, "internal", requireFailure(t, "authv1", 500, got))
	require.NotContains(t, got.Body, http.ErrBodyNotAllowed.Error())
	entry := logLine(t, app, "request failed")
	require.Equal(t, "ERROR", entry["level"])
	require.Equal(t, "req-1", entry["request_id"])
	require.Equal(t, http.ErrBodyNotAllowed.Error(), entry["cause"])
}

func TestDeadlinesAreUnavailable(t *testing.T) {
	t.Parallel()
	app := newApp(t, func(c *config.Config) { c.RequestTimeout = 20 * time.Millisecond })
	app.core.blocks = true
	got := app.send(t, "POST", login, loginBody)
	require.Equal(t, "unavailable", requireFailure(t, "authv1", 503, got))
	require.Equal(t, "1", got.Header.Get("Retry-After"))
}

func logLine(t *testing.T, app *testApp, message string) map[string]any {
	t.Helper()
	for line := range strings.Lines(app.log.text()) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &entry))
		if entry["msg"] == message {
			return entry
		}
	}
	require.Fail(t, "nothing logged", message)
	return nil
}

func TestRequestIDs(t *testing.T) {
	t.Parallel()
	for sent, echoed := range map[string]bool{
		"abc-DEF_123": true, strings.Repeat("x", 64): true, strings.Repeat("x", 65): false, "a b": false, "a\"b": false,
		"": false, "ä": false,
		// What somebody has put into the wrong header must not be logged (WEB-14).
		secret.RefreshTokenPrefix + "x": false, secret.DeviceTokenPrefix + "x": false, secret.StepTokenPrefix + "x": false,
		secret.APIKeyPrefix + "x": false, secret.ServiceKeyPrefix + "x": false, "eyJhbGciOiJFZERTQSJ9": false,
	} {
		got := newApp(t).send(t, "POST", login, loginBody, "X-Request-Id", sent)
		require.Equal(t, echoed, got.Header.Get("X-Request-Id") == sent, "%q", sent)
		require.Regexp(t, `^[A-Za-z0-9_-]{1,64}$`, got.Header.Get("X-Request-Id"))
	}
}

func TestAccessLogHoldsNoSecret(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	canary := "canary-7f3a9c1d"
	app.send(t, "POST", login, loginBody, "User-Agent", canary+"\n{\"level\":\"ERROR\"}")
	app.send(t, "GET", "/api/v1/auth/me?token="+canary, "", bearer, "Bearer "+canary, "Cookie", "a="+canary)
	app.send(t, "GET", "/v1/users/details", "", bearer, "Bearer "+goodToken, "Referer", "https://x/"+canary)
	app.send(t, "GET", "/v1/operations/"+canary, "", "Idempotency-Key", canary)
	app.send(t, "GET", "/v1/users/"+canary, "")
	app.send(t, "PUT", "/v1/users/confirm-email", `{"token":"`+canary+`"}`, "Idempotency-Key", canary)
	log := app.log.text()
	require.NotContains(t, log, "canary")
	require.NotContains(t, log, goodToken)
	require.Equal(t, 6, strings.Count(log, `"msg":"request"`))
	require.Contains(t, log, `"route":"/v1/operations/:id"`)
	require.Contains(t, log, `"route":"unmatched","status":404`)
	require.Contains(t, log, `"account_id":"`+accountID.String()+`"`)
	require.Contains(t, log, `"network":"0.0.0.0/24"`)
}

func TestMetricsCountByPattern(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.send(t, "GET", "/v1/operations/a", "")
	app.send(t, "GET", "/v1/operations/b", "")
	app.send(t, "GET", "/nowhere/at/all", "")
	families, err := app.registry.Gather()
	require.NoError(t, err)
	counts := map[string]uint64{}
	for _, m := range families[0].GetMetric() {
		var labels []string
		for _, l := range m.GetLabel() {
			labels = append(labels, l.GetValue())
		}
		counts[strings.Join(labels, " ")] = m.GetHistogram().GetSampleCount()
	}
	require.Equal(t, map[string]uint64{"GET /v1/operations/:id 200": 2, "GET unmatched 404": 1}, counts)
}

func TestHeadFollowsGet(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "HEAD", "/api/v1/auth/me", "", bearer, "Bearer "+goodToken)
	require.Equal(t, 200, got.Status)
	require.Empty(t, got.Body)
	require.Equal(t, 401, app.send(t, "HEAD", "/api/v1/auth/me", "").Status)
}

func TestOptions(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "OPTIONS", "/api/v1/auth/me", "")
	require.Equal(t, 204, got.Status)
	require.ElementsMatch(t, []string{"GET", "HEAD", "PATCH", "OPTIONS"}, strings.Split(got.Header.Get("Allow"), ", "))
	require.Equal(t, 404, app.send(t, "OPTIONS", "/api/v1/auth/nothing", "").Status)
}

func TestUnavailableCausesAreLogged(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.fails = account.ErrUnavailable.Because(http.ErrHandlerTimeout)
	app.send(t, "POST", login, loginBody)
	require.Equal(t, "WARN", logLine(t, app, "request failed")["level"])
}
