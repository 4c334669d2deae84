//go:build unix

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"gatehouse/account"
)

// load is one measurement: so many keep-alive connections, each sending its next request when the last one is answered.
// It speaks just enough HTTP/1.1 for this, because it shares the cores with what it measures.
type load struct {
	address string
	// requests are sent in turn, every connection beginning at another one.
	requests    [][]byte
	connections int
	duration    time.Duration
	// skip is where the first connection begins, so that repeated loads need not repeat requests.
	skip int
	// chain, if set, makes the next request of a connection of the answer to its last one. A connection begins with the request
	// of its number and leaves its next one there.
	chain func(body []byte) ([]byte, error)
	// once has every request sent at most once; the load ends when none is left.
	once bool
	// pause is how long a connection waits after an answer.
	pause time.Duration
	// tolerant counts refusals, which otherwise end the load, up to mostRefused of all answers.
	tolerant bool
}

// result is what a load found.
type result struct {
	requests int
	// refused are answers other than success; they count nowhere else.
	refused  int
	rate     float64
	p50, p99 time.Duration
}

// mostRefused is the share of a tolerant load's answers that may be refusals.
const mostRefused = 0.01

// patience is how long after the end of a load its last answer may come.
const patience = 30 * time.Second

var clock account.SystemClock

var (
	errNotOK     = errors.New("an answer was not 200")
	errNotSimple = errors.New("an answer has no Content-Length or is no HTTP")
	errNone      = errors.New("nothing was answered")
)

// driver is one connection of a load.
type driver struct {
	load *load
	conn net.Conn
	in   *bufio.Reader
	// slot is the number of the connection, next the request that it sends next.
	slot, next int
	sent       *atomic.Int64
	took       []time.Duration
	refused    int
	refusal    error
}

// run returns an error when any answer is no success, unless the load is tolerant: a refusal is faster than the work.
func (l *load) run(ctx context.Context) (result, error) {
	var sent atomic.Int64
	drivers := make([]*driver, l.connections)
	for i := range drivers {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.address)
		if err != nil {
			return result{}, fmt.Errorf("connect: %w", err)
		}
		defer func() { _ = conn.Close() }()
		drivers[i] = &driver{
			load: l, conn: conn, in: bufio.NewReaderSize(conn, readBuffer), slot: i, sent: &sent,
			next: l.skip + i*max(1, len(l.requests)/len(drivers)), took: make([]time.Duration, 0, 1<<12),
		}
	}
	group, ctx := errgroup.WithContext(ctx)
	started := clock.Now()
	for _, d := range drivers {
		group.Go(func() error { return d.drive(ctx, started.Add(l.duration)) })
	}
	err := group.Wait()
	elapsed := clock.Now().Sub(started)
	var took []time.Duration
	refused := 0
	for _, d := range drivers {
		took = append(took, d.took...)
		refused += d.refused
	}
	if err == nil && (len(took) == 0 || float64(refused) > mostRefused*float64(refused+len(took))) {
		err = errNone
		for _, d := range drivers {
			if d.refusal != nil {
				err = fmt.Errorf("%d of %d were refused, such as: %w", refused, refused+len(took), d.refusal)
			}
		}
	}
	found := summary(took, elapsed)
	found.refused = refused
	return found, err
}

func (d *driver) drive(ctx context.Context, end time.Time) error {
	if err := d.conn.SetDeadline(end.Add(patience)); err != nil {
		return fmt.Errorf("bound the connection: %w", err)
	}
	for now := clock.Now(); now.Before(end) && ctx.Err() == nil; d.next++ {
		request := d.request()
		if request == nil {
			return nil
		}
		if _, err := d.conn.Write(request); err != nil {
			return fmt.Errorf("send a request: %w", err)
		}
		body, err := answer(d.in)
		answered := clock.Now()
		if d.load.tolerant && errors.Is(err, errNotOK) {
			d.refused, d.refusal = d.refused+1, err
			now = answered
			continue
		}
		if err == nil && d.load.chain != nil {
			d.load.requests[d.slot], err = d.load.chain(body)
		}
		if err != nil {
			return err
		}
		d.took = append(d.took, answered.Sub(now))
		if now = answered; d.load.pause > 0 {
			if err := rest(ctx, d.load.pause); err != nil {
				return err
			}
			now = clock.Now()
		}
	}
	return ctx.Err()
}

func rest(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// request is the next one, nil when there is none.
func (d *driver) request() []byte {
	all := d.load.requests
	switch {
	case d.load.chain != nil:
		return all[d.slot]
	case !d.load.once:
		return all[d.next%len(all)]
	}
	if n := d.sent.Add(1); n <= int64(len(all)) {
		return all[n-1]
	}
	return nil
}

const readBuffer = 128 << 10

// answer reads one response to its end and returns its body, which is valid until the next one is read. It returns errNotOK,
// with the answer read to its end, when that is no success; 202 is none, as nothing is done yet.
func answer(in *bufio.Reader) (body []byte, err error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, fmt.Errorf("read an answer: %w", err)
	}
	status := string(bytes.TrimSpace(line))
	if !strings.HasPrefix(status, "HTTP/1.1 ") {
		return nil, errNotSimple
	}
	length := -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, fmt.Errorf("read an answer: %w", err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return nil, fmt.Errorf("read an answer's length: %w", err)
			}
		}
	}
	if length < 0 {
		return nil, errNotSimple
	}
	body, err = in.Peek(length)
	if err != nil {
		return nil, fmt.Errorf("read an answer's body: %w", err)
	}
	if _, err := in.Discard(length); err != nil {
		return nil, fmt.Errorf("read an answer's body: %w", err)
	}
	if code := strings.TrimPrefix(status, "HTTP/1.1 "); !strings.HasPrefix(code, "200 ") && !strings.HasPrefix(code, "201 ") {
		return nil, fmt.Errorf("%w: %s %s", errNotOK, code, body[:min(len(body), 300)])
	}
	return body, nil
}

func summary(took []time.Duration, elapsed time.Duration) result {
	if len(took) == 0 {
		return result{}
	}
	slices.Sort(took)
	return result{
		requests: len(took), rate: float64(len(took)) / elapsed.Seconds(),
		p50: percentile(took, 0.50), p99: percentile(took, 0.99),
	}
}

// percentile is the nearest rank of sorted values.
func percentile(sorted []time.Duration, p float64) time.Duration {
	rank := int(math.Ceil(p * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

const commonHeaders = "Host: localhost\r\nUser-Agent: gatehouse-bench\r\nAccept: application/json\r\n"

// get renders a request as a client library would send it, with headers of its own as pairs of name and value.
func get(path string, headers ...string) []byte { return request("GET", path, "", headers) }

func post(path, body string, headers ...string) []byte { return request("POST", path, body, headers) }

func put(path, body string, headers ...string) []byte { return request("PUT", path, body, headers) }

// addresses is from how many places requests come which are counted by place: people do not share one.
const addresses = 4096

var built atomic.Uint32

func counted(method, path string) bool {
	return method != "GET" || strings.HasPrefix(path, checkPath) || strings.HasPrefix(path, searchPath)
}

func request(method, path, body string, headers []string) []byte {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, "%s %s HTTP/1.1\r\n%s", method, path, commonHeaders)
	for i := 0; i+1 < len(headers); i += 2 {
		_, _ = fmt.Fprintf(&b, "%s: %s\r\n", headers[i], headers[i+1])
	}
	if counted(method, path) {
		n := built.Add(1) % addresses
		_, _ = fmt.Fprintf(&b, "X-Forwarded-For: 10.0.%d.%d\r\n", n>>8, n&0xff)
	}
	if method != "GET" {
		_, _ = fmt.Fprintf(&b, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	b.WriteString("\r\n" + body)
	return b.Bytes()
}

// bearer is the header of an access token.
func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }
