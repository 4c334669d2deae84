package api

import (
	"io"
	"net"
	"sync"
	"time"

	"gatehouse/account"
)

// The most that is read, and the longest that is waited, after our side of a connection was closed.
const (
	lingerBytes = 16 << 20
	lingerTime  = time.Second
)

// lingering makes sure that a client which is still sending hears why it was refused. Closing a socket with unread
// bytes resets the connection, and the reset overtakes the 413 that was just written.
type lingering struct {
	net.Listener
}

func (l lingering) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if tcp, ok := conn.(*net.TCPConn); ok {
		return &lingeringConn{TCPConn: tcp}, err
	}
	return conn, err
}

type lingeringConn struct {
	*net.TCPConn

	closing       sync.Once
	reads, writes patience
}

// Read implements net.Conn.
func (c *lingeringConn) Read(b []byte) (int, error) {
	if err := c.reads.place(c.TCPConn.SetReadDeadline); err != nil {
		return 0, err
	}
	return c.TCPConn.Read(b)
}

// Write implements net.Conn.
func (c *lingeringConn) Write(b []byte) (int, error) {
	if err := c.writes.place(c.TCPConn.SetWriteDeadline); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(b)
}

// ReadFrom implements io.ReaderFrom by Write: the socket's own knows nothing of the deadline.
func (c *lingeringConn) ReadFrom(from io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{c}, from) //nolint:wrapcheck // the server looks for what the socket said
}

// Close sends what is left and the end. The rest of what the client says is read for a moment, in the background: a
// shutdown closes many idle connections one after the other.
func (c *lingeringConn) Close() error {
	c.closing.Do(func() {
		if c.CloseWrite() != nil || c.TCPConn.SetReadDeadline(account.SystemClock{}.Now().Add(lingerTime)) != nil {
			_ = c.TCPConn.Close()
			return
		}
		go func() {
			// Whatever ends the reading, closing is what comes next.
			_, _ = io.Copy(io.Discard, io.LimitReader(c.TCPConn, lingerBytes))
			_ = c.TCPConn.Close()
		}()
	})
	return nil
}

// SetReadDeadline implements net.Conn. It never fails: a shutdown closes connections on which a request may just begin, and the
// server takes an error for a bug and panics. The reading or writing fails soon enough.
func (c *lingeringConn) SetReadDeadline(t time.Time) error {
	c.reads.wanted = t
	// What is written before there is an answer, such as 100 Continue or a refusal, must not meet the deadline of the last answer: the
	// server sets the next one after the handler.
	if late := t.Add(writeMargin); c.writes.wanted.Before(late) && !t.IsZero() {
		c.writes.wanted = late
	}
	return nil
}

// SetWriteDeadline is explained at SetReadDeadline.
func (c *lingeringConn) SetWriteDeadline(t time.Time) error {
	c.writes.wanted = t
	return nil
}
