package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/builtin"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/serve"
)

// hosting is a base with its adapters in an engine, as every command has it that
// answers requests.
type hosting struct {
	Base string `group:"base" placeholder:"MODEL" help:"Hugging Face folder, .gguf file or hf://owner/name[@revision][:file]; by default a small one that is built in, with adapters on it"`
	Name string `group:"base" placeholder:"NAME" help:"What requests call the base; by default its folder or file"`
	reading
	Context int    `group:"base" placeholder:"TOKENS" default:"0" help:"Longest sequence, prompt and answer together; by default the model's own"`
	Pooling string `group:"base" placeholder:"MODES" help:"How embeddings are made of hidden states: cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken, or several with commas between them, whose vectors are put one after the other. By default as the base's own files say (modules.json), or else mean for encoders and lasttoken for the others"`

	Adapters         string   `group:"adapters" placeholder:"DIR" help:"Folder of adapters, one a subfolder; it is watched, and uploads go there"`
	AdapterBudget    size     `group:"adapters" placeholder:"SIZE" default:"0" help:"Memory for loaded adapters; 0: 1GiB, or less where there is little memory"`
	AdapterPrecision string   `group:"adapters" placeholder:"PRECISION" default:"stored" help:"What the factors of LoRA, DoRA, AdaLoRA, VeRA, MiSS and bottlenecks are held in: stored, as their files have them, or at most bf16, f16 or q8_0 where those have more: each is rounded once, as it is loaded, and behind the digest of such an adapter stands the precision. Vectors, biases, embeddings, prefixes and modules to save stay as they are stored"`
	AdapterLoads     int      `group:"adapters" placeholder:"N" default:"2" help:"Adapters that are read at once, uploads included"`
	StrictBase       switched `group:"adapters" help:"Refuse adapters whose base_model_name_or_path names another base, which are warned about otherwise. The base goes by the name that it is opened by and by those that its files give it, compared by their last element, without case, owner and quantisation"`
	Aliases          string   `group:"adapters" placeholder:"DIR" help:"Folder of files NAME.yaml that say which version of an adapter answers and which is tried; read and not written. By default .aliases in --adapters, which the server writes too"`

	AdaptersFrom []string      `group:"adapters" placeholder:"NAME=URI" help:"Adapters to fetch and load at the start, from oci://registry/repository:tag, s3://bucket/prefix or hf://owner/name[:FILE.gguf]; the first two may end in @sha256: and a digest"`
	AdapterCache string        `group:"adapters" placeholder:"DIR" help:"Folder where adapters of oci:// and s3:// are kept; by default in the user's cache folder"`
	FetchTimeout time.Duration `group:"adapters" placeholder:"TIME" default:"10m" help:"How long it may take to fetch an adapter from there"`
	PlainHTTP    []string      `name:"plain-http" group:"adapters" placeholder:"HOST:PORT" help:"Registries that are reached by HTTP, as loopback ones are"`
	UploadLimit  size          `group:"http" placeholder:"SIZE" default:"4GiB" help:"Largest adapter that is uploaded, packed and unpacked, or fetched"`

	Threads       int      `group:"engine" placeholder:"N" default:"0" help:"Threads that compute; by default every core"`
	Slots         int      `group:"engine" placeholder:"N" default:"32" help:"Sequences that run at once"`
	StepTokens    int      `group:"engine" placeholder:"N" default:"512" help:"Tokens of one step: long prompts are cut to fit beside decoding"`
	PromptShare   float64  `group:"engine" placeholder:"SHARE" default:"0.5" help:"What each prompt may add to the work of a step while answers run, as a share of theirs, or 16 tokens where that is more; 0: as many tokens as a step holds"`
	KVCache       size     `name:"kv-cache" group:"engine" placeholder:"SIZE" default:"0" help:"Memory for keys and values; 0: 512MiB, or less where there is little memory"`
	KVType        string   `name:"kv-type" group:"engine" placeholder:"TYPE" default:"f32" help:"What keys and values are held in: f32, f16 (half the memory) or q8_0 (17/64 of it); each is rounded once, as it is stored"`
	NoPrefixCache switched `group:"engine" help:"Compute every prompt from its start"`
	GrammarCache  size     `group:"engine" placeholder:"SIZE" default:"0" help:"Memory for the schemas and expressions that answers are kept to, compiled; 0: 32MiB, or less where there is little memory"`
	MemoryLimit   size     `group:"engine" placeholder:"SIZE" default:"0" help:"Memory that the server may take, weights included; by default the least of its cgroup's limit, GOMEMLIMIT and the machine's memory. It does not start where its budgets do not fit in, and refuses work before it is used up"`
}

// asking is what requests may ask for.
type asking struct {
	BodyLimit        size   `group:"http" placeholder:"SIZE" default:"8MiB" help:"Largest JSON body"`
	ToolParser       string `group:"http" placeholder:"FORMAT" default:"auto" help:"How the model writes calls of tools: hermes (Qwen, too), llama3_json or mistral; auto: as the chat template does; none: they stay text"`
	MaxTokensDefault int    `group:"http" placeholder:"TOKENS" default:"0" help:"Tokens of an answer where a request does not say, on every route; by default each dialect's own: 16 of completions, 20 of /v2, 100 of TGI's, what the context has left of chats"`
	MaxTokensLimit   int    `group:"http" placeholder:"TOKENS" default:"0" help:"Most tokens of an answer that a request may ask for; by default what the context holds"`
}

// logging is how a command tells what it does, and where settings are read from.
type logging struct {
	LogFormat string `group:"logging" placeholder:"FORMAT" default:"auto" help:"auto, text, color or json; auto: color on a terminal, else text"`
	LogLevel  string `group:"logging" placeholder:"LEVEL" default:"info" help:"debug, info, warn or error"`
	Config    string `group:"logging" placeholder:"FILE" help:"YAML file of settings; SIGHUP has keys, limits and --log-level read anew from it"`
}

// reading is how a base is read.
type reading struct {
	IgnoreConfigKey []string `group:"base" placeholder:"NAME" help:"Keys of the base's config.json, or of its GGUF metadata, to read as if they were not there"`
	SlidingWindow   *int     `group:"base" placeholder:"TOKENS" help:"Sliding window of the base's attention; 0: none; by default the base's own"`
	Activations     string   `group:"base" placeholder:"PRECISION" default:"f32" help:"What the base's quantised weights are multiplied with: f32, activations as they are, which is what the dequantised base computes; or i8, rounded to 8 bits with a scale for each 32 of them, as llama.cpp does, which is faster and takes the memory of the weights again. Weights in F32, F16 and BF16, attention and what adapters add are computed from the activations as they are"`
}

func (r *reading) validate(wrong *faults) {
	if _, err := models.ParseActivations(r.Activations); err != nil {
		wrong.add("--activations: %s", err)
	}
}

// activations are what weights are multiplied with; validate has seen to it that there
// are such.
func (r *reading) activations() models.Activations {
	a, _ := models.ParseActivations(r.Activations)
	return a
}

// round has the base round its activations, where that is asked for.
func (r *reading) round(b *base, p *kernels.Pool) error {
	if r.activations() == models.ActivationsF32 {
		return nil
	}
	if err := b.source.RoundActivations(b.model, p); err != nil {
		return fmt.Errorf("--activations %s: %w", r.Activations, err)
	}
	return nil
}

func (r *reading) options(context int) models.Options {
	return models.Options{Context: context, IgnoreConfigKeys: r.IgnoreConfigKey, SlidingWindow: r.SlidingWindow}
}

func (h *hosting) validate(wrong *faults) {
	h.reading.validate(wrong)
	if scheme, _, ok := strings.Cut(h.Base, "://"); ok && scheme != "hf" && h.Base != builtin.Base {
		wrong.add("--base: %q: there is no scheme %s: name a Hugging Face folder, a .gguf file or hf://owner/name", h.Base, scheme)
	}
	atLeast(wrong, "context", h.Context, 0)
	if h.Pooling != "" {
		if _, err := pooling.Parse(h.Pooling); err != nil {
			wrong.add("--pooling: %s", err)
		}
	}
	atLeast(wrong, "adapter-loads", h.AdapterLoads, 1)
	if _, err := adapters.ParsePrecision(h.AdapterPrecision); err != nil {
		wrong.add("--adapter-precision: %s", err)
	}
	validateKVType(wrong, h.KVType)
	validatePromptShare(wrong, h.PromptShare)
	atLeast(wrong, "threads", h.Threads, 0)
	atLeast(wrong, "slots", h.Slots, 1)
	atLeast(wrong, "step-tokens", h.StepTokens, 1)
	if h.SlidingWindow != nil {
		atLeast(wrong, "sliding-window", *h.SlidingWindow, 0)
	}
	if h.Threads > maxThreads {
		wrong.add("--threads: %d is above %d", h.Threads, maxThreads)
	}
	aboveZero(wrong, "upload-limit", h.UploadLimit)
	if h.Adapters != "" {
		folder(wrong, "adapters", h.Adapters)
	}
	if h.Aliases != "" {
		folder(wrong, "aliases", h.Aliases)
		if h.Adapters == "" {
			wrong.add("--aliases: is about the adapters of --adapters, and there is none")
		}
	}
	_, unusable := h.adaptersFrom()
	for _, err := range unusable {
		wrong.add("--adapters-from: %s", err)
	}
	if h.FetchTimeout <= 0 {
		wrong.add("--fetch-timeout: it has to be above 0")
	}
}

func (a *asking) validate(wrong *faults) {
	aboveZero(wrong, "body-limit", a.BodyLimit)
	atLeast(wrong, "max-tokens-default", a.MaxTokensDefault, 0)
	atLeast(wrong, "max-tokens-limit", a.MaxTokensLimit, 0)
	if err := serve.CheckToolParser(a.ToolParser); err != nil {
		wrong.add("--tool-parser: %s; or auto, or none", err)
	}
	if a.MaxTokensLimit > 0 && a.MaxTokensDefault > a.MaxTokensLimit {
		wrong.add("--max-tokens-default: %d is above --max-tokens-limit, %d", a.MaxTokensDefault, a.MaxTokensLimit)
	}
}

func (l *logging) validate(wrong *faults) {
	if !slices.Contains([]string{"auto", "text", "color", "json"}, l.LogFormat) {
		wrong.add("--log-format: %q is none of auto, text, color, json", l.LogFormat)
	}
	if _, err := levelOf(l.LogLevel); err != nil {
		wrong.add("--log-level: %s", err)
	}
}

func atLeast(wrong *faults, name string, value, smallest int) {
	if value < smallest {
		wrong.add("--%s: %d is below %d", name, value, smallest)
	}
}

func aboveZero(wrong *faults, name string, value size) {
	if value <= 0 {
		wrong.add("--%s: it has to be above 0", name)
	}
}

func folder(wrong *faults, name, path string) {
	if stat, err := os.Stat(path); err != nil {
		wrong.add("--%s: %s", name, err)
	} else if !stat.IsDir() {
		wrong.add("--%s: %s is not a folder", name, path)
	}
}

// baseName is what requests call the base.
func (h *hosting) baseName() string {
	if h.Name != "" {
		return h.Name
	}
	if h.uri() == builtin.Base {
		return builtin.Name
	}
	base := strings.TrimPrefix(h.Base, "hf://")
	if base != h.Base {
		repo, _, _ := strings.Cut(base, ":")
		repo, _, _ = strings.Cut(repo, "@")
		return repo
	}
	if absolute, err := filepath.Abs(h.Base); err == nil {
		base = absolute
	}
	return strings.TrimSuffix(filepath.Base(base), ".gguf")
}

// precision is what adapters are held in; validate has seen to it that there is one.
func (h *hosting) precision() adapters.Precision {
	p, _ := adapters.ParsePrecision(h.AdapterPrecision)
	return p
}

// maxThreads is more than any machine has.
const maxThreads = 4096
