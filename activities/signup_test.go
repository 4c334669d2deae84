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

func TestIssuedSignupCode(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := activities.IssueSignupCodeInput{AttemptID: b.park(t, account.SignupByCode, ada, time.Minute), ChallengeID: uuid.New()}
	first, err := run[activities.IssuedCode](b, b.IssueSignupCode, in)
	require.NoError(t, err)
	again, err := run[activities.IssuedCode](b, b.IssueSignupCode, in)
	require.NoError(t, err)
	require.Equal(t, in.ChallengeID, first.ChallengeID)
	require.Equal(t, first.SendBy, again.SendBy, "run twice, one code")
	require.Equal(t, first.CodeExpiresAt, again.CodeExpiresAt)
	require.Equal(t, "a***@example.com", first.Masked)
	require.WithinDuration(t, time.Now().Add(policy.SignupTTL), first.FlowExpiresAt, time.Minute, "asking for a code prolongs the sign-up")

	for _, attempt := range []uuid.UUID{uuid.New()} {
		_, err = run[activities.IssuedCode](b, b.IssueSignupCode, activities.IssueSignupCodeInput{AttemptID: attempt, ChallengeID: uuid.New()})
		require.ErrorIs(t, err, account.ErrInvalidCode)
	}
}

func TestCompletedSignup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	attempt, challenge := b.pending(t)
	in := activities.ChallengeInput{ChallengeID: challenge}
	_, err := run[activities.SignedUp](b, b.CompleteSignup, in)
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	_, err = b.sendCode(challenge)
	require.NoError(t, err)
	b.prove(t, challenge)

	signed := twice[activities.SignedUp](t, b, b.CompleteSignup, in)
	p, err := b.Store.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, p.Account.ID)
	require.Equal(t, int64(100), p.Credits.Balance, "one bonus")
	require.WithinDuration(t, p.Session.CreatedAt.Add(policy.SessionTTL), p.Session.ExpiresAt, time.Second)
	_, err = run[activities.IssuedCode](b, b.IssueSignupCode, activities.IssueSignupCodeInput{AttemptID: attempt, ChallengeID: uuid.New()})
	require.ErrorIs(t, err, account.ErrInvalidCode, "the sign-up is over")
	left, err := run[activities.Remaining](b, b.AbandonSignup, activities.AttemptInput{AttemptID: attempt})
	require.NoError(t, err)
	require.True(t, left.Until.IsZero())
	kept, err := b.Store.ResultOf(t.Context(), challenge)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, kept.AccountID, "abandoning what is complete takes nothing away")
}

func TestAbandonedSignup(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	young, challenge := b.pending(t)
	left := twice[activities.Remaining](t, b, b.AbandonSignup, activities.AttemptInput{AttemptID: young})
	require.WithinDuration(t, time.Now().Add(policy.SignupTTL), left.Until, time.Minute, "prolonged meanwhile")
	exists, err := b.Store.ChallengeExists(t.Context(), challenge)
	require.NoError(t, err)
	require.True(t, exists)

	expired := b.park(t, account.SignupByCode, "eve@example.com", -time.Second)
	ch := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposeSignup, Subject: b.Keys.Subject("signup", "eve@example.com"),
		Channel: account.ChannelEmail, Destination: "eve@example.com", CodeTTL: time.Minute,
	}
	_, err = b.Store.IssueChallenge(t.Context(), ch)
	require.NoError(t, err)
	require.Zero(t, twice[activities.Remaining](t, b, b.AbandonSignup, activities.AttemptInput{AttemptID: expired}))
	_, err = b.Store.Signup(t.Context(), expired)
	require.ErrorIs(t, err, account.ErrNotFound)
	exists, err = b.Store.ChallengeExists(t.Context(), ch.ID)
	require.NoError(t, err)
	require.False(t, exists, "nothing is left behind")
	require.Zero(t, twice[activities.Remaining](t, b, b.AbandonSignup, activities.AttemptInput{AttemptID: uuid.New()}))
}

func TestRegisteredAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := activities.AttemptInput{AttemptID: b.park(t, account.SignupByRegister, ada, policy.SignupTTL)}
	signed := twice[activities.SignedUp](t, b, b.RegisterAccount, in)
	p, err := b.Store.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.False(t, p.Account.EmailVerified)
	require.Zero(t, p.Credits.Balance)

	_, err = run[activities.SignedUp](b, b.RegisterAccount, activities.AttemptInput{
		AttemptID: b.park(t, account.SignupByRegister, ada, policy.SignupTTL),
	})
	require.ErrorIs(t, err, account.ErrIdentityAlreadyUsed)
	unbegun, err := b.Store.UnbegunSignups(t.Context(), 0, policy.SignupTTL, 10)
	require.NoError(t, err)
	require.Empty(t, unbegun, "what was refused is not tried again")
	_, err = run[activities.SignedUp](b, b.RegisterAccount, activities.AttemptInput{AttemptID: uuid.New()})
	require.ErrorIs(t, err, account.ErrInvalidCode)
}

// ENU-03: in hidden mode a username that is taken must not tell that an address was free.
func TestRegisterAccount_HiddenLeavesTheUsername(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for mode, name := range map[account.Enumeration]*string{account.EnumerationHidden: nil, account.EnumerationDocumented: new("ada")} {
		b.Policy.Enumeration = mode
		attempt, _, err := b.Store.OpenSignup(t.Context(), account.SignupAttempt{
			ID: uuid.New(), Kind: account.SignupByRegister, Email: string(mode) + "@example.com", Username: new("ada"), PasswordHash: "hash",
		}, policy.SignupTTL)
		require.NoError(t, err)
		signed, err := run[activities.SignedUp](b, b.RegisterAccount, activities.AttemptInput{AttemptID: attempt.ID})
		require.NoError(t, err)
		p, err := b.Store.PrincipalBySession(t.Context(), signed.SessionID)
		require.NoError(t, err)
		require.Equal(t, name, p.Account.Username, mode)
	}
}

func TestConfirmedEmail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	signed := b.newcomer(t)
	in := activities.IssueEmailCodeInput{AccountID: signed.AccountID, ChallengeID: uuid.New()}
	_, err := run[activities.IssuedCode](b, b.IssueEmailCode, in)
	require.NoError(t, err)
	_, err = run[activities.Confirmed](b, b.ConfirmEmail, activities.ChallengeInput{ChallengeID: in.ChallengeID})
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	b.prove(t, in.ChallengeID)
	confirmed := twice[activities.Confirmed](t, b, b.ConfirmEmail, activities.ChallengeInput{ChallengeID: in.ChallengeID})
	require.Equal(t, activities.Confirmed{AccountID: signed.AccountID, CreditsAwarded: 100}, confirmed)
	p, err := b.Store.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	require.True(t, p.Account.EmailVerified)
	require.Equal(t, int64(100), p.Credits.Balance)

	_, err = run[activities.IssuedCode](b, b.IssueEmailCode, activities.IssueEmailCodeInput{AccountID: uuid.New(), ChallengeID: uuid.New()})
	require.ErrorIs(t, err, account.ErrInvalidCode)
}

func TestPurgedAccount(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	signed := b.newcomer(t)
	left, err := run[activities.Left](b, b.PurgeUnverified, activities.AccountInput{AccountID: signed.AccountID})
	require.NoError(t, err)
	require.InDelta(t, policy.UnverifiedTTL.Seconds(), left.Wait.Seconds(), 60, "it still has its week")

	b.Policy.UnverifiedTTL = 0 // the week is over
	require.Zero(t, twice[activities.Left](t, b, b.PurgeUnverified, activities.AccountInput{AccountID: signed.AccountID}))
	_, err = b.Store.OwnerOf(t.Context(), ada)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = b.Store.PrincipalBySession(t.Context(), signed.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestStoreDownIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, challenge := b.pending(t)
	require.NoError(t, b.Store.Close())
	_, err := b.sendCode(challenge)
	require.ErrorIs(t, err, account.ErrUnavailable)
	_, err = run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: challenge})
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Empty(t, b.post.messages(), "no code goes out that could not be checked")
}
