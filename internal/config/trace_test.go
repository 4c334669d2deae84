//nolint:paralleltest // every test sets the environment of the process
package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTraceSettings(t *testing.T) {
	c, err := load(t, minimum)
	require.NoError(t, err)
	require.Empty(t, c.Trace.OTLPEndpoint, "nothing is traced unless somebody asks for it")
	require.InDelta(t, 0.1, c.Trace.TraceSampling, 0)

	c, err = load(t, minimum, "GATEHOUSE_OTLP_ENDPOINT=http://collector:4318", "GATEHOUSE_OTLP_HEADERS=authorization=Basic x,tenant=a",
		"GATEHOUSE_TRACE_SAMPLING=1")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"authorization": "Basic x", "tenant": "a"}, c.Trace.OTLPHeaders)

	for _, wrong := range []string{"GATEHOUSE_OTLP_ENDPOINT=collector:4318", "GATEHOUSE_TRACE_SAMPLING=1.5", "GATEHOUSE_TRACE_SAMPLING=0"} {
		_, err := load(t, minimum, wrong)
		require.Error(t, err, wrong)
	}
	_, err = load(t, minimum, "GATEHOUSE_OTLP_ENDPOINT=ftp://"+canary+"@collector")
	require.Error(t, err)
	require.NotContains(t, err.Error(), canary, "an address may hold a password")
}
