package core

import (
	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

// NamedFlow is the workflow id of a flow, with what people call it. Whether there ever was one, Temporal knows.
type NamedFlow struct {
	Name string
	ID   string
}

// FlowsOfEmail returns the flows that are about an address, whether or not it has an account.
func FlowsOfEmail(keys *secret.Keys, email string) []NamedFlow {
	c := &Core{Deps: Deps{Keys: keys}}
	var all []NamedFlow
	for _, kind := range []account.SignupKind{account.SignupByCode, account.SignupByRegister, account.SignupTaken} {
		all = append(all, NamedFlow{"sign-up (" + string(kind) + ")", c.flowID(kind, email)})
	}
	return append(all, NamedFlow{"password reset", c.resetFlow(email)})
}

// FlowsOfAccount returns the flows of which an account has one at a time.
func FlowsOfAccount(keys *secret.Keys, id uuid.UUID) []NamedFlow {
	c := &Core{Deps: Deps{Keys: keys}}
	return []NamedFlow{
		{"code from within a session", passwordChangeFlow(id)},
		{"verification of a number", phoneFlow(id)},
		{"change of email", emailChangeFlow(id)},
		{"link of an email", emailLinkFlow(id)},
		{"closure", c.closureFlow(id)},
	}
}
