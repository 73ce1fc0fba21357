package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Errors of Fetch.
var (
	ErrUnauthorized = errors.New("access refused")
	ErrNotFound     = errors.New("not found on the hub")
	ErrUnreachable  = errors.New("the hub cannot be reached")
	ErrOffline      = errors.New("offline, and not in the cache")
	ErrCorrupt      = errors.New("what was received is not what the hub announced")
	ErrReply        = errors.New("the hub gave an answer that makes no sense")
)

const (
	maxListing = 64 << 20 // bytes of a repository's description
	maxBackoff = 30 * time.Second
	maxHops    = 5 // relative redirects of a HEAD
)

// listing is the hub's description of a repository at a revision.
type listing struct {
	Commit   string `json:"sha"`
	Siblings []struct {
		Name string `json:"rfilename"`
	} `json:"siblings"`
}

// list asks what a revision stands for and which files it has.
func (h *Hub) list(ctx context.Context, ref Ref) (commit string, files []string, err error) {
	address := h.config.Endpoint + "/api/models/" + ref.Repo + "/revision/" + url.PathEscape(ref.Revision)
	var reply listing
	err = h.retry(ctx, func() error {
		response, err := h.do(ctx, http.MethodGet, address, nil)
		if err != nil {
			return h.unknownHost(err)
		}
		defer func() { _ = response.Body.Close() }()
		if err := h.status(response); err != nil {
			return err
		}
		b, err := io.ReadAll(io.LimitReader(response.Body, maxListing))
		if err != nil {
			return passing(err)
		}
		reply = listing{}
		if err := json.Unmarshal(b, &reply); err != nil {
			return fmt.Errorf("%w: %w", ErrReply, err)
		}
		return nil
	})
	if err != nil {
		return "", nil, err
	}
	if !commitName.MatchString(reply.Commit) {
		return "", nil, fmt.Errorf("%w: commit %q", ErrReply, reply.Commit)
	}
	for _, sibling := range reply.Siblings {
		if !safePath(sibling.Name) {
			return "", nil, fmt.Errorf("%w: a file named %q", ErrReply, sibling.Name)
		}
		files = append(files, sibling.Name)
	}
	return reply.Commit, files, nil
}

// content is what the hub tells about a file before it is fetched.
type content struct {
	etag string // a digest, see newDigest
	size int64  // -1 where it is not told
}

// describe asks for a file's etag and size. It follows redirects within the
// hub (a renamed repository) but not to where the content lies.
func (h *Hub) describe(ctx context.Context, address string) (c content, err error) {
	err = h.retry(ctx, func() error {
		next := address
		for range maxHops {
			response, err := h.do(ctx, http.MethodHead, next, nil)
			if err != nil {
				return err
			}
			_ = response.Body.Close()
			location, err := url.Parse(response.Header.Get("Location"))
			if response.StatusCode/100 == 3 && err == nil && location.Host == "" && location.Path != "" {
				next = response.Request.URL.ResolveReference(location).String()
				continue
			}
			c, err = h.contentOf(response)
			return err
		}
		return fmt.Errorf("%w: more than %d redirects from %s", ErrReply, maxHops, address)
	})
	return c, err
}

func (h *Hub) contentOf(response *http.Response) (content, error) {
	if response.StatusCode/100 != 3 {
		if err := h.status(response); err != nil {
			return content{}, err
		}
	}
	header := func(names ...string) string {
		for _, name := range names {
			if v := response.Header.Get(name); v != "" {
				return v
			}
		}
		return ""
	}
	c := content{etag: strings.Trim(strings.TrimPrefix(header("X-Linked-Etag", "ETag"), "W/"), `"`), size: -1}
	length := header("X-Linked-Size")
	if length == "" && response.StatusCode/100 == 2 {
		length = header("Content-Length")
	}
	if n, err := strconv.ParseInt(length, 10, 64); err == nil && n >= 0 {
		c.size = n
	}
	if newDigest(c) == nil {
		return content{}, fmt.Errorf("%w: by etag %q and size %d the file cannot be verified", ErrReply, c.etag, c.size)
	}
	return c, nil
}

// do sends one request. Only GET follows redirects; the token goes to the
// endpoint alone.
func (h *Hub) do(ctx context.Context, method, address string, headers map[string]string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, address, nil)
	if err != nil {
		return nil, err
	}
	request.Header.Set("User-Agent", "peft-serve")
	request.Header.Set("Accept-Encoding", "identity") // a compressed body has another length
	if h.config.Token != "" {
		request.Header.Set("Authorization", "Bearer "+h.config.Token)
	}
	for name, value := range headers {
		request.Header.Set(name, value)
	}
	client := *h.config.Client
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if method != http.MethodGet || len(via) > 10 {
			return http.ErrUseLastResponse
		}
		if next.URL.Host != via[0].URL.Host || next.URL.Scheme != via[0].URL.Scheme {
			next.Header.Del("Authorization") // kept for subdomains otherwise
		}
		return nil
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, passing(err)
	}
	return response, nil
}

// status returns an error for a response that is not a success, with what to
// do about it.
func (h *Hub) status(response *http.Response) error {
	code := response.StatusCode
	reason := "HTTP " + strconv.Itoa(code)
	if told := response.Header.Get("X-Error-Message"); told != "" {
		reason += ": " + told
	}
	advice := "set HF_TOKEN to a token of an account that may read it"
	if h.config.Token != "" {
		advice = "the token in use (HF_TOKEN or the file of `hf auth login`) may not read it"
	}
	switch {
	case code/100 == 2:
		return nil
	case response.Header.Get("X-Error-Code") == "GatedRepo":
		return fmt.Errorf("%w: %s; accept the model's terms on its page, then %s", ErrUnauthorized, reason, advice)
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return fmt.Errorf("%w: %s; it is private or does not exist: %s", ErrUnauthorized, reason, advice)
	case code == http.StatusNotFound:
		return fmt.Errorf("%w: %s; check the spelling of repository, revision and file", ErrNotFound, reason)
	case code/100 == 5, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		wait, _ := strconv.Atoi(response.Header.Get("Retry-After"))
		return &passingError{fmt.Errorf("%w: %s", ErrUnreachable, reason), time.Duration(wait) * time.Second}
	}
	return fmt.Errorf("%w: %s", ErrReply, reason)
}

// passingError is one that another attempt may not meet.
type passingError struct {
	error
	wait time.Duration // that the server asks for
}

func (e *passingError) Unwrap() error { return e.error }

func passing(err error) error {
	return &passingError{fmt.Errorf("%w: %w", ErrUnreachable, err), 0}
}

// unknownHost makes the error of a first request final where nobody knows the
// hub by its name: there is no network, or another hub is meant.
func (h *Hub) unknownHost(err error) error {
	var lookup *net.DNSError
	if !errors.As(err, &lookup) || !lookup.IsNotFound {
		return err
	}
	return fmt.Errorf("%w: nobody knows the host of %s (%w): without a network HF_HUB_OFFLINE=1 takes what has been fetched before, HF_ENDPOINT names another hub",
		ErrUnreachable, h.config.Endpoint, lookup)
}

// retry calls attempt until it succeeds, fails for good, or has met
// Config.Attempts passing errors in a row without progress.
func (h *Hub) retry(ctx context.Context, attempt func() error) error {
	backoff := h.config.Backoff
	for tries := 1; ; tries++ {
		err := attempt()
		var pass *passingError
		if !errors.As(err, &pass) || ctx.Err() != nil {
			return errors.Join(ctx.Err(), err)
		}
		if errors.Is(err, errAdvanced) {
			tries, backoff = 1, h.config.Backoff
		}
		if tries >= h.config.Attempts {
			return fmt.Errorf("after %d attempts: %w", tries, err)
		}
		wait := min(max(backoff, pass.wait), maxBackoff)
		h.waiting(err, wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
		backoff = min(2*backoff, maxBackoff)
	}
}

func (h *Hub) waiting(err error, wait time.Duration) {
	if h.config.Waiting != nil {
		h.reporting.Lock()
		defer h.reporting.Unlock()
		h.config.Waiting(err, wait)
	}
}
