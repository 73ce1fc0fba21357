package models

import "github.com/peft-serve/peft-serve/kernels"

// Texts of the same tokens have the same rows up to the first layer that their
// adapters act in. A batch computes those rows once, as the base's: the texts ride on
// one trunk up to the layer where they part. Since a row depends on what acts on it
// and on nothing else (law 1), each text gets the bits that it gets alone.

// Trunk is what texts have in common that have the same tokens, types and positions.
// The zero Trunk is ready for use.
type Trunk struct {
	kept   []keptRows
	number int // 1 + its number in the batch that is being laid out; 0: it is in none
}

// keptRows are rows of a trunk, from one of its text's on, as they go into a layer or,
// where that is the number of layers, as they come out of the last.
type keptRows struct {
	layer, from int
	rows        kernels.Matrix
}

// Rows is the number of rows that the trunk keeps for texts to come.
func (t *Trunk) Rows() (n int) {
	for _, k := range t.kept {
		n += k.rows.Rows
	}
	return n
}

// find returns the rows [from, to) that go into a layer; nil: they are not kept.
func (t *Trunk) find(layer, from, to int) *keptRows {
	for i := range t.kept {
		if k := &t.kept[i]; k.layer == layer && k.from <= from && to <= k.from+k.rows.Rows {
			return k
		}
	}
	return nil
}

// keep copies rows that go into a layer, as far as the batch may keep any.
func (b *Batch) keep(p *Pass, t *Trunk, layer, from int, rows kernels.Matrix) {
	if rows.Rows > b.MayKeep {
		return
	}
	b.MayKeep -= rows.Rows
	k := keptRows{layer, from, kernels.NewMatrix(rows.Rows, rows.Cols)}
	p.Copy(k.rows, rows)
	t.kept = append(t.kept, k)
}

// Ride says on which trunk a text rides, and how far.
type Ride struct {
	Trunk  *Trunk
	Layers int  // the lowest layers, in which its adapter does not act; all of them: it acts behind them, if at all
	Keep   bool // texts of the trunk are to come in other batches
}

// AddRider is AddText of a text that rides on a trunk.
func (b *Batch) AddRider(tokens, types []int32, position int, a Adapter, on Ride) {
	t := rider{adapter: a, layers: on.Layers, trunk: -1, lead: len(b.riders)}
	if on.Trunk != nil {
		if on.Trunk.number == 0 {
			b.trunks = append(b.trunks, company{trunk: on.Trunk, last: -1})
			on.Trunk.number = len(b.trunks)
		}
		t.trunk = on.Trunk.number - 1
		g := &b.trunks[t.trunk]
		if g.last >= 0 && b.riders[g.last].adapter == a { // sequences of one adapter stand side by side
			t.lead = b.riders[g.last].lead
		}
		g.last, g.keep = len(b.riders), g.keep || on.Keep
	}
	b.riders = append(b.riders, t)
	b.addText(tokens, types, position, a)
}

// rider is a text of a batch of which some ride on trunks.
type rider struct {
	adapter Adapter
	trunk   int // of the batch; -1: it rides on no trunk
	lead    int // the first text on its trunk that has the same adapter
	layers  int // see Ride
	from    int // the first of its rows that is wanted
	to      int // behind the last of them
	kept    bool
	at      int // where its rows are in the stage under way, apart from the trunk's; -1: nowhere
}

// company is the texts of a batch that ride on one trunk.
type company struct {
	trunk    *Trunk
	last     int  // text
	keep     bool // rows are kept for texts to come
	from, to int  // layers for which the trunk is computed
	wanted   [2]int
	at       int // where the trunk's rows are in the stage under way; -1: nowhere
	first    int // the number of its first kept row, of those that come out of the last layer
}
