package workflows

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// The names by which Signup is started and spoken to.
const (
	SignupWorkflow = "Signup"
	// SignupOpen sends a (new) code. Argument SignupRequest, result SignupOpened.
	SignupOpen = "open"
	// SignupProceed ends the sign-up with a proven challenge. Argument SignupProof, result SignupDone.
	SignupProceed = "proceed"
)

// SignupInput starts a sign-up. It carries the first request, so that the flow goes on even when the update that
// brought the request was lost.
type SignupInput struct {
	Kind    account.SignupKind
	Request SignupRequest
}

// SignupRequest asks for a code under a fresh ChallengeID, or none for the attempt's own; repeating the id changes nothing.
// AccountID is set when an unverified account exists already.
type SignupRequest struct {
	AttemptID   uuid.UUID `json:",omitzero"`
	ChallengeID uuid.UUID `json:",omitzero"`
	AccountID   uuid.UUID `json:",omitzero"`
}

// Brief leaves out the ChallengeID of a first request, which is its attempt's: the id goes into a history with the start and
// with the update.
func (r SignupRequest) Brief() SignupRequest {
	if r.ChallengeID == r.AttemptID {
		r.ChallengeID = uuid.Nil
	}
	return r
}

func (r SignupRequest) whole() SignupRequest {
	if r.ChallengeID == uuid.Nil {
		r.ChallengeID = r.AttemptID
	}
	return r
}

// SignupOpened tells which account and session the request made (B02). Its code is on its way, or will be: when the
// account could be made but its code not yet, the flow goes on trying.
type SignupOpened struct {
	AccountID uuid.UUID `json:",omitzero"`
	SessionID uuid.UUID `json:",omitzero"`
}

// SignupProof names the challenge that the client has proven.
type SignupProof struct {
	ChallengeID uuid.UUID
}

// SignupDone is what the sign-up brought. SessionID is nil for an account that had one (B08).
type SignupDone struct {
	AccountID      uuid.UUID `json:",omitzero"`
	SessionID      uuid.UUID `json:",omitzero"`
	CreditsAwarded int64     `json:",omitzero"`
}

// Signup proves that a new account's email address belongs to whoever asked for it, and sees the account through its
// first minutes.
//
//	by code (C08, C06):     code sent -> proven -> account made           -> completed, welcome mail
//	by register (B02, B08): account made -> code and link sent -> proven  -> completed, welcome mail
//	either, unproven in time: everything of it removed -> expired; identity taken at the start -> refused
//	taken (hidden enumeration mode): the owner of the address is told      -> refused
//	canceled by ops: nothing more is sent; what it leaves in the database is for the sweep
//
// One execution per address and kind. Another request for the same address joins it, and gets a new code. At ten codes
// a day (account.Policy) and seven days a run stays far below the size from which it had to continue as new.
func Signup(ctx workflow.Context, in SignupInput) error {
	first := in.Request.whole()
	s := &signup{
		kind: in.Kind, owed: &first, opened: map[uuid.UUID]signupAnswer{}, mutex: workflow.NewMutex(ctx),
		log: workflow.GetLogger(ctx), stage: stageAwaitingProof,
	}
	return play(ctx, s)
}

// signupAnswer is the outcome of a request, kept so that its repetition gets the same.
type signupAnswer struct {
	opened SignupOpened
	err    error
}

// signup is the state of one run. The mutex guards every change of it that spans a wait.
type signup struct {
	kind account.SignupKind
	// owed is the newest request that no try has settled yet. The flow itself goes on with it.
	owed      *SignupRequest
	opened    map[uuid.UUID]signupAnswer
	attempt   uuid.UUID
	accountID uuid.UUID
	code      activities.IssuedCode
	expires   time.Time
	proof     SignupProof
	done      *SignupDone
	closed    bool
	stopSend  workflow.CancelFunc
	mutex     workflow.Mutex
	log       log.Logger

	// For the eyes of ops.
	stage, delivery, courtesy string
	codes                     int
}

func (s *signup) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, SignupOpen, s.answerOpen, workflow.UpdateHandlerOptions{
		Validator: s.validateOpen, Description: "Send a (new) code",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, SignupProceed, s.proceed, workflow.UpdateHandlerOptions{
		Validator: s.validateProceed, Description: "Finish with a proven code",
	})
}

func (s *signup) run(ctx workflow.Context) (outcome string, err error) {
	if s.kind == account.SignupTaken {
		s.accountID = s.owed.AccountID
		s.mail(ctx, "taken/"+s.owed.ChallengeID.String(), "signup_exists")
		return outcomeRefused, nil
	}
	// Another request may have opened it before the first one was refused.
	if err := s.settle(ctx); err != nil && s.expires.IsZero() {
		if passing(err) {
			return outcomeFailed, err
		}
		return refusal(err), nil
	}
	if err := awaitProof(ctx, s, s.log); err != nil {
		return outcomeFailed, err
	}
	s.stopSending()
	if s.done == nil {
		return outcomeExpired, nil
	}
	s.complete(ctx)
	return outcomeCompleted, nil
}

// settle does what is owed to a request, for as long as it takes. Mostly the update that brought the request has done it.
func (s *signup) settle(ctx workflow.Context) error {
	if s.owed == nil {
		return nil
	}
	req := *s.owed
	s.owed = nil
	_, err := s.open(ctx, req, patiently)
	return err
}

func (s *signup) until() time.Time { return s.expires }
func (s *signup) proven() bool     { return s.done != nil }
func (s *signup) owing() bool      { return s.owed != nil }
func (s *signup) over() bool       { return s.closed }

func (s *signup) rearmed(ctx workflow.Context) {
	note(ctx, durable.NextActionAt.ValueSet(s.expires))
	s.show(ctx)
}

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (s *signup) validateOpen(SignupRequest) error {
	if s.closed || s.done != nil {
		return account.ErrUnavailable.Because(errEnding)
	}
	return nil
}

var errEnding = errors.New("the sign-up has ended")

// answerOpen tries once, briefly. What fails for a passing reason is still owed: the flow goes on with it, whether or not
// the caller asks again.
func (s *signup) answerOpen(ctx workflow.Context, req SignupRequest) (SignupOpened, error) {
	if s.kind == account.SignupTaken {
		return SignupOpened{}, nil // one mail is on its way, and the answer that of any other address
	}
	req = req.whole()
	out, err := s.open(ctx, req, briefly)
	if err == nil || !passing(err) {
		return out, err
	}
	s.owed = &req
	if out.AccountID != uuid.Nil {
		return out, nil // the account was made, if not its code
	}
	return out, err
}

func (s *signup) open(ctx workflow.Context, req SignupRequest, run runner) (SignupOpened, error) {
	if err := s.mutex.Lock(ctx); err != nil {
		return SignupOpened{}, err
	}
	defer s.mutex.Unlock()
	if known, ok := s.opened[req.ChallengeID]; ok {
		return known.opened, known.err
	}
	if s.closed || s.done != nil {
		return SignupOpened{}, account.ErrUnavailable.Because(errEnding)
	}
	out, err := s.issue(ctx, req, run)
	if err == nil || !passing(err) {
		s.opened[req.ChallengeID] = signupAnswer{out, err}
	}
	if err == nil {
		// The newest code replaces whatever was asked for before.
		s.owed = nil
		s.startSending(ctx)
	}
	return out, err
}

// passing reports whether a failed step may well succeed when it is tried again.
func passing(err error) bool {
	kind := account.AsError(durable.FromTemporal(err)).Kind
	return kind == account.Unavailable || kind == account.Internal
}

// issue makes the code and, for a registration, first the account.
func (s *signup) issue(ctx workflow.Context, req SignupRequest, run runner) (SignupOpened, error) {
	if s.kind == account.SignupByRegister {
		return s.issueEmailCode(ctx, req, run)
	}
	return s.issueSignupCode(ctx, req, run)
}

func (s *signup) issueSignupCode(ctx workflow.Context, req SignupRequest, run runner) (SignupOpened, error) {
	var code activities.IssuedCode
	input := activities.IssueSignupCodeInput{AttemptID: req.AttemptID, ChallengeID: req.ChallengeID}
	if err := run(ctx, a.IssueSignupCode, input).Get(ctx, &code); err != nil {
		return SignupOpened{}, err
	}
	s.attempt, s.code, s.expires = req.AttemptID, code, code.FlowExpiresAt
	return SignupOpened{}, nil
}

func (s *signup) issueEmailCode(ctx workflow.Context, req SignupRequest, run runner) (SignupOpened, error) {
	var out SignupOpened
	owner := req.AccountID
	if owner == uuid.Nil {
		var made activities.SignedUp
		input := activities.AttemptInput{AttemptID: req.AttemptID}
		if err := run(ctx, a.RegisterAccount, input).Get(ctx, &made); err != nil {
			return out, err
		}
		owner, out.AccountID, out.SessionID = made.AccountID, made.AccountID, made.SessionID
	}
	renewed := owner != s.accountID
	if renewed {
		s.accountID = owner
		note(ctx, durable.AccountID.ValueSet(owner.String()))
	}
	var code activities.IssuedCode
	input := activities.IssueEmailCodeInput{AccountID: owner, ChallengeID: req.ChallengeID}
	if err := run(ctx, a.IssueEmailCode, input).Get(ctx, &code); err != nil {
		return out, err
	}
	s.code = code
	// However many codes it asks for, an account has one term.
	if renewed || s.expires.IsZero() {
		s.expires = code.FlowExpiresAt
	}
	return out, nil
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (s *signup) validateProceed(proof SignupProof) error {
	if s.closed && s.done == nil || s.done != nil && s.proof != proof {
		return account.ErrInvalidCode.Because(errEnding)
	}
	return nil
}

func (s *signup) proceed(ctx workflow.Context, proof SignupProof) (SignupDone, error) {
	if err := s.mutex.Lock(ctx); err != nil {
		return SignupDone{}, err
	}
	defer s.mutex.Unlock()
	// While it waited, another proof or the end may have come.
	if err := s.validateProceed(proof); err != nil {
		return SignupDone{}, err
	}
	if s.done != nil {
		return *s.done, nil
	}
	done, err := s.apply(ctx, activities.ChallengeInput(proof))
	if err != nil {
		return SignupDone{}, err
	}
	s.done, s.proof, s.accountID = &done, proof, done.AccountID
	return done, nil
}

// apply makes the change that a proven challenge allows.
func (s *signup) apply(ctx workflow.Context, proven activities.ChallengeInput) (SignupDone, error) {
	if s.kind == account.SignupByCode {
		var made activities.SignedUp
		err := briefly(ctx, a.CompleteSignup, proven).Get(ctx, &made)
		return SignupDone{AccountID: made.AccountID, SessionID: made.SessionID}, err
	}
	var confirmed activities.Confirmed
	err := briefly(ctx, a.ConfirmEmail, proven).Get(ctx, &confirmed)
	return SignupDone{AccountID: confirmed.AccountID, CreditsAwarded: confirmed.CreditsAwarded}, err
}

// expire removes what was left unproven, unless it was prolonged meanwhile.
func (s *signup) expire(ctx workflow.Context) error {
	if err := s.mutex.Lock(ctx); err != nil {
		return err
	}
	defer s.mutex.Unlock()
	// A proof may have come while it waited, or another code since the alarm was set.
	if s.done != nil || workflow.Now(ctx).Before(s.expires) {
		return nil
	}
	if s.kind == account.SignupByCode {
		var rest activities.Remaining
		input := activities.AttemptInput{AttemptID: s.attempt}
		if err := patiently(ctx, a.AbandonSignup, input).Get(ctx, &rest); err != nil {
			return err
		}
		s.expires, s.closed = rest.Until, rest.Until.IsZero()
		return nil
	}
	var left activities.Left
	input := activities.AccountInput{AccountID: s.accountID}
	if err := patiently(ctx, a.PurgeUnverified, input).Get(ctx, &left); err != nil {
		return err
	}
	s.expires, s.closed = workflow.Now(ctx).Add(left.Wait), left.Wait == 0
	return nil
}
