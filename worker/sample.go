package worker

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatehouse/account"
	"gatehouse/workflows"
)

const (
	// lateAfter is how long after its NextActionAt a running flow is late: longer than any ordinary retry of its step.
	lateAfter = 10 * time.Minute
	// turnShare is how much of the time between two looks must pass before any worker takes another. It is less than all of
	// it: the same worker that took the last look may take the next.
	turnShare = 0.8
)

// SampleStore is what a look at the database asks.
type SampleStore interface {
	// TakeTurn reports whether it is the caller's turn.
	TakeTurn(ctx context.Context, what string, every time.Duration) (bool, error)
	Backlogs(ctx context.Context) ([]account.Backlog, error)
	MessageCounts(ctx context.Context) ([]account.MessageCount, error)
	SubscriptionCounts(ctx context.Context) ([]account.SubscriptionCount, error)
}

// FlowCounter counts flows by a filter, as durable.Client does.
type FlowCounter interface {
	Count(ctx context.Context, query string) (int64, error)
}

// Sampler looks at what waits, for the metrics. Of all workers one looks in each interval, so that the cost does not grow with
// their number: a few indexed counts in Postgres, one pass over the live subscriptions, and for Temporal two counts for each
// kind of flow and one for each stage of those that run.
type Sampler struct {
	Store SampleStore
	Flows FlowCounter
	Clock account.Clock
	// Every is the time between two looks.
	Every time.Duration
	// Keep takes what was found, Drop is told that another worker knows better.
	Keep func(account.Sample)
	Drop func()
}

// Look takes a look if it is this worker's turn. What could not be seen is missing from the sample, and in the error.
func (s Sampler) Look(ctx context.Context) error {
	mine, err := s.Store.TakeTurn(ctx, "sample", time.Duration(float64(s.Every)*turnShare))
	if err != nil {
		return err
	}
	if !mine {
		s.Drop()
		return nil
	}
	sample := account.Sample{At: s.Clock.Now()}
	var faults [4]error
	sample.Backlogs, faults[0] = s.Store.Backlogs(ctx)
	sample.Messages, faults[1] = s.Store.MessageCounts(ctx)
	sample.Subscriptions, faults[2] = s.Store.SubscriptionCounts(ctx)
	faults[3] = s.countFlows(ctx, &sample)
	sample.FlowsKnown = faults[3] == nil
	s.Keep(sample)
	return errors.Join(faults[:]...)
}

// countFlows asks by kind and stage: grouping is not offered for them by every server.
func (s Sampler) countFlows(ctx context.Context, sample *account.Sample) error {
	const running = `ExecutionStatus = 'Running'`
	var err error
	if sample.FlowsStuck, err = s.Flows.Count(ctx, running+` AND TemporalReportedProblems IS NOT NULL`); err != nil {
		return err
	}
	stages := workflows.Stages()
	sample.FlowsLate = make(map[string]int64, len(stages))
	late := s.Clock.Now().Add(-lateAfter).UTC().Format(time.RFC3339)
	for _, kind := range slices.Sorted(maps.Keys(stages)) {
		ofKind := fmt.Sprintf(`%s AND FlowKind = '%s'`, running, kind)
		if sample.FlowsLate[kind], err = s.Flows.Count(ctx, fmt.Sprintf(`%s AND NextActionAt < '%s'`, ofKind, late)); err != nil {
			return err
		}
		left, err := s.Flows.Count(ctx, ofKind)
		if err != nil {
			return err
		}
		for _, stage := range stages[kind] {
			var at int64
			if left > 0 {
				if at, err = s.Flows.Count(ctx, fmt.Sprintf(`%s AND FlowStage = '%s'`, ofKind, stage)); err != nil {
					return err
				}
			}
			sample.Flows = append(sample.Flows, account.FlowCount{Kind: kind, Stage: stage, Count: at})
			left = max(left-at, 0)
		}
		sample.Flows = append(sample.Flows, account.FlowCount{Kind: kind, Stage: "ending", Count: left})
	}
	return nil
}
