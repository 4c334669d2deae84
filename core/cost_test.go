package core

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// What an operation costs the database: statements, BEGIN and COMMIT among them, and waits for an answer. Whoever makes one of
// these grow says here why. docs/performance-writes.md shows the table.
func TestCost(t *testing.T) {
	t.Parallel()
	wire, through := testkit.NewWire(t, testkit.NewDatabase(t, migrate, store.MigrationFingerprint()))
	w := newWorldAt(t, through)
	w.Policy.CodeTTL, w.Policy.SignupTTL, w.Policy.SendGap, w.Policy.SendsPerHour, w.Policy.SendsPerDay = time.Hour, time.Hour, time.Minute, 5, 10
	w.member(t, "ada@example.com")
	in, by := w.login(t, "ada@example.com")
	made, err := w.CreateAPIKey(t.Context(), by, CreateAPIKeyInput{Name: "ci", Scopes: []string{"account:read"}})
	require.NoError(t, err)

	attempt, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: "bob@example.com"}, time.Hour)
	require.NoError(t, err)

	refresh := in.RefreshToken
	ops := []struct {
		name              string
		statements, turns int64
		call              func(ctx context.Context) error
	}{
		{"count a request against its limit", 1, 1, func(ctx context.Context) error {
			return w.Allow(ctx, account.LimitLogin, client)
		}},
		{"know who calls, by token", 1, 1, func(ctx context.Context) error {
			_, err := w.Authenticate(ctx, w.shown(in.AccessToken))
			return err
		}},
		{"know who calls, by API key", 1, 1, func(ctx context.Context) error {
			_, err := w.Authenticate(ctx, w.shown(made.Secret))
			return err
		}},
		// Credentials, delay, and in one transaction: lock, session, principal.
		{"login", 5, 3, func(ctx context.Context) error {
			_, err := w.Login(ctx, client, LoginInput{Identifier: "ada@example.com", Password: ownPassword, WithRefresh: true})
			return err
		}},
		{"login, wrong password", 3, 3, func(ctx context.Context) error {
			_, err := w.Login(ctx, client, LoginInput{Identifier: uuid.NewString() + "@example.com", Password: "wrong"})
			require.ErrorIs(t, err, account.ErrInvalidCredentials)
			return nil
		}},
		// In one transaction: lock, rotation, principal.
		{"refresh", 1, 1, func(ctx context.Context) error {
			out, err := w.Refresh(ctx, client, RefreshInput{Token: refresh})
			refresh = out.RefreshToken
			return err
		}},
		// The owner of the address, an open sign-up, the parked attempt after those that have expired, the quota of codes.
		{"begin a sign-up, up to its flow", 5, 4, func(ctx context.Context) error {
			_, err := w.InitiateSignup(ctx, client, InitiateSignupInput{Email: uuid.NewString() + "@example.com", Password: ownPassword})
			require.Error(t, err, "no flow answers here")
			return nil
		}},
		// Its term, and in one transaction: lock, the code before, the code, what it has become.
		{"make the code of a sign-up", 5, 2, func(ctx context.Context) error {
			_, _, err := w.Store.SignupExpiry(ctx, attempt.ID, time.Hour)
			require.NoError(t, err)
			_, err = w.Store.IssueChallenge(ctx, store.NewChallenge{
				ID: uuid.New(), Purpose: account.PurposeSignup, Subject: []byte("bob"), Channel: account.ChannelEmail,
				Destination: attempt.Email, CodeTTL: time.Hour,
			})
			return err
		}},
		{"list the sessions", 1, 1, func(ctx context.Context) error {
			_, err := w.Sessions(ctx, by, None{})
			return err
		}},
	}
	for _, op := range ops {
		for range 3 { // prepares
			require.NoError(t, op.call(t.Context()), op.name)
		}
		least := func() (statements, turns int64) {
			statements, turns = wire.Runs.Load(), wire.Turns.Load()
			require.NoError(t, op.call(t.Context()), op.name)
			return wire.Runs.Load() - statements, wire.Turns.Load() - turns
		}
		statements, turns := least()
		if s, n := least(); n < turns { // another connection had to prepare
			statements, turns = s, n
		}
		require.Equal(t, op.statements, statements, "statements: "+op.name)
		require.Equal(t, op.turns, turns, "round trips: "+op.name)
	}
}

// What the steps of a verify cost the database, as TestCost has it: the guess is charged and compared, its proof is parked, and
// the flow makes the change.
func TestCost_Verify(t *testing.T) {
	t.Parallel()
	wire, through := testkit.NewWire(t, testkit.NewDatabase(t, migrate, store.MigrationFingerprint()))
	w := newWorldAt(t, through)
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay, w.Policy.ProofLease = 5, 5, 20, time.Minute
	w.Policy.GuessedPerAddress, w.Policy.GuessedPerNetwork, w.Policy.GuessFailuresPerHour = 20, 100, 1000

	names := []string{"charge a guess, and compare it", "park the proof", "complete a sign-up"}
	least := map[string][2]int64{}
	for range 4 { // the first ones prepare
		email := uuid.NewString() + "@example.com"
		guess := w.guess(account.PurposeSignup, email, client)
		parked := account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: email, Origin: account.Origin{Fingerprint: []byte(`{"a":1}`)}}
		_, _, err := w.Store.OpenSignup(t.Context(), parked, time.Hour)
		require.NoError(t, err)
		id, code := w.sentCode(t, guess, email)
		for i, step := range []func() error{
			func() error {
				_, err := w.checkCode(t.Context(), &guess, email, code)
				return err
			},
			func() error { return w.Store.Prove(t.Context(), id, guess, store.Proof{}) },
			func() error {
				_, err := w.Store.CompleteSignup(t.Context(), id, store.Bonus{Full: 100, Reduced: 10}, time.Hour, "")
				return err
			},
		} {
			statements, turns := wire.Runs.Load(), wire.Turns.Load()
			require.NoError(t, step(), names[i])
			cost := [2]int64{wire.Runs.Load() - statements, wire.Turns.Load() - turns}
			if before, known := least[names[i]]; !known || cost[1] < before[1] {
				least[names[i]] = cost
			}
		}
	}
	require.Equal(t, map[string][2]int64{
		// Two sources, and then the failures everywhere; the quota, and then the code; and BEGIN and COMMIT of both.
		names[0]: {9, 5},
		// The code, and the same sources and failures.
		names[1]: {4, 1},
		// The code; the attempt, its end and who holds the address; the fingerprint and who has it; the account, its bonus, its
		// session, the result and the event; and BEGIN and COMMIT.
		names[2]: {13, 6},
	}, least)
}
