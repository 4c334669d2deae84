package activities

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// proofMargin is how much longer than its code or link a flow waits, so that one used in its last second still does.
const proofMargin = time.Minute

// IssueResetInput names the account whose password is to be set anew and the challenge to make.
type IssueResetInput struct {
	AccountID   uuid.UUID
	ChallengeID uuid.UUID
}

// IssueReset makes the challenge of a password reset, in place of its former one. For an account that does not exist it
// makes none and returns zero: whoever asks must not see a difference.
func (a *Activities) IssueReset(ctx context.Context, in IssueResetInput) (IssuedCode, error) {
	to, err := a.Store.RecipientOf(ctx, in.AccountID)
	if err == nil {
		// The address may have changed since somebody asked: the new one gets no link before it is old enough, either.
		var owner uuid.UUID
		owner, err = a.Store.RecoverableAccount(ctx, to.Email, a.Policy.RecoveryAge)
		if err == nil && owner != in.AccountID {
			err = account.ErrNotFound
		}
	}
	if errors.Is(err, account.ErrNotFound) {
		return IssuedCode{}, nil
	}
	if err != nil {
		return IssuedCode{}, err
	}
	ch, err := a.Store.IssueChallenge(ctx, store.NewChallenge{
		ID: in.ChallengeID, Purpose: account.PurposeReset, Subject: a.Keys.Subject(string(account.PurposeReset), to.Email),
		AccountID: &in.AccountID, Channel: account.ChannelEmail, Destination: to.Email,
		CodeTTL: a.Policy.ResetTTL, LinkTTL: a.Policy.ResetTTL,
	})
	return a.issued(ch, ch.CodeExpiresAt.Add(proofMargin)), err
}

// SendResetLink stores the keyed hash of a challenge's link and mails the link. As with SendCode every retry sends the same
// one, and its life counts from the provider's acceptance. A provider that cannot be reached gives account.ErrUnavailable.
func (a *Activities) SendResetLink(ctx context.Context, in ChallengeInput) (Delivered, error) {
	flow, step := flowOf(ctx), "link/"+in.ChallengeID.String()
	token := a.Keys.LinkToken(in.ChallengeID)
	// There is no code to guess.
	ch, err := a.Store.StoreCode(ctx, in.ChallengeID, nil, a.Keys.TokenHash("reset", token))
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, a.Store.MessageFailed(ctx, flow, step, store.MessageExpired, "expired")
	}
	if err != nil {
		return Delivered{}, err
	}
	to, err := a.Store.RecipientOf(ctx, *ch.AccountID)
	if err != nil {
		return Delivered{}, gone(err)
	}
	state, err := a.send(ctx, outgoing{
		channel: account.ChannelEmail, flow: flow, step: step, template: templates.PasswordResetLink, to: ch.Destination,
		data:    templates.Data{Name: to.Name, Link: link(a.ResetURL, token), Minutes: int(math.Ceil(a.Policy.ResetTTL.Minutes()))},
		account: *ch.AccountID, recipe: recipe{sendsResetLink, in},
	})
	if err != nil || state != DeliverySent {
		return Delivered{State: state}, err
	}
	expires, err := a.Store.MarkCodeSent(ctx, in.ChallengeID, a.Policy.ResetTTL, a.Policy.ResetTTL)
	return Delivered{State: DeliverySent, CodeExpiresAt: expires.Add(proofMargin)}, err
}

// ResetPassword sets the password that was parked with a proven challenge, in one transaction with everything that ends
// with the old one. It returns account.ErrInvalidCode.
func (a *Activities) ResetPassword(ctx context.Context, in ChallengeInput) (Confirmed, error) {
	r, err := a.Store.ResetPassword(ctx, in.ChallengeID, a.bonus(), PasswordResetNotice(uuid.Nil, in.ChallengeID))
	return Confirmed{AccountID: r.AccountID, CreditsAwarded: r.CreditsAwarded}, err
}
