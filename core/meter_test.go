package core

import (
	"net/netip"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// tally is a Meter that remembers.
type tally struct {
	limited []string
	guesses []account.GuessResult
	alerts  []string
}

func (y *tally) Limited(limit account.RateLimit) { y.limited = append(y.limited, limit.Name) }

func (y *tally) Guessed(purpose account.Purpose, result account.GuessResult) {
	if purpose == account.PurposePhone {
		y.guesses = append(y.guesses, result)
	}
}

func (y *tally) Alerted(alert string) { y.alerts = append(y.alerts, alert) }

func TestMeter_CountsRefusalsOfARateLimit(t *testing.T) {
	t.Parallel()
	w, counted := newWorld(t), &tally{}
	w.Meter = counted
	limit := account.RateLimit{Name: "tight", Quotas: []account.Quota{{Max: 2, Per: time.Hour}}}
	require.NoError(t, w.Allow(t.Context(), limit, client))
	require.NoError(t, w.Allow(t.Context(), limit, client))
	require.Empty(t, counted.limited)
	require.ErrorIs(t, w.Allow(t.Context(), limit, client), account.ErrTooManyRequests)
	require.Equal(t, []string{"tight"}, counted.limited)
}

func TestMeter_CountsGuesses(t *testing.T) {
	t.Parallel()
	w, counted := newWorld(t), &tally{}
	w.Meter = counted
	w.Policy.CodeTries, w.Policy.CodeTriesPerHour, w.Policy.CodeTriesPerDay = 5, 3, 20
	owner := "somebody"
	_, code := w.sentCode(t, w.guess(account.PurposePhone, owner, client), "+491700000000")
	try := func(code string) error {
		guess := w.guess(account.PurposePhone, owner, client)
		_, err := w.checkCode(t.Context(), &guess, owner, code)
		return err
	}
	require.ErrorIs(t, try("x"+code[1:]), account.ErrInvalidCode)
	require.NoError(t, try(code))
	require.NoError(t, try(code))
	require.ErrorIs(t, try(code), account.ErrTooManyRequests)
	require.Equal(t, []account.GuessResult{account.GuessWrong, account.GuessRight, account.GuessRight, account.GuessRefused}, counted.guesses)
}

func TestAllow_AServiceKeyIsNoClientAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	once := account.RateLimit{Name: "tight", Quotas: []account.Quota{{Max: 1, Per: time.Hour}}}
	backend := client
	backend.Principal = &account.Principal{APIKey: &account.APIKey{ID: uuid.New(), Service: true}}
	for range 3 {
		require.NoError(t, w.Allow(t.Context(), once, backend), "a backend asks for many people")
	}
	require.NoError(t, w.Allow(t.Context(), once, client), "and takes nothing from those who share its address")
	require.ErrorIs(t, w.Allow(t.Context(), once, client), account.ErrTooManyRequests)

	w.Policy.LimitScale = 2.0 / float64(account.LimitService.Quotas[0].Max)
	refused := backend
	refused.IP = netip.MustParseAddr("203.0.113.77")
	require.ErrorIs(t, w.Allow(t.Context(), once, refused), account.ErrTooManyRequests, "from any address")
}
