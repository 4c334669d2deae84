package main

import (
	"cmp"
	"context"
	"errors"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/core"
	"gatehouse/internal/config"
	"gatehouse/internal/durable"
	"gatehouse/internal/ops"
	"gatehouse/internal/telemetry"
	"gatehouse/providers"
	"gatehouse/providers/inbox"
	"gatehouse/providers/mail"
	"gatehouse/providers/payment"
	"gatehouse/providers/push"
	"gatehouse/providers/sms"
	"gatehouse/providers/webhook"
	"gatehouse/worker"
	"gatehouse/workflows"
)

const (
	sweepEvery  = time.Minute
	noticeEvery = 10 * time.Second
	// messageEvery is how long a message may be shown as waiting that nobody tries to send any more.
	messageEvery = 10 * time.Second
	// signupEvery is how long an accepted sign-up may wait until somebody takes it up whose request never reached Temporal.
	signupEvery = 5 * time.Second
	// realignEvery is how long a subscription may be out of line with its account.
	realignEvery = 10 * time.Second
	// webhookEvery is how long an event may wait until somebody starts to tell it.
	webhookEvery = time.Second
	// sampleLife is after how many times without another look the last one stands for the present no more.
	sampleLife = 3
)

func workerCommand() *cobra.Command {
	var buildID, deployment string
	cmd := &cobra.Command{
		Use: "worker", Short: "Run workflows and activities", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := newProcess("worker")
			if err != nil {
				return err
			}
			defer p.close(cmd.Context())
			build := worker.Build{
				ID: cmp.Or(buildID, p.config.WorkerBuildID), Deployment: cmp.Or(deployment, p.config.WorkerDeployment),
			}
			return p.runWorker(cmd.Context(), build)
		},
	}
	cmd.Flags().StringVar(&buildID, "build-id", "", "what this code is called; it gets no work until it is promoted (GATEHOUSE_WORKER_BUILD_ID)")
	cmd.Flags().StringVar(&deployment, "deployment-name", "", "what its builds belong to (GATEHOUSE_WORKER_DEPLOYMENT)")
	cmd.AddCommand(versionsCommand(), promoteCommand(), releaseCommand())
	return cmd
}

func (p *process) runWorker(ctx context.Context, build worker.Build) error {
	debug.SetGCPercent(p.config.WorkerGCPercent)
	sender, err := mail.New(mail.Settings(p.config.Mail), inbox.New(p.store))
	if err != nil {
		return err
	}
	phones, err := sms.New(sms.Settings(p.config.SMS), inbox.New(p.store))
	if err != nil {
		return err
	}
	devices, err := push.New(push.Settings(p.config.Push), p.inbox())
	if err != nil {
		return err
	}
	payments, err := payment.New(payment.Settings(p.config.Payment), p.store, p.clock)
	if err != nil {
		return err
	}
	if err := p.requireSchema(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := p.prepareTemporal(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	receivers := p.receivers()
	defer receivers.Close()
	steps := &activities.Activities{
		Store: p.store, Keys: p.keys, Mail: sender, Phones: phones, Push: devices, Payments: payments, Policy: p.config.Policy,
		Billing: p.config.Billing, Clock: p.clock, ConfirmURL: p.config.ConfirmURL,
		ResetURL: p.config.ResetURL, UndoURL: p.config.ClosureUndoURL, Log: p.log,
		Flows: workflows.SubscriptionFlows{Client: p.flows}, Webhooks: receivers, WebhookRules: p.config.Webhook, Meter: p.meter,
	}
	group, ctx := errgroup.WithContext(ctx)
	var polling atomic.Bool
	ready := ops.All(map[string]ops.Check{
		"postgres": p.store.Ping, "temporal": p.flows.Healthy, "polling": begun(&polling), "stopping": stopping(ctx),
	})
	watched, drained := outliving(ctx)
	group.Go(func() error {
		defer drained()
		return worker.Run(ctx, worker.Deps{
			Client: p.flows, Activities: steps, Register: workflows.Register, Logger: p.log, ShutdownTimeout: p.config.ShutdownTimeout,
			PaymentRate: p.config.PaymentRate, Build: build, HeldChanges: p.config.HeldChanges,
			Pollers: p.config.WorkerPollers, CachedFlows: p.config.WorkerCachedFlows, Started: func() { polling.Store(true) },
		})
	})
	p.sweep(ctx, group)
	group.Go(func() error {
		nightly := workflows.NightlyReconciliation(p.config.ReconcileEvery, p.config.ReconcileAt)
		return p.untilTemporal(ctx, func(ctx context.Context) error { return p.flows.EnsureSchedule(ctx, nightly) })
	})
	group.Go(func() error {
		return p.serveOps(watched, "GATEHOUSE_WORKER_OPS_ADDR", p.config.WorkerOpsAddr, ready, false)
	})
	return group.Wait()
}

// begun is ready from the moment in which all queues are polled.
func begun(polling *atomic.Bool) ops.Check {
	return func(context.Context) error {
		if !polling.Load() {
			return errors.New("the queues are not polled yet")
		}
		return nil
	}
}

// sweep starts everything that a worker does again and again.
func (p *process) sweep(ctx context.Context, group *errgroup.Group) {
	sweeps := telemetry.NewSweeps(p.registry, p.clock)
	every := func(name string, pause time.Duration, sweep func(context.Context) error) {
		watched := sweeps.Watch(name, sweep)
		group.Go(func() error {
			worker.Sweep(ctx, pause, watched, p.log)
			return nil
		})
	}
	every("expired", sweepEvery, func(ctx context.Context) error { return p.store.Sweep(ctx, p.config.Policy.UnverifiedTTL) })
	every("notices", noticeEvery, func(ctx context.Context) error { return worker.StartNotices(ctx, p.store, p.flows) })
	every("messages", messageEvery, p.store.EndAbandonedMessages)
	every("signups", signupEvery, func(ctx context.Context) error {
		return worker.ResumeSignups(ctx, p.store, p.flows, p.config.Policy.SignupTTL, func(a account.SignupAttempt) durable.Ask {
			return core.SignupOpening(p.keys, p.config.Policy, p.clock, a)
		})
	})
	every("subscriptions", realignEvery, func(ctx context.Context) error {
		return worker.RealignSubscriptions(ctx, p.store, p.flows)
	})
	every("webhooks", webhookEvery, func(ctx context.Context) error {
		return worker.StartWebhooks(ctx, p.store, p.flows, p.config.Webhook)
	})
	samples := telemetry.NewSamples(p.registry, p.clock, sampleLife*p.config.SampleEvery)
	every("samples", p.config.SampleEvery, worker.Sampler{
		Store: p.store, Flows: p.flows, Clock: p.clock, Every: p.config.SampleEvery, Keep: samples.Keep, Drop: samples.Drop,
	}.Look)
}

// inbox is where pushes go while no provider is set: in production nowhere.
func (p *process) inbox() providers.Sender {
	if p.config.Environment == config.Production {
		return nil
	}
	return inbox.New(p.store)
}

// receivers posts events to whoever was added.
func (p *process) receivers() *webhook.Client {
	return webhook.New(webhook.Options{
		Local: p.config.Environment == config.Development, Networks: p.config.Webhook.Networks, Timeout: p.config.Webhook.Timeout,
	})
}
