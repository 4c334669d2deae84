package core

import (
	"context"
	"errors"
	"slices"
	"strings"

	"gatehouse/account"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// ChangeProfileInput changes what is given of the caller's profile (A02). What it does not name cannot be changed here.
type ChangeProfileInput struct {
	FullName       *string
	UserType       *string
	AudioUsage     *string
	ReferralSource *string
	PhoneNumber    *string
	CountryCode    *string
}

func (in ChangeProfileInput) validate(phones account.PhoneRules) (account.ProfileChange, error) {
	invalid := account.ErrInvalid
	text := func(field string, value *string) *string {
		if fault := nameFault(value); fault != "" {
			invalid = invalid.On(field, fault)
		}
		return trimmed(value)
	}
	choice := func(field string, value *string, of []string) *string {
		if value != nil && !slices.Contains(of, *value) {
			invalid = invalid.On(field, "must be one of "+strings.Join(of, ", "))
		}
		return value
	}
	out := account.ProfileChange{
		FullName:       text("full_name", in.FullName),
		UserType:       choice("user_type", in.UserType, account.UserTypes),
		AudioUsage:     choice("audio_usage", in.AudioUsage, account.AudioUsages),
		ReferralSource: text("referral_source", in.ReferralSource),
	}
	if err := faults(invalid); err != nil {
		return out, err
	}
	var err error
	if out.PhoneNumber, err = parsed(in.PhoneNumber, phones.ParsePhone); err != nil {
		return out, err
	}
	out.CountryCode, err = parsed(in.CountryCode, account.ParseCountry)
	return out, err
}

func trimmed(s *string) *string {
	if s == nil {
		return nil
	}
	return new(strings.TrimSpace(*s))
}

func parsed(s *string, parse func(string) (string, error)) (*string, error) {
	if s == nil {
		return nil, nil //nolint:nilnil // nothing given, nothing changed
	}
	value, err := parse(*s)
	return &value, err
}

// ChangeProfile changes the given fields of the caller's profile and returns the caller as it is then (A02). A phone number
// that differs from the present one is unverified. It returns account.ErrInvalidPhone for a number that is not E.164 or a
// country that is none.
func (c *Core) ChangeProfile(ctx context.Context, by account.Caller, in ChangeProfileInput) (account.Principal, error) {
	if out, done, err := made[account.Principal](by); done {
		return out, err
	}
	change, err := in.validate(c.Policy.PhoneRules())
	if err != nil {
		return account.Principal{}, err
	}
	return c.changeProfile(ctx, by, change)
}

func (c *Core) changeProfile(ctx context.Context, by account.Caller, change account.ProfileChange) (account.Principal, error) {
	if change == (account.ProfileChange{}) {
		return *by.Principal, nil
	}
	out, err := commitOnce(ctx, c, by, func(ctx context.Context, tx *store.Store) (account.Principal, told, error) {
		out := *by.Principal
		if change.PhoneNumber != nil { // a proven number may be lost by it
			if err := requireLive(ctx, tx, by); err != nil {
				return out, nil, err
			}
		}
		changed, dropped, err := tx.ChangeProfile(ctx, by.Principal.Account, change)
		if out.Account = changed; err != nil || !dropped {
			return out, nil, err
		}
		return out, c.toVerified(changed, templates.PhoneChanged), nil
	})
	if errors.Is(err, account.ErrNotFound) {
		err = account.ErrUnauthorized.Because(err) // it was closed this moment
	}
	return out, err
}

// RecordOnboardingInput reports an onboarding event (C18). AtStep is nil where the client does not say.
type RecordOnboardingInput struct {
	Event  string
	AtStep *int64
}

const maxStep = 10_000

func (in RecordOnboardingInput) validate() error {
	invalid := account.ErrInvalid
	switch account.OnboardingEvent(in.Event) {
	case account.OnboardingCompleted, account.OnboardingSkipped:
	case "":
		invalid = invalid.On("event", "is required")
	default:
		invalid = invalid.On("event", "must be one of completed, skipped")
	}
	if in.AtStep != nil && (*in.AtStep < 0 || *in.AtStep > maxStep) {
		invalid = invalid.On("at_step", "must be between 0 and 10000")
	}
	return faults(invalid)
}

// RecordOnboarding records that the caller completed or skipped the onboarding (C18). A completed one stays completed.
func (c *Core) RecordOnboarding(ctx context.Context, by account.Caller, in RecordOnboardingInput) (None, error) {
	if out, done, err := made[None](by); done {
		return out, err
	}
	if err := in.validate(); err != nil {
		return None{}, err
	}
	return once(ctx, c, by, func(ctx context.Context, tx *store.Store) (None, error) {
		return None{}, tx.RecordOnboarding(ctx, by.Principal.Account.ID, account.OnboardingEvent(in.Event), in.AtStep)
	})
}
