package store_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func (w world) account(t *testing.T, session uuid.UUID) account.Account {
	t.Helper()
	p, err := w.PrincipalBySession(t.Context(), session)
	require.NoError(t, err)
	return p.Account
}

func TestChangeProfile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	other := w.account(t, w.member(t, "bob@example.com").SessionID)
	before := w.account(t, signed.SessionID)
	whole := account.ProfileChange{
		FullName: new("Ada"), UserType: new("company"), AudioUsage: new("business"), ReferralSource: new("a friend"),
		PhoneNumber: new("+1987654321"), CountryCode: new("US"),
	}
	changed, _, err := w.ChangeProfile(t.Context(), before, whole)
	require.NoError(t, err)
	require.Equal(t, w.account(t, signed.SessionID), changed, "what is returned is what is stored")
	require.True(t, changed.UpdatedAt.After(before.UpdatedAt))
	require.Equal(t, []string{"Ada", "company", "business", "a friend", "+1987654321", "US"}, []string{
		*changed.Profile.FullName, *changed.Profile.UserType, *changed.Profile.AudioUsage, *changed.Profile.ReferralSource,
		*changed.PhoneNumber, *changed.CountryCode,
	})
	require.False(t, changed.PhoneVerified)

	partly, _, err := w.ChangeProfile(t.Context(), changed, account.ProfileChange{FullName: new(""), ReferralSource: new("")})
	require.NoError(t, err)
	require.Nil(t, partly.Profile.FullName)
	require.Nil(t, partly.Profile.ReferralSource)
	require.Equal(t, "company", *partly.Profile.UserType)
	require.Equal(t, "+1987654321", *partly.PhoneNumber)
	require.Equal(t, other.UpdatedAt, one[time.Time](t, w, `SELECT updated_at FROM accounts WHERE id = $1`, other.ID).UTC())
}

func TestAUT07_AChangedNumberIsUnverified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account(t, w.member(t, "ada@example.com").SessionID)
	w.exec(t, `UPDATE accounts SET phone_number = '+1234567890', phone_verified_at = now() - interval '1 day'`)
	for _, keeps := range []account.ProfileChange{
		{PhoneNumber: new("+1234567890")}, {CountryCode: new("DE")}, {FullName: new("Ada")}, {},
	} {
		got, _, err := w.ChangeProfile(t.Context(), a, keeps)
		require.NoError(t, err)
		require.True(t, got.PhoneVerified, keeps)
	}
	got, _, err := w.ChangeProfile(t.Context(), a, account.ProfileChange{PhoneNumber: new("+1234567891")})
	require.NoError(t, err)
	require.False(t, got.PhoneVerified)
	got, _, err = w.ChangeProfile(t.Context(), a, account.ProfileChange{PhoneNumber: new("+1234567890")})
	require.NoError(t, err)
	require.False(t, got.PhoneVerified, "a former number is no proof")
}

func TestChangeProfileOfAClosedAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.account(t, w.member(t, "ada@example.com").SessionID)
	w.exec(t, `UPDATE accounts SET deleted_at = now()`)
	_, _, err := w.ChangeProfile(t.Context(), a, account.ProfileChange{FullName: new("Ada")})
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestOnboarding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	other := w.member(t, "bob@example.com")
	record := func(event account.OnboardingEvent, step *int64) bool {
		require.NoError(t, w.RecordOnboarding(t.Context(), signed.AccountID, event, step))
		return w.account(t, signed.SessionID).OnboardingDone
	}
	require.False(t, record(account.OnboardingSkipped, new(int64(2))), "skipping leaves it open (X25)")
	require.True(t, record(account.OnboardingCompleted, nil))
	require.True(t, record(account.OnboardingSkipped, nil), "completed for good")
	require.True(t, record(account.OnboardingCompleted, new(int64(4))))
	require.False(t, w.account(t, other.SessionID).OnboardingDone)
	require.Equal(t, "completed 4 2|skipped 2 2", one[string](t, w, `
		SELECT string_agg(event || ' ' || at_step || ' ' || times, '|' ORDER BY event) FROM onboarding_events`))
	require.NoError(t, w.RecordOnboarding(t.Context(), uuid.New(), account.OnboardingCompleted, nil), "nobody's is nothing")
}

func TestRaceOnboarding(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	errs := race(crowd, func(int) error {
		return w.RecordOnboarding(t.Context(), signed.AccountID, account.OnboardingCompleted, nil)
	})
	require.Equal(t, crowd, winners(t, errs))
	require.Equal(t, crowd, one[int](t, w, `SELECT times FROM onboarding_events`))
}

const laptop = `{"canvas":"x"}`

func TestWelcomeAndSiblings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.member(t, "one@example.com", fingerprinted(laptop))
	alone := w.member(t, "alone@example.com")
	second := w.member(t, "two@example.com", fingerprinted(laptop))
	unproven := w.newcomer(t, "three@example.com", fingerprinted(laptop))
	welcome := func(id uuid.UUID) account.Welcome {
		got, err := w.WelcomeOf(t.Context(), id)
		require.NoError(t, err)
		return got
	}
	require.Equal(t, account.Welcome{Full: 100, Received: 100, Siblings: 1}, welcome(first.AccountID))
	require.Equal(t, account.Welcome{Full: 100, Received: 100}, welcome(alone.AccountID))
	require.Equal(t, account.Welcome{Reduced: true, Full: 100, Received: 50, Siblings: 1}, welcome(second.AccountID))
	require.Equal(t, int64(50), welcome(second.AccountID).Remaining())
	require.Equal(t, account.Welcome{Full: 100}, welcome(unproven.AccountID), "an unproven account learns nothing of others (PRE-11)")

	w.exec(t, `UPDATE accounts SET phone_number = '+1234567890', phone_verified_at = now() - interval '1 day'`)
	require.True(t, welcome(second.AccountID).Unlockable)
	require.False(t, welcome(first.AccountID).Unlockable, "it got everything")
	require.False(t, welcome(unproven.AccountID).Unlockable)
	for i := range 9 {
		w.member(t, strings.Repeat("x", i+1)+"@example.com", fingerprinted(laptop))
	}
	require.Equal(t, account.MaxSiblings, welcome(second.AccountID).Siblings)
	_, err := w.WelcomeOf(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestMarkWelcomeShown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	require.NoError(t, w.MarkWelcomeShown(t.Context(), signed.AccountID))
	w.exec(t, `UPDATE welcomes SET shown_at = shown_at - interval '1 day'`)
	require.NoError(t, w.MarkWelcomeShown(t.Context(), signed.AccountID))
	require.True(t, one[bool](t, w, `SELECT shown_at < now() - interval '1 hour' FROM welcomes`), "the first time counts")
}

func TestUnlockWelcome(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "one@example.com", fingerprinted(laptop))
	signed := w.member(t, "two@example.com", fingerprinted(laptop))
	unlock := func() int64 {
		granted, _, err := w.UnlockWelcome(t.Context(), signed.AccountID)
		require.NoError(t, err)
		w.requireInvariants(t)
		return granted
	}
	require.Zero(t, unlock(), "without a proven phone")
	w.exec(t, `UPDATE accounts SET phone_number = '+1234567890', phone_verified_at = now() - interval '1 day' WHERE id = $1`, signed.AccountID)
	granted, welcome, err := w.UnlockWelcome(t.Context(), signed.AccountID)
	require.NoError(t, err)
	require.Equal(t, int64(50), granted)
	require.Equal(t, account.Welcome{Reduced: true, Full: 100, Received: 100, Siblings: 1}, welcome)
	require.Zero(t, unlock(), "once")
	w.exec(t, `UPDATE welcomes SET full_bonus = 500 WHERE account_id = $1`, signed.AccountID)
	require.Zero(t, unlock(), "once, whatever the bonus is today")
	require.Equal(t, int64(100), one[int64](t, w, `SELECT balance FROM credits WHERE account_id = $1`, signed.AccountID))
}

func TestRaceUnlockWelcome(t *testing.T) {
	t.Parallel()
	for range *rounds {
		w := newWorld(t)
		w.member(t, "one@example.com", fingerprinted(laptop))
		signed := w.member(t, "two@example.com", fingerprinted(laptop))
		w.exec(t, `UPDATE accounts SET phone_number = '+1234567890', phone_verified_at = now() - interval '1 day' WHERE id = $1`, signed.AccountID)
		grants := make([]int64, crowd)
		errs := race(crowd, func(i int) error {
			granted, _, err := w.UnlockWelcome(t.Context(), signed.AccountID)
			grants[i] = granted
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		var sum int64
		for _, g := range grants {
			sum += g
		}
		require.Equal(t, int64(50), sum)
		w.requireInvariants(t)
	}
}
