package api_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/core"
)

const usernamePath = "/api/v1/account/username"

// data is what an envelope of document D holds.
func (a answer) data(t *testing.T) map[string]any {
	t.Helper()
	body := a.json(t)
	require.Equal(t, true, body["success"], a.Body)
	require.Equal(t, "OK", body["httpStatus"])
	data, _ := body["data"].(map[string]any)
	return data
}

func TestCheckUsername(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	got := app.send(t, "GET", usernamePath+"/check?username=john_doe", "")
	require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"Username available","action_time":"2026-05-19T10:30:45",
		"data":{"username":"john_doe","available":true,"suggestions":null}}`, got.Body)
	got = app.send(t, "GET", usernamePath+"/check?username=taken", "")
	require.Equal(t, "Username not available", got.json(t)["message"])
	require.Equal(t, map[string]any{
		"username": "taken", "available": false, "suggestions": []any{"taken1", "taken99", "taken_"},
	}, got.data(t))
	got = app.send(t, "GET", usernamePath+"/check?username=admin", "")
	require.Equal(t, []any{}, got.data(t)["suggestions"], "none, and still a list")
	require.Equal(t, core.CheckUsernameInput{Username: "admin"}, app.core.called()[2].in)

	for _, query := range []string{"", "?username=", "?user=x", "?username=a&username=b", "?username=%00", "?username=%ff"} {
		got := app.send(t, "GET", usernamePath+"/check"+query, "")
		requireFailure(t, "accountv1", 422, got)
		require.Contains(t, got.json(t)["data"], "username", query)
	}
}

func TestCanChangeUsername(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	see := func(username *string) answer {
		app.core.principal.Account.Username = username
		return app.send(t, "GET", usernamePath+"/can-change", "", bearer, "Bearer "+goodToken)
	}
	got := see(new("john_doe"))
	require.Equal(t, "You can change your username", got.json(t)["message"])
	require.Equal(t, map[string]any{"canChange": true, "currentUsername": "john_doe"}, got.data(t))
	require.Equal(t, map[string]any{"canChange": true, "currentUsername": nil}, see(nil).data(t))
	got = see(new("changed"))
	require.Equal(t, "Username change limit reached", got.json(t)["message"])
	require.Equal(t, map[string]any{"canChange": false, "currentUsername": "changed"}, got.data(t))
}

func TestChangeUsername(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	change := func() answer {
		return app.send(t, "POST", usernamePath+"/change", `{"username":"New_Username"}`, bearer, "Bearer "+goodToken)
	}
	got := change()
	require.Equal(t, "Username changed successfully", got.json(t)["message"])
	require.Equal(t, map[string]any{"oldUsername": "user123", "newUsername": "New_Username"}, got.data(t))
	require.Equal(t, core.ChangeUsernameInput{Username: "New_Username"}, app.core.called()[0].in)
	app.core.principal.Account.Username = nil
	require.Equal(t, map[string]any{"oldUsername": nil, "newUsername": "New_Username"}, change().data(t))
	for message, e := range map[string]*account.Error{
		"Username change limit reached": account.ErrUsernameLimit, "Username not available": account.ErrUsernameTaken,
	} {
		app.core.fails = e
		got := change()
		requireFailure(t, "accountv1", 400, got)
		require.Equal(t, message, got.json(t)["message"])
		require.Equal(t, message, got.json(t)["data"])
	}
}

func TestSearchUsers(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	card := `{"id":"` + accountID.String() + `","userName":"john_doe","displayName":"John Doe","avatarUrl":"https://cdn.example.com/avatar.jpg"}`
	got := app.send(t, "GET", usernamePath+"/search?q=%40jo+hn%25&page=2&size=20", "")
	require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"Users found","action_time":"2026-05-19T10:30:45","data":{
		"users":[`+card+`,{"id":"`+sessionID.String()+`","userName":"johnny","displayName":null,"avatarUrl":null}],
		"totalCount":100,"hasMore":true}}`, got.Body)
	got = app.send(t, "GET", usernamePath+"/search?q=nobody", "")
	require.Equal(t, map[string]any{"users": []any{}, "totalCount": 0.0, "hasMore": false}, got.data(t))
	calls := app.core.called()
	require.Equal(t, core.SearchUsersInput{Text: "@jo hn%", Page: new(int64(2)), Size: new(int64(20))}, calls[0].in)
	require.Equal(t, core.SearchUsersInput{Text: "nobody"}, calls[1].in)
	for query, field := range map[string]string{
		"": "q", "?q=": "q", "?q=ab&page=x": "page", "?q=ab&page=1e9": "page", "?q=ab&size=1.5": "size", "?q=a%00b": "q", "?q=%ff%fe": "q",
		"?q=ab&q=cd": "q", "?q=ab&page=99999999999999999999": "page",
	} {
		got := app.send(t, "GET", usernamePath+"/search"+query, "")
		requireFailure(t, "accountv1", 422, got)
		require.Contains(t, got.json(t)["data"], field, query)
	}

	got = app.send(t, "GET", usernamePath+"/john_doe", "")
	require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"User found","action_time":"2026-05-19T10:30:45","data":`+card+`}`, got.Body)
}

// X24: the words of the document's paths are no usernames, whatever else the pattern takes.
func TestUSR05_StaticPathsComeFirst(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	for path, operation := range map[string]string{
		"/check?username=x": "CheckUsername", "/search?q=xy": "SearchUsers", "/can-change": "CanChangeUsername",
		"/change": "FindUser", "/@john_doe": "FindUser", "/%40John.Doe": "FindUser",
	} {
		app.send(t, "GET", usernamePath+path, "", bearer, "Bearer "+goodToken)
		calls := app.core.called()
		require.Equal(t, operation, calls[len(calls)-1].operation, path)
	}
	app.core.fails = account.ErrNotFound
	got := app.send(t, "GET", usernamePath+"/%40John.Doe", "")
	requireFailure(t, "accountv1", 404, got)
	require.Equal(t, "User not found", got.json(t)["message"])
	calls := app.core.called()
	require.Equal(t, core.FindUserInput{Username: "@John.Doe"}, calls[len(calls)-1].in)
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	app := newApp(t)
	send := func(body string) answer {
		return app.send(t, "DELETE", "/api/v1/account/deactivate", body, bearer, "Bearer "+goodToken)
	}
	got := send(`{"password":"p","reason":"Taking a break"}`)
	require.JSONEq(t, `{"success":true,"httpStatus":"OK","message":"Account deactivated successfully",
		"action_time":"2026-05-19T10:30:45","data":null}`, got.Body)
	require.Equal(t, core.DeactivateInput{Password: "p", Reason: "Taking a break"}, app.core.called()[0].in)
	for want, e := range map[string]*account.Error{
		"403 Password is incorrect":                      account.ErrInvalidPassword,
		"403 Sign in again to do this.":                  account.ErrReauthenticationRequired,
		"429 Too many requests. Please try again later.": account.ErrTooManyRequests,
	} {
		app.core.fails = e
		got := send(`{"password":"p"}`)
		require.Equal(t, want[:3], itoa(got.Status))
		require.Equal(t, want[4:], got.json(t)["message"])
	}
	got = app.send(t, "DELETE", "/api/v1/account/deactivate", `{"password":"p"}`)
	requireFailure(t, "accountv1", 401, got)
}
