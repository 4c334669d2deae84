package secret

import "errors"

// SealPushToken encrypts the token of a device, bound to the hash that it is found by.
func (k *Keys) SealPushToken(hash []byte, token string) []byte {
	return k.sealer.Seal(nil, nil, []byte(token), hash) //nolint:gosec // the cipher makes a random nonce itself
}

// OpenPushToken decrypts what SealPushToken returned. It fails for another hash, and under another secret key.
func (k *Keys) OpenPushToken(hash, sealed []byte) (string, error) {
	plain, err := k.sealer.Open(nil, nil, sealed, hash)
	if err != nil {
		return "", errors.New("the sealed push token does not open: GATEHOUSE_SECRET_KEY was changed, or the row")
	}
	return string(plain), nil
}
