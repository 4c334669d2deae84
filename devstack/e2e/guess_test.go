//go:build unix

package e2e_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// OTP-15 in small: a few codes of each of many people, from fifty addresses of as many networks. No bound of a person or of
// an address is reached; the failures everywhere slow the addresses that fail, and nobody else.
func TestAttack_OTP15_SpreadGuessing(t *testing.T) {
	t.Parallel()
	const sources, failures = 50, 300
	s := startSystem(t, "GATEHOUSE_LIMIT_SCALE", "1", "GATEHOUSE_TRUSTED_PROXIES", "127.0.0.0/8",
		"GATEHOUSE_GUESS_FAILURES_PER_HOUR", fmt.Sprint(failures))
	from := func(source int, path string, body fields) answer {
		return s.raw(t, http.MethodPost, path, mustJSON(t, body), "X-Forwarded-For", fmt.Sprintf("10.7.%d.1", source))
	}
	victim := newEmail()
	require.Equal(t, http.StatusOK, from(200, pathInitiateSignup, fields{"email": victim, "password": password}).Status)
	code := s.awaitCode(t, victim)

	var compared, refused atomic.Int32
	atOnce(sources, func(source int) {
		for range 4 { // people, known or not: nobody else is asked for a code here
			email := newEmail()
			for guess := range 5 {
				got := from(source, pathCompleteSignup, fields{"email": email, "code": fmt.Sprintf("00000%d", guess)})
				switch got.Status {
				case http.StatusBadRequest:
					compared.Add(1)
				case http.StatusTooManyRequests:
					refused.Add(1)
					if got.Header.Get("Retry-After") == "" {
						t.Error("no Retry-After")
					}
				default:
					t.Errorf("%d %s", got.Status, got.Body)
				}
			}
		}
	})
	t.Logf("%d guesses compared, %d refused", compared.Load(), refused.Load())
	require.EqualValues(t, sources*4*5, compared.Load()+refused.Load())
	// Two people of five guesses each is what an address may fail at meanwhile.
	require.LessOrEqual(t, int(compared.Load()), failures+sources*2*5)
	for source := range sources {
		status := 0
		for range 3 { // each of them waits by now, at the third person at the latest
			status = from(source, pathVerifyCode, fields{"email": newEmail(), "code": "000000"}).Status
		}
		require.Equal(t, http.StatusTooManyRequests, status)
	}
	// The right code from such an address is not heard either, and costs the victim nothing.
	for range 12 {
		require.Equal(t, http.StatusTooManyRequests, from(0, pathCompleteSignup, fields{"email": victim, "code": code}).Status)
	}
	require.Zero(t, s.db.number(t, attemptsOf, victim))
	// Everybody else is served.
	wrong := distinctCodes(2, code)
	if wrong[0] == code {
		wrong[0] = wrong[1]
	}
	require.Equal(t, http.StatusBadRequest, from(200, pathCompleteSignup, fields{"email": victim, "code": wrong[0]}).Status)
	require.Equal(t, http.StatusOK, from(200, pathCompleteSignup, fields{"email": victim, "code": code}).Status)
	require.Equal(t, 1, strings.Count(s.api.Output(), "codes are guessed wrong everywhere"), "one alert")
	require.Contains(t, s.api.Output(), `"alert":"code_guessing"`)
}
