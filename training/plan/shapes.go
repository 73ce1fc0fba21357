package plan

import (
	"encoding/json"
	"fmt"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// layout builds the sites of a Base.
type layout struct {
	sites models.Sites
	layer int
	zeros []float32
}

// vector is a slice of the given length whose contents nobody reads.
func (l *layout) vector(n int) []float32 {
	if n > len(l.zeros) {
		l.zeros = make([]float32, n)
	}
	return l.zeros[:n:n]
}

func (l *layout) add(s models.Site) int {
	s.Layer = l.layer
	l.sites = append(l.sites, s)
	return len(l.sites) - 1
}

func (l *layout) linear(name string, out, in int, bias bool) *models.Linear {
	n := &models.Linear{W: kernels.Weight{Rows: out, Cols: in}}
	if bias {
		n.Bias = l.vector(out)
	}
	n.Site = l.add(models.Site{Name: name, Kind: models.LinearSite, Linear: n})
	return n
}

func (l *layout) conv1D(name string, out, in int) {
	l.sites[l.linear(name, out, in, true).Site].Conv1D = true
}

func (l *layout) head(name string, vocabulary, hidden int) {
	l.sites[l.linear(name, vocabulary, hidden, false).Site].Head = true
}

func (l *layout) embedding(name string, rows, hidden int) {
	e := &models.Embedding{W: kernels.Weight{Rows: rows, Cols: hidden}}
	e.Site = l.add(models.Site{Name: name, Kind: models.EmbeddingSite, Embedding: e})
}

func (l *layout) norm(name string, n int, bias bool) {
	norm := &models.Norm{Weight: l.vector(n), RMS: !bias}
	if bias {
		norm.Bias = l.vector(n)
	}
	norm.Site = l.add(models.Site{Name: name, Kind: models.NormSite, Norm: norm})
}

func (l *layout) sublayer(name string) { l.add(models.Site{Name: name, Kind: models.SublayerSite}) }

// read lays a configuration out by its architecture or, failing that, its
// model_type.
func read(architecture, modelType string, config []byte) (*Base, error) {
	kind, ok := kinds[architecture]
	if !ok {
		kind = modelType
	}
	readers := map[string]func([]byte, string) (*Base, error){
		"llama": readLlama, "mistral": readLlama, "qwen2": readLlama, "qwen3": readLlama,
		"gpt2": readGPT2, "bert": readBERT, "roberta": readBERT, "deberta-v2": readDeBERTa,
	}
	reader, ok := readers[kind]
	if !ok {
		return nil, fmt.Errorf("architecture %q (model_type %q) is not known", architecture, modelType)
	}
	b, err := reader(config, kind)
	if err != nil {
		return nil, err
	}
	if b.config.Architecture = architecture; architecture == "" {
		b.config.Architecture = classes[kind]
	}
	for _, dims := range b.tensors() {
		b.parameters += count(dims)
	}
	b.config.Parameters = b.parameters
	return b, nil
}

// kinds maps transformers' classes to the readers' names, and classes back.
var (
	kinds = map[string]string{
		"LlamaForCausalLM": "llama", "MistralForCausalLM": "mistral", "Qwen2ForCausalLM": "qwen2", "Qwen3ForCausalLM": "qwen3",
		"GPT2LMHeadModel": "gpt2", "BertModel": "bert", "BertForSequenceClassification": "bert", "BertForMaskedLM": "bert",
		"RobertaModel": "roberta", "RobertaForSequenceClassification": "roberta", "RobertaForMaskedLM": "roberta",
		"DebertaV2Model": "deberta-v2", "DebertaV2ForSequenceClassification": "deberta-v2", "DebertaV2ForMaskedLM": "deberta-v2",
	}
	classes = map[string]string{
		"llama": "LlamaForCausalLM", "mistral": "MistralForCausalLM", "qwen2": "Qwen2ForCausalLM", "qwen3": "Qwen3ForCausalLM",
		"gpt2": "GPT2LMHeadModel", "bert": "BertModel", "roberta": "RobertaModel", "deberta-v2": "DebertaV2Model",
	}
)

// Bounds on what a configuration may claim: nothing of that size exists, and a
// plan of it would take the memory that it is to save.
const (
	largestSize = 1 << 24
	mostLayers  = 1 << 12
)

// decode reads config.json into v and demands that the given sizes, named, are
// positive and bounded.
func decode(config []byte, v any, sizes func() map[string]int) error {
	if err := json.Unmarshal(config, v); err != nil {
		return err
	}
	for key, n := range sizes() {
		if n <= 0 || n > largestSize || (key == "n_layer" || key == "num_hidden_layers") && n > mostLayers {
			return fmt.Errorf("%s is %d", key, n)
		}
	}
	return nil
}
