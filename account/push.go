package account

// PushTokenFault returns why s cannot be the token by which a push service knows a device, or nothing.
func PushTokenFault(s string) string {
	switch {
	case s == "":
		return "is required"
	case len(s) > maxPushToken:
		return "must be at most 2048 characters"
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' {
			return "must be printable ASCII without spaces"
		}
	}
	return ""
}

const maxPushToken = 2048

// Bounds of what is kept of an account's devices.
const (
	// MaxPushTokens is how many an account has; a further one takes the place of the one bound longest ago.
	MaxPushTokens = 20
	// MaxPushSettings is how many bytes of settings are kept with one.
	MaxPushSettings = 4096
)
