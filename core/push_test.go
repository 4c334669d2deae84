package core

import (
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestPushTokensAreJudged(t *testing.T) {
	t.Parallel()
	require.NoError(t, RegisterDeviceInput{UserID: "a1b2c3d4-...", Token: "firebase-token-123", OS: "iOS"}.validate())
	require.Equal(t, map[string]string{"user_id": "is required", "device_token": "is required", "os": "is required"},
		fieldsOf(RegisterDeviceInput{UserID: " "}.validate()))
	for _, bad := range []string{"", "a b", "a\nb", "ä", strings.Repeat("x", 2049)} {
		require.Contains(t, fieldsOf(PushTokenInput{Token: bad}.validate()), "token", bad)
	}
	require.Contains(t, fieldsOf(PushTokenInput{Token: "x", OS: new("i\nOS")}.validate()), "os")
	require.NoError(t, PushTokenInput{Token: "x", OS: new("")}.validate())
}

func TestAUT03_OnlyOneselfBinds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.PushTokenTTL = 1 << 40
	w.member(t, "ada@example.com")
	w.member(t, "eve@example.com")
	_, ada := w.login(t, "ada@example.com")
	_, eve := w.login(t, "eve@example.com")
	reaches := func(by account.Caller) int {
		ids, err := w.Store.PushTargets(t.Context(), by.Principal.Account.ID)
		require.NoError(t, err)
		return len(ids)
	}
	register := func(by account.Caller, user, token string) {
		_, err := w.RegisterDevice(t.Context(), by, RegisterDeviceInput{UserID: user, Token: token, OS: "iOS"})
		require.NoError(t, err)
	}
	id := ada.Principal.Account.ID.String()
	register(client, id, "t1")
	register(eve, id, "t2")
	register(client, uuid.NewString(), "t3")
	unproven := ada
	other := *ada.Principal
	other.Account.EmailVerified = false
	unproven.Principal = &other
	register(unproven, id, "t4")
	require.Zero(t, reaches(ada))
	require.Zero(t, reaches(eve))
	register(ada, strings.ToUpper(id), "t5")
	require.Equal(t, 1, reaches(ada))
	register(eve, eve.Principal.Account.ID.String(), "t5")
	require.Equal(t, []int{1, 0}, []int{reaches(ada), reaches(eve)}, "not moved, and not told")

	claim := func(by account.Caller, token string) error {
		_, err := w.ClaimPushToken(t.Context(), by, PushTokenInput{Token: token})
		return err
	}
	require.ErrorIs(t, claim(client, "t1"), account.ErrUnauthorized)
	require.ErrorIs(t, claim(unproven, "t1"), account.ErrEmailNotVerified)
	require.NoError(t, claim(ada, "t1"))
	require.ErrorIs(t, claim(eve, "t1"), account.ErrNotFound)
	require.Equal(t, 2, reaches(ada))
	_, err := w.ChangePushSettings(t.Context(), eve, PushSettingsInput{Token: "t1", Settings: []byte(`{"enabled":true}`)})
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.ChangePushSettings(t.Context(), ada, PushSettingsInput{Token: "t1", Settings: []byte(`{"enabled":false}`)})
	require.NoError(t, err)
	require.Equal(t, 1, reaches(ada))
	_, err = w.ChangePushSettings(t.Context(), ada, PushSettingsInput{Token: "t1"})
	require.NoError(t, err)
	_, err = w.Logout(t.Context(), ada, None{})
	require.NoError(t, err)
	require.Zero(t, reaches(ada))
	require.NoError(t, claim(eve, "t1"), "whoever holds a device that was signed out")

	without := eve
	unlinked := *eve.Principal
	unlinked.Account.Email, unlinked.Account.EmailVerified = nil, false
	without.Principal = &unlinked
	before := reaches(eve)
	register(without, eve.Principal.Account.ID.String(), "t6")
	require.NoError(t, claim(without, "t7"))
	require.Equal(t, before+2, reaches(eve), "D25: whose address is unlinked has proven the account all the same")
}
