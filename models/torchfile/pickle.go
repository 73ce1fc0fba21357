package torchfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
)

// The values on a machine's stack are nil, bool, int, float64, string, tuple,
// *list, *dict, global, *storage and *tensor.
type (
	tuple []any
	list  struct{ items []any }
	dict  struct{ keys, values []any } // as set, repeats included
	mark  struct{}
)

// machine runs one pickle program.
type machine struct {
	b     []byte // the program; run consumes it
	stack []any
	memo  map[uint32]any
	// persistent makes the object of a persistent id.
	persistent func(id any) (any, error)
}

var (
	errEnds  = errors.New("the pickle ends early")
	errStack = errors.New("the pickle's stack does not hold what an opcode needs")
)

// run executes the program at the beginning of b and returns its value and
// the bytes after it.
func run(b []byte, persistent func(id any) (any, error)) (value any, rest []byte, err error) {
	m := &machine{b: b, memo: map[uint32]any{}, persistent: persistent}
	for {
		op, err := m.take(1)
		if err != nil {
			return nil, nil, err
		}
		if op[0] == '.' {
			value, err := m.pop()
			return value, m.b, err
		}
		if err := m.step(op[0]); err != nil {
			return nil, nil, fmt.Errorf("at byte %d: %w", len(b)-len(m.b), err)
		}
	}
}

// step executes one opcode, named as in CPython's pickle.py.
func (m *machine) step(op byte) error {
	switch op {
	case 0x80: // PROTO
		return m.skip(1)
	case 0x95: // FRAME
		return m.skip(8)
	case '(': // MARK
		m.push(mark{})
	case '0': // POP
		_, err := m.pop()
		return err
	case '1': // POP_MARK
		_, err := m.popMark()
		return err
	case 'N': // NONE
		m.push(nil)
	case 0x88, 0x89: // NEWTRUE, NEWFALSE
		m.push(op == 0x88)
	case 'K', 'M', 'J', 0x8a: // BININT1, BININT2, BININT, LONG1
		return m.integer(op)
	case 'I', 'L': // INT, LONG
		return m.integerText()
	case 'G': // BINFLOAT
		b, err := m.take(8)
		if err != nil {
			return err
		}
		m.push(math.Float64frombits(binary.BigEndian.Uint64(b)))
	case 'U', 0x8c, 'T', 'X', 0x8d: // SHORT_BINSTRING, SHORT_BINUNICODE, BINSTRING, BINUNICODE, BINUNICODE8
		return m.text(op)
	case ')', 0x85, 0x86, 0x87, 't': // EMPTY_TUPLE, TUPLE1, TUPLE2, TUPLE3, TUPLE
		return m.tuple(op)
	case ']': // EMPTY_LIST
		m.push(&list{})
	case '}': // EMPTY_DICT
		m.push(&dict{})
	case 'a', 'e', 's', 'u': // APPEND, APPENDS, SETITEM, SETITEMS
		return m.extend(op)
	case 'q', 'r', 0x94: // BINPUT, LONG_BINPUT, MEMOIZE
		return m.memoize(op)
	case 'h', 'j': // BINGET, LONG_BINGET
		return m.fromMemo(op)
	case 'c', 0x93, 'R', 'b', 'Q': // GLOBAL, STACK_GLOBAL, REDUCE, BUILD, BINPERSID
		return m.object(op)
	default:
		return fmt.Errorf("opcode %#02x is not one that a state dict needs", op)
	}
	return nil
}

func (m *machine) push(v any) { m.stack = append(m.stack, v) }

// pop removes the top of the stack, which must not be a mark.
func (m *machine) pop() (any, error) {
	if len(m.stack) == 0 {
		return nil, errStack
	}
	v := m.stack[len(m.stack)-1]
	if _, ok := v.(mark); ok {
		return nil, errStack
	}
	m.stack = m.stack[:len(m.stack)-1]
	return v, nil
}

// popN removes the n values on top.
func (m *machine) popN(n int) (tuple, error) {
	values := make(tuple, n)
	for i := range n {
		v, err := m.pop()
		if err != nil {
			return nil, err
		}
		values[n-1-i] = v
	}
	return values, nil
}

// popMark removes the values above the last mark, and the mark.
func (m *machine) popMark() (tuple, error) {
	for i := len(m.stack) - 1; i >= 0; i-- {
		if _, ok := m.stack[i].(mark); ok {
			values := append(tuple(nil), m.stack[i+1:]...)
			m.stack = m.stack[:i]
			return values, nil
		}
	}
	return nil, errStack
}

func (m *machine) take(n uint64) ([]byte, error) {
	if n > uint64(len(m.b)) {
		return nil, errEnds
	}
	b := m.b[:n]
	m.b = m.b[n:]
	return b, nil
}

func (m *machine) skip(n uint64) error {
	_, err := m.take(n)
	return err
}

// line returns the text up to the next newline, without it.
func (m *machine) line() (string, error) {
	text, rest, found := bytes.Cut(m.b, []byte{'\n'})
	if !found {
		return "", errEnds
	}
	m.b = rest
	return string(text), nil
}

// count reads an unsigned little-endian number of n bytes.
func (m *machine) count(n uint64) (uint64, error) {
	b, err := m.take(n)
	if err != nil {
		return 0, err
	}
	var wide [8]byte
	copy(wide[:], b)
	return binary.LittleEndian.Uint64(wide[:]), nil
}

func (m *machine) integer(op byte) error {
	size := map[byte]uint64{'K': 1, 'M': 2, 'J': 4}[op]
	if op == 0x8a {
		n, err := m.count(1)
		if err != nil {
			return err
		}
		if n > 8 {
			return fmt.Errorf("an integer of %d bytes", n)
		}
		size = n
	}
	v, err := m.count(size)
	switch {
	case err != nil:
		return err
	case op == 'J':
		m.push(int(int32(v)))
	case op == 0x8a && size > 0: // two's complement of size bytes
		shift := 64 - 8*size
		m.push(int(int64(v<<shift) >> shift))
	default:
		m.push(int(v))
	}
	return nil
}

func (m *machine) integerText() error {
	text, err := m.line()
	if err != nil {
		return err
	}
	switch text {
	case "00", "01": // how protocol 0 spells False and True
		m.push(text == "01")
		return nil
	}
	v, err := strconv.Atoi(string(bytes.TrimSuffix([]byte(text), []byte{'L'})))
	m.push(v)
	return err
}

func (m *machine) text(op byte) error {
	n, err := m.count(map[byte]uint64{'U': 1, 0x8c: 1, 'T': 4, 'X': 4, 0x8d: 8}[op])
	if err != nil {
		return err
	}
	b, err := m.take(n)
	m.push(string(b))
	return err
}

func (m *machine) tuple(op byte) (err error) {
	var items tuple
	if op == 't' {
		items, err = m.popMark()
	} else {
		items, err = m.popN(map[byte]int{')': 0, 0x85: 1, 0x86: 2, 0x87: 3}[op])
	}
	m.push(items)
	return err
}

// extend adds the values on top to the list or dict below them.
func (m *machine) extend(op byte) (err error) {
	var items tuple
	switch op {
	case 'a':
		items, err = m.popN(1)
	case 's':
		items, err = m.popN(2)
	default:
		items, err = m.popMark()
	}
	if err != nil || len(m.stack) == 0 {
		return errors.Join(err, errStack)
	}
	switch target := m.stack[len(m.stack)-1].(type) {
	case *list:
		if op == 'a' || op == 'e' {
			target.items = append(target.items, items...)
			return nil
		}
	case *dict:
		if (op == 's' || op == 'u') && len(items)%2 == 0 {
			for i := 0; i < len(items); i += 2 {
				target.keys = append(target.keys, items[i])
				target.values = append(target.values, items[i+1])
			}
			return nil
		}
	}
	return errStack
}

func (m *machine) memoize(op byte) error {
	if len(m.stack) == 0 {
		return errStack
	}
	at := uint64(len(m.memo))
	if op != 0x94 {
		var err error
		if at, err = m.count(map[byte]uint64{'q': 1, 'r': 4}[op]); err != nil {
			return err
		}
	}
	m.memo[uint32(at)] = m.stack[len(m.stack)-1]
	return nil
}

func (m *machine) fromMemo(op byte) error {
	at, err := m.count(map[byte]uint64{'h': 1, 'j': 4}[op])
	if err != nil {
		return err
	}
	v, ok := m.memo[uint32(at)]
	if !ok {
		return fmt.Errorf("value %d was never stored", at)
	}
	m.push(v)
	return nil
}
