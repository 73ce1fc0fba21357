// Package export writes a model's folder as a GGUF file, as llama.cpp's
// converter does, with matrices in a quantised form if asked.
package export

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/chat"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// Options say what is written where.
type Options struct {
	From      string // the folder
	To        string // the file
	DType     string // of matrices, one of DTypes
	Name      string // general.name; empty: the folder's
	Overwrite bool
}

// Report is what was written.
type Report struct {
	Tensors    int
	Parameters int
	Bytes      int
}

// formats are those that have an encoder, with llama.cpp's general.file_type.
var formats = map[string]struct {
	format kernels.Format
	number int
}{
	"f32": {kernels.F32, 0}, "f16": {kernels.F16, 1}, "q4_0": {kernels.Q4_0, 2}, "q4_1": {kernels.Q4_1, 3},
	"q8_0": {kernels.Q8_0, 7}, "q5_0": {kernels.Q5_0, 8}, "q5_1": {kernels.Q5_1, 9}, "bf16": {kernels.BF16, 32},
}

// DTypes lists the names of the forms that matrices can be written in.
func DTypes() []string { return slices.Sorted(maps.Keys(formats)) }

// ErrNotExported reports a model that cannot be written as GGUF.
var ErrNotExported = errors.New("the model cannot be written as GGUF")

// Write writes the model of a folder, and reads it back.
func Write(o Options) (*Report, error) {
	form, ok := formats[o.DType]
	if !ok {
		return nil, fmt.Errorf("--dtype: %q is not one of %s", o.DType, strings.Join(DTypes(), ", "))
	}
	if _, err := os.Stat(o.To); err == nil && !o.Overwrite {
		return nil, fmt.Errorf("%s exists: --overwrite replaces it", o.To)
	}
	m, source, err := models.Open(o.From, models.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = source.Close() }()
	if source.GGUF != nil {
		return nil, fmt.Errorf("%w: %s is a GGUF file already", ErrNotExported, o.From)
	}
	if m.Config().Architecture.GGUF() == "" {
		return nil, fmt.Errorf("%w: llama.cpp's names of %s are not known", ErrNotExported, m.Config().Architecture)
	}
	name := o.Name
	if name == "" {
		name = filepath.Base(filepath.Clean(o.From))
	}
	w, err := metadata(m, source, name, form.number)
	if err != nil {
		return nil, err
	}
	if err := vocabulary(w, o.From, m.Config().Vocabulary); err != nil {
		return nil, err
	}
	r := &Report{Parameters: m.Config().Parameters}
	for _, s := range m.Sites() {
		if err := r.module(w, m.Config(), s, form.format); err != nil {
			return nil, err
		}
	}
	if err := w.WriteFile(o.To); err != nil {
		return nil, err
	}
	return r, readBack(o.To, m.Config())
}

// config are the keys of config.json that the metadata says and models.Config
// does not.
type config struct {
	Theta      *float64        `json:"rope_theta"`
	Epsilon    *float64        `json:"rms_norm_eps"`
	Activation string          `json:"hidden_act"`
	Scaling    json.RawMessage `json:"rope_scaling"`
	Parameters json.RawMessage `json:"rope_parameters"`
}

// metadata begins a file with what it says of the model.
func metadata(m models.Model, s *models.Source, name string, fileType int) (*gguf.Writer, error) {
	c := m.Config()
	if c.Architecture.Class != "LlamaForCausalLM" {
		return nil, fmt.Errorf("%w: of the architectures only LlamaForCausalLM is written, not %s", ErrNotExported, c.Architecture)
	}
	theta, epsilon := 10000.0, 1e-6
	own := config{Theta: &theta, Epsilon: &epsilon}
	if err := s.Unmarshal(&own); err != nil {
		return nil, err
	}
	for key, value := range map[string]json.RawMessage{"rope_scaling": own.Scaling, "rope_parameters": own.Parameters} {
		if len(value) > 0 && string(value) != "null" {
			return nil, fmt.Errorf("%w: %s: %s is not written", ErrNotExported, s.Name, key)
		}
	}
	if own.Activation != "" && own.Activation != "silu" {
		return nil, fmt.Errorf("%w: %s: GGUF has no hidden_act, %q would be read as silu", ErrNotExported, s.Name, own.Activation)
	}
	w := gguf.NewWriter(c.Architecture.GGUF())
	w.Set("general.type", "model")
	w.Set("general.name", name)
	w.Set("general.file_type", fileType)
	w.Set("general.quantization_version", 2)
	sizes := map[string]int{
		"block_count": c.Layers, "context_length": c.Context, "embedding_length": c.Hidden, "feed_forward_length": c.Intermediate,
		"attention.head_count": c.Heads, "attention.head_count_kv": c.KVHeads,
		"attention.key_length": c.HeadDim, "attention.value_length": c.HeadDim, "rope.dimension_count": c.HeadDim, "vocab_size": c.Vocabulary,
	}
	for _, key := range slices.Sorted(maps.Keys(sizes)) {
		w.Set("llama."+key, sizes[key])
	}
	w.Set("llama.rope.freq_base", float32(*own.Theta))
	w.Set("llama.attention.layer_norm_rms_epsilon", float32(*own.Epsilon))
	return w, nil
}

// vocabulary adds the tokenizer and the chat template of a folder.
func vocabulary(w *gguf.Writer, dir string, rows int) error {
	t, err := tokenizer.Load(dir)
	if err != nil {
		return err
	}
	values, err := t.GGUF()
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	if t.VocabSize() != rows {
		return fmt.Errorf("%w: %s: the tokenizer has %d tokens and the embedding %d rows, and GGUF says one number", ErrNotExported, dir, t.VocabSize(), rows)
	}
	for _, key := range slices.Sorted(maps.Keys(values)) {
		w.Set(key, values[key])
	}
	switch found, err := chat.Find(dir); {
	case errors.Is(err, chat.ErrNoTemplate):
	case err != nil:
		return err
	default:
		w.Set("tokenizer.chat_template", found.Text)
		if found.Tools != "" && found.Tools != found.Text {
			w.Set("tokenizer.chat_template.tool_use", found.Tools)
		}
	}
	return nil
}

// module adds the tensors of a site.
func (r *Report) module(w *gguf.Writer, c *models.Config, s models.Site, f kernels.Format) error {
	switch s.Kind {
	case models.EmbeddingSite:
		r.matrix(w, c, s.Name, s.Embedding.W, f)
	case models.LinearSite:
		if s.Head && c.Tied {
			return nil
		}
		if len(s.Linear.Bias) > 0 {
			return fmt.Errorf("%w: %s has a bias, which is not written", ErrNotExported, s.Name)
		}
		r.matrix(w, c, s.Name, s.Linear.W, f)
	case models.NormSite:
		v := kernels.WeightOf(kernels.MatrixOf(1, len(s.Norm.Weight), s.Norm.Weight))
		w.Add(c.Architecture.GGUFName(s.Name+".weight"), gguf.TypeOf(kernels.F32), []int{v.Cols}, v.Data)
		r.Tensors, r.Bytes = r.Tensors+1, r.Bytes+len(v.Data)
	}
	return nil
}

// matrix adds a matrix, its rows in the order of the file.
func (r *Report) matrix(w *gguf.Writer, c *models.Config, module string, m kernels.Weight, f kernels.Format) {
	name := module + ".weight"
	order := c.GGUFRows(name)
	if f.BlockLen() > 1 && m.Cols%f.BlockLen() != 0 { // as llama.cpp falls back
		f = kernels.F16
	}
	r.Tensors, r.Bytes = r.Tensors+1, r.Bytes+m.Rows*f.RowBytes(m.Cols)
	w.AddFunc(c.Architecture.GGUFName(name), gguf.TypeOf(f), []int{m.Cols, m.Rows}, func(out io.Writer) error {
		values, stored := make([]float32, m.Cols), make([]byte, f.RowBytes(m.Cols))
		for i := range m.Rows {
			row := i
			if order != nil {
				row = order[i]
			}
			kernels.Decode(values, m.Format, m.Row(row))
			if err := kernels.Encode(stored, f, values); err != nil {
				return err
			}
			if _, err := out.Write(stored); err != nil {
				return err
			}
		}
		return nil
	})
}

// readBack opens what was written, and demands the same shape.
func readBack(path string, want *models.Config) error {
	m, source, err := models.Open(path, models.Options{})
	if err != nil {
		return fmt.Errorf("what was written cannot be read back: %w", err)
	}
	defer func() { _ = source.Close() }()
	c := m.Config()
	if c.Parameters != want.Parameters || c.Tied != want.Tied || c.Context != want.Context || c.HeadDim != want.HeadDim {
		return fmt.Errorf("%s: read back, it is another model", path)
	}
	return nil
}
