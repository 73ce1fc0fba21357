package kernels

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestEncodings holds every instruction that the arm64 assembly writes as a
// word against GNU's assembler, by the spelling beside it.
func TestEncodings(t *testing.T) {
	const as, objcopy = "aarch64-linux-gnu-as", "aarch64-linux-gnu-objcopy"
	for _, tool := range []string{as, objcopy} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT CHECKED: the words of the arm64 assembly, for want of %s (Debian: binutils-aarch64-linux-gnu)", tool)
		}
	}
	files, err := filepath.Glob("*_arm64.s")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^\tWORD (.*)$`)
	written := regexp.MustCompile(`^\$(0x[0-9a-f]{8}) // (\S.*)$`)
	words := map[string]uint32{}
	var spellings []string
	for _, name := range files {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range line.FindAllStringSubmatch(string(source), -1) {
			w := written.FindStringSubmatch(m[1])
			if w == nil {
				t.Fatalf("%s: WORD %s has no spelling beside it", name, m[1])
			}
			v, err := strconv.ParseUint(w[1], 0, 32)
			if err != nil {
				t.Fatal(err)
			}
			was, known := words[w[2]]
			if known && was != uint32(v) {
				t.Fatalf("%s: %s is %#08x and %#08x", name, w[2], was, v)
			}
			if !known {
				words[w[2]] = uint32(v)
				spellings = append(spellings, w[2])
			}
		}
	}
	if len(spellings) < 100 {
		t.Fatalf("found only %d instructions in %v", len(spellings), files)
	}

	dir := t.TempDir()
	run := func(name string, args ...string) {
		t.Helper()
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "all.s"), []byte(strings.Join(spellings, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(as, "-march=armv8.6-a", "-o", "all.o", "all.s")
	run(objcopy, "-O", "binary", "-j", ".text", "all.o", "all.bin")
	code, err := os.ReadFile(filepath.Join(dir, "all.bin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 4*len(spellings) {
		t.Fatalf("%d instructions became %d bytes", len(spellings), len(code))
	}
	for i, s := range spellings {
		if want := binary.LittleEndian.Uint32(code[4*i:]); words[s] != want {
			t.Errorf("%s is written %#08x, GNU's assembler has %#08x", s, words[s], want)
		}
	}
	t.Logf("%d instructions in %v", len(spellings), files)
}
