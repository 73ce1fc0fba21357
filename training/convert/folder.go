package convert

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/safetensors"
	"github.com/peft-serve/peft-serve/models/torchfile"
)

// prefix stands before a module's name in PEFT's tensors.
const prefix = "base_model.model."

// readConfig reads an adapter_config.json as it is.
func readConfig(dir string) (map[string]any, error) {
	path := filepath.Join(dir, adapters.ConfigFile)
	b, err := regular.Text(path, regular.Config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrConfig, err)
	}
	config, err := parseConfig(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrConfig, path, err)
	}
	return config, nil
}

// parseConfig parses a configuration, with its numbers as they are written.
func parseConfig(b []byte) (map[string]any, error) {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	config := map[string]any{}
	return config, dec.Decode(&config)
}

// readTensors reads the first of the named files that is there. Files called
// .safetensors are that; the others are torch's.
func readTensors(dir string, names ...string) ([]safetensors.Tensor, func() error, error) {
	for _, name := range names {
		path := filepath.Join(dir, name)
		if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if filepath.Ext(path) == ".safetensors" {
			f, err := safetensors.Open(path)
			if err != nil {
				return nil, nil, err
			}
			return slices.Collect(f.All()), f.Close, nil
		}
		f, err := torchfile.Open(path)
		if err != nil {
			return nil, nil, err
		}
		return slices.Collect(f.All()), f.Close, nil
	}
	return nil, nil, fmt.Errorf("%w: %s holds none of %v", ErrTensor, dir, names)
}

// readPEFT reads a PEFT folder.
func readPEFT(o Options) (*middle, error) {
	values, err := readConfig(o.From)
	if err != nil {
		return nil, err
	}
	m := &middle{values: values}
	m.tensors, m.close, err = readTensors(o.From, adapters.SafeFile, adapters.TorchFile)
	return m, err
}

// writePEFT writes a PEFT folder.
func (m *middle) writePEFT(to string, config *adapters.Config) error {
	return replace(to, func(dir string) error {
		if err := safetensors.WriteFile(filepath.Join(dir, adapters.SafeFile), m.tensors, safetensors.PyTorch()); err != nil {
			return err
		}
		if classes := config.ClassesJSON(); classes != nil {
			if err := disk.Write(filepath.Join(dir, adapters.ClassesFile), classes); err != nil {
				return err
			}
		}
		return disk.Write(filepath.Join(dir, adapters.ConfigFile), config.JSON())
	})
}

// replace makes a folder, which takes to's name once it is complete.
func replace(to string, fill func(dir string) error) error {
	var wrong error // with what was to be written
	err := disk.Make(to, func(made string) error {
		if err := disk.Mkdir(made); err != nil {
			return err
		}
		wrong = fill(made)
		return wrong
	})
	if err != nil && wrong == nil {
		return fmt.Errorf("%w: %w", ErrOutput, err)
	}
	return err
}

// alsoClose has another file closed with the rest.
func (m *middle) alsoClose(f func() error) {
	first := m.close
	m.close = func() error { return errors.Join(first(), f()) }
}

func isFile(path string) bool {
	stat, err := os.Stat(path)
	return err == nil && !stat.IsDir()
}
