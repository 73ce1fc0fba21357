package models

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// Architecture is one declaration of all there is to know of an architecture
// before its weights are read: what the configuration holds, what the tensors
// are called here and in GGUF files, what PEFT adapts, and how to build the
// model.
type Architecture struct {
	Class     string // transformers' class, "LlamaForCausalLM"
	ModelType string // transformers' model_type, "llama"
	Tasks     []Task // what it can do
	// Heads are the classes of the same model with a head of a task on it. The tensors
	// of those that are not among heads nothing reads: see headless.
	Heads []string
	// Targets are the modules that PEFT adapts where target_modules is null, by
	// peft_type (peft/utils/constants.py).
	Targets map[string][]string
	// Feedforward are those whose inputs IA3 scales where feedforward_modules is
	// null.
	Feedforward []string
	// Biases are the modules that a switch of config.json gives a bias, by its key.
	// Modules that are absent have theirs without a switch, or none.
	Biases map[string][]string

	// heads are those that a base may have and an adapter may bring.
	heads map[Task]headForm
	// headed is the class of a decoder with a head of a task in the place of the one
	// that makes logits, which is an architecture of its own; empty: it is none of those.
	headed string

	config any // the struct whose JSON keys are read
	// check reports what stands against a configuration.
	check func(*Source) error
	// window writes another sliding window into a configuration; nil where the
	// architecture has none.
	window func(values map[string]json.RawMessage, n int)
	build  func(*Source, Options) (Model, error)

	prefix string // of the causal model, which some checkpoints lack: "model."
	blocks string // what precedes the number in the name of a block: "model.layers."
	// conv1D are the linears of a block that transformers holds as [in, out].
	conv1D []string
	// idleEnd is the token that transformers writes as the first and the last one
	// whatever the vocabulary is; 0: none.
	idleEnd int32
	// strays are stored names of tensors that a base may hold and no forward pass
	// reads.
	strays []*regexp.Regexp
	// headless matches the stored names of the tensors of heads that are not read;
	// that they are there is said.
	headless *regexp.Regexp
	// inert are keys of the configuration that change nothing of this architecture,
	// beside those of all.
	inert map[string]inert
	// normOffset is what is added to the weights of norms as they act; llama.cpp's
	// converter stores the sum.
	normOffset float32
	gguf       *ggufForm
}

// Task is what a model can do, as PEFT's task_type calls it.
type Task string

// The tasks of the implemented architectures.
const (
	Generate Task = "CAUSAL_LM"
	Encode   Task = "FEATURE_EXTRACTION"
	Classify Task = "SEQ_CLS"
	Tag      Task = "TOKEN_CLS"
)

// does says what a model does that can do it.
var does = map[Task]string{Generate: "generates text", Encode: "encodes texts into hidden states", Classify: "classifies texts", Tag: "classifies tokens"}

// ErrTask reports a model that is asked for what it does not do.
var ErrTask = errors.New("the base does not do that")

// Check refuses a task that a model of the architecture does not do, and says
// what it does.
func (a *Architecture) Check(t Task) error {
	if a.Does(t) {
		return nil
	}
	var can []string
	for _, task := range a.Tasks {
		can = append(can, does[task])
	}
	return fmt.Errorf("%w: %s is not a model that %s; it %s", ErrTask, a, does[t], strings.Join(can, " and "))
}

// Does reports whether a model can do it.
func (a *Architecture) Does(t Task) bool { return slices.Contains(a.Tasks, t) }

// String is the class.
func (a *Architecture) String() string { return cmp.Or(a.headed, a.Class) }

var architectures = map[string]*Architecture{}

// register makes an architecture known by its classes.
func register(a *Architecture) {
	for _, class := range append([]string{a.Class}, a.Heads...) {
		if _, ok := architectures[class]; ok {
			panic("models: " + class + " is registered twice")
		}
		architectures[class] = a
	}
	if !a.Does(Generate) {
		return
	}
	for _, form := range a.heads {
		headed := *a
		headed.headed, headed.Tasks, headed.gguf = form.class, a.Tasks[1:], nil
		architectures[form.class] = &headed
	}
}

// Architectures lists the classes of the implemented architectures, sorted.
func Architectures() []string { return slices.Sorted(maps.Keys(architectures)) }

// Without is name without the prefix of the causal model; false where it has
// none. Some checkpoints were saved from the bare model.
func (a *Architecture) Without(name string) (string, bool) {
	return strings.CutPrefix(name, a.prefix)
}

// inBlock splits the name of a module or tensor of a block into the block's
// number and the rest.
func (a *Architecture) inBlock(name string) (number, rest string, ok bool) {
	if rest, ok = strings.CutPrefix(name, a.blocks); ok {
		number, rest, ok = strings.Cut(rest, ".")
	}
	return number, rest, ok
}

// Conv1D reports whether a module is a linear that an architecture holds as
// [in, out]: PEFT's fan_in_fan_out.
func Conv1D(module string) bool {
	for _, a := range architectures {
		if _, name, ok := a.inBlock(module); ok && slices.Contains(a.conv1D, name) {
			return true
		}
	}
	return false
}

// stray reports whether nothing reads the tensor of that stored name.
func (a *Architecture) stray(name string) bool {
	return slices.ContainsFunc(a.strays, func(r *regexp.Regexp) bool { return r.MatchString(name) })
}
