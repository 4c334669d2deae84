package payment

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/stripe/stripe-go/v85"

	"gatehouse/account"
)

// ErrBadSignature means that the provider did not say this, or not now.
var ErrBadSignature = errors.New("payment: the signature is not the provider's")

// signatureAge is how far a signature's time may be from ours: what is older may be a recording.
const signatureAge = 5 * time.Minute

// Hint is what a provider's message is good for: it names a charge whose outcome may have changed. Nothing that it says is
// believed, so a repeated, late or reordered message does no harm; whoever gets it asks Provider.Find.
type Hint struct {
	// Key and InvoiceID are those of the charge; both are empty when the message is about nothing of ours.
	Key       string
	InvoiceID string
}

// Webhook reads what Stripe tells by itself.
type Webhook struct {
	secrets []string
	clock   account.Clock
}

// NewWebhook returns the reader of Stripe's messages. Without a secret it refuses every message.
func NewWebhook(settings Settings, clock account.Clock) *Webhook {
	return &Webhook{secrets: settings.StripeWebhookSecrets, clock: clock}
}

// Read returns the hint in a message whose Stripe-Signature header is signature. It returns ErrBadSignature for a message that
// none of the secrets has signed within the last five minutes, and another error for one that cannot be read.
func (w *Webhook) Read(payload []byte, signature string) (Hint, error) {
	if !w.recent(signature) || !w.signed(payload, signature) {
		return Hint{}, ErrBadSignature
	}
	var event struct {
		Data struct {
			Object struct {
				Metadata map[string]string `json:"metadata"`
			} `json:"object"`
		} `json:"data"`
	}
	if err := json.Unmarshal(payload, &event); err != nil {
		return Hint{}, errors.New("payment: the message cannot be read")
	}
	said := event.Data.Object.Metadata
	if said[metaKey] == "" || said[metaInvoice] == "" {
		return Hint{}, nil
	}
	return Hint{Key: said[metaKey], InvoiceID: said[metaInvoice]}, nil
}

func (w *Webhook) signed(payload []byte, signature string) bool {
	for _, secret := range w.secrets {
		if secret != "" && stripe.ValidatePayload(payload, signature, secret, stripe.WithIgnoreTolerance()) == nil {
			return true
		}
	}
	return false
}

// recent judges the signature's time by our clock; the library would ask the machine's, and takes times to come. Of two times
// the library would take the last one: a recording could be given a fresh one beside its own.
func (w *Webhook) recent(signature string) bool {
	times, fresh := 0, false
	for part := range strings.SplitSeq(signature, ",") {
		digits, is := strings.CutPrefix(part, "t=")
		if !is {
			continue
		}
		seconds, err := strconv.ParseInt(digits, 10, 64)
		fresh = err == nil && w.clock.Now().Sub(time.Unix(seconds, 0)).Abs() <= signatureAge
		times++
	}
	return times == 1 && fresh
}
