package activities

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// LoginInput names a login that awaits a code. Its challenge has the session's id.
type LoginInput struct {
	AccountID uuid.UUID
	SessionID uuid.UUID
}

// IssueDeviceCode makes the challenge that finishes a login. It returns account.ErrInvalidCode when the account is gone.
func (a *Activities) IssueDeviceCode(ctx context.Context, in LoginInput) (IssuedCode, error) {
	to, err := a.Store.RecipientOf(ctx, in.AccountID)
	if err != nil {
		return IssuedCode{}, gone(err)
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.SessionID, Purpose: account.PurposeDevice, Subject: a.Keys.Subject(string(account.PurposeDevice), in.SessionID.String()),
		AccountID: &in.AccountID, Channel: account.ChannelEmail, Destination: to.Email, CodeTTL: a.Policy.CodeTTL,
	})
	return a.issued(ch, ch.CreatedAt.Add(a.Policy.DeviceCodeLife())), err
}

// Queued is a delivery that may have to wait for its turn.
type Queued struct {
	Delivered
	// Wait is how long it has to, 0 when it was tried.
	Wait time.Duration
}

// SendDeviceCode mails the code of a login once the bounds on sending allow it; they count it once, however often it is
// tried. As with SendCode every retry sends the same digits, and their life counts from the provider's acceptance.
func (a *Activities) SendDeviceCode(ctx context.Context, in LoginInput) (Queued, error) {
	flow, step := flowOf(ctx), "code/"+in.SessionID.String()
	expired := func() (Queued, error) {
		return Queued{Delivered: Delivered{State: DeliveryExpired}}, a.Store.MessageFailed(ctx, flow, step, store.MessageExpired, "expired")
	}
	ch, err := a.Store.LiveChallenge(ctx, account.PurposeDevice, a.Keys.Subject(string(account.PurposeDevice), in.SessionID.String()))
	if errors.Is(err, account.ErrNotFound) {
		return expired()
	}
	if err != nil {
		return Queued{}, err
	}
	err = a.Store.TakeQuotaOnce(ctx, a.Keys.Subject("device-code", in.SessionID.String()),
		a.Keys.Subject("send/"+string(account.PurposeDevice), ch.Destination), a.Policy.SendQuotas())
	if limited := (*account.Error)(nil); errors.Is(err, account.ErrTooManyRequests) && errors.As(err, &limited) {
		return Queued{Wait: max(limited.RetryAfter, time.Second)}, nil
	}
	if err != nil {
		return Queued{}, err
	}
	sent, err := a.SendCode(ctx, SendCodeInput{ChallengeID: in.SessionID, Template: templates.DeviceCode})
	return Queued{Delivered: sent}, err
}

// VerifiedDevice is the device that finished a login.
type VerifiedDevice struct {
	DeviceID uuid.UUID
}

// VerifyDevice makes the session of a proven challenge a full one and trusts its device, in one transaction. It returns
// account.ErrInvalidCode.
func (a *Activities) VerifyDevice(ctx context.Context, in ChallengeInput) (VerifiedDevice, error) {
	id := uuid.New()
	r, err := a.Store.VerifyDevice(ctx, in.ChallengeID, store.VerifiedDevice{
		DeviceID: id, TokenHash: a.Keys.DeviceHash(a.Keys.DeviceToken(id)), DeviceTTL: a.Policy.DeviceTTL, Most: a.Policy.TrustedDevices,
		RefreshHash: a.Keys.RefreshHash(a.Keys.FirstToken(in.ChallengeID)), RefreshIdle: a.Policy.RefreshIdle, SessionTTL: a.Policy.SessionTTL,
		Told: DeviceNotice(uuid.Nil, in.ChallengeID),
	})
	return VerifiedDevice{DeviceID: r.DeviceID}, err
}
