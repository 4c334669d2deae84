// Package deploy_test checks what cannot be run here: the container files against each other and against the settings.
package deploy_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"gopkg.in/yaml.v3"

	"gatehouse/internal/config"
)

const root = ".."

type composeFile struct {
	Services map[string]composeService `yaml:"services"`
	Volumes  map[string]any            `yaml:"volumes"`
}

type composeService struct {
	Image       string            `yaml:"image"`
	Build       string            `yaml:"build"`
	Command     []string          `yaml:"command"`
	Environment map[string]string `yaml:"environment"`
	Ports       []string          `yaml:"ports"`
	Volumes     []string          `yaml:"volumes"`
	DependsOn   map[string]struct {
		Condition string `yaml:"condition"`
	} `yaml:"depends_on"`
	Healthcheck *struct {
		Test []string `yaml:"test"`
	} `yaml:"healthcheck"`
	ReadOnly        bool          `yaml:"read_only"`
	CapDrop         []string      `yaml:"cap_drop"`
	SecurityOpt     []string      `yaml:"security_opt"`
	StopGracePeriod time.Duration `yaml:"stop_grace_period"`
}

func compose(t *testing.T) composeFile {
	t.Helper()
	var c composeFile
	require.NoError(t, yaml.Unmarshal([]byte(readRoot(t, "docker-compose.yml")), &c))
	return c
}

// oneShots are the services that others wait for to end.
func (c composeFile) oneShots() map[string]bool {
	found := map[string]bool{}
	for _, s := range c.Services {
		for name, d := range s.DependsOn {
			if d.Condition == "service_completed_successfully" {
				found[name] = true
			}
		}
	}
	return found
}

func TestComposeHasEveryServiceHealthChecked(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for _, name := range []string{"postgres", "temporal", "temporal-ui", "mailpit", "migrate", "api", "worker"} {
		require.Contains(t, c.Services, name)
	}
	ends := c.oneShots()
	require.True(t, ends["migrate"], "migrate must end before api and worker start")
	for name, s := range c.Services {
		if !ends[name] {
			require.NotNil(t, s.Healthcheck, "%s has no health check", name)
			require.NotEmpty(t, s.Healthcheck.Test, name)
		}
		for on, d := range s.DependsOn {
			require.Contains(t, c.Services, on, "%s waits for it", name)
			require.Equal(t, ends[on], d.Condition == "service_completed_successfully", "%s waits for %s", name, on)
		}
	}
}

var pinned = regexp.MustCompile(`^[a-z0-9./-]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?(@sha256:[0-9a-f]{64})?$`)

func TestComposePinsEveryImage(t *testing.T) {
	t.Parallel()
	for name, s := range compose(t).Services {
		if s.Build != "" {
			require.Equal(t, "gatehouse:local", s.Image, name)
			require.FileExists(t, filepath.Join(root, s.Build, "Dockerfile"))
			continue
		}
		require.Regexp(t, pinned, s.Image, name)
	}
}

var (
	secretName  = regexp.MustCompile(`(?i)(passw|pwd|secret|token|_keys?$)`)
	secretInURL = regexp.MustCompile(`://[^/@\s]*:([^@\s]+)@`)
	fromOutside = regexp.MustCompile(`^\$\{[A-Z_]+(:\?[^}]*|:-)\}$`)
)

func TestComposeHoldsNoSecret(t *testing.T) {
	t.Parallel()
	seen := 0
	for name, s := range compose(t).Services {
		for key, value := range s.Environment {
			if secretName.MatchString(key) {
				seen++
				require.Regexp(t, fromOutside, value, "%s: %s", name, key)
			}
			if m := secretInURL.FindStringSubmatch(value); m != nil {
				seen++
				require.Regexp(t, fromOutside, m[1], "%s: %s", name, key)
			}
		}
		for _, port := range s.Ports {
			require.True(t, strings.HasPrefix(port, "127.0.0.1:"), "%s publishes %s beyond this machine", name, port)
		}
	}
	require.GreaterOrEqual(t, seen, 10, "the check found next to nothing to check")
}

// TestComposeConfinesOurProcesses holds the containers to what deploy/kubernetes asks of pods.
func TestComposeConfinesOurProcesses(t *testing.T) {
	t.Parallel()
	timeout := time.Duration(0)
	for _, s := range productSettings(t) {
		if s.name == "GATEHOUSE_SHUTDOWN_TIMEOUT" {
			var err error
			timeout, err = time.ParseDuration(s.value)
			require.NoError(t, err)
		}
	}
	require.NotZero(t, timeout)
	for _, name := range []string{"migrate", "api", "worker"} {
		s := compose(t).Services[name]
		require.True(t, s.ReadOnly, name)
		require.Equal(t, []string{"ALL"}, s.CapDrop, name)
		require.Contains(t, s.SecurityOpt, "no-new-privileges:true", name)
		require.GreaterOrEqual(t, s.StopGracePeriod, timeout+10*time.Second, "%s is killed before it has drained", name)
	}
}

func TestComposeNamesFilesThatExist(t *testing.T) {
	t.Parallel()
	c := compose(t)
	for name, s := range c.Services {
		for _, v := range s.Volumes {
			source, target, ok := strings.Cut(v, ":")
			require.True(t, ok && strings.HasPrefix(target, "/"), "%s: %s", name, v)
			if path, isFile := strings.CutPrefix(source, "./"); isFile {
				require.FileExists(t, filepath.Join(root, path), name)
				continue
			}
			require.Contains(t, c.Volumes, source, name)
		}
	}
}

var variable = regexp.MustCompile(`GATEHOUSE_[A-Z0-9_]+`)

func TestContainerFilesUseRealSettingsOnly(t *testing.T) {
	t.Parallel()
	known := names(productSettings(t))
	for _, file := range []string{"docker-compose.yml", "Dockerfile", "scripts/compose-env"} {
		for _, name := range variable.FindAllString(readRoot(t, file), -1) {
			require.True(t, known[name], "%s: %s is no setting", file, name)
		}
	}
}

// TestComposeSettingsAreValid starts from what scripts/compose-env would write and loads the settings as the processes do.
func TestComposeSettingsAreValid(t *testing.T) {
	outside := map[string]string{
		"POSTGRES_PASSWORD": "0123456789abcdef", "GATEHOUSE_SECRET_KEY": "a", "GATEHOUSE_SIGNING_KEY": "b", "GATEHOUSE_CODEC_KEYS": "c",
	}
	services := compose(t).Services
	for _, name := range []string{"migrate", "api", "worker"} {
		t.Run(name, func(t *testing.T) {
			for _, s := range productSettings(t) {
				t.Setenv(s.name, "")
				require.NoError(t, os.Unsetenv(s.name))
			}
			for key, value := range services[name].Environment {
				t.Setenv(key, interpolate(t, value, outside))
			}
			c, err := config.Load()
			require.NoError(t, err)
			require.Equal(t, "mailpit", c.Mail.Host)
			require.Contains(t, c.DatabaseURL, "gatehouse:0123456789abcdef@postgres")
		})
	}
}

var placeholder = regexp.MustCompile(`\$\{([A-Z_]+)(?::(-|\?)([^}]*))?\}`)

// interpolate replaces ${NAME:-default} and ${NAME:?message} as docker compose does.
func interpolate(t *testing.T, text string, values map[string]string) string {
	t.Helper()
	return placeholder.ReplaceAllStringFunc(text, func(p string) string {
		m := placeholder.FindStringSubmatch(p)
		if v := values[m[1]]; v != "" {
			return v
		}
		require.NotEqual(t, "?", m[2], "%s must be given", m[1])
		return m[3]
	})
}

func TestDockerfileIsPinnedStaticAndNotRoot(t *testing.T) {
	t.Parallel()
	text := readRoot(t, "Dockerfile")
	stages := regexp.MustCompile(`(?m)^FROM (\S+)`).FindAllStringSubmatch(text, -1)
	require.Len(t, stages, 2)
	require.Regexp(t, `^golang:\d+\.\d+\.\d+-`, stages[0][1])
	require.NotContains(t, stages[1][1], "latest")
	require.Contains(t, text, "CGO_ENABLED=0")
	require.Regexp(t, `(?m)^USER nonroot`, text)
	require.Regexp(t, `(?m)^ENTRYPOINT \["/gatehouse"\]`, text)

	language := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(readRoot(t, "go.mod"))
	require.Contains(t, stages[0][1], "golang:"+language[1]+".", "the builder is of the module's Go version")
}
