package pooling

import "fmt"

// Metadata is what FromGGUF asks of a GGUF file.
type Metadata interface {
	String(key string) (string, bool)
	Int(key string) (int, bool)
}

// ggufModes are llama.cpp's values of pooling_type (llama_pooling_type).
var ggufModes = map[int]Mode{1: Mean, 2: First, 3: Last}

// FromGGUF is the recipe of a GGUF file, which says how rows are pooled and no more:
// embeddings are normalised, as llama.cpp answers with them. It is nil where the file says
// nothing.
func FromGGUF(meta Metadata) (*Recipe, error) {
	name, _ := meta.String("general.architecture")
	key := name + ".pooling_type"
	n, ok := meta.Int(key)
	if !ok || n == 0 {
		return nil, nil
	}
	mode, ok := ggufModes[n]
	if !ok {
		return nil, fmt.Errorf("%w: %s is %d, which makes no embedding of a text (1: mean, 2: cls, 3: last)", ErrRecipe, key, n)
	}
	return &Recipe{Modes: []Mode{mode}, Normalize: true, Similarity: "cosine"}, nil
}
