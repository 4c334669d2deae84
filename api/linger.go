package api

import (
	"errors"
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

	closing sync.Once
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

// SetReadDeadline and SetWriteDeadline of a closed connection do nothing: the server takes an error of theirs for a bug and
// panics, yet a shutdown closes connections on which a request may just begin. Its reading or writing fails soon enough.
func (c *lingeringConn) SetReadDeadline(t time.Time) error {
	return unlessClosed(c.TCPConn.SetReadDeadline(t))
}

// SetWriteDeadline is explained at SetReadDeadline.
func (c *lingeringConn) SetWriteDeadline(t time.Time) error {
	return unlessClosed(c.TCPConn.SetWriteDeadline(t))
}

func unlessClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
