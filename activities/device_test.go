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

// login is a member and a session of it that awaits a code.
func (b *bench) login(t *testing.T) activities.LoginInput {
	t.Helper()
	b.Policy.DeviceTTL, b.Policy.TrustedDevices, b.Policy.RefreshIdle = 30*24*time.Hour, 20, time.Hour
	b.Policy.SendGap, b.Policy.SendsPerHour, b.Policy.SendsPerDay = time.Minute, 5, 10
	_, challenge := b.pending(t)
	_, err := run[activities.Delivered](b, b.SendCode, activities.SendCodeInput{ChallengeID: challenge, Template: "signup_code"})
	require.NoError(t, err)
	b.prove(t, challenge)
	signed, err := run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: challenge})
	require.NoError(t, err)
	return activities.LoginInput{AccountID: signed.AccountID, SessionID: b.owing(t, signed.AccountID)}
}

func (b *bench) owing(t *testing.T, owner uuid.UUID) uuid.UUID {
	t.Helper()
	id := uuid.New()
	_, step, err := b.Store.OpenSession(t.Context(), store.NewSession{
		ID: id, AccountID: owner, Method: "password", TTL: time.Hour, Client: account.ClientDevice{ID: "laptop"},
	}, store.Gate{StepHash: b.Keys.StepHash(b.Keys.StepToken(id)), CodeLife: time.Hour})
	require.NoError(t, err)
	require.Equal(t, account.StepDevice, step)
	return id
}

func TestDeviceCodeIsSentOnceAndFinishesTheLogin(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.login(t)
	issued := twice[activities.IssuedCode](t, b, b.IssueDeviceCode, in)
	require.Equal(t, in.SessionID, issued.ChallengeID)
	require.Equal(t, b.Policy.DeviceCodeLife(), issued.FlowExpiresAt.Sub(issued.CodeExpiresAt)+b.Policy.CodeTTL)
	before := len(b.post.messages())
	sent := twice[activities.Queued](t, b, b.SendDeviceCode, in)
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Len(t, b.post.messages(), before+1, "a repeated step sends nothing, and is charged for nothing")
	require.Equal(t, b.Keys.Code(in.SessionID), b.post.messages()[before].Code)

	// Another login of the same account comes too soon after that.
	second := activities.LoginInput{AccountID: in.AccountID, SessionID: b.owing(t, in.AccountID)}
	_, err := run[activities.IssuedCode](b, b.IssueDeviceCode, second)
	require.NoError(t, err)
	queued, err := run[activities.Queued](b, b.SendDeviceCode, second)
	require.NoError(t, err)
	require.InDelta(t, time.Minute, queued.Wait, float64(10*time.Second))
	require.Empty(t, queued.State)
	require.Len(t, b.post.messages(), before+1)

	proof := activities.ChallengeInput{ChallengeID: in.SessionID}
	_, err = run[activities.VerifiedDevice](b, b.VerifyDevice, proof)
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	require.NoError(t, b.Store.Prove(t.Context(), in.SessionID, store.Guess{Lease: time.Minute}, store.Proof{Device: account.ClientDevice{ID: "laptop"}}))
	done := twice[activities.VerifiedDevice](t, b, b.VerifyDevice, proof)
	d, err := b.Store.TrustedDevice(t.Context(), in.AccountID, b.Keys.DeviceHash(b.Keys.DeviceToken(done.DeviceID)))
	require.NoError(t, err, "the token is derived from the device, so a lost answer can be given again")
	require.Equal(t, done.DeviceID, d.ID)
	_, err = b.Store.RotateRefresh(t.Context(), store.Rotation{
		Hash: b.Keys.RefreshHash(b.Keys.FirstToken(in.SessionID)), Successor: []byte("next"), Grace: time.Second, Idle: time.Hour,
	})
	require.NoError(t, err)
	late, err := run[activities.Queued](b, b.SendDeviceCode, in)
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, late.State, "nobody needs it any more")
}

func TestDeviceCodeOfAnAccountThatIsGone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	_, err := run[activities.IssuedCode](b, b.IssueDeviceCode, activities.LoginInput{AccountID: uuid.New(), SessionID: uuid.New()})
	require.ErrorIs(t, err, account.ErrInvalidCode)
	sent, err := run[activities.Queued](b, b.SendDeviceCode, activities.LoginInput{AccountID: uuid.New(), SessionID: uuid.New()})
	require.NoError(t, err)
	require.Equal(t, activities.DeliveryExpired, sent.State)
}
