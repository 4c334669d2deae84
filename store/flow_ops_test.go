package store_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestAccountsOfPhone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	has, asked, other := w.member(t, "has@example.com").AccountID, w.member(t, "asked@example.com").AccountID, w.member(t, "other@example.com").AccountID
	w.exec(t, `UPDATE accounts SET phone_number = '+491701234567', created_at = now() + interval '1 minute' WHERE id = $1`, has)
	w.exec(t, `UPDATE accounts SET phone_number = '+491701234568' WHERE id = $1`, other)
	w.exec(t, `INSERT INTO phone_attempts (id, account_id, number) VALUES ($1, $2, '+491701234567')`, uuid.New(), asked)
	found, err := w.AccountsOfPhone(t.Context(), "+491701234567")
	require.NoError(t, err)
	require.Equal(t, []uuid.UUID{has, asked}, found)
	found, err = w.AccountsOfPhone(t.Context(), "+491701234569")
	require.NoError(t, err)
	require.Empty(t, found)
}

func TestOpenCodes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	open := func() []account.Purpose {
		codes, err := w.OpenCodes(t.Context(), nil, account.PurposeSignup, [][]byte{[]byte("subject")})
		require.NoError(t, err)
		var all []account.Purpose
		for _, c := range codes {
			all = append(all, c.Purpose)
		}
		return all
	}
	require.Empty(t, open())
	for _, c := range []struct{ purpose, subject string }{{"signup", "subject"}, {"signup", "somebody else's"}, {"email", "subject"}} {
		w.exec(t, `INSERT INTO challenges (id, purpose, subject, channel, destination, send_by, code_expires_at)
			VALUES ($1, $2, $3, 'email', 'a@example.com', now(), now() + interval '1 minute')`, uuid.New(), c.purpose, []byte(c.subject))
	}
	require.Equal(t, []account.Purpose{account.PurposeSignup}, open(), "of that address and purpose alone")
	w.exec(t, `UPDATE challenges SET code_expires_at = now() - interval '59 minutes'`)
	require.Len(t, open(), 1, "ops still want to know that it expired")
	w.exec(t, `UPDATE challenges SET code_expires_at = now() - interval '61 minutes'`)
	require.Empty(t, open())
	w.exec(t, `UPDATE challenges SET code_expires_at = now() + interval '1 minute', superseded_at = now()`)
	require.Empty(t, open())
}
