//go:build unix

package e2e_test

import (
	"encoding/base32"
	"encoding/base64"
	"fmt"
	"maps"
	"math"
	"math/bits"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

// samples is how many of each kind WEB-17 looks at, of what makes them for the system.
const samples = 10_000

// TestMatrix_WEB17_NothingIsPredictable looks at many ids and secrets of each kind: none comes twice, none follows from the one
// before, and every bit is as often set as not.
func TestMatrix_WEB17_NothingIsPredictable(t *testing.T) {
	t.Parallel()
	s := startSystem(t, quickSends...)
	email := newEmail()
	token := s.signUp(t, email)
	all := make([]string, samples)
	for kind, made := range map[string]func(int) string{
		"refresh token":  func(int) string { return secret.NewToken(secret.RefreshTokenPrefix) },
		"API key":        func(int) string { return secret.NewToken(secret.APIKeyPrefix) },
		"service key":    func(int) string { return secret.NewToken(secret.ServiceKeyPrefix) },
		"next refresh":   func(i int) string { return s.keys.NextToken(secret.RefreshTokenPrefix, fmt.Sprint(i)) },
		"webhook secret": func(int) string { return secret.NewWebhookSecret() },
		"backup code":    func(int) string { return secret.NewBackupCode() },
		"link token":     func(int) string { return s.keys.LinkToken(uuid.New()) },
		"device token":   func(int) string { return s.keys.DeviceToken(uuid.New()) },
		"step token":     func(int) string { return s.keys.StepToken(uuid.New()) },
		"id":             func(int) string { return uuid.NewString() },
	} {
		for i := range all {
			all[i] = made(i)
		}
		requireRandom(t, kind, all)
	}

	// What the running system hands out is made no other way.
	told := map[string][]string{}
	for range 40 {
		made := s.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: token, Body: fields{"name": "k", "scopes": []string{"account:read"}}}).object(t)
		told["API key handed out"] = append(told["API key handed out"], made["key"].(string))
		told["id of a key"] = append(told["id of a key"], made["id"].(string))
		s.want(t, http.StatusNoContent, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + made["id"].(string), Token: token})
		session := s.authenticate(t, email, password).object(t)
		_, claims := opened(t, session["accessToken"].(string))
		told["refresh token handed out"] = append(told["refresh token handed out"], session["refreshToken"].(string))
		told["session id"] = append(told["session id"], claims["sid"].(string))
	}
	for _, kind := range slices.Sorted(maps.Keys(told)) {
		requireRandom(t, kind, told[kind])
	}
}

var (
	backupLetters = base32.StdEncoding.WithPadding(base32.NoPadding)
	backupCode    = regexp.MustCompile(`^[A-Z2-7]{4,6}(-[A-Z2-7]{4,6})+$`)
	secretPrefix  = regexp.MustCompile(`^(gh[ksrd]|dvt|whsec)_`)
)

// entropy is the random part of a value.
func entropy(t *testing.T, value string) []byte {
	t.Helper()
	if id, err := uuid.Parse(value); err == nil {
		return id[:]
	}
	value = secretPrefix.ReplaceAllString(value, "")
	if backupCode.MatchString(value) {
		content, err := backupLetters.DecodeString(strings.ReplaceAll(value, "-", ""))
		require.NoError(t, err)
		return content
	}
	for _, decode := range []func(string) ([]byte, error){
		base64.RawURLEncoding.Strict().DecodeString, base64.StdEncoding.Strict().DecodeString,
		func(v string) ([]byte, error) {
			return backupLetters.DecodeString(strings.ToUpper(strings.ReplaceAll(v, "-", "")))
		},
	} {
		if content, err := decode(value); err == nil && len(content) >= 15 {
			return content
		}
	}
	require.Fail(t, "no random part", value)
	return nil
}

// requireRandom is WEB-17: distinct, of 120 bits at least, without a fixed or leaning bit but those that say what a UUID is, and no
// value near the one before.
func requireRandom(t *testing.T, kind string, values []string) {
	t.Helper()
	require.Len(t, slices.Compact(slices.Sorted(slices.Values(values))), len(values), "a %s came twice", kind)
	_, id := uuid.Parse(values[0])
	var set []int
	steps := map[string]int{}
	var before []byte
	for _, value := range values {
		content := entropy(t, value)
		require.GreaterOrEqual(t, len(content)*8, 120, kind)
		if set == nil {
			set = make([]int, len(content)*8)
		}
		require.Len(t, content, len(set)/8, kind)
		for i := range set {
			set[i] += int(content[i/8] >> (7 - i%8) & 1)
		}
		if before != nil {
			same := 0
			for i := range content {
				same += 8 - bits.OnesCount8(content[i]^before[i])
			}
			require.InDelta(t, len(content)*4, same, 8*math.Sqrt(float64(len(content)*2)), "a %s is near the one before", kind)
			steps[string(content[:4])]++
		}
		before = content
	}
	for _, n := range steps {
		require.LessOrEqual(t, n, 3, "many values of %s begin alike", kind)
	}
	// Beyond six standard deviations chance puts one of a few thousand bits once in a hundred thousand runs.
	n := float64(len(values))
	for i, ones := range set {
		if id == nil && (i >= 48 && i < 52 || i >= 64 && i < 66) {
			continue // the version and the variant
		}
		require.InDelta(t, n/2, ones, 6*math.Sqrt(n)/2, "bit %d of %s", i, kind)
	}
}
