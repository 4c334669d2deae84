package activities

import (
	"cmp"
	"context"
	"errors"
	"math"
	"net/url"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"gatehouse/account"
	"gatehouse/providers"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// DeliveryState is how the sending of a message ended.
type DeliveryState string

// The ends of a delivery. A dead message was refused for good; an expired one had lost its point before it could go out.
const (
	DeliverySent    DeliveryState = "sent"
	DeliveryDead    DeliveryState = "dead"
	DeliveryExpired DeliveryState = "expired"
)

// SendCodeInput names the challenge whose code is to be sent, the template to use, and the channel where it is not the
// challenge's own.
type SendCodeInput struct {
	ChallengeID uuid.UUID
	Template    string
	Channel     account.Channel `json:",omitzero"`
}

// step is the step of the flow that a code is sent in: one for each channel.
func (in SendCodeInput) step(channel account.Channel) string {
	if channel == "" || channel == account.ChannelEmail {
		return "code/" + in.ChallengeID.String()
	}
	return "code/" + in.ChallengeID.String() + "/" + string(channel)
}

// Delivered is how a delivery ended, and for a code when it expires.
type Delivered struct {
	State         DeliveryState
	CodeExpiresAt time.Time `json:",omitzero"`
}

// SendCode stores the keyed hash of a challenge's code and sends the code. The code is derived from the challenge, so
// every retry sends the same digits and there is never more than one live code; its life counts from the provider's
// acceptance, whichever channel it is. A provider that cannot be reached gives account.ErrUnavailable, and is tried again.
func (a *Activities) SendCode(ctx context.Context, in SendCodeInput) (Delivered, error) {
	flow, step := flowOf(ctx), in.step(in.Channel)
	code, token := a.Keys.Code(in.ChallengeID), a.Keys.LinkToken(in.ChallengeID)
	ch, err := a.Store.StoreCode(ctx, in.ChallengeID, a.Keys.CodeHash(in.ChallengeID, code), a.Keys.TokenHash("link", token))
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, a.Store.MessageFailed(ctx, flow, step, store.MessageExpired, "expired")
	}
	if err != nil {
		return Delivered{}, err
	}
	channel := cmp.Or(in.Channel, ch.Channel)
	step = in.step(channel)
	data := templates.Data{Code: code, Minutes: int(math.Ceil(a.Policy.CodeTTL.Minutes()))}
	if ch.LinkExpiresAt != nil {
		data.Link, data.LinkHours = link(a.confirmPage(ch.Purpose), token), int(math.Ceil(a.Policy.LinkTTL.Hours()))
	}
	if ch.AccountID != nil && channel == account.ChannelEmail {
		to, err := a.Store.PersonOf(ctx, *ch.AccountID)
		if err != nil {
			return Delivered{}, gone(err)
		}
		data.Name, data.Username = to.Name, to.Username
	}
	state, err := a.send(ctx, outgoing{
		channel: channel, flow: flow, step: step, template: in.Template, to: ch.Destination, data: data,
		account: owner(ch), recipe: recipe{sendsCode, SendCodeInput{ChallengeID: in.ChallengeID, Template: in.Template, Channel: channel}},
	})
	if err != nil || state != DeliverySent {
		return Delivered{State: state}, err
	}
	if channel != account.ChannelEmail {
		if err := a.Store.DropQueued(ctx, flow, in.step("")+"/"); err != nil {
			return Delivered{}, err
		}
	}
	expires, err := a.Store.MarkCodeSent(ctx, in.ChallengeID, a.Policy.CodeTTL, a.Policy.LinkTTL)
	return Delivered{State: DeliverySent, CodeExpiresAt: expires}, err
}

// SendMailInput names the account to write to, the template, and the step of the flow that the mail belongs to.
type SendMailInput struct {
	AccountID uuid.UUID
	Step      string
	Template  string
	// Challenge is the reset whose disabled API keys the mail names; the zero id names none.
	Challenge uuid.UUID `json:",omitzero"`
	// Notice is the id of the owed notice that the mail is, if that is not its flow's.
	Notice string `json:",omitempty"`
}

// SendMail sends a mail about an account to its address. An account that is gone gets none.
func (a *Activities) SendMail(ctx context.Context, in SendMailInput) (Delivered, error) {
	to, err := a.Store.RecipientOf(ctx, in.AccountID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	flow := flowOf(ctx)
	if link, told := linkOf(flow); told && !resent(ctx) {
		flow, in.Step, in.Notice = ProviderLinkFlow(a.Keys, link), LinkedStep, flow
	}
	data := templates.Data{Name: to.Name, Username: to.Username}
	if in.Challenge != uuid.Nil {
		if data.Keys, err = a.Store.KeysEndedBy(ctx, in.Challenge); err != nil {
			return Delivered{}, err
		}
	}
	state, err := a.send(ctx, outgoing{
		channel: account.ChannelEmail, flow: flow, step: in.Step, template: in.Template, to: to.Email,
		data: data, account: in.AccountID, recipe: recipe{sendsMail, in}, notice: in.Notice,
	})
	return Delivered{State: state}, err
}

// SendSMS sends an account's notice to its verified number. An account without one gets none.
func (a *Activities) SendSMS(ctx context.Context, in SendMailInput) (Delivered, error) {
	to, err := a.Store.VerifiedPhone(ctx, in.AccountID)
	if errors.Is(err, account.ErrNotFound) {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	state, err := a.send(ctx, outgoing{
		channel: account.ChannelSMS, flow: flowOf(ctx), step: in.Step, template: in.Template, to: to,
		account: in.AccountID, recipe: recipe{sendsSMS, in},
	})
	return Delivered{State: state}, err
}

// outgoing is a message about to be rendered.
type outgoing struct {
	channel                  account.Channel
	flow, step, template, to string
	data                     templates.Data
	// account is whom it is about, the zero id while there is no account.
	account uuid.UUID
	// recipe is how it is sent once more.
	recipe recipe
	// notice is the id of the owed notice that it is, if that is not its flow's.
	notice string
	// gone, where there is something to do then, is called for a recipient that does not exist any more.
	gone func(context.Context) error
}

// begun is the row of the message before it is handed over.
func (o outgoing) begun(ctx context.Context, again store.Recipe) store.NewMessage {
	m := store.NewMessage{
		Flow: o.flow, Step: o.step, Template: o.template, Channel: o.channel, Destination: o.to, AccountID: o.account, Recipe: again,
		Notice: o.notice, Again: resent(ctx),
	}
	if o.channel.Paid() {
		m.MostUnanswered = account.MostUnansweredTexts
	}
	return m
}

func (a *Activities) send(ctx context.Context, o outgoing) (DeliveryState, error) {
	subject, text, html, err := o.render()
	if err != nil {
		return "", err
	}
	again, err := o.recipe.stored()
	if err != nil {
		return "", err
	}
	id, sent, err := a.Store.BeginMessage(ctx, o.begun(ctx, again))
	if errors.Is(err, store.ErrGivenUp) {
		return DeliveryDead, nil
	}
	if errors.Is(err, store.ErrUnanswered) {
		a.Log.WarnContext(ctx, "message given up: no answer, too often", "message", id, "template", o.template, "channel", o.channel)
		return DeliveryDead, nil
	}
	if err != nil || sent {
		return DeliverySent, err
	}
	receipt, err := a.sender(o.channel).Send(ctx, providers.Message{
		ID: id, Channel: o.channel, To: o.to, Template: o.template, Subject: subject, Text: text, HTML: html,
		Code: o.data.Code, IdempotencyKey: id.String(),
	})
	a.tried(o.channel, err)
	switch {
	case providers.IsPermanent(err):
		if o.gone != nil && providers.IsGone(err) {
			if err := o.gone(ctx); err != nil {
				return "", err
			}
		}
		a.Log.WarnContext(ctx, "message refused for good", "message", id, "template", o.template, "error", err)
		return DeliveryDead, a.Store.MessageFailed(ctx, o.flow, o.step, store.MessageDead, err.Error())
	case err != nil:
		pause, delayed := providers.RetryAfter(err), a.Store.MessageDelayed
		if providers.IsUnanswered(err) {
			delayed = a.Store.MessageUnanswered
		}
		if err := delayed(ctx, id, err.Error(), nextRetry(activity.GetInfo(ctx), a.Clock.Now(), pause)); err != nil {
			return "", err
		}
		return "", account.ErrUnavailable.Because(err).After(pause)
	}
	return DeliverySent, a.Store.MessageSent(ctx, id, receipt.Provider, receipt.ProviderID)
}

// owner is the account of a challenge, the zero id while there is none.
func owner(ch account.Challenge) uuid.UUID {
	if ch.AccountID == nil {
		return uuid.Nil
	}
	return *ch.AccountID
}

func (a *Activities) tried(channel account.Channel, err error) {
	switch {
	case a.Meter == nil:
	case err == nil:
		a.Meter.Tried(channel, account.SendSent)
	case providers.IsPermanent(err):
		a.Meter.Tried(channel, account.SendDead)
	default:
		a.Meter.Tried(channel, account.SendFailed)
	}
}

func (a *Activities) sender(channel account.Channel) providers.Sender {
	switch channel {
	case account.ChannelSMS, account.ChannelWhatsApp:
		return a.Phones
	case account.ChannelPush:
		return a.Push
	case account.ChannelEmail:
	}
	return a.Mail
}

// confirmPage is the page of a code's link. One that does not confirm a sign-up says what it does: to its reader alone, the token
// is good for what it is good for.
func (a *Activities) confirmPage(purpose account.Purpose) string {
	if purpose == account.PurposeEmailChange {
		return with(a.ConfirmURL, "for", string(purpose))
	}
	return a.ConfirmURL
}

func link(page, token string) string { return with(page, "token", token) }

// with is a page with one more parameter.
func with(page, name, value string) string {
	u, err := url.Parse(page)
	if err != nil {
		return page + "?" + name + "=" + value
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}
