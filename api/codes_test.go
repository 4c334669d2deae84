package api_test

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/api/accountv1"
	"gatehouse/api/authv1"
	"gatehouse/api/endpoint"
	"gatehouse/api/usersv1"
)

func itoa(n int) string { return strconv.Itoa(n) }

// statusOfCode is the golden list: a code is a promise to clients, and so is its status. Document B answers bodies at
// fault with 400 where the others say 422.
var statusOfCode = map[string]int{
	"internal": 500, "unavailable": 503, "busy": 503, "pending": 202, "outcome_unknown": 503,
	"malformed_request": 400, "validation_error": 422, "not_found": 404, "method_not_allowed": 405,
	"body_too_large": 413, "unsupported_media_type": 415, "too_many_requests": 429,
	"unauthorized": 401, "ambiguous_credentials": 401, "insufficient_scope": 403, "mfa_required": 403,
	"email_not_verified": 403, "invalid_credentials": 401, "identity_already_used": 400, "email_exists": 409,
	"username_taken": 400, "username_change_limit": 400, "invalid_code": 400, "invalid_token": 400, "idempotency_key_reused": 422,
	"idempotency_key_in_use": 409, "invalid_idempotency_key": 400,
	"password_mismatch": 400, "no_verified_phone": 400, "no_verified_email": 400, "session_id_required": 400,
	"too_many_api_keys": 409, "confirmation_required": 400,
	"invalid_otp": 400, "invalid_phone": 400,
	"reauthentication_required": 403, "invalid_password": 400, "password_exists": 409,
	"two_factor_enabled": 400, "two_factor_not_enabled": 400, "no_second_factor": 400,
	"provider_already_connected": 409, "last_auth_provider": 400, "provider_not_configured": 400,
	"invalid_provider_token": 400, "email_conflict": 409,
	"unsupported_provider": 400, "invalid_state": 400, "invalid_assertion": 401, "forbidden": 403, "account_exists": 409,
	"invalid_subscription_state": 409, "unknown_plan": 400, "already_subscribed": 409, "payment_declined": 400,
	"payment_action_required": 400,
}

func TestCatalogueIsPinned(t *testing.T) {
	t.Parallel()
	for code := range account.Catalogue() {
		require.Contains(t, statusOfCode, code, "a new code: pin its status here and list it in the OpenAPI files")
	}
	for code := range statusOfCode {
		require.Contains(t, account.Catalogue(), code, "a code that clients know is gone")
	}
	page, err := os.ReadFile("../docs/contract.md")
	require.NoError(t, err)
	_, table, found := strings.Cut(string(page), "\n## Error codes\n")
	require.True(t, found)
	for code, status := range statusOfCode {
		require.Regexp(t, `(?m)^\| `+itoa(status)+`\b[^|]*\|[^|]*`+"`"+code+"`", table, "docs/contract.md")
	}
}

// render answers any request with e in dialect d.
func render(t *testing.T, d *endpoint.Dialect, e error) (*http.Response, map[string]any) {
	t.Helper()
	app := fiber.New()
	app.Get("/", func(c *fiber.Ctx) error {
		endpoint.Begin(c, &endpoint.State{Frame: &endpoint.Frame{Logger: slog.New(slog.DiscardHandler), Clock: stoppedClock{}}})
		return endpoint.Fail(c, d, e)
	})
	response, err := app.Test(httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), -1)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	var body map[string]any
	require.NoError(t, json.Unmarshal(content, &body))
	return response, body
}

// wireCode is the code as a dialect writes it: document B has words of its own.
func wireCode(dialect, code string) string {
	own := map[string]string{
		"validation_error": "invalid_request", "invalid_subscription_state": "invalid_state", "invalid_password": "invalid_credentials",
	}
	if name, ok := own[code]; ok && dialect == "usersv1" {
		return name
	}
	return code
}

func TestEveryCodeInEveryDialect(t *testing.T) {
	t.Parallel()
	for code, e := range account.Catalogue() {
		for _, d := range []*endpoint.Dialect{authv1.Dialect, usersv1.Dialect, accountv1.Dialect} {
			t.Run(d.Name+"/"+code, func(t *testing.T) {
				t.Parallel()
				want := statusOfCode[code]
				if d == usersv1.Dialect && want == 422 {
					want = 400
				}
				response, body := render(t, d, e.Running("1"))
				require.Equal(t, want, response.StatusCode)
				require.Equal(t, e.Message, body["message"])
				require.Equal(t, want == 401, response.Header.Get("WWW-Authenticate") == "Bearer")
				if want == 429 || want == 503 {
					require.NotEmpty(t, response.Header.Get("Retry-After"))
				}
				switch {
				case d == accountv1.Dialect && want == 202:
					require.Equal(t, true, body["success"])
					require.Equal(t, "/v1/operations/1", body["data"].(map[string]any)["operation"])
				case d == accountv1.Dialect:
					require.Equal(t, false, body["success"])
					require.Equal(t, e.Message, body["data"])
					require.Equal(t, "2026-05-19T10:30:45", body["action_time"])
				case want == 202:
					require.Equal(t, "pending", body["status"])
				default:
					require.Equal(t, wireCode(d.Name, code), body["error"])
				}
			})
		}
	}
}

func TestFieldsSpeakTheDialect(t *testing.T) {
	t.Parallel()
	e := account.ErrInvalid.On("marketing_opt_in", "must be a boolean").On("marketing_opt_in", "second").On("email", "is required")
	_, snake := render(t, authv1.Dialect, e)
	require.Equal(t, map[string]any{"marketing_opt_in": "must be a boolean", "email": "is required"}, snake["fields"])
	_, camel := render(t, usersv1.Dialect, e)
	require.Equal(t, map[string]any{"marketingOptIn": "must be a boolean", "email": "is required"}, camel["fields"])
	response, enveloped := render(t, accountv1.Dialect, e)
	require.Equal(t, map[string]any{"marketingOptIn": "must be a boolean", "email": "is required"}, enveloped["data"])
	require.Equal(t, "UNPROCESSABLE_ENTITY", enveloped["httpStatus"])
	require.Equal(t, 422, response.StatusCode)
}

func TestRetryAfterIsRoundedUp(t *testing.T) {
	t.Parallel()
	for wait, want := range map[time.Duration]string{
		0: "1", time.Millisecond: "1", time.Second: "1", 1001 * time.Millisecond: "2", time.Minute: "60",
	} {
		response, _ := render(t, authv1.Dialect, account.ErrTooManyRequests.After(wait))
		require.Equal(t, want, response.Header.Get("Retry-After"), wait)
	}
	response, _ := render(t, authv1.Dialect, account.ErrIdempotencyKeyInUse)
	require.Equal(t, "1", response.Header.Get("Retry-After"))
	response, _ = render(t, authv1.Dialect, account.ErrNotFound)
	require.Empty(t, response.Header.Get("Retry-After"))
}
