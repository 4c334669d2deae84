package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// startSending hands the newest code to the provider until its time is up. The code before it is no longer sent.
func (s *signup) startSending(ctx workflow.Context) {
	s.stopSending()
	sending, cancel := workflow.WithCancel(ctx)
	s.stopSend = cancel
	code := s.code
	s.codes++
	s.delivered(ctx, onItsWay)
	workflow.Go(sending, func(ctx workflow.Context) {
		template := "signup_code"
		if s.kind == account.SignupByRegister {
			template = "confirm_email"
		}
		var sent activities.Delivered
		within := max(code.SendBy.Sub(workflow.Now(ctx)), time.Second)
		input := activities.SendCodeInput{ChallengeID: code.ChallengeID, Template: template}
		err := workflow.ExecuteActivity(withMessage(ctx, handing("the code", code.Masked), within), a.SendCode, input).Get(ctx, &sent)
		switch {
		case ctx.Err() != nil:
			// Nobody waits for this code any more.
		case err != nil:
			s.log.Warn("a code was not sent", "challenge", code.ChallengeID, "error", durable.Describe(err))
			s.delivered(ctx, undelivered(err))
		default:
			if sent.State == activities.DeliverySent {
				s.code.CodeExpiresAt = sent.CodeExpiresAt // its life counts from the provider's acceptance
			}
			s.delivered(ctx, string(sent.State))
		}
	})
}

func (s *signup) stopSending() {
	if s.stopSend != nil {
		s.stopSend()
	}
}

func undelivered(err error) string {
	if passing(err) {
		return "not delivered in time"
	}
	return "failed: " + durable.Describe(err)
}

// complete tells ops that the sign-up is done, and greets the new account. That is a courtesy: whatever becomes of the
// mail, the sign-up is complete.
func (s *signup) complete(ctx workflow.Context) {
	s.stage = outcomeCompleted
	note(ctx, durable.FlowStage.ValueSet(outcomeCompleted), durable.FlowOutcome.ValueSet(outcomeCompleted),
		durable.AccountID.ValueSet(s.accountID.String()), durable.NextActionAt.ValueUnset())
	// Named after the account, since the address may sign up again once the account is gone.
	s.mail(ctx, "welcome/"+s.accountID.String(), "welcome")
}

// mail sends a mail that nobody waits for, and tries for a day.
func (s *signup) mail(ctx workflow.Context, step, template string) {
	s.courtesy = template + ": " + onItsWay
	s.show(ctx)
	input := activities.SendMailInput{AccountID: s.accountID, Step: step, Template: template}
	var sent activities.Delivered
	err := workflow.ExecuteActivity(withMessage(ctx, mailing(template), courtesyMail), a.SendMail, input).Get(ctx, &sent)
	if err != nil {
		s.log.Warn("a mail was not sent", "template", template, "error", durable.Describe(err))
		s.courtesy = template + ": " + undelivered(err)
		return
	}
	s.courtesy = template + ": " + string(sent.State)
}
