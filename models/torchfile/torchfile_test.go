package torchfile

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// TestReadReference reads what torch wrote (testdata/torchfile/goldens.py).
func TestReadReference(t *testing.T) {
	want, err := safetensors.Open("testdata/expected.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for path, lacks := range map[string]int{"testdata/zip.bin": 0, "testdata/legacy.bin": 5} {
		f, err := Open(path)
		if err != nil {
			t.Error(err)
			continue
		}
		if f.Len() != want.Len()-lacks || !slices.IsSorted(f.Names()) {
			t.Errorf("%s: %d tensors, want %d: %q", path, f.Len(), want.Len()-lacks, f.Names())
		}
		for tensor := range f.All() {
			expected, err := want.Tensor(tensor.Name)
			if err != nil {
				t.Error(err)
				continue
			}
			if tensor.DType != expected.DType || !slices.Equal(tensor.Shape, expected.Shape) || !bytes.Equal(tensor.Data, expected.Data) {
				t.Errorf("%s: %q: %s %v % x, want %s %v % x", path, tensor.Name,
					tensor.DType, tensor.Shape, tensor.Data, expected.DType, expected.Shape, expected.Data)
			}
		}
		if _, err := f.Tensor("absent"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), path) {
			t.Errorf("an absent tensor gave %v", err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestLoralib reads a real adapter of Microsoft's LoRA, which is too large to
// be committed.
func TestLoralib(t *testing.T) {
	const path = "../../../shared/adapters/weights/loralib_roberta_base_mnli/roberta_base_lora_mnli.bin"
	f, err := Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skipf("%s is not here", path)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	a, err := f.Tensor("roberta.encoder.layer.0.attention.self.query.lora_A")
	if err != nil || a.DType != safetensors.F32 || !slices.Equal(a.Shape, []int{8, 768}) {
		t.Errorf("%v %v, %v of %q", a.DType, a.Shape, err, f.Names())
	}
}

// checkpoint zips a pickle program and one storage of four float32, "0".
func checkpoint(t testing.TB, program string) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for name, content := range map[string]string{
		"x/data.pkl": program, "x/byteorder": "little", "x/data/0": "\x00\x00\x80\x3f\x00\x00\x00\x40\x00\x00\x40\x40\x00\x00\x80\x40",
	} {
		out, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
		if err == nil {
			_, err = out.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Pieces of pickle programs.
func text(s string) string {
	return string(binary.LittleEndian.AppendUint32([]byte("X"), uint32(len(s)))) + s
}

func number(n int32) string {
	return string(binary.LittleEndian.AppendUint32([]byte("J"), uint32(n)))
}

func shape(dims ...int32) string {
	s := "("
	for _, dim := range dims {
		s += number(dim)
	}
	return s + "t"
}

func storageOp(key string, count int32) string {
	return "(" + text("storage") + "ctorch\nFloatStorage\n" + text(key) + text("cpu") + number(count) + "tQ"
}

func tensorOp(storage string, offset int32, shape, strides string) string {
	return "ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(offset) + shape + strides + "\x89NtR"
}

func state(name, value string) string { return "\x80\x02}" + text(name) + value + "s." }

var good = state("w", tensorOp(storageOp("0", 4), 0, shape(2, 2), shape(1, 2)))

func TestByHand(t *testing.T) {
	f, err := Parse("x", checkpoint(t, good))
	if err != nil {
		t.Fatal(err)
	}
	w, _ := f.Lookup("w")
	if v, err := w.Float32s(); err != nil || !slices.Equal(v, []float32{1, 3, 2, 4}) {
		t.Errorf("%v, %v", v, err)
	}
}

var whole = storageOp("0", 4)

var hostile = map[string]struct{ program, want string }{
	"os.system":            {"\x80\x02cos\nsystem\n(" + text("echo") + "tR.", "os.system"},
	"posix, protocol 4":    {"\x80\x04" + text("posix") + text("system") + "\x93" + text("echo") + "\x85R.", "posix.system"},
	"builtins.eval":        {state("w", "cbuiltins\neval\n("+text("1")+"tR"), "builtins.eval"},
	"nested load":          {state("w", "ctorch.storage\n_load_from_bytes\n)R"), "torch.storage._load_from_bytes"},
	"a method":             {state("w", "ctorch._utils\n_rebuild_tensor_v2.__globals__\n)R"), "__globals__"},
	"unknown storage":      {state("w", "ctorch\nEvilStorage\n"), "torch.EvilStorage"},
	"a type called":        {state("w", "ctorch.nn.parameter\nParameter\n)R"), "a call of torch.nn.parameter.Parameter"},
	"a string called":      {state("w", text("f")+")R"), "a call of a string"},
	"subclass of anything": {state("w", "ctorch._tensor\n_rebuild_from_type_v2\n("+text("f")+"N)NtR"), "a call of a string"},
	"INST":                 {"(ios\nsystem\n.", "opcode 0x69"},
	"OBJ":                  {"(cos\nsystem\no.", "os.system"},
	"NEWOBJ":               {"ccollections\nOrderedDict\n)\x81.", "opcode 0x81"},
	"extension":            {"\x82\x01.", "opcode 0x82"},
	"state of a tensor":    {state("w", tensorOp(whole, 0, shape(4), shape(1))+"}b"), "state for a"},
	"no stop":              {"\x80\x02}", "ends early"},
	"empty stack":          {".", "stack"},
	"mark as value":        {"(.", "stack"},
	"set on nothing":       {"}s.", "stack"},
	"odd items":            {"}(Nu.", "stack"},
	"memo":                 {"h\x01.", "never stored"},
	"string length":        {"X\xff\xff\xff\x7f", "ends early"},
	"string length of 8":   {"\x8d\xff\xff\xff\xff\xff\xff\xff\xff", "ends early"},
	"a big integer":        {"\x8a\xff", "255 bytes"},
	"a list":               {"].", "not a dict"},
	"a number":             {state("w", number(1)), `"w" is not a tensor`},
	"a storage":            {state("w", whole), `"w" is not a tensor`},
	"a key of number":      {"}" + number(1) + "Ns.", "key that is a int"},
	"twice":                {"}" + text("w") + tensorOp(whole, 0, shape(4), shape(1)) + "\x94s" + text("w") + "h\x00s.", "twice"},
	"absent storage":       {state("w", tensorOp(storageOp("9", 4), 0, shape(4), shape(1))), `"data/9"`},
	"storage outside":      {state("w", tensorOp(storageOp("../data.pkl", 4), 0, shape(4), shape(1))), "no file"},
	"storage too short":    {state("w", tensorOp(storageOp("0", 5), 0, shape(4), shape(1))), "16 bytes, want 20"},
	"storage negative":     {state("w", tensorOp(storageOp("0", -1), 0, shape(4), shape(1))), "-1 elements"},
	"persistent of none":   {state("w", "NQ"), "not a storage"},
	"shape leaves":         {state("w", tensorOp(whole, 0, shape(5), shape(1))), `tensor "w": shape [5]`},
	"offset leaves":        {state("w", tensorOp(whole, 1, shape(4), shape(1))), "leaves its storage"},
	"offset beyond":        {state("w", tensorOp(whole, 5, shape(0), shape(1))), "offset 5"},
	"offset negative":      {state("w", tensorOp(whole, -1, shape(1), shape(1))), "offset -1"},
	"stride negative":      {state("w", tensorOp(whole, 3, shape(2), shape(-1))), "strides [-1]"},
	"dimension negative":   {state("w", tensorOp(whole, 0, shape(-2), shape(1))), "shape [-2]"},
	"expanded":             {state("w", tensorOp(whole, 0, shape(1<<30, 1<<30, 1<<30), shape(0, 0, 0))), "repeats"},
	"strides missing":      {state("w", tensorOp(whole, 0, shape(4), shape())), "strides []"},
	"shape of text":        {state("w", tensorOp(whole, 0, "("+text("4")+"t", shape(1))), "arguments"},
	"dict in itself":       {"}\x94" + text("d") + "h\x00s.", "nested too deeply"},
}

func TestHostile(t *testing.T) {
	for name, c := range hostile {
		_, err := Parse("evil.bin", checkpoint(t, c.program))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "evil.bin: ") {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := Parse("x", checkpoint(t, hostile["os.system"].program)); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

// TestLaughs demands that few bytes cannot be made into many: dicts that hold
// one dict many times, and one storage transposed many times.
func TestLaughs(t *testing.T) {
	entry := func(i int, value string) string { return text(string(rune('a'+i))) + value + "s" }
	program := "}\x94"
	for level := range byte(7) {
		program += "}\x94"
		for i := range 20 {
			program += entry(i, "h"+string([]byte{level}))
		}
	}
	if _, err := Parse("x", checkpoint(t, program+".")); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "entries") {
		t.Errorf("got %v", err)
	}
	program = "}"
	for i := range 3000 {
		program += text(strings.Repeat("x", i%7)+string(rune(0x4e00+i))) + tensorOp(whole, 0, shape(2, 2), shape(1, 2)) + "s"
	}
	if _, err := Parse("x", checkpoint(t, program+".")); err != nil {
		t.Errorf("small strided tensors: %v", err) // each took more bytes than it made
	}
}

func TestContainers(t *testing.T) {
	legacy, err := os.ReadFile("testdata/legacy.bin")
	if err != nil {
		t.Fatal(err)
	}
	var compressed bytes.Buffer
	w := zip.NewWriter(&compressed)
	if out, err := w.Create("x/data.pkl"); err != nil {
		t.Fatal(err)
	} else if _, err := out.Write([]byte(good)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		file []byte
		want string
	}{
		"empty":             {nil, "neither"},
		"text":              {[]byte("hello"), "neither"},
		"Git LFS pointer":   {[]byte("version https://git-lfs.github.com/spec/v1\n"), "neither"},
		"cut zip":           {checkpoint(t, good)[:300], "zip"},
		"compressed":        {compressed.Bytes(), "compressed"},
		"big-endian":        {bytes.Replace(checkpoint(t, good), []byte("little"), []byte("bigbig"), 1), "little-endian"},
		"legacy, cut":       {legacy[:len(legacy)-5], "ends early"},
		"legacy, cut early": {legacy[:40], "ends early"},
		"legacy, big":       {bytes.Replace(legacy, []byte("little_endian"), []byte("kittle_endian"), 1), "little-endian"},
	} {
		if _, err := Parse("evil.bin", c.file); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// FuzzPickle runs arbitrary programs; nothing may panic, and the tensors must
// have the bytes that their shapes demand.
func FuzzPickle(f *testing.F) {
	for _, c := range hostile {
		f.Add([]byte(c.program))
	}
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, program []byte) { verify(t, checkpoint(t, string(program))) })
}

// FuzzParse reads arbitrary files.
func FuzzParse(f *testing.F) {
	f.Add(checkpoint(f, good))
	legacy, err := os.ReadFile("testdata/legacy.bin")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(legacy)
	f.Fuzz(verify)
}

func verify(t *testing.T, b []byte) {
	file, err := Parse("fuzz", b)
	if err != nil {
		return
	}
	total := 0
	for tensor := range file.All() {
		if len(tensor.Data) != tensor.Len()*tensor.DType.Size() {
			t.Fatalf("%q: %d bytes for %s %v", tensor.Name, len(tensor.Data), tensor.DType, tensor.Shape)
		}
		total += len(tensor.Data)
	}
	if total > 1<<28 {
		t.Fatalf("%d bytes of tensors from a file of %d", total, len(b))
	}
}
