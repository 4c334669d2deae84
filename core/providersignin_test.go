package core

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers/templates"
)

// backend is a service key of somebody's backend.
func backend(asserted bool) account.Caller {
	by := client
	by.Principal, by.Asserted = &account.Principal{APIKey: &account.APIKey{ID: uuid.New(), Service: true}}, asserted
	return by
}

func seen(email, subject string) ProviderSignInInput {
	return ProviderSignInInput{Email: email, Provider: "google", Subject: subject, Name: new("Ann")}
}

func TestProviderSignInInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.ProviderSignIn(t.Context(), backend(false), ProviderSignInInput{Name: new(strings.Repeat("x", 300)), AvatarURL: new("a\nb")})
	var fault *account.Error
	require.ErrorAs(t, err, &fault)
	require.Len(t, fault.Fields, 5, "all faults at once: %v", fault.Fields)
	in := seen("ann@example.com", "1")
	in.Provider = "example_provider"
	_, err = w.ProviderSignIn(t.Context(), backend(false), in)
	require.ErrorIs(t, err, account.ErrUnsupportedProvider)
}

// C17: who may vouch, and for whom (design D11).
func TestProviderSignIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "owner@example.com")
	_, member := w.login(t, "owner@example.com")
	_, err := w.ProviderSignIn(t.Context(), account.Caller{}, seen("ann@example.com", "1"))
	require.ErrorIs(t, err, account.ErrForbidden)
	_, err = w.ProviderSignIn(t.Context(), member, seen("ann@example.com", "1"))
	require.ErrorIs(t, err, account.ErrForbidden, "a member is no backend")

	first, err := w.ProviderSignIn(t.Context(), backend(false), seen("ann@example.com", "1"))
	require.NoError(t, err)
	require.Equal(t, "google", first.Principal.Session.Method)
	require.True(t, first.Principal.Account.EmailVerified)
	require.False(t, first.Principal.Account.HasPassword)
	again, err := w.ProviderSignIn(t.Context(), backend(false), seen("new.address@example.com", "1"))
	require.NoError(t, err, "the provider's id is what counts")
	require.Equal(t, first.Principal.Account.ID, again.Principal.Account.ID)
	require.Equal(t, "ann@example.com", *again.Principal.Account.Email)
	require.NotEqual(t, first.Principal.Session.ID, again.Principal.Session.ID)
	in := seen("carol@example.com", "1")
	in.Provider = "github"
	other, err := w.ProviderSignIn(t.Context(), backend(false), in)
	require.NoError(t, err)
	require.NotEqual(t, first.Principal.Account.ID, other.Principal.Account.ID, "OAU-09")

	for range 2 {
		_, err = w.ProviderSignIn(t.Context(), backend(false), seen("owner@example.com", "2"))
		require.ErrorIs(t, err, account.ErrAccountExists, "an address opens nothing")
	}
	owed, err := w.Store.OwedNotices(t.Context(), 0, 10)
	require.NoError(t, err)
	told := map[string][]uuid.UUID{}
	for _, n := range owed {
		told[n.Template] = append(told[n.Template], n.AccountID)
	}
	require.Equal(t, map[string][]uuid.UUID{
		templates.AccountOpened:   {first.Principal.Account.ID, other.Principal.Account.ID},
		templates.ProviderRefused: {member.Principal.Account.ID}, // once a day
	}, told)
}

// X18: an account that may not be used is a login that fails; the key of the backend is not at fault.
func TestProviderSignIn_Deactivated(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first, err := w.ProviderSignIn(t.Context(), backend(false), seen("ann@example.com", "1"))
	require.NoError(t, err)
	require.NoError(t, w.Store.DeactivateAccount(t.Context(), first.Principal.Account.ID, ""))
	_, err = w.ProviderSignIn(t.Context(), backend(false), seen("ann@example.com", "1"))
	require.ErrorIs(t, err, account.ErrInvalidCredentials)
}

// PRE-05: where requests must be signed, a new account needs the provider's word for its address.
func TestProviderSignIn_Vouched(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.RequireAssertion = true
	_, err := w.ProviderSignIn(t.Context(), backend(false), seen("ann@example.com", "1"))
	require.ErrorIs(t, err, account.ErrInvalidAssertion)
	in := seen("ann@example.com", "1")
	_, err = w.ProviderSignIn(t.Context(), backend(true), in)
	require.ErrorIs(t, err, account.ErrEmailNotVerified, "silence is no word")
	in.EmailVerified = new(false)
	_, err = w.ProviderSignIn(t.Context(), backend(true), in)
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	in.EmailVerified = new(true)
	_, err = w.ProviderSignIn(t.Context(), backend(true), in)
	require.NoError(t, err)
	in.EmailVerified = new(false)
	_, err = w.ProviderSignIn(t.Context(), backend(true), in)
	require.NoError(t, err, "a known outside account needs it no longer")
}

func TestProviderSignIn_Race(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var signedIn atomic.Int32
	var all sync.WaitGroup
	ids := make([]uuid.UUID, 100)
	for i := range ids {
		all.Go(func() {
			in, err := w.ProviderSignIn(t.Context(), backend(false), seen("ann@example.com", "1"))
			if err != nil {
				t.Error(err)
				return
			}
			ids[i] = in.Principal.Account.ID
			signedIn.Add(1)
		})
	}
	all.Wait()
	require.EqualValues(t, 100, signedIn.Load())
	for _, id := range ids {
		require.Equal(t, ids[0], id, "one account")
	}
}
