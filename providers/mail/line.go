package mail

import (
	"context"
	"crypto/tls"
	"net"
)

// line is the connection of one attempt. The client library heeds a context only while it dials; the line closes the
// connection when the attempt's context ends, which ends any read or write that a hanging server keeps waiting.
type line struct {
	// ctx is the attempt's, not one that dialling narrows.
	ctx      context.Context
	implicit bool
	tls      *tls.Config

	conn   net.Conn
	unhook func() bool
}

func (l *line) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	l.conn = conn
	l.unhook = context.AfterFunc(l.ctx, func() { _ = conn.Close() }) //nolint:contextcheck // l.ctx bounds the whole mail, ctx the dialling
	if !l.implicit {
		return conn, nil
	}
	secured := tls.Client(conn, l.tls)
	return secured, secured.HandshakeContext(ctx)
}

// close ends the connection however far it got: the library leaves it open when its greeting or sign-in fails.
func (l *line) close() {
	if l.conn == nil {
		return
	}
	l.unhook()
	_ = l.conn.Close()
}
