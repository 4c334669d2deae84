package activities

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/providers/templates"
)

// PushTargetsInput names the account whose devices are to be told something.
type PushTargetsInput struct {
	AccountID uuid.UUID
}

// PushTargets returns the ids of the push tokens that a notice to an account goes to: none where no provider is set.
func (a *Activities) PushTargets(ctx context.Context, in PushTargetsInput) ([]uuid.UUID, error) {
	if a.Push == nil {
		return nil, nil
	}
	return a.Store.PushTargets(ctx, in.AccountID)
}

// SendPushInput names the push token to send to, the template whose subject is told, and the step of the flow.
type SendPushInput struct {
	TokenID  uuid.UUID
	Step     string
	Template string
}

// SendPush tells a device what a mail tells at length: its subject. A device that was signed out or silenced meanwhile is
// told nothing, and a token that its push service no longer knows is forgotten.
func (a *Activities) SendPush(ctx context.Context, in SendPushInput) (Delivered, error) {
	target, err := a.Store.PushTarget(ctx, in.TokenID)
	if errors.Is(err, account.ErrNotFound) || a.Push == nil {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	token, err := a.Keys.OpenPushToken(target.Hash, target.Sealed)
	if err != nil {
		return Delivered{}, err
	}
	state, err := a.send(ctx, outgoing{
		channel: account.ChannelPush, flow: flowOf(ctx), step: in.Step + "/" + in.TokenID.String(),
		template: in.Template, to: token, account: target.AccountID, recipe: recipe{sendsPush, in},
		gone: func(ctx context.Context) error { return a.Store.RemovePushToken(ctx, in.TokenID) },
	})
	return Delivered{State: state}, err
}

// render puts a message into words: for a device its subject, and what to do.
func (o outgoing) render() (subject, text, html string, err error) {
	subject, text, html, err = templates.Render(o.template, o.data)
	if err != nil || o.channel != account.ChannelPush {
		return subject, text, html, err
	}
	_, text, _, err = templates.Render(templates.PushNotice, o.data)
	return subject, text, "", err
}
