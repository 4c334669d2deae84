//go:build unix

package e2e_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/internal/testkit"
)

const (
	pathUsername       = "/api/v1/account/username"
	pathCheckUsername  = pathUsername + "/check?username="
	pathCanChange      = pathUsername + "/can-change"
	pathChangeUsername = pathUsername + "/change"
	pathSearch         = pathUsername + "/search?"
	pathDeactivate     = "/api/v1/account/deactivate"
)

// TestUsernames plays D10 to D14 on one system.
func TestUsernames(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"D10_D12_ChooseAndChange":          chooseUsername,
		"D12_FormerNamesAreKept":           formerUsernames,
		"D13_D14_OnlyActiveAndOnboarded":   whoIsShown,
		"USR01_SearchIsLiteral":            literalSearch,
		"USR03_LookAlikes":                 lookAlikes,
		"USR05_PathsAreReserved":           reservedPaths,
		"ENU07_FoundIDsAreNoCredentials":   foundIDs,
		"D12_SameKeyGetsTheSameAnswer":     usernameRepeated,
		"D13_PagesAndTotals":               searchPages,
		"C01_ClosureFreesTheUsername":      closedUsername,
		"D10_SuggestionsCanBeHad":          suggestedUsernames,
		"D12_UnverifiedAccountsMayAsInB02": unverifiedUsername,
	})
}

// newUsername is one that nobody has.
func newUsername() string { return "n" + strings.ReplaceAll(newEmail()[5:20], "-", "_") }

func changeUsername(token, username string) call {
	return call{Path: pathChangeUsername, Token: token, Body: fields{"username": username}}
}

// named makes an account with a username.
func (s *system) named(t testing.TB, username string) (token, email string) {
	t.Helper()
	email = newEmail()
	token = s.signUp(t, email)
	s.want(t, http.StatusOK, changeUsername(token, username))
	return token, email
}

// shown makes an account that others can find.
func (s *system) shown(t testing.TB, username string) (token, email string) {
	t.Helper()
	token, email = s.named(t, username)
	s.want(t, http.StatusOK, call{Path: pathOnboarding, Token: token, Body: fields{"event": "completed"}})
	return token, email
}

func (s *system) available(t testing.TB, username string) (available bool, suggestions any) {
	t.Helper()
	message, data := s.want(t, http.StatusOK, call{Path: pathCheckUsername + url.QueryEscape(username)}).told(t)
	got := data.(map[string]any)
	want := map[bool]string{true: "Username available", false: "Username not available"}
	available = got["available"].(bool)
	require.Equal(t, want[available], message)
	return available, got["suggestions"]
}

func (s *system) found(t testing.TB, query url.Values) (names []string, total int, more bool) {
	t.Helper()
	message, data := s.want(t, http.StatusOK, call{Path: pathSearch + query.Encode()}).told(t)
	require.Equal(t, "Users found", message)
	got := data.(map[string]any)
	for _, user := range got["users"].([]any) {
		names = append(names, user.(map[string]any)["userName"].(string))
	}
	return names, int(got["totalCount"].(float64)), got["hasMore"].(bool)
}

func chooseUsername(t *testing.T, s *system) {
	email, name := newEmail(), newUsername()
	token := s.signUp(t, email)
	can := func() (string, any) { return s.want(t, http.StatusOK, call{Path: pathCanChange, Token: token}).told(t) }
	message, data := can()
	require.Equal(t, "You can change your username", message)
	require.Equal(t, map[string]any{"canChange": true, "currentUsername": nil}, data)
	free, suggestions := s.available(t, strings.ToUpper(name))
	require.True(t, free)
	require.Nil(t, suggestions)

	message, data = s.want(t, http.StatusOK, changeUsername(token, "@"+strings.ToUpper(name))).told(t)
	require.Equal(t, "Username changed successfully", message)
	require.Equal(t, map[string]any{"oldUsername": nil, "newUsername": name}, data)
	require.Equal(t, name, s.want(t, http.StatusOK, call{Path: pathDetails, Token: token}).text(t, "username"), "document B shows it")
	require.Equal(t, http.StatusOK, s.authenticate(t, name, password).Status, "and takes it for a sign-in")
	s.awaitNotice(t, email, "Your Gatehouse username was changed", 1)

	second := newUsername()
	_, data = s.want(t, http.StatusOK, changeUsername(token, second)).told(t)
	require.Equal(t, map[string]any{"oldUsername": name, "newUsername": second}, data)
	s.refuses(t, http.StatusBadRequest, "Username change limit reached", changeUsername(token, newUsername()))
	message, data = can()
	require.Equal(t, "Username change limit reached", message)
	require.Equal(t, map[string]any{"canChange": false, "currentUsername": second}, data)
	require.Equal(t, http.StatusUnauthorized, s.authenticate(t, name, password).Status)
	require.Equal(t, 2, s.db.number(t, `SELECT count(*) FROM username_history h JOIN accounts a ON a.id = h.account_id WHERE a.email = $1`, email))

	for _, bad := range []any{nil, "", "ab", "no spaces", "é_é_é", strings.Repeat("a", 31), ".dot", email} {
		got := s.want(t, http.StatusUnprocessableEntity, call{Path: pathChangeUsername, Token: token, Body: fields{"username": bad}})
		_, data := got.told(t)
		require.Contains(t, data, "username")
	}
	s.refuses(t, http.StatusUnauthorized, "Missing, invalid or expired credentials", changeUsername("", newUsername()))
	s.want(t, http.StatusUnprocessableEntity, call{Path: pathUsername + "/check"})
}

// awaitNotice waits for n mails with a subject.
func (s *system) awaitNotice(t testing.TB, email, subject string, n int) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool {
		return s.db.number(t, `SELECT count(*) FROM dev_inbox WHERE recipient = $1 AND subject = $2`, email, subject) == n
	}, subject)
}

func formerUsernames(t *testing.T, s *system) {
	name := newUsername()
	token, email := s.named(t, name)
	s.want(t, http.StatusOK, changeUsername(token, newUsername()))
	other := s.signUp(t, newEmail())
	free, suggestions := s.available(t, name)
	require.False(t, free)
	require.Len(t, suggestions, 3)
	s.refuses(t, http.StatusBadRequest, "Username not available", changeUsername(other, name))
	s.refused(t, http.StatusBadRequest, "identity_already_used", call{Path: pathRegister, Body: fields{
		"username": name, "email": newEmail(), "password": password,
	}})
	past := `UPDATE username_history SET changed_at = changed_at - $2::interval, held_until = held_until - $2::interval
		WHERE old_username IS NOT NULL AND account_id = (SELECT id FROM accounts WHERE email = $1)`
	s.db.change(t, past, email, "30 days")
	s.want(t, http.StatusOK, changeUsername(token, name))
	s.refuses(t, http.StatusBadRequest, "Username change limit reached", changeUsername(token, newUsername()))
	_, err := s.db.Exec(t.Context(), past, email, "30 days")
	require.NoError(t, err)
	s.want(t, http.StatusOK, changeUsername(token, newUsername()))
	_, err = s.db.Exec(t.Context(), past, email, "90 days")
	require.NoError(t, err)
	s.want(t, http.StatusOK, changeUsername(other, name))
}

func whoIsShown(t *testing.T, s *system) {
	name := newUsername()
	token, email := s.named(t, name)
	s.want(t, http.StatusOK, call{Method: http.MethodPatch, Path: pathMe, Token: token, Body: fields{"full_name": "Zoë " + strings.ToUpper(name)}})
	look := func(at string) call { return call{Path: pathUsername + "/" + at} }
	hidden := func() {
		t.Helper()
		s.refuses(t, http.StatusNotFound, "User not found", look(name))
		_, total, _ := s.found(t, url.Values{"q": {name}})
		require.Zero(t, total)
	}
	hidden()
	s.want(t, http.StatusOK, call{Path: pathOnboarding, Token: token, Body: fields{"event": "skipped"}})
	hidden()
	s.want(t, http.StatusOK, call{Path: pathOnboarding, Token: token, Body: fields{"event": "completed"}})
	card := map[string]any{
		"id": s.accountID(t, email), "userName": name, "displayName": "Zoë " + strings.ToUpper(name), "avatarUrl": nil,
	}
	for _, at := range []string{name, "@" + name, url.PathEscape("@" + strings.ToUpper(name))} {
		message, data := s.want(t, http.StatusOK, look(at)).told(t)
		require.Equal(t, "User found", message)
		require.Equal(t, card, data)
	}
	for _, q := range []string{name, "@" + name, strings.ToUpper(name), name[:8], name[3:], "zoë " + name} {
		_, data := s.want(t, http.StatusOK, call{Path: pathSearch + url.Values{"q": {q}}.Encode()}).told(t)
		require.Equal(t, map[string]any{"users": []any{card}, "totalCount": 1.0, "hasMore": false}, data, q)
	}
	s.want(t, http.StatusOK, call{Method: http.MethodDelete, Path: pathDeactivate, Token: token, Body: fields{"password": password}})
	hidden()
}

func literalSearch(t *testing.T, s *system) {
	name := newUsername()
	s.shown(t, name)
	s.shown(t, "p_"+newUsername())
	for _, q := range []string{
		"%%", "__", `\\`, "''", `""`, ";--", "??", "$1", "' OR 1=1 --", "@@", "@%", "% %", name + "%", strings.Replace(name, "n", "_", 1) + "_",
		strings.Repeat("x", 9000), "😀😀", "\u202e\u202e", "{}", "?0 ?1", "${jndi:x}",
	} {
		names, total, _ := s.found(t, url.Values{"q": {q}})
		require.Empty(t, names, q)
		require.Zero(t, total, q)
	}
	for _, query := range []string{
		"", "q=", "q=a", "q=%40", "q=ab&page=-1", "q=ab&page=1e9", "q=ab&size=9999", "q=ab&size=21", "q=ab&size=0", "q=ab&size=-1", "q=ab&size=x",
		"q=a%00b", "q=%ff%fe%fd", "q=" + strings.Repeat("x", 10_001), "q=ab&q=cd", "q=ab&page=99999999999999999999",
	} {
		s.refuses(t, http.StatusUnprocessableEntity, "Validation failed", call{Path: pathSearch + query})
	}
	names, total, more := s.found(t, url.Values{"q": {name}, "page": {"1000000000"}, "size": {"20"}})
	require.Empty(t, names)
	require.Equal(t, 1, total)
	require.False(t, more)
	for _, at := range []string{name + "%25", name[:5] + "%25", name + "'", "%5c", "%00", "%ff"} {
		s.want(t, http.StatusNotFound, call{Path: pathUsername + "/" + at})
	}
}

func lookAlikes(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for _, name := range []string{
		"admin", "ADMIN", "@admin", "\u0430dmin", "ADM\u0130N", "adm1n", "ad\u200bmin", "support.", "sup_port", "\u202enimda", "r00t", "\uff41dmin",
	} {
		s.want(t, http.StatusUnprocessableEntity, changeUsername(token, name))
		free, _ := s.available(t, name)
		require.False(t, free, name)
	}
	name := newUsername()
	s.named(t, name)
	for _, same := range []string{strings.ToUpper(name), "@" + name, " " + name, strings.Replace(name, "n", "\uff4e", 1)} {
		s.refuses(t, http.StatusBadRequest, "Username not available", changeUsername(token, same))
	}
	s.want(t, http.StatusUnprocessableEntity, changeUsername(token, "@@"+name))
}

func reservedPaths(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	for _, name := range []string{"check", "search", "change", "can-change", "Check"} {
		s.want(t, http.StatusUnprocessableEntity, changeUsername(token, name))
		s.want(t, http.StatusBadRequest, call{Path: pathRegister, Body: fields{"username": name, "email": newEmail(), "password": password}})
	}
	s.refuses(t, http.StatusNotFound, "User not found", call{Path: pathUsername + "/change"})
	s.want(t, http.StatusUnauthorized, call{Path: pathCanChange})
}

// The documents show the account's id; it opens nothing.
func foundIDs(t *testing.T, s *system) {
	name := newUsername()
	_, email := s.shown(t, name)
	_, data := s.want(t, http.StatusOK, call{Path: pathUsername + "/" + name}).told(t)
	id := data.(map[string]any)["id"].(string)
	eve := s.signUp(t, newEmail())
	s.requireDead(t, id)
	for _, in := range []call{
		{Method: http.MethodDelete, Path: pathSessions + "/" + id, Token: eve},
		{Path: pathRevokeSession, Token: eve, Body: fields{"session_id": id}},
		{Path: "/v1/operations/" + id},
	} {
		s.want(t, http.StatusNotFound, in)
	}
	require.Equal(t, http.StatusUnauthorized, s.authenticate(t, id, password).Status)
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status, "nothing has happened to them")
}

func usernameRepeated(t *testing.T, s *system) {
	token := s.signUp(t, newEmail())
	in := changeUsername(token, newUsername())
	in.Key = newUsername()
	first := s.want(t, http.StatusOK, in)
	again := s.want(t, http.StatusOK, in)
	require.Equal(t, string(first.Body), string(again.Body))
	require.Equal(t, "true", again.Header.Get("Idempotent-Replayed"))
	in.Body = fields{"username": newUsername()}
	s.want(t, http.StatusUnprocessableEntity, in)
}

func searchPages(t *testing.T, s *system) {
	const stem = "pager_zq"
	s.db.changeMany(t, `
		INSERT INTO accounts (id, email, username, onboarding_done)
		SELECT gen_random_uuid(), 'pager' || i || '@example.com', $1 || lpad(i::text, 3, '0'), true FROM generate_series(1, 130) AS i`, stem)
	names, total, more := s.found(t, url.Values{"q": {stem}})
	require.Equal(t, []string{stem + "001", stem + "002", stem + "003", stem + "004"}, names)
	require.Equal(t, 100, total)
	require.True(t, more)
	seen := map[string]bool{}
	for page := range 6 {
		names, total, more = s.found(t, url.Values{"q": {"@" + stem}, "page": {string(rune('0' + page))}, "size": {"20"}})
		require.Equal(t, 100, total)
		require.Equal(t, page < 4, more)
		for _, name := range names {
			require.False(t, seen[name])
			seen[name] = true
		}
	}
	require.Len(t, seen, 100)
	names, _, _ = s.found(t, url.Values{"q": {stem + "077"}})
	require.Equal(t, stem+"077", names[0])
}

// changeMany runs a statement that changes rows.
func (d database) changeMany(t testing.TB, statement string, args ...any) {
	t.Helper()
	tag, err := d.Exec(t.Context(), statement, args...)
	require.NoError(t, err)
	require.Positive(t, tag.RowsAffected(), statement)
}

func closedUsername(t *testing.T, s *system) {
	name := newUsername()
	token, email := s.named(t, name)
	s.want(t, http.StatusOK, closeWith(token, fields{"password": password}))
	undo := call{Path: pathUndo, Body: fields{"token": tokenOf(t, s.awaitClosureMail(t, email, "Your Gatehouse account is closed"))}}
	_, taker := s.named(t, name)
	s.want(t, http.StatusOK, undo)
	require.Equal(t, http.StatusOK, s.authenticate(t, email, password).Status)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE username = $1 AND email = $2 AND deleted_at IS NULL`, name, taker),
		"whoever has it keeps it")
}

func suggestedUsernames(t *testing.T, s *system) {
	name := newUsername()
	s.named(t, name)
	free, suggestions := s.available(t, name)
	require.False(t, free)
	require.Len(t, suggestions, 3)
	for _, suggestion := range suggestions.([]any) {
		s.named(t, suggestion.(string))
	}
	_, others := s.available(t, name)
	for _, suggestion := range suggestions.([]any) {
		require.NotContains(t, others, suggestion)
	}
	free, none := s.available(t, "admin")
	require.False(t, free)
	require.Equal(t, []any{}, none)
}

func unverifiedUsername(t *testing.T, s *system) {
	first, second := newUsername(), newUsername()
	token := s.register(t, first, newEmail())
	_, data := s.want(t, http.StatusOK, changeUsername(token, second)).told(t)
	require.Equal(t, map[string]any{"oldUsername": first, "newUsername": second}, data)
}

// TestDeactivation plays D04 and what support does about it.
func TestDeactivation(t *testing.T) {
	t.Parallel()
	s := startSystem(t)
	playAll(t, s, map[string]func(*testing.T, *system){
		"D04_DeactivateAndReactivate":   deactivateAndReactivate,
		"D04_WithoutAPassword":          deactivateFresh,
		"ENU01_LooksLikeNobody":         deactivatedLogin,
		"SES13_GuessesEndTheSession":    deactivationGuesses,
		"D04_UnverifiedAndUnknownInput": deactivateOdd,
	})
}

func deactivate(token string, body fields) call {
	return call{Method: http.MethodDelete, Path: pathDeactivate, Token: token, Body: body}
}

func deactivateAndReactivate(t *testing.T, s *system) {
	name := newUsername()
	token, email := s.shown(t, name)
	second := s.client.login(t, email)
	key := s.apiKey(t, token, "account:read")
	got := s.want(t, http.StatusOK, deactivate(token, fields{"password": password, "reason": "Taking a break from the platform"}))
	message, data := got.told(t)
	require.Equal(t, "Account deactivated successfully", message)
	require.Nil(t, data)
	s.requireDead(t, token)
	s.requireDead(t, second)
	s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: key})
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status)
	require.Equal(t, http.StatusUnauthorized, s.authenticate(t, name, password).Status)
	s.refused(t, http.StatusConflict, "email_exists", call{Path: pathInitiateSignup, Body: fields{"email": email, "password": password}})
	free, _ := s.available(t, name)
	require.False(t, free)
	s.awaitNotice(t, email, "Your Gatehouse account is deactivated", 1)
	require.Equal(t, "Taking a break from the platform", s.db.texts(t, `SELECT deactivation_reason FROM accounts WHERE email = $1`, email)[0])

	id := s.accountID(t, email)
	require.Contains(t, s.stack.Command(t, nil, "accounts", "reactivate", strings.ToUpper(email)), id)
	s.awaitNotice(t, email, "Your Gatehouse account is open again", 1)
	s.requireDead(t, token)
	s.requireDead(t, second)
	s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: key})
	again := s.client.login(t, email)
	require.Equal(t, name, s.want(t, http.StatusOK, call{Path: pathDetails, Token: again}).text(t, "username"), "nothing was lost")
	s.want(t, http.StatusOK, call{Path: pathUsername + "/" + name})
	s.want(t, http.StatusOK, deactivate(again, fields{"password": password}))
	require.Contains(t, s.stack.Command(t, nil, "accounts", "reactivate", id), id)
	require.Equal(t, http.StatusOK, s.login(t, email, password).Status)
}

func deactivateFresh(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE email = $1`, email)
	age := `UPDATE sessions SET auth_time = now() - $2::interval WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`
	s.db.change(t, age, email, "11 minutes")
	s.refuses(t, http.StatusForbidden, "Sign in again to do this.", deactivate(token, fields{"password": "any"}))
	s.db.change(t, age, email, "1 minute")
	s.want(t, http.StatusOK, deactivate(token, fields{}))
	s.requireDead(t, token)
}

func deactivatedLogin(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	s.want(t, http.StatusOK, deactivate(token, fields{"password": password}))
	requireSame(t, map[string]answer{
		"deactivated": s.login(t, email, password), "wrong": s.login(t, email, "wrong-password-1"), "unknown": s.login(t, newEmail(), password),
	})
	requireSame(t, map[string]answer{
		"deactivated": s.send(t, call{Path: pathForgotPassword, Body: fields{"email": email}}),
		"unknown":     s.send(t, call{Path: pathForgotPassword, Body: fields{"email": newEmail()}}),
	})
}

func deactivationGuesses(t *testing.T, s *system) {
	email := newEmail()
	token := s.signUp(t, email)
	guess := deactivate(token, fields{"password": "wrong-password-1"})
	for range 5 {
		s.refuses(t, http.StatusForbidden, "Password is incorrect", guess)
	}
	s.want(t, http.StatusTooManyRequests, guess)
	require.Equal(t, http.StatusUnauthorized, s.login(t, email, password).Status, "one counter with logins: even the right one waits")
	s.want(t, http.StatusOK, call{Path: pathMe, Token: token})
	s.db.changeMany(t, `UPDATE sessions SET failed_guesses = 9 WHERE account_id = (SELECT id FROM accounts WHERE email = $1)`, email)
	s.db.changeMany(t, `DELETE FROM login_throttles`)
	s.refuses(t, http.StatusForbidden, "Password is incorrect", guess)
	s.requireDead(t, token)
	require.Equal(t, 1, s.db.number(t, `SELECT count(*) FROM accounts WHERE email = $1 AND is_active`, email))
}

func deactivateOdd(t *testing.T, s *system) {
	token := s.register(t, newUsername(), newEmail())
	for _, body := range []fields{{}, {"password": ""}, {"password": "  "}, {"password": nil, "reason": "x"}} {
		_, data := s.want(t, http.StatusUnprocessableEntity, deactivate(token, body)).told(t)
		require.Equal(t, map[string]any{"password": "must not be blank"}, data)
	}
	_, data := s.want(t, http.StatusUnprocessableEntity, deactivate(token, fields{"reason": strings.Repeat("ü", 501)})).told(t)
	require.Equal(t, map[string]any{"password": "must not be blank", "reason": "must be at most 500 characters"}, data)
	s.want(t, http.StatusUnauthorized, deactivate("", fields{"password": password}))
	s.want(t, http.StatusOK, deactivate(token, fields{"password": password, "reason": strings.Repeat("ü", 500)}))
	s.requireDead(t, token)
}
