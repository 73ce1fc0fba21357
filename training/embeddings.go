package training

import (
	"context"
	"fmt"
	"strings"

	"github.com/peft-serve/peft-serve/kernels"
	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/pooling"
	"github.com/peft-serve/peft-serve/training/dataset"
	"github.com/peft-serve/peft-serve/training/metric"
)

// recipe is how the base's embeddings are made.
func (o *Opened) recipe() (*pooling.Recipe, error) {
	var r *pooling.Recipe
	var err error
	if o.Source.GGUF != nil {
		r, err = pooling.FromGGUF(o.Source.GGUF)
	} else {
		r, err = pooling.Load(o.Path)
	}
	if err != nil {
		return nil, err
	}
	return Embeddings(r, o.Model.Config())
}

// Embeddings is how a base's embeddings are made: as its files say, own, or where that is
// nil as the server does it without. Its error is pooling.ErrRecipe: own does not fit.
func Embeddings(own *pooling.Recipe, c *models.Config) (*pooling.Recipe, error) {
	if own == nil {
		own = pooling.Default(c.Causal)
	}
	return own, own.Check(c.Hidden)
}

// compares settles what a run needs whose texts are compared by their embeddings.
func (r *Run) compares() (err error) {
	for flag, given := range map[string]bool{
		"task: its rows have labels": r.Task != "", "packing: each text is computed by itself anyway": r.Packing,
		"learn-prompt: texts are no prompts": r.LearnPrompt,
	} {
		if given {
			return fmt.Errorf("--%s, and --objective %s compares texts by their embeddings", flag, contrasts)
		}
	}
	if err := formless(r.Format, r.Turns); err != nil {
		return err
	}
	if err := r.headless(); err != nil {
		return err
	}
	if err := r.Base.Model.Config().Architecture.Check(models.Encode); err != nil {
		return err
	}
	if r.recipe, err = r.Base.recipe(); err != nil {
		return fmt.Errorf("--objective %s: %w", contrasts, err)
	}
	return nil
}

// embeddings are those of texts, as the server answers with them.
func (e *evaluator) embeddings(batch []Sequence) [][]float32 {
	e.rows.fill(batch, e.adapter, nil)
	h := e.model.Forward(e.pass, &e.rows.Batch, nil)
	pooled := kernels.NewMatrix(len(batch), len(e.objective.Recipe.Modes)*h.Data.Cols)
	e.objective.pool(pooled, h.Data, batch)
	e.pass.Free(h)
	rows := make([][]float32, len(batch))
	for i := range rows {
		rows[i] = e.objective.Recipe.Embedding(pooled.Row(i))
	}
	return rows
}

// compared is a set in embeddings: of each row those of its texts.
type compared struct {
	rows   [][][]float32
	scores []float64 // how near the two texts of each row are; empty: the first two belong together
}

// compareAll computes the embeddings of a set.
func (e *evaluator) compareAll(ctx context.Context, set dataset.Examples) (c compared, err error) {
	var waiting []Sequence
	size := 0
	take := func() {
		rows := e.embeddings(waiting)
		if e.each != nil {
			e.hear(waiting, rows)
		}
		for i, s := range waiting {
			if s.Text == 0 {
				c.rows = append(c.rows, nil)
				if s.Values != nil {
					c.scores = append(c.scores, float64(s.Values[0]))
				}
			}
			last := len(c.rows) - 1
			c.rows[last] = append(c.rows[last], rows[i])
		}
		waiting, size = waiting[:0], 0
	}
	for i := range set.Len() {
		texts, err := set.Sequences(i)
		if err != nil {
			return c, err
		}
		more := 0
		for _, s := range texts {
			more += s.Rows()
		}
		if len(waiting) > 0 && size+more > evalRows {
			if err := ctx.Err(); err != nil {
				return c, err
			}
			take()
		}
		waiting, size = append(waiting, texts...), size+more
	}
	take()
	return c, nil
}

// hear tells of the embeddings of each example's texts.
func (e *evaluator) hear(batch []Sequence, rows [][]float32) {
	for from := 0; from < len(batch); {
		to := from + 1
		for to < len(batch) && batch[to].Text > 0 {
			to++
		}
		own := kernels.NewMatrix(to-from, len(rows[from]))
		for i := range own.Rows {
			copy(own.Row(i), rows[from+i])
		}
		e.each(own)
		from = to
	}
}

// compare measures embeddings on a set.
func (e *evaluator) compare(ctx context.Context, set dataset.Examples) (Scores, error) {
	c, err := e.compareAll(ctx, set)
	if err != nil {
		return nil, err
	}
	s := Scores{"loss": c.loss(e.batch)}
	if len(c.scores) > 0 {
		var cosines []float64
		for _, row := range c.rows {
			cosines = append(cosines, pooling.Cosine(row[0], row[1]))
		}
		s["pearson"], s["spearman"] = metric.Pearson(c.scores, cosines), metric.Spearman(c.scores, cosines)
		return s, nil
	}
	s["accuracy@1"], s["mrr@10"] = metric.Retrieval(c.ranks(e.pass))
	return s, nil
}

// loss is that a row, of micro-batches of so many in their order.
func (c *compared) loss(batch int) float64 {
	sum := 0.0
	for from := 0; from < len(c.rows); from += batch {
		var units []unit
		var rows []pair
		for i := from; i < min(from+batch, len(c.rows)); i++ {
			var p pair
			if len(c.scores) > 0 {
				p.score = []float32{float32(c.scores[i])}
			}
			for _, row := range c.rows[i] {
				p.texts = append(p.texts, len(units))
				units = append(units, newUnit(row))
			}
			rows = append(rows, p)
		}
		sum += total(nearness(units, rows, 0))
	}
	return sum / float64(len(c.rows))
}

// rankedRows is the number of rows of which all cosines are held at once.
const rankedRows = 64

// ranks are the places, from 0, at which each row's second text stands among all texts of
// the set that are not the first of a row, by the cosine with the row's first.
func (c *compared) ranks(p *models.Pass) []int {
	var all [][]float32
	for text := 1; text < len(c.rows[0]); text++ {
		for _, row := range c.rows {
			all = append(all, row[text])
		}
	}
	candidates := kernels.WeightOf(unitRows(all))
	ranks := make([]int, len(c.rows))
	for from := 0; from < len(ranks); from += rankedRows {
		to := min(from+rankedRows, len(ranks))
		var anchors [][]float32
		for _, row := range c.rows[from:to] {
			anchors = append(anchors, row[0])
		}
		cosines := kernels.NewMatrix(to-from, candidates.Rows)
		p.MatMul(cosines, unitRows(anchors), candidates)
		for i := range to - from {
			own := cosines.Row(i)[from+i]
			for k, v := range cosines.Row(i) { // of equal ones the first: embeddings that are all the same find nothing
				if k != from+i && !(v < own) && (v != own || k < from+i) {
					ranks[from+i]++
				}
			}
		}
	}
	return ranks
}

// unitRows are copies of rows, of length 1.
func unitRows(rows [][]float32) kernels.Matrix {
	m := kernels.NewMatrix(len(rows), len(rows[0]))
	for i, row := range rows {
		copy(m.Row(i), row)
		pooling.Normalize(m.Row(i))
	}
	return m
}

// compareMeasures are the metrics of embeddings on a set.
func compareMeasures(set dataset.Examples) []string {
	s, err := set.Sequence(0)
	if err == nil && s.Values != nil {
		return []string{"loss", "pearson", "spearman"}
	}
	return []string{"loss", "accuracy@1", "mrr@10"}
}

// comparisons are the first rows of a set, with the cosines of their texts.
func (e *evaluator) comparisons(set dataset.Examples, n int) (all []comparison, err error) {
	for i := range n {
		x, err := set.Example(i)
		if err != nil {
			return nil, err
		}
		texts, err := set.Sequences(i)
		if err != nil {
			return nil, err
		}
		rows := e.embeddings(texts)
		s := Sample{Prompt: strings.Join(x.Compared, "\n\n"), Want: "the second the nearest to the first"}
		if x.Values != nil {
			s.Want = fmt.Sprintf("%.4g", x.Value)
		}
		for _, row := range rows[1:] {
			s.Got += fmt.Sprintf("%.4f ", pooling.Cosine(rows[0], row))
		}
		all = append(all, comparison{Sample: s})
	}
	return all, nil
}
