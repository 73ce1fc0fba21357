package training

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Pretraining is the training of a new Llama from random values: a Run of
// method full on the windows of documents. The tags are read by the command
// line and by recipes.
type Pretraining struct {
	Output     string   `help:"Folder of the model, the metrics and the checkpoints." placeholder:"DIR" group:"output"`
	Tokenizer  string   `help:"Folder of its tokenizer: see peft-train tokenizer." placeholder:"DIR" group:"data"`
	Data       []string `help:"Texts to learn from: .txt files." placeholder:"PATH" group:"data"`
	Validation []string `help:"Texts to validate on." placeholder:"PATH" group:"data"`
	Split      float64  `name:"validation-split" help:"Share of the windows to validate on instead." group:"data" is:"share"`
	Format     string   `help:"What a text is: one of documents, or one of books in the form of Project Gutenberg's, whose lines are joined and whose chapters are documents." enum:"documents,books" default:"documents" group:"data"`

	Shape

	MaxSteps  int     `help:"Steps to take; 0: what --epochs come to." group:"schedule" is:"amount"`
	Epochs    float64 `help:"Times to go through the data." default:"1" group:"schedule" is:"amount"`
	BatchSize int     `help:"Windows of a micro-batch." default:"16" group:"schedule" is:"count"`
	GradAccum int     `help:"Micro-batches of a step." default:"1" group:"schedule" is:"count"`
	LR        float64 `name:"lr" help:"Peak learning rate." default:"1e-3" group:"schedule" is:"positive"`
	Schedule  string  `help:"Course of the learning rate: ${schedules}." default:"cosine" group:"schedule"`
	Warmup    int     `name:"warmup-steps" help:"Steps over which the rate rises." group:"schedule" is:"amount"`
	WarmupOf  float64 `name:"warmup-ratio" help:"Share of the steps over which it rises instead." group:"schedule" is:"share"`
	Seed      uint64  `help:"Seed of initial values and order." default:"0" group:"schedule"`

	Beta1   float64 `name:"adam-beta1" help:"Decay of AdamW's first moment." default:"0.9" group:"optimizer" is:"share"`
	Beta2   float64 `name:"adam-beta2" help:"Decay of AdamW's second moment." default:"0.95" group:"optimizer" is:"share"`
	Epsilon float64 `name:"adam-epsilon" help:"AdamW's epsilon." default:"1e-8" group:"optimizer" is:"positive"`
	Decay   float64 `name:"weight-decay" help:"Weight decay; norms and embeddings have none." default:"0.1" group:"optimizer" is:"amount"`
	Clip    float64 `name:"max-grad-norm" help:"Largest norm of the gradient; 0: any." default:"1" group:"optimizer" is:"amount"`

	DType          string `name:"dtype" help:"Precision in which the model is saved: f32, f16 or bf16." default:"bf16" group:"output"`
	License        string `help:"Licence that the model's card names." placeholder:"NAME" group:"output"`
	Language       string `help:"Language that the model's card names, such as en." placeholder:"CODE" group:"output"`
	Resume         Resume `help:"Go on from the last checkpoint in --output, or from that in a folder." placeholder:"DIR" group:"output"`
	Overwrite      bool   `help:"Replace what is in --output." group:"output"`
	EvalEvery      int    `help:"Validate every so many steps; 0: at the end." group:"output" is:"amount"`
	SaveEvery      int    `help:"Write a checkpoint every so many steps; 0: only when interrupted." group:"output" is:"amount"`
	KeepCheckpoint bool   `help:"Keep the checkpoint of a finished run, so that --resume can train it on." default:"true" negatable:"" group:"output"`
	Samples        int    `help:"Windows that the report shows with the model's answers." default:"4" group:"output" is:"amount"`

	MemoryLimit   Size `help:"Refuse to start where the plan is over this." placeholder:"SIZE" group:"compute" is:"amount"`
	Checkpointing bool `name:"gradient-checkpointing" help:"Compute activations twice and keep one a block." group:"compute"`
	Threads       int  `help:"Threads; 0: one for each core." group:"compute" is:"amount"`
}

// Shape is that of a Llama.
type Shape struct {
	Hidden       int     `name:"hidden-size" help:"Width of the hidden states." default:"256" group:"base" is:"count"`
	Intermediate int     `name:"intermediate-size" help:"Width of the MLP." default:"512" group:"base" is:"count"`
	Layers       int     `name:"layers" help:"Blocks." default:"6" group:"base" is:"count"`
	Heads        int     `name:"heads" help:"Attention heads." default:"8" group:"base" is:"count"`
	KVHeads      int     `name:"kv-heads" help:"Heads of keys and values." default:"4" group:"base" is:"count"`
	Context      int     `name:"context" help:"Longest sequence, and the length of the windows that are learnt from, in tokens." default:"512" group:"base" is:"count"`
	Tied         bool    `name:"tie-embeddings" help:"Let the head be the embedding." default:"true" negatable:"" group:"base"`
	Theta        float64 `name:"rope-theta" help:"Base of the rotary frequencies." default:"10000" group:"base" is:"positive"`
	Deviation    float64 `name:"init-deviation" help:"Standard deviation of the first values; of what is added to the residual stream by 1/√(2·layers) of it." default:"0.02" group:"base" is:"positive"`
}

// Validate reports everything that is wrong with the settings, each fault named
// by its flag.
func (p *Pretraining) Validate() error {
	var faults []error
	fault := func(flag, format string, a ...any) {
		faults = append(faults, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, a...)))
	}
	if p.Tokenizer == "" {
		fault("tokenizer", "is missing")
	}
	if p.Tokenizer != "" && filepath.Clean(p.Tokenizer) == filepath.Clean(p.Output) {
		fault("output", "%s is the tokenizer's folder", p.Output)
	}
	numbers(reflect.ValueOf(*p), fault)
	if p.Heads > 0 && p.Hidden%(2*p.Heads) != 0 {
		fault("heads", "%d heads do not share a hidden size of %d in even parts", p.Heads, p.Hidden)
	}
	if p.KVHeads > 0 && p.Heads%p.KVHeads != 0 {
		fault("kv-heads", "%d is no divisor of %d heads", p.KVHeads, p.Heads)
	}
	c := p.Config()
	c.validateCourse(fault)
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// Config is the run that it is.
func (p *Pretraining) Config() Config {
	return Config{
		Base: "a new model", Method: "full", Output: p.Output, Data: p.Data, Validation: p.Validation, Split: p.Split,
		Format: p.Format, MaxLength: p.Context, Turns: dataset.Turns[0],
		MaxSteps: p.MaxSteps, Epochs: p.Epochs, BatchSize: p.BatchSize, GradAccum: p.GradAccum,
		LR: p.LR, Schedule: p.Schedule, Warmup: p.Warmup, WarmupOf: p.WarmupOf, Seed: p.Seed, Shuffle: true,
		Optimizer: "adamw", Beta1: p.Beta1, Beta2: p.Beta2, Epsilon: p.Epsilon, Decay: p.Decay, Clip: p.Clip,
		MethodConfig: MethodConfig{DType: p.DType},
		Resume:       p.Resume, Overwrite: p.Overwrite, EvalEvery: p.EvalEvery, SaveEvery: p.SaveEvery,
		KeepCheckpoint: p.KeepCheckpoint, Samples: p.Samples,
		MemoryLimit: p.MemoryLimit, Checkpointing: p.Checkpointing, Threads: p.Threads,
	}
}

// Begin makes the model with its first values.
func (p *Pretraining) Begin() (*Opened, error) {
	o := &Opened{Path: p.Tokenizer, Options: models.Options{Private: true}, begun: p}
	if err := o.text(); err != nil {
		return nil, fmt.Errorf("--tokenizer: %w", err)
	}
	end, ok := o.Tokenizer.EOS()
	if !ok {
		return nil, fmt.Errorf("--tokenizer: %s names no eos_token, the token that ends a text", p.Tokenizer)
	}
	config, err := json.Marshal(p.config(o.Tokenizer.VocabSize(), end))
	if err != nil {
		return nil, err
	}
	shape, err := models.NewShape("the new model", config, models.Options{})
	if err != nil {
		return nil, err
	}
	var weights bytes.Buffer
	if err := safetensors.Write(&weights, p.first(shape), safetensors.PyTorch()); err != nil {
		return nil, err
	}
	o.Model, o.Source, err = models.OpenBytes("the new model", config, weights.Bytes(), o.Options)
	return o, err
}

// config is its config.json.
func (p *Pretraining) config(vocabulary int, end int32) map[string]any {
	return map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "vocab_size": vocabulary,
		"hidden_size": p.Hidden, "intermediate_size": p.Intermediate, "num_hidden_layers": p.Layers,
		"num_attention_heads": p.Heads, "num_key_value_heads": p.KVHeads, "head_dim": p.Hidden / p.Heads,
		"max_position_embeddings": p.Context, "tie_word_embeddings": p.Tied, "rope_theta": p.Theta,
		"hidden_act": "silu", "rms_norm_eps": 1e-5, "initializer_range": p.Deviation,
		"attention_bias": false, "mlp_bias": false, "attention_dropout": 0,
		"bos_token_id": end, "eos_token_id": end, "torch_dtype": "float32",
	}
}

// generation is the generation_config.json of a model that was begun.
func (o *Opened) generation() map[string]any {
	return map[string]any{"bos_token_id": o.End(), "eos_token_id": o.End()}
}

// first are the first values of the tensors of a shape, each a function of the
// seed and its name: norms are 1, all others normal.
func (p *Pretraining) first(shape models.Model) []safetensors.Tensor {
	var tensors []safetensors.Tensor
	for _, t := range newBase(shape).tensors() {
		values := make([]float32, t.Len())
		switch {
		case t.Norm:
			for i := range values {
				values[i] = 1
			}
		case strings.HasSuffix(t.Name, "o_proj.weight"), strings.HasSuffix(t.Name, "down_proj.weight"):
			random.Named(p.Seed, t.Name).Normal(values, p.Deviation/math.Sqrt(float64(2*p.Layers)))
		default:
			random.Named(p.Seed, t.Name).Normal(values, p.Deviation)
		}
		tensors = append(tensors, safetensors.FromFloat32s(t.Name, t.Shape, values))
	}
	return tensors
}

// writeJSON writes a value, indented.
func writeJSON(path string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return disk.Write(path, append(b, '\n'))
}
