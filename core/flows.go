package core

import (
	"github.com/google/uuid"

	"gatehouse/account"
)

// flowsOfEmail returns the workflow ids of the flows about an address, whether or not it has an account: its sign-ups and its
// password reset. Whether there ever was such a flow, Temporal knows.
func (c *Core) flowsOfEmail(email string) []string {
	return []string{
		c.flowID(account.SignupByCode, email), c.flowID(account.SignupByRegister, email), c.flowID(account.SignupTaken, email),
		c.resetFlow(email),
	}
}

// flowsOfAccount returns the workflow ids of the flows of which an account has one at a time.
func (c *Core) flowsOfAccount(id uuid.UUID) []string {
	return []string{passwordChangeFlow(id), phoneFlow(id), emailChangeFlow(id), emailLinkFlow(id), c.closureFlow(id)}
}
