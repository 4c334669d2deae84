//go:build unix

package e2e_test

import (
	"flag"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pairs is how many calls of each kind are timed: security.md asks for 500, `-run ENU01_Times -pairs 500` gives them.
var pairs = flag.Int("pairs", 60, "how many pairs of calls a test of timing compares")

// TestEnumeration_ENU01_Times asks whether the time alone of C07 and C23 tells whether an address has an account. The two
// populations are asked in turn; whoever guesses by the time is right as often as the area under the curve says, and that is
// 0.55 at most, beside what chance does with so few calls. Where the machine is slower than the floor under every answer,
// the test only tells.
func TestEnumeration_ENU01_Times(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	for name, path := range map[string]string{"C07_ForgotPassword": pathForgotPassword, "C23_SendVerificationCode": pathSendCode} {
		t.Run(name, func(t *testing.T) {
			known, unknown := s.populations(t, path == pathSendCode)
			ask := func(email string) time.Duration {
				started := time.Now()
				s.want(t, http.StatusOK, call{Path: path, Body: fields{"email": email}})
				return time.Since(started)
			}
			for range 5 { // what is made once is made now
				ask(newEmail())
			}
			var took [2][]time.Duration
			bursts.RLock() // no test drives the machine to its limits meanwhile
			defer bursts.RUnlock()
			for i := range known {
				order := []int{i % 2, 1 - i%2}
				for _, which := range order {
					took[which] = append(took[which], ask([][]string{known, unknown}[which][i]))
				}
			}
			area := auc(took[1], took[0])
			n := float64(*pairs)
			chance := math.Sqrt((2*n + 1) / (12 * n * n))
			t.Logf("AUC %.3f of %d pairs (chance alone: ±%.3f); known: median %s, unknown: median %s",
				area, *pairs, chance, median(took[0]), median(took[1]))
			const floor = 80 * time.Millisecond // the highest there is
			slowest := slices.Max([]time.Duration{quantile(took[0], 0.9), quantile(took[1], 0.9)})
			if slowest > floor+floor/8 {
				t.Skipf("nine of ten calls take %s: this machine is busy, and no instrument", slowest)
			}
			require.InDelta(t, 0.5, area, 0.05+3*chance)
		})
	}
}

func quantile(d []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Millisecond)
}

// populations are as many addresses of accounts as without, none of which was ever asked about. Those that await a code are
// unverified.
func (s *system) populations(t *testing.T, unverified bool) (known, unknown []string) {
	t.Helper()
	for i := range *pairs {
		known, unknown = append(known, newEmail()), append(unknown, newEmail())
		verified := map[bool]string{true: "NULL", false: "now()"}[unverified]
		_, err := s.db.Exec(t.Context(), `WITH a AS (
				INSERT INTO accounts (id, email, email_verified_at) VALUES (gen_random_uuid(), $1, `+verified+`) RETURNING id),
			c AS (INSERT INTO credits (account_id) SELECT id FROM a), w AS (INSERT INTO welcomes (account_id, full_bonus) SELECT id, 0 FROM a)
			INSERT INTO settings (account_id) SELECT id FROM a`, known[i])
		require.NoError(t, err, fmt.Sprint(i))
	}
	return known, unknown
}
