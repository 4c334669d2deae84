package core

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/workflows"
)

// UnlinkEmail takes the caller's email away, and tells its owner there (D25). It returns
// account.ErrReauthenticationRequired, account.ErrEmailNotVerified, account.ErrLastProvider when no way to sign in would be
// left: that is, no outside account (contract X19), account.ErrNoSecondFactor when codes to the email are the second factor,
// and account.ErrNotFound when there is no email.
func (c *Core) UnlinkEmail(ctx context.Context, by account.Caller, _ None) (None, error) {
	if err := c.mayBind(by); err != nil {
		return None{}, err
	}
	id, change := by.Principal.Account.ID, uuid.New()
	if err := c.Store.UnlinkEmail(ctx, change, id, noticeLife); err != nil {
		return None{}, err
	}
	c.startNotice(ctx, workflows.SecurityNoticeInput{AccountID: id, Template: templates.EmailUnlinked, EmailChange: change}, change.String())
	return None{}, nil
}
