// Package page is what the server shows to a browser at /: one file that needs
// nothing from elsewhere, put together from three.
package page

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"strings"
)

var (
	//go:embed page.html
	frame string
	//go:embed page.css
	style string
	//go:embed page.js
	script string
)

// HTML is the page.
var HTML = strings.NewReplacer("/* page.css */", style, "/* page.js */", script).Replace(frame)

// Policy is the Content-Security-Policy of the page: it runs its own script and
// style, known by their hashes, and speaks to its own server alone.
var Policy = strings.Join([]string{
	"default-src 'none'",
	"script-src " + hashOf(script),
	"style-src " + hashOf(style),
	"img-src data:",
	"connect-src 'self'",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
	"require-trusted-types-for 'script'",
	"trusted-types 'none'",
}, "; ")

// hashOf is the source of a policy that stands for a text.
func hashOf(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
