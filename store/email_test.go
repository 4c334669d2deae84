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

const (
	oldMail = "old@example.com"
	newMail = "new@example.com"
)

// moving parks a change of email whose code has reached the new address.
func (w world) moving(t *testing.T, accountID uuid.UUID, to string) account.EmailChange {
	t.Helper()
	e := account.EmailChange{ID: uuid.New(), AccountID: accountID, NewEmail: to}
	require.NoError(t, w.OpenEmailChange(t.Context(), e, linkTTL))
	_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
		ID: e.ID, Purpose: account.PurposeEmailChange, Subject: subject(account.PurposeEmailChange, to), AccountID: &accountID,
		Channel: account.ChannelEmail, Destination: to, CodeTTL: codeTTL, LinkTTL: linkTTL,
	})
	require.NoError(t, err)
	_, err = w.StoreCode(t.Context(), e.ID, codeHash(e.ID), linkHash(e.ID))
	require.NoError(t, err)
	return e
}

func (w world) proveChange(t *testing.T, e account.EmailChange) {
	t.Helper()
	require.NoError(t, w.Prove(t.Context(), e.ID, guessOf(account.PurposeEmailChange, e.NewEmail, ""), store.Proof{}))
}

func TestChangeEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, oldMail)
	stale := w.sent(t, account.PurposeEmail, oldMail, &signed.AccountID)
	e := w.moving(t, signed.AccountID, newMail)
	require.Equal(t, oldMail, *w.account(t, signed.SessionID).Email, "pending until proven")
	_, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.ErrorIs(t, err, account.ErrInvalidCode, "not proven")
	w.proveChange(t, e)
	for range 2 {
		got, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
		require.NoError(t, err)
		require.Equal(t, signed.AccountID, got.AccountID)
	}
	w.requireTold(t, signed.AccountID, e.ID)
	a := w.account(t, signed.SessionID)
	require.Equal(t, newMail, *a.Email)
	require.True(t, a.EmailVerified)
	_, err = w.OwnerOf(t.Context(), oldMail)
	require.ErrorIs(t, err, account.ErrNotFound, "the old address is free")
	require.NotNil(t, one[*time.Time](t, w, `SELECT superseded_at FROM challenges WHERE id = $1`, stale.ID), "what went to the old address is dead")
	kept, err := w.EmailChange(t.Context(), e.ID)
	require.NoError(t, err)
	require.Equal(t, []any{oldMail, newMail, true}, []any{kept.OldEmail, kept.NewEmail, kept.Closed}, "both are still to be told")
	require.NoError(t, w.ForgetEmailChange(t.Context(), e.ID))
	_, err = w.EmailChange(t.Context(), e.ID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err, "the result outlives the change")
	w.requireInvariants(t)
}

func TestChangeEmail_Refused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		spoil string
		want  error
	}{
		"expired":             {`UPDATE email_changes SET expires_at = now()`, account.ErrInvalidCode},
		"closed":              {`UPDATE email_changes SET closed_at = now()`, account.ErrInvalidCode},
		"taken":               {`UPDATE email_changes SET taken = true`, account.ErrInvalidCode},
		"forgotten":           {`DELETE FROM email_changes`, account.ErrInvalidCode},
		"the address changed": {`UPDATE accounts SET email = 'other@example.com'`, account.ErrInvalidCode},
		"locked":              {`UPDATE accounts SET is_locked = true`, account.ErrInvalidCode},
		"deactivated":         {`UPDATE accounts SET is_active = false`, account.ErrInvalidCode},
		"closed account":      {`UPDATE accounts SET deleted_at = now()`, account.ErrInvalidCode},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			e := w.moving(t, w.member(t, oldMail).AccountID, newMail)
			w.proveChange(t, e)
			w.exec(t, test.spoil)
			_, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
			require.ErrorIs(t, err, test.want)
			require.Zero(t, w.count(t, `accounts WHERE email = $1`, newMail))
			require.Zero(t, w.count(t, `challenges WHERE purpose = 'email_change' AND consumed_at IS NOT NULL`))
		})
	}
}

func TestChangeEmail_MeetsOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, oldMail)
	w.newcomer(t, newMail)
	e := w.moving(t, signed.AccountID, newMail)
	w.proveChange(t, e)
	_, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err, "an unproven account of the address dies (D5)")
	require.Equal(t, 1, w.count(t, "accounts"))

	e = w.moving(t, signed.AccountID, "third@example.com")
	w.proveChange(t, e)
	w.member(t, "third@example.com")
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.ErrorIs(t, err, account.ErrEmailExists)
	require.Equal(t, newMail, *w.account(t, signed.SessionID).Email)
	w.requireInvariants(t)
}

// RST-03: whatever shuts somebody out ends the change of email that they may have begun, proven or not; a logout does not.
func TestEmailChange_EndsWithAccess_RST03(t *testing.T) {
	t.Parallel()
	type scene struct {
		world
		t             *testing.T
		me            store.Signed
		mine, another uuid.UUID
	}
	spend := func(use store.Proof) func(scene) error {
		return func(s scene) error {
			return s.spend(s.t.Context(), s.provenFor(s.t, s.me, s.mine, use).ID)
		}
	}
	lives := map[string]bool{"logout": true, "a code that only authenticates": true}
	for name, end := range map[string]func(scene) error{
		"another password": func(s scene) error {
			return s.ChangePassword(s.t.Context(), store.PasswordChange{AccountID: s.me.AccountID, Before: "hash of " + ada, After: "new", Keep: &s.mine})
		},
		"another password, by a key": func(s scene) error {
			return s.ChangePassword(s.t.Context(), store.PasswordChange{AccountID: s.me.AccountID, Before: "hash of " + ada, After: "new"})
		},
		"another password, by a code":    spend(newHash("new")),
		"others, by a code":              spend(store.Proof{Use: store.UseSignOutOthers}),
		"all, by a code":                 spend(store.Proof{Use: store.UseSignOutAll}),
		"a code that only authenticates": spend(store.Proof{Use: store.UseReauthenticate}),
		"others": func(s scene) error {
			_, err := s.RevokeSessions(s.t.Context(), s.me.AccountID, s.mine, "revoked_by_other")
			return err
		},
		"others, when none is left": func(s scene) error {
			for _, id := range []uuid.UUID{s.me.SessionID, s.another} {
				require.NoError(s.t, s.RevokeSession(s.t.Context(), s.me.AccountID, id, "logout"))
			}
			_, err := s.RevokeSessions(s.t.Context(), s.me.AccountID, s.mine, "revoked_by_other")
			return err
		},
		"another session": func(s scene) error {
			return s.DisownSession(s.t.Context(), s.me.AccountID, s.another, "revoked")
		},
		"a session whose refresh token was used twice": func(s scene) error {
			f := s.family(s.t, s.me.AccountID)
			f.good(s.t, 1)
			f.later(s.t)
			_, err := f.rotate(s.t, 1)
			return err
		},
		"a session that guesses": func(s scene) error {
			_, err := s.PasswordGuessed(s.t.Context(), s.another, 1, 1)
			return err
		},
		"a key": func(s scene) error {
			return s.RevokeAPIKey(s.t.Context(), s.me.AccountID, s.key(s.t, s.me.AccountID).ID)
		},
		"logout": func(s scene) error {
			return s.RevokeSession(s.t.Context(), s.me.AccountID, s.another, "logout")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := scene{world: newWorld(t), t: t}
			s.me = s.member(t, ada)
			s.mine, s.another = s.signIn(t, s.me.AccountID), s.signIn(t, s.me.AccountID)
			e := s.moving(t, s.me.AccountID, newMail)
			foreign := s.moving(t, s.member(t, oldMail).AccountID, "else@example.com")
			s.proveChange(t, e)
			s.proveChange(t, foreign)
			require.NoError(t, end(s))
			_, err := s.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
			if lives[name] {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, account.ErrInvalidCode)
				require.Equal(t, ada, one[string](t, s.world, `SELECT email FROM accounts WHERE id = $1`, s.me.AccountID))
				require.Zero(t, s.count(t, `email_changes WHERE account_id = $1 AND closed_at IS NULL`, s.me.AccountID))
				link, _, err := s.ChallengeByLink(t.Context(), account.PurposeEmailChange, linkHash(e.ID), "")
				require.ErrorIs(t, err, account.ErrNotFound, "%v", link)
			}
			_, err = s.ChangeEmail(t.Context(), foreign.ID, toldOf(foreign.ID), grace)
			require.NoError(t, err, "nobody else's")
			s.requireInvariants(t)
		})
	}
}

// Whichever comes first: a change of email begun while others are signed out is begun by a session that lives, or it is none.
func TestRace_EmailChangeAgainstSignOut_RST03(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	for i := range *rounds {
		me := w.member(t, fmt.Sprintf("old%d@example.com", i))
		mine := w.signIn(t, me.AccountID)
		errs := race(crowd, func(n int) error {
			if n == crowd/2 {
				_, err := w.RevokeSessions(t.Context(), me.AccountID, mine, "revoked_by_other")
				return err
			}
			return w.InTx(t.Context(), func(ctx context.Context, tx *store.Store) error {
				if err := tx.HoldSession(ctx, me.AccountID, me.SessionID); err != nil {
					return err
				}
				return tx.OpenEmailChange(ctx, account.EmailChange{
					ID: uuid.New(), AccountID: me.AccountID, NewEmail: fmt.Sprintf("new%d@example.com", n),
				}, linkTTL)
			})
		})
		require.NotZero(t, winners(t, errs, account.ErrNotFound))
		require.Zero(t, w.count(t, `email_changes WHERE account_id = $1 AND closed_at IS NULL`, me.AccountID))
	}
}

func TestOpenEmailChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, oldMail)
	first := w.moving(t, signed.AccountID, newMail)
	again := first
	again.NewEmail = "other@example.com"
	require.NoError(t, w.OpenEmailChange(t.Context(), again, linkTTL), "repeating the id changes nothing")
	open, err := w.OpenEmailChangeOf(t.Context(), signed.AccountID)
	require.NoError(t, err)
	require.Equal(t, []any{first.ID, newMail, oldMail}, []any{open.ID, open.NewEmail, open.OldEmail})
	has, err := w.HasChallenge(t.Context(), account.PurposeEmailChange, subject(account.PurposeEmailChange, newMail))
	require.NoError(t, err)
	require.True(t, has)
	owner, err := w.ChallengeOwner(t.Context(), first.ID)
	require.NoError(t, err)
	require.Equal(t, signed.AccountID, owner)

	second := w.moving(t, signed.AccountID, "second@example.com")
	require.ErrorIs(t, w.Prove(t.Context(), first.ID, guessOf(account.PurposeEmailChange, newMail, ""), store.Proof{}),
		account.ErrNotFound, "the newest only")
	w.proveChange(t, second)
	_, err = w.ChangeEmail(t.Context(), second.ID, toldOf(second.ID), grace)
	require.NoError(t, err)
	_, err = w.OpenEmailChangeOf(t.Context(), signed.AccountID)
	require.ErrorIs(t, err, account.ErrNotFound)

	unproven := w.newcomer(t, "unproven@example.com")
	err = w.OpenEmailChange(t.Context(), account.EmailChange{ID: uuid.New(), AccountID: unproven.AccountID, NewEmail: "x@example.com"}, linkTTL)
	require.ErrorIs(t, err, account.ErrNotFound)
}

func TestRaceOpenEmailChange(t *testing.T) {
	t.Parallel()
	w := impatient(t, newWorld(t))
	signed := w.member(t, oldMail)
	errs := race(crowd, func(i int) error {
		return w.OpenEmailChange(t.Context(), account.EmailChange{
			ID: uuid.New(), AccountID: signed.AccountID, NewEmail: fmt.Sprintf("new%d@example.com", i),
		}, linkTTL)
	})
	require.Equal(t, crowd, winners(t, errs))
	require.Equal(t, 1, w.count(t, `email_changes WHERE closed_at IS NULL`))
}

// Many accounts want one address, and somebody signs up with it: exactly one gets it.
func TestRaceChangeEmail(t *testing.T) {
	t.Parallel()
	for range *rounds {
		w := impatient(t, newWorld(t))
		changes := make([]account.EmailChange, 10)
		for i := range changes {
			changes[i] = w.moving(t, w.member(t, fmt.Sprintf("old%d@example.com", i)).AccountID, newMail)
			w.proveChange(t, changes[i])
			// Each request for an address replaces the code of the one before; here all have been proven in time.
			w.exec(t, `UPDATE challenges SET consumed_at = NULL, superseded_at = NULL, subject = decode(md5(id::text), 'hex') WHERE id = $1`, changes[i].ID)
		}
		_, signup := w.proven(t, newMail)
		errs := race(crowd, func(i int) error {
			if n := i % (len(changes) + 1); n < len(changes) {
				_, err := w.ChangeEmail(t.Context(), changes[n].ID, toldOf(changes[n].ID), grace)
				return err
			}
			_, err := w.CompleteSignup(t.Context(), signup.ID, bonus, sessionTTL, "")
			return err
		})
		require.NotZero(t, winners(t, errs, account.ErrEmailExists, account.ErrInvalidCode, account.ErrUnavailable))
		require.Equal(t, 1, w.count(t, `accounts WHERE email = $1 AND deleted_at IS NULL`, newMail))
		w.requireInvariants(t)
	}
}

func TestUnlinkEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, oldMail)
	id := signed.AccountID
	require.ErrorIs(t, w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace), account.ErrLastProvider, "a password needs a name")
	require.Equal(t, oldMail, *w.account(t, signed.SessionID).Email, "a refusal changes nothing")
	require.Zero(t, w.count(t, "email_changes"))
	w.link(t, id, google("1"))
	e := w.moving(t, id, newMail)
	w.proveChange(t, e)
	stale := w.sent(t, account.PurposeReset, oldMail, &id)
	change := uuid.New()
	require.NoError(t, w.UnlinkEmail(t.Context(), change, id, time.Hour, grace))

	a := w.account(t, signed.SessionID)
	require.Nil(t, a.Email)
	require.False(t, a.EmailVerified)
	require.True(t, a.Proven())
	require.Equal(t, "google", a.PrimaryProvider)
	_, err := w.OwnerOf(t.Context(), oldMail)
	require.ErrorIs(t, err, account.ErrNotFound, "the address is free")
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.ErrorIs(t, err, account.ErrInvalidCode, "what was to replace it is over")
	require.NotNil(t, one[*time.Time](t, w, `SELECT superseded_at FROM challenges WHERE id = $1`, stale.ID))
	kept, err := w.EmailChange(t.Context(), change)
	require.NoError(t, err)
	require.Equal(t, []any{oldMail, "", true}, []any{kept.OldEmail, kept.NewEmail, kept.Closed}, "its owner is still to be told")
	require.ErrorIs(t, w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace), account.ErrNotFound)
	require.ErrorIs(t, w.UnlinkEmail(t.Context(), uuid.New(), uuid.New(), time.Hour, grace), account.ErrNotFound)
	require.ErrorIs(t, w.UnlinkEmail(t.Context(), uuid.New(), w.newcomer(t, newMail).AccountID, time.Hour, grace), account.ErrNotFound, "unproven")

	// It goes on without one: the account is proven, and another address may be linked to it.
	_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGoogle, nil)
	require.ErrorIs(t, err, account.ErrLastProvider)
	w.link(t, id, github("1"))
	e = w.moving(t, id, "third@example.com")
	w.proveChange(t, e)
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
	require.Equal(t, "third@example.com", *w.account(t, signed.SessionID).Email)
	require.NoError(t, w.Sweep(t.Context(), time.Hour))
	w.requireInvariants(t)
}

// D25: the password of an account that has lost its address opens nothing, wherever that comes in between, until it has one again.
func TestUnlinkEmail_EndsThePasswordsWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	w.exec(t, `UPDATE accounts SET username = 'ada'`)
	w.link(t, id, google("1"))
	compared, err := w.CredentialsOf(t.Context(), "", "ada")
	require.NoError(t, err)
	_, err = w.byPassword(t, compared)
	require.NoError(t, err)
	sessions := w.count(t, `sessions`)
	require.NoError(t, w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace))
	_, err = w.byPassword(t, compared)
	require.ErrorIs(t, err, account.ErrNotFound, "it was compared before, and is nothing now")
	require.Equal(t, sessions, w.count(t, `sessions`))
	_, _, err = w.OpenSession(t.Context(), store.NewSession{ID: uuid.New(), AccountID: id, Method: "google", TTL: sessionTTL}, store.Gate{})
	require.NoError(t, err, "an outside account opens it")

	e := w.moving(t, id, newMail)
	w.proveChange(t, e)
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
	_, err = w.byPassword(t, compared)
	require.NoError(t, err, "the same password has a name again")
}

// An address that took the place of another one resets no password for a while.
func TestRecoverableAccount_OfAnAddressThatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, oldMail).AccountID
	e := w.moving(t, id, newMail)
	w.proveChange(t, e)
	_, err := w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
	_, err = w.RecoverableAccount(t.Context(), newMail, 24*time.Hour)
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, `UPDATE accounts SET email_changed_at = now() - interval '24 hours'`)
	got, err := w.RecoverableAccount(t.Context(), newMail, 24*time.Hour)
	require.NoError(t, err)
	require.Equal(t, id, got)
}

// OAU-11: of a hundred who take the address and every outside account away at once, by any route, one way in is left.
func TestRace_OAU11_UnlinkAnything_LeavesOneWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.member(t, ada).AccountID
	for range *rounds {
		_, err := w.sql.Exec(t.Context(), `DELETE FROM linked_providers`)
		require.NoError(t, err)
		w.exec(t, `UPDATE accounts SET email = $1 WHERE id = $2`, ada, id)
		w.link(t, id, google("1"))
		w.link(t, id, github("1"))
		errs := race(crowd, func(i int) error {
			var err error
			switch i % 3 {
			case 0:
				_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGoogle, nil)
			case 1:
				_, err = w.UnlinkProvider(t.Context(), id, account.ProviderGitHub, nil)
			default:
				err = w.UnlinkEmail(t.Context(), uuid.New(), id, time.Hour, grace)
			}
			return err
		})
		for _, err := range errs {
			if err != nil && !errors.Is(err, account.ErrLastProvider) && !errors.Is(err, account.ErrNotFound) {
				t.Error(err)
			}
		}
		require.Equal(t, 1, one[int](t, w, `
			SELECT (SELECT count(*) FROM linked_providers)::int + (email IS NOT NULL AND password_hash IS NOT NULL)::int FROM accounts`))
	}
}

// linking is moving for a link from within the account (D23).
func (w world) linking(t *testing.T, accountID uuid.UUID, to string) account.EmailChange {
	t.Helper()
	e := account.EmailChange{ID: uuid.New(), AccountID: accountID, NewEmail: to, Linking: true}
	require.NoError(t, w.OpenEmailChange(t.Context(), e, 2*codeTTL))
	_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
		ID: e.ID, Purpose: account.PurposeEmailLink, Subject: subject(account.PurposeEmailLink, accountID.String()), AccountID: &accountID,
		Channel: account.ChannelEmail, Destination: to, CodeTTL: codeTTL,
	})
	require.NoError(t, err)
	_, err = w.StoreCode(t.Context(), e.ID, codeHash(e.ID), nil)
	require.NoError(t, err)
	return e
}

// Changes of both kinds replace each other.
func TestLinkingEmail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.member(t, oldMail)
	prove := func(e account.EmailChange) error {
		return w.Prove(t.Context(), e.ID, guessOf(account.PurposeEmailLink, e.AccountID.String(), ""), store.Proof{})
	}
	stale := w.linking(t, signed.AccountID, "first@example.com")
	moved := w.moving(t, signed.AccountID, "second@example.com")
	require.ErrorIs(t, prove(stale), account.ErrNotFound)
	e := w.linking(t, signed.AccountID, newMail)
	require.ErrorIs(t, w.Prove(t.Context(), moved.ID, guessOf(account.PurposeEmailChange, moved.NewEmail, ""), store.Proof{}), account.ErrNotFound)
	open, err := w.OpenEmailChangeOf(t.Context(), signed.AccountID)
	require.NoError(t, err)
	require.True(t, open.Linking)
	require.Equal(t, e.ID, open.ID)
	require.NoError(t, prove(e))
	_, err = w.ChangeEmail(t.Context(), e.ID, toldOf(e.ID), grace)
	require.NoError(t, err)
	require.Equal(t, newMail, *w.account(t, signed.SessionID).Email)
	require.NotNil(t, one[*time.Time](t, w, `SELECT email_changed_at FROM accounts WHERE id = $1`, signed.AccountID))
}
