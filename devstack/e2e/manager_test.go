//go:build unix

package e2e_test

import (
	"encoding/json"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The example client of document A runs as it is printed, and finds a healthy account.
func TestAccountManagerOfDocumentA(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("the example is written in Python, and there is none here")
	}
	s := startSystem(t)
	email, number := newEmail(), newNumber(t)
	token := s.signUp(t, email)
	key := s.apiKey(t, token, "account:read", "account:write", "account:security")
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{
		"full_name": "Ann Example", "user_type": "individual", "audio_usage": "creator",
	}})

	type report struct {
		Health map[string]any `json:"health"`
		Phone  map[string]any `json:"phone"`
	}
	run := func(key string) (r report) {
		out, err := exec.CommandContext(t.Context(), python, "testdata/run_account_manager.py", s.stack.BaseURL, key, number).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, json.Unmarshal(out, &r), "%s", out)
		return r
	}
	got := run(key)
	require.Equal(t, map[string]any{
		"status": "healthy", "healthy": true, "session_valid": true, "needs_refresh": false, "account_verified": true,
		"phone_verified": false, "onboarding_complete": false, "completeness_score": 60.0, "low_credits_warning": false,
		"credits_available": 100.0,
	}, got.Health)
	require.Equal(t, true, got.Phone["verification_sent"], "%v", got.Phone)

	s.want(t, http.StatusOK, phoneProof(token, number, s.awaitPhoneCode(t, number, 1)))
	require.InDelta(t, 100, run(key).Health["completeness_score"], 0)
	require.Equal(t, map[string]any{"status": "invalid_session", "healthy": false}, run(strings.ToUpper(key)).Health)
}
