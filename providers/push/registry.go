// Package push sends messages to devices. The vendors are the lines of the table in this file, each with a file of its own.
package push

import (
	"fmt"

	"gatehouse/providers"
)

// Settings are those of config.Push, field by field, so that one converts into the other.
type Settings struct {
	// FCMURL is the root of Firebase Cloud Messaging.
	FCMURL string
	// FCMCredentials is the path of a service account's JSON file, empty for none.
	FCMCredentials string
}

// vendors are the ways out, the first whose settings are given wins. To add one: a file beside this one, its settings
// in config.Push and Settings, a line here, and a run of the conformance suite.
var vendors = []struct {
	name       string
	configured func(Settings) bool
	open       func(Settings) (providers.Sender, error)
}{
	{"fcm", func(s Settings) bool { return s.FCMCredentials != "" }, openFCM},
}

// New returns the sender that settings ask for, or inbox when they ask for none; a nil inbox means that no device is sent
// anything. It connects to nothing yet; an error names the setting at fault.
func New(settings Settings, inbox providers.Sender) (providers.Sender, error) {
	for _, v := range vendors {
		if !v.configured(settings) {
			continue
		}
		sender, err := v.open(settings)
		if err != nil {
			return nil, fmt.Errorf("push: %s: %w", v.name, err)
		}
		return sender, nil
	}
	return inbox, nil
}
