package core

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is the operations on a database of a test's own. Nobody answers where Temporal should be.
type world struct {
	*Core
	clock *movableClock
}

// movableClock is the machine's clock, a while ahead. It is moved while nobody reads it.
type movableClock struct{ ahead time.Duration }

func (c *movableClock) Now() time.Time { return account.SystemClock{}.Now().Add(c.ahead) }

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, StatementTimeout: -1})
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	return errors.Join(err, s.Close())
}

func newWorld(t *testing.T) world {
	t.Helper()
	return newWorldAt(t, testkit.NewDatabase(t, migrate, store.MigrationFingerprint()))
}

// newWorldAt is newWorld on a database that is there.
func newWorldAt(t *testing.T, url string) world {
	t.Helper()
	db, err := store.Open(store.Options{URL: url, Pool: 16, Application: "core-test", StatementTimeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	keys, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	clock := &movableClock{}
	tokens, err := secret.NewAccessTokens(secret.GenerateKey(), "http://localhost", clock)
	require.NoError(t, err)
	hasher := secret.NewHasher(keys, 2, 100, time.Minute)
	keyset, err := durable.GenerateKeyset()
	require.NoError(t, err)
	keyring, err := durable.NewKeyring(keyset)
	require.NoError(t, err)
	log := slog.New(slog.DiscardHandler)
	flows, err := durable.Dial(durable.Options{Address: "127.0.0.1:1", Namespace: "none", Keyring: keyring, Logger: log, Timeout: time.Second})
	require.NoError(t, err)
	t.Cleanup(flows.Close)
	c, err := New(Deps{
		Store: db, Flows: flows, Keyring: keyring, Keys: keys, Hasher: hasher, Tokens: tokens, Clock: clock, Log: log,
		Policy: account.Policy{
			SessionTTL: 30 * 24 * time.Hour, AccessTTL: 10 * time.Minute, RefreshIdle: 14 * 24 * time.Hour,
			RefreshGrace: 10 * time.Second, ActivityGap: time.Minute, StepUpAge: 10 * time.Minute, APIKeys: 50,
			MFASetupTTL: 10 * time.Minute, MFATries: 5, MFALock: 15 * time.Minute, TOTPIssuer: "Gatehouse",
			DeviceTTL: 30 * 24 * time.Hour, TrustedDevices: 20,
			LoginFreeFailures: 5, LoginMaxDelay: time.Minute, LimitScale: 1, GuessesLoseStepUp: 5, GuessesEndSession: 10,
			GuessedPerAddress: 20, GuessedPerNetwork: 100, GuessFailuresPerHour: 1000,
		},
		Locate: func(a netip.Addr) string {
			if a == netip.MustParseAddr("192.0.2.9") {
				return "Berlin, Germany"
			}
			return ""
		},
	})
	require.NoError(t, err)
	return world{Core: c, clock: clock}
}

const ownPassword = "a-long-enough-phrase"

// member makes a verified account with a password.
func (w world) member(t *testing.T, email string) {
	t.Helper()
	hash, err := w.Hasher.Hash(t.Context(), ownPassword)
	require.NoError(t, err)
	attempt, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: uuid.New(), Kind: account.SignupByCode, Email: email, PasswordHash: hash,
	}, time.Hour)
	require.NoError(t, err)
	subject := w.Keys.Subject("test", email)
	_, err = w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: attempt.ID, Purpose: account.PurposeSignup, Subject: subject, Channel: account.ChannelEmail, Destination: email, CodeTTL: time.Hour,
	})
	require.NoError(t, err)
	_, err = w.Store.StoreCode(t.Context(), attempt.ID, []byte("code"), nil)
	require.NoError(t, err)
	_, err = w.Store.MarkCodeSent(t.Context(), attempt.ID, time.Hour, time.Hour)
	require.NoError(t, err)
	guess := store.Guess{Purpose: account.PurposeSignup, Subject: subject, Tries: 5, Lease: time.Minute}
	require.NoError(t, w.Store.Prove(t.Context(), attempt.ID, guess, store.Proof{}))
	_, err = w.Store.CompleteSignup(t.Context(), attempt.ID, store.Bonus{Full: 100, Reduced: 50}, w.Policy.SessionTTL, "")
	require.NoError(t, err)
}

var client = account.Caller{IP: netip.MustParseAddr("192.0.2.9"), UserAgent: "curl/8.4.0"}

// login signs in and returns the tokens and who they speak for.
func (w world) login(t *testing.T, email string) (SignIn, account.Caller) {
	t.Helper()
	in, err := w.Login(t.Context(), client, LoginInput{Identifier: email, Password: ownPassword, WithRefresh: true})
	require.NoError(t, err)
	return in, w.caller(t, in.AccessToken)
}

func (w world) caller(t *testing.T, token string) account.Caller {
	t.Helper()
	p, err := w.Authenticate(t.Context(), w.shown(token))
	require.NoError(t, err)
	by := client
	by.Principal = &p
	return by
}

func (w world) shown(token string) Credential {
	return Credential{Bearer: token, AllowKeys: true, IP: client.IP, UserAgent: client.UserAgent}
}

func (w world) requireDead(t *testing.T, token string) {
	t.Helper()
	_, err := w.Authenticate(t.Context(), w.shown(token))
	require.ErrorIs(t, err, account.ErrUnauthorized)
}
