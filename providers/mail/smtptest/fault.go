package smtptest

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	gosmtp "github.com/emersion/go-smtp"
)

// Stage is a moment in the talk with a client.
type Stage string

// The stages, in their order. TLS is the handshake. Data follows the DATA command, before the mail is read; Accepted
// follows the mail, which is kept, before the answer.
const (
	Greeting Stage = "greeting"
	TLS      Stage = "TLS"
	Hello    Stage = "EHLO"
	Auth     Stage = "AUTH"
	MailFrom Stage = "MAIL"
	RcptTo   Stage = "RCPT"
	Data     Stage = "DATA"
	Accepted Stage = "accepted"
)

// Stages lists every stage.
func Stages() []Stage { return []Stage{Greeting, TLS, Hello, Auth, MailFrom, RcptTo, Data, Accepted} }

type effect int

const (
	behave effect = iota
	reply
	hang
	drop
	slow
)

// Fault is one misbehaviour at one stage. The zero value is none.
type Fault struct {
	effect   effect
	stage    Stage
	code     int
	enhanced gosmtp.EnhancedCode
	delay    time.Duration
}

// Reply answers with code and an enhanced status such as 5.1.1. As servers do, it repeats what the client said: the
// user, the recipient, or the code in the mail. It applies neither to the TLS stage nor to the greeting under WithTLS.
func Reply(stage Stage, code int, enhanced string) Fault {
	f := Fault{effect: reply, stage: stage, code: code}
	for i, part := range strings.SplitN(enhanced, ".", len(f.enhanced)) {
		if n, err := strconv.Atoi(part); err == nil {
			f.enhanced[i] = n
		}
	}
	return f
}

// Hang says nothing any more until the client gives up.
func Hang(stage Stage) Fault { return Fault{effect: hang, stage: stage} }

// Drop cuts the connection.
func Drop(stage Stage) Fault { return Fault{effect: drop, stage: stage} }

// Slow waits for so long, in real time, and then behaves.
func Slow(stage Stage, delay time.Duration) Fault {
	return Fault{effect: slow, stage: stage, delay: delay}
}

var errCut = errors.New("smtptest: cut")

// door is a listener whose connections know their fault.
type door struct {
	net.Listener
	server *Server
}

func (d *door) Accept() (net.Conn, error) {
	raw, err := d.Listener.Accept()
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: raw, server: d.server, gone: make(chan struct{})}
	d.server.admit(c)
	return c, nil
}

type conn struct {
	net.Conn
	server  *Server
	fault   Fault
	gone    chan struct{}
	closing sync.Once
	greeted bool
}

// under returns the connection below a TLS layer.
func under(c net.Conn) *conn {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	return c.(*conn) //nolint:errcheck // every connection came through the door
}

func (c *conn) Close() error {
	err := net.ErrClosed
	c.closing.Do(func() {
		close(c.gone)
		c.server.leave(c)
		err = c.Conn.Close()
	})
	return err
}

// Write meets a fault of the greeting on the first write, which is the greeting.
func (c *conn) Write(p []byte) (int, error) {
	if !c.greeted {
		c.greeted = true
		if err := c.at(Greeting, ""); err != nil {
			e := c.fault.enhanced
			_, _ = fmt.Fprintf(c.Conn, "%d %d.%d.%d %s\r\n", c.fault.code, e[0], e[1], e[2], err)
			_ = c.Close()
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// at applies the connection's fault if this is its stage. said is what the client said.
func (c *conn) at(stage Stage, said string) error {
	if c.fault.stage != stage {
		return nil
	}
	switch c.fault.effect {
	case hang:
		_, _ = io.Copy(io.Discard, c.Conn)
		return errCut
	case drop:
		_ = c.Close()
		return errCut
	case slow:
		timer := time.NewTimer(c.fault.delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-c.gone:
		}
		return nil
	case reply:
		return &gosmtp.SMTPError{Code: c.fault.code, EnhancedCode: c.fault.enhanced, Message: "no: " + said}
	case behave:
	}
	return nil
}
