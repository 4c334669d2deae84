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

func TestStartAll_ServesAndSurvivesKills(t *testing.T) {
	t.Parallel()
	s, api, worker := stacktest.StartAll(t, stacktest.Options{})
	require.Equal(t, http.StatusUnauthorized, status(t, s.BaseURL+"/api/v1/auth/me"))

	api.Kill()
	_, err := http.Get(s.BaseURL)
	require.Error(t, err)
	worker.Kill()
	again := s.StartAPI(t, nil)
	s.StartWorker(t, nil).Stop(t, 10*time.Second)
	require.Equal(t, http.StatusUnauthorized, status(t, s.BaseURL+"/api/v1/auth/me"))
	again.Stop(t, 10*time.Second)

	require.Contains(t, s.Command(t, nil, "migrate"), "up to date")
}
