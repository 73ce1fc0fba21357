package main

import (
	"net"
	"time"

	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/runtime"
	"github.com/peft-serve/peft-serve/serve"
	"github.com/peft-serve/peft-serve/serve/keys"
)

// serveCommand serves HTTP. Its fields are the settings of a server.
type serveCommand struct {
	hosting

	Pin          []string `group:"adapters" placeholder:"NAME" help:"Adapters to load at the start and to keep in memory"`
	AllowPath    []string `group:"adapters" placeholder:"DIR" help:"Folders beside --adapters that POST /v1/load_lora_adapter may load from; hf:// URIs need none, oci:// and s3:// need --allow-source"`
	Uploads      int      `group:"adapters" placeholder:"N" default:"0" help:"Adapters that are uploaded at once; further ones wait for half a minute, then get a 429. 0: 4, or fewer where there is little memory"`
	KeepVersions int      `group:"adapters" placeholder:"N" default:"0" help:"Versions of an adapter that stay on the disk beside the one that answers, to roll back to (POST /v1/adapters/NAME/rollback); the oldest uploads beyond go"`
	AllowSource  []string `group:"adapters" placeholder:"URI" help:"Registries, repositories, buckets and prefixes that POST /v1/load_lora_adapter may load from: oci://registry.example/team, s3://bucket"`
	ReadOnly     switched `group:"adapters" help:"Refuse to add, replace, remove or pin adapters over HTTP"`

	Queue int `group:"engine" placeholder:"N" default:"256" help:"Requests that wait; further ones get a 429"`

	Addr          string   `group:"http" placeholder:"HOST:PORT" default:"127.0.0.1:8080" help:"Where to listen"`
	Keys          string   `group:"http" placeholder:"PATH" help:"Keys with names, rights and limits of which requests must carry one: a YAML file, or a folder of them; read anew when it changes (docs/serving.md)"`
	APIKey        []string `name:"api-key" group:"http" placeholder:"KEY" help:"Keys that may do everything, called key-1, key-2 and so on; better in PEFT_SERVE_API_KEY or a file than on the command line, which others see"`
	APIKeyFile    string   `name:"api-key-file" group:"http" placeholder:"FILE" help:"File with such keys, one a line"`
	SharePrefixes switched `group:"http" help:"Let tenants find each other's prompts in the prefix cache: faster, and the time of an answer tells whether another has asked the same"`
	MetricsAuth   switched `group:"http" help:"Refuse /metrics without a key that has the right metrics or admin; otherwise metrics by adapter are left out"`
	asking
	IgnoreUnknownFields switched      `group:"http" help:"Pass over fields of requests that nothing reads, and name them in X-Ignored-Fields, where they are otherwise refused. Strict all the same: tools and tool_choice, lora and merged_adapters, response_format, text.format, structured_outputs and grammar, documents that are ranked, and what changes adapters, keys or versions"`
	RequestTimeout      time.Duration `group:"http" placeholder:"TIME" default:"10m" help:"Longest that a request may take, waiting included; 0: no limit"`
	Drain               time.Duration `group:"http" placeholder:"TIME" default:"30s" help:"How long a shutdown waits for requests that run"`
	DeregistrationDelay time.Duration `group:"http" placeholder:"TIME" default:"0s" help:"How long before that requests are still taken while /ready says no, for balancers to send them elsewhere"`

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
	logging

	values   map[string]any // of all settings, by name
	keysFrom string         // the variable or the file's key that --api-key comes from; empty: the flag
	lodged   bool           // Adapters is a folder of our own: see lodge
}

// validate reports every setting that cannot be used.
func (c *serveCommand) validate(wrong *faults) {
	c.hosting.validate(wrong)
	c.asking.validate(wrong)
	c.logging.validate(wrong)
	validateAddr(wrong, "addr", c.Addr)
	if c.AdminAddr != "" {
		validateAddr(wrong, "admin-addr", c.AdminAddr)
	}
	atLeast(wrong, "uploads", c.Uploads, 0)
	atLeast(wrong, "queue", c.Queue, 1)
	atLeast(wrong, "keep-versions", c.KeepVersions, 0)
	if c.Drain < 0 {
		wrong.add("--drain: %s is below 0", c.Drain)
	}
	if c.DeregistrationDelay < 0 {
		wrong.add("--deregistration-delay: %s is below 0", c.DeregistrationDelay)
	}
	if c.RequestTimeout < 0 {
		wrong.add("--request-timeout: %s is below 0", c.RequestTimeout)
	}
	c.validateConnections(wrong)
	for _, path := range c.AllowPath {
		folder(wrong, "allow-path", path)
	}
	if c.Adapters == "" && c.KeepVersions > 0 {
		wrong.add("--keep-versions: is about the adapters of --adapters, and there is none")
	}
	for _, source := range c.AllowSource {
		if err := serve.CheckSource(source); err != nil {
			wrong.add("--allow-source: %s", err)
		}
	}
	if len(c.Pin) > 0 && c.Adapters == "" && len(c.AdaptersFrom) == 0 && c.uri() != builtin.Base {
		wrong.add("--pin: names adapters, but there is neither an --adapters folder nor --adapters-from")
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

func (c *serveCommand) engineOptions() runtime.Options {
	return runtime.Options{
		Slots: c.Slots, Queue: c.Queue, StepTokens: c.StepTokens, PromptShare: c.PromptShare, Context: c.Context,
		CacheBytes: int(c.KVCache), CacheFormat: kvFormat(c.KVType), NoPrefixCache: bool(c.NoPrefixCache),
	}
}

func (c *serveCommand) serverConfig(set *keys.Set) serve.Config {
	return serve.Config{
		Name: c.baseName(), Source: c.uri(), Version: version, Precision: c.precision(), Adapters: c.Adapters, AllowPaths: c.AllowPath, AllowSources: c.AllowSource, Downloads: []string{downloadsDir(), c.adapterCache()}, ReadOnly: bool(c.ReadOnly), Uploads: c.Uploads, KeepVersions: c.KeepVersions, Aliases: c.Aliases,
		Grammars: int(c.GrammarCache),
		Keys:     set, SharePrefixes: bool(c.SharePrefixes), IgnoreUnknownFields: bool(c.IgnoreUnknownFields), ToolParser: c.ToolParser, MetricsAuth: bool(c.MetricsAuth), Limits: c.limits(), AccessLog: float64(c.AccessLog),
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
