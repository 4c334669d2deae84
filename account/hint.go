package account

import "strings"

// leastHidden is how many characters of a number a hint keeps back at least.
const leastHidden = 3

// Hint shows its owner where a code went, as document D prints it: jo***@example.com, +254***7890. It tells more than Mask,
// and is for the owner alone. A short address or number tells less.
func Hint(channel Channel, destination string) string {
	if channel == ChannelSMS || channel == ChannelWhatsApp {
		show := 4
		if len(destination) < 2*show+leastHidden {
			show = 2
		}
		if len(destination) < 2*show+leastHidden {
			return Mask(channel, destination)
		}
		return destination[:show] + "***" + destination[len(destination)-show:]
	}
	local, domain, _ := strings.Cut(destination, "@")
	const show = 2
	if len(local) <= show {
		return Mask(channel, destination)
	}
	return local[:show] + "***@" + domain
}
