package account

import (
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/text/unicode/norm"
)

// The length of a username in characters (contract D10).
const (
	MinUsernameLength = 3
	MaxUsernameLength = 30
)

// MaxFound is how many of the accounts that a search finds are told of, page by page: who wants all of them gets none.
const MaxFound = 100

// reservedUsernames would shadow routes of document D (contract X24) or pass for us.
var reservedUsernames = map[string]bool{
	"check": true, "can-change": true, "change": true, "search": true,
	"admin": true, "administrator": true, "root": true, "support": true, "help": true, "security": true,
	"system": true, "gatehouse": true, "moderator": true, "staff": true, "billing": true, "me": true,
	"null": true, "undefined": true, "api": true, "www": true,
}

// read is how a username looks at a glance: some digits are letters, i and l are one, and what parts words is nothing.
var read = strings.NewReplacer("0", "o", "1", "l", "i", "l", "3", "e", "4", "a", "5", "s", "7", "t", "_", "", ".", "")

var reservedReadings = func() map[string]bool {
	readings := map[string]bool{}
	for word := range reservedUsernames {
		readings[read.Replace(word)] = true
	}
	return readings
}()

// reserved reports whether a username is a reserved word, or is read as one (security.md USR-03).
func reserved(username string) bool {
	return reservedUsernames[username] || reservedReadings[read.Replace(username)]
}

// FoldUsername is how a username is looked at before anything else: NFKC, lower-case, without the @ in front of it. What
// it returns need not be a username.
func FoldUsername(s string) string {
	return strings.ToLower(norm.NFKC.String(strings.TrimPrefix(strings.TrimSpace(s), "@")))
}

// ReadUsername returns the stored form of a username that may exist: folded, ^[a-z0-9_.]{3,30}$, no dot at either end. It
// returns the reason when s is none, as a sentence for the field's fault.
func ReadUsername(s string) (username, fault string) {
	username = FoldUsername(s)
	switch {
	case username == "":
		return "", "is required"
	case strings.Trim(username, "abcdefghijklmnopqrstuvwxyz0123456789_.") != "":
		return "", "may hold only letters a-z, digits, underscores and dots"
	case len(username) < MinUsernameLength || len(username) > MaxUsernameLength:
		return "", "must be 3 to 30 characters"
	case strings.HasPrefix(username, ".") || strings.HasSuffix(username, "."):
		return "", "must not begin or end with a dot"
	}
	return username, ""
}

// ParseUsername is ReadUsername for one to be chosen: reserved ones may not be.
func ParseUsername(s string) (username, fault string) {
	username, fault = ReadUsername(s)
	if fault == "" && reserved(username) {
		return "", "is reserved"
	}
	return username, fault
}

// SuggestUsernames makes up usernames that resemble s, best first: with an underscore, and with numbers, of which draw
// returns one below n. There are none for what has no letter or digit in it, and none that resemble a reserved word.
func SuggestUsernames(s string, draw func(n int) int) []string {
	const tail = 4 // what is appended at most
	base := strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyz0123456789_.", r) {
			return r
		}
		return -1
	}, FoldUsername(s))
	base = strings.Trim(base, ".")
	plain := strings.NewReplacer("_", "", ".", "").Replace(base)
	if plain == "" || reserved(base) {
		return nil
	}
	cut := func(s string) string { return strings.Trim(s[:min(len(s), MaxUsernameLength-tail)], ".") }
	base, plain = cut(base), cut(plain)
	made := []string{base, base + "1", base + strconv.Itoa(10+draw(90)), plain + "_"}
	for range 3 {
		made = append(made, base+strconv.Itoa(100+draw(900)), base+strconv.Itoa(1000+draw(9000)))
	}
	var out []string
	for _, name := range made {
		username, fault := ParseUsername(name)
		if fault == "" && username != FoldUsername(s) && !slices.Contains(out, username) {
			out = append(out, username)
		}
	}
	return out
}

// Card is what anybody may see of an account with a username.
type Card struct {
	ID        uuid.UUID
	Username  string
	Name      *string
	AvatarURL *string
}
