package testkit

import (
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// Wire stands between a store and Postgres. It counts what the store asks, as it goes over the connection, can lose the
// answers, and can cut all connections at once.
type Wire struct {
	// Parses counts statements to be parsed, Runs the executions asked for, Turns the waits for an answer.
	Parses, Runs, Turns atomic.Int64
	// Mute loses what Postgres answers.
	Mute atomic.Bool

	listener net.Listener
	server   string

	mutex sync.Mutex
	open  map[net.Conn]bool
	down  bool
	work  sync.WaitGroup
}

// NewWire returns the wire and the URL of the database through it.
func NewWire(t testing.TB, database string) (wire *Wire, through string) {
	t.Helper()
	u, err := url.Parse(database)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &Wire{listener: l, server: u.Host, open: map[net.Conn]bool{}}
	u.Host = l.Addr().String()
	w.work.Go(w.serve)
	t.Cleanup(func() {
		_ = l.Close()
		w.Cut(true)
		w.work.Wait()
	})
	return w, u.String()
}

func (w *Wire) serve() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", w.server)
		if err != nil || !w.keep(client, server) {
			_ = client.Close()
			continue
		}
		w.work.Go(func() { w.relay(client, server) })
	}
}

func (w *Wire) keep(conns ...net.Conn) bool {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, c := range conns {
		if w.down {
			_ = c.Close()
			continue
		}
		w.open[c] = true
	}
	return !w.down
}

// Cut resets every connection; while down, new ones are refused.
func (w *Wire) Cut(down bool) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.down = down
	for c := range w.open {
		if tcp, ok := c.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
		_ = c.Close()
		delete(w.open, c)
	}
}

// Mend lets connections through again.
func (w *Wire) Mend() {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	w.down = false
}

func (w *Wire) relay(client, server net.Conn) {
	w.work.Go(func() {
		_, _ = io.Copy(answers{w, client}, server)
		_ = client.Close()
	})
	defer func() { _ = server.Close() }()
	// The start-up message has no type byte.
	if w.pass(client, server, 0) != nil {
		return
	}
	for w.pass(client, server, 1) == nil {
	}
}

// answers go to a client, unless the wire is mute.
type answers struct {
	wire   *Wire
	client io.Writer
}

func (a answers) Write(p []byte) (int, error) {
	if a.wire.Mute.Load() {
		return len(p), nil
	}
	return a.client.Write(p)
}

// pass hands one message of the client on (PostgreSQL's frontend protocol 3).
func (w *Wire) pass(client io.Reader, server io.Writer, typed int) error {
	head := make([]byte, typed+4)
	if _, err := io.ReadFull(client, head); err != nil {
		return err
	}
	if typed == 1 {
		switch head[0] {
		case 'P':
			w.Parses.Add(1)
		case 'E':
			w.Runs.Add(1)
		case 'S':
			w.Turns.Add(1)
		case 'Q':
			w.Runs.Add(1)
			w.Turns.Add(1)
		}
	}
	if _, err := server.Write(head); err != nil {
		return err
	}
	_, err := io.CopyN(server, client, int64(binary.BigEndian.Uint32(head[typed:]))-4)
	return err
}
