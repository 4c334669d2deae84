//go:build unix

package e2e_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// proxy stands between a client and a server on TCP and can keep back what the server answers.
type proxy struct {
	addr   string
	target string

	mu    sync.Mutex
	muted chan struct{} // closed when answers pass again; nil while they pass
	conns map[net.Conn]struct{}
}

// startProxy forwards to target until the test ends.
func startProxy(t testing.TB, target string) *proxy {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: listener.Addr().String(), target: target, conns: map[net.Conn]struct{}{}}
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
		p.unmute()
		p.cut()
		all.Wait()
	})
	return p
}

// mute keeps every answer back from now on: requests still reach the server.
func (p *proxy) mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.muted == nil {
		p.muted = make(chan struct{})
	}
}

// unmute lets answers pass again, those kept back first.
func (p *proxy) unmute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.muted != nil {
		close(p.muted)
		p.muted = nil
	}
}

// cut ends every connection; what was kept back is lost.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for conn := range p.conns {
		_ = conn.Close()
	}
}

func (p *proxy) serve(client net.Conn) {
	defer p.leave(client)
	server, err := net.Dial("tcp", p.target)
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
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	_ = p.answers(client, server)
	_ = client.Close()
	<-done
}

func (p *proxy) answers(client, server net.Conn) error {
	buffer := make([]byte, 64<<10)
	for {
		n, err := server.Read(buffer)
		p.mu.Lock()
		muted := p.muted
		p.mu.Unlock()
		if muted != nil {
			<-muted
		}
		if _, failed := client.Write(buffer[:n]); failed != nil || err != nil {
			return errors.Join(failed, err)
		}
	}
}

func (p *proxy) leave(conn net.Conn) {
	_ = conn.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, conn)
}
