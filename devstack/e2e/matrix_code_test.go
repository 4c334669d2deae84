//go:build unix

package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	codeOfSignup   = "sign-up"
	codeOfEmail    = "registration"
	codeOfMove     = "change of address"
	codeOfLink     = "address to link"
	codeOfPhone    = "phone"
	codeOfSecurity = "security code"
	codeOfDevice   = "login"
	codeOfApp      = "authenticator app"
)

// coded is somebody who awaits a code of every purpose. The first four went to one address, which is nobody's yet.
type coded struct {
	address, number  string
	token, mover     string
	temp, link, step string
	session          string
	codes            map[string]string
	app              app
}

// codeUnder waits for the code under a subject.
func (s *system) codeUnder(t *testing.T, email, subject string) string {
	t.Helper()
	var code string
	testkit.Eventually(t, patience, func() bool {
		for _, m := range s.inbox(t, email) {
			if m.Subject == subject {
				code = m.Code
			}
		}
		return code != ""
	}, subject)
	return code
}

// awaits begins all of it.
func (s *system) awaits(t *testing.T) coded {
	t.Helper()
	c := coded{address: newEmail(), number: newNumber(t), codes: map[string]string{}}
	own := newEmail()
	s.signUp(t, own)
	c.token = s.signedIn(t, own, password)
	c.session = s.sessionID(t, c.token)
	c.mover = s.signUp(t, newEmail())

	s.register(t, c.address, c.address)
	c.codes[codeOfEmail] = s.codeUnder(t, c.address, "Confirm your email address")
	s.initiate(t, c.address)
	c.codes[codeOfSignup] = s.codeUnder(t, c.address, "Your Gatehouse code")
	s.want(t, http.StatusOK, moveTo(c.mover, c.address))
	c.codes[codeOfMove] = s.codeUnder(t, c.address, "Confirm your new email address")
	linking := s.want(t, http.StatusOK, linkTo(c.token, c.address)).data(t)
	c.link = linking["tempToken"].(string)
	c.codes[codeOfLink] = s.codeUnder(t, c.address, "Your code to link this email address")

	s.sendPhoneCode(t, c.token, c.number)
	c.codes[codeOfPhone] = s.awaitPhoneCode(t, c.number, 1)
	c.temp, _ = s.sendOTP(t, c.token, "EMAIL")
	c.codes[codeOfSecurity] = s.securityCode(t, own, 1)
	c.step = s.enter(t, own, "X-Device-Id", "another").text(t, "deviceVerificationToken")
	c.codes[codeOfDevice] = s.deviceCode(t, own, c.step)
	c.app = s.enrolled(t)
	c.codes[codeOfApp] = c.app.code(t, 0)

	if distinct := slices.Compact(slices.Sorted(maps.Values(c.codes))); len(distinct) < len(c.codes) {
		return s.awaits(t) // two are equal, once in many thousand times
	}
	return c
}

// codeDoor is a place that takes a code: for which purposes, and how it is entered for somebody.
type codeDoor struct {
	takes []string
	enter func(c coded, code string) call
}

func codeDoors() map[string]codeDoor {
	otp := func(path string, more fields) func(coded, string) call {
		return func(c coded, code string) call {
			body := fields{"otp": code}
			maps.Copy(body, more)
			return call{Path: path, Token: c.token, Body: body, Header: map[string]string{"X-Session-Id": c.session}}
		}
	}
	chosen := fields{"newPassword": newPassword, "confirmPassword": newPassword}
	atAddress := func(path string) func(coded, string) call {
		return func(c coded, code string) call {
			return call{Path: path, Body: fields{"email": c.address, "code": code}}
		}
	}
	return map[string]codeDoor{
		"C06 complete-signup":   {[]string{codeOfSignup}, atAddress(pathCompleteSignup)},
		"C31 verify-code":       {[]string{codeOfSignup, codeOfEmail, codeOfMove}, atAddress(pathVerifyCode)},
		"A03 verify-phone":      {[]string{codeOfPhone}, func(c coded, code string) call { return phoneProof(c.token, c.number, code) }},
		"D24 link/email/verify": {[]string{codeOfLink}, func(c coded, code string) call { return verifyLink(c.token, c.link, code) }},
		"D07 change-with-otp":   {[]string{codeOfSecurity}, func(c coded, code string) call { return withOTP(c.token, c.temp, code, newPassword) }},
		"D05 password/change":   {[]string{codeOfSecurity}, otp(pathReplacePassword, chosen)},
		"D17 sign-out-others":   {[]string{codeOfSecurity}, otp(pathSignOutOthers, nil)},
		"D18 sign-out-all":      {[]string{codeOfSecurity}, otp(pathSignOutAll, nil)},
		"reauthenticate":        {[]string{codeOfSecurity}, otp(pathReauthenticate, nil)},
		"D20 device/verify":     {[]string{codeOfDevice}, func(c coded, code string) call { return finishing(c.step, code, "matrix") }},
		"B11 mfa/verify":        {[]string{codeOfApp}, func(c coded, code string) call { return verify(c.app.token, code) }},
	}
}

// heard says whether a code was taken.
func heard(a answer) bool { return a.ok() && !strings.Contains(string(a.Body), `"isValid":false`) }

// TestMatrix_OTP07_CodesOfEveryPurpose enters the codes of every purpose at every door that takes one: those of the same person,
// four of which lie in one mailbox, and those of somebody else, of the same purpose, too. Each door takes its own afterwards.
func TestMatrix_OTP07_CodesOfEveryPurpose(t *testing.T) {
	t.Parallel()
	s := startSystem(t, append([]string{
		"GATEHOUSE_CODE_TRIES", "1000", "GATEHOUSE_CODE_TRIES_PER_HOUR", "1000", "GATEHOUSE_CODE_TRIES_PER_DAY", "1000", "GATEHOUSE_CONTACT_AGE", "1ms",
		"GATEHOUSE_GUESSES_LOSE_STEP_UP", "1000", "GATEHOUSE_GUESSES_END_SESSION", "1000", "GATEHOUSE_MFA_TRIES", "1000",
	}, quickSends...)...)
	mine, theirs := s.awaits(t), s.awaits(t)
	doors := codeDoors()
	for _, name := range slices.Sorted(maps.Keys(doors)) {
		for _, purpose := range slices.Sorted(maps.Keys(mine.codes)) {
			own := slices.Contains(doors[name].takes, purpose)
			for whose, code := range map[string]string{"their own": mine.codes[purpose], "somebody else's": theirs.codes[purpose]} {
				if whose == "their own" && own || slices.Contains(slices.Collect(maps.Values(mine.codes)), code) && whose != "their own" {
					continue
				}
				got := s.send(t, doors[name].enter(mine, code))
				about := fmt.Sprintf("%s code of the purpose %q at %s: %d %s", whose, purpose, name, got.Status, got.Body)
				require.False(t, heard(got), about)
				require.Contains(t, []int{200, 400, 403}, got.Status, about)
			}
		}
	}
	require.Zero(t, s.db.number(t, accounts+` AND email_verified_at IS NOT NULL`, mine.address))
	s.codesAtTheirDoors(t, []coded{mine, theirs, s.awaits(t), s.awaits(t)})
}

// codesAtTheirDoors shows that every code was good all along. What ends others is somebody else's.
func (s *system) codesAtTheirDoors(t *testing.T, people []coded) {
	t.Helper()
	doors := codeDoors()
	for i, names := range [][][2]string{
		{{"B11 mfa/verify", codeOfApp}, {"D20 device/verify", codeOfDevice}, {"A03 verify-phone", codeOfPhone}, {"reauthenticate", codeOfSecurity}, {"D24 link/email/verify", codeOfLink}},
		{{"D17 sign-out-others", codeOfSecurity}, {"C31 verify-code", codeOfSignup}, {"C06 complete-signup", codeOfSignup}},
		{{"D05 password/change", codeOfSecurity}, {"C31 verify-code", codeOfEmail}},
		{{"D07 change-with-otp", codeOfSecurity}, {"C31 verify-code", codeOfMove}},
	} {
		for _, own := range names {
			code := people[i].codes[own[1]]
			if own[1] == codeOfApp {
				code = people[i].app.code(t, 0) // half a minute may have passed
			}
			got := s.send(t, doors[own[0]].enter(people[i], code))
			require.True(t, heard(got), "%s at %s: %d %s", own[1], own[0], got.Status, got.Body)
		}
	}
}
