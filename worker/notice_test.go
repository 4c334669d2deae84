package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/worker"
	"gatehouse/workflows"
)

// desk is where notices wait, and a Temporal that may be away.
type desk struct {
	owed    []account.Notice
	started []durable.Start
	away    bool
}

func (d *desk) OwedNotices(_ context.Context, since time.Duration, atMost int) ([]account.Notice, error) {
	if since <= 0 {
		return nil, account.ErrInternal
	}
	return d.owed[:min(atMost, len(d.owed))], nil
}

func (d *desk) NoticeStarted(_ context.Context, id string) error {
	if d.owed[0].ID != id {
		return account.ErrInternal
	}
	d.owed = d.owed[1:]
	return nil
}

func (d *desk) Start(_ context.Context, s durable.Start) error {
	if d.away && len(d.started) == 1 {
		return account.ErrUnavailable
	}
	d.started = append(d.started, s)
	return nil
}

func TestStartNotices(t *testing.T) {
	t.Parallel()
	notices := []account.Notice{
		{ID: "notice/1", AccountID: uuid.New(), Template: "password_changed"},
		{ID: "notice/2", AccountID: uuid.New(), Template: "email_unlinked", EmailChange: uuid.New()},
		{
			ID: "notice/3", AccountID: uuid.New(), Template: "password_changed_sms", Challenge: uuid.New(), Channel: account.ChannelSMS,
		},
	}
	d := &desk{owed: notices, away: true}
	require.ErrorIs(t, worker.StartNotices(t.Context(), d, d), account.ErrUnavailable)
	require.Equal(t, notices[1:], d.owed, "what could not be started is still owed")
	d.away = false
	require.NoError(t, worker.StartNotices(t.Context(), d, d))
	require.Empty(t, d.owed)
	require.Len(t, d.started, 3)
	for i, s := range d.started {
		require.Equal(t, notices[i].ID, s.WorkflowID)
		require.Equal(t, workflows.SecurityNoticeWorkflow, s.Workflow)
		require.Equal(t, workflows.SecurityNoticeInput{
			AccountID: notices[i].AccountID, Template: notices[i].Template, EmailChange: notices[i].EmailChange,
			Challenge: notices[i].Challenge, Channel: notices[i].Channel,
		}, s.Input)
	}
}
