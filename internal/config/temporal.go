package config

import "strings"

// Temporal is how the connection to Temporal is secured. Any of these settings turns TLS on.
type Temporal struct {
	// TLSCAFile is a PEM file with the certificates that may sign Temporal's. Empty means those that the machine trusts.
	TLSCAFile string `env:"TLS_CA_FILE"`
	// TLSCertFile and TLSKeyFile are PEM files with our certificate and its key, for a Temporal that asks for one (mTLS). They
	// are read again at every new connection, so that a renewed certificate needs no restart.
	TLSCertFile string `env:"TLS_CERT_FILE"`
	TLSKeyFile  string `env:"TLS_KEY_FILE"`
	// TLSServerName is the name that Temporal's certificate must have. Empty means the host of TEMPORAL_ADDRESS.
	TLSServerName string `env:"TLS_SERVER_NAME"`
	// APIKey is a key of Temporal Cloud, or of another server that takes Bearer tokens. It never travels without TLS.
	APIKey string `env:"API_KEY"`
}

func (t Temporal) validate(fault func(setting, format string, args ...any)) {
	switch {
	case t.TLSCertFile != "" && t.TLSKeyFile == "":
		fault("GATEHOUSE_TEMPORAL_TLS_KEY_FILE", "is not set; the certificate of GATEHOUSE_TEMPORAL_TLS_CERT_FILE needs its key")
	case t.TLSCertFile == "" && t.TLSKeyFile != "":
		fault("GATEHOUSE_TEMPORAL_TLS_CERT_FILE", "is not set; the key of GATEHOUSE_TEMPORAL_TLS_KEY_FILE needs its certificate")
	}
	if strings.ContainsAny(t.APIKey, " \t\r\n") {
		fault("GATEHOUSE_TEMPORAL_API_KEY", "holds white space; it must be the key alone")
	}
}
