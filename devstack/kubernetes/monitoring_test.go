package kubernetes_test

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the PrometheusRule anew from deploy/prometheus")

const ruleHead = "# Written from deploy/prometheus/gatehouse.rules.yaml by `cd devstack && go test ./kubernetes -update`; a test keeps it equal.\n"

// TestRulesAreTheRules keeps the object that the Prometheus operator reads equal to the rules that Prometheus itself reads.
func TestRulesAreTheRules(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join(root, "deploy/prometheus/gatehouse.rules.yaml"))
	require.NoError(t, err)
	rule := monitoring.PrometheusRule{
		TypeMeta:   v1.TypeMeta{APIVersion: monitoring.SchemeGroupVersion.String(), Kind: monitoring.PrometheusRuleKind},
		ObjectMeta: v1.ObjectMeta{Name: "gatehouse"},
	}
	require.NoError(t, yaml.UnmarshalStrict(text, &rule.Spec))
	require.NotEmpty(t, rule.Spec.Groups)
	want, err := yaml.Marshal(rule)
	require.NoError(t, err)
	want = slices.Concat([]byte(ruleHead), want)
	const file = "deploy/kubernetes/components/monitoring/rules.yaml"
	if *update {
		require.NoError(t, os.WriteFile(filepath.Join(root, file), want, 0o600))
	}
	got, err := os.ReadFile(filepath.Join(root, file))
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run `cd devstack && go test ./kubernetes -update`")

	eachOverlay(t, func(t *testing.T, r rendered) {
		require.Len(t, r.rules, 1)
		require.Equal(t, rule.Spec.Groups, r.rules["gatehouse"].Spec.Groups)
	})
}

// TestDashboardIsThere finds the dashboard in a map that Grafana's sidecar looks for, whole.
func TestDashboardIsThere(t *testing.T) {
	t.Parallel()
	want, err := os.ReadFile(filepath.Join(root, "deploy/grafana/gatehouse.json"))
	require.NoError(t, err)
	require.True(t, json.Valid(want))
	eachOverlay(t, func(t *testing.T, r rendered) {
		require.Len(t, r.dashboards, 1)
		for _, m := range r.dashboards {
			require.Equal(t, "1", m.Labels["grafana_dashboard"])
			require.Equal(t, map[string]string{"gatehouse.json": string(want)}, m.Data)
		}
	})
}
