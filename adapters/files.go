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

// fileNames are the files that make an adapter: its configuration and tensors, or a
// file of llama.cpp's that has both, what its classes are called, what it brings for its texts, and its card. What else lies in such a folder,
// a run's checkpoints and metrics, say, is no part of it.
var fileNames = []string{
	ConfigFile, SafeFile, TorchFile, ClassesFile, "[^.]*" + GGUFSuffix,
	"generation_config.json", "README.md",
	"tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt",
	"spiece.model", "sentencepiece.bpe.model",
	"chat_template.jinja", "chat_template.json", chat.TemplateFolder + "/*.jinja",
}

// IsFile reports whether a file of that name, with slashes, in a folder is a
// part of the adapter there. Such a name leads nowhere else, on any system.
func IsFile(name string) bool {
	return !strings.HasPrefix(name, "/") && !strings.ContainsAny(name, "\\:\x00") && slices.ContainsFunc(fileNames, func(pattern string) bool {
		ok, _ := path.Match(pattern, name) // the patterns are well-formed
		return ok
	})
}

// Chosen are those of a folder's files that are parts of the adapter as Open reads it
// there: of two forms of the tensors the one, and no file of llama.cpp's beside a
// configuration. There is a configuration, or one such file.
func Chosen(names []string) (files []string, err error) {
	configured := slices.Contains(names, ConfigFile)
	stored := ""
	for _, name := range names {
		switch {
		case !IsFile(name) || name == TorchFile && slices.Contains(names, SafeFile):
			continue
		case path.Ext(name) != GGUFSuffix:
		case configured:
			continue
		case stored != "":
			return nil, ambiguous(stored, name)
		default:
			stored = name
		}
		files = append(files, name)
	}
	if !configured && stored == "" {
		return nil, fmt.Errorf("%w: it has no %s and no %s file", ErrConfig, ConfigFile, GGUFSuffix)
	}
	return files, nil
}

// Files lists the files of the adapter in dir, with slashes, sorted: those that are
// Chosen.
func Files(dir string) (files []string, err error) {
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
	if files, err = Chosen(files); err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	slices.Sort(files)
	return files, nil
}
