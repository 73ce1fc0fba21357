package gguf

import (
	"fmt"
	"regexp"
)

// The metadata of a split model (llama.cpp, tools/gguf-split).
const (
	keySplitNo      = "split.no"
	keySplitCount   = "split.count"
	keySplitTensors = "split.tensors.count"
)

var splitName = regexp.MustCompile(`^(.*)-(\d{5})-of-(\d{5})\.gguf$`)

// openSplit opens all parts of the model of which path, already mapped, is
// one. The first part's metadata is the model's.
func (f *File) openSplit(path string, parts int) error {
	name := splitName.FindStringSubmatch(path)
	if name == nil || name[3] != fmt.Sprintf("%05d", parts) {
		return fmt.Errorf("%s: %w: one of %d parts should be named …-00001-of-%05d.gguf", path, ErrInvalid, parts, parts)
	}
	if err := f.Close(); err != nil { // start over, in order
		return err
	}
	f.byName = map[string]int{}
	want := 0
	for i := range parts {
		path := fmt.Sprintf("%s-%05d-of-%05d.gguf", name[1], i+1, parts)
		p, err := f.mapped(path)
		if err != nil {
			return fmt.Errorf("part %d of %d: %w", i+1, parts, err)
		}
		this := &File{values: p.values}
		if no, _ := this.Int(keySplitNo); no != i {
			return fmt.Errorf("%s: %w: it says it is part %d, not %d", path, ErrInvalid, no+1, i+1)
		}
		if count, _ := this.Int(keySplitCount); count != parts {
			return fmt.Errorf("%s: %w: it says it is one of %d parts, not of %d", path, ErrInvalid, count, parts)
		}
		if i == 0 {
			f.head(p)
			want, _ = f.Int(keySplitTensors)
		}
		if err := f.add(path, p); err != nil {
			return err
		}
	}
	if want > 0 && want != len(f.tensors) {
		return fmt.Errorf("%s: %w: %d tensors in %d parts, want %d", f.path, ErrInvalid, len(f.tensors), parts, want)
	}
	return nil
}
