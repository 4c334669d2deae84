package account_test

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestPhoneNumbers(t *testing.T) {
	t.Parallel()
	for number, fault := range map[string]*account.Error{
		"+1234567890":       nil, // document A's own samples are in no numbering plan
		"+1987654321":       nil,
		" +4915112345678\n": nil,
		"+1234567":          nil,
		"+442079460000":     nil,
		"+123456789012345":  nil,

		"":                  account.ErrInvalidPhone,
		"1234567890":        account.ErrInvalidPhone,
		"+0234567890":       account.ErrInvalidPhone,
		"+123456":           account.ErrInvalidPhone,
		"+1234567890123456": account.ErrInvalidPhone,
		"+1 234 567 890":    account.ErrInvalidPhone,
		"+1-234-567-890":    account.ErrInvalidPhone,
		"++1234567890":      account.ErrInvalidPhone,
		"+١٢٣٤٥٦٧٨٩٠":       account.ErrInvalidPhone,
		"+1234567890x":      account.ErrInvalidPhone,
		"+12345\x0067890":   account.ErrInvalidPhone,

		"+999123456789": account.ErrUnsupportedCountry, // nobody's
		"+881612345678": account.ErrUnsupportedCountry, // a satellite's
		"+979123456789": account.ErrUnsupportedCountry, // premium rate
	} {
		got, err := account.PhoneRules{}.ParsePhone(number)
		if fault == nil {
			require.NoError(t, err, "%q", number)
			require.Regexp(t, `^\+[1-9]\d{6,14}$`, got)
			continue
		}
		require.ErrorIs(t, err, account.ErrInvalidPhone, "%q", number)
		require.Equal(t, fault.Message, account.AsError(err).Message, "%q", number)
		require.Empty(t, got)
	}
}

func TestPhoneRules(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		rules  account.PhoneRules
		number string
		says   string
	}{
		{account.PhoneRules{Countries: []string{"US"}}, "+1234567890", ""},
		{account.PhoneRules{Countries: []string{"US"}}, "+12015550123", ""},
		{account.PhoneRules{Countries: []string{"US"}}, "+15062345678", "Unsupported country code"}, // Canada's
		{account.PhoneRules{Countries: []string{"+1"}}, "+15062345678", ""},
		{account.PhoneRules{Countries: []string{"DE", "+44"}}, "+447400123456", ""},
		{account.PhoneRules{Countries: []string{"DE", "+44"}}, "+33612345678", "Unsupported country code"},
		{account.PhoneRules{Strict: true}, "+4915112345678", ""},
		{account.PhoneRules{Strict: true}, "+1234567890", "Invalid phone number format"},
	} {
		_, err := c.rules.ParsePhone(c.number)
		if c.says == "" {
			require.NoError(t, err, "%v %s", c.rules, c.number)
			continue
		}
		require.Equal(t, "invalid_phone", account.AsError(err).Code)
		require.Equal(t, c.says, account.AsError(err).Message, "%v %s", c.rules, c.number)
	}
	require.Empty(t, account.PhoneRules{Countries: []string{"DE", "+44", "+1"}}.Fault())
	for _, bad := range []string{"de", "ZZ", "49", "+999", "+", "", "001"} {
		require.NotEmpty(t, account.PhoneRules{Countries: []string{"DE", bad}}.Fault(), bad)
	}
}

func TestPhoneCountryPrefixAndMask(t *testing.T) {
	t.Parallel()
	for number, country := range map[string]string{
		"+1234567890": "US", "+15062345678": "CA", "+4915112345678": "DE", "+447400123456": "GB", "+999123456789": "",
	} {
		require.Equal(t, country, account.PhoneCountry(number), number)
	}
	require.True(t, account.KnownCountry("US"))
	for _, no := range []string{"", "us", "ZZ", "001", "USA"} {
		require.False(t, account.KnownCountry(no), no)
	}
	require.Equal(t, "+155501", account.PhonePrefix("+1555010001"))
	require.Equal(t, "+***78", account.MaskPhone("+4915112345678"))
	require.Equal(t, "***", account.MaskPhone("+12"))
	require.Equal(t, "+***78", account.Mask(account.ChannelWhatsApp, "+4915112345678"))
	require.Equal(t, "a***@example.com", account.Mask(account.ChannelEmail, "ada@example.com"))
}

func FuzzParsePhone(f *testing.F) {
	for _, seed := range []string{"+1234567890", "+49 151", "", "+", "+0", "\x00"} {
		f.Add(seed)
	}
	form := regexp.MustCompile(`^\+[1-9]\d{6,14}$`)
	f.Fuzz(func(t *testing.T, number string) {
		got, err := account.PhoneRules{}.ParsePhone(number)
		if err == nil && (!form.MatchString(got) || account.PhoneCountry(got) == "") {
			t.Fatalf("%q became %q", number, got)
		}
	})
}
