package templates

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSubjectsAreOneShortLine(t *testing.T) {
	t.Parallel()

	require.Equal(t, "Hi Bcc: all@example.com", oneLine(" Hi\r\nBcc: all@example.com\x00 "))
	require.Len(t, []rune(oneLine(strings.Repeat("ü", 500))), maxSubject)
}
