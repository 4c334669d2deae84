//nolint:paralleltest // every test sets the environment of the process
package config_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/internal/config"
)

const (
	devKey = "dev:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	// canary marks whatever must not be shown.
	canary = "canary"
)

// minimum is the least that a developer's machine needs.
var minimum = map[string]string{
	"DATABASE_URL": "postgres://gatehouse:" + canary + "@localhost/gatehouse", "GATEHOUSE_SECRET_KEY": devKey, "GATEHOUSE_SIGNING_KEY": devKey,
	"GATEHOUSE_CODEC_KEYS": devKey,
}

// production is the least that production needs.
var production = map[string]string{
	"GATEHOUSE_ENVIRONMENT": "production", "DATABASE_URL": minimum["DATABASE_URL"], "GATEHOUSE_BASE_URL": "https://accounts.example",
	"GATEHOUSE_SECRET_KEY":  base64.StdEncoding.EncodeToString(make([]byte, 32)),
	"GATEHOUSE_SIGNING_KEY": base64.StdEncoding.EncodeToString(make([]byte, 32)),
	"GATEHOUSE_CODEC_KEYS":  base64.StdEncoding.EncodeToString([]byte("keyset")), "GATEHOUSE_SMTP_HOST": "smtp.example",
	"GATEHOUSE_TWILIO_ACCOUNT_SID": "AC1", "GATEHOUSE_STRIPE_SECRET_KEY": "sk_live_" + canary, "GATEHOUSE_CODEC_PASSWORD": canary + "-sixteen-or-more",
}

// load reads the settings in an environment that holds given alone, and changes on top of it.
func load(t *testing.T, given map[string]string, changes ...string) (config.Config, error) {
	t.Helper()
	for _, s := range config.Settings() {
		t.Setenv(s.Name, given[s.Name])
	}
	for _, c := range changes {
		name, value, _ := strings.Cut(c, "=")
		require.True(t, slices.ContainsFunc(config.Settings(), func(s config.Setting) bool { return s.Name == name }), name)
		t.Setenv(name, value)
	}
	return config.Load()
}

func TestDefaultsAreEnough(t *testing.T) {
	c, err := load(t, minimum)
	require.NoError(t, err)
	require.Equal(t, config.Development, c.Environment)
	require.Equal(t, "127.0.0.1:8080", c.APIAddr)
	require.Equal(t, "127.0.0.1:9090", c.OpsAddr)
	require.Equal(t, "http://localhost:8080/confirm-email", c.ConfirmURL)
	require.Equal(t, 16, c.DatabasePool)
	require.Empty(t, c.AllowedOrigins)
	require.Empty(t, c.TrustedProxies)
	require.True(t, c.DevInbox())
	require.Greater(t, c.RequestTimeout, c.FlowTimeout, "an answer has time after the flow's")

	p := c.Policy
	require.Equal(t, account.EnumerationDocumented, p.Enumeration)
	require.Equal(t, 10*time.Minute, p.CodeTTL)
	require.Equal(t, 5, p.CodeTries)
	require.Equal(t, 30*24*time.Hour, p.SessionTTL)
	require.Equal(t, []account.Quota{{Max: 1, Per: time.Minute}, {Max: 5, Per: time.Hour}, {Max: 10, Per: 24 * time.Hour}}, p.SendQuotas())
	require.Equal(t, []account.Quota{{Max: 10, Per: time.Hour}, {Max: 20, Per: 24 * time.Hour}}, p.GuessQuotas())
}

func TestSettingsAreRead(t *testing.T) {
	c, err := load(t, minimum, "GATEHOUSE_TRUSTED_PROXIES=10.0.0.0/8,2001:db8::/32", "GATEHOUSE_ALLOWED_ORIGINS=https://a.example,https://b.example",
		"GATEHOUSE_BASE_URL=https://accounts.example/", "GATEHOUSE_CODE_TTL=90s", "GATEHOUSE_ENUMERATION=hidden", "GATEHOUSE_LIMIT_SCALE=2.5",
		"GATEHOUSE_SMTP_HOST=smtp.example", "GATEHOUSE_SMTP_PORT=2525", "GATEHOUSE_SMTP_TLS=none", "GATEHOUSE_TWILIO_ACCOUNT_SID=AC1",
		"GATEHOUSE_FCM_CREDENTIALS=/etc/fcm.json", "GATEHOUSE_HELD_CHANGES=a, b", "GATEHOUSE_PAYMENT_METHODS_PER_DAY=0")
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, c.HeldChanges)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8::/32")}, c.TrustedProxies)
	require.Equal(t, []string{"https://a.example", "https://b.example"}, c.AllowedOrigins)
	require.Equal(t, "https://accounts.example/confirm-email", c.ConfirmURL, "no double slash")
	require.Equal(t, 90*time.Second, c.Policy.CodeTTL)
	require.Equal(t, account.EnumerationHidden, c.Policy.Enumeration)
	require.InDelta(t, 2.5, c.Policy.LimitScale, 0)
	require.Equal(t, 2525, c.Mail.Port)
	require.False(t, c.DevInbox())

	c, err = load(t, minimum, "GATEHOUSE_CONFIRM_URL=https://app.example/confirm?x=1")
	require.NoError(t, err)
	require.Equal(t, "https://app.example/confirm?x=1", c.ConfirmURL)
}

func TestEveryFaultIsNamedAtOnce(t *testing.T) {
	_, err := load(t, nil, "GATEHOUSE_ENVIRONMENT=staging", "GATEHOUSE_ENUMERATION=maybe", "GATEHOUSE_SMTP_TLS=ssl", "GATEHOUSE_BASE_URL=accounts.example",
		"GATEHOUSE_CONFIRM_URL=/confirm", "GATEHOUSE_TEMPORAL_TLS_CERT_FILE=/tls.crt", "GATEHOUSE_TEMPORAL_API_KEY=a b", "GATEHOUSE_TEMPORAL_UI_URL=ftp://localhost", "GATEHOUSE_LIMIT_SCALE=-1", "GATEHOUSE_PHONE_COUNTRIES=DE,ZZ",
		"GATEHOUSE_SUBSCRIPTION_DUNNING_END=Unpaid")
	require.Error(t, err)
	for _, setting := range []string{
		"GATEHOUSE_ENVIRONMENT", "DATABASE_URL", "GATEHOUSE_ENUMERATION", "GATEHOUSE_SMTP_TLS", "GATEHOUSE_BASE_URL", "GATEHOUSE_CONFIRM_URL",
		"GATEHOUSE_TEMPORAL_TLS_KEY_FILE", "GATEHOUSE_TEMPORAL_API_KEY", "GATEHOUSE_TEMPORAL_UI_URL", "GATEHOUSE_SECRET_KEY", "GATEHOUSE_SIGNING_KEY", "GATEHOUSE_CODEC_KEYS", "GATEHOUSE_LIMIT_SCALE", "GATEHOUSE_PHONE_COUNTRIES",
		"GATEHOUSE_SUBSCRIPTION_DUNNING_END",
	} {
		require.Equal(t, 1, strings.Count("\n"+err.Error(), "\n"+setting+" "), "%s in %s", setting, err)
	}
}

func TestUnreadableValuesAreRefused(t *testing.T) {
	for _, bad := range []string{
		"GATEHOUSE_DATABASE_POOL=many", "GATEHOUSE_CODE_TTL=10", "GATEHOUSE_TRUSTED_PROXIES=10.0.0.0", "GATEHOUSE_SMTP_PORT=smtp",
		"GATEHOUSE_LIMIT_SCALE=x", "GATEHOUSE_WELCOME_BONUS=1.5", "GATEHOUSE_REQUEST_TIMEOUT=soon",
	} {
		_, err := load(t, minimum, bad)
		require.Error(t, err, bad)
		require.NotContains(t, err.Error(), canary)
	}
}

func TestProductionRefusesWhatSuitsADevelopersMachine(t *testing.T) {
	c, err := load(t, production)
	require.NoError(t, err)
	require.False(t, c.DevInbox())
	require.True(t, c.Codec.Serve)

	for change, setting := range map[string]string{
		"GATEHOUSE_SECRET_KEY=" + devKey:                                              "GATEHOUSE_SECRET_KEY",
		"GATEHOUSE_SIGNING_KEY=" + devKey:                                             "GATEHOUSE_SIGNING_KEY",
		"GATEHOUSE_SIGNING_KEY=" + production["GATEHOUSE_SIGNING_KEY"] + "," + devKey: "GATEHOUSE_SIGNING_KEY",
		"GATEHOUSE_CODEC_KEYS=" + devKey:                                              "GATEHOUSE_CODEC_KEYS",
		"GATEHOUSE_SECRET_KEY=":                                                       "GATEHOUSE_SECRET_KEY",
		"GATEHOUSE_SMTP_HOST=":                                                        "GATEHOUSE_SMTP_HOST",
		"GATEHOUSE_TWILIO_ACCOUNT_SID=":                                               "GATEHOUSE_TWILIO_ACCOUNT_SID",
		"GATEHOUSE_STRIPE_SECRET_KEY=":                                                "GATEHOUSE_STRIPE_SECRET_KEY",
		"GATEHOUSE_STRIPE_URL=api.stripe.com":                                         "GATEHOUSE_STRIPE_URL",
		"GATEHOUSE_BASE_URL=http://accounts.example":                                  "GATEHOUSE_BASE_URL",
		"GATEHOUSE_BASE_URL=HTTPX://accounts.example":                                 "GATEHOUSE_BASE_URL",
		"GATEHOUSE_CODEC_PASSWORD=":                                                   "GATEHOUSE_CODEC_PASSWORD",
		"GATEHOUSE_RESET_URL=http://accounts.example/reset":                           "GATEHOUSE_RESET_URL",
		"GATEHOUSE_LINK_REDIRECT_URL=http://accounts.example/linked":                  "GATEHOUSE_LINK_REDIRECT_URL",
		"GATEHOUSE_CLOCK_OFFSET=-90s":                                                 "GATEHOUSE_CLOCK_OFFSET",
		"GATEHOUSE_CLOCK_OFFSET=1s":                                                   "GATEHOUSE_CLOCK_OFFSET",
		"GATEHOUSE_CODEC_PASSWORD=fifteen-letters":                                    "GATEHOUSE_CODEC_PASSWORD",
		"GATEHOUSE_BASE_URL=":                                                         "GATEHOUSE_BASE_URL", // the default is for a developer's machine
	} {
		_, err := load(t, production, change)
		require.ErrorContains(t, err, setting, change)
		require.NotContains(t, err.Error(), strings.TrimPrefix(devKey, "dev:"), "no key is shown")
		require.NotContains(t, err.Error(), canary, "no password is shown")
	}
}

func TestWhoMayUseTheCodec(t *testing.T) {
	const issuer, audience = "GATEHOUSE_CODEC_OIDC_ISSUER", "GATEHOUSE_CODEC_OIDC_AUDIENCE"
	for _, good := range [][]string{
		{"GATEHOUSE_CODEC_PASSWORD=sixteen-letters!"},
		{"GATEHOUSE_CODEC_PASSWORD=", "GATEHOUSE_CODEC_SERVE=false"},
		{"GATEHOUSE_CODEC_PASSWORD=", issuer + "=https://login.example", audience + "=codec"},
	} {
		_, err := load(t, production, good...)
		require.NoError(t, err, good)
	}
	for setting, bad := range map[string][]string{
		audience:                           {issuer + "=https://login.example"},
		issuer:                             {audience + "=codec"},
		issuer + ` is "http:`:              {issuer + "=http://login.example", audience + "=codec"},
		issuer + ` is "login`:              {issuer + "=login.example", audience + "=codec"},
		"GATEHOUSE_CODEC_PASSWORD is too ": {"GATEHOUSE_CODEC_PASSWORD=short", issuer + "=https://login.example", audience + "=codec"},
	} {
		_, err := load(t, production, bad...)
		require.ErrorContains(t, err, setting, bad)
	}
	c, err := load(t, minimum)
	require.NoError(t, err)
	require.Empty(t, c.Codec.Password, "a developer's machine needs none")
	_, err = load(t, minimum, issuer+"=http://127.0.0.1:5556", audience+"=codec")
	require.NoError(t, err, "and may have a provider without TLS")
}

func TestSettingsListsAllThatIsRead(t *testing.T) {
	all := config.Settings()
	seen := map[string]bool{}
	for _, s := range all {
		require.False(t, seen[s.Name], "%s twice", s.Name)
		seen[s.Name] = true
		require.True(t, strings.HasPrefix(s.Name, "GATEHOUSE_") || s.Name == "DATABASE_URL" || s.Name == "TEMPORAL_ADDRESS", s.Name)
	}
	for _, name := range []string{"DATABASE_URL", "GATEHOUSE_SMTP_PASSWORD", "GATEHOUSE_CODE_TTL", "GATEHOUSE_LIMIT_SCALE", "GATEHOUSE_WORKER_OPS_ADDR"} {
		require.True(t, seen[name], name)
	}
	// Every one of them is read: a value that nothing can read is refused, or ends up in the settings.
	for _, s := range all {
		const mark = "\u2603 mark"
		c, err := load(t, minimum, s.Name+"="+mark)
		if err == nil {
			require.Contains(t, fmt.Sprintf("%+v", c), mark, "%s is listed and not read", s.Name)
		}
	}

	var out bytes.Buffer
	require.NoError(t, config.Describe(&out))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, len(all)+1)
	for i, s := range all {
		require.Equal(t, strings.Fields(s.Name+" "+s.Default), strings.Fields(lines[i+1]))
	}
}

func TestSingleSettings(t *testing.T) {
	_, _ = load(t, minimum, "GATEHOUSE_WORKER_OPS_ADDR=")
	url, err := config.DatabaseURL()
	require.NoError(t, err)
	require.Equal(t, minimum["DATABASE_URL"], url)
	addr, err := config.OpsAddr("GATEHOUSE_OPS_ADDR")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:9090", addr)
	_, err = config.OpsAddr("GATEHOUSE_WORKER_OPS_ADDR")
	require.ErrorContains(t, err, "GATEHOUSE_WORKER_OPS_ADDR")
	t.Setenv("GATEHOUSE_OPS_ADDR", "127.0.0.1:1234")
	addr, err = config.OpsAddr("GATEHOUSE_OPS_ADDR")
	require.NoError(t, err)
	require.Equal(t, "127.0.0.1:1234", addr)
	keys, err := config.CodecKeys()
	require.NoError(t, err)
	require.Equal(t, devKey, keys)
	t.Setenv("GATEHOUSE_CODEC_KEYS", "")
	_, err = config.CodecKeys()
	require.ErrorContains(t, err, "GATEHOUSE_CODEC_KEYS")
	t.Setenv("DATABASE_URL", "")
	_, err = config.DatabaseURL()
	require.ErrorContains(t, err, "DATABASE_URL")
}
