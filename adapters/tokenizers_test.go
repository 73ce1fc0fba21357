package adapters

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/internal/regular"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// A tokenizer's file that is far too large for the adapter's tokens is refused by
// name before it is read.
func TestTokenizerIsOfTheVocabulary(t *testing.T) {
	const vocabulary = 100
	f := &Folder{Dir: t.TempDir(), tokenizer: true}
	path := filepath.Join(f.Dir, "tokenizer.json")
	for size, large := range map[int64]bool{bytesBeside + bytesPerToken*vocabulary: false, bytesBeside + bytesPerToken*vocabulary + 1: true} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Truncate(path, size)); err != nil {
			t.Fatal(err)
		}
		_, err := NewTokenizers(new(tokenizer.Tokenizer), nil).of(f, vocabulary)
		if !errors.Is(err, ErrConfig) || errors.Is(err, regular.ErrSize) != large {
			t.Errorf("%d bytes: %v", size, err)
		}
		if large && !strings.Contains(err.Error(), "tokenizer.json is too large: 4219905 bytes, more than 4219904 for the adapter's 100 tokens") {
			t.Error(err)
		}
	}
}
