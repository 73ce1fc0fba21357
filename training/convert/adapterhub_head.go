package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Heads in AdapterHub's folders (heads/base.py, loading.py): head_config.json with the
// head's form, and its linears as "heads.<name>.<number>". Where transformers' class of
// the base computes the same, PEFT's folder has that class's modules; else those of the
// form, which config.json says.

// hubHeadConfig is the configuration of a head.
const hubHeadConfig = "head_config.json"

// hubHeadFiles are the names of a head's tensor file, the safe one first.
var hubHeadFiles = []string{"model_head.safetensors", "pytorch_model_head.bin"}

// The values of head_type.
const (
	hubText   = "classification"
	hubLabels = "multilabel_classification"
	hubTags   = "tagging"
)

// hubHeadKeys are the keys of a head's configuration.
var hubHeadKeys = []string{"head_type", "num_labels", "layers", "activation_function", "label2id", "use_pooler", "bias", "dropout_prob"}

// pooler is how PEFT calls BERT's, savedHeads what it saves by itself under a head, and
// lastModules what makes scores in classes of transformers'.
const pooler = "pooler"

var (
	savedHeads  = []string{"classifier", "score"}
	lastModules = []string{"classifier", "classifier.out_proj", "score"}
)

// hubHead is a head as its configuration says.
type hubHead struct {
	kind   string
	names  []string // of classes; nil: none are said
	number int
	form   models.HeadForm
	static bool // the modules of transformers' class, without a form
	tag    bool
}

// readHubHead reads the head of a folder, if it has one.
func (m *middle) readHubHead(o Options) error {
	b, err := regular.Text(filepath.Join(o.From, hubHeadConfig), regular.Config)
	if errors.Is(err, fs.ErrNotExist) {
		for _, name := range hubHeadFiles {
			if isFile(filepath.Join(o.From, name)) && !o.NoHead {
				return fmt.Errorf("%w: %s lies there without a %s, which says what it is: --without-head leaves it out", ErrConfig, name, hubHeadConfig)
			}
		}
		return nil
	}
	if o.NoHead {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	head, err := parseHubHead(b)
	if err != nil {
		return fmt.Errorf("%s: %w", hubHeadConfig, err)
	}
	if o.Base == nil {
		return fmt.Errorf("%w: which modules the head has in PEFT's folder depends on it: give --base, or --without-head", ErrBase)
	}
	tensors, closeFile, err := readTensors(o.From, hubHeadFiles...)
	if err != nil {
		return err
	}
	m.alsoClose(closeFile)
	return m.fromHubHead(head, tensors, o.Base.Shape())
}

// parseHubHead reads a head_config.json.
func parseHubHead(b []byte) (*hubHead, error) {
	file := map[string]any{}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	if err := dec.Decode(&file); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	h := &hubHead{}
	settings, ok := file["config"].(map[string]any)
	if !ok { // of a model of transformers' with one head of its own
		class := text(file["model_class"])
		task := models.TaskOf(class)
		if file["config"] != nil || task == "" {
			return nil, fmt.Errorf("%w: a head of %s is not implemented: --without-head leaves it out", ErrHold, class)
		}
		h.static, h.tag, settings = true, task == models.Tag, file
	} else if err := h.shape(settings); err != nil {
		return nil, err
	}
	number := float(settings["num_labels"], 2)
	if !(number >= 1 && number <= models.MaxClasses) || number != math.Trunc(number) {
		return nil, fmt.Errorf("%w: num_labels is %v, want a whole number from 1 to %d", ErrConfig, settings["num_labels"], models.MaxClasses)
	}
	h.number = int(number)
	return h, h.name(settings["label2id"])
}

// shape reads the form.
func (h *hubHead) shape(settings map[string]any) error {
	h.kind = text(settings["head_type"])
	if h.tag = h.kind == hubTags; !h.tag && h.kind != hubText && h.kind != hubLabels {
		return fmt.Errorf("%w: a head of head_type %q is not implemented: --without-head leaves it out", ErrHold, h.kind)
	}
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		if !slices.Contains(hubHeadKeys, key) && !nothing(settings[key]) {
			return fmt.Errorf("%w: the key %q of a head (%v) is not known: it may change what the head computes", ErrHold, key, settings[key])
		}
	}
	h.form = models.HeadForm{Bias: true}
	for key, to := range map[string]*bool{"use_pooler": &h.form.Pooler, "bias": &h.form.Bias} {
		if v := settings[key]; v != nil {
			b, ok := v.(bool)
			if !ok {
				return fmt.Errorf("%w: %s is %v, want true or false", ErrConfig, key, v)
			}
			*to = b
		}
	}
	if v := settings["activation_function"]; v != nil {
		name, ok := v.(string)
		if !ok {
			return fmt.Errorf("%w: activation_function is %v, want a name", ErrConfig, v)
		}
		h.form.Activation = strings.ToLower(name)
	}
	layers := float(settings["layers"], -1)
	if layers != math.Trunc(layers) {
		return fmt.Errorf("%w: layers is %v, want a whole number", ErrConfig, settings["layers"])
	}
	if h.form.Layers = int(layers); h.form.Layers == 1 {
		h.form.Activation = "" // there is nothing between
	}
	if err := h.form.Check(); err != nil {
		return fmt.Errorf("%w: %w", ErrHold, err)
	}
	return nil
}

// name reads what the classes are called.
func (h *hubHead) name(label2id any) error {
	if label2id == nil {
		return nil
	}
	ids, ok := label2id.(map[string]any)
	if !ok || len(ids) != h.number {
		return fmt.Errorf("%w: label2id is %v, want %d names", ErrConfig, label2id, h.number)
	}
	h.names = make([]string, h.number)
	for name, id := range ids {
		n := float(id, -1)
		if !(n >= 0 && n < float64(h.number)) || n != float64(int(n)) || h.names[int(n)] != "" || name == "" {
			return fmt.Errorf("%w: label2id has %q: %v, want each number from 0 to %d once", ErrConfig, name, id, h.number-1)
		}
		h.names[int(n)] = name
	}
	if slices.Equal(h.names, models.ClassNames(h.number)) {
		h.names = nil // what they are called without names
	}
	return nil
}

// task is PEFT's of the head, and problem what its scores mean.
func (h *hubHead) task() models.Task {
	if h.tag {
		return models.Tag
	}
	return models.Classify
}

func (h *hubHead) problem() models.Problem {
	switch {
	case h.kind == hubLabels:
		return models.MultiLabel
	case h.number == 1 && !h.tag:
		return models.Regression
	}
	return ""
}

var hubHeadTensor = regexp.MustCompile(`^heads\.([^.]+)\.(\d+)\.(weight|bias)$`)

// fromHubHead turns a head into PEFT's.
func (m *middle) fromHubHead(h *hubHead, tensors []safetensors.Tensor, base models.Model) error {
	m.values["task_type"] = string(h.task())
	saved := slices.Clone(savedHeads)
	classes := &models.Classes{Task: h.task(), Names: h.names, Problem: h.problem()}
	if base.Config().Causal {
		h.form.Pooler = false // AdapterHub's decoders give a head the last row whatever it says
	}
	var modules []string
	if !h.static {
		if modules = models.HeadModules(base, classes.Task, h.form); modules == nil {
			form := h.form
			modules, classes.Form = form.Modules(), &form
		}
		if slices.ContainsFunc(modules, isPooler) {
			saved = append(saved, pooler)
		}
	}
	if _, err := base.Config().HeadOf(classes); err != nil {
		return fmt.Errorf("%w: %w", ErrHold, err)
	}
	places := h.form.Numbers()
	seen := map[int]bool{} // linears with a weight
	for _, t := range tensors {
		if !h.static {
			parts := hubHeadTensor.FindStringSubmatch(t.Name)
			if parts == nil {
				return fmt.Errorf("%w %q is not a head's", ErrTensor, t.Name)
			}
			n, _ := strconv.Atoi(parts[2])
			i := slices.Index(places, n)
			if i < 0 {
				return fmt.Errorf("%w %q: a head of %d layers has linears at %v", ErrTensor, t.Name, h.form.Layers, places)
			}
			t.Name = modules[i] + "." + parts[3]
			seen[i] = seen[i] || parts[3] == "weight"
		}
		t.Name = prefix + t.Name
		m.tensors = append(m.tensors, t)
	}
	for i, n := range places {
		if !h.static && !seen[i] {
			return fmt.Errorf("%w: missing: the weight of linear %d of a head of %d layers", ErrTensor, n, h.form.Layers)
		}
	}
	m.values["modules_to_save"] = saved
	m.classes = classes
	return nil
}

func isPooler(module string) bool { return strings.Contains(module, pooler) }

// splitHead takes the tensors of a head out of those of an adapter.
func (m *middle) splitHead(base models.Model, config *adapters.Config) (head []safetensors.Tensor, err error) {
	task := models.Task(config.Task)
	if task != models.Classify && task != models.Tag {
		return nil, nil
	}
	classes := &models.Classes{Task: task}
	if config.Classes != nil {
		classes.Form = config.Classes.Form
	}
	under, err := models.WithHeadOf(base, classes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHold, err)
	}
	m.tensors = slices.DeleteFunc(slices.Clone(m.tensors), func(t safetensors.Tensor) bool {
		module := strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(t.Name, ".weight"), ".bias"), prefix)
		site := under.Sites().Find(module)
		of := site >= 0 && (under.Sites()[site].Open || under.Sites()[site].Classes || isPooler(module))
		if of {
			head = append(head, t)
			m.head, m.inHead = m.head+1, m.inHead+t.Len()
		}
		return of
	})
	return head, nil
}

// writeHubHead writes the head of an adapter into a folder.
func (m *middle) writeHubHead(dir, name string, head []safetensors.Tensor, o Options, config *adapters.Config, file map[string]any) error {
	h, modules, err := formOf(head, o.Base.Shape(), config)
	if err != nil {
		return err
	}
	numbers := h.form.Numbers()
	var tensors []safetensors.Tensor
	for i, module := range modules {
		for _, t := range head {
			if rest, ok := strings.CutPrefix(t.Name, prefix+module+"."); ok {
				t.Name = fmt.Sprintf("heads.%s.%d.%s", name, numbers[i], rest)
				tensors = append(tensors, t)
			}
		}
	}
	settings := map[string]any{
		"head_type": h.kind, "num_labels": h.number, "layers": h.form.Layers, "activation_function": nil, "label2id": nil, "bias": h.form.Bias, "dropout_prob": nil,
	}
	if h.form.Activation != "" {
		settings["activation_function"] = h.form.Activation
	}
	if !h.tag {
		settings["use_pooler"] = h.form.Pooler
	} else {
		delete(settings, "bias")
	}
	if h.names != nil {
		ids := map[string]int{}
		for i, n := range h.names {
			ids[n] = i
		}
		if len(ids) != len(h.names) {
			return fmt.Errorf("%w: AdapterHub knows classes by their names, and two are called alike: %q", ErrHold, h.names)
		}
		settings["label2id"] = ids
	}
	own := maps.Clone(file)
	own["config"] = settings
	b, err := json.MarshalIndent(own, "", "  ")
	if err != nil {
		return err
	}
	if err := safetensors.WriteFile(filepath.Join(dir, hubHeadFiles[0]), tensors, nil); err != nil {
		return err
	}
	return disk.Write(filepath.Join(dir, hubHeadConfig), b)
}

// formOf finds the form that a head's modules compute, and those modules in order.
func formOf(head []safetensors.Tensor, base models.Model, config *adapters.Config) (*hubHead, []string, error) {
	h := &hubHead{kind: hubText, tag: models.Task(config.Task) == models.Tag}
	if h.tag {
		h.kind = hubTags
	}
	shapes := map[string][]int{} // of weights, by module
	biased := map[string]bool{}
	for _, t := range head {
		name := strings.TrimPrefix(t.Name, prefix)
		if module, ok := strings.CutSuffix(name, ".bias"); ok {
			biased[module] = true
		} else if module, ok := strings.CutSuffix(name, ".weight"); ok {
			shapes[module] = t.Shape
		}
	}
	var modules []string
	forms := hubForms()
	if c := config.Classes; c != nil && c.Form != nil {
		forms, modules = []models.HeadForm{*c.Form}, c.Form.Modules()
	}
	for _, f := range forms {
		if modules == nil {
			modules = models.HeadModules(base, h.task(), f)
		}
		if len(modules) == 0 || len(modules) != len(shapes) || biased[modules[len(modules)-1]] != f.Bias ||
			slices.ContainsFunc(modules, func(m string) bool { return len(shapes[m]) != 2 }) {
			modules = nil
			continue
		}
		h.form, h.number = f, shapes[modules[len(modules)-1]][0]
		return h, modules, h.says(config.Classes)
	}
	return nil, nil, fmt.Errorf("%w: AdapterHub has no head of the modules %v", ErrHold, slices.Sorted(maps.Keys(shapes)))
}

// hubForms are the forms that heads of transformers' classes may have.
func hubForms() (forms []models.HeadForm) {
	for _, bias := range []bool{true, false} {
		for _, pooled := range []bool{false, true} {
			forms = append(forms, models.HeadForm{Layers: 1, Pooler: pooled, Bias: bias})
		}
		for _, act := range []string{"tanh", "relu", "gelu"} {
			forms = append(forms, models.HeadForm{Layers: 2, Activation: act, Bias: bias})
		}
	}
	return forms
}

// says takes over what the classes are called and what their scores mean.
func (h *hubHead) says(c *models.Classes) error {
	if c == nil {
		return nil
	}
	h.names = c.Names
	switch c.Problem {
	case models.MultiLabel:
		if h.kind == hubText {
			h.kind = hubLabels
		}
	case models.Regression:
		if h.number > 1 {
			return fmt.Errorf("%w: AdapterHub has no regression of %d values", ErrHold, h.number)
		}
	}
	return nil
}

// under is the base under the names by which the tensors call its modules: of an
// encoder those of a class with a head, or of the one without.
func (m *middle) under(base models.Model) models.Model {
	for _, t := range m.tensors {
		if _, ok := base.Config().Architecture.Without(strings.TrimPrefix(t.Name, prefix)); ok {
			return base
		}
	}
	return models.Bare(base)
}

// counted is the configuration with as many classes as the head's last linear has,
// where nothing names them.
func (m *middle) counted(config *adapters.Config) *adapters.Config {
	c := models.Classes{}
	if config.Classes != nil {
		c = *config.Classes
	}
	if c.Names != nil {
		return config
	}
	last := slices.Clone(lastModules)
	if c.Form != nil {
		modules := c.Form.Modules()
		last = modules[len(modules)-1:]
	}
	for _, t := range m.tensors {
		module := strings.TrimSuffix(strings.TrimPrefix(t.Name, prefix), ".weight")
		if slices.Contains(last, module) && len(t.Shape) == 2 && t.Shape[0] > 0 && t.Shape[0] <= models.MaxClasses {
			c.Names = models.ClassNames(t.Shape[0])
			with := *config
			with.Classes = &c
			return &with
		}
	}
	return config
}
