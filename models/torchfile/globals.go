package torchfile

import (
	"errors"
	"fmt"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// ErrForbidden is wrapped by the error of a pickle that asks for a name which
// is not on the list.
var ErrForbidden = errors.New("the checkpoint asks for code that is never run")

// global is a name on the list: a storage class or an element type (then dtype
// or untyped is set), or something to call.
type global struct {
	name    string
	dtype   safetensors.DType
	untyped bool // a storage of bytes
	call    func(args tuple) (any, error)
}

// storages and dtypes hold what torch calls the element types.
var (
	storages = map[string]safetensors.DType{
		"DoubleStorage": safetensors.F64, "FloatStorage": safetensors.F32, "HalfStorage": safetensors.F16,
		"BFloat16Storage": safetensors.BF16, "LongStorage": safetensors.I64, "IntStorage": safetensors.I32,
		"ShortStorage": safetensors.I16, "CharStorage": safetensors.I8, "ByteStorage": safetensors.U8,
		"BoolStorage": safetensors.Bool, "ComplexFloatStorage": safetensors.C64,
	}
	dtypes = map[string]safetensors.DType{
		"float64": safetensors.F64, "float32": safetensors.F32, "float16": safetensors.F16, "bfloat16": safetensors.BF16,
		"int64": safetensors.I64, "int32": safetensors.I32, "int16": safetensors.I16, "int8": safetensors.I8,
		"uint8": safetensors.U8, "bool": safetensors.Bool, "complex64": safetensors.C64,
		"uint16": safetensors.U16, "uint32": safetensors.U32, "uint64": safetensors.U64,
		"float8_e4m3fn": safetensors.F8E4M3, "float8_e5m2": safetensors.F8E5M2, "float8_e8m0fnu": safetensors.F8E8M0,
	}
)

// lookup returns the global called module.name where it is on the list.
func lookup(module, name string) (global, error) {
	g := global{name: module + "." + name}
	switch module {
	case "torch", "torch.cuda":
		if dtype, ok := storages[name]; ok {
			g.dtype = dtype
			return g, nil
		}
		if dtype, ok := dtypes[name]; ok && module == "torch" {
			g.dtype = dtype
			return g, nil
		}
	}
	switch g.name {
	case "torch.storage.UntypedStorage", "torch.UntypedStorage":
		g.untyped = true
	case "torch._utils._rebuild_tensor_v2":
		g.call = rebuildTensor
	case "torch._utils._rebuild_tensor_v3":
		g.call = rebuildTyped
	case "torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state":
		g.call = first
	case "torch._tensor._rebuild_from_type_v2":
		g.call = rebuildSubclass
	case "collections.OrderedDict":
		g.call = func(tuple) (any, error) { return &dict{}, nil }
	case "torch.Size":
		g.call = first
	case "torch.device":
		g.call = first
	case "torch.Tensor", "torch.nn.parameter.Parameter": // named as a type, never called
	default:
		return global{}, fmt.Errorf("%w: %s", ErrForbidden, g.name)
	}
	return g, nil
}

// object executes the opcodes that name, call and complete an object.
func (m *machine) object(op byte) error {
	switch op {
	case 'c':
		module, err := m.line()
		if err != nil {
			return err
		}
		name, err := m.line()
		if err != nil {
			return err
		}
		return m.pushGlobal(module, name)
	case 0x93:
		names, err := m.popN(2)
		if err != nil {
			return err
		}
		module, _ := names[0].(string)
		name, _ := names[1].(string)
		return m.pushGlobal(module, name)
	case 'Q':
		id, err := m.pop()
		if err != nil {
			return err
		}
		v, err := m.persistent(id)
		m.push(v)
		return err
	}
	top, err := m.popN(2) // a callable and its arguments, or an object and its state
	if err != nil {
		return err
	}
	if op == 'b' { // an OrderedDict's _metadata, which is not needed
		if _, ok := top[0].(*dict); !ok {
			return fmt.Errorf("%w: state for a %T", ErrForbidden, top[0])
		}
		m.push(top[0])
		return nil
	}
	v, err := call(top[0], top[1])
	m.push(v)
	return err
}

func (m *machine) pushGlobal(module, name string) error {
	g, err := lookup(module, name)
	m.push(g)
	return err
}

func call(f, args any) (any, error) {
	g, ok := f.(global)
	if !ok {
		return nil, fmt.Errorf("%w: a call of a %T", ErrForbidden, f)
	}
	if g.call == nil {
		return nil, fmt.Errorf("%w: a call of %s", ErrForbidden, g.name)
	}
	list, ok := args.(tuple)
	if !ok {
		return nil, errStack
	}
	v, err := g.call(list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", g.name, err)
	}
	return v, nil
}

var errArguments = errors.New("arguments of an unexpected kind")

func first(args tuple) (any, error) {
	if len(args) == 0 {
		return nil, errArguments
	}
	return args[0], nil
}

// rebuildTensor is _rebuild_tensor_v2(storage, offset, size, stride,
// requires_grad, backward_hooks, metadata=None).
func rebuildTensor(args tuple) (any, error) {
	if len(args) < 4 {
		return nil, errArguments
	}
	s, ok := args[0].(*storage)
	offset, isInt := args[1].(int)
	shape, shaped := sizes(args[2])
	strides, strided := sizes(args[3])
	if !ok || !isInt || !shaped || !strided {
		return nil, errArguments
	}
	return &tensor{storage: s, dtype: s.dtype, offset: offset, shape: shape, strides: strides}, nil
}

// rebuildTyped is _rebuild_tensor_v3(…, backward_hooks, dtype, metadata=None),
// for types without a storage class of their own.
func rebuildTyped(args tuple) (any, error) {
	if len(args) < 7 {
		return nil, errArguments
	}
	dtype, ok := args[6].(global)
	v, err := rebuildTensor(args)
	if err != nil || !ok || dtype.dtype == "" {
		return nil, errArguments
	}
	t := v.(*tensor)
	t.dtype = dtype.dtype
	return t, nil
}

// rebuildSubclass is _rebuild_from_type_v2(function, type, arguments, state):
// a tensor with attributes, which are not needed.
func rebuildSubclass(args tuple) (any, error) {
	if len(args) < 3 {
		return nil, errArguments
	}
	return call(args[0], args[2])
}

func sizes(v any) ([]int, bool) {
	items, ok := v.(tuple)
	if !ok {
		return nil, false
	}
	sizes := make([]int, len(items))
	for i, item := range items {
		if sizes[i], ok = item.(int); !ok {
			return nil, false
		}
	}
	return sizes, true
}
