package core

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"

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
