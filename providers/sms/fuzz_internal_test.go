package sms

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"gatehouse/providers"
)

// ourWords are all that a fault may say: Twilio's sentences repeat the recipient.
var ourWords = regexp.MustCompile(`^twilio: (taken and failed|the answer cannot be read|refused|put off): -?\d+( code -?\d+)?$`)

// Whatever Twilio answers, it is a receipt with a name or a fault in words of ours, to be tried again within the hour or never.
func FuzzAnswer(f *testing.F) {
	f.Add(201, []byte(`{"sid":"SM1","status":"queued"}`), "")
	f.Add(200, []byte(`{"sid":"SM1","status":"failed","error_code":30007}`), "")
	f.Add(201, []byte(`{"sid":1}`), "5")
	f.Add(400, []byte(`{"code":21211,"message":"+15005550001 is no number"}`), "")
	f.Add(429, []byte(`<html>`), "99999999999")
	f.Add(503, []byte(``), "-1")
	f.Add(200, []byte(`{"status":"canceled","error_code":-9223372036854775808}`), "")
	f.Add(200, []byte(`null`), "soon")
	f.Fuzz(func(t *testing.T, status int, content []byte, after string) {
		got, err := (&twilio{}).judge(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}, content)
		if err == nil {
			if status/100 != 2 || got.ProviderID == "" {
				t.Fatalf("%d %q is a receipt", status, content)
			}
			return
		}
		if !ourWords.MatchString(err.Error()) || providers.RetryAfter(err) < 0 || providers.RetryAfter(err) > time.Hour {
			t.Fatalf("%d %q: %v after %s", status, content, err, providers.RetryAfter(err))
		}
	})
}
