package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// However many ask at once, of whatever kind and for whatever is not there, each gets their own.
func TestPrincipal_ManyAtOnceEachTheirOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const people = 12
	type person struct {
		account, session uuid.UUID
		key              account.APIKey
	}
	all := make([]person, people)
	for i := range all {
		signed := w.member(t, string(rune('a'+i))+"da@example.com")
		all[i] = person{account: signed.AccountID, session: signed.SessionID, key: w.key(t, signed.AccountID)}
		_, err := w.useKey(t, all[i].key)
		require.NoError(t, err)
	}
	errs := race(people*40, func(i int) error {
		who := all[i%people]
		hash := []byte(who.key.ID.String())
		reads := []func(context.Context) (account.Principal, error){
			func(ctx context.Context) (account.Principal, error) { return w.PrincipalBySession(ctx, who.session) },
			func(ctx context.Context) (account.Principal, error) { return w.CallerBySession(ctx, who.session) },
			func(ctx context.Context) (account.Principal, error) { return w.PrincipalByKey(ctx, hash, false) },
			func(ctx context.Context) (account.Principal, error) { return w.CallerByKey(ctx, hash, false) },
		}
		for n, read := range reads {
			p, err := read(t.Context())
			if err != nil {
				return err
			}
			require.Equal(t, who.account, p.Account.ID)
			require.Equal(t, who.account, p.Session.AccountID)
			require.Equal(t, n%2 == 0, p.Wallet != nil, "only who asks for it")
			if n < 2 {
				require.Equal(t, who.session, p.Session.ID)
				require.Nil(t, p.APIKey)
			} else {
				require.Equal(t, who.key.ID, p.APIKey.ID)
			}
			if p.Wallet != nil {
				require.Equal(t, "free", p.Subscription.Plan.Code)
			}
		}
		_, err := w.CallerBySession(t.Context(), uuid.New())
		require.ErrorIs(t, err, account.ErrNotFound)
		_, err = w.PrincipalByKey(t.Context(), []byte("nobody's"), false)
		require.ErrorIs(t, err, account.ErrNotFound)
		return nil
	})
	require.Equal(t, len(errs), winners(t, errs))
}

// A change of the catalogue is seen within a second.
func TestPrincipal_PlansAreHardlyOlderThanASecond(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	_, err := w.PrincipalBySession(t.Context(), signed.SessionID)
	require.NoError(t, err)
	w.exec(t, `UPDATE plans SET name = 'Gratis' WHERE id = 'free'`)
	require.Eventually(t, func() bool {
		p, err := w.PrincipalBySession(t.Context(), signed.SessionID)
		return err == nil && p.Subscription.Plan.Name == "Gratis"
	}, 10*time.Second, 50*time.Millisecond)
}
