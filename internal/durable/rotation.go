package durable

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/insecurecleartextkeyset"
	"github.com/tink-crypto/tink-go/v2/keyset"
)

// Key is a key of a ring, without what is secret of it.
type Key struct {
	// ID is stored beside every payload that the key encrypted.
	ID string
	// Primary is the one that encrypts. Every key decrypts.
	Primary bool
}

// A keyset is rotated in steps, so that processes on either side of a step read each other: add, with which every process
// learns the new key before any uses it; promote; and remove, once nothing is left that the old key wrote. Each step
// returns the keyset to roll out next and keeps the mark of development.

// AddKey returns the keyset with one more key, which decrypts only, and that key's id.
func AddKey(encoded string) (keyset, id string, err error) {
	return change(encoded, func(m *keysetManager) (uint32, error) { return m.Add(aead.AES256GCMKeyTemplate()) })
}

// PromoteKey returns the keyset with another primary key.
func PromoteKey(encoded, id string) (string, error) {
	rotated, _, err := change(encoded, func(m *keysetManager) (uint32, error) {
		number, err := keyNumber(encoded, id)
		if err != nil {
			return 0, err
		}
		return number, m.SetPrimary(number)
	})
	return rotated, err
}

// RemoveKey returns the keyset without a key. The primary cannot be removed. Whether anything needs the key is for
// Client.KeyUses to say.
func RemoveKey(encoded, id string) (string, error) {
	rotated, _, err := change(encoded, func(m *keysetManager) (uint32, error) {
		number, err := keyNumber(encoded, id)
		if err != nil {
			return 0, err
		}
		return number, m.Delete(number)
	})
	return rotated, err
}

// keysetManager has a name of its own because package and results are called keyset.
type keysetManager = keyset.Manager

func change(encoded string, step func(*keysetManager) (uint32, error)) (changed, id string, err error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return "", "", err
	}
	keys := keyset.NewManagerFromHandle(handle)
	number, err := step(keys)
	if err != nil {
		return "", "", fmt.Errorf("codec keys: %w", err)
	}
	after, err := keys.Handle()
	if err != nil {
		return "", "", fmt.Errorf("codec keys: %w", err)
	}
	prefix := ""
	if strings.HasPrefix(strings.TrimSpace(encoded), devPrefix) {
		prefix = devPrefix
	}
	changed, err = writeKeyset(prefix, after)
	return changed, keyName(number), err
}

func keyNumber(encoded, id string) (uint32, error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return 0, err
	}
	if !slices.ContainsFunc(keysOf(handle), func(k Key) bool { return k.ID == id }) {
		return 0, fmt.Errorf("there is no key %q", id)
	}
	number, err := strconv.ParseUint(id, 10, 32)
	return uint32(number), err
}

func keysOf(handle *keyset.Handle) []Key {
	info := handle.KeysetInfo()
	keys := make([]Key, 0, len(info.GetKeyInfo()))
	for _, k := range info.GetKeyInfo() {
		keys = append(keys, Key{ID: keyName(k.GetKeyId()), Primary: k.GetKeyId() == info.GetPrimaryKeyId()})
	}
	return keys
}

func keyName(number uint32) string { return strconv.FormatUint(uint64(number), 10) }

func writeKeyset(prefix string, handle *keyset.Handle) (string, error) {
	var raw bytes.Buffer
	if err := insecurecleartextkeyset.Write(handle, keyset.NewJSONWriter(&raw)); err != nil {
		return "", fmt.Errorf("codec keys: write: %w", err)
	}
	return prefix + base64.StdEncoding.EncodeToString(raw.Bytes()), nil
}

// SealPrefix is how many bytes of what Seal returned name its key: Tink's version, then the key's id.
const SealPrefix = 5

var errNotSealed = errors.New("not sealed by a keyring")

// KeyOf returns the id of the key that sealed something, by its first SealPrefix bytes.
func KeyOf(sealed []byte) (string, error) {
	if len(sealed) < SealPrefix || sealed[0] != 1 {
		return "", errNotSealed
	}
	return keyName(binary.BigEndian.Uint32(sealed[1:SealPrefix])), nil
}
