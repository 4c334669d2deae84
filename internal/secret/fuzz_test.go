package secret_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"gatehouse/account"
	"gatehouse/internal/secret"
)

func fuzzKeys(f *testing.F) *secret.Keys {
	f.Helper()
	keys, err := secret.NewKeys(secret.GenerateKey())
	if err != nil {
		f.Fatal(err)
	}
	return keys
}

// No id proves itself that was not made here, for its owner.
func FuzzOperation(f *testing.F) {
	keys, owner := fuzzKeys(f), uuid.New()
	kind := secret.OperationKind{Flow: account.FlowPassword}
	good := keys.OperationID(kind, owner, "", time.Unix(1_800_000_000, 0))
	f.Add(good[:], owner[:])
	f.Add(good[:], make([]byte, 16))
	f.Add(make([]byte, 16), owner[:])
	f.Add(bytes.Repeat([]byte{0xff}, 16), owner[:])
	f.Fuzz(func(t *testing.T, rawID, rawOwner []byte) {
		id, err := uuid.FromBytes(rawID)
		whose, otherErr := uuid.FromBytes(rawOwner)
		if err != nil || otherErr != nil {
			return
		}
		if got, _, ok := keys.Operation(id, whose); ok != (id == good && whose == owner) || ok && got != kind {
			t.Fatalf("%s of %s: %v", id, whose, ok)
		}
	})
}

// A refresh token, an API key, a device's and a step's token: what has one's form has no other's, one hash is of one kind, and
// no other text has it.
func FuzzTokens(f *testing.F) {
	keys := fuzzKeys(f)
	for _, prefix := range []string{
		secret.RefreshTokenPrefix, secret.APIKeyPrefix, secret.ServiceKeyPrefix, secret.DeviceTokenPrefix, secret.StepTokenPrefix, "",
	} {
		f.Add(secret.NewToken(prefix), prefix)
	}
	f.Add("sk_live_\x00", "\x00")
	f.Fuzz(func(t *testing.T, token, other string) {
		if secret.IsAPIKey(token) && (secret.IsDeviceToken(token) || strings.HasPrefix(token, secret.RefreshTokenPrefix)) {
			t.Fatalf("%q is two things", token)
		}
		hashes := [][]byte{keys.RefreshHash(token), keys.DeviceHash(token), keys.StepHash(token), keys.TokenHash("api key", token)}
		for i, one := range hashes {
			for _, two := range hashes[:i] {
				if bytes.Equal(one, two) {
					t.Fatalf("%q hashes alike for two kinds", token)
				}
			}
		}
		if token != other && bytes.Equal(keys.RefreshHash(token), keys.RefreshHash(other)) {
			t.Fatalf("%q and %q hash alike", token, other)
		}
		next := keys.NextToken(secret.RefreshTokenPrefix, token)
		if next == token || next != keys.NextToken(secret.RefreshTokenPrefix, token) {
			t.Fatalf("%q is followed by %q", token, next)
		}
	})
}

// Codes: of a message, of an app, for the worst case; none but the right one matches.
func FuzzCodes(f *testing.F) {
	keys, challenge, owner := fuzzKeys(f), uuid.New(), uuid.New()
	code := keys.Code(challenge)
	hash := keys.CodeHash(challenge, code)
	seed, _, err := secret.NewTOTP("Gatehouse", "ada")
	if err != nil {
		f.Fatal(err)
	}
	temp := keys.TempToken(account.PurposePasswordChange, challenge)
	for _, guess := range []string{code, "", "000000", code + " ", " " + code, code + "\x00", "٤٨٢٩١٠", temp, strings.ToUpper(temp), seed} {
		f.Add(guess)
	}
	f.Fuzz(func(t *testing.T, guess string) {
		if keys.CodeMatches(challenge, guess, hash) != (guess == code) {
			t.Fatalf("%q matches %q", guess, code)
		}
		if keys.TempTokenMatches(account.PurposePasswordChange, challenge, guess) != (guess == temp) {
			t.Fatalf("%q matches a token", guess)
		}
		if _, ok := secret.TOTPStep(seed, guess, time.Unix(1_800_000_000, 0)); ok && (len(guess) != 6 || strings.Trim(guess, "0123456789") != "") {
			t.Fatalf("%q is no code of six digits, yet right", guess)
		}
		if _, ok := secret.TOTPStep(guess, "000000", time.Unix(1_800_000_000, 0)); ok && guess == "" {
			t.Fatal("no secret has a code")
		}
		if bytes.Equal(keys.BackupCodeHash(owner, guess), keys.BackupCodeHash(challenge, guess)) {
			t.Fatalf("%q counts for two accounts", guess)
		}
	})
}

// What was sealed opens for its row alone; nothing else does, and nothing of it panics.
func FuzzSealed(f *testing.F) {
	keys, owner := fuzzKeys(f), uuid.New()
	hash := keys.TokenHash("push", "token")
	f.Add(keys.SealTOTP(owner, "JBSWY3DPEHPK3PXP"))
	f.Add(keys.SealWebhookSecret(owner, secret.NewWebhookSecret()))
	f.Add(keys.SealPushToken(hash, "token"))
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{1}, 28))
	f.Fuzz(func(t *testing.T, sealed []byte) {
		opened := 0
		if _, err := keys.OpenTOTP(owner, sealed); err == nil {
			opened++
		}
		if _, err := keys.OpenWebhookSecret(owner, sealed); err == nil {
			opened++
		}
		if _, err := keys.OpenPushToken(hash, sealed); err == nil {
			opened++
		}
		if opened > 1 {
			t.Fatal("sealed for one use, opened for another")
		}
		if _, err := keys.OpenTOTP(uuid.Nil, sealed); err == nil {
			t.Fatal("opened for somebody else")
		}
	})
}

func FuzzKeysSetting(f *testing.F) {
	f.Add(secret.GenerateKey())
	f.Add("dev:" + secret.GenerateKey())
	f.Add("")
	f.Add(secret.GenerateKey() + "," + secret.GenerateKey())
	f.Add("AAAA,,AAAA")
	f.Fuzz(func(t *testing.T, setting string) {
		if _, err := secret.NewKeys(setting); err != nil && len(setting) > 12 && strings.Contains(err.Error(), setting) {
			t.Fatal("the fault quotes the key")
		}
		tokens, err := secret.NewAccessTokens(setting, "https://accounts.example", clockAt(time.Unix(1_800_000_000, 0)))
		if err != nil {
			return
		}
		token, err := tokens.Sign(uuid.New(), uuid.New(), time.Unix(1_800_000_000, 0), time.Unix(1_800_000_900, 0))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tokens.Session(token); err != nil {
			t.Fatal("a key that signs what it does not know again")
		}
	})
}
