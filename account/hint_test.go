package account_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestHint(t *testing.T) {
	t.Parallel()
	for destination, want := range map[string]string{
		"john@example.com": "jo***@example.com", "joe@example.com": "jo***@example.com", "jo@example.com": "j***@example.com",
		"j@example.com": "j***@example.com", "": "***",
	} {
		require.Equal(t, want, account.Hint(account.ChannelEmail, destination), destination)
	}
	for destination, want := range map[string]string{
		"+254712347890": "+254***7890", "+1234567890": "+123***7890", "+123456789": "+1***89", "+123456": "+1***56", "+12345": "***", "": "***",
	} {
		require.Equal(t, want, account.Hint(account.ChannelSMS, destination), destination)
		require.Equal(t, want, account.Hint(account.ChannelWhatsApp, destination), destination)
	}
}
