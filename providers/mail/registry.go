// Package mail sends mail. The vendors are the lines of the table in this file, each with a file of its own.
package mail

import (
	"errors"
	"fmt"

	"gatehouse/internal/config"
	"gatehouse/providers"
)

// vendors are the ways out, the first whose settings are given wins. To add one: a file beside this one, its settings
// in config.Mail, a line here, and a run of the conformance suite.
var vendors = []struct {
	name       string
	configured func(config.Mail) bool
	open       func(config.Mail) (providers.Sender, error)
}{
	{"smtp", func(c config.Mail) bool { return c.Host != "" }, openSMTP},
}

// New returns the sender that cfg asks for, or inbox when it asks for none. It connects to nothing yet; an error
// names the setting at fault.
func New(cfg config.Mail, inbox providers.Sender) (providers.Sender, error) {
	for _, v := range vendors {
		if !v.configured(cfg) {
			continue
		}
		sender, err := v.open(cfg)
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
