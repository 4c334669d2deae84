package core

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"gatehouse/account"
	"gatehouse/store"
)

const (
	// guessWindow is how long a wrong guess counts against where it came from.
	guessWindow = time.Hour
	// calmer is what the bounds of a source are divided by while guesses fail everywhere.
	calmer = 10
)

// The networks that count as one source beside their addresses.
const (
	ipv4Network = 24
	ipv6Network = 48
)

// networkOf is the network of an address, or the zero prefix.
func networkOf(ip netip.Addr) netip.Prefix {
	bits := ipv6Network
	if ip = ip.Unmap(); ip.Is4() {
		bits = ipv4Network
	}
	prefix, err := ip.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// spreadGuess is a guess of somebody's code as the guard against guessing across people sees it (security.md OTP-15):
// an attacker who tries a few codes of each of many people stays below every bound of theirs.
func (c *Core) spreadGuess(from netip.Addr, subject string) store.SpreadGuess {
	g := store.SpreadGuess{
		Subject: c.Keys.Subject("guessed", subject), Everywhere: c.Keys.Subject("guesses", ""),
		Failures: c.Policy.GuessFailuresPerHour, Per: guessWindow,
	}
	if from.IsValid() {
		g.Sources = []store.GuessSource{
			c.guessSource("address", clientOf(from), c.Policy.GuessedPerAddress),
			c.guessSource("network", networkOf(from).String(), c.Policy.GuessedPerNetwork),
		}
	}
	return g
}

func (c *Core) guessSource(kind, value string, people int) store.GuessSource {
	people = c.scaled(people)
	return store.GuessSource{Key: c.Keys.Subject("guesser/"+kind, value), People: people, Calm: max(people/calmer, 1)}
}

// errSource says that a guess was refused for where it comes from, whatever it guesses.
var errSource = errors.New("its source has to wait")

// countGuess counts a guess. For a source that has to wait it says so in the log once per source and window, and once more when
// guesses fail everywhere.
func (c *Core) countGuess(ctx context.Context, g store.Guess) (store.Counted, error) {
	counted, err := c.Store.CountGuess(ctx, g)
	var failed error
	if counted.Refusal.Alarmed {
		failed = c.alertOnce(ctx, g.Spread.Everywhere, "codes are guessed wrong everywhere", slog.Int("failures_per_hour", g.Spread.Failures))
	}
	if counted.Refusal.Refused {
		if refusal := account.AsError(err); errors.Is(err, account.ErrTooManyRequests) {
			err = refusal.Because(errSource)
		}
		source := []string{"address", "network"}[counted.Refusal.Source]
		failed = cmp.Or(failed, c.alertOnce(ctx, g.Spread.Sources[counted.Refusal.Source].Key, "codes of many people are guessed wrong from one "+source,
			slog.String("network", networkOf(g.From).String()), slog.Bool("everywhere", counted.Refusal.Alarmed)))
	}
	return counted, cmp.Or(failed, err)
}

// alertOnce writes an event for the operators' alarms, once in a window however many processes meet it.
func (c *Core) alertOnce(ctx context.Context, key []byte, message string, details ...slog.Attr) error {
	err := c.Store.TakeQuota(ctx, c.Keys.Subject("alert", string(key)), []account.Quota{{Max: 1, Per: guessWindow}})
	if errors.Is(err, account.ErrTooManyRequests) {
		return nil
	}
	if err == nil {
		//nolint:sloglint // a sentence of countGuess's, and nothing of the guesser's
		c.Log.LogAttrs(ctx, slog.LevelWarn, message, append(details, slog.String("alert", account.AlertCodeGuessing))...)
		c.Meter.Alerted(account.AlertCodeGuessing)
	}
	return err
}
