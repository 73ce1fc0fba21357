package adapters

import "github.com/peft-serve/peft-serve/models"

// Beyond is a rank that no module of an adapter can make use of: B·A has at most the rank
// of the smaller side of its module.
type Beyond struct {
	Rank  int // the smallest that a module has
	Side  int // the smaller side of the module where it is largest
	Bytes int // of the adapter's values
}

// BeyondRank tells, before there are values, whether each LoRA of an adapter that is to be
// trained has a higher rank than its module has a use for; nil: one has not, or there is
// none. start is how its factors begin: of one that is saved converted, half of the rank
// is trained.
func BeyondRank(m models.Model, c *Config, start string) (*Beyond, error) {
	l, ok := c.Method.(*lora)
	if !ok {
		return nil, nil
	}
	params, err := Layout(m, c)
	if err != nil {
		return nil, err
	}
	var found *Beyond
	bytes := 0
	for _, p := range params {
		bytes += 4 * p.Len()
		if p.Role != Down || p.Site < 0 {
			continue
		}
		s, err := l.rank(m.Sites()[p.Site].Name)
		if err != nil {
			return nil, err
		}
		rank, side := s.r, smallerSide(m.Sites()[p.Site])
		if fromBase(start) {
			rank /= 2
		}
		if rank <= side {
			return nil, nil
		}
		if found == nil {
			found = &Beyond{Rank: rank}
		}
		found.Rank, found.Side = min(found.Rank, rank), max(found.Side, side)
	}
	if found != nil {
		found.Bytes = bytes
	}
	return found, nil
}

func smallerSide(s models.Site) int {
	if s.Kind == models.EmbeddingSite {
		return min(s.Embedding.W.Rows, s.Embedding.W.Cols)
	}
	return min(s.Linear.W.Rows, s.Linear.W.Cols)
}
