package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/worker"
)

// parked is the sign-ups that were never begun, and the flows that are asked to begin them.
type parked struct {
	attempts []account.SignupAttempt
	asked    []string
	acting   account.Acting
	refusal  map[string]error
}

func (p *parked) UnbegunSignups(_ context.Context, since, ttl time.Duration, atMost int) ([]account.SignupAttempt, error) {
	if since < time.Second || ttl != time.Hour {
		return nil, errors.New("not as asked for")
	}
	return p.attempts[:min(atMost, len(p.attempts))], nil
}

func (p *parked) Ask(ctx context.Context, a durable.Ask, _ any) error {
	p.asked, p.acting = append(p.asked, a.WorkflowID), account.ActingIn(ctx)
	return p.refusal[a.WorkflowID]
}

func opening(a account.SignupAttempt) durable.Ask { return durable.Ask{WorkflowID: a.Email} }

func TestResumeSignups(t *testing.T) {
	t.Parallel()
	strange := errors.New("strange")
	all := []string{"a", "b", "c", "d"}
	for name, c := range map[string]struct {
		refusal map[string]error
		asked   []string
		failure error
	}{
		"all begin": {nil, all, nil},
		"some have ended": {map[string]error{
			"a": account.ErrInvalidCode, "b": durable.ErrNoFlow, "c": account.ErrNotFound, "d": account.ErrIdentityAlreadyUsed,
		}, all, nil},
		"two are about to end":          {map[string]error{"a": account.ErrUnavailable, "b": account.ErrUnavailable}, all, nil},
		"one that fails holds up none":  {map[string]error{"a": strange}, all, strange},
		"the database is away":          {map[string]error{"a": account.ErrUnavailable, "b": account.ErrUnavailable, "c": account.ErrUnavailable}, all[:3], account.ErrUnavailable},
		"nobody answers: none is asked": {map[string]error{"a": account.ErrOutcomeUnknown}, all[:1], account.ErrOutcomeUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			p := &parked{refusal: c.refusal}
			for _, email := range all {
				p.attempts = append(p.attempts, account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: email})
			}
			err := worker.ResumeSignups(t.Context(), p, p, time.Hour, opening)
			require.ErrorIs(t, err, c.failure)
			require.Equal(t, c.asked, p.asked)
			require.Equal(t, account.Acting{Kind: account.ActorVisitor}, p.acting)
		})
	}
}
