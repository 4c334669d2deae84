package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func google(subject string) account.LinkedProvider {
	return account.LinkedProvider{Provider: account.ProviderGoogle, Subject: subject, Type: "oauth"}
}

func github(subject string) account.LinkedProvider {
	return account.LinkedProvider{Provider: account.ProviderGitHub, Subject: subject, Type: "oauth"}
}

func (w world) link(t *testing.T, id uuid.UUID, l account.LinkedProvider) account.LinkedProvider {
	t.Helper()
	linked, err := w.LinkProvider(t.Context(), id, l)
	require.NoError(t, err)
	return linked
}

func (w world) links(t *testing.T, id uuid.UUID) []account.LinkedProvider {
	t.Helper()
	links, err := w.LinkedProviders(t.Context(), id)
	require.NoError(t, err)
	return links
}

func TestLinkProvider_KeepsWhatItIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	require.Empty(t, w.links(t, id))
	expires := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	whole := account.LinkedProvider{
		Provider: account.ProviderGoogle, Subject: "sub' 1", Type: "oauth", Email: new("ada@gmail.example"), DisplayName: new("Ada"),
		AvatarURL: new("https://cdn.example.com/a.png"), Scope: new("email profile"), TokenExpiresAt: &expires,
	}
	whole = w.link(t, id, whole)
	require.WithinDuration(t, time.Now(), whole.CreatedAt, time.Minute)
	bare := w.link(t, id, github("42"))
	require.Equal(t, []account.LinkedProvider{whole, bare}, w.links(t, id))
}

// Every document tells when the account was last edited (contract X20): by a link as by its end.
func TestLinkProvider_IsAnEdit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	edited := func() bool {
		defer w.exec(t, `UPDATE accounts SET updated_at = now() - interval '1 day' WHERE id = $1`, id)
		return w.count(t, `accounts WHERE updated_at > now() - interval '1 hour' AND id = $1`, id) == 1
	}
	require.True(t, edited())
	require.False(t, edited())
	w.link(t, id, google("1"))
	require.True(t, edited())
	_, err := w.LinkProvider(t.Context(), id, google("2"))
	require.ErrorIs(t, err, account.ErrProviderConnected)
	require.False(t, edited(), "a refusal is none")
	_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGoogle, nil)
	require.NoError(t, err)
	require.True(t, edited())
}

func TestLinkProvider_Refusals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner, other := w.member(t, ada).AccountID, w.member(t, "bob@example.com").AccountID
	w.link(t, owner, google("1"))
	for name, try := range map[string]struct {
		id   uuid.UUID
		link account.LinkedProvider
		want error
	}{
		"the same again":             {owner, google("1"), account.ErrProviderConnected},
		"another of the provider":    {owner, google("2"), account.ErrProviderConnected},
		"somebody else's":            {other, google("1"), account.ErrProviderConnected},
		"no such account":            {uuid.New(), google("3"), account.ErrNotFound},
		"an account without a proof": {w.newcomer(t, "eve@example.com").AccountID, google("4"), account.ErrNotFound},
	} {
		_, err := w.LinkProvider(t.Context(), try.id, try.link)
		require.ErrorIs(t, err, try.want, name)
	}
	require.Len(t, w.links(t, owner), 1)
	w.link(t, other, github("1")) // the same id of another provider is another person (OAU-09)
	require.Len(t, w.links(t, other), 1)
}

func TestRace_LinkProvider_OneAccountGetsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ids := []uuid.UUID{w.member(t, ada).AccountID, w.member(t, "bob@example.com").AccountID}
	for range *rounds {
		subject := uuid.NewString()
		errs := race(crowd, func(i int) error {
			_, err := w.LinkProvider(t.Context(), ids[i%2], google(subject))
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrProviderConnected))
		w.exec(t, `DELETE FROM linked_providers WHERE provider_account_id = $1`, subject)
	}
}

func TestUnlinkProvider_CountsWhatIsLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	w.link(t, id, google("1"))
	w.link(t, id, github("1"))
	w.exec(t, `UPDATE accounts SET primary_provider = 'google' WHERE id = $1`, id)
	_, err := w.UnlinkProvider(t.Context(), id, account.ProviderApple, nil)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.UnlinkProvider(t.Context(), uuid.New(), account.ProviderGoogle, nil)
	require.ErrorIs(t, err, account.ErrNotFound)

	remaining, err := w.UnlinkProvider(t.Context(), id, account.ProviderGoogle, nil)
	require.NoError(t, err)
	require.Equal(t, 2, remaining, "the password and GitHub")
	require.Equal(t, "email", one[string](t, w, `SELECT primary_provider FROM accounts WHERE id = $1`, id))
	remaining, err = w.UnlinkProvider(t.Context(), id, account.ProviderGitHub, nil)
	require.NoError(t, err)
	require.Equal(t, 1, remaining)
}

// Who came in by a link does not stay when it goes.
func TestUnlinkProvider_EndsItsSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	w.link(t, owner, google("1"))
	w.link(t, owner, github("1"))
	session := func(l account.LinkedProvider) uuid.UUID {
		in := signInOf(l, ada)
		in.Session.Method = string(l.Provider)
		_, err := w.SignInByProvider(t.Context(), in)
		require.NoError(t, err)
		return in.Session.ID
	}
	other, own, kept := session(google("1")), session(google("1")), session(github("1"))
	_, err := w.UnlinkProvider(t.Context(), owner, account.ProviderGoogle, &own)
	require.NoError(t, err)
	_, err = w.PrincipalBySession(t.Context(), other)
	require.ErrorIs(t, err, account.ErrNotFound)
	for _, id := range []uuid.UUID{own, kept} {
		_, err = w.PrincipalBySession(t.Context(), id)
		require.NoError(t, err)
	}
	w.requireInvariants(t)
}

func TestUnlinkProvider_NeverTheLastWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	w.link(t, id, google("1"))
	w.link(t, id, github("1"))
	w.exec(t, `UPDATE accounts SET primary_provider = 'google', password_hash = NULL WHERE id = $1`, id)
	remaining, err := w.UnlinkProvider(t.Context(), id, account.ProviderGoogle, nil)
	require.NoError(t, err)
	require.Equal(t, 1, remaining)
	require.Equal(t, "github", one[string](t, w, `SELECT primary_provider FROM accounts WHERE id = $1`, id))
	_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGitHub, nil)
	require.ErrorIs(t, err, account.ErrLastProvider)
	require.Len(t, w.links(t, id), 1, "a refusal changes nothing")
	// A password opens nothing where no address names it.
	w.exec(t, `UPDATE accounts SET password_hash = 'x', email = NULL WHERE id = $1`, id)
	_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGitHub, nil)
	require.ErrorIs(t, err, account.ErrLastProvider)
}

// OAU-11: however many take ways to sign in away at once, one is left.
func TestRace_UnlinkProvider_LeavesOneWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	w.exec(t, `UPDATE accounts SET password_hash = NULL WHERE id = $1`, id)
	providers := []account.Provider{account.ProviderGoogle, account.ProviderGitHub}
	for range *rounds {
		_, err := w.sql.Exec(t.Context(), `DELETE FROM linked_providers`)
		require.NoError(t, err)
		w.link(t, id, google("1"))
		w.link(t, id, github("1"))
		errs := race(crowd, func(i int) error {
			remaining, err := w.UnlinkProvider(t.Context(), id, providers[i%2], nil)
			if err == nil && remaining != 1 {
				return fmt.Errorf("%d ways are left", remaining)
			}
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrLastProvider, account.ErrNotFound))
		require.Len(t, w.links(t, id), 1)
	}
}
