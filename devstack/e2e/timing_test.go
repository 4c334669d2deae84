//go:build unix

package e2e_test

import (
	"flag"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pairs is how many calls of each kind are timed: security.md asks for 500, `-run ENU01_Times -pairs 500` gives them.
var pairs = flag.Int("pairs", 0, "how many pairs of calls a test of timing compares; 0 leaves these tests out")

// needsPairs leaves a test of timing out of `make test`: with the few pairs for which there is time, it shows neither that clocks
// tell nothing nor that they do. That status, headers and bodies tell nothing every run asks: TestEnumeration,
// TestEnumeration_ENU03_Hidden, TestPasswords, TestEmailChange_Hidden, TestEmailLink_Hidden_ENU03.
func needsPairs(t *testing.T) {
	t.Helper()
	if *pairs == 0 {
		t.Skip("times are compared by `make attack`, or with -pairs 500")
	}
}

// timed asks for each population in turn, as often as there are to be pairs, and wants the clock to tell none of them from the
// first by more than security.md allows: whoever guesses by the time is right as often as the area under the curve says, and that
// is 0.55 at most, beside what chance does with so many calls. What else this machine does meets all populations alike, and is no
// excuse.
func timed(t *testing.T, populations []string, ask func(population string, i int) time.Duration) {
	t.Helper()
	took := map[string][]time.Duration{}
	measure := func(i int) {
		bursts.RLock() // no test drives the machine to its limits meanwhile
		defer bursts.RUnlock()
		for nth := range populations {
			which := populations[(i+nth)%len(populations)]
			took[which] = append(took[which], ask(which, i))
		}
	}
	n := *pairs
	for i := range n {
		measure(i)
	}
	first := took[populations[0]]
	chance := math.Sqrt(float64(2*n+1) / float64(12*n*n))
	for _, name := range populations {
		t.Logf("%-13s AUC %.3f against %s, of %d pairs (chance alone: ±%.3f); median %s, nine of ten within %s", name,
			auc(first, took[name]), populations[0], n, chance, quantile(took[name], 0.5), quantile(took[name], 0.9))
	}
	for _, name := range populations[1:] {
		require.InDelta(t, 0.5, auc(first, took[name]), 0.05+2*chance, name)
	}
}

// clocked is how long a request takes that is answered with a status.
func (s *system) clocked(t *testing.T, status int, in call) time.Duration {
	t.Helper()
	started := time.Now()
	s.want(t, status, in)
	return time.Since(started)
}

// TestEnumeration_ENU01_Times asks whether the time alone of C07, B05 and C23 tells whether an address has an account. Every answer
// waits for a floor, so a machine that is slower than that cannot tell.
func TestEnumeration_ENU01_Times(t *testing.T) {
	t.Parallel()
	needsPairs(t)
	s := startSystem(t)
	for name, door := range map[string]struct {
		path   string
		status int
	}{
		"C07_ForgotPassword":       {pathForgotPassword, http.StatusOK},
		"B05_ResetPassword":        {pathResetB, http.StatusNoContent},
		"C23_SendVerificationCode": {pathSendCode, http.StatusOK},
	} {
		t.Run(name, func(t *testing.T) {
			people := s.populations(t, *pairs, door.path == pathSendCode)
			for range 5 { // what is made once is made now
				s.clocked(t, door.status, call{Path: door.path, Body: fields{"email": newEmail()}})
			}
			timed(t, []string{"unknown", "known"}, func(which string, i int) time.Duration {
				return s.clocked(t, door.status, call{Path: door.path, Body: fields{"email": people[which][i]}})
			})
		})
	}
}

// TestEnumeration_ENU01_LoginTimes asks the same of the logins of documents B and C, whose answers must take as long for every
// kind of account.
func TestEnumeration_ENU01_LoginTimes(t *testing.T) {
	t.Parallel()
	needsPairs(t)
	s := startSystem(t)
	people := s.people(t)
	people["mfa"] = s.enrolled(t).email
	kinds := append([]string{"unknown"}, slices.DeleteFunc(slices.Sorted(maps.Keys(people)), func(n string) bool { return n == "unknown" })...)
	for name, door := range map[string]struct{ path, name string }{
		"C14_Login": {pathLogin, "email"}, "B01_Authenticate": {pathAuthenticate, "username"},
	} {
		t.Run(name, func(t *testing.T) {
			timed(t, kinds, func(which string, _ int) time.Duration {
				// Nobody waits here for wrong passwords: that there is no difference in waiting has a test of its own.
				_, err := s.db.Exec(t.Context(), `UPDATE login_throttles SET failures = 0, not_before = now()`)
				require.NoError(t, err)
				return s.clocked(t, http.StatusUnauthorized, call{Path: door.path, Body: fields{door.name: people[which], "password": pass(which)}})
			})
		})
	}
}

// TestEnumeration_ENU03_Times asks the same of what tells nobody in hidden mode whether an address is taken: sign-ups, and
// changes of one's own address to it.
func TestEnumeration_ENU03_Times(t *testing.T) {
	t.Parallel()
	needsPairs(t)
	s := startSystem(t, append([]string{"GATEHOUSE_ENUMERATION", "hidden", "GATEHOUSE_STEP_UP_AGE", "10h"}, quickSends...)...)
	// One account may ask so often only, in the longest run as in the shortest.
	const each = 50
	asked, owner := 0, ""
	someOwner := func() string {
		if asked%each == 0 {
			owner = s.signUp(t, newEmail())
		}
		asked++
		return owner
	}
	guess := func(path string) func(email string) call {
		return func(email string) call {
			s.want(t, http.StatusOK, call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})
			return call{Path: path, Body: fields{"email": email, "code": "000000"}}
		}
	}
	for name, asks := range map[string]func(email string) call{
		"C06_CompleteSignup_Guess": guess(pathCompleteSignup), "C31_VerifyCode_Guess": guess(pathVerifyCode),
		"C08_InitiateSignup": func(email string) call {
			return call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}}
		},
		"B02_Register": func(email string) call {
			return call{Path: pathRegister, Body: fields{"username": email, "email": email, "password": password}}
		},
		"C20_UpdateProfile": func(email string) call { return moveTo(someOwner(), email) },
		"D23_LinkEmail":     func(email string) call { return linkTo(someOwner(), email) },
		"C04_CheckEmail":    func(email string) call { return call{Path: pathCheckEmail, Body: fields{"email": email}} },
		"C05_CheckEmailExists": func(email string) call {
			return call{Path: pathCheckEmailExists + "?email=" + strings.ReplaceAll(email, "@", "%40")}
		},
	} {
		t.Run(name, func(t *testing.T) {
			people := s.populations(t, *pairs, false)
			status := http.StatusOK
			if strings.HasSuffix(name, "_Guess") {
				status = http.StatusBadRequest
			}
			for range 3 {
				s.clocked(t, status, asks(newEmail()))
			}
			timed(t, []string{"unknown", "known"}, func(which string, i int) time.Duration {
				return s.clocked(t, status, asks(people[which][i]))
			})
		})
	}
}

func quantile(d []time.Duration, q float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[int(q*float64(len(sorted)-1))].Round(time.Millisecond)
}

// populations are n addresses of accounts and as many without, none of which was ever asked about. Accounts that await a code are
// unverified.
func (s *system) populations(t *testing.T, n int, unverified bool) map[string][]string {
	t.Helper()
	people := map[string][]string{}
	for i := range n {
		people["known"], people["unknown"] = append(people["known"], newEmail()), append(people["unknown"], newEmail())
		verified := map[bool]string{true: "NULL", false: "now()"}[unverified]
		_, err := s.db.Exec(t.Context(), `WITH a AS (
				INSERT INTO accounts (id, email, email_verified_at) VALUES (gen_random_uuid(), $1, `+verified+`) RETURNING id),
			c AS (INSERT INTO credits (account_id) SELECT id FROM a), w AS (INSERT INTO welcomes (account_id, full_bonus) SELECT id, 0 FROM a)
			INSERT INTO settings (account_id) SELECT id FROM a`, people["known"][i])
		require.NoError(t, err, fmt.Sprint(i))
	}
	return people
}
