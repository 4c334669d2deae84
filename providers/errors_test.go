package providers_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers"
)

func TestErrorsAreClassifiedThroughWrapping(t *testing.T) {
	t.Parallel()

	wrap := func(err error) error { return fmt.Errorf("sending: %w", err) }
	for _, c := range []struct {
		err                   error
		permanent, unanswered bool
		after                 time.Duration
	}{
		{nil, false, false, 0},
		{io.EOF, false, true, 0},
		{providers.Permanent(io.EOF), true, false, 0},
		{wrap(providers.Permanent(io.EOF)), true, false, 0},
		{providers.Gone(io.EOF), true, false, 0},
		{wrap(providers.Unanswered(io.EOF)), false, true, 0},
		{wrap(providers.Temporary(io.EOF, time.Minute)), false, false, time.Minute},
		{providers.Temporary(io.EOF, -time.Minute), false, false, 0},
	} {
		require.Equal(t, c.permanent, providers.IsPermanent(c.err), "%v", c.err)
		require.Equal(t, c.unanswered, providers.IsUnanswered(c.err), "%v", c.err)
		require.Equal(t, c.after, providers.RetryAfter(c.err), "%v", c.err)
		require.True(t, c.err == nil || errors.Is(c.err, io.EOF))
	}
}

func TestParseRetryAfter(t *testing.T) {
	t.Parallel()
	for header, want := range map[string]time.Duration{
		"": 0, "soon": 0, "-1": 0, "0": 0, "7": 7 * time.Second, "3600": time.Hour, "9999999999": time.Hour, "99999999999999999999": 0,
	} {
		require.Equal(t, want, providers.ParseRetryAfter(header), header)
	}
}

func TestMessagesDoNotPrintTheirSecrets(t *testing.T) {
	t.Parallel()

	m := providers.Message{
		ID: uuid.New(), Channel: account.ChannelEmail, To: "canary.person@example.com", Template: "signup_code",
		Subject: "canary-subject", Text: "canary-text 987654", HTML: "canary-html", Code: "987654",
	}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("sending", "message", m)
	for _, shown := range []string{
		fmt.Sprint(m), fmt.Sprintf("%v %+v %#v %s", m, &m, m, m), log.String(),
	} {
		require.NotContains(t, shown, "canary")
		require.NotContains(t, shown, "987654")
		require.Contains(t, shown, m.ID.String())
		require.Contains(t, shown, "c***@example.com")
	}

	m.Channel, m.To = account.ChannelSMS, "+4915112345678"
	require.NotContains(t, m.String(), "5112345678")
}
