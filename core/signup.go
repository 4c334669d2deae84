package core

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/store"
	"gatehouse/workflows"
)

// InitiateSignupInput begins a sign-up by code (C08, C29).
type InitiateSignupInput struct {
	Email       string
	Password    string
	Name        *string
	Fingerprint json.RawMessage
	Attribution map[string]string
}

// SignupPending tells where the code went and how long it lives.
type SignupPending struct {
	Email     string
	ExpiresIn time.Duration
}

// CompleteSignupInput ends a sign-up by code (C06).
type CompleteSignupInput struct {
	Email       string
	Code        string
	Fingerprint json.RawMessage
	Attribution map[string]string
	AnonymousID *string
}

// maxName is the longest name in characters.
const maxName = 200

func nameFault(name *string) string {
	switch {
	case name == nil:
		return ""
	case utf8.RuneCountInString(*name) > maxName:
		return "must be at most 200 characters"
	case !printable(*name):
		return "must not contain control characters"
	}
	return ""
}

func (in InitiateSignupInput) validate() (email string, err error) {
	invalid := account.ErrInvalid
	email, fault := account.ParseEmail(in.Email)
	if fault != "" {
		invalid = invalid.On("email", fault)
	}
	own := []string{email}
	if in.Name != nil {
		own = append(own, *in.Name)
	}
	if fault := account.PasswordFault(in.Password, own...); fault != "" {
		invalid = invalid.On("password", fault)
	}
	if fault := nameFault(in.Name); fault != "" {
		invalid = invalid.On("name", fault)
	}
	return email, faults(invalid)
}

// InitiateSignup parks a sign-up and has a code sent to its address (C08, C29). A repetition joins the sign-up that is
// open: its live code stays good, and a new one is sent once the gap between two codes has passed. Somebody who knows
// another password contests it, and then neither password opens the account.
// It returns account.ErrEmailExists in documented enumeration mode, account.ErrTooManyRequests when the address got too
// many codes, and account.ErrPending when the flow does not answer in time but goes on.
func (c *Core) InitiateSignup(ctx context.Context, by account.Caller, in InitiateSignupInput) (SignupPending, error) {
	email, err := in.validate()
	if err != nil {
		return SignupPending{}, err
	}
	defer c.padHidden(&c.pads.signup)()
	owner, err := c.Store.OwnerOf(ctx, email)
	if err != nil && !errors.Is(err, account.ErrNotFound) {
		return SignupPending{}, err
	}
	if err == nil && owner.Verified {
		return c.initiateTaken(ctx, by, in, email, owner.AccountID)
	}
	attempt, opened, err := c.openAttempt(ctx, by, in, email)
	if err != nil {
		return SignupPending{}, err
	}
	operation := c.signupOperationID(attempt.ID)
	by.Begin(operation)
	challenge, err := c.nextChallenge(ctx, by, attempt, opened)
	if err != nil {
		return SignupPending{}, err
	}
	if challenge == uuid.Nil {
		return SignupPending{Email: email, ExpiresIn: c.Policy.CodeTTL}, nil
	}
	request := workflows.SignupRequest{AttemptID: attempt.ID, ChallengeID: challenge}
	if _, err := c.openFlow(ctx, account.SignupByCode, email, request); err != nil {
		return SignupPending{}, pending(again(err), operation)
	}
	return SignupPending{Email: email, ExpiresIn: c.Policy.CodeTTL}, nil
}

// openAttempt parks the attempt, or joins the open one of the address.
func (c *Core) openAttempt(ctx context.Context, by account.Caller, in InitiateSignupInput, email string) (account.SignupAttempt, bool, error) {
	known, err := c.Store.OpenCodeSignup(ctx, email)
	if err == nil {
		return known, false, c.join(ctx, by, known, in)
	}
	if !errors.Is(err, account.ErrNotFound) {
		return known, false, err
	}
	hash, err := c.Hasher.Hash(ctx, in.Password)
	if err != nil {
		return known, false, err
	}
	attempt, opened, err := c.Store.OpenSignup(ctx, account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByCode, Email: email, PasswordHash: hash, Name: given(in.Name),
		Origin: origin(by, in.Fingerprint, in.Attribution, nil),
	}, c.Policy.SignupTTL)
	if err == nil && !opened {
		// Another request opened one in between.
		err = c.join(ctx, by, attempt, in)
	}
	return attempt, opened, again(err)
}

// again turns errors which mean that the sign-up or flow ended while it was being asked into account.ErrUnavailable, so that the
// client repeats its request, which then begins a new one.
func again(err error) error {
	if errors.Is(err, account.ErrNotFound) || errors.Is(err, account.ErrInvalidCode) || errors.Is(err, durable.ErrNoFlow) {
		return account.ErrUnavailable.Because(err)
	}
	return err
}

// join takes what the request says of itself for the attempt's own, as C06 does (the later value wins), where the password is.
func (c *Core) join(ctx context.Context, by account.Caller, attempt account.SignupAttempt, in InitiateSignupInput) error {
	same, err := c.Hasher.Verify(ctx, attempt.PasswordHash, in.Password, nil)
	if err != nil {
		return err
	}
	return again(c.Store.JoinSignup(ctx, account.SignupAttempt{
		ID: attempt.ID, Contested: !same, Name: given(in.Name), Origin: origin(by, in.Fingerprint, in.Attribution, nil),
	}, c.Policy.SignupTTL))
}

// nextChallenge decides whether a request for a sign-up code sends one, and under which id. The nil id means that a live code
// is on its way already.
func (c *Core) nextChallenge(ctx context.Context, by account.Caller, attempt account.SignupAttempt, opened bool) (uuid.UUID, error) {
	repeated, err := c.chargeSend(ctx, by, account.PurposeSignup, attempt.Email)
	var limited *account.Error
	switch {
	case err == nil && opened:
		return attempt.ID, nil
	case err == nil && !repeated:
		return c.challengeOf(ctx, by, attempt.ID)
	case err != nil && (!errors.Is(err, account.ErrTooManyRequests) || !errors.As(err, &limited)):
		return uuid.Nil, err
	}
	subject := c.Keys.Subject(string(account.PurposeSignup), attempt.Email)
	if _, live := c.Store.LiveChallenge(ctx, account.PurposeSignup, subject); live == nil {
		return uuid.Nil, nil
	}
	// Within the gap and without a code: a request at the same moment, or an earlier one that died, took the quota.
	issued, failed := c.Store.ChallengeExists(ctx, attempt.ID)
	if failed != nil {
		return uuid.Nil, failed
	}
	if !issued && (repeated || limited.RetryAfter <= c.Policy.SendGap) {
		return attempt.ID, nil
	}
	if repeated {
		return challengeID(by), nil
	}
	if opened {
		// A worker must not send what the quota has just refused.
		if failed := c.Store.EndSignup(ctx, attempt.ID); failed != nil {
			return uuid.Nil, failed
		}
	}
	if c.hidden() {
		return uuid.Nil, nil // as for a taken address, whose owner is not told again either
	}
	return uuid.Nil, err
}

// challengeOf is the id of the code that a request asks for. The first code of an attempt has the attempt's own, so that all who
// ask for it make one: requests at the same moment, one that is late, and a worker.
func (c *Core) challengeOf(ctx context.Context, by account.Caller, attempt uuid.UUID) (uuid.UUID, error) {
	issued, err := c.Store.ChallengeExists(ctx, attempt)
	if err != nil || !issued {
		return attempt, err
	}
	return challengeID(by), nil
}

// initiateTaken answers for an address that has a verified account: with the truth, or in hidden mode as for any other
// address, and then the owner is told by mail.
func (c *Core) initiateTaken(ctx context.Context, by account.Caller, in InitiateSignupInput, email string, owner uuid.UUID) (SignupPending, error) {
	if c.Policy.Enumeration == account.EnumerationDocumented {
		return SignupPending{}, account.ErrEmailExists
	}
	if _, err := c.Hasher.Hash(ctx, in.Password); err != nil {
		return SignupPending{}, err
	}
	if err := c.tellOwner(ctx, by, account.PurposeSignup, email, owner); err != nil {
		return SignupPending{}, err
	}
	return SignupPending{Email: email, ExpiresIn: c.Policy.CodeTTL}, nil
}

// tellOwner writes to the owner of an address that somebody tried to sign up with it, as often as codes would go out.
func (c *Core) tellOwner(ctx context.Context, by account.Caller, purpose account.Purpose, email string, owner uuid.UUID) error {
	operation := c.blindOperation(account.FlowSignup)
	by.Begin(operation)
	err := c.Store.TakeQuota(ctx, c.sendKey(purpose, email), c.Policy.SendQuotas())
	if errors.Is(err, account.ErrTooManyRequests) {
		return nil
	}
	if err != nil {
		return err
	}
	id := uuid.New()
	_, err = c.openFlow(ctx, account.SignupTaken, email, workflows.SignupRequest{AttemptID: id, ChallengeID: id, AccountID: owner})
	return pending(err, operation)
}

// openFlow starts or joins the sign-up of an address and returns the state of its newest code.
func (c *Core) openFlow(ctx context.Context, kind account.SignupKind, email string, request workflows.SignupRequest) (workflows.SignupOpened, error) {
	var out workflows.SignupOpened
	err := c.Flows.Ask(ctx, c.signupOpening(kind, email, request), &out)
	return out, err
}

// SignupOpening asks for the first code of a parked sign-up as the request does that parks it.
func SignupOpening(keys *secret.Keys, policy account.Policy, clock account.Clock, attempt account.SignupAttempt) durable.Ask {
	c := &Core{Deps: Deps{Keys: keys, Policy: policy, Clock: clock}}
	return c.signupOpening(attempt.Kind, attempt.Email, workflows.SignupRequest{AttemptID: attempt.ID, ChallengeID: attempt.ID})
}

func (c *Core) signupOpening(kind account.SignupKind, email string, request workflows.SignupRequest) durable.Ask {
	request = request.Brief()
	life := c.Policy.SignupTTL
	if kind == account.SignupByRegister {
		life = c.Policy.UnverifiedTTL
	}
	return durable.Ask{
		WorkflowID: c.flowID(kind, email), Workflow: workflows.SignupWorkflow, Queue: durable.QueueFlows,
		Input: workflows.SignupInput{Kind: kind, Request: request},
		// The flow itself tells a repeated request by its challenge. A fixed update id would repeat a passing failure, too.
		Update: workflows.SignupOpen, Arg: request,
		Summary: "Sign-up of " + account.MaskEmail(email),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet(string(account.FlowSignup)), durable.FlowStage.ValueSet(string(account.StageAwaitingProof)),
			durable.NextActionAt.ValueSet(c.Clock.Now().Add(life)),
		},
		// A guard against flows that no worker ever serves; a sign-up can be kept open for a day at most.
		ExecutionTimeout: life + guardTime,
	}
}

const guardTime = 50 * time.Hour

func (c *Core) flowID(kind account.SignupKind, email string) string {
	return c.Keys.FlowID("signup", string(kind), email)
}

func (c *Core) sendKey(purpose account.Purpose, email string) []byte {
	return c.Keys.Subject("send/"+string(purpose), email)
}

// chargeSend counts a code that is to be sent for one purpose to one address, once for all repetitions of a request under
// the same Idempotency-Key: repeated is true when it was counted before. It returns account.ErrTooManyRequests.
func (c *Core) chargeSend(ctx context.Context, by account.Caller, purpose account.Purpose, email string) (repeated bool, err error) {
	return c.chargeSendIn(ctx, c.Store, by, purpose, email)
}

func (c *Core) chargeSendIn(
	ctx context.Context, tx *store.Store, by account.Caller, purpose account.Purpose, email string,
) (repeated bool, err error) {
	return c.chargeOnceIn(ctx, tx, keyUse(by), func() error {
		return tx.TakeQuota(ctx, c.sendKey(purpose, email), c.Policy.SendQuotas())
	})
}

// chargeOnce takes what a request costs once for all its repetitions under the same Idempotency-Key.
func (c *Core) chargeOnce(ctx context.Context, by account.Caller, take func() error) (repeated bool, err error) {
	return c.chargeOnceIn(ctx, c.Store, keyUse(by), take)
}

// chargeOnceIn takes something once for each occasion, of which the empty one is always another.
func (c *Core) chargeOnceIn(ctx context.Context, tx *store.Store, occasion string, take func() error) (repeated bool, err error) {
	err = take()
	if occasion == "" {
		return false, err
	}
	once := account.Quota{Max: 1, Per: account.IdempotencyLife}
	marker := c.Keys.Subject("sent-for", occasion)
	switch {
	case err == nil:
		err = tx.TakeQuota(ctx, marker, []account.Quota{once})
		if errors.Is(err, account.ErrTooManyRequests) {
			return true, nil
		}
	case errors.Is(err, account.ErrTooManyRequests):
		used, failed := tx.QuotaUsed(ctx, marker, once)
		if failed != nil || used {
			return used, failed
		}
	}
	return false, err
}

// challengeID is fresh, or the same for the same Idempotency-Key as long as that is known: a code that was sent under an id is
// never sent under it again.
func challengeID(by account.Caller) uuid.UUID {
	use := keyUse(by)
	if use == "" {
		return uuid.New()
	}
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte("challenge/"+use))
}

// keyUse is the same for all requests that an Idempotency-Key makes one, and another once the key is new again. It is empty
// without a key.
func keyUse(by account.Caller) string {
	if by.IdempotencyKey == "" {
		return ""
	}
	return by.IdempotencyKey + "/" + strconv.FormatInt(by.KeyUntil.UnixMicro(), 10)
}
