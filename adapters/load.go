package adapters

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Load binds a folder to a base model. The Adapter holds copies of the
// tensors in stored precision, in one block of memory.
func Load(m models.Model, f *Folder) (*Adapter, error) { return LoadIn(m, f, AsStored) }

func load(m models.Model, f *Folder, in Precision) (*Adapter, error) {
	f, err := f.For(m)
	if err != nil {
		return nil, err
	}
	b, err := layOut(m, f.Config, f.tensors, in)
	if err != nil {
		return nil, err
	}
	if err := b.fill(f.tensors); err != nil {
		return nil, err
	}
	a := b.adapter()
	if err := b.derivable(); err != nil {
		return nil, err
	}
	a.digest, a.chatTemplate, a.sampling = f.digest, f.chatTemplate, f.sampling
	if b.rounded {
		a.precision = in
	}
	return a, nil
}

// layOut declares the parameters of an adapter whose file has the tensors, of which
// it reads names and shapes alone.
func layOut(m models.Model, c *Config, tensors map[string]safetensors.Tensor, in Precision) (*Builder, error) {
	b := newBuilder(bare(m, c, tensors), c)
	b.precision = in
	if err := b.underHead(); err != nil {
		return nil, err
	}
	if err := b.resize(tensors); err != nil {
		return nil, err
	}
	if err := b.countClasses(tensors); err != nil {
		return nil, err
	}
	return b, b.build()
}

// alignment is the boundary at which each parameter starts, in bytes.
const alignment = 64

func aligned(bytes int) int { return (bytes + alignment - 1) &^ (alignment - 1) }

// fill gives every parameter its tensor.
func (b *Builder) fill(tensors map[string]safetensors.Tensor) error {
	size, claimed := 0, map[string]bool{}
	var missing []string
	for _, p := range b.params {
		t, ok := tensors[p.Name]
		if !ok {
			if !p.optional {
				missing = append(missing, p.Name)
			}
			continue
		}
		claimed[p.Name] = true
		if err := b.check(p, t); err != nil {
			return err
		}
		format, _ := t.Format()
		size += aligned(b.heldIn(p, format).RowBytes(p.Len()))
	}
	if err := b.claimed(tensors, claimed, missing); err != nil {
		return err
	}
	memory := make([]byte, size)
	var round []rounding
	for _, p := range b.params {
		t, ok := tensors[p.Name]
		if !ok {
			continue
		}
		format, _ := t.Format()
		held := b.heldIn(p, format)
		n := held.RowBytes(p.Len())
		if held == format {
			p.adopt(format, memory[:n:n], t.Data)
		} else {
			round = append(round, rounding{p, held, format, memory[:n:n], t.Data})
		}
		memory = memory[aligned(n):]
		if p.optional {
			p.fold()
		}
	}
	if err := roundAll(round); err != nil {
		return err
	}
	b.rounded = b.rounded || len(round) > 0
	if err := b.shareTied(); err != nil {
		return err
	}
	return b.resized()
}

// claimed reports tensors that are missing and tensors that nobody claims.
func (b *Builder) claimed(tensors map[string]safetensors.Tensor, claimed map[string]bool, missing []string) error {
	if len(missing) > 0 {
		return fmt.Errorf("%w: missing: %s%s", ErrTensor, some(missing), madeFor(b.Config.Base))
	}
	var unexpected []string
	for name := range tensors {
		if !claimed[name] {
			unexpected = append(unexpected, name)
		}
	}
	if len(unexpected) == 0 {
		return nil
	}
	slices.Sort(unexpected)
	return fmt.Errorf("%w: unexpected: %s", ErrTensor, some(unexpected))
}

// some lists the first few names, in quotes where one would not be seen.
func some(names []string) string {
	names = slices.Clone(names)
	for i, name := range names {
		if name == "" || strconv.Quote(name) != `"`+name+`"` {
			names[i] = strconv.Quote(name)
		}
	}
	if len(names) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

// check holds a file's tensor against its parameter.
func (b *Builder) check(p *Param, t safetensors.Tensor) error {
	format, ok := t.Format()
	if !ok {
		return fmt.Errorf("%w: %s is of type %s, want F32, F16 or BF16", ErrTensor, p.Name, t.DType)
	}
	for _, said := range p.said {
		if n, ok := said.contradicts(p.Shape, t.Shape); ok {
			return fmt.Errorf("%w: %s says %s, %s has %s", ErrTensor, ConfigFile, said.text, p.Name, fmt.Sprintf(said.has, n))
		}
	}
	if !slices.Equal(t.Shape, p.Shape) {
		return b.unfit(p.Name, t.Shape, p.Shape)
	}
	if i := notFinite(format, t.Data); i >= 0 {
		return fmt.Errorf("%w: %s holds a NaN or an infinity, element %d", ErrTensor, p.Name, i)
	}
	return nil
}

// unfit is what is wrong with a tensor of another shape.
func (b *Builder) unfit(name string, got, want []int) error {
	beside := ""
	if b.resizer != "" && name != b.resizer {
		beside = fmt.Sprintf(" beside the %d rows of %s", b.vocabulary, b.resizer)
	}
	if b.scores != "" && strings.TrimSuffix(b.scores, ".weight") == strings.TrimSuffix(name, ".bias") {
		beside = fmt.Sprintf(" beside the %d rows of %s", b.classes, b.scores)
	}
	return fmt.Errorf("%w: %w: %s has shape %v, and the base at hand wants %v%s%s", ErrBase, ErrTensor, name, got, want, beside, madeFor(b.Config.Base))
}

// madeFor names the base that a configuration names.
func madeFor(base string) string {
	if base == "" {
		return ""
	}
	return fmt.Sprintf(" (the adapter was made for %q)", base)
}

// notFinite returns the index of the first element that is NaN or infinite,
// whose exponent is all ones; -1 where there is none.
func notFinite(f kernels.Format, data []byte) int {
	switch f {
	case kernels.F32:
		for i := 3; i < len(data); i += 4 {
			if data[i]&0x7f == 0x7f && data[i-1]&0x80 != 0 {
				return i / 4
			}
		}
	case kernels.F16:
		for i := 1; i < len(data); i += 2 {
			if data[i]&0x7c == 0x7c {
				return i / 2
			}
		}
	case kernels.BF16:
		for i := 1; i < len(data); i += 2 {
			if data[i]&0x7f == 0x7f && data[i-1]&0x80 != 0 {
				return i / 2
			}
		}
	}
	return -1
}

// shareTied gives both of two tied embeddings the weight that the file holds
// for one of them, and refuses them different ones.
func (b *Builder) shareTied() error {
	in := b.input()
	out := b.tied(in)
	if out < 0 || b.embeddings[in] == nil || b.linears[out] == nil {
		return nil
	}
	if t := b.embeddings[in].tokens; t != nil && t.twin.Present() && !bytes.Equal(t.twin.Weight.Data, t.rows.Weight.Data) {
		return fmt.Errorf("%w: its embeddings are tied, %s and %s differ", ErrBase, t.rows.Name, t.twin.Name)
	}
	table, head := b.embeddings[in].table, b.linears[out].weight
	switch {
	case table == nil || head == nil || !table.optional || !head.optional:
	case table.replaces() && !head.Present():
		b.linears[out].weight = table
	case head.replaces() && !table.Present():
		b.embeddings[in].table = head
	case table.Present() && head.Present() && !bytes.Equal(table.Weight.Data, head.Weight.Data):
		return fmt.Errorf("%w: its embeddings are tied, %s and %s differ", ErrBase, table.Name, head.Name)
	}
	return nil
}

// derivable checks what the deltas derive from their parameters.
func (b *Builder) derivable() error {
	for site, d := range b.linears {
		for _, c := range d.deltas {
			if g, ok := c.(interface{ derivable() error }); ok {
				if err := g.derivable(); err != nil {
					return fmt.Errorf("%w: %s: %w", ErrTensor, b.Sites[site].Name, err)
				}
			}
		}
	}
	return nil
}
