package core

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// newcomer makes an account with a username, whose address is unproven.
func (w world) newcomer(t *testing.T, email, username string) uuid.UUID {
	t.Helper()
	a, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByRegister, Email: email, Username: &username, PasswordHash: "hash",
	}, time.Hour)
	require.NoError(t, err)
	signed, err := w.Store.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: time.Hour})
	require.NoError(t, err)
	return signed.AccountID
}

func (w world) check(t *testing.T, username string) UsernameChecked {
	t.Helper()
	got, err := w.CheckUsername(t.Context(), client, CheckUsernameInput{Username: username})
	require.NoError(t, err)
	return got
}

func TestCheckUsername(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.newcomer(t, "john@example.com", "john_doe")
	w.newcomer(t, "johnny@example.com", "john_doe1")
	w.newcomer(t, "j@example.com", "johndoe_")

	require.Equal(t, UsernameChecked{Username: "jane.doe", Available: true}, w.check(t, " @Jane.Doe "))
	taken := w.check(t, "John_Doe")
	require.Equal(t, "john_doe", taken.Username)
	require.False(t, taken.Available)
	require.Len(t, taken.Suggestions, suggestions)
	for _, name := range taken.Suggestions {
		require.True(t, strings.HasPrefix(name, "john"), name)
		require.NotContains(t, []string{"john_doe", "john_doe1", "johndoe_"}, name)
		require.True(t, w.check(t, name).Available, name)
	}
	for name, shown := range map[string]string{"a": "a", "ad": "ad", "a b": "a b", "Åsa": "åsa", ".ada.": ".ada.", strings.Repeat("x", 99): strings.Repeat("x", 99)} {
		got := w.check(t, name)
		require.Equal(t, shown, got.Username)
		require.False(t, got.Available, name)
		require.NotEmpty(t, got.Suggestions, name)
		for _, offered := range got.Suggestions {
			require.True(t, w.check(t, offered).Available, "%s for %s", offered, name)
		}
	}
	for _, name := range []string{"admin", "search", "ADM1N", "s.u.p.p.o.r.t", "@@", "😀😀😀", "аdmin"} {
		got := w.check(t, name)
		require.False(t, got.Available, name)
		for _, offered := range got.Suggestions {
			require.NotContains(t, offered, "admin", name)
		}
	}
	require.Empty(t, w.check(t, "admin").Suggestions)
	for _, nothing := range []string{"", "  ", "@", " @ "} {
		_, err := w.CheckUsername(t.Context(), client, CheckUsernameInput{Username: nothing})
		require.ErrorIs(t, err, account.ErrInvalid, "%q", nothing)
	}
}

func TestChangeUsername(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.UsernameChanges, w.Policy.UsernameChangePer, w.Policy.UsernameHold = 1, time.Hour, time.Hour
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	w.newcomer(t, "john@example.com", "john_doe")
	change := func(username string) (UsernameChange, error) {
		by = w.caller(t, in.AccessToken)
		return w.ChangeUsername(t.Context(), by, ChangeUsernameInput{Username: username})
	}
	can := func() UsernameChangeable {
		got, err := w.CanChangeUsername(t.Context(), w.caller(t, in.AccessToken), None{})
		require.NoError(t, err)
		return got
	}
	for _, bad := range []string{"", "ab", "a b c", "admin", "аdmin", "check", "ada@example.com", strings.Repeat("a", 31)} {
		_, err := change(bad)
		require.ErrorIs(t, err, account.ErrInvalid, bad)
		require.Equal(t, "username", account.AsError(err).Fields[0].Name)
	}
	_, err := change("john_doe")
	require.ErrorIs(t, err, account.ErrUsernameTaken)
	require.Equal(t, UsernameChangeable{}, can())

	got, err := change("@Ada")
	require.NoError(t, err)
	require.Equal(t, UsernameChange{New: "ada"}, got)
	got, err = change("Lovelace")
	require.NoError(t, err)
	require.Equal(t, UsernameChange{Old: new("ada"), New: "lovelace"}, got)
	require.Equal(t, UsernameChangeable{Current: new("lovelace"), Refusal: account.ErrUsernameLimit}, can())
	_, err = change("third")
	require.ErrorIs(t, err, account.ErrUsernameLimit)
	require.False(t, w.check(t, "ada").Available, "kept for its former owner")

	// The new name signs in, the former one does not.
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: "LoveLace", Usernames: true, Password: ownPassword})
	require.NoError(t, err)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: "ada", Usernames: true, Password: ownPassword})
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: "lovelace", Password: ownPassword})
	require.ErrorIs(t, err, account.ErrInvalidCredentials, "C14 takes an email alone (X09)")
}

// people makes some whom others can find.
func (w world) people(t *testing.T, n int, format string) {
	t.Helper()
	for i := range n {
		username := fmt.Sprintf(format, i)
		id := w.newcomer(t, username+"@example.com", username)
		require.NoError(t, w.Store.RecordOnboarding(t.Context(), id, account.OnboardingCompleted, nil))
	}
}

func TestSearchUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t, 9, "john_%02d")
	w.newcomer(t, "new@example.com", "john_new")
	search := func(text string, page, size *int64) UsersFound {
		got, err := w.SearchUsers(t.Context(), client, SearchUsersInput{Text: text, Page: page, Size: size})
		require.NoError(t, err, text)
		return got
	}
	first := search("@John", nil, nil)
	require.Len(t, first.Users, defaultPage)
	require.Equal(t, 9, first.Total)
	require.True(t, first.More)
	require.Equal(t, "john_00", first.Users[0].Username)
	second, third := search("john", new(int64(1)), nil), search("john", new(int64(2)), nil)
	require.Equal(t, "john_04", second.Users[0].Username)
	require.True(t, second.More)
	require.Len(t, third.Users, 1)
	require.False(t, third.More)
	require.False(t, search("john", nil, new(int64(9))).More)
	for _, beyond := range []int64{3, 1e9, 1 << 62, 1<<63 - 1} {
		got := search("john", &beyond, new(int64(20)))
		require.Empty(t, got.Users)
		require.Equal(t, 9, got.Total, "totals do not depend on the page")
		require.False(t, got.More)
	}
	require.Equal(t, 9, search("@j", nil, nil).Total, "two characters as sent")
	for _, nothing := range []string{"@ ", "  ", "@@", "%%", "__", strings.Repeat("john", 100)} {
		require.Equal(t, UsersFound{Users: search(nothing, nil, nil).Users}, search(nothing, nil, nil), nothing)
		require.Empty(t, search(nothing, nil, nil).Users)
	}
	for field, in := range map[string]SearchUsersInput{
		"q": {Text: "j"}, "page": {Text: "john", Page: new(int64(-1))}, "size": {Text: "john", Size: new(int64(21))},
	} {
		_, err := w.SearchUsers(t.Context(), client, in)
		require.ErrorIs(t, err, account.ErrInvalid)
		require.Equal(t, field, account.AsError(err).Fields[0].Name)
	}
	_, err := w.SearchUsers(t.Context(), client, SearchUsersInput{Page: new(int64(-1)), Size: new(int64(0))})
	require.Len(t, account.AsError(err).Fields, 3, "all at once")

	for _, name := range []string{"john_01", "@John_01", " JOHN_01"} {
		got, err := w.FindUser(t.Context(), client, FindUserInput{Username: name})
		require.NoError(t, err)
		require.Equal(t, "john_01", got.Username)
	}
	for _, name := range []string{"john_new", "nobody", "check", "", "@", "a b", "john_01'", "john_0%"} {
		_, err := w.FindUser(t.Context(), client, FindUserInput{Username: name})
		require.ErrorIs(t, err, account.ErrNotFound, name)
	}
}

func TestDeactivate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.GuessesLoseStepUp, w.Policy.GuessesEndSession = 2, 3
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	off := func(by account.Caller, password, reason string) error {
		_, err := w.Deactivate(t.Context(), by, DeactivateInput{Password: password, Reason: reason})
		return err
	}
	err := off(by, " ", strings.Repeat("ü", 501))
	require.ErrorIs(t, err, account.ErrInvalid)
	require.Len(t, account.AsError(err).Fields, 2)

	// SES-13: guesses count as failed logins of the account, and end the session.
	for range 3 {
		require.ErrorIs(t, off(by, "not-my-password", ""), account.ErrInvalidPassword)
	}
	w.requireDead(t, in.AccessToken)

	in, by = w.login(t, "ada@example.com")
	require.NoError(t, off(by, ownPassword, strings.Repeat("ü", 500)))
	w.requireDead(t, in.AccessToken)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: "ada@example.com", Password: ownPassword})
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
	require.ErrorIs(t, off(by, ownPassword, ""), account.ErrUnauthorized)

	id := by.Principal.Account.ID
	require.NoError(t, w.Reactivate(t.Context(), id))
	w.requireDead(t, in.AccessToken)
	_, by = w.login(t, "ada@example.com")
	require.ErrorIs(t, w.Reactivate(t.Context(), id), account.ErrNotFound)

	// Without a password, a fresh sign-in takes its place.
	by.Principal.Account.HasPassword = false
	read := by.Principal.Session.ReadAt
	by.Principal.Session.ReadAt = by.Principal.Session.AuthTime.Add(w.Policy.StepUpAge)
	require.ErrorIs(t, off(by, "", ""), account.ErrReauthenticationRequired)
	by.Principal.Session.ReadAt = read
	require.NoError(t, off(by, "", ""))
}
