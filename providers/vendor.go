package providers

import "fmt"

// Vendor is a line in the registry of a channel: one way to send, where S are the settings of the channel.
type Vendor[S any] struct {
	Name string
	// Configured reports whether the settings of this vendor are given.
	Configured func(settings S) bool
	Open       func(settings S) (Sender, error)
}

// Choose opens the first vendor that is configured, or returns otherwise when none is. channel is named in errors.
func Choose[S any](channel string, vendors []Vendor[S], settings S, otherwise Sender) (Sender, error) {
	for _, v := range vendors {
		if !v.Configured(settings) {
			continue
		}
		sender, err := v.Open(settings)
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", channel, v.Name, err)
		}
		return sender, nil
	}
	return otherwise, nil
}
