package workflows

import (
	"fmt"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/workflow"

	"gatehouse/activities"
	"gatehouse/internal/durable"
)

// pushLife is how long a device is tried: after that the mail has told it.
const pushLife = time.Hour

// pushes are notices under way to an owner's devices.
type pushes struct {
	targets int
	under   []workflow.Future
}

// startPushes tells an account's devices what a mail tells at length. That is a courtesy beside the mail: what goes wrong
// is logged and shown.
func startPushes(ctx workflow.Context, accountID uuid.UUID, template string) pushes {
	if workflow.GetVersion(ctx, "push", workflow.DefaultVersion, 1) == workflow.DefaultVersion {
		return pushes{} // it began before there were any
	}
	var targets []uuid.UUID
	if err := briefly(ctx, a.PushTargets, activities.PushTargetsInput{AccountID: accountID}).Get(ctx, &targets); err != nil {
		workflow.GetLogger(ctx).Warn("the devices to notify were not found", "error", durable.Describe(err))
		return pushes{}
	}
	p := pushes{targets: len(targets)}
	for _, id := range targets {
		input := activities.SendPushInput{TokenID: id, Step: "push", Template: template}
		p.under = append(p.under, workflow.ExecuteActivity(withMessage(ctx, "tell a device: "+template, pushLife), a.SendPush, input))
	}
	return p
}

// wait returns how the pushes ended, in words; nothing where there were none.
func (p pushes) wait(ctx workflow.Context, template string) string {
	if p.targets == 0 {
		return ""
	}
	told := 0
	for _, one := range p.under {
		var sent activities.Delivered
		if err := one.Get(ctx, &sent); err != nil {
			workflow.GetLogger(ctx).Warn("a device was not notified", "template", template, "error", durable.Describe(err))
		} else if sent.State == activities.DeliverySent {
			told++
		}
	}
	return fmt.Sprintf("%s: %d of %d devices told", template, told, p.targets)
}
