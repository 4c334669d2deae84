package store_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

func TestOwedNotices(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	owed := func(since time.Duration, atMost int) []account.Notice {
		t.Helper()
		notices, err := w.OwedNotices(t.Context(), since, atMost)
		require.NoError(t, err)
		return notices
	}
	first := account.Notice{
		ID: "notice/1", AccountID: owner, Template: "password_changed_sms", Challenge: uuid.New(), Channel: account.ChannelSMS,
	}
	second := account.Notice{ID: "notice/2", AccountID: owner, Template: "email_unlinked", EmailChange: uuid.New()}
	for _, n := range []account.Notice{first, second, first} {
		require.NoError(t, w.OweNotice(t.Context(), n))
	}
	require.Empty(t, owed(5*time.Second, 10), "it is its process's to start for a while")
	w.exec(t, `UPDATE owed_notices SET created_at = created_at - interval '6 seconds'`)
	require.Equal(t, []account.Notice{first, second}, owed(5*time.Second, 10))
	require.Equal(t, []account.Notice{first}, owed(0, 1))
	for range 2 {
		require.NoError(t, w.NoticeStarted(t.Context(), first.ID))
	}
	require.Equal(t, []account.Notice{second}, owed(0, 10))

	stop := errors.New("stop")
	err := w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
		require.NoError(t, tx.OweNotice(ctx, first))
		return stop
	})
	require.ErrorIs(t, err, stop)
	require.Equal(t, []account.Notice{second}, owed(0, 10), "what did not happen is not told")
	w.exec(t, `DELETE FROM accounts WHERE id = $1`, owner)
	require.Empty(t, owed(0, 10))
}

// toldOf is the notice of a change.
func toldOf(change uuid.UUID) account.Notice {
	return account.Notice{ID: "notice/" + change.String(), Template: "password_changed"}
}

// requireTold requires that the notice of a change is owed to the owner, and nothing else is.
func (w world) requireTold(t *testing.T, owner, change uuid.UUID) {
	t.Helper()
	owed, err := w.OwedNotices(t.Context(), 0, 10)
	require.NoError(t, err)
	n := toldOf(change)
	n.AccountID = owner
	require.Equal(t, []account.Notice{n}, owed)
}

func TestOwedNoticeRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.member(t, ada).AccountID
	for round := range *rounds {
		n := account.Notice{ID: fmt.Sprint("notice/", round), AccountID: owner, Template: "password_changed"}
		require.Equal(t, crowd, winners(t, race(crowd, func(int) error { return w.OweNotice(t.Context(), n) })))
		require.Equal(t, round+1, w.count(t, "owed_notices"))
	}
}
