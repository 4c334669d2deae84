package store

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/google/uuid"

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

// Refusal says whether a source of a guess was refused, and which: its index in Sources. Alarmed is set when guesses fail
// everywhere.
type Refusal struct {
	Refused bool
	Source  int
	Alarmed bool
}

// Guess is one counted try of a code.
type Guess struct {
	Purpose account.Purpose
	Subject []byte
	// SessionID is the session that guesses, where a code counts for one alone.
	SessionID *uuid.UUID
	// Tries is how many guesses of one code are compared at most, Lease how long a proven code waits for its change.
	Tries int
	Lease time.Duration
	// ProofKey is the caller's idempotency key: its own earlier proof may be repeated.
	ProofKey string
	// From is where the guess comes from; the zero address is nowhere.
	From netip.Addr
	// Spread is the guess as its sources see it, or zero. Charged says that CountGuess has counted it so, and that it was right: Prove
	// takes the charge back.
	Spread  SpreadGuess
	Charged bool
	// Quotas bound the guesses of QuotaKey, whatever becomes of codes; nil bounds nothing.
	QuotaKey []byte
	Quotas   []account.Quota
}

// args are those of guessCounted.
func (g Guess) args() []any {
	return []any{nullable(g.ProofKey), seconds(g.Lease), string(g.Purpose), g.Subject, g.SessionID, g.Tries}
}

// Counted is the challenge that a guess was counted against.
type Counted struct {
	ID uuid.UUID
	// Destination is where its code went.
	Destination string
	CodeHash    []byte
	// Done is the kept result when the code was already consumed under the same ProofKey.
	Done *ChallengeResult
	// Refusal is what the sources of the guess met.
	Refusal Refusal
}

const guessCounted = `
	UPDATE challenges SET attempts = attempts + 1
	WHERE id = (
		SELECT id FROM challenges
		WHERE purpose = $3 AND subject = $4 AND session_id IS NOT DISTINCT FROM $5::uuid
			AND code_hash IS NOT NULL AND code_expires_at > now() AND ((` + provable + `) OR (consumed_at IS NOT NULL AND proof_key = $1::text))
		ORDER BY created_at DESC LIMIT 1)
	AND attempts < $6::int AND superseded_at IS NULL AND code_expires_at > now()
		AND (consumed_at IS NULL OR proof_key = $1::text)
	RETURNING ` + countedColumns

// CountGuess counts a guess before anything is compared, as if it were wrong. It charges, in this order:
//
//  1. its sources (chargeSources), in a transaction of its own. A source that has guessed too many other people's codes is refused
//     with account.ErrTooManyRequests and the time to wait. Nothing is charged then, so it cannot use up the tries of those whom it
//     guesses.
//  2. its quota, which bounds guesses whatever becomes of codes. Beyond it account.ErrTooManyRequests. The sources stay charged.
//  3. the newest code of the subject, one try, in the transaction of 2. account.ErrNotFound when there is no code left to guess.
//     Sources and quota stay charged.
//
// A right guess gets back what it was charged: RefundSpreadGuess and Prove take back 1, UncountGuess takes back all three.
//
// There are two transactions because 3 may wait for a code that another request holds: 1 is committed by then, so other guesses
// of the same source do not wait, too.
func (s *Store) CountGuess(ctx context.Context, g Guess) (Counted, error) {
	refusal, err := s.chargeSources(ctx, g.Spread)
	if err != nil {
		return Counted{Refusal: refusal}, err
	}
	var row countedRow
	counted := &step{query: guessCounted, args: g.args(), into: row.targets()}
	if g.Quotas == nil {
		err = s.atOnce(ctx, counted)
	} else {
		quota, within := quotaTaken(g.QuotaKey, g.Quotas), false
		within, err = s.judged(ctx, stage{[]*step{quota}, func() bool { return quota.touched > 0 }}, stage{steps: []*step{counted}})
		if err == nil && !within {
			err = s.quotaExceeded(ctx, g.QuotaKey, g.Quotas)
		}
	}
	if err == nil && !counted.found {
		err = errNoRows
	}
	if err != nil {
		return Counted{Refusal: refusal}, err
	}
	return row.counted(refusal)
}

// chargeSources counts a guess against each of its sources and, if all of them let it through, as a failure against the sum of all
// sources. While that sum is too high (Alarmed), sources have the lower bound Calm. A refusal undoes all of it. Any number of
// guesses of one person's codes count once for a source.
func (s *Store) chargeSources(ctx context.Context, g SpreadGuess) (Refusal, error) {
	if g.Everywhere == nil {
		return Refusal{}, nil
	}
	var r Refusal
	people, failures := make([]int32, len(g.Sources)), int32(0)
	noted := make([]*step, 0, len(g.Sources))
	for i, source := range g.Sources {
		noted = append(noted, &step{query: guessNoted, args: []any{source.Key, g.Subject, seconds(g.Per), source.People}, into: []any{&people[i]}})
	}
	failed := &step{query: failureCounted, args: []any{g.Everywhere, seconds(g.Per)}, into: []any{&failures}}
	most := 0
	// Everybody's guesses change the one row of the sum, and wait for each other there. So it comes last, and only for those whose
	// sources let them through.
	allowed, err := s.judged(ctx, stage{noted, func() bool {
		full := slices.IndexFunc(noted, func(st *step) bool { return !st.found })
		if full >= 0 {
			r, most = Refusal{Refused: true, Source: full}, g.Sources[full].People
		}
		return full < 0
	}}, stage{[]*step{failed}, func() bool {
		r = Refusal{Alarmed: int(failures) > g.Failures}
		for i, source := range g.Sources {
			if r.Alarmed && int(people[i]) > source.Calm {
				r.Refused, r.Source, most = true, i, source.Calm
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

// fresh are the people whom a source has guessed within the window ($3), other than the subject of this guess ($2).
const fresh = `(SELECT m.subject, m.at FROM unnest(g.subjects, g.guessed_at) AS m (subject, at)
	WHERE m.subject <> $2::bytea AND m.at > now() - $3::float8 * interval '1 second')`

// guessNoted puts the subject ($2) on the list of a source ($1). It finds no row when the list has as many others as it may ($4).
const guessNoted = `
	INSERT INTO guess_sources AS g (key, subjects, guessed_at, expires_at)
	VALUES ($1, ARRAY[$2::bytea], ARRAY[now()], now() + $3::float8 * interval '1 second')
	ON CONFLICT (key) DO UPDATE SET
		subjects = array(SELECT f.subject FROM ` + fresh + ` AS f ORDER BY f.at, f.subject) || EXCLUDED.subjects,
		guessed_at = array(SELECT f.at FROM ` + fresh + ` AS f ORDER BY f.at, f.subject) || EXCLUDED.guessed_at,
		expires_at = EXCLUDED.expires_at
	WHERE (SELECT count(*) FROM ` + fresh + ` AS f) < $4::int
	RETURNING cardinality(subjects)`

// guessTooMany returns account.ErrTooManyRequests with the time until so many entries of the source have left the window that
// fewer than people are left.
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

// failureCounted counts one failure of all sources together ($1) in a fixed window ($2).
const failureCounted = `
	INSERT INTO budgets AS b (key, used, ends_at) VALUES ($1, 1, now() + $2::float8 * interval '1 second')
	ON CONFLICT (key) DO UPDATE SET
		used = CASE WHEN b.ends_at <= now() THEN 1 ELSE b.used + 1 END,
		ends_at = CASE WHEN b.ends_at <= now() THEN EXCLUDED.ends_at ELSE b.ends_at END
	RETURNING used`

// RefundSpreadGuess takes back what CountGuess charged the sources of a guess that was right: who knows a person's code is no
// stranger to them. Prove does the same for a guess that is Charged.
func (s *Store) RefundSpreadGuess(ctx context.Context, g SpreadGuess) error {
	return s.atOnce(ctx, g.refunding()...)
}

// UncountGuess takes back all that CountGuess counted of a right guess that proves nothing: the try of the code, the hit of its
// quota, and the charge of its sources. Only who knows the code gets anything back, so nobody gains a guess by it.
func (s *Store) UncountGuess(ctx context.Context, id uuid.UUID, g Guess) error {
	return s.atOnce(ctx, append([]*step{
		{query: `UPDATE quotas SET hits = hits[1:cardinality(hits) - 1] WHERE key = $1`, args: []any{g.QuotaKey}},
		{query: `UPDATE challenges SET attempts = attempts - 1 WHERE id = $1 AND attempts > 0`, args: []any{id}},
	}, g.Spread.refunding()...)...)
}

// refunding takes back what chargeSources charged, row by row in the same order, so that the two never deadlock.
func (g SpreadGuess) refunding() []*step {
	steps := make([]*step, 0, len(g.Sources)+1)
	for _, source := range g.Sources {
		steps = append(steps, &step{query: guessRefunded, args: []any{source.Key, g.Subject, seconds(g.Per)}})
	}
	return append(steps, &step{query: `UPDATE budgets SET used = greatest(used - 1, 0) WHERE key = $1`, args: []any{g.Everywhere}})
}

// guessRefunded takes the subject ($2) off the list of a source ($1).
const guessRefunded = `
	UPDATE guess_sources g SET
		subjects = array(SELECT f.subject FROM ` + fresh + ` AS f ORDER BY f.at, f.subject),
		guessed_at = array(SELECT f.at FROM ` + fresh + ` AS f ORDER BY f.at, f.subject)
	WHERE g.key = $1`
