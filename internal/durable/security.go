package durable

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"sync"

	"go.temporal.io/sdk/client"
)

// Security is how the connection to Temporal is secured: internal/config.Temporal, field by field. The zero value means no
// TLS; any field turns it on.
type Security struct {
	// TLSCAFile is a PEM file with the authorities that are trusted instead of the machine's.
	TLSCAFile string
	// TLSCertFile and TLSKeyFile are our own certificate and key in PEM, both or none.
	TLSCertFile string
	TLSKeyFile  string
	// TLSServerName is expected in Temporal's certificate instead of the address' host.
	TLSServerName string
	// APIKey is sent as Bearer token with every call.
	APIKey string
}

// config returns nil where there is no TLS. What is wrong with a file is said now and not at the first call; errors name
// the setting.
func (s Security) config() (*tls.Config, error) {
	if s == (Security{}) {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: s.TLSServerName}
	if s.TLSCAFile != "" {
		pem, err := os.ReadFile(s.TLSCAFile)
		if err != nil {
			return nil, fmt.Errorf("GATEHOUSE_TEMPORAL_TLS_CA_FILE: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("GATEHOUSE_TEMPORAL_TLS_CA_FILE: %s holds no certificate in PEM", s.TLSCAFile)
		}
	}
	if s.TLSCertFile != "" || s.TLSKeyFile != "" {
		ours := &certificate{certFile: s.TLSCertFile, keyFile: s.TLSKeyFile}
		if err := ours.load(); err != nil {
			return nil, fmt.Errorf("GATEHOUSE_TEMPORAL_TLS_CERT_FILE, GATEHOUSE_TEMPORAL_TLS_KEY_FILE: %w", err)
		}
		c.GetClientCertificate = ours.get
	}
	return c, nil
}

func (s Security) credentials() client.Credentials {
	if s.APIKey == "" {
		return nil
	}
	return client.NewAPIKeyStaticCredentials(s.APIKey)
}

// certificate is read anew for every connection: those who issue short-lived ones replace the files under us.
type certificate struct {
	certFile, keyFile string

	mu   sync.Mutex
	last tls.Certificate
}

func (c *certificate) load() error {
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return err
	}
	c.last = pair
	return nil
}

// get is tls.Config.GetClientCertificate. Files that do not fit together are just being replaced: the last pair that did
// goes on serving.
func (c *certificate) get(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.load()
	current := c.last
	return &current, nil
}
