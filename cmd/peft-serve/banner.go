package main

import (
	"fmt"
	"log/slog"
	"net"
	goruntime "runtime"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/catalogue"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/runtime"
)

// threads is the setting, or every core that the process may use.
func threads(setting int) int {
	if setting > 0 {
		return setting
	}
	return goruntime.GOMAXPROCS(0)
}

// banner tells what is served, from where, in what precision and with how much
// memory: as text for people, as one record where logs are JSON.
func (c *serveCommand) banner(con console, log *slog.Logger, addr net.Addr, b *base, keyed bool, engine *runtime.Engine, known *catalogue.Catalogue) {
	config, options := b.model.Config(), engine.Options()
	var names []string
	for _, e := range known.List() {
		names = append(names, e.Name)
	}
	address := reachable(addr, c.TLSCert != "")
	if c.LogFormat == "json" {
		log.Info("serving", "version", version, "address", address, "base", c.baseName(), "source", b.path,
			"architecture", config.Architecture.Class, "parameters", config.Parameters, "precision", config.Precision,
			"activations", config.Activations.String(), "weight_bytes", config.WeightBytes, "context", options.Context, "kv_cache_bytes", options.CacheBytes, "kv_type", c.KVType,
			"adapters", names, "adapter_budget_bytes", int64(c.AdapterBudget), "adapter_precision", c.AdapterPrecision, "threads", threads(c.Threads), "kernels", kernels.Name())
		return
	}
	chat, cache := "no chat template", fmt.Sprintf("%s in %s: %d blocks of %d tokens; sequences to %d tokens", bytesText(int64(options.CacheBytes)), c.KVType, options.CacheBlocks, kernels.BlockLen, options.Context)
	route, body := "/v1/completions", `{"prompt":"Hello","max_tokens":16}`
	switch {
	case !b.generates():
		chat, cache = "which encodes texts and generates none", fmt.Sprintf("none: texts to %d tokens, each computed whole", options.Context)
		route, body = "/tokenize", `{"inputs":"Hello"}`
	case b.chat != nil:
		chat = "with a chat template"
		route, body = "/v1/chat/completions", `{"messages":[{"role":"user","content":"Hello"}],"max_tokens":32}`
	}
	lines := [][2]string{
		{"base", fmt.Sprintf("%s, %s, %s", c.baseName(), config.Architecture, chat)},
		{"from", b.path},
		{"weights", fmt.Sprintf("%s parameters, %s, %s mapped", count(config.Parameters), config.Precision, bytesText(int64(config.WeightBytes)))},
		{"kv cache", cache},
		{"compute", fmt.Sprintf("%d threads, %s kernels, activations in %s, %d slots", threads(c.Threads), kernels.Name(), config.Activations, options.Slots)},
	}
	described := c.describeAdapters(known)
	if c.precision() != adapters.AsStored {
		described = append(described, fmt.Sprintf("their factors in %s at most (--adapter-precision)", c.AdapterPrecision))
	}
	lines = append(lines, under("adapters", described)...)
	tries := c.examples(address, keyed, known)
	if len(tries) == 0 {
		tries = []string{fmt.Sprintf("curl -s %s%s -H 'Content-Type: application/json' -d '%s'", address, route, body)}
	}
	lines = append(lines, under("try", append(tries, fmt.Sprintf("or, in a browser, %s/", address)))...)
	con.say("\npeft-serve %s on %s\n", version, address)
	for _, l := range lines {
		con.say("  %-9s %s\n", l[0], l[1])
	}
	con.say("\n")
}

// under are lines of which the first has a title.
func under(title string, lines []string) (titled [][2]string) {
	for _, l := range lines {
		titled = append(titled, [2]string{title, l})
		title = ""
	}
	return titled
}

// reachable is a URL that works on this machine.
func reachable(addr net.Addr, secured bool) string {
	host, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return addr.String()
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	scheme := "http://"
	if secured {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, port)
}

// listed are the first names, for people.
func listed(names []string) string {
	const shown = 8
	if len(names) == 0 {
		return ""
	}
	if len(names) > shown {
		return ": " + strings.Join(names[:shown], ", ") + ", …"
	}
	return ": " + strings.Join(names, ", ")
}

// count writes a large number for people: "134.5 M".
func count(n int) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.1f B", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f K", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}
