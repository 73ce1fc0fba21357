package training

import (
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/training/dataset"
)

// Config is a whole run. The tags are read by the command line and by recipes,
// which call a setting by the same name.
type Config struct {
	Base string `help:"Base model: a Hugging Face folder, a .gguf file or an hf:// URI." placeholder:"PATH" group:"base"`
	BaseConfig
	Method          string    `help:"What is trained: ${methods}." default:"lora" group:"method"`
	Output          string    `help:"Folder of the result, the metrics and the checkpoints." placeholder:"DIR" group:"output"`
	Data            []string  `help:"Files of examples, or the folder of a --task." placeholder:"PATH" group:"data"`
	Validation      []string  `help:"Files of examples to validate on." placeholder:"PATH" group:"data"`
	Split           float64   `name:"validation-split" help:"Share of the examples to validate on instead." group:"data" is:"share"`
	Task            string    `help:"GLUE task with its prompt and metric: ${tasks}." group:"data"`
	Objective       string    `help:"What is learnt: ${objectives}; what the data has labels for where the base generates no text, and text elsewhere, if empty." group:"data"`
	Classes         []string  `help:"Names of the classes that a head tells apart, in their order; those of the data if empty." placeholder:"NAME" group:"data"`
	Weights         []float64 `name:"class-weights" help:"Weights of the classes in the loss, in their order." placeholder:"NUMBER" group:"data" is:"positive"`
	Smoothing       float64   `name:"label-smoothing" help:"Share of a label that is spread evenly over all classes." group:"data" is:"share"`
	Format          string    `help:"What the rows hold: ${formats}." default:"auto" group:"data"`
	MaxLength       int       `help:"Longest sequence, in tokens; 0: the base's." default:"512" group:"data" is:"amount"`
	Packing         bool      `help:"Count windows of up to --max-length as sequences: as many texts as have room, each seen by itself." group:"data"`
	LearnPrompt     bool      `help:"Put the loss on prompts too." group:"data"`
	Turns           string    `help:"Turns of the assistant's that are learnt: ${turns}." default:"all" group:"data"`
	dataset.Columns `group:"data"`

	MaxSteps  int     `help:"Steps to take; 0: what --epochs come to." group:"schedule" is:"amount"`
	Epochs    float64 `help:"Times to go through the data." default:"1" group:"schedule" is:"amount"`
	BatchSize int     `help:"Sequences of a micro-batch." default:"8" group:"schedule" is:"count"`
	GradAccum int     `help:"Micro-batches of a step." default:"1" group:"schedule" is:"count"`
	LR        float64 `name:"lr" help:"Peak learning rate; 0: the method's own." group:"schedule" is:"amount"`
	Schedule  string  `help:"Course of the learning rate: ${schedules}." default:"linear" group:"schedule"`
	Warmup    int     `name:"warmup-steps" help:"Steps over which the rate rises." group:"schedule" is:"amount"`
	WarmupOf  float64 `name:"warmup-ratio" help:"Share of the steps over which it rises instead." group:"schedule" is:"share"`
	Seed      uint64  `help:"Seed of initial values, order, dropout and sampling." default:"0" group:"schedule"`
	Shuffle   bool    `help:"Draw a new order for each epoch." default:"true" negatable:"" group:"schedule"`

	Optimizer string  `help:"Optimizer: ${optimizers}." default:"adamw" group:"optimizer"`
	Beta1     float64 `name:"adam-beta1" help:"Decay of AdamW's first moment." default:"0.9" group:"optimizer" is:"share"`
	Beta2     float64 `name:"adam-beta2" help:"Decay of AdamW's second moment." default:"0.999" group:"optimizer" is:"share"`
	Epsilon   float64 `name:"adam-epsilon" help:"AdamW's epsilon." default:"1e-8" group:"optimizer" is:"positive"`
	Momentum  float64 `name:"sgd-momentum" help:"SGD's momentum." group:"optimizer" is:"share"`
	Decay     float64 `name:"weight-decay" help:"Weight decay; biases and norms have none." group:"optimizer" is:"amount"`
	Clip      float64 `name:"max-grad-norm" help:"Largest norm of the gradient; 0: any." default:"1" group:"optimizer" is:"amount"`

	MethodConfig

	InitAdapter string `help:"Folder of an adapter to go on from." placeholder:"DIR" group:"output"`
	Resume      Resume `help:"Go on from the last checkpoint in --output, or from that in a folder." placeholder:"DIR" group:"output"`
	BaseName    string `help:"base_model_name_or_path of the adapter; the name that the base gives itself if empty." group:"output"`
	Overwrite   bool   `help:"Replace what is in --output." group:"output"`
	Publish     string `help:"Put the adapter into the peft-serve at this URL; its key is read from PEFT_SERVE_API_KEY." placeholder:"URL" group:"output"`
	PublishKey  string `kong:"-" json:"-"` // the server's API key
	Version     string `kong:"-" json:"-"` // of the program, for the report
	PublishName string `help:"Its name there; the last part of --output if empty." group:"output"`

	EvalEvery      int    `help:"Validate every so many steps; 0: at the end." group:"output" is:"amount"`
	SaveEvery      int    `help:"Write a checkpoint every so many steps; 0: only when interrupted." group:"output" is:"amount"`
	Best           bool   `name:"keep-best" help:"End with the parameters that validated best." group:"output"`
	BestMetric     string `help:"What a validation is better by: accuracy, f1, loss and so on; the first of the --task, or the loss, if empty." placeholder:"METRIC" group:"output"`
	Patience       int    `help:"Stop after so many validations without a better one; 0: never." group:"output" is:"amount"`
	KeepCheckpoint bool   `help:"Keep the checkpoint of a finished run, so that --resume can train it on." default:"true" negatable:"" group:"output"`
	Samples        int    `help:"Examples that the report shows with the model's answers." default:"4" group:"output" is:"amount"`

	MemoryLimit   Size `help:"Refuse to start where the plan is over this." placeholder:"SIZE" group:"compute" is:"amount"`
	Checkpointing bool `name:"gradient-checkpointing" help:"Compute activations twice and keep one a block." group:"compute"`
	Threads       int  `help:"Threads; 0: one for each core." group:"compute" is:"amount"`
}

// MethodConfig is what the methods ask for.
type MethodConfig struct {
	adapters.Choice

	PlusRatio     float64 `name:"loraplus-lr-ratio" help:"LoRA+: how many times as fast B learns; 0: not LoRA+." group:"method" is:"amount"`
	PlusEmbedding float64 `name:"loraplus-lr-embedding" help:"LoRA+: rate of LoRA on embeddings." default:"1e-6" group:"method" is:"positive"`
	PlusDecay     float64 `name:"loraplus-weight-decay" help:"LoRA+: weight decay." group:"method" is:"amount"`
	Gamma         int     `name:"lisa-layers" help:"LISA: blocks trained at once." default:"2" group:"method" is:"count"`
	Interval      int     `name:"lisa-interval" help:"LISA: steps between draws." default:"20" group:"method" is:"count"`
	DType         string  `name:"dtype" help:"Models: precision in which they are saved, f32, f16 or bf16; bf16 of a base of 16 bits and f32 of another if empty." group:"method"`
	BlockOrder    string  `help:"Block-wise: ascending, descending or random." default:"random" group:"method"`
	BlockInterval int     `help:"Block-wise: steps on one block." default:"50" group:"method" is:"count"`
	FreezeOutside bool    `name:"freeze-embeddings" help:"LISA and block-wise: keep embeddings, final norm and head frozen." group:"method"`
	GaloreRank    int     `help:"GaLore: rank of the projected gradient." default:"128" group:"method" is:"count"`
	GaloreGap     int     `name:"galore-update-proj-gap" help:"GaLore: steps between projections." default:"200" group:"method" is:"count"`
	GaloreScale   float64 `help:"GaLore: factor on the update." default:"0.25" group:"method" is:"positive"`
}

// Resume says whether to go on from a checkpoint, and where it is.
type Resume struct {
	On  bool
	Dir string // empty: the output folder
}

// Validate reports everything that is wrong with a configuration, each fault
// named by its flag.
func (c *Config) Validate() error {
	var faults []error
	fault := func(flag, format string, a ...any) {
		faults = append(faults, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, a...)))
	}
	if c.Base == "" {
		fault("base", "is missing")
	}
	c.validateCourse(fault)
	c.Method = Spelt(c.Method)
	among(fault, "method", c.Method, Methods())
	among(fault, "format", c.Format, dataset.Formats)
	among(fault, "turns", c.Turns, dataset.Turns)
	if c.Objective != "" {
		among(fault, "objective", c.Objective, Objectives)
	}
	c.validateClasses(fault)
	among(fault, "optimizer", c.Optimizer, Optimizers)
	among(fault, "init-lora-weights", c.Start, adapters.Starts)
	among(fault, "bias", c.Bias, []string{"none", "all", "lora_only"})
	among(fault, "block-order", c.BlockOrder, Orders)
	if c.Packing && dataset.IsText(c.Format) {
		fault("packing", "goes without --format %s, whose sequences are windows already", c.Format)
	}
	if c.Task != "" {
		if _, err := dataset.NewTask(c.Task); err != nil {
			fault("task", "%v", err)
		}
	}
	numbers(reflect.ValueOf(*c), fault)
	if c.InitWeights != "" {
		among(fault, "init-weights", c.InitWeights, []string{"bert", "mam_adapter", "houlsby"})
	}
	if models.IsPath(c.BaseName) {
		fault("base-name", "%q is a path: want a name that others know the base by, such as owner/name", c.BaseName)
	}
	if c.Publish != "" {
		if u, err := url.Parse(c.Publish); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			fault("publish", "%q is not the URL of a server, such as http://127.0.0.1:8080", c.Publish)
		}
		if c.Output != "" && !IsName(c.publishName()) {
			fault("publish-name", "%q is no name for an adapter: letters, digits, dots, dashes and underscores, the first not a dot", c.publishName())
		}
		if _, ok := wholes[c.Method]; ok {
			fault("publish", "--method %s makes a model, and a server takes adapters: peft-train extract makes one of it", c.Method)
		}
	}
	slices.SortFunc(faults, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(faults...)
}

// among calls fault for a value that is none of names.
func among(fault func(flag, format string, a ...any), flag, value string, names []string) {
	if !slices.Contains(names, value) {
		fault(flag, "%q is not one of %s", value, strings.Join(names, ", "))
	}
}

// validateCourse calls fault for what is wrong with the settings that no method
// has to do with: data, steps and output.
func (c *Config) validateCourse(fault func(flag, format string, a ...any)) {
	if len(c.Data) == 0 {
		fault("data", "is missing")
	}
	among(fault, "schedule", c.Schedule, Schedules)
	if c.DType != "" {
		among(fault, "dtype", c.DType, Precisions())
	}
	if c.MaxSteps == 0 && c.Epochs == 0 {
		fault("epochs", "0, want more than 0 or --max-steps")
	}
	if c.Output == "" {
		fault("output", "is missing")
	}
	for flag, on := range map[string]bool{"keep-best": c.Best, "patience": c.Patience > 0, "best-metric": c.BestMetric != ""} {
		switch {
		case !on:
		case len(c.Validation) == 0 && c.Split == 0 && c.Task == "":
			fault(flag, "nothing to validate on: name --validation or --validation-split")
		case c.EvalEvery == 0 && flag != "best-metric":
			fault(flag, "there is one validation, at the end: --eval-every asks for more")
		}
	}
	if len(c.Validation) > 0 && c.Split > 0 {
		fault("validation-split", "goes without --validation")
	}
	if c.Warmup > 0 && c.WarmupOf > 0 {
		fault("warmup-ratio", "goes without --warmup-steps")
	}
	if c.Overwrite && c.Resume.On && (c.Resume.Dir == "" || filepath.Clean(c.Resume.Dir) == filepath.Clean(c.Output)) {
		fault("overwrite", "goes without --resume, which goes on with what is there")
	}
}

// IsBool lets --resume stand without a value.
func (Resume) IsBool() bool { return true }

// UnmarshalText reads "true", "false" or a folder.
func (r *Resume) UnmarshalText(text []byte) error {
	switch s := string(text); s {
	case "", "true":
		*r = Resume{On: true}
	case "false":
		*r = Resume{}
	default:
		*r = Resume{On: true, Dir: s}
	}
	return nil
}
