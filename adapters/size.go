package adapters

import (
	"os"
	"path/filepath"

	"github.com/peft-serve/peft-serve/models"
)

// drawer is a Method of whose adapters a part is in no file: it is drawn from a
// seed, and may be many times as large as the files.
type drawer interface {
	drawn(base models.Model) (bytes int)
}

var _ drawer = (*vera)(nil)

// FolderBytes is the memory that reading the adapter in dir takes, as its files
// tell before they are read. The tensors' file is read whole. What is wrong with
// the folder shows when it is opened.
func FolderBytes(base models.Model, dir string) (bytes int) {
	for _, name := range []string{SafeFile, TorchFile} {
		if stat, err := os.Stat(filepath.Join(dir, name)); err == nil {
			bytes = int(stat.Size())
			break
		}
	}
	raw, _, err := readConfig(dir)
	if err != nil {
		return bytes
	}
	c, err := ParseConfig(raw)
	if err != nil {
		return bytes
	}
	if d, ok := c.Method.(drawer); ok {
		bytes += d.drawn(base)
	}
	return bytes
}
