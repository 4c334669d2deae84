package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	pathMe       = "/api/v1/auth/me"
	pathProfile  = "/api/v1/auth/profile"
	pathOnboards = "/api/v1/auth/onboarding-event"
)

func TestProfile(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "GET", pathProfile, "", "X-API-Key", goodKey)
	require.JSONEq(t, `{"id":"550e8400-e29b-41d4-a716-446655440000","email":"user@example.com","name":"John Doe",
		"avatar_url":"https://cdn.example.com/a.png","created_at":"`+created+`","subscription_tier":"starter"}`, got.Body)
	bare(app)
	got = app.send(t, "GET", pathProfile, "", bearer, "Bearer "+goodToken)
	require.JSONEq(t, `{"id":"550e8400-e29b-41d4-a716-446655440000","email":null,"name":null,"avatar_url":null,
		"created_at":"`+created+`","subscription_tier":"free"}`, got.Body)
}

func TestChangesOfAProfileReachTheCoreWhole(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	whole := app.send(t, "PATCH", pathMe, `{"full_name":"John Smith","user_type":"company","audio_usage":"business",
		"referral_source":"word_of_mouth","phone_number":"+1987654321","country_code":"US"}`, bearer, "Bearer "+goodToken)
	require.Equal(t, app.send(t, "GET", pathMe, "", bearer, "Bearer "+goodToken).Body, whole.Body, "A02 answers as A01")
	app.send(t, "PATCH", pathMe, `{"full_name":"","phone_number":null}`, bearer, "Bearer "+goodToken)
	calls := app.core.called()
	require.Equal(t, core.ChangeProfileInput{
		FullName: new("John Smith"), UserType: new("company"), AudioUsage: new("business"), ReferralSource: new("word_of_mouth"),
		PhoneNumber: new("+1987654321"), CountryCode: new("US"),
	}, calls[0].in)
	require.Equal(t, core.ChangeProfileInput{FullName: new("")}, calls[2].in, "null means absent")
}

// Nothing but the six fields of the document, by their exact names, reaches the operation.
func TestAUT01_MassAssignment(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"is_superuser":true,"is_verified":true,"is_active":false,"phone_verified":true,"id":"x","email":"a@example.com",
			"credits":{"credits_balance":1000000},"subscription":{"plan_id":"premium_monthly"},"onboarding_completed":true,
			"roles":["admin"],"created_at":"2020-01-01T00:00:00Z","image":"x","avatar_url":"x","username":"x","password":"x"}`,
		`{"IS_SUPERUSER":true,"Full_Name":"x","PHONE_NUMBER":"+1987654321","fullName":"x","profile":{"full_name":"x"}}`,
	} {
		app := newApp(t)
		got := app.send(t, "PATCH", pathMe, body, bearer, "Bearer "+goodToken)
		require.Equal(t, 200, got.Status)
		require.Equal(t, core.ChangeProfileInput{}, app.core.called()[0].in)
	}
	for _, twice := range []string{`{"full_name":"a","full_name":"b"}`, `{"full_name":"a","full\u005fname":"b"}`} {
		got := newApp(t).send(t, "PATCH", pathMe, twice, bearer, "Bearer "+goodToken)
		require.Equal(t, "malformed_request", requireFailure(t, "authv1", 400, got))
	}
}

func TestSentencesOfPhoneNumbers(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for _, sentence := range []string{"Invalid phone number format", "Unsupported country code"} {
		app.core.fails = account.ErrInvalidPhone.Saying(sentence)
		got := app.send(t, "PATCH", pathMe, `{"phone_number":"1"}`, bearer, "Bearer "+goodToken)
		require.Equal(t, "invalid_phone", requireFailure(t, "authv1", 400, got))
		require.Equal(t, sentence, got.json(t)["message"])
	}
}

// Document A's sentences, whether decoding finds the fault or the operation.
func TestSentencesOfFieldsAtFault(t *testing.T) {
	t.Parallel()
	at := account.ErrInvalid.On
	const userType, fields, rules = "Invalid user type", "Invalid field values", "Password doesn’t meet requirements"
	for _, c := range []struct {
		method, path, body string
		fails              error
		want               string
	}{
		{"PATCH", pathMe, `{"user_type":5}`, nil, userType},
		{"PATCH", pathMe, `{"user_type":5,"full_name":"a"}`, nil, userType},
		{"PATCH", pathMe, `{"user_type":5,"full_name":5}`, nil, fields},
		{"PATCH", pathMe, `{"audio_usage":{}}`, nil, fields},
		{"PATCH", pathMe, `{"user_type":"x"}`, at("user_type", "is odd"), userType},
		{"PATCH", pathMe, `{}`, at("full_name", "is odd"), fields},
		{"PATCH", pathMe, `{}`, at("user_type", "is odd").On("full_name", "is odd"), fields},
		{"POST", "/api/v1/auth/account-providers", `{"provider":5}`, nil, fields},
		{"POST", "/api/v1/auth/account-providers", `{}`, at("provider", "is required"), fields},
		{"POST", "/api/v1/auth/change-password", `{"new_password":5}`, nil, rules},
		{"POST", "/api/v1/auth/change-password", `{"current_password":5}`, nil, "Validation failed"},
		{"POST", "/api/v1/auth/change-password", `{"current_password":"a","new_password":"b"}`, account.ErrPasswordRules.On("new_password", "is short"), rules},
		{"PATCH", pathProfile, `{"name":5}`, nil, "Validation failed"}, // document C
	} {
		app := newApp(t)
		app.core.fails = c.fails
		got := app.send(t, c.method, c.path, c.body, bearer, "Bearer "+goodToken)
		require.Equal(t, "validation_error", requireFailure(t, "authv1", 422, got))
		require.Equal(t, c.want, got.json(t)["message"], c.body)
	}
}

func TestC20ReachesTheCoreWhole(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for body, want := range map[string]core.UpdateProfileInput{
		``: {}, `{}`: {}, `{"name":null,"email":null}`: {}, `{"name":""}`: {Name: new("")},
		`{"name":"John Smith","email":"new@example.com","id":"x","avatar_url":"x"}`: {Name: new("John Smith"), Email: new("new@example.com")},
	} {
		got := app.send(t, "PATCH", pathProfile, body, bearer, "Bearer "+goodToken)
		require.Equal(t, app.send(t, "GET", pathProfile, "", bearer, "Bearer "+goodToken).Body, got.Body, "C20 answers as C19")
		calls := app.core.called()
		require.Equal(t, want, calls[len(calls)-2].in)
	}
}

func TestOnboardingEvents(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for _, body := range []string{`{"event":"completed"}`, `{"event":"skipped","at_step":3}`} {
		require.JSONEq(t, `{"status":"ok"}`, app.send(t, "POST", pathOnboards, body, bearer, "Bearer "+goodToken).Body)
	}
	calls := app.core.called()
	require.Equal(t, core.RecordOnboardingInput{Event: "completed"}, calls[0].in)
	require.Equal(t, core.RecordOnboardingInput{Event: "skipped", AtStep: new(int64(3))}, calls[1].in)
}

func TestWelcome(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func(method, path string) string {
		return app.send(t, method, "/api/v1/auth/"+path, "", bearer, "Bearer "+goodToken).Body
	}
	require.JSONEq(t, `{"reduced":true,"full_bonus":100,"received":50,"remaining":50,
		"sibling_accounts":["account-1","account-2"],"can_unlock":true}`, send("GET", "welcome-status"))
	require.JSONEq(t, `{"status":"ok"}`, send("POST", "welcome-shown"))
	require.JSONEq(t, `{"status":"ok","credits_awarded":50,"received":100}`, send("POST", "unlock-welcome-bonus"))
}
