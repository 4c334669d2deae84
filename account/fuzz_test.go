package account_test

import (
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"gatehouse/account"
)

func FuzzPassword(f *testing.F) {
	for _, seed := range []string{"Correct-Horse-7", "pass\x00word", "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301", "\xff\xfe", "        ", strings.Repeat("\U0001F600", 257)} {
		f.Add(seed, "ada@example.com")
	}
	f.Fuzz(func(t *testing.T, password, own string) {
		once := account.NormalizePassword(password)
		if account.NormalizePassword(once) != once {
			t.Fatalf("%q has two normal forms", password)
		}
		if account.NormalizePassword(norm.NFD.String(password)) != once {
			t.Fatalf("%q decomposed is another password", password)
		}
		fault := account.PasswordFault(password, own)
		if fault != account.PasswordFault(once, own) {
			t.Fatalf("%q and its normal form are judged differently", password)
		}
		if n := utf8.RuneCountInString(once); fault == "" &&
			(n < account.MinPasswordLength || n > account.MaxPasswordLength || strings.ContainsRune(once, 0) || strings.EqualFold(once, own)) {
			t.Fatalf("%q was accepted", password)
		}
		_ = account.LetterAndNumberFault(password)
	})
}

func FuzzCode(f *testing.F) {
	for _, seed := range []string{"482910", "048291\x00", " 482910", "٤٨٢٩١٠", "", "4829101", "\xff\xff\xff\xff\xff\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, code string) {
		if account.CodeFault(code) == "" && (len(code) != account.CodeLength || strings.Trim(code, "0123456789") != "") {
			t.Fatalf("%q passes for a code", code)
		}
		if account.OTPFault(code) == "" && utf8.RuneCountInString(code) != account.CodeLength {
			t.Fatalf("%q can be tried", code)
		}
	})
}

// What a header of a stranger's choice becomes is shown to people, on one line and in few words.
func FuzzDeviceLabel(f *testing.F) {
	for _, seed := range []string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
		"", "curl/8", "<script>/1 (x;y)", "a\u202eb/1.0", "Mozilla/5.0 (;;;)", strings.Repeat("a/1 ", 200), "\xff/1",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, agent string) {
		label := account.DeviceLabel(agent)
		if label == "" || len(label) > 200 || strings.ContainsAny(label, "<>&\"'\r\n\x00\u202e/\\") {
			t.Fatalf("%q is called %q", agent, label)
		}
	})
}

// A hint or mask never shows the whole of what it hides.
func FuzzMask(f *testing.F) {
	for _, seed := range []string{"ada@example.com", "a@b.c", "", "+4915112345678", "+1234567", "@", "+12", "\xff\xff\xff@x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, destination string) {
		if strings.Contains(destination, "***") {
			return // it looks masked as it is
		}
		for _, channel := range []account.Channel{account.ChannelEmail, account.ChannelSMS, account.ChannelWhatsApp} {
			hidden := destination
			if local, _, is := strings.Cut(destination, "@"); is && channel == account.ChannelEmail {
				hidden = local
			}
			mask, hint := account.Mask(channel, destination), account.Hint(channel, destination)
			if len(hidden) > 1 && (strings.HasPrefix(mask, hidden+"@") || mask == destination || hint == destination) {
				t.Fatalf("%q is shown as %q and hinted at as %q", destination, mask, hint)
			}
		}
	})
}

// Whatever passes for the address of a receiver leads to one host by TLS, with nothing secret in it, however it is read.
func FuzzWebhookURLFault(f *testing.F) {
	for _, seed := range []string{
		"https://example.com/hook", "http://example.com", "https://user:pw@example.com", "https://[::1]:443/", "https://example.com:22/", "https://",
		"https://a\\@b/", "https://example.com#x", "https://0x7f.1/", "https://[fe80::1%25eth0]/", "HTTPS://EXAMPLE.com", "https:///x", "https://a:/",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if account.WebhookURLFault(raw, false) != "" {
			return
		}
		if account.WebhookURLFault(raw, true) != "" {
			t.Fatalf("%q is good for production and not for development", raw)
		}
		u, err := url.Parse(raw)
		if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || strings.ContainsAny(raw, "\r\n\x00") {
			t.Fatalf("%q was accepted", raw)
		}
		again, err := url.Parse(u.String())
		if err != nil || again.Host != u.Host {
			t.Fatalf("%q leads to %q and then to %v", raw, u.Host, again)
		}
	})
}

func FuzzParseWebhookID(f *testing.F) {
	for _, seed := range []string{"evt_019a0000-0000-7000-8000-000000000000", "", "evt_", "{019a0000-0000-7000-8000-000000000000}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		id, err := account.ParseWebhookID(s)
		if err != nil {
			return
		}
		if again, err := account.ParseWebhookID("evt_" + id.String()); err != nil || again != id {
			t.Fatalf("%q is %s, which is %s", s, id, again)
		}
	})
}

func FuzzPhoneRules(f *testing.F) {
	for _, seed := range []string{"DE,+49", "", "+", "001", "+1,US,XX", "+٤٩"} {
		f.Add(seed, "+4915112345678")
	}
	f.Fuzz(func(t *testing.T, countries, number string) {
		rules := account.PhoneRules{Countries: strings.Split(countries, ","), Strict: true}
		fault := rules.Fault()
		got, err := rules.ParsePhone(number)
		if err == nil && fault == "" && account.PhoneCountry(got) == "" {
			t.Fatalf("%q is of no country, yet taken", got)
		}
		if prefix := account.PhonePrefix(number); !strings.HasPrefix(number, prefix) {
			t.Fatalf("%q is not in the range %q", number, prefix)
		}
	})
}

// An address of a client is normalised to one form however it is written.
func FuzzNormalizeEmail(f *testing.F) {
	for _, seed := range []string{" Ada@Example.com ", "vi\u0131ctim@example.com", "\u212Aelvin@example.com", "\xff", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		once := account.NormalizeEmail(s)
		if account.NormalizeEmail(once) != once {
			t.Fatalf("%q has two normal forms", s)
		}
		for i, r := range []rune(strings.TrimSpace(s)) {
			// RST-07: whatever is no letter of ASCII is nobody else's letter.
			if r > '~' && []rune(once)[i] != r {
				t.Fatalf("%q became %q", s, once)
			}
		}
	})
}
