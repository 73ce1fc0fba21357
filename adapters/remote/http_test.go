package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func get(ctx context.Context, client *http.Client, address string) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return "", err
	}
	request.Header.Set("Authorization", "Bearer secret")
	response, err := client.Do(request)
	if err != nil {
		return "", Fault(err)
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func hostOf(s *httptest.Server) string { return strings.TrimPrefix(s.URL, "http://") }

// An answer leads nowhere that only this machine can reach, unless the operator
// names it, and takes no credentials along.
func TestAnswersLeadNowhereElse(t *testing.T) {
	var asked []string
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Authorization"))
		if r.URL.Path != "/further" {
			http.Redirect(w, r, "/further", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, "inside")
	}))
	defer inside.Close()
	var leads string
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/here" {
			_, _ = io.WriteString(w, "here "+r.Header.Get("Authorization"))
			return
		}
		http.Redirect(w, r, leads, http.StatusTemporaryRedirect)
	}))
	defer peer.Close()
	ctx := Peer{Host: hostOf(peer)}.With(t.Context())

	leads = "/here"
	text, err := get(ctx, Client(), peer.URL)
	require.NoError(t, err)
	require.Equal(t, "here Bearer secret", text)

	leads = inside.URL + "/?X-Signature=confidential"
	_, err = get(ctx, Client(), peer.URL)
	require.ErrorIs(t, err, ErrReply)
	require.ErrorContains(t, err, "no public address")
	require.NotContains(t, err.Error(), "confidential")
	require.Empty(t, asked)

	text, err = get(ctx, Client(hostOf(inside)), peer.URL)
	require.NoError(t, err)
	require.Equal(t, "inside", text)
	require.Equal(t, []string{"", ""}, asked)

	leads = "http://localhost:1/"
	_, err = get(ctx, Client(), peer.URL)
	require.ErrorIs(t, err, ErrReply, "by a name too")

	leads = peer.URL
	_, err = get(ctx, Client(), peer.URL)
	require.ErrorIs(t, err, ErrReply)
	require.ErrorContains(t, err, "redirects")
}

func TestAnswersStaySecure(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, plain.URL, http.StatusFound)
	}))
	defer secure.Close()
	client := Client(hostOf(plain))
	client.Transport.(*transport).anywhere = secure.Client().Transport
	host := strings.TrimPrefix(secure.URL, "https://")
	_, err := get(Peer{Host: host, Secure: true}.With(t.Context()), client, secure.URL)
	require.ErrorIs(t, err, ErrReply)
	require.ErrorContains(t, err, "from https to http://")
}

func TestBodiesEnd(t *testing.T) {
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = io.WriteString(w, strings.Repeat("x", 1000))
		}
	}))
	defer endless.Close()
	text, err := get(Peer{Host: hostOf(endless), Most: 5000}.With(t.Context()), Client(), endless.URL)
	require.ErrorIs(t, err, ErrReply)
	require.LessOrEqual(t, len(text), 5001)
	five := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "12345") }))
	defer five.Close()
	text, err = get(Peer{Host: hostOf(five), Most: 5}.With(t.Context()), Client(), five.URL)
	require.NoError(t, err)
	require.Equal(t, "12345", text)
}

func TestPublicAddresses(t *testing.T) {
	for address, public := range map[string]bool{
		"140.82.121.34": true, "2606:50c0:8000::154": true,
		"127.0.0.1": false, "10.0.0.1": false, "172.16.0.1": false, "192.168.1.1": false, "169.254.169.254": false, "100.64.0.1": false,
		"0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false, "::1": false, "::": false, "fe80::1": false, "fd00:ec2::254": false,
		"::ffff:127.0.0.1": false, "64:ff9b::a9fe:a9fe": false, "2002:7f00:1::": false, "ff02::1": false,
	} {
		err := refusePrivate("tcp", netip.AddrPortFrom(netip.MustParseAddr(address), 443).String(), nil)
		require.Equal(t, public, err == nil, address)
	}
}

func TestFaults(t *testing.T) {
	for status, want := range map[int]error{
		401: ErrUnauthorized, 403: ErrUnauthorized, 404: ErrNotFound, 429: ErrUnreachable, 500: ErrUnreachable, 503: ErrUnreachable, 418: ErrReply, 301: ErrReply,
	} {
		require.ErrorIs(t, StatusFault(status, "log in"), want, fmt.Sprint(status))
	}
	require.ErrorIs(t, Fault(errors.New("reset")), ErrUnreachable)
}
