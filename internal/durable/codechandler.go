package durable

import (
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
)

// maxCodecBody fits a page of history at the server's payload limit (2 MiB each, in base64).
const maxCodecBody = 16 << 20

// Callers says who may use the codec.
type Callers interface {
	// Caller returns who sends a request, for the log, and false for whoever may not.
	Caller(r *http.Request) (who string, ok bool)
	// Challenge is the WWW-Authenticate header of a refusal.
	Challenge() string
}

// CodecOptions say whom the codec serves.
type CodecOptions struct {
	// UIOrigin is the address of the Temporal UI; a path is ignored, and a loopback is meant in both spellings.
	UIOrigin string
	Callers  Callers
	// Log gets a line of every use and of every refusal: who, from where, how many payloads.
	Log *slog.Logger
}

// CodecHandler serves /encode and /decode (under any prefix) to the callers, and in browsers to the Temporal UI's origin
// and to no other. Whoever may call it can read every payload: keep it off the public listener.
func (k *Keyring) CodecHandler(o CodecOptions) http.Handler {
	return &codecHandler{codec: payloadCodec{keys: k}, origins: spellings(o.UIOrigin), callers: o.Callers, log: o.Log}
}

type codecHandler struct {
	codec   payloadCodec
	origins []string
	callers Callers
	log     *slog.Logger
}

// ServeHTTP implements http.Handler.
func (h *codecHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	w.Header().Set("Cache-Control", "no-store")
	if origin := r.Header.Get("Origin"); origin != "" {
		if !slices.Contains(h.origins, origin) {
			h.refuse(w, r, http.StatusForbidden, "origin not allowed")
			return
		}
		w.Header().Set("Access-Control-Allow-Origin", origin)
		w.Header().Set("Access-Control-Allow-Credentials", "true")
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("Access-Control-Allow-Methods", "POST, OPTIONS")
		w.Header().Set("Access-Control-Allow-Headers", "Content-Type, X-Namespace, Authorization")
		w.WriteHeader(http.StatusNoContent)
		return
	}
	who, ok := h.callers.Caller(r)
	if !ok {
		w.Header().Set("WWW-Authenticate", h.callers.Challenge())
		h.refuse(w, r, http.StatusUnauthorized, "unauthorized")
		return
	}
	if r.ContentLength > maxCodecBody {
		h.refuse(w, r, http.StatusRequestEntityTooLarge, "body too large")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxCodecBody)
	counted := &countingCodec{payloadCodec: h.codec}
	answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
	converter.NewPayloadCodecHTTPHandler(counted).ServeHTTP(answer, r)
	h.log.LogAttrs(r.Context(), slog.LevelInfo, "codec used", append(asked(r),
		slog.String("who", who), slog.Int("payloads", counted.payloads), slog.Int("status", answer.status))...)
}

func (h *codecHandler) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	h.log.LogAttrs(r.Context(), slog.LevelWarn, "codec refused", append(asked(r),
		slog.String("reason", reason), slog.Int("status", status))...)
	http.Error(w, reason, status)
}

// asked is what a log line says of a request. It never holds contents.
func asked(r *http.Request) []slog.Attr {
	const longest = 100
	short := func(s string) string { return s[:min(len(s), longest)] }
	return []slog.Attr{
		slog.String("action", short(path.Base(r.URL.Path))), slog.String("address", r.RemoteAddr),
		slog.String("origin", short(r.Header.Get("Origin"))), slog.String("namespace", short(r.Header.Get("X-Namespace"))),
	}
}

// countingCodec counts the payloads of one request.
type countingCodec struct {
	payloadCodec

	payloads int
}

// Encode implements converter.PayloadCodec.
func (c *countingCodec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	c.payloads += len(payloads)
	return c.payloadCodec.Encode(payloads)
}

// Decode implements converter.PayloadCodec.
func (c *countingCodec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	c.payloads += len(payloads)
	return c.payloadCodec.Decode(payloads)
}

// statusWriter remembers how a request was answered.
type statusWriter struct {
	http.ResponseWriter

	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func spellings(origin string) []string {
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return nil
	}
	host, port := strings.ToLower(u.Hostname()), u.Port()
	hosts := []string{host}
	switch host {
	case "localhost":
		hosts = append(hosts, "127.0.0.1")
	case "127.0.0.1":
		hosts = append(hosts, "localhost")
	}
	origins := make([]string, 0, len(hosts))
	for _, host := range hosts {
		if port != "" {
			host = net.JoinHostPort(host, port)
		}
		origins = append(origins, u.Scheme+"://"+host)
	}
	return origins
}
