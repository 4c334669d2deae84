package api_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
	"gatehouse/internal/config"
)

const created, later = "2026-05-19T10:30:45Z", "2026-05-19T11:30:45Z"

func TestMe(t *testing.T) {
	t.Parallel()
	got := newApp(t).send(t, "GET", "/api/v1/auth/me", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{
		"id":"550e8400-e29b-41d4-a716-446655440000","email":"user@example.com","full_name":"John Doe","is_active":true,
		"is_superuser":true,"is_verified":true,"created_at":"`+created+`","updated_at":"`+later+`",
		"image":"https://cdn.example.com/a.png","user_type":"individual","audio_usage":"creator",
		"onboarding_completed":true,"referral_source":"google_search","phone_number":"+1234567890","country_code":"US",
		"phone_verified":true,
		"credits":{"credits_balance":1500,"payg_balance":750,"total_available_credits":2250,
			"last_reset_at":"`+created+`","total_credits_used":3250,"total_payg_credits_purchased":750,
			"next_reset_date":"2026-06-19T10:30:45Z","credits_per_month":2000,
			"credit_multipliers":{"default":5.5,"speech_translation":55,"translation":27.5,"voice_cloning":5.5,
				"voice_conversion":16.5}},
		"subscription":{"plan_id":"price_1","plan_name":"Starter","is_free_plan":false,"status":"active",
			"current_period_start":"`+created+`","current_period_end":"2026-07-19T10:30:45Z",
			"cancel_at":"2026-08-19T10:30:45Z"},
		"is_eligible_for_first_time_discount":true,"first_time_discount_active":true,
		"name":"John Doe","avatar_url":"https://cdn.example.com/a.png","subscription_tier":"starter"}`, got.Body)
}

func TestMe_TellsNoKeyWhoIsAnAdministrator(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.principal.APIKey = &account.APIKey{AccountID: &accountID, Scopes: account.Scopes()}
	require.Equal(t, false, app.send(t, "GET", "/api/v1/auth/me", "", "X-API-Key", goodKey).json(t)["is_superuser"])
}

// bare is an account with nothing optional set, on the free plan.
func bare(app *testApp) {
	p := &app.core.principal
	p.Account = account.Account{ID: accountID, CreatedAt: moment, UpdatedAt: moment}
	p.Subscription = account.Entitlement{
		Plan: account.Plan{ID: "free", Code: "free", Name: "Free", Free: true}, Status: "active", PeriodStart: moment,
	}
}

func TestBareAccounts(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	bare(app)
	me := app.send(t, "GET", "/api/v1/auth/me", "", bearer, "Bearer "+goodToken).json(t)
	for _, field := range []string{"email", "full_name", "name", "image", "avatar_url", "user_type", "phone_number", "country_code"} {
		require.Contains(t, me, field)
		require.Nil(t, me[field], field)
	}
	subscription := me["subscription"].(map[string]any)
	require.Equal(t, true, subscription["is_free_plan"])
	require.Equal(t, "2026-06-19T10:30:45Z", subscription["current_period_end"])
	require.Nil(t, subscription["cancel_at"])
	details := app.send(t, "GET", "/v1/users/details", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"userId":"550e8400-e29b-41d4-a716-446655440000","username":"","email":null,"displayName":null,
		"avatar":null,"createdAt":"`+created+`","subscription":{"plan":"free","status":"active","expiresAt":null}}`, details.Body)
	signIn := app.send(t, "POST", "/v1/users/authenticate", `{"username":"a","password":"b"}`)
	require.Equal(t, []any{}, signIn.json(t)["roles"])
}

func TestDetails(t *testing.T) {
	t.Parallel()
	got := newApp(t).send(t, "GET", "/v1/users/details", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"userId":"550e8400-e29b-41d4-a716-446655440000","username":"user123","email":"user@example.com",
		"displayName":"John Doe","avatar":"https://cdn.example.com/a.png","createdAt":"`+created+`",
		"subscription":{"plan":"starter","status":"active","expiresAt":"2026-07-19T10:30:45Z"}}`, got.Body)
}

func TestSignIns(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	fields := `"id":"550e8400-e29b-41d4-a716-446655440000","email":"user@example.com","name":"John Doe",
		"email_verified":true,"is_admin":true,"session_token":"access"`
	require.JSONEq(t, `{`+fields+`}`, app.send(t, "POST", login, loginBody).Body)
	got := app.send(t, "POST", "/api/v1/auth/complete-signup", `{"email":"a","code":"1","anonymous_id":"x"}`)
	require.JSONEq(t, `{"status":"ok",`+fields+`}`, got.Body)
	got = app.send(t, "POST", "/v1/users/authenticate", `{"username":"User123","password":"b"}`)
	require.JSONEq(t, `{"userId":"550e8400-e29b-41d4-a716-446655440000","username":"user123","email":"user@example.com",
		"token":"access","accessToken":"access","refreshToken":"refresh","expires":"2026-05-19T10:40:45Z",
		"expiresAt":"2026-05-19T10:40:45Z","roles":["user","admin"],
		"subscription":{"plan":"starter","status":"active"}}`, got.Body)
	calls := app.core.called()
	require.Equal(t, core.CompleteSignupInput{Email: "a", Code: "1", AnonymousID: new("x")}, calls[1].in)
	require.Equal(t, core.LoginInput{Identifier: "User123", Usernames: true, IdentifierField: "username", Password: "b", WithRefresh: true}, calls[2].in)
}

func TestSignupsReachTheCoreWhole(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	whole := `{"email":"a@example.com","password":"b","name":"c","device_fingerprint":{"x":[1]},"attribution":{"utm":"d"}}`
	want := core.InitiateSignupInput{
		Email: "a@example.com", Password: "b", Name: new("c"), Fingerprint: []byte(`{"x":[1]}`),
		Attribution: map[string]string{"utm": "d"},
	}
	got := app.send(t, "POST", "/api/v1/auth/initiate-signup", whole)
	require.JSONEq(t, `{"message":"Verification code sent","email":"a@example.com","expires_in_minutes":10}`, got.Body)
	got = app.send(t, "POST", "/api/v1/auth/signup", whole)
	require.JSONEq(t, `{"status":"ok","message":"Verification code sent"}`, got.Body)
	got = app.send(t, "POST", "/v1/users/register", `{"username":"u","email":"e","password":"p","marketingOptIn":true}`)
	require.JSONEq(t, `{"userId":"550e8400-e29b-41d4-a716-446655440000","username":"u","email":"e","token":"access",
		"message":"Registration successful"}`, got.Body)
	calls := app.core.called()
	require.Equal(t, want, calls[0].in)
	require.Equal(t, want, calls[1].in)
	require.Equal(t, core.RegisterInput{Username: "u", Email: "e", Password: "p", MarketingOptIn: true}, calls[2].in)
}

// C29 without parameters is a documented request that does nothing (contract X26).
func TestSignupAliasWithoutParameters(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "{}", `{"name":"x"}`, `{"email":null}`} {
		app := newApp(t)
		got := app.send(t, "POST", "/api/v1/auth/signup", body)
		require.JSONEq(t, `{"status":"ok"}`, got.Body)
		require.Empty(t, app.core.called())
	}
	for body, field := range map[string]string{`{"email":"a@example.com"}`: "password", `{"password":"long enough"}`: "email"} {
		got := newApp(t).send(t, "POST", "/api/v1/auth/signup", body)
		require.Equal(t, "validation_error", requireFailure(t, "authv1", 422, got))
		require.Equal(t, map[string]any{field: "is required"}, got.json(t)["fields"])
	}
}

func TestCodes(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const verify, body = "/api/v1/auth/verify-code", `{"email":"a","code":"1"}`
	require.JSONEq(t, `{"success":true,"message":"Code verified","credits_awarded":100}`, app.send(t, "POST", verify, body).Body)
	require.JSONEq(t, `{"status":"ok"}`, app.send(t, "POST", "/api/v1/auth/send-verification-code", `{"email":"a"}`).Body)
	app.core.fails = account.ErrInvalidCode
	got := app.send(t, "POST", verify, body)
	require.Equal(t, 400, got.Status)
	require.JSONEq(t, `{"error":"invalid_code","message":"Invalid or expired code","success":false,"credits_awarded":0}`, got.Body)
}

func TestPhoneCodes(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	const send, verify = "/api/v1/auth/send-phone-verification", "/api/v1/auth/verify-phone"
	const number, proof = `{"phone_number":"+1234567890","country_code":"US"}`, `{"phone_number":"+1234567890","otp_code":"123456"}`
	post := func(path, body string) answer { return app.send(t, "POST", path, body, bearer, "Bearer "+goodToken) }
	require.JSONEq(t, `{"message":"Verification code sent successfully","expires_in_minutes":10}`, post(send, number).Body)
	require.JSONEq(t, `{"verified":true,"message":"Phone number verified successfully"}`, post(verify, proof).Body)
	require.Equal(t, core.SendPhoneCodeInput{PhoneNumber: "+1234567890", CountryCode: new("US")}, app.core.called()[0].in)
	require.Equal(t, core.VerifyPhoneInput{PhoneNumber: "+1234567890", Code: "123456"}, app.core.called()[1].in)
	for _, c := range []struct {
		path, body string
		fails      *account.Error
		status     int
		want       string
	}{
		{send, number, account.ErrInvalidPhone, 400, `{"error":"invalid_phone","message":"Invalid phone number format"}`},
		{send, number, account.ErrUnsupportedCountry, 400, `{"error":"invalid_phone","message":"Unsupported country code"}`},
		{send, number, account.ErrEmailNotVerified, 403, `{"error":"email_not_verified","message":"Verify your email address first."}`},
		{verify, proof, account.ErrInvalidOTP, 400, `{"error":"invalid_otp","message":"Invalid or expired verification code","verified":false}`},
		{verify, proof, account.ErrInvalidPhone, 400, `{"error":"invalid_phone","message":"Invalid phone number format"}`},
	} {
		app.core.fails = c.fails
		got := post(c.path, c.body)
		require.Equal(t, c.status, got.Status)
		require.JSONEq(t, c.want, got.Body)
	}
	app.core.fails = nil
	app.core.principal.Session, app.core.principal.APIKey = nil, &account.APIKey{Scopes: []account.Scope{account.ScopeRead, account.ScopeWrite}}
	require.Equal(t, 403, post(send, number).Status, "a number is a sign-in method")
	require.Equal(t, 403, post(verify, proof).Status)
}

func TestMessages(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "POST", "/v1/users/logout", "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"message":"Logged out"}`, got.Body)
	got = app.send(t, "PUT", "/v1/users/confirm-email", `{"token":"t"}`)
	require.JSONEq(t, `{"message":"Email confirmed"}`, got.Body)
	require.Equal(t, core.ConfirmEmailInput{Token: "t"}, app.core.called()[1].in)
}

func TestCanSetPassword(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func() string {
		return app.send(t, "GET", "/api/v1/account/password/can-set", "", bearer, "Bearer "+goodToken).Body
	}
	envelope := `{"success":true,"httpStatus":"OK","message":"%","action_time":"2026-05-19T10:30:45","data":`
	require.JSONEq(t, replace(envelope, "Password already set")+`{"canSetPassword":false,"authProvider":"GOOGLE"}}`, send())
	app.core.principal.Account.HasPassword = false
	require.JSONEq(t, replace(envelope, "You can set a password")+`{"canSetPassword":true,"authProvider":"GOOGLE"}}`, send())
}

func TestOperation(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	look := func(with ...string) string {
		return app.send(t, "GET", "/v1/operations/"+sessionID.String(), "", with...).Body
	}
	app.core.stage = account.StageAwaitingProof
	body := func(stage, outcome string) string {
		return `{"id":"6f1c0a52-9b0e-4f3e-8a54-0d6f4f0f2f0e","kind":"signup","stage":"` + stage + `","outcome":` + outcome + `,
			"attemptsLeft":5,"expiresAt":"` + created + `","nextActionAt":null,
			"deliveries":[{"channel":"email","state":"queued","attempts":2,"nextRetryAt":"` + created + `"}]}`
	}
	require.JSONEq(t, body("awaiting_proof", "null"), look())
	app.core.stage = account.StageCompleted
	require.JSONEq(t, body("completed", `"completed"`), look())
	app.core.stage = account.FlowStage(account.SubscriptionPastDue)
	require.JSONEq(t, body("past_due", "null"), look())
	app.core.stage = account.FlowStage(account.SubscriptionCanceled)
	require.JSONEq(t, body("canceled", `"canceled"`), look())
	require.Nil(t, app.core.called()[3].by.Principal)

	look(bearer, "Bearer "+goodToken)
	require.NotNil(t, app.core.called()[4].by.Principal, "the owner of what belongs to an account")
	require.Contains(t, look(bearer, "Bearer nonsense"), "canceled", "a credential that is not good counts as none")
	require.Nil(t, app.core.called()[5].by.Principal)
	app.core.principal.Session.State = account.SessionPending
	look(bearer, "Bearer "+goodToken)
	require.NotNil(t, app.core.called()[6].by.Principal, "a login may ask for its own code")
	got := app.send(t, "GET", "/v1/operations/a%20b", "")
	require.Equal(t, 200, got.Status)
	require.Equal(t, core.OperationInput{ID: "a b"}, app.core.called()[7].in)
}

func TestAnswersNameTheOperationThatTheyBegan(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	signup := func(with ...string) answer {
		return app.send(t, "POST", "/api/v1/auth/initiate-signup", `{"email":"a@example.com","password":"long-enough-1"}`, with...)
	}
	require.Empty(t, signup().Header.Get("Operation-Location"))
	app.core.begins = "op-1"
	require.Equal(t, "/v1/operations/op-1", signup().Header.Get("Operation-Location"))
	app.core.fails = account.ErrOutcomeUnknown
	got := signup()
	require.Equal(t, 503, got.Status)
	require.Equal(t, "/v1/operations/op-1", got.Header.Get("Operation-Location"), "also where the outcome is unknown")

	app.core.fails = nil
	require.Equal(t, "/v1/operations/op-1", signup("Idempotency-Key", "k").Header.Get("Operation-Location"))
	app.core.begins = "op-2"
	again := signup("Idempotency-Key", "k")
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	require.Equal(t, "/v1/operations/op-1", again.Header.Get("Operation-Location"), "as the first time")
}

func TestTimesAreUTC(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	app.core.principal.Account.CreatedAt = moment.In(time.FixedZone("elsewhere", 7200))
	require.Equal(t, created, app.send(t, "GET", "/v1/users/details", "", bearer, "Bearer "+goodToken).json(t)["createdAt"])
}

func TestDevInbox(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "GET", "/dev/inbox.json?to=User%2Bx@example.com&channel=email", "")
	require.JSONEq(t, `[{"id":"1","channel":"email","to":"User+x@example.com","subject":"Your code","text":"<123456>",
		"code":"123456","created_at":"`+created+`"}]`, got.Body)
	require.Equal(t, core.DevInboxInput{To: "User+x@example.com", Channel: "email"}, app.core.called()[0].in)
	for _, query := range []string{"to=a&to=b", "to=%00", "to=%ff"} {
		got := app.send(t, "GET", "/dev/inbox.json?"+query, "")
		require.Equal(t, "validation_error", requireFailure(t, "site", 422, got), query)
	}
	production := newApp(t, func(c *config.Config) {
		c.Mail.Host, c.SMS.TwilioAccountSID, c.Push.FCMCredentials = "smtp.example.com", "AC1", "/fcm.json"
	})
	for _, path := range []string{"/dev/inbox", "/dev/inbox.json"} {
		require.Equal(t, "not_found", requireFailure(t, "site", 404, production.send(t, "GET", path, "")))
	}
}
