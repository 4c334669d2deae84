package templates_test

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/providers/templates"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// sample has every field, so that one value serves all templates.
var sample = templates.Data{
	Code: "042137", Minutes: 10,
	Link: "https://gatehouse.example/confirm-email?token=tok-3f9a&lang=en", LinkHours: 24,
	Name: "Zoë O'Neil", Username: "zoe.oneil",
	Address: "n***@example.com",
	Keys:    []string{"ci-deploy_2", "Call +1 900 555 1234 now", "https://evil.example/x@y", "🔑 <b>prod</b>"},
	Plan:    "Starter", Amount: "9.00 USD", Date: "31 January 2026",
}

// textOnly are the messages that are no mails.
func textOnly(name string) bool {
	return slices.Contains([]string{templates.PhoneCode, templates.PasswordChangedSMS, templates.PushNotice}, name)
}

func TestPhoneCodeFitsOneSMS(t *testing.T) {
	t.Parallel()

	_, text, _, err := templates.Render(templates.PhoneCode, sample)
	require.NoError(t, err)
	require.LessOrEqual(t, len(text), 160, "in the seven-bit alphabet")
	require.True(t, strings.HasPrefix(text, "042137 is your"), "the code shows in a notification")
	require.NotRegexp(t, `[^\x20-\x7e\n]`, text)
	require.NotContains(t, text, "http")
}

func TestEveryFileIsATemplate(t *testing.T) {
	t.Parallel()

	found := map[string]bool{}
	require.NoError(t, fs.WalkDir(os.DirFS("messages"), ".", func(path string, entry fs.DirEntry, err error) error {
		if !entry.IsDir() && path != "layout.html" {
			found[strings.TrimSuffix(path, filepath.Ext(path))] = true
		}
		return err
	}))
	for _, name := range templates.Names() {
		require.True(t, found[name], name)
		delete(found, name)
	}
	require.Empty(t, found, "files without a line in the table")
}

func TestGolden(t *testing.T) {
	t.Parallel()

	for _, name := range templates.Names() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()

			subject, text, html, err := templates.Render(name, sample)
			require.NoError(t, err)
			forms := map[string]string{name + ".txt": "Subject: " + subject + "\n\n" + text, name + ".html": html}
			if textOnly(name) {
				forms = map[string]string{name + ".txt": text}
			}
			for file, got := range forms {
				path := filepath.Join("testdata", file)
				if *update {
					require.NoError(t, os.WriteFile(path, []byte(got), 0o600))
				}
				want, err := os.ReadFile(path)
				require.NoError(t, err, "run the test with -update")
				require.Equal(t, string(want), got, "run the test with -update and read the difference")
			}
		})
	}
}

func TestEveryTemplateIsWholeAndSaysWhatToDoIfItWasNotYou(t *testing.T) {
	t.Parallel()

	for _, name := range templates.Names() {
		subject, text, html, err := templates.Render(name, sample)
		require.NoError(t, err, name)
		forms := map[string]string{"text": text, "html": html}
		if textOnly(name) {
			require.Empty(t, subject+html, name)
			delete(forms, "html")
		} else {
			require.NotEmpty(t, subject, name)
		}
		require.NotContains(t, subject, sample.Code, "%s: servers log subjects", name)
		for form, body := range forms {
			require.Contains(t, body, "If it was not you:", "%s %s", name, form)
			require.NotContains(t, body, "<no value>", "%s %s", name, form)
			require.NotContains(t, body, "ZgotmplZ", "%s %s: html/template refused a value", name, form)
		}
		for line := range strings.Lines(text) {
			require.LessOrEqual(t, len([]rune(line)), 80, "%s: %q", name, line)
		}
	}
}

func TestHTMLIsSelfContainedAndAccessible(t *testing.T) {
	t.Parallel()

	foreign := regexp.MustCompile(`(?i)<(?:img|script|link|iframe|table|form)\b|url\(|@import|\bsrc=`)
	for _, name := range templates.Names() {
		if textOnly(name) {
			continue
		}
		_, _, html, err := templates.Render(name, sample)
		require.NoError(t, err)
		require.NotRegexp(t, foreign, html, name)
		require.Contains(t, html, `<html lang="en">`, name)
		require.Contains(t, html, "prefers-color-scheme: dark", name)
		require.Equal(t, 1, strings.Count(html, "<h1>"), name)
		require.Regexp(t, `<title>[^<]+</title>`, html, name)
	}
}

func TestCodeStandsOnItsOwnLine(t *testing.T) {
	t.Parallel()

	for _, name := range []string{templates.SignupCode, templates.ConfirmEmail} {
		_, text, html, err := templates.Render(name, sample)
		require.NoError(t, err)
		require.Regexp(t, `(?m)^042137$`, text, name)
		require.Equal(t, 1, strings.Count(text, "042137"), name)
		require.Contains(t, html, `<p class="code">042137</p>`, name)
	}
}

func TestLinkIsWholeInBothForms(t *testing.T) {
	t.Parallel()

	_, text, html, err := templates.Render(templates.ConfirmEmail, sample)
	require.NoError(t, err)
	require.Contains(t, text, "\n"+sample.Link+"\n")
	require.Contains(t, html, `href="https://gatehouse.example/confirm-email?token=tok-3f9a&amp;lang=en"`)
}

func TestMissingOrMalformedFieldsAreNamedAndNotShown(t *testing.T) {
	t.Parallel()

	with := func(change func(*templates.Data)) templates.Data {
		d := sample
		change(&d)
		return d
	}
	for _, c := range []struct {
		template string
		data     templates.Data
		says     string
	}{
		{"no_such", sample, "unknown"},
		{templates.SignupCode, with(func(d *templates.Data) { d.Code = "" }), "Code"},
		{templates.SignupCode, with(func(d *templates.Data) { d.Code = "0421375\n" }), "Code"},
		{templates.SignupCode, with(func(d *templates.Data) { d.Minutes = 0 }), "Minutes"},
		{templates.ConfirmEmail, with(func(d *templates.Data) { d.Link = "" }), "Link"},
		{templates.ConfirmEmail, with(func(d *templates.Data) { d.Link = "javascript:alert(1)?token=0421375" }), "Link"},
		{templates.ConfirmEmail, with(func(d *templates.Data) { d.Link = "https://a.example/?token=0421375\nBcc: x" }), "Link"},
		{templates.ConfirmEmail, with(func(d *templates.Data) { d.Link = "https://a.example/0421375" }), "token"},
	} {
		_, _, _, err := templates.Render(c.template, c.data)
		require.ErrorContains(t, err, c.says)
		require.NotContains(t, err.Error(), "0421375")
	}
}

func TestNamesCannotCarryLinksOrMarkup(t *testing.T) {
	t.Parallel()

	for _, name := range []string{
		"https://evil.example", "evil.example", "Win at evil.example/x", "mail me@evil.example", "www.evil.example",
		"<a href=x>you</a>", "Bob\r\nBcc: all@example.com", "call 0900 123456", "tel:1", "a\u202eb", "{{.Code}}",
		strings.Repeat("a", 61), "",
	} {
		_, text, html, err := templates.Render(templates.Welcome, templates.Data{Name: name})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(text, "Hello,\n"), "%q is shown: %s", name, text)
		require.Contains(t, html, "<p>Hello,</p>", "%q is shown", name)
	}
	for name, shown := range map[string]string{
		"Zoë O'Neil": "Zoë O'Neil", " J. R.  Smith\n": "J. R. Smith", "李小龍": "李小龍", "King Jr.": "King Jr.",
	} {
		_, text, _, err := templates.Render(templates.Welcome, templates.Data{Name: name})
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(text, "Hello "+shown+",\n"), text)
	}
}

func TestUsernameIsNoDomainToAMailProgram(t *testing.T) {
	t.Parallel()

	data := sample
	for username, greeting := range map[string]string{
		"evil.example": "Hello evil.\u2060example,", "zoe_1": "Hello zoe_1,", "<b>": "Hello,", "": "Hello,",
	} {
		data.Username = username
		_, text, html, err := templates.Render(templates.ConfirmEmail, data)
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(text, greeting+"\n"), text)
		require.Contains(t, html, "<p>"+greeting+"</p>")
	}
}
