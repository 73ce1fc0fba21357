package merge

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/gguf"
)

// writeGGUF writes a GGUF file: the base's metadata and tensors, of which those
// that change are stored in DType where the base has them quantised.
func (j *job) writeGGUF(path string) error {
	base := j.source.GGUF
	w := gguf.NewWriter("")
	for _, key := range base.Keys() {
		if key != "general.alignment" && key != mergedKey && !strings.HasPrefix(key, "split.") {
			w.Copy(base, key)
		}
	}
	before, _ := base.String(mergedKey)
	mark, err := j.mark(before)
	if err != nil {
		return err
	}
	w.Set(mergedKey, mark)
	changed := map[string]parts{} // by the name in the file
	for _, name := range j.order {
		stored := j.source.Architecture.GGUFName(name)
		if changed[stored] == nil {
			changed[stored] = parts{}
		}
		expert, _ := j.source.Architecture.GGUFExpert(name)
		changed[stored][expert] = j.changes[name]
	}
	requantised, form, grown := 0, "", 0
	for _, t := range base.Tensors() {
		c := changed[t.Name]
		delete(changed, t.Name)
		f := t.Type
		if c != nil {
			own, err := t.Weight()
			if err != nil {
				return err
			}
			stored := own.Format
			if stored.BlockLen() > 1 || j.format != nil && len(t.Dims) > 1 {
				if stored, err = j.target(own.Format, t.Name); err != nil {
					return err
				}
			}
			f = gguf.TypeOf(stored)
			if own.Format.BlockLen() > 1 {
				requantised++
				form = own.Format.String()
				grown += own.Rows*stored.RowBytes(own.Cols) - len(own.Data)
			}
			w.AddFunc(t.Name, f, t.Dims, j.inParts(c, t.Name, own, stored))
		} else {
			w.AddFunc(t.Name, f, t.Dims, plain(t))
			j.report.Bytes += len(t.Data)
		}
		j.report.Tensors++
	}
	for _, name := range slices.Sorted(maps.Keys(changed)) { // new ones: biases, an untied head
		c := changed[name][0]
		f := kernels.F32
		if c.Suffix == ".weight" {
			if f, err = j.target(weightOf(j.model.Sites()[c.Site]).Format, c.name); err != nil {
				return err
			}
		}
		dims := c.shape()
		slices.Reverse(dims)
		w.AddFunc(name, gguf.TypeOf(f), dims, j.content(c, f))
		j.report.Tensors++
	}
	if requantised > 0 {
		j.loss(form, requantised, grown)
	}
	return w.WriteFile(path)
}

// content writes a computed tensor.
func (j *job) content(c *change, f kernels.Format) func(io.Writer) error {
	return func(out io.Writer) error {
		b, err := c.bytes(f, &j.drift)
		if err == nil {
			j.report.Bytes += len(b)
			_, err = out.Write(b)
		}
		return err
	}
}

// parts are the changes of one stored tensor: by expert where it holds a matrix
// for each, and otherwise one, 0.
type parts map[int]*change

// inParts writes a tensor, with the base's own in the place of parts that do not
// change.
func (j *job) inParts(changes parts, name string, own kernels.Weight, f kernels.Format) func(io.Writer) error {
	rows := own.Rows
	for _, c := range changes {
		rows = c.Rows // each has as many
	}
	return func(out io.Writer) error {
		for from := 0; from < own.Rows; from += rows {
			var b []byte
			var err error
			if c := changes[from/rows]; c != nil {
				b, err = c.bytes(f, &j.drift)
			} else {
				b, err = converted(name, own.Span(from, from+rows), f)
			}
			if err == nil {
				j.report.Bytes += len(b)
				_, err = out.Write(b)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// plain writes a tensor as it is stored, once it has been seen to be finite.
func plain(t gguf.Tensor) func(io.Writer) error {
	return func(out io.Writer) error {
		if w, err := t.Weight(); err == nil && !w.Empty() {
			if _, err := converted(t.Name, w, w.Format); err != nil {
				return err
			}
		}
		_, err := out.Write(t.Data)
		return err
	}
}

// fromSites lists the tensors of a base from a GGUF for a Hugging Face folder.
func (j *job) fromSites() ([]piece, error) {
	if _, err := j.source.FolderConfig(); err != nil {
		return nil, fmt.Errorf("%w: %w: name a file that ends in .gguf", ErrOutput, err)
	}
	var pieces []piece
	requantised, form, grown := 0, "", 0
	for site, s := range j.model.Sites() {
		for _, suffix := range []string{".weight", ".bias"} {
			c := j.changes[s.Name+suffix]
			if c == nil {
				if c = j.unchanged(site, s, suffix); c == nil {
					continue
				}
			}
			c.turned, c.order = s.Conv1D && suffix == ".weight", nil
			own := kernels.F32
			if suffix == ".weight" && s.Kind != models.NormSite {
				own = weightOf(s).Format
			}
			f, err := j.target(own, c.name)
			if err != nil {
				return nil, err
			}
			if own.BlockLen() > 1 {
				requantised++
				form = own.String()
				grown += c.Rows * (f.RowBytes(c.Cols) - own.RowBytes(c.Cols))
			}
			pieces = append(pieces, piece{c.name, dtypes[f], c.shape(), func() ([]byte, error) { return c.bytes(f, &j.drift) }})
		}
	}
	if requantised > 0 {
		j.loss(form, requantised, grown)
	}
	return pieces, nil
}

// unchanged is a tensor of the base as it is; nil where the site has none.
func (j *job) unchanged(site int, s models.Site, suffix string) *change {
	rows, cols := 1, 0
	switch {
	case s.Kind == models.SublayerSite, s.Head && j.model.Config().Tied && !j.untied:
		return nil
	case s.Kind == models.NormSite && suffix == ".weight":
		cols = len(s.Norm.Weight)
	case s.Kind == models.NormSite:
		cols = len(s.Norm.Bias)
	case suffix == ".weight":
		rows, cols = weightOf(s).Rows, weightOf(s).Cols
	case s.Kind == models.LinearSite:
		cols = len(s.Linear.Bias)
	}
	if cols == 0 {
		return nil
	}
	base := was(s, suffix)
	return &change{name: s.Name + suffix, base: base, Merged: adapters.Merged{Site: site, Suffix: suffix, Rows: rows, Cols: cols, Row: widened(base, cols)}}
}
