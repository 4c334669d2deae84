package core

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/durable"
)

// In hidden mode C23 says of an address that awaits a code what it says of any other, also where nobody knows whether the code was
// made. In documented mode whoever asks is told that it may be lost.
func TestResent(t *testing.T) {
	t.Parallel()
	unknown := account.ErrOutcomeUnknown.Because(context.DeadlineExceeded)
	hidden := &Core{Deps: Deps{Policy: account.Policy{Enumeration: account.EnumerationHidden}}}
	documented := &Core{Deps: Deps{Policy: account.Policy{Enumeration: account.EnumerationDocumented}}}
	for _, c := range []*Core{hidden, documented} {
		for _, useless := range []error{nil, account.ErrInvalidCode, durable.ErrNoFlow} {
			require.NoError(t, c.resent(useless))
		}
		require.ErrorIs(t, c.resent(account.ErrUnavailable), account.ErrUnavailable)
	}
	require.NoError(t, hidden.resent(unknown))
	require.ErrorIs(t, documented.resent(unknown), account.ErrOutcomeUnknown)
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
