package templates

import (
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/account"
)

const (
	maxName    = 60
	maxSubject = 120
)

// need returns what is wrong with a field that a template cannot do without, or nothing.
type need func(Data) string

func code(d Data) string {
	if fault := account.CodeFault(d.Code); fault != "" {
		return "Code " + fault
	}
	return ""
}

func minutes(d Data) string {
	if d.Minutes < 1 {
		return "Minutes must be at least 1"
	}
	return ""
}

func link(d Data) string {
	u, err := url.Parse(d.Link)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") ||
		strings.ContainsFunc(d.Link, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`<>"`, r) }) {
		return "Link must be an http or https address"
	}
	if u.Query().Get("token") == "" {
		return "Link must carry a token"
	}
	return ""
}

func address(d Data) string {
	if !strings.Contains(d.Address, "***") || strings.ContainsFunc(d.Address, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "Address must be a masked address"
	}
	return ""
}

func plan(d Data) string   { return given("Plan", d.Plan) }
func amount(d Data) string { return given("Amount", d.Amount) }
func date(d Data) string   { return given("Date", d.Date) }

func given(name, value string) string {
	if value == "" {
		return name + " is missing"
	}
	return ""
}

func linkHours(d Data) string {
	if d.LinkHours < 1 {
		return "LinkHours must be at least 1"
	}
	return ""
}

// plainName is what names are made of. No "/", ":" or "@", no dot before a letter, no long number: mail programs turn
// addresses, domains and telephone numbers in a text into links, and a name is a stranger's choice of words.
var plainName = regexp.MustCompile(`^[\p{L}\p{M}][\p{L}\p{M}\p{Nd}'’ -]*(?:\.(?: [\p{L}\p{M}\p{Nd}'’ -]+)?)*$`)

var longNumber = regexp.MustCompile(`\p{Nd}{4}`)

// displayName returns name as it may be shown, or nothing when it does not look like a name: a greeting without one
// is still a greeting.
func displayName(name string) string {
	name = strings.Join(strings.Fields(name), " ")
	if utf8.RuneCountInString(name) > maxName || !plainName.MatchString(name) || longNumber.MatchString(name) {
		return ""
	}
	return name
}

// displayUsername returns username with a word joiner behind each dot: it looks the same and is no domain to a mail
// program. What is no username at all is dropped.
func displayUsername(username string) string {
	stored, fault := account.ReadUsername(username)
	if fault != "" {
		return ""
	}
	return strings.ReplaceAll(stored, ".", ".\u2060")
}

// displayKeys returns names of keys that no mail program makes a link of, and that nobody takes for our words: what is
// neither letter, digit, space, "-" nor "_" becomes a "·", and so does a long number.
func displayKeys(names []string) []string {
	shown := make([]string, len(names))
	for i, name := range names {
		name = strings.Map(func(r rune) rune {
			if unicode.In(r, unicode.L, unicode.M, unicode.Nd) || strings.ContainsRune(" -_", r) {
				return r
			}
			return '·'
		}, strings.Join(strings.Fields(name), " "))
		name = anyLongNumber.ReplaceAllString(name, "·")
		if runes := []rune(name); len(runes) > maxName {
			name = string(runes[:maxName]) + "…"
		}
		shown[i] = name
	}
	return shown
}

var anyLongNumber = regexp.MustCompile(`\p{Nd}(?:[ -]?\p{Nd}){4,}`)

// oneLine makes s fit for a header.
func oneLine(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s)
	if runes := []rune(s); len(runes) > maxSubject {
		s = string(runes[:maxSubject])
	}
	return strings.Join(strings.Fields(s), " ")
}
