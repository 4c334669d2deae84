package activities

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// EmailChangeInput names a change of email.
type EmailChangeInput struct {
	ChangeID uuid.UUID
}

// IssuedEmailChange is a change of email that waits for its proof. Nothing can prove a taken one: no code of it is sent.
type IssuedEmailChange struct {
	Code  IssuedCode
	Taken bool
	// Linking changes are proven by a code alone.
	Linking bool
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
	if e.Taken && !e.Linking {
		return IssuedEmailChange{
			Code: IssuedCode{ChallengeID: e.ID, Masked: account.MaskEmail(e.NewEmail), FlowExpiresAt: e.ExpiresAt}, Taken: true,
		}, nil
	}
	n := store.NewChallenge{
		ID: e.ID, Purpose: account.PurposeEmailChange, Subject: a.Keys.Subject(string(account.PurposeEmailChange), e.NewEmail),
		AccountID: &e.AccountID, Channel: account.ChannelEmail, Destination: e.NewEmail, CodeTTL: a.Policy.CodeTTL, LinkTTL: a.Policy.LinkTTL,
	}
	if e.Linking {
		// Whoever proves it is signed in: the account is known, and the address need not be.
		n.Purpose, n.Subject = account.PurposeEmailLink, a.Keys.Subject(string(account.PurposeEmailLink), e.AccountID.String())
		n.LinkTTL = 0
	}
	ch, err := a.Store.IssueChallenge(ctx, n)
	return IssuedEmailChange{Code: a.issued(ch, e.ExpiresAt), Taken: e.Taken, Linking: e.Linking}, err
}

// noCode is what no client can enter: it is too short.
const noCode = "taken"

// EmailChanged is the account whose address was changed.
type EmailChanged struct {
	AccountID uuid.UUID
}

// ChangeEmail gives an account the address that a proven challenge proves. It returns account.ErrInvalidCode, also when
// somebody else got the address first.
func (a *Activities) ChangeEmail(ctx context.Context, in ChallengeInput) (EmailChanged, error) {
	r, err := a.Store.ChangeEmail(ctx, in.ChallengeID, EmailChangeNotice(uuid.Nil, in.ChallengeID), a.Policy.ClosureGrace)
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

// SendEmailChangeMail tells one of the two addresses of a change about it. A change that is forgotten gets no mail. Of an account
// that is closed meanwhile the former address is told all the same: a closure is the next thing that a thief does.
func (a *Activities) SendEmailChangeMail(ctx context.Context, in EmailChangeMailInput) (Delivered, error) {
	e, err := a.Store.EmailChange(ctx, in.ChangeID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	to, err := a.Store.PersonOf(ctx, e.AccountID)
	closed := errors.Is(err, account.ErrNotFound)
	if closed && !in.Old {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil && !closed {
		return Delivered{}, err
	}
	out := outgoing{
		channel: account.ChannelEmail, flow: flowOf(ctx),
		step: in.Template + "/new/" + e.ID.String(), template: in.Template, to: e.NewEmail,
		data:    templates.Data{Name: to.Name, Username: to.Username, Address: account.MaskEmail(e.NewEmail)},
		account: e.AccountID, recipe: recipe{sendsEmailChangeMail, in},
	}
	if in.Old {
		out.to, out.step = e.OldEmail, in.Template+"/old/"+e.ID.String()
		if in.Template == templates.EmailChanged {
			out.notice = EmailChangeNotice(e.AccountID, e.ID).ID
			if out.flow == out.notice && !resent(ctx) {
				out.flow = EmailFlow(e.AccountID, e.Linking)
			}
		}
	}
	if out.to == "" {
		return Delivered{State: DeliveryExpired}, nil // the account had no address
	}
	if e.Taken && !in.Old {
		if err := a.seemToSend(ctx, e); err != nil {
			return Delivered{}, err
		}
		out.data = templates.Data{} // a stranger's names are nothing to the owner of the address
	}
	state, err := a.send(ctx, out)
	return Delivered{State: state}, err
}

// seemToSend gives the challenge of a taken address a code that nobody can enter, at the moment when another one gets its
// own: wrong codes are then answered alike, and tell nobody that the address is taken.
func (a *Activities) seemToSend(ctx context.Context, e account.EmailChange) error {
	if !e.Linking {
		return nil
	}
	_, err := a.Store.StoreCode(ctx, e.ID, a.Keys.CodeHash(e.ID, noCode), nil)
	if errors.Is(err, account.ErrNotFound) {
		err = nil // it is over already
	}
	return err
}

// ForgetEmailChange removes a change of email that is over, with its code and link.
func (a *Activities) ForgetEmailChange(ctx context.Context, in EmailChangeInput) error {
	return a.Store.ForgetEmailChange(ctx, in.ChangeID)
}
