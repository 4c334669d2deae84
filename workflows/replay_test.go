package workflows_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"gatehouse/activities"
	"gatehouse/workflows"
)

// The histories are what a real server kept of every ending of every flow. To record them anew after a deliberate change:
//
//	make record-histories
//
// A change that open executions of the old code will meet goes behind workflow.GetVersion instead, and keeps them. The
// recordings are encrypted with testdata/TEST-ONLY-codec-keyset.txt; their scenarios are in devstack/record.

// marker is part of the address in every recording, of every masked address and of every failure's text.
const marker = "clear-text.example"

// endings are the recordings there must be, each with its last FlowOutcome.
var endings = map[string]string{
	"signup-code-completed":       "completed",
	"signup-code-expired":         "expired",
	"signup-code-prolonged":       "expired",
	"signup-code-resent":          "completed",
	"signup-code-undelivered":     "completed",
	"signup-code-store-down":      "completed",
	"signup-code-update-lost":     "completed",
	"signup-code-canceled":        "canceled",
	"signup-register-completed":   "completed",
	"signup-register-purged":      "expired",
	"signup-register-refused":     "refused",
	"signup-taken":                "refused",
	"password-reset-completed":    "completed",
	"password-reset-resent":       "completed",
	"password-reset-update-lost":  "completed",
	"password-reset-expired":      "expired",
	"password-reset-refused":      "refused",
	"password-reset-canceled":     "canceled",
	"password-change-completed":   "completed",
	"password-change-signed-out":  "completed",
	"password-change-two-ways":    "completed",
	"password-change-resent":      "completed",
	"password-change-update-lost": "completed",
	"password-change-expired":     "expired",
	"password-change-refused":     "refused",
	"password-change-canceled":    "canceled",
	"device-completed":            "completed",
	"device-waits-its-turn":       "completed",
	"device-update-lost":          "completed",
	"device-expired":              "expired",
	"device-refused":              "refused",
	"device-canceled":             "canceled",
	"provider-link-completed":     "completed",
	"provider-link-told-late":     "completed",
	"provider-link-expired":       "expired",
	"provider-link-refused":       "refused",
	"email-change-completed":      "completed",
	"email-change-repeated":       "completed",
	"email-change-expired":        "expired",
	"email-change-replaced":       "completed",
	"email-change-canceled":       "canceled",
	"email-link-completed":        "completed",
	"email-link-expired":          "expired",
	"email-link-taken":            "expired",
	"email-link-gone":             "expired",
	"email-link-replaced":         "completed",
	"email-link-update-lost":      "completed",
	"email-link-canceled":         "canceled",
	"security-notice-completed":   "completed",
	"security-notice-unlinked":    "completed",
	"security-notice-pushed":      "completed",
	"security-notice-failed":      "failed",
	"message-retry-completed":     "completed",
	"message-retry-expired":       "expired",
	"message-retry-failed":        "failed",
	"message-retry-canceled":      "canceled",
	"phone-completed":             "completed",
	"phone-by-whatsapp":           "completed",
	"phone-resent":                "completed",
	"phone-expired":               "expired",
	"phone-update-lost":           "completed",
	"phone-canceled":              "canceled",
	"closure-completed":           "completed",
	"closure-receipt-late":        "completed",
	"closure-undone":              "undone",
	"closure-undo-refused":        "undone",
	"closure-update-lost":         "completed",
	"closure-refused":             "refused",
	"closure-canceled":            "canceled",
	"closure-of-a-payer":          "completed",

	"subscription-canceled":             "canceled",
	"subscription-canceled-with-period": "canceled",
	"subscription-periods":              continued,
	"subscription-second-period":        "canceled",
	"subscription-held-renewed":         continued,
	"subscription-held-next-period":     "canceled",
	"subscription-renewed":              continued,
	"subscription-next-period":          "canceled",
	"subscription-changed":              "canceled",
	"subscription-upgrade-declined":     "canceled",
	"subscription-resumed-by-time":      "canceled",
	"subscription-trial-closed":         "canceled",
	"subscription-expired":              "incomplete_expired",
	"subscription-given-up":             "canceled",
	"subscription-overtaken":            "canceled",
	"subscription-overtaken-before":     "incomplete_expired", // by the build before: it cannot be made again
	"subscription-doubted":              "canceled",
	"subscription-doubted-before":       "canceled", // by the build before: it cannot be made again
	"subscription-recovered":            continued,
	"subscription-charge-unknown":       "canceled",
	"subscription-refused":              "refused",
	"subscription-update-lost":          "canceled",
	"subscription-stopped":              "canceled",
	"webhook-completed":                 "completed",
	"webhook-replayed":                  "completed",
	"webhook-given-up":                  "failed",
	"webhook-held":                      "held",
	"webhook-removed":                   "refused",
	"webhook-canceled":                  "canceled",
	"reconciliation-completed":          "completed",
	"reconciliation-by-stages":          "completed",
	"reconciliation-incomplete":         "completed",
	"reconciliation-canceled":           "canceled",
}

// continued stands for the outcome of a run that goes on in another one.
const continued = "continued"

func recorded(t *testing.T, name string) (*history.History, []byte) {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("testdata", "histories", name+".json"))
	require.NoError(t, err, "record it with: make record-histories")
	h, err := client.HistoryFromJSON(bytes.NewReader(raw), client.HistoryJSONOptions{})
	require.NoError(t, err)
	return h, raw
}

func replayer(t *testing.T, register func(worker.Registry), also ...interceptor.WorkerInterceptor) func(*history.History) error {
	t.Helper()
	keys := testKeys(t)
	r, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: keys.DataConverter(), FailureConverter: keys.FailureConverter(), Interceptors: interceptors(also...),
	})
	require.NoError(t, err)
	register(registry{Registry: nil, replayer: r})
	return func(h *history.History) error {
		return r.ReplayWorkflowHistory(log.NewStructuredLogger(slog.New(slog.DiscardHandler)), h)
	}
}

// registry lets a replayer be handed to workflows.Register.
type registry struct {
	worker.Registry
	replayer worker.WorkflowReplayer
}

func (r registry) RegisterWorkflowWithOptions(w any, o workflow.RegisterOptions) {
	r.replayer.RegisterWorkflowWithOptions(w, o)
}

func TestReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("testdata", "histories", "*.json"))
	require.NoError(t, err)
	require.Len(t, files, len(endings), "every recording is named in endings")
	replay := replayer(t, workflows.Register)
	for name := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorded(t, name)
			require.NoError(t, replay(h))
		})
	}
}

// A replay that cannot fail proves nothing.
func TestReplay_FindsAChangedFlow(t *testing.T) {
	t.Parallel()
	h, _ := recorded(t, "signup-code-completed")
	changed := func(ctx workflow.Context, in workflows.SignupInput) error {
		if err := workflow.Sleep(ctx, time.Second); err != nil {
			return err
		}
		return workflows.Signup(ctx, in)
	}
	replay := replayer(t, func(r worker.Registry) {
		r.RegisterWorkflowWithOptions(changed, workflow.RegisterOptions{Name: workflows.SignupWorkflow})
	})
	require.ErrorContains(t, replay(h), "TMPRL1100", "the SDK's name for a flow that is not deterministic")
}

func TestHistory_CostOfACompletedSignup(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]struct{ events, bytes int }{
		"signup-code-completed":     {30, 7_500},
		"signup-register-completed": {30, 8_500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorded(t, name)
			size := 0
			for _, e := range h.GetEvents() {
				size += proto.Size(e)
			}
			t.Logf("%d events, %d bytes", len(h.GetEvents()), size)
			require.LessOrEqual(t, len(h.GetEvents()), most.events)
			require.LessOrEqual(t, size, most.bytes)
		})
	}
}

// What replays is one thing, what a server keeps another: in recordings from since there are summaries, every step and every
// timer has one.
func TestHistory_SummariesAreKept(t *testing.T) {
	t.Parallel()
	data := testKeys(t).DataConverter()
	for name, want := range map[string][]string{
		"signup-code-completed":    {"make the code of the sign-up", "send the code to m***@" + marker, "give up if unproven", "send the mail: welcome"},
		"email-change-repeated":    {"make the proof for the new address", "send the mail: email_changed", "forget the change of address"},
		"closure-receipt-late":     {"close the account, sign everything out", "erase unless undone", "erase the personal data"},
		"reconciliation-by-stages": {"compare our books with each other", "keep what was found, raise the alarms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorded(t, name)
			var kept []string
			for _, e := range h.GetEvents() {
				switch e.GetEventType() { // what a flow has done in the world, and its waits
				case enums.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enums.EVENT_TYPE_TIMER_STARTED:
				case enums.EVENT_TYPE_MARKER_RECORDED:
					if e.GetMarkerRecordedEventAttributes().GetMarkerName() != "LocalActivity" {
						continue
					}
				default:
					continue
				}
				var summary string
				require.NoError(t, data.FromPayload(e.GetUserMetadata().GetSummary(), &summary), "event %d", e.GetEventId())
				require.NotEmpty(t, summary, "event %d", e.GetEventId())
				kept = append(kept, summary)
			}
			require.Subset(t, kept, want)
		})
	}
}

func TestHistory_SearchAttributesAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, outcome := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, _ := recorded(t, name)
			last := map[string]string{}
			for _, e := range h.GetEvents() {
				fields := e.GetWorkflowExecutionStartedEventAttributes().GetSearchAttributes().GetIndexedFields()
				if e.GetEventType() == enums.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES {
					fields = e.GetUpsertWorkflowSearchAttributesEventAttributes().GetSearchAttributes().GetIndexedFields()
				}
				for key, p := range fields {
					last[key] = value(p)
				}
			}
			require.Equal(t, kindOf(name), last["FlowKind"])
			if outcome == continued {
				require.Empty(t, last["FlowOutcome"])
				require.NotEmpty(t, last["NextActionAt"])
				require.Equal(t, enums.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW, h.GetEvents()[len(h.GetEvents())-1].GetEventType())
				return
			}
			require.Equal(t, outcome, last["FlowStage"])
			require.Equal(t, outcome, last["FlowOutcome"])
			require.Empty(t, last["NextActionAt"], "a flow that has ended does nothing next")
			withAccount := outcome == "completed" && !strings.HasPrefix(name, "reconciliation-") || strings.Contains(name, "purged") || strings.Contains(name, "taken") ||
				strings.HasPrefix(name, "security-") || strings.HasPrefix(name, "password-") && name != "password-reset-refused" ||
				strings.HasPrefix(name, "phone-") || strings.HasPrefix(name, "closure-") || strings.HasPrefix(name, "email-") || strings.HasPrefix(name, "provider-") ||
				strings.HasPrefix(name, "device-") || strings.HasPrefix(name, "subscription-") || strings.HasPrefix(name, "message-") ||
				strings.HasPrefix(name, "webhook-")
			require.Equal(t, withAccount, last["AccountID"] != "")
		})
	}
}

// kindOf is the noun of a recording: the first word of its name.
func kindOf(name string) string {
	noun, _, _ := strings.Cut(name, "-")
	switch noun {
	case "security":
		return "notice"
	case "provider":
		return "provider_link"
	case "email":
		if strings.HasPrefix(name, "email-link") {
			return "email_link"
		}
		return "email_change"
	}
	return noun
}

func value(p *common.Payload) string {
	if string(p.GetMetadata()[converter.MetadataEncoding]) == converter.MetadataEncodingNil {
		return ""
	}
	return strings.Trim(string(p.GetData()), `"`)
}

func TestHistory_NothingInTheClear(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	for name := range endings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, raw := recorded(t, name)
			// In the file bytes are in base64, so the file alone proves little. Lines that are the same for everybody are in the clear
			// (workflows.Summaries); whom it is about, and what was sent, is not.
			binary, err := proto.Marshal(h)
			require.NoError(t, err)
			for _, clear := range []string{
				marker, "signup_code", "confirm_email", "signup_exists", "welcome", "Sign-up of",
				"password_changed", "phone_code", "phone_verified", "Verification of", "Notice to", "password_reset", "Password reset for",
				"provider_linked", "Link an",
				"account_closed", "account_erased", "Closure of",
				"change_email", "email_changed", "Change of email", "link_email", "email_unlinked", "Link of the",
				"device_code", "device_added", "Login of",
				"subscription_paid", "subscription_ended", "Subscription sub_", "Once more",
				"Webhook account", "until attempt", "taken: 2", "answered 503", "try again now",
			} {
				require.NotContains(t, string(raw), clear)
				require.NotContains(t, string(binary), clear)
			}
			seen := marker
			switch { // no address is in these at all
			case strings.HasPrefix(name, "provider-"):
				seen = "Link an account"
			case strings.HasPrefix(name, "subscription-"):
				seen = "sub_1"
			case strings.HasPrefix(name, "reconciliation-"):
				seen = "Compare billing"
			case strings.HasPrefix(name, "message-"):
				seen = "Once more"
			case strings.HasPrefix(name, "webhook-"):
				seen = "Webhook account.created to "
			}
			require.Contains(t, decrypted(t, h, keys.DataConverter()), seen, "the recording holds what must not be seen")
		})
	}
}

// decrypted is everything in a history that the test keys open, as one text.
func decrypted(t *testing.T, h *history.History, data converter.DataConverter) string {
	t.Helper()
	var b strings.Builder
	for _, p := range payloads(h.ProtoReflect()) {
		b.WriteString(data.ToString(p))
	}
	return b.String()
}

func TestHistory_DeliveriesAreBoundByTimeAlone(t *testing.T) {
	t.Parallel()
	h, _ := recorded(t, "signup-code-completed")
	limits := map[string]time.Duration{"SendCode": time.Hour, "SendMail": 24 * time.Hour}
	for _, e := range h.GetEvents() {
		scheduled := e.GetActivityTaskScheduledEventAttributes()
		limit, ours := limits[scheduled.GetActivityType().GetName()]
		if !ours {
			continue
		}
		delete(limits, scheduled.GetActivityType().GetName())
		require.InDelta(t, limit, scheduled.GetScheduleToCloseTimeout().AsDuration(), float64(time.Second))
		require.Zero(t, scheduled.GetRetryPolicy().GetMaximumAttempts(), "the test environment stops after ten")
		require.Equal(t, "account-notify", scheduled.GetTaskQueue().GetName())
	}
	require.Empty(t, limits, "both were sent")
}

// Every step that a recording ran is one that the worker registers: the methods of activities.Activities.
func TestHistory_StepsExist(t *testing.T) {
	t.Parallel()
	known := methods((*activities.Activities)(nil))
	var ran []string
	for name := range endings {
		h, _ := recorded(t, name)
		for _, e := range h.GetEvents() {
			if step := e.GetActivityTaskScheduledEventAttributes().GetActivityType().GetName(); step != "" {
				ran = append(ran, step)
			}
		}
	}
	slices.Sort(ran)
	require.Subset(t, known, slices.Compact(ran))
	require.Contains(t, ran, "PurgeUnverified", fmt.Sprint(ran))
}
