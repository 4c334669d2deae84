package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"gatehouse/account"
)

// GuessSource is where guesses come from, and of how many different people it may guess codes wrong.
type GuessSource struct {
	Key []byte
	// People is the bound, Calm the one that holds while too many guesses fail everywhere.
	People, Calm int
}

// SpreadGuess is one guess of somebody's code as the guard against guessing across people sees it (security.md OTP-15).
type SpreadGuess struct {
	// Subject is whose code is guessed.
	Subject []byte
	// Sources are where the guess comes from, the narrow one first: all requests wait for them in one order.
	Sources []GuessSource
	// Everywhere is the key under which the failures of all sources are counted; Failures in Per, in fixed windows, are
	// too many.
	Everywhere []byte
	Failures   int
	Per        time.Duration
}

// Refusal says which source was refused: its index in Sources. Alarmed is set when guesses fail everywhere.
type Refusal struct {
	Source  int
	Alarmed bool
}

// ChargeSpreadGuess counts a guess against its sources before it is compared, as if it failed; RefundSpreadGuess takes the
// count of one that succeeded back. Any number of guesses of one subject count as one of its source. It returns
// account.ErrTooManyRequests with the time to wait when a source has reached its bound with other subjects, and then counts
// nothing.
func (s *Store) ChargeSpreadGuess(ctx context.Context, g SpreadGuess) (Refusal, error) {
	var r Refusal
	err := s.InTx(ctx, func(ctx context.Context, tx *Store) error {
		people := make([]int, len(g.Sources))
		for i, source := range g.Sources {
			r.Source = i
			var err error
			if people[i], err = tx.noteGuess(ctx, source.Key, source.People, g); err != nil {
				return err
			}
		}
		failures, err := tx.countFailure(ctx, g.Everywhere, g.Per)
		if err != nil {
			return err
		}
		r.Alarmed = failures > g.Failures
		for i, source := range g.Sources {
			if r.Alarmed && people[i] > source.Calm {
				r.Source = i
				return tx.guessTooMany(ctx, source.Key, source.Calm, g)
			}
		}
		return nil
	})
	return r, translate(err)
}

// fresh are the entries of a source that count beside the one of the subject (?1), within the window (?2).
const fresh = `(SELECT m.subject, m.at FROM unnest(g.subjects, g.guessed_at) AS m (subject, at)
	WHERE m.subject <> ?1 AND m.at > now() - ?2 * interval '1 second')`

// noteGuess returns of how many people a source has guessed codes, this one included.
func (s *Store) noteGuess(ctx context.Context, key []byte, people int, g SpreadGuess) (int, error) {
	var known int
	err := translate(s.db.NewRaw(`
		INSERT INTO guess_sources AS g (key, subjects, guessed_at, expires_at)
		VALUES (?0, ARRAY[?1::bytea], ARRAY[now()], now() + ?2 * interval '1 second')
		ON CONFLICT (key) DO UPDATE SET
			subjects = array(SELECT f.subject FROM `+fresh+` AS f ORDER BY f.at, f.subject) || EXCLUDED.subjects,
			guessed_at = array(SELECT f.at FROM `+fresh+` AS f ORDER BY f.at, f.subject) || EXCLUDED.guessed_at,
			expires_at = EXCLUDED.expires_at
		WHERE (SELECT count(*) FROM `+fresh+` AS f) < ?3
		RETURNING cardinality(subjects)`, key, g.Subject, seconds(g.Per), people).Scan(ctx, &known))
	if errors.Is(err, account.ErrNotFound) {
		return 0, s.guessTooMany(ctx, key, people, g)
	}
	return known, err
}

// guessTooMany refuses until a source has no more than people-1 others left in the window.
func (s *Store) guessTooMany(ctx context.Context, key []byte, people int, g SpreadGuess) error {
	var wait float64
	err := s.db.NewRaw(`
		SELECT coalesce((SELECT extract(epoch FROM f.at - now()) + ?2 FROM guess_sources g, LATERAL `+fresh+` AS f
			WHERE g.key = ?0 ORDER BY f.at DESC OFFSET ?3 LIMIT 1), ?2)::float8`,
		key, g.Subject, seconds(g.Per), max(people-1, 0)).Scan(ctx, &wait)
	if err != nil {
		return translate(err)
	}
	return account.ErrTooManyRequests.After(max(time.Duration(wait*float64(time.Second)), time.Second))
}

func (s *Store) countFailure(ctx context.Context, key []byte, per time.Duration) (int, error) {
	var used int
	err := s.db.NewRaw(`
		INSERT INTO budgets AS b (key, used, ends_at) VALUES (?, 1, now() + ? * interval '1 second')
		ON CONFLICT (key) DO UPDATE SET
			used = CASE WHEN b.ends_at <= now() THEN 1 ELSE b.used + 1 END,
			ends_at = CASE WHEN b.ends_at <= now() THEN EXCLUDED.ends_at ELSE b.ends_at END
		RETURNING used`, key, seconds(per)).Scan(ctx, &used)
	return used, translate(err)
}

// RefundSpreadGuess takes back what ChargeSpreadGuess counted for a guess that was right: who knows a person's code is no
// stranger to them.
func (s *Store) RefundSpreadGuess(ctx context.Context, g SpreadGuess) error {
	steps := make([]*step, 0, len(g.Sources)+1)
	for _, source := range g.Sources {
		steps = append(steps, &step{query: guessRefunded, args: []any{source.Key, g.Subject, seconds(g.Per)}})
	}
	return s.atOnce(ctx, append(steps, &step{query: `UPDATE budgets SET used = greatest(used - 1, 0) WHERE key = $1`, args: []any{g.Everywhere}})...)
}

var guessRefunded = strings.NewReplacer("?0", "$1", "?1", "$2::bytea", "?2", "$3::float8").Replace(`
	UPDATE guess_sources g SET
		subjects = array(SELECT f.subject FROM ` + fresh + ` AS f ORDER BY f.at, f.subject),
		guessed_at = array(SELECT f.at FROM ` + fresh + ` AS f ORDER BY f.at, f.subject)
	WHERE g.key = ?0`)
