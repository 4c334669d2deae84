//go:build unix

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// holding is somebody with one of each kind of credential there is, all alive, by kind.
type holding struct {
	email, token string
	kinds        map[string]string
	// codes are the six digits that go with a token, by its kind.
	codes map[string]string
}

const (
	kindAccess  = "access token"
	kindPending = "access token of a login that owes its second step"
	kindRefresh = "refresh token"
	kindStep    = "token of a login's second step"
	kindTemp    = "token of a security code"
	kindLink    = "token of an address to link"
	kindDevice  = "device token"
	kindReset   = "reset link"
	kindConfirm = "confirmation link"
	kindUndo    = "link that undoes a closure"
	kindKey     = "API key"
	kindService = "service key"
	kindID      = "Google's ID token"
	kindGoogle  = "Google's access token"
	kindState   = "state of a provider link"
)

// holds makes somebody with all of it. What would end the rest is somebody else's: the confirmation link, and the closure.
func (s *system) holds(t *testing.T, o *outside) holding {
	t.Helper()
	h := holding{email: newEmail(), kinds: map[string]string{}, codes: map[string]string{}}
	s.signUp(t, h.email)
	device := s.trust(t, h.email, "laptop")
	h.kinds[kindDevice] = device["deviceToken"].(string)
	login := s.enter(t, h.email, "X-Device-Token", h.kinds[kindDevice])
	h.token = login.text(t, "accessToken")
	h.kinds[kindAccess], h.kinds[kindRefresh] = h.token, login.text(t, "refreshToken")
	h.kinds[kindKey] = s.apiKey(t, h.token, "account:read", "account:write", "account:security")
	h.kinds[kindService] = strings.TrimSpace(s.stack.Command(t, nil, "keys", "create", "--service", "--name", "matrix"))
	h.kinds[kindID] = o.idToken(t, o.oidc.ClientID, "sub-"+h.email, h.email)
	h.kinds[kindGoogle] = o.googleToken(t, "sub-"+h.email, h.email)
	begun := s.want(t, http.StatusOK, call{Path: pathLinked + "/initiate", Token: h.token, Body: fields{"provider": "google"}})
	h.kinds[kindState] = begun.text(t, "state")
	owing := s.enter(t, h.email, "X-Device-Id", "another")
	h.kinds[kindPending], h.kinds[kindStep] = owing.text(t, "accessToken"), owing.text(t, "deviceVerificationToken")
	h.codes[kindStep] = s.deviceCode(t, h.email, h.kinds[kindStep])
	h.kinds[kindTemp], _ = s.sendOTP(t, h.token, "EMAIL")
	h.codes[kindTemp] = s.securityCode(t, h.email, 1)
	h.kinds[kindLink], h.codes[kindLink] = s.link(t, h.token, newEmail())
	h.kinds[kindReset] = s.forgot(t, h.email, 1)

	unproven, closed := newEmail(), newEmail()
	s.register(t, unproven, unproven)
	h.kinds[kindConfirm] = tokenOf(t, s.awaitMail(t, unproven, 1))
	s.want(t, http.StatusOK, closeWith(s.signUp(t, closed), fields{"password": password}))
	h.kinds[kindUndo] = tokenOf(t, s.awaitClosureMail(t, closed, "Your Gatehouse account is closed"))
	return h
}

// tokenDoor is a place that takes a credential of one kind, or of a few.
type tokenDoor struct {
	takes []string
	// refuses are the statuses of what is no credential there.
	refuses []int
	// but are kinds that are known there and still get no further.
	but map[string]int
	// spared is a kind that the local Google does not tell from its own as the real one does: its access tokens are ID tokens in all
	// but name, and over an ID token as an access token it breaks.
	spared string
	// show shows a value there.
	show func(t *testing.T, value string) answer
	// opened says whether the value was taken; nil is any success.
	opened func(answer) bool
}

func refusesWith(statuses ...int) []int { return statuses }

// tokenDoors are all places that take a credential, shown by or for somebody.
func (s *system) tokenDoors(h holding) map[string]tokenDoor {
	bearer := func(path string, takes ...string) tokenDoor {
		return tokenDoor{
			takes: takes, refuses: refusesWith(401), but: map[string]int{kindPending: 403},
			show: func(t *testing.T, v string) answer {
				return s.raw(t, http.MethodGet, path, "", "Authorization", "Bearer "+v)
			},
		}
	}
	keyed := func(path string) func(*testing.T, string) answer {
		return func(t *testing.T, v string) answer { return s.raw(t, http.MethodGet, path, "", "X-API-Key", v) }
	}
	me := bearer(pathMe, kindAccess, kindKey)
	me.but[kindService] = 403
	body := func(in call, name string, more fields) func(*testing.T, string) answer {
		return func(t *testing.T, v string) answer {
			in.Body = fields{name: v}
			maps.Copy(in.Body.(fields), more)
			return s.send(t, in)
		}
	}
	device := func(in call) tokenDoor {
		return tokenDoor{
			takes: []string{kindDevice}, refuses: refusesWith(200), show: func(t *testing.T, v string) answer {
				in.Header = map[string]string{"X-Device-Token": v}
				return s.send(t, in)
			},
			opened: func(a answer) bool {
				return !strings.Contains(strings.ToLower(string(a.Body)), `"mfarequired":true`) && !strings.Contains(string(a.Body), `"mfa_required":true`)
			},
		}
	}
	chosen := fields{"newPassword": newPassword, "confirmPassword": newPassword, "otp": h.codes[kindTemp]}
	return map[string]tokenDoor{
		"Authorization of C": me,
		"Authorization of B": bearer(pathDetails, kindAccess),
		"Authorization of D": bearer(pathSecurityInfo, kindAccess),
		"X-API-Key of C":     {takes: []string{kindKey}, refuses: refusesWith(401), but: map[string]int{kindService: 403}, show: keyed(pathMe)},
		"X-API-Key of B":     {refuses: refusesWith(401), show: keyed(pathDetails)},
		"X-API-Key of D":     {refuses: refusesWith(401), show: keyed(pathSecurityInfo)},
		"sk-refresh-token":   {takes: []string{kindRefresh}, refuses: refusesWith(401), show: func(t *testing.T, v string) answer { return s.refresh(t, v) }},
		"cookie of B03": {refuses: refusesWith(401), takes: []string{kindRefresh}, show: func(t *testing.T, v string) answer {
			return s.raw(t, http.MethodPost, pathRefresh, "", "Origin", s.base, "Cookie", "__Host-"+refreshName+"="+v)
		}},
		"X-Device-Token of B01": device(call{Path: pathAuthenticate, Body: fields{"username": h.email, "password": password}}),
		"X-Device-Token of C14": device(call{Path: pathLogin, Body: fields{"email": h.email, "password": password}}),
		"tempToken of D07": {
			takes: []string{kindTemp}, refuses: refusesWith(400), show: body(call{Path: pathChangeWithOTP, Token: h.token}, "tempToken", chosen),
		},
		"tempToken of D24": {takes: []string{kindLink}, refuses: refusesWith(400), show: body(call{Path: pathLinkEmail + "/verify", Token: h.token},
			"tempToken", fields{"otp": h.codes[kindLink]})},
		"deviceVerificationToken of D20": {takes: []string{kindStep}, refuses: refusesWith(400), show: body(call{Path: pathVerifyDevice},
			"deviceVerificationToken", fields{"otp": h.codes[kindStep], "deviceId": "matrix"})},
		"token of C21": {takes: []string{kindReset}, refuses: refusesWith(400), show: body(call{Path: pathResetPassword}, "token", fields{"new_password": newPassword})},
		"token of B06": {
			takes: []string{kindReset}, refuses: refusesWith(400),
			show: body(call{Method: http.MethodPut, Path: pathUpdatePassword}, "token", fields{"password": newPassword}),
		},
		"token of B08":          {takes: []string{kindConfirm}, refuses: refusesWith(400), show: body(call{Method: http.MethodPut, Path: pathConfirmEmail}, "token", nil)},
		"token of undo-closure": {takes: []string{kindUndo}, refuses: refusesWith(400), show: body(call{Path: pathUndo}, "token", nil)},
		"idToken of D26": {
			takes: []string{kindID}, spared: kindGoogle, refuses: refusesWith(400), show: body(call{Path: pathLinkOAuth, Token: h.token}, "idToken", fields{"provider": "GOOGLE"}),
		},
		"access_token of A06": {takes: []string{kindGoogle}, spared: kindID, refuses: refusesWith(400), show: body(call{Path: pathProviders, Token: h.token},
			"access_token", fields{"provider": "google", "provider_account_id": "sub-" + h.email})},
		"code of B09": {refuses: refusesWith(401), show: body(call{Path: pathGoogle}, "code", nil)},
		"state of C10": {takes: []string{kindState}, refuses: refusesWith(400), show: body(call{Path: pathLinked + "/callback", Token: h.token},
			"state", fields{"provider": "google", "provider_account_id": "sub-" + h.email})},
		"id of an operation": {refuses: refusesWith(404), show: func(t *testing.T, v string) answer {
			return s.raw(t, http.MethodGet, "/v1/operations/"+v, "", "Authorization", "Bearer "+h.token)
		}},
	}
}

// tooLong refuses what no door's field holds, before anything is looked up.
func tooLong(a answer, value string) bool {
	return (a.Status == http.StatusUnprocessableEntity || a.Status == http.StatusBadRequest) && len(value) > 200
}

// TestMatrix_JWT05_KindsInThePlaceOfEachOther shows every kind of credential at every door that takes one: all but its own refuse
// it, and its own takes it afterwards.
func TestMatrix_JWT05_KindsInThePlaceOfEachOther(t *testing.T) {
	t.Parallel()
	o := startOutside(t)
	settings := append([]string{
		"GATEHOUSE_LINK_REDIRECT_URL", "https://app.example.com/linked", "GATEHOUSE_GOOGLE_REDIRECT_URL", redirectPage, "GATEHOUSE_CONTACT_AGE", "1ms",
		"GATEHOUSE_CODE_TRIES_PER_HOUR", "1000", "GATEHOUSE_CODE_TRIES_PER_DAY", "1000", "GATEHOUSE_TRUSTED_DEVICES", "1000",
	}, quickSends...)
	for name, value := range o.settings() {
		settings = append(settings, name, value)
	}
	s := startSystem(t, settings...)
	h := s.holds(t, o)
	doors := s.tokenDoors(h)
	tried := 0
	for _, name := range slices.Sorted(maps.Keys(doors)) {
		door := doors[name]
		for _, kind := range slices.Sorted(maps.Keys(h.kinds)) {
			if slices.Contains(door.takes, kind) || kind == door.spared {
				continue
			}
			got, about := door.show(t, h.kinds[kind]), fmt.Sprintf("%s as %s", kind, name)
			tried++
			if status, known := door.but[kind]; known {
				require.Equal(t, status, got.Status, "%s: %s", about, got.Body)
				continue
			}
			if !tooLong(got, h.kinds[kind]) {
				require.Contains(t, door.refuses, got.Status, "%s: %s", about, got.Body)
			}
			require.False(t, opens(door, got), "%s: %s", about, got.Body)
		}
	}
	t.Logf("%d pairs of kind and door", tried)
	s.kindsOnEveryRoute(t, h)
	s.requireAlive(t, h.token)
	s.ownDoors(t, o, h)
}

func opens(door tokenDoor, got answer) bool {
	if door.opened != nil {
		return door.opened(got)
	}
	return got.ok()
}

// ownDoors shows every kind at its own door. What ends other kinds is tried with those of somebody new.
func (s *system) ownDoors(t *testing.T, o *outside, h holding) {
	t.Helper()
	doors := s.tokenDoors(h)
	take := func(doors map[string]tokenDoor, h holding, name string) {
		t.Helper()
		for _, kind := range doors[name].takes {
			got := doors[name].show(t, h.kinds[kind])
			require.True(t, opens(doors[name], got), "%s as %s: %d %s", kind, name, got.Status, got.Body)
		}
	}
	for _, name := range []string{
		"Authorization of C", "Authorization of B", "Authorization of D", "X-API-Key of C", "sk-refresh-token", "X-Device-Token of B01", "X-Device-Token of C14",
		"deviceVerificationToken of D20", "token of B08", "token of undo-closure", "state of C10", "tempToken of D24",
	} {
		take(doors, h, name)
	}
	for _, names := range [][]string{{"cookie of B03", "idToken of D26", "tempToken of D07"}, {"access_token of A06", "token of C21"}, {"token of B06"}} {
		other := s.holds(t, o)
		theirs := s.tokenDoors(other)
		for _, name := range names {
			take(theirs, other, name)
		}
	}
}

// kindsOnEveryRoute shows each kind as the bearer of every documented route that wants one: it is nobody.
func (s *system) kindsOnEveryRoute(t *testing.T, h holding) {
	t.Helper()
	contract, err := spec()
	require.NoError(t, err)
	routes := 0
	for _, o := range contract.Operations() {
		r := route{s, o, h.token}
		if !r.guarded() {
			continue
		}
		routes++
		for _, kind := range slices.Sorted(maps.Keys(h.kinds)) {
			want := http.StatusUnauthorized
			switch kind {
			case kindAccess:
				continue
			case kindKey, kindService:
				if o.Dialect == "authv1" {
					continue // TestSession_APIKeys and TestServiceKeysReachTheirRoutesAlone
				}
			case kindPending:
				continue // MFA-01
			}
			got := s.raw(t, o.Method, r.path(), "", "Authorization", "Bearer "+h.kinds[kind])
			require.Equal(t, want, got.Status, "%s as bearer of %s %s: %s", kind, o.Method, o.Path, got.Body)
			require.True(t, json.Valid(got.Body))
		}
	}
	require.Greater(t, routes, 60)
}
