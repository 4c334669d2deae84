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
}

// result is what a load found.
type result struct {
	requests int
	rate     float64
	p50, p99 time.Duration
}

// patience is how long after the end of a load its last answer may come.
const patience = 10 * time.Second

var clock account.SystemClock

var (
	errNotOK     = errors.New("an answer was not 200")
	errNotSimple = errors.New("an answer has no Content-Length or is no HTTP")
)

// run returns an error when any answer is not 200: a refusal is faster than the work.
func (l load) run(ctx context.Context) (result, error) {
	conns := make([]net.Conn, l.connections)
	for i := range conns {
		conn, err := new(net.Dialer).DialContext(ctx, "tcp", l.address)
		if err != nil {
			return result{}, fmt.Errorf("connect: %w", err)
		}
		defer func() { _ = conn.Close() }()
		conns[i] = conn
	}
	took := make([][]time.Duration, len(conns))
	group, ctx := errgroup.WithContext(ctx)
	started := clock.Now()
	for i, conn := range conns {
		first := l.skip + i*max(1, len(l.requests)/len(conns))
		group.Go(func() (err error) {
			took[i], err = l.drive(ctx, conn, first, started.Add(l.duration))
			return err
		})
	}
	err := group.Wait()
	return summary(slices.Concat(took...), clock.Now().Sub(started)), err
}

func (l load) drive(ctx context.Context, conn net.Conn, next int, end time.Time) ([]time.Duration, error) {
	if err := conn.SetDeadline(end.Add(patience)); err != nil {
		return nil, fmt.Errorf("bound the connection: %w", err)
	}
	in := bufio.NewReaderSize(conn, 16<<10)
	took := make([]time.Duration, 0, 1<<14)
	for now := clock.Now(); now.Before(end) && ctx.Err() == nil; next++ {
		if _, err := conn.Write(l.requests[next%len(l.requests)]); err != nil {
			return nil, fmt.Errorf("send a request: %w", err)
		}
		if _, err := answer(in); err != nil {
			return nil, err
		}
		answered := clock.Now()
		took = append(took, answered.Sub(now))
		now = answered
	}
	return took, ctx.Err()
}

// answer reads one response to its end and returns the length of its body.
func answer(in *bufio.Reader) (length int, err error) {
	status, err := in.ReadSlice('\n')
	if err != nil {
		return 0, fmt.Errorf("read an answer: %w", err)
	}
	if !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return 0, fmt.Errorf("%w: %s", errNotOK, bytes.TrimSpace(status))
	}
	length = -1
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return 0, fmt.Errorf("read an answer: %w", err)
		}
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, fmt.Errorf("read an answer's length: %w", err)
			}
		}
	}
	if length < 0 {
		return 0, errNotSimple
	}
	if _, err := in.Discard(length); err != nil {
		return 0, fmt.Errorf("read an answer's body: %w", err)
	}
	return length, nil
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

// get renders a request as a client library would send it, with a header of its own if name is not empty.
func get(path, name, value string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "GET %s HTTP/1.1\r\n%s", path, commonHeaders)
	if name != "" {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	b.WriteString("\r\n")
	return b.Bytes()
}

func post(path, body string) []byte {
	return fmt.Appendf(nil, "POST %s HTTP/1.1\r\n%sContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path, commonHeaders, len(body), body)
}
