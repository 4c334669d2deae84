package core

import (
	"encoding/json"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/html"

	"gatehouse/account"
)

const (
	maxAttribution = 500
	maxAnonymousID = 200
)

// origin is where a request came from, with what its client said about itself made harmless: HTML is stripped and values
// are cut (contract C06, C08).
func origin(by account.Caller, fingerprint json.RawMessage, attribution map[string]string, anonymousID *string) account.Origin {
	o := account.Origin{UserAgent: text(by.UserAgent, maxAttribution)}
	if !emptyObject(fingerprint) {
		o.Fingerprint = fingerprint
	}
	if by.IP.IsValid() {
		o.IP = by.IP.String()
	}
	for name, value := range attribution {
		if o.Attribution == nil {
			o.Attribution = map[string]string{}
		}
		o.Attribution[text(stripHTML(name), maxAttribution)] = text(stripHTML(value), maxAttribution)
	}
	if anonymousID != nil {
		id := text(*anonymousID, maxAnonymousID)
		o.AnonymousID = &id
	}
	return o
}

// emptyObject reports whether a client sent no fingerprint at all, or one that says nothing.
func emptyObject(fingerprint json.RawMessage) bool {
	var members map[string]json.RawMessage
	return json.Unmarshal(fingerprint, &members) != nil || len(members) == 0
}

// text cuts s to limit characters and drops what Postgres or a log line could not hold.
func text(s string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, ""))
	if utf8.RuneCountInString(s) > limit {
		s = string([]rune(s)[:limit])
	}
	return s
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, unicode.IsControl) && utf8.ValidString(s)
}

// stripHTML returns the text of an HTML fragment without its tags, scripts and styles.
func stripHTML(s string) string {
	if !strings.ContainsAny(s, "<&") {
		return s
	}
	var b strings.Builder
	hidden := 0
	for z := html.NewTokenizer(strings.NewReader(s)); ; {
		kind := z.Next()
		if kind == html.ErrorToken {
			return b.String()
		}
		name, _ := z.TagName()
		hides := string(name) == "script" || string(name) == "style"
		switch {
		case kind == html.StartTagToken && hides:
			hidden++
		case kind == html.EndTagToken && hides && hidden > 0:
			hidden--
		case kind == html.TextToken && hidden == 0:
			b.Write(z.Raw()) // unescaping would bring tags back
		}
	}
}
