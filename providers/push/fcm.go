package push

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"

	"gatehouse/account"
	"gatehouse/providers"
)

const (
	// sendTimeout bounds one attempt from dialling to the last byte of the answer.
	sendTimeout = 10 * time.Second
	// maxAnswer is more than FCM ever says.
	maxAnswer = 64 << 10

	fcmScope = "https://www.googleapis.com/auth/firebase.messaging"
)

// fcm speaks Firebase Cloud Messaging, HTTP v1.
type fcm struct {
	url    string
	client *http.Client
	tokens oauth2.TokenSource
}

func openFCM(s Settings) (providers.Sender, error) {
	credentials, err := os.ReadFile(s.FCMCredentials)
	if err != nil {
		return nil, errors.New("GATEHOUSE_FCM_CREDENTIALS names no file that can be read")
	}
	return newFCM(s.FCMURL, credentials)
}

func newFCM(base string, credentials []byte) (*fcm, error) {
	root, err := url.Parse(base)
	if err != nil || root.Host == "" || root.User != nil || root.Scheme != "https" && root.Scheme != "http" {
		return nil, errors.New("GATEHOUSE_FCM_URL is not an http or https address")
	}
	var project struct {
		ID string `json:"project_id"`
	}
	config, err := google.JWTConfigFromJSON(credentials, fcmScope)
	if err != nil || json.Unmarshal(credentials, &project) != nil || project.ID == "" {
		// What the library says may quote the file.
		return nil, errors.New("GATEHOUSE_FCM_CREDENTIALS is not the JSON file of a service account")
	}
	client := &http.Client{
		Timeout: sendTimeout,
		// Credentials go to no other address than the one that was set.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	// It outlives every request, and so has its own bound: the client's.
	ctx := context.WithValue(context.Background(), oauth2.HTTPClient, client) //nolint:forbidigo // see above
	return &fcm{
		url:    root.JoinPath("v1", "projects", project.ID, "messages:send").String(),
		client: client, tokens: config.TokenSource(ctx),
	}, nil
}

// Name returns "fcm".
func (*fcm) Name() string { return "fcm" }

type fcmRequest struct {
	Message fcmMessage `json:"message"`
}

type fcmMessage struct {
	Token        string            `json:"token"`
	Notification fcmNotification   `json:"notification"`
	Data         map[string]string `json:"data"`
	Android      fcmAndroid        `json:"android"`
	APNS         fcmAPNS           `json:"apns"`
}

type fcmNotification struct {
	Title string `json:"title"`
	Body  string `json:"body"`
}

type fcmAndroid struct {
	Priority     string `json:"priority"`
	Notification struct {
		Tag string `json:"tag"`
	} `json:"notification"`
}

type fcmAPNS struct {
	Headers map[string]string `json:"headers"`
}

// Send hands m to FCM. Its name for the message is a new one for each attempt: FCM takes no idempotency key, so an attempt
// of unknown outcome may reach the device twice; there the second takes the first one's place.
//
// A device that is not registered any more is gone for good, and so is one of another project. A refusal of the message is
// permanent. All else is temporary, also a refusal of our credentials: that is for an operator to mend.
func (f *fcm) Send(ctx context.Context, m providers.Message) (providers.Receipt, error) {
	if err := m.Check(); err != nil {
		return providers.Receipt{}, fmt.Errorf("fcm: %w", err)
	}
	if m.Channel != account.ChannelPush {
		return providers.Receipt{}, providers.Permanent(fmt.Errorf("fcm: sends nothing by channel %q", m.Channel))
	}
	body, err := compose(m)
	if err != nil {
		return providers.Receipt{}, providers.Permanent(errors.New("fcm: the message cannot be written"))
	}
	token, err := f.token(ctx)
	if err != nil {
		return providers.Receipt{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, f.url, bytes.NewReader(body))
	if err != nil {
		return providers.Receipt{}, providers.Permanent(errors.New("fcm: the request cannot be built"))
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := f.client.Do(request)
	if err != nil {
		return providers.Receipt{}, unreachable(ctx, err)
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return providers.Receipt{}, unreachable(ctx, err)
	}
	return judge(response, content)
}

func compose(m providers.Message) ([]byte, error) {
	id := m.ID.String()
	message := fcmMessage{
		Token:        m.To,
		Notification: fcmNotification{Title: m.Subject, Body: strings.TrimSpace(m.Text)},
		Data:         map[string]string{"message_id": id, "template": m.Template},
		Android:      fcmAndroid{Priority: "HIGH"},
		APNS:         fcmAPNS{Headers: map[string]string{"apns-collapse-id": id, "apns-priority": "10"}},
	}
	message.Android.Notification.Tag = id
	return json.Marshal(fcmRequest{message})
}

// token returns an access token of the service account. The library's own request knows no context; it ends with the
// client's timeout.
func (f *fcm) token(ctx context.Context) (string, error) {
	type outcome struct {
		token *oauth2.Token
		err   error
	}
	if ctx.Err() != nil {
		return "", unreachable(ctx, ctx.Err())
	}
	done := make(chan outcome, 1)
	go func() {
		token, err := f.tokens.Token()
		done <- outcome{token, err}
	}()
	select {
	case <-ctx.Done():
		return "", unreachable(ctx, ctx.Err())
	case got := <-done:
		if got.err != nil {
			// What the library says quotes the answer.
			return "", providers.Temporary(errors.New("fcm: the service account got no access token"), 0)
		}
		return got.token.AccessToken, nil
	}
}

// reply is what is read of FCM's answers. Their sentences may quote the request, so only names are kept.
type reply struct {
	Name  string `json:"name"`
	Error struct {
		Status  string `json:"status"`
		Details []struct {
			ErrorCode       string `json:"errorCode"` //nolint:tagliatelle // FCM's name
			FieldViolations []struct {
				Field string `json:"field"`
			} `json:"fieldViolations"` //nolint:tagliatelle // FCM's name
		} `json:"details"`
	} `json:"error"`
}

// code is FCM's own name of a failure.
func (r reply) code() string {
	for _, d := range r.Error.Details {
		if d.ErrorCode != "" {
			return d.ErrorCode
		}
	}
	return ""
}

// aboutToken reports whether the token itself is what is wrong with a message.
func (r reply) aboutToken() bool {
	for _, d := range r.Error.Details {
		for _, v := range d.FieldViolations {
			if v.Field == "message.token" {
				return true
			}
		}
	}
	return false
}

func judge(response *http.Response, content []byte) (providers.Receipt, error) {
	var said reply
	unreadable := json.Unmarshal(content, &said) != nil
	status, code := response.StatusCode, said.code()
	why := strconv.Itoa(status)
	if known[code] {
		why += " " + code
	}
	switch {
	case status/100 == 2 && (unreadable || said.Name == ""):
		// It may have been taken; asking again may send it twice, which is better than never.
		return providers.Receipt{}, providers.Temporary(errors.New("fcm: the answer cannot be read: "+why), 0)
	case status/100 == 2:
		return providers.Receipt{Provider: "fcm", ProviderID: said.Name}, nil
	case code == "UNREGISTERED" || code == "SENDER_ID_MISMATCH" || status == http.StatusBadRequest && said.aboutToken():
		return providers.Receipt{}, providers.Gone(errors.New("fcm: the device is not registered: " + why))
	case status == http.StatusBadRequest:
		return providers.Receipt{}, providers.Permanent(errors.New("fcm: refused: " + why))
	default:
		return providers.Receipt{}, providers.Temporary(errors.New("fcm: put off: "+why), providers.ParseRetryAfter(response.Header.Get("Retry-After")))
	}
}

// known are FCM's error codes, which are no one's data.
var known = map[string]bool{
	"UNSPECIFIED_ERROR": true, "INVALID_ARGUMENT": true, "UNREGISTERED": true, "SENDER_ID_MISMATCH": true, "QUOTA_EXCEEDED": true,
	"UNAVAILABLE": true, "INTERNAL": true, "THIRD_PARTY_AUTH_ERROR": true,
}

// unreachable says in words of ours what an operator needs: the client's error names the address.
func unreachable(ctx context.Context, err error) error {
	var (
		dns     *net.DNSError
		timeout net.Error
	)
	switch {
	case ctx.Err() != nil:
		return providers.Temporary(fmt.Errorf("fcm: no answer in time: %w", ctx.Err()), 0)
	case errors.As(err, &dns):
		return providers.Temporary(errors.New("fcm: the server's name cannot be resolved"), 0)
	case errors.As(err, &timeout) && timeout.Timeout():
		return providers.Temporary(errors.New("fcm: no answer in time"), 0)
	default:
		return providers.Temporary(errors.New("fcm: the exchange failed"), 0)
	}
}
