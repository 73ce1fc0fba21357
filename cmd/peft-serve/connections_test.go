package main

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tinyServer starts a server of the tiny base, as a process of its own, by a
// shell's line in which SERVE stands for it, and returns its URL and its log once
// it ends.
func tinyServer(t *testing.T, line string) (url string, end func() string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	require.NoError(t, layBase(dir, "../../testdata/goldens/llama", "../../serve/testdata"))
	self, err := os.Executable()
	require.NoError(t, err)
	// Which program the test's binary is goes by its name: see TestMain.
	named := filepath.Join(t.TempDir(), "peft-serve")
	require.NoError(t, os.Symlink(self, named))
	log, written, err := os.Pipe()
	require.NoError(t, err)
	serve := fmt.Sprintf("exec %s --base %s --addr 127.0.0.1:0 --kv-cache 1MiB --threads 1", named, dir)
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(line, "SERVE", serve))
	cmd.Stderr = written
	require.NoError(t, cmd.Start())
	require.NoError(t, written.Close())
	lines := bufio.NewReader(log)
	for !strings.HasPrefix(url, "http") {
		text, err := lines.ReadString('\n')
		require.NoError(t, err, text)
		_, url, _ = strings.Cut(strings.TrimSpace(text), " on ")
	}
	rest := make(chan string, 1)
	go func() {
		text, _ := io.ReadAll(lines)
		rest <- string(text)
	}()
	ended := false
	end = func() string {
		ended = true
		_ = cmd.Process.Signal(syscall.SIGTERM)
		require.NoError(t, cmd.Wait())
		return <-rest
	}
	t.Cleanup(func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	})
	return url, end
}

// completion asks for a short answer on a connection and returns the status line.
func completion(conn net.Conn, host string) (string, error) {
	const body = `{"prompt":"Hello","max_tokens":2}`
	if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "POST /v1/completions HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n\r\n%s", host, len(body), body); err != nil {
		return "", err
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	_, err = io.Copy(io.Discard, response.Body)
	return response.Status, err
}

// More connections than the process may have files do not end it: those that it
// has go on, and others get their turn.
func TestDescriptors(t *testing.T) {
	url, end := tinyServer(t, "ulimit -n 256; SERVE")
	host := strings.TrimPrefix(url, "http://")
	var held []net.Conn
	for range 300 {
		conn, err := net.Dial("tcp", host)
		require.NoError(t, err)
		defer conn.Close()
		held = append(held, conn)
	}
	status, err := completion(held[0], host)
	require.NoError(t, err)
	require.Equal(t, "200 OK", status)
	for _, conn := range held[1:] {
		require.NoError(t, conn.Close())
	}
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			return false
		}
		defer conn.Close()
		status, err := completion(conn, host)
		return err == nil && status == "200 OK"
	}, 30*time.Second, 10*time.Millisecond)
	require.Equal(t, 1, strings.Count(end(), "a connection was refused"))
}

// So few files that accepting itself fails do not end it either.
func TestDescriptorsRunOut(t *testing.T) {
	url, end := tinyServer(t, "ulimit -n 30; SERVE")
	host := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", host)
	require.NoError(t, err)
	defer conn.Close()
	for range 100 {
		other, err := net.Dial("tcp", host)
		require.NoError(t, err)
		defer other.Close()
	}
	status, err := completion(conn, host)
	require.NoError(t, err)
	require.Equal(t, "200 OK", status)
	require.Equal(t, 1, strings.Count(end(), "too many open files"))
}

// A certificate and its key make it HTTPS, which the banner says.
func TestHTTPS(t *testing.T) {
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	made, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	bits, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	require.NoError(t, os.WriteFile(dir+"/tls.crt", cert, 0o600))
	require.NoError(t, os.WriteFile(dir+"/tls.key", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: bits}), 0o600))
	url, end := tinyServer(t, "SERVE --tls-cert "+dir+"/tls.crt --tls-key "+dir+"/tls.key")
	require.True(t, strings.HasPrefix(url, "https://127.0.0.1:"), url)
	roots := x509.NewCertPool()
	require.True(t, roots.AppendCertsFromPEM(cert))
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}
	response, err := client.Get(url + "/health")
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, response.StatusCode)
	require.NoError(t, response.Body.Close())
	client.CloseIdleConnections()
	require.Contains(t, end(), "curl -s "+url)
}

// What is wrong with the settings of connections is told at once, by flag.
func TestConnectionSettings(t *testing.T) {
	var errors strings.Builder
	code := run(context.Background(), []string{
		"--base", "x", "--max-connections", "1000000000", "--read-timeout", "0s", "--upload-timeout", "-1s", "--write-timeout", "0s", "--idle-timeout", "0s",
		"--keep-alive", "-1s", "--allow-origin", "app.example", "--allow-origin", "https://ok.example", "--allowed-hosts", "http://x", "--tls-key", "nowhere",
	}, console{out: io.Discard, err: &errors})
	require.Equal(t, 2, code)
	for _, fault := range []string{
		"9 faults", "--max-connections: 1000000000: the process may have", "--read-timeout: it has to be above 0", "--upload-timeout: ", "--write-timeout: ", "--idle-timeout: ",
		"--keep-alive: -1s is below 0", `--allow-origin: "app.example": no origin`, `--allowed-hosts: "http://x": no host`, "--tls-cert, --tls-key, --tls-client-ca: a certificate and its key go together",
	} {
		require.Contains(t, errors.String(), fault)
	}
}
