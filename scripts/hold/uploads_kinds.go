package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/klauspost/compress/zstd"

	"github.com/peft-serve/peft-serve/adapters"
)

// uploadKind is a kind of archive that means harm.
type uploadKind struct {
	name string
	make func(o *uploading) []byte
}

// uploadKinds are tried one after the other.
var uploadKinds = []uploadKind{
	{"zstd windows", func(*uploading) []byte {
		return packZstd(map[string]content{adapters.SafeFile: {zeros: 2 << 20}}, 128<<20)
	}},
	{"zstd bomb", func(*uploading) []byte {
		return packZstd(map[string]content{adapters.SafeFile: {zeros: 1 << 30}}, 8<<20)
	}},
	{"gzip bomb", func(*uploading) []byte { return packGzip(map[string]content{adapters.SafeFile: {zeros: 1 << 30}}) }},
	{"zeros", func(o *uploading) []byte {
		const most = 60 << 20 // less than a bomb
		header := fmt.Appendf(nil, `{"base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}`, most/4, most)
		return o.packed(map[string]content{adapters.SafeFile: {text: safetensorsHead(header), zeros: most}})
	}},
	{"header", func(o *uploading) []byte {
		var header bytes.Buffer
		header.WriteString(`{"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`)
		for i := 0; header.Len() < 40<<20; i++ {
			fmt.Fprintf(&header, `,"%x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`, i)
		}
		header.WriteByte('}')
		return o.packed(map[string]content{adapters.SafeFile: {text: safetensorsHead(header.Bytes())}})
	}},
	{"tokenizer", func(o *uploading) []byte {
		var b bytes.Buffer
		b.WriteString(`{"version":"1.0","added_tokens":[],"model":{"type":"BPE","merges":[],"vocab":{"a":0`)
		for i := 1; b.Len() < 40<<20; i++ {
			fmt.Fprintf(&b, `,"%x.":%d`, i, i)
		}
		b.WriteString(`}}}`)
		return o.packed(map[string]content{"tokenizer.json": {text: b.Bytes()}})
	}},
	{"configuration", func(o *uploading) []byte {
		deep := strings.Repeat(`[`, 5000) + strings.Repeat(`]`, 5000)
		return o.packed(map[string]content{adapters.ConfigFile: {text: fmt.Appendf(nil, `{"peft_type":"LORA","r":4,"extra":[%s0]}`, strings.Repeat(deep+",", 100))}})
	}},
	{"patterns", func(o *uploading) []byte {
		var b bytes.Buffer
		b.WriteString(`{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":["q_proj","v_proj"],"rank_pattern":{"z":1`)
		for i := 0; b.Len() < 1<<20-128; i++ {
			fmt.Fprintf(&b, `,"(a|b?){30}(c|.*d)+%x":4`, i)
		}
		b.WriteString(`}}`)
		return o.packed(map[string]content{adapters.ConfigFile: {text: b.Bytes()}})
	}},
	{"tokenizer config", func(o *uploading) []byte {
		return o.packed(map[string]content{"tokenizer_config.json": {text: []byte(`{"chat_template":"` + strings.Repeat(`{% if a %}b{% endif %}`, 600_000) + `"}`)}})
	}},
	{"entries", func(o *uploading) []byte {
		files := map[string]content{}
		for i := range 100_000 {
			files[fmt.Sprintf("%d/%d/%d", i%10, i%1000, i)] = content{}
		}
		return o.packed(files)
	}},
}

// packed is the good adapter with some of its files replaced, or more of them.
func (o *uploading) packed(files map[string]content) []byte {
	all := maps.Clone(o.files)
	maps.Copy(all, files)
	return packGzip(all)
}

func safetensorsHead(header []byte) []byte {
	return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
}

// content is a text, and as many zeros after it.
type content struct {
	text  []byte
	zeros int64
}

func packGzip(files map[string]content) []byte {
	var b bytes.Buffer
	z, _ := gzip.NewWriterLevel(&b, gzip.BestSpeed)
	packTar(z, files)
	_ = z.Close()
	return b.Bytes()
}

func packZstd(files map[string]content, window int) []byte {
	var b bytes.Buffer
	z, err := zstd.NewWriter(&b, zstd.WithWindowSize(window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		panic(err) // no window of that size
	}
	packTar(z, files)
	_ = z.Close()
	return b.Bytes()
}

// packTar writes to memory, which does not fail.
func packTar(w io.Writer, files map[string]content) {
	archive := tar.NewWriter(w)
	zeros := make([]byte, 1<<20)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		f := files[name]
		_ = archive.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(f.text)) + f.zeros})
		_, _ = archive.Write(f.text)
		for left := f.zeros; left > 0; left -= int64(len(zeros)) {
			_, _ = archive.Write(zeros[:min(left, int64(len(zeros)))])
		}
	}
	_ = archive.Close()
}
