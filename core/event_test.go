package core

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/providers/templates"
	"gatehouse/store"
)

// toldOf tells by which mails an owner learns of an event (security.md I-12).
var toldOf = map[account.EventName][]string{
	account.EventAccountCreated:     {templates.Welcome, templates.ConfirmEmail, templates.AccountOpened},
	account.EventAccountClosed:      {templates.AccountClosed},
	account.EventAccountReopened:    {templates.AccountReopened},
	account.EventAccountErased:      {templates.AccountErased},
	account.EventAccountDeactivated: {templates.AccountDeactivated},
	account.EventAccountReactivated: {templates.AccountReactivated},
	account.EventEmailVerified:      {templates.Welcome},
	account.EventEmailChanged:       {templates.EmailChanged},
	account.EventEmailRemoved:       {templates.EmailUnlinked},
	account.EventPhoneVerified:      {templates.PhoneVerified},
	account.EventPhoneChanged:       {templates.PhoneChanged},
	account.EventUsernameChanged:    {templates.UsernameChanged},
	account.EventPasswordAdded:      {templates.PasswordAdded},
	account.EventPasswordChanged:    {templates.PasswordChanged, templates.PasswordChangedSMS},
	account.EventPasswordReset:      {templates.PasswordReset},
	account.EventSessionRevoked:     {templates.SessionsEnded, templates.SessionEnded, templates.SessionGuessing},
	account.EventSessionsRevoked:    {templates.SessionsEnded},
	account.EventFactorEnabled:      {templates.TwoFactorEnabled},
	account.EventFactorDisabled:     {templates.TwoFactorDisabled},
	account.EventFactorLocked:       {templates.TwoFactorLocked},
	account.EventBackupCodeUsed:     {templates.BackupCodeUsed},
	account.EventDeviceTrusted:      {templates.DeviceAdded},
	account.EventDeviceRevoked:      {templates.DeviceRemoved},
	account.EventProviderLinked:     {templates.ProviderLinked},
	account.EventProviderUnlinked:   {templates.ProviderUnlinked},
	account.EventKeyCreated:         {templates.APIKeyCreated},
	account.EventKeyRevoked:         {templates.APIKeyDeleted},
}

// untold are the events that owners are not written to about, and why.
var untold = map[account.EventName]string{
	account.EventAccountPurged:     "nobody has proven the address, or somebody else has",
	account.EventMembershipSet:     "an operator's note about an organization; it opens nothing of the account",
	account.EventMembershipRemoved: "the same",
}

// noNotice are the messages that tell of no event.
var noNotice = []string{
	templates.SignupCode, templates.SignupExists, templates.PasswordResetLink, templates.SecurityCode, templates.ChangeEmail,
	templates.LinkEmail, templates.DeviceCode, templates.PhoneCode, templates.PushNotice,
	// They tell of what was asked for or tried.
	templates.EmailChangeRequested, templates.ProviderRefused,
	// It goes where AccountClosed goes no more.
	templates.AccountClosedFormer,
}

func TestI12_EveryEventHasItsNoticeAndEveryNoticeItsEvent(t *testing.T) {
	t.Parallel()
	var known []string
	for _, name := range account.EventNames() {
		reason, quiet := untold[name]
		mails, told := toldOf[name]
		require.NotEqual(t, told, quiet, "say by which mail an owner learns of %s, or why by none (%s)", name, reason)
		known = append(known, mails...)
	}
	for _, template := range templates.Names() {
		if slices.Contains(noNotice, template) || strings.HasPrefix(template, "subscription_") {
			continue
		}
		require.Contains(t, known, template, "a message that tells of no event: it belongs to one, or to noNotice")
	}
}

func TestSecurityEvents(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	_, other := w.login(t, "ann@example.com")
	_, by := w.login(t, "ann@example.com")
	by.IP = netip.MustParseAddr("198.51.100.7")
	ctx := account.WithActing(t.Context(), by.Acting("r-1"))
	_, err := w.EndSession(ctx, by, SessionInput{ID: other.Principal.Session.ID.String()})
	require.NoError(t, err)

	got, err := w.SecurityEvents(t.Context(), by, SecurityEventsInput{Limit: new(int64(1))})
	require.NoError(t, err)
	require.Len(t, got.Events, 1)
	require.Equal(t, account.EventSessionRevoked, got.Events[0].Name)
	require.True(t, got.Events[0].Current)
	require.Equal(t, "198.51.100.0/24", got.Events[0].Acting.Network)
	require.NotEmpty(t, got.Next)
	rest, err := w.SecurityEvents(t.Context(), by, SecurityEventsInput{Cursor: got.Next})
	require.NoError(t, err)
	require.Empty(t, rest.Next)
	require.Equal(t, account.EventAccountCreated, rest.Events[len(rest.Events)-1].Name)
	require.False(t, rest.Events[0].Current)

	for _, in := range []SecurityEventsInput{
		{Limit: new(int64(0))}, {Limit: new(int64(101))}, {Cursor: "x"}, {Cursor: "-1"}, {Cursor: "0"}, {Cursor: "99999999999999999999"},
	} {
		_, err := w.SecurityEvents(t.Context(), by, in)
		require.ErrorIs(t, err, account.ErrInvalid)
	}
	_, err = w.SecurityEvents(t.Context(), account.Caller{}, SecurityEventsInput{})
	require.ErrorIs(t, err, account.ErrUnauthorized)
}

// What only some requests bring about, with what each has its owner told. What every way of changing an account leaves in the
// log, the lives of the end-to-end tests compare.
func TestRareChanges_AreLoggedAndTold(t *testing.T) {
	t.Parallel()
	for name, one := range map[string]struct {
		event    account.EventName
		template string
		change   func(t *testing.T, w world, by account.Caller)
	}{
		"a wrong password too many": {account.EventSessionRevoked, templates.SessionGuessing, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			w.Policy.LoginFreeFailures = 100
			for range w.Policy.GuessesEndSession {
				_, err := w.ChangePassword(t.Context(), by, ChangePasswordInput{Current: "wrong-one-here", New: "another-long-phrase-2"})
				require.ErrorIs(t, err, account.ErrInvalidPassword)
			}
		}},
		"another session": {account.EventSessionRevoked, templates.SessionsEnded, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			_, other := w.login(t, "ann@example.com")
			_, err := w.EndSession(t.Context(), by, SessionInput{ID: other.Principal.Session.ID.String()})
			require.NoError(t, err)
		}},
		"its own session": {account.EventSessionRevoked, "", func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			_, err := w.Logout(t.Context(), by, None{})
			require.NoError(t, err)
		}},
		"all sessions": {account.EventSessionsRevoked, templates.SessionsEnded, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			_, err := w.RevokeAllSessions(t.Context(), by, None{})
			require.NoError(t, err)
		}},
		"a used refresh token": {account.EventSessionRevoked, templates.SessionEnded, func(t *testing.T, w world, _ account.Caller) {
			t.Helper()
			w.Policy.RefreshGrace = -time.Second
			in, _ := w.login(t, "ann@example.com")
			_, err := w.Refresh(t.Context(), client, RefreshInput{Token: in.RefreshToken})
			require.NoError(t, err)
			_, err = w.Refresh(t.Context(), client, RefreshInput{Token: in.RefreshToken})
			require.ErrorIs(t, err, account.ErrInvalidToken)
		}},
		"a device": {account.EventDeviceRevoked, templates.DeviceRemoved, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			d, _ := w.trusted(t, by, "laptop")
			_, err := w.RevokeDevice(t.Context(), by, RevokeDeviceInput{ID: d.ID.String()})
			require.NoError(t, err)
		}},
		"a key": {account.EventKeyRevoked, templates.APIKeyDeleted, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			key, err := w.CreateAPIKey(t.Context(), by, CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:read"}})
			require.NoError(t, err)
			_, err = w.RevokeAPIKey(t.Context(), by, RevokeAPIKeyInput{ID: key.ID.String()})
			require.NoError(t, err)
		}},
		"wrong codes of the app": {account.EventFactorLocked, templates.TwoFactorLocked, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			setup, err := w.SetupMFA(t.Context(), by, None{})
			require.NoError(t, err)
			_, err = w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: w.app(t, setup.Secret, w.clock.Now())})
			require.NoError(t, err)
			for range w.Policy.MFATries {
				got, err := w.VerifyMFA(t.Context(), by, VerifyMFAInput{Code: "no code"})
				require.NoError(t, err)
				require.False(t, got.Valid)
			}
		}},
		"another number": {account.EventPhoneChanged, templates.PhoneChanged, func(t *testing.T, w world, by account.Caller) {
			t.Helper()
			w.verifiedPhone(t, by.Principal.Account.ID, "+12025550100")
			_, err := w.ChangeProfile(t.Context(), by, ChangeProfileInput{PhoneNumber: new("+12025550101")})
			require.NoError(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.member(t, "ann@example.com")
			_, by := w.login(t, "ann@example.com")
			one.change(t, w, by)

			events, _, err := w.Store.Events(t.Context(), store.EventPage{AccountID: by.Principal.Account.ID, Limit: 100})
			require.NoError(t, err)
			require.Equal(t, one.event, events[0].Name, "%v", events)
			before := len(slices.DeleteFunc(events, func(e account.Event) bool { return e.Name != one.event }))
			require.Equal(t, 1, before, "once")
			owed, err := w.Store.OwedNotices(t.Context(), 0, 100)
			require.NoError(t, err)
			owed = slices.DeleteFunc(owed, func(n account.Notice) bool { return n.Template != one.template })
			if one.template != "" {
				require.Len(t, owed, 1)
			}
			faults, err := w.Store.AuditFaults(t.Context(), 10)
			require.NoError(t, err)
			require.Empty(t, faults)
		})
	}
}

// verifiedPhone gives an account a number that it has proven.
func (w world) verifiedPhone(t *testing.T, owner uuid.UUID, number string) {
	t.Helper()
	guess := store.Guess{Purpose: account.PurposePhone, Subject: w.Keys.Subject("test", owner.String()), Tries: 5, Lease: time.Minute}
	ch, err := w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposePhone, Subject: guess.Subject, AccountID: &owner, Channel: account.ChannelSMS,
		Destination: number, CodeTTL: time.Hour,
	})
	require.NoError(t, err)
	require.NoError(t, w.Store.Prove(t.Context(), ch.ID, guess, store.Proof{}))
	_, err = w.Store.BindPhone(t.Context(), ch.ID, activities.PhoneNotice(uuid.Nil, ch.ID))
	require.NoError(t, err)
}
