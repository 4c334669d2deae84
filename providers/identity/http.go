package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"gatehouse/account"
)

const (
	// patience bounds one request from its first byte to its last, maxAnswer what is read of its answer.
	patience  = 2 * time.Second
	maxAnswer = 64 << 10
)

// newClient makes requests that a slow, huge or redirecting provider cannot hold up (security.md OAU-13).
func newClient() *http.Client {
	return &http.Client{
		Timeout:       patience,
		Transport:     bounded{http.DefaultTransport}, //nolint:forbidigo // connections are shared; the deadline is ours
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

type bounded struct{ next http.RoundTripper }

func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	answer.Body = &boundedBody{ReadCloser: answer.Body, left: maxAnswer}
	return answer, nil
}

type boundedBody struct {
	io.ReadCloser
	left int64
}

var errTooLong = errors.New("the answer is too long")

func (b *boundedBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	if int64(len(p)) > b.left {
		p = p[:b.left]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	return n, err
}

// ask sends a request and reads the JSON of a 200 into out. It returns account.ErrInvalidProviderToken for what the provider
// refuses, and account.ErrUnavailable for everything else.
func ask(client *http.Client, request *http.Request, out any) error {
	request.Header.Set("Accept", "application/json")
	answer, err := client.Do(request)
	if err != nil {
		return unreachable(err)
	}
	defer func() { _ = answer.Body.Close() }()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return account.ErrInvalidProviderToken
	default:
		return account.ErrUnavailable.Because(fmt.Errorf("identity: the provider answered %d", answer.StatusCode))
	}
	if err := json.NewDecoder(answer.Body).Decode(out); err != nil {
		return account.ErrUnavailable.Because(errors.New("identity: the provider's answer cannot be read"))
	}
	return nil
}

// get is ask with a bearer token.
func get(ctx context.Context, client *http.Client, address, token string, out any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return account.ErrUnavailable.Because(errors.New("identity: the provider's address cannot be used"))
	}
	request.Header.Set("Authorization", "Bearer "+token)
	return ask(client, request, out)
}

// unreachable drops the address of a failed request: it may hold a token.
func unreachable(err error) error {
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err
	}
	return account.ErrUnavailable.Because(fmt.Errorf("identity: the provider cannot be asked: %w", err))
}
