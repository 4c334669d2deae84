package durable

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
)

// Schedule starts a flow again and again, never two at once.
type Schedule struct {
	ID string
	// Every is the interval, counted from midnight UTC and At after it.
	Every time.Duration
	At    time.Duration
	// Flow is what is started. Temporal appends the time to its id.
	Flow Start
}

func (s Schedule) spec() client.ScheduleSpec {
	return client.ScheduleSpec{Intervals: []client.ScheduleIntervalSpec{{Every: s.Every, Offset: s.At % s.Every}}}
}

// action is one turn. Turns that an outage has cost are made up for by one.
func (s Schedule) action() *client.ScheduleWorkflowAction {
	return &client.ScheduleWorkflowAction{
		ID: s.Flow.WorkflowID, Workflow: s.Flow.Workflow, TaskQueue: s.Flow.Queue, Args: arguments(s.Flow.Input),
		WorkflowExecutionTimeout: s.Flow.ExecutionTimeout, StaticSummary: s.Flow.Summary,
		TypedSearchAttributes: temporal.NewSearchAttributes(s.Flow.Attributes...),
	}
}

// EnsureSchedule creates a schedule, or makes the one that there is start what it says, as often as it says. One that an
// operator has paused stays so.
func (c *Client) EnsureSchedule(ctx context.Context, s Schedule) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	_, err := c.temporal.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: s.ID, Spec: s.spec(), Action: s.action(), Overlap: enums.SCHEDULE_OVERLAP_POLICY_SKIP, CatchupWindow: s.Every,
	})
	if !errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		return FromTemporal(err)
	}
	spec := s.spec()
	return FromTemporal(c.temporal.ScheduleClient().GetHandle(ctx, s.ID).Update(ctx, client.ScheduleUpdateOptions{
		DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
			now := in.Description.Schedule
			now.Spec, now.Action = &spec, s.action()
			return &client.ScheduleUpdate{Schedule: &now}, nil
		},
	}))
}

// TriggerSchedule has a schedule take a turn at once, unless one is under way. It returns ErrNoFlow when there is no such
// schedule yet.
func (c *Client) TriggerSchedule(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return FromTemporal(c.temporal.ScheduleClient().GetHandle(ctx, id).Trigger(ctx, client.ScheduleTriggerOptions{}))
}
