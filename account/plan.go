package account

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Plan is a row of the catalogue. A plan that somebody pays for never changes its price: a new price is a new plan.
type Plan struct {
	// ID is what clients name (a price id), Code what documents B and C show, Name what document A shows.
	ID   string
	Code string
	Name string `json:",omitzero"`
	// Family is what an account has at most one live subscription of.
	Family          string
	Free            bool `json:",omitzero"`
	Price           Money
	Interval        Interval
	TrialDays       int      `json:",omitzero"`
	CreditsPerMonth int64    `json:",omitzero"`
	Features        []string `json:",omitzero"`
	// Retired plans renew, and take no new subscribers.
	Retired bool `json:",omitzero"`
}

// MainFamily is the family of plans that a plan without one belongs to, and the one that /me shows.
const MainFamily = "main"

// Money is an amount in the minor units of a currency (cents), whose code is lower-case ISO 4217.
type Money struct {
	Amount   int64
	Currency string
}

// FormatMoney writes an amount for people, such as 29.00 USD. Every currency that we take has two decimals, or none.
func FormatMoney(m Money) string {
	code := strings.ToUpper(m.Currency)
	if slices.Contains(wholeCurrencies, m.Currency) {
		return fmt.Sprintf("%d %s", m.Amount, code)
	}
	return fmt.Sprintf("%d.%02d %s", m.Amount/100, m.Amount%100, code)
}

// wholeCurrencies have no minor unit (Stripe: zero-decimal currencies).
var wholeCurrencies = []string{
	"bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf",
}

// Interval is how long one period of a plan lasts.
type Interval struct {
	Unit  IntervalUnit
	Count int
}

// IntervalUnit is the unit of an Interval.
type IntervalUnit string

// The units. Seconds are for tests: production refuses a catalogue that has them.
const (
	IntervalSecond IntervalUnit = "second"
	IntervalDay    IntervalUnit = "day"
	IntervalWeek   IntervalUnit = "week"
	IntervalMonth  IntervalUnit = "month"
	IntervalYear   IntervalUnit = "year"
)

// Known reports whether the unit is one of the units.
func (u IntervalUnit) Known() bool {
	switch u {
	case IntervalSecond, IntervalDay, IntervalWeek, IntervalMonth, IntervalYear:
		return true
	}
	return false
}

// Months is how many monthly grants of credits one period holds: one at least.
func (i Interval) Months() int64 {
	switch i.Unit {
	case IntervalMonth:
		return int64(max(1, i.Count))
	case IntervalYear:
		return int64(max(1, 12*i.Count))
	case IntervalSecond, IntervalDay, IntervalWeek:
	}
	return 1
}

// After returns the first end of a period later than t, when periods are counted from anchor: the day of the month is the
// anchor's, or the month's last where it has fewer days, so the 31st comes back after February.
func (i Interval) After(anchor, t time.Time) time.Time {
	n := max(0, i.between(anchor, t)-1)
	for {
		n++
		if end := i.times(anchor, n); end.After(t) {
			return end
		}
	}
}

// between is at most the number of whole intervals from anchor to t.
func (i Interval) between(anchor, t time.Time) int {
	longest := time.Duration(max(1, i.Count))
	switch i.Unit {
	case IntervalSecond:
		longest *= time.Second
	case IntervalWeek:
		longest *= 7 * 24 * time.Hour
	case IntervalMonth:
		longest *= 31 * 24 * time.Hour
	case IntervalYear:
		longest *= 366 * 24 * time.Hour
	case IntervalDay:
		longest *= 24 * time.Hour
	}
	return int(t.Sub(anchor) / longest)
}

func (i Interval) times(anchor time.Time, n int) time.Time {
	n *= max(1, i.Count)
	switch i.Unit {
	case IntervalSecond:
		return anchor.Add(time.Duration(n) * time.Second)
	case IntervalWeek:
		return anchor.AddDate(0, 0, 7*n)
	case IntervalMonth:
		return addMonths(anchor, n)
	case IntervalYear:
		return addMonths(anchor, 12*n)
	case IntervalDay:
	}
	return anchor.AddDate(0, 0, n)
}

// addMonths keeps the day of the month, or takes the last one: AddDate would go on into the next month.
func addMonths(t time.Time, n int) time.Time {
	first := time.Date(t.Year(), t.Month()+time.Month(n), 1, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), t.Location())
	last := first.AddDate(0, 1, -1).Day()
	return first.AddDate(0, 0, min(t.Day(), last)-1)
}

// rate is the price of a second in a millionth of the minor unit: what tells the dearer of two plans.
func (p Plan) rate() int64 {
	seconds := map[IntervalUnit]int64{
		IntervalSecond: 1, IntervalDay: 86_400, IntervalWeek: 604_800, IntervalMonth: 2_629_746, IntervalYear: 31_556_952,
	}
	return p.Price.Amount * 1_000_000 / (max(1, seconds[p.Interval.Unit]) * int64(max(1, p.Interval.Count)))
}

// Entitlement is what an account may use now. An account without a live subscription has the free plan (contract X16):
// Plan.Free is true, Status "active", ID and PeriodEnd nil, and the period starts with the account.
type Entitlement struct {
	ID          *string
	Plan        Plan
	Status      string
	PeriodStart time.Time
	PeriodEnd   *time.Time
	CancelAt    *time.Time
}

// The bounds of a plan. An amount beyond a hundred million in minor units is a mistake.
const (
	maxPlanAmount   = 10_000_000_000
	maxPlanCredits  = 1_000_000_000
	maxPlanFeatures = 50
	maxTrialDays    = 730
	maxIntervals    = 1000
)

// WithDefaults fills in what a catalogue may leave out: the main family, US dollars, one month, no features.
func (p Plan) WithDefaults() Plan {
	if p.Features == nil {
		p.Features = []string{}
	}
	p.Family = cmp.Or(p.Family, MainFamily)
	p.Price.Currency = cmp.Or(p.Price.Currency, "usd")
	p.Interval.Unit = cmp.Or(p.Interval.Unit, IntervalMonth)
	p.Interval.Count = cmp.Or(p.Interval.Count, 1)
	return p
}

// Fault returns what keeps a plan out of the catalogue, or nothing.
func (p Plan) Fault() string {
	switch {
	case p.ID == "" || len(p.ID) > 255 || strings.ContainsFunc(p.ID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "needs an id of at most 255 printable characters"
	case p.Code == "" || p.Name == "":
		return "needs a code and a name"
	case strings.ContainsFunc(strings.Join(append([]string{p.Code, p.Name, p.Family}, p.Features...), ""), unicode.IsControl):
		return "holds a control character, such as a line break" // NUL among them, which no row can hold
	case p.Price.Amount < 0 || p.Price.Amount > maxPlanAmount:
		return "has an impossible amount; it is in minor units (cents)"
	case len(p.Price.Currency) != 3 || strings.ContainsFunc(p.Price.Currency, func(r rune) bool { return r < 'a' || r > 'z' }):
		return "needs a currency of three letters (ISO 4217)"
	case !p.Interval.Unit.Known() || p.Interval.Count < 1 || p.Interval.Count > maxIntervals:
		return "needs an interval (day, week, month or year) and an interval_count from 1 to 1000"
	case p.TrialDays < 0 || p.TrialDays > maxTrialDays:
		return "has impossible trial_days"
	case p.CreditsPerMonth < 0 || p.CreditsPerMonth > maxPlanCredits:
		return "has impossible credits_per_month"
	case len(p.Features) > maxPlanFeatures:
		return "has more than 50 features"
	}
	return ""
}
