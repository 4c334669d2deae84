package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"os"
	"strings"
	"syscall"

	gomail "github.com/wneessen/go-mail"
	gosmtp "github.com/wneessen/go-mail/smtp"

	"gatehouse/providers"
)

// authenticationRequired is a server's complaint about our settings, though it comes in answer to a mail.
const authenticationRequired = 530

// sessionFault is a failure before the server was shown a mail. The error is made anew from what is known to be
// harmless: servers repeat user names in their answers.
func sessionFault(ctx context.Context, err error) error {
	if reply, ok := errors.AsType[*textproto.Error](err); ok {
		return providers.Temporary(fmt.Errorf("smtp: the server refuses the session: %s",
			status(reply.Code, enhanced(reply.Msg))), 0)
	}
	if ctx.Err() != nil {
		return providers.Temporary(fmt.Errorf("smtp: no session in time: %w", ctx.Err()), 0)
	}
	return providers.Temporary(errors.New("smtp: no session: "+symptom(err)), 0)
}

// mailFault is a failure to hand over a mail. The library's error repeats the server's words and the recipient; only
// the numbers and the step are kept.
func mailFault(ctx context.Context, err error) error {
	refused, ok := errors.AsType[*gomail.SendError](err)
	if !ok {
		refused = &gomail.SendError{Reason: gomail.ErrAmbiguous}
	}
	at := step(refused.Reason)
	code := refused.ErrorCode()
	switch {
	case code/100 == 5 && code != authenticationRequired:
		return providers.Permanent(fmt.Errorf("smtp: refused at %s: %s", at, status(code, refused.EnhancedStatusCode())))
	case code != 0:
		return providers.Temporary(fmt.Errorf("smtp: put off at %s: %s", at, status(code, refused.EnhancedStatusCode())), 0)
	case ctx.Err() != nil:
		return providers.Temporary(fmt.Errorf("smtp: no answer in time at %s: %w", at, ctx.Err()), 0)
	default:
		return providers.Temporary(errors.New("smtp: connection lost at "+at), 0)
	}
}

func status(code int, enhanced string) string {
	return strings.TrimSpace(fmt.Sprintf("%d %s", code, enhanced))
}

// enhanced returns the enhanced status code (RFC 3463) that a reply begins with, or nothing.
func enhanced(reply string) string {
	first, _, _ := strings.Cut(reply, " ")
	parts := strings.Split(first, ".")
	if len(parts) != 3 || len(first) > len("5.999.999") || strings.Trim(first, "0123456789.") != "" {
		return ""
	}
	return first
}

func step(reason gomail.SendErrReason) string {
	switch reason {
	case gomail.ErrSMTPMailFrom:
		return "MAIL"
	case gomail.ErrSMTPRcptTo:
		return "RCPT"
	case gomail.ErrSMTPData, gomail.ErrWriteContent:
		return "DATA"
	case gomail.ErrSMTPDataClose:
		return "end of DATA"
	default:
		return "sending"
	}
}

// symptom says in words of ours what an operator needs to mend the settings.
func symptom(err error) string {
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dns):
		return "the server's name cannot be resolved"
	case errors.As(err, &cert):
		return "the server's certificate is not trusted"
	case errors.As(err, new(tls.RecordHeaderError)):
		return "the server does not speak TLS on this port"
	case errors.Is(err, gosmtp.ErrUnencrypted):
		return "credentials are not sent in the clear (GATEHOUSE_SMTP_TLS)"
	case errors.Is(err, gomail.ErrNoSupportedAuthDiscovered):
		return "the server offers no way to authenticate that we use"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "no answer in time"
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the server hung up"
	case strings.Contains(err.Error(), "does not support STARTTLS"):
		return "the server does not offer STARTTLS (GATEHOUSE_SMTP_TLS)"
	case strings.Contains(err.Error(), "does not support SMTP AUTH"):
		return "the server does not offer authentication"
	default:
		return "the exchange failed"
	}
}
