package account

import (
	"slices"
	"strconv"
	"strings"

	"github.com/nyaruka/phonenumbers"
)

// The lengths of an international number, "+" not counted (ITU-T E.164, contract A02).
const (
	minPhoneDigits = 7
	maxPhoneDigits = 15
)

// noCountry is what the numbering plans call a calling code of no country: satellites, premium and shared-cost services.
const noCountry = "001"

// PhoneRules say which numbers are taken (design D14). The zero value takes every number of every country.
type PhoneRules struct {
	// Countries are ISO 3166-1 alpha-2 codes ("DE") and calling codes ("+49"); empty means every country.
	Countries []string
	// Strict also asks the country's numbering plan. The documents' own sample +1234567890 is in no plan.
	Strict bool
}

// Fault returns which entry of Countries nobody can mean, or nothing.
func (r PhoneRules) Fault() string {
	for _, c := range r.Countries {
		code, isCode := strings.CutPrefix(c, "+")
		n, err := strconv.Atoi(code)
		switch {
		case isCode && err == nil && len(phonenumbers.GetRegionCodesForCountryCode(n)) > 0:
		case !isCode && KnownCountry(c):
		default:
			return strconv.Quote(c)
		}
	}
	return ""
}

// ParsePhone returns number as it is stored, in E.164. It returns ErrInvalidPhone, in the words of document A, when the
// number is no international number or its country is not supported.
func (r PhoneRules) ParsePhone(number string) (string, error) {
	number = strings.TrimSpace(number)
	digits, international := strings.CutPrefix(number, "+")
	if !international || len(digits) < minPhoneDigits || len(digits) > maxPhoneDigits || digits[0] == '0' || !ascii09(digits) {
		return "", ErrInvalidPhone
	}
	code := callingCode(digits)
	if code == "" || !r.supports(number, code) {
		return "", ErrUnsupportedCountry
	}
	if r.Strict {
		parsed, err := phonenumbers.Parse(number, "")
		if err != nil || !phonenumbers.IsValidNumber(parsed) {
			return "", ErrInvalidPhone
		}
	}
	return number, nil
}

// supports asks for the number's own country where the numbering plan tells it, else for any country of the calling code.
func (r PhoneRules) supports(number, code string) bool {
	if len(r.Countries) == 0 || slices.Contains(r.Countries, "+"+code) {
		return true
	}
	regions := regionsOf(code)
	if parsed, err := phonenumbers.Parse(number, ""); err == nil {
		if own := phonenumbers.GetRegionCodeForNumber(parsed); own != "" {
			regions = []string{own}
		}
	}
	return slices.ContainsFunc(regions, func(region string) bool { return slices.Contains(r.Countries, region) })
}

// PhoneCountry returns the country of a parsed number as ISO 3166-1 alpha-2: the number's own, or the main one of its
// calling code where the number is in no plan.
func PhoneCountry(number string) string {
	if parsed, err := phonenumbers.Parse(number, ""); err == nil {
		if own := phonenumbers.GetRegionCodeForNumber(parsed); own != "" && own != noCountry {
			return own
		}
	}
	if regions := regionsOf(callingCode(strings.TrimPrefix(number, "+"))); len(regions) > 0 {
		return regions[0]
	}
	return ""
}

// KnownCountry reports whether code is an ISO 3166-1 alpha-2 code, in capitals, of a country with telephones.
func KnownCountry(code string) bool { return phonenumbers.GetSupportedRegions()[code] }

// MostUnansweredTexts bounds how often a text is handed to a vendor that does not say what became of it: each time may have to be
// paid for, and may have arrived (reliability.md F-23).
const MostUnansweredTexts = 3

// Paid reports whether each message of a channel costs money.
func (c Channel) Paid() bool { return c == ChannelSMS || c == ChannelWhatsApp }

// PhonePrefix returns the range of ten thousand numbers that a parsed number is in.
func PhonePrefix(number string) string { return number[:max(len(number)-4, 0)] }

// MaskPhone shows enough of a number for its owner to know it: +***67.
func MaskPhone(number string) string {
	if len(number) < minPhoneDigits {
		return "***"
	}
	return "+***" + number[len(number)-2:]
}

// Mask shows enough of a destination for its owner to know it.
func Mask(channel Channel, destination string) string {
	if channel == ChannelSMS || channel == ChannelWhatsApp {
		return MaskPhone(destination)
	}
	return MaskEmail(destination)
}

// callingCode returns the calling code of a country that digits begin with, or nothing. No code is the beginning of another.
func callingCode(digits string) string {
	for n := 1; n <= 3 && n <= len(digits); n++ {
		if len(regionsOf(digits[:n])) > 0 {
			return digits[:n]
		}
	}
	return ""
}

// regionsOf are the countries of a calling code, the main one first.
func regionsOf(code string) []string {
	n, err := strconv.Atoi(code)
	if err != nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(phonenumbers.GetRegionCodesForCountryCode(n)), func(r string) bool { return r == noCountry })
}

func ascii09(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
