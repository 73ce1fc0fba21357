package training

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/modeltest"
)

// distribution is a cumulative distribution function.
type distribution func(x float64) float64

func uniform(bound float64) distribution {
	return func(x float64) float64 { return min(max((x+bound)/(2*bound), 0), 1) }
}

func normal(deviation float64) distribution {
	return func(x float64) float64 { return (1 + math.Erf(x/deviation/math.Sqrt2)) / 2 }
}

// truncated is a normal cut at two deviations.
func truncated(deviation float64) distribution {
	inside := math.Erf(math.Sqrt2)
	return func(x float64) float64 {
		x = min(max(x/deviation, -2), 2)
		return (1 + math.Erf(x/math.Sqrt2)/inside) / 2
	}
}

// farther is Kolmogorov's and Smirnov's statistic, √n·sup|F_n - F|: above 1.63
// in one sample of a hundred that does come from the distribution.
func (f distribution) farther(values []float32) float64 {
	v := slices.Clone(values)
	slices.Sort(v)
	n, most := float64(len(v)), 0.0
	for i, x := range v {
		p := f(float64(x))
		most = max(most, p-float64(i)/n, float64(i+1)/n-p)
	}
	return most * math.Sqrt(n)
}

// TestStartDistributions holds the initial values of each method against the
// distributions that peft and AdapterHub draw them from. Of all tensors of a
// kind the values are scaled to one bound and taken together; nil is zero.
func TestStartDistributions(t *testing.T) {
	lora := map[string]distribution{"lora_A.weight": uniform(1), "lora_B.weight": nil}
	for name, c := range map[string]struct {
		method string
		set    func(c *Config)
		want   map[string]distribution
	}{
		"lora":   {"lora", nil, lora},
		"rslora": {"rslora", nil, lora},
		"lora+":  {"lora+", nil, lora},
		"dora":   {"dora", nil, lora},
		"gaussian": {"lora", func(c *Config) { c.Start = "gaussian" },
			map[string]distribution{"lora_A.weight": normal(1), "lora_B.weight": nil}},
		"embedding": {"lora", func(c *Config) { c.Targets = []string{"embed_tokens"} },
			map[string]distribution{"lora_embedding_A": nil, "lora_embedding_B": normal(1)}},
		"bert": {"houlsby", nil, map[string]distribution{
			"adapter_down.weight": normal(0.02), "adapter_up.weight": normal(0.02), "adapter_down.bias": nil, "adapter_up.bias": nil}},
		"houlsby": {"houlsby", func(c *Config) { c.InitWeights = "houlsby" }, map[string]distribution{
			"adapter_down.weight": truncated(0.01), "adapter_up.weight": truncated(0.01), "adapter_down.bias": nil, "adapter_up.bias": nil}},
		"mam_adapter": {"parallel", nil, map[string]distribution{
			"adapter_down.weight": uniform(1), "adapter_up.weight": nil, "adapter_down.bias": nil, "adapter_up.bias": nil}},
		"prompt": {"prompt", func(c *Config) { c.VirtualTokens = 60 }, map[string]distribution{"prompt_embeddings": normal(1)}},
		"prefix": {"prefix", func(c *Config) { c.VirtualTokens = 60 }, map[string]distribution{"prompt_embeddings": normal(1)}},
	} {
		t.Run(name, func(t *testing.T) {
			config := tinyConfig(t, c.method)
			config.R, config.Reduction, config.Dropout = 64, 0.25, 0 // many values
			if c.method == "lora" && name != "embedding" {
				config.Targets = []string{"all-linear"}
			}
			if c.set != nil {
				c.set(&config)
			}
			if err := config.Validate(); err != nil {
				t.Fatal(err)
			}
			r, err := NewRun(config, openTiny(t, "llama-gqa"), &quiet{})
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			drawn := map[string][]float32{}
			for _, p := range r.Trainer.Method.Parameters() {
				for end := range c.want {
					if strings.HasSuffix(p.Name, end) {
						drawn[end] = append(drawn[end], scaled(p, name)...)
					}
				}
			}
			for end, f := range c.want {
				v := drawn[end]
				switch {
				case len(v) == 0:
					t.Errorf("no tensor ends in %s", end)
				case f == nil:
					if i := slices.IndexFunc(v, func(x float32) bool { return x != 0 }); i >= 0 {
						t.Errorf("%s begins with %v, want 0", end, v[i])
					}
				default:
					if d := f.farther(v); !(d < 1.63) || len(v) < 900 {
						t.Errorf("%s: the statistic of %d values is %.2f, want less than 1.63", end, len(v), d)
					}
				}
			}
		})
	}
}

// scaled is a tensor's values over the bound, or deviation, that its shape
// gives it: 1/√in of a uniform matrix, 1/r of a Gaussian one.
func scaled(p *Parameter, start string) []float32 {
	by := 1.0
	switch {
	case strings.HasSuffix(p.Name, "lora_A.weight") && start == "gaussian":
		by = float64(p.Shape[0])
	case strings.HasSuffix(p.Name, "lora_A.weight"), strings.HasSuffix(p.Name, "adapter_down.weight") && start == "mam_adapter":
		by = math.Sqrt(float64(p.Shape[1]))
	}
	v := slices.Clone(p.Value)
	for i := range v {
		v[i] *= float32(by)
	}
	return v
}

// TestIA3StartsAsTheBase: IA3's ones change no bit of a logit.
func TestIA3StartsAsTheBase(t *testing.T) {
	r, err := NewRun(tinyConfig(t, "ia3"), openTiny(t, "llama-gqa"), &quiet{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	batch, err := r.batch(0)
	if err != nil {
		t.Fatal(err)
	}
	want, got := logits(r.pool, r.Base.Model, nil, batch[0]), logits(r.pool, r.Base.Model, r.served(), batch[0])
	if d := modeltest.MaxDifference(want, got); d != 0 {
		t.Errorf("a logit is off by %v at the start", d)
	}
}
