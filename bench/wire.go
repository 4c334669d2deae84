//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

// recorder stands between a process and Postgres and writes down what is asked: the statements as they travel, with their
// parameters, and how often the process waits for an answer.
type recorder struct {
	listener net.Listener
	upstream string

	mu    sync.Mutex
	found recorded
}

// recorded is what was asked since the last look.
type recorded struct {
	statements []statement
	// roundTrips are the times that the process had sent all it had and needed an answer.
	roundTrips int
}

// statement is one execution.
type statement struct {
	sql string
	// types, formats and values are its parameters, as they travelled.
	types   []uint32
	formats []int16
	values  [][]byte
}

// record returns a recorder and the URL of the database behind it. It ends with ctx.
func record(ctx context.Context, database string) (*recorder, string, error) {
	u, err := url.Parse(database)
	if err != nil {
		return nil, "", fmt.Errorf("read the database URL: %w", err)
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listen: %w", err)
	}
	r := &recorder{listener: listener, upstream: u.Host}
	u.Host = listener.Addr().String()
	context.AfterFunc(ctx, func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(ctx, conn)
		}
	}()
	return r, u.String(), nil
}

// take returns what was recorded since the last time.
func (r *recorder) take() recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.found
	r.found = recorded{}
	return out
}

// count is how many statements wait to be taken.
func (r *recorder) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.found.statements)
}

func (r *recorder) serve(ctx context.Context, client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := new(net.Dialer).DialContext(ctx, "tcp", r.upstream)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
	c := &conversation{recorder: r, prepared: map[string]parsed{}}
	_ = c.listen(bufio.NewReaderSize(client, readBuffer), server) // the connection ends with it
}

// conversation is one connection.
type conversation struct {
	*recorder

	prepared map[string]parsed
	bound    statement
}

type parsed struct {
	sql   string
	types []uint32
}

var errProtocol = errors.New("a message that no client of Postgres sends")

const mostMessage = 64 << 20

// listen passes on what the client sends, message by message, and understands it.
func (c *conversation) listen(in *bufio.Reader, out io.Writer) error {
	length, err := in.Peek(4)
	if err != nil {
		return err
	}
	if _, err := io.CopyN(out, in, int64(binary.BigEndian.Uint32(length))); err != nil { // the message that opens has no type
		return err
	}
	for {
		head, err := in.Peek(5)
		if err != nil {
			return err
		}
		size := 1 + int(binary.BigEndian.Uint32(head[1:]))
		if size > mostMessage {
			return errProtocol
		}
		message := make([]byte, size)
		if _, err := io.ReadFull(in, message); err != nil {
			return err
		}
		c.hear(message[0], fields{rest: message[5:]}, in.Buffered() > 0)
		if _, err := out.Write(message); err != nil {
			return err
		}
	}
}

// hear writes down one message. more is whether the client has sent others with it.
func (c *conversation) hear(kind byte, f fields, more bool) {
	switch kind {
	case 'P': // Parse
		name, p := f.text(), parsed{sql: f.text()}
		for range f.int16() {
			p.types = append(p.types, uint32(f.int32())) //nolint:gosec // an object id travels so
		}
		c.prepared[name] = p
	case 'B': // Bind
		f.text() // the portal, which our driver does not name
		p := c.prepared[f.text()]
		c.bound = statement{sql: p.sql, types: p.types}
		for range f.int16() {
			c.bound.formats = append(c.bound.formats, f.int16())
		}
		for range f.int16() {
			c.bound.values = append(c.bound.values, f.bytes())
		}
	case 'E': // Execute
		c.add(c.bound)
	case 'Q': // Query
		c.add(statement{sql: f.text()})
		c.waits(more)
	case 'S': // Sync
		c.waits(more)
	}
}

func (r *recorder) add(s statement) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found.statements = append(r.found.statements, s)
}

func (r *recorder) waits(more bool) {
	if more {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found.roundTrips++
}

// fields reads a message. It reads nothing beyond its end.
type fields struct{ rest []byte }

func (f *fields) take(n int) []byte {
	n = max(0, min(n, len(f.rest)))
	out := f.rest[:n]
	f.rest = f.rest[n:]
	return out
}

func (f *fields) text() string {
	before, rest, _ := strings.Cut(string(f.rest), "\x00")
	f.rest = f.rest[len(f.rest)-len(rest):]
	return before
}

func (f *fields) int16() int16 {
	if b := f.take(2); len(b) == 2 {
		return int16(binary.BigEndian.Uint16(b)) //nolint:gosec // it travels so
	}
	return 0
}

func (f *fields) int32() int32 {
	if b := f.take(4); len(b) == 4 {
		return int32(binary.BigEndian.Uint32(b)) //nolint:gosec // it travels so
	}
	return 0
}

// bytes is a value, nil for NULL.
func (f *fields) bytes() []byte {
	n := f.int32()
	if n < 0 {
		return nil
	}
	return append([]byte{}, f.take(int(n))...)
}

var (
	literals = regexp.MustCompile(`'(?:[^']|'')*'`)
	numbers  = regexp.MustCompile(`(^|[^$\w.])\d+(?:\.\d+)?\b`)
	lists    = regexp.MustCompile(`\?(?:, *\?)+`)
)

// shape is what the executions of one statement have in common: its text without values, in one line.
func (s statement) shape() string {
	text := literals.ReplaceAllString(s.sql, "?")
	text = numbers.ReplaceAllString(text, "${1}?")
	text = lists.ReplaceAllString(text, "?, ...")
	return strings.Join(strings.Fields(text), " ")
}
