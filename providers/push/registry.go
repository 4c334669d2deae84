// Package push sends messages to devices. The vendors are the lines of the table in this file, each with a file of its own.
package push

import "gatehouse/providers"

// Settings are those of config.Push, field by field, so that one converts into the other.
type Settings struct {
	// FCMURL is the root of Firebase Cloud Messaging.
	FCMURL string
	// FCMCredentials is the path of a service account's JSON file, empty for none.
	FCMCredentials string
}

// vendors are the ways out, the first whose settings are given wins. To add one: a file beside this one, its settings
// in config.Push and Settings, a line here, and a run of the conformance suite.
var vendors = []providers.Vendor[Settings]{
	{Name: "fcm", Configured: func(s Settings) bool { return s.FCMCredentials != "" }, Open: openFCM},
}

// New returns the sender that settings ask for, or inbox when they ask for none; a nil inbox means that no device is sent
// anything. It connects to nothing yet; an error names the setting at fault.
func New(settings Settings, inbox providers.Sender) (providers.Sender, error) {
	return providers.Choose("push", vendors, settings, inbox)
}
