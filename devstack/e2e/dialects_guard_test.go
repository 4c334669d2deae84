//go:build unix

package e2e_test

import (
	"net/http"

	"github.com/stretchr/testify/require"
)

func (l *life) turnTwoFactorOn(v *visit) {
	if l.way("B11", "D02") == "D02" {
		l.need(l.password != "" && l.reachable())
		in := call{Path: pathTwoFactorOn, Token: v.token, Body: fields{"password": l.password}}
		l.does(l.factor == "", http.StatusBadRequest, in)
		if l.factor != "" {
			return
		}
		l.factor = factorMail
	} else {
		in := call{Method: http.MethodPost, Path: pathMFASetup, Token: v.token} // B10
		if l.factor == factorApp || !l.binds(v) {
			l.may(false, in)
			return
		}
		l.app = l.setup(l.t, v.token)
		require.True(l.t, l.valid(l.t, v.token, l.app.code(l.t, 0)))
		l.factor = factorApp
	}
	v.factor = true
	l.logs("mfa.enabled")
	l.forgetsDevices()
}

func (l *life) turnTwoFactorOff(v *visit) {
	l.need(l.factor != "" && l.password != "")
	in := call{Path: pathTwoFactorOff, Token: v.token, Body: fields{"password": l.password}} // D03
	if !l.may(l.fresh(v), in) {
		return
	}
	l.factor = ""
	l.logs("mfa.disabled")
	l.forgetsDevices()
}

func (l *life) forgetDevice(v *visit) {
	l.need(len(l.devices) > 0)
	list := l.system.devices(l.t, v.token)
	for _, one := range list { // D22, each of them: which token is whose the list does not tell
		in := call{Method: http.MethodDelete, Path: pathDevices + "/" + one["id"].(string), Token: v.token}
		l.want(l.t, http.StatusOK, in)
		l.logs("device.revoked")
	}
	l.forgetsDevices()
}

func (l *life) makeKey(v *visit) {
	in := call{Path: pathAPIKeys, Token: v.token, Body: fields{"name": "life", "scopes": []string{"account:read"}}}
	got := l.does(l.proven, http.StatusForbidden, in)
	if got.ok() {
		l.keys[got.text(l.t, "id")] = got.text(l.t, "key")
		l.logs("api_key.created")
	}
}

func (l *life) revokeKey(v *visit) {
	l.need(len(l.keys) > 0)
	list := kept(l.t, l.want(l.t, http.StatusOK, call{Path: pathAPIKeys, Token: v.token}).Body)
	require.Len(l.t, list, len(l.keys))
	id := list[0]["id"].(string)
	l.does(true, 0, call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + id, Token: v.token})
	l.deadKeys[id] = l.keys[id]
	delete(l.keys, id)
	l.logs("api_key.revoked")
}

// endSession ends a session from another one, or from itself.
func (l *life) endSession(v *visit) {
	target := l.visit()
	var in call
	switch l.way("A10", "B04", "C27", "D16", "D19") {
	case "A10":
		in = call{Path: pathRevokeSession, Body: fields{"session_id": target.id}}
	case "B04":
		v = target
		in = call{Path: pathLogout, Body: fields{}}
	case "C27":
		in = call{Method: http.MethodDelete, Path: pathSessions + "/" + target.id}
	case "D16":
		in = call{Method: http.MethodPost, Path: pathSignOut, Header: map[string]string{"X-Session-Id": target.id}}
	case "D19":
		in = call{Method: http.MethodDelete, Path: pathAccountSessions + "/" + target.id}
	}
	in.Token = v.token
	l.want(l.t, http.StatusOK, in)
	l.logs("session.revoked")
	l.ends(func(one *visit) bool { return one == target })
}

func (l *life) endOthers(v *visit) {
	in := call{Path: pathRevokeSession, Token: v.token, Body: fields{"revoke_all_others": true}}
	ways := []string{"A10"}
	if l.password != "" {
		ways = append(ways, "D17")
	}
	if l.way(ways...) == "D17" {
		in.Path, in.Header, in.Body = pathSignOutOthers, map[string]string{"X-Session-Id": v.id}, fields{"password": l.password}
	}
	l.want(l.t, http.StatusOK, in)
	if len(l.visits) > 1 || len(l.keys) > 0 { // a key has a session of its own
		l.logs("session.all_revoked")
	}
	l.endsAllBut(v)
}

func (l *life) endAll(v *visit) {
	in := call{Method: http.MethodDelete, Path: pathSessions, Token: v.token}
	ways := []string{"C25"}
	if l.password != "" {
		ways = append(ways, "D18")
	}
	if l.way(ways...) == "D18" {
		in = call{Path: pathSignOutAll, Token: v.token, Body: fields{"password": l.password}}
	}
	l.want(l.t, http.StatusOK, in)
	l.logs("session.all_revoked")
	l.endsAllBut(nil)
}

// proof is what an account shows that is about to go: its password, if it has one.
func (l *life) proof() fields {
	if l.password == "" {
		return fields{"confirm": true}
	}
	return fields{"password": l.password}
}

func (l *life) deactivate(v *visit) {
	body := fields{}
	if l.password != "" {
		body["password"] = l.password
	}
	if !l.may(l.password != "" || l.fresh(v), call{Method: http.MethodDelete, Path: pathDeactivate, Token: v.token, Body: body}) { // D04
		return
	}
	l.shuts()
	l.logs("account.deactivated")
	l.state, l.muted = lifeDeactivated, true
}

func (l *life) close(v *visit) {
	l.need(l.reachable()) // any other is gone at once
	in := closeWith(v.token, l.proof())
	if l.password == "" && !l.fresh(v) {
		l.may(false, in)
		return
	}
	mail := l.mailed(l.email, "Your Gatehouse account is closed", func() { l.want(l.t, http.StatusOK, in) })
	l.undo = tokenOf(l.t, mail)
	l.shuts()
	l.logs("account.closed")
	l.state = lifeClosed
}

// reopen is what support does for a deactivated account, and its owner for a closed one.
func (l *life) reopen() {
	l.need(l.state != lifeOpen)
	if l.state == lifeClosed {
		l.want(l.t, http.StatusOK, call{Path: pathUndo, Body: fields{"token": l.undo}})
		l.logs("account.reopened")
	} else {
		l.stack.Command(l.t, nil, "accounts", "reactivate", l.id)
		l.logs("account.reactivated")
	}
	l.state = lifeOpen
}
