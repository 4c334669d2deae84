package mail

import (
	"strings"
	"testing"
)

// Of what a server says only numbers are kept: it may repeat a name, an address or a code.
func FuzzReply(f *testing.F) {
	for _, seed := range []string{"5.1.1 no such user ada@example.com", "5.1", "5.1.1", "4.999.9999 x", "..", "5..1 x", "ada 5.1.1", "", "٥.١.١ x"} {
		f.Add(550, seed)
	}
	f.Fuzz(func(t *testing.T, code int, reply string) {
		kept := status(code, enhanced(reply))
		if strings.Trim(kept, "0123456789. -") != "" || len(kept) > 40 {
			t.Fatalf("%d %q is kept as %q", code, reply, kept)
		}
	})
}
