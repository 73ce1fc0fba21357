package runtime

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/peft-serve/peft-serve/kernels"
)

func sample(t testing.TB, r *Request, logits []float32, n int) int32 {
	t.Helper()
	s, err := newSampler(r, len(logits))
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(logits)
	var c choice
	token := s.choose(&c, logits, n)
	if !slices.Equal(before, logits) {
		t.Fatal("the logits were changed")
	}
	return token
}

func TestGreedyTakesTheLowestOfEquals(t *testing.T) {
	if got := sample(t, &Request{}, []float32{1, 3, 2, 3, 3}, 0); got != 1 {
		t.Errorf("token %d", got)
	}
	if got := sample(t, &Request{Sampling: Sampling{Bias: map[int32]float32{1: -1, 3: 0.5}}}, []float32{1, 3, 2, 3, 3}, 0); got != 3 {
		t.Errorf("token %d", got)
	}
}

// TestPenalties follows transformers' RepetitionPenaltyLogitsProcessor and
// OpenAI's formula for the other two.
func TestPenalties(t *testing.T) {
	r := &Request{Prompt: []int32{0, 2}, Sampling: Sampling{Repetition: 2, Presence: 0.5, Frequency: 0.25, Bias: map[int32]float32{3: 1}}}
	s, err := newSampler(r, 5)
	if err != nil {
		t.Fatal(err)
	}
	s.accept(2)
	s.accept(4)
	s.accept(4)
	logits := []float32{4, 4, -4, 4, 4}
	var c choice
	s.adjust(&c, logits)
	if want := []float32{2, 4, -8 - 0.75, 5, 2 - 1}; !slices.Equal(logits, want) {
		t.Errorf("%v, want %v", logits, want)
	}
	c.restore(logits)
	if !slices.Equal(logits, []float32{4, 4, -4, 4, 4}) {
		t.Errorf("restored %v", logits)
	}
}

// kept sorts the whole vocabulary to say what the filters leave.
func kept(s Sampling, logits []float32) map[int32]float64 {
	all := make([]candidate, len(logits))
	for i, l := range logits {
		all[i] = candidate{token: int32(i), logit: l}
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.logit, a.logit), cmp.Compare(a.token, b.token))
	})
	for i := range all {
		all[i].weight = math.Exp(float64(all[i].logit-all[0].logit) / float64(s.Temperature))
	}
	if s.TopK > 0 && s.TopK < len(all) {
		all = all[:s.TopK]
	}
	all = slices.DeleteFunc(all, func(c candidate) bool { return c.weight < float64(s.MinP) })
	sum := 0.0
	for _, c := range all {
		sum += c.weight
	}
	if s.TopP > 0 && s.TopP < 1 {
		mass := 0.0
		for i := range all {
			if mass += all[i].weight; mass >= float64(s.TopP)*sum {
				all = all[:i+1]
				break
			}
		}
		sum = mass
	}
	probabilities := map[int32]float64{}
	for _, c := range all {
		probabilities[c.token] = c.weight / sum
	}
	return probabilities
}

func TestFiltersKeepWhatSortingWouldKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 60).Draw(t, "vocabulary")
		logits := make([]float32, n)
		for i := range logits {
			logits[i] = float32(rapid.IntRange(-40, 40).Draw(t, "logit")) / 7 // with ties
		}
		s := Sampling{
			Temperature: float32(rapid.IntRange(1, 30).Draw(t, "temperature")) / 10,
			TopK:        rapid.IntRange(0, 70).Draw(t, "top-k"),
			TopP:        float32(rapid.IntRange(0, 20).Draw(t, "top-p")) / 20,
			MinP:        float32(rapid.IntRange(0, 10).Draw(t, "min-p")) / 30,
		}
		p, err := newSampler(&Request{Sampling: s}, n+70)
		if err != nil {
			t.Fatal(err)
		}
		var c choice
		p.draw(&c, logits, 0)
		want := kept(s, logits)
		mass := c.mass()
		if len(c.candidates) != len(want) {
			t.Fatalf("%d tokens are left, want %d", len(c.candidates), len(want))
		}
		for _, k := range c.candidates {
			if math.Abs(k.weight/mass-want[k.token]) > 1e-9 {
				t.Fatalf("token %d has probability %v, want %v", k.token, k.weight/mass, want[k.token])
			}
		}
	})
}

// TestDrawsFollowTheDistribution is a χ² test at about one in a million.
func TestDrawsFollowTheDistribution(t *testing.T) {
	logits := []float32{1, 2, 0.5, -1, 1.5, 0, 2.5, -0.5}
	for _, s := range []Sampling{{Temperature: 1}, {Temperature: 0.7, TopK: 5}, {Temperature: 1.5, TopP: 0.8}, {Temperature: 1, MinP: 0.2}} {
		const draws = 40000
		counts := map[int32]int{}
		s.Seed = 42
		for i := range draws {
			counts[sample(t, &Request{Sampling: s}, logits, i)]++
		}
		want, x2 := kept(s, logits), 0.0
		for token, p := range want {
			d := float64(counts[token]) - p*draws
			x2 += d * d / (p * draws)
			delete(counts, token)
		}
		if len(counts) > 0 || x2 > 45 {
			t.Errorf("%+v: χ² = %.1f with %d kinds, drawn outside: %v", s, x2, len(want), counts)
		}
	}
}

func TestUniform(t *testing.T) {
	seen := map[float64]bool{}
	sum := 0.0
	for seed := range uint64(100) {
		for n := range uint64(100) {
			u := uniform(seed, n)
			if u < 0 || u >= 1 || seen[u] {
				t.Fatalf("number %d of seed %d is %v", n, seed, u)
			}
			seen[u] = true
			sum += u
		}
	}
	if mean := sum / 1e4; math.Abs(mean-0.5) > 0.015 {
		t.Errorf("the mean is %v", mean)
	}
}

func TestLogprobs(t *testing.T) {
	logits := []float32{1, 3, 2, 3, -5}
	norm := float64(kernels.LogSumExp(logits))
	sum := 0.0
	for _, l := range logits {
		sum += math.Exp(float64(l) - norm)
	}
	if math.Abs(sum-1) > 1e-7 {
		t.Errorf("probabilities sum to %v", sum)
	}
	var c choice
	top := c.likeliest(logits, 4, norm)
	var order []int32
	for _, l := range top {
		order = append(order, l.Token)
	}
	if !slices.Equal(order, []int32{1, 3, 2, 0}) {
		t.Errorf("likeliest are %v", order)
	}
}

func TestSamplingFaultsAreNamed(t *testing.T) {
	nan := float32(math.NaN())
	_, err := newSampler(&Request{Logprobs: 11, Sampling: Sampling{
		Temperature: nan, TopK: -1, TopP: 2, MinP: -1, Repetition: -1, Presence: nan, Frequency: nan,
		Bias: map[int32]float32{10: 0, 1: nan},
	}}, 10)
	if !errors.Is(err, ErrSampling) {
		t.Fatal(err)
	}
	for _, want := range []string{"temperature", "top-k", "top-p", "min-p", "repetition", "presence", "frequency", "token 10", "token 1 is NaN", "log-probabilities"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is missing in:\n%v", want, err)
		}
	}
	forbidding := map[int32]float32{}
	for i := range int32(10) {
		forbidding[i] = float32(math.Inf(-1))
	}
	if _, err := newSampler(&Request{Sampling: Sampling{Bias: forbidding}}, 10); !errors.Is(err, ErrSampling) {
		t.Error("a bias that forbids every token is accepted")
	}
	delete(forbidding, 7)
	logits := make([]float32, 10)
	for _, temperature := range []float32{0, 1e-6, 1e-4, 1, 1e6} {
		if got := sample(t, &Request{Sampling: Sampling{Temperature: temperature, Bias: forbidding}}, logits, 0); got != 7 {
			t.Errorf("temperature %v: a forbidden token %d", temperature, got)
		}
	}
}

func BenchmarkSampler(b *testing.B) {
	logits := make([]float32, 49152)
	random := rand.New(rand.NewPCG(1, 2))
	for i := range logits {
		logits[i] = float32(random.NormFloat64() * 3)
	}
	for _, s := range []Sampling{{}, {Temperature: 1}, {Temperature: 0.8, TopK: 40}, {Temperature: 0.8, TopP: 0.95}, {Temperature: 0.8, TopK: 40, TopP: 0.95, Repetition: 1.1}} {
		b.Run(fmt.Sprintf("T%v,k%d,p%v", s.Temperature, s.TopK, s.TopP), func(b *testing.B) {
			p, _ := newSampler(&Request{Prompt: []int32{1, 2, 3}, Sampling: s}, len(logits))
			var c choice
			p.choose(&c, logits, 0)
			b.ReportAllocs()
			b.SetBytes(int64(4 * len(logits)))
			for n := 0; b.Loop(); n++ {
				p.choose(&c, logits, n)
			}
		})
	}
}
