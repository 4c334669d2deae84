package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/store"
	"gatehouse/workflows"
)

// SendPhoneCodeInput asks for a code to a number (A03).
type SendPhoneCodeInput struct {
	PhoneNumber string
	// CountryCode is checked to be one, and no more: the number says itself where it belongs.
	CountryCode *string
}

// PhonePending tells how long the code lives.
type PhonePending struct {
	ExpiresIn time.Duration
}

func (in SendPhoneCodeInput) validate(rules account.PhoneRules) (string, error) {
	if in.PhoneNumber == "" {
		return "", account.ErrInvalid.On("phone_number", "is required")
	}
	number, err := rules.ParsePhone(in.PhoneNumber)
	if err == nil && in.CountryCode != nil && *in.CountryCode != "" {
		_, err = account.ParseCountry(*in.CountryCode)
	}
	return number, err
}

// SendPhoneCode has a code sent to a number, by SMS or else by WhatsApp (A03). The number becomes the account's only by
// VerifyPhone. A repetition for the same number within Policy.SendGap joins the code that is on its way.
// It returns account.ErrInvalidPhone, account.ErrEmailNotVerified, account.ErrReauthenticationRequired,
// account.ErrTooManyRequests when the number, the account, its range, its country or all phones together got too many codes,
// and account.ErrPending when the flow does not answer in time but goes on.
func (c *Core) SendPhoneCode(ctx context.Context, by account.Caller, in SendPhoneCodeInput) (PhonePending, error) {
	number, err := in.validate(c.Policy.PhoneRules())
	if err != nil {
		return PhonePending{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return PhonePending{}, err
	}
	if err := c.requireFresh(by); err != nil {
		return PhonePending{}, err
	}
	owner := by.Principal.Account.ID
	challenge, live, err := c.parkPhone(ctx, by, owner, number)
	if err != nil {
		return PhonePending{}, err
	}
	by.Begin(challenge.String())
	if !live {
		err = c.openPhone(ctx, owner, challenge)
	}
	return PhonePending{ExpiresIn: c.Policy.CodeTTL}, err
}

// parkPhone parks the number and charges its code, and returns the challenge to open; live means that its code is on its way
// already.
func (c *Core) parkPhone(ctx context.Context, by account.Caller, owner uuid.UUID, number string) (id uuid.UUID, live bool, err error) {
	id = challengeID(by)
	if by.IdempotencyKey != "" {
		// The same request again: it was charged, and the flow knows it by its challenge.
		if parked, err := c.Store.PhoneAttempt(ctx, id); err == nil || !errors.Is(err, account.ErrNotFound) {
			return parked.ID, false, err
		}
	}
	quotas, budgets := c.phoneBounds(account.PurposePhone, owner, number)
	err = c.Store.ParkPhone(ctx, store.PhoneAttempt{ID: id, AccountID: owner, Number: number}, quotas, budgets)
	if !errors.Is(err, account.ErrTooManyRequests) {
		return id, false, err
	}
	// Within the gap it may be the code that this account has just asked for, or a request for it that died half-way.
	parked, missing := c.Store.NewestPhoneAttempt(ctx, owner, number, c.Policy.SendGap)
	if missing != nil {
		return uuid.Nil, false, firstUnexpected(missing, err)
	}
	issued, missing := c.Store.ChallengeExists(ctx, parked.ID)
	if missing != nil {
		return uuid.Nil, false, missing
	}
	if !issued {
		return parked.ID, false, nil
	}
	newest, missing := c.Store.LiveChallenge(ctx, account.PurposePhone, c.Keys.Subject(string(account.PurposePhone), owner.String()))
	if missing != nil || newest.ID != parked.ID {
		return uuid.Nil, false, firstUnexpected(missing, err)
	}
	return parked.ID, true, nil
}

// firstUnexpected returns failed unless it only says that nothing was found, and then otherwise.
func firstUnexpected(failed, otherwise error) error {
	if failed == nil || errors.Is(failed, account.ErrNotFound) {
		return otherwise
	}
	return failed
}

// phoneBounds are what a code to a number is charged to (security.md OTP-13), beside the limit of the client's address: the
// narrow ones first, so that requests at once wait for each other in one order.
func (c *Core) phoneBounds(purpose account.Purpose, owner uuid.UUID, number string) (quotas, budgets []store.Bound) {
	key := func(label, value string) []byte { return c.Keys.Subject("phone/"+label, value) }
	quotas = []store.Bound{
		{Key: c.sendKey(purpose, number), Quotas: c.Policy.SendQuotas()},
		{Key: key("account", owner.String()), Quotas: c.Policy.PhoneQuotas()},
	}
	budgets = []store.Bound{
		{Key: key("prefix", account.PhonePrefix(number)), Quotas: []account.Quota{{Max: c.Policy.PhonePrefixPerHour, Per: time.Hour}}},
		{Key: key("country", account.PhoneCountry(number)), Quotas: []account.Quota{{Max: c.Policy.PhoneCountryPerHour, Per: time.Hour}}},
		{Key: key("all", ""), Quotas: []account.Quota{{Max: c.Policy.PhoneBudgetPerDay, Per: 24 * time.Hour}}},
	}
	return quotas, budgets
}

// phoneFlow is the id of the flow of an account; the account's own id is opaque.
func phoneFlow(owner uuid.UUID) string { return "phone/" + owner.String() }

// openPhone starts or joins the verification of an account's number.
func (c *Core) openPhone(ctx context.Context, owner, challenge uuid.UUID) error {
	request := workflows.PhoneRequest{ChallengeID: challenge}
	life := 2*c.Policy.CodeTTL + time.Minute
	ask := durable.Ask{
		WorkflowID: phoneFlow(owner), Workflow: workflows.PhoneVerificationWorkflow, Queue: durable.QueueFlows,
		Input:  workflows.PhoneInput{AccountID: owner, Request: request, Failover: c.Policy.PhoneFailover},
		Update: workflows.PhoneOpen, Arg: request,
		Summary: "Verification of a number",
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet(string(account.FlowPhone)), durable.FlowStage.ValueSet(string(account.StageAwaitingProof)),
			durable.AccountID.ValueSet(owner.String()), durable.NextActionAt.ValueSet(c.Clock.Now().Add(life)),
		},
		// A guard against flows that no worker ever serves; codes can be asked for over and over for a day.
		ExecutionTimeout: life + guardTime,
	}
	err := c.Flows.Ask(ctx, ask, nil)
	if errors.Is(err, durable.ErrNoFlow) {
		err = c.Flows.Ask(ctx, ask, nil) // the flow before this one ended at this very moment
	}
	return pending(again(err), challenge.String())
}

// VerifyPhoneInput proves a number by the code that went there (A04).
type VerifyPhoneInput struct {
	PhoneNumber string
	Code        string
}

// VerifyPhone makes a number the account's, verified (A04). The code counts for the account and the number that it was
// sent to, and once. It returns account.ErrInvalidPhone, account.ErrEmailNotVerified, account.ErrInvalidOTP for a wrong,
// expired or used code, and account.ErrTooManyRequests when the account guessed too many.
func (c *Core) VerifyPhone(ctx context.Context, by account.Caller, in VerifyPhoneInput) (None, error) {
	invalid := account.ErrInvalid
	if in.PhoneNumber == "" {
		invalid = invalid.On("phone_number", "is required")
	}
	if fault := account.CodeFault(in.Code); fault != "" {
		invalid = invalid.On("otp_code", fault)
	}
	if err := faults(invalid); err != nil {
		return None{}, err
	}
	// What was supported when the code was sent need not be asked again.
	number, err := account.PhoneRules{}.ParsePhone(in.PhoneNumber)
	if err != nil {
		return None{}, err
	}
	if err := c.requireVerified(by); err != nil {
		return None{}, err
	}
	err = c.bindPhone(ctx, by, by.Principal.Account.ID, number, in.Code)
	if errors.Is(err, account.ErrInvalidCode) || errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidOTP.Because(err)
	}
	return None{}, err
}

func (c *Core) bindPhone(ctx context.Context, by account.Caller, owner uuid.UUID, number, code string) error {
	guess := c.guess(account.PurposePhone, owner.String(), by)
	counted, err := c.checkCode(ctx, &guess, owner.String(), code)
	if err != nil {
		return err
	}
	if counted.Destination != number {
		if err := c.refund(ctx, &guess); err != nil {
			return err
		}
		return account.ErrInvalidCode.Because(errors.New("the code was sent to another number"))
	}
	if counted.Done != nil {
		return nil
	}
	if err := c.Store.Prove(ctx, counted.ID, guess, shownBy(by)); err != nil {
		return err
	}
	err = c.Flows.Tell(ctx, durable.Tell{
		WorkflowID: phoneFlow(owner), Update: workflows.PhoneProceed, Arg: workflows.PhoneProof{ChallengeID: counted.ID},
	}, nil)
	if !errors.Is(err, durable.ErrNoFlow) {
		return err
	}
	// The flow may have ended by this very challenge, with its answer lost on the way.
	_, err = c.Store.ResultOf(ctx, counted.ID)
	return err
}
