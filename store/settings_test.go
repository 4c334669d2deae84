package store_test

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, bob := w.member(t, "ada@example.com").AccountID, w.member(t, "bob@example.com").AccountID
	documented := account.Settings{
		Timezone: "UTC", OddsFormat: "american", NotifyEmail: true, NotifyPush: true, Theme: "dark", Language: "en",
	}
	got, err := w.Settings(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, documented, got)

	got, err = w.ChangeSettings(t.Context(), ada, account.SettingsChange{Timezone: new("Europe/Berlin"), NotifyPush: new(false)})
	require.NoError(t, err)
	want := documented
	want.Timezone, want.NotifyPush = "Europe/Berlin", false
	require.Equal(t, want, got, "what is left out stays")
	got, err = w.ChangeSettings(t.Context(), ada, account.SettingsChange{
		OddsFormat: new("decimal"), NotifyEmail: new(false), NotifySMS: new(true), Theme: new("light"), Language: new("de"),
	})
	require.NoError(t, err)
	require.Equal(t, account.Settings{Timezone: "Europe/Berlin", OddsFormat: "decimal", NotifySMS: true, Theme: "light", Language: "de"}, got)
	again, err := w.ChangeSettings(t.Context(), ada, account.SettingsChange{})
	require.NoError(t, err)
	require.Equal(t, got, again)
	got, err = w.Settings(t.Context(), bob)
	require.NoError(t, err)
	require.Equal(t, documented, got)

	_, err = w.Settings(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, `UPDATE accounts SET deleted_at = now() WHERE id = $1`, bob)
	_, err = w.ChangeSettings(t.Context(), bob, account.SettingsChange{Theme: new("light")})
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestSettingsRace_EveryFieldKeepsItsOwnChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com").AccountID
	changes := []account.SettingsChange{
		{Timezone: new("Europe/Berlin")},
		{OddsFormat: new("decimal")},
		{NotifyEmail: new(false)},
		{NotifyPush: new(false)},
		{NotifySMS: new(true)},
		{Theme: new("light")},
		{Language: new("de")},
	}
	errs := race(crowd, func(i int) error {
		_, err := w.ChangeSettings(t.Context(), ada, changes[i%len(changes)])
		return err
	})
	require.Equal(t, crowd, winners(t, errs))
	got, err := w.Settings(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, account.Settings{Timezone: "Europe/Berlin", OddsFormat: "decimal", NotifySMS: true, Theme: "light", Language: "de"}, got)
}

func TestDataProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, bob := w.member(t, "ada@example.com").AccountID, w.member(t, "bob@example.com").AccountID
	change := func(of uuid.UUID, limit int, list ...account.DataProvider) []account.DataProvider {
		all, err := w.ChangeDataProviders(t.Context(), of, list, limit)
		require.NoError(t, err)
		return all
	}
	require.Empty(t, change(ada, 2))
	change(bob, 2, account.DataProvider{Name: "bob's"})
	change(ada, 2, account.DataProvider{Name: "b", Enabled: true}, account.DataProvider{Name: "a"})
	got := change(ada, 2, account.DataProvider{Name: "a", Enabled: true})
	require.Equal(t, []account.DataProvider{{Name: "a", Enabled: true}, {Name: "b", Enabled: true}}, got)
	_, err := w.ChangeDataProviders(t.Context(), ada, []account.DataProvider{{Name: "b"}, {Name: "c"}}, 2)
	require.ErrorIs(t, err, account.ErrInvalid)
	still, err := w.DataProviders(t.Context(), ada)
	require.NoError(t, err)
	require.Equal(t, got, still, "all of it or nothing")
	_, err = w.ChangeDataProviders(t.Context(), uuid.New(), []account.DataProvider{{Name: "a"}}, 2)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestDataProvidersRace_TheLimitIsExact(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		ada := w.member(t, fmt.Sprintf("user%d@example.com", round)).AccountID
		errs := race(crowd, func(i int) error {
			_, err := w.ChangeDataProviders(t.Context(), ada, []account.DataProvider{
				{Name: fmt.Sprint("provider ", i), Enabled: true}, {Name: "shared", Enabled: i%2 == 0},
			}, 11)
			return err
		})
		require.Equal(t, 10, winners(t, errs, account.ErrInvalid))
		require.Equal(t, 11, w.count(t, "data_providers WHERE account_id = $1", ada))
	}
}

func TestMemberships(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com").AccountID
	eve := w.newcomer(t, "eve@example.com", named("eve")).AccountID
	for _, m := range []account.Membership{
		{Organization: "secret", Role: "member"}, {Organization: "open", Role: "member", Public: true}, {Organization: "open", Role: "admin", Public: true},
	} {
		require.NoError(t, w.SetMembership(t.Context(), ada, m))
		require.NoError(t, w.SetMembership(t.Context(), eve, m))
	}
	ask := func(email string, all bool) (organizations []string) {
		found, err := w.Memberships(t.Context(), email, all)
		require.NoError(t, err)
		for _, m := range found {
			require.NotZero(t, m.CreatedAt)
			organizations = append(organizations, m.Organization+"/"+m.Role)
		}
		return organizations
	}
	require.Equal(t, []string{"secret/member", "open/admin"}, ask("ada@example.com", true))
	require.Equal(t, []string{"open/admin"}, ask("ada@example.com", false))
	require.Empty(t, ask("eve@example.com", true), "nobody has proven that address")
	require.Empty(t, ask("nobody@example.com", true))
	require.Empty(t, ask("%", true))
	require.NoError(t, w.RemoveMembership(t.Context(), ada, "secret"))
	require.ErrorIs(t, w.RemoveMembership(t.Context(), ada, "secret"), account.ErrNotFound)
	w.exec(t, `UPDATE accounts SET deleted_at = now() WHERE id = $1`, ada)
	require.Empty(t, ask("ada@example.com", true))
}
