package store_test

import (
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/store"
)

const ada = "ada@example.com"

func (w world) guess(t *testing.T, key string) error {
	t.Helper()
	_, err := w.CountGuess(t.Context(), guessOf(account.PurposeSignup, ada, key))
	return err
}

func TestIssuedChallenge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposeEmail, Subject: subject(account.PurposeEmail, ada), Channel: account.ChannelEmail,
		Destination: ada, CodeTTL: codeTTL, LinkTTL: linkTTL,
	}
	first, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, codeTTL, first.SendBy.Sub(first.CreatedAt))
	require.Equal(t, codeTTL, first.CodeExpiresAt.Sub(first.CreatedAt))
	require.Equal(t, linkTTL, first.LinkExpiresAt.Sub(first.CreatedAt))
	require.Nil(t, first.SentAt)
	again, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	require.Equal(t, first, again, "the same id changes nothing")
	live, err := w.LiveChallenge(t.Context(), n.Purpose, n.Subject)
	require.NoError(t, err)
	require.Equal(t, first, live)

	exists, err := w.ChallengeExists(t.Context(), n.ID)
	require.NoError(t, err)
	require.True(t, exists)
	exists, err = w.ChallengeExists(t.Context(), uuid.New())
	require.NoError(t, err)
	require.False(t, exists)
	_, err = w.LiveChallenge(t.Context(), account.PurposeSignup, n.Subject)
	require.ErrorIs(t, err, account.ErrNotFound, "another purpose")
	_, err = w.ResultOf(t.Context(), n.ID)
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.MarkCodeSent(t.Context(), uuid.New(), codeTTL, linkTTL)
	require.ErrorIs(t, err, account.ErrNotFound)

	n.ID, n.LinkTTL = uuid.New(), 0
	linkless, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	require.Nil(t, linkless.LinkExpiresAt)
	_, err = w.StoreCode(t.Context(), n.ID, codeHash(n.ID), linkHash(n.ID))
	require.NoError(t, err)
	require.Zero(t, w.count(t, "challenges WHERE token_hash IS NOT NULL"), "a challenge without a link stores no token")
}

func TestLateRepetitionOfAnIssueKillsNoNewerCode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposeSignup, Subject: subject(account.PurposeSignup, ada), Channel: account.ChannelEmail,
		Destination: ada, CodeTTL: codeTTL,
	}
	_, err := w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	newer := w.sent(t, account.PurposeSignup, ada, nil)
	_, err = w.IssueChallenge(t.Context(), n)
	require.NoError(t, err)
	live, err := w.LiveChallenge(t.Context(), account.PurposeSignup, n.Subject)
	require.NoError(t, err)
	require.Equal(t, newer.ID, live.ID)
}

func TestCodeCountsOnceStored(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
		ID: uuid.New(), Purpose: account.PurposeSignup, Subject: subject(account.PurposeSignup, ada), Channel: account.ChannelEmail,
		Destination: ada, CodeTTL: codeTTL,
	})
	require.NoError(t, err)
	require.ErrorIs(t, w.guess(t, ""), account.ErrNotFound, "there is no code to guess yet")
}

func TestOTP09_SupersededCodesAndLinksAreDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.sent(t, account.PurposeEmail, ada, nil)
	newest := w.sent(t, account.PurposeEmail, ada, nil)
	require.NotEqual(t, old.ID, newest.ID)

	_, _, err := w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(old.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound)
	require.ErrorIs(t, w.Prove(t.Context(), old.ID, guessOf(account.PurposeEmail, ada, ""), store.Proof{}), account.ErrNotFound)
	_, err = w.StoreCode(t.Context(), old.ID, codeHash(old.ID), linkHash(old.ID))
	require.ErrorIs(t, err, account.ErrNotFound, "its late delivery is pointless")
	counted, err := w.CountGuess(t.Context(), guessOf(account.PurposeEmail, ada, ""))
	require.NoError(t, err)
	require.Equal(t, newest.ID, counted.ID)
	require.Equal(t, codeHash(newest.ID), counted.CodeHash)
	ch, done, err := w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(newest.ID), "")
	require.NoError(t, err)
	require.Nil(t, done)
	require.Equal(t, newest.ID, ch.ID)
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeSignup, linkHash(newest.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound, "RST-05: the token of another purpose")
}

func TestExpiredCodesAndLinksAreDead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ch := w.sent(t, account.PurposeEmail, ada, nil)
	w.exec(t, `UPDATE challenges SET code_expires_at = now()`)
	_, err := w.CountGuess(t.Context(), guessOf(account.PurposeEmail, ada, ""))
	require.ErrorIs(t, err, account.ErrNotFound)
	_, err = w.LiveChallenge(t.Context(), account.PurposeEmail, subject(account.PurposeEmail, ada))
	require.ErrorIs(t, err, account.ErrNotFound)
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(ch.ID), "")
	require.NoError(t, err, "the link outlives the code")
	w.exec(t, `UPDATE challenges SET link_expires_at = now()`)
	_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(ch.ID), "")
	require.ErrorIs(t, err, account.ErrNotFound)
	w.exec(t, `UPDATE challenges SET send_by = now()`)
	_, err = w.StoreCode(t.Context(), ch.ID, codeHash(ch.ID), linkHash(ch.ID))
	require.ErrorIs(t, err, account.ErrNotFound, "I-02: no code goes out after its time")
}

func TestLifeOfACodeCountsFromTheFirstAcceptance(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ch := w.sent(t, account.PurposeEmail, ada, nil)
	w.exec(t, `UPDATE challenges SET created_at = created_at - interval '5 minutes', sent_at = NULL,
		code_expires_at = code_expires_at - interval '5 minutes', link_expires_at = link_expires_at - interval '5 minutes'`)
	accepted, err := w.MarkCodeSent(t.Context(), ch.ID, codeTTL, linkTTL)
	require.NoError(t, err)
	require.WithinDuration(t, one[time.Time](t, w, "SELECT now()").Add(codeTTL), accepted, time.Minute, "not from the making")
	require.Equal(t, 1, w.count(t, "challenges WHERE link_expires_at = sent_at + interval '24 hours'"))

	w.exec(t, `UPDATE challenges SET sent_at = sent_at - interval '3 minutes', code_expires_at = code_expires_at - interval '3 minutes'`)
	repeated, err := w.MarkCodeSent(t.Context(), ch.ID, codeTTL, linkTTL)
	require.NoError(t, err)
	require.Equal(t, accepted.Add(-3*time.Minute), repeated, "a second acceptance gives no more time")
	require.Equal(t, 1, w.count(t, "challenges WHERE code_expires_at = sent_at + interval '10 minutes'"), "and is not the first")
}

func TestOTP01_SixthGuessIsNotCompared(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ch := w.sent(t, account.PurposeSignup, ada, nil)
	for range 5 {
		require.NoError(t, w.guess(t, ""))
	}
	require.ErrorIs(t, w.guess(t, ""), account.ErrNotFound)
	require.Equal(t, 5, one[int](t, w, "SELECT attempts FROM challenges"))
	w.sent(t, account.PurposeSignup, ada, nil)
	require.NoError(t, w.guess(t, ""), "a new code has its own tries")
	require.Equal(t, 5, one[int](t, w, "SELECT attempts FROM challenges WHERE id = $1", ch.ID))
}

func TestOTP02_ParallelGuessesRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		ch := w.sent(t, account.PurposeSignup, ada, nil)
		errs := race(crowd, func(int) error { return w.guess(t, "") })
		require.Equal(t, 5, winners(t, errs, account.ErrNotFound))
		require.Equal(t, 5, one[int](t, w, "SELECT attempts FROM challenges WHERE id = $1", ch.ID))
	}
}

func TestOTP02_GuessesWhileCodesAreReplacedRace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		w.sent(t, account.PurposeSignup, ada, nil)
		var compared atomic.Int64
		errs := race(crowd, func(i int) error {
			if i%20 == 0 {
				_, err := w.send(t.Context(), account.PurposeSignup, ada, nil)
				return err
			}
			err := w.guess(t, "")
			if err == nil {
				compared.Add(1)
			}
			return err
		})
		winners(t, errs, account.ErrNotFound)
		require.Equal(t, int(compared.Load()), one[int](t, w, "SELECT sum(attempts)::int FROM challenges"))
		w.requireInvariants(t)
		w.exec(t, "DELETE FROM challenges")
	}
}

func TestOTP03_ProveRaceHasOneWinner(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, key := range map[string]func(i int) string{
		"without keys":   func(int) string { return "" },
		"with their own": func(i int) string { return "key " + strconv.Itoa(i) },
	} {
		for range *rounds {
			ch := w.sent(t, account.PurposeSignup, ada, nil)
			errs := race(crowd, func(i int) error {
				return w.Prove(t.Context(), ch.ID, guessOf(account.PurposeSignup, ada, key(i)), store.Proof{})
			})
			require.Equal(t, 1, winners(t, errs, account.ErrNotFound), name)
		}
	}
}

func TestProofBelongsToItsKeyUntilTheLeaseEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ch := w.sent(t, account.PurposeSignup, ada, nil)
	prove := func(key string) error {
		return w.Prove(t.Context(), ch.ID, guessOf(account.PurposeSignup, ada, key), store.Proof{})
	}
	require.NoError(t, prove("mine"))
	require.NoError(t, prove("mine"), "a retry with the same Idempotency-Key")
	require.ErrorIs(t, prove("other"), account.ErrNotFound)
	require.ErrorIs(t, w.guess(t, "other"), account.ErrNotFound, "a proven code is not guessed on")
	require.NoError(t, w.guess(t, "mine"))

	w.exec(t, `UPDATE challenges SET proven_at = proven_at - interval '11 seconds'`)
	require.NoError(t, w.guess(t, "other"))
	require.NoError(t, prove("other"), "its change never came")
	require.ErrorIs(t, prove("mine"), account.ErrNotFound)
}

func TestSpentCodeRepeatsItsResultForItsKeyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.park(t, account.SignupByCode, ada)
	ch := w.sent(t, account.PurposeSignup, ada, nil)
	// The right code came with the last try.
	for range 5 {
		require.NoError(t, w.guess(t, "mine"))
	}
	require.NoError(t, w.Prove(t.Context(), ch.ID, guessOf(account.PurposeSignup, ada, "mine"), store.Proof{}))
	signed, err := w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
	require.NoError(t, err)

	counted, err := w.OwnProof(t.Context(), guessOf(account.PurposeSignup, ada, "mine"))
	require.NoError(t, err, "I-15: the answer was lost, and the retry converges")
	require.Equal(t, ch.ID, counted.ID)
	require.Equal(t, codeHash(ch.ID), counted.CodeHash)
	require.Equal(t, signed.AccountID, counted.Done.AccountID)
	require.Equal(t, signed.SessionID, counted.Done.SessionID)
	kept, err := w.ResultOf(t.Context(), ch.ID)
	require.NoError(t, err)
	require.Equal(t, *counted.Done, kept)
	again := func(key string) error {
		return w.Prove(t.Context(), ch.ID, guessOf(account.PurposeSignup, ada, key), store.Proof{})
	}
	require.NoError(t, again("mine"), "it may have looked just before the change was made")
	for _, key := range []string{"", "other"} {
		require.ErrorIs(t, again(key), account.ErrNotFound, "%q", key)
		require.ErrorIs(t, w.guess(t, key), account.ErrNotFound, "OTP-05: %q", key)
		_, err = w.OwnProof(t.Context(), guessOf(account.PurposeSignup, ada, key))
		require.ErrorIs(t, err, account.ErrNotFound, "%q", key)
	}
	require.ErrorIs(t, w.guess(t, "mine"), account.ErrNotFound, "no sixth guess for anybody")
}

func TestOwnProof(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := func() error {
		_, err := w.OwnProof(t.Context(), guessOf(account.PurposeSignup, ada, "mine"))
		return err
	}
	ch := w.sent(t, account.PurposeSignup, ada, nil)
	require.ErrorIs(t, own(), account.ErrNotFound, "not proven")
	require.NoError(t, w.Prove(t.Context(), ch.ID, guessOf(account.PurposeSignup, ada, "mine"), store.Proof{}))
	require.NoError(t, own())
	w.exec(t, `UPDATE challenges SET code_expires_at = now()`)
	require.ErrorIs(t, own(), account.ErrNotFound, "expired before its change")
	w.exec(t, `UPDATE challenges SET code_expires_at = now() + interval '1 minute'`)
	w.sent(t, account.PurposeSignup, ada, nil)
	require.ErrorIs(t, own(), account.ErrNotFound, "superseded")
}

func TestSpentLinkRepeatsItsResultForItsKeyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	signed := w.newcomer(t, ada)
	ch := w.sent(t, account.PurposeEmail, ada, &signed.AccountID)
	require.NoError(t, w.Prove(t.Context(), ch.ID, guessOf(account.PurposeEmail, ada, "mine"), store.Proof{}))
	result, err := w.ConfirmEmail(t.Context(), ch.ID, bonus)
	require.NoError(t, err)

	_, done, err := w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(ch.ID), "mine")
	require.NoError(t, err)
	require.Equal(t, &result, done)
	for _, key := range []string{"", "other"} {
		_, _, err = w.ChallengeByLink(t.Context(), account.PurposeEmail, linkHash(ch.ID), key)
		require.ErrorIs(t, err, account.ErrNotFound, "%q", key)
	}
}

func TestIssueChallengeRaceLeavesOneLive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range *rounds {
		same := uuid.New()
		errs := race(crowd, func(i int) error {
			id := same
			if i%2 == 0 {
				id = uuid.New()
			}
			_, err := w.IssueChallenge(t.Context(), store.NewChallenge{
				ID: id, Purpose: account.PurposeSignup, Subject: subject(account.PurposeSignup, ada),
				Channel: account.ChannelEmail, Destination: ada, CodeTTL: codeTTL,
			})
			return err
		})
		require.Equal(t, crowd, winners(t, errs))
		w.requireInvariants(t)
		require.Equal(t, 1, w.count(t, "challenges WHERE superseded_at IS NULL"))
	}
}
