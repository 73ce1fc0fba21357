package serve

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/catalogue"
)

// serverStats is what GET /v1/stats answers: the server at this moment, for
// people. What is to be watched over time is in /metrics.
type serverStats struct {
	Version  string       `json:"version"`
	Base     string       `json:"base"`
	Uptime   float64      `json:"uptime_seconds"`
	Draining bool         `json:"draining"`
	Requests requestStats `json:"requests"`
	// Those with requests in the engine. Without keys they are the clients'
	// addresses, which are nobody else's business.
	Tenants  []tenantStats `json:"tenants,omitempty"`
	Rate     rateStats     `json:"tokens_per_second"` // over the last minute
	Adapters adapterStats  `json:"adapters"`
	Cache    cacheStats    `json:"kv_cache"`

	Memory processMemory `json:"memory"`
}

type requestStats struct {
	Running   int    `json:"running"`
	Waiting   int    `json:"waiting"`
	Loading   int    `json:"loading"` // of those waiting, for an adapter
	Finished  uint64 `json:"finished"`
	Failed    uint64 `json:"failed"`
	Cancelled uint64 `json:"cancelled"`
}

type tenantStats struct {
	Name    string `json:"name"`
	Running int    `json:"running"`
	Waiting int    `json:"waiting"`
}

type rateStats struct {
	Prompt     float64 `json:"prompt"`
	Completion float64 `json:"completion"`
}

type adapterStats struct {
	Known    int `json:"known"`
	Resident int `json:"resident"`
	Draining int `json:"draining"`
	Failed   int `json:"failed"`
	Pinned   int `json:"pinned"`
	Bytes    int `json:"bytes"`
	Budget   int `json:"budget_bytes"`
}

// cacheStats counts blocks, and prompt tokens since the start.
type cacheStats struct {
	Blocks  int     `json:"blocks"`
	Running int     `json:"running"` // held by running sequences
	Prefix  int     `json:"prefix"`  // held for prompts that begin alike
	Free    int     `json:"free"`
	HitRate float64 `json:"prefix_hit_rate"` // of the tokens looked up, those found
}

func (s *Server) exposeStats(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, s.stats())
}

func (s *Server) stats() serverStats {
	now := s.engine.Snapshot()
	up := time.Since(s.started).Seconds()
	window := max(min(up, rateWindow), 1)
	answer := serverStats{
		Version: s.config.Version, Base: s.config.Name, Uptime: up, Draining: s.requests.isLeaving(),
		Requests: requestStats{now.Running, now.Waiting, now.Loading, now.Finished, now.Failed, now.Cancelled},
		Rate:     rateStats{float64(s.metrics.rate.prompt.sum()) / window, float64(s.metrics.rate.completion.sum()) / window},
		Cache: cacheStats{
			Blocks: now.Blocks, Running: now.BlocksUsed, Prefix: now.BlocksCached, Free: max(now.Blocks-now.BlocksUsed-now.BlocksCached, 0),
			HitRate: share(int(now.CachedTokens), int(now.LookedUpTokens)),
		},
		Memory: measureMemory(),
	}
	if s.settings.Load().keys != nil {
		for _, t := range now.Tenants {
			answer.Tenants = append(answer.Tenants, tenantStats(t))
		}
	}
	for _, e := range s.known() {
		a := &answer.Adapters
		switch e.State {
		case catalogue.Resident:
			a.Resident++
		case catalogue.Draining:
			a.Draining++
		case catalogue.Failed:
			a.Failed++
		}
		if !answers(e) {
			continue
		}
		a.Known++
		if e.Pinned {
			a.Pinned++
		}
	}
	if s.catalogue != nil {
		answer.Adapters.Bytes, answer.Adapters.Budget = s.catalogue.Bytes()
	}
	return answer
}
