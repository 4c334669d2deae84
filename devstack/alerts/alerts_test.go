package alerts

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/stretchr/testify/require"
)

const (
	rulesFile     = "../../deploy/prometheus/gatehouse.rules.yaml"
	dashboardFile = "../../deploy/grafana/gatehouse.json"
)

// health is every metric that a rule asks for, on a good day: each series has a sample every 15 seconds for two hours.
var health = map[string]string{
	"gatehouse_hash_slots":                                        "2x480",
	`temporal_num_pollers{task_queue="account-flows"}`:            "2x480",
	`temporal_num_pollers{task_queue="account-notify"}`:           "1x480",
	"gatehouse_sample_timestamp_seconds":                          "0+15x480",
	`gatehouse_sweep_last_success_timestamp_seconds{sweep="a"}`:   "0+15x480",
	`gatehouse_http_request_duration_seconds_count{status="200"}`: "0+150x480",
	`gatehouse_http_request_duration_seconds_count{status="500"}`: "0+1x480",
	`gatehouse_http_request_duration_seconds_bucket{le="0.1"}`:    "0+149x480",
	`gatehouse_http_request_duration_seconds_bucket{le="5"}`:      "0+150x480",
	`gatehouse_http_request_duration_seconds_bucket{le="+Inf"}`:   "0+150x480",
	`gatehouse_db_pool_wait_seconds_total{instance="a"}`:          "0+1x480",
	`gatehouse_db_pool_canceled_waits_total{instance="a"}`:        "1x480",
	`gatehouse_alerts_total{alert="webhook_disabled"}`:            "1x480",
	"gatehouse_hash_refusals_total":                               "5x480",
	`gatehouse_alerts_total{alert="code_guessing"}`:               "3x480",
	`gatehouse_rate_limited_total{limit="login"}`:                 "0+10x480",
	"gatehouse_flows_with_problems":                               "0x480",
	`gatehouse_flows_late{kind="signup"}`:                         "0x480",
	`gatehouse_backlog_oldest_seconds{of="erasures"}`:             "60x480",
	`gatehouse_backlog_oldest_seconds{of="notices"}`:              "5x480",
	`gatehouse_backlog_oldest_seconds{of="deliveries"}`:           "5x480",
	`gatehouse_backlog_oldest_seconds{of="renewals"}`:             "30x480",
	`gatehouse_backlog_oldest_seconds{of="charges"}`:              "30x480",
	`gatehouse_backlog_oldest_seconds{of="expired"}`:              "65x480",
	"gatehouse_codec_failures_total":                              "2x480",

	`temporal_workflow_task_execution_failed_total{failure_reason="NonDeterminismError"}`: "4x480",
	`temporal_workflow_task_execution_failed_total{failure_reason="GrpcMessageTooLarge"}`: "1x480",
	`temporal_request_failure_total{operation="o",status_code="RESOURCE_EXHAUSTED"}`:      "7x480",
	`temporal_request_failure_total{operation="o",status_code="FAILED_PRECONDITION"}`:     "7x480",

	`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="0.1"}`:  "0+10x480",
	`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="60"}`:   "0+10x480",
	`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="+Inf"}`: "0+10x480",
	`temporal_worker_task_slots_available{task_queue="account-flows",worker_type="w",instance="a"}`:         "0x480",
	`temporal_worker_task_slots_available{task_queue="account-flows",worker_type="w",instance="b"}`:         "9x480",
	"temporal_sticky_cache_hit_total":                                   "0+100x480",
	"temporal_sticky_cache_miss_total":                                  "0+20x480",
	`temporal_request_latency_seconds_bucket{le="0.1"}`:                 "0+100x480",
	`temporal_request_latency_seconds_bucket{le="10"}`:                  "0+100x480",
	`temporal_request_latency_seconds_bucket{le="+Inf"}`:                "0+100x480",
	`gatehouse_charge_attempts_total{result="succeeded"}`:               "0+10x480",
	`gatehouse_charge_attempts_total{result="unknown"}`:                 "0+1x480",
	`gatehouse_billing_findings_total{repaired="false",kind="overdue"}`: "2x480",
	`gatehouse_message_attempts_total{channel="email",result="sent"}`:   "0+20x480",
	`gatehouse_message_attempts_total{channel="email",result="failed"}`: "0+2x480",
	`gatehouse_message_attempts_total{channel="email",result="dead"}`:   "0+1x480",
}

// gone takes a series away.
const gone = ""

// faults are, for each alert, what is different from a good day when it must fire. The fault begins after an hour.
var faults = map[string]map[string]string{
	"GatehouseNoAPI": {"gatehouse_hash_slots": "2x240 stale"},
	"GatehouseNoWorker": {
		`temporal_num_pollers{task_queue="account-flows"}`: "2x240 stale", `temporal_num_pollers{task_queue="account-notify"}`: "1x240 stale",
	},
	"GatehouseQueueUnattended": {`temporal_num_pollers{task_queue="account-notify"}`: "1x240 0x240"},
	"GatehouseNobodyLooks":     {"gatehouse_sample_timestamp_seconds": "0+15x240 stale"},
	"GatehouseSweepStopped":    {`gatehouse_sweep_last_success_timestamp_seconds{sweep="a"}`: "0+15x240 3600x240"},
	"GatehouseExpiredPilesUp":  {`gatehouse_backlog_oldest_seconds{of="expired"}`: "60x240 3700+15x240"},
	"GatehouseErrors":          {`gatehouse_http_request_duration_seconds_count{status="500"}`: "0+1x240 245+5x240"},
	"GatehouseSlow": {
		`gatehouse_http_request_duration_seconds_bucket{le="0.1"}`: "0+149x240 35800+145x240",
	},
	"GatehouseDatabasePoolFull": {`gatehouse_db_pool_wait_seconds_total{instance="a"}`: "0+1x240 270+30x240"},
	"GatehouseLoginsRefused":    {"gatehouse_hash_refusals_total": "5x240 8+3x240"},
	"GatehouseCodeGuessing":     {`gatehouse_alerts_total{alert="code_guessing"}`: "3x400 4x80"},
	"GatehouseRateLimited":      {`gatehouse_rate_limited_total{limit="login"}`: "0+10x240 2500+100x240"},
	"GatehouseNonDeterminism": {
		`temporal_workflow_task_execution_failed_total{failure_reason="NonDeterminismError"}`:                gone,
		`temporal_workflow_task_execution_failed_total{failure_reason="NonDeterminismError",instance="new"}`: "_x460 1x20",
	},
	"GatehouseFlowsStuck":   {"gatehouse_flows_with_problems": "0x240 1x240"},
	"GatehouseFlowsLate":    {`gatehouse_flows_late{kind="signup"}`: "0x240 2x240"},
	"GatehouseErasuresLate": {`gatehouse_backlog_oldest_seconds{of="erasures"}`: "0x240 7300x240"},
	"GatehouseTasksWait": {
		`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="0.1"}`: "0+10x240 2405+5x240",
		`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="1"}`:   "0+10x480",
	},
	"GatehouseTasksWaitLong": {
		`temporal_workflow_task_schedule_to_start_latency_seconds_bucket{task_queue="account-flows",le="0.1"}`: "0+10x240 2405+5x240",
	},
	"GatehouseNoSlots":      {`temporal_worker_task_slots_available{task_queue="account-flows",worker_type="w",instance="b"}`: "9x240 0x240"},
	"GatehouseStickyMisses": {"temporal_sticky_cache_miss_total": "0+20x240 4860+60x240"},
	"GatehouseTemporalSlow": {`temporal_request_latency_seconds_bucket{le="0.1"}`: "0+100x240 24010+10x240"},
	"GatehouseTemporalExhausted": {
		`temporal_request_resource_exhausted_total{operation="o"}`:      "7x480",
		`temporal_long_request_resource_exhausted_total{operation="o"}`: "7x240 8+1x240",
	},
	"GatehouseUpdatesRefused": {
		`temporal_request_failure_total{operation="o",status_code="FAILED_PRECONDITION"}`:     gone,
		`temporal_request_failure_total{operation="other",status_code="FAILED_PRECONDITION"}`: "_x470 1x10",
	},
	"GatehouseMessageTooLarge": {
		`temporal_workflow_task_execution_failed_total{failure_reason="GrpcMessageTooLarge"}`: "1x460 2x20",
	},
	"GatehouseCodecFailures":   {"gatehouse_codec_failures_total": "2x460 3x20"},
	"GatehouseSendingFails":    {`gatehouse_message_attempts_total{channel="email",result="failed"}`: "0+2x240 520+40x240"},
	"GatehouseMessagesRefused": {`gatehouse_message_attempts_total{channel="email",result="dead"}`: "0+1x240 250+10x240"},
	"GatehouseNoticesOwed":     {`gatehouse_backlog_oldest_seconds{of="notices"}`: "5x240 301x240"},
	"GatehouseWebhooksOwed":    {`gatehouse_backlog_oldest_seconds{of="deliveries"}`: "5x240 1801x240"},
	"GatehouseWebhookDisabled": {`gatehouse_alerts_total{alert="webhook_disabled"}`: "1x400 2x80"},
	"GatehouseRenewalsLate":    {`gatehouse_backlog_oldest_seconds{of="renewals"}`: "5x240 901x240"},
	"GatehouseChargesUnknown":  {`gatehouse_backlog_oldest_seconds{of="charges"}`: "5x240 3601x240"},
	"GatehousePaymentsFail":    {`gatehouse_charge_attempts_total{result="unknown"}`: "0+1x240 260+20x240"},
	"GatehouseBillingFinding":  {`gatehouse_billing_findings_total{repaired="false",kind="overdue"}`: "2x360 3x120"},
}

// firing are the alerts that fire after two hours of samples.
func firing(t *testing.T, fault map[string]string) []string {
	t.Helper()
	var load strings.Builder
	load.WriteString("load 15s\n")
	put := func(series, samples string) {
		if samples != gone {
			load.WriteString("\t" + series + " " + samples + "\n")
		}
	}
	for series, samples := range health {
		if _, other := fault[series]; !other {
			put(series, samples)
		}
	}
	for series, samples := range fault {
		put(series, samples)
	}
	query, all := evaluated(t, promqltest.LoadedStorage(t, load.String()), rulesFile)
	var now []string
	for at := time.Unix(0, 0).Add(45 * time.Minute); !at.After(time.Unix(0, 0).Add(2 * time.Hour)); at = at.Add(time.Minute) {
		now = fire(t, all, query, at)
	}
	return now
}

func TestRules_AreQuietOnAGoodDay(t *testing.T) {
	t.Parallel()
	require.Empty(t, firing(t, nil))
}

func TestRules_EachFiresByItsFault(t *testing.T) {
	t.Parallel()
	written, err := Rules(rulesFile)
	require.NoError(t, err)
	for _, r := range written {
		t.Run(r.Alert, func(t *testing.T) {
			t.Parallel()
			require.Contains(t, faults, r.Alert, "every rule has a fault that it is tried by")
			fault := faults[r.Alert]
			now := firing(t, fault)
			require.Contains(t, now, r.Alert)
			// What follows from the same fault may fire beside it.
			require.LessOrEqual(t, len(now), 3, "%v", now)
		})
	}
	require.Len(t, faults, len(written), "a fault is of a rule that there is")
}

func TestRules_NameTheirRunbook(t *testing.T) {
	t.Parallel()
	written, err := Rules(rulesFile)
	require.NoError(t, err)
	require.NotEmpty(t, written)
	page, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	headings := regexp.MustCompile(`(?m)^### (Gatehouse\w+)$`).FindAllStringSubmatch(string(page), -1)
	var explained, named []string
	for _, h := range headings {
		explained = append(explained, h[1])
	}
	for _, r := range written {
		named = append(named, r.Alert)
		require.Equal(t, "docs/operations.md#"+strings.ToLower(r.Alert), r.Annotations["runbook"], r.Alert)
		require.Contains(t, []string{"page", "ticket"}, r.Labels["severity"], r.Alert)
		require.NotEmpty(t, r.Annotations["summary"], r.Alert)
	}
	require.Equal(t, named, explained, "docs/operations.md explains each alert, in the order of the file")
}

func TestDashboard_AsksWhatPrometheusUnderstands(t *testing.T) {
	t.Parallel()
	panels, err := Panels(dashboardFile)
	require.NoError(t, err)
	require.NotEmpty(t, panels)
	ids, titles := map[int]bool{}, map[string]bool{}
	for _, p := range panels {
		require.False(t, ids[p.ID], "panel id %d is there twice", p.ID)
		require.False(t, titles[p.Title], "%s is there twice", p.Title)
		ids[p.ID], titles[p.Title] = true, true
		require.Equal(t, "${source}", p.Source, "%s: the reader chooses the data source", p.Title)
		require.NotEmpty(t, p.Exprs, p.Title)
		_, err := Metrics(p.Exprs...)
		require.NoError(t, err, p.Title)
	}
}
