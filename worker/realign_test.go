package worker_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/api/serviceerror"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/worker"
	"gatehouse/workflows"
)

// herd is the subscriptions that are out of line, and the flows that are asked to bring them back.
type herd struct {
	strays  []account.Stray
	asked   []durable.Ask
	refusal map[string]error
}

func (h *herd) Strays(_ context.Context, atMost int) ([]account.Stray, error) {
	return h.strays[:min(atMost, len(h.strays))], nil
}

func (h *herd) Ask(_ context.Context, a durable.Ask, _ any) error {
	h.asked = append(h.asked, a)
	return h.refusal[a.WorkflowID]
}

func TestRealignSubscriptions(t *testing.T) {
	t.Parallel()
	owner := uuid.New()
	h := &herd{refusal: map[string]error{}, strays: []account.Stray{
		{SubscriptionID: "sub_1", AccountID: owner, PlanCode: "premium", Version: 3, Needs: account.RealignEnd},
		{SubscriptionID: "sub_2", AccountID: owner, PlanCode: "premium", Version: 4, Needs: account.RealignPause},
		{SubscriptionID: "sub_3", AccountID: owner, PlanCode: "premium", Version: 5, Needs: account.RealignResume},
	}}
	require.NoError(t, worker.RealignSubscriptions(t.Context(), h, h))
	updates := map[string]string{}
	for _, a := range h.asked {
		updates[a.WorkflowID] = a.Update
		require.Equal(t, workflows.SubscriptionWorkflow, a.Workflow)
		require.Equal(t, durable.QueueBilling, a.Queue)
	}
	require.Equal(t, map[string]string{"sub/sub_1": "cancel_now", "sub/sub_2": "pause", "sub/sub_3": "resume"}, updates)
	pause, ok := h.asked[1].Arg.(workflows.SubscriptionRequest)
	require.True(t, ok)
	require.Equal(t, workflows.SubscriptionRequest{Key: "account/pause/4", Reason: account.PausedDeactivation}, pause)

	h.asked = nil
	strange := errors.New("strange")
	h.refusal["sub/sub_1"], h.refusal["sub/sub_2"] = account.ErrSubscriptionState, strange
	require.ErrorIs(t, worker.RealignSubscriptions(t.Context(), h, h), strange)
	require.Len(t, h.asked, 3, "one that refuses holds up no other")

	h.asked = nil
	h.refusal["sub/sub_2"] = nil
	h.refusal["sub/sub_1"] = durable.FromTemporal(serviceerror.NewFailedPrecondition("the run has had its updates"))
	require.ErrorIs(t, worker.RealignSubscriptions(t.Context(), h, h), durable.ErrFlowRefuses)
	require.Len(t, h.asked, 3, "neither does one that takes no more updates")

	h.asked = nil
	h.refusal["sub/sub_1"] = account.ErrUnavailable
	require.ErrorIs(t, worker.RealignSubscriptions(t.Context(), h, h), account.ErrUnavailable)
	require.Len(t, h.asked, 1, "nobody answers")
}
