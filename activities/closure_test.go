package activities_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/testkit"
	"gatehouse/providers"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// member is a verified account, with its welcome bonus.
func (b *bench) member(t *testing.T) activities.SignedUp {
	t.Helper()
	_, challenge := b.pending(t)
	_, err := b.sendCode(challenge)
	require.NoError(t, err)
	b.prove(t, challenge)
	signed, err := run[activities.SignedUp](b, b.CompleteSignup, activities.ChallengeInput{ChallengeID: challenge})
	require.NoError(t, err)
	return signed
}

// mailed sends a mail about a closure and returns what went out, if anything did.
func (b *bench) mailed(t *testing.T, closure uuid.UUID, template string) (activities.DeliveryState, string) {
	t.Helper()
	before := len(b.post.messages())
	sent := twice[activities.Delivered](t, b, b.SendClosureMail, activities.ClosureMailInput{ClosureID: closure, Template: template})
	out := b.post.messages()[before:]
	require.LessOrEqual(t, len(out), 1, "a repeated step sends once")
	if len(out) == 0 {
		return sent.State, ""
	}
	require.Equal(t, ada, out[0].To)
	return sent.State, out[0].Text
}

// owed are the templates of the notices that wait to be started.
func (b *bench) owed(t *testing.T) (names []string) {
	t.Helper()
	notices, err := b.Store.OwedNotices(t.Context(), 0, 10)
	require.NoError(t, err)
	for _, n := range notices {
		names = append(names, n.Template)
	}
	return names
}

func TestClosureUndone(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.ClosureGrace, b.UndoURL = 50*time.Hour+time.Minute, "https://gatehouse.example/undo"
	owner := b.member(t)
	in := activities.ClosureInput{AccountID: owner.AccountID, ClosureID: uuid.New()}
	closed := twice[activities.Closed](t, b, b.CloseAccount, in)
	require.WithinDuration(t, time.Now().Add(b.Policy.ClosureGrace), closed.EraseAt, time.Minute)
	_, err := run[activities.Closed](b, b.CloseAccount, activities.ClosureInput{AccountID: owner.AccountID, ClosureID: uuid.New()})
	require.ErrorIs(t, err, account.ErrUnauthorized, "closed already, by another")
	_, err = b.Store.PrincipalBySession(t.Context(), owner.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)

	state, text := b.mailed(t, in.ClosureID, templates.AccountClosed)
	require.Equal(t, activities.DeliverySent, state)
	require.Contains(t, text, "51 hours", "never less than it works")
	_, token, found := strings.Cut(text, "https://gatehouse.example/undo?token=")
	require.True(t, found, text)
	token, _, _ = strings.Cut(token, "\n")
	undone, err := b.Store.ClosureByToken(t.Context(), b.Keys.TokenHash("undo", token))
	require.NoError(t, err, "the mailed link is the closure's")
	require.Equal(t, in.ClosureID, undone.ID)

	left, err := run[activities.Left](b, b.EraseAccount, in)
	require.NoError(t, err)
	require.InDelta(t, 50, left.Wait.Hours(), 1, "nothing is erased before its time")
	twice[activities.Reopened](t, b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
	require.Equal(t, []string{templates.AccountReopened}, b.owed(t))
	_, err = b.Store.OwnerOf(t.Context(), ada)
	require.NoError(t, err)
	state, text = b.mailed(t, in.ClosureID, templates.AccountErased)
	require.Equal(t, activities.DeliveryExpired, state)
	require.Empty(t, text, "an open account is not told that it is erased")
	require.Zero(t, twice[activities.Left](t, b, b.EraseAccount, in).Wait)
	_, err = b.Store.OwnerOf(t.Context(), ada)
	require.NoError(t, err, "an undone closure erases nothing")
}

func TestClosureErased(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.UndoURL = "https://gatehouse.example/undo" // and no grace at all
	owner := b.member(t)
	in := activities.ClosureInput{AccountID: owner.AccountID, ClosureID: uuid.New()}
	twice[activities.Closed](t, b, b.CloseAccount, in)
	state, _ := b.mailed(t, in.ClosureID, templates.AccountClosed)
	require.Equal(t, activities.DeliveryExpired, state, "a link that no longer works is not sent")
	_, err := run[activities.Reopened](b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
	require.ErrorIs(t, err, account.ErrInvalidToken, "too late")
	state, text := b.mailed(t, in.ClosureID, templates.AccountErased)
	require.Equal(t, activities.DeliverySent, state)
	require.NotContains(t, text, "token=")
	require.Zero(t, twice[activities.Left](t, b, b.EraseAccount, in).Wait)
	_, err = b.Store.RecipientOf(t.Context(), owner.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = run[activities.Reopened](b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
	require.ErrorIs(t, err, account.ErrInvalidToken)
	_, err = run[activities.Reopened](b, b.ReopenAccount, activities.ReopenInput{ClosureInput: activities.ClosureInput{AccountID: owner.AccountID, ClosureID: uuid.New()}})
	require.ErrorIs(t, err, account.ErrInvalidToken, "nobody knows such a closure")
}

// What somebody else took meanwhile stays theirs; nobody who never proved an address is written to.
func TestClosureOfATakenOrUnprovenAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.ClosureGrace, b.UndoURL = time.Hour, "https://gatehouse.example/undo"
	owner := b.member(t)
	in := activities.ClosureInput{AccountID: owner.AccountID, ClosureID: uuid.New()}
	twice[activities.Closed](t, b, b.CloseAccount, in)
	newcomer, err := b.Store.Register(t.Context(), store.Registration{Attempt: b.park(t, account.SignupByRegister, ada, time.Hour), SessionTTL: time.Hour})
	require.NoError(t, err)
	theirs := activities.ClosureInput{AccountID: newcomer.AccountID, ClosureID: uuid.New()}
	twice[activities.Closed](t, b, b.CloseAccount, theirs)
	for _, template := range []string{templates.AccountClosed, templates.AccountErased} {
		state, text := b.mailed(t, theirs.ClosureID, template)
		require.Equal(t, activities.DeliveryExpired, state)
		require.Empty(t, text)
	}
	holder := activities.ClosureInput{AccountID: b.member(t).AccountID, ClosureID: uuid.New()}
	_, err = run[activities.Reopened](b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
	require.ErrorIs(t, err, account.ErrEmailExists)
	twice[activities.Closed](t, b, b.CloseAccount, holder)
	twice[activities.Reopened](t, b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
}

func TestClosureMailIsTriedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.Policy.ClosureGrace, b.UndoURL = time.Hour, "https://gatehouse.example/undo"
	in := activities.ClosureInput{AccountID: b.member(t).AccountID, ClosureID: uuid.New()}
	twice[activities.Closed](t, b, b.CloseAccount, in)
	b.post.fault = func() error { return account.ErrUnavailable }
	_, err := run[activities.Delivered](b, b.SendClosureMail, activities.ClosureMailInput{ClosureID: in.ClosureID, Template: templates.AccountClosed})
	require.ErrorIs(t, err, account.ErrUnavailable)
	b.post.fault = nil
	state, text := b.mailed(t, in.ClosureID, templates.AccountClosed)
	require.Equal(t, activities.DeliverySent, state)
	require.Contains(t, text, "1 hour")
}

// formerly is a verified account whose address was taken from it, and which is closed then.
func (b *bench) formerly(t *testing.T, next string) activities.ClosureInput {
	t.Helper()
	b.Policy.ClosureGrace, b.UndoURL = 50*time.Hour, "https://gatehouse.example/undo"
	owner, change := b.moving(t, false)
	if next == "" {
		_, err := b.Store.LinkProvider(t.Context(), owner, account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "1", Type: "oauth"})
		require.NoError(t, err)
		require.NoError(t, b.Store.UnlinkEmail(t.Context(), uuid.New(), owner, time.Hour, b.Policy.ClosureGrace))
	} else {
		_, err := run[activities.IssuedEmailChange](b, b.IssueEmailChange, activities.EmailChangeInput{ChangeID: change})
		require.NoError(t, err)
		b.prove(t, change)
		_, err = run[activities.EmailChanged](b, b.ChangeEmail, activities.ChallengeInput{ChallengeID: change})
		require.NoError(t, err)
	}
	in := activities.ClosureInput{AccountID: owner, ClosureID: uuid.New()}
	closed := twice[activities.Closed](t, b, b.CloseAccount, in)
	require.WithinDuration(t, time.Now().Add(b.Policy.ClosureGrace), closed.EraseAt, time.Minute)
	return in
}

// to are the addresses that messages went to.
func to(messages []providers.Message) (addresses []string) {
	for _, m := range messages {
		addresses = append(addresses, m.To)
	}
	return addresses
}

// The undo goes to the address that the account has lost lately, alone or beside the one that took its place.
func TestClosureMail_ToTheFormerAddress(t *testing.T) {
	t.Parallel()
	for next, want := range map[string][]string{"": {ada}, adasNext: {ada, adasNext}} {
		t.Run(next, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			in := b.formerly(t, next)
			for _, template := range []string{templates.AccountClosed, templates.AccountErased} {
				before := len(b.post.messages())
				mail := activities.ClosureMailInput{ClosureID: in.ClosureID, Template: template}
				require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendClosureMail, mail).State)
				out := b.post.messages()[before:]
				require.Equal(t, want, to(out), "each once")
				if template == templates.AccountErased {
					continue
				}
				require.Contains(t, out[0].Text, b.UndoURL+"?token="+b.Keys.UndoToken(in.ClosureID, 1)+"\n")
				if next != "" {
					require.Contains(t, out[1].Text, b.UndoURL+"?token="+b.Keys.LinkToken(in.ClosureID)+"\n")
				}
				require.Equal(t, templates.AccountClosedFormer, out[0].Template)
				require.Contains(t, out[0].Text, "until lately")
			}
			twice[activities.Reopened](t, b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
		})
	}
}

// The link of the former address opens an account whose last address is somebody else's by now, and that one is told.
func TestReopenAccount_ByTheFormerAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.formerly(t, adasNext)
	before := len(b.owed(t))
	thief, err := b.Store.SignInByProvider(t.Context(), store.ProviderSignIn{
		Link: account.LinkedProvider{Provider: account.ProviderGoogle, Subject: "thief", Type: "oauth"}, Email: adasNext, Vouched: true,
		Session: store.NewSession{ID: uuid.New(), Method: "google", TTL: time.Hour},
	})
	require.NoError(t, err)
	_, err = run[activities.Reopened](b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in})
	require.ErrorIs(t, err, account.ErrEmailExists)
	twice[activities.Reopened](t, b, b.ReopenAccount, activities.ReopenInput{ClosureInput: in, Former: 1})
	require.ElementsMatch(t, []string{templates.AccountReopened, templates.EmailChanged}, b.owed(t)[before:])
	owner, err := b.Store.OwnerOf(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, in.AccountID, owner.AccountID)
	owner, err = b.Store.OwnerOf(t.Context(), adasNext)
	require.NoError(t, err)
	require.Equal(t, thief.AccountID, owner.AccountID)

	sent := len(b.post.messages())
	mail := activities.EmailChangeMailInput{ChangeID: in.ClosureID, Template: templates.EmailChanged, Old: true}
	require.Equal(t, activities.DeliverySent, twice[activities.Delivered](t, b, b.SendEmailChangeMail, mail).State)
	require.Equal(t, []string{adasNext}, to(b.post.messages()[sent:]))
}

// A mailbox that cannot be reached keeps the mail from no other, and what was given up is sent again by itself.
func TestClosureMail_OneOfTwoFails(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in := b.formerly(t, adasNext)
	mail := activities.ClosureMailInput{ClosureID: in.ClosureID, Template: templates.AccountClosed}
	before := len(b.post.messages())
	calls := 0
	b.post.fault = func() error {
		if calls++; calls == 1 {
			return account.ErrUnavailable
		}
		return nil
	}
	_, err := run[activities.Delivered](b, b.SendClosureMail, mail)
	require.ErrorIs(t, err, account.ErrUnavailable)
	b.post.fault = func() error { return providers.Permanent(errors.New("550 no such mailbox")) }
	sent, err := run[activities.Delivered](b, b.SendClosureMail, mail)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Equal(t, []string{ada, adasNext, ada}, to(b.post.messages()[before:]))

	b.post.fault = nil
	dead, err := b.Store.Messages(t.Context(), store.MessageFilter{State: "dead", Limit: 2})
	require.NoError(t, err)
	require.Len(t, dead, 1)
	testkit.Change(t, b.url, `UPDATE messages SET flow = 'another/flow' WHERE state = 'dead'`)
	sent, err = b.resend(dead[0].ID)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Equal(t, []string{ada}, to(b.post.messages()[before+3:]))
}

// A mailbox that refuses for good is written to once, however often another one has to be tried.
func TestClosureMail_RefusedAddressIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, template := range []string{templates.AccountClosed, templates.AccountErased} {
		t.Run(template, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			mail := activities.ClosureMailInput{ClosureID: b.formerly(t, adasNext).ClosureID, Template: template}
			before := len(b.post.messages())
			b.post.fault = func() error {
				if b.post.taken[len(b.post.taken)-1].To == ada {
					return providers.Permanent(errors.New("550 no such mailbox"))
				}
				return providers.Temporary(errors.New("452 later"), 0)
			}
			for range 3 {
				_, err := run[activities.Delivered](b, b.SendClosureMail, mail)
				require.ErrorIs(t, err, account.ErrUnavailable)
			}
			require.Equal(t, []string{ada, adasNext, adasNext, adasNext}, to(b.post.messages()[before:]))
			b.post.fault = nil
			sent, err := run[activities.Delivered](b, b.SendClosureMail, mail)
			require.NoError(t, err)
			require.Equal(t, activities.DeliverySent, sent.State)
			require.Equal(t, []string{adasNext}, to(b.post.messages()[before+4:]))
		})
	}
}

// watched is a post that notes until when each mail may take.
type watched struct {
	*post
	until []time.Time
}

func (w *watched) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	until, _ := ctx.Deadline()
	w.until = append(w.until, until)
	return w.post.Send(ctx, m)
}

// An address whose mail hangs takes nothing of the time that the next one has.
func TestClosureMail_EachAddressHasItsTime(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mail := activities.ClosureMailInput{ClosureID: b.formerly(t, adasNext).ClosureID, Template: templates.AccountClosed}
	post := &watched{post: b.post}
	b.Mail = post
	b.post.fault = func() error { return providers.Temporary(context.DeadlineExceeded, 0) }
	began := time.Now()
	_, err := run[activities.Delivered](b, b.SendClosureMail, mail)
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Len(t, post.until, 2)
	require.True(t, post.until[1].After(post.until[0]), "a time of its own")
	require.WithinRange(t, post.until[0], began.Add(11*time.Second), began.Add(15*time.Second), "more than SMTP takes, less than all have")
}

// A worker that stops has time for the mail that it has begun, not for all of them. The next worker sends the others.
func TestClosureMail_StopsWithItsWorker(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	mail := activities.ClosureMailInput{ClosureID: b.formerly(t, adasNext).ClosureID, Template: templates.AccountClosed}
	before, stop := len(b.post.messages()), make(chan struct{})
	b.env.SetWorkerStopChannel(stop)
	b.post.fault = sync.OnceValue(func() error { close(stop); return nil })
	_, err := run[activities.Delivered](b, b.SendClosureMail, mail)
	require.ErrorIs(t, err, account.ErrUnavailable)
	require.Equal(t, []string{ada}, to(b.post.messages()[before:]))
	b.env.SetWorkerStopChannel(make(chan struct{}))
	sent, err := run[activities.Delivered](b, b.SendClosureMail, mail)
	require.NoError(t, err)
	require.Equal(t, activities.DeliverySent, sent.State)
	require.Equal(t, []string{ada, adasNext}, to(b.post.messages()[before:]))
}
