// Package mail sends mail. The vendors are the lines of the table in this file, each with a file of its own.
package mail

import (
	"errors"
	"fmt"

	"gatehouse/providers"
)

// Settings are those of config.Mail, field by field, so that one converts into the other.
type Settings struct {
	// Host is the SMTP server, empty for none.
	Host     string
	Port     int
	Username string
	Password string
	// TLS is starttls, tls or none.
	TLS string
	// From is the sender of every mail, with or without a display name.
	From string
}

// vendors are the ways out, the first whose settings are given wins. To add one: a file beside this one, its settings
// in config.Mail and Settings, a line here, and a run of the conformance suite.
var vendors = []struct {
	name       string
	configured func(Settings) bool
	open       func(Settings) (providers.Sender, error)
}{
	{"smtp", func(s Settings) bool { return s.Host != "" }, openSMTP},
}

// New returns the sender that settings ask for, or inbox when they ask for none. It connects to nothing yet; an error
// names the setting at fault.
func New(settings Settings, inbox providers.Sender) (providers.Sender, error) {
	for _, v := range vendors {
		if !v.configured(settings) {
			continue
		}
		sender, err := v.open(settings)
		if err != nil {
			return nil, fmt.Errorf("mail: %s: %w", v.name, err)
		}
		return sender, nil
	}
	if inbox == nil {
		return nil, errors.New("mail: no provider is set (GATEHOUSE_SMTP_HOST) and there is no development inbox")
	}
	return inbox, nil
}
