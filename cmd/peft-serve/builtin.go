package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/catalogue"
)

// uri is that of the base that is served: by default the one that is built in.
func (h *hosting) uri() string { return cmp.Or(h.Base, builtin.Base) }

// builtinAdapters are those that come along, where their base is served.
func (h *hosting) builtinAdapters() []builtin.Adapter {
	if h.uri() != builtin.Base {
		return nil
	}
	return builtin.Adapters()
}

// builtinURIs are theirs, by name.
func (h *hosting) builtinURIs() map[string]string {
	uris := map[string]string{}
	for _, a := range h.builtinAdapters() {
		uris[a.Name] = a.URI
	}
	return uris
}

// builtinExamples are their prompts, by URI.
func (c *serveCommand) builtinExamples() map[string]string {
	examples := map[string]string{}
	for _, a := range c.builtinAdapters() {
		examples[a.URI] = a.Example
	}
	return examples
}

// builtinScheme lets the catalogue take adapters by builtin:// URIs: they are in
// memory, and so is what a URI stands for.
func builtinScheme(_ context.Context, uri string) (string, error) { return uri, nil }

// lodge gives a server of the built-in base that was named no folder one that
// uploads go to until the server ends.
func (c *serveCommand) lodge(log *slog.Logger) (leave func()) {
	if c.uri() != builtin.Base || c.Adapters != "" || bool(c.ReadOnly) {
		return func() {}
	}
	dir, err := os.MkdirTemp("", "peft-serve-adapters-")
	if err != nil {
		log.Warn("uploads are refused: there is no --adapters, and no temporary folder can be made", "error", err)
		return func() {}
	}
	c.Adapters, c.lodged = dir, true
	return func() {
		if err := os.RemoveAll(dir); err != nil {
			log.Warn("the folder of uploads stays", "folder", dir, "error", err)
		}
	}
}

// describeAdapters are lines about where adapters come from.
func (c *serveCommand) describeAdapters(known *catalogue.Catalogue) (lines []string) {
	var within, fetched, own []string
	builtIn := c.builtinURIs()
	for _, e := range known.List() {
		switch uri := builtIn[e.Name]; {
		case slices.Contains(c.AdaptersFrom, e.Name+"="+e.URI):
			fetched = append(fetched, e.Name)
		case uri == "":
			own = append(own, e.Name)
		case uri == e.URI:
			within = append(within, e.Name)
		default:
			own = append(own, e.Name+" (in the place of the built-in one)")
		}
	}
	if len(builtIn) > 0 {
		lines = append(lines, fmt.Sprintf("%d built in%s", len(within), listed(within)))
	}
	if len(fetched) > 0 {
		lines = append(lines, fmt.Sprintf("%d fetched%s", len(fetched), listed(fetched)))
	}
	switch {
	case c.lodged:
		return append(lines, fmt.Sprintf("uploads go to %s and are gone when the server ends: --adapters DIR keeps them", c.Adapters))
	case c.Adapters != "":
		return append(lines, fmt.Sprintf("%d in %s, up to %s in memory%s", len(own), c.Adapters, c.AdapterBudget, listed(own)))
	case len(lines) == 0:
		return []string{"none: the base alone"}
	}
	return lines
}

// examples are commands, each of which has a built-in adapter answer a prompt of
// its kind.
func (c *serveCommand) examples(address string, keyed bool, known *catalogue.Catalogue) (commands []string) {
	key := ""
	if keyed {
		key = ` -H "Authorization: Bearer $KEY"`
	}
	for _, a := range c.builtinAdapters() {
		if e, err := known.Lookup(a.Name); err != nil || e.URI != a.URI {
			continue // another has the name
		}
		var body bytes.Buffer
		out := json.NewEncoder(&body)
		out.SetEscapeHTML(false)
		if err := out.Encode(map[string]string{"inputs": a.Example}); err != nil {
			panic(err) // a text can be written
		}
		to := address + "/v1/generate?adapter=" + url.QueryEscape(a.Name)
		commands = append(commands, fmt.Sprintf("curl -s%s %s -d %s", key, quoted(to), quoted(strings.TrimSpace(body.String()))))
	}
	return commands
}

// quoted is a text as a shell takes it for one word.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
