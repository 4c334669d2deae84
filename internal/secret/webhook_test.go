package secret_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/internal/secret"
)

func TestWebhookSecret(t *testing.T) {
	t.Parallel()
	k, err := secret.NewKeys(secret.GenerateKey())
	require.NoError(t, err)
	made := secret.NewWebhookSecret()
	require.NotEqual(t, made, secret.NewWebhookSecret())
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(made, "whsec_"))
	require.NoError(t, err)
	require.Len(t, raw, 32, "Standard Webhooks wants 24 to 64 bytes")

	mine, other := uuid.New(), uuid.New()
	sealed := k.SealWebhookSecret(mine, made)
	require.NotContains(t, string(sealed), made)
	opened, err := k.OpenWebhookSecret(mine, sealed)
	require.NoError(t, err)
	require.Equal(t, made, opened)
	_, err = k.OpenWebhookSecret(other, sealed)
	require.Error(t, err)
	_, err = k.OpenTOTP(mine, sealed)
	require.Error(t, err, "sealed for another use")
	_, err = k.OpenWebhookSecret(mine, append(sealed, 0))
	require.Error(t, err)
}
