package durable

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.temporal.io/sdk/converter"
)

const (
	codecUser = "codec"
	// maxCodecBody fits a page of history at the server's payload limit (2 MiB each, in base64).
	maxCodecBody = 16 << 20
)

// CodecHandler serves /encode and /decode (under any prefix) to the Temporal UI at uiOrigin and to no other origin.
// When password is set, callers must send it by HTTP basic authentication as user "codec". A loopback origin is accepted
// in both spellings, localhost and 127.0.0.1. Whoever reaches the handler can read every payload: keep it off the
// public listener.
func (k *Keyring) CodecHandler(uiOrigin, password string) http.Handler {
	return &codecHandler{
		next:     converter.NewPayloadCodecHTTPHandler(payloadCodec{k}),
		origins:  spellings(uiOrigin),
		password: password,
	}
}

type codecHandler struct {
	next     http.Handler
	origins  []string
	password string
}

// ServeHTTP implements http.Handler.
func (h *codecHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Add("Vary", "Origin")
	w.Header().Set("Cache-Control", "no-store")
	if origin := r.Header.Get("Origin"); origin != "" {
		if !slices.Contains(h.origins, origin) {
			http.Error(w, "origin not allowed", http.StatusForbidden)
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
	if !h.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="codec", charset="UTF-8"`)
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	if r.ContentLength > maxCodecBody {
		http.Error(w, "body too large", http.StatusRequestEntityTooLarge)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxCodecBody)
	h.next.ServeHTTP(w, r)
}

func (h *codecHandler) authorized(r *http.Request) bool {
	if h.password == "" {
		return true
	}
	user, password, _ := r.BasicAuth()
	// Hashed first, so that not even the length of the password shows in the time.
	got, want := sha256.Sum256([]byte(user+":"+password)), sha256.Sum256([]byte(codecUser+":"+h.password))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
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
