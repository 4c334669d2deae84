package store_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"gatehouse/account"
	"gatehouse/internal/testkit"
	"gatehouse/store"
)

// rounds repeats every race: security.md asks for 50, `go test ./store -run Race -rounds 50` gives them.
var rounds = flag.Int("rounds", 2, "how often every race is run")

// crowd is how many calls run at once in a race.
const crowd = 100

func TestMain(m *testing.M) { testkit.Main(leakChecked{m}) }

// leakChecked fails a passing run that leaves goroutines behind.
type leakChecked struct{ testkit.Tests }

func (l leakChecked) Run() int {
	code := l.Tests.Run()
	if code != 0 {
		return code
	}
	// A server that testkit started for this package is still running; it ends after this.
	err := goleak.Find(goleak.IgnoreAnyFunction("os.(*Process).wait"), goleak.IgnoreAnyFunction("os/exec.(*Cmd).Wait"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func migrate(ctx context.Context, url string) error {
	s, err := store.Open(store.Options{URL: url, StatementTimeout: -1})
	if err != nil {
		return err
	}
	_, err = s.Migrate(ctx)
	return errors.Join(err, s.Close())
}

// world is a store on a database of its own, and a way to look and reach behind it.
type world struct {
	*store.Store
	sql *pgxpool.Pool
	url string
}

func newWorld(t *testing.T) world {
	t.Helper()
	return openWorld(t, testkit.NewDatabase(t, migrate, store.MigrationFingerprint()))
}

func openWorld(t *testing.T, url string) world {
	t.Helper()
	w := world{Store: openStore(t, url), url: url}
	var err error
	w.sql, err = pgxpool.New(t.Context(), url)
	require.NoError(t, err)
	t.Cleanup(w.sql.Close)
	return w
}

func openStore(t *testing.T, url string) *store.Store {
	t.Helper()
	// Long, because a loaded machine must not fail a race.
	s, err := store.Open(store.Options{URL: url, Pool: 16, Application: "store-test", StatementTimeout: time.Minute})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// impatient opens the store of w anew on connections that find deadlocks at once, where the server's user may ask for that.
func impatient(t *testing.T, w world) world {
	t.Helper()
	name := w.sql.Config().ConnConfig.Database
	_, _ = w.sql.Exec(t.Context(), `ALTER DATABASE `+name+` SET deadlock_timeout = '20ms'`)
	w.Store = openStore(t, w.url)
	return w
}

// exec changes rows behind the store's back, mostly to move moments into the past: no test waits for time to pass.
func (w world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	tag, err := w.sql.Exec(t.Context(), sql, args...)
	require.NoError(t, err)
	require.NotZero(t, tag.RowsAffected(), "the statement changed nothing: %s", sql)
}

// one reads one value.
func one[T any](t *testing.T, w world, sql string, args ...any) T {
	t.Helper()
	var v T
	require.NoError(t, w.sql.QueryRow(t.Context(), sql, args...).Scan(&v), sql)
	return v
}

func (w world) count(t *testing.T, from string, args ...any) int {
	t.Helper()
	return one[int](t, w, `SELECT count(*)::int FROM `+from, args...)
}

// fewAtOnce refuses any statement that updates or deletes more rows of a table than one of a backlog may.
func (w world) fewAtOnce(t *testing.T, table, event string) {
	t.Helper()
	transition := map[string]string{"UPDATE": "NEW", "DELETE": "OLD"}[event]
	_, err := w.sql.Exec(t.Context(), `CREATE OR REPLACE FUNCTION few_at_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF (SELECT count(*) FROM changed) > 1000 THEN RAISE EXCEPTION 'too many rows at once'; END IF; RETURN NULL; END $$;
		CREATE TRIGGER few_at_once AFTER `+event+` ON `+table+` REFERENCING `+transition+` TABLE AS changed
		FOR EACH STATEMENT EXECUTE FUNCTION few_at_once()`)
	require.NoError(t, err)
}

// race calls fn n times at the same moment and returns what each call returned.
func race(n int, fn func(i int) error) []error {
	start, errs := make(chan struct{}), make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	all.Wait()
	return errs
}

// winners counts the calls that succeeded and fails the test when another one failed for a reason that is not allowed.
func winners(t *testing.T, errs []error, allowed ...error) int {
	t.Helper()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
			continue
		}
		ok := false
		for _, a := range allowed {
			ok = ok || errors.Is(err, a)
		}
		require.True(t, ok, "unexpected failure: %v (%v)", err, errors.Unwrap(err))
	}
	return won
}

// requireInvariants checks what must hold at any moment (security.md I-03, I-07, I-11).
func (w world) requireInvariants(t *testing.T) {
	t.Helper()
	for name, offenders := range map[string]string{
		"I-11 the moves of an account add up to its balance": `credits c WHERE c.balance <>
			(SELECT coalesce(sum(amount), 0) FROM credit_moves m WHERE m.account_id = c.account_id)`,
		"I-11 one bonus each, and only for proven addresses": `accounts a WHERE
			(SELECT count(*) FROM credit_moves m WHERE m.account_id = a.id AND m.key = 'welcome') <> (a.email_verified_at IS NOT NULL)::int`,
		"I-11 a welcome says what was received": `welcomes x WHERE x.received <>
			(SELECT coalesce(sum(amount), 0) FROM credit_moves m WHERE m.account_id = x.account_id AND m.kind = 'welcome')`,
		"I-07 one live account per address": `(SELECT email FROM accounts WHERE deleted_at IS NULL GROUP BY email HAVING count(*) > 1) x`,
		"an account is whole": `accounts a WHERE NOT EXISTS (SELECT 1 FROM settings s WHERE s.account_id = a.id)
			OR NOT EXISTS (SELECT 1 FROM credits c WHERE c.account_id = a.id)
			OR NOT EXISTS (SELECT 1 FROM welcomes x WHERE x.account_id = a.id)`,
		"I-03 at most 5 guesses are compared":                  `challenges WHERE attempts > 5`,
		"a consumed challenge has its result":                  `challenges WHERE consumed_at IS NOT NULL AND result IS NULL`,
		"one live challenge per purpose and subject":           `(SELECT 1 FROM challenges WHERE consumed_at IS NULL AND superseded_at IS NULL GROUP BY purpose, subject HAVING count(*) > 1) x`,
		"a closed sign-up keeps no secret":                     `signup_attempts WHERE closed_at IS NOT NULL AND password_hash <> ''`,
		"a finished sign-up names an account that has existed": `sessions s LEFT JOIN accounts a ON a.id = s.account_id WHERE a.id IS NULL`,
	} {
		require.Zero(t, w.count(t, offenders), name)
	}
	w.requireAudited(t)
}

var bonus = store.Bonus{Full: 100, Reduced: 50}

const (
	sessionTTL = 30 * 24 * time.Hour
	signupTTL  = 30 * time.Minute
	codeTTL    = 10 * time.Minute
	linkTTL    = 24 * time.Hour
	lease      = 10 * time.Second
)

func subject(purpose account.Purpose, email string) []byte {
	sum := sha256.Sum256([]byte(string(purpose) + "/" + email))
	return sum[:]
}

func guessOf(purpose account.Purpose, email, key string) store.Guess {
	return store.Guess{Purpose: purpose, Subject: subject(purpose, email), Tries: 5, Lease: lease, ProofKey: key}
}

func codeHash(id uuid.UUID) []byte { return []byte("code of " + id.String()) }
func linkHash(id uuid.UUID) []byte { return []byte("link of " + id.String()) }

// park opens a sign-up attempt.
func (w world) park(t *testing.T, kind account.SignupKind, email string, change ...func(*account.SignupAttempt)) account.SignupAttempt {
	t.Helper()
	a := account.SignupAttempt{
		ID: uuid.New(), Kind: kind, Email: email, PasswordHash: "hash of " + email,
		Origin: account.Origin{IP: "192.0.2.7", UserAgent: "test"},
	}
	for _, c := range change {
		c(&a)
	}
	a, opened, err := w.OpenSignup(t.Context(), a, signupTTL)
	require.NoError(t, err)
	require.True(t, opened)
	return a
}

// sent issues a challenge whose code has reached the provider.
func (w world) sent(t *testing.T, purpose account.Purpose, email string, accountID *uuid.UUID) account.Challenge {
	t.Helper()
	ch, err := w.send(t.Context(), purpose, email, accountID)
	require.NoError(t, err)
	return ch
}

func (w world) send(ctx context.Context, purpose account.Purpose, email string, accountID *uuid.UUID) (account.Challenge, error) {
	n := store.NewChallenge{
		ID: uuid.New(), Purpose: purpose, Subject: subject(purpose, email), AccountID: accountID,
		Channel: account.ChannelEmail, Destination: email, CodeTTL: codeTTL,
	}
	if purpose == account.PurposeEmail {
		n.LinkTTL = linkTTL
	}
	if ch, err := w.IssueChallenge(ctx, n); err != nil {
		return ch, err
	}
	ch, err := w.StoreCode(ctx, n.ID, codeHash(n.ID), linkHash(n.ID))
	if err != nil {
		return ch, err
	}
	_, err = w.MarkCodeSent(ctx, n.ID, codeTTL, linkTTL)
	return ch, err
}

// proven parks a sign-up by code and proves its code.
func (w world) proven(t *testing.T, email string, change ...func(*account.SignupAttempt)) (account.SignupAttempt, account.Challenge) {
	t.Helper()
	a := w.park(t, account.SignupByCode, email, change...)
	ch := w.sent(t, account.PurposeSignup, email, nil)
	w.prove(t, ch, store.Proof{})
	return a, ch
}

func (w world) prove(t *testing.T, ch account.Challenge, proof store.Proof) {
	t.Helper()
	require.NoError(t, w.Prove(t.Context(), ch.ID, guessOf(ch.Purpose, ch.Destination, ""), proof))
}

// member is a verified account with its first session.
func (w world) member(t *testing.T, email string, change ...func(*account.SignupAttempt)) store.Signed {
	t.Helper()
	_, ch := w.proven(t, email, change...)
	signed, err := w.CompleteSignup(t.Context(), ch.ID, bonus, sessionTTL, "")
	require.NoError(t, err)
	return signed
}

// newcomer is an account whose address is not proven yet.
func (w world) newcomer(t *testing.T, email string, change ...func(*account.SignupAttempt)) store.Signed {
	t.Helper()
	a := w.park(t, account.SignupByRegister, email, change...)
	signed, err := w.Register(t.Context(), store.Registration{Attempt: a.ID, SessionTTL: sessionTTL, Bonus: bonus})
	require.NoError(t, err)
	return signed
}

func named(username string) func(*account.SignupAttempt) {
	return func(a *account.SignupAttempt) { a.Username = &username }
}

func fingerprinted(json string) func(*account.SignupAttempt) {
	return func(a *account.SignupAttempt) { a.Origin.Fingerprint = []byte(json) }
}
