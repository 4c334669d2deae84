package account_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestWebhookRules_NextTry(t *testing.T) {
	t.Parallel()
	r := account.WebhookRules{Retries: []time.Duration{5 * time.Second, 5 * time.Minute}}
	for _, c := range []struct {
		try   int
		asked time.Duration
		wait  time.Duration
		ok    bool
	}{
		{1, 0, 5 * time.Second, true},
		{2, 0, 5 * time.Minute, true},
		{2, time.Minute, 5 * time.Minute, true},
		{2, time.Hour, time.Hour, true},
		{1, 100 * time.Hour, 24 * time.Hour, true},
		{3, 0, 0, false},
		{3, time.Hour, 0, false},
	} {
		wait, ok := r.NextTry(c.try, c.asked)
		require.Equal(t, c.wait, wait, "%+v", c)
		require.Equal(t, c.ok, ok, "%+v", c)
	}
}

func TestWebhookURLFault(t *testing.T) {
	t.Parallel()
	for raw, fine := range map[string]struct{ production, local bool }{
		"https://hooks.example.com/in?a=b":                 {true, true},
		"https://hooks.example.com:8443/":                  {true, true},
		"https://hooks.example.com:22/":                    {false, true},
		"http://hooks.example.com/":                        {false, true},
		"http://127.0.0.1:4000/":                           {false, true},
		"ftp://hooks.example.com/":                         {},
		"https://":                                         {},
		"https://:443/":                                    {},
		"hooks.example.com":                                {},
		"https://me:secret@example.com/":                   {},
		"https://example.com/#x":                           {},
		"https://example.com/" + strings.Repeat("a", 2000): {},
	} {
		require.Equal(t, fine.production, account.WebhookURLFault(raw, false) == "", raw)
		require.Equal(t, fine.local, account.WebhookURLFault(raw, true) == "", raw)
	}
}

func TestWebhookPatterns(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"subscription.renewed", "subscription.*", "*"}, account.WebhookPatterns("subscription.renewed"))
	for _, eventType := range account.WebhookTypes() {
		for _, p := range account.WebhookPatterns(eventType) {
			require.Empty(t, account.WebhookPatternFault(p))
		}
	}
	for _, bad := range []string{"", "subscription", "subscription.", "subscription.eaten", "Subscription.*", "*.*", "nothing.*", "a b.c"} {
		require.NotEmpty(t, account.WebhookPatternFault(bad), bad)
	}
}

func TestParseWebhookID(t *testing.T) {
	t.Parallel()
	id := uuid.New()
	for _, s := range []string{account.WebhookID(id), id.String()} {
		got, err := account.ParseWebhookID(s)
		require.NoError(t, err)
		require.Equal(t, id, got)
	}
	_, err := account.ParseWebhookID("evt_")
	require.Error(t, err)
}

// Receivers can ask for every change that a subscription can make: the names are those in the code of the changes.
func TestWebhookTypes_NameEveryChangeOfASubscription(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("subscription*.go")
	require.NoError(t, err)
	known := account.WebhookTypes()
	found := 0
	for _, file := range files {
		source, err := os.ReadFile(file)
		require.NoError(t, err)
		for _, m := range regexp.MustCompile(`(?:became\(|event :?= .*|event = .*)"([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
			require.Contains(t, known, "subscription."+m[1], file)
			found++
		}
	}
	require.Greater(t, found, 20)
}

// Every event of the audit log can be asked for, but for those of the installation.
func TestWebhookTypes_NameEveryEventOfAnAccount(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("event.go")
	require.NoError(t, err)
	known := account.WebhookTypes()
	found := 0
	for _, m := range regexp.MustCompile(`EventName = "([a-z_.]+)"`).FindAllStringSubmatch(string(source), -1) {
		if strings.HasPrefix(m[1], "service_key.") || strings.HasPrefix(m[1], "audit.") || strings.HasPrefix(m[1], "webhook.") {
			require.NotContains(t, known, m[1])
			continue
		}
		require.Contains(t, known, m[1])
		found++
	}
	require.Greater(t, found, 20)
}

func TestEvent_WebhookEvent(t *testing.T) {
	t.Parallel()
	details := map[string]any{"method": "signup"}
	e := account.Event{
		ID: uuid.New(), AccountID: uuid.New(), Sequence: 3, Name: account.EventAccountCreated, Details: details, At: time.Unix(1, 0),
		Acting: account.Acting{Kind: account.ActorVisitor, ID: "canary", Network: "192.0.2.0/24", RequestID: "canary"},
	}
	require.Equal(t, account.WebhookEvent{
		ID: e.ID, Type: "account.created", AccountID: e.AccountID, At: e.At,
		Data: map[string]any{"method": "signup", "account_id": e.AccountID, "sequence": int64(3)},
	}, e.WebhookEvent())
	require.Len(t, details, 1, "they are somebody else's")
	e.Details = nil
	require.Len(t, e.WebhookEvent().Data, 2)
}
