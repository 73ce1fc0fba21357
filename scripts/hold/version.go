package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/adapters"
)

// version is one of many adapters for the tiny base, no two of which have the
// same digest.
type version struct {
	digest  string
	archive []byte // as it is uploaded
}

// versions makes n of them out of a golden adapter: each scales it otherwise.
func versions(root, scratch string, n int) ([]version, error) {
	golden := filepath.Join(root, "testdata", "goldens", "llama", "adapters", "lora")
	config, err := os.ReadFile(filepath.Join(golden, adapters.ConfigFile))
	if err != nil {
		return nil, err
	}
	tensors, err := os.ReadFile(filepath.Join(golden, adapters.SafeFile))
	if err != nil {
		return nil, err
	}
	all := make([]version, n)
	for i := range all {
		own := bytes.Replace(config, []byte(`"lora_alpha": 8`), fmt.Appendf(nil, `"lora_alpha": %d`, i+1), 1)
		if all[i], err = newVersion(scratch, map[string][]byte{adapters.ConfigFile: own, adapters.SafeFile: tensors}); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func newVersion(scratch string, files map[string][]byte) (v version, err error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	archive := tar.NewWriter(z)
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(scratch, name), content, 0o644); err != nil {
			return v, err
		}
		if err := archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			return v, err
		}
		if _, err := archive.Write(content); err != nil {
			return v, err
		}
	}
	if err := archive.Close(); err != nil {
		return v, err
	}
	if err := z.Close(); err != nil {
		return v, err
	}
	folder, err := adapters.Open(scratch)
	if err != nil {
		return v, err
	}
	return version{folder.Digest(), b.Bytes()}, nil
}
