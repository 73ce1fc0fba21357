package adapters

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"unicode/utf16"

	"github.com/peft-serve/peft-serve/internal/disk"
	"github.com/peft-serve/peft-serve/models/safetensors"
)

// Save writes the adapter to dir as PEFT's save_pretrained does: ConfigFile
// and SafeFile, and, where the classes of a head have names, a config.json that has
// them. Whoever opens dir meanwhile sees the old adapter, the new one
// or an error, never one's configuration with the other's tensors: the old
// configuration goes first, then the tensors change, then the new
// configuration comes, all by renaming what is on disk by then. Other files in
// dir stay.
func (a *Adapter) Save(dir string) error {
	tensors := make([]safetensors.Tensor, len(a.params))
	for i, p := range a.params {
		tensors[i] = p.Tensor()
	}
	return save(dir, a.config, tensors)
}

// Save writes configuration and tensors to dir as Adapter.Save does.
func (f *Folder) Save(dir string) error {
	if f.stored != nil {
		return fmt.Errorf("saving an adapter to %s: %w: the rows of %s are in llama.cpp's order: see Folder.For", dir, ErrTensor, f.Dir)
	}
	return save(dir, f.Config, f.All())
}

func save(dir string, c *Config, tensors []safetensors.Tensor) (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("saving an adapter to %s: %w", dir, err)
		}
	}()
	if err := disk.MkdirAll(dir); err != nil {
		return err
	}
	tensorsPath, configPath := filepath.Join(dir, SafeFile), filepath.Join(dir, ConfigFile)
	classesPath, classes := filepath.Join(dir, ClassesFile), c.ClassesJSON()
	left, err := leftClasses(dir, c)
	if err != nil {
		return err
	}
	newTensors, err := disk.Beside(tensorsPath, func(w io.Writer) error { return safetensors.Write(w, tensors, safetensors.PyTorch()) })
	if err != nil {
		return err
	}
	newConfig, err := disk.Beside(configPath, func(w io.Writer) error { _, err := w.Write(c.JSON()); return err })
	if err != nil {
		return errors.Join(err, disk.Remove(newTensors))
	}
	if err := disk.Remove(configPath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, disk.Remove(newTensors), disk.Remove(newConfig))
	}
	switch {
	case classes != nil:
		err = disk.Replace(classesPath, func(w io.Writer) error { _, err := w.Write(classes); return err })
	case left:
		err = disk.Remove(classesPath)
	}
	if err != nil {
		return errors.Join(err, disk.Remove(newTensors), disk.Remove(newConfig))
	}
	if err := disk.Rename(newTensors, tensorsPath); err != nil {
		return errors.Join(err, disk.Remove(newTensors), disk.Remove(newConfig))
	}
	if err := disk.Rename(newConfig, configPath); err != nil {
		return errors.Join(err, disk.Remove(newConfig))
	}
	return disk.Sync(dir)
}

// JSON is the configuration as PEFT writes it: keys sorted, two spaces of
// indentation, inference_mode true. The members of rank_pattern and
// alpha_pattern keep their order, in which they are tried.
func (c *Config) JSON() []byte {
	members := slices.Clone(c.members)
	mode := member{"inference_mode", json.RawMessage("true")}
	if i := slices.IndexFunc(members, func(m member) bool { return m.key == mode.key }); i >= 0 {
		members[i] = mode
	} else {
		members = append(members, mode)
	}
	return appendObject(nil, members, "", true)
}

// appendObject writes members as Python's json.dumps(indent=2) does.
func appendObject(b []byte, members []member, indent string, sorted bool) []byte {
	if len(members) == 0 {
		return append(b, "{}"...)
	}
	if sorted {
		slices.SortFunc(members, func(a, b member) int { return cmp.Compare(a.key, b.key) })
	}
	b = append(b, '{')
	for i, m := range members {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, '\n'), indent+"  "...)
		b = append(appendText(b, m.key), ": "...)
		pattern := m.key == "rank_pattern" || m.key == "alpha_pattern"
		b = appendValue(b, m.value, indent+"  ", sorted && !pattern)
	}
	return append(append(append(b, '\n'), indent...), '}')
}

func appendValue(b []byte, raw json.RawMessage, indent string, sorted bool) []byte {
	switch raw[0] {
	case '{':
		members, err := parseObject(raw)
		if err != nil { // a repeated key within a value that nobody reads
			return append(b, raw...)
		}
		return appendObject(b, members, indent, sorted)
	case '[':
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) != nil || len(list) == 0 {
			return append(b, "[]"...)
		}
		b = append(b, '[')
		for i, v := range list {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(append(b, '\n'), indent+"  "...)
			b = appendValue(b, v, indent+"  ", sorted)
		}
		return append(append(append(b, '\n'), indent...), ']')
	case '"':
		var s string
		if json.Unmarshal(raw, &s) == nil {
			return appendText(b, s)
		}
	}
	return append(b, raw...)
}

// appendText writes a string as Python does, in ASCII.
func appendText(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b = append(b, '\\', byte(r))
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\b':
			b = append(b, `\b`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r >= ' ' && r < 127:
			b = append(b, byte(r))
		case r > 0xffff:
			hi, lo := utf16.EncodeRune(r)
			b = appendEscape(appendEscape(b, hi), lo)
		default:
			b = appendEscape(b, r)
		}
	}
	return append(b, '"')
}

func appendEscape(b []byte, r rune) []byte {
	h := strconv.FormatInt(int64(r)+0x10000, 16) // "1xxxx"
	return append(append(b, `\u`...), h[1:]...)
}
