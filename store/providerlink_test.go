package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

// begun is a link of Google under way, begun by the account's first session.
func (w world) begun(t *testing.T, who store.Signed) store.ProviderClaim {
	t.Helper()
	n := store.NewProviderLink{
		ID: uuid.New(), AccountID: who.AccountID, Starter: who.SessionID, Provider: account.ProviderGoogle, TTL: codeTTL,
	}
	n.StateHash = linkHash(n.ID)
	first, err := w.OpenProviderLink(t.Context(), n)
	require.NoError(t, err)
	again, err := w.OpenProviderLink(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, first, again, "a repetition changes nothing")
	return store.ProviderClaim{StateHash: n.StateHash, Starter: &who.SessionID, Link: google("sub-" + n.ID.String()), Lease: lease}
}

func TestProviderLink_FromStateToLink(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.member(t, ada)
	claim := w.begun(t, who)
	claim.Link.Email, claim.Link.DisplayName = new("ada@gmail.example"), new("Ada")
	id, err := w.ClaimProviderLink(t.Context(), claim)
	require.NoError(t, err)
	for range 2 {
		require.NoError(t, w.FinishProviderLink(t.Context(), id, toldOf(id)))
	}
	w.requireTold(t, who.AccountID, id)
	links := w.links(t, who.AccountID)
	require.Len(t, links, 1)
	require.Equal(t, claim.Link.Subject, links[0].Subject)
	require.Equal(t, claim.Link.Email, links[0].Email)
	require.Zero(t, w.count(t, `provider_links WHERE provider_email IS NOT NULL OR display_name IS NOT NULL`))
	w.exec(t, `UPDATE provider_links SET claimed_at = now() - interval '1 hour'`)
	_, err = w.ClaimProviderLink(t.Context(), claim)
	require.ErrorIs(t, err, account.ErrInvalidState, "a state works once")
	linked, err := w.ProviderLinked(t.Context(), id)
	require.NoError(t, err)
	require.True(t, linked)
	require.NoError(t, w.DropProviderLink(t.Context(), id))
	require.Equal(t, 1, w.count(t, `provider_links`), "a finished link is kept until it is swept")
}

func TestProviderLink_StatesThatAreNotGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who, other := w.member(t, ada), w.member(t, "bob@example.com")
	for name, spoil := range map[string]func(*store.ProviderClaim){
		"guessed":            func(c *store.ProviderClaim) { c.StateHash = linkHash(uuid.New()) },
		"somebody else's":    func(c *store.ProviderClaim) { c.Starter = &other.SessionID },
		"another provider":   func(c *store.ProviderClaim) { c.Link.Provider = account.ProviderGitHub },
		"claimed by another": func(c *store.ProviderClaim) { first := *c; first.Key = "k"; w.mustClaim(t, first) },
		"expired": func(*store.ProviderClaim) {
			w.exec(t, `UPDATE provider_links SET expires_at = now() WHERE linked_at IS NULL AND expires_at > now()`)
		},
		"of a session that ended": func(*store.ProviderClaim) {
			w.exec(t, `UPDATE sessions SET revoked_at = now() WHERE id = $1`, who.SessionID)
		},
	} {
		if name == "of a session that ended" {
			continue // last, below: it spoils the others
		}
		claim := w.begun(t, who)
		spoil(&claim)
		_, err := w.ClaimProviderLink(t.Context(), claim)
		require.ErrorIs(t, err, account.ErrInvalidState, name)
	}
	claim := w.begun(t, who)
	claim.Starter = nil
	w.exec(t, `UPDATE sessions SET revoked_at = now() WHERE id = $1`, who.SessionID)
	_, err := w.ClaimProviderLink(t.Context(), claim)
	require.ErrorIs(t, err, account.ErrInvalidState)
	require.Empty(t, w.links(t, who.AccountID))
	require.ErrorIs(t, w.FinishProviderLink(t.Context(), uuid.New(), toldOf(uuid.New())), account.ErrInvalidState)
}

func (w world) mustClaim(t *testing.T, c store.ProviderClaim) uuid.UUID {
	t.Helper()
	id, err := w.ClaimProviderLink(t.Context(), c)
	require.NoError(t, err)
	return id
}

func TestProviderLink_ClaimsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.member(t, ada)
	claim := w.begun(t, who)
	claim.Key = "key"
	id := w.mustClaim(t, claim)
	require.Equal(t, id, w.mustClaim(t, claim), "the same Idempotency-Key")
	other := claim
	other.Key = ""
	_, err := w.ClaimProviderLink(t.Context(), other)
	require.ErrorIs(t, err, account.ErrInvalidState)
	w.exec(t, `UPDATE provider_links SET claimed_at = now() - interval '11 seconds'`)
	require.Equal(t, id, w.mustClaim(t, other), "whoever claimed first has died")

	taken := w.member(t, "bob@example.com")
	w.link(t, taken.AccountID, claim.Link)
	require.ErrorIs(t, w.FinishProviderLink(t.Context(), id, toldOf(id)), account.ErrProviderConnected)
	require.NoError(t, w.DropProviderLink(t.Context(), id))
	require.Zero(t, w.count(t, "provider_links"))
	_, err = w.OpenProviderLink(t.Context(), store.NewProviderLink{
		ID: uuid.New(), AccountID: w.newcomer(t, "eve@example.com").AccountID, StateHash: []byte("x"), Provider: "google", TTL: time.Hour,
	})
	require.ErrorIs(t, err, account.ErrNotFound, "PRE-03")
}

// OAU-07: of a hundred callbacks with one state, one wins.
func TestRace_ProviderLink_OneCallbackWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.member(t, ada)
	for range *rounds {
		claim := w.begun(t, who)
		errs := race(crowd, func(i int) error {
			mine := claim
			mine.Link.Subject = uuid.NewString()
			if i%2 == 0 {
				mine.Starter = nil
			}
			id, err := w.ClaimProviderLink(t.Context(), mine)
			if err != nil {
				return err
			}
			return w.FinishProviderLink(t.Context(), id, toldOf(id))
		})
		require.Equal(t, 1, winners(t, errs, account.ErrInvalidState))
		require.Len(t, w.links(t, who.AccountID), 1)
		w.exec(t, `DELETE FROM linked_providers`)
	}
}

func TestProviderLink_OfASessionThatEndsBeforeItIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.member(t, ada)
	id, err := w.ClaimProviderLink(t.Context(), w.begun(t, who))
	require.NoError(t, err)
	require.NoError(t, w.RevokeSession(t.Context(), who.AccountID, who.SessionID, "password_reset"))
	require.ErrorIs(t, w.FinishProviderLink(t.Context(), id, toldOf(id)), account.ErrInvalidState)
	require.Empty(t, w.links(t, who.AccountID))
}

// Whoever has finished a link is told so again, however late.
func TestProviderLink_AskedAgainWhenItIsDone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	who := w.member(t, ada)
	claim := w.begun(t, who)
	claim.Key, claim.Link.Email = "key", new("ada@gmail.example")
	id := w.mustClaim(t, claim)
	require.NoError(t, w.FinishProviderLink(t.Context(), id, toldOf(id)))
	w.exec(t, `UPDATE provider_links SET expires_at = now()`)
	require.NoError(t, w.RevokeSession(t.Context(), who.AccountID, who.SessionID, "logout"))
	require.Equal(t, id, w.mustClaim(t, claim))
	require.Zero(t, w.count(t, `provider_links WHERE provider_email IS NOT NULL`), "what the callback said of its owner stays forgotten")
	for name, spoil := range map[string]func(*store.ProviderClaim){
		"another key":     func(c *store.ProviderClaim) { c.Key = "another" },
		"no key":          func(c *store.ProviderClaim) { c.Key = "" },
		"another account": func(c *store.ProviderClaim) { c.Link.Subject = uuid.NewString() },
	} {
		other := claim
		spoil(&other)
		_, err := w.ClaimProviderLink(t.Context(), other)
		require.ErrorIs(t, err, account.ErrInvalidState, name)
	}
}
