//go:build unix

package main

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
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
		mail: func() (activities.Delivered, error) { return sent, nil },
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
	kind  account.SignupKind
	world func() script
	play  func(context.Context, *flow) error
}

var scenarios = []scenario{
	{"signup-code-completed", account.SignupByCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.settled, f.proceed, f.closed)
	}},
	{"signup-code-expired", account.SignupByCode, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.closed)
	}},
	{"signup-code-prolonged", account.SignupByCode, prolonged, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.closed)
	}},
	{"signup-code-resent", account.SignupByCode, holding, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.again, f.settled, f.proceed, f.closed)
	}},
	{"signup-code-undelivered", account.SignupByCode, undelivering, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.settled, f.again, f.settled, f.proceed, f.closed)
	}},
	{"signup-code-store-down", account.SignupByCode, storeDown, func(ctx context.Context, f *flow) error {
		if err := f.open(ctx); !errors.Is(err, account.ErrUnavailable) {
			return errors.Join(errors.New("opened although the store is down"), err)
		}
		return do(ctx, f.repeat, f.settled, f.proceed, f.closed)
	}},
	{"signup-code-update-lost", account.SignupByCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.start, f.settled, f.proceed, f.closed)
	}},
	{"signup-code-canceled", account.SignupByCode, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.settled, f.cancel, f.closed)
	}},
	{"signup-register-completed", account.SignupByRegister, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.settled, f.proceed, f.closed)
	}},
	{"signup-register-purged", account.SignupByRegister, expiring, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.closed)
	}},
	{"signup-register-refused", account.SignupByRegister, refusing, func(ctx context.Context, f *flow) error {
		if err := f.open(ctx); !errors.Is(err, account.ErrIdentityAlreadyUsed) {
			return errors.Join(errors.New("a taken identity was not refused"), err)
		}
		return f.closed(ctx)
	}},
	{"signup-taken", account.SignupTaken, world, func(ctx context.Context, f *flow) error {
		return do(ctx, f.open, f.closed)
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

// holding has a provider that hangs on the first code.
func holding() script {
	w := world()
	send, first := w.send, uuid.Nil
	w.send = func(ctx context.Context, in activities.SendCodeInput) (activities.Delivered, error) {
		if first == uuid.Nil || first == in.ChallengeID {
			first = in.ChallengeID
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

// request asks for a code of its own.
func request(kind account.SignupKind) workflows.SignupRequest {
	id := uuid.New()
	r := workflows.SignupRequest{AttemptID: id, ChallengeID: id}
	if kind == account.SignupTaken {
		r.AccountID = owner
	}
	return r
}
