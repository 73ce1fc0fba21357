package gguf

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/peft-serve/peft-serve/kernels"
)

// The golden files are gguf-py's: testdata/gguf/goldens.py.
func openGolden(t testing.TB) *File {
	t.Helper()
	f, err := Open("testdata/goldens.gguf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

func values(t *testing.T, f *File, name string) []float32 {
	t.Helper()
	w, err := f.Weight(name)
	if err != nil {
		t.Fatal(err)
	}
	return w.Matrix().Data
}

// TestDecodeEqualsReference demands the reference's bits of every block format.
func TestDecodeEqualsReference(t *testing.T) {
	f := openGolden(t)
	for _, format := range kernels.Formats() {
		if format == kernels.F32 {
			continue // the reference's own output
		}
		got, want := values(t, f, format.String()+".stored"), values(t, f, format.String()+".values")
		for i := range want {
			if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
				t.Errorf("%s[%d] = %g, want %g", format, i, got[i], want[i])
				break
			}
		}
	}
}

// TestEncodeEqualsReference demands the reference's bytes of every format that
// it and kernels.Encode can write.
func TestEncodeEqualsReference(t *testing.T) {
	f := openGolden(t)
	for _, format := range []kernels.Format{kernels.F16, kernels.BF16, kernels.Q8_0, kernels.Q4_0, kernels.Q4_1, kernels.Q5_0, kernels.Q5_1} {
		source := values(t, f, format.String()+".source")
		want, err := f.Weight(format.String() + ".stored")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want.Data))
		if err := kernels.Encode(got, format, source); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want.Data) {
			t.Errorf("%s: % x\nwant % x", format, got, want.Data)
		}
	}
}

func TestMetadata(t *testing.T) {
	f := openGolden(t)
	if f.Version() != 3 || len(f.Keys()) != 1+12+6 || f.Keys()[0] != "general.architecture" {
		t.Fatalf("version %d, keys %q", f.Version(), f.Keys())
	}
	for key, want := range map[string]int{
		"a.uint8": 255, "a.int8": -128, "a.uint16": 65535, "a.int16": -32768,
		"a.uint32": math.MaxUint32, "a.int32": math.MinInt32, "a.int64": math.MinInt64,
	} {
		if got, ok := f.Int(key); !ok || got != want {
			t.Errorf("%s = %d, %v, want %d", key, got, ok, want)
		}
	}
	if s, ok := f.String("a.string"); !ok || s != "café ☕" {
		t.Errorf("a.string = %q, %v", s, ok)
	}
	if b, ok := f.Bool("a.bool"); !ok || !b {
		t.Errorf("a.bool = %v, %v", b, ok)
	}
	if v, ok := f.Float("a.float32"); !ok || v != float64(float32(0.1)) {
		t.Errorf("a.float32 = %g, %v", v, ok)
	}
	if v, ok := f.Float("a.float64"); !ok || v != 0.1 {
		t.Errorf("a.float64 = %g, %v", v, ok)
	}
	if v, ok := f.Value("a.uint64"); !ok || v != uint64(math.MaxUint64) {
		t.Errorf("a.uint64 = %v, %v", v, ok)
	}
	if v, ok := f.Strings("strings"); !ok || !slices.Equal(v, []string{"", "b", "ccc"}) {
		t.Errorf("strings = %q, %v", v, ok)
	}
	if v, ok := f.Ints("ints"); !ok || !slices.Equal(v, []int{3, -2, 1}) {
		t.Errorf("ints = %v, %v", v, ok)
	}
	if v, ok := f.Ints("sizes"); !ok || !slices.Equal(v, []int{1, 1 << 40}) {
		t.Errorf("sizes = %v, %v", v, ok)
	}
	if v, ok := f.Ints("bytes"); !ok || !slices.Equal(v, []int{0, 127, 255}) {
		t.Errorf("bytes = %v, %v", v, ok)
	}
	if v, ok := f.Floats("floats"); !ok || !slices.Equal(v, []float64{0.5, -1.25}) {
		t.Errorf("floats = %v, %v", v, ok)
	}
	if v, ok := f.Bools("bools"); !ok || !slices.Equal(v, []bool{true, false, true}) {
		t.Errorf("bools = %v, %v", v, ok)
	}
}

// TestMetadataOfAnotherType demands (zero, false), never a conversion.
func TestMetadataOfAnotherType(t *testing.T) {
	f := openGolden(t)
	for _, key := range []string{"absent", "strings", "a.int8"} {
		if s, ok := f.String(key); ok {
			t.Errorf("String(%s) = %q", key, s)
		}
	}
	for _, key := range []string{"absent", "a.string", "a.uint64", "a.float32", "a.bool", "ints"} {
		if n, ok := f.Int(key); ok {
			t.Errorf("Int(%s) = %d", key, n)
		}
	}
	for _, key := range []string{"absent", "strings", "a.int8", "floats"} {
		if v, ok := f.Ints(key); ok {
			t.Errorf("Ints(%s) = %v", key, v)
		}
		if v, ok := f.Float(key); ok {
			t.Errorf("Float(%s) = %v", key, v)
		}
		if v, ok := f.Bool(key); ok {
			t.Errorf("Bool(%s) = %v", key, v)
		}
	}
}

func TestTensors(t *testing.T) {
	f := openGolden(t)
	cube, ok := f.Lookup("cube")
	if !ok || !slices.Equal(cube.Dims, []int{4, 3, 2}) || !slices.Equal(cube.Shape(), []int{2, 3, 4}) || cube.Len() != 24 {
		t.Fatalf("cube: %+v, %v", cube, ok)
	}
	w, err := cube.Weight()
	if err != nil || w.Rows != 6 || w.Cols != 4 || w.Matrix().Row(5)[3] != 23 {
		t.Errorf("cube as a weight: %d × %d, %v", w.Rows, w.Cols, err)
	}
	other, err := f.Tensor("IQ4_NL.stored")
	if err != nil || len(other.Data) != 2*18 {
		t.Errorf("%+v, %v", other, err)
	}
	if _, err := f.Weight("IQ4_NL.stored"); !errors.Is(err, ErrType) || !strings.Contains(err.Error(), `"IQ4_NL.stored"`) || !strings.Contains(err.Error(), "goldens.gguf") {
		t.Errorf("an unsupported type gave %v", err)
	}
	if _, err := f.Weight("absent"); !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), `"absent"`) {
		t.Errorf("an absent tensor gave %v", err)
	}
}

func TestBigEndianIsRefused(t *testing.T) {
	if _, err := Open("testdata/big.gguf"); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "big-endian") {
		t.Fatalf("got %v", err)
	}
}
