package core

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestValidateSession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	status, err := w.ValidateSession(t.Context(), by, None{})
	require.NoError(t, err)
	require.InDelta(t, w.Policy.SessionTTL.Seconds(), status.ExpiresIn.Seconds(), 60)
	require.False(t, status.NeedsRefresh)
	require.Equal(t, "curl 8.4", status.Principal.Session.Device())
	w.clock.ahead = w.Policy.SessionTTL - 23*time.Hour
	status, err = w.ValidateSession(t.Context(), by, None{})
	require.NoError(t, err)
	require.True(t, status.NeedsRefresh)
}

func TestRevokeSessionsInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	first, by := w.login(t, "ada@example.com")
	second, other := w.login(t, "ada@example.com")
	third, _ := w.login(t, "ada@example.com")

	_, err := w.RevokeSessions(t.Context(), by, RevokeSessionsInput{})
	require.ErrorIs(t, err, account.ErrInvalid)
	shown := other.Principal.Session.ID.String()
	for _, id := range []string{
		"sess_abc123def456", uuid.NewString(), "'; --", strings.Repeat("x", 1000),
		"{" + shown + "}", "urn:uuid:" + shown, strings.ReplaceAll(shown, "-", ""),
	} {
		_, err = w.RevokeSessions(t.Context(), by, RevokeSessionsInput{ID: id})
		require.ErrorIs(t, err, account.ErrNotFound, id)
		_, err = w.EndSession(t.Context(), by, SessionInput{ID: id})
		require.ErrorIs(t, err, account.ErrNotFound, id)
		_, err = w.TouchSession(t.Context(), by, SessionInput{ID: id})
		require.ErrorIs(t, err, account.ErrNotFound, id)
	}
	got, err := w.RevokeSessions(t.Context(), by, RevokeSessionsInput{ID: strings.ToUpper(shown)})
	require.NoError(t, err)
	require.Equal(t, 1, got.Count)
	w.requireDead(t, second.AccessToken)
	got, err = w.RevokeSessions(t.Context(), by, RevokeSessionsInput{ID: "ignored", AllOthers: true})
	require.NoError(t, err)
	require.Equal(t, 2, got.Count, "the third login and the sign-up's own")
	w.requireDead(t, third.AccessToken)
	w.caller(t, first.AccessToken)
}

func TestDescribeDevice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	for in, want := range map[string]string{
		" My laptop ": "My laptop", "": "curl 8.4", "  ": "curl 8.4", "<b>Work</b> phone": "Work phone", strings.Repeat("é", 200): strings.Repeat("é", 200),
	} {
		got, err := w.DescribeDevice(t.Context(), by, DescribeDeviceInput{Label: &in})
		require.NoError(t, err)
		require.Equal(t, want, got.Label)
		list, err := w.Sessions(t.Context(), by, None{})
		require.NoError(t, err)
		require.Equal(t, want, list.Sessions[0].Device())
	}
	for _, in := range []string{strings.Repeat("é", 201), "a\nb", "a\x1b[31m"} {
		_, err := w.DescribeDevice(t.Context(), by, DescribeDeviceInput{Label: &in})
		require.ErrorIs(t, err, account.ErrInvalid)
	}
	got, err := w.DescribeDevice(t.Context(), by, DescribeDeviceInput{})
	require.NoError(t, err)
	require.Equal(t, "curl 8.4", got.Label)
}

// Most requests are one query; activity is noted once in Policy.ActivityGap.
func TestActivityIsNotedOnceAMinute(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	require.Equal(t, by.Principal.Session.LastActiveAt, w.caller(t, in.AccessToken).Principal.Session.LastActiveAt)
	require.False(t, w.worthNoting(&by.Principal.Session.LastActiveAt))
	w.clock.ahead = 61 * time.Second
	require.True(t, w.worthNoting(&by.Principal.Session.LastActiveAt))
}

func TestLoginHistoryTellsEveryOutcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ada@example.com")
	_, by := w.login(t, "ada@example.com")
	for range w.Policy.LoginFreeFailures {
		_, err := w.Login(t.Context(), client, LoginInput{Identifier: "ada@example.com", Password: "wrong"})
		require.ErrorIs(t, err, account.ErrInvalidCredentials)
	}
	_, err := w.Login(t.Context(), client, LoginInput{Identifier: "ada@example.com", Password: ownPassword})
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	_, err = w.Login(t.Context(), client, LoginInput{Identifier: "eve@example.com", Password: "wrong"})
	require.ErrorIs(t, err, account.ErrInvalidCredentials, "an unknown name leaves no trace and no fault")

	attempts, err := w.LoginHistory(t.Context(), by, LoginHistoryInput{Limit: new(int64(100))})
	require.NoError(t, err)
	require.Len(t, attempts, 8)
	require.Equal(t, account.LoginThrottled, attempts[0].Outcome)
	require.Equal(t, account.LoginWrongPassword, attempts[1].Outcome)
	require.Equal(t, "Berlin, Germany", *attempts[1].Location)
	require.Equal(t, account.LoginSucceeded, attempts[6].Outcome)
	require.Equal(t, "signup", attempts[7].Method)
	require.Nil(t, attempts[7].Location)

	attempts, err = w.LoginHistory(t.Context(), by, LoginHistoryInput{Limit: new(int64(1))})
	require.NoError(t, err)
	require.Len(t, attempts, 1)
	for _, limit := range []int64{0, -1, 101} {
		_, err = w.LoginHistory(t.Context(), by, LoginHistoryInput{Limit: &limit})
		require.ErrorIs(t, err, account.ErrInvalid)
	}
}
