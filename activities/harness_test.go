package activities_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"gatehouse/account"
	"gatehouse/activities"
	"gatehouse/internal/durable"
	"gatehouse/internal/secret"
	"gatehouse/internal/testkit"
	"gatehouse/providers"
	"gatehouse/store"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const ada = "ada@example.com"

var policy = account.Policy{
	CodeTTL: 10 * time.Minute, LinkTTL: 24 * time.Hour, CodeTries: 5, ProofLease: 10 * time.Second, SignupTTL: 30 * time.Minute,
	UnverifiedTTL: 7 * 24 * time.Hour, SessionTTL: 30 * 24 * time.Hour, WelcomeBonus: 100, WelcomeBonusReduced: 50,
}

// post is a provider that keeps what it was handed. Without a fault it takes everything.
type post struct {
	mutex sync.Mutex
	taken []providers.Message
	// fault, when set, is asked after each hand-over: what it returns is what the caller hears.
	fault func() error
}

func (p *post) Name() string { return "post" }

func (p *post) Send(_ context.Context, m providers.Message) (providers.Receipt, error) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.taken = append(p.taken, m)
	if p.fault != nil {
		if err := p.fault(); err != nil {
			return providers.Receipt{}, err
		}
	}
	return providers.Receipt{Provider: "post", ProviderID: "<" + m.ID.String() + ">"}, nil
}

func (p *post) messages() []providers.Message {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return append([]providers.Message(nil), p.taken...)
}

// bench runs activities one by one, as a worker would.
type bench struct {
	*activities.Activities
	post *post
	env  *testsuite.TestActivityEnvironment
	// url is its database, for a test that breaks something there.
	url string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	url := testkit.NewDatabase(t, func(ctx context.Context, url string) error {
		s, err := store.Open(store.Options{URL: url, StatementTimeout: -1})
		if err != nil {
			return err
		}
		_, err = s.Migrate(ctx)
		return errors.Join(err, s.Close())
	}, store.MigrationFingerprint())
	s, err := store.Open(store.Options{URL: url, Pool: 8, Application: "activities-test"})
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	keys, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	p := &post{}
	b := &bench{post: p, url: url, Activities: &activities.Activities{
		Store: s, Keys: keys, Mail: p, Policy: policy, ConfirmURL: "https://gatehouse.example/confirm?from=mail",
		Clock: account.SystemClock{}, Log: slog.New(slog.DiscardHandler),
	}}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(log.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	b.env = suite.NewTestActivityEnvironment()
	b.env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{durable.Interceptor(b.Log)}})
	b.env.SetTestTimeout(time.Minute)
	b.env.RegisterActivity(b.Activities)
	return b
}

// run executes an activity by its method, and returns its error as the flow sees it.
func run[O any](b *bench, method, in any) (O, error) {
	var out O
	value, err := b.env.ExecuteActivity(method, in)
	if err != nil {
		return out, durable.FromTemporal(err)
	}
	return out, value.Get(&out)
}

// twice executes an activity two times, as after a lost completion, and requires both to say the same.
func twice[O any](t *testing.T, b *bench, method, in any) O {
	t.Helper()
	first, err := run[O](b, method, in)
	require.NoError(t, err)
	second, err := run[O](b, method, in)
	require.NoError(t, err)
	require.Equal(t, first, second)
	return first
}

// flow is the id of the flow that the activities run in.
func (b *bench) flow(t *testing.T) string {
	t.Helper()
	b.env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		return activity.GetInfo(ctx).WorkflowExecution.ID, nil
	}, activity.RegisterOptions{Name: "flow", DisableAlreadyRegisteredCheck: true})
	value, err := b.env.ExecuteActivity("flow")
	require.NoError(t, err)
	var id string
	require.NoError(t, value.Get(&id))
	return id
}

func (b *bench) deliveries(t *testing.T) []store.Delivery {
	t.Helper()
	d, err := b.Store.Deliveries(t.Context(), b.flow(t), "", time.Time{})
	require.NoError(t, err)
	return d
}

func (b *bench) park(t *testing.T, kind account.SignupKind, email string, ttl time.Duration) uuid.UUID {
	t.Helper()
	a, _, err := b.Store.OpenSignup(t.Context(), account.SignupAttempt{
		ID: uuid.New(), Kind: kind, Email: email, PasswordHash: "hash",
	}, ttl)
	require.NoError(t, err)
	return a.ID
}

// pending is a sign-up by code whose challenge waits to be sent.
func (b *bench) pending(t *testing.T) (attempt, challenge uuid.UUID) {
	t.Helper()
	attempt, challenge = b.park(t, account.SignupByCode, ada, policy.SignupTTL), uuid.New()
	_, err := run[activities.IssuedCode](b, b.IssueSignupCode, activities.IssueSignupCodeInput{AttemptID: attempt, ChallengeID: challenge})
	require.NoError(t, err)
	return attempt, challenge
}

// newcomer is a registered account.
func (b *bench) newcomer(t *testing.T) activities.SignedUp {
	t.Helper()
	out, err := run[activities.SignedUp](b, b.RegisterAccount, activities.AttemptInput{
		AttemptID: b.park(t, account.SignupByRegister, ada, policy.SignupTTL),
	})
	require.NoError(t, err)
	return out
}

// guess counts a guess of the newest code and says whether it is the right one.
func (b *bench) guess(t *testing.T, purpose account.Purpose, code string) (uuid.UUID, bool) {
	t.Helper()
	c, err := b.Store.CountGuess(t.Context(), store.Guess{
		Purpose: purpose, Subject: b.Keys.Subject(string(purpose), ada), Tries: policy.CodeTries, Lease: policy.ProofLease,
	})
	require.NoError(t, err)
	return c.ID, b.Keys.CodeMatches(c.ID, code, c.CodeHash)
}

func (b *bench) prove(t *testing.T, challenge uuid.UUID) {
	t.Helper()
	require.NoError(t, b.Store.Prove(t.Context(), challenge, store.Guess{Lease: policy.ProofLease}, store.Proof{}))
}
