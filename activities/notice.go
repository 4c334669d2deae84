package activities

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/store"
)

// Notice is a mail that tells the owner of an account about a change that no flow of its own tells of. key names the change:
// the same change has one notice.
func Notice(keys *secret.Keys, accountID uuid.UUID, template, key string) account.Notice {
	return account.Notice{
		ID: keys.FlowID("notice", template, accountID.String()+"/"+key), AccountID: accountID, Template: template,
	}
}

// owe records a notice in the transaction of its change; a worker starts it.
func (a *Activities) owe(ctx context.Context, tx *store.Store, accountID uuid.UUID, template, key string) error {
	return tx.OweNotice(ctx, Notice(a.Keys, accountID, template, key))
}
