package durable_test

import (
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"google.golang.org/protobuf/proto"

	"gatehouse/internal/durable"
)

func fuzzKeyring(f *testing.F) *durable.Keyring {
	f.Helper()
	encoded, err := durable.GenerateKeyset()
	if err != nil {
		f.Fatal(err)
	}
	keys, err := durable.NewKeyring(encoded)
	if err != nil {
		f.Fatal(err)
	}
	return keys
}

// What somebody with access to Temporal's store puts there is read, refused, or passed on as it is, and never inflated first.
func FuzzPayload(f *testing.F) {
	keys := fuzzKeyring(f)
	for _, value := range []any{"text", map[string]int{"a": 1}, strings.Repeat("long", 1000), nil, []byte{1, 2}} {
		p, err := keys.DataConverter().ToPayload(value)
		if err != nil {
			f.Fatal(err)
		}
		raw, err := proto.Marshal(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
		if len(raw) > 20 {
			raw[len(raw)-3] ^= 1
			f.Add(raw)
		}
	}
	plain, err := proto.Marshal(&commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain")}, Data: []byte(`"x"`)})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		var p commonpb.Payload
		if proto.Unmarshal(raw, &p) != nil {
			return
		}
		var value any
		_ = keys.DataConverter().FromPayload(&p, &value)
		_ = keys.DataConverter().ToString(&p)
		failure := &failurepb.Failure{EncodedAttributes: &p, Message: "Encoded failure"}
		_ = keys.FailureConverter().FailureToError(failure)
	})
}

// What is read as a value of ours was sealed by us: whatever else is claimed to be encrypted does not open.
func FuzzForgedPayload(f *testing.F) {
	keys := fuzzKeyring(f)
	sealed, err := keys.DataConverter().ToPayload("text")
	if err != nil {
		f.Fatal(err)
	}
	good := string(sealed.Data)
	f.Add([]byte(good))
	f.Add([]byte(good)[1:])
	f.Add([]byte{})
	f.Add(make([]byte, 33))
	f.Fuzz(func(t *testing.T, data []byte) {
		var value string
		err := keys.DataConverter().FromPayload(&commonpb.Payload{Metadata: sealed.Metadata, Data: data}, &value)
		if err == nil && string(data) != good {
			t.Fatalf("%x opens as %q", data, value)
		}
	})
}

// The endpoint that the Temporal UI decodes with refuses what it cannot read.
func FuzzCodecEndpoint(f *testing.F) {
	keys := fuzzKeyring(f)
	for _, seed := range []string{
		`{"payloads":[]}`, `{}`, `null`, `[]`, ``, `{"payloads":[null]}`, `{"payloads":[{"metadata":{"encoding":"YmluYXJ5L2VuY3J5cHRlZA=="},"data":"AAAA"}]}`,
		`{"payloads":[{"metadata":{"encoding":"YmluYXJ5L3psaWI="},"data":"eJwDAAAAAAE="}]}`, "\xff", strings.Repeat(`{"payloads":`, 1000),
	} {
		f.Add("decode", seed)
		f.Add("encode", seed)
	}
	handler := codec(keys, "", "", io.Discard)
	f.Fuzz(func(t *testing.T, action, body string) {
		request := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/"+base64.RawURLEncoding.EncodeToString([]byte(action)), strings.NewReader(body))
		if action == "decode" || action == "encode" {
			request.URL.Path = "/" + action
		}
		answer := httptest.NewRecorder()
		handler.ServeHTTP(answer, request)
		if answer.Code >= http.StatusInternalServerError {
			t.Fatalf("%s %q: %d %s", action, body, answer.Code, answer.Body)
		}
	})
}

func FuzzKeyset(f *testing.F) {
	encoded, err := durable.GenerateKeyset()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(encoded)
	f.Add("dev:" + encoded)
	for _, text := range []string{`{}`, `{"primaryKeyId":1,"key":[]}`, `{"primaryKeyId":1,"key":[{}]}`, `null`, `[`} {
		f.Add(base64.StdEncoding.EncodeToString([]byte(text)))
	}
	f.Add("not base64")
	f.Fuzz(func(t *testing.T, setting string) {
		keys, err := durable.NewKeyring(setting)
		if err != nil {
			if len(setting) > 12 && strings.Contains(err.Error(), setting) {
				t.Fatal("the fault quotes the keys")
			}
			return
		}
		sealed, err := keys.Seal([]byte("x"), nil)
		if err != nil {
			t.Fatal(err)
		}
		if plain, err := keys.Open(sealed, nil); err != nil || string(plain) != "x" {
			t.Fatal("a keyring that does not open what it sealed")
		}
	})
}
