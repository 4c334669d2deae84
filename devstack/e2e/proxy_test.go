//go:build unix

package e2e_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server on TCP and does to their connections what networks do.
type proxy struct {
	addr string

	mu     sync.Mutex
	target string
	// answers and requests are closed when that direction passes again; nil while it passes.
	answers, requests chan struct{}
	// late is how long each piece of an answer takes.
	late    time.Duration
	refuses bool
	// kept counts the pieces of answers that were kept back.
	kept  int
	conns map[net.Conn]struct{}
	done  chan struct{}
	// generation counts how often connections were stranded; those of an earlier one are lost.
	generation int
}

// startProxy forwards to target until the test ends.
func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String(), target: target, conns: map[net.Conn]struct{}{}, done: make(chan struct{})}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { p.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		close(p.done)
		p.pass()
		p.cut()
		all.Wait()
	})
	return p
}

// mute keeps every answer back from now on: requests still reach the server.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers == nil {
		p.answers = make(chan struct{})
	}
}

// unmute lets answers pass again, those kept back first.
func (p *proxy) unmute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.answers != nil {
		close(p.answers)
		p.answers = nil
	}
}

// keptBack is how many pieces of answers have been kept back so far.
func (p *proxy) keptBack() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept
}

// vanish lets nothing pass either way, and nobody is told: connections are half open, new ones are taken and lead nowhere.
func (p *proxy) vanish() {
	p.mute()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.requests == nil {
		p.requests = make(chan struct{})
	}
}

// delay makes each piece of an answer take so long.
func (p *proxy) delay(by time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late = by
}

// refuse ends every connection, and each new one at once.
func (p *proxy) refuse() {
	p.mu.Lock()
	p.refuses = true
	p.mu.Unlock()
	p.cut()
}

// point leads to another server: connections to the one before are cut.
func (p *proxy) point(target string) {
	p.mu.Lock()
	p.target = target
	p.mu.Unlock()
	p.cut()
}

// pass ends whatever the proxy does to connections. What was kept back passes.
func (p *proxy) pass() {
	p.unmute()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late, p.refuses = 0, false
	if p.requests != nil {
		close(p.requests)
		p.requests = nil
	}
}

// strand loses every connection that there is, and tells neither end: nothing of it passes ever again, while new ones pass.
func (p *proxy) strand() {
	p.mu.Lock()
	p.generation++
	p.mu.Unlock()
	p.pass()
}

// cut ends every connection; what was kept back is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0) // a reset, as of a host that has gone
		}
		_ = conn.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.leave(client)
	p.mu.Lock()
	target, refuses, generation := p.target, p.refuses, p.generation
	p.mu.Unlock()
	if refuses {
		return
	}
	server, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer p.leave(server)
	p.mu.Lock()
	p.conns[client], p.conns[server] = struct{}{}, struct{}{}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.carry(server, client, generation, func() (chan struct{}, time.Duration) { return p.requests, 0 })
		_ = server.Close()
	}()
	p.carry(client, server, generation, func() (chan struct{}, time.Duration) { return p.answers, p.late })
	_ = client.Close()
	<-done
}

// carry copies one direction; held says what keeps it back, under the lock.
func (p *proxy) carry(to io.Writer, from io.Reader, generation int, held func() (until chan struct{}, late time.Duration)) {
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		until, late := held()
		if until != nil && until == p.answers && n > 0 {
			p.kept++
		}
		p.mu.Unlock()
		if until != nil {
			<-until
		}
		if p.stranded(generation) {
			<-p.done
			return
		}
		if late > 0 {
			select {
			case <-time.After(late):
			case <-p.done:
			}
		}
		if _, failed := to.Write(buffer[:n]); failed != nil || err != nil {
			return
		}
	}
}

func (p *proxy) stranded(generation int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return generation < p.generation
}

func (p *proxy) leave(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}
