//go:build unix

package stack

import (
	"crypto/rand"
	"encoding/base64"
	"maps"

	"gatehouse/internal/durable"
)

// devPrefix marks a generated key, which production refuses.
const devPrefix = "dev:"

// LoadKeys returns the keys of a development system from the file, generating those it lacks once.
func LoadKeys(path string) (map[string]string, error) {
	kept, err := ReadEnvFile(path)
	if err != nil {
		return nil, err
	}
	fresh, err := GenerateKeys()
	if err != nil {
		return nil, err
	}
	missing := len(fresh) - len(kept.Values)
	maps.Copy(fresh, kept.Values)
	if missing <= 0 {
		return fresh, nil
	}
	return fresh, WriteEnvFile(path, EnvFile{Values: fresh})
}

// GenerateKeys returns one new value for every key setting.
func GenerateKeys() (map[string]string, error) {
	keyset, err := durable.GenerateKeyset()
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"GATEHOUSE_SECRET_KEY":  randomKey(),
		"GATEHOUSE_SIGNING_KEY": randomKey(),
		"GATEHOUSE_CODEC_KEYS":  devPrefix + keyset,
	}, nil
}

func randomKey() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails: it ends the process instead
	return devPrefix + base64.StdEncoding.EncodeToString(key)
}
