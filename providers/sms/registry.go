// Package sms sends text messages to phones, by SMS and WhatsApp. The vendors are the lines of the table in this file, each
// with a file of its own.
package sms

import (
	"errors"

	"gatehouse/providers"
)

// Settings are those of config.SMS, field by field, so that one converts into the other.
type Settings struct {
	// TwilioURL is the root of Twilio's REST API.
	TwilioURL string
	// TwilioAccountSID and TwilioAuthToken are the account, empty for none.
	TwilioAccountSID string
	TwilioAuthToken  string
	// TwilioFrom sends SMS: a number in E.164, a sender name, or a messaging service (MG...).
	TwilioFrom string
	// TwilioWhatsAppFrom sends by WhatsApp: a number in E.164; empty for no WhatsApp.
	TwilioWhatsAppFrom string
	// TwilioWhatsAppContent is the approved content template (HX...) that WhatsApp codes are sent with; its variable 1 is the
	// code. Empty sends plain text.
	TwilioWhatsAppContent string
}

// vendors are the ways out, the first whose settings are given wins. To add one: a file beside this one, its settings
// in config.SMS and Settings, a line here, and a run of the conformance suite.
var vendors = []providers.Vendor[Settings]{
	{Name: "twilio", Configured: func(s Settings) bool { return s.TwilioAccountSID != "" }, Open: openTwilio},
}

// New returns the sender that settings ask for, or inbox when they ask for none. It connects to nothing yet; an error
// names the setting at fault.
func New(settings Settings, inbox providers.Sender) (providers.Sender, error) {
	sender, err := providers.Choose("sms", vendors, settings, inbox)
	if err == nil && sender == nil {
		err = errors.New("sms: no provider is set (GATEHOUSE_TWILIO_ACCOUNT_SID) and there is no development inbox")
	}
	return sender, err
}
