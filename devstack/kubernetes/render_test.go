// Package kubernetes_test renders the overlays of deploy/kubernetes as `kubectl apply -k` would and checks what comes out:
// every field against the Kubernetes API's own types, and the objects against each other and against our settings.
package kubernetes_test

import (
	"path/filepath"
	"sync"
	"testing"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/stretchr/testify/require"
	apps "k8s.io/api/apps/v1"
	autoscaling "k8s.io/api/autoscaling/v2"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const root = "../.."

// overlays are the installations that are described; each is rendered with its migrations, as it is rolled out.
var overlays = []string{"production", "temporal-cloud-mtls", "temporal-cloud-api-key"}

// rendered are the objects of an overlay, by kind and name.
type rendered struct {
	deployments map[string]*apps.Deployment
	jobs        map[string]*batch.Job
	settings    map[string]*core.ConfigMap
	dashboards  map[string]*core.ConfigMap
	services    map[string]*core.Service
	accounts    map[string]*core.ServiceAccount
	scalers     map[string]*autoscaling.HorizontalPodAutoscaler
	budgets     map[string]*policy.PodDisruptionBudget
	policies    map[string]*networking.NetworkPolicy
	ingresses   map[string]*networking.Ingress
	monitors    map[string]*monitoring.PodMonitor
	rules       map[string]*monitoring.PrometheusRule
}

// scheme knows every kind that may appear; another one is an error.
var scheme = sync.OnceValue(func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		apps.AddToScheme, autoscaling.AddToScheme, batch.AddToScheme, core.AddToScheme, networking.AddToScheme,
		policy.AddToScheme, monitoring.AddToScheme,
	} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
})

// decode refuses fields that the API does not know, and those that appear twice.
func decode(text []byte) (runtime.Object, error) {
	strict := json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme(), scheme(), json.SerializerOptions{Yaml: true, Strict: true})
	object, _, err := strict.Decode(text, nil, nil)
	return object, err
}

// render builds an overlay and, beside it, the migrations that go with the release.
func render(t *testing.T, overlay string) rendered {
	t.Helper()
	r := rendered{
		deployments: map[string]*apps.Deployment{}, jobs: map[string]*batch.Job{}, settings: map[string]*core.ConfigMap{},
		dashboards: map[string]*core.ConfigMap{}, services: map[string]*core.Service{}, accounts: map[string]*core.ServiceAccount{},
		scalers: map[string]*autoscaling.HorizontalPodAutoscaler{}, budgets: map[string]*policy.PodDisruptionBudget{},
		policies: map[string]*networking.NetworkPolicy{}, ingresses: map[string]*networking.Ingress{},
		monitors: map[string]*monitoring.PodMonitor{}, rules: map[string]*monitoring.PrometheusRule{},
	}
	for _, folder := range []string{overlay, filepath.Join("production", "migrate")} {
		built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).
			Run(filesys.MakeFsOnDisk(), filepath.Join(root, "deploy", "kubernetes", "overlays", folder))
		require.NoError(t, err, folder)
		for _, resource := range built.Resources() {
			text, err := resource.AsYAML()
			require.NoError(t, err)
			object, err := decode(text)
			require.NoError(t, err, "%s: %s", folder, text)
			r.add(t, object)
		}
	}
	return r
}

func (r rendered) add(t *testing.T, object runtime.Object) {
	t.Helper()
	meta, ok := object.(v1.Object)
	require.True(t, ok)
	require.Equal(t, "gatehouse", meta.GetNamespace(), meta.GetName())
	switch o := object.(type) {
	case *apps.Deployment:
		put(t, r.deployments, o)
	case *batch.Job:
		put(t, r.jobs, o)
	case *core.ConfigMap:
		if _, ok := o.Labels["grafana_dashboard"]; ok {
			put(t, r.dashboards, o)
		} else {
			put(t, r.settings, o)
		}
	case *core.Service:
		put(t, r.services, o)
	case *core.ServiceAccount:
		put(t, r.accounts, o)
	case *autoscaling.HorizontalPodAutoscaler:
		put(t, r.scalers, o)
	case *policy.PodDisruptionBudget:
		put(t, r.budgets, o)
	case *networking.NetworkPolicy:
		put(t, r.policies, o)
	case *networking.Ingress:
		put(t, r.ingresses, o)
	case *monitoring.PodMonitor:
		put(t, r.monitors, o)
	case *monitoring.PrometheusRule:
		put(t, r.rules, o)
	default:
		require.Failf(t, "a kind that no test looks at", "%T", object)
	}
}

func put[T v1.Object](t *testing.T, into map[string]T, object T) {
	t.Helper()
	require.NotContains(t, into, object.GetName(), "twice")
	into[object.GetName()] = object
}

// pod is what a Deployment or a Job runs.
type pod struct {
	component string
	labels    map[string]string
	core.PodSpec
}

func (p pod) container() core.Container { return p.Containers[0] }

// pods are those of all Deployments and Jobs, by component.
func (r rendered) pods(t *testing.T) map[string]pod {
	t.Helper()
	all := map[string]pod{}
	add := func(template core.PodTemplateSpec) {
		component := template.Labels["app.kubernetes.io/component"]
		require.NotEmpty(t, component)
		require.NotContains(t, all, component)
		require.Len(t, template.Spec.Containers, 1, component)
		all[component] = pod{component, template.Labels, template.Spec}
	}
	for _, d := range r.deployments {
		add(d.Spec.Template)
	}
	for _, j := range r.jobs {
		add(j.Spec.Template)
	}
	require.Len(t, all, 3, "api, worker, migrate")
	return all
}

// selected are the components whose pods a selector takes.
func selected(t *testing.T, pods map[string]pod, selector *v1.LabelSelector) []string {
	t.Helper()
	matches, err := v1.LabelSelectorAsSelector(selector)
	require.NoError(t, err)
	var found []string
	for _, component := range []string{"api", "migrate", "worker"} {
		if matches.Matches(labels.Set(pods[component].labels)) {
			found = append(found, component)
		}
	}
	return found
}

// eachOverlay runs a check on every overlay.
func eachOverlay(t *testing.T, check func(t *testing.T, r rendered)) {
	t.Helper()
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			t.Parallel()
			check(t, render(t, overlay))
		})
	}
}

func TestFieldsThatKubernetesDoesNotKnowAreRefused(t *testing.T) {
	t.Parallel()
	_, err := decode([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspec: {selectors: {a: b}}\n"))
	require.ErrorContains(t, err, `unknown field "spec.selectors"`)
	_, err = decode([]byte("apiVersion: v1\nkind: Servise\nmetadata: {name: x}\n"))
	require.ErrorContains(t, err, `no kind "Servise"`)
}
