package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math"
	"sort"

	"github.com/peft-serve/peft-serve/adapters/random"
)

// Set is the examples of some files.
type Set struct {
	files   []*file
	firsts  []int // the number of each file's first record
	format  Format
	encoder *Encoder
	pick    []int32 // the records in use; nil: all
	parts   []part  // one a record, in order; packed: one or more
	each    int     // parts of every record, unless it is packed
	packed  bool
	windows [][]int32 // packed: the parts of each
	ignored []string  // columns
	report  Report
}

// Report is what reading the records once has shown.
type Report struct {
	Records int
	Tokens  int
	Labels  int
	Longest int
	Cut     int    // records longer than the limit
	Digest  string // of the tokens
}

// Options say how files are read.
type Options struct {
	Format  string // one of Formats
	Columns Columns
	Header  []string // the columns of a table without a header row
	Task    *Task    // in Format's place; nil: none
	Labels  *Labels  // in Format's place, of a head; nil: text is learnt
	Chat    Chat
	Pack    bool // fill sequences up to the limit with as many texts as have room
}

// Open reads every record once.
func Open(paths []string, e *Encoder, o Options) (*Set, error) {
	s := &Set{encoder: e, packed: o.Pack}
	n, err := s.openFiles(paths, o)
	if err == nil {
		err = s.readAll(n, o)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// openFiles opens the files and counts their records.
func (s *Set) openFiles(paths []string, o Options) (n int, err error) {
	if len(paths) == 0 {
		return 0, errors.New("no data is named")
	}
	for _, path := range paths {
		header := o.Header
		if o.Task != nil && o.Task.headed(firstRow(path)) {
			header = nil
		}
		f, err := openFile(path, header)
		if err != nil {
			return 0, err
		}
		s.files, s.firsts = append(s.files, f), append(s.firsts, n)
		n += len(f.lines)
	}
	return n, nil
}

func (s *Set) readAll(n int, o Options) error {
	s.ignored = o.Columns.Ignore
	first, err := s.read(0)
	if err != nil {
		return err
	}
	switch {
	case o.Labels != nil && o.Task != nil:
		s.format = newTaskFormat(o.Task, o.Labels)
	case o.Labels != nil:
		s.format = newLabelFormat(o.Columns, o.Labels)
	case s.encoder.Recipe != nil:
		if s.format, err = newComparedFormat(first); err != nil {
			return err
		}
	case o.Task != nil:
		s.format = o.Task
	default:
		if s.format, err = NewFormat(o.Format, o.Columns, first, o.Chat); err != nil {
			return err
		}
	}
	s.report.Records = n
	digest := sha256.New()
	var buffer []byte
	for i := range n {
		r, x, err := s.example(i)
		if err != nil {
			return err
		}
		if o.Task == nil { // a task's files have columns beside its own
			if err := unread(r, s.format, o.Columns); err != nil {
				return err
			}
		}
		parts, cut, err := s.encoded(x)
		if err != nil {
			return r.fault("%w", err)
		}
		if cut {
			s.report.Cut++
		}
		length, most := 0, 0
		s.each = len(parts)
		for k, q := range parts {
			labels := q.Labels()
			if labels == 0 {
				return r.fault("nothing is left to learn within %d tokens: %q", s.encoder.MaxLength, clip(x.Answer()))
			}
			if err := s.encoder.check(q); err != nil {
				return r.fault("%w", err)
			}
			s.parts = append(s.parts, part{int32(i), int32(k), int32(len(q.Tokens)), int32(q.Rows()), int32(labels)})
			s.report.Labels += labels
			length += len(q.Tokens)
			if most = max(most, len(q.Tokens)); x.Compared == nil { // or else each is by itself
				most = length
			}
			buffer = q.appendTo(buffer[:0])
			_, _ = digest.Write(buffer) // a hash never fails
		}
		s.report.Tokens += length
		s.report.Longest = max(s.report.Longest, most)
	}
	s.report.Digest = hex.EncodeToString(digest.Sum(nil)[:8])
	s.arrange()
	return nil
}

// appendTo appends tokens, targets and values to b.
func (s Sequence) appendTo(b []byte) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Tokens)))
	for i, token := range s.Tokens {
		b = binary.LittleEndian.AppendUint32(b, uint32(token))
		b = binary.LittleEndian.AppendUint32(b, uint32(s.Targets[i]))
	}
	for _, v := range s.Values {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}

// encoded are the sequences of an example: one, unless it is packed and long.
func (s *Set) encoded(x Example) (parts []Sequence, cut bool, err error) {
	switch {
	case s.packed:
		return s.encoder.Parts(x)
	case s.encoder.Recipe != nil:
		return s.encoder.compared(x)
	}
	q, cut, err := s.encoder.Sequence(x)
	return []Sequence{q}, cut, err
}

// arrange packs the records in use.
func (s *Set) arrange() {
	if !s.packed {
		return
	}
	used := func(int32) bool { return true }
	if s.pick != nil {
		in := make([]bool, s.report.Records)
		for _, record := range s.pick {
			in[record] = true
		}
		used = func(record int32) bool { return in[record] }
	}
	s.windows = pack(s.parts, used, s.encoder.MaxLength)
}

// Close closes the files.
func (s *Set) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.f.Close())
	}
	return errors.Join(errs...)
}

// Report tells what reading the records has shown.
func (s *Set) Report() Report { return s.report }

// Reads implements Examples.
func (s *Set) Reads() []string { return s.format.Reads() }

// read returns a record of the files by number.
func (s *Set) read(i int) (*Record, error) {
	f := sort.Search(len(s.firsts), func(k int) bool { return s.firsts[k] > i }) - 1
	r, err := s.files[f].read(i - s.firsts[f])
	if err == nil {
		r.without(s.ignored)
	}
	return r, err
}

func (s *Set) example(i int) (*Record, Example, error) {
	r, err := s.read(i)
	if err != nil {
		return nil, Example{}, err
	}
	x, err := s.format.Example(r)
	return r, x, err
}

func (s *Set) count() int {
	if s.pick != nil {
		return len(s.pick)
	}
	return s.report.Records
}

func (s *Set) record(i int) int {
	if s.pick != nil {
		return int(s.pick[i])
	}
	return i
}

// Len is the number of examples or, packed, of windows.
func (s *Set) Len() int {
	if !s.packed {
		return s.count()
	}
	return len(s.windows)
}

// Example returns example i, for evaluation.
func (s *Set) Example(i int) (Example, error) {
	_, x, err := s.example(s.record(i))
	return x, err
}

// Sequence returns example i as one sequence, for evaluation.
func (s *Set) Sequence(i int) (Sequence, error) {
	x, err := s.Example(i)
	if err != nil {
		return Sequence{}, err
	}
	q, _, err := s.encoder.Sequence(x)
	return q, err
}

// Prompt returns what the server is given to answer example i.
func (s *Set) Prompt(i int) (Prompt, error) {
	r, x, err := s.example(s.record(i))
	if err != nil {
		return Prompt{}, err
	}
	if f, ok := s.format.(interface {
		Prompt(r *Record) (Prompt, error)
	}); ok {
		return f.Prompt(r)
	}
	return Prompt{Text: x.Prompt(), Rendered: x.Rendered}, nil
}

// Sequences returns those of example i or, packed, of window i.
func (s *Set) Sequences(i int) ([]Sequence, error) {
	if !s.packed {
		x, err := s.Example(i)
		if err != nil {
			return nil, err
		}
		all, _, err := s.encoded(x)
		return all, err
	}
	var all []Sequence
	for _, n := range s.windows[i] {
		p := s.parts[n]
		_, x, err := s.example(int(p.record))
		if err != nil {
			return nil, err
		}
		parts, _, err := s.encoder.Parts(x)
		if err != nil {
			return nil, err
		}
		all = append(all, parts[p.number])
	}
	return all, nil
}

// sizes tells of the sequences of i what they cost, without making them.
func (s *Set) sizes(i int) []Size {
	var all []Size
	if !s.packed {
		first := s.each * s.record(i)
		for _, p := range s.parts[first : first+s.each] {
			all = append(all, Size{int(p.rows), int(p.labels)})
		}
		return all
	}
	for _, n := range s.windows[i] {
		all = append(all, Size{int(s.parts[n].rows), int(s.parts[n].labels)})
	}
	return all
}

// Keep leaves only the first n examples in use.
func (s *Set) Keep(n int) {
	n = min(n, s.count())
	pick := make([]int32, n)
	for i := range pick {
		pick[i] = int32(s.record(i))
	}
	s.pick = pick
	s.arrange()
}

// Split takes a fraction of the examples out, drawn by seed, as a Set of their
// own: for validation.
func (s *Set) Split(fraction float64, seed uint64) (Examples, error) {
	n := s.count()
	out, err := drawn(n, fraction, seed)
	if err != nil {
		return nil, err
	}
	other := *s
	var mine, theirs []int32
	for i := range n {
		if out[i] {
			theirs = append(theirs, int32(s.record(i)))
		} else {
			mine = append(mine, int32(s.record(i)))
		}
	}
	s.pick, other.pick = mine, theirs
	other.packed, other.windows = false, nil // what is measured are examples
	s.arrange()
	return &other, nil
}

// Order is the order of an epoch.
type Order struct {
	Set     Examples
	Seed    uint64
	Shuffle bool

	epoch int
	order []int
}

// At returns the sequences of number n of the run: an example's one or those
// of a packed window. Epochs follow each other without a break.
func (o *Order) At(n int) ([]Sequence, error) { return o.Set.Sequences(o.index(n)) }

// Sizes tells of number n what its sequences cost, without making them.
func (o *Order) Sizes(n int) []Size { return o.Set.sizes(o.index(n)) }

// index is the place in the set of number n of the run.
func (o *Order) index(n int) int {
	size := o.Set.Len()
	epoch, i := n/size, n%size
	if !o.Shuffle {
		return i
	}
	if o.order == nil || epoch != o.epoch {
		o.epoch = epoch
		o.order = random.New(random.Named(o.Seed, "order").Uint64(0), uint64(epoch)).Permutation(size)
	}
	return o.order[i]
}
