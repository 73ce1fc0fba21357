package safetensors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The golden files are the Python library's: testdata/safetensors/goldens.py.
func openFile(t testing.TB, path string) *File {
	t.Helper()
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func TestReadReference(t *testing.T) {
	f := openFile(t, "testdata/types.safetensors")
	if got := f.Metadata(); !maps.Equal(got, PyTorch()) {
		t.Errorf("metadata %v", got)
	}
	if f.Len() != 20 || !slices.IsSorted(f.Names()) {
		t.Errorf("%d tensors: %q", f.Len(), f.Names())
	}
	want := []float32{0, 1, 2, 1, 0.5, 4}
	for name, dtype := range map[string]DType{
		"float64": F64, "float32": F32, "float16": F16, "bfloat16": BF16, "int64": I64, "int32": I32, "int16": I16,
		"int8": I8, "uint8": U8, "bool": Bool, "uint16": U16, "uint32": U32, "uint64": U64, "complex64": C64,
		"float8_e4m3fn": F8E4M3, "float8_e5m2": F8E5M2, "float8_e8m0fnu": F8E8M0,
	} {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Error(err)
			continue
		}
		if tensor.DType != dtype || !slices.Equal(tensor.Shape, []int{2, 3}) || len(tensor.Data) != 6*dtype.Size() {
			t.Errorf("%s: %s %v, %d bytes", name, tensor.DType, tensor.Shape, len(tensor.Data))
		}
		got, err := tensor.Float32s()
		switch dtype {
		case F64, F32, F16, BF16:
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		default:
			if !errors.Is(err, ErrType) || !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %v, %v", name, got, err)
			}
		}
	}
	if scalar, _ := f.Lookup("scalar"); scalar.Len() != 1 || len(scalar.Shape) != 0 {
		t.Errorf("scalar: %v", scalar.Shape)
	} else if v, err := scalar.Float32s(); err != nil || v[0] != -2.5 {
		t.Errorf("scalar = %v, %v", v, err)
	}
	if empty, _ := f.Lookup("empty"); !slices.Equal(empty.Shape, []int{0, 7}) || len(empty.Data) != 0 {
		t.Errorf("empty: %v", empty.Shape)
	}
	if _, err := f.Tensor("absent"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `"absent"`) || !strings.Contains(err.Error(), "types.safetensors") {
		t.Errorf("an absent tensor gave %v", err)
	}
}

func TestWeight(t *testing.T) {
	for _, c := range []struct {
		shape      []int
		rows, cols int
	}{{nil, 1, 1}, {[]int{6}, 1, 6}, {[]int{2, 3}, 2, 3}, {[]int{2, 3, 4}, 2, 12}, {[]int{0, 3}, 0, 3}} {
		values := make([]float32, Tensor{Shape: c.shape}.Len())
		w, err := FromFloat32s("t", c.shape, values).Weight()
		if err != nil || w.Rows != c.rows || w.Cols != c.cols {
			t.Errorf("%v: %d × %d, %v", c.shape, w.Rows, w.Cols, err)
		}
	}
	if _, err := (Tensor{Name: "n", DType: I64, Shape: []int{1}, Data: make([]byte, 8)}).Weight(); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), `"n"`) {
		t.Errorf("got %v", err)
	}
}

// TestRewriteIsByteIdentical demands the Python library's own bytes.
func TestRewriteIsByteIdentical(t *testing.T) {
	for _, path := range []string{"testdata/types.safetensors", "testdata/sharded/model-00001-of-00002.safetensors"} {
		f := openFile(t, path)
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		tensors := slices.Collect(f.All())
		slices.Reverse(tensors)
		again := filepath.Join(t.TempDir(), "again.safetensors")
		if err := WriteFile(again, tensors, f.Metadata()); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(again)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: written\n%q\nwant\n%q", path, got, want)
		}
	}
}

func TestWriteEmptyAndNoMetadata(t *testing.T) {
	var b bytes.Buffer
	if err := Write(&b, nil, nil); err != nil {
		t.Fatal(err)
	}
	if f, err := Parse("empty", b.Bytes()); err != nil || f.Len() != 0 || b.Len()%8 != 0 {
		t.Errorf("%q: %v", b.Bytes(), err)
	}
}

func TestWriteFaults(t *testing.T) {
	one := FromFloat32s("one", []int{1}, []float32{1})
	for want, tensors := range map[string][]Tensor{
		`"one" occurs twice`:          {one, one},
		`"__metadata__" occurs twice`: {{Name: "__metadata__", DType: F32, Shape: []int{0}}},
		`unknown type "F4"`:           {{Name: "x", DType: "F4", Shape: []int{2}, Data: []byte{0}}},
		"too large":                   {{Name: "x", DType: F32, Shape: []int{1 << 40, 1 << 40}}},
		"3 bytes for F32 [1], want 4": {{Name: "x", DType: F32, Shape: []int{1}, Data: make([]byte, 3)}},
		"not UTF-8":                   {{Name: "\xff", DType: F32, Shape: []int{0}}},
	} {
		if err := Write(io.Discard, tensors, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	path := filepath.Join(t.TempDir(), "kept")
	if err := WriteFile(path, []Tensor{one}, nil); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("broken")
	err := WriteFileFunc(path, []Tensor{one}, nil, func(io.Writer, Tensor) error { return broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), `"one"`) || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if f := openFile(t, path); f.Len() != 1 {
		t.Error("the file that was there is gone")
	}
}

func TestSharded(t *testing.T) {
	f, err := OpenFolder("testdata/sharded")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if want := []string{"a.weight", "b.weight", "c.weight"}; !slices.Equal(f.Names(), want) {
		t.Errorf("names %q, want %q", f.Names(), want)
	}
	b, _ := f.Lookup("b.weight")
	if v, err := b.Float32s(); err != nil || !slices.Equal(v, []float32{0, 1, 2, 3, 4, 5}) {
		t.Errorf("b.weight = %v, %v", v, err)
	}
	if !maps.Equal(f.Metadata(), PyTorch()) {
		t.Errorf("metadata %v", f.Metadata())
	}
}

func TestShardedFaults(t *testing.T) {
	const shard = "model-00001-of-00002.safetensors"
	for name, c := range map[string]struct {
		index string
		want  []string
	}{
		"missing shard":     {`{"weight_map":{"a.weight":"` + shard + `","x":"gone.safetensors"}}`, []string{"gone.safetensors"}},
		"missing tensor":    {`{"weight_map":{"a.weight":"` + shard + `","x.weight":"` + shard + `"}}`, []string{"x.weight", shard}},
		"outside":           {`{"weight_map":{"a.weight":"../` + shard + `"}}`, []string{"a.weight", "not a file name"}},
		"parent":            {`{"weight_map":{"a.weight":".."}}`, []string{"a.weight", "not a file name"}},
		"no map":            {`{}`, []string{"weight_map"}},
		"not JSON":          {`{`, []string{IndexFile}},
		"tensor not placed": {`{"weight_map":{"b.weight":"copy"}}`, []string{"copy", "does not place"}},
		"tensor in two":     {`{"weight_map":{"a.weight":"` + shard + `","b.weight":"copy"}}`, []string{"a.weight", "copy"}},
		"neither is there":  {"", []string{SingleFile}},
	} {
		dir := t.TempDir()
		b, err := os.ReadFile(filepath.Join("testdata/sharded", shard))
		if err != nil {
			t.Fatal(err)
		}
		write := func(name string, b []byte) {
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(shard, b)
		write("copy", b)
		if c.index != "" {
			write(IndexFile, []byte(c.index))
		}
		_, err = OpenFolder(dir)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v does not name %s", name, err, want)
			}
		}
	}
}

// file is a safetensors file of a header and n zero bytes.
func file(header string, n int) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), make([]byte, n)...)
}

func entry(dtype, shape string, start, end int) string {
	return fmt.Sprintf(`{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, dtype, shape, start, end)
}

var hostile = map[string]struct {
	file []byte
	want string
}{
	"empty":              {nil, "too short"},
	"short":              {make([]byte, 7), "too short"},
	"header over limit":  {binary.LittleEndian.AppendUint64(nil, maxHeader+1), "over the limit"},
	"header too long":    {binary.LittleEndian.AppendUint64(nil, 100), "100 bytes in a file of 8"},
	"no header":          {file("", 0), "does not begin"},
	"leading space":      {file(" {}", 0), "does not begin"},
	"not UTF-8":          {file("{\"\xff\":1}", 0), "UTF-8"},
	"not JSON":           {file(`{"a"`, 0), "header"},
	"two objects":        {file(`{}{}`, 0), "after the header"},
	"NUL padding":        {file("{}\x00", 0), "after the header"},
	"name twice":         {file(`{"a":`+entry("U8", "[1]", 0, 1)+`,"a":`+entry("U8", "[1]", 1, 2)+`}`, 2), `"a" occurs twice`},
	"name twice, spelt":  {file(`{"a":`+entry("U8", "[1]", 0, 1)+`,"\u0061":`+entry("U8", "[1]", 1, 2)+`}`, 2), `"a" occurs twice`},
	"key twice":          {file(`{"a":{"dtype":"U8","dtype":"U8","shape":[],"data_offsets":[0,1]}}`, 1), `"dtype" occurs twice`},
	"other case":         {file(`{"a":{"DTYPE":"U8","shape":[],"data_offsets":[0,1]}}`, 1), `unknown key "DTYPE"`},
	"key missing":        {file(`{"a":{"dtype":"U8","data_offsets":[0,1]}}`, 1), "missing"},
	"metadata number":    {file(`{"__metadata__":{"a":1}}`, 0), `metadata "a"`},
	"metadata twice":     {file(`{"__metadata__":{},"__metadata__":{}}`, 0), "occurs twice"},
	"tensor not object":  {file(`{"a":[]}`, 0), `tensor "a"`},
	"unknown type":       {file(`{"a":`+entry("F4", "[2]", 0, 1)+`}`, 1), `unknown type "F4"`},
	"negative dimension": {file(`{"a":`+entry("U8", "[-1]", 0, 1)+`}`, 1), "-1 is not a size"},
	"fraction":           {file(`{"a":`+entry("U8", "[1.0]", 0, 1)+`}`, 1), "1.0 is not a size"},
	"dimension of text":  {file(`{"a":`+entry("U8", `["1"]`, 0, 1)+`}`, 1), "shape"},
	"huge dimension":     {file(`{"a":`+entry("U8", "[99999999999999999999]", 0, 1)+`}`, 1), "is not a size"},
	"elements overflow":  {file(`{"a":`+entry("F32", "[4611686018427387904,4]", 0, 0)+`}`, 0), "too large"},
	"one offset":         {file(`{"a":{"dtype":"U8","shape":[],"data_offsets":[0]}}`, 1), "1 data_offsets"},
	"backwards":          {file(`{"a":`+entry("U8", "[1]", 1, 0)+`}`, 1), "backwards"},
	"size too small":     {file(`{"a":`+entry("F32", "[2]", 0, 4)+`}`, 4), "4 bytes for F32 [2], want 8"},
	"beyond the file":    {file(`{"a":`+entry("F32", "[2]", 0, 8)+`}`, 4), "beyond"},
	"gap":                {file(`{"a":`+entry("U8", "[1]", 1, 2)+`}`, 2), "gap"},
	"overlap":            {file(`{"a":`+entry("U8", "[2]", 0, 2)+`,"b":`+entry("U8", "[2]", 1, 3)+`}`, 3), `"b": offset 1 overlaps`},
	"shared":             {file(`{"a":`+entry("U8", "[2]", 0, 2)+`,"b":`+entry("U8", "[2]", 0, 2)+`}`, 2), "overlaps"},
	"bytes left over":    {file(`{"a":`+entry("U8", "[1]", 0, 1)+`}`, 3), "2 bytes belong to no tensor"},
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		_, err := Parse("evil", c.file)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "evil: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzParse demands that no file panics, and that writing what was accepted
// gives a file with the same tensors.
func FuzzParse(f *testing.F) {
	for _, c := range hostile {
		f.Add(c.file)
	}
	golden, err := os.ReadFile("testdata/types.safetensors")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Parse("fuzz", b)
		if err != nil {
			return
		}
		var out bytes.Buffer
		if err := Write(&out, slices.Collect(file.All()), file.Metadata()); err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", out.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(again.Names(), file.Names()) || !maps.Equal(again.Metadata(), file.Metadata()) {
			t.Fatalf("%q became %q", file.Names(), again.Names())
		}
		for tensor := range file.All() {
			other, _ := again.Lookup(tensor.Name)
			if !bytes.Equal(other.Data, tensor.Data) || !slices.Equal(other.Shape, tensor.Shape) {
				t.Fatalf("%q changed", tensor.Name)
			}
			_, _ = tensor.Float32s()
			_, _ = tensor.Weight()
		}
	})
}
