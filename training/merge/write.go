package merge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// mergedKey is where a merged model names the adapters it holds, by digest: in
// the metadata of its files.
const mergedKey = "peft_serve.merged"

// warnDrift is the share of the adapter's change that may be lost to rounding
// without a warning.
const warnDrift = 0.1

// piece is one tensor of the result.
type piece struct {
	name  string
	dtype safetensors.DType
	shape []int
	bytes func() ([]byte, error)
}

func (p piece) size() int { return safetensors.Tensor{Shape: p.shape}.Len() * p.dtype.Size() }

// write makes the result, verifies it and gives it its name.
func (j *job) write() error {
	return beside(j.Output, j.fill)
}

// beside has fill write to a path beside output, and gives what is there
// output's name.
func beside(output string, fill func(made string) error) error {
	var wrong error // with what was to be written
	err := disk.Make(output, func(made string) error {
		wrong = fill(made)
		return wrong
	})
	if err != nil && wrong == nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return err
}

// fill writes the result to a path and verifies it.
func (j *job) fill(made string) (err error) {
	if j.source.GGUF != nil && strings.HasSuffix(j.Output, ".gguf") {
		err = j.writeGGUF(made)
	} else {
		err = j.writeFolder(made)
	}
	if err != nil {
		return err
	}
	j.report.Changed = slices.Sorted(slices.Values(j.order))
	j.report.Drift, j.report.Largest = j.drift.share(), j.drift.largest
	if j.report.Drift > warnDrift {
		j.report.Warnings = append(j.report.Warnings, fmt.Sprintf("rounding to 16 bits loses %.0f %% of what the adapter changes (Frobenius): "+
			"--dtype f32, or f16 in place of bf16, keeps it", 100*j.report.Drift))
	}
	return j.verify(made)
}

// mark returns the digests that the result is to name, given those that the
// base names.
func (j *job) mark(before string) (string, error) {
	digest := j.adapter.Digest()
	if slices.Contains(strings.Fields(before), digest) {
		return "", fmt.Errorf("%w: %s holds %s", ErrAgain, j.Base, digest)
	}
	return strings.TrimSpace(before + " " + digest), nil
}

// target is the format of a tensor in the result, given its own.
func (j *job) target(own kernels.Format, name string) (kernels.Format, error) {
	if j.format != nil {
		return *j.format, nil
	}
	if own.BlockLen() > 1 {
		return own, fmt.Errorf("%w: %s is %s, and weights with an adapter in them cannot keep that form exactly: "+
			"--dtype f16 (or bf16, f32) writes them in that precision; merging into the unquantised model loses less", ErrQuantised, name, own)
	}
	return own, nil
}

// loss warns of what a quantised base means for the result.
func (j *job) loss(form string, tensors, grown int) {
	j.report.Warnings = append(j.report.Warnings, fmt.Sprintf(
		"%d tensors were %s and are %s now: what that form lost of the original weights stays lost, the result is %.1f MB larger, "+
			"and quantising it again would round the adapter away in part; merge into the unquantised model where you have it",
		tensors, form, strings.ToLower(j.DType), float64(grown)/1e6))
}

var dtypes = map[kernels.Format]safetensors.DType{kernels.F32: safetensors.F32, kernels.F16: safetensors.F16, kernels.BF16: safetensors.BF16}

// converted returns stored values in another float format; the same bytes
// where it is the same. A NaN or an infinity is an error.
func converted(name string, w kernels.Weight, f kernels.Format) ([]byte, error) {
	row := make([]float32, w.Cols)
	var out []byte
	if w.Format != f {
		out = make([]byte, w.Rows*f.RowBytes(w.Cols))
	}
	for i := range w.Rows {
		kernels.Decode(row, w.Format, w.Row(i))
		if !kernels.Finite(row) {
			return nil, fmt.Errorf("%w: tensor %q of the base holds a NaN or an infinity in row %d", ErrNotFinite, name, i)
		}
		if out == nil {
			continue
		}
		dst := out[i*f.RowBytes(w.Cols):][:f.RowBytes(w.Cols)]
		if err := kernels.Encode(dst, f, row); err != nil {
			return nil, fmt.Errorf("tensor %q: %w", name, err)
		}
		kernels.Decode(row, f, dst)
		if !kernels.Finite(row) {
			return nil, fmt.Errorf("%w: tensor %q of the base does not fit %s in row %d", ErrNotFinite, name, f, i)
		}
	}
	if out == nil {
		return w.Data, nil
	}
	return out, nil
}
