package adapters

import "encoding/json"

// keys is what becomes of each key of one peft_type's configuration. A key
// that is not there is refused where it asks for something.
type keys map[string]key

// key is one key: read by the method, inert or refused.
type key struct {
	use  use
	kind kind   // of an inert key's value
	why  string // it is inert or refused
}

type use uint8

const (
	isRead use = iota
	isInert
	isRefused
)

// read is a key that the method reads.
func read() key { return key{} }

// inert is a key whose value does not change what a trained adapter computes.
// A value of another kind than PEFT's is refused all the same.
func inert(k kind, why string) key { return key{isInert, k, why} }

// refused is a key that changes the mathematics: null, false and [] leave it
// alone. An object does not even where it is empty, since PEFT fills in its
// defaults.
func refused(why string) key { return key{isRefused, "", why} }

// kind is what JSON value a key has, as a message says it.
type kind string

const (
	aFlag    kind = "true or false"
	aText    kind = "a string"
	aNumber  kind = "a number"
	anObject kind = "an object"
)

// is reports whether raw, which is valid JSON and not null, is of that kind.
func (k kind) is(raw json.RawMessage) bool {
	switch raw[0] {
	case 't', 'f':
		return k == aFlag
	case '"':
		return k == aText
	case '{':
		return k == anObject
	case '[':
		return false
	}
	return k == aNumber
}

// ofAll are the keys that every configuration has.
var ofAll = keys{
	"peft_type": read(), "task_type": read(), "base_model_name_or_path": read(),
	"auto_mapping":   inert(anObject, "the base's class in Python"),
	"inference_mode": inert(aFlag, "whether PEFT may train it"),
	"peft_version":   inert(aText, "who wrote the file"),
	"revision":       inert(aText, "the base's revision on the hub, which the base at hand does not tell"),
}

// check holds the configuration's members against the keys of its type.
func (s *settings) check(known keys) {
	for _, m := range s.config.members {
		k, ok := known[m.key]
		if !ok {
			k, ok = ofAll[m.key]
		}
		switch {
		case !ok && !empty(m.value):
			s.fault(ErrConfig, "key %q (%s) is not known: it may change what the adapter computes", m.key, clip(m.value))
		case !ok || string(m.value) == "null":
		case k.use == isInert && !k.kind.is(m.value):
			s.fault(ErrConfig, "%s is %s, want %s", m.key, clip(m.value), k.kind)
		case k.use == isRefused && (m.value[0] == '{' || !empty(m.value)):
			s.fault(ErrConfig, "%s is not implemented: %s", m.key, k.why)
		}
	}
}
