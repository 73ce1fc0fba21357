package dataset

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"sort"

	"github.com/peft-serve/peft-serve/adapters/random"
	"github.com/peft-serve/peft-serve/models/chat"
)

// Set is the examples of some files.
type Set struct {
	files   []*file
	firsts  []int // the number of each file's first record
	format  Format
	encoder *Encoder
	pick    []int32 // the records in use; nil: all
	lengths []int32 // tokens, by record
	rows    []int32 // positions up to the last that predicts, by record
	labels  []int32 // positions that predict, by record
	packed  bool
	ends    []int64  // packed: tokens up to the end of each record in use
	window  int      // packed: tokens of a sequence
	spans   [][]span // packed: what predicts, by record
	windows []window // packed: those that have something to learn
	report  Report
}

// A window is a packed sequence.
type window struct {
	number int32 // in all tokens, one after the other
	rows   int32 // positions up to the last that predicts
	labels int32 // positions that predict
}

// Report is what reading the records once has shown.
type Report struct {
	Records int
	Tokens  int
	Labels  int
	Longest int
	Cut     int    // records longer than the limit
	Blank   int    // packed: windows with nothing to learn, which are left out
	Digest  string // of the tokens
}

// Options say how files are read.
type Options struct {
	Format   string // one of Formats
	Columns  Columns
	Header   []string // the columns of a table without a header row
	Task     *Task    // in Format's place; nil: none
	Template *chat.Template
	Pack     bool // fill each sequence up to the limit with what follows
}

// Open reads every record once.
func Open(paths []string, e *Encoder, o Options) (*Set, error) {
	s := &Set{encoder: e, packed: o.Pack, window: e.MaxLength}
	if len(paths) == 0 {
		return nil, errors.New("no data is named")
	}
	n := 0
	for _, path := range paths {
		f, err := openFile(path, o.Header)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		s.files, s.firsts = append(s.files, f), append(s.firsts, n)
		n += len(f.lines)
	}
	if err := s.read(n, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Set) read(n int, o Options) error {
	first, err := s.Record(0)
	if err != nil {
		return err
	}
	if o.Task != nil {
		s.format = o.Task
	} else if s.format, err = NewFormat(o.Format, o.Columns, first, o.Template); err != nil {
		return err
	}
	s.lengths, s.rows, s.labels = make([]int32, n), make([]int32, n), make([]int32, n)
	s.report.Records = n
	if s.packed {
		s.spans = make([][]span, n)
	}
	digest := sha256.New()
	var buffer []byte
	for i := range n {
		r, x, err := s.example(i)
		if err != nil {
			return err
		}
		whole := *s.encoder
		if s.packed {
			whole.MaxLength = 1 << 30
		}
		seq, cut, err := whole.Sequence(x)
		if err != nil {
			return r.fault("%w", err)
		}
		labels := seq.Labels()
		if labels == 0 && !s.packed {
			return r.fault("nothing is left to learn within %d tokens: %q", s.encoder.MaxLength, clip(x.Answer()))
		}
		s.lengths[i], s.rows[i], s.labels[i] = int32(len(seq.Tokens)), int32(seq.Last()+1), int32(labels)
		if s.packed {
			s.spans[i] = seq.spans()
		}
		s.report.Tokens += len(seq.Tokens)
		s.report.Labels += labels
		s.report.Longest = max(s.report.Longest, len(seq.Tokens))
		if cut {
			s.report.Cut++
		}
		buffer = binary.LittleEndian.AppendUint32(buffer[:0], uint32(len(seq.Tokens)))
		for k, token := range seq.Tokens {
			buffer = binary.LittleEndian.AppendUint32(buffer, uint32(token))
			buffer = binary.LittleEndian.AppendUint32(buffer, uint32(seq.Targets[k]))
		}
		_, _ = digest.Write(buffer) // a hash never fails
	}
	s.report.Digest = hex.EncodeToString(digest.Sum(nil)[:8])
	s.measure()
	if s.packed && len(s.windows) == 0 {
		return fmt.Errorf("%s: packed in %d tokens, no sequence has anything to learn", s.files[0].path, s.window)
	}
	return nil
}

// measure finds the ends of the records in use, for packing, and the windows
// in which a position predicts something.
func (s *Set) measure() {
	if !s.packed {
		return
	}
	s.ends, s.windows = s.ends[:0], nil
	total, length := int64(0), int64(s.window)
	for i := range s.count() {
		total += int64(s.lengths[s.record(i)])
		s.ends = append(s.ends, total)
	}
	all := max(1, total/length) // what is left over at the end is not used
	for i := range s.count() {
		record := s.record(i)
		start := s.ends[i] - int64(s.lengths[record])
		for _, own := range s.spans[record] {
			from, to := start+int64(own.from), start+int64(own.to)
			for w := from / length; w < all && w*length < to; w++ {
				// The last position of a window predicts nothing.
				first, end := max(from, w*length), min(to, (w+1)*length-1)
				if first >= end {
					continue
				}
				if n := len(s.windows); n == 0 || s.windows[n-1].number != int32(w) {
					s.windows = append(s.windows, window{number: int32(w)})
				}
				last := &s.windows[len(s.windows)-1]
				last.rows, last.labels = int32(end-w*length), last.labels+int32(end-first)
			}
		}
	}
	s.report.Blank = int(all) - len(s.windows)
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

// Record returns a record of the files by number.
func (s *Set) Record(i int) (*Record, error) {
	f := sort.Search(len(s.firsts), func(k int) bool { return s.firsts[k] > i }) - 1
	return s.files[f].read(i - s.firsts[f])
}

func (s *Set) example(i int) (*Record, Example, error) {
	r, err := s.Record(i)
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
	return len(s.lengths)
}

func (s *Set) record(i int) int {
	if s.pick != nil {
		return int(s.pick[i])
	}
	return i
}

// Len is the number of sequences.
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

// Sequence returns sequence i.
func (s *Set) Sequence(i int) (Sequence, error) {
	if s.packed {
		return s.packedSequence(i)
	}
	x, err := s.Example(i)
	if err != nil {
		return Sequence{}, err
	}
	q, _, err := s.encoder.Sequence(x)
	return q, err
}

// packedSequence cuts the window of sequence i out of all records, one after the other.
func (s *Set) packedSequence(i int) (Sequence, error) {
	from := int64(s.windows[i].number) * int64(s.window)
	to := from + int64(s.window)
	var q Sequence
	whole := *s.encoder
	whole.MaxLength = 1 << 30
	for k := sort.Search(len(s.ends), func(k int) bool { return s.ends[k] > from }); k < len(s.ends); k++ {
		start := s.ends[k] - int64(s.lengths[s.record(k)])
		if start >= to {
			break
		}
		x, err := s.Example(k)
		if err != nil {
			return Sequence{}, err
		}
		part, _, err := whole.Sequence(x)
		if err != nil {
			return Sequence{}, err
		}
		a, b := max(from-start, 0), min(to-start, int64(len(part.Tokens)))
		q.Tokens = append(q.Tokens, part.Tokens[a:b]...)
		q.Targets = append(q.Targets, part.Targets[a:b]...)
		q.Targets[len(q.Targets)-1] = None // the next window's, or another text's
	}
	return q, nil
}

// Keep leaves only the first n examples in use.
func (s *Set) Keep(n int) {
	n = min(n, s.count())
	pick := make([]int32, n)
	for i := range pick {
		pick[i] = int32(s.record(i))
	}
	s.pick = pick
	s.measure()
}

// Split takes a fraction of the examples out, drawn by seed, as a Set of their
// own: for validation.
func (s *Set) Split(fraction float64, seed uint64) (*Set, error) {
	n := s.count()
	held := int(fraction * float64(n))
	if held < 1 || held >= n {
		return nil, fmt.Errorf("a share of %g of %d examples leaves nothing on one side", fraction, n)
	}
	order := random.Named(seed, "split").Permutation(n)
	other := *s
	var mine, theirs []int32
	out := make([]bool, n)
	for _, i := range order[:held] {
		out[i] = true
	}
	for i := range n {
		if out[i] {
			theirs = append(theirs, int32(s.record(i)))
		} else {
			mine = append(mine, int32(s.record(i)))
		}
	}
	s.pick, other.pick = mine, theirs
	other.packed, other.ends = false, nil // what is measured are examples
	s.measure()
	if s.packed && len(s.windows) == 0 {
		return nil, fmt.Errorf("a share of %g of %d examples leaves nothing to learn", fraction, n)
	}
	return &other, nil
}

// Order is the order of an epoch.
type Order struct {
	Set     *Set
	Seed    uint64
	Shuffle bool

	epoch int
	order []int
}

// At returns the sequence that is number n of the run: epochs follow each other
// without a break.
func (o *Order) At(n int) (Sequence, error) { return o.Set.Sequence(o.index(n)) }

// Size tells of sequence n how many positions are computed, and how many
// predict, without making it.
func (o *Order) Size(n int) (rows, labels int) {
	i := o.index(n)
	if o.Set.packed {
		return int(o.Set.windows[i].rows), int(o.Set.windows[i].labels)
	}
	i = o.Set.record(i)
	return int(o.Set.rows[i]), int(o.Set.labels[i])
}

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
