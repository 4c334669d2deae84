package account_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestStrength(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		email, phone, factor bool
		score                int
		level                account.SecurityLevel
		advice               int
	}{
		{false, false, false, 0, "VERY_WEAK", 3},
		{true, false, false, 25, "WEAK", 2},
		{false, true, false, 25, "WEAK", 2},
		{true, true, false, 50, "MEDIUM", 1},
		{false, false, true, 50, "MEDIUM", 2},
		{true, false, true, 75, "STRONG", 1},
		{true, true, true, 100, "STRONG", 0},
	} {
		s := account.Account{EmailVerified: one.email, PhoneVerified: one.phone, TwoFactor: one.factor}.Strength()
		require.Equal(t, one.score, s.Score)
		require.Equal(t, one.level, s.Level)
		require.NotEmpty(t, s.Description)
		require.Len(t, s.Recommendations, one.advice)
		require.NotNil(t, s.Recommendations, "an empty list, never null")
	}
	// The sample of document D.
	s := account.Account{EmailVerified: true, PhoneVerified: true}.Strength()
	require.Equal(t, account.SecurityStrength{
		Score: 50, Level: account.SecurityMedium, Description: "Your account security is good but can be improved",
		Recommendations: []string{"Enable two-factor authentication"},
	}, s)
}
