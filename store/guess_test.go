package store_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// spread is a guess of a person's code from an address of a network.
func spread(person, address, network int) store.SpreadGuess {
	return store.SpreadGuess{
		Subject: fmt.Appendf(nil, "person %d", person),
		Sources: []store.GuessSource{
			{Key: fmt.Appendf(nil, "address %d", address), People: 20, Calm: 4},
			{Key: fmt.Appendf(nil, "network %d", network), People: 50, Calm: 10},
		},
		Everywhere: []byte("everywhere"), Failures: 1000, Per: time.Hour,
	}
}

// charge counts a guess against its sources alone: there is no code.
func (w world) charge(t *testing.T, g store.SpreadGuess) (store.Refusal, error) {
	t.Helper()
	counted, err := w.CountGuess(t.Context(), store.Guess{Purpose: account.PurposeSignup, Subject: []byte("without a code"), Spread: g})
	if errors.Is(err, account.ErrNotFound) {
		err = nil
	}
	return counted.Refusal, err
}

func (w world) ageGuesses(t *testing.T, d time.Duration) {
	t.Helper()
	w.exec(t, `UPDATE guess_sources SET guessed_at = array(SELECT h - $1 * interval '1 second' FROM unnest(guessed_at) h)`, d.Seconds())
	w.exec(t, `UPDATE budgets SET ends_at = ends_at - $1 * interval '1 second'`, d.Seconds())
}

// OTP-15: of a hundred people guessed at once from one address, the bound's number is let through, and the same after the
// window.
func TestSpreadGuessRaceOfOneAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		guess := func(i int) error {
			_, err := w.charge(t, spread(i, round, round))
			return err
		}
		errs := race(crowd, guess)
		require.Equal(t, 20, winners(t, errs, account.ErrTooManyRequests))
		for _, err := range errs {
			if err != nil {
				require.InDelta(t, time.Hour.Seconds(), retryAfter(t, err).Seconds(), 60)
			}
		}
		require.Equal(t, 20, one[int](t, w, `SELECT cardinality(subjects) FROM guess_sources WHERE key = $1`, fmt.Appendf(nil, "network %d", round)),
			"a refusal counts nowhere")
		require.Equal(t, 20, one[int](t, w, `SELECT used FROM budgets`))
		w.ageGuesses(t, 61*time.Minute)
		require.Equal(t, 20, winners(t, race(crowd, guess), account.ErrTooManyRequests))
		w.ageGuesses(t, 61*time.Minute)
	}
}

func TestSpreadGuessRaceOfOneNetwork(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		errs := race(crowd, func(i int) error {
			_, err := w.charge(t, spread(i, 1000*round+i, round))
			return err
		})
		require.Equal(t, 50, winners(t, errs, account.ErrTooManyRequests))
		r, err := w.charge(t, spread(crowd, 1000*round+crowd, round))
		require.ErrorIs(t, err, account.ErrTooManyRequests)
		require.Equal(t, 1, r.Source, "the network")
		_, err = w.charge(t, spread(crowd, 1000*round+crowd, round+100))
		require.NoError(t, err, "another network is another source")
		w.ageGuesses(t, 61*time.Minute)
	}
}

// Who fumbles their own code is no attacker, however often.
func TestSpreadGuessCountsPeople(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 60 {
		_, err := w.charge(t, spread(1, 1, 1))
		require.NoError(t, err)
	}
	for i := range 20 {
		_, err := w.charge(t, spread(i, 1, 1))
		require.NoError(t, err)
	}
	_, err := w.charge(t, spread(20, 1, 1))
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	_, err = w.charge(t, spread(7, 1, 1))
	require.NoError(t, err, "one of those who count already")
	require.NoError(t, w.RefundSpreadGuess(t.Context(), spread(7, 1, 1)))
	_, err = w.charge(t, spread(20, 1, 1))
	require.NoError(t, err, "whose code was right does not count")
	w.ageGuesses(t, 59*time.Minute+50*time.Second)
	_, err = w.charge(t, spread(21, 1, 1))
	require.InDelta(t, 10, retryAfter(t, err).Seconds(), 9)
	w.ageGuesses(t, 20*time.Second)
	_, err = w.charge(t, spread(21, 1, 1))
	require.NoError(t, err)
	require.Equal(t, 1, one[int](t, w, `SELECT cardinality(subjects) FROM guess_sources WHERE key = 'address 1'`), "old ones are dropped")
}

// While too many guesses fail everywhere, the sources of many people wait and all others are served.
func TestSpreadGuessAlarmSlowsTheSources(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alarmed := func(person, address, network int) (store.Refusal, error) {
		g := spread(person, address, network)
		g.Failures = 30
		return w.charge(t, g)
	}
	errs := race(crowd, func(i int) error { // five attackers, twenty people each
		_, err := alarmed(i, i%5, i%5)
		return err
	})
	through := winners(t, errs, account.ErrTooManyRequests)
	require.GreaterOrEqual(t, through, 30)
	require.LessOrEqual(t, through, 30+5*4)
	require.Equal(t, through, one[int](t, w, `SELECT used FROM budgets`))
	for address := range 5 {
		r, err := alarmed(crowd+address, address, address)
		require.Positive(t, retryAfter(t, err))
		require.Equal(t, store.Refusal{Refused: true, Source: 0, Alarmed: true}, r)
	}
	for i := range 4 {
		_, err := alarmed(1000+i, 50, 50)
		require.NoError(t, err, "an address that has not taken part")
	}
	_, err := alarmed(1004, 50, 50)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	for i := range 10 {
		_, err = alarmed(2000+i, 60+i, 60)
		require.NoError(t, err)
	}
	r, err := alarmed(2010, 70, 60)
	require.ErrorIs(t, err, account.ErrTooManyRequests)
	require.Equal(t, store.Refusal{Refused: true, Source: 1, Alarmed: true}, r)
	w.exec(t, `UPDATE budgets SET ends_at = now()`)
	r, err = alarmed(2010, 70, 60)
	require.NoError(t, err, "the alarm is over")
	require.False(t, r.Alarmed)
}

// Charges and refunds of the same sources at once end as if they had come one by one.
func TestSpreadGuessRaceWithRefunds(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for round := range *rounds {
		errs := race(crowd, func(i int) error {
			g := spread(i, 100*round+i%10, round)
			g.Sources[1].People = crowd
			if _, err := w.charge(t, g); err != nil {
				return err
			}
			if i%2 == 0 {
				return w.RefundSpreadGuess(t.Context(), g)
			}
			return nil
		})
		require.Equal(t, crowd, winners(t, errs))
		require.Equal(t, crowd/2, one[int](t, w, `SELECT cardinality(subjects) FROM guess_sources WHERE key = $1`, fmt.Appendf(nil, "network %d", round)))
		require.Equal(t, crowd/2*(round+1), one[int](t, w, `SELECT used FROM budgets`))
	}
}
