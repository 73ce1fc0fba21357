package serve

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// writePair writes a certificate of that name for localhost, which signs itself,
// and its key, and returns the certificate.
func writePair(t *testing.T, cert, key, name string) *x509.Certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	bits, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bits}), 0o600))
	parsed, err := x509.ParseCertificate(made)
	require.NoError(t, err)
	return parsed
}

// securedSite is a site that speaks TLS with a certificate named first.
func securedSite(t *testing.T, change func(*Config)) (s *site, cert, key string, log *lines) {
	t.Helper()
	dir := t.TempDir()
	cert, key, log = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), &lines{}
	writePair(t, cert, key, "first")
	s = newSite(t, func(c *Config, _ *Parts) {
		c.TLSCert, c.TLSKey, c.Log = cert, key, slog.New(slog.NewTextHandler(log, nil))
		if change != nil {
			change(c)
		}
	})
	s.url = "https" + strings.TrimPrefix(s.url, "http")
	s.client.Transport = &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	return s, cert, key, log
}

// named is the name of the certificate that a new connection is shown.
func (s *site) named(t *testing.T) string {
	t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
}

// The server speaks TLS 1.2 and later, and no plain HTTP beside it; its own
// origin is of https.
func TestTLS(t *testing.T) {
	s, _, _, _ := securedSite(t, nil)
	require.Equal(t, 200, s.post(t, "/generate", `{"inputs":"a"}`, "Origin", s.url).status)
	require.Equal(t, 403, s.post(t, "/generate", `{"inputs":"a"}`, "Origin", "http"+strings.TrimPrefix(s.url, "https")).status)
	require.Contains(t, s.post(t, "/generate_stream", `{"inputs":"a"}`).body, `"generated_text":"Hi there."`)
	require.Equal(t, 404, s.post(t, "/nowhere", strings.Repeat("x", 1<<20)).status)
	_, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS11})
	require.Error(t, err)
	_, err = http.Get("http" + strings.TrimPrefix(s.url, "https") + "/health") //nolint:bodyclose // there is no answer
	require.Error(t, err)
}

// Certificates are read again when their files change; a pair that does not fit
// leaves the one before in use, and says so once.
func TestCertificatesReload(t *testing.T) {
	s, cert, key, log := securedSite(t, nil)
	require.Equal(t, "first", s.named(t))
	// As a handshake sees it once it is time to look.
	look := func() {
		s.server.certificates.mu.Lock()
		s.server.certificates.looked = time.Time{}
		s.server.certificates.mu.Unlock()
	}
	writePair(t, cert, key, "second")
	look()
	require.Equal(t, "second", s.named(t))

	writePair(t, cert, key+".other", "third")
	for range 3 {
		look()
		require.Equal(t, "second", s.named(t))
	}
	require.Equal(t, 1, log.count("the new certificate cannot be used"))
	_, err := s.server.ReloadCertificates()
	require.ErrorContains(t, err, cert)
	require.NoError(t, os.Rename(key+".other", key))
	changed, err := s.server.ReloadCertificates()
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "third", s.named(t))
	changed, err = s.server.ReloadCertificates()
	require.NoError(t, err)
	require.False(t, changed)

	require.NoError(t, os.Remove(cert))
	look()
	require.Equal(t, "third", s.named(t))
}

// With an authority for clients, those without its certificate get nothing.
func TestClientCertificates(t *testing.T) {
	dir := t.TempDir()
	ca, key := filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key")
	writePair(t, ca, key, "client")
	s, _, _, _ := securedSite(t, func(c *Config) { c.TLSClientCA = ca })
	_, err := s.client.Get(s.url + "/health") //nolint:bodyclose // there is no answer
	require.Error(t, err)
	pair, err := tls.LoadX509KeyPair(ca, key)
	require.NoError(t, err)
	s.client.Transport.(*http.Transport).TLSClientConfig.Certificates = []tls.Certificate{pair}
	require.Equal(t, 200, s.get(t, "/health").status)
}

func TestTLSSettings(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, cert, key, "first")
	for _, c := range []struct{ cert, key, clientCA, says string }{
		{cert, "", "", "go together"},
		{"", key, "", "go together"},
		{"", "", cert, "go together"},
		{cert, cert, "", "private key"},
		{dir + "/none", key, "", "no such file"},
		{cert, key, key, "holds no certificate"},
		{cert, key, dir + "/none", "no such file"},
	} {
		require.ErrorContains(t, Config{Name: "a", TLSCert: c.cert, TLSKey: c.key, TLSClientCA: c.clientCA}.Validate(), c.says)
	}
}

// A client that goes away under TLS frees its slots as well, and so does one
// that only says that it goes.
func TestDisconnectUnderTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, _, _, _ := securedSite(t, nil)
		endless(s)
		conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		require.NoError(t, err)
		body := `{"inputs":"a","parameters":{"max_new_tokens":100}}`
		_, err = conn.Write([]byte("POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50\r\n\r\n" + body))
		require.NoError(t, err)
		require.Eventually(t, func() bool { return s.engine.running.Load() == 1 }, 5*time.Second, time.Millisecond)
		require.NoError(t, conn.Close())
		require.Eventually(t, func() bool { return s.engine.running.Load() == 0 }, 10*time.Second, time.Millisecond)
	}
}

// One connection too many is told so under TLS too.
func TestMaxConnectionsUnderTLS(t *testing.T) {
	s, _, _, _ := securedSite(t, func(c *Config) { c.MaxConnections = 1 })
	conn, err := tls.Dial("tcp", strings.TrimPrefix(s.url, "https://"), &tls.Config{InsecureSkipVerify: true})
	require.NoError(t, err)
	defer conn.Close()
	got := s.get(t, "/health")
	require.Equal(t, 503, got.status)
	require.Contains(t, got.body, "too_many_connections")
	_, err = conn.Write([]byte("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	require.NoError(t, err)
	line, err := bufio.NewReader(conn).ReadString('\n')
	require.NoError(t, err)
	require.Contains(t, line, "200 OK")
}
