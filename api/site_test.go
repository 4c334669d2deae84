package api_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/api/openapi"
	"gatehouse/internal/config"
)

func replace(text, with string) string { return strings.Replace(text, "%", with, 1) }

func TestPages(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for path, contentType := range map[string]string{
		"/docs": "text/html", "/docs/docs.js": "text/javascript", "/docs/swagger-ui.css": "text/css",
		"/docs/swagger-ui-bundle.js": "text/javascript", "/docs/swagger-ui-standalone-preset.js": "text/javascript",
		"/docs/favicon-32x32.png": "image/png", "/confirm-email?token=t": "text/html", "/reset-password?token=t": "text/html",
		"/undo-closure?token=t":  "text/html",
		"/dev/inbox":             "text/html",
		"/.well-known/jwks.json": "application/json",
	} {
		got := app.send(t, "GET", path, "")
		require.Equal(t, 200, got.Status, path)
		require.Contains(t, got.Header.Get("Content-Type"), contentType, path)
		require.NotEmpty(t, got.Header.Get("Content-Security-Policy"), path)
		require.NotEmpty(t, got.Body, path)
	}
	require.Empty(t, app.core.called(), "a page did something")
}

// Everything that the reference page loads is served here: it works offline.
func TestTheReferenceIsSelfContained(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	page := app.send(t, "GET", "/docs", "").Body
	links := regexp.MustCompile(`(?:src|href)="([^"]+)"`).FindAllStringSubmatch(page, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		require.Equal(t, 200, app.send(t, "GET", link[1], "").Status, link[1])
	}
	script := app.send(t, "GET", "/docs/docs.js", "").Body
	for _, file := range openapi.Files() {
		url := "/openapi/" + file.Name + ".yaml"
		require.Contains(t, script, `"`+url+`"`)
		require.Equal(t, string(file.Body), app.send(t, "GET", url, "").Body)
	}
}

// The inline scripts run under their policy only if the hash is that of their text.
func TestInlineElementsArePermittedByTheirHash(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for _, path := range []string{"/confirm-email", "/reset-password", "/undo-closure", "/dev/inbox"} {
		got := app.send(t, "GET", path, "")
		policy := got.Header.Get("Content-Security-Policy")
		require.NotContains(t, policy, "unsafe")
		for _, element := range []string{"script", "style"} {
			inline := regexp.MustCompile(`(?s)<`+element+`>(.*?)</`+element+`>`).FindAllStringSubmatch(got.Body, -1)
			require.Len(t, inline, 1)
			sum := sha256.Sum256([]byte(inline[0][1]))
			require.Contains(t, policy, element+"-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"'")
		}
	}
}

// The pages that mails link to do something when their button is pressed, each its own, and nothing by being opened.
func TestPagesOfLinks(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for path, want := range map[string][]string{
		"/confirm-email": {"<h1>Confirm your email address</h1>", `"PUT"`, "confirm-email\"", "enter the code"},
		"/undo-closure":  {"<h1>Open your account again</h1>", `"POST"`, "undo-closure\"", "stay closed"},
	} {
		body := app.send(t, "GET", path+"?token=t", "").Body
		for _, part := range want {
			require.Contains(t, strings.ReplaceAll(body, `\/`, "/"), part, path)
		}
		require.NotContains(t, body, "{{")
		require.NotContains(t, body, "ZgotmplZ")
	}
	require.Empty(t, app.core.called())
}

// The page that confirms an address says of a change that it is one, lest somebody who signs up gives their address away: the link
// chooses the words, and for one that chooses none they are those of a sign-up.
func TestPageOfAChangedEmail(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	body := app.send(t, "GET", "/confirm-email?token=t", "").Body
	require.Equal(t, body, app.send(t, "GET", "/confirm-email?for=email_change&token=t", "").Body, "the page chooses, not the server")
	page, script, found := strings.Cut(body, "<script>")
	require.True(t, found)
	require.Contains(t, page, "confirm that this address is yours")
	require.NotContains(t, page, "existing account")
	cases := regexp.MustCompile(`const cases = (.*);`).FindStringSubmatch(script)
	require.Len(t, cases, 2)
	var says map[string]struct{ Title, Lead, Button string }
	require.NoError(t, json.Unmarshal([]byte(cases[1]), &says))
	require.Len(t, says, 1)
	change := says["email_change"]
	require.Contains(t, change.Title, "existing account")
	require.Contains(t, change.Lead, "This is no sign-up.")
	require.NotEmpty(t, change.Button)
	require.Contains(t, script, `Object.hasOwn(cases, asked.get("for"))`, "what is not one of them changes nothing")
	require.NotContains(t, app.send(t, "GET", "/undo-closure", "").Body, "cases")
}

func TestHTTPSIsRemembered(t *testing.T) {
	t.Parallel()
	require.Empty(t, newApp(t).send(t, "GET", "/docs", "").Header.Get("Strict-Transport-Security"))
	secure := newApp(t, func(c *config.Config) { c.BaseURL = "https://id.example.com" })
	require.NotEmpty(t, secure.send(t, "GET", "/docs", "").Header.Get("Strict-Transport-Security"))
}

func TestEachPathFailsInItsDialect(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for path, dialect := range map[string]string{
		"/api/v1/auth": "authv1", "/api/v1/auth/x": "authv1", "/api/v1/authx": "site", "/v1": "usersv1", "/v1/x": "usersv1",
		"/v10": "site", "/api/v1/account/": "accountv1", "/api/v1/account/x": "accountv1", "/": "site", "/api": "site",
	} {
		got := app.send(t, "GET", path, "")
		if code := requireFailure(t, dialect, 404, got); code != "" {
			require.Equal(t, "not_found", code, path)
		}
	}
}
