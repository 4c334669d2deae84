package middleware

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestForwardedFor(t *testing.T) {
	t.Parallel()
	for head, want := range map[string][]string{
		"": nil,
		"Host: x\r\nX-Forwarded-For: a, b\r\nx-forwarded-for:c\r\n\r\n": {" a", " b\r\n", "c\r\n"},
		"X-Forwarded-For: a\r\n b\r\nHost: x\r\n c\r\n\r\n":             {" a\r\n", ""},
		"X-Forwarded-For : a\r\nX-Forwarded-Fo: b\r\n\r\n":              nil,
	} {
		require.Equal(t, want, forwardedFor([]byte(head)), "%q", head)
	}
}
