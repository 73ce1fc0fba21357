package main

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// rested is what the server holds when nothing is asked of it: what the soak
// published is gone, the same adapters and the same grammars are kept each time, and
// idle connections and templates have been closed.
//
// Grammars come and go in --grammar-cache, which bounds them, and leave it as full as
// it happens to be: of a heap of 10 MiB that is a part to reckon with.
func (s *soaking) rested(ctx context.Context, when string) (least footprint, err error) {
	client := newClient()
	defer client.CloseIdleConnections()
	for c := range s.clients {
		for i := range 3 {
			s.insist(ctx, client, http.MethodDelete, fmt.Sprintf("/v1/adapters/own-%d-%d", c, i), nil)
		}
	}
	for _, name := range s.names { // the last ones stay
		s.insist(ctx, client, http.MethodPost, "/embed?adapter="+name, map[string]any{"inputs": "a"})
	}
	for i := range restingGrammars { // and the last of these
		s.insist(ctx, client, http.MethodPost, "/v1/completions", map[string]any{"prompt": "a", "max_tokens": 1, "guided_regex": restingGrammar(i)})
	}
	client.CloseIdleConnections()
	http.DefaultClient.CloseIdleConnections()
	// The server's library of HTTP looks every 10 seconds for goroutines of connections
	// that nothing has come over for 10 seconds, and ends them.
	for fallen := time.Now(); time.Since(fallen) < 25*time.Second && ctx.Err() == nil; pause(ctx, 500*time.Millisecond) {
		now, err := s.server.footprint(ctx)
		if err != nil {
			return now, err
		}
		if least.goroutines == 0 || now.goroutines < least.goroutines || now.goroutines == least.goroutines && now.descriptors < least.descriptors {
			least, fallen = now, time.Now()
		}
	}
	if least.heap, err = s.server.live(ctx); err != nil {
		return least, err
	}
	if s.profiles != "" {
		profile, err := s.server.profile(ctx)
		if err != nil {
			return least, err
		}
		if err := os.WriteFile(filepath.Join(s.profiles, s.name+"-"+when+".pprof"), profile, 0o644); err != nil {
			return least, err
		}
	}
	// Memory that is free goes back to the system little by little. Its parts are those of
	// the look that counts: the first, and any that finds less.
	least.resident = math.MaxInt64
	for fallen := time.Now(); time.Since(fallen) < 20*time.Second && ctx.Err() == nil; pause(ctx, time.Second) {
		now, err := s.server.resident()
		if err != nil {
			return least, err
		}
		if now >= least.resident {
			continue
		}
		least.resident, fallen = now, time.Now()
		if _, least.parts, err = s.server.counters(ctx, ""); err != nil {
			return least, err
		}
	}
	return least, ctx.Err()
}

// restingGrammars take more than all of --grammar-cache: 600 states each, of 72 bytes.
const (
	grammarCache    = 4 << 20
	restingGrammars = 128
)

func restingGrammar(i int) string { return fmt.Sprintf("%d[a-z]{600}", i) }

// insist asks until what the last clients of a use have left behind, such as their
// connections, is no reason any more to be refused.
func (s *soaking) insist(ctx context.Context, client *http.Client, method, path string, body any) {
	for range 100 {
		switch s.do(ctx, client, method, path, body) {
		case 0, http.StatusTooManyRequests, http.StatusServiceUnavailable:
			pause(ctx, 100*time.Millisecond)
		default:
			return
		}
	}
}
