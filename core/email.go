package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/store"
	"gatehouse/workflows"
)

// SignIn is a fresh session with its tokens. RefreshToken is empty where the document hands out none.
type SignIn struct {
	Principal    account.Principal
	AccessToken  string
	ExpiresAt    time.Time
	RefreshToken string
	// SecondStep is what the login still owes: until then the session is pending, and its tokens are good for that alone.
	SecondStep account.SecondStep
	// StepToken names the login to VerifyDevice, where a code is due.
	StepToken string
}

// CompleteSignup proves the code of a pending sign-up and makes the account, signed in (C06). It returns
// account.ErrInvalidCode for a wrong, expired, used or spent code, account.ErrTooManyRequests when too many codes were
// guessed for the address, and account.ErrEmailExists when the address was taken meanwhile.
func (c *Core) CompleteSignup(ctx context.Context, by account.Caller, in CompleteSignupInput) (SignIn, error) {
	email, err := codeInput(in.Email, in.Code)
	if err != nil {
		return SignIn{}, err
	}
	defer c.padHidden(&c.pads.guess)()
	guess := c.guess(account.PurposeSignup, email, by)
	counted, err := c.checkCode(ctx, &guess, email, in.Code)
	if err != nil {
		return SignIn{}, c.wrongCode(ctx, email, err)
	}
	if counted.Done != nil {
		return c.signInOr(ctx, counted.Done.SessionID, account.ErrInvalidCode)
	}
	done, err := c.prove(ctx, c.flowID(account.SignupByCode, email), counted.ID, guess,
		store.Proof{Origin: origin(by, in.Fingerprint, in.Attribution, in.AnonymousID)})
	if err != nil {
		return SignIn{}, err
	}
	return c.signInOr(ctx, done.SessionID, account.ErrInvalidCode)
}

// ResendCodeInput asks for a new code for a pending sign-up or an unverified account (C23).
type ResendCodeInput struct {
	Email string
}

// VerifyCodeInput proves an address by code (C31).
type VerifyCodeInput struct {
	Email string
	Code  string
}

// CodeVerified tells what the proof of the address brought.
type CodeVerified struct {
	CreditsAwarded int64
}

// VerifyCode proves an address by code (C31): that of an unverified account, which is then verified and gets its bonus, or
// the one that an account is about to have (C20).
// The code of a pending sign-up is only checked and stays usable for CompleteSignup (contract X26). Where several await a
// code, any will do: nobody can take the code of an account from its owner by opening a sign-up for the address.
// Errors are those of CompleteSignup.
func (c *Core) VerifyCode(ctx context.Context, by account.Caller, in VerifyCodeInput) (CodeVerified, error) {
	email, err := codeInput(in.Email, in.Code)
	if err != nil {
		return CodeVerified{}, err
	}
	defer c.padHidden(&c.pads.guess)()
	out, err := c.verifyCode(ctx, by, email, in.Code)
	return out, c.wrongCode(ctx, email, err)
}

// verifyCode tries a code for each thing of the address that awaits one. Where none does, it is a wrong code of an account.
func (c *Core) verifyCode(ctx context.Context, by account.Caller, email, code string) (CodeVerified, error) {
	changing, err := c.Store.HasChallenge(ctx, account.PurposeEmailChange, c.guess(account.PurposeEmailChange, email, by).Subject)
	if err != nil {
		return CodeVerified{}, err
	}
	_, err = c.Store.OpenCodeSignup(ctx, email)
	signingUp := err == nil
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return CodeVerified{}, err
	}
	owner, err := c.Store.OwnerOf(ctx, email)
	unverified := err == nil && !owner.Verified
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return CodeVerified{}, err
	}
	var tries []func(context.Context, account.Caller, string, string) (CodeVerified, error)
	if changing {
		tries = append(tries, c.verifyEmailChange)
	}
	if unverified || !changing && !signingUp {
		tries = append(tries, c.verifyAccount)
	}
	if signingUp {
		tries = append(tries, c.checkSignupCode)
	}
	var out CodeVerified
	for _, try := range tries {
		if out, err = try(ctx, by, email, code); !errors.Is(err, account.ErrInvalidCode) {
			break
		}
	}
	return out, err
}

// checkSignupCode leaves a right code as it was (contract X26).
func (c *Core) checkSignupCode(ctx context.Context, by account.Caller, email, code string) (CodeVerified, error) {
	guess := c.guess(account.PurposeSignup, email, by)
	counted, err := c.checkCode(ctx, &guess, email, code)
	if err != nil {
		return CodeVerified{}, err
	}
	return CodeVerified{}, c.uncount(ctx, counted.ID, &guess)
}

func (c *Core) verifyAccount(ctx context.Context, by account.Caller, email, code string) (CodeVerified, error) {
	guess := c.guess(account.PurposeEmail, email, by)
	counted, err := c.checkCode(ctx, &guess, email, code)
	if err != nil {
		return CodeVerified{}, err
	}
	if counted.Done != nil {
		return CodeVerified{CreditsAwarded: counted.Done.CreditsAwarded}, nil
	}
	done, err := c.prove(ctx, c.flowID(account.SignupByRegister, email), counted.ID, guess, store.Proof{})
	return CodeVerified{CreditsAwarded: done.CreditsAwarded}, err
}

// ConfirmEmailInput proves an address by the token of the mailed link (B08).
type ConfirmEmailInput struct {
	Token string
}

// ConfirmEmail proves an address by the token of the mailed link (B08): that of an unverified account, or the one that an
// account is about to have (C20). It returns account.ErrInvalidToken for a token
// that is unknown, expired, replaced by a newer one or used.
func (c *Core) ConfirmEmail(ctx context.Context, by account.Caller, in ConfirmEmailInput) (None, error) {
	if in.Token == "" {
		return None{}, account.ErrInvalid.On("token", "is required")
	}
	hash := c.Keys.TokenHash("link", in.Token)
	ch, done, err := c.Store.ChallengeByLink(ctx, account.PurposeEmail, hash, by.IdempotencyKey)
	if err == nil && done == nil {
		guess := store.Guess{Purpose: account.PurposeEmail, Lease: c.Policy.ProofLease, ProofKey: by.IdempotencyKey}
		flow := c.flowID(account.SignupByRegister, ch.Destination)
		_, err = c.prove(ctx, flow, ch.ID, guess, store.Proof{})
	}
	if errors.Is(err, account.ErrNotFound) {
		err = c.confirmEmailChange(ctx, by, hash)
	}
	if errors.Is(err, account.ErrNotFound) || errors.Is(err, account.ErrInvalidCode) {
		err = account.ErrInvalidToken.Because(err)
	}
	return None{}, err
}

// ResendCode has a new code sent for a pending sign-up or an unverified account, and does nothing for any other address
// (C23): the answers do not differ. It returns account.ErrTooManyRequests when the address got too many codes, whether it
// is known or not.
func (c *Core) ResendCode(ctx context.Context, by account.Caller, in ResendCodeInput) (None, error) {
	// The time of the answer must not tell a known address either.
	defer c.pads.resend.begin()()
	email, err := readEmail(in.Email)
	if err != nil {
		return None{}, err
	}
	request := workflows.SignupRequest{ChallengeID: challengeID(by)}
	kind, purpose := account.SignupByCode, account.PurposeSignup
	attempt, err := c.Store.OpenCodeSignup(ctx, email)
	known := err == nil
	switch {
	case known:
		request.AttemptID = attempt.ID
	case !errors.Is(err, account.ErrNotFound):
		return None{}, err
	default:
		owner, err := c.Store.OwnerOf(ctx, email)
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return None{}, err
		}
		if known = err == nil && !owner.Verified; known {
			request.AccountID = owner.AccountID
			kind, purpose = account.SignupByRegister, account.PurposeEmail
		}
	}
	send, err := c.chargeResend(ctx, by, purpose, email, known)
	if err != nil {
		return None{}, err
	}
	if send && request.AttemptID != uuid.Nil {
		if request.ChallengeID, err = c.challengeOf(ctx, by, request.AttemptID); err != nil {
			return None{}, err
		}
	}
	if !send {
		// As for a known address, nothing could be sent while Temporal is away.
		return None{}, c.Flows.Healthy(ctx)
	}
	if c.hidden() { // a wait that cannot be padded would tell that there is something to wait for
		var done context.CancelFunc
		ctx, done = context.WithTimeout(ctx, c.pads.resend.most())
		defer done()
	}
	_, err = c.openFlow(ctx, kind, email, request)
	return None{}, c.resent(err)
}

// resent is what whoever asked for a code again is told of its flow's answer: in hidden mode nothing that another address would not
// be told. While no worker answers, a code that its flow is yet to make is then as good as sent; one beside a code that is out may
// be lost.
func (c *Core) resent(err error) error {
	if c.hidden() && errors.Is(err, account.ErrOutcomeUnknown) {
		return nil
	}
	return expired(err)
}

// expired leaves out that a flow has no use for a code any more: it expired this moment, as if it had before.
func expired(err error) error {
	if errors.Is(err, account.ErrInvalidCode) || errors.Is(err, durable.ErrNoFlow) {
		return nil
	}
	return err
}

// readEmail returns the address that is asked about. What is no address is nobody's, and not refused, unless there is none at all
// or it is longer than any.
func readEmail(raw string) (string, error) {
	email := account.NormalizeEmail(raw)
	switch {
	case email == "":
		return "", account.ErrInvalid.On("email", "is required")
	case len(email) > account.MaxEmailLength:
		return "", account.ErrInvalid.On("email", "must be at most 254 characters")
	}
	return email, nil
}

func codeInput(rawEmail, code string) (email string, err error) {
	invalid := account.ErrInvalid
	email = account.NormalizeEmail(rawEmail)
	if email == "" {
		invalid = invalid.On("email", "is required")
	}
	if fault := account.CodeFault(code); fault != "" {
		invalid = invalid.On("code", fault)
	}
	return email, faults(invalid)
}

// prove marks a challenge as proven and has the flow make the change that it allows. Of many callers with the same right
// code one gets here; after a crash in between, the same code or the same Idempotency-Key does again.
func (c *Core) prove(ctx context.Context, flow string, challenge uuid.UUID, g store.Guess, proof store.Proof) (workflows.SignupDone, error) {
	var done workflows.SignupDone
	if err := c.Store.Prove(ctx, challenge, g, proof); err != nil {
		if errors.Is(err, account.ErrNotFound) {
			err = account.ErrInvalidCode.Because(err)
		}
		return done, err
	}
	err := c.Flows.Tell(ctx, durable.Tell{
		WorkflowID: flow, Update: workflows.SignupProceed, Arg: workflows.SignupProof{ChallengeID: challenge},
	}, &done)
	if !errors.Is(err, durable.ErrNoFlow) {
		return done, err
	}
	// The flow may have ended by this very challenge, with its answer lost on the way.
	kept, missing := c.Store.ResultOf(ctx, challenge)
	if errors.Is(missing, account.ErrNotFound) {
		return done, account.ErrInvalidCode.Because(err)
	}
	return workflows.SignupDone{
		AccountID: kept.AccountID, SessionID: kept.SessionID, CreditsAwarded: kept.CreditsAwarded,
	}, missing
}

// None is the result of an operation that returns nothing, and the input of one that takes nothing.
type None struct{}

// CheckEmailInput asks whether an address has an account (C04, C05).
type CheckEmailInput struct {
	Email string
}

// EmailChecked is what an address tells: the truth in documented enumeration mode, and always nothing in hidden mode.
type EmailChecked struct {
	Exists      bool
	HasPassword bool
	Providers   []string
}

// CheckEmail tells whether an address has an account (C04, C05). In hidden enumeration mode every address seems to have none,
// as sign-up lets it seem, too.
func (c *Core) CheckEmail(ctx context.Context, _ account.Caller, in CheckEmailInput) (EmailChecked, error) {
	email, err := readEmail(in.Email)
	if err != nil {
		return EmailChecked{}, err
	}
	if c.hidden() {
		return EmailChecked{}, nil
	}
	owner, err := c.Store.OwnerOf(ctx, email)
	if errors.Is(err, account.ErrNotFound) {
		return EmailChecked{}, nil
	}
	if err != nil {
		return EmailChecked{}, err
	}
	providers, err := c.providersOf(ctx, owner.AccountID)
	return EmailChecked{Exists: true, HasPassword: owner.HasPassword, Providers: providers}, err
}
