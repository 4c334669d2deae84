package webhook

import (
	"testing"
	"time"
)

// A receiver may ask to be left alone, and not for a time that has no end.
func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"5", "-5", "99999999999", "Fri, 31 Dec 9999 23:59:59 GMT", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "", "1e9"} {
		f.Add(seed)
	}
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, header string) {
		if got := retryAfter(header, now); got < 0 {
			t.Fatalf("%q is %s", header, got)
		}
	})
}
