package activities_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/providers"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// inFlow executes an activity that sends, once, in the flow of an id.
func (b *bench) inFlow(t *testing.T, flow string, method, in any) activities.DeliveryState {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	env := suite.NewTestWorkflowEnvironment()
	env.SetStartWorkflowOptions(client.StartWorkflowOptions{ID: flow, TaskQueue: "flows"})
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{durable.Interceptor(b.Log)}})
	env.SetTestTimeout(time.Minute)
	env.RegisterActivity(b.Activities)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (sent activities.Delivered, err error) {
		require.Equal(t, flow, workflow.GetInfo(ctx).WorkflowExecution.ID)
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1},
		})
		err = workflow.ExecuteActivity(ctx, method, in).Get(ctx, &sent)
		return sent, err
	}, workflow.RegisterOptions{Name: "flow"})
	env.ExecuteWorkflow("flow")
	require.NoError(t, env.GetWorkflowError())
	var sent activities.Delivered
	require.NoError(t, env.GetWorkflowResult(&sent))
	return sent.State
}

// sending is a mail that a flow sends.
type sending struct {
	flow       string
	method, in any
}

// toldTwice is a change whose flow and whose notice both tell of it.
type toldTwice struct {
	own, notice sending
	// step is that of the row of both.
	step string
}

func (b *bench) linkTold(t *testing.T) toldTwice {
	t.Helper()
	owner, link := b.member(t).AccountID, uuid.New()
	notice := activities.ProviderLinkNotice(owner, link)
	require.NoError(t, b.Store.OweNotice(t.Context(), notice))
	mail := activities.SendMailInput{AccountID: owner, Step: activities.LinkedStep, Template: notice.Template, Notice: notice.ID}
	theirs := activities.SendMailInput{AccountID: owner, Step: "notice", Template: notice.Template}
	return toldTwice{
		own:    sending{activities.ProviderLinkFlow(b.Keys, link), b.SendMail, mail},
		notice: sending{notice.ID, b.SendMail, theirs}, step: activities.LinkedStep,
	}
}

func (b *bench) emailTold(t *testing.T, linking bool) toldTwice {
	t.Helper()
	owner, change := b.moving(t, false)
	if linking {
		e := account.EmailChange{ID: uuid.New(), AccountID: owner, NewEmail: adasNext, Linking: true}
		require.NoError(t, b.Store.OpenEmailChange(t.Context(), e, time.Hour))
		change = e.ID
	}
	_, err := run[activities.IssuedEmailChange](b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
	require.NoError(t, err)
	b.prove(t, change)
	_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change})
	require.NoError(t, err)
	mail := activities.EmailChangeMailInput{ChangeID: change, Template: templates.EmailChanged, Old: true}
	return toldTwice{
		own:    sending{activities.EmailFlow(owner, linking), b.SendEmailChangeMail, mail},
		notice: sending{activities.EmailChangeNotice(owner, change).ID, b.SendEmailChangeMail, mail},
		step:   "email_changed/old/" + change.String(),
	}
}

// A worker may have started the notice of a change before the flow that made it tells of it: the owner has one mail all the same.
func TestNotice_OneMailOfTwoFlows(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *bench) toldTwice{
		"link":         func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.linkTold(t) },
		"email change": func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.emailTold(t, false) },
		"email link":   func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.emailTold(t, true) },
	} {
		for _, noticeFirst := range []bool{true, false} {
			t.Run(name+map[bool]string{true: ", notice first", false: ", flow first"}[noticeFirst], func(t *testing.T) {
				t.Parallel()
				b := newBench(t)
				c := change(t, b)
				require.Len(t, b.owed(t), 1)
				before, turns := len(b.post.messages()), []sending{c.own, c.notice}
				if noticeFirst {
					turns = []sending{c.notice, c.own}
				}
				for _, s := range turns {
					require.Equal(t, activities.DeliverySent, b.inFlow(t, s.flow, s.method, s.in))
					require.Empty(t, b.owed(t), "its flow sends it from now on")
				}
				require.Equal(t, []string{ada}, to(b.post.messages()[before:]))
				shown, err := b.Store.Deliveries(t.Context(), c.own.flow, c.step, time.Time{})
				require.NoError(t, err)
				require.Equal(t, []store.Delivery{{Channel: "email", State: "sent", Attempts: 1}}, shown, "its owner sees it in the operation")
			})
		}
	}
}

// What the notice could not send is sent once more as the flow's.
func TestNotice_OfAFlowIsResentInItsRow(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*testing.T, *bench) toldTwice{
		"link":  func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.linkTold(t) },
		"email": func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.emailTold(t, false) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c := change(t, b)
			before := len(b.post.messages())
			b.post.fault = func() error { return providers.Permanent(errors.New("550 no such mailbox")) }
			for _, s := range []sending{c.notice, c.own} {
				require.Equal(t, activities.DeliveryDead, b.inFlow(t, s.flow, s.method, s.in))
			}
			b.post.fault = nil
			dead, err := b.Store.Messages(t.Context(), store.MessageFilter{State: "dead", Limit: 2})
			require.NoError(t, err)
			require.Len(t, dead, 1)
			require.Equal(t, []string{c.own.flow, c.step}, []string{dead[0].Flow, dead[0].Step})
			for range 2 {
				sent, err := b.resend(dead[0].ID)
				require.NoError(t, err)
				require.Equal(t, activities.DeliverySent, sent.State)
			}
			require.Equal(t, activities.DeliverySent, b.inFlow(t, c.own.flow, c.own.method, c.own.in))
			require.Len(t, b.post.messages()[before:], 2, "refused once, sent once")
		})
	}
}

// A row of the notice's own, from a release that had those, is the one that is sent once more.
func TestNotice_RowOfItsOwnIsResent(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]struct {
		change     func(*testing.T, *bench) toldTwice
		send, step string
	}{
		"link":  {func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.linkTold(t) }, "mail", "notice"},
		"email": {func(t *testing.T, b *bench) toldTwice { t.Helper(); return b.emailTold(t, false) }, "email_change_mail", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			c := r.change(t, b)
			step := cmp.Or(r.step, c.step)
			input, err := json.Marshal(c.notice.in)
			require.NoError(t, err)
			id, _, err := b.Store.BeginMessage(t.Context(), store.NewMessage{
				Flow: c.notice.flow, Step: step, Template: "notice", Channel: account.ChannelEmail, Destination: ada,
				Recipe: store.Recipe{Send: r.send, Input: input},
			})
			require.NoError(t, err)
			require.NoError(t, b.Store.MessageFailed(t.Context(), c.notice.flow, step, store.MessageDead, "550"))
			sent, err := b.resend(id)
			require.NoError(t, err)
			require.Equal(t, activities.DeliverySent, sent.State)
			kept, err := b.Store.Message(t.Context(), id)
			require.NoError(t, err)
			require.Equal(t, "sent", kept.State)
		})
	}
}
