package account

import (
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // the same zones on every machine

	"golang.org/x/text/language"
)

// Settings are what a person prefers (contract B13).
type Settings struct {
	// Timezone is an IANA name.
	Timezone    string
	OddsFormat  string
	NotifyEmail bool
	NotifyPush  bool
	NotifySMS   bool
	Theme       string
	// Language is a BCP 47 tag.
	Language string
}

// SettingsChange is what changes of them; a nil field stays as it is.
type SettingsChange struct {
	Timezone    *string
	OddsFormat  *string
	NotifyEmail *bool
	NotifyPush  *bool
	NotifySMS   *bool
	Theme       *string
	Language    *string
}

// The values that settings of a closed set may have. Document B shows american, decimal and dark.
var (
	OddsFormats = []string{"american", "decimal", "fractional"}
	Themes      = []string{"dark", "light", "system"}
)

const (
	maxTimezone = 64
	maxLanguage = 35
)

// TimezoneFault returns why s is no IANA time zone, or nothing.
func TimezoneFault(s string) string {
	if s == "" || s == "Local" || len(s) > maxTimezone {
		return "must be an IANA time zone such as Europe/Berlin"
	}
	if _, err := time.LoadLocation(s); err != nil {
		return "must be an IANA time zone such as Europe/Berlin"
	}
	return ""
}

// ParseLanguage returns a language tag in its canonical form, or why s is none.
func ParseLanguage(s string) (tag, fault string) {
	parsed, err := language.Parse(s)
	if err != nil || len(s) > maxLanguage || parsed == language.Und {
		return "", "must be a language tag such as en or pt-BR"
	}
	return parsed.String(), ""
}

// ChoiceFault returns why s is none of choices, or nothing.
func ChoiceFault(s string, choices []string) string {
	if !slices.Contains(choices, s) {
		return "must be one of " + strings.Join(choices, ", ")
	}
	return ""
}

// DataProvider is a source of data that an account uses, or does not (contract B15). It holds no credential.
type DataProvider struct {
	Name    string
	Enabled bool
}

// MaxDataProviders is how many an account may name.
const MaxDataProviders = 100

// Membership is somebody's part in an organization (contract B17). Only public ones are shown to strangers.
type Membership struct {
	Organization string
	Role         string
	Public       bool
	CreatedAt    time.Time
}
