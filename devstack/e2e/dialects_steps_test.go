//go:build unix

package e2e_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// proveAddress proves the address of a registration by link or code.
func (l *life) proveAddress() {
	l.need(l.state == lifeOpen && !l.proven)
	sent := 1
	if l.muted {
		sent += len(l.inbox(l.t, l.email))
		l.want(l.t, http.StatusOK, call{Path: pathSendCode, Body: fields{"email": l.email}}) // C23
	}
	mail := l.awaitMail(l.t, l.email, sent)
	in := call{Path: pathVerifyCode, Body: fields{"email": l.email, "code": mail.Code}}
	if l.way("B08", "C31") == "B08" {
		in = call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(l.t, mail)}}
	}
	l.want(l.t, http.StatusOK, in)
	l.logs("account.email_verified")
	l.proven = true
}

// entrance is a way to sign in.
type entrance struct{ row, name string }

func (l *life) entrances() []entrance {
	var all []entrance
	if l.password != "" && l.email != "" {
		all = append(all, entrance{"C14", l.email}, entrance{"B01", l.email})
	}
	if l.password != "" && l.username != "" {
		all = append(all, entrance{"B01", l.username})
	}
	if l.state != lifeClosed { // a closed account is none, and the same person would get a new one
		for _, name := range slices.Sorted(maps.Keys(l.providers)) {
			all = append(all, entrance{"C17", name})
		}
		if l.providers["google"] != "" {
			all = append(all, entrance{"B09", "google"})
		}
	}
	return all
}

// logIn signs in, and takes the second step where one is due.
func (l *life) logIn() {
	all := l.entrances()
	l.need(len(all) > 0)
	in := all[rapid.IntRange(0, len(all)-1).Draw(l.t.rt, "entrance")]
	header, named, trusted := l.device()
	var got answer
	switch in.row {
	case "C14":
		got = l.send(l.t, call{Path: pathLogin, Header: header, Body: fields{"email": in.name, "password": l.password}})
	case "B01":
		got = l.send(l.t, call{Path: pathAuthenticate, Header: header, Body: fields{"username": in.name, "password": l.password}})
	case "C17":
		got = l.byBackend(in.name, header)
	case "B09":
		got = l.byGoogle(header)
	}
	if l.state != lifeOpen {
		require.Equal(l.t, http.StatusUnauthorized, got.Status, "%s: %s", in.row, got.Body)
		return
	}
	require.Equal(l.t, http.StatusOK, got.Status, "%s: %s", in.row, got.Body)
	body, due, stepToken := got.object(l.t), "mfa_required", "device_verification_token"
	if in.row[0] == 'B' {
		due, stepToken = "mfaRequired", "deviceVerificationToken"
	}
	v := &visit{}
	switch in.row {
	case "B01":
		v.token, v.refresh = got.text(l.t, "accessToken"), got.text(l.t, "refreshToken")
	case "B09":
		v.token = got.text(l.t, "token")
	default:
		v.token = got.text(l.t, "session_token")
	}
	switch {
	case trusted:
	case l.factor == factorApp:
		require.Equal(l.t, true, body[due], "%s: the app is due", in.row)
		require.NotContains(l.t, body, stepToken)
		l.showApp(v)
	case l.factor == factorMail, l.reachable() && (named || len(l.devices) > 0):
		require.Equal(l.t, true, body[due], "%s: a code is due", in.row)
		l.showMail(v, got.text(l.t, stepToken))
	}
	if trusted || !v.factor {
		require.NotContains(l.t, body, due, in.row)
	}
	l.enters(v)
}

// device draws what a login says of its device.
func (l *life) device() (header map[string]string, named, trusted bool) {
	ways := []string{"no device", "no device", "X-Device-Id"}
	if len(l.devices) > 0 {
		ways = append(ways, "trusted", "trusted")
	}
	if len(l.deadDevices) > 0 {
		ways = append(ways, "trusted no more")
	}
	switch l.way(ways...) {
	case "X-Device-Id":
		return map[string]string{"X-Device-Id": "device " + rand.Text()[:8]}, true, false
	case "trusted":
		return map[string]string{"X-Device-Token": l.devices[len(l.devices)-1]}, false, true
	case "trusted no more":
		return map[string]string{"X-Device-Token": l.deadDevices[len(l.deadDevices)-1]}, false, false
	}
	return nil, false, false
}

// requirePending wants a session that can do nothing yet, in any dialect.
func (l *life) requirePending(token string) {
	l.t.Helper()
	for _, path := range protected {
		l.want(l.t, http.StatusForbidden, call{Path: path, Token: token})
	}
}

func (l *life) showApp(v *visit) {
	l.requirePending(v.token)
	remember := rapid.Bool().Draw(l.t.rt, "remember")
	l.takesSteps()
	got := l.want(l.t, http.StatusOK, call{Path: pathMFAVerify, Token: v.token, Body: fields{
		"code": l.app.code(l.t, 0), "rememberDevice": remember,
	}})
	require.Equal(l.t, true, got.object(l.t)["isValid"])
	if remember {
		l.devices = append(l.devices, got.text(l.t, "deviceToken"))
		l.logs("device.trusted")
	}
	v.factor = true
}

// takesSteps lets a code of this half minute count once more.
func (l *life) takesSteps() {
	l.db.change(l.t, `UPDATE totp_factors SET last_step = 0 WHERE account_id = $1::uuid`, l.id)
}

func (l *life) showMail(v *visit, stepToken string) {
	l.requirePending(v.token)
	data := l.finish(l.t, l.email, stepToken, "device "+rand.Text()[:8]).data(l.t)
	v.token, v.refresh = data["accessToken"].(string), data["refreshToken"].(string)
	l.devices = append(l.devices, data["deviceToken"].(string))
	l.logs("device.trusted")
	v.factor = true
}

func (l *life) refreshToken(v *visit) {
	l.need(v.refresh != "")
	got := l.raw(l.t, http.MethodPost, pathRefresh, "", refreshName, v.refresh)
	require.Equal(l.t, http.StatusOK, got.Status, "%s", got.Body)
	v.token, v.refresh = got.text(l.t, "accessToken"), got.text(l.t, "refreshToken")
}

// choosePassword changes the password, or sets the first one.
func (l *life) choosePassword(v *visit) {
	former, next := l.password, unused()
	if former == "" {
		in := call{Path: pathAddPassword, Token: v.token, Body: fields{"password": next}}
		if l.way("C02", "D09") == "D09" {
			in = call{Path: pathSetPassword, Token: v.token, Body: fields{"newPassword": next, "confirmPassword": next}}
		}
		if l.may(l.binds(v), in) {
			l.password = next
			l.logs("password.added")
		}
		return
	}
	ways := []string{"A05", "B07", "D05"}
	if l.reachable() {
		ways = append(ways, "D07")
	}
	switch l.way(ways...) {
	case "A05":
		l.want(l.t, http.StatusOK, change(v.token, former, next))
	case "B07":
		l.want(l.t, http.StatusOK, call{Method: http.MethodPut, Path: pathPasswordsB, Token: v.token, Body: fields{
			"currentPassword": former, "newPassword": next,
		}})
	case "D05":
		l.want(l.t, http.StatusOK, call{Path: pathReplacePassword, Token: v.token, Body: fields{
			"currentPassword": former, "newPassword": next, "confirmPassword": next,
		}})
	case "D07":
		var temp string
		mail := l.mailed(l.email, securityCodeSubject, func() { temp, _ = l.sendOTP(l.t, v.token, "EMAIL") })
		l.want(l.t, http.StatusOK, withOTP(v.token, temp, mail.Code, next))
	}
	l.password = next
	l.logs("password.changed")
	l.endsAllBut(v)
	l.forgetsDevices()
	l.deadPassword(former)
}

// forgetPassword sets a password by a mailed link: asked for in one document, used in another.
func (l *life) forgetPassword() {
	l.need(l.state == lifeOpen && l.reachable())
	ask := call{Path: pathForgotPassword, Body: fields{"email": l.email}}
	if l.way("C07", "B05") == "B05" {
		ask.Path = pathResetB
	}
	mail := l.mailed(l.email, "Choose a new password", func() { l.does(true, 0, ask) })
	former, next := l.password, unused()
	in := call{Path: pathResetPassword, Body: fields{"token": tokenOf(l.t, mail), "new_password": next}}
	if l.way("C21", "B06") == "B06" {
		in = call{Method: http.MethodPut, Path: pathUpdatePassword, Body: fields{"token": tokenOf(l.t, mail), "password": next}}
	}
	l.does(true, 0, in)
	l.does(false, http.StatusBadRequest, in)
	l.password = next
	l.logs("password.reset")
	l.shuts()
	l.deadPassword(former)
}

func (l *life) rename(v *visit) {
	name := "Ada " + rand.Text()[:6]
	in := call{Method: http.MethodPatch, Path: pathMe, Token: v.token, Body: fields{"full_name": name}}
	if l.way("A02", "C20") == "C20" {
		in = call{Method: http.MethodPatch, Path: pathProfile, Token: v.token, Body: fields{"name": name}}
	}
	l.want(l.t, http.StatusOK, in)
	l.name = name
}

func (l *life) onboard(v *visit) {
	l.want(l.t, http.StatusOK, call{Path: pathOnboarding, Token: v.token, Body: fields{"event": "completed"}}) // C18
	l.onboarded = true
}

func (l *life) changeSettings(v *visit) {
	l.theme = l.way("dark", "light")
	l.want(l.t, http.StatusOK, call{Method: http.MethodPatch, Path: pathSettings, Token: v.token, Body: fields{"theme": l.theme}}) // B14
}

func (l *life) chooseUsername(v *visit) {
	name := newUsername()
	free := l.username == "" || l.renamed == 0
	l.does(free, http.StatusBadRequest, changeUsername(v.token, name)) // D12
	if !free {
		return
	}
	if l.username != "" {
		l.former = append(l.former, l.username)
		l.renamed++
	}
	l.username = name
	l.logs("account.username_changed")
	if len(l.former) > 0 && l.password != "" {
		former := l.former[len(l.former)-1]
		require.Equal(l.t, http.StatusUnauthorized, l.authenticate(l.t, former, l.password).Status, "a former username opens nothing")
	}
}

// moveEmail gives the account another address, or one where there is none.
func (l *life) moveEmail(v *visit) {
	next := newEmail()
	way := l.way("C20 C31", "C20 B08", "D24")
	if way == "D24" {
		got := l.does(l.binds(v), http.StatusForbidden, linkTo(v.token, next))
		if !got.ok() {
			return
		}
		temp, _ := got.data(l.t)["tempToken"].(string)
		l.want(l.t, http.StatusOK, verifyLink(v.token, temp, l.awaitCode(l.t, next)))
	} else {
		if !l.may(l.binds(v), moveTo(v.token, next)) {
			return
		}
		l.agree() // nothing moves before the proof
		mail := l.awaitMail(l.t, next, 1)
		in := call{Path: pathVerifyCode, Body: fields{"email": next, "code": mail.Code}}
		if way == "C20 B08" {
			in = call{Method: http.MethodPut, Path: pathConfirmEmail, Body: fields{"token": tokenOf(l.t, mail)}}
		}
		l.want(l.t, http.StatusOK, in)
	}
	if l.email != "" {
		l.pastEmails = append(l.pastEmails, l.email)
	}
	l.email = next
	l.logs("account.email_changed")
}

func (l *life) unlinkEmail(v *visit) {
	l.need(l.email != "")
	in := call{Method: http.MethodDelete, Path: pathLinkEmail, Token: v.token} // D25
	if !l.binds(v) {
		l.may(false, in)
		return
	}
	if len(l.providers) == 0 || l.factor == factorMail {
		l.does(false, http.StatusBadRequest, in)
		return
	}
	l.want(l.t, http.StatusOK, in)
	l.pastEmails = append(l.pastEmails, l.email)
	l.email = ""
	l.logs("account.email_removed")
}

func (l *life) provePhone(v *visit) {
	number := newNumber(l.t)
	in := call{Path: pathSendPhoneCode, Token: v.token, Body: fields{"phone_number": number, "country_code": "US"}} // A03
	if !l.may(l.binds(v), in) {
		return
	}
	l.want(l.t, http.StatusOK, phoneProof(v.token, number, l.awaitPhoneCode(l.t, number, 1)))
	l.phone = number
	l.logs("account.phone_verified")
}

func (l *life) linkProvider(v *visit) {
	way := l.way("A06 google", "A06 github", "D26 google", "C11 google", "C10 google")
	row, name, _ := strings.Cut(way, " ")
	l.need(l.providers[name] == "")
	subject := "sub-" + rand.Text()
	var in call
	switch {
	case name == "github":
		subject = fmt.Sprint(l.db.number(l.t, `SELECT (random() * 1e9)::int`))
		in = call{Path: pathProviders, Body: fields{"provider": name, "provider_account_id": subject, "access_token": "gho_" + subject}}
	case row == "A06":
		in = call{Path: pathProviders, Body: fields{
			"provider": name, "provider_account_id": subject, "access_token": l.outside.googleToken(l.t, subject, l.email),
		}}
	case row == "D26":
		in = call{Path: pathLinkOAuth, Body: fields{"provider": "GOOGLE", "idToken": l.outside.idToken(l.t, l.outside.oidc.ClientID, subject, l.email)}}
	default:
		in = call{Path: pathLinked + "/initiate", Body: fields{"provider": name}}
	}
	in.Token = v.token
	got := l.does(l.binds(v), http.StatusForbidden, in)
	if !got.ok() {
		return
	}
	if row == "C10" || row == "C11" {
		back := call{Path: pathLinked + "/callback", Token: v.token, Body: fields{
			"state": got.text(l.t, "state"), "provider": name, "provider_account_id": subject,
		}}
		if row == "C11" {
			back.Path, back.Token = pathLinked+"/complete", l.service
		}
		l.want(l.t, http.StatusOK, back)
	}
	l.providers[name] = subject
	l.logs("provider.linked")
}

func (l *life) unlinkProvider(v *visit) {
	l.need(len(l.providers) > 0)
	name := l.way(slices.Sorted(maps.Keys(l.providers))...)
	paths := map[string]string{"A08": pathProviders, "C13": pathLinked}
	if name != "github" {
		paths["D27"] = pathLinkOAuth // knows Google and Apple
	}
	in := call{Method: http.MethodDelete, Path: paths[l.way(slices.Sorted(maps.Keys(paths))...)] + "/" + name, Token: v.token}
	if !l.fresh(v) {
		l.may(false, in)
		return
	}
	last := len(l.providers) == 1 && (l.password == "" || l.email == "")
	if l.does(!last, http.StatusBadRequest, in).ok() {
		delete(l.providers, name)
		l.logs("provider.unlinked")
	}
}
