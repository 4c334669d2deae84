package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	accountBase = "/api/v1/account"
	newPass     = `"newPassword":"b","confirmPassword":"c"`
)

// accountRow is a request of document D and what it must become.
type accountRow struct {
	method, path, body string
	headers            []string
	in                 any
	message, data      string
}

func accountRows() map[string]accountRow {
	pair := core.NewPassword{New: "b", Confirm: "c"}
	proof := core.OwnerProof{Password: "p", OTP: "o"}
	id := sessionID.String()
	mark := []string{"X-Session-Id", id}
	changed := `{"success":true,"hadPassword":true,"message":"Password changed successfully"}`
	return map[string]accountRow{
		"D05": {
			"POST", "/password/change", `{"currentPassword":"a","otp":"o",` + newPass + `}`, nil,
			core.ReplacePasswordInput{Current: "a", OTP: "o", NewPassword: pair},
			"Password changed", changed,
		},
		"D06": {
			"POST", "/password/change-with-otp/send-otp", `{"channel":"SMS"}`, nil,
			core.SendPasswordCodeInput{Channel: "SMS"},
			"OTP sent", `{"tempToken":"t","maskedValue":"+254***7890","expiresIn":600}`,
		},
		"D07": {
			"POST", "/password/change-with-otp/verify", `{"tempToken":"t","otp":"o",` + newPass + `}`, nil,
			core.ChangePasswordByCodeInput{TempToken: "t", OTP: "o", NewPassword: pair},
			"Password changed successfully", changed,
		},
		"D09": {
			"POST", "/password/set", `{` + newPass + `}`, nil, pair, "Password set successfully",
			`{"success":true,"hadPassword":false,"message":"Password set successfully"}`,
		},
		"reauthenticate": {
			"POST", "/reauthenticate", `{"password":"p","otp":"o"}`, nil, proof, "Reauthenticated successfully", `null`,
		},
		"D16": {"POST", "/sessions/sign-out", ``, mark, core.SignOutInput{SessionID: &id}, "Signed out successfully", `null`},
		"D17": {
			"POST", "/sessions/sign-out-others", `{"password":"p","otp":"o"}`, mark,
			core.SignOutOthersInput{SessionID: &id, OwnerProof: proof},
			"Signed out of other devices", `null`,
		},
		"D18": {"POST", "/sessions/sign-out-all", `{"password":"p","otp":"o"}`, nil, proof, "Signed out of all devices", `null`},
		"D19": {"DELETE", "/sessions/" + id, ``, nil, core.SessionInput{ID: id}, "Session revoked", `null`},
	}
}

func TestAccountRequestsReachTheCoreWhole(t *testing.T) {
	t.Parallel()
	for name, row := range accountRows() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			got := app.send(t, row.method, accountBase+row.path, row.body, append(row.headers, bearer, "Bearer "+goodToken)...)
			require.Equal(t, 200, got.Status, got.Body)
			require.Equal(t, row.in, app.core.called()[0].in)
			require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"`+row.message+`","action_time":"2026-05-19T10:30:45","data":`+row.data+`}`, got.Body)
		})
	}
}

// D15: the mark is the header's, whatever the token says.
func TestAccountSessions(t *testing.T) {
	t.Parallel()
	one := `{"id":"` + sessionID.String() + `","deviceId":"device_abc123","deviceName":"iPhone 15","platform":"IOS",
		"ipAddress":"197.248.1.1","location":"Nairobi, KE","lastActiveAt":"2026-05-19T11:30:45","createdAt":"2026-05-19T10:30:45",
		"currentSession":`
	bare := `{"id":"` + accountID.String() + `","deviceId":null,"deviceName":"Chrome 120.0 on macOS","platform":null,"ipAddress":null,
		"location":null,"lastActiveAt":"2026-05-19T10:30:45","createdAt":"2026-05-19T10:30:45","currentSession":false}`
	for mark, want := range map[string]string{
		"":                 `[` + one + `false},` + bare + `],"totalCount":2,"currentSession":null`,
		sessionID.String(): `[` + one + `true},` + bare + `],"totalCount":2,"currentSession":` + one + `true}`,
	} {
		got := newApp(t).send(t, "GET", accountBase+"/sessions", "", bearer, "Bearer "+goodToken, "X-Session-Id", mark)
		require.Equal(t, 200, got.Status, got.Body)
		require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"Sessions retrieved","action_time":"2026-05-19T10:30:45",
			"data":{"sessions":`+want+`}}`, got.Body)
	}
}

// Every failure that document D prints, in its words.
func TestAccountFailuresInTheWordsOfTheDocument(t *testing.T) {
	t.Parallel()
	for sentence, one := range map[string]struct {
		fails  *account.Error
		status int
		rows   []string
	}{
		"Password is incorrect":           {account.ErrInvalidPassword, 403, []string{"D05", "D17", "D18", "reauthenticate"}},
		"OTP is incorrect":                {account.ErrInvalidOTP, 403, []string{"D05", "D07", "D17", "D18", "reauthenticate"}},
		"Passwords do not match":          {account.ErrPasswordMismatch, 400, []string{"D05", "D07", "D09"}},
		"Invalid or expired token":        {account.ErrInvalidToken, 400, []string{"D07"}},
		"No verified phone number":        {account.ErrNoVerifiedPhone, 400, []string{"D06"}},
		"No verified email":               {account.ErrNoVerifiedEmail, 400, []string{"D06"}},
		"Password already set":            {account.ErrPasswordExists, 400, []string{"D09"}},
		"X-Session-Id header is required": {account.ErrSessionIDRequired, 400, []string{"D16", "D17"}},
		"Session not found":               {account.ErrNotFound, 404, []string{"D16", "D17", "D19"}},
	} {
		for _, name := range one.rows {
			app, row := newApp(t), accountRows()[name]
			app.core.fails = one.fails
			got := app.send(t, row.method, accountBase+row.path, row.body, append(row.headers, bearer, "Bearer "+goodToken)...)
			requireFailure(t, "accountv1", one.status, got)
			require.Equal(t, sentence, got.json(t)["message"], name)
			require.Equal(t, sentence, got.json(t)["data"], name)
		}
	}
}

// Whatever goes wrong under the base is told in the envelope.
func TestAccountFrame(t *testing.T) {
	t.Parallel()
	signedIn := []string{bearer, "Bearer " + goodToken}
	send := accountBase + "/password/change-with-otp/send-otp"
	for name, one := range map[string]struct {
		method, path, body string
		headers            []string
		fails, limit, auth error
		status             int
		want               string
	}{
		"unknown path":      {"GET", accountBase + "/nothing", "", nil, nil, nil, nil, 404, "NOT_FOUND"},
		"the base":          {"GET", accountBase, "", nil, nil, nil, nil, 404, "NOT_FOUND"},
		"wrong method":      {"PUT", send, "{}", nil, nil, nil, nil, 405, "METHOD_NOT_ALLOWED"},
		"no credential":     {"POST", send, "{}", nil, nil, nil, nil, 401, "UNAUTHORIZED"},
		"an API key":        {"POST", send, "{}", []string{"X-API-Key", goodKey}, nil, nil, account.ErrUnauthorized, 401, "UNAUTHORIZED"},
		"no JSON":           {"POST", send, "a=b", append([]string{"Content-Type", "text/plain"}, signedIn...), nil, nil, nil, 415, "UNSUPPORTED_MEDIA_TYPE"},
		"not to be read":    {"POST", send, "{", signedIn, nil, nil, nil, 400, "BAD_REQUEST"},
		"too many":          {"POST", send, `{"channel":"SMS"}`, signedIn, nil, account.ErrTooManyRequests, nil, 429, "TOO_MANY_REQUESTS"},
		"too many codes":    {"POST", send, `{"channel":"SMS"}`, signedIn, account.ErrTooManyRequests, nil, nil, 429, "TOO_MANY_REQUESTS"},
		"a fault of ours":   {"POST", send, `{"channel":"SMS"}`, signedIn, account.ErrInternal, nil, nil, 500, "INTERNAL_SERVER_ERROR"},
		"nobody can answer": {"POST", send, `{"channel":"SMS"}`, signedIn, account.ErrUnavailable, nil, nil, 503, "SERVICE_UNAVAILABLE"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.core.fails, app.core.limitFails, app.core.authFails = one.fails, one.limit, one.auth
			got := app.send(t, one.method, one.path, one.body, one.headers...)
			requireFailure(t, "accountv1", one.status, got)
			require.Equal(t, one.want, got.json(t)["httpStatus"])
			require.Equal(t, got.json(t)["message"], got.json(t)["data"])
			require.Equal(t, one.status == 429 || one.status == 503, got.Header.Get("Retry-After") != "")
		})
	}
	got := newApp(t).send(t, "POST", send, `{"channel":1}`, signedIn...)
	requireFailure(t, "accountv1", 422, got)
	require.Equal(t, map[string]any{"channel": "must be a string"}, got.json(t)["data"])
	require.Equal(t, "Validation failed", got.json(t)["message"])
}
