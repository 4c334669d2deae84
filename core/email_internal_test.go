package core

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// C23 says of an address that awaits a code what it says of any other, also where nobody knows whether the code was made.
func TestResent(t *testing.T) {
	t.Parallel()
	for _, unheard := range []error{
		nil, account.ErrInvalidCode, durable.ErrNoFlow, account.ErrOutcomeUnknown.Because(context.DeadlineExceeded),
	} {
		require.NoError(t, resent(unheard))
	}
	require.ErrorIs(t, resent(account.ErrUnavailable), account.ErrUnavailable)
}

// The fuzzing of routes found answers to addresses that are longer than any.
func TestReadEmail(t *testing.T) {
	t.Parallel()
	for raw, fault := range map[string]string{
		" ": "is required", strings.Repeat("x", 255): "must be at most 254 characters", strings.Repeat("\U0010FFFF", 100): "must be at most 254 characters",
	} {
		_, err := readEmail(raw)
		require.ErrorIs(t, err, account.ErrInvalid)
		require.Equal(t, []account.Field{{Name: "email", Message: fault}}, account.AsError(err).Fields)
	}
	for raw, want := range map[string]string{" Ada@Example.com": "ada@example.com", "no address": "no address"} {
		email, err := readEmail(raw)
		require.NoError(t, err)
		require.Equal(t, want, email)
	}
}
