package serve

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// hosts are by what names the server may be asked, and by pages of what origins.
type hosts struct {
	scheme   string
	loopback bool     // listens there alone
	port     string   // of the listener
	allowed  []string // patterns
	origins  []string // "*": any
}

// hostsOf is what a configuration allows a server that listens on addr.
func hostsOf(config Config, addr net.Addr) hosts {
	h := hosts{scheme: "http"}
	if config.TLSCert != "" {
		h.scheme = "https"
	}
	if tcp, ok := addr.(*net.TCPAddr); ok {
		h.loopback, h.port = tcp.IP.IsLoopback(), fmt.Sprint(tcp.Port)
	}
	for _, a := range config.AllowedHosts { // both are checked by Validate
		pattern, _ := hostPatternOf(a)
		h.allowed = append(h.allowed, pattern)
	}
	for _, o := range config.AllowOrigins {
		origin, _ := originOf(o)
		h.origins = append(h.origins, origin)
	}
	return h
}

// probes are asked by machines that know an address and no name, and tell
// nothing that a page may not know.
var probes = []string{"/health", "/ready", "/v2/health/live", "/v2/health/ready", "/ping", "/metrics"}

// fromHere refuses what a web page of somebody else sends through the browser of
// one who can reach this server. A browser names the page's origin in Origin, or
// tells in Sec-Fetch-Site that it is another than the server's. That the page's
// own name leads here (DNS rebinding) shows in Host. What sends none of these is
// no browser. Pages that are allowed get the headers of CORS, and the answer to
// a preflight.
func (s *Server) fromHere(c *fiber.Ctx) error {
	if c.Locals(insideKey) != nil { // a row of a batch came over no connection, and may come before there is one
		return c.Next()
	}
	if host := string(c.Request().Header.Host()); !s.hosts.answersTo(host) && !slices.Contains(probes, c.Path()) {
		return &failure{
			status: http.StatusMisdirectedRequest, kind: "permission_error", code: "host_not_allowed",
			message: fmt.Sprintf("the server does not answer by the name %q (Host header): ask it by its address, or start it with --allowed-hosts %s", host, nameIn(host)),
		}
	}
	if len(s.hosts.origins) > 0 {
		c.Append(fiber.HeaderVary, fiber.HeaderOrigin)
	}
	origin := string(c.Request().Header.Peek(fiber.HeaderOrigin))
	if site := c.Get("Sec-Fetch-Site"); origin == "" && (site != "cross-site" && site != "same-site" || opensPage(c)) {
		return c.Next()
	}
	switch one := len(c.Request().Header.PeekAll(fiber.HeaderOrigin)) < 2; {
	case one && s.hosts.isOwn(origin, string(c.Request().Header.Host())):
		return c.Next()
	case !one || !s.hosts.allows(origin):
		return foreignPage(origin)
	case origin == "": // of a page that any is allowed
		return c.Next()
	}
	c.Set(fiber.HeaderAccessControlAllowOrigin, origin)
	c.Set(fiber.HeaderAccessControlExposeHeaders, "*")
	if c.Method() != fiber.MethodOptions || c.Get(fiber.HeaderAccessControlRequestMethod) == "" {
		return c.Next()
	}
	c.Set(fiber.HeaderAccessControlAllowMethods, "GET, HEAD, POST, PUT, DELETE")
	if wanted := c.Get(fiber.HeaderAccessControlRequestHeaders); wanted != "" {
		c.Set(fiber.HeaderAccessControlAllowHeaders, wanted)
	}
	if c.Get("Access-Control-Request-Private-Network") == "true" {
		c.Set("Access-Control-Allow-Private-Network", "true")
	}
	c.Set(fiber.HeaderAccessControlMaxAge, "600")
	return c.SendStatus(http.StatusNoContent)
}

func foreignPage(origin string) error {
	page := "a page of the origin " + origin
	if origin == "" {
		page = "a page of another site (Sec-Fetch-Site header)"
	}
	return &failure{
		status: http.StatusForbidden, kind: "permission_error", code: "origin_not_allowed",
		message: page + " may not send requests to this server: start it with --allow-origin and the page's origin, such as https://app.example",
	}
}

// answersTo reports whether the server may be asked by a Host header.
func (h *hosts) answersTo(host string) bool {
	if !h.loopback && len(h.allowed) == 0 || host == "" { // without one it is no browser
		return true
	}
	name, port := splitHost(host)
	if h.loopback && (port == "" || port == h.port) && (name == "localhost" || net.ParseIP(name).IsLoopback()) {
		return true
	}
	return slices.ContainsFunc(h.allowed, func(pattern string) bool {
		want, wantPort := splitHost(pattern)
		suffix, many := strings.CutPrefix(want, "*")
		return (wantPort == "" || wantPort == port) && (want == name || many && strings.HasSuffix(name, suffix))
	})
}

// isOwn reports whether an origin is the server's, as the request names it.
func (h *hosts) isOwn(origin, host string) bool {
	own, err := originOf(h.scheme + "://" + host)
	if err != nil {
		return false
	}
	asked, err := originOf(origin)
	return err == nil && asked == own
}

// allows reports whether pages of an origin may send requests; "": of one that
// the browser does not tell.
func (h *hosts) allows(origin string) bool {
	if slices.Contains(h.origins, "*") {
		return true
	}
	asked, err := originOf(origin)
	return err == nil && slices.Contains(h.origins, asked)
}

// originOf is an origin in the form that browsers send, or "*".
func originOf(text string) (string, error) {
	if text == "*" {
		return text, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || strings.Contains(u.Host, "*") || !strings.EqualFold(text, u.Scheme+"://"+u.Host) {
		return "", fmt.Errorf("%q: no origin: write it as https://app.example, with its port where it has one, or * for any", text)
	}
	name, port := splitHost(u.Host)
	if port == map[string]string{"http": "80", "https": "443"}[u.Scheme] {
		port = ""
	}
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	if port != "" {
		name += ":" + port
	}
	return u.Scheme + "://" + name, nil
}

// CheckOrigin reports whether a text is an origin as AllowOrigins has them.
func CheckOrigin(text string) error {
	_, err := originOf(text)
	return err
}

// CheckHost reports whether a text is a host as AllowedHosts has them.
func CheckHost(text string) error {
	_, err := hostPatternOf(text)
	return err
}

// hostPatternOf is a pattern of Host headers.
func hostPatternOf(text string) (string, error) {
	name, _ := splitHost(text)
	if rest := strings.TrimPrefix(name, "*."); name != "*" && (rest == "" || strings.Contains(rest, "*")) || strings.ContainsAny(text, "/@?# ") {
		return "", fmt.Errorf("%q: no host: write it as api.example, *.example or api.example:8443, or * for any", text)
	}
	return strings.ToLower(text), nil
}

// splitHost parts a host from its port, in lower case and without brackets.
func splitHost(host string) (name, port string) {
	host = strings.ToLower(host)
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 && (host[0] == '[' || strings.Count(host, ":") == 1) {
		host, port = host[:i], host[i+1:]
	}
	return strings.Trim(host, "[]"), port
}

func nameIn(host string) string {
	name, _ := splitHost(host)
	return name
}
