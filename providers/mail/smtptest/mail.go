package smtptest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	netmail "net/mail"
	"regexp"
	"strings"
)

// Mail is a mail that the server took.
type Mail struct {
	// From and To are the envelope's.
	From string
	To   []string
	// User is who was signed in, TLS whether the mail came over it.
	User string
	TLS  bool
	// MessageID comes without its angle brackets.
	MessageID string
	Header    netmail.Header
	Subject   string
	Text      string
	HTML      string
	// Code is the first line of the text that holds six digits and nothing else.
	Code string
	Raw  []byte
}

var codeLine = regexp.MustCompile(`(?m)^[ \t]*([0-9]{6})[ \t]*\r?$`)

func parse(raw []byte) (Mail, error) {
	message, err := netmail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return Mail{}, err
	}
	m := Mail{Raw: raw, Header: message.Header, MessageID: strings.Trim(message.Header.Get("Message-ID"), "<>")}
	if m.Subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		return Mail{}, err
	}
	kind, params, err := mime.ParseMediaType(message.Header.Get("Content-Type"))
	if err != nil {
		return Mail{}, err
	}
	if kind == "multipart/alternative" {
		err = m.readParts(multipart.NewReader(message.Body, params["boundary"]))
	} else {
		err = m.readPart(kind, message.Header.Get("Content-Transfer-Encoding"), message.Body)
	}
	if code := codeLine.FindStringSubmatch(m.Text); code != nil {
		m.Code = code[1]
	}
	return m, err
}

func (m *Mail) readParts(parts *multipart.Reader) error {
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if err != nil {
			return err
		}
		if err := m.readPart(kind, part.Header.Get("Content-Transfer-Encoding"), part); err != nil {
			return err
		}
	}
}

func (m *Mail) readPart(kind, encoding string, body io.Reader) error {
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	content, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	plain := strings.ReplaceAll(string(content), "\r\n", "\n")
	switch kind {
	case "text/plain":
		m.Text = plain
	case "text/html":
		m.HTML = plain
	default:
		return errors.New("unexpected part " + kind)
	}
	return nil
}
