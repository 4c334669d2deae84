package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

// A service key ends once, whoever asks; the log tells it once; and its use is noted now and then.
func TestServiceKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	hash := []byte("hash of a service key")
	k, err := w.CreateAPIKey(t.Context(), account.APIKey{ID: uuid.New(), Name: "backend", Service: true}, hash, 0)
	require.NoError(t, err)
	listed, err := w.ServiceKeys(t.Context())
	require.NoError(t, err)
	require.Len(t, listed, 1)
	require.Equal(t, k.ID, listed[0].ID)
	require.Nil(t, listed[0].LastUsedAt)

	require.NoError(t, w.UseServiceKey(t.Context(), k.ID, time.Minute))
	p, err := w.PrincipalByKey(t.Context(), hash, true)
	require.NoError(t, err)
	used := p.APIKey.LastUsedAt
	require.NotNil(t, used)
	require.NoError(t, w.UseServiceKey(t.Context(), k.ID, time.Minute))
	p, err = w.PrincipalByKey(t.Context(), hash, true)
	require.NoError(t, err)
	require.Equal(t, used, p.APIKey.LastUsedAt, "noted a moment ago")
	require.NoError(t, w.UseServiceKey(t.Context(), k.ID, 0))
	p, err = w.PrincipalByKey(t.Context(), hash, true)
	require.NoError(t, err)
	require.True(t, p.APIKey.LastUsedAt.After(*used))

	errs := race(crowd, func(int) error {
		owner, err := w.RevokeKey(t.Context(), k.ID)
		if err == nil && owner != nil {
			t.Errorf("a service key of account %s", owner)
		}
		return err
	})
	require.Equal(t, 1, winners(t, errs, account.ErrNotFound))
	_, err = w.PrincipalByKey(t.Context(), hash, true)
	require.ErrorIs(t, err, account.ErrNotFound)
	listed, err = w.ServiceKeys(t.Context())
	require.NoError(t, err)
	require.Empty(t, listed)
	_, err = w.RevokeKey(t.Context(), uuid.New())
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Equal(t, []string{"audit.began", "service_key.created", "service_key.revoked"}, w.events(t, uuid.Nil))
}

// An operator's revocation of an account's key is the owner's: the key's session ends with it.
func TestRevokeKeyOfAnAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	k := w.key(t, ada.AccountID)
	_, err := w.useKey(t, k)
	require.NoError(t, err)
	owner, err := w.RevokeKey(t.Context(), k.ID)
	require.NoError(t, err)
	require.Equal(t, ada.AccountID, *owner)
	_, err = w.byKey(t, k)
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Zero(t, w.count(t, `sessions WHERE api_key_id = $1 AND revoked_at IS NULL`, k.ID))
	require.Equal(t, "api_key.revoked", w.events(t, ada.AccountID)[len(w.events(t, ada.AccountID))-1])
}
