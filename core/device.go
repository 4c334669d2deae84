package core

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/providers/templates"
	"gatehouse/store"
	"gatehouse/workflows"
)

// ShownDevice is what a login says of the device that it comes from, in its headers.
type ShownDevice struct {
	// ID is the client's name for the device (X-Device-Id): a client that sends it asks for a second step. A device token is
	// taken there, too (contract X13).
	ID string
	// Token is the token of a trusted device (X-Device-Token).
	Token string
}

const deviceIDHeader = "X-Device-Id"

func (d ShownDevice) judge(invalid *account.Error) *account.Error {
	if fault := deviceTextFault(d.ID); fault != "" {
		return invalid.On(deviceIDHeader, fault)
	}
	return invalid
}

func deviceTextFault(s string) string {
	switch {
	case utf8.RuneCountInString(s) > account.MaxDeviceInfo:
		return "must be at most 200 characters"
	case !printable(s):
		return "must not contain control characters"
	}
	return ""
}

func (d ShownDevice) client() account.ClientDevice {
	if secret.IsDeviceToken(d.ID) {
		return account.ClientDevice{}
	}
	return account.ClientDevice{ID: d.ID}
}

// deviceHash is what the store keeps of the token that was shown, nil for none.
func (c *Core) deviceHash(d ShownDevice) []byte {
	token := d.Token
	if token == "" && secret.IsDeviceToken(d.ID) {
		token = d.ID
	}
	if !secret.IsDeviceToken(token) || len(token) > maxToken {
		return nil
	}
	return c.Keys.DeviceHash(token)
}

func (c *Core) gate(d ShownDevice, session uuid.UUID) store.Gate {
	return store.Gate{
		DeviceHash: c.deviceHash(d), StepHash: c.Keys.StepHash(c.Keys.StepToken(session)),
		CodeLife: c.Policy.DeviceCodeLife(), FactorLife: c.Policy.PendingTTL,
	}
}

// newTrust is a device of an account that is to be trusted, and the token that it will show.
func (c *Core) newTrust(accountID uuid.UUID, client account.ClientDevice) (store.Trust, string) {
	id := uuid.New()
	token := c.Keys.DeviceToken(id)
	return store.Trust{
		ID: id, AccountID: accountID, TokenHash: c.Keys.DeviceHash(token), Client: client, TTL: c.Policy.DeviceTTL, Most: c.Policy.TrustedDevices,
	}, token
}

// challenge says what a login still owes, and has the code sent where one is due. It returns account.ErrTooManyRequests
// when the account got too many.
func (c *Core) challenge(ctx context.Context, by account.Caller, s SignIn, step account.SecondStep) (SignIn, error) {
	s.SecondStep = step
	a, session := s.Principal.Account, s.Principal.Session
	if step != account.StepDevice || a.Email == nil {
		return s, nil
	}
	s.StepToken = c.Keys.StepToken(session.ID)
	// The bounds are those of every code (design D9); a login that comes too soon after the last has its code wait its turn.
	err := c.Store.TakeQuotaOnce(ctx, c.Keys.Subject("device-code", session.ID.String()), c.sendKey(account.PurposeDevice, *a.Email),
		c.Policy.SendQuotas())
	if limited := (*account.Error)(nil); errors.As(err, &limited) && errors.Is(err, account.ErrTooManyRequests) && limited.RetryAfter <= c.Policy.SendGap {
		err = nil
	}
	if err != nil {
		return SignIn{}, err
	}
	by.Begin(session.ID.String())
	life := c.Policy.DeviceCodeLife()
	err = c.Flows.Ask(ctx, durable.Ask{
		WorkflowID: deviceFlow(session.ID), Workflow: workflows.DeviceVerificationWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.DeviceVerificationInput{AccountID: a.ID, SessionID: session.ID},
		Update: workflows.DeviceOpen, Summary: "Login of " + account.MaskEmail(*a.Email),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet(string(account.FlowDevice)), durable.FlowStage.ValueSet(string(account.StageAwaitingProof)),
			durable.AccountID.ValueSet(a.ID.String()), durable.NextActionAt.ValueSet(c.Clock.Now().Add(life)),
		},
		ExecutionTimeout: life + guardTime, // against flows that no worker ever serves
	}, nil)
	return s, again(err)
}

// deviceFlow is the id of the flow of a login; the session's id is opaque.
func deviceFlow(session uuid.UUID) string { return "device/" + session.String() }

// VerifyDeviceInput finishes a login by code (D20).
type VerifyDeviceInput struct {
	// Token names the login, Code went to the account's email.
	Token string
	Code  string
	// Device is what the client calls the device, which is trusted from now on.
	Device account.ClientDevice
}

func (in VerifyDeviceInput) validate() error {
	invalid := account.ErrInvalid
	if fault := blankFault(in.Token); fault != "" {
		invalid = invalid.On("device_verification_token", fault)
	}
	if fault := account.CodeFault(in.Code); fault != "" {
		invalid = invalid.On("otp", fault)
	}
	fault := blankFault(in.Device.ID)
	if fault == "" {
		fault = deviceTextFault(in.Device.ID)
	}
	if fault != "" {
		invalid = invalid.On("device_id", fault)
	}
	for field, value := range map[string]*string{"device_name": in.Device.Name, "platform": in.Device.Platform} {
		if value == nil {
			continue
		}
		if fault := deviceTextFault(*value); fault != "" {
			invalid = invalid.On(field, fault)
		}
	}
	return faults(invalid)
}

// DeviceVerified is a login that owes nothing any more, and the token by which its device skips the second step next time.
type DeviceVerified struct {
	SignIn
	DeviceToken string
}

// VerifyDevice finishes a login by the code that went to the account's email, and trusts the device (D20). Code and token are
// those of one login, and good once. It returns account.ErrInvalidToken for a token that is unknown, expired or used,
// account.ErrInvalidOTP for a wrong code, and account.ErrTooManyRequests when the account guessed too many.
func (c *Core) VerifyDevice(ctx context.Context, by account.Caller, in VerifyDeviceInput) (DeviceVerified, error) {
	if err := in.validate(); err != nil {
		return DeviceVerified{}, err
	}
	in.Device = account.ClientDevice{ID: in.Device.ID, Name: plainText(in.Device.Name), Platform: plainText(in.Device.Platform)}
	login, err := c.Store.LoginByStep(ctx, c.Keys.StepHash(in.Token), by.IdempotencyKey)
	if errors.Is(err, account.ErrNotFound) {
		return DeviceVerified{}, account.ErrInvalidToken.Because(err)
	}
	if err != nil {
		return DeviceVerified{}, err
	}
	device, err := c.verifyDevice(ctx, by, login, in)
	if errors.Is(err, account.ErrInvalidCode) || errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidOTP.Because(err)
	}
	if err != nil {
		return DeviceVerified{}, err
	}
	out, err := c.signInOr(ctx, login.SessionID, account.ErrInvalidToken)
	if err != nil {
		return DeviceVerified{}, err
	}
	out, err = c.withRefresh(out, c.Keys.FirstToken(login.SessionID))
	return DeviceVerified{SignIn: out, DeviceToken: c.Keys.DeviceToken(device)}, err
}

// plainText is a label without HTML, nil for an empty one.
func plainText(s *string) *string {
	if s == nil {
		return nil
	}
	plain := strings.TrimSpace(stripHTML(*s))
	if plain == "" {
		return nil
	}
	return &plain
}

// verifyDevice returns the device that is trusted since.
func (c *Core) verifyDevice(ctx context.Context, by account.Caller, login store.PendingLogin, in VerifyDeviceInput) (uuid.UUID, error) {
	guess := c.guess(account.PurposeDevice, login.SessionID.String(), by)
	// The code is the login's, the bounds on guessing are the account's: another login brings no more guesses.
	counted, err := c.checkCode(ctx, &guess, login.AccountID.String(), in.Code)
	if err != nil {
		return uuid.Nil, err
	}
	if counted.Done != nil {
		return counted.Done.DeviceID, nil
	}
	if err := c.Store.Prove(ctx, counted.ID, guess, store.Proof{Device: in.Device}); err != nil {
		return uuid.Nil, err
	}
	var done workflows.DeviceVerified
	err = c.Flows.Tell(ctx, durable.Tell{
		WorkflowID: deviceFlow(login.SessionID), Update: workflows.DeviceProceed, Arg: workflows.DeviceProof{ChallengeID: counted.ID},
	}, &done)
	if !errors.Is(err, durable.ErrNoFlow) {
		return done.DeviceID, err
	}
	// The flow may have ended by this very challenge, with its answer lost on the way.
	kept, err := c.Store.ResultOf(ctx, counted.ID)
	return kept.DeviceID, err
}

// DevicesInput asks for the trusted devices (D21). Current is the client's name for its own, empty for none.
type DevicesInput struct {
	Current string
}

// DeviceList is the trusted devices of an account, the latest used first.
type DeviceList struct {
	Devices []account.TrustedDevice
	Current string
}

// Devices lists the trusted devices of the caller's account (D21).
func (c *Core) Devices(ctx context.Context, by account.Caller, in DevicesInput) (DeviceList, error) {
	if by.Principal == nil {
		return DeviceList{}, account.ErrUnauthorized
	}
	found, err := c.Store.Devices(ctx, by.Principal.Account.ID)
	return DeviceList{Devices: found, Current: in.Current}, err
}

// RevokeDeviceInput names a trusted device by its id.
type RevokeDeviceInput struct {
	ID string
}

// RevokeDevice ends the trust in a device of the caller's account (D22): its next login owes the second step again. It
// returns account.ErrNotFound for any other device.
func (c *Core) RevokeDevice(ctx context.Context, by account.Caller, in RevokeDeviceInput) (None, error) {
	id, err := uuidOf(in.ID, "device_key_id")
	if err != nil {
		return None{}, err
	}
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	return None{}, c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return nil, err
		}
		return c.toVerified(a, templates.DeviceRemoved), tx.RevokeDevice(ctx, a.ID, id)
	})
}
