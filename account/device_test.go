package account_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
)

func TestDeviceLabel(t *testing.T) {
	t.Parallel()
	const webkit = " AppleWebKit/537.36 (KHTML, like Gecko) "
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7)" + webkit + "Chrome/120.0.0.0 Safari/537.36":                         "Chrome 120.0 on macOS",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 Version/17.0 Mobile/15E148 Safari/604.1": "Safari 17.0 on iOS",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:121.0) Gecko/20100101 Firefox/121.0":                                    "Firefox 121.0 on Windows",
		"Mozilla/5.0 (X11; Linux x86_64)" + webkit + "Chrome/120.0.0.0 Safari/537.36 Edg/120.0.2210.91":                       "Edge 120.0 on Linux",
		"Mozilla/5.0 (Linux; Android 14; Pixel 8)" + webkit + "Chrome/120.0.6099.43 Mobile Safari/537.36":                     "Chrome 120.0 on Android",
		"curl/8.4.0":                "curl 8.4",
		"python-requests/2.31.0":    "python-requests 2.31",
		"":                          "Unknown device",
		"  ":                        "Unknown device",
		"<script>alert(1)</script>": "Unknown device",
		strings.Repeat("x", 500):    "Unknown device",
	} {
		require.Equal(t, want, account.DeviceLabel(agent), agent)
	}
}

func TestDeviceOfASession(t *testing.T) {
	t.Parallel()
	mine := "My laptop"
	require.Equal(t, mine, account.Session{DeviceInfo: &mine, UserAgent: "curl/8.4.0"}.Device())
	require.Equal(t, "curl 8.4", account.Session{UserAgent: "curl/8.4.0"}.Device())
}
