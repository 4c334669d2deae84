//go:build unix

package stacktest

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInName(t *testing.T) {
	t.Parallel()
	all, err := book()
	require.NoError(t, err)
	for name, want := range map[string][]string{
		"TestAttack/OTP05_ReplayedCode":               {"OTP-05"},
		"TestPhone_F23_SMSRefused":                    {"F-23"},
		"TestSubscriptions_F01_F02_WorkerKilled":      {"F-01", "F-02"},
		"TestUsers/SES-11_Cookie/SES-01":              {"SES-11", "SES-01"},
		"TestEnumeration_ENU01_Times/unknown#01":      {"ENU-01"},
		"TestAccountLinks_OAU01_OAU03/OTP99_NoneSuch": {"OAU-01", "OAU-03"},
	} {
		require.Equal(t, want, inName(all, name), name)
	}
	require.Empty(t, inName(all, "TestRF23_B19"))
}
