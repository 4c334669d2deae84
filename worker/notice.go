package worker

import (
	"context"
	"time"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

const (
	// noticeDelay leaves a notice to the process that owes it, noticeBatch bounds what one turn starts.
	noticeDelay = 5 * time.Second
	noticeBatch = 100
)

// NoticeStore knows the notices that are owed to owners.
type NoticeStore interface {
	// OwedNotices returns those owed for longer than since, oldest first.
	OwedNotices(ctx context.Context, since time.Duration, atMost int) ([]account.Notice, error)
	// NoticeStarted forgets one.
	NoticeStarted(ctx context.Context, id string) error
}

// Starter starts flows, each once, as durable.Client does.
type Starter interface {
	Start(ctx context.Context, s durable.Start) error
}

// StartNotices starts the notices whose change was committed while nobody could start them: Temporal was away, or the
// process died. It gives up at the first that cannot be started. Any number of processes may run it at once.
func StartNotices(ctx context.Context, notices NoticeStore, flows Starter) error {
	owed, err := notices.OwedNotices(ctx, noticeDelay, noticeBatch)
	if err != nil {
		return err
	}
	for _, n := range owed {
		if err := flows.Start(ctx, workflows.StartNotice(n)); err != nil {
			return err
		}
		if err := notices.NoticeStarted(ctx, n.ID); err != nil {
			return err
		}
	}
	return nil
}
