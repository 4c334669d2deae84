package durable_test

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"google.golang.org/protobuf/encoding/protojson"

	"gatehouse/internal/durable"
	"gatehouse/internal/ops"
)

func codec(keys *durable.Keyring, ui, password string, log io.Writer) http.Handler {
	return keys.CodecHandler(durable.CodecOptions{
		UIOrigin: ui, Log: slog.New(slog.NewJSONHandler(log, nil)),
		Callers: ops.NewCallers(ops.CallerOptions{Password: password, Anybody: true}),
	})
}

// audited expects one line about every use and every refusal, and none of what was asked with it.
func audited(t *testing.T, log, method string, status int) {
	t.Helper()
	if method == http.MethodOptions && status == http.StatusNoContent {
		require.Empty(t, log, "a preflight uses nothing")
		return
	}
	require.Equal(t, 1, strings.Count(log, "\n"), log)
	var line struct {
		Msg, Who, Action, Address, Namespace string
		Payloads, Status                     int
	}
	require.NoError(t, json.Unmarshal([]byte(log), &line))
	require.Equal(t, status, line.Status)
	require.Equal(t, "192.0.2.1:1234", line.Address)
	require.NotContains(t, log, "readable")
	require.NotContains(t, log, "pw")
	switch status {
	case http.StatusOK:
		require.Equal(t, "codec used", line.Msg)
		require.Equal(t, 2, line.Payloads)
		require.Equal(t, "decode", line.Action)
		require.Contains(t, []string{"anybody", "codec"}, line.Who)
	case http.StatusNotFound, http.StatusBadRequest:
		require.Equal(t, "codec used", line.Msg)
		require.Zero(t, line.Payloads)
	default:
		require.Equal(t, "codec refused", line.Msg)
	}
}

func TestCodecHandler(t *testing.T) {
	t.Parallel()
	keys := newKeyring(t)
	payload, err := keys.DataConverter().ToPayload("readable")
	require.NoError(t, err)
	body, err := protojson.Marshal(&commonpb.Payloads{Payloads: []*commonpb.Payload{payload, payload}})
	require.NoError(t, err)

	const local, remote = "http://localhost:8233", "https://temporal.example.com"
	for name, tc := range map[string]struct {
		configured, password string
		method, path, origin string
		user, shown          string
		body                 []byte
		status               int
		allowed              bool
	}{
		"same spelling":         {configured: local, origin: local, status: 200, allowed: true},
		"other spelling":        {configured: local, origin: "http://127.0.0.1:8233", status: 200, allowed: true},
		"reverse spelling":      {configured: "http://127.0.0.1:8233/", origin: local, status: 200, allowed: true},
		"with a path":           {configured: remote + "/ui/", origin: remote, status: 200, allowed: true},
		"other port":            {configured: local, origin: "http://localhost:8234", status: 403},
		"other scheme":          {configured: remote, origin: "http://temporal.example.com", status: 403},
		"suffix":                {configured: remote, origin: remote + ".evil.example", status: 403},
		"subdomain":             {configured: remote, origin: "https://x.temporal.example.com", status: 403},
		"null origin":           {configured: local, origin: "null", status: 403},
		"nothing configured":    {configured: "", origin: local, status: 403},
		"remote is no loopback": {configured: remote, origin: "http://127.0.0.1", status: 403},
		"no browser":            {configured: local, status: 200},
		"preflight":             {configured: local, password: "pw", method: "OPTIONS", origin: local, status: 204, allowed: true},
		"foreign preflight":     {configured: local, method: "OPTIONS", origin: remote, status: 403},
		"password":              {configured: local, password: "pw", origin: local, user: "codec", shown: "pw", status: 200, allowed: true},
		"no password shown":     {configured: local, password: "pw", origin: local, status: 401, allowed: true},
		"wrong password":        {configured: local, password: "pw", user: "codec", shown: "pW", status: 401},
		"wrong user":            {configured: local, password: "pw", user: "admin", shown: "pw", status: 401},
		"moved colon":           {configured: local, password: "pw", user: "code", shown: "c:pw", status: 401},
		"get":                   {configured: local, method: "GET", status: 404},
		"other path":            {configured: local, path: "/download", status: 404},
		"not json":              {configured: local, body: []byte("{"), status: 400},
		"too large":             {configured: local, body: bytes.Repeat([]byte(" "), 17<<20), status: 413},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			method, path, sent := "POST", "/codec/decode", body
			if tc.method != "" {
				method = tc.method
			}
			if tc.path != "" {
				path = tc.path
			}
			if tc.body != nil {
				sent = tc.body
			}
			req := httptest.NewRequest(method, path, bytes.NewReader(sent))
			if tc.origin != "" {
				req.Header.Set("Origin", tc.origin)
			}
			if tc.user != "" {
				req.SetBasicAuth(tc.user, tc.shown)
			}
			rec := httptest.NewRecorder()
			var log bytes.Buffer
			codec(keys, tc.configured, tc.password, &log).ServeHTTP(rec, req)
			require.Equal(t, tc.status, rec.Code, rec.Body.String())

			if tc.allowed {
				require.Equal(t, tc.origin, rec.Header().Get("Access-Control-Allow-Origin"))
				require.Equal(t, "true", rec.Header().Get("Access-Control-Allow-Credentials"))
			} else {
				require.Empty(t, rec.Header().Get("Access-Control-Allow-Origin"))
			}
			require.Contains(t, rec.Header().Values("Vary"), "Origin")
			audited(t, log.String(), method, tc.status)
			if tc.status == http.StatusNoContent {
				require.Equal(t, "POST, OPTIONS", rec.Header().Get("Access-Control-Allow-Methods"))
				require.Equal(t, "Content-Type, X-Namespace, Authorization", rec.Header().Get("Access-Control-Allow-Headers"))
			}
			if tc.status == http.StatusOK {
				var decoded commonpb.Payloads
				require.NoError(t, protojson.Unmarshal(rec.Body.Bytes(), &decoded))
				require.Equal(t, `"readable"`, string(decoded.GetPayloads()[0].GetData()))
			}
		})
	}
}

func TestCodecHandlerBoundsChunkedBodies(t *testing.T) {
	t.Parallel()
	req := httptest.NewRequest("POST", "/decode", io.NopCloser(strings.NewReader(strings.Repeat(" ", 17<<20))))
	req.ContentLength = -1
	rec := httptest.NewRecorder()
	codec(newKeyring(t), "http://localhost:8233", "", io.Discard).ServeHTTP(rec, req)
	require.Equal(t, http.StatusBadRequest, rec.Code)
	require.Contains(t, rec.Body.String(), "too large")
}
