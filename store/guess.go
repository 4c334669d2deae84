package store

import (
	"context"
	"slices"
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
	people, failures := make([]int32, len(g.Sources)), int32(0)
	noted := make([]*step, 0, len(g.Sources))
	for i, source := range g.Sources {
		noted = append(noted, &step{query: guessNoted, args: []any{source.Key, g.Subject, seconds(g.Per), source.People}, into: []any{&people[i]}})
	}
	failed := &step{query: failureCounted, args: []any{g.Everywhere, seconds(g.Per)}, into: []any{&failures}}
	most := 0
	// What all wait for is counted for those alone whose sources let them through.
	allowed, err := s.judged(ctx, stage{noted, func() bool {
		r.Source = slices.IndexFunc(noted, func(st *step) bool { return !st.found })
		if r.Source >= 0 {
			most = g.Sources[r.Source].People
		}
		return r.Source < 0
	}}, stage{[]*step{failed}, func() bool {
		r = Refusal{Alarmed: int(failures) > g.Failures}
		for i, source := range g.Sources {
			if r.Alarmed && int(people[i]) > source.Calm {
				r.Source, most = i, source.Calm
				return false
			}
		}
		return true
	}})
	if err != nil || allowed {
		return r, err
	}
	return r, s.guessTooMany(ctx, g.Sources[r.Source].Key, most, g)
}

// fresh are the entries of a source ($1) that count beside the one of the subject ($2), within the window ($3).
const fresh = `(SELECT m.subject, m.at FROM unnest(g.subjects, g.guessed_at) AS m (subject, at)
	WHERE m.subject <> $2::bytea AND m.at > now() - $3::float8 * interval '1 second')`

const guessNoted = `
	INSERT INTO guess_sources AS g (key, subjects, guessed_at, expires_at)
	VALUES ($1, ARRAY[$2::bytea], ARRAY[now()], now() + $3::float8 * interval '1 second')
	ON CONFLICT (key) DO UPDATE SET
		subjects = array(SELECT f.subject FROM ` + fresh + ` AS f ORDER BY f.at, f.subject) || EXCLUDED.subjects,
		guessed_at = array(SELECT f.at FROM ` + fresh + ` AS f ORDER BY f.at, f.subject) || EXCLUDED.guessed_at,
		expires_at = EXCLUDED.expires_at
	WHERE (SELECT count(*) FROM ` + fresh + ` AS f) < $4::int
	RETURNING cardinality(subjects)`

// guessTooMany refuses until a source has no more than people-1 others left in the window.
func (s *Store) guessTooMany(ctx context.Context, key []byte, people int, g SpreadGuess) error {
	var wait float64
	err := s.only(ctx, `
		SELECT coalesce((SELECT extract(epoch FROM f.at - now())::float8 + $3::float8 FROM guess_sources g, LATERAL `+fresh+` AS f
			WHERE g.key = $1 ORDER BY f.at DESC OFFSET $4::int LIMIT 1), $3::float8)`,
		[]any{key, g.Subject, seconds(g.Per), max(people-1, 0)}, &wait)
	if err != nil {
		return err
	}
	return account.ErrTooManyRequests.After(max(time.Duration(wait*float64(time.Second)), time.Second))
}

const failureCounted = `
	INSERT INTO budgets AS b (key, used, ends_at) VALUES ($1, 1, now() + $2::float8 * interval '1 second')
	ON CONFLICT (key) DO UPDATE SET
		used = CASE WHEN b.ends_at <= now() THEN 1 ELSE b.used + 1 END,
		ends_at = CASE WHEN b.ends_at <= now() THEN EXCLUDED.ends_at ELSE b.ends_at END
	RETURNING used`

// RefundSpreadGuess takes back what ChargeSpreadGuess counted for a guess that was right: who knows a person's code is no
// stranger to them.
func (s *Store) RefundSpreadGuess(ctx context.Context, g SpreadGuess) error {
	steps := make([]*step, 0, len(g.Sources)+1)
	for _, source := range g.Sources {
		steps = append(steps, &step{query: guessRefunded, args: []any{source.Key, g.Subject, seconds(g.Per)}})
	}
	return s.atOnce(ctx, append(steps, &step{query: `UPDATE budgets SET used = greatest(used - 1, 0) WHERE key = $1`, args: []any{g.Everywhere}})...)
}

const guessRefunded = `
	UPDATE guess_sources g SET
		subjects = array(SELECT f.subject FROM ` + fresh + ` AS f ORDER BY f.at, f.subject),
		guessed_at = array(SELECT f.at FROM ` + fresh + ` AS f ORDER BY f.at, f.subject)
	WHERE g.key = $1`
