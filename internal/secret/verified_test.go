package secret

import (
	"crypto/sha256"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
)

type handClock struct{ now time.Time }

func (c *handClock) Now() time.Time { return c.now }

func newTokens(t *testing.T, clock *handClock) *AccessTokens {
	t.Helper()
	tokens, err := NewAccessTokens(GenerateKey(), "https://accounts.example", clock)
	require.NoError(t, err)
	return tokens
}

func TestKnownTokenKeepsItsTimes(t *testing.T) {
	t.Parallel()
	issued := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	expires := issued.Add(10 * time.Minute)
	clock := &handClock{issued}
	tokens := newTokens(t, clock)
	session := uuid.New()
	token, err := tokens.Sign(session, uuid.New(), issued, expires)
	require.NoError(t, err)

	for _, c := range []struct {
		name string
		now  time.Time
		good bool
	}{
		{"first seen", issued, true},
		{"seen again", issued.Add(time.Minute), true},
		{"the last moment of the leeway", expires.Add(clockLeeway - time.Nanosecond), true},
		{"the end of the leeway", expires.Add(clockLeeway), false},
		{"long after", expires.Add(time.Hour), false},
		{"the clock was set back within its life", expires, true},
		{"the clock was set back before its issue", issued.Add(-time.Hour), true},
	} {
		clock.now = c.now
		got, err := tokens.Session(token)
		require.Equal(t, c.good, err == nil, c.name)
		if c.good {
			require.Equal(t, session, got, c.name)
		} else {
			require.Equal(t, uuid.Nil, got, c.name)
		}
	}
	require.Len(t, tokens.verified.recent, 1, "the answers above came from memory")
}

func TestKnownTokenVouchesForNoOther(t *testing.T) {
	t.Parallel()
	issued := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	clock := &handClock{issued}
	tokens, others := newTokens(t, clock), newTokens(t, clock)
	session, subject := uuid.New(), uuid.New()
	token, err := tokens.Sign(session, subject, issued, issued.Add(time.Hour))
	require.NoError(t, err)
	foreign, err := others.Sign(session, subject, issued, issued.Add(time.Hour))
	require.NoError(t, err)
	_, err = tokens.Session(token)
	require.NoError(t, err)

	_, err = tokens.Session(foreign)
	require.Error(t, err, "signed with another key")
	for i := range len(token) {
		if token[i] == '.' {
			continue
		}
		forged := []byte(token)
		forged[i] = 'A'
		if token[i] == 'A' {
			forged[i] = 'B'
		}
		_, err := tokens.Session(string(forged))
		require.Error(t, err, "byte %d changed", i)
	}
	for _, forged := range []string{token + "=", token + ".", " " + token, token + "\n", "\r\n" + token, token[:strings.LastIndexByte(token, '.')+1], ""} {
		_, err := tokens.Session(forged)
		require.Error(t, err, "%q", forged)
	}
	require.Len(t, tokens.verified.recent, 1, "nothing refused is remembered")
}

func TestVerifiedTokensAreBounded(t *testing.T) {
	t.Parallel()
	key := func(n int) (k [sha256.Size]byte) {
		binary.BigEndian.PutUint64(k[:], uint64(n))
		return k
	}
	var v verifiedTokens
	used := &verified{session: uuid.New()}
	v.keep(key(0), used)
	for n := 1; n < 5*verifiedLimit; n++ {
		v.keep(key(n), &verified{})
		require.LessOrEqual(t, len(v.recent), verifiedLimit)
		require.LessOrEqual(t, len(v.older), verifiedLimit)
		if n%1000 == 0 {
			got, ok := v.find(key(0))
			require.True(t, ok, "what is in use stays, after %d others", n)
			require.Same(t, used, got)
		}
	}
	_, ok := v.find(key(1))
	require.False(t, ok, "what nobody uses goes")
}

func TestVerifiedTokensConcurrently(t *testing.T) {
	t.Parallel()
	issued := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	tokens := newTokens(t, &handClock{issued})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				session := uuid.New()
				token, err := tokens.Sign(session, uuid.New(), issued, issued.Add(time.Hour))
				if err != nil {
					t.Error(err)
					return
				}
				for range 3 {
					if got, err := tokens.Session(token); err != nil || got != session {
						t.Errorf("got %s, %v; want %s", got, err, session)
					}
				}
			}
		})
	}
	group.Wait()
}
