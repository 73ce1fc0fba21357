package training

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestDigestOfTheBase: a value that differs anywhere in a small matrix, or in
// a norm, makes another base.
func TestDigestOfTheBase(t *testing.T) {
	base := openTiny(t, "llama-gqa")
	was := base.digest()
	sites := base.Model.Sites()
	w := sites[sites.Find("model.layers.0.self_attn.k_proj")].Linear.W
	norm := sites[sites.Find("model.norm")].Norm.Weight
	for name, v := range map[string]*float32{"matrix": &w.Floats()[w.Rows*w.Cols-1], "norm": &norm[len(norm)-1]} {
		own := *v
		*v++
		if base.digest() == was {
			t.Errorf("another last value of a %s is the same base", name)
		}
		*v = own
	}
	if base.digest() != was {
		t.Error("the same base has another digest")
	}
}

// TestOpenBytes: a GGUF file's contents are the base that the file is, and a run
// that trains all of it leaves them as they are.
func TestOpenBytes(t *testing.T) {
	path := filepath.Join("..", "builtin", "base.gguf")
	contents, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before := slices.Clone(contents)
	file, err := Open(path, BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	own, err := OpenBytes("within", contents, BaseConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	if own.digest() != file.digest() || own.Name != file.Name || own.End() != file.End() || own.Chat == nil {
		t.Errorf("%s %q %d, want %s %q %d", own.digest(), own.Name, own.End(), file.digest(), file.Name, file.End())
	}
	for _, p := range newBase(own.Model).all() {
		for i := range p.Value {
			p.Value[i]++
		}
	}
	if own.digest() == file.digest() {
		t.Error("nothing of it can be trained where it is")
	}
	if !bytes.Equal(contents, before) {
		t.Error("its bytes have been written to")
	}
	params := newBase(own.Model).all()
	for _, p := range params {
		p.Value = make([]float32, p.Len())
	}
	if err := asStored(own, params); err != nil {
		t.Fatal(err)
	}
	for _, want := range newBase(file.Model).tensors() {
		values := make([]float32, want.Len())
		want.decode(values)
		for _, p := range params {
			if p.Name == want.Name && !slices.Equal(p.Value, values) {
				t.Errorf("%s is not what is stored", p.Name)
			}
		}
	}
	if _, err := OpenBytes("within", contents[:100], BaseConfig{}); err == nil || !strings.Contains(err.Error(), "within") {
		t.Errorf("what is cut off: %v", err)
	}
}
