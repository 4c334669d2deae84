package core

import (
	"strconv"
	"testing"

	"gatehouse/account"
)

// A cursor is one of a page before, or a fault; it never reaches further than the page says.
func FuzzSecurityEventsCursor(f *testing.F) {
	for _, seed := range []string{"1", "0", "-1", "", "9223372036854775808", "1e3", "+5", "٣", " 1", "0x10", "1\x00"} {
		f.Add(seed, int64(20))
	}
	f.Add("5", int64(0))
	f.Add("5", int64(101))
	f.Fuzz(func(t *testing.T, cursor string, limit int64) {
		page, err := SecurityEventsInput{Limit: &limit, Cursor: cursor}.validate()
		if err != nil {
			if account.AsError(err).Kind != account.Invalid {
				t.Fatalf("a fault of kind %v", account.AsError(err).Kind)
			}
			return
		}
		if page.Limit < 1 || page.Limit > maxEvents || cursor != "" && page.Before < 1 || cursor == "" && page.Before != 0 {
			t.Fatalf("%q and %d became %+v", cursor, limit, page)
		}
		if n, err := strconv.ParseInt(cursor, 10, 64); cursor != "" && (err != nil || n != page.Before) {
			t.Fatalf("%q became %d", cursor, page.Before)
		}
	})
}
