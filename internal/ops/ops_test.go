package ops_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/ops"
)

func serve(t *testing.T, h ops.Handlers) (url string, stop func() error) {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- ops.ServeOn(ctx, listener, h) }()
	stop = func() error { cancel(); return <-served }
	t.Cleanup(cancel)
	return "http://" + listener.Addr().String(), stop
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	require.NoError(t, err)
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	require.NoError(t, err)
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	require.NoError(t, err)
	return response.StatusCode, string(content)
}

func says(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, text+r.URL.Path) })
}

func TestServeAnswersEveryHandler(t *testing.T) {
	t.Parallel()
	fine := func(context.Context) error { return nil }
	url, stop := serve(t, ops.Handlers{Live: fine, Ready: fine, Metrics: says("metrics "), Codec: says("codec ")})
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ok\n", "/metrics": "metrics /metrics", "/encode": "codec /encode",
		"/decode": "codec /decode", "/codec/encode": "codec /codec/encode", "/codec/decode": "codec /codec/decode",
	} {
		status, body := get(t, url+path)
		require.Equal(t, http.StatusOK, status, path)
		require.Equal(t, want, body, path)
	}
	status, _ := get(t, url+"/")
	require.Equal(t, http.StatusNotFound, status)
	require.NoError(t, stop())
}

func TestReadinessNamesTheCheckAndNotTheCause(t *testing.T) {
	t.Parallel()
	broken := func(context.Context) error { return errors.New("dial tcp 10.1.2.3: secret") }
	fine := func(context.Context) error { return nil }
	url, _ := serve(t, ops.Handlers{
		Ready: ops.All(map[string]ops.Check{"temporal": broken, "postgres": fine}),
		Live:  broken,
	})
	status, body := get(t, url+"/readyz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "temporal: failed\n", body)
	status, body = get(t, url+"/healthz")
	require.Equal(t, http.StatusServiceUnavailable, status)
	require.Equal(t, "live: failed\n", body)
}

func TestAllDoesNotWaitForACheckThatHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		hangs := func(context.Context) error { <-release; return nil }
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		err := ops.All(map[string]ops.Check{"stuck": hangs})(ctx)
		require.ErrorContains(t, err, "stuck: ")
		close(release)
	})
}

func TestServeNamesTheSettingOfATakenAddress(t *testing.T) {
	t.Parallel()
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	err = ops.Serve(t.Context(), "GATEHOUSE_OPS_ADDR", taken.Addr().String(), ops.Handlers{})
	require.ErrorContains(t, err, "GATEHOUSE_OPS_ADDR: "+taken.Addr().String()+" is taken")
	require.NotContains(t, err.Error(), "bind")
}

// Profiles hold what the process holds: they are there only where somebody asked for them.
func TestProfilesAreServedOnDemandOnly(t *testing.T) {
	t.Parallel()
	for profile, want := range map[bool]int{true: http.StatusOK, false: http.StatusNotFound} {
		url, stop := serve(t, ops.Handlers{Profile: profile})
		for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile?seconds=1"} {
			status, _ := get(t, url+path)
			require.Equal(t, want, status, "%v %s", profile, path)
		}
		require.NoError(t, stop())
	}
}
