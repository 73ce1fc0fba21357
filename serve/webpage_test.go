package serve

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/peft-serve/peft-serve/serve/page"
)

// The page needs nothing from elsewhere, and runs nothing but its own script.
func TestWebpage(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys = readKeys(t, twoTeams) })
	got := s.get(t, "/")
	require.Equal(t, 200, got.status)
	require.Equal(t, page.HTML, got.body)
	require.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"))
	require.Equal(t, "nosniff", got.header.Get("X-Content-Type-Options"))

	policy := got.header.Get("Content-Security-Policy")
	for _, directive := range []string{"default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "require-trusted-types-for 'script'"} {
		require.Contains(t, policy, directive)
	}
	require.NotContains(t, policy, "unsafe")
	require.NotContains(t, policy, "http")
	links := regexp.MustCompile(`(?i)(?:src|href|url\(|@import)\s*=?\s*["']?([^"'\s)>]+)`).FindAllStringSubmatch(got.body, -1)
	require.NotEmpty(t, links)
	for _, link := range links {
		require.Regexp(t, `^(/|#|data:)`, link[1])
	}
	require.NotRegexp(t, `(?i)<[^>]+\s(on\w+|style)=`, got.body, "the policy would refuse it")
	require.NotRegexp(t, `innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(`, got.body)
	require.Equal(t, 1, strings.Count(got.body, "<script>"))

	require.Equal(t, 200, s.send(t, http.MethodHead, "/", "").status)
}

// A link on another site leads to the page, and to nothing else.
func TestWebpageByLink(t *testing.T) {
	s := newSite(t, nil)
	for _, c := range []struct {
		method, path, mode, dest string
		status                   int
	}{
		{http.MethodGet, "/", "navigate", "document", 200},
		{http.MethodGet, "/", "navigate", "iframe", 403},
		{http.MethodGet, "/", "no-cors", "script", 403},
		{http.MethodGet, "/", "cors", "empty", 403},
		{http.MethodPost, "/", "navigate", "document", 403}, // a form
		{http.MethodGet, "/v1/adapters", "navigate", "document", 403},
	} {
		got := s.send(t, c.method, c.path, "", "Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", c.mode, "Sec-Fetch-Dest", c.dest)
		require.Equal(t, c.status, got.status, "%+v", c)
	}
}

func TestCaller(t *testing.T) {
	s := newSite(t, func(c *Config, _ *Parts) { c.Keys, c.Adapters = readKeys(t, twoTeams), t.TempDir() })
	rest := `,"read_only":false,"uploads":true,"chat":true,"generates":true,"classifies":true}`
	for key, want := range map[string]string{
		"team-a":  `{"tenant":"team-a","key":"team-a","rights":["use","publish"],"publishable":"begin with \"team-a.\""`,
		"reader":  `{"tenant":"reader","key":"reader","rights":["use"]`,
		"scraper": `{"tenant":"scraper","key":"scraper","rights":["metrics"]`,
		"root":    `{"tenant":"root","key":"root","rights":["use","publish","metrics","admin"]`,
	} {
		require.JSONEq(t, want+rest, s.as(t, key, "GET", "/v1/caller", "").body, key)
	}
	open := newSite(t, func(c *Config, p *Parts) { c.ReadOnly, c.Adapters, p.Chat = true, t.TempDir(), nil })
	require.JSONEq(t, `{"tenant":"127.0.0.1","rights":["use","publish","metrics","admin"],"read_only":true,"uploads":false,"chat":false,"generates":true,"classifies":true}`, open.get(t, "/v1/caller").body)
}
