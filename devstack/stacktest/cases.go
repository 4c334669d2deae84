//go:build unix

package stacktest

import (
	"flag"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/devstack/casebook"
)

var (
	// results is where tests report which cases they have shown.
	results = flag.String("casebook", "", "the file to report the outcome of cases to")
	// rounds is how often a race is run; security.md asks for 50, `-rounds 50` gives them.
	rounds = flag.Int("rounds", 1, "how often every race is run")
	// outage is how long something is away in a test of a fault; make chaos gives it a minute.
	outage = flag.Duration("outage", 3*time.Second, "how long something that a test takes away stays away")
)

// covered is what each test that covers cases has done so far, by its name.
var covered = struct {
	sync.Mutex
	tests map[string]*casebook.Result
}{tests: map[string]*casebook.Result{}}

// book is read once; every test asks it.
var book = sync.OnceValues(casebook.Read)

// named is a case in the name of a test: OTP02, SES-11, F23.
var named = regexp.MustCompile(`(?:^|[^A-Za-z0-9])([A-Z]{3}|F|I)-?(\d\d)(?:$|[^0-9])`)

// Covers says which cases of the book a test shows, beside those that its name has; call it first. A test whose name is
// enough need not call it: sending a request is. With -casebook the outcome is reported, after all its other cleanups.
// An id that the book does not have fails the test.
func Covers(t testing.TB, ids ...string) {
	t.Helper()
	all, err := book()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !all.Has(id) {
			t.Fatalf("the book of cases has no %q", id)
		}
	}
	covered.Lock()
	defer covered.Unlock()
	cover(t, append(ids, inName(all, t.Name())...))
}

// cover is called with the lock held.
func cover(t testing.TB, ids []string) {
	t.Helper()
	if r := covered.tests[t.Name()]; r != nil {
		r.Cases = append(r.Cases, ids...)
		return
	}
	covered.tests[t.Name()] = &casebook.Result{Test: t.Name(), Cases: ids, Rounds: 1}
	began := time.Now()
	t.Cleanup(func() { report(t, time.Since(began)) })
}

// inName are the cases of the book that a test's name, or that of a test it is a part of, has.
func inName(all casebook.Book, name string) []string {
	var ids []string
	for rest := name; ; {
		at := named.FindStringSubmatchIndex(rest)
		if at == nil {
			return ids
		}
		if id := rest[at[2]:at[3]] + "-" + rest[at[4]:at[5]]; all.Has(id) {
			ids = append(ids, id)
		}
		rest = rest[at[5]:] // what ends one id may begin the next
	}
}

func report(t testing.TB, took time.Duration) {
	t.Helper()
	covered.Lock()
	r := *covered.tests[t.Name()]
	delete(covered.tests, t.Name()) // -count runs it again
	covered.Unlock()
	r.Took, r.Outcome = took, casebook.Passed
	switch {
	case t.Failed():
		r.Outcome = casebook.Failed
	case t.Skipped():
		r.Outcome = casebook.Skipped
	}
	if *results == "" {
		return
	}
	if err := casebook.Append(*results, r); err != nil {
		t.Error(err)
	}
}

// Rounds is how often a race of this test is to be run (-rounds), each time with accounts of its own.
func Rounds(t testing.TB) int {
	t.Helper()
	tell(t, func(r *casebook.Result) { r.Rounds = max(r.Rounds, *rounds) })
	return *rounds
}

// Full says that tests are to be played at their full length, as `make attack` does, and not in short.
func Full() bool { return *rounds > 1 }

// Outage is how long something that a test takes away stays away (-outage): business time, for which nothing else can be awaited.
func Outage() time.Duration { return *outage }

// Called counts requests that a test has sent.
func Called(t testing.TB, n int) {
	t.Helper()
	tell(t, func(r *casebook.Result) { r.Calls += n })
}

// tell changes what is reported of a test, or of the one it is a part of.
func tell(t testing.TB, change func(*casebook.Result)) {
	t.Helper()
	covered.Lock()
	defer covered.Unlock()
	if covered.tests[t.Name()] == nil {
		if all, err := book(); err == nil { // TestRead of the book says why not
			if ids := inName(all, t.Name()); len(ids) > 0 {
				cover(t, ids)
			}
		}
	}
	for name := t.Name(); name != ""; {
		if r := covered.tests[name]; r != nil {
			change(r)
			return
		}
		cut := strings.LastIndexByte(name, '/')
		if cut < 0 {
			return
		}
		name = name[:cut]
	}
}
