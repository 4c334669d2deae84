package durable

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/tink"
	"go.temporal.io/sdk/converter"
)

// devPrefix marks a keyset that was generated for development; internal/config refuses it in production.
const devPrefix = "dev:"

// errKeyset never says what the keyset held: the text of a parser's error quotes its input.
var errKeyset = errors.New("codec keys: not a base64 Tink AEAD keyset")

// Keyring encrypts and decrypts with a Tink AEAD keyset: the primary key encrypts, every enabled key decrypts. It is
// safe for concurrent use.
type Keyring struct {
	primary  string
	keys     []Key
	cipher   tink.AEAD
	data     converter.DataConverter
	failures converter.FailureConverter
	unread   atomic.Int64
}

// Unread returns how many payloads could not be decrypted since the process began: their key is missing here.
func (k *Keyring) Unread() int64 { return k.unread.Load() }

// ChangeBarePayloads is the id, for those who hold changes back, of Bare: builds before it cannot read what it writes.
const ChangeBarePayloads = "bare-payloads"

// A Writing says how a Keyring writes payloads. All are read, whoever wrote them in whatever way.
type Writing func(*payloadCodec)

// Bare leaves out of payloads of JSON, which are nearly all, that they are JSON: 24 bytes in each.
func Bare() Writing { return func(c *payloadCodec) { c.bare = true } }

// InClear leaves these texts as they are where one is the whole of a payload: lines for the UI that are the same for everybody.
// Sealed, each has 75 bytes more.
func InClear(texts ...string) Writing {
	return func(c *payloadCodec) {
		c.clear = make(map[string]bool, len(texts))
		for _, text := range texts {
			if p, err := converter.GetDefaultDataConverter().ToPayload(text); err == nil {
				c.clear[string(p.GetData())] = true
			}
		}
	}
}

// NewKeyring reads a keyset as GenerateKeyset writes it. A "dev:" prefix is ignored.
func NewKeyring(encoded string, writing ...Writing) (*Keyring, error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return nil, err
	}
	primary, err := handle.Primary()
	if err != nil {
		return nil, errors.New("codec keys: the keyset has no primary key")
	}
	cipher, err := aead.New(handle)
	if err != nil {
		return nil, errKeyset
	}
	k := &Keyring{primary: keyName(primary.KeyID()), keys: keysOf(handle), cipher: cipher}
	codec := payloadCodec{keys: k}
	for _, way := range writing {
		way(&codec)
	}
	sealing := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), codec)
	k.data = dataConverter{sealing}
	k.failures = newFailureConverter(sealing)
	return k, nil
}

// GenerateKeyset returns a new keyset with one AES-256-GCM key: the base64 of Tink's cleartext JSON.
func GenerateKeyset() (string, error) {
	handle, err := keyset.NewHandle(aead.AES256GCMKeyTemplate())
	if err != nil {
		return "", fmt.Errorf("codec keys: generate: %w", err)
	}
	return writeKeyset("", handle)
}

func readKeyset(encoded string) (*keyset.Handle, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(strings.TrimSpace(encoded), devPrefix))
	if err != nil {
		return nil, errKeyset
	}
	handle, err := insecurecleartextkeyset.Read(keyset.NewJSONReader(bytes.NewReader(raw)))
	if err != nil {
		return nil, errKeyset
	}
	return handle, nil
}

// KeyID returns the id of the primary key, which is stored beside every payload it encrypted. It is no secret.
func (k *Keyring) KeyID() string { return k.primary }

// Keys returns the keys of the ring, in the order in which they were added.
func (k *Keyring) Keys() []Key { return slices.Clone(k.keys) }

func (k *Keyring) has(id string) bool {
	return slices.ContainsFunc(k.keys, func(key Key) bool { return key.ID == id })
}

// Seal encrypts plain with the primary key and binds it to aad, which must be shown again to open it.
func (k *Keyring) Seal(plain, aad []byte) ([]byte, error) {
	sealed, err := k.cipher.Encrypt(plain, aad)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	return sealed, nil
}

// Open decrypts what Seal returned. It fails when sealed or aad was changed, or its key is not in the ring.
func (k *Keyring) Open(sealed, aad []byte) ([]byte, error) {
	plain, err := k.cipher.Decrypt(sealed, aad)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	return plain, nil
}

// DataConverter returns the converter that encrypts every payload. Client, worker, replayer and test environment must
// share it.
func (k *Keyring) DataConverter() converter.DataConverter { return k.data }

// FailureConverter returns the converter that encrypts messages, stacks and details of failures. Error types stay
// readable: they must say nothing about anyone.
func (k *Keyring) FailureConverter() converter.FailureConverter { return k.failures }
