//go:build unix

package e2e_test

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// double is one of two people who do the same; the answers to one of them are cut off.
type double struct {
	s                            *system
	email, next, second, number  string
	token, temp, key, subscribed string
	id                           string
}

// deed is a request that changes something, and what its answer tells for the deeds that follow.
type deed struct {
	name string
	make func(t *testing.T, d *double) call
	keep func(t *testing.T, d *double, a answer)
	// ends says that the request ends the session that asks: then asking again tells so, and nothing else.
	ends bool
}

func (d *double) with(in call) call {
	in.Token = d.token
	return in
}

func (d *double) code(t *testing.T, to, subject string) string {
	t.Helper()
	var codes []string
	testkit.Eventually(t, patience, func() bool {
		codes = d.s.db.texts(t, `SELECT code FROM dev_inbox WHERE recipient = $1 AND code <> '' AND ($2 = '' OR subject = $2)
			ORDER BY created_at DESC`, to, subject)
		return len(codes) > 0
	}, "a code to "+to)
	return codes[0]
}

const lastPassword = "Third-Horse-9-battery"

// deeds are the requests of a whole life that take an Idempotency-Key, in an order in which each can follow: an address that is
// proven in the session gets no security codes.
var deeds = []deed{
	{"C08 initiate", func(_ *testing.T, d *double) call {
		return call{Path: pathInitiateSignup, Body: fields{"email": d.email, "password": password}}
	}, nil, false},
	{"C06 complete", func(t *testing.T, d *double) call {
		return call{Path: pathCompleteSignup, Body: fields{"email": d.email, "code": d.code(t, d.email, "")}}
	}, func(t *testing.T, d *double, a answer) { d.token, d.id = a.text(t, "session_token"), a.text(t, "id") }, false},
	{"A02 profile", func(_ *testing.T, d *double) call {
		return d.with(call{Method: http.MethodPatch, Path: pathMe, Body: fields{"full_name": "Twice Told"}})
	}, nil, false},
	{"A11 device", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathSessions + "/update-device-info", Body: fields{"device_info": "Ann's phone"}})
	}, nil, false},
	{"B16 sources", func(_ *testing.T, d *double) call {
		sources := []fields{{"name": "odds", "enabled": true}}
		return d.with(call{Method: http.MethodPatch, Path: pathDataProviders, Body: fields{"dataProviders": sources}})
	}, nil, false},
	{"C32 welcomed", func(_ *testing.T, d *double) call {
		return d.with(call{Method: http.MethodPost, Path: pathWelcomeShown})
	}, nil, false},
	{"C30 bonus", func(_ *testing.T, d *double) call { return d.with(call{Method: http.MethodPost, Path: pathUnlock}) }, nil, false},
	{"D reauthenticate", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathReauthenticate, Body: fields{"password": password}})
	}, nil, false},
	{"D12 username", func(_ *testing.T, d *double) call { return changeUsername(d.token, newUsername()) }, nil, false},
	{"API key", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathAPIKeys, Body: fields{"name": "ci", "scopes": []string{"account:read"}}})
	}, func(t *testing.T, d *double, a answer) { d.key = a.text(t, "key") }, false},
	{"A10 others", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathRevokeSession, Body: fields{"revoke_all_others": true}})
	}, nil, false},
	{"A05 password", func(_ *testing.T, d *double) call { return change(d.token, password, newPassword) }, nil, false},
	{"D06 code", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathSendOTP, Body: fields{"channel": "EMAIL"}})
	}, func(t *testing.T, d *double, a answer) { d.temp, _ = a.data(t)["tempToken"].(string) }, false},
	{"D07 password", func(t *testing.T, d *double) call {
		return withOTP(d.token, d.temp, d.code(t, d.email, securityCodeSubject), lastPassword)
	}, nil, false},
	{"C07 forgot", func(_ *testing.T, d *double) call {
		return call{Path: pathForgotPassword, Body: fields{"email": d.email}}
	}, nil, false},
	{"A03 phone", func(_ *testing.T, d *double) call {
		return d.with(call{Path: pathSendPhoneCode, Body: fields{"phone_number": d.number}})
	}, nil, false},
	{"A04 verify phone", func(t *testing.T, d *double) call { return phoneProof(d.token, d.number, d.code(t, d.number, "")) }, nil, false},
	{
		"D23 link email", func(_ *testing.T, d *double) call { return linkTo(d.token, d.next) },
		func(t *testing.T, d *double, a answer) { d.temp, _ = a.data(t)["tempToken"].(string) }, false,
	},
	{
		"D24 verify link", func(t *testing.T, d *double) call { return verifyLink(d.token, d.temp, d.code(t, d.next, "")) },
		func(_ *testing.T, d *double, _ answer) { d.email = d.next }, false,
	},
	{"C20 name and move", func(_ *testing.T, d *double) call {
		in := moveTo(d.token, d.second)
		in.Body = fields{"name": "Moved", "email": d.second}
		return in
	}, nil, false},
	{"C31 verify move", func(t *testing.T, d *double) call {
		return call{Path: pathVerifyCode, Body: fields{"email": d.second, "code": d.code(t, d.second, "")}}
	}, func(_ *testing.T, d *double, _ answer) { d.email = d.second }, false},
	{
		"B20 subscribe", func(_ *testing.T, d *double) call { return subscribe(d.token, starterPlan, visa) },
		func(t *testing.T, d *double, a answer) { d.subscribed = a.text(t, "id") }, false,
	},
	{"B21 method", func(_ *testing.T, d *double) call {
		return put(d.token, d.subscribed, fields{"paymentMethodId": "pm_card_mastercard"})
	}, nil, false},
	{"B21 upgrade", func(_ *testing.T, d *double) call { return put(d.token, d.subscribed, fields{"planId": premiumPlan}) }, nil, false},
	{"B23 pause", func(_ *testing.T, d *double) call { return put(d.token, d.subscribed+"/pause", nil) }, nil, false},
	{"B23 unpause", func(_ *testing.T, d *double) call { return put(d.token, d.subscribed+"/unpause", nil) }, nil, false},
	{"B22 cancel", func(_ *testing.T, d *double) call { return put(d.token, d.subscribed+"/cancel", nil) }, nil, false},
	{"B22 undo", func(_ *testing.T, d *double) call { return put(d.token, d.subscribed+"/undo-cancel", nil) }, nil, false},
	{"C01 closure", func(_ *testing.T, d *double) call { return closeWith(d.token, fields{"password": lastPassword}) }, nil, true},
}

// traces counts what each table holds of an account; its messages come a moment later.
func (d *double) traces(t *testing.T) map[string]int {
	t.Helper()
	found := map[string]int{}
	for _, table := range d.s.db.texts(t, `SELECT c.table_name FROM information_schema.columns c JOIN information_schema.tables USING (table_schema, table_name)
		WHERE c.column_name = 'account_id' AND c.table_schema = 'public' AND table_type = 'BASE TABLE'
			AND c.table_name NOT IN ('owed_notices') ORDER BY 1`) {
		found[table] = d.s.db.number(t, `SELECT count(*) FROM `+table+` WHERE account_id::text = $1`, d.id)
	}
	found["mails"] = d.s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE recipient IN ($1, $2, $3, $4)`, d.email, d.next, d.second, d.number)
	return found
}

// F-05: the answer to every kind of request that changes something is lost after the change. Asking again with the same key
// brings the answer, or, once the session has ended by it, 401; and what is there then is what is there of somebody whose answers
// all arrived.
func TestFault_F05_I15_AnswerCutOffOnEveryRoute(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	between := startProxy(t, strings.TrimPrefix(s.base, "http://"))
	person := func() *double {
		return &double{s: s, email: newEmail(), next: newEmail(), second: newEmail(), number: newNumber(t)}
	}
	lucky, cut := person(), person()
	for _, do := range deeds {
		told := s.send(t, withKey(do.make(t, lucky)))
		require.True(t, told.ok(), "%s: %d %s", do.name, told.Status, told.Body)
		in := withKey(do.make(t, cut))
		between.loseOne(t, in)
		again := retry(t, s.client, in)
		if do.ends {
			require.Equal(t, http.StatusUnauthorized, again.Status, "%s: %s", do.name, again.Body)
		} else {
			require.Equal(t, told.Status, again.Status, "%s: %s", do.name, again.Body)
			require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"), "%s: it was done, and its answer kept", do.name)
		}
		if do.keep != nil {
			do.keep(t, lucky, told)
			do.keep(t, cut, again)
		}
		testkit.Eventually(t, patience, func() bool { return sameTraces(lucky.traces(t), cut.traces(t)) }, do.name+" to leave the same of both")
	}
	s.requireInvariants(t)
}

func sameTraces(a, b map[string]int) bool {
	for table, n := range a {
		if b[table] != n {
			return false
		}
	}
	return len(a) == len(b)
}

func withKey(in call) call {
	in.Key = rand.Text()
	return in
}

// loseOne sends a request through the proxy, and cuts the connection once its answer is on its way.
func (p *proxy) loseOne(t *testing.T, in call) {
	t.Helper()
	stacktest.Called(t, 1)
	before := p.keptBack()
	p.mute()
	failed := make(chan error, 1)
	go func() {
		_, err := newClient("http://"+p.addr).try(context.WithoutCancel(t.Context()), in)
		failed <- err
	}()
	testkit.Eventually(t, patience, func() bool { return p.keptBack() > before }, "an answer to "+in.Path)
	p.cut()
	require.Error(t, <-failed)
	p.unmute()
}
