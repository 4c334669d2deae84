// Package webhook hands events to receivers by HTTP, signed as Standard Webhooks says. It guards the inside of our network:
// a receiver is whatever address somebody has typed, and what its name stands for may change at any moment.
package webhook

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"gatehouse/account"
)

const (
	dialTimeout = 5 * time.Second
	// maxAnswer is read of an answer, so that its connection can be used again; what it says is of no interest.
	maxAnswer = 16 << 10
	// idle is how long a connection waits for the next event.
	idle = 30 * time.Second
	// idlePerHost connections to a receiver are kept.
	idlePerHost = 8
)

// errAddress is an address that receivers must not have.
var errAddress = errors.New("webhook: the address is not allowed")

// Options of New.
type Options struct {
	// Local is development: receivers may be anywhere and speak plain HTTP.
	Local bool
	// Networks are private networks that receivers may be in all the same.
	Networks []netip.Prefix
	// Timeout is how long a receiver may take from dialling to the end of its answer.
	Timeout time.Duration
	// Resolver finds the addresses of names; nil is that of the machine.
	Resolver *net.Resolver
}

// Client posts events. It is safe for concurrent use.
type Client struct {
	local bool
	guard *ssrf.Guardian
	http  *http.Client
}

// New returns a client. It follows no redirect and uses no proxy. Unless o.Local, an address is judged when it is dialled, so
// a name that stands for another address by then gains nothing: only public ones and those in o.Networks are connected to,
// at ports 443 and 8443.
func New(o Options) *Client {
	var v4, v6 []netip.Prefix
	for _, n := range o.Networks {
		if n.Addr().Is4() {
			v4 = append(v4, n)
		} else {
			v6 = append(v6, n)
		}
	}
	c := &Client{local: o.Local, guard: ssrf.New(ssrf.WithPorts(443, 8443), ssrf.WithAllowedV4Prefixes(v4...), ssrf.WithAllowedV6Prefixes(v6...))}
	dialer := &net.Dialer{Timeout: dialTimeout, Control: c.control, Resolver: o.Resolver}
	c.http = &http.Client{
		Timeout:       o.Timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			// No Proxy: the guard would see the proxy's address in place of the receiver's.
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: dialTimeout, DisableCompression: true,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12},
			IdleConnTimeout: idle, MaxIdleConnsPerHost: idlePerHost, MaxResponseHeaderBytes: maxAnswer,
		},
	}
	return c
}

func (c *Client) control(network, address string, raw syscall.RawConn) error {
	if c.local {
		return nil
	}
	if c.guard.Safe(network, address, raw) != nil {
		return errAddress
	}
	return nil
}

// URLFault says what is wrong with the address of a receiver, empty if nothing is. It resolves no name: what a name stands for
// is judged by Post.
func (c *Client) URLFault(raw string) string {
	if fault := account.WebhookURLFault(raw, c.local); fault != "" || c.local {
		return fault
	}
	u, err := url.Parse(raw)
	if err != nil {
		return "cannot be read"
	}
	ip, err := netip.ParseAddr(u.Hostname())
	if err == nil && c.guard.SafeAddr(ip) != nil || strings.EqualFold(u.Hostname(), "localhost") {
		return "must not be a private address"
	}
	return ""
}

// Body is what a receiver gets, as Standard Webhooks has it. data is JSON.
func Body(eventType string, at time.Time, data []byte) ([]byte, error) {
	body, err := json.Marshal(struct {
		Type      string          `json:"type"`
		Timestamp time.Time       `json:"timestamp"`
		Data      json.RawMessage `json:"data"`
	}{eventType, at.UTC(), data})
	if err != nil {
		return nil, fmt.Errorf("write the event %s: %w", eventType, err)
	}
	return body, nil
}

// Call is one attempt to tell a receiver an event.
type Call struct {
	URL string
	// ID is the event's, the same in every attempt.
	ID   string
	Body []byte
	// Secrets sign it, each once: a receiver that changes its secret knows one of two.
	Secrets []string
	// At is when the attempt is made.
	At time.Time
}

// Answer is what a receiver said.
type Answer struct {
	Status int
	// RetryAfter is how long it asks to be left alone, 0 if it does not.
	RetryAfter time.Duration
}

// Took reports whether the receiver has the event.
func (a Answer) Took() bool { return a.Status/100 == 2 }

// Post signs an event and posts it. An error means that there is no answer; its text is ours and names nobody.
func (c *Client) Post(ctx context.Context, call Call) (Answer, error) {
	if c.URLFault(call.URL) != "" {
		return Answer{}, errAddress
	}
	signatures := make([]string, len(call.Secrets))
	for i, secret := range call.Secrets {
		hook, err := standardwebhooks.NewWebhook(secret)
		if err != nil {
			return Answer{}, errors.New("webhook: the secret cannot be read")
		}
		if signatures[i], err = hook.Sign(call.ID, call.At, call.Body); err != nil {
			return Answer{}, errors.New("webhook: the event cannot be signed")
		}
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, call.URL, bytes.NewReader(call.Body))
	if err != nil {
		return Answer{}, errors.New("webhook: the request cannot be built")
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("User-Agent", "Gatehouse-Webhooks/1")
	request.Header.Set(standardwebhooks.HeaderWebhookID, call.ID)
	request.Header.Set(standardwebhooks.HeaderWebhookTimestamp, strconv.FormatInt(call.At.Unix(), 10))
	request.Header.Set(standardwebhooks.HeaderWebhookSignature, strings.Join(signatures, " "))
	response, err := c.http.Do(request)
	if err != nil {
		return Answer{}, fmt.Errorf("webhook: %s", symptom(err))
	}
	defer func() { _ = response.Body.Close() }()
	// It has answered; whether the rest of the answer comes changes nothing.
	_, _ = io.Copy(io.Discard, io.LimitReader(response.Body, maxAnswer))
	return Answer{Status: response.StatusCode, RetryAfter: retryAfter(response.Header.Get("Retry-After"), call.At)}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// retryAfter reads both forms of the header (RFC 9110 10.2.3).
func retryAfter(header string, now time.Time) time.Duration {
	if n, err := strconv.ParseInt(header, 10, 32); err == nil {
		return time.Duration(max(n, 0)) * time.Second
	}
	if at, err := http.ParseTime(header); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// symptom says in words of ours what an operator needs to know: the library's text has the address, which may hold a secret.
func symptom(err error) string {
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		timeout net.Error
	)
	switch {
	case errors.Is(err, errAddress):
		return "the address is not allowed"
	case errors.As(err, &dns):
		return "the name cannot be resolved"
	case errors.As(err, &cert), errors.As(err, new(x509.HostnameError)):
		return "the certificate is not trusted"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "it does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "it hung up"
	default:
		return "the exchange failed"
	}
}
