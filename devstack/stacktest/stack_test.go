//go:build unix

package stacktest_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
)

func TestMain(m *testing.M) { stacktest.Main(m) }

func status(t *testing.T, url string) int {
	t.Helper()
	answer, err := http.Get(url)
	require.NoError(t, err)
	defer func() { _ = answer.Body.Close() }()
	return answer.StatusCode
}

// stopPatience is more than GATEHOUSE_SHUTDOWN_TIMEOUT: a worker that has just begun to ask for tasks is let go of no sooner, at
// times.
const stopPatience = 25 * time.Second

func TestStartAll_ServesAndSurvivesKills(t *testing.T) {
	t.Parallel()
	s, api, worker := stacktest.StartAll(t, stacktest.Options{})
	require.Equal(t, http.StatusUnauthorized, status(t, s.BaseURL+"/api/v1/auth/me"))

	api.Kill()
	_, err := http.Get(s.BaseURL)
	require.Error(t, err)
	worker.Kill()
	again := s.StartAPI(t, nil)
	s.StartWorker(t, nil).Stop(t, stopPatience)
	require.Equal(t, http.StatusUnauthorized, status(t, s.BaseURL+"/api/v1/auth/me"))
	again.Stop(t, stopPatience)

	require.Contains(t, s.Command(t, nil, "migrate"), "up to date")
}
