package durable

import (
	"bytes"
	"compress/zlib"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	commonpb "go.temporal.io/api/common/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"
)

const (
	encryptedEncoding = "binary/encrypted"
	// metadataKeyID is where payloads of older builds repeat the id of their key. Tink puts it in front of every sealed text:
	// in a history of thirty payloads the repetition was a tenth of the bytes.
	metadataKeyID = "encryption-key-id"

	// compressFrom is the size in bytes from which compression is tried. Below it ids are most of a payload, and stay as they are.
	compressFrom = 512
)

// payloadLabel binds a ciphertext to its use. The workflow id is no part of it: a replay runs under another one, and
// some payloads are encoded without any.
var payloadLabel = []byte("gatehouse/temporal/payload")

var deflate = converter.NewZlibCodec(converter.ZlibCodecOptions{})

// payloadCodec encrypts whole payloads, metadata and all.
type payloadCodec struct {
	keys *Keyring
	// clear are the texts, as JSON, that are not encrypted.
	clear map[string]bool
	// bare leaves out of a payload of JSON that it is JSON.
	bare bool
}

// isJSON reports whether a payload says nothing but that it is JSON.
func isJSON(p *commonpb.Payload) bool {
	return len(p.GetMetadata()) == 1 && len(p.GetExternalPayloads()) == 0 &&
		string(p.GetMetadata()[converter.MetadataEncoding]) == converter.MetadataEncodingJSON
}

// What a payload begins with as protobuf: its metadata, or its data. No JSON does, as long as it begins with no line break.
const (
	metadataTag = 1<<3 | 2
	dataTag     = 2<<3 | 2
)

func isBare(plain []byte) bool {
	return len(plain) > 0 && plain[0] != metadataTag && plain[0] != dataTag
}

// Encode implements converter.PayloadCodec.
func (c payloadCodec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	encoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if len(c.clear) > 0 && isJSON(p) && c.clear[string(p.GetData())] {
			encoded[i] = p
			continue
		}
		if proto.Size(p) >= compressFrom {
			smaller, err := compressed(p)
			if err != nil {
				return nil, fmt.Errorf("compress payload: %w", err)
			}
			p = smaller
		}
		plain, err := c.marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode payload: %w", err)
		}
		sealed, err := c.keys.Seal(plain, payloadLabel)
		if err != nil {
			return nil, err
		}
		encoded[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encryptedEncoding)},
			Data:     sealed,
		}
	}
	return encoded, nil
}

// Decode implements converter.PayloadCodec. Payloads that are not ours pass through.
func (c payloadCodec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	decoded := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encryptedEncoding {
			decoded[i] = p
			continue
		}
		plain, err := c.keys.Open(p.GetData(), payloadLabel)
		if err != nil {
			c.keys.unread.Add(1)
			if id := keyOf(p); id != "" && !c.keys.has(id) {
				err = fmt.Errorf("%w: %w", errNoKey, err)
			}
			return nil, fmt.Errorf("payload of key %q: %w", keyOf(p), err)
		}
		if isBare(plain) {
			decoded[i] = &commonpb.Payload{
				Metadata: map[string][]byte{converter.MetadataEncoding: []byte(converter.MetadataEncodingJSON)}, Data: plain,
			}
			continue
		}
		inner := &commonpb.Payload{}
		if err := proto.Unmarshal(plain, inner); err != nil {
			return nil, fmt.Errorf("decode payload: %w", err)
		}
		// Only what was authenticated is inflated: a stranger's payload could be a bomb.
		inflated, err := deflate.Decode([]*commonpb.Payload{inner})
		if err != nil {
			return nil, fmt.Errorf("inflate payload: %w", err)
		}
		decoded[i] = inflated[0]
	}
	return decoded, nil
}

func (c payloadCodec) marshal(p *commonpb.Payload) ([]byte, error) {
	if c.bare && isJSON(p) && isBare(p.GetData()) {
		return p.GetData(), nil
	}
	return proto.Marshal(p)
}

// The sealed text of a payload begins with a byte of Tink's and the number of its key.
const (
	tinkVersion = 1
	tinkPrefix  = 5
)

// keyOf returns the id of the key that encrypted a payload, empty if that cannot be told.
func keyOf(p *commonpb.Payload) string {
	if id := p.GetMetadata()[metadataKeyID]; len(id) > 0 {
		return string(id)
	}
	data := p.GetData()
	if len(data) < tinkPrefix || data[0] != tinkVersion {
		return ""
	}
	return keyName(binary.BigEndian.Uint32(data[1:tinkPrefix]))
}

// errNoKey means that a payload was encrypted with a key that this process has not, or no more.
var errNoKey = errors.New("the key is not in the keyset")

// dataConverter is a converter for all uses. The code of a flow gets one of its own of it.
type dataConverter struct{ converter.DataConverter }

var _ workflow.ContextAware = dataConverter{}

// WithWorkflowContext implements workflow.ContextAware.
func (c dataConverter) WithWorkflowContext(workflow.Context) converter.DataConverter {
	return flowConverter(c)
}

// WithContext implements workflow.ContextAware: activities and clients hear of what they cannot read as of any other fault.
func (c dataConverter) WithContext(context.Context) converter.DataConverter { return c }

// flowConverter reads what a flow is given: its input, signals, and what its activities return. An error would be the flow's own,
// and end it for good, or lose the signal; a panic fails the task alone (worker.BlockWorkflow), which is tried again until a worker
// has the key. Arguments of updates do not come this way: an update that cannot be read is refused.
type flowConverter struct{ converter.DataConverter }

// FromPayload implements converter.DataConverter.
func (c flowConverter) FromPayload(payload *commonpb.Payload, value any) error {
	return orPanic(c.DataConverter.FromPayload(payload, value))
}

// FromPayloads implements converter.DataConverter.
func (c flowConverter) FromPayloads(payloads *commonpb.Payloads, values ...any) error {
	return orPanic(c.DataConverter.FromPayloads(payloads, values...))
}

func orPanic(err error) error {
	if errors.Is(err, errNoKey) {
		panic(err)
	}
	return err
}

// writers are deflate writers that have been used: a new one costs a megabyte.
var writers = sync.Pool{New: func() any { return zlib.NewWriter(io.Discard) }}

// compressed is what the SDK's codec makes of a payload, the payload itself if that is no larger.
func compressed(p *commonpb.Payload) (*commonpb.Payload, error) {
	plain, err := proto.Marshal(p)
	if err != nil {
		return nil, err
	}
	w, ok := writers.Get().(*zlib.Writer)
	if !ok {
		return p, nil
	}
	defer writers.Put(w)
	var out bytes.Buffer
	w.Reset(&out)
	if _, err := w.Write(plain); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	if out.Len() >= len(plain) {
		return p, nil
	}
	return &commonpb.Payload{Metadata: map[string][]byte{converter.MetadataEncoding: []byte("binary/zlib")}, Data: out.Bytes()}, nil
}

// failureConverter is the SDK's, made safe to use twice on one failure. The SDK's decrypts in place, and a worker reads
// the failure of a local activity back while the very same message waits to be sent: it reached the history in the clear.
type failureConverter struct{ converter.FailureConverter }

func newFailureConverter(data converter.DataConverter) converter.FailureConverter {
	return failureConverter{temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
		// Without the data converter the attributes would be wrapped in a payload, and left in the clear.
		DataConverter:          data,
		EncodeCommonAttributes: true,
	})}
}

// FailureToError implements converter.FailureConverter.
func (c failureConverter) FailureToError(failure *failurepb.Failure) error {
	if failure == nil {
		return nil
	}
	return c.FailureConverter.FailureToError(proto.CloneOf(failure))
}
