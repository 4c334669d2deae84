package worker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/internal/durable"
)

// Build is the code of a worker process, by the name that operators gave it.
type Build struct {
	// Deployment groups the builds of which one is current.
	Deployment string
	// ID names the build. Empty means unversioned.
	ID string
}

func (b Build) options() worker.DeploymentOptions {
	if b.ID == "" {
		return worker.DeploymentOptions{}
	}
	return worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: b.Deployment, BuildID: b.ID},
	}
}

// held has flows go on as they did before a change that is held. A flow that began the change elsewhere keeps to it.
func held(changes []string) worker.PreferredVersionProvider {
	if len(changes) == 0 {
		return nil
	}
	return func(in worker.PreferredVersionProviderInput) *worker.VersionPreference {
		if !slices.Contains(changes, in.ChangeID) {
			return nil
		}
		return &worker.VersionPreference{Version: workflow.DefaultVersion, ClampToSupportedRange: true}
	}
}

// Version is a build that Temporal knows of.
type Version struct {
	BuildID string `json:"build_id"`
	// State is "current", "ramping", "draining" while flows are pinned to it, "drained" when its workers may be stopped, or
	// "inactive": it was never promoted.
	State string `json:"state"`
	// Percent of the flows that start go to it while it is ramping.
	Percent float32   `json:"percent"`
	Created time.Time `json:"created"`
	// Pinned is how many open flows only workers of this build can go on with.
	Pinned int64 `json:"pinned"`
}

// Unversioned stands for the workers without a build, where a build id is asked for.
const Unversioned = "unversioned"

// ErrNoBuild is returned for a build of which no worker polls all queues that the current one has.
var ErrNoBuild = errors.New("no worker of this build polls all queues")

// ErrNotAnswered is returned when Temporal has not said in time what became of a request.
var ErrNotAnswered = errors.New("no answer in time")

// Versions lists the builds of a deployment, the newest first; none when there never was a versioned worker.
func Versions(ctx context.Context, c *durable.Client, deployment string) ([]Version, error) {
	info, err := c.Temporal().WorkerDeploymentClient().GetHandle(deployment).Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if _, missing := errors.AsType[*serviceerror.NotFound](err); missing {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe deployment %s: %w", deployment, err)
	}
	var all []Version
	for _, s := range info.Info.VersionSummaries {
		pinned, err := c.Temporal().CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: pinnedTo(deployment, s.Version.BuildID)})
		if err != nil {
			return nil, fmt.Errorf("count what build %s holds: %w", s.Version.BuildID, err)
		}
		v := Version{BuildID: s.Version.BuildID, State: drainage(s.DrainageStatus), Created: s.CreateTime, Pinned: pinned.GetCount()}
		routing := info.Info.RoutingConfig
		switch {
		case is(routing.CurrentVersion, v.BuildID):
			v.State = "current"
		case is(routing.RampingVersion, v.BuildID):
			v.State, v.Percent = "ramping", routing.RampingVersionPercentage
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(a, b Version) int { return b.Created.Compare(a.Created) })
	return all, nil
}

func is(v *worker.WorkerDeploymentVersion, build string) bool { return v != nil && v.BuildID == build }

func drainage(s client.WorkerDeploymentVersionDrainageStatus) string {
	switch s {
	case client.WorkerDeploymentVersionDrainageStatusDraining:
		return "draining"
	case client.WorkerDeploymentVersionDrainageStatusDrained:
		return "drained"
	default:
		return "inactive"
	}
}

// pinnedTo finds the open flows that only a build's workers can go on with.
func pinnedTo(deployment, build string) string {
	return "ExecutionStatus = 'Running' AND TemporalWorkflowVersioningBehavior = 'Pinned' AND TemporalWorkerDeploymentVersion = " +
		strconv.Quote(deployment+":"+build)
}

// Promote makes a build current: flows that start go to it, and so do the open ones that are not pinned. With a percentage
// between 0 and 100 only that share does. It returns ErrNoBuild when workers of the build are missing, and ErrNotAnswered when
// Temporal does not say in time whether it is done; doing it again is harmless.
func Promote(ctx context.Context, c *durable.Client, b Build, percent float32) error {
	handle := c.Temporal().WorkerDeploymentClient().GetHandle(b.Deployment)
	build := b.ID
	if build == Unversioned {
		build = ""
	}
	var err error
	if percent < 100 {
		_, err = handle.SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{BuildID: build, Percentage: percent})
	} else {
		_, err = handle.SetCurrentVersion(ctx, client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
	}
	_, early := errors.AsType[*serviceerror.FailedPrecondition](err)
	_, missing := errors.AsType[*serviceerror.NotFound](err)
	if early || missing {
		return fmt.Errorf("%w: %w", ErrNoBuild, err)
	}
	if _, slow := errors.AsType[*serviceerror.DeadlineExceeded](err); slow || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("promote build %s: %w: %w", b.ID, ErrNotAnswered, err)
	}
	if err != nil {
		return fmt.Errorf("promote build %s: %w", b.ID, err)
	}
	return nil
}

// Release lets go of the open flows that are pinned to a build, so that the current one goes on with them, and returns how many
// they were. It is for a build whose workers cannot be had back: what differs in the current one's code blocks such a flow.
func Release(ctx context.Context, c *durable.Client, b Build) (int, error) {
	released := 0
	query := &workflowservice.ListWorkflowExecutionsRequest{Query: pinnedTo(b.Deployment, b.ID)}
	for {
		page, err := c.Temporal().ListWorkflow(ctx, query)
		if err != nil {
			return released, fmt.Errorf("list what build %s holds: %w", b.ID, err)
		}
		for _, e := range page.GetExecutions() {
			_, err := c.Temporal().UpdateWorkflowExecutionOptions(ctx, client.UpdateWorkflowExecutionOptionsRequest{
				WorkflowId: e.GetExecution().GetWorkflowId(), RunId: e.GetExecution().GetRunId(),
				WorkflowExecutionOptionsChanges: client.WorkflowExecutionOptionsChanges{
					VersioningOverride: &client.VersioningOverrideChange{Value: &client.AutoUpgradeVersioningOverride{}},
				},
			})
			if _, gone := errors.AsType[*serviceerror.NotFound](err); gone {
				continue // it has ended meanwhile
			}
			if err != nil {
				return released, fmt.Errorf("release %s: %w", e.GetExecution().GetWorkflowId(), err)
			}
			released++
		}
		if query.NextPageToken = page.GetNextPageToken(); len(query.NextPageToken) == 0 {
			return released, nil
		}
	}
}
