package activities_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers"
	"gatehouse/store"
)

func (b *bench) sendCode(challenge uuid.UUID) (activities.Delivered, error) {
	return run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "signup_code"})
}

func TestSentCodeIsTheOneThatProves(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	before := time.Now()
	d := twice[activities.Delivered](t, b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "signup_code"})
	require.Equal(t, activities.DeliverySent, d.State)
	require.WithinDuration(t, before.Add(policy.CodeTTL), d.CodeExpiresAt, time.Minute)

	sent := b.post.messages()
	require.Len(t, sent, 1, "run twice, sent once")
	m := sent[0]
	require.Equal(t, ada, m.To)
	require.Equal(t, account.ChannelEmail, m.Channel)
	require.Equal(t, m.ID.String(), m.IdempotencyKey)
	require.Contains(t, m.Text, m.Code)
	require.Contains(t, m.HTML, m.Code)
	require.NoError(t, m.Check())
	id, right := b.guess(t, account.PurposeSignup, m.Code)
	require.Equal(t, challenge, id)
	require.True(t, right)
	require.Equal(t, []store.Delivery{{Channel: "email", State: "sent", Attempts: 1}}, b.deliveries(t))
}

func TestF01_WorkerKilledBetweenCodeStoredAndCodeSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	// The worker dies while it speaks with the provider: before it hears, the code may be out or not.
	b.post.fault = func() error { panic("killed") }
	_, err := b.sendCode(challenge)
	require.Error(t, err)
	b.post.fault = nil
	d, err := b.sendCode(challenge)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, d.State)

	sent := b.post.messages()
	require.Len(t, sent, 2)
	require.Equal(t, sent[0], sent[1], "the same digits under the same id: the user has one live code")
	_, right := b.guess(t, account.PurposeSignup, sent[0].Code)
	require.True(t, right)
	require.Equal(t, 2, b.deliveries(t)[0].Attempts)
}

func TestF02_WorkerKilledAfterTheProviderAccepted(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	// The provider's acceptance was noted, and then the worker died.
	id, sent, err := b.Store.BeginMessage(t.Context(), store.NewMessage{
		Flow: b.flow(t), Step: "code/" + challenge.String(), Template: "signup_code", Channel: account.ChannelEmail, Destination: ada,
	})
	require.NoError(t, err)
	require.False(t, sent)
	require.NoError(t, b.Store.MessageSent(t.Context(), id, "post", "<1>"))

	d, err := b.sendCode(challenge)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, d.State)
	require.Empty(t, b.post.messages(), "not sent again")
	require.False(t, d.CodeExpiresAt.IsZero())
	_, right := b.guess(t, account.PurposeSignup, b.Keys.Code(challenge))
	require.True(t, right)
}

func TestF22_ProviderDownIsUnavailableAndComesBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	b.post.fault = func() error { return providers.Temporary(errors.New("451 try later"), 42*time.Second) }
	for range 2 {
		_, err := b.sendCode(challenge)
		require.ErrorIs(t, err, account.ErrUnavailable)
		var e *account.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, 42*time.Second, e.RetryAfter, "the provider's own word")
	}
	queued := b.deliveries(t)[0]
	require.WithinDuration(t, time.Now().Add(42*time.Second), *queued.NextRetryAt, 30*time.Second, "owners and operators are told when")
	queued.NextRetryAt = nil
	require.Equal(t, store.Delivery{Channel: "email", State: "queued", Attempts: 2}, queued)
	ch, err := b.Store.LiveChallenge(t.Context(), account.PurposeSignup, b.Keys.Subject("signup", ada))
	require.NoError(t, err)
	require.Nil(t, ch.SentAt, "its life has not begun")

	b.post.fault = func() error { return errors.New("no mark at all") }
	_, err = b.sendCode(challenge)
	require.ErrorIs(t, err, account.ErrUnavailable, "an unmarked error is worth another try")

	b.post.fault = nil
	d, err := b.sendCode(challenge)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, d.State)
	require.Equal(t, []store.Delivery{{Channel: "email", State: "sent", Attempts: 4}}, b.deliveries(t))
}

func TestF22_RefusedForGoodIsDead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	b.post.fault = func() error { return providers.Permanent(errors.New("550 no such mailbox")) }
	d, err := b.sendCode(challenge)
	require.NoError(t, err, "trying again cannot help, so the activity is done")
	require.Equal(t, activities.Delivered{State: activities.DeliveryDead}, d)
	require.Equal(t, []store.Delivery{{Channel: "email", State: "dead", Attempts: 1}}, b.deliveries(t))
}

func TestSupersededCodeIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attempt, old := b.pending(t)
	b.post.fault = func() error { return providers.Temporary(errors.New("451"), 0) }
	_, err := b.sendCode(old)
	require.ErrorIs(t, err, account.ErrUnavailable)
	b.post.fault = nil
	newest := uuid.New()
	_, err = run[activities.IssuedCode](b, b.IssueSignupCode, activities.IssueSignupCodeInput{AttemptID: attempt, ChallengeID: newest})
	require.NoError(t, err)

	d := twice[activities.Delivered](t, b, b.SendCode, activities.SendCodeInput{ChallengeID: old, Template: "signup_code"})
	require.Equal(t, activities.Delivered{State: activities.DeliveryExpired}, d)
	require.Len(t, b.post.messages(), 1, "nothing went out after it was superseded")
	require.Equal(t, []store.Delivery{{Channel: "email", State: "expired", Attempts: 1}}, b.deliveries(t))

	_, err = b.sendCode(newest)
	require.NoError(t, err)
	sent := b.post.messages()
	require.Len(t, sent, 2)
	require.NotEqual(t, sent[0].Code, sent[1].Code)
}

func TestF04_ExpiredCodeIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	challenge := uuid.New()
	_, err := b.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: challenge, Purpose: account.PurposeSignup, Subject: b.Keys.Subject("signup", ada), Channel: account.ChannelEmail,
		Destination: ada, CodeTTL: -time.Second, // all workers were down for longer than a code lives
	})
	require.NoError(t, err)
	d := twice[activities.Delivered](t, b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "signup_code"})
	require.Equal(t, activities.DeliveryExpired, d.State)
	require.Empty(t, b.post.messages())
	unknown := twice[activities.Delivered](t, b, b.SendCode, activities.SendCodeInput{ChallengeID: uuid.New(), Template: "signup_code"})
	require.Equal(t, activities.DeliveryExpired, unknown.State)
}

func TestEmailCodeCarriesALinkBuiltFromSettings(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	signed := b.newcomer(t)
	in := activities.IssueEmailCodeInput{AccountID: signed.AccountID, ChallengeID: uuid.New()}
	issued := twice[activities.IssuedCode](t, b, b.IssueEmailCode, in)
	require.Equal(t, in.ChallengeID, issued.ChallengeID)
	require.Equal(t, "a***@example.com", issued.Masked)
	_, err := run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: in.ChallengeID, Template: "confirm_email"})
	require.NoError(t, err)

	m := b.post.messages()[0]
	token := b.Keys.LinkToken(in.ChallengeID)
	require.Contains(t, m.Text, "https://gatehouse.example/confirm?from=mail&token="+token, "RST-01")
	ch, _, err := b.Store.ChallengeByLink(t.Context(), account.PurposeEmail, b.Keys.TokenHash("link", token), "")
	require.NoError(t, err)
	require.Equal(t, in.ChallengeID, ch.ID)
}

func TestMailGoesOutOncePerStep(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	signed := b.newcomer(t)
	mail := func(step string) activities.SendMailInput {
		return activities.SendMailInput{AccountID: signed.AccountID, Step: step, Template: "welcome"}
	}
	d := twice[activities.Delivered](t, b, b.SendMail, mail("welcome"))
	require.Equal(t, activities.DeliverySent, d.State)
	require.Len(t, b.post.messages(), 1)
	twice[activities.Delivered](t, b, b.SendMail, mail("another"))
	require.Len(t, b.post.messages(), 2)
	require.Equal(t, ada, b.post.messages()[1].To)
	require.Empty(t, b.post.messages()[1].Code)

	gone := activities.SendMailInput{AccountID: uuid.New(), Step: "welcome", Template: "welcome"}
	require.Equal(t, activities.DeliveryExpired, twice[activities.Delivered](t, b, b.SendMail, gone).State, "an account that is gone gets none")
	require.Len(t, b.post.messages(), 2)
}

func TestUnknownTemplateIsAFaultOfOurs(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	_, err := run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "no_such"})
	require.ErrorIs(t, err, account.ErrInternal)
	require.Empty(t, b.post.messages())
}
