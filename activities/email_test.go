package activities_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

const adasNext = "ada.next@example.com"

// moving is a verified account with a change of email that is parked.
func (b *bench) moving(t *testing.T, taken bool) (owner, change uuid.UUID) {
	t.Helper()
	_, challenge := b.pending(t)
	_, err := b.sendCode(challenge)
	require.NoError(t, err)
	b.prove(t, challenge)
	signed, err := run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: challenge})
	require.NoError(t, err)
	e := account.EmailChange{ID: uuid.New(), AccountID: signed.AccountID, NewEmail: adasNext, Taken: taken}
	require.NoError(t, b.Store.OpenEmailChange(t.Context(), e, time.Hour))
	return signed.AccountID, e.ID
}

func TestChangedEmail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, change := b.moving(t, false)
	in := activities.EmailChangeInput{ChangeID: change}
	issued := twice[activities.IssuedEmailChange](t, b, b.IssueEmailChange, in)
	require.Equal(t, change, issued.Code.ChallengeID)
	require.Equal(t, "a***@example.com", issued.Code.Masked)
	require.False(t, issued.Taken)
	sent, err := run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: change, Template: "change_email"})
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, sent.State)
	code := b.post.messages()[1]
	require.Equal(t, adasNext, code.To)
	require.Len(t, code.Code, account.CodeLength)
	require.Contains(t, code.Text, "https://gatehouse.example/confirm?for=email_change&from=mail&token=")

	_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: issued.Code.ChallengeID})
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	b.prove(t, change)
	require.Equal(t, owner, twice[activities.EmailChanged](t, b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change}).AccountID)
	_, err = run[activities.IssuedEmailChange](b, b.IssueEmailChange, in)
	require.ErrorIs(t, err, account.ErrInvalidCode, "closed")

	// Whoever asked before the address changed had the old one judged.
	b.Policy.RecoveryAge, b.Policy.ResetTTL = time.Hour, time.Hour
	asked := activities.IssueResetInput{AccountID: owner, ChallengeID: uuid.New()}
	require.Zero(t, twice[activities.IssuedCode](t, b, b.IssueReset, asked), "a new address resets nothing")
	b.Policy.RecoveryAge = 0
	require.Equal(t, asked.ChallengeID, twice[activities.IssuedCode](t, b, b.IssueReset, asked).ChallengeID)

	for _, old := range []bool{true, false} {
		mail := activities.EmailChangeMailInput{ChangeID: change, Template: "email_changed", Old: old}
		require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	}
	told := b.post.messages()[2:]
	require.Len(t, told, 2, "each once")
	require.Equal(t, []string{ada, adasNext}, []string{told[0].To, told[1].To})
	require.Equal(t, account.ChannelEmail, told[0].Channel)
	require.NotContains(t, told[0].Text, adasNext, "masked")
	require.Contains(t, told[0].Text, "a***@example.com")

	_, err = b.env.ExecuteActivity(b.ForgetEmailChange, in)
	require.NoError(t, err)
	_, err = b.env.ExecuteActivity(b.ForgetEmailChange, in)
	require.NoError(t, err)
	state := twice[activities.Delivered](t, b, b.SendEmailChangeMail, activities.EmailChangeMailInput{ChangeID: change, Template: "email_changed"})
	require.Equal(t, activities.DeliveryExpired, state.State)
	_, err = run[activities.IssuedEmailChange](b, b.IssueEmailChange, in)
	require.ErrorIs(t, err, account.ErrInvalidCode)
}

func TestTakenEmail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, change := b.moving(t, true)
	issued := twice[activities.IssuedEmailChange](t, b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.True(t, issued.Taken)
	exists, err := b.Store.ChallengeExists(t.Context(), change)
	require.NoError(t, err)
	require.False(t, exists, "nothing can prove it")
	_, err = run[activities.Delivered](b, b.SendEmailChangeMail, activities.EmailChangeMailInput{ChangeID: change, Template: "signup_exists"})
	require.NoError(t, err)
	messages := b.post.messages()
	last := messages[len(messages)-1]
	require.Equal(t, adasNext, last.To)
	require.NotContains(t, last.Text, "Ada", "a stranger's name is nothing to the owner")
}

func TestChangedEmail_LostToAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, change := b.moving(t, false)
	_, err := run[activities.IssuedEmailChange](b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.NoError(t, err)
	b.prove(t, change)
	other := store.Registration{Attempt: b.park(t, account.SignupByRegister, adasNext, policy.SignupTTL), SessionTTL: time.Hour}
	signed, err := b.Store.Register(t.Context(), other)
	require.NoError(t, err)
	id := uuid.New()
	_, err = run[activities.IssuedCode](b, b.IssueEmailCode, activities.IssueEmailCodeInput{AccountID: signed.AccountID, ChallengeID: id})
	require.NoError(t, err)
	b.prove(t, id)
	_, err = run[activities.Confirmed](b, b.ConfirmEmail, activities.ChallengeInput{ChallengeID: id})
	require.NoError(t, err)
	_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change})
	require.ErrorIs(t, err, account.ErrInvalidCode)
}

// linking is moving, and then a link of the same address from within the account.
func (b *bench) linking(t *testing.T, taken bool) uuid.UUID {
	t.Helper()
	owner, _ := b.moving(t, false)
	e := account.EmailChange{ID: uuid.New(), AccountID: owner, NewEmail: adasNext, Taken: taken, Linking: true}
	require.NoError(t, b.Store.OpenEmailChange(t.Context(), e, time.Hour))
	return e.ID
}

func TestLinkedEmail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	change := b.linking(t, false)
	issued := twice[activities.IssuedEmailChange](t, b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.True(t, issued.Linking)
	require.False(t, issued.Taken)
	_, err := run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: change, Template: "link_email"})
	require.NoError(t, err)
	messages := b.post.messages()
	code := messages[len(messages)-1]
	require.Equal(t, adasNext, code.To)
	require.Len(t, code.Code, account.CodeLength)
	require.NotContains(t, code.Text, "https://", "the code alone proves it")
}

// A taken address seems to get a code, which nobody can enter.
func TestLinkedEmail_Taken(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	change := b.linking(t, true)
	issued := twice[activities.IssuedEmailChange](t, b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.Equal(t, []bool{true, true}, []bool{issued.Linking, issued.Taken})
	mail := activities.EmailChangeMailInput{ChangeID: change, Template: "signup_exists"}
	require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	live, err := b.Store.EmailChange(t.Context(), change)
	require.NoError(t, err)
	counted, err := b.Store.CountGuess(t.Context(), store.Guess{
		Purpose: account.PurposeEmailLink, Subject: b.Keys.Subject("email_link", live.AccountID.String()), Tries: 5, Lease: time.Minute,
	})
	require.NoError(t, err, "there is a code to guess")
	require.False(t, b.Keys.CodeMatches(change, b.Keys.Code(change), counted.CodeHash))
	_, err = run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: change, Template: "link_email"})
	require.NoError(t, err)
	b.prove(t, change)
	_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change})
	require.ErrorIs(t, err, account.ErrInvalidCode, "and nothing would come of it")
}

// The address that was taken away is told; an account without one has nobody to tell.
func TestUnlinkedEmail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, _ := b.moving(t, false)
	_, err := b.Store.LinkProvider(t.Context(), owner, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	change := uuid.New()
	require.NoError(t, b.Store.UnlinkEmail(t.Context(), change, owner, time.Hour, time.Hour))
	before := len(b.post.messages())
	mail := activities.EmailChangeMailInput{ChangeID: change, Template: "email_unlinked", Old: true}
	require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	told := b.post.messages()[before:]
	require.Len(t, told, 1)
	require.Equal(t, ada, told[0].To)

	link := account.EmailChange{ID: uuid.New(), AccountID: owner, NewEmail: adasNext, Linking: true}
	require.NoError(t, b.Store.OpenEmailChange(t.Context(), link, time.Hour))
	mail = activities.EmailChangeMailInput{ChangeID: link.ID, Template: "email_change_requested", Old: true}
	require.Equal(t, activities.DeliveryExpired, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	require.Len(t, b.post.messages(), before+1)
}

// Whoever takes the address away, or puts another in its place, may close the account at once: its owner hears of it nevertheless.
func TestEmailChangeMail_OfAClosedAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, change := b.moving(t, false)
	_, err := run[activities.IssuedEmailChange](b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.NoError(t, err)
	b.prove(t, change)
	_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change})
	require.NoError(t, err)
	_, err = b.Store.LinkProvider(t.Context(), owner, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
	require.NoError(t, err)
	unlinked := uuid.New()
	require.NoError(t, b.Store.UnlinkEmail(t.Context(), unlinked, owner, time.Hour, time.Hour))
	closure := activities.ClosureInput{AccountID: owner, ClosureID: uuid.New()}
	twice[activities.Closed](t, b, b.CloseAccount, closure)

	for _, mail := range []activities.EmailChangeMailInput{
		{ChangeID: change, Template: "email_changed", Old: true}, {ChangeID: unlinked, Template: "email_unlinked", Old: true},
	} {
		require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	}
	messages := b.post.messages()
	require.Equal(t, []string{ada, adasNext}, []string{messages[len(messages)-2].To, messages[len(messages)-1].To})
	mail := activities.EmailChangeMailInput{ChangeID: change, Template: "email_changed"}
	require.Equal(t, activities.DeliveryExpired, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)

	testkit.Change(t, b.url, `UPDATE closures SET erase_at = now()`)
	require.Zero(t, twice[activities.Left](t, b, b.EraseAccount, closure).Wait)
	mail.Old = true
	require.Equal(t, activities.DeliveryExpired, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
}
