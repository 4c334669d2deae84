package core

import (
	"context"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/store"
	"gatehouse/workflows"
)

// noticeTimeout is how long an answer waits for its notice to be accepted. A worker starts what was not.
const noticeTimeout = time.Second

// notice is a mail that tells the owner of an account about a change that no flow of its own makes. key names the change.
func (c *Core) notice(accountID uuid.UUID, template, key string) account.Notice {
	return activities.Notice(c.Keys, accountID, template, key)
}

// told are the notices that a change owes.
type told []account.Notice

// toVerified is a notice to the owner of an account whose address is proven: nobody else is written to.
func (c *Core) toVerified(a account.Account, template string) told {
	if !a.EmailVerified {
		return nil
	}
	return told{c.notice(a.ID, template, uuid.NewString())}
}

// commit makes a change in one transaction with what it owes its owner, and then has that sent: should nobody be able to, a
// worker will. The change must not count on what it has written before it returned an error.
func (c *Core) commit(ctx context.Context, change func(ctx context.Context, tx *store.Store) (told, error)) error {
	var owed told
	err := c.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) (err error) {
		if owed, err = change(ctx, tx); err != nil {
			return err
		}
		for _, n := range owed {
			if err := tx.OweNotice(ctx, n); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, n := range owed {
		c.sendNotice(ctx, n)
	}
	return nil
}

// notify tells the owner of an account by mail about something that changed nothing.
func (c *Core) notify(ctx context.Context, accountID uuid.UUID, template, key string) error {
	return c.commit(ctx, func(context.Context, *store.Store) (told, error) {
		return told{c.notice(accountID, template, key)}, nil
	})
}

// sendNotice starts the flow of a notice that is owed. The answer to the change does not depend on it.
func (c *Core) sendNotice(ctx context.Context, n account.Notice) {
	// The change stands even if its client has gone away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noticeTimeout)
	defer cancel()
	err := c.Flows.Start(ctx, workflows.StartNotice(n))
	if err == nil {
		err = c.Store.NoticeStarted(ctx, n.ID)
	}
	if err != nil {
		c.Log.WarnContext(ctx, "a notice is left to the workers", "account", n.AccountID, "template", n.Template, "error", err)
	}
}
