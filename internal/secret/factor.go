package secret

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"github.com/pquerna/otp/totp"
)

const (
	totpStep = 30
	// totpDrift is how many steps a device's clock may be off, either way (conventions 13).
	totpDrift       = 1
	backupCodeBytes = 15
	backupCodeGroup = 6
)

var totpRules = hotp.ValidateOpts{Digits: otp.DigitsSix, Algorithm: otp.AlgorithmSHA1}

func newSealer(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// NewTOTP makes the secret of an authenticator app, in base32, and the otpauth URL that brings it there.
func NewTOTP(issuer, name string) (secret, url string, err error) {
	key, err := totp.Generate(totp.GenerateOpts{
		Issuer: issuer, AccountName: name, Period: totpStep, Digits: totpRules.Digits, Algorithm: totpRules.Algorithm,
	})
	if err != nil {
		return "", "", fmt.Errorf("make a TOTP secret: %w", err)
	}
	return key.Secret(), key.URL(), nil
}

// TOTPStep returns the time step that code belongs to, one before or after now's at most, and false for a code of none.
func TOTPStep(secret, code string, now time.Time) (step int64, ok bool) {
	current := now.Unix() / totpStep
	for s := current - totpDrift; s <= current+totpDrift; s++ {
		want, err := hotp.GenerateCodeCustom(secret, uint64(max(s, 0)), totpRules)
		if err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, ok = s, true
		}
	}
	return step, ok
}

// SealTOTP encrypts the secret of an account's authenticator app, for no other account.
func (k *Keys) SealTOTP(accountID uuid.UUID, secret string) []byte {
	return k.sealer.Seal(nil, nil, []byte(secret), accountID[:]) //nolint:gosec // the cipher makes a random nonce itself
}

// OpenTOTP decrypts what SealTOTP returned. It fails for another account, and under another secret key.
func (k *Keys) OpenTOTP(accountID uuid.UUID, sealed []byte) (string, error) {
	plain, err := k.sealer.Open(nil, nil, sealed, accountID[:])
	if err != nil {
		return "", errors.New("the sealed TOTP secret does not open: GATEHOUSE_SECRET_KEY was changed, or the row")
	}
	return string(plain), nil
}

var backupAlphabet = base32.StdEncoding.WithPadding(base32.NoPadding)

// NewBackupCode returns a random 120-bit code in four groups, as people write it down.
func NewBackupCode() string {
	b := make([]byte, backupCodeBytes)
	_, _ = rand.Read(b)
	groups := slices.Collect(slices.Chunk([]byte(backupAlphabet.EncodeToString(b)), backupCodeGroup))
	words := make([]string, len(groups))
	for i, g := range groups {
		words[i] = string(g)
	}
	return strings.Join(words, "-")
}

// BackupCodeHash is what the store keeps of an account's backup code, however its letters and groups are written.
func (k *Keys) BackupCodeHash(accountID uuid.UUID, code string) []byte {
	plain := strings.ToUpper(strings.NewReplacer("-", "", " ", "").Replace(code))
	return mac(k.token, "backup-code", accountID.String(), plain)
}
