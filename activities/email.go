package activities

import (
	"context"
	"errors"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// EmailChangeInput names a change of email.
type EmailChangeInput struct {
	ChangeID uuid.UUID
}

// IssuedEmailChange is a change of email that waits for its proof. Taken ones have no code: nothing can prove them.
type IssuedEmailChange struct {
	Code  IssuedCode
	Taken bool
}

// IssueEmailChange makes the challenge, with a code and a link, that proves the address an account is about to have. It
// returns account.ErrInvalidCode when the change is not open any more.
func (a *Activities) IssueEmailChange(ctx context.Context, in EmailChangeInput) (IssuedEmailChange, error) {
	e, err := a.Store.EmailChange(ctx, in.ChangeID)
	if err != nil {
		return IssuedEmailChange{}, gone(err)
	}
	if e.Closed {
		return IssuedEmailChange{}, account.ErrInvalidCode.Because(errors.New("a newer change has replaced this one"))
	}
	if e.Taken {
		return IssuedEmailChange{
			Code: IssuedCode{ChallengeID: e.ID, Masked: account.MaskEmail(e.NewEmail), FlowExpiresAt: e.ExpiresAt}, Taken: true,
		}, nil
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: e.ID, Purpose: account.PurposeEmailChange, Subject: a.Keys.Subject(string(account.PurposeEmailChange), e.NewEmail),
		AccountID: &e.AccountID, Channel: account.ChannelEmail, Destination: e.NewEmail, CodeTTL: a.Policy.CodeTTL, LinkTTL: a.Policy.LinkTTL,
	})
	return IssuedEmailChange{Code: issued(ch, e.ExpiresAt)}, err
}

// EmailChanged is the account whose address was changed.
type EmailChanged struct {
	AccountID uuid.UUID
}

// ChangeEmail gives an account the address that a proven challenge proves. It returns account.ErrInvalidCode, also when
// somebody else got the address first.
func (a *Activities) ChangeEmail(ctx context.Context, in ChallengeInput) (EmailChanged, error) {
	r, err := a.Store.ChangeEmail(ctx, in.ChallengeID)
	if errors.Is(err, account.ErrEmailExists) {
		err = account.ErrInvalidCode.Because(err)
	}
	return EmailChanged{AccountID: r.AccountID}, err
}

// EmailChangeMailInput names a mail about a change of email. Old says that it goes to the address before the change.
type EmailChangeMailInput struct {
	ChangeID uuid.UUID
	Template string
	Old      bool
}

// SendEmailChangeMail tells one of the two addresses of a change about it. A change that is forgotten gets no mail.
func (a *Activities) SendEmailChangeMail(ctx context.Context, in EmailChangeMailInput) (Delivered, error) {
	e, err := a.Store.EmailChange(ctx, in.ChangeID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	to, err := a.Store.PersonOf(ctx, e.AccountID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	out := outgoing{
		channel: account.ChannelEmail, flow: activity.GetInfo(ctx).WorkflowExecution.ID,
		step: in.Template + "/new/" + e.ID.String(), template: in.Template, to: e.NewEmail,
		data: templates.Data{Name: to.Name, Username: to.Username, Address: account.MaskEmail(e.NewEmail)},
	}
	if in.Old {
		out.to, out.step = e.OldEmail, in.Template+"/old/"+e.ID.String()
	}
	if out.to == "" {
		return Delivered{State: DeliveryExpired}, nil // the account had no address
	}
	if e.Taken && !in.Old {
		out.data = templates.Data{} // a stranger's names are nothing to the owner of the address
	}
	state, err := a.send(ctx, out)
	return Delivered{State: state}, err
}

// ForgetEmailChange removes a change of email that is over, with its code and link.
func (a *Activities) ForgetEmailChange(ctx context.Context, in EmailChangeInput) error {
	return a.Store.ForgetEmailChange(ctx, in.ChangeID)
}
