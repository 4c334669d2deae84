package activities

import (
	"cmp"
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// ClosureInput names an account, its closure, and the session that asked for it; older flows do not say which.
type ClosureInput struct {
	AccountID uuid.UUID
	ClosureID uuid.UUID
	SessionID *uuid.UUID `json:",omitempty"`
}

// ReopenInput is the closure to undo, the request that undoes it, for its repetitions, nil where it cannot be repeated, and the
// address whose link it has followed (store.ClosedRecipient).
type ReopenInput struct {
	ClosureInput
	UndoneBy []byte `json:",omitempty"`
	Former   int    `json:",omitempty"`
}

// Closed tells until when a closed account can be opened again.
type Closed struct {
	EraseAt time.Time
}

// CloseAccount closes an account, in one transaction: nothing opens it from then on (C01). It returns
// account.ErrUnauthorized when the account is gone already, or the session that asked.
func (a *Activities) CloseAccount(ctx context.Context, in ClosureInput) (Closed, error) {
	eraseAt, err := a.Store.CloseAccount(ctx, store.NewClosure{
		ID: in.ClosureID, AccountID: in.AccountID, SessionID: in.SessionID, Grace: a.Policy.ClosureGrace,
		TokenHash: a.Keys.TokenHash("undo", a.Keys.LinkToken(in.ClosureID)),
	})
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrUnauthorized.Because(err)
	}
	return Closed{EraseAt: eraseAt}, err
}

// Reopened is empty: the account is what it was.
type Reopened struct{}

// ReopenAccount undoes a closure, in one transaction. It returns account.ErrEmailExists, and account.ErrInvalidToken
// when the term of grace is over.
func (a *Activities) ReopenAccount(ctx context.Context, in ReopenInput) (Reopened, error) {
	err := a.Store.InTx(ctx, func(ctx context.Context, tx *store.Store) error {
		err := tx.ReopenAccount(ctx, store.Undo{
			ClosureID: in.ClosureID, By: in.UndoneBy, Former: in.Former, Told: EmailChangeNotice(in.AccountID, in.ClosureID),
		})
		if err != nil {
			return err
		}
		return a.owe(ctx, tx, in.AccountID, templates.AccountReopened, in.ClosureID.String())
	})
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrInvalidToken.Because(err)
	}
	return Reopened{}, err
}

// EraseAccount removes the personal data of a closed account whose term is over.
func (a *Activities) EraseAccount(ctx context.Context, in ClosureInput) (Left, error) {
	wait, err := a.Store.EraseAccount(ctx, in.ClosureID)
	return Left{Wait: wait}, err
}

// ClosureMailInput names a closure and the template that tells of it.
type ClosureMailInput struct {
	ClosureID uuid.UUID
	Template  string
	// Only is the one address to write to, by its number (store.ClosedRecipient); nil writes to all.
	Only *int `json:",omitempty"`
}

// ClosureMails is how many addresses are told of one closure at most: the account's own and three former ones
// (store.ClosedRecipients).
const ClosureMails = 1 + store.MostFormer

// closureMailTime is what one of them may take: longer than a provider does, and so much less than an attempt at one mail
// (workflows) that the rows of all fit in.
const closureMailTime = 12 * time.Second

var errStopping = errors.New("the worker stops")

// SendClosureMail sends a mail about a closure to the address that the account had, and to those that were taken from it lately,
// with the undo link while it works: who closes a stolen account has often put another address there before. A closure that is
// undone or erased gets none, and neither does an address that nobody has proven. A mail that cannot be sent keeps none of the
// others. A worker that stops begins no further one: it may have no time left for it.
func (a *Activities) SendClosureMail(ctx context.Context, in ClosureMailInput) (Delivered, error) {
	all, left, err := a.Store.ClosedRecipients(ctx, in.ClosureID)
	if errors.Is(err, account.ErrNotFound) || err == nil && in.Template == templates.AccountClosed && left == 0 {
		return Delivered{State: DeliveryExpired}, nil
	}
	if err != nil {
		return Delivered{}, err
	}
	out := Delivered{State: DeliveryExpired}
	var failed error
	for _, to := range all {
		if in.Only != nil && *in.Only != to.Former {
			continue
		}
		if stopping(ctx) {
			return Delivered{}, cmp.Or(failed, error(account.ErrUnavailable.Because(errStopping)))
		}
		state, err := a.sendClosureMail(ctx, in, to, left)
		failed = cmp.Or(failed, err)
		if out.State != DeliverySent && err == nil {
			out.State = state
		}
	}
	return out, failed
}

func stopping(ctx context.Context) bool {
	select {
	case <-activity.GetWorkerStopChannel(ctx):
		return true
	default:
		return false
	}
}

// sendClosureMail is SendClosureMail to one address. One that hangs leaves the others their time.
func (a *Activities) sendClosureMail(
	ctx context.Context, in ClosureMailInput, to store.ClosedRecipient, left time.Duration,
) (DeliveryState, error) {
	ctx, cancel := context.WithTimeout(ctx, closureMailTime)
	defer cancel()
	template, step := in.Template, in.Template+"/"+in.ClosureID.String()
	if to.Former > 0 {
		step += "/former/" + strconv.Itoa(to.Former)
	}
	data := templates.Data{Name: to.Name, Username: to.Username}
	if template == templates.AccountClosed {
		data.Link, data.LinkHours = link(a.UndoURL, a.Keys.UndoToken(in.ClosureID, to.Former)), int(math.Ceil(left.Hours()))
		if to.Former > 0 {
			template = templates.AccountClosedFormer
		}
	}
	in.Only = &to.Former
	return a.send(ctx, outgoing{
		flow: flowOf(ctx), step: step, channel: account.ChannelEmail, template: template, to: to.Email, data: data,
		account: to.AccountID, recipe: recipe{sendsClosureMail, in},
	})
}
