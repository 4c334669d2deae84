package core

import (
	"context"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/temporal"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const (
	// noticeTimeout is how long an answer waits for its notice to be accepted, noticeLife how long the notice may take.
	noticeTimeout = time.Second
	noticeLife    = 25 * time.Hour
)

// notify tells the owner of an account by mail about a change that no flow of its own made, and that is committed already.
// key names the change: one mail is sent however often it is notified. The answer to the change does not depend on it; a
// notice that cannot be started is logged.
func (c *Core) notify(ctx context.Context, accountID uuid.UUID, template, key string) {
	c.startNotice(ctx, workflows.SecurityNoticeInput{AccountID: accountID, Template: template}, key)
}

func (c *Core) startNotice(ctx context.Context, in workflows.SecurityNoticeInput, key string) {
	// The change stands even if its client has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTimeout)
	defer cancel()
	err := c.Flows.Start(ctx, durable.Start{
		WorkflowID: c.Keys.FlowID("notice", in.Template, in.AccountID.String()+"/"+key),
		Workflow:   workflows.SecurityNoticeWorkflow, Queue: durable.QueueFlows,
		Input: in, Summary: workflows.NoticeSummary(in.Template),
		Attributes: []temporal.SearchAttributeUpdate{
			durable.FlowKind.ValueSet("notice"), durable.FlowStage.ValueSet("sending"), durable.AccountID.ValueSet(in.AccountID.String()),
		},
		ExecutionTimeout: noticeLife,
	})
	if err != nil {
		c.Log.WarnContext(ctx, "a notice was not started", "account", in.AccountID, "template", in.Template, "error", err)
	}
}

// SecurityOverview is how an account can be signed in to (C22).
type SecurityOverview struct {
	PrimaryMethod string
	HasPassword   bool
	Providers     []string
	EmailVerified bool
}

// SecurityOverview returns how the caller's account can be signed in to (C22).
func (c *Core) SecurityOverview(ctx context.Context, by account.Caller, _ None) (SecurityOverview, error) {
	if by.Principal == nil {
		return SecurityOverview{}, account.ErrUnauthorized
	}
	a := by.Principal.Account
	providers, err := c.providersOf(ctx, a.ID)
	return SecurityOverview{
		PrimaryMethod: a.PrimaryProvider, HasPassword: a.HasPassword, Providers: providers, EmailVerified: a.EmailVerified,
	}, err
}

// providersOf names the outside accounts that open an account, oldest first.
func (c *Core) providersOf(ctx context.Context, accountID uuid.UUID) ([]string, error) {
	linked, err := c.Store.LinkedProviders(ctx, accountID)
	names := make([]string, len(linked))
	for i, l := range linked {
		names[i] = string(l.Provider)
	}
	return names, err
}
