//go:build unix

package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// confine bounds the memory of a process as the kernel does for containers: whoever takes more is killed. It reports whether this
// machine lets us.
func confine(t testing.TB, p *stacktest.Process, bytes int) bool {
	t.Helper()
	for root, limit := range map[string]string{
		"/sys/fs/cgroup/memory": "memory.limit_in_bytes", "/sys/fs/cgroup": "memory.max",
	} {
		dir := filepath.Join(root, "gatehouse-test-"+strconv.Itoa(p.PID()))
		if os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, limit)); err != nil { // a directory like any other: no group lives here
			_ = os.Remove(dir)
			continue
		}
		t.Cleanup(func() { // once the process has gone
			p.Kill()
			testkit.Eventually(t, patience, func() bool { return os.Remove(dir) == nil }, "the group to be removed")
		})
		if os.WriteFile(filepath.Join(dir, limit), []byte(strconv.Itoa(bytes)), 0) == nil &&
			os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(p.PID())), 0) == nil {
			return true
		}
	}
	return false
}

// F-37: an API with 256 MB, and told so, under a flood of logins sheds what it cannot do, answers who is signed in, and lives.
func TestFault_F37_LittleMemory(t *testing.T) {
	t.Parallel()
	const most = 256 << 20
	s := breakable(t, stacktest.Options{}, "GATEHOUSE_HASH_QUEUE", "16", "GATEHOUSE_HASH_WAIT", "500ms", "GOMEMLIMIT", "230MiB")
	if !confine(t, s.api, most) {
		t.Log("this machine lets us bound no memory: the API's own figure has to do")
	}
	token := s.signUp(t, newEmail())
	ctx, end := context.WithCancel(t.Context())
	var all sync.WaitGroup
	defer all.Wait()
	defer end()
	var shed, compared atomic.Int32
	flood := newClient(s.base)
	s.withstand(t, fault{
		strike: func() {
			for range 24 {
				all.Go(func() {
					for ctx.Err() == nil {
						got, err := flood.try(ctx, call{Path: pathLogin, Body: fields{"email": newEmail(), "password": password}})
						switch {
						case ctx.Err() != nil:
						case err == nil && got.Status == http.StatusUnauthorized:
							compared.Add(1)
						case err == nil && got.Status == http.StatusServiceUnavailable && got.Header.Get("Retry-After") != "":
							shed.Add(1)
							select {
							case <-time.After(20 * time.Millisecond): // as the answer asks for, if not for as long
							case <-ctx.Done():
							}
						default:
							t.Errorf("%d %s %v", got.Status, got.Body, err)
							return
						}
					}
				})
			}
		},
		meanwhile: func() {
			s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
			outage(t)
			s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
		},
		heal: func() { end(); all.Wait(); flood.hangUp() },
	})
	stacktest.Called(t, int(shed.Load()+compared.Load()))
	require.Positive(t, shed.Load(), "nothing was shed")
	require.Positive(t, compared.Load())
	require.Less(t, s.memory(t), int64(most))
	select {
	case <-s.api.Done():
		require.Fail(t, "the API died")
	default:
	}
}

// F-38: with every core but one's worth of another's work, a login and a revocation take twice as long at most.
func TestFault_F38_BusyProcessor(t *testing.T) {
	t.Parallel()
	s := breakable(t, stacktest.Options{})
	email := newEmail()
	s.signUp(t, email)
	const times = 15
	median := func() (login, revoke time.Duration) {
		var logins, revokes []time.Duration
		for range times {
			began := time.Now()
			token := s.signedIn(t, email, password)
			logins = append(logins, time.Since(began))
			began = time.Now()
			s.want(t, http.StatusOK, call{Method: http.MethodPost, Path: pathLogout, Token: token})
			revokes = append(revokes, time.Since(began))
			s.requireDead(t, token)
		}
		slices.Sort(logins)
		slices.Sort(revokes)
		return logins[times/2], revokes[times/2]
	}
	bursts.Lock()
	defer bursts.Unlock()
	calmLogin, calmRevoke := median()
	burner := exec.CommandContext(t.Context(), "sh", "-c", "while :; do :; done")
	require.NoError(t, burner.Start())
	defer func() { _ = burner.Process.Kill(); _ = burner.Wait() }()
	login, revoke := median()
	t.Logf("login %s, with a core busy %s; logout %s, with a core busy %s", calmLogin, login, calmRevoke, revoke)
	// Other tests share the machine: what they take is slack.
	const slack = 150 * time.Millisecond
	require.LessOrEqual(t, login, (2*calmLogin+slack)*crowding())
	require.LessOrEqual(t, revoke, (2*calmRevoke+slack)*crowding())
	require.NotContains(t, s.api.Output(), `"code":"busy"`, "one login after the other is none too many")
}
