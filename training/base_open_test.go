package training

import "testing"

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
