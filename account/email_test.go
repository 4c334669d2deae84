package account_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
)

func TestParseEmail(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 64)
	for in, want := range map[string]string{
		"ada@example.com":                         "ada@example.com",
		"  Ada.Lovelace@EXAMPLE.Com\t":            "ada.lovelace@example.com",
		"ada+tag@sub.example.co":                  "ada+tag@sub.example.co",
		"o'hara@example.com":                      "o'hara@example.com",
		"a@b.c":                                   "a@b.c",
		"x!#$%&*/=?^_`{|}~-@e-x.com":              "x!#$%&*/=?^_`{|}~-@e-x.com",
		"ada@xn--bcher-kva.example":               "ada@xn--bcher-kva.example",
		long + "@example.com":                     long + "@example.com",
		"ada@" + strings.Repeat("b", 63) + ".com": "ada@" + strings.Repeat("b", 63) + ".com",
	} {
		got, fault := account.ParseEmail(in)
		require.Empty(t, fault, in)
		require.Equal(t, want, got)
	}
	for _, in := range []string{
		"", "   ", "ada", "@example.com", "ada@", "ada@example", "ada@@example.com", "a@b@example.com", "ada@.com", "ada@example.",
		"ada@example..com", ".ada@example.com", "ada.@example.com", "a..da@example.com", "ada@-example.com", "ada@example-.com",
		"ada@exa_mple.com", "ada@[127.0.0.1]", "ada@127.0.0.1:25", "ada lovelace@example.com", "ada@example.com, eve@example.com",
		"ada@example.com;eve@example.com", "Ada <ada@example.com>", "<ada@example.com>", `"ada"@example.com`, `"a b"@example.com`,
		`ada\@example.com`, "ada@example.com\nBcc: eve@example.com", "ada@example.com\r", "ada\x00@example.com", "ada@exam\u00adple.com",
		"mailto:ada@example.com", "ada@example.com(comment)", "ada%00@example.com\u200b", "\xff@example.com",
		long + "a@example.com", "ada@" + strings.Repeat("b", 64) + ".com", "ada@" + strings.Repeat("b.", 130) + "com",
	} {
		got, fault := account.ParseEmail(in)
		if in == "ada@example.com\r" { // white space at the end is trimmed
			require.Equal(t, "ada@example.com", got)
			continue
		}
		require.NotEmpty(t, fault, "%q", in)
		require.Empty(t, got, "%q", in)
	}
}

func TestRST07_CaseMappingSwapsNoMailbox(t *testing.T) {
	t.Parallel()
	const victim = "vikictim@example.com"
	for _, twin := range []string{
		"v\u0131k\u0131ct\u0131m@example.com", "vi\u212aictim@example.com", "V\u0130K\u0130CT\u0130M@example.com", "vikictim\uff20example.com",
		"vikictim@example\uff0ecom", "vikictim@example\u3002com", "vikictim@xn--example-x.com", "vi\u043aictim@example.com",
		"vikicti\u217f@example.com", "vikictim@\u24d4xample.com", "vik\u0069\u0307ctim@example.com", "\ufb01kictim@example.com",
	} {
		got, fault := account.ParseEmail(twin)
		require.True(t, fault != "" || got != victim, "%q was taken for %q", twin, victim)
		require.NotEqual(t, victim, account.NormalizeEmail(twin), "%q", twin)
	}
	require.Equal(t, victim, account.NormalizeEmail(" VIKICTIM@Example.COM "))
}

// letters holds what case mapping and normalisation are known to trip over.
var letters = rapid.SampledFrom([]rune("abkisABKIS09.+-_@@..  \t\u00a0\u0131\u0130\u212a\u017f\uff20\uff0e\u3002\u00df\u03a3\u03c2\u0307\U0001F600"))

func TestEmailProperties(t *testing.T) {
	t.Parallel()
	address := rapid.OneOf(rapid.StringOf(letters), rapid.StringMatching(`[a-zA-Z.+]{1,6}@[a-zA-Z-]{1,4}\.[a-zA-Z]{2,3}`), rapid.String())
	rapid.Check(t, func(r *rapid.T) {
		a, b := address.Draw(r, "a"), address.Draw(r, "b")
		na := account.NormalizeEmail(a)
		if na != account.NormalizeEmail(na) {
			r.Fatalf("normalising %q twice gives another form", a)
		}
		parsed, fault := account.ParseEmail(a)
		if fault == "" {
			if again, fault := account.ParseEmail(parsed); fault != "" || again != parsed {
				r.Fatalf("%q parses to %q, which does not parse to itself: %q %s", a, parsed, again, fault)
			}
			if parsed != na {
				r.Fatalf("%q is stored as %q and compared as %q", a, parsed, na)
			}
		}
		if other, fault := account.ParseEmail(b); fault == "" && other == parsed && asciiLower(a) != asciiLower(b) {
			r.Fatalf("%q and %q are one mailbox", a, b)
		}
	})
}

func asciiLower(s string) string {
	return strings.Map(func(c rune) rune {
		if 'A' <= c && c <= 'Z' {
			return c + 'a' - 'A'
		}
		return c
	}, strings.TrimSpace(s))
}

func TestMaskEmail(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada@example.com": "a***@example.com", "a@b.c": "a***@b.c", "": "***", "ada": "***", "@example.com": "***",
	} {
		require.Equal(t, want, account.MaskEmail(in))
	}
}

func FuzzParseEmail(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "Ada <ada@example.com>", `"a b"@example.com`, "vi\u0131@example.com", "a@b@c.d", "\xff@x.y"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		email, fault := account.ParseEmail(s)
		if (fault == "") == (email == "") {
			t.Fatalf("%q: %q and %q", s, email, fault)
		}
		if fault != "" {
			return
		}
		if again, fault := account.ParseEmail(email); fault != "" || again != email {
			t.Fatalf("%q parses to %q, which parses to %q %s", s, email, again, fault)
		}
		if strings.ContainsAny(email, " \t\r\n\x00<>\"\\,;:()") || strings.Count(email, "@") != 1 || len(email) > account.MaxEmailLength {
			t.Fatalf("accepted %q", email)
		}
		for _, c := range email {
			if c > '~' || 'A' <= c && c <= 'Z' {
				t.Fatalf("accepted %q", email)
			}
		}
	})
}
