package core

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// alerts are the events in a log.
func alerts(t *testing.T, log *bytes.Buffer) (messages []string) {
	t.Helper()
	for line := range strings.Lines(log.String()) {
		var event struct{ Msg, Alert string }
		require.NoError(t, json.Unmarshal([]byte(line), &event))
		require.Equal(t, "code_guessing", event.Alert)
		messages = append(messages, event.Msg)
	}
	return messages
}

// OTP-15: a source that guesses codes of many people waits, and the log says so once.
func TestCountGuessAlertsOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log bytes.Buffer
	w.Log = slog.New(slog.NewJSONHandler(&log, nil))
	counted := &tally{}
	w.Meter = counted
	w.Policy.GuessFailuresPerHour = 50
	guess := func(from netip.Addr, whom string) error {
		_, err := w.countGuess(t.Context(), store.Guess{Purpose: account.PurposeSignup, Spread: w.spreadGuess(from, whom), From: from})
		return err
	}
	attack := func(from netip.Addr, prefix string) (refused int) {
		var all sync.WaitGroup
		var mutex sync.Mutex
		for i := range 100 {
			all.Go(func() {
				err := guess(from, fmt.Sprint(prefix, i))
				mutex.Lock()
				defer mutex.Unlock()
				if !errors.Is(err, account.ErrNotFound) { // there are no codes
					refused++
					require.ErrorIs(t, err, account.ErrTooManyRequests)
				}
			})
		}
		all.Wait()
		return refused
	}
	first := netip.MustParseAddr("198.51.100.7")
	require.Equal(t, 80, attack(first, "a"))
	require.Equal(t, []string{"codes of many people are guessed wrong from one address"}, alerts(t, &log))
	require.Contains(t, log.String(), `"network":"198.51.100.0/24"`)
	require.NotContains(t, log.String(), "198.51.100.7", "an address is personal data")
	require.Equal(t, 80, attack(netip.MustParseAddr("2001:db8:1:2::3"), "b"))
	require.ErrorIs(t, guess(netip.Addr{}, "nowhere"), account.ErrNotFound)
	require.Len(t, alerts(t, &log), 2)
	require.GreaterOrEqual(t, attack(netip.MustParseAddr("2001:db8:9:2::4"), "c"), 88, "fifty have failed everywhere")
	messages := alerts(t, &log)
	require.Len(t, messages, 4)
	require.Contains(t, messages, "codes are guessed wrong everywhere")
	require.Len(t, counted.alerts, len(messages), "what the log tells is what the metric counts")
}

func TestGuessSourcesAreClientsAndNetworks(t *testing.T) {
	t.Parallel()
	for ip, want := range map[string][2]string{
		"192.0.2.9":             {"192.0.2.9", "192.0.2.0/24"},
		"2001:db8:1:2:3:4:5:6":  {"2001:db8:1:2::/64", "2001:db8:1::/48"},
		"::ffff:198.51.100.200": {"::ffff:198.51.100.200", "198.51.100.0/24"},
	} {
		a := netip.MustParseAddr(ip)
		require.Equal(t, want, [2]string{clientOf(a), networkOf(a).String()})
	}
}

// sentCode is the code of a new challenge, as if it had been sent.
func (w world) sentCode(t *testing.T, g store.Guess, to string) (id uuid.UUID, code string) {
	t.Helper()
	id = uuid.New()
	_, err := w.Store.IssueChallenge(t.Context(), store.NewChallenge{
		ID: id, Purpose: g.Purpose, Subject: g.Subject, Channel: account.ChannelEmail, Destination: to, CodeTTL: time.Hour,
	})
	require.NoError(t, err)
	code = w.Keys.Code(id)
	_, err = w.Store.StoreCode(t.Context(), id, w.Keys.CodeHash(id, code), nil)
	require.NoError(t, err)
	_, err = w.Store.MarkCodeSent(t.Context(), id, time.Hour, time.Hour)
	require.NoError(t, err)
	return id, code
}

// A right guess counts against nobody in the end, whatever becomes of it.
func TestRightGuessesAreTakenBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay, w.Policy.ProofLease = 5, 5, 20, time.Minute
	w.Policy.GuessedPerAddress, w.Policy.GuessedPerNetwork, w.Policy.GuessFailuresPerHour = 1, 1, 1000
	// another guesses of somebody else from the same address, which may guess of one person.
	another := func() error {
		g := store.Guess{Purpose: account.PurposeSignup, Spread: w.spreadGuess(client.IP, uuid.NewString()), From: client.IP}
		_, err := w.countGuess(t.Context(), g)
		if errors.Is(err, account.ErrNotFound) { // there is no code
			require.NoError(t, w.Store.RefundSpreadGuess(t.Context(), g.Spread))
			return nil
		}
		return err
	}
	right := func(t *testing.T, purpose account.Purpose) (store.Guess, store.Counted) {
		t.Helper()
		whom := uuid.NewString()
		g := w.guess(purpose, whom, client)
		_, code := w.sentCode(t, g, whom)
		counted, err := w.checkCode(t.Context(), &g, whom, code)
		require.NoError(t, err)
		require.ErrorIs(t, another(), account.ErrTooManyRequests, "it is charged before it is compared")
		return g, counted
	}
	for name, end := range map[string]func(t *testing.T){
		"proven": func(t *testing.T) {
			t.Helper()
			g, counted := right(t, account.PurposeSignup)
			require.NoError(t, w.Store.Prove(t.Context(), counted.ID, g, store.Proof{}))
		},
		"proven by somebody else": func(t *testing.T) {
			t.Helper()
			g, counted := right(t, account.PurposeSignup)
			theirs := store.Guess{Purpose: g.Purpose, Lease: g.Lease, ProofKey: "theirs"}
			require.NoError(t, w.Store.Prove(t.Context(), counted.ID, theirs, store.Proof{}))
			require.ErrorIs(t, w.Store.Prove(t.Context(), counted.ID, g, store.Proof{}), account.ErrNotFound)
		},
		"only checked": func(t *testing.T) {
			t.Helper()
			email := uuid.NewString() + "@example.com"
			_, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: email}, time.Hour)
			require.NoError(t, err)
			_, code := w.sentCode(t, w.guess(account.PurposeSignup, email, client), email)
			_, err = w.VerifyCode(t.Context(), client, VerifyCodeInput{Email: email, Code: code})
			require.NoError(t, err)
		},
		"of another number": func(t *testing.T) {
			t.Helper()
			owner := uuid.New()
			_, code := w.sentCode(t, w.guess(account.PurposePhone, owner.String(), client), "+491700000001")
			require.ErrorIs(t, w.bindPhone(t.Context(), client, owner, "+491700000002", code), account.ErrInvalidCode)
		},
		"of nobody's address": func(t *testing.T) {
			t.Helper()
			g, counted := right(t, account.PurposeEmailChange)
			require.ErrorIs(t, w.proveEmailChange(t.Context(), counted.ID, g), account.ErrInvalidCode)
		},
		"of a request that ends": func(t *testing.T) {
			t.Helper()
			g, counted := right(t, account.PurposePasswordChange)
			ctx, end := context.WithCancel(t.Context())
			_, err := w.spend(ctx, g, uuid.New(), counted, func() (store.Proof, error) {
				end()
				return store.Proof{}, account.ErrBusy
			})
			require.ErrorIs(t, err, account.ErrBusy)
		},
	} {
		t.Run(name, func(t *testing.T) {
			end(t)
			require.NoError(t, another())
		})
	}
}

// C31 leaves the code of a pending sign-up to C06, however often it is asked, and gives nobody a wrong guess more.
func TestVerifyCode_UsesUpNothingOfASignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay = 5, 10, 20
	check, code, wrong := w.pendingSignup(t, "ann@example.com")
	for range w.Policy.CodeTries - 1 {
		require.ErrorIs(t, check(wrong), account.ErrInvalidCode)
		for range w.Policy.CodeTriesPerHour {
			require.NoError(t, check(code))
		}
	}
	guess := w.guess(account.PurposeSignup, "ann@example.com", client)
	_, err := w.checkCode(t.Context(), &guess, "ann@example.com", code)
	require.NoError(t, err, "C06 finds a try")
	require.ErrorIs(t, check(code), account.ErrInvalidCode, "there were five")
}

func TestRace_VerifyCode_UsesUpNothingOfASignup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay = 103, 103, 103
	check, code, wrong := w.pendingSignup(t, "ann@example.com")
	var all sync.WaitGroup
	for range 3 { // with a hundred at once, every try is taken for a moment
		require.ErrorIs(t, check(wrong), account.ErrInvalidCode)
		for range 100 {
			all.Go(func() {
				if err := check(code); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
	for range 100 {
		require.ErrorIs(t, check(wrong), account.ErrInvalidCode)
	}
	require.ErrorIs(t, check(code), account.ErrTooManyRequests)
}

// pendingSignup opens a sign-up, and returns C31 for it, its code and a wrong one.
func (w world) pendingSignup(t *testing.T, email string) (check func(code string) error, code, wrong string) {
	t.Helper()
	_, _, err := w.Store.OpenSignup(t.Context(), account.SignupAttempt{ID: uuid.New(), Kind: account.SignupByCode, Email: email}, time.Hour)
	require.NoError(t, err)
	_, code = w.sentCode(t, w.guess(account.PurposeSignup, email, client), email)
	check = func(code string) error {
		_, err := w.VerifyCode(t.Context(), client, VerifyCodeInput{Email: email, Code: code})
		return err
	}
	return check, code, code[:5] + string('0'+(code[5]-'0'+1)%10)
}
