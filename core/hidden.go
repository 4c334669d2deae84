package core

import (
	"errors"

	"github.com/google/uuid"

	"gatehouse/account"
)

// hidden reports whether nobody but its owner may learn from us whether an address has an account (design D10).
func (c *Core) hidden() bool { return c.Policy.Enumeration == account.EnumerationHidden }

var errUnproven = errors.New("the address of the account is not proven")

// closedTo reports whether an account opens to nobody yet: in hidden enumeration mode what opened before the proof of its address would
// tell that the address was free (security.md ENU-03). A token that is refused for it is good once the address is proven.
func (c *Core) closedTo(proven bool) bool { return c.hidden() && !proven }

// seemsRegistered is the answer of a success that was none.
func (c *Core) seemsRegistered(email string, username *string) (Registered, error) {
	return c.registeredHidden(email, username, uuid.New(), uuid.New())
}

// registeredHidden is the answer to a registration in hidden enumeration mode, to one that made an account as to one that made none. Its
// token is dated by the clock of this machine, because that of a session that does not exist cannot be dated by the database's.
func (c *Core) registeredHidden(email string, username *string, id, session uuid.UUID) (out Registered, err error) {
	now := c.Clock.Now()
	out = Registered{AccountID: id, Username: email, Email: email}
	if username != nil {
		out.Username = *username
	}
	out.Token, err = c.Tokens.Sign(session, id, now, now.Add(c.Policy.SessionTTL))
	return out, err
}
