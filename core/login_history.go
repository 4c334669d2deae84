package core

import (
	"context"
	"net/netip"

	"gatehouse/account"
)

const (
	defaultHistory = 10
	maxHistory     = 100
)

// LoginHistoryInput asks for the latest attempts to sign in, 10 unless Limit says otherwise (C15).
type LoginHistoryInput struct {
	Limit *int64
}

func (in LoginHistoryInput) validate() (int, error) {
	switch {
	case in.Limit == nil:
		return defaultHistory, nil
	case *in.Limit < 1 || *in.Limit > maxHistory:
		return 0, account.ErrInvalid.On("limit", "must be between 1 and 100")
	}
	return int(*in.Limit), nil
}

// LoginAttempt is one attempt to sign in, with the rough place of its address where a location database is set.
type LoginAttempt struct {
	account.LoginRecord
	Location *string
}

// LoginHistory lists the attempts to sign in to the caller's account, newest first, refused ones included (C15).
func (c *Core) LoginHistory(ctx context.Context, by account.Caller, in LoginHistoryInput) ([]LoginAttempt, error) {
	limit, err := in.validate()
	if err != nil {
		return nil, err
	}
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	records, err := c.Store.LoginHistory(ctx, by.Principal.Account.ID, limit)
	if err != nil {
		return nil, err
	}
	attempts := make([]LoginAttempt, len(records))
	for i, r := range records {
		attempts[i] = LoginAttempt{LoginRecord: r, Location: c.location(r.IP)}
	}
	return attempts, nil
}

// location is the rough place of an address, nil when it is not known.
func (c *Core) location(ip string) *string {
	address, err := netip.ParseAddr(ip)
	if c.Locate == nil || err != nil {
		return nil
	}
	place := c.Locate(address)
	if place == "" {
		return nil
	}
	return &place
}
