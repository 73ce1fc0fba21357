package adapters_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/adapters/adaptertest"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// shaped has the sites of SmolLM2-135M over weights that are all one memory.
type shaped struct {
	models.Model
	config models.Config
	sites  models.Sites
}

func (m *shaped) Config() *models.Config { return &m.config }
func (m *shaped) Sites() models.Sites    { return m.sites }

func newShaped() *shaped {
	m := &shaped{config: models.Config{Architecture: &models.Architecture{Class: "LlamaForCausalLM"}, Vocabulary: 49152, Hidden: 576, Layers: 30, Heads: 9, KVHeads: 3, HeadDim: 64, Context: 2048, Tied: true}}
	memory := make([]float32, 1536*576)
	for i := range memory {
		memory[i] = float32(i%17)/17 - 0.45
	}
	for layer := range 30 {
		for _, s := range []struct {
			name    string
			out, in int
		}{
			{"self_attn.q_proj", 576, 576}, {"self_attn.k_proj", 192, 576}, {"self_attn.v_proj", 192, 576}, {"self_attn.o_proj", 576, 576},
			{"mlp.gate_proj", 1536, 576}, {"mlp.up_proj", 1536, 576}, {"mlp.down_proj", 576, 1536},
		} {
			l := &models.Linear{Site: len(m.sites), W: kernels.WeightOf(kernels.MatrixOf(s.out, s.in, memory))}
			m.sites = append(m.sites, models.Site{Name: fmt.Sprintf("model.layers.%d.%s", layer, s.name), Layer: layer, Linear: l})
		}
	}
	return m
}

// saved writes an adapter of the given configuration with values that do
// something, and returns its folder.
func saved(b *testing.B, m models.Model, config map[string]any) string {
	b.Helper()
	c, err := adapters.NewConfig(config)
	if err != nil {
		b.Fatal(err)
	}
	a, err := adapters.New(m, c)
	if err != nil {
		b.Fatal(err)
	}
	for _, p := range a.Params() {
		for i := range p.Values().Data {
			p.Values().Data[i] = float32(i%13)/130 + 0.01
		}
	}
	dir := b.TempDir()
	if err := a.Save(dir); err != nil {
		b.Fatal(err)
	}
	return dir
}

var qv = map[string]any{"peft_type": "LORA", "r": 8, "lora_alpha": 16, "target_modules": []string{"q_proj", "v_proj"}}

func dora(config map[string]any) map[string]any {
	d := map[string]any{"use_dora": true}
	for k, v := range config {
		d[k] = v
	}
	return d
}

// BenchmarkLoad opens and binds an adapter of SmolLM2-135M.
func BenchmarkLoad(b *testing.B) {
	m := newShaped()
	all := map[string]any{"peft_type": "LORA", "r": 8, "target_modules": "all-linear"}
	for name, config := range map[string]map[string]any{"lora-qv": qv, "dora-qv": dora(qv), "lora-all": all, "dora-all": dora(all)} {
		b.Run(name, func(b *testing.B) {
			dir := saved(b, m, config)
			b.ReportAllocs()
			for b.Loop() {
				b.SetBytes(int64(adaptertest.Load(b, m, dir).Bytes()))
			}
		})
	}
}

// BenchmarkLoadRounded is BenchmarkLoad of a LoRA on queries and values, with its
// factors in each precision.
func BenchmarkLoadRounded(b *testing.B) {
	m := newShaped()
	dir := saved(b, m, qv)
	for _, in := range []adapters.Precision{adapters.AsStored, adapters.BF16, adapters.F16, adapters.Q8_0} {
		b.Run(in.String(), func(b *testing.B) {
			b.ReportAllocs()
			least := time.Hour
			for b.Loop() {
				start := time.Now()
				if _, err := adapters.LoadIn(m, adaptertest.Open(b, dir), in); err != nil {
					b.Fatal(err)
				}
				least = min(least, time.Since(start))
			}
			b.ReportMetric(float64(least.Microseconds())/1000, "least-ms")
		})
	}
}

// BenchmarkCompose makes a combination of two adapters of SmolLM2-135M.
func BenchmarkCompose(b *testing.B) {
	m := newShaped()
	for name, config := range map[string]map[string]any{"lora-qv": qv, "lora-all": {"peft_type": "LORA", "r": 8, "target_modules": "all-linear"}} {
		b.Run(name, func(b *testing.B) {
			a := adaptertest.Load(b, m, saved(b, m, config))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := adapters.Compose(m, []adapters.Part{{Name: "x", Adapter: a, Weight: 0.7}, {Name: "y", Adapter: a, Weight: 0.3}}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkApply applies one site's delta to y = Wx.
func BenchmarkApply(b *testing.B) {
	m := newShaped()
	q := m.Sites().Find("model.layers.0.self_attn.q_proj")
	for name, config := range map[string]map[string]any{"lora": qv, "dora": dora(qv)} {
		a := adaptertest.Load(b, m, saved(b, m, config))
		for _, rows := range []int{1, 8, 64} {
			b.Run(fmt.Sprintf("%s/rows=%d", name, rows), func(b *testing.B) {
				pool, d := kernels.NewPool(1), a.Linear(q)
				defer pool.Close()
				x, y := kernels.NewMatrix(rows, 576), kernels.NewMatrix(rows, 576)
				for i := range x.Data {
					x.Data[i] = float32(i%7) / 7
				}
				b.ReportAllocs()
				t := &applied{d, m.Sites()[q].Linear, x, y}
				for b.Loop() {
					pool.Run(1, t)
				}
			})
		}
	}
}

// applied is a delta applied as one part of a batch.
type applied struct {
	delta  models.LinearDelta
	linear *models.Linear
	x, y   kernels.Matrix
}

func (t *applied) Part(w *kernels.Worker, _ int) { t.delta.Apply(w, t.linear, t.x, t.y) }

// BenchmarkFactors is what eight adapters on all linears add to a decoding step, a row
// each, by family, rank and what their factors are held in: linear by linear, all eight
// after a read of as much as the base's weight in Q4_1. Steps take turns with those that
// only read the factors, in the same order. The fastest of each are told, without the
// reads for the base: other work on the machine lengthens all but those.
func BenchmarkFactors(b *testing.B) {
	m := newShaped()
	x, y := kernels.NewMatrix(1, 1536), kernels.NewMatrix(1, 1536)
	for i := range x.Data {
		x.Data[i] = float32(i%7) / 7
	}
	base := make([]byte, 96<<20)
	for i := 0; i < len(base); i += 4096 {
		base[i] = 1 // a page of its own
	}
	for name, rank := range map[string]int{"lora-r16": 16, "lora-r64": 64, "dora-r16": 16} {
		config := map[string]any{"peft_type": "LORA", "r": rank, "target_modules": "all-linear"}
		if name == "dora-r16" {
			config = dora(config)
		}
		dir := saved(b, m, config)
		for _, in := range []adapters.Precision{adapters.AsStored, adapters.BF16, adapters.F16, adapters.Q8_0} {
			b.Run(fmt.Sprintf("%s/%s", name, in), func(b *testing.B) {
				pool := kernels.NewPool(1)
				defer pool.Close()
				var all [8]*adapters.Adapter
				params := make([][len(all)][]*adapters.Param, len(m.Sites()))
				bytes := 0
				for i := range all {
					a, err := adapters.LoadIn(m, adaptertest.Open(b, dir), in)
					if err != nil {
						b.Fatal(err)
					}
					all[i] = a
					bytes += a.Bytes()
					for _, p := range a.Params() {
						params[p.Site][i] = append(params[p.Site][i], p)
					}
				}
				step := func(added func(site, i int)) (took time.Duration) {
					rest := base
					for site, s := range m.Sites() {
						w := s.Linear.W
						n := kernels.Q4_1.RowBytes(w.Cols) * w.Rows
						pool.Read(kernels.NewWeight(kernels.Q4_1, w.Rows, w.Cols, rest[:n]))
						rest = rest[n:]
						start := time.Now()
						for i := range all {
							added(site, i)
						}
						took += time.Since(start)
					}
					return took
				}
				var t applied
				apply := func(site, i int) {
					l := m.Sites()[site].Linear
					t = applied{all[i].Linear(site), l, x.Columns(0, l.W.Cols), y.Columns(0, l.W.Rows)}
					pool.Run(1, &t)
				}
				only := func(site, i int) {
					for _, p := range params[site][i] {
						pool.Read(p.Weight)
					}
				}
				walk, read := time.Hour, time.Hour
				for b.Loop() {
					walk, read = min(walk, step(apply)), min(read, step(only))
				}
				b.ReportMetric(float64(bytes)/float64(walk.Nanoseconds()), "GB/s")
				b.ReportMetric(float64(bytes)/float64(read.Nanoseconds()), "read-GB/s")
				b.ReportMetric(float64(walk.Microseconds())/1000, "least-ms")
				b.ReportMetric(0, "ns/op") // of both
			})
		}
	}
}
