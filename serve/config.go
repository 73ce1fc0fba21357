package serve

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// Config is what a Server does beside running requests. Zero fields have the
// defaults told with them.
type Config struct {
	Name    string // the base's name in requests and in /v1/models
	Source  string // where the base comes from
	Version string // of the server

	Adapters     string   // the folder that uploads are kept in; none
	AllowPaths   []string // folders beside it that requests may load adapters from
	AllowSources []string // registries and stores that they may load them from: see CheckSource
	Downloads    []string // folders that adapters from elsewhere are fetched into, of which only admins are told
	ReadOnly     bool     // refuse changes of adapters

	// KeepVersions is how many versions of an adapter stay on the disk beside those
	// that answer; 0: none.
	KeepVersions int
	Aliases      string            // the folder of an operator's aliases, which the server only reads; its own in Adapters
	Examples     map[string]string // prompts of the kind that an adapter was trained on, by its URI; none

	Precision adapters.Precision // that adapters are held in, of which clients and operators are told

	Uploads int // adapters that are uploaded at once; 4

	Keys          *keys.Set // one of them opens the API; nil: it is open
	SharePrefixes bool      // tenants find each other's prompts in the prefix cache
	MetricsAuth   bool      // /metrics needs a key with the right metrics or admin
	Limits        Limits
	// Sampling is what /v1/completions and /v1/chat/completions sample with
	// where neither a request nor its adapter says, as in vLLM; what is absent
	// here too is OpenAI's. TGI's dialect is greedy by default, whatever the
	// model.
	Sampling adapters.SamplingDefaults
	// IgnoreUnknownFields has fields that nothing reads passed over, in bodies that ask
	// for answers, and named in the answer's X-Ignored-Fields.
	IgnoreUnknownFields bool
	// ToolParser is the format of the calls of tools in what the model writes: auto,
	// that of the chat template, none, or one of package speech; auto.
	ToolParser  string
	MaxLogprobs int // the most likeliest tokens a request may ask for; 20
	Grammars    int // bytes that schemas and expressions may take which answers are kept to; 32 MiB
	Parallel    int // choices of one request in the engine at once; 64

	WriteTimeout time.Duration // how long a client may take to read an answer, or an event of a stream; 5 minutes

	ReadTimeout    time.Duration // how long a client may take to send a request; 2 minutes
	UploadTimeout  time.Duration // or an adapter's archive; 30 minutes
	IdleTimeout    time.Duration // how long a connection may wait for its next request; 2 minutes
	KeepAlive      time.Duration // how long a stream is silent before a comment is sent; it stays silent
	MaxConnections int           // at once; half of the files that the process may have open, and at most 8,192

	// AllowOrigins are the origins whose pages may send requests, beside the
	// server's own: "https://app.example", or "*" for any.
	AllowOrigins []string
	// AllowedHosts are the names that the server is asked by in the Host header:
	// "api.example", "*.example", either with a port, or "*" for any. Without
	// them every name will do, except on a loopback address: there it is asked
	// by localhost or an address, and by these.
	AllowedHosts []string

	TLSCert     string // PEM files of a certificate with its chain, and of its key; none: plain HTTP
	TLSKey      string
	TLSClientCA string // and of the authorities whose certificates clients need; none: they need none

	Log   *slog.Logger // nowhere
	Audit *slog.Logger // of who changes adapters; Log, with audit=true
	// AccessLog is the share of the requests that are logged, 0 to 1. Those that
	// fail are logged whatever it is, unless it is below 0: then none is.
	AccessLog float64
}

// Validate reports every fault of the configuration.
func (c Config) Validate() error {
	var faults []error
	below := func(name string, v int64) {
		if v < 0 {
			faults = append(faults, fmt.Errorf("%s is %d, below 0", name, v))
		}
	}
	below("Uploads", int64(c.Uploads))
	below("KeepVersions", int64(c.KeepVersions))
	below("MaxLogprobs", int64(c.MaxLogprobs))
	below("Grammars", int64(c.Grammars))
	below("Parallel", int64(c.Parallel))
	below("WriteTimeout", int64(c.WriteTimeout))
	below("ReadTimeout", int64(c.ReadTimeout))
	below("UploadTimeout", int64(c.UploadTimeout))
	below("IdleTimeout", int64(c.IdleTimeout))
	below("KeepAlive", int64(c.KeepAlive))
	below("MaxConnections", int64(c.MaxConnections))
	if err := CheckConnections(c.MaxConnections); err != nil {
		faults = append(faults, fmt.Errorf("field MaxConnections is %w", err))
	}
	for i, o := range c.AllowOrigins {
		if err := CheckOrigin(o); err != nil {
			faults = append(faults, fmt.Errorf("field AllowOrigins[%d] is %w", i, err))
		}
	}
	for i, h := range c.AllowedHosts {
		if err := CheckHost(h); err != nil {
			faults = append(faults, fmt.Errorf("field AllowedHosts[%d] is %w", i, err))
		}
	}
	if err := CheckTLS(c.TLSCert, c.TLSKey, c.TLSClientCA); err != nil {
		faults = append(faults, fmt.Errorf("fields TLSCert, TLSKey, TLSClientCA: %w", err))
	}
	if err := CheckToolParser(c.ToolParser); err != nil {
		faults = append(faults, fmt.Errorf("field ToolParser: %w", err))
	}
	if err := c.Limits.validate(); err != nil {
		faults = append(faults, err)
	}
	if !(c.AccessLog <= 1) {
		faults = append(faults, fmt.Errorf("AccessLog is %g, above 1", c.AccessLog))
	}
	if err := c.Sampling.Validate(); err != nil {
		faults = append(faults, fmt.Errorf("field Sampling: %w", err))
	}
	if c.Name == "" {
		faults = append(faults, errors.New("field Name is empty: the base needs a name for requests to use"))
	}
	if c.MetricsAuth && c.Keys == nil {
		faults = append(faults, errors.New("field MetricsAuth is set, and there are no Keys"))
	}
	folder := func(name, path string) {
		if stat, err := os.Stat(path); err != nil {
			faults = append(faults, fmt.Errorf("field %s: %w", name, err))
		} else if !stat.IsDir() {
			faults = append(faults, fmt.Errorf("field %s: %s is not a folder", name, path))
		}
	}
	if c.Adapters != "" {
		folder("Adapters", c.Adapters)
	}
	if c.Aliases != "" {
		folder("Aliases", c.Aliases)
	}
	for i, source := range c.AllowSources {
		if err := CheckSource(source); err != nil {
			faults = append(faults, fmt.Errorf("field AllowSources[%d]: %w", i, err))
		}
	}
	for i, path := range c.AllowPaths {
		folder(fmt.Sprintf("AllowPaths[%d]", i), path)
	}
	return errors.Join(faults...)
}

func (c Config) withDefaults() Config {
	if c.Uploads == 0 {
		c.Uploads = 4
	}
	if c.MaxLogprobs == 0 {
		c.MaxLogprobs = 20
	}
	if c.Grammars == 0 {
		c.Grammars = 32 << 20
	}
	if c.Parallel == 0 {
		c.Parallel = 64
	}
	if c.WriteTimeout == 0 {
		c.WriteTimeout = 5 * time.Minute
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = 2 * time.Minute
	}
	if c.UploadTimeout == 0 {
		c.UploadTimeout = 30 * time.Minute
	}
	if c.IdleTimeout == 0 {
		c.IdleTimeout = 2 * time.Minute
	}
	if c.MaxConnections == 0 {
		c.MaxConnections = min(max(descriptors()/2, 1), 8192)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.NewTextHandler(io.Discard, nil))
	}
	if c.Audit == nil {
		c.Audit = c.Log.With("audit", true)
	}
	return c
}
