//go:build unix

package e2e_test

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/devstack/stacktest"
	"gatehouse/internal/testkit"
)

// gate stands between a process and its database. While it is shut the process may read; whatever would write or lock is kept back.
// So a request that has been let in is on its way for as long as a test likes, and what it has read is old when it goes on.
type gate struct {
	addr, target string

	mu sync.Mutex
	// way is closed when the gate opens again, nil while it is open; stopped are the connections that wait for it.
	way     chan struct{}
	stopped int
	conns   []net.Conn
}

func startGate(t testing.TB, target string) *gate {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	g := &gate{addr: listener.Addr().String(), target: target}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { g.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		g.open()
		g.mu.Lock()
		for _, conn := range g.conns {
			_ = conn.Close()
		}
		g.mu.Unlock()
		all.Wait()
	})
	return g
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.way == nil { // else a test has failed, and those who wait wait for this one
		g.way = make(chan struct{})
	}
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.way != nil {
		close(g.way)
		g.way = nil
	}
}

// waiting is how many connections are kept back.
func (g *gate) waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.stopped
}

func (g *gate) pass() {
	g.mu.Lock()
	way := g.way
	if way == nil {
		g.mu.Unlock()
		return
	}
	g.stopped++
	g.mu.Unlock()
	<-way
	g.mu.Lock()
	g.stopped--
	g.mu.Unlock()
}

func (g *gate) serve(client net.Conn) {
	server, err := net.Dial("tcp", g.target)
	if err != nil {
		_ = client.Close()
		return
	}
	g.mu.Lock()
	g.conns = append(g.conns, client, server)
	g.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	_ = g.forward(server, client)
	_ = server.Close()
	<-done
}

// changes are statements that write, lock, or begin to.
var changes = regexp.MustCompile(`(?i)^\s*begin|\b(insert|update|delete|lock|share)\b|advisory`)

// forward carries what the process says, message by message of the protocol of PostgreSQL.
func (g *gate) forward(server io.Writer, client io.Reader) error {
	const encryption = 80877103 // is asked for first, and refused here
	in := bufio.NewReader(client)
	for code := uint32(encryption); code == encryption; {
		hello, err := message(in, 0)
		if err != nil {
			return err
		}
		code = binary.BigEndian.Uint32(hello[4:])
		if _, err := server.Write(hello); err != nil {
			return err
		}
	}
	prepared := map[string]bool{}
	for {
		m, err := message(in, 1)
		if err != nil {
			return err
		}
		if changing(m, prepared) {
			g.pass()
		}
		if _, err := server.Write(m); err != nil {
			return err
		}
	}
}

// message reads one: kind bytes of its kind, then its length, which counts itself and what follows.
func message(in io.Reader, kind int) ([]byte, error) {
	head := make([]byte, kind+4)
	if _, err := io.ReadFull(in, head); err != nil {
		return nil, err
	}
	m := append(head, make([]byte, binary.BigEndian.Uint32(head[kind:])-4)...)
	_, err := io.ReadFull(in, m[len(head):])
	return m, err
}

// changing says whether a message has the server change something; prepared are the statements that will, by name.
func changing(m []byte, prepared map[string]bool) bool {
	first, rest, _ := bytes.Cut(m[5:], []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch m[0] {
	case 'Q':
		return changes.Match(first)
	case 'P': // a name, a statement
		prepared[string(first)] = changes.Match(second)
	case 'B': // a portal, the name of a statement
		return prepared[string(second)]
	}
	return false
}

// thief holds a session of somebody whose own session ends it.
type thief struct {
	email, account, token string
	// own is the owner's session, link what resets their password; bare says that they have none.
	own, link string
	bare      bool
}

// TestRace_RST03_SES05_OnTheirWay has a session ended while its last requests are on their way: they were let in before, and go on
// after the answer to whoever ended it. What they would have bound to the account is not bound.
func TestRace_RST03_SES05_OnTheirWay(t *testing.T) { //nolint:paralleltest // one arena at a time
	a := startArena(t, quickSends...)
	g := startGate(t, hostOf(t, a.stack.DatabaseURL))
	gated, addr := secondAPI(t)
	where, err := url.Parse(a.stack.DatabaseURL)
	require.NoError(t, err)
	where.Host = g.addr
	gated["DATABASE_URL"], gated["GATEHOUSE_DATABASE_POOL"], gated["GATEHOUSE_REQUEST_TIMEOUT"] = where.String(), "64", "1m"
	third := a.stack.StartAPI(t, gated)
	t.Cleanup(func() { requireCleanLog(t, third) })
	slow := newClient("http://" + addr)
	slow.http.Timeout = 2 * patience
	for name, end := range map[string]func(testing.TB, *arena, thief) answer{
		"Reset":   endByReset,
		"SignOut": endBySignOut,
		"Closure": endByClosure,
	} {
		t.Run(name, func(t *testing.T) {
			for range 1 + stacktest.Rounds(t)/10 { // it is no matter of luck
				onTheirWay(t, a, g, slow, end)
			}
		})
	}
	a.close(t)
}

func endByReset(t testing.TB, a *arena, w thief) answer {
	return a.send(t, call{Path: pathResetPassword, Body: fields{"token": w.link, "new_password": "Owner-Horse-9-battery"}})
}

func endBySignOut(t testing.TB, a *arena, w thief) answer {
	_, claims := opened(t, w.token)
	return a.send(t, call{Method: http.MethodDelete, Path: pathSessions + "/" + fmt.Sprint(claims["sid"]), Token: w.own})
}

func endByClosure(t testing.TB, a *arena, w thief) answer {
	if w.bare {
		return a.send(t, closeWith(w.own, fields{"confirm": true}))
	}
	return a.send(t, closeWith(w.own, fields{"password": password, "confirm": true}))
}

// onTheirWay is one round: a request of each kind by a thief of its own.
func onTheirWay(t *testing.T, a *arena, g *gate, slow *client, end func(testing.TB, *arena, thief) answer) {
	t.Helper()
	binding := bindings()
	names, calls, thieves := make([]string, 0, len(binding)), make([]call, len(binding)), make([]thief, len(binding))
	for name := range binding {
		names = append(names, name)
	}
	const few = 3 // sign-ups are not what is tried
	atOnce(few, func(first int) {
		for i := first; i < len(names); i += few {
			thieves[i], calls[i] = a.steal(t, binding[names[i]])
		}
	})
	if t.Failed() {
		return
	}
	g.shut()
	answers, failures := make([]answer, len(calls)), make([]error, len(calls))
	var sent sync.WaitGroup
	for i := range calls {
		sent.Go(func() { answers[i], failures[i] = slow.try(t.Context(), calls[i]) })
		// One after the other: those that come at once are counted against their limits by one statement.
		testkit.Eventually(t, patience, func() bool { return g.waiting() > i }, names[i]+" to be on its way")
	}
	last := make([]int, len(calls))
	const lastEvent = `SELECT coalesce(max(sequence), 0)::int FROM audit_events WHERE account_id = $1`
	atOnce(len(calls), func(i int) {
		require.True(t, end(t, a, thieves[i]).ok(), names[i])
		testkit.Eventually(t, patience, func() bool { // where the machine is busy its flow may have the last word a little later
			return a.send(t, call{Path: pathMe, Token: thieves[i].token}).Status == http.StatusUnauthorized
		}, "the session to have ended")
		last[i] = a.db.number(t, lastEvent, thieves[i].account)
	})
	g.open()
	sent.Wait()
	stacktest.Called(t, len(calls))
	for i, name := range names {
		require.NoError(t, failures[i], name)
		got, of := answers[i], thieves[i].account
		require.Contains(t, []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden}, got.Status, "%s: %s", name, got.Body)
		require.Empty(t, a.db.texts(t, `SELECT name FROM audit_events WHERE account_id = $1 AND sequence > $2`, of, last[i]), name)
		require.Zero(t, a.db.number(t, `SELECT count(*) FROM api_keys WHERE account_id = $1 AND revoked_at IS NULL AND name <> 'owner'`, of), name)
		require.Zero(t, a.db.number(t, `SELECT count(*) FROM totp_factors WHERE account_id = $1 AND confirmed_at IS NOT NULL`, of), name)
	}
}

// steal makes somebody, with a thief and what that one is about to ask for.
func (a *arena) steal(t *testing.T, ask func(*testing.T, *arena, *thief) call) (thief, call) {
	t.Helper()
	w := thief{email: newEmail()}
	w.own = a.signUp(t, w.email)
	w.account, w.token = a.accountID(t, w.email), a.signedIn(t, w.email, password)
	w.link = a.forgot(t, w.email, 1)
	asked := ask(t, a, &w)
	if w.bare {
		a.db.change(t, `UPDATE accounts SET password_hash = NULL WHERE id = $1`, w.account)
	}
	return w, asked
}

// bindings are the requests that bind something to an account, or take something away that keeps a thief out. What only begins
// something is not among them: a code, or the state of a link, is no use without a session that lives.
func bindings() map[string]func(t *testing.T, a *arena, w *thief) call {
	google := func(t *testing.T, a *arena, w *thief) call {
		return call{Path: pathLinkOAuth, Token: w.token, Body: fields{
			"provider": "GOOGLE", "idToken": a.out.idToken(t, a.oidc.ClientID, uuid.NewString(), w.email),
		}}
	}
	return map[string]func(t *testing.T, a *arena, w *thief) call{
		"API key": func(_ *testing.T, _ *arena, w *thief) call {
			return call{Path: pathAPIKeys, Token: w.token, Body: fields{"name": "ci", "scopes": []string{"account:read", "account:security"}}}
		},
		"C20 another address": func(_ *testing.T, _ *arena, w *thief) call { return moveTo(w.token, newEmail()) },
		"D23 another address": func(_ *testing.T, _ *arena, w *thief) call { return linkTo(w.token, newEmail()) },
		"C02 a password": func(_ *testing.T, _ *arena, w *thief) call {
			w.bare = true
			return call{Path: pathAddPassword, Token: w.token, Body: fields{"password": newPassword}}
		},
		"D04 a password": func(_ *testing.T, _ *arena, w *thief) call {
			w.bare = true
			return call{Path: pathSetPassword, Token: w.token, Body: fields{"newPassword": newPassword, "confirmPassword": newPassword}}
		},
		"A05 another password": func(_ *testing.T, _ *arena, w *thief) call { return change(w.token, password, newPassword) },
		"D07 another password": func(t *testing.T, a *arena, w *thief) call {
			temp, code := a.newOTP(t, w.token, w.email, 1)
			return withOTP(w.token, temp, code, newPassword)
		},
		"D26 Google": google,
		"A06 GitHub": func(_ *testing.T, _ *arena, w *thief) call {
			id := mathrand.IntN(1 << 30)
			return call{Path: pathProviders, Token: w.token, Body: fields{
				"provider": "github", "provider_account_id": strconv.Itoa(id), "access_token": fmt.Sprint("gho_", id),
			}}
		},
		"D25 no address": func(t *testing.T, a *arena, w *thief) call {
			a.want(t, http.StatusOK, google(t, a, w))
			return call{Method: http.MethodDelete, Path: pathLinkEmail, Token: w.token}
		},
		"A08 no Google": func(t *testing.T, a *arena, w *thief) call {
			a.want(t, http.StatusOK, google(t, a, w))
			return call{Method: http.MethodDelete, Path: pathProviders + "/google", Token: w.token}
		},
		"D24 a proven address": func(t *testing.T, a *arena, w *thief) call {
			temp, code := a.link(t, w.token, newEmail())
			return verifyLink(w.token, temp, code)
		},
		"D15 a username": func(_ *testing.T, _ *arena, w *thief) call { return changeUsername(w.token, newUsername()) },
		"B10 an app": func(_ *testing.T, _ *arena, w *thief) call {
			return call{Method: http.MethodPost, Path: pathMFASetup, Token: w.token}
		},
		"B11 an app": func(t *testing.T, a *arena, w *thief) call { return verify(w.token, a.setup(t, w.token).code(t, 0)) },
		"D02 two factors": func(_ *testing.T, _ *arena, w *thief) call {
			return call{Path: pathTwoFactorOn, Token: w.token, Body: fields{"password": password}}
		},
		"D03 no second factor": func(t *testing.T, a *arena, w *thief) call {
			a.want(t, http.StatusOK, call{Path: pathTwoFactorOn, Token: w.token, Body: fields{"password": password}})
			return call{Path: pathTwoFactorOff, Token: w.token, Body: fields{"password": password}}
		},
		"A02 another phone": func(t *testing.T, _ *arena, w *thief) call {
			return call{Method: http.MethodPatch, Path: pathMe, Token: w.token, Body: fields{"phone_number": newNumber(t)}}
		},
		"No API key": func(t *testing.T, a *arena, w *thief) call {
			made := a.want(t, http.StatusCreated, call{Path: pathAPIKeys, Token: w.own, Body: fields{"name": "owner", "scopes": []string{"account:read"}}})
			return call{Method: http.MethodDelete, Path: pathAPIKeys + "/" + made.text(t, "id"), Token: w.token}
		},
		"A04 a phone": func(t *testing.T, a *arena, w *thief) call {
			number := newNumber(t)
			a.sendPhoneCode(t, w.token, number)
			return phoneProof(w.token, number, a.awaitPhoneCode(t, number, 1))
		},
		"A10 other sessions": func(_ *testing.T, _ *arena, w *thief) call {
			return call{Path: pathRevokeSession, Token: w.token, Body: fields{"revoke_all_others": true}}
		},
		"D28 deactivation": func(_ *testing.T, _ *arena, w *thief) call { return deactivate(w.token, fields{"password": password}) },
		"C01 closure": func(_ *testing.T, _ *arena, w *thief) call {
			return closeWith(w.token, fields{"password": password, "confirm": true})
		},
	}
}
