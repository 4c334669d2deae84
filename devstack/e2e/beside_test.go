//go:build unix

package e2e_test

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// helpers is how many subtests run at once in all tests together, beside the one of each test that has its slot (see parallel).
// They share the systems that run anyway and mostly wait for mails and timers.
const helpers = 4

// helping has a place for each of them.
var helping = make(chan struct{}, helpers)

// beside runs test for each case, several at once, as a subtest of the case's name, and returns when all have ended. They are no
// parallel subtests: those give the slot of their test back and queue behind all other tests, while the system that they share
// stays up and idle, and those of thirty others. Here one of them has the slot, so that none of a test waits for another test's to
// end.
//
// Cases that start a system each are better parallel subtests: each waits for a slot of its own, and nothing idles meanwhile.
func beside[V any](t *testing.T, cases map[string]V, test func(t *testing.T, one V)) {
	t.Helper()
	var all sync.WaitGroup
	slot := make(chan struct{}, 1)
	for _, name := range slices.Sorted(maps.Keys(cases)) {
		place := slot
		select {
		case slot <- struct{}{}:
		default:
			select {
			case slot <- struct{}{}:
			case helping <- struct{}{}:
				place = helping
			}
		}
		all.Go(func() {
			defer func() { <-place }() // also when the subtest gives up this whole test, and this goroutine with it
			t.Run(name, func(t *testing.T) {
				defer failOfPanic(t)
				test(t, cases[name])
			})
		})
	}
	all.Wait()
}

// failOfPanic lets a subtest that panics fail. Go would end the run, and begin by cleaning up after the test while its other
// subtests are under way: what they complain of then is all that is seen.
func failOfPanic(t *testing.T) {
	if reason := recover(); reason != nil {
		t.Fatalf("panic: %v\n%s", reason, debug.Stack())
	}
}

// playAll plays scenarios on one system, beside each other.
func playAll[S any](t *testing.T, s S, plays map[string]func(*testing.T, S)) {
	t.Helper()
	beside(t, plays, func(t *testing.T, play func(*testing.T, S)) { play(t, s) })
}

func TestBeside(t *testing.T) {
	t.Parallel()
	cases := map[string]int{}
	for i := range 3 * helpers {
		cases[strconv.Itoa(i)] = i
	}
	var now, most, played atomic.Int64
	beside(t, cases, func(t *testing.T, i int) {
		require.Equal(t, "TestBeside/"+strconv.Itoa(i), t.Name())
		beside(t, cases, func(*testing.T, int) { // subtests of subtests wait for nobody who waits for them
			for at, seen := now.Add(1), most.Load(); at > seen && !most.CompareAndSwap(seen, at); seen = most.Load() {
			}
			played.Add(1)
			now.Add(-1)
		})
	})
	require.EqualValues(t, len(cases)*len(cases), played.Load())
	require.LessOrEqual(t, most.Load(), int64(1+helpers))
}

// Who calls t.Parallel in a subtest has its test give its slot back, see beside.
func TestSubtestsKeepTheSlotOfTheirTest(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*_test.go")
	require.NoError(t, err)
	indented := regexp.MustCompile(`(?m)^func (?:\(.*?\) )?(\w+)|^\t\t+\w+\.Parallel\(\)`)
	found := map[string]bool{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		require.NoError(t, err)
		function := ""
		for _, at := range indented.FindAllSubmatch(content, -1) {
			if len(at[1]) > 0 {
				function = string(at[1])
			} else {
				found[function] = true
			}
		}
	}
	require.Equal(t, []string{
		// Each of their cases starts a system of its own.
		"TestFault_F11_SES06_PostgresRestarts",
		"TestFault_F17_DatabaseClockOff",
		"TestFault_F23_SMSRefusedOrDownGoesByWhatsApp",
		"TestFault_F23_WhatsAppFailsAndSMSTakesOver",
		"TestFault_F25_F26_I09_StripeFailsUnderUsers",
		// Their tests are not parallel, so nobody queues before the cases.
		"TestRace_SES05_I05_NothingStartedAfterTheAnswerSucceeds",
		"race",
	}, slices.Sorted(maps.Keys(found)))
}
