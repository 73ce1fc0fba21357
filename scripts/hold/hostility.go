package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// What is sent again and again is made once: what making it takes would be taken from
// the server's processors.
var (
	longBody   = `{"prompt":"` + strings.Repeat("a", 7<<20) + `"}`
	deepBody   = strings.Repeat("[", 100_000)
	manyValues = strings.Repeat(`","`+strings.Repeat("x", 300), 500)
)

// hostility is what a tenant does that means harm, with a key that is good.
type hostility struct {
	server *server
	secret string
	client *http.Client
}

// attacks are done beside one another, each again and again.
func (h *hostility) attacks() []func(context.Context) {
	return []func(context.Context){
		h.stalledUpload, h.bomb, h.hugeBody, h.neverReads, h.manyConnections, h.slowHead, h.leaves, h.garbage, h.strangeNames, h.heavySchemas,
	}
}

// dial sends raw bytes on a connection of its own.
func (h *hostility) dial(ctx context.Context, text string) (net.Conn, error) {
	address, err := url.Parse(h.server.url)
	if err != nil {
		return nil, err
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address.Host)
	if err != nil {
		pause(ctx, 10*time.Millisecond)
		return nil, err
	}
	_, err = io.WriteString(conn, text)
	return conn, err
}

func (h *hostility) head(method, path string, length int64) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", method, path, h.secret, length)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// stalledUpload announces an adapter and sends its first bytes alone.
func (h *hostility) stalledUpload(ctx context.Context) {
	conn, err := h.dial(ctx, h.head(http.MethodPut, "/v1/adapters/"+tenantName(harm)+".stalled", 1<<20)+"\x1f\x8b\x08\x00")
	if err != nil {
		return
	}
	pause(ctx, 5*time.Second)
	_ = conn.Close()
}

// bomb uploads a small archive of many zeros.
func (h *hostility) bomb(ctx context.Context) {
	var packed bytes.Buffer
	zip, _ := gzip.NewWriterLevel(&packed, gzip.BestSpeed)
	archive := tar.NewWriter(zip)
	const size = 256 << 20
	_ = archive.WriteHeader(&tar.Header{Name: "adapter_model.safetensors", Mode: 0o644, Size: size})
	zeros := make([]byte, 1<<20)
	for range size / len(zeros) {
		_, _ = archive.Write(zeros)
	}
	_, _ = archive.Close(), zip.Close()
	for ctx.Err() == nil {
		h.send(ctx, http.MethodPut, "/v1/adapters/"+tenantName(harm)+".bomb", bytes.NewReader(packed.Bytes()))
		pause(ctx, 200*time.Millisecond)
	}
}

func (h *hostility) send(ctx context.Context, method, path string, body io.Reader) {
	request, err := http.NewRequestWithContext(ctx, method, h.server.url+path, body)
	if err != nil {
		return
	}
	request.Header.Set("Authorization", "Bearer "+h.secret)
	answer, err := h.client.Do(request)
	if err != nil {
		pause(ctx, 10*time.Millisecond)
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
}

// hugeBody announces more than a body may be, and one that is just short of it.
func (h *hostility) hugeBody(ctx context.Context) {
	conn, err := h.dial(ctx, h.head(http.MethodPost, "/v1/completions", 100<<20)+strings.Repeat(" ", 1<<16))
	if err == nil {
		pause(ctx, 100*time.Millisecond)
		_ = conn.Close()
	}
	h.send(ctx, http.MethodPost, "/v1/completions", strings.NewReader(longBody))
	pause(ctx, 300*time.Millisecond)
}

// neverReads asks for a stream and does not read it.
func (h *hostility) neverReads(ctx context.Context) {
	body := `{"prompt":"abc","max_tokens":-1,"stream":true,"n":4,"logprobs":5,"ignore_eos":true}`
	conn, err := h.dial(ctx, h.head(http.MethodPost, "/v1/completions", int64(len(body)))+body)
	if err != nil {
		return
	}
	pause(ctx, 2*time.Second)
	_ = conn.Close()
}

// heavySchemas asks for answers kept to what is large to compile, each time another:
// schemas and expressions of more states than there may be, and of nearly as many.
func (h *hostility) heavySchemas(ctx context.Context) {
	n := rand.Text()
	for _, form := range []string{
		`"guided_regex":"(` + n + `|b?){400}(a|ab?c){500}"`,
		`"guided_regex":"(.*` + n + `.*){50}[^a]*a.{12}"`,
		`"guided_json":{"type":"array","minItems":9000,"items":{"const":"` + n + `"}}`,
		`"guided_json":{"$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"},{"required":["` + n + `"]}]}},"$ref":"#/$defs/a"}`,
		`"guided_json":{"enum":["` + n + manyValues + `"]}`,
	} {
		h.send(ctx, http.MethodPost, "/v1/completions", strings.NewReader(`{"prompt":"abc","max_tokens":2,`+form+`}`))
	}
	pause(ctx, 100*time.Millisecond)
}

// manyConnections opens connections and says nothing.
func (h *hostility) manyConnections(ctx context.Context) {
	var open []net.Conn
	for range 200 {
		if conn, err := h.dial(ctx, ""); err == nil {
			open = append(open, conn)
		}
	}
	pause(ctx, 3*time.Second)
	for _, conn := range open {
		_ = conn.Close()
	}
}

// slowHead sends a request a byte at a time.
func (h *hostility) slowHead(ctx context.Context) {
	conn, err := h.dial(ctx, "")
	if err != nil {
		return
	}
	defer func() { _ = conn.Close() }()
	for _, b := range []byte(h.head(http.MethodPost, "/v1/completions", 10)) {
		if _, err := conn.Write([]byte{b}); err != nil || ctx.Err() != nil {
			return
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// leaves asks and goes away before there can be an answer.
func (h *hostility) leaves(ctx context.Context) {
	body := `{"prompt":"abcdefgh","max_tokens":64,"ignore_eos":true}`
	conn, err := h.dial(ctx, h.head(http.MethodPost, "/v1/completions", int64(len(body)))+body)
	if err == nil {
		_ = conn.Close()
	}
	pause(ctx, 20*time.Millisecond)
}

// garbage is what is no request, and what is one for something that is not there.
func (h *hostility) garbage(ctx context.Context) {
	noise := make([]byte, 4096)
	_, _ = rand.Read(noise)
	conn, err := h.dial(ctx, string(noise))
	if err == nil {
		_ = conn.Close()
	}
	h.send(ctx, "QUERY", "/v1/completions", nil)
	h.send(ctx, http.MethodPost, "/v1/chat/completions", strings.NewReader(deepBody))
	pause(ctx, 50*time.Millisecond)
}

// strangeNames asks for adapters that nobody has, a new one each time.
func (h *hostility) strangeNames(ctx context.Context) {
	name := rand.Text()
	h.send(ctx, http.MethodPost, "/v1/generate?adapter="+name, strings.NewReader(`{"prompt":"a"}`))
	h.send(ctx, http.MethodGet, "/v1/adapters/"+name, nil)
	h.send(ctx, http.MethodDelete, "/v1/adapters/"+tenantName(1)+"."+name, nil)
	pause(ctx, 20*time.Millisecond)
}
