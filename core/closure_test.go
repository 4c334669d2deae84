package core

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// The link of a former address says so, and whoever has one cannot make another of it.
func TestUndoClosure_KnowsTheMailbox(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.member(t, "ann@example.com")
	owner, err := w.Store.OwnerOf(t.Context(), "ann@example.com")
	require.NoError(t, err)
	id := uuid.New()
	_, err = w.Store.CloseAccount(t.Context(), store.NewClosure{
		ID: id, AccountID: owner.AccountID, Grace: time.Hour, TokenHash: w.Keys.TokenHash("undo", w.Keys.LinkToken(id)),
	})
	require.NoError(t, err)
	for former := range store.MostFormer + 1 {
		closed, got, err := w.closureOf(t.Context(), w.Keys.UndoToken(id, former))
		require.NoError(t, err)
		require.Equal(t, store.Closure{ID: id, AccountID: owner.AccountID}, closed)
		require.Equal(t, former, got)
	}
	shared := w.Keys.LinkToken(id)
	for _, token := range []string{shared + ".", shared + ".1", w.Keys.UndoToken(id, 1) + "A", w.Keys.UndoToken(id, store.MostFormer+1), w.Keys.UndoToken(uuid.New(), 1)} {
		_, _, err := w.closureOf(t.Context(), token)
		require.ErrorIs(t, err, account.ErrNotFound)
		_, err = w.UndoClosure(t.Context(), client, UndoClosureInput{Token: token})
		require.ErrorIs(t, err, account.ErrInvalidToken)
	}
}

// An undo without its flow brings the former address back as one with it does.
func TestUndoClosure_ToTheFormerAddress(t *testing.T) {
	t.Parallel()
	url := testkit.NewDatabase(t, migrate, store.MigrationFingerprint())
	w := newWorldAt(t, url)
	w.member(t, "ann@example.com")
	owner, err := w.Store.OwnerOf(t.Context(), "ann@example.com")
	require.NoError(t, err)
	id := uuid.New()
	_, err = w.Store.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: owner.AccountID, Grace: time.Hour, TokenHash: []byte("t")})
	require.NoError(t, err)
	w.member(t, "thief@example.com")
	testkit.Change(t, url, `UPDATE accounts SET email = 'thief@example.com' WHERE id = $1`, owner.AccountID)
	testkit.Change(t, url, `INSERT INTO former_emails (account_id, email, expires_at) VALUES ($1, 'ann@example.com', now())`, owner.AccountID)
	testkit.Change(t, url, `UPDATE closures SET former_emails = '{ann@example.com}' WHERE id = $1`, id)
	closed := store.Closure{ID: id, AccountID: owner.AccountID}
	require.ErrorIs(t, w.reopen(t.Context(), closed, 0, nil), account.ErrEmailExists)
	require.NoError(t, w.reopen(t.Context(), closed, 1, nil))
	again, err := w.Store.OwnerOf(t.Context(), "ann@example.com")
	require.NoError(t, err)
	require.Equal(t, owner, again)
}
