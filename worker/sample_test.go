package worker_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/worker"
	"gatehouse/workflows"
)

var lookedAt = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// scene is a database and a Temporal to look at.
type scene struct {
	taken bool
	every time.Duration
	away  error
	asked []string
	kept  *account.Sample
	drops int
}

func (s *scene) Now() time.Time { return lookedAt }

func (s *scene) TakeTurn(_ context.Context, _ string, every time.Duration) (bool, error) {
	s.every = every
	return !s.taken, nil
}

func (s *scene) Backlogs(context.Context) ([]account.Backlog, error) {
	return []account.Backlog{{Of: "messages", Count: 3}}, nil
}

func (s *scene) MessageCounts(context.Context) ([]account.MessageCount, error) {
	return nil, account.ErrUnavailable
}

func (s *scene) SubscriptionCounts(context.Context) ([]account.SubscriptionCount, error) {
	return []account.SubscriptionCount{{Status: account.SubscriptionActive, Count: 9}}, nil
}

// Count knows seven sign-ups, five of which await a proof and two of which are late, and one flow that is stuck.
func (s *scene) Count(_ context.Context, query string) (int64, error) {
	s.asked = append(s.asked, query)
	switch {
	case s.away != nil:
		return 0, s.away
	case strings.Contains(query, "TemporalReportedProblems"):
		return 1, nil
	case !strings.Contains(query, "FlowKind = 'signup'"):
		return 0, nil
	case strings.Contains(query, "FlowStage = 'awaiting_proof'"):
		return 5, nil
	case strings.Contains(query, "NextActionAt < '2026-03-01T11:50:00Z'"):
		return 2, nil
	}
	return 7, nil
}

func (s *scene) look(t *testing.T) error {
	t.Helper()
	return worker.Sampler{
		Store: s, Flows: s, Clock: s, Every: time.Minute,
		Keep: func(sample account.Sample) { s.kept = &sample }, Drop: func() { s.drops++ },
	}.Look(t.Context())
}

func TestSampler_KeepsWhatItCouldSee(t *testing.T) {
	t.Parallel()
	s := &scene{}
	require.ErrorIs(t, s.look(t), account.ErrUnavailable, "one count failed, and only that is missing")
	require.Less(t, s.every, time.Minute, "the same worker must be able to look again at its next turn")
	require.NotNil(t, s.kept)
	require.Equal(t, lookedAt, s.kept.At)
	require.Equal(t, []account.Backlog{{Of: "messages", Count: 3}}, s.kept.Backlogs)
	require.Empty(t, s.kept.Messages)
	require.Len(t, s.kept.Subscriptions, 1)
	require.True(t, s.kept.FlowsKnown)
	require.Equal(t, int64(1), s.kept.FlowsStuck)
	require.Equal(t, int64(2), s.kept.FlowsLate["signup"])
	require.Len(t, s.kept.FlowsLate, len(workflows.Stages()))
	require.Contains(t, s.kept.Flows, account.FlowCount{Kind: "signup", Stage: "awaiting_proof", Count: 5})
	require.Contains(t, s.kept.Flows, account.FlowCount{Kind: "signup", Stage: "ending", Count: 2})
	for _, q := range s.asked {
		require.Contains(t, q, "ExecutionStatus = 'Running'")
	}
	require.Len(t, s.asked, 1+2*len(workflows.Stages())+1, "stages are asked for only where flows run")
}

func TestSampler_WithoutTemporal(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	s := &scene{away: away}
	require.ErrorIs(t, s.look(t), away)
	require.Len(t, s.asked, 1, "it is asked once")
	require.False(t, s.kept.FlowsKnown)
	require.Len(t, s.kept.Backlogs, 1, "the database is seen all the same")
}

func TestSampler_LeavesItToAnother(t *testing.T) {
	t.Parallel()
	s := &scene{taken: true}
	require.NoError(t, s.look(t))
	require.Nil(t, s.kept)
	require.Equal(t, 1, s.drops, "what it knew is old now")
	require.Empty(t, s.asked)
}
