package core

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func fieldsOf(err error) map[string]string {
	told := map[string]string{}
	for _, f := range account.AsError(err).Fields {
		told[f.Name] = f.Message
	}
	return told
}

func TestSettingsAreJudged(t *testing.T) {
	t.Parallel()
	for _, fine := range []account.SettingsChange{
		{}, {Timezone: new("America/Los_Angeles"), OddsFormat: new("decimal"), Theme: new("system"), Language: new("pt-BR")}, {Timezone: new("UTC")},
	} {
		_, err := ChangeSettingsInput{fine}.validate()
		require.NoError(t, err)
	}
	got, err := ChangeSettingsInput{account.SettingsChange{Language: new("PT-br")}}.validate()
	require.NoError(t, err)
	require.Equal(t, "pt-BR", *got.Language)
	for _, bad := range []string{"", "Local", "Mars/Olympus", "../../etc/passwd", "europe/berlin ", strings.Repeat("x", 65)} {
		_, err := ChangeSettingsInput{account.SettingsChange{Timezone: &bad}}.validate()
		require.Contains(t, fieldsOf(err), "timezone", bad)
	}
	for _, bad := range []string{"", "und", "english!", "x", strings.Repeat("en-", 20) + "x"} {
		_, err := ChangeSettingsInput{account.SettingsChange{Language: &bad}}.validate()
		require.Contains(t, fieldsOf(err), "language", bad)
	}
	_, err = ChangeSettingsInput{account.SettingsChange{
		Timezone: new(""), OddsFormat: new("American"), Theme: new("blue"), Language: new(""),
	}}.validate()
	require.Len(t, fieldsOf(err), 4, "all at once")
}

func TestDataProvidersAreJudged(t *testing.T) {
	t.Parallel()
	list, err := ChangeDataProvidersInput{Providers: []DataProviderChange{{new(" a "), new(true)}}}.validate()
	require.NoError(t, err)
	require.Equal(t, []account.DataProvider{{Name: "a", Enabled: true}}, list)
	_, err = ChangeDataProvidersInput{}.validate()
	require.Equal(t, map[string]string{"data_providers": "is required"}, fieldsOf(err))
	_, err = ChangeDataProvidersInput{Providers: []DataProviderChange{
		{new("a"), new(true)}, {nil, new(true)}, {new("b"), nil}, {new(" a"), new(false)}, {new("x\ny"), new(true)}, {new(strings.Repeat("ä", 101)), new(true)},
	}}.validate()
	require.Equal(t, map[string]string{
		"data_providers.1.name": "is required", "data_providers.2.enabled": "is required", "data_providers.3.name": "is named twice",
		"data_providers.4.name": "must not contain control characters", "data_providers.5.name": "must be at most 100 characters",
	}, fieldsOf(err))
}

func TestWhoMayKnowMemberships(t *testing.T) {
	t.Parallel()
	const ada = "ada@example.com"
	person := func(email string, verified bool) *account.Principal {
		return &account.Principal{Account: account.Account{ID: uuid.New(), Email: &email, EmailVerified: verified}}
	}
	require.False(t, mayKnow(nil, ada))
	require.True(t, mayKnow(person(ada, true), ada))
	require.False(t, mayKnow(person(ada, false), ada))
	require.False(t, mayKnow(person("bob@example.com", true), ada))
	require.False(t, mayKnow(&account.Principal{}, ada))
	require.False(t, mayKnow(&account.Principal{}, ""))
	require.True(t, mayKnow(&account.Principal{APIKey: &account.APIKey{Service: true}}, ada))
	require.False(t, mayKnow(&account.Principal{APIKey: &account.APIKey{}}, ada))
}
