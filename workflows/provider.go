package workflows

import (
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// The names by which ProviderLink is started and spoken to.
const (
	ProviderLinkWorkflow = "ProviderLink"
	// ProviderLinkOpen waits until the link's state is good. No argument, no result.
	ProviderLinkOpen = "open"
	// ProviderLinkProceed ends the link with what its callback has named. No argument, no result.
	ProviderLinkProceed = "proceed"
)

// ProviderLinkInput starts a link: who wants it, by which session or API key, and of which provider.
type ProviderLinkInput struct {
	LinkID    uuid.UUID
	AccountID uuid.UUID
	Starter   uuid.UUID
	Provider  account.Provider
}

const stageAwaitingProvider = string(account.StageAwaitingProvider)

// ProviderLink waits for its owner to come back from an outside provider, and links the account there.
//
//	state stored -> callback claims it -> linked            -> completed, mail to the owner
//	                                   -> linked elsewhere  -> refused
//	nobody comes back in time: removed                      -> expired
//
// One execution per link. Its state is single-use: core claims it in the database before it tells the flow.
func ProviderLink(ctx workflow.Context, in ProviderLinkInput) error {
	l := &providerLink{in: in, mutex: workflow.NewMutex(ctx), stage: stageAwaitingProvider}
	return play(ctx, l)
}

func (l *providerLink) end(ctx workflow.Context, outcome string) {
	l.closed = true
	l.to(ctx, outcome)
	noteEnd(ctx, outcome)
}

// providerLink is the state of one run. The mutex makes one callback wait for another.
type providerLink struct {
	in      ProviderLinkInput
	opened  bool
	openErr error
	closed  bool
	linked  bool
	// refused is why the link came to nothing for good.
	refused error
	mutex   workflow.Mutex

	// For the eyes of ops.
	stage, mail string
	expires     time.Time
}

func (l *providerLink) setup(ctx workflow.Context) error {
	err := workflow.SetUpdateHandlerWithOptions(ctx, ProviderLinkOpen, l.open, workflow.UpdateHandlerOptions{
		Description: "Wait until the state is good",
	})
	if err != nil {
		return err
	}
	return workflow.SetUpdateHandlerWithOptions(ctx, ProviderLinkProceed, l.proceed, workflow.UpdateHandlerOptions{
		Validator: l.validateProceed, Description: "Link what the callback has named",
	})
}

func (l *providerLink) run(ctx workflow.Context) (outcome string, err error) {
	var opened activities.ProviderLinkOpened
	err = enduring(ctx, a.OpenProviderLink, activities.OpenProviderLinkInput(l.in), &opened)
	l.opened, l.openErr = true, err
	if ctx.Err() != nil {
		return outcomeFailed, ctx.Err()
	}
	if err != nil {
		return outcomeRefused, nil //nolint:nilerr // whoever asked is told
	}
	// Never at once: by the database's clock the end may be a little later than by Temporal's.
	patience := max(opened.ExpiresAt.Sub(workflow.Now(ctx)), leastWait)
	l.expires = opened.ExpiresAt
	l.show(ctx)
	if _, err := workflow.AwaitWithOptions(ctx, workflow.AwaitOptions{
		Timeout: patience, TimerOptions: workflow.TimerOptions{Summary: waitReturn},
	}, func() bool { return l.linked || l.refused != nil }); err != nil {
		return outcomeFailed, err
	}
	if err := l.mutex.Lock(ctx); err != nil { // a callback under way decides
		return outcomeFailed, err
	}
	l.closed = true
	l.mutex.Unlock()
	switch {
	case l.linked:
		l.tell(ctx)
		return outcomeCompleted, nil
	case l.refused != nil:
		return outcomeRefused, nil //nolint:nilerr // whoever asked is told; the flow did what it could
	}
	return outcomeExpired, patiently(ctx, a.DropProviderLink, activities.ProviderLinkInput{LinkID: l.in.LinkID}).Get(ctx, nil)
}

func (l *providerLink) open(ctx workflow.Context) error {
	if err := workflow.Await(ctx, func() bool { return l.opened }); err != nil {
		return err
	}
	return l.openErr
}

// validateProceed refuses, without a trace in the history, what is certain to fail.
func (l *providerLink) validateProceed() error {
	switch {
	case l.refused != nil:
		return l.refused
	case l.closed && !l.linked:
		return account.ErrInvalidState
	}
	return nil
}

func (l *providerLink) proceed(ctx workflow.Context) error {
	if err := l.mutex.Lock(ctx); err != nil {
		return err
	}
	defer l.mutex.Unlock()
	if err := l.validateProceed(); err != nil || l.linked {
		return err
	}
	err := briefly(ctx, a.FinishProviderLink, activities.ProviderLinkInput{LinkID: l.in.LinkID}).Get(ctx, nil)
	switch {
	case err == nil:
		l.linked = true
	case !passing(err):
		l.refused = err
	}
	return err
}

// tell writes to the owner that another way in exists.
func (l *providerLink) tell(ctx workflow.Context) {
	const template = "provider_linked"
	l.mail = template + ": " + onItsWay
	l.to(ctx, outcomeCompleted)
	if stagesVersion(ctx) != workflow.DefaultVersion {
		noteEnd(ctx, outcomeCompleted)
	}
	var sent activities.Delivered
	input := activities.SendMailInput{
		AccountID: l.in.AccountID, Step: activities.LinkedStep, Template: template,
		Notice: activities.ProviderLinkNotice(l.in.AccountID, l.in.LinkID).ID,
	}
	err := workflow.ExecuteActivity(withMessage(ctx, mailing(template), courtesyMail), a.SendMail, input).Get(ctx, &sent)
	l.mail = template + ": " + string(sent.State)
	if err != nil {
		workflow.GetLogger(ctx).Warn("a notice was not sent", "template", template, "error", durable.Describe(err))
		l.mail = template + ": " + undelivered(err)
	}
}

// show writes what ops read in the UI.
func (l *providerLink) show(ctx workflow.Context) {
	var d details
	d.row("Stage", l.stage)
	d.row("Provider", string(l.in.Provider))
	d.row("Mail", l.mail)
	switch {
	case l.stage != stageAwaitingProvider && !l.linked: // ended
	case l.linked:
		d.row("Next", "the mail to the owner, tried for a day")
	case !l.opened:
		d.row("Next", "the state is stored")
	default:
		d.at("Gives up", l.expires)
		d.row("Next", "the owner comes back from the provider; else nothing is linked")
	}
	d.show(ctx)
}

func (l *providerLink) to(ctx workflow.Context, stage string) {
	l.stage = stage
	l.show(ctx)
}
