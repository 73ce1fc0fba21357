package convert

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/training/plan"
)

// The forms.
const (
	PEFT       = "peft"
	AdapterHub = "adapterhub"
	GGUF       = "gguf"
	LoRALib    = "loralib"
)

// Why a conversion is refused. Nothing has been written then.
var (
	ErrForm   = errors.New("form of the adapter") // it is not known, or cannot be written
	ErrHold   = errors.New("cannot be held")      // the other form cannot say it
	ErrTensor = errors.New("tensor")              // missing, unexpected or misshapen
	ErrBase   = errors.New("the base is needed")  // for names and the order of rows
	ErrOutput = errors.New("output")              // exists
	ErrConfig = errors.New("configuration")       // malformed
)

// Options say what to convert.
type Options struct {
	From, To  string
	Form      string     // of To; empty: gguf for a name ending so, peft for what is not peft, else adapterhub
	Base      *plan.Base // its shape; nil: unknown
	Alpha     float64    // lora_alpha of a loralib state dict, which does not say it
	Name      string     // of the adapter in AdapterHub's files; empty: what it had, or "default"
	NoHead    bool       // leave the head of an AdapterHub folder out
	Overwrite bool
}

// Report is what a conversion did.
type Report struct {
	From       string   `json:"from"` // forms
	To         string   `json:"to"`
	Method     string   `json:"method"`
	Tensors    int      `json:"tensors"`
	Parameters int      `json:"parameters"`
	Warnings   []string `json:"warnings,omitempty"`
}

// middle is an adapter in PEFT's form.
type middle struct {
	values   map[string]any // adapter_config.json
	tensors  []safetensors.Tensor
	warnings []string
	name     string          // in AdapterHub's files
	classes  *models.Classes // of the head that it brings; nil: nothing is said
	close    func() error

	head, inHead int // tensors and parameters of the head that AdapterHub has in a file of its own
}

func (m *middle) warn(format string, a ...any) {
	m.warnings = append(m.warnings, fmt.Sprintf(format, a...))
}

// nameBase sets base_model_name_or_path to the first of names that is no path, or
// to the name that the base gives itself.
func (m *middle) nameBase(o Options, names ...string) {
	if o.Base != nil {
		names = append(names, o.Base.OwnName)
	}
	for _, name := range names {
		if name != "" && !models.IsPath(name) {
			m.values["base_model_name_or_path"] = name
			return
		}
	}
	m.warn("nothing says the base's name: base_model_name_or_path is null")
}

// Detect tells the form of what is at path.
func Detect(path string) (string, error) {
	stat, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForm, err)
	}
	if !stat.IsDir() {
		if filepath.Ext(path) == ".gguf" {
			return GGUF, nil
		}
		return LoRALib, nil
	}
	config, err := readConfig(path)
	if err != nil {
		return "", err
	}
	switch {
	case config["peft_type"] != nil:
		return PEFT, nil
	case config["config"] != nil && (config["model_type"] != nil || config["model_class"] != nil || config["hidden_size"] != nil):
		return AdapterHub, nil
	}
	return "", fmt.Errorf("%w: %s is neither PEFT's nor AdapterHub's", ErrForm, filepath.Join(path, adapters.ConfigFile))
}

// Convert converts as the options say.
func Convert(o Options) (*Report, error) {
	r, err := convert(o)
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", o.From, err)
	}
	return r, nil
}

func convert(o Options) (*Report, error) {
	from, err := Detect(o.From)
	if err != nil {
		return nil, err
	}
	if o.Form == "" {
		o.Form = PEFT
		if strings.HasSuffix(o.To, ".gguf") {
			o.Form = GGUF
		} else if from == PEFT {
			o.Form = AdapterHub
		}
	}
	if err := o.fits(from); err != nil {
		return nil, err
	}
	if _, err := os.Stat(o.To); err == nil && !o.Overwrite {
		return nil, fmt.Errorf("%w: %s exists: --overwrite replaces it", ErrOutput, o.To)
	}
	readers := map[string]func(Options) (*middle, error){PEFT: readPEFT, AdapterHub: readAdapterHub, GGUF: readGGUF, LoRALib: readLoRALib}
	m, err := readers[from](o)
	if err != nil {
		return nil, err
	}
	if m.close != nil {
		defer func() { _ = m.close() }()
	}
	// What stands in the middle must be an adapter that the server would take.
	config, err := adapters.NewConfig(m.values)
	if err != nil {
		return nil, err
	}
	config.Classes = m.classes
	if from == PEFT {
		if config.Classes, err = adapters.ReadClasses(o.From, config); err != nil {
			return nil, err
		}
	}
	if err := m.check(config, o.Base); err != nil {
		return nil, err
	}
	switch o.Form {
	case PEFT:
		err = m.writePEFT(o.To, config)
	case AdapterHub:
		err = m.writeAdapterHub(o, config)
	case GGUF:
		err = m.writeGGUF(o, config)
	default:
		err = fmt.Errorf("%w: %q cannot be written (peft, adapterhub and gguf can)", ErrForm, o.Form)
	}
	if err != nil {
		return nil, err
	}
	r := &Report{From: from, To: o.Form, Method: config.Method.Name(), Tensors: len(m.tensors) + m.head, Warnings: m.warnings}
	for _, t := range m.tensors {
		r.Parameters += t.Len()
	}
	r.Parameters += m.inHead
	return r, nil
}

// fits refuses options that mean nothing to the forms.
func (o *Options) fits(from string) error {
	switch {
	case o.NoHead && from != AdapterHub:
		return fmt.Errorf("%w: --without-head leaves out the head of AdapterHub's folders, and this is %s's", ErrForm, from)
	case o.Alpha != 0 && from != LoRALib:
		return fmt.Errorf("%w: --lora-alpha is what loralib's files do not say, and this is %s's", ErrForm, from)
	case o.Name != "" && o.Form != AdapterHub:
		return fmt.Errorf("%w: --name is of AdapterHub's files, and %s is written", ErrForm, o.Form)
	}
	return nil
}

// check demands finite floats and, where the base's shape is known, that every
// tensor has its place and its shape.
func (m *middle) check(config *adapters.Config, base *plan.Base) error {
	shapes := map[string][]int{}
	for _, t := range m.tensors {
		values, err := t.Float32s()
		if err != nil {
			return fmt.Errorf("%w: %w", ErrTensor, err)
		}
		for _, v := range values {
			if v-v != 0 {
				return fmt.Errorf("%w %q holds a NaN or an infinity", ErrTensor, t.Name)
			}
		}
		if shapes[t.Name] != nil {
			return fmt.Errorf("%w %q occurs twice", ErrTensor, t.Name)
		}
		shapes[t.Name] = append([]int{}, t.Shape...)
	}
	if base == nil || base.Config().Architecture == nil {
		return nil
	}
	params, err := adapters.Layout(m.under(base.Shape()), m.counted(config))
	if err != nil {
		return err
	}
	for _, p := range params {
		got, ok := shapes[p.Name]
		if !ok {
			return fmt.Errorf("%w %q is missing", ErrTensor, p.Name)
		}
		if fmt.Sprint(got) != fmt.Sprint(p.Shape) {
			return fmt.Errorf("%w %q has shape %v, the base wants %v", ErrTensor, p.Name, got, p.Shape)
		}
	}
	return nil
}

// ggufFloat is the GGUF type of a float tensor.
func ggufFloat(d safetensors.DType) (gguf.Type, bool) {
	t, ok := map[safetensors.DType]gguf.Type{safetensors.F32: gguf.TypeF32, safetensors.F16: gguf.TypeF16, safetensors.BF16: gguf.TypeBF16}[d]
	return t, ok
}
