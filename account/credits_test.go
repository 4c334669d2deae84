package account_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestNextResetIsNeverPast(t *testing.T) {
	t.Parallel()
	day := func(s string) time.Time {
		at, err := time.Parse(time.DateOnly, s)
		require.NoError(t, err)
		return at
	}
	for name, c := range map[string]struct {
		end       string
		now, want string
	}{
		"as written down":                    {now: "2026-02-10", want: "2026-02-28"},
		"at that moment":                     {now: "2026-02-28", want: "2026-03-31"},
		"two years later":                    {now: "2028-02-28", want: "2028-02-29"},
		"before it, whatever is paid":        {end: "2026-02-14", now: "2026-02-10", want: "2026-02-28"},
		"with a subscription":                {end: "2027-01-05", now: "2026-06-10", want: "2027-01-05"},
		"with one whose period is over, too": {end: "2026-06-01", now: "2026-06-10", want: "2026-06-30"},
	} {
		w := account.Wallet{Credits: account.Credits{LastResetAt: day("2026-01-31"), NextResetAt: day("2026-02-28")}}
		if c.end != "" {
			end := day(c.end)
			w.Subscription.PeriodEnd = &end
		}
		require.Equal(t, day(c.want), w.NextReset(day(c.now)), name)
	}
}
