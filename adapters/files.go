package adapters

import (
	"fmt"
	"io/fs"
	"math"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/chat"
)

// fileNames are the files that make an adapter: its configuration and tensors,
// what its classes are called, what it brings for its texts, and its card. What else lies in such a folder,
// a run's checkpoints and metrics, say, is no part of it.
var fileNames = []string{
	ConfigFile, SafeFile, TorchFile, ClassesFile,
	"generation_config.json", "README.md",
	"tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
	"spiece.model", "sentencepiece.bpe.model",
	"chat_template.jinja", "chat_template.json", chat.TemplateFolder + "/*.jinja",
}

// IsFile reports whether a file of that name, with slashes, in a folder is a
// part of the adapter there. Such a name leads nowhere else, on any system.
func IsFile(name string) bool {
	return !strings.ContainsAny(name, "\\:\x00") && slices.ContainsFunc(fileNames, func(pattern string) bool {
		ok, _ := path.Match(pattern, name) // the patterns are well-formed
		return ok
	})
}

// Files lists the files of the adapter in dir, with slashes, sorted. Of two
// forms of the tensors it is the one that Open reads.
func Files(dir string) ([]string, error) {
	var files []string
	for _, pattern := range fileNames {
		found, err := fs.Glob(os.DirFS(dir), pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range found {
			place := filepath.Join(dir, filepath.FromSlash(name))
			stat, err := os.Stat(place)
			switch {
			case err != nil:
				return nil, err
			case stat.IsDir():
				continue
			}
			if err := regular.Check(place, math.MaxInt64); err != nil {
				return nil, err
			}
			files = append(files, name)
		}
	}
	if !slices.Contains(files, ConfigFile) {
		return nil, fmt.Errorf("%w: %s has no %s", ErrConfig, dir, ConfigFile)
	}
	if slices.Contains(files, SafeFile) {
		files = slices.DeleteFunc(files, func(name string) bool { return name == TorchFile })
	}
	slices.Sort(files)
	return files, nil
}
