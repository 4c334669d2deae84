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

const number = "+4915112345678"

// asked is a member who asked for a code to a number.
func (b *bench) asked(t *testing.T) (owner, challenge uuid.UUID) {
	t.Helper()
	_, signup := b.pending(t)
	_, err := b.sendCode(signup)
	require.NoError(t, err)
	b.prove(t, signup)
	signed, err := run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: signup})
	require.NoError(t, err)
	challenge = uuid.New()
	require.NoError(t, b.Store.ParkPhone(t.Context(), store.PhoneAttempt{ID: challenge, AccountID: signed.AccountID, Number: number}, nil, nil))
	in := activities.IssuePhoneCodeInput{AccountID: signed.AccountID, ChallengeID: challenge}
	issued := twice[activities.IssuedCode](t, b, b.IssuePhoneCode, in)
	require.Equal(t, "+***78", issued.Masked)
	require.WithinDuration(t, time.Now().Add(2*policy.CodeTTL+time.Minute), issued.FlowExpiresAt, time.Minute)
	return signed.AccountID, challenge
}

func (b *bench) sendPhoneCode(challenge uuid.UUID, channel account.Channel) (activities.Delivered, error) {
	return run[activities.Delivered](b, b.SendCode,
		activities.SendCodeInput{ChallengeID: challenge, Template: "phone_code", Channel: channel})
}

func TestPhoneCodeIsTheSameOnEveryChannel(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	phones := &post{}
	b.Phones = phones
	owner, challenge := b.asked(t)
	mails := len(b.post.messages())

	phones.fault = func() error { return providers.Temporary(errors.New("503"), time.Minute) }
	_, err := b.sendPhoneCode(challenge, account.ChannelSMS)
	require.ErrorIs(t, err, account.ErrUnavailable)
	phones.fault = nil
	in := activities.SendCodeInput{ChallengeID: challenge, Template: "phone_code", Channel: account.ChannelWhatsApp}
	d := twice[activities.Delivered](t, b, b.SendCode, in)
	require.Equal(t, activities.DeliverySent, d.State)
	require.WithinDuration(t, time.Now().Add(policy.CodeTTL), d.CodeExpiresAt, time.Minute)

	sent := phones.messages()
	require.Len(t, sent, 2, "run twice, sent once")
	require.Equal(t, []account.Channel{account.ChannelSMS, account.ChannelWhatsApp}, []account.Channel{sent[0].Channel, sent[1].Channel})
	require.Equal(t, sent[0].Code, sent[1].Code)
	require.NotEqual(t, sent[0].ID, sent[1].ID, "a row for each channel")
	require.Equal(t, number, sent[1].To)
	require.Contains(t, sent[1].Text, sent[1].Code)
	require.Empty(t, sent[1].Subject+sent[1].HTML)
	require.Len(t, b.post.messages(), mails, "nothing went by mail")
	require.Equal(t, []store.Delivery{
		{Channel: "email", State: "sent", Attempts: 1},
		{Channel: "sms", State: "expired", Attempts: 1},
		{Channel: "whatsapp", State: "sent", Attempts: 1},
	}, b.deliveries(t), "the slower channel is waited for no more")

	counted, err := b.Store.CountGuess(t.Context(), store.Guess{
		Purpose: account.PurposePhone, Subject: b.Keys.Subject("phone", owner.String()), Tries: policy.CodeTries, Lease: policy.ProofLease,
	})
	require.NoError(t, err)
	require.True(t, b.Keys.CodeMatches(counted.ID, sent[1].Code, counted.CodeHash))
	_, err = run[activities.AccountInput](b, b.BindPhone, activities.ChallengeInput{ChallengeID: challenge})
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven yet")
	b.prove(t, challenge)
	require.Equal(t, owner, twice[activities.AccountInput](t, b, b.BindPhone, activities.ChallengeInput{ChallengeID: challenge}).AccountID)
}

func TestPhoneCodeWithoutAChannelGoesByItsOwn(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	phones := &post{fault: func() error { return providers.Permanent(errors.New("400 code 21211")) }}
	b.Phones = phones
	_, challenge := b.asked(t)
	d, err := b.sendPhoneCode(challenge, "")
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryDead, d.State)
	require.Equal(t, account.ChannelSMS, phones.messages()[0].Channel)
	require.Contains(t, b.deliveries(t), store.Delivery{Channel: "sms", State: "dead", Attempts: 1})
}

func TestPhoneCodeOfNobodyOrSomebodyElse(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Phones = &post{}
	_, challenge := b.asked(t)
	for _, in := range []activities.IssuePhoneCodeInput{
		{AccountID: uuid.New(), ChallengeID: challenge}, {AccountID: uuid.New(), ChallengeID: uuid.New()},
	} {
		_, err := run[activities.IssuedCode](b, b.IssuePhoneCode, in)
		require.ErrorIs(t, err, account.ErrInvalidCode)
	}
}
