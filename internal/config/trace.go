package config

import "net/url"

// Trace is the collector of OpenTelemetry traces.
type Trace struct {
	// OTLPEndpoint is the root URL of a collector that takes OTLP over HTTP, such as http://localhost:4318. Empty means that
	// nothing is traced.
	OTLPEndpoint string `env:"OTLP_ENDPOINT"`
	// OTLPHeaders go with every delivery: name=value, with commas between. They may hold what the collector wants to see.
	OTLPHeaders map[string]string `env:"OTLP_HEADERS" envKeyValSeparator:"="`
	// TraceSampling is the share of requests that are traced, above 0 and at most 1.
	TraceSampling float64 `env:"TRACE_SAMPLING" envDefault:"0.1"`
}

func (t Trace) validate(fault func(setting, format string, args ...any)) {
	if t.OTLPEndpoint != "" {
		if u, err := url.Parse(t.OTLPEndpoint); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			fault("GATEHOUSE_OTLP_ENDPOINT", "must be an http or https URL")
		}
	}
	if t.TraceSampling > 1 {
		fault("GATEHOUSE_TRACE_SAMPLING", "is %v; it must be at most 1", t.TraceSampling)
	}
}
