package core

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/workflows"
)

// FindFlowsInput says whose flows operators look for: exactly one of an address, a number and an account.
type FindFlowsInput struct {
	Email, Phone string
	AccountID    uuid.UUID
	// Most is how many flows are found at most, the newest.
	Most int32
}

// FoundFlows is where somebody's flows are, and what becomes of their codes: the tries are counted in the database alone.
type FoundFlows struct {
	Accounts []uuid.UUID    `json:"accounts"`
	Flows    []durable.Flow `json:"flows"`
	Codes    []OpenCode     `json:"codes"`
}

// OpenCode is a code that awaits its proof, or has died unproven within the last hour.
type OpenCode struct {
	Purpose     account.Purpose `json:"purpose"`
	Channel     account.Channel `json:"channel"`
	Destination string          `json:"destination"`
	// State is live, used_up when every try was wrong, or expired.
	State     string    `json:"state"`
	TriesLeft int       `json:"tries_left"`
	ExpiresAt time.Time `json:"expires_at"`
}

// FindFlows finds somebody's flows for operators. The ids of an address are computed here: the address goes nowhere.
func (c *Core) FindFlows(ctx context.Context, in FindFlowsInput) (FoundFlows, error) {
	accounts, err := c.whose(ctx, in)
	found := FoundFlows{Accounts: accounts}
	if err != nil {
		return found, err
	}
	ids, err := c.idsOf(ctx, in.Email, accounts)
	if err != nil {
		return found, err
	}
	var names []string
	for _, id := range accounts {
		names = append(names, id.String())
	}
	if len(ids)+len(names) == 0 {
		return found, nil
	}
	if found.Flows, err = c.Flows.Find(ctx, durable.FlowsOf(ids, names), in.Most); err != nil {
		return found, err
	}
	found.Codes, err = c.openCodes(ctx, in.Email, accounts)
	return found, err
}

// whose returns the accounts that are meant; an address or a number need not have one.
func (c *Core) whose(ctx context.Context, in FindFlowsInput) ([]uuid.UUID, error) {
	switch {
	case in.Phone != "":
		number, err := account.PhoneRules{}.ParsePhone(in.Phone)
		if err != nil {
			return nil, err
		}
		return c.Store.AccountsOfPhone(ctx, number)
	case in.AccountID != uuid.Nil:
		return []uuid.UUID{in.AccountID}, nil
	}
	owner, err := c.Store.OwnerOf(ctx, in.Email)
	if errors.Is(err, account.ErrNotFound) {
		return nil, nil
	}
	return []uuid.UUID{owner.AccountID}, err
}

// idsOf are the ids of flows that may be there. Most flows of an account are found by its id alone, those of a sign-up only once
// it has one.
func (c *Core) idsOf(ctx context.Context, email string, accounts []uuid.UUID) ([]string, error) {
	var ids []string
	if email != "" {
		ids = c.flowsOfEmail(email)
	}
	for _, id := range accounts {
		ids = append(ids, c.flowsOfAccount(id)...)
		subscriptions, err := c.Store.SubscriptionsOf(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, s := range subscriptions {
			ids = append(ids, workflows.SubscriptionWorkflowID(s.ID))
		}
	}
	return ids, nil
}

func (c *Core) openCodes(ctx context.Context, email string, accounts []uuid.UUID) ([]OpenCode, error) {
	var subjects [][]byte
	if email != "" {
		subjects = append(subjects, c.Keys.Subject(string(account.PurposeSignup), email))
	}
	open, err := c.Store.OpenCodes(ctx, accounts, account.PurposeSignup, subjects)
	codes := make([]OpenCode, 0, len(open))
	for _, ch := range open {
		code := OpenCode{
			Purpose: ch.Purpose, Channel: ch.Channel, Destination: account.Mask(ch.Channel, ch.Destination), State: "live",
			TriesLeft: max(c.Policy.CodeTries-ch.Attempts, 0), ExpiresAt: ch.CodeExpiresAt.UTC(),
		}
		switch {
		case !ch.CodeExpiresAt.After(c.Clock.Now()):
			code.State = "expired"
		case code.TriesLeft == 0:
			code.State = "used_up"
		}
		codes = append(codes, code)
	}
	return codes, err
}
