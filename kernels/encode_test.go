package kernels

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// TestHalfRoundTrip demands that every binary16 value survives, and that the
// float32 values around each midpoint round to nearest, ties to even.
func TestHalfRoundTrip(t *testing.T) {
	for h := range 1 << 16 {
		v := Half(uint16(h))
		got := ToHalf(v)
		if want := uint16(h); v == v && got != want || v != v && got != want|0x200 {
			t.Fatalf("ToHalf(%g) = %#04x, want %#04x", v, got, want)
		}
	}
	for h := range uint16(0x7bff) { // up to the largest finite value
		midpoint := (Half(h) + Half(h+1)) / 2
		even := h + h&1
		if got := ToHalf(midpoint); got != even {
			t.Fatalf("ToHalf(%g) = %#04x, want the even %#04x", midpoint, got, even)
		}
		if got := ToHalf(math.Nextafter32(midpoint, 0)); got != h {
			t.Fatalf("below the midpoint %g: %#04x, want %#04x", midpoint, got, h)
		}
		if got := ToHalf(math.Nextafter32(midpoint, 1e9)); got != h+1 {
			t.Fatalf("above the midpoint %g: %#04x, want %#04x", midpoint, got, h+1)
		}
	}
	inf := float32(math.Inf(1))
	for _, c := range []struct {
		v    float32
		want uint16
	}{{65519.996, 0x7bff}, {65520, 0x7c00}, {-65520, 0xfc00}, {inf, 0x7c00}, {-inf, 0xfc00}, {float32(math.Copysign(0, -1)), 0x8000}} {
		if got := ToHalf(c.v); got != c.want {
			t.Errorf("ToHalf(%g) = %#04x, want %#04x", c.v, got, c.want)
		}
	}
}

func TestEncodeBF16(t *testing.T) {
	for _, c := range []struct {
		bits uint32
		want uint16
	}{
		{0x3f800000, 0x3f80}, {0x3f808000, 0x3f80}, {0x3f808001, 0x3f81}, {0x3f818000, 0x3f82},
		{0x7f7fffff, 0x7f80}, {0xff800000, 0xff80}, {0x7f800001, 0x7fc0}, {0x80000000, 0x8000},
	} {
		dst := make([]byte, 2)
		if err := Encode(dst, BF16, []float32{math.Float32frombits(c.bits)}); err != nil {
			t.Fatal(err)
		}
		if got := uint16(dst[0]) | uint16(dst[1])<<8; got != c.want {
			t.Errorf("%#08x became %#04x, want %#04x", c.bits, got, c.want)
		}
	}
}

// TestEncodeDecode bounds the error of each format by its step, and demands
// that what was decoded encodes to the same bytes where that is a law.
func TestEncodeDecode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		f    Format
		step float64 // the largest error over the largest magnitude
	}{{F32, 0}, {F16, 1.0 / 2048}, {BF16, 1.0 / 256}, {Q8_0, 0.6 / 127}, {Q4_0, 1.01 / 8}, {Q4_1, 1.05 / 15}, {Q5_0, 1.01 / 16}, {Q5_1, 1.05 / 31}} {
		for trial := range 50 {
			src := make([]float32, 64)
			scale := float32(math.Exp2(rng.Float64()*16 - 8))
			for i := range src {
				src[i] = float32(rng.NormFloat64()) * scale
			}
			if trial == 0 {
				clear(src)
			}
			dst := make([]byte, c.f.RowBytes(len(src)))
			if err := Encode(dst, c.f, src); err != nil {
				t.Fatal(err)
			}
			got := make([]float32, len(src))
			Decode(got, c.f, dst)
			var largest float64
			for _, v := range src {
				largest = max(largest, math.Abs(float64(v)))
			}
			for i := range src {
				if e := math.Abs(float64(got[i] - src[i])); e > c.step*largest {
					t.Fatalf("%s: %g became %g in a row up to %g", c.f, src[i], got[i], largest)
				}
			}
			again := make([]byte, len(dst))
			if err := Encode(again, c.f, got); err != nil {
				t.Fatal(err)
			}
			if c.f.BlockLen() == 1 && !bytes.Equal(again, dst) {
				t.Fatalf("%s: decoding and encoding changed the bytes", c.f)
			}
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	for _, f := range []Format{Q4_K, Q5_K, Q6_K} {
		if err := Encode(make([]byte, f.BlockBytes()), f, make([]float32, 256)); !errors.Is(err, ErrNoEncoder) {
			t.Errorf("%s: %v", f, err)
		}
	}
	for _, f := range []Format{Q8_0, Q4_0, Q4_1, Q5_0, Q5_1} {
		for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30} {
			src := make([]float32, 64)
			src[40] = float32(bad)
			if err := Encode(make([]byte, f.RowBytes(64)), f, src); !errors.Is(err, ErrNotFinite) {
				t.Errorf("%s of %g: %v", f, bad, err)
			}
		}
		src := make([]float32, 32)
		src[3], src[4] = math.SmallestNonzeroFloat32, -math.SmallestNonzeroFloat32
		if err := Encode(make([]byte, f.RowBytes(32)), f, src); err != nil {
			t.Errorf("%s of the smallest values: %v", f, err)
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	src := make([]float32, 4096)
	for i := range src {
		src[i] = float32(math.Sin(float64(i)))
	}
	for _, f := range []Format{F16, BF16, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1} {
		b.Run(f.String(), func(b *testing.B) {
			dst := make([]byte, f.RowBytes(len(src)))
			b.SetBytes(int64(4 * len(src)))
			b.ReportAllocs()
			for b.Loop() {
				if err := Encode(dst, f, src); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
