package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Config says where the hub and its cache are and how hard to try.
type Config struct {
	Cache    string         // the folder of models--owner--name folders; no default
	Endpoint string         // default https://huggingface.co
	Token    string         // sent to Endpoint only; "" for none
	Offline  bool           // answer from Cache alone
	Client   *http.Client   // default: one that waits 30 s for a response to begin
	Parallel int            // files at a time; default 4
	Attempts int            // for one request, the first included; default 5
	Backoff  time.Duration  // before the second attempt, doubling; default 1 s
	Idle     time.Duration  // without a byte after which a transfer is cut; default 60 s
	Progress func(Progress) // called from one goroutine at a time; may be nil
	// Waiting is told why a request failed and when it is tried again; as
	// Progress, one call at a time. It may be nil.
	Waiting func(err error, wait time.Duration)
}

// Progress tells how far a file is. It comes when a file's transfer begins, at
// most ten times a second during it, and when Done reaches Size.
type Progress struct {
	Repo, File string
	Done, Size int64 // bytes; Size is -1 where the server does not tell
}

// ConfigFrom reads the Python libraries' settings: HF_HUB_CACHE, HF_HOME,
// HF_ENDPOINT, HF_TOKEN, HF_TOKEN_PATH and HF_HUB_OFFLINE, and the file that
// `hf auth login` leaves. getenv is os.Getenv outside of tests.
func ConfigFrom(getenv func(string) string) (Config, error) {
	first := func(names ...string) string {
		for _, name := range names {
			if v := getenv(name); v != "" {
				return v
			}
		}
		return ""
	}
	home := first("HF_HOME")
	if home == "" {
		cache := first("XDG_CACHE_HOME")
		if cache == "" {
			user := first("HOME", "USERPROFILE")
			if user == "" {
				return Config{}, errors.New("no home folder: set HF_HOME")
			}
			cache = filepath.Join(user, ".cache")
		}
		home = filepath.Join(cache, "huggingface")
	}
	c := Config{
		Cache:    first("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"),
		Endpoint: first("HF_ENDPOINT"),
		Token:    strings.TrimSpace(first("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")),
		Offline:  isTrue(first("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")),
	}
	if c.Cache == "" {
		c.Cache = filepath.Join(home, "hub")
	}
	if c.Token == "" {
		path := first("HF_TOKEN_PATH")
		if path == "" {
			path = filepath.Join(home, "token")
		}
		b, err := os.ReadFile(path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return Config{}, fmt.Errorf("the hub's token: %w", err)
		}
		c.Token = strings.TrimSpace(string(b))
	}
	return c, nil
}

func isTrue(v string) bool {
	return slices.Contains([]string{"1", "ON", "YES", "TRUE"}, strings.ToUpper(v))
}

// Validate reports every fault of the configuration at once.
func (c Config) Validate() error {
	var faults []error
	if c.Cache == "" {
		faults = append(faults, errors.New("no cache folder"))
	}
	if u, err := url.Parse(c.Endpoint); c.Endpoint != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		faults = append(faults, fmt.Errorf("endpoint %q is not an http address", c.Endpoint))
	}
	if strings.ContainsFunc(c.Token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		faults = append(faults, errors.New("the token has a space or a character that is not ASCII"))
	}
	if c.Parallel < 0 || c.Attempts < 0 || c.Backoff < 0 || c.Idle < 0 {
		faults = append(faults, errors.New("a negative parallel, attempts, backoff or idle"))
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	c.Endpoint = strings.TrimRight(c.Endpoint, "/")
	if c.Endpoint == "" {
		c.Endpoint = "https://huggingface.co"
	}
	if c.Client == nil {
		transport := http.DefaultTransport.(*http.Transport).Clone()
		transport.ResponseHeaderTimeout = 30 * time.Second
		c.Client = &http.Client{Transport: transport}
	}
	if c.Parallel == 0 {
		c.Parallel = 4
	}
	if c.Attempts == 0 {
		c.Attempts = 5
	}
	if c.Backoff == 0 {
		c.Backoff = time.Second
	}
	if c.Idle == 0 {
		c.Idle = time.Minute
	}
	return c
}
