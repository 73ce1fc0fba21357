package serve

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// certificates are the files that TLS is spoken with. They are read again when
// they change; what cannot be used leaves what there was in use.
type certificates struct {
	cert, key, clientCA string // files; clientCA may be none
	log                 *slog.Logger
	current             atomic.Pointer[tls.Config]

	mu     sync.Mutex
	looked time.Time      // when the files were looked at last
	seen   [3]os.FileInfo // as they were when they were read, or refused
}

// lookEvery is how long a change of the files may go unnoticed.
const lookEvery = time.Second

// CheckTLS reports whether TLS can be spoken with these files; none of them: it
// is not spoken.
func CheckTLS(cert, key, clientCA string) error {
	switch {
	case cert == "" && key == "" && clientCA == "":
		return nil
	case cert == "" || key == "":
		return errors.New("a certificate and its key go together: give both")
	}
	_, err := (&certificates{cert: cert, key: key, clientCA: clientCA}).read()
	return err
}

func loadCertificates(config Config) (*certificates, error) {
	c := &certificates{cert: config.TLSCert, key: config.TLSKey, clientCA: config.TLSClientCA, log: config.Log}
	if _, err := c.reload(true); err != nil {
		return nil, err
	}
	return c, nil
}

// config is for a listener. Handshakes take the files as they are then.
func (c *certificates) config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c.look()
			return c.current.Load(), nil
		},
	}
}

// look reads the files again if they have changed.
func (c *certificates) look() {
	c.mu.Lock()
	due := time.Since(c.looked) >= lookEvery
	c.mu.Unlock()
	if !due {
		return
	}
	switch changed, err := c.reload(false); {
	case err != nil:
		c.log.Error("the new certificate cannot be used, and the one before stays", "error", err)
	case changed:
		c.log.Info("the certificate was read again", "file", c.cert)
	}
}

// reload reads the files if they are not as they were, or if it must, and reports
// whether others are in use now.
func (c *certificates) reload(must bool) (changed bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.looked = time.Now()
	var now [3]os.FileInfo
	for i, path := range []string{c.cert, c.key, c.clientCA} {
		if path != "" {
			now[i], _ = os.Stat(path) // a file that cannot be asked cannot be read either
		}
	}
	for i := range now {
		changed = changed || !sameFile(now[i], c.seen[i])
	}
	if !changed && !must {
		return false, nil
	}
	c.seen = now
	config, err := c.read()
	if err != nil {
		return false, err
	}
	c.current.Store(config)
	return changed, nil
}

// sameFile reports whether a file has not changed between two looks at it.
func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (c *certificates) read() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return nil, fmt.Errorf("the certificate %s with the key %s: %w", c.cert, c.key, err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, NextProtos: []string{"http/1.1"}}
	if c.clientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(c.clientCA)
	if err != nil {
		return nil, fmt.Errorf("the authorities of clients: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("the authorities of clients: %s holds no certificate in PEM", c.clientCA)
	}
	return config, nil
}

// ReloadCertificates reads the files of --tls-cert, --tls-key and
// --tls-client-ca again and reports whether they have changed. If they cannot be
// used, those before stay. Without TLS there is nothing to read.
func (s *Server) ReloadCertificates() (changed bool, err error) {
	if s.certificates == nil {
		return false, nil
	}
	return s.certificates.reload(true)
}
