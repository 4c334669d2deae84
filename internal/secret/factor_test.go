package secret_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

func TestTOTP(t *testing.T) {
	t.Parallel()
	key, link, err := secret.NewTOTP("Gate House", "ann@example.com")
	require.NoError(t, err)
	require.Regexp(t, `^[A-Z2-7]{32}$`, key, "160 bits")
	u, err := url.Parse(link)
	require.NoError(t, err)
	require.Equal(t, "otpauth://totp/Gate House:ann@example.com", u.Scheme+"://"+u.Host+u.Path)
	require.Equal(t, key, u.Query().Get("secret"))
	require.Equal(t, "Gate House", u.Query().Get("issuer"))
	other, _, err := secret.NewTOTP("Gate House", "ann@example.com")
	require.NoError(t, err)
	require.NotEqual(t, key, other)

	now := time.Unix(1_700_000_010, 0)
	step := now.Unix() / 30
	for drift, good := range map[int64]bool{-2: false, -1: true, 0: true, 1: true, 2: false} {
		at := now.Add(time.Duration(drift) * 30 * time.Second)
		code, err := totp.GenerateCode(key, at)
		require.NoError(t, err)
		got, ok := secret.TOTPStep(key, code, now)
		require.Equal(t, good, ok, drift)
		if good {
			require.Equal(t, step+drift, got)
		}
	}
	for _, wrong := range []string{"", "abcdef", "1234567", strings.Repeat("9", 1000)} {
		_, ok := secret.TOTPStep(key, wrong, now)
		require.False(t, ok, wrong)
	}
	_, ok := secret.TOTPStep("no base32!", "123456", now)
	require.False(t, ok)
}

// The test vector of RFC 6238, appendix B, cut to six digits.
func TestTOTPIsTheStandards(t *testing.T) {
	t.Parallel()
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	for at, code := range map[int64]string{59: "287082", 1111111109: "081804", 20000000000: "353130"} {
		step, ok := secret.TOTPStep(key, code, time.Unix(at, 0))
		require.True(t, ok, at)
		require.Equal(t, at/30, step)
	}
}

func TestTOTPIsSealedForItsAccount(t *testing.T) {
	t.Parallel()
	k, me := newKeys(t), uuid.New()
	sealed := k.SealTOTP(me, "SECRET")
	require.NotContains(t, string(sealed), "SECRET")
	require.NotEqual(t, sealed, k.SealTOTP(me, "SECRET"), "a nonce of its own")
	plain, err := k.OpenTOTP(me, sealed)
	require.NoError(t, err)
	require.Equal(t, "SECRET", plain)
	_, err = k.OpenTOTP(uuid.New(), sealed)
	require.Error(t, err, "another account")
	_, err = newKeys(t).OpenTOTP(me, sealed)
	require.ErrorContains(t, err, "GATEHOUSE_SECRET_KEY")
	sealed[len(sealed)-1] ^= 1
	_, err = k.OpenTOTP(me, sealed)
	require.Error(t, err, "edited")
}

func TestBackupCodes(t *testing.T) {
	t.Parallel()
	k, me := newKeys(t), uuid.New()
	code := secret.NewBackupCode()
	require.Regexp(t, `^([A-Z2-7]{6}-){3}[A-Z2-7]{6}$`, code, "24 letters of 5 bits")
	require.NotEqual(t, code, secret.NewBackupCode())
	hash := k.BackupCodeHash(me, code)
	require.Equal(t, hash, k.BackupCodeHash(me, strings.ToLower(strings.ReplaceAll(code, "-", " "))))
	require.NotEqual(t, hash, k.BackupCodeHash(uuid.New(), code))
	require.NotEqual(t, hash, k.BackupCodeHash(me, code[1:]))
	require.NotEqual(t, hash, newKeys(t).BackupCodeHash(me, code))
}
