//go:build unix

package e2e_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"
)

// agree asks every dialect about the account.
func (l *life) agree() {
	l.t.Helper()
	l.agreeInPublic()
	l.deadEverywhere()
	l.agreeOnEvents()
	if l.state != lifeOpen {
		return
	}
	for _, key := range slices.Sorted(maps.Keys(l.keys)) {
		got := l.want(l.t, http.StatusOK, call{Path: pathMe, Header: map[string]string{"X-API-Key": l.keys[key]}}) // C16
		l.agreeOnMe(got.object(l.t))
	}
	for i, v := range l.visits {
		if i < len(l.visits)-1 {
			l.requireAlive(l.t, v.token)
			continue
		}
		l.agreeWithin(v)
	}
}

// agreeOnEvents wants one event for every change, of whoever asked for it: no flow has acted by itself here.
func (l *life) agreeOnEvents() {
	l.t.Helper()
	require.Equal(l.t, l.events, l.db.texts(l.t, `SELECT name FROM audit_events WHERE account_id = $1::uuid ORDER BY sequence`, l.id))
	require.Empty(l.t, l.db.texts(l.t, `
		SELECT name || ' by ' || actor_kind FROM audit_events WHERE account_id = $1::uuid AND (
			actor_kind NOT IN ('session', 'visitor', 'service_key', 'operator')
			OR actor_kind <> 'operator' AND (network IS NULL OR request_id IS NULL)
			OR (actor_kind = 'operator') <> (name = 'account.reactivated')
			OR actor_kind = 'visitor' AND name NOT IN ('account.created', 'account.email_verified', 'account.email_changed',
				'account.reopened', 'password.reset', 'device.trusted'))`, l.id))
}

// agreeOnSeenEvents reads the owner's view page by page.
func (l *life) agreeOnSeenEvents(read func(path string) answer) {
	l.t.Helper()
	var seen []string
	for cursor := ""; ; {
		page := read("/api/v1/auth/security-events?limit=3" + cursor).object(l.t)
		for _, e := range page["events"].([]any) {
			seen = append(seen, e.(map[string]any)["type"].(string))
		}
		next, more := page["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	slices.Reverse(seen)
	require.Equal(l.t, l.events, seen)
}

// nullable is what a document shows of a text that may not be there.
func nullable(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (l *life) linked() []any {
	names := []any{}
	for _, name := range slices.Sorted(maps.Keys(l.providers)) {
		names = append(names, name)
	}
	return names
}

// agreeOnMe is A01 and C16.
func (l *life) agreeOnMe(me map[string]any) {
	l.t.Helper()
	require.Equal(l.t, []any{
		l.id, nullable(l.email), nullable(l.name), nullable(l.name), true, l.reachable(), l.onboarded, nullable(l.phone), l.phone != "",
	}, []any{
		me["id"], me["email"], me["full_name"], me["name"], me["is_active"], me["is_verified"], me["onboarding_completed"],
		me["phone_number"], me["phone_verified"],
	})
}

// agreeWithin asks what only the owner may know.
func (l *life) agreeWithin(v *visit) {
	l.t.Helper()
	read := func(path string) answer { return l.want(l.t, http.StatusOK, call{Path: path, Token: v.token}) }
	l.agreeOnMe(read(pathMe).object(l.t))
	profile := read(pathProfile).object(l.t) // C19
	require.Equal(l.t, []any{l.id, nullable(l.email), nullable(l.name)}, []any{profile["id"], profile["email"], profile["name"]})
	l.agreeOnSeenEvents(read)
	overview := read(pathSecurityOverview).object(l.t) // C22
	require.Equal(l.t, []any{l.password != "", l.password == "", l.reachable()},
		[]any{overview["has_password"], overview["can_add_password"], overview["email_verified"]})
	require.ElementsMatch(l.t, l.linked(), overview["linked_providers"])
	l.agreeOnLinks(v, overview["primary_method"])

	details := read(pathDetails).object(l.t) // B12
	shown := l.username
	if shown == "" {
		shown = l.email
	}
	require.Equal(l.t, []any{l.id, shown, nullable(l.email), nullable(l.name)},
		[]any{details["userId"], details["username"], details["email"], details["displayName"]})
	require.Equal(l.t, l.theme, read(pathSettings).object(l.t)["theme"]) // B13

	info := read(pathSecurityInfo).data(l.t) // D01
	require.Equal(l.t, []any{l.reachable(), l.phone != "", l.factor != "", false},
		[]any{info["isEmailVerified"], info["isPhoneVerified"], info["isTwoFactorEnabled"], info["isAccountLocked"]})
	can := read(pathCanSetPassword).data(l.t) // D08
	require.Equal(l.t, l.password == "", can["canSetPassword"])
	require.Equal(l.t, overview["primary_method"], strings.ToLower(can["authProvider"].(string)))
	name := read(pathCanChange).data(l.t) // D11
	require.Equal(l.t, []any{l.username == "" || l.renamed == 0, nullable(l.username)}, []any{name["canChange"], name["currentUsername"]})
	require.Len(l.t, l.system.devices(l.t, v.token), len(l.devices)) // D21
	l.agreeOnSessions(v)
}

// agreeOnLinks is A07 and C09.
func (l *life) agreeOnLinks(v *visit, primary any) {
	l.t.Helper()
	links := l.want(l.t, http.StatusOK, call{Path: pathProviders, Token: v.token}).list(l.t)
	require.Len(l.t, links, len(l.providers))
	for _, link := range links {
		require.Equal(l.t, l.providers[link["provider"].(string)], link["provider_account_id"])
	}
	linked := l.want(l.t, http.StatusOK, call{Path: pathLinked, Token: v.token}).object(l.t)
	require.Len(l.t, linked["accounts"], len(l.providers))
	require.Equal(l.t, []any{l.password != "", primary}, []any{linked["has_password"], linked["primary_method"]})
}

// agreeOnSessions is A09, C24 and D15.
func (l *life) agreeOnSessions(v *visit) {
	l.t.Helper()
	var a, d []string
	for _, one := range l.sessionsOf(l.t, v.token) {
		a = append(a, one["session_id"].(string))
	}
	marked := l.want(l.t, http.StatusOK, call{Path: pathAccountSessions, Token: v.token, Header: map[string]string{"X-Session-Id": v.id}}).data(l.t)
	require.Equal(l.t, v.id, marked["currentSession"].(map[string]any)["id"])
	for _, one := range marked["sessions"].([]any) {
		d = append(d, one.(map[string]any)["id"].(string))
	}
	require.ElementsMatch(l.t, a, d)
	for _, other := range l.visits {
		require.Contains(l.t, a, other.id)
	}
	for _, other := range l.ended {
		require.NotContains(l.t, a, other.id)
	}
}

// agreeInPublic asks what anybody may know.
func (l *life) agreeInPublic() {
	l.t.Helper()
	if l.email != "" {
		exists := l.state != lifeClosed
		providers := []any{}
		if exists {
			providers = l.linked()
		}
		got := l.want(l.t, http.StatusOK, call{Path: pathCheckEmailExists + "?email=" + url.QueryEscape(l.email)}).object(l.t) // C05
		require.Equal(l.t, []any{exists, exists && l.password != ""}, []any{got["exists"], got["has_password"]})
		require.ElementsMatch(l.t, providers, got["providers"])
		got = l.want(l.t, http.StatusOK, call{Path: pathCheckEmail, Body: fields{"email": l.email}}).object(l.t) // C04
		require.Equal(l.t, []any{exists, exists && l.password != ""}, []any{got["exists"], got["has_password"]})
	}
	for _, past := range l.pastEmails {
		got := l.want(l.t, http.StatusOK, call{Path: pathCheckEmailExists + "?email=" + url.QueryEscape(past)}).object(l.t)
		require.Equal(l.t, false, got["exists"], "a former email is free")
	}
	for _, name := range l.former {
		free, _ := l.available(l.t, name)
		require.Equal(l.t, l.state == lifeClosed, free, "a former username is kept for whoever had it, unless they are gone")
	}
	if l.username == "" {
		return
	}
	free, _ := l.available(l.t, l.username) // D10
	require.Equal(l.t, l.state == lifeClosed, free)
	status, card := http.StatusNotFound, any("User not found")
	if l.state == lifeOpen && l.onboarded {
		status, card = http.StatusOK, map[string]any{"id": l.id, "userName": l.username, "displayName": nullable(l.name), "avatarUrl": nil}
	}
	got := l.want(l.t, status, call{Path: pathUsername + "/" + l.username}) // D14
	_, data := got.told(l.t)
	require.Equal(l.t, card, data)
	names, _, _ := l.found(l.t, url.Values{"q": {l.username}}) // D13
	require.Equal(l.t, status == http.StatusOK, slices.Contains(names, l.username))
}

// deadEverywhere tries what was revoked in every dialect: the latest few, for all of them would take ever longer.
func (l *life) deadEverywhere() {
	l.t.Helper()
	for _, v := range l.ended[max(0, len(l.ended)-6):] {
		l.requireDead(l.t, v.token)
		if v.refresh != "" {
			got := l.raw(l.t, http.MethodPost, pathRefresh, "", refreshName, v.refresh)
			require.Equal(l.t, http.StatusUnauthorized, got.Status, "%s", got.Body)
		}
	}
	for _, key := range l.deadKeys {
		l.want(l.t, http.StatusUnauthorized, call{Path: pathMe, Header: map[string]string{"X-API-Key": key}})
		l.requireDead(l.t, key)
	}
}

// deadPassword tries a former password in both dialects that take one.
func (l *life) deadPassword(former string) {
	l.t.Helper()
	if former == "" || l.email == "" {
		return
	}
	require.Equal(l.t, http.StatusUnauthorized, l.login(l.t, l.email, former).Status)
	name := l.username
	if name == "" {
		name = l.email
	}
	require.Equal(l.t, http.StatusUnauthorized, l.authenticate(l.t, name, former).Status)
}

// kept is a list that a document shows.
func kept(t player, raw []byte) []map[string]any {
	t.Helper()
	var list []map[string]any
	require.NoError(t, json.Unmarshal(raw, &list), "%s", raw)
	return list
}
