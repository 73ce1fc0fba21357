package training

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEvents reads an event file back by the layout of TFRecord.
func TestEvents(t *testing.T) {
	dir := t.TempDir()
	e, err := openEvents(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.write(StepReport{Step: 300, Loss: 1.5}); err != nil {
		t.Fatal(err)
	}
	if err := e.f.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "tensorboard", "events.out.tfevents.*"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	var records [][]byte
	for len(b) > 0 {
		n := binary.LittleEndian.Uint64(b)
		if binary.LittleEndian.Uint32(b[8:]) != masked(b[:8]) || binary.LittleEndian.Uint32(b[12+n:]) != masked(b[12:12+n]) {
			t.Fatal("a checksum is wrong")
		}
		records = append(records, b[12:12+n])
		b = b[16+n:]
	}
	if len(records) != 2 || !strings.Contains(string(records[0]), "brain.Event:2") {
		t.Fatalf("%q", records)
	}
	loss := string(binary.LittleEndian.AppendUint32(append([]byte("train/loss"), 2<<3|5), math.Float32bits(1.5)))
	if !strings.Contains(string(records[1]), loss) {
		t.Errorf("%q has no loss of 1.5", records[1])
	}
}

// TestMasked uses CRC-32C's check value, that of "123456789".
func TestMasked(t *testing.T) {
	const check = uint32(0xe3069283)
	c := check
	if got, want := masked([]byte("123456789")), (c>>15|c<<17)+0xa282ead8; got != want {
		t.Errorf("%#x, want %#x", got, want)
	}
}
