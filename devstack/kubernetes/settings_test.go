package kubernetes_test

import (
	"bufio"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	core "k8s.io/api/core/v1"

	"gatehouse/internal/config"
	"gatehouse/internal/durable"
)

// standIns are values of the form that each secret must have.
func standIns(t *testing.T) map[string]map[string]string {
	t.Helper()
	keyset, err := durable.GenerateKeyset()
	require.NoError(t, err)
	secrets := map[string]string{}
	for _, name := range exampleSecrets(t) {
		secrets[name] = "0123456789abcdef0123456789abcdef"
	}
	const key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
	maps.Copy(secrets, map[string]string{
		"GATEHOUSE_OTLP_HEADERS": "authorization=stand-in",
		"DATABASE_URL":           "postgres://gatehouse:x@pooler.postgres.svc:6432/gatehouse?sslmode=verify-full",
		"GATEHOUSE_SECRET_KEY":   key, "GATEHOUSE_SIGNING_KEY": key, "GATEHOUSE_CODEC_KEYS": keyset,
	})
	return map[string]map[string]string{
		"gatehouse-secrets":  secrets,
		"gatehouse-temporal": {"GATEHOUSE_TEMPORAL_API_KEY": "stand-in"},
		"gatehouse-migrate":  {"DATABASE_URL": secrets["DATABASE_URL"]},
	}
}

// exampleSecrets are the names in secrets.example.env, which has no values.
func exampleSecrets(t *testing.T) []string {
	t.Helper()
	file, err := os.Open(filepath.Join(root, "deploy/kubernetes/overlays/production/secrets.example.env"))
	require.NoError(t, err)
	defer func() { require.NoError(t, file.Close()) }()
	var found []string
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.HasPrefix(name, "#") {
			require.Empty(t, value, "%s has a value", name)
			found = append(found, name)
		}
	}
	return found
}

// environment is what the kubelet would give to a pod's container.
func (r rendered) environment(t *testing.T, p pod, secrets map[string]map[string]string) map[string]string {
	t.Helper()
	env := map[string]string{}
	for _, from := range p.container().EnvFrom {
		switch {
		case from.ConfigMapRef != nil:
			require.Contains(t, r.settings, from.ConfigMapRef.Name)
			maps.Copy(env, r.settings[from.ConfigMapRef.Name].Data)
		case from.SecretRef != nil:
			require.Contains(t, secrets, from.SecretRef.Name)
			for name, value := range secrets[from.SecretRef.Name] {
				require.NotContains(t, env, name, "a secret stands among the settings, too")
				env[name] = value
			}
		}
	}
	for _, one := range p.container().Env {
		if one.ValueFrom == nil {
			env[one.Name] = one.Value
			continue
		}
		ref := one.ValueFrom.SecretKeyRef
		require.NotNil(t, ref, one.Name)
		require.Contains(t, secrets[ref.Name], ref.Key)
		env[one.Name] = secrets[ref.Name][ref.Key]
	}
	return env
}

// load reads the settings as the processes do.
func load(t *testing.T, env map[string]string) (config.Config, error) {
	t.Helper()
	for _, s := range config.Settings() {
		t.Setenv(s.Name, "")
		require.NoError(t, os.Unsetenv(s.Name))
	}
	for name, value := range env {
		t.Setenv(name, value)
	}
	return config.Load()
}

// goSettings are read by Go's runtime.
var goSettings = map[string]bool{"GOMEMLIMIT": true}

func TestEverySettingIsOne(t *testing.T) {
	t.Parallel()
	known := map[string]bool{}
	for _, s := range config.Settings() {
		known[s.Name] = true
	}
	for _, name := range exampleSecrets(t) {
		require.True(t, known[name], "%s is no setting", name)
	}
	eachOverlay(t, func(t *testing.T, r rendered) {
		require.Len(t, r.settings, 1, "an overlay merges into the one map")
		for component, p := range r.pods(t) {
			for name := range r.environment(t, p, standIns(t)) {
				require.True(t, known[name] || goSettings[name], "%s: %s is no setting", component, name)
			}
		}
	})
}

var secretName = regexp.MustCompile(`(?i)(passw|pwd|secret|token|_keys?$|^DATABASE_URL$|_SID$|_HEADERS$)`)

// TestSecretsAreSecret wants every setting that is a secret among those of the Secret, and none in a ConfigMap or in the clear.
func TestSecretsAreSecret(t *testing.T) {
	t.Parallel()
	outside := []string{"GATEHOUSE_TEMPORAL_API_KEY"} // has a Secret of its own
	var named []string
	for _, s := range config.Settings() {
		if secretName.MatchString(s.Name) && s.Default == "" && !slices.Contains(outside, s.Name) {
			named = append(named, s.Name)
		}
	}
	require.GreaterOrEqual(t, len(named), 8, "the check found next to nothing to check")
	require.Subset(t, exampleSecrets(t), named)
	eachOverlay(t, func(t *testing.T, r rendered) {
		for _, m := range r.settings {
			for name := range m.Data {
				require.NotContains(t, named, name)
				require.False(t, secretName.MatchString(name) && !strings.HasSuffix(name, "_FILE"), name)
			}
		}
		for _, p := range r.pods(t) {
			for _, one := range p.container().Env {
				require.False(t, secretName.MatchString(one.Name) && one.ValueFrom == nil, one.Name)
			}
		}
	})
}

// TestProductionSettingsAreValid starts the settings of each process from what is rendered, as the process would.
func TestProductionSettingsAreValid(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	for _, overlay := range overlays {
		t.Run(overlay, func(t *testing.T) {
			r := render(t, overlay)
			pods := r.pods(t)
			for _, component := range []string{"api", "worker"} {
				env := r.environment(t, pods[component], standIns(t))
				c, err := load(t, env)
				require.NoError(t, err, component)
				require.Equal(t, config.Production, c.Environment)
				require.False(t, c.DevInbox())
				require.NotEmpty(t, c.TrustedProxies, "every client would share one limit")
				require.NotEmpty(t, c.Codec.Password, "operators could read no flow")

				address, opsPort := c.OpsAddr, port(t, pods[component], "ops")
				if component == "worker" {
					address = c.WorkerOpsAddr
				} else {
					require.Equal(t, c.APIAddr, ":"+port(t, pods[component], "http"))
				}
				require.Equal(t, address, ":"+opsPort)
			}
			_, err := load(t, r.environment(t, pods["migrate"], standIns(t)))
			require.Error(t, err, "migrations know the database and nothing else")
			url, err := config.DatabaseURL()
			require.NoError(t, err)
			require.NotEmpty(t, url)
		})
	}
}

// TestProductionNeedsItsSecrets shows that the test before it can fail.
func TestProductionNeedsItsSecrets(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	for _, name := range []string{"DATABASE_URL", "GATEHOUSE_SECRET_KEY", "GATEHOUSE_CODEC_KEYS", "GATEHOUSE_STRIPE_SECRET_KEY"} {
		r, secrets := render(t, "production"), standIns(t)
		delete(secrets["gatehouse-secrets"], name)
		_, err := load(t, r.environment(t, r.pods(t)["api"], secrets))
		require.ErrorContains(t, err, name)
	}
}

func TestTemporalCloud(t *testing.T) { //nolint:paralleltest // settings are the environment of the process
	r := render(t, "temporal-cloud-mtls")
	p := r.pods(t)["worker"]
	c, err := load(t, r.environment(t, p, standIns(t)))
	require.NoError(t, err)
	require.Regexp(t, `\.tmprl\.cloud:7233$`, c.TemporalAddress)
	mounts := p.container().VolumeMounts
	require.Len(t, mounts, 1)
	require.Equal(t, mounts[0].MountPath+"/tls.crt", c.Temporal.TLSCertFile)
	require.Equal(t, mounts[0].MountPath+"/"+core.TLSPrivateKeyKey, c.Temporal.TLSKeyFile)
	require.True(t, mounts[0].ReadOnly)

	r = render(t, "temporal-cloud-api-key")
	c, err = load(t, r.environment(t, r.pods(t)["api"], standIns(t)))
	require.NoError(t, err)
	require.Equal(t, "stand-in", c.Temporal.APIKey)
	require.Regexp(t, `\.api\.temporal\.io:7233$`, c.TemporalAddress)
}
