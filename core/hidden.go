package core

import (
	"context"
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
)

// hidden reports whether nobody but its owner may learn from us whether an address has an account (design D10).
func (c *Core) hidden() bool { return c.Policy.Enumeration == account.EnumerationHidden }

var errUnproven = errors.New("the address of the account is not proven")

// closedTo reports whether an account opens to nobody yet: in hidden enumeration mode what opened before the proof of its address
// would tell that the address was free (security.md ENU-03). A token that is refused for it is good once the address is proven.
func (c *Core) closedTo(proven bool) bool { return c.hidden() && !proven }

// wrongCode is what whoever guessed a code wrong is told. In hidden enumeration mode that is the same whatever awaits a code: which
// quotas a guess was charged to depends on that, so that not those refuse, but the number of wrong guesses of the address, by C06
// and C31 together (security.md ENU-03). It bounds nothing: a right code is taken while its own quota lasts.
func (c *Core) wrongCode(ctx context.Context, email string, err error) error {
	wrong := errors.Is(err, account.ErrInvalidCode) || errors.Is(err, account.ErrTooManyRequests) && !errors.Is(err, errSource)
	if !wrong || !c.hidden() {
		return err
	}
	told := c.Store.TakeQuota(ctx, c.Keys.Subject("guess/told", email), c.Policy.GuessQuotas())
	if told == nil {
		return account.ErrInvalidCode.Because(err)
	}
	return told
}

// chargeResend counts a code that is asked for again, and reports whether it may go out. In hidden enumeration mode the answer
// counts what was asked for again alone: which codes went out before, and for which purpose, depends on what awaits one
// (security.md ENU-03). It returns account.ErrTooManyRequests.
func (c *Core) chargeResend(ctx context.Context, by account.Caller, purpose account.Purpose, email string, known bool) (bool, error) {
	if !c.hidden() {
		_, err := c.chargeSend(ctx, by, purpose, email)
		return known, err
	}
	_, err := c.chargeOnce(ctx, by, func() error {
		return c.Store.TakeQuota(ctx, c.Keys.Subject("send/again", email), c.Policy.SendQuotas())
	})
	if err != nil || !known {
		return false, err
	}
	occasion := keyUse(by)
	if occasion != "" {
		occasion += "/sent" // whoever repeats what was counted above may have been refused here
	}
	_, err = c.chargeOnceIn(ctx, c.Store, occasion, func() error {
		return c.Store.TakeQuota(ctx, c.sendKey(purpose, email), c.Policy.SendQuotas())
	})
	if errors.Is(err, account.ErrTooManyRequests) {
		return false, nil
	}
	return err == nil, err
}

// seemsRegistered is the answer of a success that was none.
func (c *Core) seemsRegistered(email string, username *string) (Registered, error) {
	return c.registeredHidden(email, username, uuid.New(), uuid.New())
}

// registeredHidden is the answer to a registration in hidden enumeration mode, to one that made an account as to one that made
// none. Its token is dated by the clock of this machine, because that of a session that does not exist cannot be dated by the
// database's.
func (c *Core) registeredHidden(email string, username *string, id, session uuid.UUID) (out Registered, err error) {
	now := c.Clock.Now()
	out = Registered{AccountID: id, Username: email, Email: email}
	if username != nil {
		out.Username = *username
	}
	out.Token, err = c.Tokens.Sign(session, id, now, now.Add(c.Policy.SessionTTL))
	return out, err
}
