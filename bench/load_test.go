//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestLoadCountsWhatWasAnswered(t *testing.T) {
	t.Parallel()
	var served, posted atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		if body, _ := io.ReadAll(r.Body); r.Method == http.MethodPost && string(body) == `{"a":1}` {
			posted.Add(1)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", int(served.Load()%2000)))
	}))
	defer server.Close()

	found, err := load{
		address: server.Listener.Addr().String(), requests: [][]byte{get("/a", "X-API-Key", "k"), post("/b", `{"a":1}`)},
		connections: 3, duration: 50 * time.Millisecond,
	}.run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, served.Load(), found.requests)
	require.Positive(t, posted.Load(), "requests are sent in turn")
	require.Less(t, posted.Load(), served.Load())
	require.InDelta(t, float64(found.requests)/0.05, found.rate, found.rate, "by the second")
	require.Positive(t, found.p50)
	require.LessOrEqual(t, found.p50, found.p99)
}

func TestLoadFailsOnWhatIsNoAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    error
	}{
		"refused": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }, errNotOK},
		"no length": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "x")
			_ = http.NewResponseController(w).Flush()
		}, errNotSimple},
		"cut off": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, io.EOF},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(c.handler)
			defer server.Close()
			_, err := load{
				address: server.Listener.Addr().String(), requests: [][]byte{get("/", "", "")}, connections: 2, duration: time.Minute,
			}.run(t.Context())
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	var hundred []time.Duration
	for i := range 100 {
		hundred = append(hundred, time.Duration(i+1))
	}
	require.EqualValues(t, 50, percentile(hundred, 0.50))
	require.EqualValues(t, 99, percentile(hundred, 0.99))
	require.EqualValues(t, 1, percentile(hundred[:1], 0.99))
	require.EqualValues(t, 2, percentile(hundred[:3], 0.50))
}

func TestSeriesIsComparedWithItsNeighbour(t *testing.T) {
	t.Parallel()
	of := func(rates ...float64) *series {
		s := &series{}
		for _, r := range rates {
			s.samples = append(s.samples, sample{result: result{requests: 10, rate: r}, cpu: time.Millisecond})
		}
		return s
	}
	s := of(50, 90, 10)
	s.limit = of(100, 100, 100) // a busy machine slows both: rounds are compared, not medians
	atLeast := func(x float64) bool { return x >= 0.5 }
	require.Equal(t, []string{"0.50", "0.10 to 0.90", ">= 0.5", "yes"}, s.compared(rateOf, ">= 0.5", atLeast))
	s.samples[0].rate = 40
	require.Equal(t, []string{"0.40", "0.10 to 0.90", ">= 0.5", "no"}, s.compared(rateOf, ">= 0.5", atLeast))
	s.reference = true
	require.Equal(t, []string{"0.40", "0.10 to 0.90", "", ""}, s.compared(rateOf, ">= 0.5", atLeast))
	require.Equal(t, []string{"1", "", "", ""}, s.limit.compared(rateOf, ">= 0.5", atLeast))
	require.Equal(t, 100*time.Microsecond, s.cpu(), "for one request")
	require.InDelta(t, 0.003, s.cpuSeconds(), 1e-9)
}

func TestTableAligns(t *testing.T) {
	t.Parallel()
	want := "| a   | b |\n|-----|---|\n| é   | 1 |\n| ccc | 2 |\n"
	require.Equal(t, want, table([][]string{{"a", "b"}, {"é", "1"}, {"ccc", "2"}}))
}

func TestUsageOfAProcess(t *testing.T) {
	t.Parallel()
	before := ownCPU()
	for end := time.Now().Add(30 * time.Millisecond); time.Now().Before(end); {
	}
	require.Greater(t, ownCPU(), before)
	require.Zero(t, usageOf(-1))
}
