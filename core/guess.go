package core

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"github.com/google/uuid"

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

func (c *Core) guess(purpose account.Purpose, email string, by account.Caller) store.Guess {
	return store.Guess{
		Purpose: purpose, Subject: c.Keys.Subject(string(purpose), email), Tries: c.Policy.CodeTries, Lease: c.Policy.ProofLease,
		ProofKey: by.IdempotencyKey, From: by.IP,
	}
}

// checkCode counts a guess of somebody's code, and only then compares it. The counts of whom it is about, and those of where the
// guess comes from, outlive codes. What was counted against the latter is taken back by the proof of g, or by refund where there is
// nothing to prove: whoever checks a code does one of the two.
func (c *Core) checkCode(ctx context.Context, g *store.Guess, whom, code string) (store.Counted, error) {
	counted, err := c.compareCode(ctx, g, whom, code)
	switch {
	case err == nil:
		c.Meter.Guessed(g.Purpose, account.GuessRight)
	case errors.Is(err, account.ErrInvalidCode):
		c.Meter.Guessed(g.Purpose, account.GuessWrong)
	case errors.Is(err, account.ErrTooManyRequests):
		c.Meter.Guessed(g.Purpose, account.GuessRefused)
	}
	if err == nil && counted.Done != nil {
		err = c.refund(ctx, g)
	}
	return counted, err
}

// refundTime is how long a refund may take, which a request that has ended still owes.
const refundTime = 2 * time.Second

// refund takes back what a right guess was charged, once.
func (c *Core) refund(ctx context.Context, g *store.Guess) error {
	if !g.Charged {
		return nil
	}
	g.Charged = false
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), refundTime)
	defer done()
	return c.Store.RefundSpreadGuess(ctx, g.Spread)
}

// uncount is refund, and leaves the code as it was: it is yet to be spent.
func (c *Core) uncount(ctx context.Context, challenge uuid.UUID, g *store.Guess) error {
	if !g.Charged {
		return nil
	}
	g.Charged = false
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), refundTime)
	defer done()
	return c.Store.UncountGuess(ctx, challenge, *g)
}

func (c *Core) compareCode(ctx context.Context, g *store.Guess, whom, code string) (store.Counted, error) {
	if g.ProofKey != "" {
		// The idempotency key stands for the same request, and so for the same code, that has proven it before.
		own, err := c.Store.OwnProof(ctx, *g)
		if err == nil && c.Keys.CodeMatches(own.ID, code, own.CodeHash) {
			return own, nil
		}
		if err != nil && !errors.Is(err, account.ErrNotFound) {
			return own, err
		}
	}
	g.Spread = c.spreadGuess(g.From, whom)
	g.QuotaKey, g.Quotas = c.guessQuota(g.Purpose, whom), c.Policy.GuessQuotas()
	counted, err := c.countGuess(ctx, *g)
	if errors.Is(err, account.ErrNotFound) {
		return counted, account.ErrInvalidCode.Because(err)
	}
	if err != nil {
		return counted, err
	}
	if !c.Keys.CodeMatches(counted.ID, code, counted.CodeHash) {
		return counted, account.ErrInvalidCode
	}
	g.Charged = true
	return counted, nil
}

// guessQuota is the key under which the guesses of somebody's codes are counted.
func (c *Core) guessQuota(purpose account.Purpose, whom string) []byte {
	return c.Keys.Subject("guess/"+string(purpose), whom)
}

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
