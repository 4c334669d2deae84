package activities_test

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers"
	"gatehouse/providers/payment/paymenttest"
)

// tally is a Meter that remembers attempts; nothing else may be counted.
type tally struct {
	activities.Meter

	sent    []account.SendResult
	charged []account.ChargeResult
}

func (y *tally) Tried(channel account.Channel, result account.SendResult) {
	if channel == account.ChannelEmail {
		y.sent = append(y.sent, result)
	}
}

func (y *tally) Charged(result account.ChargeResult) { y.charged = append(y.charged, result) }

func TestMeter_CountsEachAttemptToSend(t *testing.T) {
	t.Parallel()
	b, counted := newBench(t), &tally{}
	b.Meter = counted
	_, challenge := b.pending(t)
	b.post.fault = func() error { return errors.New("nobody there") }
	_, err := b.sendCode(challenge)
	require.ErrorIs(t, err, account.ErrUnavailable)
	b.post.fault = nil
	twice[activities.Delivered](t, b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "signup_code"})
	require.Equal(t, []account.SendResult{account.SendFailed, account.SendSent}, counted.sent, "what was sent before is not handed over again")
}

func TestMeter_CountsWhatIsRefusedForGood(t *testing.T) {
	t.Parallel()
	b, counted := newBench(t), &tally{}
	b.Meter = counted
	_, challenge := b.pending(t)
	b.post.fault = func() error { return providers.Permanent(errors.New("550 no such mailbox")) }
	_, err := b.sendCode(challenge)
	require.NoError(t, err)
	require.Equal(t, []account.SendResult{account.SendDead}, counted.sent)
}

func TestMeter_CountsEachAttemptToCharge(t *testing.T) {
	t.Parallel()
	b, counted := newBench(t), &tally{}
	s := opened(t, b, paymenttest.Sandbox(t, b.Store))
	b.Meter = counted
	due := s.due()
	require.NoError(t, s.charge())
	_, err := run[activities.SubscriptionState](b, b.ChargeInvoice, due)
	require.NoError(t, err)
	require.Equal(t, []account.ChargeResult{account.ChargeSucceeded}, counted.charged, "a settled attempt is not charged again")
}
