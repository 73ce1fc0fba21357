package grammar

// product is the texts of one expression that are also of another, or that are
// not: neither may call rules.
type product struct {
	a, b    expr
	without bool // those of a that are not of b
}

func (p product) build(b *builder, from, to int) {
	var sides [2][]state
	for i, e := range []expr{p.a, p.b} {
		if sides[i], b.fault = rule(e, 0, b.left); b.fault != nil {
			return
		}
		b.left.spend(prune(sides[i], nil))
	}
	type pair struct{ a, b int32 } // b is -1 where nothing of it is left
	at := map[pair]int{{0, 0}: from}
	for waiting := []pair{{0, 0}}; len(waiting) > 0 && b.fault == nil; {
		now := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		others := 0
		if now.b >= 0 {
			others = len(sides[1][now.b].bytes)
		}
		if !b.left.spend(1 + len(sides[0][now.a].bytes)*(1+others)) {
			b.fault = ErrTooLarge
			return
		}
		final := now.b >= 0 && sides[1][now.b].final
		if sides[0][now.a].final && final != p.without {
			b.skip(at[now], to)
		}
		reach := func(lo, hi byte, next pair) {
			n, known := at[next]
			if !known {
				n = b.state()
				at[next] = n
				waiting = append(waiting, next)
			}
			b.edge(at[now], lo, hi, n)
		}
		for _, e := range sides[0][now.a].bytes {
			lo := int(e.lo)
			if now.b >= 0 {
				for _, f := range sides[1][now.b].bytes {
					if f.hi < byte(lo) || f.lo > e.hi {
						continue
					}
					if p.without && int(f.lo) > lo {
						reach(byte(lo), f.lo-1, pair{e.to, -1})
					}
					reach(max(byte(lo), f.lo), min(e.hi, f.hi), pair{e.to, f.to})
					if lo = int(f.hi) + 1; lo > int(e.hi) {
						break
					}
				}
			}
			if p.without && lo <= int(e.hi) {
				reach(byte(lo), e.hi, pair{e.to, -1})
			}
		}
	}
}
