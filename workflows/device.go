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

// The names by which DeviceVerification is started and spoken to.
const (
	DeviceVerificationWorkflow = "DeviceVerification"
	// DeviceOpen has the code of the login made and sent. No argument, no result.
	DeviceOpen = "open"
	// DeviceProceed finishes the login with a proven challenge. Argument DeviceProof, result DeviceVerified.
	DeviceProceed = "proceed"
)

// DeviceVerificationInput names the login: its session, whose id is the challenge's, too.
type DeviceVerificationInput struct {
	AccountID uuid.UUID
	SessionID uuid.UUID
}

// DeviceProof names the challenge that the client has proven.
type DeviceProof struct {
	ChallengeID uuid.UUID
}

// DeviceVerified names the device that is trusted since.
type DeviceVerified struct {
	DeviceID uuid.UUID
}

// DeviceVerification finishes a login that owes a code (D20).
//
//	code mailed, when its turn has come -> proven -> session lifted, device trusted -> completed, notice mail by a flow of its own
//	unproven in time: code and login are dead by the database's clock               -> expired
//	the account is gone                                                              -> refused
//
// One execution per login. Another login is another one: neither's code finishes the other.
func DeviceVerification(ctx workflow.Context, in DeviceVerificationInput) error {
	d := &deviceLogin{
		login: activities.LoginInput(in), owed: true, mutex: workflow.NewMutex(ctx), log: workflow.GetLogger(ctx), stage: stageAwaitingProof,
	}
	return play(ctx, d)
}

// deviceLogin is the state of one run. The mutex guards every change of it that spans a wait.
type deviceLogin struct {
	login activities.LoginInput
	// owed holds until the challenge is made. The flow itself goes on with it when no request does.
	owed     bool
	code     activities.IssuedCode
	expires  time.Time
	done     *DeviceVerified
	closed   bool
	stopSend workflow.CancelFunc
	mutex    workflow.Mutex
	log      log.Logger

	// For the eyes of ops.
	stage, delivery string
}

func (d *deviceLogin) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, DeviceOpen, d.answerOpen, workflow.UpdateHandlerOptions{
		Description: "Make and send the code",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, DeviceProceed, d.proceed, workflow.UpdateHandlerOptions{
		Validator: d.validateProceed, Description: "Finish the login with a proven code",
	})
}

func (d *deviceLogin) run(ctx workflow.Context) (outcome string, err error) {
	if err := d.settle(ctx); err != nil && d.expires.IsZero() {
		if passing(err) {
			return outcomeFailed, err
		}
		return outcomeRefused, nil
	}
	if err := awaitProof(ctx, d, d.log); err != nil {
		return outcomeFailed, err
	}
	d.stopSending()
	if d.done == nil {
		return outcomeExpired, nil
	}
	return outcomeCompleted, d.notice(ctx)
}

// settle makes the code, for as long as it takes. Mostly the update that brought the login has done it.
func (d *deviceLogin) settle(ctx workflow.Context) error { return d.open(ctx, patiently) }

func (d *deviceLogin) until() time.Time { return d.expires }
func (d *deviceLogin) proven() bool     { return d.done != nil }
func (d *deviceLogin) owing() bool      { return false }
func (d *deviceLogin) over() bool       { return d.closed }

func (d *deviceLogin) rearmed(ctx workflow.Context) {
	note(ctx, durable.NextActionAt.ValueSet(d.expires))
	d.show(ctx)
}

// expire closes the flow, unless a proof came or the code was accepted while it waited.
func (d *deviceLogin) expire(ctx workflow.Context) error {
	if err := d.mutex.Lock(ctx); err != nil {
		return err
	}
	defer d.mutex.Unlock()
	d.closed = d.done == nil && !workflow.Now(ctx).Before(d.expires)
	return nil
}

// answerOpen tries briefly. What fails for a passing reason is still owed: the flow goes on with it.
func (d *deviceLogin) answerOpen(ctx workflow.Context) error { return d.open(ctx, briefly) }

func (d *deviceLogin) open(ctx workflow.Context, run runner) error {
	if err := d.mutex.Lock(ctx); err != nil {
		return err
	}
	defer d.mutex.Unlock()
	if !d.owed {
		return nil
	}
	if err := run(ctx, a.IssueDeviceCode, d.login).Get(ctx, &d.code); err != nil {
		return err
	}
	d.owed, d.expires = false, d.code.FlowExpiresAt
	d.startSending(ctx)
	return nil
}

// startSending hands the code to the provider once its turn has come, until its time is up.
func (d *deviceLogin) startSending(ctx workflow.Context) {
	sending, cancel := workflow.WithCancel(ctx)
	d.stopSend = cancel
	d.delivered(ctx, onItsWay)
	workflow.Go(sending, func(ctx workflow.Context) {
		for {
			var sent activities.Queued
			within := max(d.code.SendBy.Sub(workflow.Now(ctx)), time.Second)
			err := workflow.ExecuteActivity(withMessage(ctx, handing("the code", d.code.Masked), within), a.SendDeviceCode, d.login).Get(ctx, &sent)
			if err == nil && sent.Wait > 0 && sent.Wait < within {
				d.delivered(ctx, "waits for its turn")
				if pause(ctx, sent.Wait, waitMails) == nil {
					continue
				}
			}
			switch {
			case d.done != nil || d.closed || ctx.Err() != nil:
				// Nobody waits for the code any more.
			case err != nil:
				d.log.Warn("a code was not sent", "challenge", d.login.SessionID, "error", durable.Describe(err))
				d.delivered(ctx, undelivered(err))
			case sent.Wait > 0:
				d.delivered(ctx, string(activities.DeliveryExpired))
			default:
				d.delivered(ctx, string(sent.State))
			}
			return
		}
	})
}

func (d *deviceLogin) stopSending() {
	if d.stopSend != nil {
		d.stopSend()
	}
}

var errLoginEnding = errors.New("the login has ended")

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (d *deviceLogin) validateProceed(proof DeviceProof) error {
	if d.closed && d.done == nil || proof.ChallengeID != d.login.SessionID {
		return account.ErrInvalidCode.Because(errLoginEnding)
	}
	return nil
}

func (d *deviceLogin) proceed(ctx workflow.Context, proof DeviceProof) (DeviceVerified, error) {
	if err := d.mutex.Lock(ctx); err != nil {
		return DeviceVerified{}, err
	}
	defer d.mutex.Unlock()
	// While it waited, another proof or the end may have come.
	if err := d.validateProceed(proof); err != nil {
		return DeviceVerified{}, err
	}
	if d.done != nil {
		return *d.done, nil
	}
	var verified activities.VerifiedDevice
	if err := briefly(ctx, a.VerifyDevice, activities.ChallengeInput(proof)).Get(ctx, &verified); err != nil {
		return DeviceVerified{}, err
	}
	done := DeviceVerified(verified)
	d.done = &done
	return done, nil
}

// notice has the owner told of the new device by a flow of its own.
func (d *deviceLogin) notice(ctx workflow.Context) error {
	_, err := notify(ctx, activities.DeviceNotice(d.login.AccountID, d.login.SessionID))
	return err
}

// end closes the flow to whoever speaks to it from now on, and tells ops how it ended.
func (d *deviceLogin) end(ctx workflow.Context, outcome string) {
	d.closed = true
	d.stopSending()
	d.stage = outcome
	d.show(ctx)
	noteEnd(ctx, outcome)
}

func (d *deviceLogin) delivered(ctx workflow.Context, state string) {
	d.delivery = state
	d.show(ctx)
}

// show writes what ops read in the UI: masked, encrypted at rest.
func (d *deviceLogin) show(ctx workflow.Context) {
	var shown details
	shown.row("Stage", d.stage)
	if !d.owed {
		shown.row("Address", d.code.Masked)
		shown.row("Code", d.delivery)
	}
	if !d.closed && d.done == nil {
		shown.attempts(d.code)
		shown.at("Gives up", d.expires)
		shown.row("Next", d.following())
	}
	shown.show(ctx)
}

// following is what happens next, for the eyes of ops.
func (d *deviceLogin) following() string {
	if d.owed {
		return "the code is made"
	}
	return "the code is entered; else the login has failed"
}
