//go:build unix

package main

import (
	"context"
	"sync"

	"github.com/google/uuid"

	"gatehouse/activities"
	"gatehouse/workflows/billingtest"
)

// signupSteps are the activities of a sign-up. The interface holds the recorded ones to the signatures of the real ones.
type signupSteps interface {
	IssueSignupCode(context.Context, activities.IssueSignupCodeInput) (activities.IssuedCode, error)
	RegisterAccount(context.Context, activities.AttemptInput) (activities.SignedUp, error)
	IssueEmailCode(context.Context, activities.IssueEmailCodeInput) (activities.IssuedCode, error)
	CompleteSignup(context.Context, activities.ChallengeInput) (activities.SignedUp, error)
	ConfirmEmail(context.Context, activities.ChallengeInput) (activities.Confirmed, error)
	AbandonSignup(context.Context, activities.AttemptInput) (activities.Remaining, error)
	PurgeUnverified(context.Context, activities.AccountInput) (activities.Left, error)
	IssuePhoneCode(context.Context, activities.IssuePhoneCodeInput) (activities.IssuedCode, error)
	BindPhone(context.Context, activities.ChallengeInput) (activities.AccountInput, error)
	SendCode(context.Context, activities.SendCodeInput) (activities.Delivered, error)
	SendMail(context.Context, activities.SendMailInput) (activities.Delivered, error)
	IssueEmailChange(context.Context, activities.EmailChangeInput) (activities.IssuedEmailChange, error)
	ChangeEmail(context.Context, activities.ChallengeInput) (activities.EmailChanged, error)
	SendEmailChangeMail(context.Context, activities.EmailChangeMailInput) (activities.Delivered, error)
	ForgetEmailChange(context.Context, activities.EmailChangeInput) error
}

var (
	_ signupSteps = (*activities.Activities)(nil)
	_ signupSteps = (*steps)(nil)
)

// script is what the world does in one scenario.
type script struct {
	issue    func(activities.IssueSignupCodeInput) (activities.IssuedCode, error)
	register func() (activities.SignedUp, error)
	link     func(activities.IssueEmailCodeInput) (activities.IssuedCode, error)
	abandon  func() (activities.Remaining, error)
	purge    func() (activities.Left, error)
	send     func(context.Context, activities.SendCodeInput) (activities.Delivered, error)
	close    func() (activities.Closed, error)
	reopen   func() (activities.Reopened, error)
	mail     func() (activities.Delivered, error)

	issueReset  func(activities.IssueResetInput) (activities.IssuedCode, error)
	sendReset   func(context.Context, activities.ChallengeInput) (activities.Delivered, error)
	issueCode   func(activities.IssuePasswordCodeInput) (activities.IssuedCode, error)
	spend       func() (activities.Spent, error)
	issueDevice func(activities.LoginInput) (activities.IssuedCode, error)
	sendDevice  func() (activities.Queued, error)
	// linking and taken are the kind of every change of email.
	linking, taken bool
	// devices are the ids of the push tokens of the owner, push tells one of them.
	devices func() ([]uuid.UUID, error)
	push    func(activities.SendPushInput) (activities.Delivered, error)
	// finishLink ends a link of an outside account.
	finishLink func() error
	// books are those of the payer, live the ids of the subscriptions that a closure finds.
	books *billingtest.Books
	live  []string
	// hook is what becomes of an attempt to tell a receiver.
	hook func() (activities.WebhookTried, error)
	// provider is what goes wrong with the payment provider's list of charges.
	provider error
}

// steps play the script of the scenario that runs, without any database or provider.
type steps struct {
	mu  sync.Mutex
	now script
}

func (s *steps) play(next script) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = next
}

func (s *steps) script() script {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// The activities, each named as the real one.

func (s *steps) IssueSignupCode(_ context.Context, in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
	return s.script().issue(in)
}

func (s *steps) RegisterAccount(context.Context, activities.AttemptInput) (activities.SignedUp, error) {
	return s.script().register()
}

func (s *steps) IssueEmailCode(_ context.Context, in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
	return s.script().link(in)
}

func (s *steps) CompleteSignup(context.Context, activities.ChallengeInput) (activities.SignedUp, error) {
	return activities.SignedUp{AccountID: owner, SessionID: session}, nil
}

func (s *steps) ConfirmEmail(context.Context, activities.ChallengeInput) (activities.Confirmed, error) {
	return activities.Confirmed{AccountID: owner, CreditsAwarded: bonus}, nil
}

func (s *steps) AbandonSignup(context.Context, activities.AttemptInput) (activities.Remaining, error) {
	return s.script().abandon()
}

func (s *steps) PurgeUnverified(context.Context, activities.AccountInput) (activities.Left, error) {
	return s.script().purge()
}

func (s *steps) IssuePhoneCode(_ context.Context, in activities.IssuePhoneCodeInput) (activities.IssuedCode, error) {
	return s.script().issue(activities.IssueSignupCodeInput{ChallengeID: in.ChallengeID})
}

func (s *steps) BindPhone(context.Context, activities.ChallengeInput) (activities.AccountInput, error) {
	return activities.AccountInput{AccountID: owner}, nil
}

func (s *steps) SendCode(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
	return s.script().send(ctx, in)
}

func (s *steps) SendMail(context.Context, activities.SendMailInput) (activities.Delivered, error) {
	return s.script().mail()
}

func (s *steps) IssueEmailChange(_ context.Context, in activities.EmailChangeInput) (activities.IssuedEmailChange, error) {
	now := s.script()
	code, err := now.issue(activities.IssueSignupCodeInput{ChallengeID: in.ChangeID})
	return activities.IssuedEmailChange{Code: code, Linking: now.linking, Taken: now.taken}, err
}

func (s *steps) ChangeEmail(context.Context, activities.ChallengeInput) (activities.EmailChanged, error) {
	return activities.EmailChanged{AccountID: owner}, nil
}

func (s *steps) SendEmailChangeMail(context.Context, activities.EmailChangeMailInput) (activities.Delivered, error) {
	return s.script().mail()
}

func (s *steps) ForgetEmailChange(context.Context, activities.EmailChangeInput) error { return nil }

func (s *steps) CloseAccount(context.Context, activities.ClosureInput) (activities.Closed, error) {
	return s.script().close()
}

func (s *steps) ReopenAccount(context.Context, activities.ReopenInput) (activities.Reopened, error) {
	return s.script().reopen()
}

func (s *steps) EraseAccount(context.Context, activities.ClosureInput) (activities.Left, error) {
	return activities.Left{}, nil
}

func (s *steps) SendClosureMail(context.Context, activities.ClosureMailInput) (activities.Delivered, error) {
	return s.script().mail()
}
