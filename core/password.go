package core

import (
	"cmp"
	"context"
	"errors"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/providers/templates"
	"gatehouse/store"
	"gatehouse/workflows"
)

// ChangePasswordInput replaces a password that the client knows (A05, C03, B07).
type ChangePasswordInput struct {
	Current string
	New     string
	// LetterAndNumber adds document A's rule, for whoever shows the credential that it documents (contract X02).
	LetterAndNumber bool
}

// ownNames are what a password of an account must not be.
func ownNames(a account.Account) []string {
	names := []string{a.DisplayUsername()}
	for _, name := range []*string{a.Email, a.Profile.FullName} {
		if name != nil {
			names = append(names, *name)
		}
	}
	return names
}

func (in ChangePasswordInput) validate(by account.Caller) error {
	fault := account.PasswordFault(in.New, ownNames(by.Principal.Account)...)
	if fault == "" && in.LetterAndNumber && !by.KeyHeader {
		fault = account.LetterAndNumberFault(in.New)
	}
	invalid := account.ErrInvalid
	if fault != "" {
		invalid = account.ErrPasswordRules.On("new_password", fault)
	}
	if in.Current == "" {
		invalid = invalid.On("current_password", "is required")
	}
	return faults(invalid)
}

// ChangePassword replaces the caller's password, proven by the current one, and signs out all other sessions (A05, C03,
// B07). It returns account.ErrInvalidPassword when the current password is another, or there is none, and
// account.ErrTooManyRequests after too many of those: they count as failed logins of the account (security.md SES-13).
func (c *Core) ChangePassword(ctx context.Context, by account.Caller, in ChangePasswordInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	if err := in.validate(by); err != nil {
		return None{}, err
	}
	return None{}, c.changePassword(ctx, by, in.Current, in.New)
}

// changePassword replaces the caller's password by one that was judged before.
func (c *Core) changePassword(ctx context.Context, by account.Caller, current, next string) error {
	before, err := c.provePassword(ctx, by, current)
	if err != nil {
		return err
	}
	after, err := c.Hasher.Hash(ctx, next)
	if err != nil {
		return err
	}
	a := by.Principal.Account
	change := store.PasswordChange{AccountID: a.ID, Before: before, After: after}
	if s := by.Principal.Session; s != nil {
		change.Keep = &s.ID
	}
	_, err = commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (PasswordSet, told, error) {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return PasswordSet{}, nil, err
		}
		return PasswordSet{HadPassword: true}, c.toVerified(a, templates.PasswordChanged), tx.ChangePassword(ctx, change)
	})
	if errors.Is(err, account.ErrNotFound) {
		return account.ErrInvalidPassword.Because(err) // another request was faster
	}
	if err != nil {
		return err
	}
	c.forgive(ctx, a.ID, a.Email, a.Username)
	return nil
}

// provePassword compares the caller's current password and returns its hash. Wrong ones count as failed logins of the
// account, and against the session: first it may no longer change sign-in methods, then it ends (security.md SES-13).
// It returns account.ErrInvalidPassword, also for an account without a password, and account.ErrTooManyRequests.
func (c *Core) provePassword(ctx context.Context, by account.Caller, password string) (hash string, err error) {
	id := by.Principal.Account.ID
	hash, err = c.Store.PasswordOf(ctx, id)
	if err != nil {
		return "", unauthorized(err)
	}
	throttle := loginThrottle{keys: [][]byte{c.Keys.Subject("login-account", id.String())}}
	match, err := c.Hasher.Verify(ctx, hash, password, func(ctx context.Context) error { return throttle.judge(ctx, c) })
	if err != nil {
		return "", err
	}
	session := by.Principal.Session
	if by.Principal.APIKey != nil {
		session = nil // its implicit session (contract X06) signs nobody in
	}
	if !match {
		if err := c.loginFailed(ctx, account.LoginRecord{}, throttle.keys); !errors.Is(err, account.ErrInvalidCredentials) {
			return "", err
		}
		if session != nil {
			if err := c.guessed(ctx, by); err != nil {
				return "", err
			}
		}
		return "", account.ErrInvalidPassword
	}
	if session != nil {
		if err := c.Store.PasswordProven(ctx, session.ID); err != nil {
			return "", err
		}
	}
	return hash, c.Store.LoginSucceeded(ctx, throttle.keys)
}

// guessed counts a wrong password or code of the owner against the session that tried it. The owner is told when it ends.
func (c *Core) guessed(ctx context.Context, by account.Caller) error {
	a, session := by.Principal.Account, by.Principal.Session.ID
	return c.commit(ctx, func(ctx context.Context, tx *store.Store) (told, error) {
		ended, err := tx.PasswordGuessed(ctx, session, c.Policy.GuessesLoseStepUp, c.Policy.GuessesEndSession)
		if err != nil || !ended {
			return nil, err
		}
		return c.toVerified(a, templates.SessionGuessing), nil
	})
}

// AddPasswordInput sets the first password of an account without one (C02).
type AddPasswordInput struct {
	Password string
}

// AddPassword sets the first password of an account without one (C02). It returns account.ErrEmailNotVerified,
// account.ErrReauthenticationRequired, and account.ErrPasswordExists when the account has a password.
func (c *Core) AddPassword(ctx context.Context, by account.Caller, in AddPasswordInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if by.Principal == nil {
		return None{}, account.ErrUnauthorized
	}
	if fault := account.PasswordFault(in.Password, ownNames(by.Principal.Account)...); fault != "" {
		return None{}, account.ErrInvalid.On("password", fault)
	}
	return None{}, c.addPassword(ctx, by, in.Password)
}

// addPassword sets a first password that was judged before. Who has one is told so first: no proof and no new sign-in would help.
func (c *Core) addPassword(ctx context.Context, by account.Caller, password string) error {
	a := by.Principal.Account
	if a.HasPassword {
		return account.ErrPasswordExists
	}
	if err := c.requireVerified(by); err != nil {
		return err
	}
	if err := c.requireFresh(by); err != nil {
		return err
	}
	hash, err := c.Hasher.Hash(ctx, password)
	if err != nil {
		return err
	}
	_, err = commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (PasswordSet, told, error) {
		if err := requireLive(ctx, tx, by); err != nil {
			return PasswordSet{}, nil, err
		}
		return PasswordSet{}, c.toVerified(a, templates.PasswordAdded), tx.AddPassword(ctx, a.ID, hash)
	})
	return err
}

// ForgotPasswordInput asks for a link that sets a new password (C07, B05).
type ForgotPasswordInput struct {
	Email string
}

// ForgotPassword has a link mailed that sets a new password (C07, B05). For an address without an account everything is done
// alike but the mail. It returns account.ErrTooManyRequests when too many links were asked for an
// address, known or not, and account.ErrPending when the flow does not answer in time but goes on.
func (c *Core) ForgotPassword(ctx context.Context, by account.Caller, in ForgotPasswordInput) (None, error) {
	// The time of the answer must not tell a known address either.
	defer c.pads.reset.begin()()
	email, err := readEmail(in.Email)
	if err != nil {
		return None{}, err
	}
	owner, err := c.Store.RecoverableAccount(ctx, email, c.Policy.RecoveryAge)
	if errors.Is(err, account.ErrNotFound) {
		owner, err = uuid.New(), nil // nobody: the flow finds that out, as it finds an account
	}
	if err != nil {
		return None{}, err
	}
	if _, err := c.chargeSend(ctx, by, account.PurposeReset, email); err != nil {
		return None{}, err
	}
	request := workflows.PasswordResetRequest{AccountID: owner, ChallengeID: challengeID(by)}
	operation := c.blindOperation(account.FlowPassword)
	by.Begin(operation)
	err = c.Flows.Ask(ctx, durable.Ask{
		WorkflowID: c.resetFlow(email), Workflow: workflows.PasswordResetWorkflow, Queue: durable.QueueFlows,
		Input: request, Update: workflows.PasswordResetOpen, Arg: request,
		Summary: "Password reset for " + account.MaskEmail(email),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("password"), durable.FlowStage.ValueSet("awaiting_proof"),
			durable.NextActionAt.ValueSet(c.Clock.Now().Add(c.Policy.ResetTTL)),
		},
		// A guard against flows that no worker ever serves; new links can prolong a reset for a day at most.
		ExecutionTimeout: c.Policy.ResetTTL + guardTime,
	}, nil)
	return None{}, pending(err, operation)
}

func (c *Core) resetFlow(email string) string { return c.Keys.FlowID("password", "reset", email) }

// ResetPasswordInput sets a new password by the token of the mailed link (C21, B06).
type ResetPasswordInput struct {
	Token string
	New   string
	// NewField is the canonical name of the new password's field, for its faults; empty means new_password.
	NewField string
}

func (in ResetPasswordInput) validate(own ...string) error {
	invalid := account.ErrInvalid
	if in.Token == "" {
		invalid = invalid.On("token", "is required")
	}
	if fault := account.PasswordFault(in.New, own...); fault != "" {
		invalid = invalid.On(cmp.Or(in.NewField, "new_password"), fault)
	}
	return faults(invalid)
}

// ResetPassword sets a new password by the token of the mailed link (C21, B06): whoever reads the mailbox owns the account. All
// sessions, API keys and open challenges of the account end with the old password, and an unproven address is proven by it.
// It returns account.ErrInvalidToken for a token that is unknown, expired, replaced by a newer one or used.
func (c *Core) ResetPassword(ctx context.Context, by account.Caller, in ResetPasswordInput) (None, error) {
	if err := in.validate(); err != nil {
		return None{}, err
	}
	done, err := c.resetPassword(ctx, by, in)
	if errors.Is(err, account.ErrNotFound) || errors.Is(err, account.ErrInvalidCode) {
		return None{}, account.ErrInvalidToken.Because(err)
	}
	if err != nil {
		return None{}, err
	}
	// Only who reads the mailbox may guess anew at the codes that go there.
	c.forgive(ctx, done.AccountID, &done.Email, &done.Username, c.guessQuota(account.PurposeDevice, done.AccountID.String()))
	return None{}, nil
}

// resetPassword returns whose password it has set.
func (c *Core) resetPassword(ctx context.Context, by account.Caller, in ResetPasswordInput) (store.Recipient, error) {
	ch, before, err := c.Store.ChallengeByLink(ctx, account.PurposeReset, c.Keys.TokenHash("reset", in.Token), by.IdempotencyKey)
	if err != nil {
		return store.Recipient{}, err
	}
	// The password is judged by the names of its account before the link is used up.
	owner, err := c.Store.RecipientOf(ctx, *ch.AccountID)
	if before != nil {
		err = nil // whatever has become of the account since
	}
	owner.AccountID, owner.Email = *ch.AccountID, ch.Destination
	if err != nil || before != nil {
		return owner, err
	}
	if err := in.validate(owner.Email, owner.Name, owner.Username); err != nil {
		return owner, err
	}
	hash, err := c.Hasher.Hash(ctx, in.New)
	if err != nil {
		return owner, err
	}
	guess := store.Guess{Purpose: account.PurposeReset, Lease: c.Policy.ProofLease, ProofKey: by.IdempotencyKey}
	if err := c.Store.Prove(ctx, ch.ID, guess, store.Proof{PasswordHash: hash}); err != nil {
		return owner, err
	}
	err = c.Flows.Tell(ctx, durable.Tell{
		WorkflowID: c.resetFlow(ch.Destination), Update: workflows.PasswordResetProceed,
		Arg: workflows.PasswordResetProof{ChallengeID: ch.ID},
	}, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		// The flow may have ended by this very challenge, with its answer lost on the way.
		_, err = c.Store.ResultOf(ctx, ch.ID)
	}
	return owner, err
}
