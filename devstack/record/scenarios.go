//go:build unix

package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// The people and things of every recording. The replay test looks for the address in the clear.
var (
	masked  = account.MaskEmail("marker@clear-text.example")
	owner   = uuid.MustParse("0b57a7e5-0000-4000-8000-000000000001")
	session = uuid.MustParse("0b57a7e5-0000-4000-8000-000000000002")
	// secret is in the text of every failure.
	errSecret = errors.New("the text of marker@clear-text.example")
)

const bonus = 100

// lives of what is made here: long enough to be used, short enough to wait for.
const (
	long  = time.Hour
	short = time.Second
	// guard is longer than any step's own limit, which it would cut.
	guard = 50 * time.Hour
)

// issued is a code that is sent within sendBy and whose flow gives up after life.
func issued(challenge uuid.UUID, sendBy, life time.Duration) activities.IssuedCode {
	now := account.SystemClock{}.Now()
	return activities.IssuedCode{
		ChallengeID: challenge, Masked: masked, SendBy: now.Add(sendBy), CodeExpiresAt: now.Add(long), FlowExpiresAt: now.Add(life),
	}
}

// world is one in which all goes well and nothing expires soon.
func world() script {
	sent := activities.Delivered{State: activities.DeliverySent}
	return script{
		issue: func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
			return issued(in.ChallengeID, long, long), nil
		},
		register: func() (activities.SignedUp, error) {
			return activities.SignedUp{AccountID: owner, SessionID: session}, nil
		},
		link: func(in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
			return issued(in.ChallengeID, long, long), nil
		},
		abandon: func() (activities.Remaining, error) { return activities.Remaining{}, nil },
		purge:   func() (activities.Left, error) { return activities.Left{}, nil },
		send: func(context.Context, activities.SendCodeInput) (activities.Delivered, error) {
			return activities.Delivered{State: activities.DeliverySent, CodeExpiresAt: account.SystemClock{}.Now().Add(long)}, nil
		},
		mail:       func() (activities.Delivered, error) { return sent, nil },
		finishLink: func() error { return nil },
	}
}

func expiring() script {
	w := world()
	w.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, short), nil
	}
	w.link = func(in activities.IssueEmailCodeInput) (activities.IssuedCode, error) {
		return issued(in.ChallengeID, long, short), nil
	}
	return w
}

// scenario is one recorded flow: the world it meets, and what its client does.
type scenario struct {
	name  string
	story func() story
	world func() script
	play  func(context.Context, *flow) error
}

var scenarios = []scenario{
	{"signup-code-completed", byCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"signup-code-expired", byCode, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"signup-code-prolonged", byCode, prolonged, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"signup-code-resent", byCode, holding, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.again, f.settled, f.tell, f.closed)
	}},
	{"signup-code-undelivered", byCode, undelivering, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.again, f.settled, f.tell, f.closed)
	}},
	{"signup-code-store-down", byCode, storeDown, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); !errors.Is(err, account.ErrUnavailable) {
			return errors.Join(errors.New("opened although the store is down"), err)
		}
		return do(ctx, f.repeat, f.settled, f.tell, f.closed)
	}},
	{"signup-code-update-lost", byCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"signup-code-canceled", byCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
	{"signup-register-completed", byRegister, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"signup-register-purged", byRegister, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"signup-register-refused", byRegister, refusing, func(ctx context.Context, f *flow) error {
		if err := f.ask(ctx); !errors.Is(err, account.ErrIdentityAlreadyUsed) {
			return errors.Join(errors.New("a taken identity was not refused"), err)
		}
		return f.closed(ctx)
	}},
	{"signup-taken", taken, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"phone-completed", phone, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"phone-by-whatsapp", phone, smsRefused, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"phone-resent", phone, holding, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.again, f.settled, f.tell, f.closed)
	}},
	{"phone-expired", phone, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"phone-update-lost", phone, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.tell, f.closed)
	}},
	{"phone-canceled", phone, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
	{"provider-link-completed", providerLink, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.tell, f.closed)
	}},
	{"provider-link-told-late", providerLink, mailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.tell, f.closed)
	}},
	{"provider-link-expired", providerLink, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"provider-link-refused", providerLink, linkTaken, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, refused(f), f.closed)
	}},
	{"email-change-completed", moving, mailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.closed)
	}},
	{"email-change-repeated", moving, tellingDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.tell, f.again, f.settled, f.tell, f.closed)
	}},
	{"email-change-expired", moving, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.closed)
	}},
	{"email-change-replaced", moving, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.again, f.settled, f.tell, f.closed)
	}},
	{"email-change-canceled", moving, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.ask, f.settled, f.cancel, f.closed)
	}},
	{"security-notice-completed", notice, mailDown, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"security-notice-pushed", notice, devicesToTell, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
	{"security-notice-failed", notice, mailRefused, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.closed)
	}},
}

// prolonged is expiring, but the attempt was asked for again meanwhile, once.
func prolonged() script {
	w, asked := expiring(), false
	w.abandon = func() (activities.Remaining, error) {
		if asked {
			return activities.Remaining{}, nil
		}
		asked = true
		return activities.Remaining{Until: account.SystemClock{}.Now().Add(short)}, nil
	}
	return w
}

// holding has a provider that hangs on the first code that was made: which of two is sent first nobody knows.
func holding() script {
	w := world()
	issue, send, first := w.issue, w.send, uuid.Nil
	w.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if first == uuid.Nil {
			first = in.ChallengeID
		}
		return issue(in)
	}
	w.send = func(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
		if first == in.ChallengeID {
			time.Sleep(short)
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return send(ctx, in)
	}
	return w
}

// undelivering has a provider that is down until the time of the first code is up.
func undelivering() script {
	w := world()
	send, first := w.send, uuid.Nil
	w.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if first == uuid.Nil {
			first = in.ChallengeID
			return issued(in.ChallengeID, 2*short, long), nil
		}
		return issued(in.ChallengeID, long, long), nil
	}
	w.send = func(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
		if in.ChallengeID == first {
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return send(ctx, in)
	}
	return w
}

// storeDown has a database that is away for longer than a request waits.
func storeDown() script {
	w := world()
	issue, down := w.issue, account.SystemClock{}.Now().Add(7*time.Second)
	w.issue = func(in activities.IssueSignupCodeInput) (activities.IssuedCode, error) {
		if (account.SystemClock{}).Now().Before(down) {
			return activities.IssuedCode{}, account.ErrUnavailable.Because(errSecret)
		}
		return issue(in)
	}
	return w
}

func refusing() script {
	w := world()
	w.register = func() (activities.SignedUp, error) {
		return activities.SignedUp{}, account.ErrIdentityAlreadyUsed.Because(errSecret)
	}
	return w
}

// do takes one step after the other.
func do(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func byCode() story     { return signup(account.SignupByCode) }
func byRegister() story { return signup(account.SignupByRegister) }
func taken() story      { return signup(account.SignupTaken) }

// signup is a sign-up whose first request is for an attempt of its own.
func signup(kind account.SignupKind) story {
	request := func(first, newest uuid.UUID) workflows.SignupRequest {
		r := workflows.SignupRequest{AttemptID: first, ChallengeID: newest}
		if kind == account.SignupTaken {
			r.AccountID = owner
		}
		return r.Brief()
	}
	return story{
		noun: "signup", workflow: workflows.SignupWorkflow, open: workflows.SignupOpen, proceed: workflows.SignupProceed,
		input: func(first, newest uuid.UUID) any {
			return workflows.SignupInput{Kind: kind, Request: request(first, newest)}
		},
		request: func(first, newest uuid.UUID) any { return request(first, newest) },
		proof:   func(_, newest uuid.UUID) any { return workflows.SignupProof{ChallengeID: newest} },
		summary: "Sign-up of " + masked,
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_proof"), durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

// phone is the verification of a number.
func phone() story {
	return story{
		noun: "phone", workflow: workflows.PhoneVerificationWorkflow, open: workflows.PhoneOpen, proceed: workflows.PhoneProceed,
		input: func(_, newest uuid.UUID) any {
			return workflows.PhoneInput{AccountID: owner, Request: workflows.PhoneRequest{ChallengeID: newest}, Failover: short}
		},
		request: func(_, newest uuid.UUID) any { return workflows.PhoneRequest{ChallengeID: newest} },
		proof:   func(_, newest uuid.UUID) any { return workflows.PhoneProof{ChallengeID: newest} },
		summary: "Verification of a number",
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
			durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

// moving is a change of email.
func moving() story {
	return story{
		noun: "email_change", workflow: workflows.EmailChangeWorkflow, open: workflows.EmailChangeOpen, proceed: workflows.EmailChangeProceed,
		input: func(first, _ uuid.UUID) any {
			return workflows.EmailChangeInput{AccountID: owner, Request: workflows.EmailChangeRequest{ChangeID: first}}
		},
		request: func(_, newest uuid.UUID) any { return workflows.EmailChangeRequest{ChangeID: newest} },
		proof:   func(_, newest uuid.UUID) any { return workflows.SignupProof{ChallengeID: newest} },
		summary: "Change of email to " + masked,
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("awaiting_proof"), durable.AccountID.ValueSet(owner.String()),
			durable.NextActionAt.ValueSet(account.SystemClock{}.Now().Add(long)),
		},
	}
}

// smsRefused has a vendor that refuses SMS, and is slow to take WhatsApp.
func smsRefused() script {
	w := world()
	send := w.send
	w.send = func(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
		if in.Channel == account.ChannelSMS {
			return activities.Delivered{State: activities.DeliveryDead}, nil
		}
		return send(ctx, in)
	}
	return w
}

// notice is a notice that nobody waits for.
func notice() story {
	return story{
		noun: "notice", workflow: workflows.SecurityNoticeWorkflow,
		input: func(_, _ uuid.UUID) any {
			return workflows.SecurityNoticeInput{AccountID: owner, Template: "password_changed"}
		},
		summary: "Notice to the owner: password_changed",
		attributes: []temporal.SearchAttributeUpdate{
			durable.FlowStage.ValueSet("sending"), durable.AccountID.ValueSet(owner.String()),
		},
	}
}

// mailDown has a mail server that is away for one try.
func mailDown() script {
	w, down := world(), true
	w.mail = func() (activities.Delivered, error) {
		if down {
			down = false
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	return w
}

// tellingDown has a provider that cannot be reached when both addresses are to be told of the change.
func tellingDown() script {
	w, calls := world(), 0
	w.mail = func() (activities.Delivered, error) {
		if calls++; calls == 2 || calls == 3 {
			return activities.Delivered{}, account.ErrUnavailable.Because(errSecret)
		}
		return activities.Delivered{State: activities.DeliverySent}, nil
	}
	return w
}

// mailRefused has a provider that never takes the mail.
func mailRefused() script {
	w := world()
	w.mail = func() (activities.Delivered, error) {
		return activities.Delivered{}, account.ErrNotFound.Because(errSecret)
	}
	return w
}
