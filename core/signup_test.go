package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
	"gatehouse/workflows"
)

// newSignups is a world whose policy has everything that a sign-up asks for. No request reaches a flow.
func newSignups(t *testing.T) world {
	t.Helper()
	w := newWorld(t)
	w.Policy.CodeTTL, w.Policy.SignupTTL, w.Policy.SendGap, w.Policy.SendsPerHour, w.Policy.SendsPerDay = time.Hour, time.Hour, time.Minute, 5, 10
	w.Policy.Enumeration = account.EnumerationDocumented
	return w
}

// initiate asks for a code that no flow makes.
func (w world) initiate(t *testing.T, email string, by account.Caller) error {
	t.Helper()
	_, err := w.InitiateSignup(t.Context(), by, InitiateSignupInput{Email: email, Password: ownPassword})
	require.Error(t, err)
	return err
}

func (w world) unbegun(t *testing.T) []account.SignupAttempt {
	t.Helper()
	found, err := w.Store.UnbegunSignups(t.Context(), 0, w.Policy.SignupTTL, 10)
	require.NoError(t, err)
	return found
}

func (w world) issue(t *testing.T, id uuid.UUID, email string) {
	t.Helper()
	_, err := w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: account.PurposeSignup, Subject: w.Keys.Subject(string(account.PurposeSignup), email),
		Channel: account.ChannelEmail, Destination: email, CodeTTL: time.Hour,
	})
	require.NoError(t, err)
}

// What no flow heard of is asked for as the request did it, whoever asks.
func TestInitiateSignup_LostRequestIsFound(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	require.NotErrorIs(t, w.initiate(t, "ann@example.com", client), account.ErrTooManyRequests)
	lost := w.unbegun(t)
	require.Len(t, lost, 1)
	request := workflows.SignupRequest{AttemptID: lost[0].ID, ChallengeID: lost[0].ID}
	got := SignupOpening(w.Keys, w.Policy, w.clock, lost[0])
	want := w.signupOpening(account.SignupByCode, "ann@example.com", request)
	got.Attributes, want.Attributes = nil, nil // they tell the time
	require.Equal(t, want, got)
	require.Equal(t, w.flowsOfEmail("ann@example.com")[0], got.WorkflowID)
	require.Equal(t, workflows.SignupRequest{AttemptID: lost[0].ID}, got.Arg)
}

// A name of nothing but spaces is none, as A02 has it.
func TestInitiateSignup_NameIsTrimmed(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	for email, names := range map[string][2]*string{
		"ann@example.com": {new("  Ann Smith "), new("Ann Smith")}, "bob@example.com": {new("  "), nil}, "cy@example.com": {new(""), nil},
	} {
		_, err := w.InitiateSignup(t.Context(), client, InitiateSignupInput{Email: email, Password: ownPassword, Name: names[0]})
		require.Error(t, err, "no flow answers")
		attempt, err := w.Store.OpenCodeSignup(t.Context(), email)
		require.NoError(t, err)
		require.Equal(t, names[1], attempt.Name, email)
	}
}

// What a repetition by the same person says counts (C08 as C06); a stranger's says nothing of the account.
func TestInitiateSignup_LaterValuesWin(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	ask := func(password string, name *string, fingerprint string, attribution map[string]string) account.SignupAttempt {
		_, err := w.InitiateSignup(t.Context(), client, InitiateSignupInput{
			Email: "ann@example.com", Password: password, Name: name, Fingerprint: []byte(fingerprint), Attribution: attribution,
		})
		require.Error(t, err, "no flow answers")
		attempt, err := w.Store.OpenCodeSignup(t.Context(), "ann@example.com")
		require.NoError(t, err)
		return attempt
	}
	says := func(got account.SignupAttempt, name, fingerprint, source string) {
		t.Helper()
		require.Equal(t, name, *got.Name)
		require.JSONEq(t, fingerprint, string(got.Origin.Fingerprint))
		require.Equal(t, map[string]string{"utm": source}, got.Origin.Attribution)
	}
	first := ask(ownPassword, new("Ann"), `{"f":1}`, map[string]string{"utm": "first"})
	says(first, "Ann", `{"f":1}`, "first")
	says(ask(ownPassword, nil, "", nil), "Ann", `{"f":1}`, "first")
	says(ask(ownPassword, new(" "), "{}", map[string]string{}), "Ann", `{"f":1}`, "first")
	second := ask(ownPassword, new("Ann Smith"), `{"f":2}`, map[string]string{"utm": "second"})
	says(second, "Ann Smith", `{"f":2}`, "second")
	require.Equal(t, first.ID, second.ID)

	contested := ask("another-long-phrase", new("Eve"), `{"f":3}`, map[string]string{"utm": "third"})
	says(contested, "Ann Smith", `{"f":2}`, "second")
	require.True(t, contested.Contested)
	says(ask(ownPassword, new("Eve"), `{"f":3}`, map[string]string{"utm": "third"}), "Ann Smith", `{"f":2}`, "second")
}

// A repetition that says nothing of itself is filled up by what the first one said.
func TestInitiateSignup_RepetitionFillsUp(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	for _, in := range []InitiateSignupInput{
		{Email: "ann@example.com", Password: ownPassword},
		{Email: "ann@example.com", Password: ownPassword, Name: new("Ann"), Fingerprint: []byte(`{"f":1}`), Attribution: map[string]string{"utm": "x"}},
	} {
		_, err := w.InitiateSignup(t.Context(), client, in)
		require.Error(t, err, "no flow answers")
	}
	attempt, err := w.Store.OpenCodeSignup(t.Context(), "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, "Ann", *attempt.Name)
	require.JSONEq(t, `{"f":1}`, string(attempt.Origin.Fingerprint))
	require.Equal(t, map[string]string{"utm": "x"}, attempt.Origin.Attribution)
}

// The first code has its attempt's id, whichever request it is that gets through; the next ones have their own.
func TestInitiateSignup_FirstCodeHasTheAttemptsID(t *testing.T) {
	t.Parallel()
	w := newSignups(t)
	w.Policy.SendGap = time.Microsecond
	_ = w.initiate(t, "ann@example.com", client)
	attempt := w.unbegun(t)[0]
	again := func() uuid.UUID {
		id, err := w.nextChallenge(t.Context(), client, attempt, false)
		require.NoError(t, err)
		return id
	}
	require.Equal(t, attempt.ID, again())
	w.issue(t, attempt.ID, attempt.Email)
	require.NotContains(t, []uuid.UUID{attempt.ID, uuid.Nil}, again())
}

// Nobody sends later what the quota refused.
func TestInitiateSignup_RefusedByTheQuotaIsOver(t *testing.T) {
	t.Parallel()
	for _, mode := range []account.Enumeration{account.EnumerationDocumented, account.EnumerationHidden} {
		t.Run(string(mode), func(t *testing.T) {
			w := newSignups(t)
			w.Policy.Enumeration = mode
			w.Policy.SendGap = time.Microsecond
			for range w.Policy.SendsPerHour {
				require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeSignup, "ann@example.com"), w.Policy.SendQuotas()))
			}
			_, err := w.InitiateSignup(t.Context(), client, InitiateSignupInput{Email: "ann@example.com", Password: ownPassword})
			if mode == account.EnumerationHidden {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, account.ErrTooManyRequests)
			}
			require.Empty(t, w.unbegun(t))
		})
	}
}

// A session that was made a moment ago may be over when its owner is told of it: somebody else has proven the address, or its owner
// has repeated the request. No operation that anybody may ask for says that a session is missing.
func TestAnswersOfSessionsThatHaveEnded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.registered(t.Context(), "ada@example.com", nil, uuid.New())
	require.ErrorIs(t, err, account.ErrIdentityAlreadyUsed)
	for _, ended := range []*account.Error{account.ErrInvalidCode, account.ErrInvalidToken} {
		_, err = w.signInOr(t.Context(), uuid.New(), ended)
		require.Equal(t, ended.Code, account.AsError(err).Code)
	}

	w.Policy.Enumeration = account.EnumerationHidden
	seems, err := w.registered(t.Context(), "ada@example.com", nil, uuid.New())
	require.NoError(t, err, "as for an address that was taken before")
	require.Equal(t, "ada@example.com", seems.Username)
	require.NotEmpty(t, seems.Token)
}
