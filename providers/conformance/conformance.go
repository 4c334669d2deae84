// Package conformance is what every sender must pass, whatever vendor is behind it.
package conformance

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"gatehouse/account"
	"gatehouse/providers"
)

// prompt is how soon, in real time, a sender must be back after its context ended.
const prompt = 2 * time.Second

// Delivery is a message as the vendor's side shows it.
type Delivery struct {
	// ProviderID is the vendor's name for the message, To, Subject, Text and Code are what arrived.
	ProviderID, To, Subject, Text, Code string
}

// Vendor is a sender with a stand-in for its vendor behind it, fresh for each test.
type Vendor struct {
	Sender providers.Sender
	// Deliveries are what the vendor took, repetitions included if it keeps them.
	Deliveries func() []Delivery
	// Unavailable makes the next send fail for now, Refuse for good and Hang not be answered at all. Refuse is nil
	// for a vendor that takes everything.
	Unavailable, Refuse, Hang func()
	// Secrets must not be in an error, beside the recipient and the code.
	Secrets []string
	// Message makes a message of the vendor's channel; nil means the mail that the function Message makes.
	Message func() providers.Message
	// Renames is set for a vendor that takes no idempotency key and names every attempt anew.
	Renames bool
}

func (v Vendor) message() providers.Message {
	if v.Message != nil {
		return v.Message()
	}
	return Message()
}

// Message is a mail with telling contents.
func Message() providers.Message {
	id := uuid.New()
	return providers.Message{
		ID: id, Channel: account.ChannelEmail, To: "canary." + id.String()[:8] + "@people.example",
		Template: "signup_code", Subject: "Your Gatehouse code ✓",
		Text: "Hello Zoë,\n\n.a line that begins with a dot\n\n731946\n\n" + strings.Repeat("long ", 60) + "\n",
		HTML: "<!doctype html><p>731946 — Zoë</p>", Code: "731946", IdempotencyKey: id.String(),
	}
}

// Leaks returns the words in err that must not be there: the recipient, the code and secrets, looked for in err and
// all that it wraps.
func Leaks(err error, m providers.Message, secrets ...string) []string {
	said := strings.ToLower(strings.Join(spell(err), "\n"))
	var leaks []string
	for _, word := range append([]string{m.To, "canary", "people.example", m.Code}, secrets...) {
		if word != "" && strings.Contains(said, strings.ToLower(word)) {
			leaks = append(leaks, word)
		}
	}
	return leaks
}

func spell(err error) []string {
	if err == nil {
		return nil
	}
	said := []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)}
	switch wrapped := err.(type) { //nolint:errorlint // walks the tree itself
	case interface{ Unwrap() error }:
		said = append(said, spell(wrapped.Unwrap())...)
	case interface{ Unwrap() []error }:
		for _, one := range wrapped.Unwrap() {
			said = append(said, spell(one)...)
		}
	}
	return said
}

// Run holds the sender that open returns to the contract of providers.Sender.
func Run(t *testing.T, open func(t *testing.T) Vendor) {
	t.Helper()
	for name, check := range map[string]func(*testing.T, Vendor){
		"delivers what it was given":            delivers,
		"a repetition carries the same id":      repeats,
		"sends many at once":                    sendsManyAtOnce,
		"an ended context sends nothing":        endedContext,
		"a context that ends ends the wait":     hangs,
		"a cancelled send is back at once":      cancelled,
		"an outage is temporary and passes":     outage,
		"a refusal is permanent":                refusal,
		"what cannot be sent fails permanently": unsendable,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			check(t, open(t))
		})
	}
}

func (v Vendor) clean(t *testing.T, err error, m providers.Message) {
	t.Helper()
	require.Error(t, err)
	require.Empty(t, Leaks(err, m, v.Secrets...), "%v", err)
}

func delivers(t *testing.T, v Vendor) {
	t.Helper()
	m := v.message()
	receipt, err := v.Sender.Send(t.Context(), m)
	require.NoError(t, err)
	require.Equal(t, v.Sender.Name(), receipt.Provider)
	require.NotEmpty(t, receipt.ProviderID)
	require.Equal(t, []Delivery{{receipt.ProviderID, m.To, m.Subject, m.Text, m.Code}}, v.Deliveries())
}

func repeats(t *testing.T, v Vendor) {
	t.Helper()
	m := v.message()
	first, err := v.Sender.Send(t.Context(), m)
	require.NoError(t, err)
	again, err := v.Sender.Send(t.Context(), m)
	require.NoError(t, err)
	other, err := v.Sender.Send(t.Context(), v.message())
	require.NoError(t, err)

	if v.Renames {
		require.Len(t, v.Deliveries(), 3)
		require.Equal(t, v.Deliveries()[0].Text, v.Deliveries()[1].Text)
		return
	}
	require.Equal(t, first, again)
	require.NotEqual(t, first.ProviderID, other.ProviderID)
	ids := map[string]bool{}
	for _, d := range v.Deliveries() {
		ids[d.ProviderID] = true
	}
	require.Len(t, ids, 2)
}

func sendsManyAtOnce(t *testing.T, v Vendor) {
	t.Helper()
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			_, err := v.Sender.Send(t.Context(), v.message())
			if err != nil {
				t.Errorf("sending: %v", err)
			}
		})
	}
	group.Wait()
	require.Len(t, v.Deliveries(), 8)
}

func endedContext(t *testing.T, v Vendor) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	m := v.message()
	_, err := v.Sender.Send(ctx, m)
	v.clean(t, err, m)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, providers.IsPermanent(err))
	require.Empty(t, v.Deliveries())
}

func hangs(t *testing.T, v Vendor) {
	t.Helper()
	v.Hang()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	m := v.message()
	err := within(t, func() error { _, err := v.Sender.Send(ctx, m); return err })
	v.clean(t, err, m)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.False(t, providers.IsPermanent(err))
}

func cancelled(t *testing.T, v Vendor) {
	t.Helper()
	v.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	m := v.message()
	err := within(t, func() error { _, err := v.Sender.Send(ctx, m); return err })
	v.clean(t, err, m)
	require.ErrorIs(t, err, context.Canceled)
	require.False(t, providers.IsPermanent(err))
}

func within(t *testing.T, send func() error) error {
	t.Helper()
	done := make(chan error, 1)
	go func() { done <- send() }()
	select {
	case err := <-done:
		return err
	case <-time.After(prompt):
		t.Fatalf("still sending after %v", prompt)
		return errors.New("unreachable")
	}
}

func outage(t *testing.T, v Vendor) {
	t.Helper()
	v.Unavailable()
	m := v.message()
	_, err := v.Sender.Send(t.Context(), m)
	v.clean(t, err, m)
	require.False(t, providers.IsPermanent(err), "%v", err)

	_, err = v.Sender.Send(t.Context(), m)
	require.NoError(t, err)
	require.Len(t, v.Deliveries(), 1)
}

func refusal(t *testing.T, v Vendor) {
	t.Helper()
	if v.Refuse == nil { // a vendor that refuses nothing has to take what it is given
		delivers(t, v)
		return
	}
	v.Refuse()
	m := v.message()
	_, err := v.Sender.Send(t.Context(), m)
	v.clean(t, err, m)
	require.True(t, providers.IsPermanent(err), "%v", err)
	require.Empty(t, v.Deliveries())
}

func unsendable(t *testing.T, v Vendor) {
	t.Helper()
	for _, spoil := range []func(*providers.Message){
		func(m *providers.Message) { m.To = "" },
		func(m *providers.Message) { m.Text = "" },
		func(m *providers.Message) { m.Subject = "" },
		func(m *providers.Message) { m.ID = uuid.Nil },
	} {
		m := v.message()
		mailed := m.Channel == account.ChannelEmail
		if spoil(&m); !mailed && m.Check() == nil {
			continue // only mail has a subject
		}
		_, err := v.Sender.Send(t.Context(), m)
		v.clean(t, err, m)
		require.True(t, providers.IsPermanent(err), "%v", err)
	}
	require.Empty(t, v.Deliveries())
}
