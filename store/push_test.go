package store_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const pushLimit = 20

func pushToken(token string) store.PushToken {
	return store.PushToken{ID: uuid.New(), Hash: []byte("hash of " + token), Sealed: []byte("sealed " + token), OS: new("iOS")}
}

func (w world) bind(t *testing.T, token string, to store.Signed) error {
	t.Helper()
	return w.BindPushToken(t.Context(), pushToken(token), to.AccountID, to.SessionID, pushLimit)
}

// reached are the tokens that a notice to an account goes to.
func (w world) reached(t *testing.T, accountID uuid.UUID) (tokens []string) {
	t.Helper()
	ids, err := w.PushTargets(t.Context(), accountID)
	require.NoError(t, err)
	for _, id := range ids {
		target, err := w.PushTarget(t.Context(), id)
		require.NoError(t, err)
		tokens = append(tokens, strings.TrimPrefix(string(target.Sealed), "sealed "))
	}
	return tokens
}

func TestAUT03_PushTokensAreNotMoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	keep := func(token string) { require.NoError(t, w.KeepPushToken(t.Context(), pushToken(token), time.Hour)) }
	keep("t1")
	keep("t1")
	require.Equal(t, 1, w.count(t, "push_tokens WHERE account_id IS NULL"))
	require.Empty(t, w.reached(t, ada.AccountID), "a token of nobody reaches nobody")
	require.NoError(t, w.bind(t, "t1", ada))
	require.NoError(t, w.bind(t, "t1", ada))
	require.ErrorIs(t, w.bind(t, "t1", eve), account.ErrNotFound)
	keep("t1")
	require.Equal(t, []string{"t1"}, w.reached(t, ada.AccountID))
	require.Empty(t, w.reached(t, eve.AccountID))
	require.ErrorIs(t, w.bind(t, "t2", store.Signed{AccountID: uuid.New(), SessionID: ada.SessionID}), account.ErrNotFound)

	// The binding ends with the session that made it; then the device is free for whoever holds it.
	require.NoError(t, w.RevokeSession(t.Context(), ada.AccountID, ada.SessionID, "logout"))
	require.Empty(t, w.reached(t, ada.AccountID))
	keep("t1")
	require.Equal(t, 1, w.count(t, "push_tokens WHERE account_id = $1", ada.AccountID))
	require.NoError(t, w.ChangePushSettings(t.Context(), ada.AccountID, []byte("hash of t1"), []byte(`{"mine":1}`), 100))
	require.NoError(t, w.bind(t, "t1", eve))
	require.Equal(t, []string{"t1"}, w.reached(t, eve.AccountID))
	require.Equal(t, "{}", one[string](t, w, `SELECT settings::text FROM push_tokens`), "nothing of the former owner")
}

func TestPushTokensEndWithTheirAccount(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]string{
		"locked":                 `UPDATE accounts SET is_locked = true WHERE id = $1`,
		"closed":                 `UPDATE accounts SET deleted_at = now() WHERE id = $1`,
		"pending":                `UPDATE sessions SET state = 'pending' WHERE account_id = $1`,
		"expired":                `UPDATE sessions SET expires_at = now() WHERE account_id = $1`,
		"unwanted by settings":   `UPDATE settings SET notify_push = false WHERE account_id = $1`,
		"unwanted by the device": `UPDATE push_tokens SET settings = '{"enabled":false}' WHERE account_id = $1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ada := w.member(t, "ada@example.com")
			require.NoError(t, w.bind(t, "t1", ada))
			ids, err := w.PushTargets(t.Context(), ada.AccountID)
			require.NoError(t, err)
			require.Len(t, ids, 1)
			w.exec(t, end, ada.AccountID)
			require.Empty(t, w.reached(t, ada.AccountID))
			_, err = w.PushTarget(t.Context(), ids[0])
			require.ErrorIs(t, err, account.ErrNotFound)
		})
	}
}

func TestPushSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada, eve := w.member(t, "ada@example.com"), w.member(t, "eve@example.com")
	require.NoError(t, w.bind(t, "t1", ada))
	change := func(of store.Signed, token, settings string) error {
		return w.ChangePushSettings(t.Context(), of.AccountID, []byte("hash of "+token), json.RawMessage(settings), 60)
	}
	require.NoError(t, change(ada, "t1", `{"enabled":true,"quiet":{"from":22}}`))
	require.NoError(t, change(ada, "t1", `{"enabled":false}`))
	require.NoError(t, change(ada, "t1", `{}`))
	require.ErrorIs(t, change(ada, "t1", `{"more":"`+strings.Repeat("x", 60)+`"}`), account.ErrInvalid)
	require.JSONEq(t, `{"enabled":false,"quiet":{"from":22}}`, one[string](t, w, `SELECT settings::text FROM push_tokens`))
	// AUT-05
	require.ErrorIs(t, change(eve, "t1", `{"enabled":true}`), account.ErrNotFound)
	require.ErrorIs(t, change(ada, "t2", `{"enabled":true}`), account.ErrNotFound)
	require.NoError(t, w.KeepPushToken(t.Context(), pushToken("t2"), time.Hour))
	require.ErrorIs(t, change(ada, "t2", `{"enabled":true}`), account.ErrNotFound)
	require.NoError(t, w.bind(t, "t1", ada), "binding again keeps the settings")
	require.Empty(t, w.reached(t, ada.AccountID))
}

func TestPushTokensOfAnAccountAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		ada, name := w.member(t, fmt.Sprintf("user%d@example.com", round)), fmt.Sprintf("round %d, device ", round)
		require.NoError(t, w.bind(t, name+"first", ada))
		errs := race(crowd, func(i int) error { return w.bind(t, name+fmt.Sprint(i), ada) })
		require.Equal(t, crowd, winners(t, errs))
		require.Len(t, w.reached(t, ada.AccountID), pushLimit)
		require.NotContains(t, w.reached(t, ada.AccountID), name+"first")
	}
}

func TestPushRace_OneAccountWinsATokenOfNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const people = 10
	var members []store.Signed
	for i := range people {
		members = append(members, w.member(t, fmt.Sprintf("user%d@example.com", i)))
	}
	for round := range *rounds {
		token := fmt.Sprint("round ", round)
		require.NoError(t, w.KeepPushToken(t.Context(), pushToken(token), time.Hour))
		errs := race(crowd, func(i int) error { return w.bind(t, token, members[i%people]) })
		require.Equal(t, crowd/people, winners(t, errs, account.ErrNotFound))
		require.Equal(t, 1, w.count(t, "push_tokens WHERE token_hash = $1", pushToken(token).Hash))
	}
}

func TestUnboundPushTokensExpire(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	require.NoError(t, w.KeepPushToken(t.Context(), pushToken("t1"), time.Hour))
	require.NoError(t, w.KeepPushToken(t.Context(), pushToken("t2"), 0))
	require.NoError(t, w.KeepPushToken(t.Context(), pushToken("t3"), 0))
	require.NoError(t, w.bind(t, "t3", ada))
	require.NoError(t, w.Sweep(t.Context(), time.Hour))
	require.Equal(t, 2, w.count(t, "push_tokens"))
	require.Equal(t, []string{"t3"}, w.reached(t, ada.AccountID))
}
