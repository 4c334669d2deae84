package store_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const (
	changePer = 30 * 24 * time.Hour
	hold      = 90 * 24 * time.Hour
)

func renamed(id uuid.UUID, username string) store.UsernameChange {
	return store.UsernameChange{AccountID: id, Username: username, Limit: account.Quota{Max: 1, Per: changePer}, Hold: hold}
}

func (w world) rename(ctx context.Context, id uuid.UUID, username string) error {
	_, err := w.ChangeUsername(ctx, renamed(id, username))
	return err
}

// later lets time pass for what a username's history says.
func (w world) later(t *testing.T, by time.Duration) {
	t.Helper()
	w.exec(t, `UPDATE username_history SET changed_at = changed_at - $1::interval, held_until = held_until - $1::interval`, by.String())
}

func TestChangeUsername(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, "ada@example.com")
	old, err := w.ChangeUsername(t.Context(), renamed(signed.AccountID, "ada"))
	require.NoError(t, err)
	require.Nil(t, old)
	old, err = w.ChangeUsername(t.Context(), renamed(signed.AccountID, "lovelace"))
	require.NoError(t, err, "the first one was free")
	require.Equal(t, "ada", *old)
	require.Equal(t, "lovelace", *w.account(t, signed.SessionID).Username)
	require.Equal(t, "<nil> ada|ada lovelace", one[string](t, w, `
		SELECT string_agg(coalesce(old_username, '<nil>') || ' ' || new_username, '|' ORDER BY id) FROM username_history`))

	require.ErrorIs(t, w.rename(t.Context(), signed.AccountID, "third"), account.ErrUsernameLimit)
	require.ErrorIs(t, w.UsernameChangeable(t.Context(), signed.AccountID, renamed(uuid.Nil, "").Limit), account.ErrUsernameLimit)
	w.later(t, changePer)
	require.NoError(t, w.UsernameChangeable(t.Context(), signed.AccountID, renamed(uuid.Nil, "").Limit))
	require.ErrorIs(t, w.rename(t.Context(), signed.AccountID, "lovelace"), account.ErrUsernameTaken, "it has that one")
	require.NoError(t, w.rename(t.Context(), signed.AccountID, "ada"), "its own former one")

	w.exec(t, `UPDATE accounts SET is_active = false`)
	require.ErrorIs(t, w.rename(t.Context(), signed.AccountID, "x_x"), account.ErrNotFound)
	require.ErrorIs(t, w.rename(t.Context(), uuid.New(), "x_x"), account.ErrNotFound)
}

func TestFormerUsernamesAreKept(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	owner := w.newcomer(t, "owner@example.com", named("famous"))
	other := w.member(t, "other@example.com")
	free := func(names ...string) []string {
		got, err := w.FreeUsernames(t.Context(), names)
		require.NoError(t, err)
		return got
	}
	taken := func() bool {
		got, err := w.UsernameTaken(t.Context(), "famous")
		require.NoError(t, err)
		return got
	}
	require.Equal(t, []string{"a_a", "b_b"}, free("a_a", "famous", "b_b"))
	require.NoError(t, w.rename(t.Context(), owner.AccountID, "renamed"))

	require.Empty(t, free("famous", "renamed"))
	require.True(t, taken())
	require.ErrorIs(t, w.rename(t.Context(), other.AccountID, "famous"), account.ErrUsernameTaken)
	a := w.park(t, account.SignupByRegister, "new@example.com", named("famous"))
	_, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus})
	require.ErrorIs(t, err, account.ErrUsernameTaken, "nor by a registration (B02)")

	w.later(t, hold)
	require.Equal(t, []string{"famous"}, free("famous"))
	require.False(t, taken())
	_, err = w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus})
	require.NoError(t, err)
	require.ErrorIs(t, w.rename(t.Context(), owner.AccountID, "famous"), account.ErrUsernameTaken, "too late for the former owner")
}

// Conventions 17: a closure frees the username at once, and what was kept for the account with it. What another account
// gave up meanwhile is kept for that one.
func TestUsernamesOfClosedAccounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.member(t, "first@example.com")
	second, third := w.member(t, "second@example.com"), w.member(t, "third@example.com")
	require.NoError(t, w.rename(t.Context(), first.AccountID, "oldest"))
	require.NoError(t, w.rename(t.Context(), first.AccountID, "newest"))
	closure := w.close(t, first.AccountID)

	require.NoError(t, w.rename(t.Context(), second.AccountID, "newest"))
	require.NoError(t, w.rename(t.Context(), third.AccountID, "oldest"))
	require.NoError(t, w.rename(t.Context(), second.AccountID, "second"))
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
	require.Nil(t, one[*string](t, w, `SELECT username FROM accounts WHERE id = $1`, first.AccountID), "kept for the one that gave it up last")
	closure = w.close(t, first.AccountID)
	w.exec(t, `UPDATE username_history SET held_until = now() WHERE old_username = 'newest'`)
	w.exec(t, `UPDATE accounts SET username = 'newest' WHERE id = $1`, first.AccountID)
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
	require.Equal(t, "newest", one[string](t, w, `SELECT username FROM accounts WHERE id = $1`, first.AccountID), "kept no longer")
	require.NoError(t, w.rename(t.Context(), third.AccountID, "third"))
	w.later(t, changePer)
	require.NoError(t, w.rename(t.Context(), third.AccountID, "oldest"), "the last to give it up, though the first is back")
}

func TestRace_OneUsernameForAHundred(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	members := make([]store.Signed, crowd)
	attempts := make([]uuid.UUID, crowd)
	for i := range members {
		members[i] = w.member(t, fmt.Sprintf("m%d@example.com", i))
	}
	owner := w.newcomer(t, "owner@example.com", named("famous"))
	for round := range *rounds {
		wanted := fmt.Sprintf("wanted%d", round)
		for i := range attempts {
			attempts[i] = w.park(t, account.SignupByRegister, fmt.Sprintf("r%d-%d@example.com", round, i), named(wanted)).ID
		}
		errs := race(crowd, func(i int) error {
			if i%2 == 0 {
				return w.rename(t.Context(), members[i].AccountID, wanted)
			}
			_, err := w.Register(t.Context(), store.Registration{Attempt: attempts[i], SessionTTL: sessionTTL, Bonus: bonus})
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrUsernameTaken, account.ErrUsernameLimit))
		require.Equal(t, 1, w.count(t, `accounts WHERE username = $1`, wanted))
	}
	// While its owner gives a name up, nobody slips in.
	for round := range *rounds {
		w.exec(t, `UPDATE accounts SET username = 'famous' WHERE id = $1`, owner.AccountID)
		_, err := w.sql.Exec(t.Context(), `DELETE FROM username_history`)
		require.NoError(t, err)
		errs := race(crowd, func(i int) error {
			if i == crowd/2 {
				return w.rename(t.Context(), owner.AccountID, fmt.Sprintf("less_famous%d", round))
			}
			return w.rename(t.Context(), members[i].AccountID, "famous")
		})
		require.NoError(t, errs[crowd/2])
		require.Equal(t, 1, winners(t, errs, account.ErrUsernameTaken))
		require.Zero(t, w.count(t, `accounts WHERE username = 'famous'`))
	}
	w.requireInvariants(t)
}

func TestRace_OneChangeInItsTime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for round := range *rounds {
		signed := w.newcomer(t, fmt.Sprintf("u%d@example.com", round), named(fmt.Sprintf("before%d", round)))
		errs := race(crowd, func(i int) error {
			return w.rename(t.Context(), signed.AccountID, fmt.Sprintf("after%d_%d", round, i))
		})
		require.Equal(t, 1, winners(t, errs, account.ErrUsernameLimit))
		require.Equal(t, 1, w.count(t, `username_history WHERE account_id = $1`, signed.AccountID))
		require.Equal(t, one[string](t, w, `SELECT new_username FROM username_history WHERE account_id = $1`, signed.AccountID),
			*w.account(t, signed.SessionID).Username)
	}
}

// Two that want each other's name are told no, and do not wait for each other.
func TestRace_Swap(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	one, two := w.newcomer(t, "one@example.com", named("name_one")), w.newcomer(t, "two@example.com", named("name_two"))
	var limited atomic.Int64
	errs := race(crowd, func(i int) error {
		id, name := one.AccountID, "name_two"
		if i%2 == 0 {
			id, name = two.AccountID, "name_one"
		}
		err := w.rename(t.Context(), id, name)
		if errors.Is(err, account.ErrUsernameLimit) {
			limited.Add(1)
		}
		return err
	})
	require.Zero(t, winners(t, errs, account.ErrUsernameTaken))
	require.Zero(t, limited.Load())
}

// shown is a member whom others can find.
func (w world) shown(t *testing.T, username, name string) uuid.UUID {
	t.Helper()
	id := w.member(t, username+"@example.com").AccountID
	w.exec(t, `UPDATE accounts SET username = $2, full_name = nullif($3, ''), onboarding_done = true WHERE id = $1`, id, username, name)
	return id
}

func (w world) search(t *testing.T, text string) []string {
	t.Helper()
	found, err := w.SearchCards(t.Context(), text)
	require.NoError(t, err, "%q", text)
	names := make([]string, len(found))
	for i, c := range found {
		names[i] = c.Username
	}
	return names
}

func TestCardsShowOnlyWhoMayBeSeen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.shown(t, "john_doe", "John Doe")
	for username, change := range map[string]string{
		"john_new": "onboarding_done = false", "john_locked": "is_locked = true", "john_off": "is_active = false", "john_gone": "deleted_at = now()",
	} {
		w.exec(t, `UPDATE accounts SET `+change+` WHERE id = $1`, w.shown(t, username, "John Doe"))
	}
	nameless := w.shown(t, "john_less", "John Doe")
	w.exec(t, `UPDATE accounts SET username = NULL WHERE id = $1`, nameless)
	w.exec(t, `UPDATE accounts SET avatar_url = 'https://cdn.example.com/a.png' WHERE id = $1`, id)

	want := account.Card{ID: id, Username: "john_doe", Name: new("John Doe"), AvatarURL: new("https://cdn.example.com/a.png")}
	got, err := w.CardOf(t.Context(), "john_doe")
	require.NoError(t, err)
	require.Equal(t, want, got)
	for _, text := range []string{"john", "doe", "jo"} {
		found, err := w.SearchCards(t.Context(), text)
		require.NoError(t, err)
		require.Equal(t, []account.Card{want}, found, text)
	}
	for _, hidden := range []string{"john_new", "john_locked", "john_off", "john_gone", "john_less", "nobody"} {
		_, err := w.CardOf(t.Context(), hidden)
		require.ErrorIs(t, err, account.ErrNotFound, hidden)
	}
}

func TestSearchRanks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for username, name := range map[string]string{
		"ann": "", "ann_b": "", "annabel": "Zoe", "zed": "Ann Other", "joanna": "", "x_very_long_hannibal": "", "bob": "Susann Miller",
	} {
		w.shown(t, username, name)
	}
	require.Equal(t, []string{"ann", "ann_b", "annabel", "zed", "joanna"}, w.search(t, "ANN")[:5])
	require.ElementsMatch(t, []string{"x_very_long_hannibal", "bob"}, w.search(t, "ann")[5:])
	require.Equal(t, []string{"ann", "ann_b", "annabel", "zed", "bob"}[:3], w.search(t, "an")[:3])
	require.Equal(t, []string{"bob"}, w.search(t, "mi"), "the beginning of a word")
	require.Equal(t, []string{"x_very_long_hannibal"}, w.search(t, "ha"))
	require.Equal(t, []string{"zed"}, w.search(t, "n oth"))
	require.Empty(t, w.search(t, "nobody"))
}

// USR-01: every character stands for itself.
func TestUSR01_SearchIsLiteral(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.shown(t, "plain", "Plain Name")
	w.shown(t, "under_score", `100% \o/ "quoted" 'single' 50$ $1 ? :--`)
	w.shown(t, "accent", "Zoë Ångström Иван Петров")
	for text, want := range map[string][]string{
		"%%": nil, "__": nil, "_": nil, `\`: nil, `_sco`: {"under_score"}, "%": nil, `%\`: nil, "??": nil, "$1": nil, "50$": {"under_score"}, "der_s": {"under_score"}, "derXs": nil, "r_s": nil,
		"100%": {"under_score"}, "under_s": {"under_score"}, "100%%": nil, "1_0%": nil, `\o/ "quoted"`: {"under_score"}, "quoted": {"under_score"}, `"quoted" 'single'`: {"under_score"},
		"'; DROP TABLE accounts; --": nil, "' OR '1'='1": nil, ";--": nil, "plain' --": nil, "pl%in": nil, "pl_in": nil, "zoë": {"accent"},
		"петров": {"accent"}, "ПЕТРОВ": {"accent"}, "@@": nil, "😀😀": nil, "\u202e": nil, strings.Repeat("a", 10_000): nil, strings.Repeat("%", 2000): nil,
		"name": {"plain"}, "a\nb": nil, "{}": nil, "?0": nil, "?1 ?2": nil,
	} {
		got := w.search(t, text)
		if want == nil {
			require.Empty(t, got, "%q", text)
			continue
		}
		require.Equal(t, want, got, "%q", text)
	}
	require.Equal(t, 3, w.count(t, "accounts"))
}

// A search costs an index, however many accounts there are and whatever is looked for (USR-01), and tells at most 100.
func TestUSR01_SearchUsesItsIndexes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.exec(t, `
		INSERT INTO accounts (id, email, username, full_name, onboarding_done, anonymous_id)
		SELECT gen_random_uuid(), 'g' || i || '@example.com', (ARRAY['john', 'maria', 'lee', 'olga', 'tim'])[1 + i % 5] || '_' || substr(md5(i::text), 1, 8),
			initcap(substr(md5(i::text || 'x'), 1, 6)) || ' ' || initcap(substr(md5(i::text || 'y'), 1, 7)), true, repeat('wide', 150)
		FROM generate_series(1, 30000) AS i`)
	w.exec(t, `UPDATE accounts SET full_name = '%% sale' WHERE username LIKE 'tim\_00%'`)
	_, err := w.sql.Exec(t.Context(), `ANALYZE accounts`)
	require.NoError(t, err)
	for _, text := range []string{"jo", "j", "ab", "john_abc", "abcd", "zz", "%%", "__", `\\`, "_z", "z_z", "z.z", "😀😀", "'\"", "n_0", "иван"} {
		query, args := store.SearchQuery(text)
		plan := strings.Join(w.explain(t, query, args), "\n")
		require.NotContains(t, plan, "Seq Scan on accounts", "%q\n%s", text, plan)
		require.Contains(t, plan, "accounts_shown_username_idx", "%q", text)
		require.Contains(t, plan, "accounts_shown_name_idx", "%q", text)
	}
	query, args := store.SearchQuery("john")
	require.Contains(t, strings.Join(w.explain(t, query, args), "\n"), "One-Time Filter", "those who begin with it are enough")
	require.Len(t, w.search(t, "john"), account.MaxFound)
	require.Len(t, w.search(t, "a"), account.MaxFound)
	require.NotEmpty(t, w.search(t, "%%"))
	exact := one[string](t, w, `SELECT username FROM accounts WHERE username LIKE 'olga%' ORDER BY id LIMIT 1`)
	require.Equal(t, exact, w.search(t, exact)[0])
	require.Contains(t, w.search(t, exact[7:]), exact, "a part that few have")
}

func (w world) explain(t *testing.T, query string, args []any) []string {
	t.Helper()
	lines, err := w.Explain(t.Context(), query, args...)
	require.NoError(t, err)
	return lines
}
