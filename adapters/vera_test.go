package adapters_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/peft-serve/peft-serve/adapters"
	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models/modeltest"
)

// TestProjectionSeeds: a seed is an integer of 64 bits to the last digit.
// PyTorch seeds its generator with the lower 32 of them, so that the seeds of a
// pair below are one to it, and those of different pairs are not.
func TestProjectionSeeds(t *testing.T) {
	m, pool := modeltest.Open(t, "llama-gqa"), modeltest.Pool(t, 1)
	f := readFolder(t, "llama-gqa", "adapters", "vera-seed")
	logits := func(seed string) kernels.Matrix {
		f.config["projection_prng_key"] = json.RawMessage(seed)
		a, err := f.load(t, m)
		if err != nil {
			t.Fatal(err)
		}
		return modeltest.Logits(t, m, pool, []int32{3, 1, 4, 1, 5}, a)
	}
	var all []kernels.Matrix
	for _, pair := range [][2]string{{"9007199254740992", "0"}, {"9007199254740993", "1"}, {"18446744073709551615", "-1"}} {
		large, small := logits(pair[0]), logits(pair[1])
		if d := modeltest.MaxDifference(large, small); d != 0 {
			t.Errorf("seeds %s differ by %g", pair, d)
		}
		for _, other := range all {
			if modeltest.MaxDifference(large, other) == 0 {
				t.Errorf("seeds %s are those of another pair", pair)
			}
		}
		all = append(all, large)
	}
}

// TestSeedIsSmallerThanWhatItDraws: how much is drawn from a seed is known from
// the configuration, and nothing is drawn for tensors of another rank.
func TestSeedIsSmallerThanWhatItDraws(t *testing.T) {
	m := modeltest.Open(t, "llama-gqa")
	f := readFolder(t, "llama-gqa", "adapters", "vera-seed")
	dir := f.write(t)
	a, err := f.load(t, m)
	if err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(filepath.Join(dir, adapters.SafeFile))
	if err != nil {
		t.Fatal(err)
	}
	if got, least := adapters.FolderBytes(m, dir, adapters.AsStored), a.Bytes(); got < least || got > least+int(stat.Size()) {
		t.Errorf("the folder tells %d bytes, the adapter takes %d", got, least)
	}
	f.config["r"] = 1 << 16
	if got, least := adapters.FolderBytes(m, f.write(t), adapters.AsStored), 4<<16*(32+32); got < least {
		t.Errorf("the folder tells %d bytes, what is drawn takes %d", got, least)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := f.load(t, m); !errors.Is(err, adapters.ErrTensor) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > 4<<16*32 {
		t.Errorf("a folder that contradicts itself took %d bytes", took)
	}
}

// TestFolderBytes: of the files, the one counts that the tensors are read from.
func TestFolderBytes(t *testing.T) {
	m, dir := modeltest.Open(t, "llama-gqa"), t.TempDir()
	if got := adapters.FolderBytes(m, dir, adapters.AsStored); got != 0 {
		t.Errorf("an empty folder tells %d bytes", got)
	}
	for _, name := range []string{adapters.TorchFile, adapters.SafeFile} {
		write(t, filepath.Join(dir, name), []byte(name))
		if got := adapters.FolderBytes(m, dir, adapters.AsStored); got != len(name) {
			t.Errorf("%s tells %d bytes", name, got)
		}
	}
}
