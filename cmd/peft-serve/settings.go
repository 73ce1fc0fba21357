package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// serveCommand serves HTTP. Its fields are the settings of a server.
type serveCommand struct {
	Base string `group:"base" placeholder:"MODEL" help:"Hugging Face folder, .gguf file or hf://owner/name[@revision][:file]; by default a small one that is built in, with adapters on it"`
	Name string `group:"base" placeholder:"NAME" help:"What requests call the base; by default its folder or file"`
	reading
	Context int `group:"base" placeholder:"TOKENS" default:"0" help:"Longest sequence, prompt and answer together; by default the model's own"`

	Adapters      string   `group:"adapters" placeholder:"DIR" help:"Folder of adapters, one a subfolder; it is watched, and uploads go there"`
	AdapterBudget size     `group:"adapters" placeholder:"SIZE" default:"1GiB" help:"Memory for loaded adapters"`
	AdapterLoads  int      `group:"adapters" placeholder:"N" default:"2" help:"Adapters that are read at once, uploads included"`
	Pin           []string `group:"adapters" placeholder:"NAME" help:"Adapters to load at the start and to keep in memory"`
	AllowPath     []string `group:"adapters" placeholder:"DIR" help:"Folders beside --adapters that POST /v1/load_lora_adapter may load from; hf:// URIs need none, oci:// and s3:// need --allow-source"`
	Uploads       int      `group:"adapters" placeholder:"N" default:"4" help:"Adapters that are uploaded at once; further ones wait for half a minute, then get a 429"`
	KeepVersions  int      `group:"adapters" placeholder:"N" default:"0" help:"Versions of an adapter that stay on the disk beside the one that answers, to roll back to (POST /v1/adapters/NAME/rollback); the oldest uploads beyond go"`
	Aliases       string   `group:"adapters" placeholder:"DIR" help:"Folder of files NAME.yaml that say which version of an adapter answers and which is tried; read and not written. By default .aliases in --adapters, which the server writes too"`
	StrictBase    switched `group:"adapters" help:"Refuse adapters whose base_model_name_or_path names another base, which are warned about otherwise. Names are compared by their last element, without case, owner and quantisation"`
	ReadOnly      switched `group:"adapters" help:"Refuse to add, replace, remove or pin adapters over HTTP"`

	AdaptersFrom []string      `group:"adapters" placeholder:"NAME=URI" help:"Adapters to fetch and load at the start, from oci://registry/repository:tag, s3://bucket/prefix or hf://owner/name; the first two may end in @sha256: and a digest"`
	AllowSource  []string      `group:"adapters" placeholder:"URI" help:"Registries, repositories, buckets and prefixes that POST /v1/load_lora_adapter may load from: oci://registry.example/team, s3://bucket"`
	AdapterCache string        `group:"adapters" placeholder:"DIR" help:"Folder where adapters of oci:// and s3:// are kept; by default in the user's cache folder"`
	FetchTimeout time.Duration `group:"adapters" placeholder:"TIME" default:"10m" help:"How long it may take to fetch an adapter from there"`
	PlainHTTP    []string      `name:"plain-http" group:"adapters" placeholder:"HOST:PORT" help:"Registries that are reached by HTTP, as loopback ones are"`

	Threads       int      `group:"engine" placeholder:"N" default:"0" help:"Threads that compute; by default every core"`
	Slots         int      `group:"engine" placeholder:"N" default:"32" help:"Sequences that run at once"`
	Queue         int      `group:"engine" placeholder:"N" default:"256" help:"Requests that wait; further ones get a 429"`
	StepTokens    int      `group:"engine" placeholder:"N" default:"512" help:"Tokens of one step: long prompts are cut to fit beside decoding"`
	KVCache       size     `name:"kv-cache" group:"engine" placeholder:"SIZE" default:"512MiB" help:"Memory for keys and values"`
	NoPrefixCache switched `group:"engine" help:"Compute every prompt from its start"`
	MemoryLimit   size     `group:"engine" placeholder:"SIZE" default:"0" help:"Memory that the server may take, weights included; by default the least of its cgroup's limit, GOMEMLIMIT and the machine's memory. It does not start where its budgets do not fit in, and refuses work before it is used up"`

	Addr             string        `group:"http" placeholder:"HOST:PORT" default:"127.0.0.1:8080" help:"Where to listen"`
	Keys             string        `group:"http" placeholder:"PATH" help:"Keys with names, rights and limits of which requests must carry one: a YAML file, or a folder of them; read anew when it changes (docs/serving.md)"`
	APIKey           []string      `name:"api-key" group:"http" placeholder:"KEY" help:"Keys that may do everything, called key-1, key-2 and so on; better in PEFT_SERVE_API_KEY or a file than on the command line, which others see"`
	APIKeyFile       string        `name:"api-key-file" group:"http" placeholder:"FILE" help:"File with such keys, one a line"`
	SharePrefixes    switched      `group:"http" help:"Let tenants find each other's prompts in the prefix cache: faster, and the time of an answer tells whether another has asked the same"`
	MetricsAuth      switched      `group:"http" help:"Refuse /metrics without a key that has the right metrics or admin; otherwise metrics by adapter are left out"`
	BodyLimit        size          `group:"http" placeholder:"SIZE" default:"8MiB" help:"Largest JSON body"`
	UploadLimit      size          `group:"http" placeholder:"SIZE" default:"4GiB" help:"Largest adapter that is uploaded, packed and unpacked, or fetched"`
	RequestTimeout   time.Duration `group:"http" placeholder:"TIME" default:"10m" help:"Longest that a request may take, waiting included; 0: no limit"`
	MaxTokensDefault int           `group:"http" placeholder:"TOKENS" default:"0" help:"Tokens of an answer where a request does not say, on every route; by default each dialect's own: 16 of completions, 20 of /v2, 100 of TGI's, what the context has left of chats"`
	MaxTokensLimit   int           `group:"http" placeholder:"TOKENS" default:"0" help:"Most tokens of an answer that a request may ask for; by default what the context holds"`
	Drain            time.Duration `group:"http" placeholder:"TIME" default:"30s" help:"How long a shutdown waits for requests that run"`

	MaxConnections int           `group:"http" placeholder:"N" default:"0" help:"Connections at once; further ones get a 503. By default half of the files that the process may have open (ulimit -n), at most 8192"`
	ReadTimeout    time.Duration `group:"http" placeholder:"TIME" default:"2m" help:"How long a client may take to send a request"`
	UploadTimeout  time.Duration `group:"http" placeholder:"TIME" default:"30m" help:"How long it may take to send an adapter"`
	WriteTimeout   time.Duration `group:"http" placeholder:"TIME" default:"5m" help:"How long it may take to read an answer, or an event of a stream"`
	IdleTimeout    time.Duration `group:"http" placeholder:"TIME" default:"2m" help:"How long a connection may wait for its next request"`
	KeepAlive      time.Duration `group:"http" placeholder:"TIME" default:"15s" help:"How long a stream is silent before a comment is sent, for proxies to keep it; 0: no comments"`
	AllowOrigin    []string      `group:"http" placeholder:"ORIGIN" help:"Origins whose web pages may send requests, such as https://app.example; * for any. Others are refused, except the server's own"`
	AllowedHosts   []string      `group:"http" placeholder:"HOST" help:"Names that the server answers to (Host header): api.example, *.example, either with a port, or * for any. By default every name, and on a loopback address localhost and addresses alone"`
	TLSCert        string        `name:"tls-cert" group:"http" placeholder:"FILE" help:"Certificate in PEM with its chain, to serve HTTPS (TLS 1.2 and later); read again when it changes"`
	TLSKey         string        `name:"tls-key" group:"http" placeholder:"FILE" help:"Its key in PEM"`
	TLSClientCA    string        `name:"tls-client-ca" group:"http" placeholder:"FILE" help:"Certificates in PEM of the authorities of which clients need a certificate"`

	AdminAddr string `group:"http" placeholder:"HOST:PORT" help:"Where to listen for operators: metrics, counters of the process and pprof; none. Elsewhere than on a loopback address it needs keys"`

	AccessLog share  `group:"logging" placeholder:"SHARE" default:"1" help:"Share of the requests that get a line in the log, 0 to 1; those that fail always do, but for off"`
	AuditLog  string `group:"logging" placeholder:"FILE" help:"File, appended to and reopened on SIGHUP, for a line of JSON about every attempt to change adapters; by default a line of the log, with audit=true"`
	LogFormat string `group:"logging" placeholder:"FORMAT" default:"auto" help:"auto, text, color or json; auto: color on a terminal, else text"`
	LogLevel  string `group:"logging" placeholder:"LEVEL" default:"info" help:"debug, info, warn or error"`
	Config    string `group:"logging" placeholder:"FILE" help:"YAML file of settings; SIGHUP has keys, limits and --log-level read anew from it"`

	values   map[string]any // of all settings, by name
	keysFrom string         // the variable or the file's key that --api-key comes from; empty: the flag
	lodged   bool           // Adapters is a folder of our own: see lodge
}

// reading is how a base is read.
type reading struct {
	IgnoreConfigKey []string `group:"base" placeholder:"NAME" help:"Keys of the base's config.json, or of its GGUF metadata, to read as if they were not there"`
	SlidingWindow   *int     `group:"base" placeholder:"TOKENS" help:"Sliding window of the base's attention; 0: none; by default the base's own"`
}

func (r *reading) options(context int) models.Options {
	return models.Options{Context: context, IgnoreConfigKeys: r.IgnoreConfigKey, SlidingWindow: r.SlidingWindow}
}

// validate reports every setting that cannot be used.
func (c *serveCommand) validate(wrong *faults) {
	if scheme, _, ok := strings.Cut(c.Base, "://"); ok && scheme != "hf" && c.Base != builtin.Base {
		wrong.add("--base: %q: there is no scheme %s: name a Hugging Face folder, a .gguf file or hf://owner/name", c.Base, scheme)
	}
	validateAddr(wrong, "addr", c.Addr)
	if c.AdminAddr != "" {
		validateAddr(wrong, "admin-addr", c.AdminAddr)
	}
	for _, n := range []struct {
		name     string
		value    int
		smallest int
	}{
		{"context", c.Context, 0}, {"keep-versions", c.KeepVersions, 0}, {"adapter-loads", c.AdapterLoads, 1}, {"uploads", c.Uploads, 1}, {"threads", c.Threads, 0}, {"slots", c.Slots, 1},
		{"queue", c.Queue, 1}, {"step-tokens", c.StepTokens, 1}, {"max-tokens-default", c.MaxTokensDefault, 0}, {"max-tokens-limit", c.MaxTokensLimit, 0},
	} {
		if n.value < n.smallest {
			wrong.add("--%s: %d is below %d", n.name, n.value, n.smallest)
		}
	}
	if c.SlidingWindow != nil && *c.SlidingWindow < 0 {
		wrong.add("--sliding-window: %d is below 0", *c.SlidingWindow)
	}
	if c.Threads > maxThreads {
		wrong.add("--threads: %d is above %d", c.Threads, maxThreads)
	}
	for _, n := range []struct {
		name  string
		value size
	}{{"adapter-budget", c.AdapterBudget}, {"kv-cache", c.KVCache}, {"body-limit", c.BodyLimit}, {"upload-limit", c.UploadLimit}} {
		if n.value <= 0 {
			wrong.add("--%s: it has to be above 0", n.name)
		}
	}
	if c.Drain < 0 {
		wrong.add("--drain: %s is below 0", c.Drain)
	}
	if c.RequestTimeout < 0 {
		wrong.add("--request-timeout: %s is below 0", c.RequestTimeout)
	}
	c.validateConnections(wrong)
	if !slices.Contains([]string{"auto", "text", "color", "json"}, c.LogFormat) {
		wrong.add("--log-format: %q is none of auto, text, color, json", c.LogFormat)
	}
	if _, err := levelOf(c.LogLevel); err != nil {
		wrong.add("--log-level: %s", err)
	}
	folder := func(name, path string) {
		if stat, err := os.Stat(path); err != nil {
			wrong.add("--%s: %s", name, err)
		} else if !stat.IsDir() {
			wrong.add("--%s: %s is not a folder", name, path)
		}
	}
	if c.Adapters != "" {
		folder("adapters", c.Adapters)
	}
	for _, path := range c.AllowPath {
		folder("allow-path", path)
	}
	if c.Aliases != "" {
		folder("aliases", c.Aliases)
	}
	if c.Adapters == "" {
		for name, set := range map[string]bool{"keep-versions": c.KeepVersions > 0, "aliases": c.Aliases != ""} {
			if set {
				wrong.add("--%s: is about the adapters of --adapters, and there is none", name)
			}
		}
	}
	_, unusable := c.adaptersFrom()
	for _, err := range unusable {
		wrong.add("--adapters-from: %s", err)
	}
	for _, source := range c.AllowSource {
		if err := serve.CheckSource(source); err != nil {
			wrong.add("--allow-source: %s", err)
		}
	}
	if c.FetchTimeout <= 0 {
		wrong.add("--fetch-timeout: it has to be above 0")
	}
	if len(c.Pin) > 0 && c.Adapters == "" && len(c.AdaptersFrom) == 0 && c.uri() != builtin.Base {
		wrong.add("--pin: names adapters, but there is neither an --adapters folder nor --adapters-from")
	}
	if c.MaxTokensLimit > 0 && c.MaxTokensDefault > c.MaxTokensLimit {
		wrong.add("--max-tokens-default: %d is above --max-tokens-limit, %d", c.MaxTokensDefault, c.MaxTokensLimit)
	}
	ring, err := c.keys()
	if err != nil {
		wrong.add("%s", err)
	}
	if addr, unknown := net.ResolveTCPAddr("tcp", c.AdminAddr); c.AdminAddr != "" && unknown == nil && !addr.IP.IsLoopback() && err == nil && ring.set == nil {
		wrong.add("--admin-addr: %s can be reached from other machines, and there are no keys: listen on 127.0.0.1, or give --keys", c.AdminAddr)
	}
	for name, set := range map[string]switched{"metrics-auth": c.MetricsAuth, "share-prefixes": c.SharePrefixes} {
		if set && err == nil && ring.set == nil {
			wrong.add("--%s: is about keys, and there are none: give some with --keys", name)
		}
	}
}

func validateAddr(wrong *faults, name, addr string) {
	if host, port, err := net.SplitHostPort(addr); err != nil || port == "" {
		wrong.add("--%s: %q is not HOST:PORT, as in 127.0.0.1:8080 or :8080", name, addr)
	} else if _, err := net.LookupPort("tcp", port); err != nil {
		wrong.add("--%s: %q is no port of host %q", name, port, host)
	}
}

// baseName is what requests call the base.
func (c *serveCommand) baseName() string {
	if c.Name != "" {
		return c.Name
	}
	if c.uri() == builtin.Base {
		return builtin.Name
	}
	base := strings.TrimPrefix(c.Base, "hf://")
	if base != c.Base {
		repo, _, _ := strings.Cut(base, ":")
		repo, _, _ = strings.Cut(repo, "@")
		return repo
	}
	if absolute, err := filepath.Abs(c.Base); err == nil {
		base = absolute
	}
	return strings.TrimSuffix(filepath.Base(base), ".gguf")
}

func (c *serveCommand) engineOptions() runtime.Options {
	return runtime.Options{
		Slots: c.Slots, Queue: c.Queue, StepTokens: c.StepTokens, Context: c.Context,
		CacheBytes: int(c.KVCache), NoPrefixCache: bool(c.NoPrefixCache),
	}
}

func (c *serveCommand) serverConfig(set *keys.Set) serve.Config {
	return serve.Config{
		Name: c.baseName(), Source: c.uri(), Version: version, Adapters: c.Adapters, AllowPaths: c.AllowPath, AllowSources: c.AllowSource, Downloads: []string{downloadsDir(), c.adapterCache()}, ReadOnly: bool(c.ReadOnly), Uploads: c.Uploads, KeepVersions: c.KeepVersions, Aliases: c.Aliases,
		Keys: set, SharePrefixes: bool(c.SharePrefixes), MetricsAuth: bool(c.MetricsAuth), Limits: c.limits(), AccessLog: float64(c.AccessLog),
		ReadTimeout: c.ReadTimeout, UploadTimeout: c.UploadTimeout, WriteTimeout: c.WriteTimeout, IdleTimeout: c.IdleTimeout, KeepAlive: c.KeepAlive,
		MaxConnections: c.MaxConnections, AllowOrigins: c.AllowOrigin, AllowedHosts: c.AllowedHosts,
		TLSCert: c.TLSCert, TLSKey: c.TLSKey, TLSClientCA: c.TLSClientCA,
	}
}

func (c *serveCommand) limits() serve.Limits {
	return serve.Limits{
		BodyLimit: int(c.BodyLimit), UploadLimit: int64(c.UploadLimit), Timeout: c.RequestTimeout,
		MaxTokensDefault: c.MaxTokensDefault, MaxTokensLimit: c.MaxTokensLimit,
	}
}

// maxThreads is more than any machine has.
const maxThreads = 4096
