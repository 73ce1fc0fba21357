package training

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Checkpoint files in the output folder.
const (
	lastCheckpoint = "checkpoint.safetensors.zst"
	bestCheckpoint = "best.safetensors.zst"
)

// Progress is where a run stands, beside its parameters and the optimizer's
// state. The place in the data, the random numbers and the active blocks
// follow from the step and the seed.
type Progress struct {
	Step    int     `json:"step"`
	Steps   int     `json:"steps"`    // that the run was to take
	Best    float64 `json:"best"`     // the best validation
	BestAt  int     `json:"best_at"`  // its step; 0: none yet
	SavedAt int     `json:"saved_at"` // the step of the last checkpoint; 0: none yet
	Stalled int     `json:"stalled"`  // validations since
	Tokens  int     `json:"tokens"`   // trained on
	Key     string  `json:"settings"` // what the run depends on: see Run.dependsOn

	Now time.Time `json:"now"` // when the run began: what chat templates are told

	Loss       float64 `json:"loss"`        // of the last step
	Seconds    float64 `json:"seconds"`     // that steps have taken
	Timed      int     `json:"timed"`       // tokens of those
	Trend      float64 `json:"trend"`       // running mean of the training loss
	KeptAt     int     `json:"kept_at"`     // the step of bestCheckpoint; 0: there is none
	KeptTrend  float64 `json:"kept_trend"`  // Trend of that step
	Scores     Scores  `json:"scores"`      // of the last validation
	ScoredAt   int     `json:"scored_at"`   // its step
	BestScores Scores  `json:"best_scores"` // of the best
}

// writeCheckpoint writes parameters, the optimizer's state and the progress,
// compressed: the old checkpoint stays until the new one is whole.
func writeCheckpoint(path string, params []*Parameter, o Optimizer, at Progress) error {
	var tensors []safetensors.Tensor
	steps := map[string]string{}
	for _, p := range params {
		if p.Value == nil {
			continue
		}
		tensors = append(tensors, safetensors.FromFloat32s("value/"+p.Name, []int{len(p.Value)}, p.Value))
		if o == nil {
			continue
		}
		s := o.State(p)
		if s == nil {
			continue
		}
		steps["step/"+p.Name] = strconv.Itoa(s.Step)
		for i, m := range s.Moments {
			tensors = append(tensors, safetensors.FromFloat32s(fmt.Sprintf("moment%d/%s", i, p.Name), []int{len(m)}, m))
		}
	}
	progress, err := json.Marshal(at)
	if err != nil {
		return err
	}
	steps["progress"] = string(progress)
	return disk.Replace(path, func(w io.Writer) error {
		z, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(1))
		if err != nil {
			return err
		}
		return errors.Join(safetensors.Write(z, tensors, steps), z.Close())
	})
}

// checkpoint is one that has been read.
type checkpoint struct {
	Progress
	path string
	file *safetensors.File
}

func readCheckpoint(path string) (*checkpoint, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	fault := func(err error) error {
		return fmt.Errorf("%s is damaged (%w): without it the run can only begin anew", path, err)
	}
	z, err := zstd.NewReader(f)
	if err != nil {
		return nil, fault(err)
	}
	defer z.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(z); err != nil {
		return nil, fault(err)
	}
	c := &checkpoint{path: path}
	if c.file, err = safetensors.Parse(path, b.Bytes()); err != nil {
		return nil, fault(err)
	}
	if err := json.Unmarshal([]byte(c.file.Metadata()["progress"]), &c.Progress); err != nil {
		return nil, fault(err)
	}
	return c, nil
}

// progressIn reads the progress of a checkpoint and nothing else.
func progressIn(path string) (p Progress, err error) {
	f, err := os.Open(path)
	if err != nil {
		return p, err
	}
	defer f.Close()
	z, err := zstd.NewReader(f)
	if err != nil {
		return p, err
	}
	defer z.Close()
	metadata, err := safetensors.ReadMetadata(z)
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal([]byte(metadata["progress"]), &p)
}

// restore sets parameters, and the state of o unless it is nil. Every tensor
// must find its parameter; open makes room for the values of one that has
// none.
func (c *checkpoint) restore(params []*Parameter, o Optimizer, open func(p *Parameter)) error {
	found := 0
	for _, p := range params {
		t, ok := c.file.Lookup("value/" + p.Name)
		if !ok {
			if len(p.Grad) > 0 {
				return fmt.Errorf("%s: %q is missing", c.path, p.Name)
			}
			continue
		}
		found++
		if p.Value == nil {
			open(p)
		}
		if err := c.copy(p.Value, t); err != nil {
			return err
		}
		step, ok := c.file.Metadata()["step/"+p.Name]
		if !ok || o == nil {
			continue
		}
		var s State
		var err error
		if s.Step, err = strconv.Atoi(step); err != nil {
			return fmt.Errorf("%s: %q: %w", c.path, p.Name, err)
		}
		for i := 0; ; i++ {
			m, ok := c.file.Lookup(fmt.Sprintf("moment%d/%s", i, p.Name))
			if !ok {
				break
			}
			v := make([]float32, m.Len())
			if err := c.copy(v, m); err != nil {
				return err
			}
			s.Moments = append(s.Moments, v)
		}
		if err := o.SetState(p, s); err != nil {
			return fmt.Errorf("%s: %q: %w", c.path, p.Name, err)
		}
	}
	for _, name := range c.file.Names() {
		if len(name) > 6 && name[:6] == "value/" {
			found--
		}
	}
	if found != 0 {
		return fmt.Errorf("%s: it is of another method: %d tensors are not trained here", c.path, -found)
	}
	return nil
}

func (c *checkpoint) copy(dst []float32, t safetensors.Tensor) error {
	format, ok := t.Format()
	if !ok {
		return fmt.Errorf("%s: %q is %s", c.path, t.Name, t.DType)
	}
	if t.Len() != len(dst) {
		return fmt.Errorf("%s: %q has %d values, want %d", c.path, t.Name, t.Len(), len(dst))
	}
	kernels.Decode(dst, format, t.Data)
	return nil
}
