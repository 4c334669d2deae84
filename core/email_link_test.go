package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func TestVerifyEmailLinkInput(t *testing.T) {
	t.Parallel()
	_, err := (&Core{}).VerifyEmailLink(t.Context(), account.Caller{Principal: &account.Principal{}}, VerifyEmailLinkInput{TempToken: " ", OTP: "12345"})
	var all *account.Error
	require.ErrorAs(t, err, &all)
	require.Len(t, all.Fields, 2, "all faults at once")
	require.NoError(t, VerifyEmailLinkInput{TempToken: "x", OTP: "abcdef"}.validate(), "letters are a wrong code, not a fault")
}

// linkWorld is a world with the limits of codes, where ann is signed in.
func linkWorld(t *testing.T) (world, account.Caller) {
	t.Helper()
	w := newWorld(t)
	w.Policy.CodeTTL, w.Policy.CodeTries, w.Policy.ProofLease = 10*time.Minute, 5, time.Minute
	w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay = 10, 20
	w.Policy.SendGap, w.Policy.SendsPerHour, w.Policy.SendsPerDay = time.Minute, 5, 10
	w.Policy.GuessFailuresPerHour, w.Policy.GuessedPerAddress, w.Policy.GuessedPerNetwork = 1000, 100, 1000
	w.member(t, "ann@example.com")
	_, ann := w.login(t, "ann@example.com")
	return w, ann
}

func TestLinkEmail_Refused(t *testing.T) {
	t.Parallel()
	w, ann := linkWorld(t)
	w.Policy.Enumeration = account.EnumerationDocumented
	w.member(t, "bob@example.com")
	for email, want := range map[string]error{
		"nobody": account.ErrInvalid, "": account.ErrInvalid, "ANN@example.com": account.ErrEmailExists, "bob@example.com": account.ErrEmailExists,
	} {
		_, err := w.LinkEmail(t.Context(), ann, LinkEmailInput{Email: email})
		require.ErrorIs(t, err, want, email)
	}
	// Nobody answers where Temporal should be: the change is parked, and waits for another try.
	_, err := w.LinkEmail(t.Context(), ann, LinkEmailInput{Email: "next@example.com"})
	require.Equal(t, account.Unavailable, account.AsError(err).Kind)
	open, err := w.Store.OpenEmailChangeOf(t.Context(), ann.Principal.Account.ID)
	require.NoError(t, err)
	require.True(t, open.Linking)
	require.Equal(t, "next@example.com", open.NewEmail)
	_, err = w.LinkEmail(t.Context(), ann, LinkEmailInput{Email: "next@example.com"})
	require.Equal(t, account.Unavailable, account.AsError(err).Kind, "it joins")
	_, err = w.UpdateProfile(t.Context(), ann, UpdateProfileInput{Email: new("next@example.com")})
	require.Equal(t, account.Unavailable, account.AsError(err).Kind, "but not a change of another kind")

	unproven := ann
	p := *ann.Principal
	p.Account.EmailVerified = false
	unproven.Principal = &p
	_, err = w.LinkEmail(t.Context(), unproven, LinkEmailInput{Email: "x@example.com"})
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	_, err = w.UnlinkEmail(t.Context(), unproven, None{})
	require.ErrorIs(t, err, account.ErrEmailNotVerified)
	_, err = w.UnlinkEmail(t.Context(), ann, None{})
	require.ErrorIs(t, err, account.ErrLastProvider)
	ann.Principal.Session.ReadAt = ann.Principal.Session.AuthTime.Add(w.Policy.StepUpAge)
	_, err = w.LinkEmail(t.Context(), ann, LinkEmailInput{Email: "x@example.com"})
	require.ErrorIs(t, err, account.ErrReauthenticationRequired)
	_, err = w.UnlinkEmail(t.Context(), ann, None{})
	require.ErrorIs(t, err, account.ErrReauthenticationRequired)
}

// Whoever has used up the codes of the hour is told so, and not of a code that is dead by then.
func TestLinkEmail_JoinsWithinTheGapAlone(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(world, account.Caller) error{
		"D23": func(w world, ann account.Caller) error {
			_, err := w.LinkEmail(t.Context(), ann, LinkEmailInput{Email: "next@example.com"})
			return err
		},
		"C20": func(w world, ann account.Caller) error {
			_, err := w.UpdateProfile(t.Context(), ann, UpdateProfileInput{Email: new("next@example.com")})
			return err
		},
	} {
		w, ann := linkWorld(t)
		w.Policy.SendsPerHour, w.Policy.LinkTTL = 1, 24*time.Hour
		for range 2 {
			require.Equal(t, account.Unavailable, account.AsError(ask(w, ann)).Kind, "%s is parked, and joined", name)
		}
		w.clock.ahead = time.Hour
		require.Equal(t, account.Unavailable, account.AsError(ask(w, ann)).Kind, "%s: the clock of this process makes nothing older (F-17)", name)
		open, err := w.requestEmailChange(t.Context(), ann, "next@example.com", name == "D23")
		require.Equal(t, account.Unavailable, account.AsError(err).Kind)
		require.InDelta(t, w.emailChangeLife(open), open.Left, float64(30*time.Second), name)

		w.Policy.CodeTTL += w.Policy.SendGap // as if it were a gap older
		err = ask(w, ann)
		require.ErrorIs(t, err, account.ErrTooManyRequests, name)
		require.Greater(t, account.AsError(err).RetryAfter, w.Policy.SendGap, name)
	}
}

func TestVerifyEmailLink_TokenAndCode(t *testing.T) {
	t.Parallel()
	w, ann := linkWorld(t)
	owner, id := ann.Principal.Account.ID, uuid.New()
	require.NoError(t, w.Store.OpenEmailChange(t.Context(), account.EmailChange{ID: id, AccountID: owner, NewEmail: "next@example.com", Linking: true}, time.Hour))
	_, err := w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: account.PurposeEmailLink, Subject: w.Keys.Subject("email_link", owner.String()), AccountID: &owner,
		Channel: account.ChannelEmail, Destination: "next@example.com", CodeTTL: time.Hour,
	})
	require.NoError(t, err)
	code := w.Keys.Code(id)
	_, err = w.Store.StoreCode(t.Context(), id, w.Keys.CodeHash(id, code), nil)
	require.NoError(t, err)
	token := w.Keys.TempToken(account.PurposeEmailLink, id)
	verify := func(token, otp string) error {
		_, err := w.VerifyEmailLink(t.Context(), ann, VerifyEmailLinkInput{TempToken: token, OTP: otp})
		return err
	}
	for _, other := range []string{w.Keys.TempToken(account.PurposePasswordChange, id), w.Keys.LinkToken(id), token + "A", id.String()} {
		require.ErrorIs(t, verify(other, code), account.ErrInvalidToken, "another kind of token")
	}
	for range 5 {
		require.ErrorIs(t, verify(token, "abcdef"), account.ErrInvalidOTP)
	}
	require.ErrorIs(t, verify(token, code), account.ErrInvalidOTP, "five tries")
	require.ErrorIs(t, verify(token, code), account.ErrTooManyRequests, "wrong tokens were guesses, too")
}
