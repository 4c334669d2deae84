//go:build unix

package stack

import (
	"fmt"
	"maps"
	"net"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/caarlos0/env/v11"

	"gatehouse/internal/machine"
)

// Settings are those that `make run` itself reads; every other GATEHOUSE_ setting goes to the processes as it is.
type Settings struct {
	APIAddr      string `env:"GATEHOUSE_API_ADDR"         envDefault:"127.0.0.1:8080"`
	OpsAddr      string `env:"GATEHOUSE_OPS_ADDR"         envDefault:"127.0.0.1:9090"`
	DataDir      string `env:"GATEHOUSE_DATA_DIR"         envDefault:".gatehouse"`
	TemporalPort int    `env:"GATEHOUSE_TEMPORAL_PORT"    envDefault:"7233"`
	UIPort       int    `env:"GATEHOUSE_TEMPORAL_UI_PORT" envDefault:"8233"`
	PostgresPort int    `env:"GATEHOUSE_POSTGRES_PORT"    envDefault:"54329"`
	// Worker is on, or off for a worker that the developer starts alone.
	Worker    string `env:"GATEHOUSE_WORKER"             envDefault:"on"`
	Namespace string `env:"GATEHOUSE_TEMPORAL_NAMESPACE" envDefault:"gatehouse"`
	// DatabaseURL and TemporalAddress name external ones; empty means embedded.
	DatabaseURL     string `env:"DATABASE_URL"`
	TemporalAddress string `env:"TEMPORAL_ADDRESS"`
	// BaseURL and TemporalUIURL are derived from the addresses when empty.
	BaseURL       string `env:"GATEHOUSE_BASE_URL"`
	TemporalUIURL string `env:"GATEHOUSE_TEMPORAL_UI_URL"`

	// given is every setting of ours that the user set.
	given map[string]string
}

const prefix = "GATEHOUSE_"

// LoadSettings reads the settings from an environment (NAME=value). What a shell took over from the file that an earlier run
// wrote does not count as set, and neither does an empty value.
func LoadSettings(environ []string) (Settings, error) {
	given := ours(environ)
	var s Settings
	if err := parse(&s, given); err != nil {
		return Settings{}, err
	}
	earlier, err := ReadEnvFile(s.EnvFile())
	if err != nil {
		return Settings{}, err
	}
	for _, name := range earlier.Computed {
		if name != prefix+"DATA_DIR" && given[name] == earlier.Values[name] {
			delete(given, name)
		}
	}
	s = Settings{given: given}
	if err := parse(&s, given); err != nil {
		return Settings{}, err
	}
	return s, s.derive()
}

func parse(s *Settings, from map[string]string) error {
	if err := env.ParseWithOptions(s, env.Options{Environment: from}); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	dir, err := filepath.Abs(s.DataDir)
	if err != nil {
		return fmt.Errorf("GATEHOUSE_DATA_DIR: %w", err)
	}
	s.DataDir = dir
	return nil
}

// ours are the settings of Gatehouse in an environment.
func ours(environ []string) map[string]string {
	found := map[string]string{}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if value != "" && isOurs(name) {
			found[name] = value
		}
	}
	return found
}

func isOurs(name string) bool {
	return name == "DATABASE_URL" || name == "TEMPORAL_ADDRESS" ||
		strings.HasPrefix(name, prefix) && !strings.HasPrefix(name, prefix+"TEST_")
}

func (s *Settings) derive() error {
	if s.Worker != "on" && s.Worker != "off" {
		return fmt.Errorf("GATEHOUSE_WORKER is %q; it must be on or off", s.Worker)
	}
	for _, a := range []struct{ setting, value string }{{"GATEHOUSE_API_ADDR", s.APIAddr}, {"GATEHOUSE_OPS_ADDR", s.OpsAddr}} {
		_, port, err := net.SplitHostPort(a.value)
		if n, convErr := strconv.Atoi(port); err != nil || convErr != nil || n <= 0 {
			return fmt.Errorf("%s is %q; it must be host:port, such as 127.0.0.1:8080", a.setting, a.value)
		}
	}
	if s.BaseURL == "" {
		s.BaseURL = browserURL(s.APIAddr)
	}
	if s.TemporalUIURL == "" {
		s.TemporalUIURL = "http://localhost:" + strconv.Itoa(s.UIPort)
	}
	return nil
}

// browserURL is how this machine reaches a listener.
func browserURL(address string) string {
	host, port, _ := net.SplitHostPort(address) // validated before
	if ip := net.ParseIP(host); host == "" || ip != nil && (ip.IsLoopback() || ip.IsUnspecified()) {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// OpsURL is where this machine reaches the ops listener.
func (s Settings) OpsURL() string {
	host, port, _ := net.SplitHostPort(s.OpsAddr) // validated before
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// EnvFile is the path of the file with the running system's environment.
func (s Settings) EnvFile() string { return filepath.Join(s.DataDir, "env") }

// ownsUI reports whether we run the Temporal UI: always, but for an external Temporal that has its own.
func (s Settings) ownsUI() bool {
	return s.TemporalAddress == "" || s.given[prefix+"TEMPORAL_UI_URL"] == ""
}

// ports are all addresses that will be listened on.
func (s Settings) ports() []wantedPort {
	wanted := []wantedPort{
		{"the API", "GATEHOUSE_API_ADDR", s.APIAddr, "GATEHOUSE_API_ADDR=127.0.0.1:8081"},
		{"the ops listener", "GATEHOUSE_OPS_ADDR", s.OpsAddr, "GATEHOUSE_OPS_ADDR=127.0.0.1:9091"},
	}
	if s.TemporalAddress == "" {
		wanted = append(wanted, wantedPort{"Temporal", "GATEHOUSE_TEMPORAL_PORT", machine.LoopbackAddress(s.TemporalPort), "GATEHOUSE_TEMPORAL_PORT=7243"})
	}
	if s.ownsUI() {
		wanted = append(wanted, wantedPort{"the Temporal UI", "GATEHOUSE_TEMPORAL_UI_PORT", machine.LoopbackAddress(s.UIPort), "GATEHOUSE_TEMPORAL_UI_PORT=8243"})
	}
	if s.DatabaseURL == "" {
		wanted = append(wanted, wantedPort{"PostgreSQL", "GATEHOUSE_POSTGRES_PORT", machine.LoopbackAddress(s.PostgresPort), "GATEHOUSE_POSTGRES_PORT=54339"})
	}
	return wanted
}

// environment is every setting in use: what the user set, what was read with its default, the keys and the two addresses.
func (s Settings) environment(databaseURL, temporalAddress string, keys map[string]string) EnvFile {
	values := maps.Clone(keys)
	maps.Copy(values, map[string]string{
		"DATABASE_URL":                databaseURL,
		"TEMPORAL_ADDRESS":            temporalAddress,
		prefix + "API_ADDR":           s.APIAddr,
		prefix + "OPS_ADDR":           s.OpsAddr,
		prefix + "TEMPORAL_PORT":      strconv.Itoa(s.TemporalPort),
		prefix + "TEMPORAL_UI_PORT":   strconv.Itoa(s.UIPort),
		prefix + "POSTGRES_PORT":      strconv.Itoa(s.PostgresPort),
		prefix + "WORKER":             s.Worker,
		prefix + "TEMPORAL_NAMESPACE": s.Namespace,
		prefix + "BASE_URL":           s.BaseURL,
		prefix + "TEMPORAL_UI_URL":    s.TemporalUIURL,
	})
	maps.Copy(values, s.given)
	values[prefix+"DATA_DIR"] = s.DataDir // absolute, whatever was given
	var computed []string
	for name := range values {
		if _, set := s.given[name]; !set {
			computed = append(computed, name)
		}
	}
	slices.Sort(computed)
	return EnvFile{Values: values, Computed: computed}
}
