package worker_test

import (
	"context"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/worker"
	"gatehouse/workflows"
)

// outbox hands out what is owed in batches.
type outbox struct {
	batches [][]account.WebhookDelivery
	asked   [2]int
	nudged  []durable.Start
	away    bool
}

func (o *outbox) ClaimWebhooks(_ context.Context, atOnce, failing int) ([]account.WebhookDelivery, error) {
	o.asked = [2]int{atOnce, failing}
	if len(o.batches) == 0 {
		return nil, nil
	}
	next := o.batches[0]
	o.batches = o.batches[1:]
	return next, nil
}

func (o *outbox) Nudge(_ context.Context, s durable.Start, signal string) error {
	if o.away || signal != workflows.WebhookNow {
		return account.ErrUnavailable
	}
	o.nudged = append(o.nudged, s)
	return nil
}

func TestStartWebhooks(t *testing.T) {
	t.Parallel()
	all := []account.WebhookDelivery{
		{ID: uuid.New(), EndpointID: uuid.New(), Type: "account.created", AccountID: uuid.New()}, {ID: uuid.New(), Type: "webhook.ping"}, {ID: uuid.New()},
	}
	rules := account.WebhookRules{AtOnce: 7, AtOnceFailing: 2}
	o := &outbox{batches: [][]account.WebhookDelivery{all[:2], all[2:]}}
	require.NoError(t, worker.StartWebhooks(t.Context(), o, o, rules))
	require.Len(t, o.nudged, 3, "until nothing is owed")
	require.Equal(t, [2]int{7, 2}, o.asked)
	for i, s := range o.nudged {
		require.Equal(t, "webhook/"+all[i].ID.String(), s.WorkflowID)
		require.Equal(t, workflows.WebhookDeliveryInput{DeliveryID: all[i].ID, EndpointID: all[i].EndpointID, Type: all[i].Type}, s.Input)
	}
	o = &outbox{batches: [][]account.WebhookDelivery{all[:2], all[2:]}, away: true}
	require.ErrorIs(t, worker.StartWebhooks(t.Context(), o, o, rules), account.ErrUnavailable)
	require.Len(t, o.batches, 1, "it takes no more while Temporal is away")
}
