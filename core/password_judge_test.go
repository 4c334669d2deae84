package core

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// Document A's sentence on passwords is for a new one that is at fault, and for nothing else.
func TestChangePasswordInput_Sentences(t *testing.T) {
	t.Parallel()
	by := account.Caller{Principal: &account.Principal{}}
	for name, c := range map[string]struct {
		in     ChangePasswordInput
		says   string
		fields int
	}{
		"no current one": {ChangePasswordInput{New: "another-long-phrase-2"}, "Validation failed", 1},
		"a short one":    {ChangePasswordInput{Current: ownPassword, New: "short"}, "Password doesn’t meet requirements", 1},
		"neither":        {ChangePasswordInput{}, "Password doesn’t meet requirements", 2},
		"no number":      {ChangePasswordInput{Current: ownPassword, New: "another-long-phrase", LetterAndNumber: true}, "Password doesn’t meet requirements", 1},
	} {
		err := c.in.validate(by)
		require.ErrorIs(t, err, account.ErrInvalid, name)
		require.Equal(t, c.says, account.AsError(err).Message, name)
		require.Len(t, account.AsError(err).Fields, c.fields, name)
	}
	require.NoError(t, ChangePasswordInput{Current: ownPassword, New: "another-long-phrase-2"}.validate(by))
}
