package account

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// The length of a password in characters (design D8, NIST SP 800-63B-4 section 3.1.1.2).
const (
	MinPasswordLength = 8
	MaxPasswordLength = 256
)

// NormalizePassword returns the form in which a password is hashed and compared: NFC, spaces kept.
func NormalizePassword(s string) string { return norm.NFC.String(s) }

// PasswordFault judges a new password by the account's one policy (design D8) and returns the reason when it is
// refused, as a sentence for the field's fault. own lists the email and the names that a password must not be.
// A current password is never judged, only compared.
func PasswordFault(password string, own ...string) string {
	p := NormalizePassword(password)
	n := utf8.RuneCountInString(p)
	switch {
	case p == "":
		return "is required"
	case strings.TrimSpace(p) == "":
		return "must not be blank"
	case strings.ContainsRune(p, 0):
		return "must not contain NUL"
	case n < MinPasswordLength:
		return "Password must be at least 8 characters"
	case n > MaxPasswordLength:
		return "must be at most 256 characters"
	case commonPassword(p):
		return "is too common"
	}
	for _, name := range own {
		if name == "" {
			continue
		}
		local, _, _ := strings.Cut(name, "@")
		if strings.EqualFold(p, name) || strings.EqualFold(p, local) {
			return "must not be your email or name"
		}
	}
	return ""
}

// LetterAndNumberFault judges a new password by the rule that document A adds to the policy (contract X02): a letter and a
// number. It returns the reason when the password is refused.
func LetterAndNumberFault(password string) string {
	if strings.ContainsFunc(password, unicode.IsLetter) && strings.ContainsFunc(password, unicode.IsDigit) {
		return ""
	}
	return "must contain a letter and a number"
}
