package secret

import (
	"encoding/base64"
	"strings"

	"github.com/google/uuid"
)

// The prefixes of refresh tokens, and of the tokens of devices and of logins that await a code.
const (
	RefreshTokenPrefix = "ghr_"
	DeviceTokenPrefix  = "ghd_"
	StepTokenPrefix    = "dvt_"
)

// DeviceToken derives the 256-bit token of a trusted device, so that a repeated answer holds the same one.
func (k *Keys) DeviceToken(device uuid.UUID) string {
	return DeviceTokenPrefix + base64.RawURLEncoding.EncodeToString(mac(k.link, "device", device.String()))
}

// StepToken derives the 256-bit token that names a pending session to whoever finishes its second step by code.
func (k *Keys) StepToken(session uuid.UUID) string {
	return StepTokenPrefix + base64.RawURLEncoding.EncodeToString(mac(k.link, "step", session.String()))
}

// FirstToken derives the refresh token that a session gets with its second step.
func (k *Keys) FirstToken(session uuid.UUID) string {
	return RefreshTokenPrefix + base64.RawURLEncoding.EncodeToString(mac(k.refresh, "session", session.String()))
}

// IsDeviceToken reports whether s has the form of a device token.
func IsDeviceToken(s string) bool { return strings.HasPrefix(s, DeviceTokenPrefix) }

// RefreshHash is what the store keeps of a refresh token.
func (k *Keys) RefreshHash(token string) []byte { return k.TokenHash("refresh", token) }

// DeviceHash is what the store keeps of a device token.
func (k *Keys) DeviceHash(token string) []byte { return k.TokenHash("device", token) }

// StepHash is what the store keeps of the token of a login that awaits a code.
func (k *Keys) StepHash(token string) []byte { return k.TokenHash("step", token) }
