package secret

import (
	"crypto/rand"
	"encoding/base64"
	"errors"

	"github.com/google/uuid"
)

// NewWebhookSecret returns a random 256-bit secret by which a receiver checks events, as Standard Webhooks writes it.
func NewWebhookSecret() string {
	b := make([]byte, keyLength)
	_, _ = rand.Read(b) // crypto/rand never fails: it ends the process instead
	return "whsec_" + base64.StdEncoding.EncodeToString(b)
}

// SealWebhookSecret encrypts the secret of a receiver, for no other receiver.
func (k *Keys) SealWebhookSecret(endpoint uuid.UUID, secret string) []byte {
	return k.sealer.Seal(nil, nil, []byte(secret), webhookUse(endpoint)) //nolint:gosec // the cipher makes a random nonce itself
}

// OpenWebhookSecret decrypts what SealWebhookSecret returned. It fails for another receiver, and under another secret key.
func (k *Keys) OpenWebhookSecret(endpoint uuid.UUID, sealed []byte) (string, error) {
	plain, err := k.sealer.Open(nil, nil, sealed, webhookUse(endpoint))
	if err != nil {
		return "", errors.New("the sealed webhook secret does not open: GATEHOUSE_SECRET_KEY was changed, or the row")
	}
	return string(plain), nil
}

// webhookUse keeps the secret of a receiver from being shown as anything else that is sealed.
func webhookUse(endpoint uuid.UUID) []byte { return append([]byte("webhook/"), endpoint[:]...) }
