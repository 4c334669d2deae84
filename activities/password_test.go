package activities_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
)

const resetTTL = 30 * time.Minute

// forgotten is a registered account and a reset for it that waits to be sent.
func (b *bench) forgotten(t *testing.T) (accountID, challenge uuid.UUID) {
	t.Helper()
	b.Policy.ResetTTL, b.ResetURL = resetTTL, "https://gatehouse.example/reset?from=mail"
	a, _, err := b.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByRegister, Email: ada, PasswordHash: "hash",
	}, policy.SignupTTL)
	require.NoError(t, err)
	made, err := run[activities.SignedUp](b, b.RegisterAccount, activities.AttemptInput{AttemptID: a.ID})
	require.NoError(t, err)
	in := activities.IssueResetInput{AccountID: made.AccountID, ChallengeID: uuid.New()}
	issued := twice[activities.IssuedCode](t, b, b.IssueReset, in)
	require.Equal(t, in.ChallengeID, issued.ChallengeID)
	require.Equal(t, account.MaskEmail(ada), issued.Masked)
	require.Equal(t, time.Minute, issued.FlowExpiresAt.Sub(issued.CodeExpiresAt), "a link's last second counts")
	return made.AccountID, in.ChallengeID
}

func TestIssueResetForNobodyIsNoError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	require.Zero(t, twice[activities.IssuedCode](t, b, b.IssueReset, activities.IssueResetInput{AccountID: uuid.New(), ChallengeID: uuid.New()}))
}

func TestResetLinkIsBuiltFromSettingsAndSetsThePassword(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, challenge := b.forgotten(t)
	in := activities.ChallengeInput{ChallengeID: challenge}
	sent := twice[activities.Delivered](t, b, b.SendResetLink, in)
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Len(t, b.post.messages(), 1, "a repeated step sends nothing")
	mail := b.post.messages()[0]
	require.Equal(t, ada, mail.To)
	require.Empty(t, mail.Code)
	token := b.Keys.LinkToken(challenge)
	require.Contains(t, mail.Text, "https://gatehouse.example/reset?from=mail&token="+token)
	require.Contains(t, mail.Text, "30 minutes")

	_, _, err := b.Store.ChallengeByLink(t.Context(), account.PurposeReset, b.Keys.TokenHash("link", token), "")
	require.ErrorIs(t, err, account.ErrNotFound, "hashed as another kind of link it is unknown")
	ch, _, err := b.Store.ChallengeByLink(t.Context(), account.PurposeReset, b.Keys.TokenHash("reset", token), "")
	require.NoError(t, err)
	require.Equal(t, challenge, ch.ID)
	_, err = run[activities.Confirmed](b, b.ResetPassword, in)
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	require.NoError(t, b.Store.Prove(t.Context(), challenge, store.Guess{Purpose: account.PurposeReset, Lease: time.Minute}, store.Proof{PasswordHash: "new"}))
	done := twice[activities.Confirmed](t, b, b.ResetPassword, in)
	require.Equal(t, activities.Confirmed{AccountID: owner, CreditsAwarded: 100}, done, "it proves the address, too")
	hash, err := b.Store.PasswordOf(t.Context(), owner)
	require.NoError(t, err)
	require.Equal(t, "new", hash)
}

func TestSupersededResetLinkIsNotSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	owner, older := b.forgotten(t)
	_, err := run[activities.IssuedCode](b, b.IssueReset, activities.IssueResetInput{AccountID: owner, ChallengeID: uuid.New()})
	require.NoError(t, err)
	sent := twice[activities.Delivered](t, b, b.SendResetLink, activities.ChallengeInput{ChallengeID: older})
	require.Equal(t, activities.DeliveryExpired, sent.State)
	require.Empty(t, b.post.messages())
}
