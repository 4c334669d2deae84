package account_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestParseCountry(t *testing.T) {
	t.Parallel()
	for in := range strings.FieldsSeq("US us De GB FR CH JP BR ZA IN AX SS") {
		got, err := account.ParseCountry(in)
		require.NoError(t, err, in)
		require.Equal(t, strings.ToUpper(in), got)
	}
	for in := range strings.FieldsSeq("U USA UK ZZ EU 001 840 1 Atlantis QO SU DD YU AN ÄÖ XA XX XK CS") {
		_, err := account.ParseCountry(in)
		require.ErrorIs(t, err, account.ErrInvalidPhone, in)
	}
	_, err := account.ParseCountry("")
	require.EqualError(t, err, "invalid_phone: Unsupported country code")
}
