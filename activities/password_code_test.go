package activities_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// signedUp is a member with their first session.
func (b *bench) signedUp(t *testing.T) activities.SignedUp {
	t.Helper()
	_, challenge := b.pending(t)
	_, err := b.sendCode(challenge)
	require.NoError(t, err)
	b.prove(t, challenge)
	made, err := run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: challenge})
	require.NoError(t, err)
	return made
}

func TestSecurityCodeGoesToTheOwnerAndIsSpentOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.ContactAge = 24 * time.Hour
	me := b.signedUp(t)
	mails := len(b.post.messages())
	in := activities.IssuePasswordCodeInput{
		AccountID: me.AccountID, SessionID: me.SessionID, ChallengeID: uuid.New(), Channel: account.ChannelEmail,
	}
	code := twice[activities.IssuedCode](t, b, b.IssuePasswordCode, in)
	require.Equal(t, account.MaskEmail(ada), code.Masked)
	require.Equal(t, time.Minute, code.FlowExpiresAt.Sub(code.CodeExpiresAt), "a code's last second counts")
	sent := twice[activities.Delivered](t, b, b.SendCode,
		activities.SendCodeInput{ChallengeID: in.ChallengeID, Template: "security_code", Channel: account.ChannelEmail})
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Len(t, b.post.messages(), mails+1, "run twice, sent once")
	require.Equal(t, b.Keys.Code(in.ChallengeID), b.post.messages()[mails].Code)

	spend := activities.ChallengeInput{ChallengeID: in.ChallengeID}
	_, err := run[activities.Spent](b, b.SpendPasswordCode, spend)
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	guess := store.Guess{Purpose: account.PurposePasswordChange, Lease: time.Minute}
	require.NoError(t, b.Store.Prove(t.Context(), in.ChallengeID, guess, store.Proof{Use: store.UseSetPassword, PasswordHash: "new"}))
	require.Equal(t, activities.Spent{PasswordSet: true, HadPassword: true}, twice[activities.Spent](t, b, b.SpendPasswordCode, spend))
	hash, err := b.Store.PasswordOf(t.Context(), me.AccountID)
	require.NoError(t, err)
	require.Equal(t, "new", hash)
}

func TestSigningOutByCodeIsTold(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.ContactAge = 24 * time.Hour
	me := b.signedUp(t)
	in := activities.IssuePasswordCodeInput{
		AccountID: me.AccountID, SessionID: me.SessionID, ChallengeID: uuid.New(), Channel: account.ChannelEmail,
	}
	twice[activities.IssuedCode](t, b, b.IssuePasswordCode, in)
	twice[activities.Delivered](t, b, b.SendCode,
		activities.SendCodeInput{ChallengeID: in.ChallengeID, Template: "security_code", Channel: account.ChannelEmail})
	guess := store.Guess{Purpose: account.PurposePasswordChange, Lease: time.Minute}
	require.NoError(t, b.Store.Prove(t.Context(), in.ChallengeID, guess, store.Proof{Use: store.UseSignOutAll}))
	twice[activities.Spent](t, b, b.SpendPasswordCode, activities.ChallengeInput{ChallengeID: in.ChallengeID})
	require.Equal(t, []string{templates.SessionsEnded}, b.owed(t), "run twice, owed once")
}

func TestSecurityCodeNeedsAContact(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	me := b.signedUp(t)
	for name, in := range map[string]activities.IssuePasswordCodeInput{
		"no number":  {AccountID: me.AccountID, SessionID: me.SessionID, Channel: account.ChannelSMS},
		"no session": {AccountID: me.AccountID, SessionID: uuid.New(), Channel: account.ChannelEmail},
		"nobody":     {AccountID: uuid.New(), SessionID: me.SessionID, Channel: account.ChannelEmail},
	} {
		in.ChallengeID = uuid.New()
		_, err := run[activities.IssuedCode](b, b.IssuePasswordCode, in)
		require.ErrorIs(t, err, account.ErrInvalidCode, name)
	}
}

func TestSendSMS(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	phones := &post{}
	b.Phones = phones
	owner, challenge := b.asked(t)
	in := activities.SendMailInput{AccountID: owner, Step: "notice", Template: "password_changed_sms"}
	require.Equal(t, activities.DeliveryExpired, twice[activities.Delivered](t, b, b.SendSMS, in).State, "no number yet")
	_, err := b.sendPhoneCode(challenge, account.ChannelSMS)
	require.NoError(t, err)
	guess := store.Guess{Purpose: account.PurposePhone, Lease: time.Minute}
	require.NoError(t, b.Store.Prove(t.Context(), challenge, guess, store.Proof{}))
	_, err = b.Store.BindPhone(t.Context(), challenge, activities.PhoneNotice(uuid.Nil, challenge))
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendSMS, in).State)
	sent := phones.messages()
	require.Len(t, sent, 2, "the code, and one notice")
	require.Equal(t, number, sent[1].To)
	require.Equal(t, account.ChannelSMS, sent[1].Channel)
	require.Contains(t, sent[1].Text, "password of your Gatehouse account was changed")
}
