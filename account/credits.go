package account

import "time"

// CreditMultipliers are the credits that a unit of each action costs; the same for all accounts (contract A01).
var CreditMultipliers = map[string]float64{
	"default": 5.5, "speech_translation": 55, "translation": 27.5, "voice_cloning": 5.5, "voice_conversion": 16.5,
}

// NextReset is when the credits come next, as it was written down with the last ones. Once that is past, it is the end of the
// period of a subscription, or else the next month counted from the last ones: nobody is shown a date that is over.
func (w Wallet) NextReset(now time.Time) time.Time {
	switch end := w.Subscription.PeriodEnd; {
	case w.Credits.NextResetAt.After(now):
		return w.Credits.NextResetAt
	case end != nil && end.After(now):
		return *end
	}
	return Interval{Unit: IntervalMonth, Count: 1}.After(w.Credits.LastResetAt, now)
}
