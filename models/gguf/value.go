package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// appendValue appends the kind and the bytes of a metadata value.
func appendValue(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendString(appendKind(b, kindString), v), nil
	case []string:
		b = binary.LittleEndian.AppendUint64(appendKind(b, kindArray, kindString), uint64(len(v)))
		for _, s := range v {
			b = appendString(b, s)
		}
		return b, nil
	case int:
		if v < 0 || v > math.MaxUint32 {
			return nil, fmt.Errorf("%d does not fit a uint32; set a sized integer", v)
		}
		return appendValue(b, uint32(v))
	case []int:
		narrow := make([]int32, len(v))
		for i, n := range v {
			if narrow[i] = int32(n); int(narrow[i]) != n {
				return nil, fmt.Errorf("%d does not fit an int32; set sized integers", n)
			}
		}
		return appendValue(b, narrow)
	}
	k, array := kindOf(v)
	if k == kindArray {
		return nil, fmt.Errorf("a %T cannot be stored", v)
	}
	if !array {
		return binary.Append(appendKind(b, k), binary.LittleEndian, v)
	}
	b = appendKind(b, kindArray, k)
	b = binary.LittleEndian.AppendUint64(b, uint64(binary.Size(v))/kindSizes[k])
	return binary.Append(b, binary.LittleEndian, v)
}

func appendKind(b []byte, kinds ...kind) []byte {
	for _, k := range kinds {
		b = binary.LittleEndian.AppendUint32(b, uint32(k))
	}
	return b
}

// kindOf is the kind of a fixed-size v, or of its elements where it is a
// slice; kindArray where v is neither.
func kindOf(v any) (k kind, array bool) {
	switch v.(type) {
	case uint8:
		return kindUint8, false
	case int8:
		return kindInt8, false
	case uint16:
		return kindUint16, false
	case int16:
		return kindInt16, false
	case uint32:
		return kindUint32, false
	case int32:
		return kindInt32, false
	case uint64:
		return kindUint64, false
	case int64:
		return kindInt64, false
	case float32:
		return kindFloat32, false
	case float64:
		return kindFloat64, false
	case bool:
		return kindBool, false
	case []uint8:
		return kindUint8, true
	case []int8:
		return kindInt8, true
	case []uint16:
		return kindUint16, true
	case []int16:
		return kindInt16, true
	case []uint32:
		return kindUint32, true
	case []int32:
		return kindInt32, true
	case []uint64:
		return kindUint64, true
	case []int64:
		return kindInt64, true
	case []float32:
		return kindFloat32, true
	case []float64:
		return kindFloat64, true
	case []bool:
		return kindBool, true
	}
	return kindArray, false
}
