package pooling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
)

// A Recipe is how the embedding of a text is made.
type Recipe struct {
	Modes     []Mode
	Normalize bool
	Dense     []*Dense // applied to the pooled row, in order
	MaxTokens int      // the longest text, its special tokens included; 0: what the base holds
	MaxFrom   string   // what says so
	Lower     bool     // texts are taken in lower case
	// Prompts are put before texts, by name; Prompt is the name of the one that is
	// where none is named, "" for none. WithoutPrompt has pooling pass over its tokens.
	Prompts       map[string]string
	Prompt        string
	WithoutPrompt bool
	Similarity    string // of two embeddings: cosine, dot, euclidean or manhattan
	From          string // the file that says so; "": nothing did

	width widthOf  // of the hidden states that it is for
	dir   string   // what files are in
	files []string // that say it
}

// widthOf is what a key of a file says that the width is; zero: nothing does.
type widthOf struct {
	key   string // with its file
	value int
}

// Default is the recipe where no file has one: the mean of all tokens, whose order
// matters little where each sees all of them; of a base in which a token sees only
// those before it, the last one, which has seen all.
func Default(causal bool) *Recipe {
	r := &Recipe{Modes: []Mode{Mean}, Similarity: "cosine"}
	if causal {
		r.Modes = []Mode{Last}
	}
	return r
}

// ErrRecipe reports files that ask for what is not implemented, or cannot be read.
var ErrRecipe = errors.New("the base's embeddings cannot be made as its files say")

// Load reads the recipe of the model in a folder; nil where it has none: no
// modules.json.
func Load(dir string) (*Recipe, error) {
	list := filepath.Join(dir, "modules.json")
	var modules []module
	if err := read(list, &modules); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		return nil, fmt.Errorf("%w: %w", ErrRecipe, err)
	}
	r := &Recipe{Similarity: "cosine", From: list, dir: dir, files: []string{"modules.json", promptsFile}}
	if err := r.load(dir, list, modules); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRecipe, err)
	}
	return r, nil
}

// module is an entry of modules.json.
type module struct {
	Index  int      `json:"idx"`
	Name   string   `json:"name"`
	Path   string   `json:"path"`
	Type   string   `json:"type"`
	Kwargs []string `json:"kwargs"`
}

// kind is the class of a module of sentence-transformers' own; "" of another.
func (m module) kind() string {
	if !strings.HasPrefix(m.Type, "sentence_transformers.") {
		return ""
	}
	return m.Type[strings.LastIndexByte(m.Type, '.')+1:]
}

// order is where the modules stand that are implemented.
var order = []string{"Transformer", "Pooling", "Dense", "Normalize"}

// promptsFile is of the whole model, transformerFile of its first module, and moduleFiles
// of the modules of each kind.
const (
	promptsFile     = "config_sentence_transformers.json"
	transformerFile = "sentence_bert_config.json"
)

var moduleFiles = map[string][]string{
	"Transformer": {transformerFile}, "Pooling": {"config.json"}, "Dense": {"config.json", "model.safetensors"}, "Normalize": {"config.json"},
}

func (r *Recipe) load(dir, list string, modules []module) error {
	at := 0
	for _, m := range modules {
		kind := m.kind()
		next := slices.Index(order, kind)
		switch {
		case next < 0:
			return fmt.Errorf("%s: module %q of type %s is not implemented (only %s)", list, m.Name, m.Type, strings.Join(order, ", "))
		case next < at || next == at && at > 0 && kind != "Dense" || at == 0 && next > 1 || next == 0 && m.Index > 0:
			return fmt.Errorf("%s: %s stands where it is not implemented: they come in the order %s", list, kind, strings.Join(order, ", "))
		case !filepath.IsLocal(m.Path) && m.Path != "":
			return fmt.Errorf("%s: the path %q leads out of the folder", list, m.Path)
		case len(m.Kwargs) > 0:
			return fmt.Errorf("%s: kwargs of module %q are not implemented", list, m.Name)
		}
		at = next
		path := filepath.Join(dir, m.Path)
		for _, name := range moduleFiles[kind] {
			r.files = append(r.files, filepath.Join(m.Path, name))
		}
		var err error
		switch kind {
		case "Transformer":
			err = r.readTransformer(path)
		case "Pooling":
			err = r.readPooling(filepath.Join(path, "config.json"))
		case "Dense":
			err = r.readDense(path)
		case "Normalize":
			r.Normalize = true
			err = readNormalize(filepath.Join(path, "config.json"))
		}
		if err != nil {
			return err
		}
	}
	if len(r.Modes) == 0 {
		return fmt.Errorf("%s: there is no module Pooling", list)
	}
	return r.readPrompts(filepath.Join(dir, promptsFile))
}

// readTransformer reads sentence_bert_config.json and how long a text may be: older
// files say it there, newer ones in tokenizer_config.json. Without either it may be
// as long as the base has room for.
func (r *Recipe) readTransformer(dir string) error {
	path := filepath.Join(dir, transformerFile)
	var c struct {
		Most       *int                `json:"max_seq_length"`
		Lower      bool                `json:"do_lower_case"`
		Task       *string             `json:"transformer_task"`
		Output     *string             `json:"module_output_name"`
		Modalities map[string]modality `json:"modality_config"`
		Unpad      any                 `json:"unpad_inputs"` // texts are never padded
		Processing map[string]any      `json:"processing_kwargs"`
	}
	if err := read(path, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	text, typed := c.Modalities["text"]
	switch {
	case c.Most != nil && *c.Most <= 0:
		return fmt.Errorf("%s: max_seq_length is %d", path, *c.Most)
	case c.Task != nil && *c.Task != "feature-extraction":
		return fmt.Errorf("%s: transformer_task %q is not implemented (only feature-extraction)", path, *c.Task)
	case c.Output != nil && *c.Output != "token_embeddings":
		return fmt.Errorf("%s: module_output_name %q is not implemented (only token_embeddings)", path, *c.Output)
	case len(c.Modalities) > 0 && (!typed || text.Method != "forward" || text.Output != "last_hidden_state"):
		return fmt.Errorf("%s: modality_config is not implemented but for texts, of which forward gives last_hidden_state", path)
	case len(c.Processing) > 0:
		return fmt.Errorf("%s: processing_kwargs are not implemented", path)
	}
	if r.Lower = c.Lower; c.Most != nil {
		r.MaxTokens, r.MaxFrom = *c.Most, "max_seq_length in its "+transformerFile
		return nil
	}
	var t struct {
		Most *float64 `json:"model_max_length"`
	}
	path = filepath.Join(dir, "tokenizer_config.json")
	b, err := regular.Text(path, regular.Config)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if t.Most != nil && *t.Most >= 1 && *t.Most <= math.MaxInt32 { // more is none
		r.MaxTokens, r.MaxFrom = int(*t.Most), "model_max_length in its tokenizer_config.json"
	}
	return nil
}

// modality is how the model reads one kind of input.
type modality struct {
	Method string `json:"method"`
	Output string `json:"method_output_name"`
}

// readPooling reads the configuration of the module Pooling.
func (r *Recipe) readPooling(path string) error {
	c := struct {
		Width    *int            `json:"word_embedding_dimension"`
		Embedded *int            `json:"embedding_dimension"`
		First    bool            `json:"pooling_mode_cls_token"`
		Max      bool            `json:"pooling_mode_max_tokens"`
		Mean     bool            `json:"pooling_mode_mean_tokens"`
		MeanSqrt bool            `json:"pooling_mode_mean_sqrt_len_tokens"`
		Weighted bool            `json:"pooling_mode_weightedmean_tokens"`
		Last     bool            `json:"pooling_mode_lasttoken"`
		Named    json.RawMessage `json:"pooling_mode"`
		Prompt   bool            `json:"include_prompt"`
	}{Prompt: true}
	if err := read(path, &c); err != nil {
		return err
	}
	for _, w := range []struct {
		key   string
		value *int
	}{{"word_embedding_dimension", c.Width}, {"embedding_dimension", c.Embedded}} { // the older name, and the newer one
		switch {
		case w.value == nil:
		case *w.value <= 0:
			return fmt.Errorf("%s: %s is %d", path, w.key, *w.value)
		case r.width.value > 0 && r.width.value != *w.value:
			return fmt.Errorf("%s: %s is %d, and word_embedding_dimension is %d", path, w.key, *w.value, r.width.value)
		default:
			r.width = widthOf{path + ": " + w.key, *w.value}
		}
	}
	for m, on := range []bool{First: c.First, Max: c.Max, Mean: c.Mean, MeanSqrt: c.MeanSqrt, WeightedMean: c.Weighted, Last: c.Last} {
		if on {
			r.Modes = append(r.Modes, Mode(m))
		}
	}
	if len(c.Named) > 0 && string(c.Named) != "null" {
		var list []string
		if json.Unmarshal(c.Named, &list) != nil {
			list = []string{""}
			if err := json.Unmarshal(c.Named, &list[0]); err != nil {
				return fmt.Errorf("%s: pooling_mode is no name and no list of names", path)
			}
		}
		modes, err := Parse(strings.Join(list, ","))
		if err != nil {
			return fmt.Errorf("%s: pooling_mode: %w", path, err)
		}
		if len(r.Modes) > 0 && !slices.Equal(r.Modes, modes) { // which sentence-transformers passes over
			return fmt.Errorf("%s: pooling_mode and the keys pooling_mode_… name different modes", path)
		}
		r.Modes = modes
	}
	if len(r.Modes) == 0 { // sentence-transformers' default
		r.Modes = []Mode{Mean}
	}
	r.WithoutPrompt = !c.Prompt
	return nil
}

// readNormalize reads the configuration of the module Normalize, which older files
// have none of.
func readNormalize(path string) error {
	var c struct {
		Input  *string `json:"module_input_name"`
		Output *string `json:"module_output_name"`
	}
	if err := read(path, &c); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return ofSentence(path, c.Input, c.Output)
}

// ofSentence refuses a module that acts on something else than the pooled row.
func ofSentence(path string, input, output *string) error {
	for i, name := range []*string{input, output} {
		if name != nil && *name != "sentence_embedding" {
			return fmt.Errorf("%s: %s %q is not implemented (only sentence_embedding)", path, []string{"module_input_name", "module_output_name"}[i], *name)
		}
	}
	return nil
}

// readPrompts reads config_sentence_transformers.json, if it is there.
func (r *Recipe) readPrompts(path string) error {
	var c struct {
		Versions   json.RawMessage    `json:"__version__"`
		ModelType  *string            `json:"model_type"`
		Prompts    map[string]*string `json:"prompts"`
		Default    *string            `json:"default_prompt_name"`
		Similarity *string            `json:"similarity_fn_name"`
		Truncate   *int               `json:"truncate_dim"`
	}
	err := read(path, &c)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.ModelType != nil && *c.ModelType != "SentenceTransformer" {
		return fmt.Errorf("%s: model_type %q is not implemented (only SentenceTransformer)", path, *c.ModelType)
	}
	r.Prompts = make(map[string]string, len(c.Prompts))
	for name, prompt := range c.Prompts {
		if prompt != nil {
			r.Prompts[name] = *prompt
		}
	}
	if c.Default != nil && *c.Default != "" {
		if _, ok := r.Prompts[*c.Default]; !ok {
			return fmt.Errorf("%s: default_prompt_name %q is none of prompts: %s", path, *c.Default, r.PromptNames())
		}
		r.Prompt = *c.Default
	}
	if c.Truncate != nil {
		return fmt.Errorf("%s: truncate_dim is not implemented: leave it out, and have requests say dimensions", path)
	}
	if c.Similarity != nil {
		if r.Similarity = *c.Similarity; !slices.Contains([]string{"cosine", "dot", "euclidean", "manhattan"}, r.Similarity) {
			return fmt.Errorf("%s: similarity_fn_name %q is not implemented (only cosine, dot, euclidean, manhattan)", path, r.Similarity)
		}
	}
	return nil
}

// PromptNames are those of the prompts, sorted, to read.
func (r *Recipe) PromptNames() string {
	if len(r.Prompts) == 0 {
		return "there are none"
	}
	return strings.Join(slices.Sorted(maps.Keys(r.Prompts)), ", ")
}

// Width is the number of columns of an embedding of a base whose hidden states have
// so many.
func (r *Recipe) Width(hidden int) int {
	if n := len(r.Dense); n > 0 {
		return r.Dense[n-1].Out()
	}
	return len(r.Modes) * hidden
}

// Check refuses a recipe that does not fit a base of that width.
func (r *Recipe) Check(hidden int) error {
	if w := r.width; w.value > 0 && w.value != hidden {
		return fmt.Errorf("%w: %s is %d, and the base's hidden states have %d values", ErrRecipe, w.key, w.value, hidden)
	}
	width := len(r.Modes) * hidden
	for _, d := range r.Dense {
		if d.In() != width {
			return fmt.Errorf("%w: %s takes %d values, and gets %d", ErrRecipe, d.From, d.In(), width)
		}
		width = d.Out()
	}
	return nil
}

// read decodes a file strictly. Where it is not there the error is fs.ErrNotExist.
func read(path string, v any) error {
	b, err := regular.Text(path, regular.Config)
	if err != nil {
		return err
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if d.More() {
		return fmt.Errorf("%s: something follows the JSON", path)
	}
	return nil
}

// PromptFor is the first of those names that a prompt has; nil: none has one.
func (r *Recipe) PromptFor(names ...string) *string {
	for _, name := range names {
		if _, ok := r.Prompts[name]; ok {
			return &name
		}
	}
	return nil
}

// Compare tells how near two embeddings are, as the base's files say: the nearer, the
// larger. Distances are below 0.
func (r *Recipe) Compare(a, b []float32) float64 {
	switch r.Similarity {
	case "dot":
		return Dot(a, b)
	case "euclidean":
		sum := 0.0
		for i := range a {
			d := float64(a[i]) - float64(b[i])
			sum += d * d
		}
		return -math.Sqrt(sum)
	case "manhattan":
		sum := 0.0
		for i := range a {
			sum += math.Abs(float64(a[i]) - float64(b[i]))
		}
		return -sum
	}
	return Cosine(a, b)
}

// Describe says how embeddings are made and learnt, to read.
func (r *Recipe) Describe() string {
	var modes []string
	for _, m := range r.Modes {
		modes = append(modes, m.String())
	}
	text := strings.Join(modes, ", ")
	if len(r.Dense) > 0 {
		text += ", a linear that stays as it is"
	}
	if r.Normalize {
		text += ", normalised"
	}
	if r.From != "" {
		text += " (" + filepath.Base(r.From) + ")"
	}
	return text
}
