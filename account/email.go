package account

import (
	"net/mail"
	"strings"
)

// MaxEmailLength is the longest address accepted, in bytes (RFC 5321 section 4.5.3.1.3 less the angle brackets).
const MaxEmailLength = 254

// NormalizeEmail returns the one form in which an address is stored, compared and hashed: trimmed and, because only
// ASCII addresses are accepted, lower-cased byte by byte. Unicode case mapping is not used: it maps strangers'
// mailboxes onto each other (security.md RST-07). It does not judge the address; what is no address matches nothing.
func NormalizeEmail(s string) string {
	s = strings.TrimSpace(s)
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// ParseEmail normalises s and checks that it is a plain ASCII addr-spec with a dotted domain. It returns the reason
// when it is not, as a sentence for the field's fault.
func ParseEmail(s string) (email, fault string) {
	const malformed = "must be an email address"
	email = NormalizeEmail(s)
	switch {
	case email == "":
		return "", "is required"
	case len(email) > MaxEmailLength:
		return "", "must be at most 254 characters"
	case !printableASCII(email):
		return "", malformed
	}
	parsed, err := mail.ParseAddress(email)
	if err != nil || parsed.Name != "" || parsed.Address != email || strings.ContainsAny(email, "\"\\ ()<>,;:") {
		return "", malformed
	}
	local, domain, _ := strings.Cut(email, "@")
	if local == "" || len(local) > 64 || !dottedDomain(domain) {
		return "", malformed
	}
	return email, ""
}

func dottedDomain(domain string) bool {
	labels := strings.Split(domain, ".")
	if len(labels) < 2 {
		return false
	}
	for _, label := range labels {
		if label == "" || len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
		if strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return false
		}
	}
	return true
}

func printableASCII(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}

// MaskEmail shows enough of an address for its owner to know it: a***@example.com.
func MaskEmail(email string) string {
	local, domain, ok := strings.Cut(email, "@")
	if !ok || local == "" {
		return "***"
	}
	return local[:1] + "***@" + domain
}
