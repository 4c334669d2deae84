package core

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

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
