package account_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
)

func TestPasswordPolicy(t *testing.T) {
	t.Parallel()
	own := []string{"ada.lovelace@example.com", "Ada Lovelace", ""}
	for password, fault := range map[string]string{
		"":                              "is required",
		"          ":                    "must not be blank",
		"\u00a0\u2003\u3000       ":     "must not be blank",
		"short7!":                       "Password must be at least 8 characters",
		"passw\u00f6r":                  "Password must be at least 8 characters", // 8 bytes
		"\U0001F511\U0001F511":          "Password must be at least 8 characters", // 8 bytes
		"pa\u0308sswo\u0308":            "Password must be at least 8 characters", // 8 runes before, 6 after normalisation
		strings.Repeat("ab", 128) + "c": "must be at most 256 characters",
		"with\x00nul inside":            "must not contain NUL",
		"password":                      "is too common",
		"PassWord":                      "is too common",
		"12345678":                      "is too common",
		"iloveyou1":                     "is too common",
		"ada.lovelace@example.com":      "must not be your email or name",
		"ADA.Lovelace@Example.com":      "must not be your email or name",
		"Ada.Lovelace":                  "must not be your email or name",
		"ada lovelace":                  "must not be your email or name",
		"correct horse battery":         "",
		" leading and trailing ":        "",
		"qwzrtplk":                      "",
		"\U0001F511\U0001F512\U0001F513\U0001F514\U0001F515\U0001F516\U0001F517\U0001F518": "",
		strings.Repeat("\u00e4b", 128): "",
		"onlylowercaseletters":         "", // NIST: no rules of composition
	} {
		require.Equal(t, fault, account.PasswordFault(password, own...), "%q", password)
	}
	require.Empty(t, account.PasswordFault("ada.lovelace"), "it is nobody's name")
}

func TestLOG07_NormalizedPasswords(t *testing.T) {
	t.Parallel()
	require.Equal(t, account.NormalizePassword("p\u00e4ss"), account.NormalizePassword("pa\u0308ss"))
	require.NotEqual(t, account.NormalizePassword("pass"), account.NormalizePassword("pass "), "a space counts")
	require.NotEqual(t, account.NormalizePassword("\ufb00"), account.NormalizePassword("ff"), "NFC, not NFKC: nothing is merged")
	rapid.Check(t, func(r *rapid.T) {
		p := rapid.String().Draw(r, "password")
		once := account.NormalizePassword(p)
		if account.NormalizePassword(once) != once {
			r.Fatalf("normalising %q twice gives another password", p)
		}
		if account.PasswordFault(p) != account.PasswordFault(once) {
			r.Fatalf("%q is judged otherwise in its normal form", p)
		}
	})
}

func TestOTP11_CodesAreSixASCIIDigits(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"000000", "482910", "999999"} {
		require.Empty(t, account.CodeFault(code))
	}
	require.Equal(t, "is required", account.CodeFault(""))
	for _, code := range []string{
		"48291", "4829100", "0482910", " 482910", "482910 ", "48 910", "482 91", "48291a", "-48291", "+48291", "4.8291", "0x1234", "1e0005",
		"\u0664\u0668\u0662\u0669\u0661\u0660", "\u0664\u0668\u0662", "\uff14\uff18", "48291\u0660", "482910\x00", "\x00\x00\x00\x00\x00\x00",
		"true", "null", `["482910"]`, "<nil>", "482910\n", "\n82910", "//////", "::::::",
	} {
		require.Equal(t, "must be 6 digits", account.CodeFault(code), "%q", code)
	}
}
