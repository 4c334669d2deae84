package core

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/store"
	"gatehouse/workflows"
)

// UpdateProfileInput changes the caller's name, and asks for another email (C20).
type UpdateProfileInput struct {
	Name  *string
	Email *string
}

func (in UpdateProfileInput) validate() (email string, err error) {
	invalid := account.ErrInvalid
	if fault := nameFault(in.Name); fault != "" {
		invalid = invalid.On("name", fault)
	}
	if in.Email != nil {
		var fault string
		if email, fault = account.ParseEmail(*in.Email); fault != "" {
			invalid = invalid.On("email", fault)
		}
	}
	return email, faults(invalid)
}

// UpdateProfile changes the caller's name, and has another email asked for its proof: until the new mailbox proves itself
// by code (C31) or link (B08), the account keeps the present one, and its owner is told there (C20). It returns the caller
// with the present email. A present email in the input changes nothing.
// It returns account.ErrReauthenticationRequired and account.ErrEmailNotVerified for a caller who may not change the
// email, account.ErrEmailExists for a taken one in documented enumeration mode, and account.ErrTooManyRequests when the
// address, or the account, asked for too many codes, and account.ErrPending when the flow does not answer in time but goes on.
func (c *Core) UpdateProfile(ctx context.Context, by account.Caller, in UpdateProfileInput) (account.Principal, error) {
	if out, done, err := made[account.Principal](by); done {
		// The email was asked for before the name was changed.
		out.Account.Email, out.Account.EmailVerified = by.Principal.Account.Email, by.Principal.Account.EmailVerified
		return out, cmp.Or(err, c.resumeEmailChange(ctx, by))
	}
	email, err := in.validate()
	if err != nil {
		return account.Principal{}, err
	}
	present := by.Principal.Account.Email
	var unsure error
	if email != "" && (present == nil || *present != email) {
		change, err := c.requestEmailChange(ctx, by, email, false)
		if unsure = pending(err, change.ID.String()); unsure != nil && !errors.Is(unsure, account.ErrPending) {
			return account.Principal{}, unsure
		}
	}
	// The name is changed all the same: what is parked goes on without anybody.
	after, err := c.changeProfile(ctx, by, account.ProfileChange{FullName: trimmed(in.Name)})
	return after, cmp.Or(err, unsure)
}

// resumeEmailChange goes on with the change that an earlier request under the same key has parked, if it still waits for anything.
func (c *Core) resumeEmailChange(ctx context.Context, by account.Caller) error {
	open, err := c.Store.OpenEmailChangeOf(ctx, by.Principal.Account.ID)
	if errors.Is(err, account.ErrNotFound) || err == nil && open.ID != challengeID(by) {
		return nil
	}
	if err != nil {
		return err
	}
	by.Begin(open.ID.String())
	return pending(again(c.openEmailChange(ctx, open)), open.ID.String())
}

// requestEmailChange parks a change of the caller's email and has the new address asked for its proof. A repetition returns
// the change that it joins.
func (c *Core) requestEmailChange(ctx context.Context, by account.Caller, email string, linking bool) (account.EmailChange, error) {
	var none account.EmailChange
	if err := c.requireVerified(by); err != nil {
		return none, err
	}
	if err := c.requireFresh(by); err != nil {
		return none, err
	}
	owner, err := c.Store.OwnerOf(ctx, email)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return none, err
	}
	taken := err == nil && owner.Verified
	if taken && c.Policy.Enumeration == account.EnumerationDocumented {
		return none, account.ErrEmailExists
	}
	id := by.Principal.Account.ID
	change := account.EmailChange{ID: challengeID(by), AccountID: id, NewEmail: email, Taken: taken, Linking: linking}
	joined, err := c.chargeEmailChange(ctx, by, change)
	if err != nil {
		return none, err
	}
	if joined != nil {
		by.Begin(joined.ID.String())
		// Should its first request have died on the way, it goes on now.
		return *joined, again(c.openEmailChange(ctx, *joined))
	}
	err = c.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
		if err := requireLiveOverCodes(ctx, tx, by); err != nil {
			return err
		}
		return tx.OpenEmailChange(ctx, change, c.emailChangeLife(change))
	})
	if err != nil {
		return none, unauthorized(err) // it was closed this moment
	}
	by.Begin(change.ID.String())
	return change, again(c.openEmailChange(ctx, change))
}

// emailChangeLife is how long a change can be proven: its proof lives from the moment when it is sent, which may take a while.
func (c *Core) emailChangeLife(e account.EmailChange) time.Duration {
	if e.Linking {
		return 2 * c.Policy.CodeTTL
	}
	return c.Policy.LinkTTL + c.Policy.CodeTTL
}

// chargeEmailChange counts the mail to the new address, by address and by account. A repetition within the gap between two
// codes joins the change that is pending. One that comes later waits for its turn: the code that it would be told of may be dead.
func (c *Core) chargeEmailChange(ctx context.Context, by account.Caller, e account.EmailChange) (joined *account.EmailChange, err error) {
	purpose := account.PurposeEmailChange
	if e.Linking {
		purpose = account.PurposeEmailLink
	}
	repeated, err := c.chargeSend(ctx, by, purpose, e.NewEmail)
	if errors.Is(err, account.ErrTooManyRequests) {
		open, missing := c.Store.OpenEmailChangeOf(ctx, e.AccountID)
		age := c.emailChangeLife(open) - open.Left
		if missing == nil && open.NewEmail == e.NewEmail && open.Linking == e.Linking && age < min(c.Policy.SendGap, c.Policy.CodeTTL) {
			return &open, nil
		}
		return nil, err
	}
	if err != nil || repeated {
		return nil, err
	}
	key := c.Keys.Subject("send/email_change/account", e.AccountID.String())
	return nil, c.Store.TakeQuota(ctx, key, []account.Quota{
		{Max: c.Policy.SendsPerHour, Per: time.Hour}, {Max: c.Policy.SendsPerDay, Per: 24 * time.Hour},
	})
}

func (c *Core) openEmailChange(ctx context.Context, e account.EmailChange) error {
	request := workflows.EmailChangeRequest{ChangeID: e.ID}
	ask := durable.Ask{
		WorkflowID: emailChangeFlow(e.AccountID), Workflow: workflows.EmailChangeWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.EmailChangeInput{AccountID: e.AccountID, Request: request},
		Update: workflows.EmailChangeOpen, Arg: request,
		Summary: "Change of email to " + account.MaskEmail(e.NewEmail),
		// A guard against flows that no worker ever serves. Ten requests a day can keep one open for long.
		ExecutionTimeout: emailChangeGuard,
	}
	kind := account.FlowEmailChange
	if e.Linking {
		kind = account.FlowEmailLink
		ask.WorkflowID, ask.Workflow = emailLinkFlow(e.AccountID), workflows.EmailLinkWorkflow
		ask.Summary = "Link of the email " + account.MaskEmail(e.NewEmail)
	}
	ask.Attributes = []temporal.SearchAttributeUpdate{
		durable.FlowKind.ValueSet(string(kind)), durable.FlowStage.ValueSet(string(account.StageAwaitingProof)),
		durable.AccountID.ValueSet(e.AccountID.String()), durable.NextActionAt.ValueSet(c.Clock.Now().Add(c.emailChangeLife(e))),
	}
	return c.Flows.Ask(ctx, ask, nil)
}

const emailChangeGuard = 30 * 24 * time.Hour

func emailChangeFlow(id uuid.UUID) string { return activities.EmailFlow(id, false) }

func emailLinkFlow(id uuid.UUID) string { return activities.EmailFlow(id, true) }

// verifyEmailChange proves the address that an account is about to have by code (C31).
func (c *Core) verifyEmailChange(ctx context.Context, by account.Caller, email, code string) (CodeVerified, error) {
	guess := c.guess(account.PurposeEmailChange, email, by)
	counted, err := c.checkCode(ctx, &guess, email, code)
	if err != nil || counted.Done != nil {
		return CodeVerified{}, err
	}
	return CodeVerified{}, c.proveEmailChange(ctx, counted.ID, guess)
}

func (c *Core) proveEmailChange(ctx context.Context, challenge uuid.UUID, guess store.Guess) error {
	owner, err := c.Store.ChallengeOwner(ctx, challenge)
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidCode.Because(err)
	}
	if err != nil {
		return errors.Join(err, c.refund(ctx, &guess))
	}
	_, err = c.prove(ctx, emailChangeFlow(owner), challenge, guess, store.Proof{})
	return err
}

// confirmEmailChange proves the address that an account is about to have by link (B08). It returns account.ErrNotFound for
// a token that is no such link's.
func (c *Core) confirmEmailChange(ctx context.Context, by account.Caller, tokenHash []byte) error {
	ch, done, err := c.Store.ChallengeByLink(ctx, account.PurposeEmailChange, tokenHash, by.IdempotencyKey)
	if err != nil || done != nil {
		return err
	}
	return c.proveEmailChange(ctx, ch.ID, store.Guess{
		Purpose: account.PurposeEmailChange, Lease: c.Policy.ProofLease, ProofKey: by.IdempotencyKey,
	})
}
