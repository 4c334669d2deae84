package core

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestProfileChangesAreJudged(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		in     ChangeProfileInput
		fields []string
		code   string
	}{
		"nothing":           {},
		"the document's":    {in: ChangeProfileInput{FullName: new("John Smith"), UserType: new("company"), AudioUsage: new("business"), ReferralSource: new("word_of_mouth"), PhoneNumber: new("+1987654321"), CountryCode: new("US")}},
		"removal":           {in: ChangeProfileInput{FullName: new(""), ReferralSource: new(" ")}},
		"all at once":       {in: ChangeProfileInput{FullName: new(strings.Repeat("x", 201)), UserType: new("robot"), AudioUsage: new(""), ReferralSource: new("a\nb"), PhoneNumber: new("1")}, fields: []string{"full_name", "user_type", "audio_usage", "referral_source"}, code: "validation_error"},
		"case of an option": {in: ChangeProfileInput{UserType: new("Company")}, fields: []string{"user_type"}, code: "validation_error"},
		"empty number":      {in: ChangeProfileInput{PhoneNumber: new("")}, code: "invalid_phone"},
		"local number":      {in: ChangeProfileInput{PhoneNumber: new("0171234567")}, code: "invalid_phone"},
		"unassigned":        {in: ChangeProfileInput{PhoneNumber: new("+9991234567")}, code: "invalid_phone"},
		"no country":        {in: ChangeProfileInput{CountryCode: new("ZZ")}, code: "invalid_phone"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := test.in.validate(account.PhoneRules{})
			if test.code == "" {
				require.NoError(t, err)
				return
			}
			failure := account.AsError(err)
			require.Equal(t, test.code, failure.Code)
			var at []string
			for _, f := range failure.Fields {
				at = append(at, f.Name)
			}
			require.Equal(t, test.fields, at)
		})
	}
}

func TestProfileChangesAreNormalised(t *testing.T) {
	t.Parallel()
	got, err := ChangeProfileInput{FullName: new(" John "), PhoneNumber: new(" +1987654321 "), CountryCode: new("de")}.validate(account.PhoneRules{})
	require.NoError(t, err)
	require.Equal(t, []string{"John", "+1987654321", "DE"}, []string{*got.FullName, *got.PhoneNumber, *got.CountryCode})
}

func TestOnboardingEventsAreJudged(t *testing.T) {
	t.Parallel()
	for event, fault := range map[string]string{
		"completed": "", "skipped": "", "": "is required", "...": "must be one of completed, skipped", "Completed": "must be one of completed, skipped",
	} {
		err := RecordOnboardingInput{Event: event}.validate()
		if fault == "" {
			require.NoError(t, err, event)
			continue
		}
		require.Equal(t, []account.Field{{Name: "event", Message: fault}}, account.AsError(err).Fields)
	}
	for step, good := range map[int64]bool{0: true, 10_000: true, -1: false, 10_001: false, 1 << 40: false} {
		err := RecordOnboardingInput{Event: "skipped", AtStep: &step}.validate()
		require.Equal(t, good, err == nil, step)
	}
}
