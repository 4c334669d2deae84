package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const grace = 7 * 24 * time.Hour

func (w world) close(t *testing.T, accountID uuid.UUID) uuid.UUID {
	t.Helper()
	id := uuid.New()
	eraseAt, err := w.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: accountID, TokenHash: linkHash(id), Grace: grace})
	require.NoError(t, err)
	require.WithinDuration(t, time.Now(), eraseAt, grace+time.Minute)
	return id
}

// due lets the term of a closure pass.
func (w world) due(t *testing.T, closure uuid.UUID, by string) {
	t.Helper()
	w.exec(t, `UPDATE closures SET erase_at = now() - $2::interval WHERE id = $1`, closure, by)
}

func (w world) linkGoogle(t *testing.T, accountID uuid.UUID, subject string) {
	t.Helper()
	_, err := w.LinkProvider(t.Context(), accountID, account.LinkedProvider{
		Provider: account.ProviderGoogle, Subject: subject, Type: "oauth", Email: new("ada@gmail.example"),
	})
	require.NoError(t, err)
}

func TestCloseAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, ada.AccountID)
	w.linkGoogle(t, ada.AccountID, "g-1")
	key, err := w.CreateAPIKey(t.Context(), account.APIKey{
		ID: uuid.New(), AccountID: &ada.AccountID, Name: "ci", Scopes: []account.Scope{account.ScopeRead},
	}, []byte("key"), 5)
	require.NoError(t, err)
	_, err = w.UseKey(t.Context(), store.KeyUse{KeyID: key.ID, SessionTTL: time.Hour})
	require.NoError(t, err)
	w.exec(t, `INSERT INTO subscriptions (id, account_id, plan_id, status, period_start, period_end)
		VALUES ('sub_1', $1, 'premium_monthly', 'active', now(), now() + interval '1 month')`, ada.AccountID)
	code := w.sent(t, account.PurposeEmail, "ada@example.com", &ada.AccountID)

	id := w.close(t, ada.AccountID)
	_, err = w.PrincipalBySession(t.Context(), ada.SessionID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.PrincipalByKey(t.Context(), []byte("key"), false)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.CredentialsOf(t.Context(), "ada@example.com", "ada")
	require.ErrorIs(t, err, account.ErrNotFound)
	require.Zero(t, w.count(t, `sessions WHERE revoked_at IS NULL`))
	require.Zero(t, w.count(t, `refresh_tokens`))
	require.Zero(t, w.count(t, `linked_providers`))
	require.Equal(t, 1, w.count(t, `challenges WHERE id = $1 AND superseded_at IS NOT NULL`, code.ID))
	require.Equal(t, "active", one[string](t, w, `SELECT status FROM subscriptions`), "its own flow ends it")

	again, err := w.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: ada.AccountID, Grace: 1})
	require.NoError(t, err, "a repetition finds it done")
	require.WithinDuration(t, time.Now().Add(grace), again, time.Minute)
	_, err = w.CloseAccount(t.Context(), store.NewClosure{ID: uuid.New(), AccountID: ada.AccountID, Grace: grace})
	require.ErrorIs(t, err, account.ErrNotFound)

	// Everything is free for somebody else, and opens only what is theirs.
	bob := w.member(t, "ada@example.com")
	w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, bob.AccountID)
	w.linkGoogle(t, bob.AccountID, "g-1")
	cred, err := w.CredentialsOf(t.Context(), "ada@example.com", "ada")
	require.NoError(t, err)
	require.Equal(t, bob.AccountID, cred.AccountID)
	_, err = w.PrincipalByKey(t.Context(), []byte("key"), false)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.requireInvariants(t)
}

func TestReopenAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	w.linkGoogle(t, ada.AccountID, "g-1")
	id := w.close(t, ada.AccountID)
	found, err := w.ClosureByToken(t.Context(), linkHash(id))
	require.NoError(t, err)
	require.Equal(t, store.Closure{ID: id, AccountID: ada.AccountID}, found)
	// A login that was under way.
	late, err := w.CreateSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: ada.AccountID, Method: "password", TTL: time.Hour})
	require.NoError(t, err)

	for _, by := range []string{"first", "second"} {
		require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id, By: []byte(by)}))
	}
	for by, undone := range map[string]bool{"first": true, "second": false} {
		found, err := w.ClosureUndoneBy(t.Context(), []byte(by))
		require.NoError(t, err)
		require.Equal(t, undone, found, "the %s request", by)
	}
	_, err = w.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: ada.AccountID, Grace: grace})
	require.ErrorIs(t, err, account.ErrIdempotencyKeyReused, "its id comes from the key of the request")
	cred, err := w.CredentialsOf(t.Context(), "ada@example.com", "")
	require.NoError(t, err)
	require.Equal(t, "hash of ada@example.com", cred.PasswordHash)
	for _, session := range []uuid.UUID{ada.SessionID, late.ID} {
		_, err = w.PrincipalBySession(t.Context(), session)
		require.ErrorIs(t, err, account.ErrNotFound, "sessions stay dead")
	}
	links, err := w.LinkedProviders(t.Context(), ada.AccountID)
	require.NoError(t, err)
	require.Len(t, links, 1)
	require.Equal(t, "g-1", links[0].Subject)
	_, err = w.ClosureByToken(t.Context(), linkHash(id))
	require.ErrorIs(t, err, account.ErrNotFound, "the link works once")
	_, _, err = w.ClosedRecipients(t.Context(), id)
	require.ErrorIs(t, err, account.ErrNotFound)
	wait, err := w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, wait)
	require.Equal(t, 1, w.count(t, `accounts WHERE email = 'ada@example.com'`), "an undone closure erases nothing")
	w.close(t, ada.AccountID)
	w.requireInvariants(t)
}

func TestReopenAccount_NamesAreTaken(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	w.linkGoogle(t, ada.AccountID, "g-1")
	id := w.close(t, ada.AccountID)
	bob := w.member(t, "ada@example.com")
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}), account.ErrEmailExists, "proven by somebody else")
	require.Equal(t, 1, w.count(t, `accounts WHERE email = 'ada@example.com' AND deleted_at IS NULL`))
	w.exec(t, `UPDATE accounts SET email = 'bob@example.com' WHERE id = $1`, bob.AccountID)
	w.linkGoogle(t, bob.AccountID, "g-1")
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}), "the link works on")
	require.Equal(t, bob.AccountID, one[uuid.UUID](t, w, `SELECT account_id FROM linked_providers`), "the outside account stays where it is")
}

// Whoever registers the address of a closed account without proof keeps nobody from it: the link went to the mailbox (D5).
func TestReopenAccount_UnverifiedSquatterDies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, ada.AccountID)
	id := w.close(t, ada.AccountID)
	eve := w.newcomer(t, "ada@example.com")
	w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, eve.AccountID)
	for range 2 {
		require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}))
	}
	require.Zero(t, w.count(t, `accounts WHERE id = $1`, eve.AccountID))
	require.Zero(t, w.count(t, `sessions WHERE account_id = $1`, eve.AccountID))
	require.Equal(t, 1, w.count(t, `audit_events WHERE account_id = $1 AND name = 'account.purged'`, eve.AccountID))
	require.Equal(t, ada.AccountID, one[uuid.UUID](t, w, `
		SELECT id FROM accounts WHERE email = 'ada@example.com' AND username = 'ada' AND deleted_at IS NULL`), "with the username that the squatter had")
	w.requireInvariants(t)
}

// Conventions 17: an undo restores what is still free, and a public name that is not keeps nobody from the rest.
func TestReopenAccount_WithoutAUsernameThatIsTaken(t *testing.T) {
	t.Parallel()
	for name, take := range map[string]func(t *testing.T, w world){
		"taken": func(t *testing.T, w world) {
			t.Helper()
			w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, w.member(t, "bob@example.com").AccountID)
		},
		"kept for another": func(t *testing.T, w world) {
			t.Helper()
			bob := w.member(t, "bob@example.com")
			for _, name := range []string{"ada", "bob"} {
				_, err := w.ChangeUsername(t.Context(), store.UsernameChange{
					AccountID: bob.AccountID, Username: name, Limit: account.Quota{Max: 2, Per: time.Hour}, Hold: time.Hour,
				})
				require.NoError(t, err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			ada := w.member(t, "ada@example.com")
			w.exec(t, `UPDATE accounts SET username = 'ada' WHERE id = $1`, ada.AccountID)
			id := w.close(t, ada.AccountID)
			take(t, w)
			require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}))
			require.Nil(t, one[*string](t, w, `SELECT username FROM accounts WHERE id = $1 AND deleted_at IS NULL`, ada.AccountID))
			require.Equal(t, 1, w.count(t, `accounts WHERE id = $1 AND email = 'ada@example.com'`, ada.AccountID))
			w.requireInvariants(t)
		})
	}
}

// A username that is being taken while the account is opened again goes to one of the two, and the account is open.
func TestRace_ReopenAgainstItsUsername(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for range *rounds {
		email, name := uuid.NewString()+"@example.com", "u"+uuid.NewString()[:8]
		ada, bob := w.member(t, email), w.member(t, uuid.NewString()+"@example.com")
		w.exec(t, `UPDATE accounts SET username = $2 WHERE id = $1`, ada.AccountID, name)
		id := w.close(t, ada.AccountID)
		errs := race(2, func(i int) error {
			if i == 0 {
				return w.ReopenAccount(t.Context(), store.Undo{ClosureID: id})
			}
			_, err := w.ChangeUsername(t.Context(), store.UsernameChange{
				AccountID: bob.AccountID, Username: name, Limit: account.Quota{Max: 2, Per: time.Hour}, Hold: time.Hour,
			})
			return err
		})
		require.NoError(t, errs[0])
		winners(t, errs, account.ErrUsernameTaken)
		require.Equal(t, 1, w.count(t, `accounts WHERE email = $1 AND deleted_at IS NULL`, email))
		require.Equal(t, 1, w.count(t, `accounts WHERE username = $1 AND deleted_at IS NULL`, name))
	}
	w.requireInvariants(t)
}

func TestLastUndoneClosure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, "ada@example.com").AccountID
	_, err := w.LastUndoneClosure(t.Context(), id)
	require.ErrorIs(t, err, account.ErrNotFound)
	for range 2 {
		closure := w.close(t, id)
		require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: closure}))
		got, err := w.LastUndoneClosure(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, closure, got)
	}
}

func TestReopenAccount_TooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.close(t, w.member(t, "ada@example.com").AccountID)
	w.due(t, id, "0")
	_, err := w.ClosureByToken(t.Context(), linkHash(id))
	require.ErrorIs(t, err, account.ErrNotFound)
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}), account.ErrNotFound)
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: uuid.New()}), account.ErrNotFound)
}

func TestEraseAccount(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const marker = "ada.lovelace"
	ada := w.member(t, marker+"@example.com", fingerprinted(`{"x":"`+marker+`"}`))
	w.exec(t, `UPDATE accounts SET username = $2, full_name = $2, avatar_url = $2, phone_number = '+4915112345678', referral_source = $2,
		audio_usage = $2, user_type = $2, anonymous_id = $2 WHERE id = $1`, ada.AccountID, marker)
	w.exec(t, `UPDATE settings SET timezone = $2 WHERE account_id = $1`, ada.AccountID, marker)
	w.linkGoogle(t, ada.AccountID, marker)
	require.NoError(t, w.RecordRefusal(t.Context(), account.LoginRecord{
		AccountID: ada.AccountID, Method: "password", Outcome: account.LoginWrongPassword, UserAgent: marker,
	}))
	other := w.member(t, "other@example.com")
	for _, owner := range []uuid.UUID{ada.AccountID, other.AccountID} {
		w.message(t, store.NewMessage{
			Flow: "notice/" + owner.String(), Step: "notice", Template: "welcome", Channel: account.ChannelEmail, Destination: marker + "@example.com",
			AccountID: owner, Recipe: store.Recipe{Send: "mail", Input: []byte(`{}`)},
		})
	}
	w.exec(t, `INSERT INTO former_emails VALUES ($1, $2, now() + interval '1 day')`, ada.AccountID, "former."+marker+"@example.com")
	id := w.close(t, ada.AccountID)
	wait, err := w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.InDelta(t, grace, wait, float64(time.Minute))
	to, left, err := w.ClosedRecipients(t.Context(), id)
	require.NoError(t, err)
	require.Equal(t, []string{"former." + marker + "@example.com", marker + "@example.com"}, []string{to[0].Email, to[1].Email})
	require.InDelta(t, grace, left, float64(time.Minute))

	w.due(t, id, "0")
	for range 2 {
		wait, err = w.EraseAccount(t.Context(), id)
		require.NoError(t, err)
		require.Zero(t, wait)
	}
	require.Zero(t, w.count(t, `accounts a LEFT JOIN settings s ON s.account_id = a.id
		LEFT JOIN closures c ON c.account_id = a.id WHERE (a::text || s::text || c::text) ~ $1`, "lovelace|49151"))
	require.Equal(t, 1, w.count(t, `messages WHERE account_id = $1 AND masked_destination = '' AND recipe IS NULL`, ada.AccountID),
		"what was sent is still counted, and nothing says where it went")
	require.Equal(t, 1, w.count(t, `messages WHERE account_id = $1 AND masked_destination <> '' AND recipe IS NOT NULL`, other.AccountID))
	for _, table := range []string{"sessions", "login_history", "linked_providers", "api_keys", "challenges", "onboarding_events", "signup_attempts", "former_emails"} {
		require.Zero(t, w.count(t, table+` WHERE account_id = $1`, ada.AccountID), table)
	}
	require.Equal(t, 100, one[int](t, w, `SELECT sum(amount)::int FROM credit_moves WHERE account_id = $1`, ada.AccountID), "the ledger stays")
	_, err = w.PrincipalBySession(t.Context(), other.SessionID)
	require.NoError(t, err, "nobody else is touched")
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}), account.ErrNotFound)
	w.requireInvariants(t)
}

// An account that nobody has proven leaves at once: there is nobody to send the undo link to.
func TestCloseAccount_Unverified(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed, id := w.newcomer(t, "ada@example.com"), uuid.New()
	_, err := w.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: signed.AccountID, TokenHash: linkHash(id), Grace: grace})
	require.NoError(t, err)
	_, _, err = w.ClosedRecipients(t.Context(), id)
	require.ErrorIs(t, err, account.ErrNotFound)
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: id}), account.ErrNotFound)
	left, err := w.PurgeUnverified(t.Context(), signed.AccountID, time.Hour)
	require.NoError(t, err)
	require.Zero(t, left, "the sign-up has nothing to wait for")
	wait, err := w.EraseAccount(t.Context(), id)
	require.NoError(t, err)
	require.Zero(t, wait)
	require.Zero(t, w.count(t, `accounts WHERE email IS NOT NULL`))
	w.requireInvariants(t)
}

func TestRace_CloseAccount(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for range *rounds {
		ada := w.member(t, uuid.NewString()+"@example.com")
		key, err := w.CreateAPIKey(t.Context(), account.APIKey{
			ID: uuid.New(), AccountID: &ada.AccountID, Name: "ci", Scopes: []account.Scope{account.ScopeRead},
		}, []byte(ada.AccountID.String()), 5)
		require.NoError(t, err)
		errs := race(crowd, func(i int) error {
			if i%4 == 3 {
				// Those who use the account meanwhile must not be in each other's way.
				_, err := w.UseKey(t.Context(), store.KeyUse{KeyID: key.ID, SessionTTL: time.Hour})
				if err == nil {
					err = account.ErrNotFound
				}
				return err
			}
			id := uuid.New()
			_, err := w.CloseAccount(t.Context(), store.NewClosure{ID: id, AccountID: ada.AccountID, TokenHash: linkHash(id), Grace: grace})
			return err
		})
		require.Equal(t, 1, winners(t, errs, account.ErrNotFound))
		require.Equal(t, 1, w.count(t, `closures WHERE account_id = $1`, ada.AccountID))
		require.Zero(t, w.count(t, `sessions WHERE account_id = $1 AND revoked_at IS NULL`, ada.AccountID))
	}
	w.requireInvariants(t)
}

func TestRace_ReopenAgainstErase(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for range *rounds {
		email := uuid.NewString() + "@example.com"
		id := w.close(t, w.member(t, email).AccountID)
		w.exec(t, `UPDATE closures SET erase_at = clock_timestamp() + interval '20 milliseconds' WHERE id = $1`, id)
		errs := race(crowd, func(i int) error {
			if i%2 == 0 {
				return w.ReopenAccount(t.Context(), store.Undo{ClosureID: id})
			}
			_, err := w.EraseAccount(t.Context(), id)
			return err
		})
		winners(t, errs, account.ErrNotFound)
		_, err := w.EraseAccount(t.Context(), id)
		require.NoError(t, err)
		open := w.count(t, `accounts WHERE email = $1 AND deleted_at IS NULL`, email)
		require.Equal(t, open, w.count(t, `closures WHERE id = $1 AND undone_at IS NOT NULL`, id), "open again, or not")
	}
	w.requireInvariants(t)
}

// An account that was closed, opened again and closed anew is erased like any other.
func TestEraseAccountThatWasOpenedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ada := w.member(t, "ada@example.com")
	first := w.close(t, ada.AccountID)
	require.NoError(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: first}))
	second := w.close(t, ada.AccountID)
	w.due(t, second, "1 second")
	wait, err := w.EraseAccount(t.Context(), second)
	require.NoError(t, err)
	require.Zero(t, wait)
	require.Equal(t, 1, w.count(t, `closures WHERE id = $1 AND undone_at IS NOT NULL AND erased_at IS NULL`, first))
	require.Equal(t, 1, w.count(t, `closures WHERE id = $1 AND erased_at IS NOT NULL`, second))
	require.ErrorIs(t, w.ReopenAccount(t.Context(), store.Undo{ClosureID: second}), account.ErrNotFound)
}

func TestSweepErasesWhatItsFlowLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fresh, overdue := w.close(t, w.member(t, "a@example.com").AccountID), w.close(t, w.member(t, "b@example.com").AccountID)
	w.due(t, fresh, "1 day")
	w.due(t, overdue, "49 hours")
	require.NoError(t, w.Sweep(t.Context(), time.Hour))
	require.Equal(t, 1, w.count(t, `closures WHERE id = $1 AND erased_at IS NULL`, fresh), "its flow is about to")
	require.Equal(t, 1, w.count(t, `closures WHERE id = $1 AND erased_at IS NOT NULL`, overdue))
	require.Zero(t, w.count(t, `accounts WHERE email = 'b@example.com'`))
}
