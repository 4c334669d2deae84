package core

import (
	"context"
	"strconv"
	"strings"
	"unicode/utf8"

	"gatehouse/account"
	"gatehouse/store"
)

// Settings returns the caller's preferences (B13).
func (c *Core) Settings(ctx context.Context, by account.Caller, _ None) (account.Settings, error) {
	if by.Principal == nil {
		return account.Settings{}, account.ErrUnauthorized
	}
	s, err := c.Store.Settings(ctx, by.Principal.Account.ID)
	return s, unauthorized(err)
}

// ChangeSettingsInput changes what is given of the caller's preferences (B14).
type ChangeSettingsInput struct {
	account.SettingsChange
}

func (in ChangeSettingsInput) validate() (account.SettingsChange, error) {
	invalid := account.ErrInvalid
	out := in.SettingsChange
	judge := func(field string, value *string, fault func(string) string) {
		if value == nil {
			return
		}
		if why := fault(*value); why != "" {
			invalid = invalid.On(field, why)
		}
	}
	judge("timezone", in.Timezone, account.TimezoneFault)
	judge("odds_format", in.OddsFormat, func(s string) string { return account.ChoiceFault(s, account.OddsFormats) })
	judge("theme", in.Theme, func(s string) string { return account.ChoiceFault(s, account.Themes) })
	judge("language", in.Language, func(s string) string {
		tag, fault := account.ParseLanguage(s)
		out.Language = &tag
		return fault
	})
	return out, faults(invalid)
}

// ChangeSettings changes the given preferences of the caller and returns all of them (B14).
func (c *Core) ChangeSettings(ctx context.Context, by account.Caller, in ChangeSettingsInput) (account.Settings, error) {
	if out, done, err := made[account.Settings](by); done {
		return out, err
	}
	change, err := in.validate()
	if err != nil {
		return account.Settings{}, err
	}
	if by.Principal == nil {
		return account.Settings{}, account.ErrUnauthorized
	}
	s, err := once(ctx, c, by, func(ctx context.Context, tx *store.Store) (account.Settings, error) {
		return tx.ChangeSettings(ctx, by.Principal.Account.ID, change)
	})
	return s, unauthorized(err)
}

// DataProviders returns the sources of data of the caller's account, by name (B15).
func (c *Core) DataProviders(ctx context.Context, by account.Caller, _ None) ([]account.DataProvider, error) {
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	return c.Store.DataProviders(ctx, by.Principal.Account.ID)
}

// ChangeDataProvidersInput switches sources of data on and off (B16). Nil is no list at all.
type ChangeDataProvidersInput struct {
	Providers []DataProviderChange
}

// DataProviderChange is one of them. Both fields are needed.
type DataProviderChange struct {
	Name    *string
	Enabled *bool
}

const maxProviderName = 100

func (in ChangeDataProvidersInput) validate() ([]account.DataProvider, error) {
	if in.Providers == nil {
		return nil, account.ErrInvalid.On("data_providers", "is required")
	}
	invalid, seen := account.ErrInvalid, map[string]bool{}
	out := make([]account.DataProvider, len(in.Providers))
	for i, p := range in.Providers {
		at := "data_providers." + strconv.Itoa(i)
		if p.Name != nil {
			out[i].Name = strings.TrimSpace(*p.Name)
		}
		switch name := out[i].Name; {
		case name == "":
			invalid = invalid.On(at+".name", "is required")
		case utf8.RuneCountInString(name) > maxProviderName:
			invalid = invalid.On(at+".name", "must be at most 100 characters")
		case !printable(name):
			invalid = invalid.On(at+".name", "must not contain control characters")
		case seen[name]:
			invalid = invalid.On(at+".name", "is named twice")
		}
		seen[out[i].Name] = true
		if p.Enabled == nil {
			invalid = invalid.On(at+".enabled", "is required")
			continue
		}
		out[i].Enabled = *p.Enabled
	}
	return out, faults(invalid)
}

// ChangeDataProviders adds or switches the given sources of data of the caller's account, and returns all of them (B16).
func (c *Core) ChangeDataProviders(
	ctx context.Context, by account.Caller, in ChangeDataProvidersInput,
) ([]account.DataProvider, error) {
	if out, done, err := made[[]account.DataProvider](by); done {
		return out, err
	}
	change, err := in.validate()
	if err != nil {
		return nil, err
	}
	if by.Principal == nil {
		return nil, account.ErrUnauthorized
	}
	all, err := once(ctx, c, by, func(ctx context.Context, tx *store.Store) ([]account.DataProvider, error) {
		return tx.ChangeDataProviders(ctx, by.Principal.Account.ID, change, account.MaxDataProviders)
	})
	return all, unauthorized(err)
}
