package core

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/store"
	"gatehouse/workflows"
)

// blankFault returns what is wrong with a secret that is only compared: it must be there.
func blankFault(s string) string {
	if strings.TrimSpace(s) == "" {
		return "must not be blank"
	}
	return ""
}

// NewPassword is a password to be set, typed twice.
type NewPassword struct {
	New     string
	Confirm string
}

// judge adds what is wrong with the new password by itself.
func (p NewPassword) judge(invalid *account.Error, a account.Account) *account.Error {
	if fault := account.PasswordFault(p.New, ownNames(a)...); fault != "" {
		invalid = invalid.On("new_password", fault)
	}
	if fault := blankFault(p.Confirm); fault != "" {
		invalid = invalid.On("confirm_password", fault)
	}
	return invalid
}

// settled returns the faults of the whole input, or account.ErrPasswordMismatch. Both are told before any secret is compared
// or counted (conventions 6).
func (p NewPassword) settled(invalid *account.Error) error {
	if err := faults(invalid); err != nil {
		return err
	}
	if account.NormalizePassword(p.New) != account.NormalizePassword(p.Confirm) {
		return account.ErrPasswordMismatch
	}
	return nil
}

// PasswordSet tells whether the account had a password before.
type PasswordSet struct {
	HadPassword bool
}

// ReplacePasswordInput sets a password, proven by the current one or by a code (D05). Where both are given the current
// password counts.
type ReplacePasswordInput struct {
	Current string
	OTP     string
	NewPassword
}

func (in ReplacePasswordInput) validate(a account.Account) error {
	invalid := in.judge(account.ErrInvalid, a)
	if in.Current == "" {
		if in.OTP == "" {
			invalid = invalid.On("current_password", "current password or otp is required")
		} else if fault := account.OTPFault(in.OTP); fault != "" {
			invalid = invalid.On("otp", fault)
		}
	}
	return in.settled(invalid)
}

// ReplacePassword sets the caller's password, proven by the current one or by a code of SendPasswordCode (D05). All other
// sessions end, and its owner is told. It returns account.ErrPasswordMismatch, and the errors of OwnerProof.
func (c *Core) ReplacePassword(ctx context.Context, by account.Caller, in ReplacePasswordInput) (PasswordSet, error) {
	if out, done, err := made[PasswordSet](by); done {
		return out, err
	}
	if _, _, err := current(by); err != nil {
		return PasswordSet{}, err
	}
	if err := in.validate(by.Principal.Account); err != nil {
		return PasswordSet{}, err
	}
	if in.Current != "" {
		return PasswordSet{HadPassword: true}, c.changePassword(ctx, by, in.Current, in.New)
	}
	return c.setPasswordByCode(ctx, by, in.OTP, in.New)
}

// SetPassword gives its first password to an account without one (D09). Its errors are account.ErrPasswordMismatch and those
// of AddPassword.
func (c *Core) SetPassword(ctx context.Context, by account.Caller, in NewPassword) (PasswordSet, error) {
	if out, done, err := made[PasswordSet](by); done {
		return out, err
	}
	if by.Principal == nil {
		return PasswordSet{}, account.ErrUnauthorized
	}
	if err := in.settled(in.judge(account.ErrInvalid, by.Principal.Account)); err != nil {
		return PasswordSet{}, err
	}
	return PasswordSet{}, c.addPassword(ctx, by, in.New)
}

// codeChannels are the ways that a code can be asked for. Those of one way have one contact and get the same code.
var codeChannels = map[string][]account.Channel{
	"SMS":              {account.ChannelSMS},
	"WHATSAPP":         {account.ChannelWhatsApp},
	"EMAIL":            {account.ChannelEmail},
	"SMS_AND_WHATSAPP": {account.ChannelSMS, account.ChannelWhatsApp},
}

// SendPasswordCodeInput asks for a code on one of SMS, WHATSAPP, EMAIL and SMS_AND_WHATSAPP (D06).
type SendPasswordCodeInput struct {
	Channel string
}

// PasswordCode is a code on its way: the token that ChangePasswordByCode takes with it, where it went, and how long it lives.
type PasswordCode struct {
	TempToken string
	Hint      string
	ExpiresIn time.Duration
}

// SendPasswordCode has a code sent to the verified email or number of the caller's account (D06). It counts for this session
// alone, once, in ChangePasswordByCode, ReplacePassword, SignOutOthers, SignOutAll or Reauthenticate (contract X15), and
// replaces the one before. A contact that was verified within this session, or before one that no password opened, counts from
// Policy.ContactAge on (store.ProvenContact).
// It returns account.ErrNoVerifiedEmail, account.ErrNoVerifiedPhone, and account.ErrTooManyRequests when the contact or the
// account got too many codes.
func (c *Core) SendPasswordCode(ctx context.Context, by account.Caller, in SendPasswordCodeInput) (PasswordCode, error) {
	channels, known := codeChannels[in.Channel]
	if !known {
		return PasswordCode{}, account.ErrInvalid.On("channel", "must be one of SMS, WHATSAPP, EMAIL, SMS_AND_WHATSAPP")
	}
	owner, session, err := current(by)
	if err != nil {
		return PasswordCode{}, err
	}
	none := account.ErrNoVerifiedPhone
	if channels[0] == account.ChannelEmail {
		none = account.ErrNoVerifiedEmail
	}
	to, err := c.Store.ProvenContact(ctx, owner, session, channels[0], c.Policy.ContactAge)
	if errors.Is(err, account.ErrNotFound) {
		return PasswordCode{}, none.Because(err)
	}
	if err != nil {
		return PasswordCode{}, err
	}
	if _, err := c.chargeOnce(ctx, by, func() error { return c.chargePasswordCode(ctx, owner, channels[0], to) }); err != nil {
		return PasswordCode{}, err
	}
	request := workflows.PasswordChangeRequest{ChallengeID: c.operationID(by, account.FlowPassword), SessionID: session, Channels: channels}
	by.Begin(request.ChallengeID.String())
	err = c.openPasswordChange(ctx, owner, request, account.Mask(channels[0], to))
	if errors.Is(err, account.ErrInvalidCode) {
		err = none.Because(err) // the contact was taken away at this very moment
	}
	return PasswordCode{
		TempToken: c.Keys.TempToken(account.PurposePasswordChange, request.ChallengeID), Hint: account.Hint(channels[0], to),
		ExpiresIn: c.Policy.CodeTTL,
	}, err
}

// chargePasswordCode counts a code: a mail to its address, an SMS to all that bounds the cost of phones (OTP-13).
func (c *Core) chargePasswordCode(ctx context.Context, owner uuid.UUID, channel account.Channel, to string) error {
	if channel == account.ChannelEmail {
		return c.Store.TakeQuota(ctx, c.sendKey(account.PurposePasswordChange, to), c.Policy.SendQuotas())
	}
	quotas, budgets := c.phoneBounds(account.PurposePasswordChange, owner, to)
	return c.Store.Charge(ctx, quotas, budgets)
}

// passwordChangeFlow is the id of the flow of an account; the account's own id is opaque.
func passwordChangeFlow(owner uuid.UUID) string { return "password-change/" + owner.String() }

func (c *Core) openPasswordChange(ctx context.Context, owner uuid.UUID, request workflows.PasswordChangeRequest, masked string) error {
	ask := durable.Ask{
		WorkflowID: passwordChangeFlow(owner), Workflow: workflows.PasswordChangeWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.PasswordChangeInput{AccountID: owner, Request: request},
		Update: workflows.PasswordChangeOpen, Arg: request,
		Summary: "Code to " + masked,
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("password"), durable.FlowStage.ValueSet("awaiting_proof"),
			durable.AccountID.ValueSet(owner.String()), durable.NextActionAt.ValueSet(c.Clock.Now().Add(c.Policy.CodeTTL)),
		},
		// A guard against flows that no worker ever serves; codes can be asked for over and over for a day.
		ExecutionTimeout: c.Policy.CodeTTL + guardTime,
	}
	err := c.Flows.Ask(ctx, ask, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		err = c.Flows.Ask(ctx, ask, nil) // the flow before this one ended at this very moment
	}
	if errors.Is(err, durable.ErrNoFlow) {
		err = account.ErrUnavailable.Because(err)
	}
	return err
}

// ChangePasswordByCodeInput sets a password by a code and the token that SendPasswordCode returned with it (D07).
type ChangePasswordByCodeInput struct {
	TempToken string
	OTP       string
	NewPassword
}

func (in ChangePasswordByCodeInput) validate(a account.Account) error {
	invalid := in.judge(account.ErrInvalid, a)
	if fault := blankFault(in.TempToken); fault != "" {
		invalid = invalid.On("temp_token", fault)
	}
	if fault := account.OTPFault(in.OTP); fault != "" {
		invalid = invalid.On("otp", fault)
	}
	return in.settled(invalid)
}

// ChangePasswordByCode sets the caller's password by a code (D07), as ReplacePassword does. It returns
// account.ErrPasswordMismatch, account.ErrInvalidToken for a token that is not that of the session's open code, which costs a
// guess all the same, and account.ErrInvalidOTP and account.ErrTooManyRequests for wrong codes.
func (c *Core) ChangePasswordByCode(ctx context.Context, by account.Caller, in ChangePasswordByCodeInput) (PasswordSet, error) {
	owner, session, err := current(by)
	if err != nil {
		return PasswordSet{}, err
	}
	if err := in.validate(by.Principal.Account); err != nil {
		return PasswordSet{}, err
	}
	guess := c.passwordGuess(by, owner, session)
	if err := c.checkTempToken(ctx, guess, owner, in.TempToken); err != nil {
		return PasswordSet{}, err
	}
	return c.setPasswordByCode(ctx, by, in.OTP, in.New)
}

// checkTempToken compares the token that came with a code, which is about to be guessed: it must be that of the newest code of
// the account, and of the session where the code counts for one alone. It returns account.ErrInvalidToken for another one.
func (c *Core) checkTempToken(ctx context.Context, guess store.Guess, owner uuid.UUID, token string) error {
	ours, err := c.Store.OwnProof(ctx, guess)
	if errors.Is(err, account.ErrNotFound) {
		var live account.Challenge
		live, err = c.Store.LiveChallenge(ctx, guess.Purpose, guess.Subject)
		if err == nil && guess.SessionID != nil && (live.SessionID == nil || *live.SessionID != *guess.SessionID) {
			err = account.ErrNotFound
		}
		ours.ID = live.ID
	}
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return err
	}
	if err == nil && c.Keys.TempTokenMatches(guess.Purpose, ours.ID, token) {
		return nil
	}
	// A wrong token is a guess, too: it must not be a free way to try codes of others (security.md OTP-07).
	if err := c.Store.TakeQuota(ctx, c.guessQuota(guess.Purpose, owner.String()), c.Policy.GuessQuotas()); err != nil {
		return err
	}
	return account.ErrInvalidToken.Because(err)
}

func (c *Core) setPasswordByCode(ctx context.Context, by account.Caller, otp, password string) (PasswordSet, error) {
	done, err := c.spendCode(ctx, by, otp, func() (store.Proof, error) {
		hash, err := c.Hasher.Hash(ctx, password)
		return store.Proof{Use: store.UseSetPassword, PasswordHash: hash}, err
	})
	if err != nil {
		return PasswordSet{}, err
	}
	a := by.Principal.Account
	c.forgive(ctx, a.ID, a.Email, a.Username)
	return PasswordSet{HadPassword: done.HadPassword}, nil
}

func (c *Core) passwordGuess(by account.Caller, owner, session uuid.UUID) store.Guess {
	guess := c.guess(account.PurposePasswordChange, owner.String(), by)
	guess.SessionID = &session
	return guess
}

// spendCode counts and compares a code of the caller's session, and has the flow make the change that proof parks. It returns
// account.ErrInvalidOTP, also when the session has no open code, and account.ErrTooManyRequests.
func (c *Core) spendCode(ctx context.Context, by account.Caller, otp string, proof func() (store.Proof, error)) (workflows.PasswordChangeDone, error) {
	owner, session, err := current(by)
	if err != nil {
		return workflows.PasswordChangeDone{}, err
	}
	guess := c.passwordGuess(by, owner, session)
	counted, err := c.checkCode(ctx, &guess, owner.String(), otp)
	var done workflows.PasswordChangeDone
	if err == nil {
		done, err = c.spend(ctx, guess, owner, counted, proof)
	} else if errors.Is(err, account.ErrInvalidCode) && counted.ID != uuid.Nil {
		// It was compared, and wrong.
		if err := c.guessed(ctx, by); err != nil {
			return done, err
		}
	}
	if errors.Is(err, account.ErrInvalidCode) || errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidOTP.Because(err)
	}
	return done, err
}

func (c *Core) spend(ctx context.Context, guess store.Guess, owner uuid.UUID, counted store.Counted, proof func() (store.Proof, error)) (workflows.PasswordChangeDone, error) {
	var done workflows.PasswordChangeDone
	if counted.Done != nil {
		return workflows.PasswordChangeDone{HadPassword: counted.Done.HadPassword}, nil
	}
	parked, err := proof()
	if err != nil {
		return done, errors.Join(err, c.refund(ctx, &guess))
	}
	if err := c.Store.Prove(ctx, counted.ID, guess, parked); err != nil {
		return done, err
	}
	err = c.Flows.Tell(ctx, durable.Tell{
		WorkflowID: passwordChangeFlow(owner), Update: workflows.PasswordChangeProceed,
		Arg: workflows.PasswordChangeProof{ChallengeID: counted.ID},
	}, &done)
	if !errors.Is(err, durable.ErrNoFlow) {
		return done, err
	}
	// The flow may have ended by this very challenge, with its answer lost on the way.
	kept, err := c.Store.ResultOf(ctx, counted.ID)
	return workflows.PasswordChangeDone{HadPassword: kept.HadPassword}, err
}
