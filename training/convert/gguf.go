package convert

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// llama.cpp's adapters (llama-adapter.cpp, convert_lora_to_gguf.py): a GGUF
// whose general.type is "adapter", adapter.type "lora" and adapter.lora.alpha
// the one alpha; each tensor of the base has "<its name>.lora_a" [r, in] and
// ".lora_b" [out, r], whose scaling is alpha over that tensor's own rank. The
// outputs of q and k are in llama.cpp's order; the embedding's lora_a is
// turned.

const (
	keyType        = "general.type"
	keyAdapterType = "adapter.type"
	keyAlpha       = "adapter.lora.alpha"
	keyInvocation  = "adapter.alora.invocation_tokens"
)

// writeGGUF writes a LoRA as llama.cpp reads it.
func (m *middle) writeGGUF(o Options, config *adapters.Config) error {
	if o.Base == nil {
		return fmt.Errorf("%w: a GGUF has the base's names and order of rows: give --base", ErrBase)
	}
	c := o.Base.Config()
	architecture := c.Architecture.GGUF()
	if architecture == "" {
		return fmt.Errorf("%w: llama.cpp's names of %s are not known", ErrHold, c.Architecture)
	}
	all, err := m.plain(config, "llama.cpp")
	if err != nil {
		return err
	}
	alpha, scaled, err := m.oneAlpha(all, config)
	if err != nil {
		return err
	}
	w := gguf.NewWriter(architecture)
	w.Set(keyType, "adapter")
	w.Set(keyAdapterType, "lora")
	w.Set(keyAlpha, float32(alpha))
	if own := config.Invocation(); own != nil {
		tokens := make([]uint32, len(own))
		for i, t := range own {
			tokens[i] = uint32(t)
		}
		w.Set(keyInvocation, tokens)
	}
	for _, p := range all {
		if p.Magnitude != nil {
			return fmt.Errorf("%w: llama.cpp has no DoRA, which %s is", ErrHold, p.Module)
		}
		if p.Module == "lm_head" && c.Tied {
			return fmt.Errorf("%w: llama.cpp has no tensor of its own for a tied lm_head", ErrHold)
		}
		name := c.Architecture.GGUFName(p.Module + ".weight")
		if name == p.Module+".weight" {
			return fmt.Errorf("%w: llama.cpp's name of %s is not known", ErrHold, p.Module)
		}
		if _, ok := c.Architecture.GGUFExpert(p.Module + ".weight"); ok {
			return fmt.Errorf("%w: a GGUF has one tensor for all experts of a block, of which %s is one", ErrHold, p.Module)
		}
		a, b := p.A, p.B
		if f := scaled[p.Module]; f != 1 {
			b = times(b, f)
		}
		if p.Embedding {
			a = turned(a)
		}
		if order := c.GGUFRows(p.Module + ".weight"); order != nil {
			if len(order) != b.Shape[0] {
				return fmt.Errorf("%w: %s has %d outputs, the base %d", ErrTensor, b.Name, b.Shape[0], len(order))
			}
			b = rows(b, order)
		}
		for _, part := range []struct {
			end string
			t   safetensors.Tensor
		}{{".lora_a", a}, {".lora_b", b}} {
			f, ok := ggufFloat(part.t.DType)
			if !ok {
				return fmt.Errorf("%w %q is %s", ErrTensor, part.t.Name, part.t.DType)
			}
			w.Add(name+part.end, f, []int{part.t.Shape[1], part.t.Shape[0]}, part.t.Data)
		}
	}
	return w.WriteFile(o.To)
}

// oneAlpha finds the alpha that gives every module its scaling, alpha/r; where
// there is none, the factors by which B has to be multiplied.
func (m *middle) oneAlpha(all []*adapters.Factors, config *adapters.Config) (alpha float64, factors map[string]float64, err error) {
	factors = map[string]float64{}
	off := 0
	for i, p := range all {
		_, scale, _, err := config.Scaling(p.Module)
		if err != nil {
			return 0, nil, err
		}
		own := scale * float64(p.Rank())
		if near := math.Round(own); math.Abs(own-near) < 1e-5*near {
			own = near // alpha/r and alpha/√r are rounded
		}
		if i == 0 {
			alpha = own
		}
		if factors[p.Module] = 1; own != alpha {
			factors[p.Module] = own / alpha
			off++
		}
	}
	if off > 0 {
		m.warn("llama.cpp has one alpha for all modules: %d of %d B were multiplied to make up for it, and rounded", off, len(all))
	}
	return alpha, factors, nil
}

// readGGUF reads llama.cpp's adapter.
func readGGUF(o Options) (*middle, error) {
	if o.Base == nil {
		return nil, fmt.Errorf("%w: a GGUF has the base's names and order of rows: give --base", ErrBase)
	}
	f, err := gguf.Open(o.From)
	if err != nil {
		return nil, err
	}
	m := &middle{values: map[string]any{"task_type": "CAUSAL_LM"}, close: f.Close}
	m.nameBase(o)
	if err := m.fromGGUF(f, o); err != nil {
		_ = f.Close()
		return nil, err
	}
	return m, nil
}

func (m *middle) fromGGUF(f *gguf.File, o Options) error {
	if kind, _ := f.String(keyType); kind != "adapter" {
		return fmt.Errorf("%w: %s is %q, not \"adapter\"", ErrForm, keyType, kind)
	}
	if kind, _ := f.String(keyAdapterType); kind != "lora" {
		return fmt.Errorf("%w: %s is %q, not \"lora\"", ErrHold, keyAdapterType, kind)
	}
	c := o.Base.Config()
	if a, _ := f.String("general.architecture"); a == "" || a != c.Architecture.GGUF() {
		return fmt.Errorf("%w: it is for %q, the base is %s", ErrForm, a, c.Architecture)
	}
	if own, ok := f.Ints(keyInvocation); ok {
		m.values["alora_invocation_tokens"] = own
	} else if slices.Contains(f.Keys(), keyInvocation) {
		return fmt.Errorf("%w: %s is no list of tokens", ErrForm, keyInvocation)
	}
	alpha, _ := f.Float(keyAlpha)
	found := map[string]*adapters.Factors{}
	var all []*adapters.Factors
	for _, s := range o.Base.Sites() {
		_, expert := c.Architecture.GGUFExpert(s.Name + ".weight")
		if s.Kind == models.LinearSite && !expert || s.Kind == models.EmbeddingSite {
			p := &adapters.Factors{Module: s.Name, Embedding: s.Kind == models.EmbeddingSite}
			found[c.Architecture.GGUFName(s.Name+".weight")] = p
		}
	}
	for _, t := range f.Tensors() {
		name, isA := strings.CutSuffix(t.Name, ".lora_a")
		var isB bool
		if !isA {
			name, isB = strings.CutSuffix(t.Name, ".lora_b")
		}
		p := found[name]
		if p == nil || !isA && !isB {
			return fmt.Errorf("%w %q is of no module of the base, or of all experts of a block", ErrTensor, t.Name)
		}
		out, err := m.plainFloat(t)
		if err != nil {
			return err
		}
		if isA {
			if p.A = out; p.Embedding {
				p.A = turned(out)
			}
			continue
		}
		if p.B = out; !p.Embedding {
			if order := c.GGUFRows(p.Module + ".weight"); len(order) == out.Shape[0] {
				p.B = rows(out, inverse(order))
			}
		}
	}
	for _, s := range o.Base.Sites() {
		p := found[c.Architecture.GGUFName(s.Name+".weight")]
		if p == nil || p.Module != s.Name || p.A.Data == nil && p.B.Data == nil {
			continue
		}
		if len(p.A.Shape) != 2 || len(p.B.Shape) != 2 || p.A.Shape[0] != p.B.Shape[1] {
			return fmt.Errorf("%w: %s has the factors %v and %v", ErrTensor, s.Name, p.A.Shape, p.B.Shape)
		}
		all = append(all, p)
	}
	return m.alphas(all, alpha)
}

// alphas says alpha for each module: one for all, over each one's rank. A file
// without alpha has scaling 1.
func (m *middle) alphas(all []*adapters.Factors, alpha float64) error {
	one := alpha
	if alpha == 0 {
		for _, p := range all {
			one = max(one, float64(p.Rank()))
		}
	}
	if err := m.fromPairs(all, one); err != nil {
		return err
	}
	if ranks, ok := m.values["rank_pattern"]; ok && alpha == 0 {
		m.values["alpha_pattern"] = ranks
	}
	return nil
}

// plainFloat is a tensor as safetensors holds it; quantised ones are widened.
func (m *middle) plainFloat(t gguf.Tensor) (safetensors.Tensor, error) {
	if len(t.Dims) != 2 {
		return safetensors.Tensor{}, fmt.Errorf("%w %q has the dimensions %v", ErrTensor, t.Name, t.Dims)
	}
	out := safetensors.Tensor{Name: t.Name, Shape: t.Shape(), Data: t.Data}
	w, err := t.Weight()
	if err != nil {
		return out, err
	}
	switch w.Format {
	case kernels.F32:
		out.DType = safetensors.F32
	case kernels.F16:
		out.DType = safetensors.F16
	case kernels.BF16:
		out.DType = safetensors.BF16
	default:
		m.warn("%s is %s and was widened to F32", t.Name, w.Format)
		return safetensors.FromFloat32s(t.Name, out.Shape, w.Matrix().Data), nil
	}
	return out, nil
}
