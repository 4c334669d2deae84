package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"gatehouse/account"
)

const (
	// keyLife is how long keys are used while their issuer cannot be asked (reliability.md F-28), keyRefresh from when on it is
	// asked again beside the requests: a key that it has withdrawn opens nothing any more soon after.
	keyLife, keyRefresh = 24 * time.Hour, time.Hour
	// askGap is the least time between two questions for the keys: tokens that name keys nobody knows cost the issuer no more.
	// After a failure it is failedGap, so that the first token of a new key does not wait for long.
	askGap, failedGap = 10 * time.Second, time.Second
)

var (
	errKeysAway   = errors.New("identity: the issuer's keys cannot be had")
	errKeyUnknown = errors.New("identity: no key of the issuer has signed this")
	errOtherType  = errors.New("identity: a token of another type")
)

// publishedKeys are the keys that an issuer publishes at an address. It is an oidc.KeySet.
type publishedKeys struct {
	address string
	client  *http.Client
	clock   account.Clock
	flight  singleflight.Group

	mutex sync.Mutex
	keys  []jose.JSONWebKey
	// told is when keys were had, next from when on the issuer may be asked again, failed whether it gave no answer last time.
	told, next time.Time
	failed     bool
}

// VerifySignature returns the content of a token that one of the issuer's keys has signed. It returns errKeysAway when no key that
// is known has and the issuer cannot be asked for newer ones.
func (p *publishedKeys) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	signed, err := jose.ParseSigned(token, []jose.SignatureAlgorithm{jose.RS256})
	if err != nil {
		return nil, err
	}
	// Who types tokens types an ID token "JWT". Anything else is one for something else, such as an access token (RFC 9068), which
	// may look the same otherwise (RFC 8725, 3.11).
	if typ, typed := signed.Signatures[0].Protected.ExtraHeaders[jose.HeaderType]; typed && !strings.EqualFold(fmt.Sprint(typ), "JWT") {
		return nil, errOtherType
	}
	if content, ok := open(signed, p.known(ctx)); ok {
		return content, nil
	}
	newest, err := p.newest(ctx)
	if err != nil {
		return nil, err
	}
	if content, ok := open(signed, newest); ok {
		return content, nil
	}
	return nil, errKeyUnknown
}

func open(signed *jose.JSONWebSignature, keys []jose.JSONWebKey) (content []byte, ok bool) {
	named := signed.Signatures[0].Header.KeyID
	for _, key := range keys {
		if named != "" && key.KeyID != named {
			continue
		}
		if content, err := signed.Verify(key); err == nil {
			return content, true
		}
	}
	return nil, false
}

// known are the keys that may still be used without asking.
func (p *publishedKeys) known(ctx context.Context) []jose.JSONWebKey {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.clock.Now()
	age := now.Sub(p.told)
	if p.told.IsZero() || age >= keyLife {
		return nil
	}
	if age >= keyRefresh && !now.Before(p.next) {
		p.flight.DoChan("", func() (any, error) { return p.ask(context.WithoutCancel(ctx)) })
	}
	return p.keys
}

// newest asks the issuer, unless somebody just has. Requests that come at once ask once.
func (p *publishedKeys) newest(ctx context.Context) ([]jose.JSONWebKey, error) {
	p.mutex.Lock()
	early, keys, failed := p.clock.Now().Before(p.next), p.keys, p.failed
	p.mutex.Unlock()
	switch {
	case early && failed:
		return nil, errKeysAway
	case early:
		return keys, nil
	}
	// Others wait for the answer, too: it must not end with the first one's request.
	answer := p.flight.DoChan("", func() (any, error) { return p.ask(context.WithoutCancel(ctx)) })
	select {
	case got := <-answer:
		keys, _ = got.Val.([]jose.JSONWebKey)
		return keys, got.Err
	case <-ctx.Done():
		return nil, errKeysAway
	}
}

func (p *publishedKeys) ask(ctx context.Context) ([]jose.JSONWebKey, error) {
	keys, err := p.fetch(ctx)
	p.mutex.Lock()
	defer p.mutex.Unlock()
	now := p.clock.Now()
	if p.failed = err != nil; p.failed {
		p.next = now.Add(failedGap)
		return nil, errKeysAway
	}
	p.keys, p.told, p.next = keys, now, now.Add(askGap)
	return keys, nil
}

func (p *publishedKeys) fetch(ctx context.Context) ([]jose.JSONWebKey, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, p.address, nil)
	if err != nil {
		return nil, err
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := ask(p.client, request, &set); err != nil {
		return nil, err
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var key jose.JSONWebKey
		if json.Unmarshal(raw, &key) == nil && key.Valid() && key.IsPublic() { // of other kinds than ours there may be some (RFC 7517, 5)
			keys = append(keys, key)
		}
	}
	if len(keys) == 0 {
		return nil, errKeysAway
	}
	return keys, nil
}
