package api_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const (
	settingsPath  = "/v1/users/settings"
	providersPath = "/v1/users/dataproviders"
	membersPath   = "/v1/users/Ada%40Example.com/memberships"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func(method, path, body string) answer {
		return app.send(t, method, path, body, bearer, "Bearer "+goodToken)
	}
	const all = `{"timezone":"America/New_York","oddsFormat":"american","notifications":{"email":true,"push":true,"sms":false},
		"theme":"dark","language":"en"}`
	require.JSONEq(t, all, send("GET", settingsPath, "").Body)
	require.JSONEq(t, all, send("PATCH", settingsPath,
		`{"timezone":"UTC","notifications":{"push":false,"sms":null,"SMS":true,"more":[1]},"theme":null,"account_id":"x"}`).Body)
	require.Equal(t, core.ChangeSettingsInput{SettingsChange: account.SettingsChange{
		Timezone: new("UTC"), NotifyPush: new(false),
	}}, app.core.called()[1].in)
	send("PATCH", settingsPath, "")
	require.Equal(t, core.ChangeSettingsInput{}, app.core.called()[2].in)

	require.JSONEq(t, `{"dataProviders":[]}`, send("GET", providersPath, "").Body)
	require.JSONEq(t, `{"dataProviders":[{"name":"sportradar","enabled":true}]}`,
		send("PATCH", providersPath, `{"dataProviders":[{"name":"a","enabled":false,"apiKey":"secret"}]}`).Body)
	require.Equal(t, core.ChangeDataProvidersInput{Providers: []core.DataProviderChange{{Name: new("a"), Enabled: new(false)}}},
		app.core.called()[4].in)
	send("PATCH", providersPath, `{"dataProviders":[]}`)
	require.Equal(t, core.ChangeDataProvidersInput{Providers: []core.DataProviderChange{}}, app.core.called()[5].in)
}

// What is wrong within an object is told by its path, all at once.
func TestFaultsOfNestedFields(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]map[string]any{
		`{"oddsFormat":1,"notifications":{"email":1,"push":"x","sms":true}}`: {
			"oddsFormat": "must be a string", "notifications.email": "must be a boolean", "notifications.push": "must be a boolean",
		},
		`{"notifications":[]}`:                     {"notifications": "must be an object"},
		`{"notifications":{"other":"\u0000"}}`:     {"notifications": "must not contain NUL"},
		`{"timezone":"\u0000"}`:                    {"timezone": "must not contain NUL"},
		`{"notifications":{"email":{"a":[{}]}}}`:   {"notifications.email": "must be a boolean"},
		`{"notifications":"true","language":[""]}`: {"notifications": "must be an object", "language": "must be a string"},
	} {
		app := newApp(t)
		got := app.send(t, "PATCH", settingsPath, body, bearer, "Bearer "+goodToken)
		require.Equal(t, "invalid_request", requireFailure(t, "usersv1", 400, got), body)
		require.Equal(t, want, got.json(t)["fields"], body)
		require.Empty(t, app.core.called())
	}
	many, err := json.Marshal(map[string]any{"dataProviders": make([]struct{}, 33)})
	require.NoError(t, err)
	for body, want := range map[string]map[string]any{
		`{"dataProviders":[1,{"name":2,"enabled":"x"},null]}`: {
			"dataProviders.0": "must be an object", "dataProviders.1.name": "must be a string",
			"dataProviders.1.enabled": "must be a boolean", "dataProviders.2": "must be an object",
		},
		`{"dataProviders":{}}`: {"dataProviders": "must be an array of objects"},
		string(many):           {"dataProviders": "may hold at most 32 values"},
	} {
		got := newApp(t).send(t, "PATCH", providersPath, body, bearer, "Bearer "+goodToken)
		require.Equal(t, "invalid_request", requireFailure(t, "usersv1", 400, got), body)
		require.Equal(t, want, got.json(t)["fields"], body)
	}
}

// B17: a credential that is not good counts as none.
func TestOptionalCredentials(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		headers []string
		change  func(*fakeCore)
		known   bool
	}{
		"none":            {nil, nil, false},
		"token":           {[]string{bearer, "Bearer " + goodToken}, nil, true},
		"wrong token":     {[]string{bearer, "Bearer x"}, nil, false},
		"basic":           {[]string{bearer, "Basic x"}, nil, false},
		"two tokens":      {[]string{bearer, "Bearer " + goodToken, bearer, "Bearer " + goodToken}, nil, false},
		"two credentials": {[]string{bearer, "Bearer " + goodToken, "X-API-Key", goodKey}, nil, false},
		"service key":     {[]string{"X-API-Key", goodKey}, func(f *fakeCore) { f.principal.APIKey, f.principal.Session = &account.APIKey{Service: true}, nil }, true},
		"account's key":   {[]string{"X-API-Key", goodKey}, func(f *fakeCore) { f.principal.APIKey = &account.APIKey{Scopes: account.Scopes()} }, false},
		"pending session": {[]string{bearer, "Bearer " + goodToken}, func(f *fakeCore) { f.principal.Session.State = account.SessionPending }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			app := newApp(t)
			if one.change != nil {
				one.change(app.core)
			}
			got := app.send(t, "GET", membersPath, "", one.headers...)
			require.JSONEq(t, `{"memberships":[{"organization":"Example Ltd","role":"member","createdAt":"`+created+`"}]}`, got.Body)
			require.Equal(t, core.MembershipsInput{Email: "Ada@Example.com"}, app.core.called()[0].in)
			require.Equal(t, one.known, app.core.called()[0].by.Principal != nil)
		})
	}
	app := newApp(t)
	app.core.authFails = account.ErrUnavailable
	got := app.send(t, "GET", membersPath, "", bearer, "Bearer "+goodToken)
	require.Equal(t, "unavailable", requireFailure(t, "usersv1", 503, got))
	require.NotContains(t, app.log.text(), "ada")
	require.NotContains(t, strings.ToLower(app.log.text()), "ada%40")
}
