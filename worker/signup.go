package worker

import (
	"context"
	"errors"
	"time"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

const (
	// signupBatch bounds what one turn asks of flows.
	signupBatch = 200
	// signupAge is how old a sign-up is without a code whose request was lost: mostly older than a request gets.
	signupAge = 5 * time.Second
	// signupRefusals is how many flows may be about to end in one turn. More of them are Temporal or the database, which are away.
	signupRefusals = 3
)

// SignupStore knows the sign-ups that were parked and never begun.
type SignupStore interface {
	UnbegunSignups(ctx context.Context, since, ttl time.Duration, atMost int) ([]account.SignupAttempt, error)
}

// ResumeSignups has the flows of parked sign-ups begin, by opening, whose request never reached Temporal though the client was
// told that it goes on. The quota was taken by the request. A flow tells by the challenge that it was asked before, so that a
// slow request and any number of processes may ask it at once.
func ResumeSignups(ctx context.Context, signups SignupStore, flows Asker, ttl time.Duration, opening func(account.SignupAttempt) durable.Ask) error {
	all, err := signups.UnbegunSignups(ctx, signupAge, ttl, signupBatch)
	if err != nil {
		return err
	}
	// What is changed for a visitor is the visitor's doing, whoever asks.
	ctx = account.WithActing(ctx, account.Acting{Kind: account.ActorVisitor})
	var failed error
	refused := 0
	for _, attempt := range all {
		err := flows.Ask(ctx, opening(attempt), nil)
		if err == nil || errors.Is(err, durable.ErrNoFlow) {
			continue
		}
		switch kind := account.AsError(err).Kind; {
		case errors.Is(err, account.ErrOutcomeUnknown) || ctx.Err() != nil:
			return err
		case kind == account.Unavailable:
			if refused++; refused == signupRefusals {
				return err
			}
		case kind == account.Internal:
			failed = errors.Join(failed, err)
		default:
			// It has ended this moment, or was refused: that is an answer.
		}
	}
	return failed
}
