package activities

import (
	"context"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
	"gatehouse/providers/templates"
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

// The notices below are of changes that a flow makes and tells of. They are owed with the change all the same: a flow whose
// database does not answer never learns that the change was committed. Then a worker starts them.

// PasswordResetNotice tells of a password that was set by the link of a challenge.
func PasswordResetNotice(accountID, challenge uuid.UUID) account.Notice {
	return account.Notice{
		ID: "notice/" + challenge.String(), AccountID: accountID, Template: templates.PasswordReset, Challenge: challenge,
	}
}

// PasswordChangeNotices tell of a password that the code of a challenge was spent on, by mail, and by SMS where the owner has a
// number. There are none where the code was spent on something else.
func PasswordChangeNotices(accountID, challenge uuid.UUID, spent Spent) []account.Notice {
	if !spent.PasswordSet {
		return nil
	}
	mail := account.Notice{ID: "notice/" + challenge.String(), AccountID: accountID, Template: templates.PasswordAdded}
	if spent.HadPassword {
		mail.Template = templates.PasswordChanged
	}
	notices := []account.Notice{mail}
	if spent.Phone {
		notices = append(notices, account.Notice{
			ID: mail.ID + "/" + string(account.ChannelSMS), AccountID: accountID, Template: templates.PasswordChangedSMS,
			Channel: account.ChannelSMS,
		})
	}
	return notices
}

// DeviceNotice tells of the device that the code of a login made a trusted one.
func DeviceNotice(accountID, login uuid.UUID) account.Notice {
	return account.Notice{ID: "notice/device/" + login.String(), AccountID: accountID, Template: templates.DeviceAdded}
}

// PhoneNotice tells of the number that the code of a challenge has verified.
func PhoneNotice(accountID, challenge uuid.UUID) account.Notice {
	return account.Notice{ID: "notice/phone/" + challenge.String(), AccountID: accountID, Template: templates.PhoneVerified}
}

// ProviderLinkNotice tells of the outside account that a link has linked.
func ProviderLinkNotice(accountID, link uuid.UUID) account.Notice {
	return account.Notice{ID: "notice/link/" + link.String(), AccountID: accountID, Template: templates.ProviderLinked}
}

// EmailChangeNotice tells the former address of a change of email.
func EmailChangeNotice(accountID, change uuid.UUID) account.Notice {
	return account.Notice{
		ID: "notice/email/" + change.String(), AccountID: accountID, Template: templates.EmailChanged, EmailChange: change,
	}
}
