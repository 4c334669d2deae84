package account

// UserTypes are what a person may say they use their account as (contract A02).
var UserTypes = []string{"individual", "company"}

// AudioUsages are what a person may say they use it for (contract A02).
var AudioUsages = []string{
	"personal", "creator", "business", "voice_actor", "education", "engineer", "marketer", "other",
}

// OnboardingEvent is what a client reports about a person's first steps (contract C18).
type OnboardingEvent string

// The onboarding events. OnboardingCompleted ends the onboarding; OnboardingSkipped is recorded and leaves it open
// (contract X25).
const (
	OnboardingCompleted OnboardingEvent = "completed"
	OnboardingSkipped   OnboardingEvent = "skipped"
)

// ProfileChange is what changes about a person. A nil field stays as it is; an empty FullName or ReferralSource is
// removed. Fields that are not here cannot be changed by their owner.
type ProfileChange struct {
	FullName       *string
	UserType       *string
	AudioUsage     *string
	ReferralSource *string
	// PhoneNumber, when it differs from the present one, is unverified.
	PhoneNumber *string
	CountryCode *string
}

// Welcome is the welcome bonus of an account (contract X17).
type Welcome struct {
	// Reduced is set when another account had the same device fingerprint.
	Reduced  bool
	Full     int64
	Received int64
	// Siblings is how many other proven accounts share the device fingerprint, counted up to MaxSiblings.
	Siblings int
	// Unlockable is set while the rest of a reduced bonus waits for nothing but being asked for (C30).
	Unlockable bool
}

// Remaining is what has not been received of the full bonus.
func (w Welcome) Remaining() int64 { return max(w.Full-w.Received, 0) }

// MaxSiblings bounds what a shared device fingerprint tells about others (security.md PRE-11).
const MaxSiblings = 5
