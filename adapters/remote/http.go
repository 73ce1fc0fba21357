package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"syscall"
	"time"
)

// Peer is the host that a URI, or the operator, names: it is reached wherever it
// lies. Client asks nobody without one.
type Peer struct {
	Host   string // with its port, unless that is the scheme's own
	Secure bool   // by HTTPS, and so is whatever its answers lead to
	Most   int64  // bytes of an answer's body; 0: whoever reads it counts
}

type peerKey struct{}

// With returns a context for requests to a peer and to where its answers lead.
func (p Peer) With(ctx context.Context) context.Context { return context.WithValue(ctx, peerKey{}, p) }

// maxHops is the most redirects that are followed.
const maxHops = 5

// Client returns one for sources. An answer, by a redirect or by naming where
// tokens are given out, may lead to another host: that one is reached if it is
// trusted, which the operator says, or has a public address, so that an answer
// leads to nothing that only this machine can reach; never from HTTPS to HTTP;
// and the peer's credentials are not sent along.
func Client(trusted ...string) *http.Client {
	return &http.Client{
		Transport: &transport{trusted: trusted, anywhere: newTransport(nil), public: newTransport(refusePrivate)},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > maxHops {
				return fmt.Errorf("%w: more than %d redirects", ErrReply, maxHops)
			}
			if first := via[0]; next.URL.Host != first.URL.Host || next.URL.Scheme != first.URL.Scheme {
				next.Header.Del("Authorization") // it comes anew from the first request at each hop, and stays for subdomains
			}
			return nil
		},
	}
}

// transport is Client's: see there.
type transport struct {
	trusted          []string
	anywhere, public http.RoundTripper
}

func newTransport(control func(network, address string, c syscall.RawConn) error) *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DialContext = (&net.Dialer{Timeout: 10 * time.Second, Control: control}).DialContext
	t.DisableCompression = true // a body has the size that was announced
	t.MaxResponseHeaderBytes = 1 << 20
	return t
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	peer, ok := r.Context().Value(peerKey{}).(Peer)
	if !ok {
		panic("remote: a request to nobody")
	}
	if peer.Secure && r.URL.Scheme != "https" {
		return nil, fmt.Errorf("%w: it leads from https to %s://%s", ErrReply, r.URL.Scheme, r.URL.Host)
	}
	way := t.anywhere
	if r.URL.Host != peer.Host && !slices.Contains(t.trusted, r.URL.Host) {
		if proxy, err := http.ProxyFromEnvironment(r); err != nil || proxy == nil { // a proxy has rules of its own
			way = t.public
		}
	}
	response, err := way.RoundTrip(r)
	if err == nil && peer.Most > 0 {
		response.Body = &limited{ReadCloser: response.Body, left: peer.Most}
	}
	return response, err
}

// refusePrivate refuses to connect to what is not a public address.
func refusePrivate(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err == nil && isPublic(to.Addr().Unmap()) {
		return nil
	}
	return fmt.Errorf("%w: it leads to %s, which is no public address: name that host if it is meant (peft-serve --allow-source, peft-train push --trust-host)", ErrReply, address)
}

// special are the addresses that netip does not tell from public ones.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2002::/16"),
}

func isPublic(a netip.Addr) bool {
	return a.IsGlobalUnicast() && !a.IsPrivate() &&
		!slices.ContainsFunc(special, func(p netip.Prefix) bool { return p.Contains(a) })
}

// limited is a body that may have so many bytes.
type limited struct {
	io.ReadCloser
	left int64
}

func (l *limited) Read(b []byte) (int, error) {
	if l.left < 0 {
		return 0, fmt.Errorf("%w: it does not end", ErrReply)
	}
	n, err := l.ReadCloser.Read(b[:min(int64(len(b)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return n, fmt.Errorf("%w: it does not end", ErrReply)
	}
	return n, err
}

// Fault is what an error of a request says to people, without what may be a
// signature in an address. What may pass is ErrUnreachable.
func Fault(err error) error {
	var lookup *net.DNSError
	switch {
	case errors.Is(err, ErrReply), errors.Is(err, ErrCorrupt):
		return bare(err)
	case errors.As(err, &lookup) && lookup.IsNotFound:
		return fmt.Errorf("%w: nobody knows the host %s", ErrUnreachable, lookup.Name)
	}
	return fmt.Errorf("%w: %s", ErrUnreachable, queries.ReplaceAllString(bare(err).Error(), "?…"))
}

var queries = regexp.MustCompile(`\?[^\s"]*`)

// bare is an error without the address that net/http puts before it.
func bare(err error) error {
	var of *url.Error
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// StatusFault is the error of an answer with another status than success.
func StatusFault(status int, advice string) error {
	text := fmt.Sprintf("HTTP %d", status)
	if name := http.StatusText(status); name != "" {
		text += " " + name
	}
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: %s: it is private or does not exist: %s", ErrUnauthorized, text, advice)
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", ErrNotFound, text)
	case status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return fmt.Errorf("%w: %s", ErrUnreachable, text)
	}
	return fmt.Errorf("%w: %s", ErrReply, text)
}
