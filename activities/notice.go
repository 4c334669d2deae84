package activities

import (
	"context"
	"strings"

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

// Of a linked outside account and of a changed email the flow that made the change tells by itself, and so does the notice, where a
// worker starts it before the flow gets that far. Both write the row of the flow, so that the mail goes out once.

const linkNotice = "notice/link/"

// LinkedStep is the step of ProviderLinkFlow that tells of the link.
const LinkedStep = "linked"

// ProviderLinkFlow is the id of the flow of a link.
func ProviderLinkFlow(keys *secret.Keys, link uuid.UUID) string {
	return keys.FlowID("provider_link", "link", link.String())
}

// EmailFlow is the id of the flow that changes an account's email, or links one.
func EmailFlow(accountID uuid.UUID, linking bool) string {
	if linking {
		return "email_link/" + accountID.String()
	}
	return "email_change/" + accountID.String()
}

// linkOf is the link that a flow is the notice of, if it is one.
func linkOf(flow string) (link uuid.UUID, told bool) {
	id, told := strings.CutPrefix(flow, linkNotice)
	if !told {
		return uuid.Nil, false
	}
	link, err := uuid.Parse(id)
	return link, err == nil
}

// ProviderLinkNotice tells of the outside account that a link has linked.
func ProviderLinkNotice(accountID, link uuid.UUID) account.Notice {
	return account.Notice{ID: linkNotice + link.String(), AccountID: accountID, Template: templates.ProviderLinked}
}

// EmailChangeNotice tells the former address of a change of email.
func EmailChangeNotice(accountID, change uuid.UUID) account.Notice {
	return account.Notice{
		ID: "notice/email/" + change.String(), AccountID: accountID, Template: templates.EmailChanged, EmailChange: change,
	}
}
