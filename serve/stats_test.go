package serve

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestStats(t *testing.T) {
	s := newSite(t, nil)
	_, err := s.catalogue.Load(context.Background(), "sql")
	require.NoError(t, err)
	for range 30 {
		s.server.metrics.Token("", true, time.Millisecond)
	}
	s.server.metrics.Step(time.Millisecond, 61, 60)
	s.server.started = time.Now().Add(-30 * time.Second)
	got := s.get(t, "/v1/stats")
	require.Equal(t, 200, got.status)
	require.JSONEq(t, `{"running":0,"waiting":2,"loading":0,"finished":0,"failed":0,"cancelled":0}`, member(t, got.body, "requests"))
	require.JSONEq(t, `{"known":3,"resident":1,"draining":0,"failed":0,"pinned":0,"bytes":1000,"budget_bytes":1048576}`, member(t, got.body, "adapters"))
	require.JSONEq(t, `{"blocks":16,"running":4,"prefix":0,"free":12,"prefix_hit_rate":0}`, member(t, got.body, "kv_cache"))
	stats := s.server.stats()
	require.InDelta(t, 1, stats.Rate.Completion, .5)
	require.InDelta(t, 2, stats.Rate.Prompt, 1)
	require.InDelta(t, 30, stats.Uptime, 15)
	require.Positive(t, stats.Memory.Heap)
	require.Equal(t, []string{"1.2.3", "base-model"}, []string{stats.Version, stats.Base})

	require.NotContains(t, got.body, "tenants", "they are addresses")

	s = newSite(t, func(c *Config, _ *Parts) { c.Keys = plainKeys(t, "secret-key") })
	require.Equal(t, 401, s.get(t, "/v1/stats").status)
	got = s.send(t, "GET", "/v1/stats", "", "Authorization", "Bearer secret-key")
	require.JSONEq(t, `[{"name":"team","running":0,"waiting":2}]`, member(t, got.body, "tenants"))
}
