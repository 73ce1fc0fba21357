package adapters

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
)

// Precision is what the factors of an adapter are held in: its large matrices,
// which a decoding step reads whole. A factor is made smaller, never larger;
// vectors, biases, rows of tokens and what stands in for the base's own stay as
// they are stored.
type Precision uint8

const (
	AsStored Precision = iota // what the file has
	BF16                      // at most 16 bits, the upper half of a float32
	F16                       // at most 16 bits, IEEE 754 binary16
	Q8_0                      // 8 bits with a scale for each 32 values, as GGML has it
)

// precisions are their names, and the formats that they stand for.
var precisions = [...]struct {
	name   string
	format kernels.Format
}{
	AsStored: {"stored", kernels.F32}, BF16: {"bf16", kernels.BF16}, F16: {"f16", kernels.F16}, Q8_0: {"q8_0", kernels.Q8_0},
}

// Precisions lists the names that ParsePrecision reads.
func Precisions() []string {
	var names []string
	for _, p := range precisions {
		names = append(names, p.name)
	}
	return names
}

// ParsePrecision reads the name of a Precision.
func ParsePrecision(name string) (Precision, error) {
	for p, known := range precisions {
		if known.name == name {
			return Precision(p), nil
		}
	}
	return AsStored, fmt.Errorf("%q is none of %s", name, strings.Join(Precisions(), ", "))
}

func (p Precision) String() string { return precisions[p].name }

// format is what a factor is held in whose file has rows of cols values in the
// given format: that one, where p asks for nothing smaller, or cols is no whole
// number of blocks.
func (p Precision) format(stored kernels.Format, cols int) kernels.Format {
	f := precisions[p].format
	smaller := f.BlockBytes()*stored.BlockLen() < stored.BlockBytes()*f.BlockLen()
	if !smaller || cols%f.BlockLen() != 0 {
		return stored
	}
	return f
}

// LoadIn is Load with the factors in a precision: each is rounded once, here, to
// nearest, so that the adapter computes what one does whose file holds the
// rounded values. A value that the precision cannot hold is refused by name.
func LoadIn(m models.Model, f *Folder, p Precision) (*Adapter, error) {
	a, err := load(m, f, p)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Dir, err)
	}
	return a, nil
}

// rounds marks a factor.
func (p *Param) rounds() *Param {
	p.roundable = true
	return p
}

// heldIn is the format of p in memory, of a file that has the stored one.
func (b *Builder) heldIn(p *Param, stored kernels.Format) kernels.Format {
	if !p.roundable || p.Len() == 0 {
		return stored
	}
	_, cols := p.dims()
	return b.precision.format(stored, cols)
}

// rounding is a factor to be rounded into memory that is its own.
type rounding struct {
	p        *Param
	to, from kernels.Format
	data     []byte // of Weight
	file     []byte
}

// roundShare is the values that are worth a goroutine: another core may be busy.
const roundShare = 1 << 20

// roundAll rounds the factors, several at once where they are large.
func roundAll(all []rounding) error {
	faults := make([]error, len(all))
	values := 0
	for _, r := range all {
		values += r.p.Len()
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	some := func() {
		for i := int(next.Add(1)) - 1; i < len(all); i = int(next.Add(1)) - 1 {
			faults[i] = all[i].run()
		}
	}
	for range min(runtime.GOMAXPROCS(0), values/roundShare+1) - 1 {
		wait.Go(some)
	}
	some()
	wait.Wait()
	for _, err := range faults {
		if err != nil {
			return err
		}
	}
	return nil
}

// roundBand is how many rows of a transposed factor's file are widened at once:
// whole blocks of what is held.
const roundBand = 32

// run points the parameter's Weight at the rounded values. What it works in is a
// few rows.
func (r *rounding) run() error {
	rows, cols := r.p.dims()
	r.p.adopted = true
	r.p.Weight = kernels.NewWeight(r.to, rows, cols, r.data)
	var err error
	if r.p.Transposed {
		err = r.transposed(rows, cols)
	} else {
		err = r.straight(rows, cols)
	}
	if err == nil && notFinite(r.to, r.data) >= 0 { // a float format rounds to an infinity
		err = fmt.Errorf("a value above the largest of %s", r.to)
	}
	if err != nil {
		return fmt.Errorf("%w: %s cannot be held in %s: %w", ErrTensor, r.p.Name, strings.ToLower(r.to.String()), err)
	}
	return nil
}

// straight rounds row by row.
func (r *rounding) straight(rows, cols int) error {
	wide, size := make([]float32, cols), r.from.RowBytes(cols)
	for i := range rows {
		kernels.Decode(wide, r.from, r.file[i*size:])
		if err := kernels.Encode(r.p.Weight.Row(i), r.to, wide); err != nil {
			return err
		}
	}
	return nil
}

// transposed rounds what the file has as [cols, rows], by bands of its rows.
func (r *rounding) transposed(rows, cols int) error {
	band, run := kernels.NewMatrix(roundBand, rows), make([]float32, roundBand)
	size := r.from.RowBytes(rows)
	for from := 0; from < cols; from += roundBand {
		n := min(roundBand, cols-from)
		for i := range n {
			kernels.Decode(band.Row(i), r.from, r.file[(from+i)*size:])
		}
		at, bytes := r.to.RowBytes(from), r.to.RowBytes(n)
		for k := range rows {
			for i := range n {
				run[i] = band.Data[i*rows+k]
			}
			if err := kernels.Encode(r.p.Weight.Row(k)[at:at+bytes], r.to, run[:n]); err != nil {
				return err
			}
		}
	}
	return nil
}

// encodeRow sets row i of w to values that its format can hold.
func encodeRow(w kernels.Weight, i int, values []float32) {
	if err := kernels.Encode(w.Row(i), w.Format, values); err != nil {
		panic("adapters: " + err.Error())
	}
}
