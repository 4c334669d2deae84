package kubernetes_test

import (
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

func port(t *testing.T, p pod, name string) string {
	t.Helper()
	for _, one := range p.container().Ports {
		if one.Name == name {
			return strconv.Itoa(int(one.ContainerPort))
		}
	}
	require.Failf(t, "no such port", "%s of %s", name, p.component)
	return ""
}

func TestPodsAreConfined(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		for component, p := range r.pods(t) {
			require.Equal(t, new(true), p.SecurityContext.RunAsNonRoot, component)
			require.NotZero(t, *p.SecurityContext.RunAsUser, component)
			require.Equal(t, core.SeccompProfileTypeRuntimeDefault, p.SecurityContext.SeccompProfile.Type, component)
			c := p.container()
			require.Equal(t, new(true), c.SecurityContext.ReadOnlyRootFilesystem, component)
			require.Equal(t, new(false), c.SecurityContext.AllowPrivilegeEscalation, component)
			require.Equal(t, []core.Capability{"ALL"}, c.SecurityContext.Capabilities.Drop, component)
			require.Equal(t, []string{component}, c.Args, "the process of the image's entry point")

			require.Equal(t, new(false), p.AutomountServiceAccountToken, component)
			require.Contains(t, r.accounts, p.ServiceAccountName, component)
			require.Equal(t, new(false), p.EnableServiceLinks, "the cluster's variables begin as our settings do")
			require.NotContains(t, c.Image, ":latest")
			require.Regexp(t, `^.+/gatehouse(:[\w.-]+|@sha256:[0-9a-f]{64})$`, c.Image, component)

			for _, resource := range []core.ResourceName{core.ResourceCPU, core.ResourceMemory} {
				require.Contains(t, c.Resources.Requests, resource, component)
				require.Contains(t, c.Resources.Limits, resource, component)
			}
			for _, v := range p.Volumes {
				require.NotNil(t, v.Secret, "%s: nothing is kept in a pod", component)
			}
		}
	})
}

// TestMemoryLimits wants Go to collect before the kernel kills.
func TestMemoryLimits(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, component := range []string{"api", "worker"} {
			c := r.pods(t)[component].container()
			i := slices.IndexFunc(c.Env, func(e core.EnvVar) bool { return e.Name == "GOMEMLIMIT" })
			require.GreaterOrEqual(t, i, 0, component)
			text, ok := strings.CutSuffix(c.Env[i].Value, "MiB")
			require.True(t, ok)
			soft, err := strconv.ParseInt(text, 10, 64)
			require.NoError(t, err)
			hard := c.Resources.Limits.Memory().Value() >> 20
			require.Less(t, soft, hard)
			require.Greater(t, soft, hard*3/4)
		}
	})
}

// TestPodsDrain gives a process that ends the time that it takes.
func TestPodsDrain(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	for _, overlay := range overlays {
		r := render(t, overlay)
		for _, component := range []string{"api", "worker"} {
			p := r.pods(t)[component]
			c, err := load(t, r.environment(t, p, standIns(t)))
			require.NoError(t, err)
			var before time.Duration
			if p.container().Lifecycle != nil {
				before = time.Duration(p.container().Lifecycle.PreStop.Sleep.Seconds) * time.Second
			}
			require.Equal(t, component == "api", before > 0, "requests come for as long as others have not heard of the end")
			grace := time.Duration(*p.TerminationGracePeriodSeconds) * time.Second
			require.GreaterOrEqual(t, grace, before+c.DrainDelay+c.ShutdownTimeout+10*time.Second, component)
		}
	}
}

func TestProbes(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, component := range []string{"api", "worker"} {
			c := r.pods(t)[component].container()
			for name, p := range map[string]*core.Probe{"/readyz": c.StartupProbe, "/healthz": c.ReadinessProbe} {
				require.NotNil(t, p, component)
				require.Equal(t, name, p.HTTPGet.Path, "a Temporal that is away must not take logins and reads away")
				require.Equal(t, intstr.FromString("ops"), p.HTTPGet.Port)
			}
			require.Equal(t, "/healthz", c.LivenessProbe.HTTPGet.Path, "a restart mends no database")
			require.Greater(t, c.LivenessProbe.PeriodSeconds*c.LivenessProbe.FailureThreshold, int32(30))
		}
	})
}

func TestRollOutsKeepCapacity(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		pods := r.pods(t)
		require.Len(t, r.deployments, 2)
		for name, d := range r.deployments {
			require.Nil(t, d.Spec.Replicas, "the autoscaler's number would be set back with every roll-out")
			require.Equal(t, 0, d.Spec.Strategy.RollingUpdate.MaxUnavailable.IntValue())
			require.Equal(t, d.Spec.Template.Labels, d.Spec.Selector.MatchLabels)

			scaler, budget := r.scalers[name], r.budgets[name]
			require.NotNil(t, scaler, name)
			require.Equal(t, "Deployment/"+name, scaler.Spec.ScaleTargetRef.Kind+"/"+scaler.Spec.ScaleTargetRef.Name)
			require.GreaterOrEqual(t, *scaler.Spec.MinReplicas, int32(2), "one may go at any time")
			require.NotNil(t, budget, name)
			component := []string{d.Spec.Template.Labels["app.kubernetes.io/component"]}
			require.Equal(t, component, selected(t, pods, budget.Spec.Selector))
			require.Equal(t, 1, budget.Spec.MaxUnavailable.IntValue())

			var keys []string
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				keys = append(keys, c.TopologyKey)
				require.Equal(t, component, selected(t, pods, c.LabelSelector))
			}
			require.Equal(t, []string{"topology.kubernetes.io/zone", "kubernetes.io/hostname"}, keys)
		}
	})
}

func TestServicesAndMonitorsReachPods(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		pods := r.pods(t)
		for name, s := range r.services {
			require.Equal(t, []string{"api"}, selected(t, pods, &v1.LabelSelector{MatchLabels: s.Spec.Selector}), name)
			for _, p := range s.Spec.Ports {
				port(t, pods["api"], p.TargetPort.StrVal)
			}
		}
		for name, in := range r.ingresses {
			for _, rule := range in.Spec.Rules {
				for _, path := range rule.HTTP.Paths {
					service := r.services[path.Backend.Service.Name]
					require.NotNil(t, service, name)
					require.Equal(t, service.Spec.Ports[0].Name, path.Backend.Service.Port.Name)
					require.Equal(t, "http", path.Backend.Service.Port.Name, "the ops listener is published nowhere")
				}
			}
			require.NotEmpty(t, in.Spec.TLS, name)
		}
		require.Len(t, r.monitors, 1)
		for _, m := range r.monitors {
			require.Equal(t, []string{"api", "worker"}, selected(t, pods, &m.Spec.Selector))
			for _, e := range m.Spec.PodMetricsEndpoints {
				port(t, pods["api"], *e.Port)
				port(t, pods["worker"], *e.Port)
			}
		}
	})
}

// TestNetworkPolicies wants nothing open but what is asked for, and everything open that the settings name.
func TestNetworkPolicies(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	for _, overlay := range overlays {
		r := render(t, overlay)
		pods := r.pods(t)
		for _, component := range []string{"api", "worker", "migrate"} {
			ingress, egress := r.allowed(t, pods, component)
			require.Equal(t, map[string][]string{"api": {"http", "ops"}, "worker": {"ops"}, "migrate": nil}[component], ingress)

			env := r.environment(t, pods[component], standIns(t))
			database, err := url.Parse(env["DATABASE_URL"])
			require.NoError(t, err)
			if component == "migrate" {
				require.ElementsMatch(t, []string{"53", "5432"}, egress)
				continue
			}
			require.Contains(t, egress, database.Port())
			c, err := load(t, env)
			require.NoError(t, err)
			for _, address := range []string{c.TemporalAddress, ":" + strconv.Itoa(c.Mail.Port), ":443", ":53"} {
				require.Contains(t, egress, address[strings.LastIndex(address, ":")+1:], component)
			}
		}
	}
}

// allowed are the ports that the policies open to a component's pods, in and out.
func (r rendered) allowed(t *testing.T, pods map[string]pod, component string) (ingress, egress []string) {
	t.Helper()
	var types []networking.PolicyType
	for name, p := range r.policies {
		if !slices.Contains(selected(t, pods, &p.Spec.PodSelector), component) {
			continue
		}
		types = append(types, p.Spec.PolicyTypes...)
		for _, rule := range p.Spec.Ingress {
			require.NotEmpty(t, rule.From, "%s: from anywhere", name)
			ingress = append(ingress, ports(t, name, rule.Ports)...)
		}
		for _, rule := range p.Spec.Egress {
			require.NotEmpty(t, rule.To, "%s: to anywhere", name)
			egress = append(egress, ports(t, name, rule.Ports)...)
		}
	}
	require.Subset(t, types, []networking.PolicyType{networking.PolicyTypeIngress, networking.PolicyTypeEgress}, component)
	slices.Sort(ingress)
	slices.Sort(egress)
	return ingress, slices.Compact(egress)
}

func ports(t *testing.T, policy string, of []networking.NetworkPolicyPort) []string {
	t.Helper()
	require.NotEmpty(t, of, "%s: any port", policy)
	var found []string
	for _, p := range of {
		found = append(found, p.Port.String())
	}
	return found
}

// TestProvidersAreOutside keeps what a client may name (an address of an endpoint, an issuer) from reaching into the cluster.
func TestProvidersAreOutside(t *testing.T) {
	t.Parallel()
	eachOverlay(t, func(t *testing.T, r rendered) {
		p := r.policies["gatehouse-providers"]
		require.NotNil(t, p)
		for _, inside := range []string{"10.1.2.3", "172.20.0.1", "192.168.1.1", "169.254.169.254", "127.0.0.1", "100.64.0.1", "fd00::1", "fe80::1"} {
			require.False(t, reaches(t, p, inside), inside)
		}
		for _, outside := range []string{"1.1.1.1", "172.32.0.1", "2606:4700::1111"} {
			require.True(t, reaches(t, p, outside), outside)
		}
	})
}

func reaches(t *testing.T, p *networking.NetworkPolicy, address string) bool {
	t.Helper()
	ip := netip.MustParseAddr(address)
	for _, rule := range p.Spec.Egress {
		for _, to := range rule.To {
			require.NotNil(t, to.IPBlock)
			out := slices.ContainsFunc(to.IPBlock.Except, func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(ip) })
			if netip.MustParsePrefix(to.IPBlock.CIDR).Contains(ip) && !out {
				return true
			}
		}
	}
	return false
}

// TestConnectionsFit holds the manifests to the number that docs/scale.md tells Postgres to bear.
func TestConnectionsFit(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	document, err := os.ReadFile(filepath.Join(root, "docs/scale.md"))
	require.NoError(t, err)
	for _, overlay := range overlays {
		r := render(t, overlay)
		total := 0
		for name, d := range r.deployments {
			c, err := load(t, r.environment(t, r.pods(t)[d.Spec.Template.Labels["app.kubernetes.io/component"]], standIns(t)))
			require.NoError(t, err)
			total += c.DatabasePool * (int(r.scalers[name].Spec.MaxReplicas) + d.Spec.Strategy.RollingUpdate.MaxSurge.IntValue())
		}
		require.Contains(t, string(document), fmt.Sprintf("= %d connections", total))
	}
}
