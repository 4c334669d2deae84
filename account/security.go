package account

// SecurityLevel is how well an account is protected.
type SecurityLevel string

// The levels, weakest first.
const (
	SecurityVeryWeak SecurityLevel = "VERY_WEAK"
	SecurityWeak     SecurityLevel = "WEAK"
	SecurityMedium   SecurityLevel = "MEDIUM"
	SecurityStrong   SecurityLevel = "STRONG"
)

// The points of what protects an account; together they are 100 (conventions 21).
const (
	emailPoints     = 25
	phonePoints     = 25
	twoFactorPoints = 50
)

// SecurityStrength is how well an account is protected, in points and words, and what would better it.
type SecurityStrength struct {
	Score           int
	Level           SecurityLevel
	Description     string
	Recommendations []string
}

// Strength judges the account.
func (a Account) Strength() SecurityStrength {
	s := SecurityStrength{Recommendations: []string{}}
	for _, one := range []struct {
		done   bool
		points int
		advice string
	}{
		{a.EmailVerified, emailPoints, "Verify your email address"},
		{a.PhoneVerified, phonePoints, "Verify your phone number"},
		{a.TwoFactor, twoFactorPoints, "Enable two-factor authentication"},
	} {
		if one.done {
			s.Score += one.points
		} else {
			s.Recommendations = append(s.Recommendations, one.advice)
		}
	}
	switch {
	case s.Score < 25:
		s.Level, s.Description = SecurityVeryWeak, "Your account is hardly protected"
	case s.Score < 50:
		s.Level, s.Description = SecurityWeak, "Your account security is weak"
	case s.Score < 75:
		s.Level, s.Description = SecurityMedium, "Your account security is good but can be improved"
	default:
		s.Level, s.Description = SecurityStrong, "Your account security is strong"
	}
	return s
}
