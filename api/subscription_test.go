package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

func TestSubscriptions(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func(method, path, body string) string {
		t.Helper()
		got := app.send(t, method, path, body, bearer, "Bearer "+goodToken)
		require.Equal(t, 200, got.Status, got.Body)
		return got.Body
	}
	one := `{"id":"sub_1","plan":"premium","status":"active","currentPeriodStart":"2026-05-19",
		"currentPeriodEnd":"2026-06-19","cancelAtPeriodEnd":true}`
	const path = "/v1/users/subscriptions"
	require.JSONEq(t, `{"subscriptions":[`+one+`]}`, send("GET", path, ""))
	require.JSONEq(t, one, send("POST", path, `{"planId":"p","paymentMethodId":"pm"}`))
	require.JSONEq(t, one, send("PUT", path+"/sub_1", `{"planId":"p","paymentMethodId":"pm","prorationTime":"x"}`))
	require.JSONEq(t, one, send("PUT", path+"/sub_1/cancel", ``))
	require.JSONEq(t, one, send("PUT", path+"/sub_1/cancel", `{"immediately":true}`))
	require.JSONEq(t, one, send("PUT", path+"/sub_1/undo-cancel", ``))
	require.JSONEq(t, one, send("PUT", path+"/sub_1/pause", `{"resumesAt":"2026-07-01T00:00:00Z"}`))
	require.JSONEq(t, one, send("PUT", path+"/sub_1/unpause", ``))
	calls := app.core.called()
	for i, want := range map[int]any{
		1: core.SubscribeInput{PlanID: "p", MethodID: "pm"},
		2: core.ChangeSubscriptionInput{ID: "sub_1", PlanID: new("p"), MethodID: new("pm"), ProrationTime: new("x")},
		3: core.CancelSubscriptionInput{ID: "sub_1"},
		4: core.CancelSubscriptionInput{ID: "sub_1", Immediately: true},
		5: core.SubscriptionInput{ID: "sub_1"},
		6: core.PauseSubscriptionInput{ID: "sub_1", ResumesAt: new("2026-07-01T00:00:00Z")},
	} {
		require.Equal(t, want, calls[i].in, i)
	}
}

func TestPlansInvoicesAndPreviews(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	require.JSONEq(t, `{"plans":[{"id":"premium_monthly","plan":"premium","name":"Premium","amount":2900,"currency":"usd",
		"interval":"month","intervalCount":1,"trialDays":14,"creditsPerMonth":10000,"features":["fast"]}]}`,
		app.send(t, "GET", "/v1/plans", "").Body)
	require.JSONEq(t, `{"invoices":[{"id":"in_1","reason":"subscription_cycle","plan":"premium","amount":2900,"currency":"usd",
		"status":"paid","periodStart":"2026-05-19T10:30:45Z","periodEnd":"2026-06-19T10:30:45Z","createdAt":"2026-05-19T10:30:45Z",
		"paidAt":"2026-05-19T10:30:46Z"}]}`,
		app.send(t, "GET", "/v1/users/subscriptions/sub_1/invoices", "", bearer, "Bearer "+goodToken).Body)
	require.JSONEq(t, `{"immediate":true,"amount":1000,"currency":"usd","prorationTime":"2026-05-19T11:30:45Z",
		"periodStart":"2026-05-19T10:30:45Z","periodEnd":"2026-06-19T10:30:45Z"}`,
		app.send(t, "GET", "/v1/users/subscriptions/sub_1/preview?planId=p", "", bearer, "Bearer "+goodToken).Body)
}

func TestDocumentedSentencesOfSubscriptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method, path, body string
		fails              *account.Error
		status             int
		want               string
	}{
		"B19 declined": {
			"POST", "", `{"planId":"p","paymentMethodId":"pm"}`, account.ErrPaymentDeclined, 400,
			`{"error":"payment_declined","message":"The payment method was declined"}`,
		},
		"B19 unknown plan": {"POST", "", `{"planId":"p","paymentMethodId":"pm"}`, account.ErrUnknownPlan, 400, `{"error":"unknown_plan","message":"Unknown plan"}`},
		"B19 twice":        {"POST", "", `{"planId":"p","paymentMethodId":"pm"}`, account.ErrAlreadySubscribed, 409, `{"error":"already_subscribed","message":"An active subscription already exists"}`},
		"B20 unknown":      {"PUT", "/sub_1", `{"planId":"p"}`, account.ErrNotFound, 404, `{"error":"not_found","message":"Subscription not found"}`},
		"B20 method":       {"PUT", "/sub_1", `{"paymentMethodId":"pm"}`, account.ErrNotFound.Saying("Payment method not found"), 404, `{"error":"not_found","message":"Payment method not found"}`},
		"B22 state":        {"PUT", "/sub_1/pause", ``, account.ErrSubscriptionState.Saying("Subscription is not active"), 409, `{"error":"invalid_state","message":"Subscription is not active"}`},
		"B23 state":        {"PUT", "/sub_1/unpause", ``, account.ErrSubscriptionState.Saying("Subscription is not paused"), 409, `{"error":"invalid_state","message":"Subscription is not paused"}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			app.core.fails = c.fails
			got := app.send(t, c.method, "/v1/users/subscriptions"+c.path, c.body, bearer, "Bearer "+goodToken)
			require.Equal(t, c.status, got.Status)
			require.JSONEq(t, c.want, got.Body)
		})
	}
}
