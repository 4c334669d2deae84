package workflows

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
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

// SignupRequest asks for a code under a fresh ChallengeID; repeating the id changes nothing. AccountID is set when an
// unverified account exists already.
type SignupRequest struct {
	AttemptID   uuid.UUID
	ChallengeID uuid.UUID
	AccountID   uuid.UUID
}

// SignupOpened tells when the code dies, and which account and session exist already (B02).
type SignupOpened struct {
	AccountID     uuid.UUID
	SessionID     uuid.UUID
	CodeExpiresAt time.Time
}

// SignupProof names the challenge that the client has proven.
type SignupProof struct {
	ChallengeID uuid.UUID
}

// SignupDone is what the sign-up brought. SessionID is nil for an account that had one (B08).
type SignupDone struct {
	AccountID      uuid.UUID
	SessionID      uuid.UUID
	CreditsAwarded int64
}

// The stages and outcomes that ops see.
const (
	stageAwaitingProof = "awaiting_proof"
	stageWelcoming     = "welcoming"
	outcomeCompleted   = "completed"
	outcomeExpired     = "expired"
	outcomeRefused     = "refused"
)

// Signup proves that a new account's email address belongs to whoever asked for it, and sees the account through its
// first minutes.
//
//	by code (C08, C06):     code sent -> proven -> account made           -> welcome mail -> completed
//	by register (B02, B08): account made -> code and link sent -> proven  -> welcome mail -> completed
//	either, unproven in time: everything of it removed -> expired; identity taken at the start -> refused
//	taken (hidden enumeration mode): the owner of the address is told      -> refused
//
// One execution per address and kind. Another request for the same address joins it, and gets a new code.
func Signup(ctx workflow.Context, in SignupInput) error {
	s := &signup{
		kind: in.Kind, opened: map[uuid.UUID]signupAnswer{}, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx),
		attempt: in.Request.AttemptID, accountID: in.Request.AccountID,
	}
	if err := s.setup(ctx); err != nil {
		return err
	}
	if err := s.run(ctx, in.Request); err != nil {
		return err
	}
	return workflow.Await(ctx, func() bool { return workflow.AllHandlersFinished(ctx) })
}

// signupAnswer is the outcome of a request, kept so that its repetition gets the same.
type signupAnswer struct {
	opened SignupOpened
	err    error
}

type signup struct {
	kind      account.SignupKind
	attempt   uuid.UUID
	accountID uuid.UUID
	opened    map[uuid.UUID]signupAnswer
	done      *SignupDone
	proof     SignupProof
	closed    bool
	expires   time.Time
	code      activities.IssuedCode
	delivery  string
	stopSend  workflow.CancelFunc
	mutex     workflow.Mutex
	log       log.Logger
}

func (s *signup) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, SignupOpen, s.open, workflow.UpdateHandlerOptions{
		Validator: s.validateOpen, Description: "Send a (new) code",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, SignupProceed, s.proceed, workflow.UpdateHandlerOptions{
		Validator: s.validateProceed, Description: "Finish with a proven code",
	})
}

func (s *signup) run(ctx workflow.Context, first SignupRequest) error {
	// The same request as the first update's: whichever comes first does the work.
	if _, err := s.open(ctx, first); err != nil && s.expires.IsZero() {
		return s.finish(ctx, outcomeRefused)
	}
	if s.kind == account.SignupTaken {
		s.mail(ctx, "taken/"+first.ChallengeID.String(), "signup_exists")
		return s.finish(ctx, outcomeRefused)
	}
	for s.done == nil && !s.closed {
		proven, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
			Timeout:      s.expires.Sub(workflow.Now(ctx)),
			TimerOptions: workflow.TimerOptions{Summary: "give up unless the address is proven"},
		}, func() bool { return s.done != nil })
		if err != nil {
			return err
		}
		if !proven {
			if err := s.expire(ctx); err != nil {
				return err
			}
		}
	}
	s.stopSending()
	if s.done == nil {
		return s.finish(ctx, outcomeExpired)
	}
	s.welcome(ctx)
	return s.finish(ctx, outcomeCompleted)
}

// validateOpen refuses what a flow about to end could not do; the caller tries again and starts the next one.
func (s *signup) validateOpen(SignupRequest) error {
	if s.closed || s.done != nil {
		return account.ErrUnavailable.Because(errors.New("the sign-up is ending"))
	}
	return nil
}

func (s *signup) open(ctx workflow.Context, req SignupRequest) (SignupOpened, error) {
	if err := s.mutex.Lock(ctx); err != nil {
		return SignupOpened{}, err
	}
	defer s.mutex.Unlock()
	if known, ok := s.opened[req.ChallengeID]; ok {
		return known.opened, known.err
	}
	if s.closed || s.done != nil {
		return SignupOpened{}, account.ErrUnavailable.Because(errors.New("the sign-up has ended"))
	}
	out, err := s.issue(ctx, req)
	if !passing(err) {
		s.opened[req.ChallengeID] = signupAnswer{out, err}
	}
	if err == nil && s.code.ChallengeID == req.ChallengeID {
		s.startSending(ctx)
	}
	return out, err
}

// passing reports whether a failed step may well succeed when the client asks again.
func passing(err error) bool {
	if err == nil {
		return false
	}
	kind := account.AsError(durable.FromTemporal(err)).Kind
	return kind == account.Unavailable || kind == account.Internal
}

// issue makes the code and, for a registration, first the account.
func (s *signup) issue(ctx workflow.Context, req SignupRequest) (SignupOpened, error) {
	var out SignupOpened
	if s.kind == account.SignupTaken {
		return out, nil
	}
	if s.kind == account.SignupByCode {
		s.attempt = req.AttemptID
		input := activities.IssueSignupCodeInput{AttemptID: req.AttemptID, ChallengeID: req.ChallengeID}
		err := workflow.ExecuteLocalActivity(withStore(ctx, "make the code"), a.IssueSignupCode, input).Get(ctx, &s.code)
		if err != nil {
			return out, err
		}
	} else {
		if req.AccountID == uuid.Nil {
			var made activities.SignedUp
			input := activities.AttemptInput{AttemptID: req.AttemptID}
			err := workflow.ExecuteLocalActivity(withStore(ctx, "make the unverified account"), a.RegisterAccount, input).Get(ctx, &made)
			if err != nil {
				return out, err
			}
			out.AccountID, out.SessionID = made.AccountID, made.SessionID
			req.AccountID = made.AccountID
		}
		s.accountID = req.AccountID
		input := activities.IssueEmailCodeInput{AccountID: req.AccountID, ChallengeID: req.ChallengeID}
		err := workflow.ExecuteLocalActivity(withStore(ctx, "make the code and link"), a.IssueEmailCode, input).Get(ctx, &s.code)
		if err != nil {
			// The account exists, so the flow must live on to purge it; the client asks for another code.
			s.log.Warn("no code was made for a new account")
			s.expires = workflow.Now(ctx).Add(time.Minute)
			return out, nil
		}
	}
	s.expires = s.code.FlowExpiresAt
	out.CodeExpiresAt = s.code.CodeExpiresAt
	return out, nil
}

// startSending hands the newest code to the provider until its time is up. The code before it is no longer sent.
func (s *signup) startSending(ctx workflow.Context) {
	s.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	s.stopSend = cancel
	code := s.code
	s.setDelivery(ctx, "on its way")
	workflow.Go(sending, func(ctx workflow.Context) {
		template := "signup_code"
		if s.kind == account.SignupByRegister {
			template = "confirm_email"
		}
		var sent activities.Delivered
		within := max(code.SendBy.Sub(workflow.Now(ctx)), time.Second)
		input := activities.SendCodeInput{ChallengeID: code.ChallengeID, Template: template}
		err := workflow.ExecuteActivity(withMessage(ctx, "send the code to "+code.Masked, within), a.SendCode, input).Get(ctx, &sent)
		switch {
		case code.ChallengeID != s.code.ChallengeID || s.done != nil || temporal.IsCanceledError(err):
		case err != nil:
			s.setDelivery(ctx, "not delivered in time")
		default:
			if sent.State == activities.DeliverySent {
				s.code.CodeExpiresAt = sent.CodeExpiresAt
			}
			s.setDelivery(ctx, string(sent.State))
		}
	})
}

func (s *signup) stopSending() {
	if s.stopSend != nil {
		s.stopSend()
	}
}

func (s *signup) validateProceed(SignupProof) error {
	if s.closed {
		return account.ErrInvalidCode.Because(errors.New("the sign-up has ended"))
	}
	return nil
}

func (s *signup) proceed(ctx workflow.Context, proof SignupProof) (SignupDone, error) {
	if err := s.mutex.Lock(ctx); err != nil {
		return SignupDone{}, err
	}
	defer s.mutex.Unlock()
	if s.done != nil && s.proof == proof {
		return *s.done, nil
	}
	if s.done != nil || s.closed {
		return SignupDone{}, account.ErrInvalidCode.Because(errors.New("the sign-up has ended"))
	}
	var done SignupDone
	input := activities.ChallengeInput{ChallengeID: proof.ChallengeID}
	if s.kind == account.SignupByCode {
		var made activities.SignedUp
		err := workflow.ExecuteLocalActivity(withStore(ctx, "make the account"), a.CompleteSignup, input).Get(ctx, &made)
		if err != nil {
			return SignupDone{}, err
		}
		done = SignupDone{AccountID: made.AccountID, SessionID: made.SessionID}
	} else {
		var confirmed activities.Confirmed
		err := workflow.ExecuteLocalActivity(withStore(ctx, "verify the address"), a.ConfirmEmail, input).Get(ctx, &confirmed)
		if err != nil {
			return SignupDone{}, err
		}
		done = SignupDone{AccountID: confirmed.AccountID, CreditsAwarded: confirmed.CreditsAwarded}
	}
	s.done, s.proof, s.accountID = &done, proof, done.AccountID
	return done, nil
}

// expire removes what was left unproven, unless the client prolonged it meanwhile.
func (s *signup) expire(ctx workflow.Context) error {
	if err := s.mutex.Lock(ctx); err != nil {
		return err
	}
	defer s.mutex.Unlock()
	if s.done != nil {
		return nil
	}
	if s.kind == account.SignupByCode {
		var rest activities.Remaining
		input := activities.AttemptInput{AttemptID: s.attempt}
		if err := workflow.ExecuteActivity(withPatientStore(ctx, "remove the sign-up"), a.AbandonSignup, input).Get(ctx, &rest); err != nil {
			return err
		}
		s.expires, s.closed = rest.Until, rest.Until.IsZero()
		return nil
	}
	var left activities.Left
	input := activities.AccountInput{AccountID: s.accountID}
	if err := workflow.ExecuteActivity(withPatientStore(ctx, "remove the unverified account"), a.PurgeUnverified, input).Get(ctx, &left); err != nil {
		return err
	}
	s.expires, s.closed = workflow.Now(ctx).Add(left.Wait), left.Wait == 0
	return nil
}

// welcome is a courtesy: whatever becomes of the mail, the sign-up is complete.
func (s *signup) welcome(ctx workflow.Context) {
	s.show(ctx, stageWelcoming)
	err := workflow.UpsertTypedSearchAttributes(ctx,
		durable.FlowStage.ValueSet(stageWelcoming), durable.FlowOutcome.ValueSet(outcomeCompleted),
		durable.AccountID.ValueSet(s.accountID.String()))
	if err != nil {
		s.log.Warn("search attributes were not set", "error", err)
	}
	s.mail(ctx, "welcome", "welcome")
}

func (s *signup) mail(ctx workflow.Context, step, template string) {
	input := activities.SendMailInput{AccountID: s.accountID, Step: step, Template: template}
	var sent activities.Delivered
	err := workflow.ExecuteActivity(withMessage(ctx, "send the mail: "+template, courtesyMail), a.SendMail, input).Get(ctx, &sent)
	if err != nil {
		s.log.Warn("a mail was not sent", "template", template)
	}
}

func (s *signup) finish(ctx workflow.Context, outcome string) error {
	s.closed = true
	s.show(ctx, outcome)
	if outcome == outcomeCompleted {
		return nil
	}
	return workflow.UpsertTypedSearchAttributes(ctx, durable.FlowStage.ValueSet(outcome), durable.FlowOutcome.ValueSet(outcome))
}

func (s *signup) setDelivery(ctx workflow.Context, state string) {
	s.delivery = state
	s.show(ctx, stageAwaitingProof)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (s *signup) show(ctx workflow.Context, stage string) {
	workflow.SetCurrentDetails(ctx, fmt.Sprintf(`| | |
|---|---|
| Stage | %s |
| Began by | %s |
| Address | %s |
| Codes made | %d |
| Newest code | %s, expires %s |
| Gives up | %s |
`, stage, s.kind, s.code.Masked, len(s.opened), s.delivery, s.code.CodeExpiresAt.UTC().Format(time.RFC3339), s.expires.UTC().Format(time.RFC3339)))
}
