package plan

import (
	"fmt"
	"maps"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/training"
)

// Choice is a method and its settings, by the names of peft's and AdapterHub's
// keys. Zero values are the methods' own defaults.
type Choice struct {
	Method  string   // see Methods
	R       int      // rank of lora, dora and their like, and of galore; 8
	Alpha   float64  // lora_alpha; twice the rank
	Targets []string // target_modules; none: peft's default for the base
	Saved   []string // modules_to_save
	Dropout float64  // lora_dropout

	ReductionFactor float64 // of the bottlenecks; the paper's own
	LeaveOut        []int   // blocks without a bottleneck: AdapterDrop
	VirtualTokens   int     // of prefix and prompt tuning; 20

	LISALayers    int  // gamma, blocks trained at once; 2
	FreezeOutside bool // lisa, block-wise: embedding, final norm and head too
}

// Methods lists the methods that can be planned, in the order of a table.
var Methods = []string{
	"full", "lora", "rslora", "dora", "lora+", "bitfit", "houlsby", "pfeiffer", "parallel",
	"prefix", "prompt", "ia3", "lisa", "block-wise", "galore",
}

// bottlenecks holds AdapterHub's settings by method: DoubleSeqBnConfig,
// SeqBnConfig and ParBnConfig (adapters/configuration/adapter_config.py).
var bottlenecks = map[string]map[string]any{
	"houlsby":  {"mh_adapter": true, "output_adapter": true, "reduction_factor": 16, "non_linearity": "swish"},
	"pfeiffer": {"mh_adapter": false, "output_adapter": true, "reduction_factor": 16, "non_linearity": "relu", "original_ln_before": true},
	"parallel": {"mh_adapter": false, "output_adapter": true, "reduction_factor": 2, "non_linearity": "relu", "is_parallel": true, "scaling": 4.0},
}

// ErrMethod reports a method that cannot be planned on a base.
var ErrMethod = fmt.Errorf("method cannot be planned")

// Config is the adapter configuration of the choice; nil where the method
// trains the base itself.
func (c Choice) Config() (*adapters.Config, error) {
	values := map[string]any{"inference_mode": false}
	switch c.Method {
	case "full", "lisa", "block-wise", "galore":
		return nil, nil
	case "lora", "rslora", "dora", "lora+":
		values["peft_type"], values["r"] = "LORA", c.rank()
		values["lora_alpha"] = c.Alpha
		if c.Alpha == 0 {
			values["lora_alpha"] = 2 * c.rank()
		}
		values["use_rslora"], values["use_dora"] = c.Method == "rslora", c.Method == "dora"
	case "bitfit":
		values["peft_type"] = "BITFIT"
	case "ia3":
		values["peft_type"] = "IA3"
	case "prefix", "prompt":
		values["peft_type"], values["num_virtual_tokens"] = map[string]string{"prefix": "PREFIX_TUNING", "prompt": "PROMPT_TUNING"}[c.Method], c.virtual()
		values["task_type"] = "CAUSAL_LM"
	default:
		b, ok := bottlenecks[c.Method]
		if !ok {
			return nil, fmt.Errorf("%w: %q (known: %v)", ErrMethod, c.Method, Methods)
		}
		values["peft_type"] = "BOTTLENECK"
		maps.Copy(values, b)
		if c.ReductionFactor > 0 {
			values["reduction_factor"] = c.ReductionFactor
		}
		if len(c.LeaveOut) > 0 {
			values["leave_out"] = c.LeaveOut
		}
	}
	if len(c.Targets) > 0 {
		values["target_modules"] = training.Targets(c.Targets)
	}
	if len(c.Saved) > 0 {
		values["modules_to_save"] = c.Saved
	}
	return adapters.NewConfig(values)
}

func (c Choice) rank() int {
	if c.R == 0 {
		return 8
	}
	return c.R
}

func (c Choice) virtual() int {
	if c.VirtualTokens == 0 {
		return 20
	}
	return c.VirtualTokens
}
