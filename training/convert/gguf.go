package convert

import (
	"fmt"
	"math"

	"github.com/peft-serve/peft-serve/adapters"
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
	folder, err := adapters.Open(o.From)
	if err != nil {
		return nil, err
	}
	if folder, err = folder.For(o.Base.Shape()); err != nil {
		return nil, err
	}
	all, _, err := adapters.LowRank(folder.All())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	m := &middle{}
	if m.values, err = parseConfig(folder.Config.JSON()); err != nil {
		return nil, err
	}
	delete(m.values, "base_model_name_or_path") // the base at hand says its own
	m.nameBase(o)
	m.complete(all)
	return m, nil
}
