package workflows_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"
)

// What a flow may cost the server that keeps it: events and bytes of what was recorded. Whoever makes one grow says here why.
func TestHistoriesStaySmall(t *testing.T) {
	t.Parallel()
	for name, most := range map[string]struct{ events, bytes int }{
		"signup-code-completed":     {30, 5632},
		"signup-register-completed": {30, 6400},
		"device-completed":          {27, 5760},
		"password-reset-completed":  {28, 6144},
		"subscription-renewed":      {60, 11776},
		"subscription-periods":      {77, 15360},
	} {
		h, _ := recorded(t, name)
		size := 0
		for _, e := range h.GetEvents() {
			size += proto.Size(e)
		}
		require.LessOrEqual(t, len(h.GetEvents()), most.events, name)
		require.LessOrEqual(t, size, most.bytes, name)
	}
}
