package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// newHidden is newSignups in hidden enumeration mode.
func newHidden(t *testing.T) world {
	t.Helper()
	w := newSignups(t)
	w.Policy.Enumeration = account.EnumerationHidden
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay, w.Policy.ProofLease = 5, 10, 20, time.Minute
	return w
}

// squatter registers an address that nobody proves, and returns what B02 made.
func (w world) squatter(t *testing.T, attempt uuid.UUID, email string) store.Signed {
	t.Helper()
	w.parked(t, attempt, email)
	return w.made(t, attempt)
}

// parked is a registration by ownPassword that no worker has come to.
func (w world) parked(t *testing.T, attempt uuid.UUID, email string) {
	t.Helper()
	_, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: attempt, Kind: account.SignupByRegister, Email: email, PasswordHash: w.hash(t),
	}, time.Hour)
	require.NoError(t, err)
}

func (w world) hash(t *testing.T) string {
	t.Helper()
	hash, err := w.Hasher.Hash(t.Context(), ownPassword)
	require.NoError(t, err)
	return hash
}

// made is the account of a registration that was parked.
func (w world) made(t *testing.T, attempt uuid.UUID) store.Signed {
	t.Helper()
	made, err := w.Store.Register(t.Context(), store.Registration{Attempt: attempt, SessionTTL: w.Policy.SessionTTL})
	require.NoError(t, err)
	return made
}

// ENU-03: what B02 handed out, and the password it was given, open nothing before the proof, as if there were no account; then they
// do.
func TestHidden_UnprovenAccountOpensToNobody(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	made := w.squatter(t, uuid.New(), "ann@example.com")
	told, err := w.registered(t.Context(), "ann@example.com", new("ann"), made.SessionID)
	require.NoError(t, err)
	require.Equal(t, made.AccountID, told.AccountID)
	require.Equal(t, "ann", told.Username, "what was asked for")
	login := func() error {
		_, err := w.Login(t.Context(), client, LoginInput{Identifier: "ann@example.com", Password: ownPassword})
		return err
	}
	w.requireDead(t, told.Token)
	require.ErrorIs(t, login(), account.ErrInvalidCredentials)
	history, err := w.Store.LoginDelays(t.Context(), w.Keys.Subject("login-account", made.AccountID.String()))
	require.NoError(t, err)
	require.Zero(t, history[0], "counted as those of nobody")

	w.Policy.Enumeration = account.EnumerationDocumented
	w.caller(t, told.Token)
	require.NoError(t, login(), "as ever where it is told")

	w.Policy.Enumeration = account.EnumerationHidden
	w.proveAddress(t, "ann@example.com", made.AccountID)
	require.Equal(t, made.AccountID, w.caller(t, told.Token).Principal.Account.ID)
	require.NoError(t, login())
}

func (w world) proveAddress(t *testing.T, email string, owner uuid.UUID) {
	t.Helper()
	guess := w.guess(account.PurposeEmail, email, client)
	id := uuid.New()
	_, err := w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: guess.Purpose, Subject: guess.Subject, AccountID: &owner, Channel: account.ChannelEmail, Destination: email,
		CodeTTL: time.Hour,
	})
	require.NoError(t, err)
	require.NoError(t, w.Store.Prove(t.Context(), id, guess, store.Proof{}))
	_, err = w.Store.ConfirmEmail(t.Context(), id, store.Bonus{})
	require.NoError(t, err)
}

// ENU-03: a registration beyond what an address may be sent ends in silence, as that of a taken one does: of two at once the second
// would tell.
func TestHidden_RegistrationBeyondTheQuotaSeemsOne(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	w.member(t, "taken@example.com")
	for _, email := range []string{"free@example.com", "taken@example.com"} {
		require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeEmail, email), w.Policy.SendQuotas()))
		by := client
		by.Begun = &account.Begun{}
		told, err := w.Register(t.Context(), by, RegisterInput{Username: email, Email: email, Password: ownPassword})
		require.NoError(t, err, email)
		w.requireDead(t, told.Token)
		require.Equal(t, email, told.Username)
		require.NotEqual(t, account.Begun{}, *by.Begun, email)
	}
	require.Empty(t, w.unbegun(t), "nothing is owed for what was not charged")
}

// ENU-03: once the answer under an Idempotency-Key is forgotten, its registration is, too: only one that made an account was kept.
func TestHidden_KeyOfARegistrationIsForgottenWithItsAnswer(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	by := client
	by.IdempotencyKey = "key"
	made := w.squatter(t, challengeID(by), "ann@example.com")
	require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeEmail, "ann@example.com"), w.Policy.SendQuotas()))
	register := func() uuid.UUID {
		told, err := w.Register(t.Context(), by, RegisterInput{Username: "ann@example.com", Email: "ann@example.com", Password: ownPassword})
		require.NoError(t, err)
		return told.AccountID
	}
	require.Equal(t, made.AccountID, register(), "the answer was lost")
	w.clock.ahead = account.IdempotencyLife
	require.NotEqual(t, made.AccountID, register())
}

// ENU-05: which codes are guessed depends on what awaits one. What the guesser is told does not.
func TestHidden_WrongCodesTellNothing(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	w.Policy.GuessedPerAddress, w.Policy.GuessedPerNetwork = 1000, 1000
	const wrong = "000000"
	verify := func(email string) error {
		_, err := w.VerifyCode(t.Context(), client, VerifyCodeInput{Email: email, Code: wrong})
		return err
	}
	complete := func(email string) error {
		_, err := w.CompleteSignup(t.Context(), client, CompleteSignupInput{Email: email, Code: wrong})
		return err
	}
	codes := map[string]string{}
	for name, await := range map[string]func(email string){
		"nothing": func(string) {},
		"a change of email": func(email string) {
			_, codes[email] = w.sentCode(t, w.guess(account.PurposeEmailChange, email, client), email)
		},
		"a registration": func(email string) { w.squatter(t, uuid.New(), email) },
		"a sign-up": func(email string) {
			_, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: email}, time.Hour)
			require.NoError(t, err)
			_, codes[email] = w.sentCode(t, w.guess(account.PurposeSignup, email, client), email)
		},
	} {
		for order, guesses := range map[string][2]func(string) error{
			"C31": {verify, verify}, "C06 first": {complete, verify}, "C31 first": {verify, complete},
		} {
			t.Run(name+", "+order, func(t *testing.T) {
				before, after := uuid.NewString()+"@example.com", uuid.NewString()+"@example.com"
				await(after)
				for range w.Policy.CodeTriesPerHour {
					require.ErrorIs(t, guesses[0](before), account.ErrInvalidCode)
					require.ErrorIs(t, guesses[0](after), account.ErrInvalidCode)
				}
				await(before)
				for _, email := range []string{before, after} {
					for _, guess := range guesses {
						err := guess(email)
						require.ErrorIs(t, err, account.ErrTooManyRequests)
						require.Greater(t, account.AsError(err).RetryAfter, 50*time.Minute)
					}
				}
				if name == "a sign-up" && order == "C31" {
					_, err := w.VerifyCode(t.Context(), client, VerifyCodeInput{Email: before, Code: codes[before]})
					require.NoError(t, err, "a stranger's guesses of nothing keep nobody from a code")
				}
			})
		}
	}
}

// Who has to wait for where the guess comes from is told so, whatever awaits a code.
func TestHidden_SourcesThatWaitAreTold(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	w.Policy.GuessedPerAddress = 1
	verify := func() error {
		_, err := w.VerifyCode(t.Context(), client, VerifyCodeInput{Email: uuid.NewString() + "@example.com", Code: "000000"})
		return err
	}
	require.ErrorIs(t, verify(), account.ErrInvalidCode)
	require.ErrorIs(t, verify(), account.ErrTooManyRequests)
}

// ENU-05: a code that is asked for again is counted alike, whatever was sent before and to whom.
func TestHidden_ResendsTellNothing(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	w.member(t, "taken@example.com")
	w.squatter(t, uuid.New(), "free@example.com")
	for _, email := range []string{"free@example.com", "taken@example.com"} {
		// B02 was charged a moment ago.
		require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeEmail, email), w.Policy.SendQuotas()))
		_, err := w.ResendCode(t.Context(), client, ResendCodeInput{Email: email})
		require.NotErrorIs(t, err, account.ErrTooManyRequests, email)
		require.Equal(t, account.Unavailable, account.AsError(err).Kind, "as far as it gets without Temporal")
		_, err = w.ResendCode(t.Context(), client, ResendCodeInput{Email: email})
		require.ErrorIs(t, err, account.ErrTooManyRequests, email)
	}
	used, err := w.Store.QuotaUsed(t.Context(), w.sendKey(account.PurposeSignup, "taken@example.com"), account.Quota{Per: time.Hour})
	require.NoError(t, err)
	require.False(t, used, "what is not sent counts for nothing else")
}

// A repetition under an Idempotency-Key sends what the first one was charged for and could not send, and nothing else.
func TestHidden_ResendIsRepeated(t *testing.T) {
	t.Parallel()
	w := newHidden(t)
	charge := func(by account.Caller, email string, known bool) (bool, error) {
		return w.chargeResend(t.Context(), by, account.PurposeEmail, email, known)
	}
	sent := func(key, email string, known bool) bool {
		by := w.held(t, client, key)
		send, err := charge(by, email, known)
		require.NoError(t, err)
		require.NoError(t, w.ReleaseKey(t.Context(), key, by.KeyHolder)) // as a 503 does
		return send
	}
	for range 2 {
		require.True(t, sent("a", "free@example.com", true))
		require.False(t, sent("b", "taken@example.com", false))
	}
	_, err := charge(client, "free@example.com", true)
	require.ErrorIs(t, err, account.ErrTooManyRequests, "another request is another one")

	require.NoError(t, w.Store.TakeQuota(t.Context(), w.sendKey(account.PurposeEmail, "mailed@example.com"), w.Policy.SendQuotas()))
	for range 2 {
		require.False(t, sent("c", "mailed@example.com", true), "it was not charged")
	}
}
