// Package providers is the language in which Gatehouse hands messages to the outside: what a message is, what sends
// one, and which failures are worth another try. It knows no vendor; each has a package or file below this one.
package providers

import (
	"context"
	"errors"
	"log/slog"

	"github.com/google/uuid"

	"gatehouse/account"
)

// Message is one rendered message to one person. It holds what must not be logged (the recipient, the code, the
// bodies), so it prints and logs as its id, template and masked recipient only.
type Message struct {
	// ID is the id of the message's row and the same in every attempt to send it; the receiver's side can tell
	// a repetition by it.
	ID      uuid.UUID
	Channel account.Channel
	// To is the normalised address or number.
	To string
	// Template is the name of the template that it was rendered from.
	Template string
	// Subject and HTML are empty where the channel has none.
	Subject string
	Text    string
	HTML    string
	// Code is the one-time code that the text holds, or empty.
	Code string
	// IdempotencyKey goes to vendors that take one.
	IdempotencyKey string
}

// Check returns a permanent error for a message that no vendor could send.
func (m Message) Check() error {
	switch {
	case m.ID == uuid.Nil:
		return Permanent(errors.New("message has no id"))
	case m.To == "":
		return Permanent(errors.New("message has no recipient"))
	case m.Text == "":
		return Permanent(errors.New("message has no text"))
	case m.Channel == account.ChannelEmail && m.Subject == "":
		return Permanent(errors.New("mail has no subject"))
	}
	return nil
}

// String returns what may be shown: id, template, channel and masked recipient.
func (m Message) String() string {
	return "message " + m.ID.String() + " (" + m.Template + ") by " + string(m.Channel) + " to " + m.maskedTo()
}

// GoString is String, so that %#v shows no more than %v.
func (m Message) GoString() string { return m.String() }

// LogValue logs what String shows.
func (m Message) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("id", m.ID.String()),
		slog.String("template", m.Template),
		slog.String("channel", string(m.Channel)),
		slog.String("to", m.maskedTo()),
	)
}

func (m Message) maskedTo() string {
	if m.Channel == account.ChannelEmail {
		return account.MaskEmail(m.To)
	}
	return "***"
}

// Receipt says who took a message.
type Receipt struct {
	// Provider is the Name of the sender.
	Provider string
	// ProviderID is how the provider's side knows the message. It is the same for every attempt to send it.
	ProviderID string
}

// Sender hands messages to one vendor.
type Sender interface {
	// Send returns once the vendor has taken the message, or with an error that IsPermanent and RetryAfter classify.
	// Sending a message again after an error of unknown outcome carries the same id. It returns promptly when
	// ctx ends. The error, and every error that it wraps, is free of the recipient, the code and credentials, so
	// that it may be logged, stored and shown.
	Send(ctx context.Context, m Message) (Receipt, error)
	// Name is the vendor's short name, as kept in the message's row.
	Name() string
}
