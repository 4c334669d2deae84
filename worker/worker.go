// Package worker runs the workflows and activities of Gatehouse: what it registers, how it polls, and how it stops. It
// holds no rule of an account and no step of a flow.
package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	"gatehouse/internal/durable"
)

// Deps are what a worker process is made of.
type Deps struct {
	// Client reaches Temporal. It outlives the worker.
	Client *durable.Client
	// Activities is a pointer to the one struct whose methods are the activities.
	Activities any
	// Register registers the workflows.
	Register func(worker.Registry)
	// Logger receives the names of failures, never their texts.
	Logger *slog.Logger
	// ShutdownTimeout is how long activities may finish once the worker stops; then their contexts end. Keep it at least
	// as long as a message is tried once. The mails about a closure, which take longer, heed the stop between two of them.
	ShutdownTimeout time.Duration
	// PaymentRate is how many activities a second all workers together take from the queue of payments; 0 means no bound.
	PaymentRate float64
	// Pollers is how many polls of each kind are open for each queue; 0 lets them follow the load.
	Pollers int
	// CachedFlows is how many flows are kept in memory between their steps, by all workers of the process; 0 leaves it to the SDK.
	CachedFlows int
	// Started, if set, is called once all queues are polled.
	Started func()
	// Build names the code of this worker to Temporal. A worker whose build has an ID gets no work until that is promoted; one
	// without takes whatever there is.
	Build Build
	// HeldChanges are the ids of workflow.GetVersion whose new branch this worker knows and does not begin yet.
	HeldChanges []string
}

// stickyWait is how long a flow's next task waits for the worker that knows the flow, before any may take it.
const stickyWait = time.Second

// heartbeatGap is how long a heartbeat may be held back to be sent with the next one. The SDK's own four fifths of the timeout
// leave one second for the way to Temporal where an activity is given up after five.
const heartbeatGap = 1500 * time.Millisecond

// billingAtOnce is how many steps of subscriptions a worker takes at once: a burst of renewals leaves it time for the rest.
const billingAtOnce = 4

// webhooksAtOnce is how many receivers a worker waits for at once.
const webhooksAtOnce = 200

// Run polls all queues until ctx ends, then lets running tasks finish and returns nil. It returns an error when a
// worker cannot start, or when Temporal refuses one for good (its namespace is gone, say): the process should end then.
func Run(ctx context.Context, d Deps) error {
	if d.CachedFlows > 0 {
		worker.SetStickyWorkflowCacheSize(d.CachedFlows)
	}
	fatal := make(chan error, 5)
	all := d.workers(func(err error) { fatal <- err })

	started := make([]worker.Worker, 0, len(all))
	defer func() { stop(started) }()
	for _, w := range all {
		if err := w.Start(); err != nil {
			return fmt.Errorf("start worker: %w", err)
		}
		started = append(started, w)
	}
	d.Logger.InfoContext(ctx, "worker started", slog.String("build_id", d.Build.ID), slog.Any("queues", []string{
		durable.QueueFlows, durable.QueueBilling, durable.QueueNotify, durable.QueueWebhooks, durable.QueuePayments,
	}))
	if d.Started != nil {
		d.Started()
	}

	select {
	case err := <-fatal:
		return fmt.Errorf("worker: %w", err)
	case <-ctx.Done():
		d.Logger.InfoContext(ctx, "worker stopping", slog.Duration("at_most", d.ShutdownTimeout))
		return nil
	}
}

func (d Deps) options(onFatal func(error)) worker.Options {
	return worker.Options{
		WorkflowTaskPollerBehavior: d.pollers(),
		ActivityTaskPollerBehavior: d.pollers(),
		// What was meant for a worker that has died or stopped goes to another one after this, within a request's deadline;
		// the default of five seconds lies beyond it.
		StickyScheduleToStartTimeout: stickyWait,
		MaxHeartbeatThrottleInterval: heartbeatGap,
		// The default of zero cuts every running activity off at once.
		WorkerStopTimeout: d.ShutdownTimeout,
		// A panic holds the flow until a fixed build replays it; failing the flow would lose it.
		WorkflowPanicPolicy: worker.BlockWorkflow,
		Interceptors:        interceptors(d.Logger),
		OnFatalError:        onFatal,
		DeploymentOptions:   d.Build.options(),

		PreferredVersionProvider: held(d.HeldChanges),
	}
}

func (d Deps) workers(onFatal func(error)) []worker.Worker {
	options := d.options(onFatal)
	flows := worker.New(d.Client.Temporal(), durable.QueueFlows, options)
	d.Register(flows)
	flows.RegisterActivity(d.Activities)

	few := options
	few.MaxConcurrentWorkflowTaskExecutionSize, few.MaxConcurrentActivityExecutionSize = billingAtOnce, billingAtOnce
	billing := worker.New(d.Client.Temporal(), durable.QueueBilling, few)
	d.Register(billing)
	billing.RegisterActivity(d.Activities)

	options.DisableWorkflowWorker = true
	notify := worker.New(d.Client.Temporal(), durable.QueueNotify, options)
	notify.RegisterActivity(d.Activities)

	hanging := options
	hanging.MaxConcurrentActivityExecutionSize = webhooksAtOnce
	webhooks := worker.New(d.Client.Temporal(), durable.QueueWebhooks, hanging)
	webhooks.RegisterActivity(d.Activities)

	options.TaskQueueActivitiesPerSecond = d.PaymentRate
	payments := worker.New(d.Client.Temporal(), durable.QueuePayments, options)
	payments.RegisterActivity(d.Activities)
	return []worker.Worker{flows, billing, notify, webhooks, payments}
}

func (d Deps) pollers() worker.PollerBehavior {
	return worker.NewPollerBehaviorAutoscaling(worker.PollerBehaviorAutoscalingOptions{
		InitialNumberOfPollers: d.Pollers, MinimumNumberOfPollers: d.Pollers, MaximumNumberOfPollers: d.Pollers,
	})
}

// interceptors are what surrounds every workflow and activity, when it is run as when it is replayed.
func interceptors(logger *slog.Logger) []interceptor.WorkerInterceptor {
	return []interceptor.WorkerInterceptor{durable.Interceptor(logger)}
}

// stop stops all at once: one after the other would take the shutdown timeout of each.
func stop(workers []worker.Worker) {
	var done sync.WaitGroup
	for _, w := range workers {
		done.Go(w.Stop)
	}
	done.Wait()
}
