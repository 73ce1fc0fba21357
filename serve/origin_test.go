package serve

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A page of somebody else is refused, whatever it disguises its request as, and
// what is no page works as it did.
func TestForeignPages(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.AllowOrigins = []string{"https://App.example:443", "http://127.0.0.1:3000"}
	})
	port := s.url[strings.LastIndexByte(s.url, ':'):]
	for _, c := range []struct {
		origin, site string
		status       int
	}{
		{"", "", 200},
		{"", "none", 200},
		{"", "same-origin", 200},
		{s.url, "same-origin", 200},
		{s.url, "", 200},
		{"https://app.example", "cross-site", 200},
		{"https://app.example", "", 200},
		{"http://127.0.0.1:3000", "same-site", 200},
		{"http://evil.example", "", 403},
		{"http://evil.example", "same-origin", 403},
		{"https" + strings.TrimPrefix(s.url, "http"), "", 403}, // another scheme
		{"http://localhost" + port, "", 403},                   // another name
		{"http://127.0.0.1", "", 403},                          // another port
		{"http://app.example", "", 403},
		{"https://app.example.evil.example", "", 403},
		{"null", "", 403},
		{"", "cross-site", 403},
		{"", "same-site", 403},
	} {
		headers := []string{"Content-Type", "text/plain"}
		if c.origin != "" {
			headers = append(headers, "Origin", c.origin)
		}
		if c.site != "" {
			headers = append(headers, "Sec-Fetch-Site", c.site)
		}
		before := len(s.engine.requests())
		got := s.post(t, "/v1/completions", `{"prompt":"a"}`, headers...)
		require.Equal(t, c.status, got.status, "%+v: %s", c, got.body)
		require.Equal(t, c.status == 200, len(s.engine.requests()) > before)
		if c.status == 403 {
			require.Contains(t, got.body, "--allow-origin")
			require.Empty(t, got.header.Get("Access-Control-Allow-Origin"))
		}
		if c.status == 200 && c.origin != "" && c.origin != s.url {
			require.Equal(t, c.origin, got.header.Get("Access-Control-Allow-Origin"))
		}
		require.Equal(t, "Origin", got.header.Get("Vary"))
	}
}

// Any page may send requests if that is written down.
func TestAnyOrigin(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.AllowOrigins = []string{"*"} })
	for _, origin := range []string{"http://evil.example", "null"} {
		got := s.post(t, "/v1/completions", `{"prompt":"a"}`, "Origin", origin)
		require.Equal(t, 200, got.status)
		require.Equal(t, origin, got.header.Get("Access-Control-Allow-Origin"))
	}
	require.Equal(t, 200, s.post(t, "/v1/completions", `{"prompt":"a"}`, "Sec-Fetch-Site", "cross-site").status)
}

// An allowed page's preflight needs no key; its errors can be read by the page.
func TestPreflight(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) {
		c.AllowOrigins, c.Keys = []string{"https://app.example"}, plainKeys(t, "first-key")
	})
	preflight := func(origin string) answer {
		return s.send(t, http.MethodOptions, "/v1/chat/completions", "", "Origin", origin, "Access-Control-Request-Method", "POST",
			"Access-Control-Request-Headers", "authorization,content-type,x-stainless-os", "Access-Control-Request-Private-Network", "true")
	}
	got := preflight("https://app.example")
	require.Equal(t, 204, got.status)
	require.Equal(t, "https://app.example", got.header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, got.header.Get("Access-Control-Allow-Methods"), "PUT")
	require.Equal(t, "authorization,content-type,x-stainless-os", got.header.Get("Access-Control-Allow-Headers"))
	require.Equal(t, "true", got.header.Get("Access-Control-Allow-Private-Network"))
	require.Equal(t, 403, preflight("https://evil.example").status)

	got = s.post(t, "/v1/completions", `{"prompt":"a"}`, "Origin", "https://app.example")
	require.Equal(t, 401, got.status)
	require.Equal(t, "https://app.example", got.header.Get("Access-Control-Allow-Origin"))
	require.Equal(t, "*", got.header.Get("Access-Control-Expose-Headers"))
	require.Equal(t, 405, s.send(t, http.MethodOptions, "/v1/chat/completions", "").status, "no preflight")
}

// A server on loopback answers to no other name, so that a page whose name was
// made to lead there gets nothing; probes are answered to whatever name.
func TestHosts(t *testing.T) {
	for _, c := range []struct {
		allowed []string
		host    string
		status  int
	}{
		{nil, "localhost:PORT", 200}, {nil, "LocalHost:PORT", 200}, {nil, "127.8.9.1:PORT", 200}, {nil, "[::1]:PORT", 200}, {nil, "localhost", 200},
		{nil, "evil.example", 421}, {nil, "evil.example:PORT", 421}, {nil, "localhost:1", 421}, {nil, "localhost.evil.example:PORT", 421},
		{nil, "0.0.0.0:PORT", 421}, {nil, "192.0.2.1:PORT", 421}, {nil, "127.0.0.1.evil.example", 421}, {nil, "[::2]:PORT", 421},
		{[]string{"API.example"}, "api.example", 200}, {[]string{"api.example"}, "api.example:8443", 200}, {[]string{"api.example"}, "localhost:PORT", 200},
		{[]string{"api.example"}, "x.api.example", 421},
		{[]string{"api.example:8443"}, "api.example", 421}, {[]string{"api.example:8443"}, "api.example:8443", 200},
		{[]string{"*.example"}, "a.b.example", 200}, {[]string{"*.example"}, "example", 421}, {[]string{"*.example"}, "evilexample", 421},
		{[]string{"*"}, "evil.example", 200},
	} {
		s := newSite(t, func(c2 *Config, _ *Parts) { c2.AllowedHosts = c.allowed })
		address := strings.TrimPrefix(s.url, "http://")
		_, port, err := net.SplitHostPort(address)
		require.NoError(t, err)
		host := strings.ReplaceAll(c.host, "PORT", port)
		for path, status := range map[string]int{"/version": c.status, "/nowhere": max(c.status, 404), "/health": 200, "/metrics": 200} {
			conn, err := net.Dial("tcp", address)
			require.NoError(t, err)
			got := ask(t, conn, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host))
			require.Equal(t, status, got.status, "%s of %s, allowed %q", path, host, c.allowed)
			require.NoError(t, conn.Close())
		}
	}
}

// Elsewhere than on loopback every name will do, unless some are named.
func TestHostsElsewhere(t *testing.T) {
	anywhere := &net.TCPAddr{IP: net.IPv4zero, Port: 8080}
	h := hostsOf(Config{}, anywhere)
	require.True(t, h.answersTo("whatever.example"))
	h = hostsOf(Config{AllowedHosts: []string{"api.example"}}, anywhere)
	require.True(t, h.answersTo("api.example"))
	require.False(t, h.answersTo("whatever.example"))
	require.False(t, h.answersTo("localhost:8080"))
}

func TestOwnOrigin(t *testing.T) {
	plain, secured := hosts{scheme: "http"}, hosts{scheme: "https"}
	require.True(t, plain.isOwn("http://a.example", "a.example:80"))
	require.True(t, plain.isOwn("http://A.example:80", "a.example"))
	require.True(t, plain.isOwn("http://[::1]:8080", "[::1]:8080"))
	require.True(t, secured.isOwn("https://a.example", "a.example:443"))
	require.False(t, secured.isOwn("http://a.example", "a.example"))
	require.False(t, plain.isOwn("http://a.example:8080", "a.example:8081"))
	require.False(t, plain.isOwn("", ""))
	require.False(t, plain.isOwn("null", "null"))
}

func TestOriginSettings(t *testing.T) {
	for _, wrong := range []string{"", "app.example", "https://", "https://app.example/", "https://app.example/page", "https://me@app.example", "null", "https://*.example"} {
		require.ErrorContains(t, Config{Name: "a", AllowOrigins: []string{wrong}}.Validate(), "no origin", wrong)
	}
	for _, wrong := range []string{"", "https://app.example", "a b", "*.", "a.*.example", "*example", ":80"} {
		require.ErrorContains(t, Config{Name: "a", AllowedHosts: []string{wrong}}.Validate(), "no host", wrong)
	}
	require.NoError(t, Config{Name: "a", AllowOrigins: []string{"*", "chrome-extension://abc", "http://[::1]:3000"}, AllowedHosts: []string{"*", "*.example:80", "::1", "[::1]:80"}}.Validate())
}
