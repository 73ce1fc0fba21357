package kernels

// Operations that move rows rather than compute with them. They take no part
// of a Pool's threads unless they say so: each is bound by memory.

// Zero sets dst to 0.
func (p *Pool) Zero(dst Matrix) { dst.Zero() }

// Copy sets dst to src, which has the same shape.
func (p *Pool) Copy(dst, src Matrix) { dst.Copy(src) }

// Scale multiplies dst by f.
func (p *Pool) Scale(dst Matrix, f float32) {
	for r := range dst.Rows {
		row := dst.Row(r)
		for i := range row {
			row[i] *= f
		}
	}
}

// Gather sets row i of dst to row rows[i] of src, to 0 where that is negative.
func (p *Pool) Gather(dst, src Matrix, rows []int32) {
	for i, r := range rows {
		if r < 0 {
			clear(dst.Row(i))
			continue
		}
		copy(dst.Row(i), src.Row(int(r)))
	}
}

// Lookup sets row i of dst to row rows[i] of w, widened, to 0 where that is
// negative.
func (p *Pool) Lookup(dst Matrix, w Weight, rows []int32) {
	for i, r := range rows {
		if r < 0 {
			clear(dst.Row(i))
			continue
		}
		Decode(dst.Row(i), w.Format, w.Row(int(r)))
	}
}

// TakeColumns moves columns of src to dst, in the order listed: those of src
// become 0.
func (p *Pool) TakeColumns(dst, src Matrix, columns []int32) {
	for r := range dst.Rows {
		to, from := dst.Row(r), src.Row(r)
		for i, c := range columns {
			to[i], from[c] = from[c], 0
		}
	}
}

// PutColumns sets columns of dst to those of x, in the order listed.
func (p *Pool) PutColumns(dst, x Matrix, columns []int32) { putColumns(dst, x, columns) }

func putColumns(dst, x Matrix, columns []int32) {
	for r := range x.Rows {
		to, from := dst.Row(r), x.Row(r)
		for i, c := range columns {
			to[c] = from[i]
		}
	}
}

// AddRows adds row i of src to row rows[i] of dst, in order; a negative row is
// passed over. It is the gradient of Gather, and of a lookup.
func (p *Pool) AddRows(dst, src Matrix, rows []int32) {
	for i, r := range rows {
		if r >= 0 {
			Add(dst.Row(int(r)), src.Row(i))
		}
	}
}

// StoreKV writes the keys and values of the spans' rows, [rows, heads*headDim]
// each, into the cache.
func (p *Pool) StoreKV(kv KV, spans []Span, k, v Matrix) {
	t := &p.tasks.store
	*t = storeTask{kv, spans, k, v}
	p.Run((k.Rows+storeRows-1)/storeRows, t)
}

// storeRows is the number of rows in a part of StoreKV.
const storeRows = 16

type storeTask struct {
	kv    KV
	spans []Span
	k, v  Matrix
}

func (t *storeTask) Part(_ *Worker, part int) {
	from, to := part*storeRows, min((part+1)*storeRows, t.k.Rows)
	for _, s := range t.spans {
		for r := max(from, s.Start); r < min(to, s.End); r++ {
			position := s.Position + r - s.Start
			t.kv.Store(s.Blocks[position/BlockLen], position, t.k.Row(r), t.v.Row(r))
		}
	}
}

// LoadKV adds the keys and values that the cache holds for the spans' rows to
// k and v, of which either may be empty. row is scratch, [2, heads*headDim].
func (p *Pool) LoadKV(k, v Matrix, kv KV, spans []Span, row Matrix) {
	for _, s := range spans {
		for r := s.Start; r < s.End; r++ {
			position := s.Position + r - s.Start
			kv.Load(s.Blocks[position/BlockLen], position, row.Row(0), row.Row(1))
			if !k.Empty() {
				Add(k.Row(r), row.Row(0))
			}
			if !v.Empty() {
				Add(v.Row(r), row.Row(1))
			}
		}
	}
}
