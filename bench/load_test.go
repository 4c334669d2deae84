//go:build unix

package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
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

	l := load{
		address: server.Listener.Addr().String(), requests: [][]byte{get("/a", "X-API-Key", "k"), post("/b", `{"a":1}`)},
		connections: 3, duration: 50 * time.Millisecond,
	}
	found, err := l.run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, served.Load(), found.requests)
	require.Positive(t, posted.Load(), "requests are sent in turn")
	require.Less(t, posted.Load(), served.Load())
	require.Positive(t, found.rate)
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
			l := load{address: server.Listener.Addr().String(), requests: [][]byte{get("/")}, connections: 2, duration: time.Minute}
			_, err := l.run(t.Context())
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
	require.Equal(t, []string{"0.50", "0.10 to 0.90", ">= 0.50", "yes"}, s.compared(rateOf, 0.5, atLeast))
	s.samples[0].rate = 40
	require.Equal(t, []string{"0.40", "0.10 to 0.90", ">= 0.50", "no"}, s.compared(rateOf, 0.5, atLeast))
	require.Equal(t, []string{"0.40", "0.10 to 0.90", "<= 0.50", "yes"}, s.compared(rateOf, 0.5, atMost))
	require.Equal(t, []string{"0.40", "0.10 to 0.90", "", ""}, s.compared(rateOf, 0, atLeast))
	require.Equal(t, []string{"1", "", "", ""}, s.limit.compared(rateOf, 0.5, atLeast))
	require.Equal(t, 100*time.Microsecond, s.cpu(), "for one request")

	s.limit.samples[0].err = errNone
	require.Equal(t, "0.10", s.compared(rateOf, 0.5, atLeast)[0], "a round without its limit counts nowhere")
	for i := range s.samples {
		s.samples[i].err = errNone
	}
	require.False(t, s.known())
	require.Equal(t, notMeasured, s.compared(rateOf, 0.5, atLeast)[0])
	require.Len(t, s.failures(), 3)
	v := s.ratioVerdict(measureRate, rateOf, ">= 0.50", func(float64) bool { return true })
	require.Equal(t, []string{notMeasured, "no"}, v.cells()[4:], "what was not measured is not met")
}

func TestLoadSendsEachOnce(t *testing.T) {
	t.Parallel()
	var served atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if served.Add(1); r.URL.Path == "/refused" {
			w.WriteHeader(http.StatusConflict)
		}
	}))
	defer server.Close()
	l := load{address: server.Listener.Addr().String(), connections: 2, duration: time.Minute, once: true, tolerant: true}
	l.requests = [][]byte{get("/refused")}
	for range 199 {
		l.requests = append(l.requests, get("/a"))
	}
	found, err := l.run(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 200, served.Load())
	require.Equal(t, 199, found.requests, "those that were answered with success")
	require.Equal(t, 1, found.refused)
	l.requests = l.requests[:50]
	_, err = l.run(t.Context())
	require.ErrorIs(t, err, errNotOK, "too many were refused")
}

func TestLoadGoesOnWithTheAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.URL.Path+"x")
	}))
	defer server.Close()
	l := load{
		address: server.Listener.Addr().String(), requests: [][]byte{get("/a"), get("/b")}, connections: 2, duration: 50 * time.Millisecond,
		chain: func(body []byte) ([]byte, error) { return get(string(body)), nil },
	}
	_, err := l.run(t.Context())
	require.NoError(t, err)
	require.Contains(t, string(l.requests[0]), "GET /axx", "its own next request is kept")
	require.Contains(t, string(l.requests[1]), "GET /bxx")
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
	if runtime.GOOS == "linux" {
		own := usageOf(os.Getpid())
		require.InDelta(t, ownCPU(), own.cpu, float64(time.Second))
		require.Positive(t, own.rss)
	}
}
