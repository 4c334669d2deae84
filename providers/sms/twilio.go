package sms

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"gatehouse/account"
	"gatehouse/providers"
)

const (
	// sendTimeout bounds one attempt from dialling to the last byte of the answer.
	sendTimeout = 10 * time.Second
	// maxAnswer is more than Twilio ever says.
	maxAnswer = 64 << 10
)

const (
	servicePrefix  = "MG"
	whatsAppPrefix = "whatsapp:"
)

// twilio speaks Twilio's Messages resource.
type twilio struct {
	cfg    Settings
	url    string
	client *http.Client
}

func openTwilio(cfg Settings) (providers.Sender, error) { return newTwilio(cfg) }

func newTwilio(cfg Settings) (*twilio, error) {
	base, err := url.Parse(cfg.TwilioURL)
	switch {
	case err != nil || base.Host == "" || base.User != nil || base.Scheme != "https" && base.Scheme != "http":
		return nil, errors.New("GATEHOUSE_TWILIO_URL is not an http or https address")
	case cfg.TwilioAuthToken == "":
		return nil, errors.New("GATEHOUSE_TWILIO_AUTH_TOKEN must be set with GATEHOUSE_TWILIO_ACCOUNT_SID")
	case cfg.TwilioFrom == "" && cfg.TwilioWhatsAppFrom == "":
		return nil, errors.New("GATEHOUSE_TWILIO_FROM or GATEHOUSE_TWILIO_WHATSAPP_FROM must be set with GATEHOUSE_TWILIO_ACCOUNT_SID")
	}
	return &twilio{
		cfg: cfg, url: base.JoinPath("2010-04-01", "Accounts", cfg.TwilioAccountSID, "Messages.json").String(),
		client: &http.Client{
			Timeout: sendTimeout,
			// Credentials go to no other address than the one that was set.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// Name returns "twilio".
func (*twilio) Name() string { return "twilio" }

// Send hands m to Twilio, which queues it. The provider's id is Twilio's own and a new one for each attempt: Twilio takes
// no idempotency key, so an attempt of unknown outcome may reach the phone twice, with the same text: such attempts are
// providers.Unanswered.
//
// A refusal of the message (400) is permanent. All else is temporary, also a refusal of our credentials: that is for an
// operator to mend, and the message is still good.
func (t *twilio) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	form, err := t.compose(m)
	if err != nil {
		return providers.Receipt{}, fmt.Errorf("twilio: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, t.url, strings.NewReader(form.Encode()))
	if err != nil {
		return providers.Receipt{}, providers.Permanent(errors.New("twilio: the request cannot be built"))
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Accept", "application/json")
	request.SetBasicAuth(t.cfg.TwilioAccountSID, t.cfg.TwilioAuthToken)
	response, err := t.client.Do(request)
	if err != nil {
		return providers.Receipt{}, unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return providers.Receipt{}, unreachable(ctx, err)
	}
	return t.judge(response, content)
}

func (t *twilio) compose(m providers.Message) (url.Values, error) {
	if err := m.Check(); err != nil {
		return nil, err
	}
	form := url.Values{}
	switch {
	case m.Channel == account.ChannelSMS && t.cfg.TwilioFrom != "":
		form.Set("To", m.To)
		if strings.HasPrefix(t.cfg.TwilioFrom, servicePrefix) {
			form.Set("MessagingServiceSid", t.cfg.TwilioFrom)
		} else {
			form.Set("From", t.cfg.TwilioFrom)
		}
	case m.Channel == account.ChannelWhatsApp && t.cfg.TwilioWhatsAppFrom != "":
		form.Set("To", whatsAppPrefix+m.To)
		form.Set("From", whatsAppPrefix+t.cfg.TwilioWhatsAppFrom)
	default:
		return nil, providers.Permanent(fmt.Errorf("no sender is set for channel %q", m.Channel))
	}
	if m.Channel == account.ChannelWhatsApp && t.cfg.TwilioWhatsAppContent != "" && m.Code != "" {
		variables, err := json.Marshal(map[string]string{"1": m.Code})
		if err != nil {
			return nil, providers.Permanent(errors.New("the content variables cannot be written"))
		}
		form.Set("ContentSid", t.cfg.TwilioWhatsAppContent)
		form.Set("ContentVariables", string(variables))
		return form, nil
	}
	form.Set("Body", strings.TrimSpace(m.Text))
	return form, nil
}

// reply is what is read of Twilio's answers. Their sentences repeat the recipient, so only the numbers are kept.
type reply struct {
	SID       string `json:"sid"`
	Status    string `json:"status"`
	Code      int    `json:"code"`
	ErrorCode *int   `json:"error_code"`
}

func (t *twilio) judge(response *http.Response, content []byte) (providers.Receipt, error) {
	var said reply
	unreadable := json.Unmarshal(content, &said) != nil
	status := response.StatusCode
	switch {
	case status/100 == 2 && (said.Status == "failed" || said.Status == "undelivered" || said.Status == "canceled"):
		number := 0
		if said.ErrorCode != nil {
			number = *said.ErrorCode
		}
		return providers.Receipt{}, providers.Permanent(errors.New("twilio: taken and failed: " + numbers(status, number)))
	case status/100 == 2 && (unreadable || said.SID == ""):
		// It may have been taken; asking again may send it twice, which is better than never.
		return providers.Receipt{}, providers.Unanswered(errors.New("twilio: the answer cannot be read: " + numbers(status, 0)))
	case status/100 == 2:
		return providers.Receipt{Provider: t.Name(), ProviderID: said.SID}, nil
	case status == http.StatusBadRequest:
		return providers.Receipt{}, providers.Permanent(errors.New("twilio: refused: " + numbers(status, said.Code)))
	default:
		return providers.Receipt{}, providers.Temporary(errors.New("twilio: put off: "+numbers(status, said.Code)),
			providers.ParseRetryAfter(response.Header.Get("Retry-After")))
	}
}

func numbers(status, code int) string {
	if code == 0 {
		return strconv.Itoa(status)
	}
	return strconv.Itoa(status) + " code " + strconv.Itoa(code)
}

// unreachable says in words of ours what an operator needs: the client's error names the address, and with it the account.
func unreachable(ctx context.Context, err error) error {
	var (
		dns     *net.DNSError
		dialing *net.OpError
		timeout net.Error
	)
	switch {
	case errors.As(err, &dns):
		return providers.Temporary(errors.New("twilio: the server's name cannot be resolved"), 0)
	case errors.As(err, &dialing) && dialing.Op == "dial":
		return providers.Temporary(errors.New("twilio: the server cannot be reached"), 0)
	case ctx.Err() != nil:
		return providers.Unanswered(fmt.Errorf("twilio: no answer in time: %w", ctx.Err()))
	case errors.As(err, &timeout) && timeout.Timeout():
		return providers.Unanswered(errors.New("twilio: no answer in time"))
	default:
		return providers.Unanswered(errors.New("twilio: the exchange failed"))
	}
}
