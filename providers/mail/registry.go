// Package mail sends mail. The vendors are the lines of the table in this file, each with a file of its own.
package mail

import (
	"errors"

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
var vendors = []providers.Vendor[Settings]{
	{Name: "smtp", Configured: func(s Settings) bool { return s.Host != "" }, Open: openSMTP},
}

// New returns the sender that settings ask for, or inbox when they ask for none. It connects to nothing yet; an error
// names the setting at fault.
func New(settings Settings, inbox providers.Sender) (providers.Sender, error) {
	sender, err := providers.Choose("mail", vendors, settings, inbox)
	if err == nil && sender == nil {
		err = errors.New("mail: no provider is set (GATEHOUSE_SMTP_HOST) and there is no development inbox")
	}
	return sender, err
}
