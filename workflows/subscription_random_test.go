package workflows_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"pgregory.net/rapid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/workflows"
	"gatehouse/workflows/billingtest"
)

// audit follows a subscription change by change, and finds what the invariants of the books forbid.
type audit struct {
	*life
	faults  []string
	periods map[time.Time]bool
	credits int64
	// owed are the invoices that were open at some time, by id.
	owed map[string]account.Invoice
}

func newAudit(l *life) *audit {
	a := &audit{life: l, periods: map[time.Time]bool{}, owed: map[string]account.Invoice{}}
	l.Watch = a.see
	return a
}

func (a *audit) require(holds bool, invariant string) {
	if !holds {
		a.faults = append(a.faults, invariant)
	}
}

// see is told of every change before it is made. It runs where a failure would not end the test.
func (a *audit) see(before account.Subscription, c account.SubscriptionChange) {
	after := c.After
	a.require(after.Version == before.Version+1, "I-10: versions count the changes")
	a.require(before.ID == "" || !before.Status.Ended(), "I-10: what is over is over")
	a.require(c.Event != "plan_change_declined" || after.MethodID == before.MethodID, "what was declined takes no method's place")
	a.require(c.Opened == nil || before.Invoice == nil, "I-08: one open invoice at a time")
	a.require(after.Status != account.SubscriptionPaused || after.Invoice == nil, "I-09: nothing is owed while it is paused")
	if c.Opened != nil {
		a.owed[c.Opened.ID] = *c.Opened
		a.require(c.Opened.Reason == account.InvoiceUpdate || !c.Opened.PeriodStart.After(a.Now()), "I-09: nobody pays ahead")
	}
	paid := c.Settled != nil && c.Settled.Status == account.InvoicePaid
	a.require(c.Credits == 0 || paid && c.Credits > 0, "I-11: credits come with payments")
	a.credits += c.Credits
	if c.Settled == nil {
		return
	}
	asked, known := a.owed[c.Settled.ID]
	a.require(known && asked.Amount == c.Settled.Amount && asked.PeriodStart.Equal(c.Settled.PeriodStart), "I-08: an invoice does not change")
	charged := 0
	for attempt := range c.Settled.Attempt {
		if amount, there := a.Ledger[billingtest.Key(*c.Settled, attempt+1)]; there {
			charged++
			a.require(amount == c.Settled.Amount, "I-08: the amounts are equal")
		}
	}
	if paid {
		a.require(charged == 1, "I-08: a paid invoice has one charge")
		if c.Settled.Reason != account.InvoiceUpdate {
			a.require(!a.periods[c.Settled.PeriodStart], "I-09: a period is paid once")
			a.periods[c.Settled.PeriodStart] = true
		}
	} else {
		a.require(charged == 0, "I-08: what was charged is paid")
	}
}

// outcomes are what may become of a charge.
var outcomes = map[string]func() (*account.Decline, error){
	"paid": func() (*account.Decline, error) { return nil, nil },
	"soft": func() (*account.Decline, error) { return &account.Decline{Code: "insufficient_funds"}, nil },
	"hard": func() (*account.Decline, error) { return &account.Decline{Code: "stolen_card", Hard: true}, nil },
	"auth": func() (*account.Decline, error) {
		return &account.Decline{Code: "authentication_required", ActionRequired: true}, nil
	},
	"away": func() (*account.Decline, error) { return nil, errors.New("away") },
	"lost": func() (*account.Decline, error) { return nil, billingtest.ErrLost },
}

// moods are the outcomes as they are drawn: with more bad ones few lives would be long.
var moods = append(slices.Repeat([]string{"paid"}, 12), "soft", "soft", "hard", "auth", "away", "away", "lost", "lost")

// edge draws a moment near one at which a period ends, if nothing has moved it.
func edge(t *rapid.T) time.Duration {
	month := rapid.IntRange(0, 23).Draw(t, "month")
	near := rapid.SampledFrom([]time.Duration{
		-days(3), -time.Hour, -time.Second, -time.Millisecond, 0, time.Millisecond, time.Second, 3 * time.Second, time.Hour, days(1), days(2), days(10),
	}).Draw(t, "near")
	return max(0, midnight.AddDate(0, month, 0).Add(near).Sub(midnight))
}

// asked draws a request, and has it asked.
func (l *life) asked(t *rapid.T) *reply {
	at := edge(t)
	switch kind := rapid.SampledFrom([]string{"plan", "method", "both", "pause", "until", "resume", "cancel", "now", "undo", "look"}).Draw(t, "request"); kind {
	case "plan":
		to := rapid.SampledFrom([]string{"starter", "premium", "tried", "annual", "nonsense"}).Draw(t, "to")
		return l.change(at, activities.CommandChangePlan, workflows.SubscriptionRequest{PlanID: to})
	case "method":
		return l.change(at, activities.CommandChangeMethod, workflows.SubscriptionRequest{
			MethodID: rapid.SampledFrom([]string{"pm_1", "pm_2"}).Draw(t, "method"),
		})
	case "both":
		return l.change(at, activities.CommandChangeBoth, workflows.SubscriptionRequest{
			PlanID:   rapid.SampledFrom([]string{"starter", "premium", "tried", "annual", "nonsense"}).Draw(t, "to"),
			MethodID: rapid.SampledFrom([]string{"pm_1", "pm_2"}).Draw(t, "method"),
		})
	case "pause":
		reason := rapid.SampledFrom([]account.PauseReason{account.PausedByOwner, account.PausedDeactivation}).Draw(t, "reason")
		return l.change(at, activities.CommandPause, workflows.SubscriptionRequest{Reason: reason})
	case "until":
		resumes := midnight.Add(at + rapid.SampledFrom([]time.Duration{time.Second, days(20), days(400)}).Draw(t, "for"))
		return l.change(at, activities.CommandPause, workflows.SubscriptionRequest{Reason: account.PausedByOwner, ResumesAt: &resumes})
	case "resume":
		return l.change(at, activities.CommandResume, workflows.SubscriptionRequest{})
	case "cancel":
		l.change(at+rapid.SampledFrom([]time.Duration{0, time.Second, days(40)}).Draw(t, "undone after"), activities.CommandUndoCancel, workflows.SubscriptionRequest{})
		return l.change(at, activities.CommandCancel, workflows.SubscriptionRequest{})
	case "undo":
		return l.change(at, activities.CommandUndoCancel, workflows.SubscriptionRequest{})
	case "look":
		return l.ask(at, workflows.SubscriptionLook, nil)
	default:
		if rapid.IntRange(0, 9).Draw(t, "really") > 0 { // as above
			return l.ask(at, workflows.SubscriptionOpen, nil)
		}
		return l.change(at, activities.CommandCancelNow, workflows.SubscriptionRequest{})
	}
}

// TestSubscription_AnyTwoYears plays two years of random requests at the edges of periods, with a bank and a provider in any
// mood, and a database whose answers are lost at times: whatever comes, the books are in order after every change, and whoever
// asked has an answer.
func TestSubscription_AnyTwoYears(t *testing.T) {
	t.Parallel()
	keys := testKeys(t)
	rapid.Check(t, func(t *rapid.T) {
		rules := billing
		rules.DunningEnd = rapid.SampledFrom([]account.SubscriptionStatus{account.SubscriptionCanceled, account.SubscriptionUnpaid}).Draw(t, "dunning ends")
		l := &life{t: t, keys: keys, Books: &billingtest.Books{Plans: plansByID, Rules: rules}}
		l.size = rapid.SampledFrom([]int{0, 1 << 20}).Draw(t, "size")
		a := newAudit(l)
		left := rapid.SliceOfN(rapid.SampledFrom(moods), 0, 60).Draw(t, "moods")
		l.Refuse = func(account.Invoice) (*account.Decline, error) {
			mood := "paid"
			if len(left) > 0 {
				mood, left = left[0], left[1:]
			}
			return outcomes[mood]()
		}
		silent := rapid.SliceOfN(rapid.Custom(edge), 0, 6).Draw(t, "silent")
		l.dim = len(silent) > 0
		l.Changed = func(activities.SubscriptionCommandKind) error {
			for _, from := range silent {
				if since := l.Now().Sub(midnight.Add(from)); since >= 0 && since < time.Minute {
					return account.ErrUnavailable
				}
			}
			return nil
		}
		var replies []*reply
		for range rapid.IntRange(0, 40).Draw(t, "requests") {
			replies = append(replies, l.asked(t))
		}
		if rapid.IntRange(0, 3).Draw(t, "closed") == 0 {
			l.at(edge(t), func(env *testsuite.TestWorkflowEnvironment) { env.SignalWorkflow(workflows.SubscriptionEnd, nil) })
		}
		// Stopped at a moment at which nothing is due: what is half done then has no outcome.
		ended, err := l.until(midnight.AddDate(2, 0, 1).Sub(midnight)+12*time.Hour, rapid.SampledFrom([]string{"starter", "premium", "tried", "annual"}).Draw(t, "plan"))
		require.NoError(t, err)
		require.Empty(t, a.faults, "%v", l.Events)
		require.Equal(t, ended, l.Sub.Status.Ended())
		require.Len(t, l.Events, int(l.Sub.Version), "I-10")
		require.Equal(t, a.credits, l.Credits, "I-11")
		require.LessOrEqual(t, len(l.Ledger)-len(l.Paid), openCharges(l), "I-08: a charge without its invoice")
		for i, r := range replies {
			require.True(t, r.answered || r.asked.IsZero() || slices.ContainsFunc(l.ends, r.asked.Equal), "request %d has no answer", i)
		}
	})
}

// openCharges counts the charges whose outcome is not known yet: those of an open invoice.
func openCharges(l *life) int {
	if l.Sub.Invoice == nil {
		return 0
	}
	return 1
}
