package adapters

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/gguf"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// allocated is what the result of f takes, with all that it keeps alive.
func allocated(f func() any) int {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // garbage is collected where it is looked at, and nowhere else
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	result := f()
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(result)
	return int(after.HeapAlloc) - int(before.HeapAlloc)
}

// repeated is text of that many bytes: what stands before, items, and what closes
// them.
func repeated(before string, item func(i int) string, after string, bytes int) string {
	var b strings.Builder
	b.WriteString(before)
	for i := 0; b.Len() < bytes; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(item(i))
	}
	return b.String() + after
}

// What is kept of a file that is all structure is within what is set aside for
// reading it.
func TestReadingIsBounded(t *testing.T) {
	const bytes = 512 << 10
	header := repeated("{", func(i int) string { return fmt.Sprintf(`"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i) }, "}", bytes)
	shape := repeated(`{"a":{"dtype":"F32","data_offsets":[0,0],"shape":[`, func(int) string { return "0" }, "]}}", bytes)
	for _, text := range []string{header, shape} {
		dir := t.TempDir()
		file := append(binary.LittleEndian.AppendUint64(nil, uint64(len(text))), text...)
		if err := os.WriteFile(filepath.Join(dir, SafeFile), file, 0o644); err != nil {
			t.Fatal(err)
		}
		took := allocated(func() any {
			tensors, err := readTensors(dir)
			if err != nil {
				t.Error(err)
			}
			return tensors
		})
		if most := ReadingBytes(dir); took > most || most > 40*len(file) {
			t.Errorf("%.20s… takes %d bytes, and %d are set aside", text, took, most)
		}
	}

	pattern := repeated(`{"peft_type":"LORA","r":8,"lora_alpha":8,"target_modules":["q"],"rank_pattern":{`, func(i int) string { return fmt.Sprintf(`"%x":1`, i) }, "}}", bytes/4)
	if took := allocated(func() any {
		c, err := ParseConfig([]byte(pattern))
		if err != nil {
			t.Error(err)
		}
		return c
	}); took > perConfigByte*len(pattern) {
		t.Errorf("a configuration of %d bytes takes %d", len(pattern), took)
	}

	for name, text := range map[string]string{
		"bpe":     repeated(`{"model":{"type":"BPE","merges":[],"vocab":{`, func(i int) string { return fmt.Sprintf(`"%x":%d`, i, i) }, "}}}", bytes),
		"merges":  repeated(`{"model":{"type":"BPE","vocab":{"a":0,"aa":1},"merges":[`, func(int) string { return `"a a"` }, "]}}", bytes),
		"unigram": repeated(`{"model":{"type":"Unigram","unk_id":0,"vocab":[`, func(i int) string { return fmt.Sprintf(`["%x",0]`, i) }, "]}}", bytes),
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "tokenizer.json"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		took := allocated(func() any {
			text, err := tokenizer.Load(dir)
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			return text
		})
		if most := perTokenizerByte * len(text); took > most {
			t.Errorf("%s: a tokenizer of %d bytes takes %d", name, len(text), took)
		}
	}
}

// What is kept of a file of llama.cpp's is within what is set aside for reading it: of
// one that is all values, widened or put into another order, and of one that is all
// structure.
func TestReadingGGUFIsBounded(t *testing.T) {
	write := func(add func(w *gguf.Writer)) string {
		path := filepath.Join(t.TempDir(), "a.gguf")
		w := gguf.NewWriter("llama")
		w.Set("general.type", "adapter")
		w.Set("adapter.type", "lora")
		add(w)
		if err := w.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		return path
	}
	pair := func(w *gguf.Writer, on string, as gguf.Type, of kernels.Format, wide, rank int) {
		stored := make([]byte, of.RowBytes(wide*rank))
		w.Add(on+".weight.lora_a", as, []int{wide, rank}, stored)
		w.Add(on+".weight.lora_b", as, []int{rank, wide}, stored)
	}
	const rank, wide = 32, 1 << 15
	for name, add := range map[string]func(w *gguf.Writer){
		"Q8_0": func(w *gguf.Writer) { pair(w, "blk.0.attn_q", gguf.TypeQ8_0, kernels.Q8_0, wide, rank) },
		"an embedding": func(w *gguf.Writer) {
			for _, factor := range []string{"a", "b"} {
				w.Add("token_embd.weight.lora_"+factor, gguf.TypeF32, []int{rank, wide}, make([]byte, 4*wide*rank))
			}
		},
		"many tensors": func(w *gguf.Writer) {
			for i := range 4096 {
				pair(w, fmt.Sprintf("blk.%d.attn_q", i), gguf.TypeF32, kernels.F32, 1, 1)
			}
		},
		"many ranks": func(w *gguf.Writer) { // of which each is a pattern, and each alpha
			for i := range 4096 {
				w.Add(fmt.Sprintf("blk.%d.attn_q.weight.lora_a", i), gguf.TypeF32, []int{0, 1 + i%2}, nil)
			}
		},
		"many keys": func(w *gguf.Writer) {
			pair(w, "blk.0.attn_q", gguf.TypeF32, kernels.F32, 1, 1)
			for i := range 1 << 15 {
				w.Set(fmt.Sprintf("%x", i), uint8(0))
			}
		},
	} {
		path := write(add)
		kept := allocated(func() any {
			f, err := Open(path)
			if err != nil {
				t.Error(err)
			}
			return f
		})
		if most := ReadingBytes(path); kept > most {
			t.Errorf("%s: %d bytes are kept, and %d are set aside", name, kept, most)
		}
	}
}

// Configurations beside an adapter's own are not read at any size.
func TestFilesBesideAreBounded(t *testing.T) {
	for _, name := range []string{generationFile, "tokenizer_config.json", "special_tokens_map.json"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o644), os.Truncate(path, maxBeside+1)); err != nil {
			t.Fatal(err)
		}
		if _, err := readEnds(dir); err == nil || !strings.Contains(err.Error(), name+" is too large: 16777217 bytes, more than 16777216") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// So many patterns are no adapter's.
func TestPatternsAreBounded(t *testing.T) {
	text := repeated(`{"peft_type":"LORA","r":8,"lora_alpha":8,"target_modules":["q"],"alpha_pattern":{`, func(i int) string { return fmt.Sprintf(`"%d":1`, i) }, "}}", 160<<10)
	if _, err := ParseConfig([]byte(text)); err == nil || !strings.Contains(err.Error(), "alpha_pattern has 1") || !strings.Contains(err.Error(), "at most 16384 are read") {
		t.Errorf("got %v", err)
	}
}
