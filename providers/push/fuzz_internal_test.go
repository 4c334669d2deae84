package push

import (
	"net/http"
	"regexp"
	"testing"
	"time"

	"gatehouse/providers"
)

// ourWords are all that a fault may say: FCM's sentences may quote the request.
var ourWords = regexp.MustCompile(`^fcm: (the answer cannot be read|the device is not registered|refused|put off): -?\d+( [A-Z_]+)?$`)

// Whatever FCM answers, it is a receipt with a name or a fault in words of ours, to be tried again within the hour or never.
func FuzzAnswer(f *testing.F) {
	f.Add(200, []byte(`{"name":"projects/p/messages/1"}`), "")
	f.Add(200, []byte(`{"name":1}`), "")
	f.Add(404, []byte(`{"error":{"status":"NOT_FOUND","details":[{"errorCode":"UNREGISTERED"}]}}`), "")
	f.Add(400, []byte(`{"error":{"details":[{"fieldViolations":[{"field":"message.token"}]}]}}`), "")
	f.Add(429, []byte(`{"error":{"details":[{"errorCode":"somebody's token"}]}}`), "99999999999")
	f.Add(503, []byte(`<html>`), "-1")
	f.Add(500, []byte(`{"error":{"details":[null,{"fieldViolations":[null]}]}}`), "soon")
	f.Fuzz(func(t *testing.T, status int, content []byte, after string) {
		got, err := judge(&http.Response{StatusCode: status, Header: http.Header{"Retry-After": {after}}}, content)
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
