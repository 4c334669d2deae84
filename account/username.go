package account

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// The length of a username in characters (contract D10).
const (
	MinUsernameLength = 3
	MaxUsernameLength = 30
)

// reservedUsernames would shadow routes of document D (contract X24) or pass for us.
var reservedUsernames = map[string]bool{
	"check": true, "can-change": true, "change": true, "search": true,
	"admin": true, "administrator": true, "root": true, "support": true, "help": true, "security": true,
	"system": true, "gatehouse": true, "moderator": true, "staff": true, "billing": true, "me": true,
	"null": true, "undefined": true, "api": true, "www": true,
}

// ParseUsername returns the stored form of a username: NFKC, lower-case, ^[a-z0-9_.]{3,30}$, no dot at either end and
// not reserved. It returns the reason when s is none, as a sentence for the field's fault.
func ParseUsername(s string) (username, fault string) {
	username = strings.ToLower(norm.NFKC.String(strings.TrimPrefix(strings.TrimSpace(s), "@")))
	switch {
	case username == "":
		return "", "is required"
	case strings.Trim(username, "abcdefghijklmnopqrstuvwxyz0123456789_.") != "":
		return "", "may hold only letters a-z, digits, underscores and dots"
	case len(username) < MinUsernameLength || len(username) > MaxUsernameLength:
		return "", "must be 3 to 30 characters"
	case strings.HasPrefix(username, ".") || strings.HasSuffix(username, "."):
		return "", "must not begin or end with a dot"
	case reservedUsernames[username]:
		return "", "is reserved"
	}
	return username, ""
}
