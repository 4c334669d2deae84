//go:build unix

package e2e_test

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/machine"
	"gatehouse/internal/postgres"
	"gatehouse/internal/testkit"
)

// back is how long after a fault of the database an API may still refuse.
const back = 5 * time.Second

// lost is how long it may take where connections were lost without a word: a full pool of them is found out one by one, and each
// is given a short good-bye.
const lost = 8 * time.Second

// stays signs somebody up whose session must outlive a fault, and returns a credential that was ended before it.
func (s *system) stays(t *testing.T) (email, token, ended string) {
	t.Helper()
	email = newEmail()
	token = s.signUp(t, email)
	ended = s.signedIn(t, email, password)
	require.True(t, s.send(t, call{Method: http.MethodPost, Path: pathLogout, Token: ended}).ok())
	return email, token, ended
}

// requireBack waits until a session that nobody could end is let in again, within the time given since the fault was mended, and
// one that was ended before is not.
func (s *system) requireBack(t *testing.T, within time.Duration, token, ended string) {
	t.Helper()
	mended := time.Now()
	testkit.Eventually(t, within, func() bool {
		got := s.send(t, call{Path: pathMe, Token: token})
		require.Contains(t, []int{http.StatusOK, http.StatusServiceUnavailable}, got.Status, "%s", got.Body)
		return got.ok()
	}, "the API to reach its database")
	t.Logf("reads got on %s after the fault was mended", time.Since(mended).Round(time.Millisecond))
	require.Equal(t, http.StatusUnauthorized, s.send(t, call{Path: pathMe, Token: ended}).Status)
}

// refusesAll checks that without a database nobody is let in, told that something ended, or told why (I-20, SES-06).
func (s *system) refusesAll(t *testing.T, email, token, ended string) {
	t.Helper()
	testkit.Eventually(t, patience, func() bool {
		return s.send(t, call{Path: pathMe, Token: token}).Status == http.StatusServiceUnavailable
	}, "the database to be gone")
	s.requireUnavailable(t, token, email, "without a database")
	require.Equal(t, http.StatusServiceUnavailable, s.send(t, call{Path: pathMe, Token: ended}).Status)
}

// F-11, SES-06: the database crashes, or is restarted in order, under load.
func TestFault_F11_SES06_PostgresRestarts(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(*postgres.Cluster) error{"immediate": (*postgres.Cluster).Crash, "fast": (*postgres.Cluster).Stop} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{}})
			email, token, ended := s.stays(t)
			s.withstand(t, fault{
				strike:    func() { require.NoError(t, stop(s.stack.Postgres)) },
				meanwhile: func() { s.refusesAll(t, email, token, ended); outage(t) },
				heal: func() {
					s.stack.RestartPostgres(t)
					s.requireBack(t, back, token, ended)
				},
			})
		})
	}
}

// F-13, I-14: the primary is lost and its synchronous standby takes over; the old one stays fenced.
func TestFault_F13_I14_StandbyPromoted(t *testing.T) {
	t.Parallel()
	var p *proxy
	var standby *postgres.Cluster
	s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{}, Change: func(s *stacktest.Stack, env map[string]string) {
		standby = follow(t, s.Postgres)
		p = startProxy(t, machine.LoopbackAddress(s.Postgres.Port))
		s.DatabaseURL = through(t, p, s.DatabaseURL)
		env["DATABASE_URL"] = s.DatabaseURL
	}})
	email, token, ended := s.stays(t)
	s.withstand(t, fault{
		strike: func() {
			p.refuse() // fenced first: whatever it would still say, nobody hears
			s.stack.Postgres.Kill()
		},
		meanwhile: func() { s.refusesAll(t, email, token, ended); outage(t) },
		heal: func() {
			statement(t, standby.URL("postgres"), `SELECT pg_promote()`)
			p.point(machine.LoopbackAddress(standby.Port))
			p.pass()
			s.requireBack(t, back, token, ended)
		},
	})
}

// follow starts a standby without which the primary acknowledges nothing.
func follow(t *testing.T, primary *postgres.Cluster) *postgres.Cluster {
	t.Helper()
	dir := stacktest.NewDir(t)
	require.NoError(t, primary.Backup(t.Context(), dir))
	require.NoError(t, postgres.Signal(dir, "standby.signal"))
	standby, err := postgres.Start(t.Context(), postgres.Options{
		Dir: dir, Durable: true, Settings: []string{"fsync=off", "primary_conninfo=" + primary.URL("postgres")},
	})
	require.NoError(t, err)
	t.Cleanup(standby.Kill)
	testkit.Eventually(t, patience, func() bool {
		return ask(t, primary, `SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'`) == 1
	},
		"the standby to follow")
	statement(t, primary.URL("postgres"), `ALTER SYSTEM SET synchronous_standby_names = '*'`)
	statement(t, primary.URL("postgres"), `SELECT pg_reload_conf()`)
	testkit.Eventually(t, patience, func() bool {
		return ask(t, primary, `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`) == 1
	},
		"the primary to wait for it")
	return standby
}

// statement runs one statement, on a connection of its own.
func statement(t testing.TB, url, text string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), text)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
}

func ask(t testing.TB, c *postgres.Cluster, query string) int {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), c.URL("postgres"))
	require.NoError(t, err)
	var n int
	require.NoError(t, conn.QueryRow(t.Context(), query).Scan(&n))
	require.NoError(t, conn.Close(t.Context()))
	return n
}

// through is a database's URL by way of a proxy.
func through(t testing.TB, p *proxy, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	u.Host = p.addr
	return u.String()
}

// hostOf is the address of a database's server.
func hostOf(t testing.TB, database string) string {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	return u.Host
}

// F-14, SES-06: others hold every connection that the database has.
func TestFault_F14_SES06_NoConnections(t *testing.T) {
	t.Parallel()
	// All roles of the test are the superuser; nothing is kept back for it.
	s := breakable(t, stacktest.Options{OwnPostgres: &postgres.Options{
		MaxConnections: 44, Settings: []string{"superuser_reserved_connections=0"},
	}})
	email, token, ended := s.stays(t)
	h := &hogs{url: stacktest.DatabaseOf(s.stack.Postgres)}
	s.withstand(t, fault{
		strike:    func() { h.takeAll(t) },
		meanwhile: func() { s.refusesAll(t, email, token, ended); outage(t) },
		heal: func() {
			h.leave(t)
			s.requireBack(t, back, token, ended)
		},
	})
	require.True(t, s.send(t, call{Method: http.MethodPost, Path: pathLogout, Token: token}).ok())
	s.want(t, http.StatusUnauthorized, call{Path: pathMe, Token: token})
}

// hogs are sessions that do nothing but exist.
type hogs struct {
	url string
	all sync.WaitGroup
	end context.CancelFunc

	mu   sync.Mutex
	held []*pgx.Conn
}

// takeAll returns when API and worker have no connection any more, and there is none to have. Whatever becomes free is taken, too.
func (h *hogs) takeAll(t testing.TB) {
	t.Helper()
	ctx, end := context.WithCancel(t.Context())
	h.end = end
	boss, err := pgx.Connect(ctx, h.url)
	require.NoError(t, err)
	h.held = append(h.held, boss)
	for range 4 {
		h.all.Go(func() {
			again := time.NewTicker(time.Millisecond)
			defer again.Stop()
			for ctx.Err() == nil {
				if conn, err := pgx.Connect(ctx, h.url); err == nil {
					h.mu.Lock()
					h.held = append(h.held, conn)
					h.mu.Unlock()
				}
				<-again.C
			}
		})
	}
	testkit.Eventually(t, patience, func() bool {
		var ended, left int
		err := boss.QueryRow(ctx, `SELECT count(pg_terminate_backend(pid)) FILTER (WHERE application_name LIKE 'gatehouse%'),
				current_setting('max_connections')::int - count(*) FILTER (WHERE application_name NOT LIKE 'gatehouse%')
			FROM pg_stat_activity WHERE backend_type = 'client backend'`).Scan(&ended, &left)
		require.NoError(t, err)
		return ended == 0 && left == 0
	}, "all connections to be taken")
}

func (h *hogs) leave(t testing.TB) {
	t.Helper()
	h.end()
	h.all.Wait()
	for _, conn := range h.held {
		_ = conn.Close(context.WithoutCancel(t.Context()))
	}
}

// databaseProxy has API and worker reach their database through a proxy; the test does not.
func databaseProxy(t *testing.T) (*system, *proxy) {
	t.Helper()
	var p *proxy
	s := breakable(t, stacktest.Options{Change: func(s *stacktest.Stack, env map[string]string) {
		p = startProxy(t, hostOf(t, s.DatabaseURL))
		env["DATABASE_URL"] = through(t, p, s.DatabaseURL)
	}})
	return s, p
}

// F-16: each statement takes 200 ms. What is more than the database can bear is refused in time; the rest is served.
func TestFault_F16_PostgresSlow(t *testing.T) {
	t.Parallel()
	s, p := databaseProxy(t)
	email, token, _ := s.stays(t)
	const deadline = 5 * time.Second // of the API
	s.withstand(t, fault{
		strike: func() { p.delay(200 * time.Millisecond) },
		meanwhile: func() {
			began := time.Now()
			require.Equal(t, http.StatusOK, s.login(t, email, password).Status, "a login is not too much")
			require.Less(t, time.Since(began), deadline*crowding())
			answers := map[int]int{}
			var mu sync.Mutex
			var all sync.WaitGroup
			for range 600 { // the pool of 16 does 80 a second
				all.Go(func() {
					began := time.Now()
					got := s.send(t, call{Path: pathMe, Token: token})
					took := time.Since(began)
					mu.Lock()
					defer mu.Unlock()
					answers[got.Status]++
					if took > (deadline+2*time.Second)*crowding() { // two for the test's own machine
						t.Errorf("%d took %s", got.Status, took)
					}
					if got.Status != http.StatusOK && got.Header.Get("Retry-After") == "" {
						t.Errorf("%d says not when to come again", got.Status)
					}
				})
			}
			all.Wait()
			t.Logf("answers: %v", answers)
			require.Equal(t, 600, answers[http.StatusOK]+answers[http.StatusServiceUnavailable], "%v", answers)
			require.Greater(t, answers[http.StatusOK], 100)
			outage(t)
		},
		heal: p.pass,
	})
}

// F-29: the network between us and the database swallows everything and tells nobody; when it is back, the connections from
// before are lost for ever, at both ends unknown.
func TestFault_F29_HalfOpen(t *testing.T) {
	t.Parallel()
	s, p := databaseProxy(t)
	email, token, ended := s.stays(t)
	s.withstand(t, fault{
		strike: func() {
			// A full pool: each of its connections will be lost.
			p.delay(100 * time.Millisecond)
			var all sync.WaitGroup
			for range 64 {
				all.Go(func() { s.send(t, call{Path: pathMe, Token: token}) })
			}
			all.Wait()
			p.delay(0)
			p.vanish()
		},
		meanwhile: func() {
			var all sync.WaitGroup
			for _, c := range []call{
				{Path: pathMe, Token: token},
				{Path: pathMe, Token: ended},
				{Method: http.MethodPost, Path: pathLogout, Token: token},
				{Path: pathLogin, Body: fields{"email": email, "password": password}},
			} {
				all.Go(func() {
					began := time.Now()
					if got := s.send(t, c); got.Status != http.StatusServiceUnavailable || time.Since(began) > 7*time.Second*crowding() {
						t.Errorf("%s: %d after %s", c.Path, got.Status, time.Since(began))
					}
				})
			}
			all.Wait()
			outage(t)
		},
		heal: func() {
			p.strand()
			s.requireBack(t, lost, token, ended)
		},
	})
}
