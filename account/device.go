package account

import (
	"strings"
	"time"
	"unicode"

	"github.com/google/uuid"
	"github.com/mileusna/useragent"
)

// unknownDevice is the label of a device that says nothing about itself.
const unknownDevice = "Unknown device"

const (
	maxDeviceWord = 40
	// MaxDeviceInfo is the most characters of a label that a client chooses itself.
	MaxDeviceInfo = 200
)

// ClientDevice is what a client calls the device it runs on. That is for people to recognize it by, and proves nothing.
type ClientDevice struct {
	// ID is the client's own name for the device, empty for none.
	ID             string
	Name, Platform *string
}

// TrustedDevice is a device that skips the second step of a login, as long as it shows its token (design D7).
type TrustedDevice struct {
	ID                               uuid.UUID
	AccountID                        uuid.UUID
	Client                           ClientDevice
	CreatedAt, LastUsedAt, ExpiresAt time.Time
}

// SecondStep is what a login still owes after its first proof.
type SecondStep string

// The second steps: StepDevice is a code to the account's email (D20), StepFactor the account's authenticator app or a
// backup code (B11).
const (
	StepNone   SecondStep = ""
	StepDevice SecondStep = "device"
	StepFactor SecondStep = "factor"
)

// DeviceLabel says in a few words what a User-Agent header claims, as in "Chrome 120.0 on macOS". It is for people to
// recognize their devices by, and proves nothing.
func DeviceLabel(userAgent string) string {
	if strings.TrimSpace(userAgent) == "" {
		return unknownDevice
	}
	parsed := useragent.Parse(userAgent)
	name := deviceWord(parsed.Name)
	if name == "" {
		return unknownDevice
	}
	if version := deviceWord(parsed.VersionNoShort()); version != "" {
		name += " " + version
	}
	if system := deviceWord(parsed.OS); system != "" {
		name += " on " + system
	}
	return name
}

// deviceWord is a word of the header if it looks like a product, a version or a system: the header is a stranger's text.
func deviceWord(s string) string {
	harmless := func(r rune) bool {
		return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(" ._-+", r)
	}
	s = strings.TrimSpace(s)
	if len(s) > maxDeviceWord || strings.ContainsFunc(s, func(r rune) bool { return !harmless(r) }) {
		return ""
	}
	return s
}
