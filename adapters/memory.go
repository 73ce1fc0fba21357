package adapters

import (
	"fmt"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// OpenBytes is Open of the contents of an adapter_config.json and of an
// adapter_model.safetensors, with nothing beside them. name is what errors call
// it. The tensors are read where they are, and stay as they are.
func OpenBytes(name string, config, tensors []byte) (*Folder, error) {
	f, err := openBytes(name, config, tensors)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

func openBytes(name string, config, tensors []byte) (*Folder, error) {
	c, err := ParseConfig(config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ConfigFile, err)
	}
	file, err := safetensors.Parse(SafeFile, tensors)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrTensor, err)
	}
	f := &Folder{Dir: name, Config: c, tensors: map[string]safetensors.Tensor{}}
	for t := range file.All() {
		f.tensors[t.Name] = t
	}
	dropCopies(f.tensors)
	f.digest = digest(c, f.tensors)
	return f, nil
}
