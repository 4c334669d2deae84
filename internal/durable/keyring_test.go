package durable_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"gatehouse/internal/durable"
)

func newKeyring(t *testing.T) *durable.Keyring {
	t.Helper()
	encoded, err := durable.GenerateKeyset()
	require.NoError(t, err)
	keys, err := durable.NewKeyring(encoded)
	require.NoError(t, err)
	return keys
}

func TestKeyringReadsKeysets(t *testing.T) {
	t.Parallel()
	encoded, err := durable.GenerateKeyset()
	require.NoError(t, err)

	raw, err := base64.StdEncoding.DecodeString(encoded)
	require.NoError(t, err)
	var shape struct {
		Key []struct {
			KeyData struct{ TypeURL string }
		}
	}
	require.NoError(t, json.Unmarshal(raw, &shape), "a keyset is base64 of JSON")
	require.Equal(t, "type.googleapis.com/google.crypto.tink.AesGcmKey", shape.Key[0].KeyData.TypeURL)

	plain, err := durable.NewKeyring(encoded)
	require.NoError(t, err)
	dev, err := durable.NewKeyring("dev:" + encoded + "\n")
	require.NoError(t, err)
	require.Equal(t, plain.KeyID(), dev.KeyID())

	const secret = "hunter2hunter2"
	for name, bad := range map[string]string{
		"empty":        "",
		"not base64":   secret + "!",
		"not a keyset": base64.StdEncoding.EncodeToString([]byte(`{"primaryKeyId": ` + secret + `}`)),
		"no keys":      base64.StdEncoding.EncodeToString([]byte(`{"primaryKeyId": 1}`)),
	} {
		_, err := durable.NewKeyring(bad)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), secret, name)
	}
}

func TestSealBindsAssociatedData(t *testing.T) {
	t.Parallel()
	keys := newKeyring(t)
	sealed, err := keys.Seal([]byte("answer"), []byte("label"))
	require.NoError(t, err)

	plain, err := keys.Open(sealed, []byte("label"))
	require.NoError(t, err)
	require.Equal(t, "answer", string(plain))

	_, err = keys.Open(sealed, []byte("another"))
	require.Error(t, err)
	_, err = newKeyring(t).Open(sealed, []byte("label"))
	require.Error(t, err, "another ring's key")
}

func TestCodecRoundTrip(t *testing.T) {
	t.Parallel()
	keys := newKeyring(t)
	dc := keys.DataConverter()
	rapid.Check(t, func(t *rapid.T) {
		in := struct {
			Text  string
			Bytes []byte
			Many  []string
		}{
			rapid.String().Draw(t, "text"),
			rapid.SliceOfN(rapid.Byte(), 0, 4096).Draw(t, "bytes"),
			rapid.SliceOf(rapid.StringN(0, 20, -1)).Draw(t, "many"),
		}
		payload, err := dc.ToPayload(in)
		require.NoError(t, err)
		require.Equal(t, "binary/encrypted", string(payload.GetMetadata()[converter.MetadataEncoding]))
		require.Len(t, payload.GetMetadata(), 1, "the sealed text names its key")
		require.Equal(t, keys.KeyID(), keyID(payload))

		out := in
		out.Text, out.Bytes, out.Many = "", nil, nil
		require.NoError(t, dc.FromPayload(payload, &out))
		require.Equal(t, in.Text, out.Text)
		require.Equal(t, string(in.Bytes), string(out.Bytes))
		require.ElementsMatch(t, in.Many, out.Many)
	})
}

func TestCodecDetectsTampering(t *testing.T) {
	t.Parallel()
	dc := newKeyring(t).DataConverter()
	rapid.Check(t, func(t *rapid.T) {
		payload, err := dc.ToPayload(rapid.String().Draw(t, "text"))
		require.NoError(t, err)
		at := rapid.IntRange(0, len(payload.GetData())-1).Draw(t, "at")
		payload.Data[at] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		var out string
		require.Error(t, dc.FromPayload(payload, &out))
	})
}

func TestCodecCompressesWhatIsLarge(t *testing.T) {
	t.Parallel()
	dc := newKeyring(t).DataConverter()
	in := strings.Repeat("all work and no play ", 1000)
	payload, err := dc.ToPayload(in)
	require.NoError(t, err)
	require.Less(t, len(payload.GetData()), len(in)/10)
	var out string
	require.NoError(t, dc.FromPayload(payload, &out))
	require.Equal(t, in, out)
}

// However a payload was written, every ring that has its key reads it: builds that write in different ways share flows.
func TestCodecReadsEveryWriting(t *testing.T) {
	t.Parallel()
	encoded, err := durable.GenerateKeyset()
	require.NoError(t, err)
	ways := map[string][]durable.Writing{
		"whole": nil, "bare": {durable.Bare()}, "clear": {durable.InClear("the same for everybody")},
		"both": {durable.Bare(), durable.InClear("the same for everybody")},
	}
	converters := map[string]converter.DataConverter{}
	for name, way := range ways {
		keys, err := durable.NewKeyring(encoded, way...)
		require.NoError(t, err)
		converters[name] = keys.DataConverter()
	}
	rapid.Check(t, func(t *rapid.T) {
		in := rapid.OneOf(
			rapid.Just[any]("the same for everybody"), rapid.Just[any](""), rapid.Just[any](true), rapid.Just[any](nil),
			rapid.Float64().AsAny(), rapid.String().AsAny(), rapid.SliceOf(rapid.String()).AsAny(),
			rapid.MapOf(rapid.String(), rapid.String()).AsAny(),
		).Draw(t, "in")
		want, err := json.Marshal(in)
		require.NoError(t, err)
		sizes := map[string]int{}
		for writer, dc := range converters {
			payload, err := dc.ToPayload(in)
			require.NoError(t, err)
			sizes[writer] = proto.Size(payload)
			for reader, dc := range converters {
				var out any
				require.NoError(t, dc.FromPayload(payload, &out))
				got, err := json.Marshal(out)
				require.NoError(t, err)
				require.JSONEq(t, string(want), string(got), "%s reads what %s wrote", reader, writer)
			}
		}
		require.LessOrEqual(t, sizes["bare"], sizes["whole"])
	})
}

func TestCodecLeavesInClearWhatEverybodyMayRead(t *testing.T) {
	t.Parallel()
	encoded, err := durable.GenerateKeyset()
	require.NoError(t, err)
	keys, err := durable.NewKeyring(encoded, durable.Bare(), durable.InClear("the same for everybody"))
	require.NoError(t, err)
	dc := keys.DataConverter()
	payload, err := dc.ToPayload("the same for everybody")
	require.NoError(t, err)
	require.Equal(t, `"the same for everybody"`, string(payload.GetData()))
	for _, sealed := range []any{
		"the same for everybod", "the same for everybody and more", []string{"the same for everybody"}, []byte("the same for everybody"),
	} {
		payload, err := dc.ToPayload(sealed)
		require.NoError(t, err)
		require.Equal(t, keys.KeyID(), keyID(payload))
		require.NotContains(t, string(payload.GetData()), "everybod")
	}
}

func TestCodecPassesUnknownEncodings(t *testing.T) {
	t.Parallel()
	dc := newKeyring(t).DataConverter()
	plain, err := converter.GetDefaultDataConverter().ToPayload("written before there was a codec")
	require.NoError(t, err)
	before := proto.Clone(plain)
	var out string
	require.NoError(t, dc.FromPayload(plain, &out))
	require.Equal(t, "written before there was a codec", out)
	require.True(t, proto.Equal(before, plain), "the codec may not change what it is given")
}

// keyID reads the number of the key that Tink puts in front of a sealed text, after a byte of its own.
func keyID(p *commonpb.Payload) string {
	return strconv.FormatUint(uint64(binary.BigEndian.Uint32(p.GetData()[1:])), 10)
}
