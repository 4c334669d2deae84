package account_test

import (
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"gatehouse/account"
)

func TestParseUsername(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"ada": "ada", "  Ada_Lovelace ": "ada_lovelace", "@ada": "ada", " @Ada": "ada", "a.d.a": "a.d.a", "___": "___", "123": "123",
		"\uff41\uff44\uff41": "ada", "ADA\ufb00": "adaff", "\u212aate": "kate", "a\u00b2b": "a2b", strings.Repeat("a", 30): strings.Repeat("a", 30),
	} {
		got, fault := account.ParseUsername(in)
		require.Empty(t, fault, "%q", in)
		require.Equal(t, want, got)
	}
	for in, fault := range map[string]string{
		"": "is required", "  ": "is required", "@": "is required", "ab": "must be 3 to 30 characters",
		strings.Repeat("a", 31): "must be 3 to 30 characters", ".ada": "must not begin or end with a dot", "ada.": "must not begin or end with a dot",
		"support.": "must not begin or end with a dot", "...": "must not begin or end with a dot",
		"check": "is reserved", "search": "is reserved", "change": "is reserved", "ADMIN": "is reserved", "@Support": "is reserved",
		"\uff41dmin": "is reserved", "Root ": "is reserved", "adm1n": "is reserved", "r00t": "is reserved", "sup_p.ort": "is reserved",
		"b1ll1ng": "is reserved", "b111ing": "is reserved", "h3lp_": "is reserved", "_admin_": "is reserved",
	} {
		got, f := account.ParseUsername(in)
		require.Equal(t, fault, f, "%q", in)
		require.Empty(t, got)
	}
}

func TestUSR05_RoutesAreReserved(t *testing.T) {
	t.Parallel()
	for _, route := range []string{"check", "search", "can-change", "change"} {
		_, fault := account.ParseUsername(route)
		require.NotEmpty(t, fault, route)
	}
}

func TestUSR03_LookAlikesHaveNoFormOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"\u0430dmin", "ADM\u0130N", "adm\u0131n", "ad\u200bmin", "admin\u200d", "\u202enimda", "admin\ufeff", "ad\u00admin", "\u0251dmin",
		"supp\u03bfrt", "a\u0300da", "ad\u00e0", "ad min", "ad-min", "ada\x00", "ada\n1", "ada@example.com", "@@ada", "ada\U0001F600",
		"\uff20ada", "ada\uff0e", "<script>", "ada%", "ada'--", "\xff\xfe\xfd", "ada\u0660",
	} {
		got, fault := account.ParseUsername(in)
		require.NotEmpty(t, fault, "%q became %q", in, got)
		require.Empty(t, got)
	}
}

// What is reserved today may have been chosen before: it is still read.
func TestReadUsernameKnowsNoReservedWords(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"admin", "@Adm1n", "check"} {
		got, fault := account.ReadUsername(in)
		require.Empty(t, fault)
		require.Equal(t, account.FoldUsername(in), got)
	}
	_, fault := account.ReadUsername("a b")
	require.NotEmpty(t, fault)
}

func TestSuggestUsernames(t *testing.T) {
	t.Parallel()
	highest := func(n int) int { return n - 1 }
	require.Equal(t, []string{"john_doe1", "john_doe99", "johndoe_", "john_doe999", "john_doe9999"}, account.SuggestUsernames("@John_Doe", highest))
	require.Equal(t, []string{"ada", "ada1", "ada99", "ada_", "ada999", "ada9999"}, account.SuggestUsernames(" .Ada!! ", highest))
	require.Equal(t, []string{"a99", "a999", "a9999"}, account.SuggestUsernames("a", highest))
	for _, none := range []string{"", "@", "___", "...", "admin", "ADM1N", "s.u.p.p.o.r.t", "\U0001F600"} {
		require.Empty(t, account.SuggestUsernames(none, highest), none)
	}
}

func TestSuggestedUsernamesCanBeChosen(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringMatching(`[a-zA-Z0-9_.]{1,40}`)).Draw(r, "name")
		for _, name := range account.SuggestUsernames(s, func(n int) int { return rapid.IntRange(0, n-1).Draw(r, "drawn") }) {
			if got, fault := account.ParseUsername(name); got != name || name == account.FoldUsername(s) {
				r.Fatalf("%q was offered for %q: %q, %s", name, s, got, fault)
			}
		}
	})
}

var stored = regexp.MustCompile(`^[a-z0-9_.]{3,30}$`) // as the table's constraint has it

func TestUsernameProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(r *rapid.T) {
		checkUsername(r, rapid.OneOf(rapid.StringOf(letters), rapid.String(), rapid.StringMatching(`@?[a-zA-Z0-9_.]{1,32}`)).Draw(r, "name"))
	})
}

func checkUsername(t interface{ Fatalf(string, ...any) }, s string) {
	name, fault := account.ParseUsername(s)
	if (fault == "") == (name == "") {
		t.Fatalf("%q: %q and %q", s, name, fault)
	}
	if fault != "" {
		return
	}
	if !stored.MatchString(name) || name[0] == '.' || name[len(name)-1] == '.' {
		t.Fatalf("%q was accepted as %q", s, name)
	}
	for _, again := range []string{name, strings.ToUpper(name), "@" + name, " " + name + " "} {
		if got, fault := account.ParseUsername(again); got != name {
			t.Fatalf("%q is stored as %q, and %q as %q (%s)", s, name, again, got, fault)
		}
	}
}

func FuzzParseUsername(f *testing.F) {
	for _, seed := range []string{"ada", "@Ada.", "\u0430dmin", "\uff41\ufb00", "\ufdfa", "ADM\u0130N", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) { checkUsername(t, s) })
}
