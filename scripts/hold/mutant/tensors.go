package mutant

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/peft-serve/peft-serve/models/safetensors"
)

// mutateTensors changes a safetensors file: its header as JSON, or a tensor so
// that the file stays one.
func mutateTensors(draw *rand.Rand, b []byte) ([]byte, string, error) {
	if draw.IntN(3) == 0 {
		return mutateHeader(draw, b)
	}
	file, err := safetensors.Parse("", b)
	if err != nil {
		return nil, "", err
	}
	tensors := slices.Collect(file.All())
	if len(tensors) == 0 {
		return nil, "", errors.New("no tensors")
	}
	i := draw.IntN(len(tensors))
	name := tensors[i].Name
	tensors, did := mutateTensor(draw, tensors, i)
	var out bytes.Buffer
	if err := safetensors.Write(&out, tensors, file.Metadata()); err != nil {
		return nil, "", err
	}
	return out.Bytes(), name + ": " + did, nil
}

// mutateHeader changes the header, whose length fits it but now and then.
func mutateHeader(draw *rand.Rand, b []byte) ([]byte, string, error) {
	if len(b) < 8 {
		return nil, "", errJSON
	}
	n := binary.LittleEndian.Uint64(b)
	if n > uint64(len(b)-8) {
		return nil, "", errJSON
	}
	header, did, err := mutateJSON(draw, b[8:8+n])
	if err != nil {
		return nil, "", err
	}
	length := uint64(len(header))
	if draw.IntN(8) == 0 {
		length = [...]uint64{0, 1, length - 1, length + 1, 1 << 20, 1 << 40, math.MaxInt64, math.MaxUint64}[draw.IntN(8)]
		did += fmt.Sprintf(", header of %d", length)
	}
	return slices.Concat(binary.LittleEndian.AppendUint64(nil, length), header, b[8+n:]), did, nil
}

// mutateTensor changes the tensors around one of them.
func mutateTensor(draw *rand.Rand, all []safetensors.Tensor, i int) ([]safetensors.Tensor, string) {
	all = slices.Clone(all)
	t := &all[i]
	switch draw.IntN(10) {
	case 0:
		return slices.Delete(all, i, i+1), "removed"
	case 1:
		t.Name = [...]string{t.Name + "x", strings.TrimPrefix(t.Name, "base_model."), "model." + t.Name, strings.ToUpper(t.Name), "", strings.Replace(t.Name, "0", "99", 1), strings.Replace(t.Name, "q_proj", "k_proj", 1)}[draw.IntN(7)]
		if slices.IndexFunc(all, func(o safetensors.Tensor) bool { return o.Name == t.Name }) != i {
			t.Name += "'"
		}
		return all, "renamed to " + t.Name
	case 2:
		j := draw.IntN(len(all))
		t.Shape, all[j].Shape = all[j].Shape, t.Shape
		t.Data, all[j].Data = all[j].Data, t.Data
		t.DType, all[j].DType = all[j].DType, t.DType
		return all, "changed for " + all[j].Name
	case 3:
		t.Shape = slices.Clone(t.Shape)
		slices.Reverse(t.Shape)
		return all, fmt.Sprintf("shape %v", t.Shape)
	case 4:
		t.Shape = [][]int{{t.Len()}, slices.Concat([]int{1}, t.Shape), slices.Concat(t.Shape, []int{1}), {t.Len(), 1}, slices.Concat(t.Shape, []int{0})}[draw.IntN(5)]
		if t.Len() == 0 {
			t.Data = nil
		}
		return all, fmt.Sprintf("shape %v", t.Shape)
	case 5:
		extra := *t
		extra.Name = [...]string{t.Name + ".more", "base_model.model.x", "base_model.model.model.layers.0.self_attn.rotary_emb.inv_freq", "lm_head.weight", "model.norm.bias"}[draw.IntN(5)]
		if !slices.ContainsFunc(all, func(o safetensors.Tensor) bool { return o.Name == extra.Name }) {
			all = append(all, extra)
		}
		return all, "again as " + extra.Name
	case 6:
		*t = retyped(draw, *t)
		return all, "as " + string(t.DType)
	}
	values, err := t.Float32s()
	if err != nil || len(values) == 0 {
		return slices.Delete(all, i, i+1), "removed"
	}
	values = slices.Clone(values)
	did := setValues(draw, values)
	*t = safetensors.FromFloat32s(t.Name, t.Shape, values)
	return all, did
}

// retyped is a tensor's values, or its bytes, as another type.
func retyped(draw *rand.Rand, t safetensors.Tensor) safetensors.Tensor {
	values, err := t.Float32s()
	types := []safetensors.DType{safetensors.F16, safetensors.BF16, "F64", "I32", "U8", "BOOL", "F8_E4M3"}
	to := types[draw.IntN(len(types))]
	size := to.Size()
	if err != nil || size == 0 {
		return t
	}
	out := safetensors.Tensor{Name: t.Name, DType: to, Shape: t.Shape, Data: make([]byte, 0, size*len(values))}
	for _, v := range values {
		switch to {
		case safetensors.BF16:
			out.Data = binary.LittleEndian.AppendUint16(out.Data, uint16(math.Float32bits(v)>>16))
		case "F64":
			out.Data = binary.LittleEndian.AppendUint64(out.Data, math.Float64bits(float64(v)))
		case "I32":
			out.Data = binary.LittleEndian.AppendUint32(out.Data, uint32(int32(v)))
		case safetensors.F16:
			out.Data = binary.LittleEndian.AppendUint16(out.Data, half(v))
		default:
			out.Data = append(out.Data, make([]byte, size)...)
		}
	}
	return out
}

// half is the float16 towards zero of a value of some size.
func half(v float32) uint16 {
	bits := math.Float32bits(v)
	exponent := int(bits>>23&0xff) - 127 + 15
	sign := uint16(bits >> 16 & 0x8000)
	if exponent <= 0 || exponent >= 31 {
		return sign
	}
	return sign | uint16(exponent)<<10 | uint16(bits>>13&0x3ff)
}

// setValues sets some values to others.
func setValues(draw *rand.Rand, values []float32) string {
	at := draw.IntN(len(values))
	inf := float32(math.Inf(1))
	switch draw.IntN(9) {
	case 0:
		values[at] = float32(math.NaN())
	case 1:
		values[at] = inf
	case 2:
		values[at] = -inf
	case 3:
		values[at] = math.MaxFloat32
	case 4:
		values[at] = math.SmallestNonzeroFloat32
	case 5:
		clear(values)
		return "all zeros"
	case 6:
		for i := range values {
			values[i] *= 1e30
		}
		return "times 1e30"
	case 7:
		for i := range values {
			values[i] = -values[i]
		}
		return "negated"
	default:
		values[at] += 0.5
	}
	return fmt.Sprintf("value %d is %g", at, values[at])
}
