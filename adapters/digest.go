package adapters

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"maps"
	"slices"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// nameless are the keys of a configuration that say where an adapter comes
// from, not what it does.
var nameless = map[string]bool{
	"auto_mapping": true, "base_model_name_or_path": true, "inference_mode": true, "peft_version": true, "revision": true,
}

// sets are the keys whose lists PEFT keeps as sets, in no order.
var sets = map[string]bool{
	"target_modules": true, "exclude_modules": true, "feedforward_modules": true, "modules_to_save": true,
}

// digest hashes a canonical form of an adapter: its configuration's keys that
// ask for something, sorted, what is said of its classes, and its tensors, sorted by
// name.
func digest(c *Config, tensors map[string]safetensors.Tensor) string {
	h := sha256.New()
	field := func(b []byte) {
		var size [8]byte
		binary.LittleEndian.PutUint64(size[:], uint64(len(b)))
		_, _ = h.Write(size[:])
		_, _ = h.Write(b)
	}
	_, _ = io.WriteString(h, "peft-serve adapter 1\n")
	members := slices.SortedFunc(slices.Values(c.members), func(a, b member) int { return cmp.Compare(a.key, b.key) })
	for _, m := range members {
		if !nameless[m.key] && !empty(m.value) {
			field([]byte(m.key))
			field(canonical(m))
		}
	}
	if classes := c.ClassesJSON(); classes != nil {
		field([]byte(ClassesFile))
		field(classes)
	}
	field(nil)
	for _, name := range slices.Sorted(maps.Keys(tensors)) {
		t := tensors[name]
		field([]byte(name))
		field([]byte(t.DType))
		shape, _ := json.Marshal(t.Shape)
		field(shape)
		field(t.Data)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// canonical is a value without white space, and sorted where it is a set. The
// members of an object stay in order: rank_pattern is tried in it.
func canonical(m member) []byte {
	var list []string
	if sets[m.key] && json.Unmarshal(m.value, &list) == nil {
		slices.Sort(list)
		b, _ := json.Marshal(list)
		return b
	}
	var b bytes.Buffer
	if err := json.Compact(&b, m.value); err != nil {
		return m.value
	}
	return b.Bytes()
}
