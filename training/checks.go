package training

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/models"
)

// Groups of methods that read the same settings.
var (
	lowRank     = []string{"lora", "rslora", "dora", "lora+"}
	bottlenecks = []string{"houlsby", "pfeiffer", "parallel"}
	targeting   = append([]string{"ia3", "bitfit"}, lowRank...)
	wholeModel  = []string{"full", "lisa", "block-wise", "galore"}
	anyAdapter  = append(append([]string{"prefix", "prompt"}, bottlenecks...), targeting...)
)

// readers tells which methods a setting of MethodConfig means something to.
var readers = map[string][]string{
	"r": lowRank, "lora-alpha": lowRank, "lora-dropout": append(slices.Clone(bottlenecks), lowRank...), "target-modules": targeting,
	"exclude-modules": targeting, "layers-to-transform": lowRank, "rank-pattern": lowRank, "alpha-pattern": lowRank,
	"modules-to-save": anyAdapter, "bias": lowRank, "use-rslora": lowRank, "use-dora": lowRank, "init-lora-weights": lowRank,
	"loraplus-lr-ratio": lowRank, "loraplus-lr-embedding": lowRank, "loraplus-weight-decay": lowRank,
	"reduction-factor": bottlenecks, "non-linearity": bottlenecks, "scaling": bottlenecks, "init-weights": bottlenecks,
	"adapter-drop": bottlenecks, "adapter-drop-random": bottlenecks, "num-virtual-tokens": {"prefix", "prompt"},
	"zero-biases": {"bitfit"}, "lisa-layers": {"lisa"}, "lisa-interval": {"lisa"}, "block-order": {"block-wise"},
	"block-interval": {"block-wise"}, "freeze-embeddings": {"lisa", "block-wise"}, "galore-rank": {"galore"},
	"galore-update-proj-gap": {"galore"}, "galore-scale": {"galore"}, "dtype": wholeModel,
}

// notOfTheAdapter are the settings that hold beside an adapter to go on from;
// all else is the adapter's own.
var notOfTheAdapter = []string{"lora-dropout", "loraplus-lr-ratio", "loraplus-lr-embedding", "loraplus-weight-decay", "adapter-drop-random"}

// flagName is a setting's name on the command line and in recipes.
func flagName(f reflect.StructField) string {
	if name := f.Tag.Get("name"); name != "" {
		return name
	}
	var b strings.Builder
	for i, c := range f.Name {
		if unicode.IsUpper(c) && i > 0 {
			b.WriteByte('-')
		}
		b.WriteRune(unicode.ToLower(c))
	}
	return b.String()
}

// idle lists the settings that were given and that the method does not read.
func (c *Config) idle() []string {
	var flags []string
	v := reflect.ValueOf(c.MethodConfig)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		name := flagName(f)
		if v.Field(i).IsZero() || fmt.Sprint(v.Field(i)) == f.Tag.Get("default") {
			continue
		}
		if rate, err := strconv.ParseFloat(f.Tag.Get("default"), 64); err == nil && f.Type.Kind() == reflect.Float64 && rate == v.Field(i).Float() {
			continue // 1e-6 is 1e-06
		}
		if !slices.Contains(readers[name], c.Method) || c.InitAdapter != "" && !slices.Contains(notOfTheAdapter, name) {
			flags = append(flags, "--"+name)
		}
	}
	return flags
}

// noteIdle says which settings change nothing: a recipe may hold those of
// other methods.
func (r *Run) noteIdle() {
	if n, all := r.projected(r.Base.Model); r.Method == "galore" && n < all {
		r.observer.Note("galore: %d of the blocks' %d matrices have no more than --galore-rank %d rows or columns: they train as with full", all-n, all, r.GaloreRank)
	}
	flags := r.idle()
	if len(flags) == 0 {
		return
	}
	with := "--method " + r.Method
	if r.InitAdapter != "" {
		with = "--init-adapter, whose own settings hold"
	}
	r.observer.Note("without effect: %s (with %s)", strings.Join(flags, ", "), with)
}

// fits reports what is wrong with the settings of a method on a base.
func (c *Config) fits(m models.Model) error {
	layers := m.Config().Layers
	outside := func(layer int) bool { return layer < 0 || layer >= layers }
	projected, _ := c.projected(m)
	switch {
	case c.Method == "lisa" && c.Gamma > layers:
		return fmt.Errorf("--lisa-layers: %d, the base has %d blocks", c.Gamma, layers)
	case c.Method == "galore" && projected == 0:
		return fmt.Errorf("--galore-rank: %d is not below the sides of any of the blocks' matrices: no gradient would be projected", c.GaloreRank)
	case slices.Contains(bottlenecks, c.Method) && c.AdapterDrop >= layers:
		return fmt.Errorf("--adapter-drop: %d would leave no adapter in %d blocks", c.AdapterDrop, layers)
	case slices.Contains(bottlenecks, c.Method) && c.AdapterDropMax >= layers:
		return fmt.Errorf("--adapter-drop-random: %d would leave no adapter in %d blocks", c.AdapterDropMax, layers)
	case slices.Contains(lowRank, c.Method) && slices.ContainsFunc(c.Layers, outside):
		return fmt.Errorf("--layers-to-transform: %d is no block: the base has 0 to %d", c.Layers[slices.IndexFunc(c.Layers, outside)], layers-1)
	case c.Method == "bitfit" && !c.ZeroBiases && c.InitAdapter == "" && !biased(m):
		return errors.New("--method bitfit: the base has no biases to train; --zero-biases gives its Linear modules biases that begin as zero")
	case slices.Contains(lowRank, c.Method) && c.Bias != "none" && c.InitAdapter == "" && !biased(m):
		return fmt.Errorf("--bias %s: the base has no biases to train", c.Bias)
	}
	return nil
}

// projected counts the blocks' matrices, and those that GaLore projects.
func (c *Config) projected(m models.Model) (n, all int) {
	for _, s := range m.Sites() {
		if s.Kind != models.LinearSite || s.Head {
			continue
		}
		if all++; min(s.Linear.W.Rows, s.Linear.W.Cols) > c.GaloreRank {
			n++
		}
	}
	return n, all
}

// biased reports whether a module of the base has a bias.
func biased(m models.Model) bool {
	return slices.ContainsFunc(m.Sites(), func(s models.Site) bool {
		return s.Kind == models.LinearSite && len(s.Linear.Bias) > 0 || s.Kind == models.NormSite && len(s.Norm.Bias) > 0
	})
}

// madeBy reports whether an adapter is what the method would make.
func (c *Config) madeBy(a *adapters.Adapter) error {
	is, want := a.Method(), []string{c.Method}
	switch {
	case c.DoRA && slices.Contains(lowRank, c.Method):
		want = []string{"dora"}
	case c.RSLoRA && slices.Contains(lowRank, c.Method):
		want = []string{"rslora"}
	case c.Method == "lora+":
		want = []string{"lora", "rslora", "dora"}
	case c.Method == "bitfit":
		want = []string{"bitfit", "beft"}
	case slices.Contains(bottlenecks, c.Method):
		want = []string{"bottleneck"}
	case c.Method == "prefix", c.Method == "prompt":
		want = []string{c.Method + "-tuning"}
	}
	if b, ok := a.Config().Method.(interface{ Placement() string }); ok && want[0] == is {
		is, want = b.Placement(), []string{c.Method}
	}
	if !slices.Contains(want, is) {
		return fmt.Errorf("--init-adapter: %s is of method %s, not %s: --method has to say so", c.InitAdapter, is, strings.Join(want, " or "))
	}
	return nil
}
