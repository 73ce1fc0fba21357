package serve

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/models/tokenizer"
)

// crossEncoder are the classes of the head that reads both texts of a pair, and makes
// one score of them: that of the request's adapter, or else the base's. nil: there is
// none, and pairs are compared by their embeddings.
func (s *Server) crossEncoder(to selection) *models.Classes {
	classes, err := s.classesOf(to)
	if err != nil || classes.Task != models.Classify || len(classes.Names) != 1 {
		return nil
	}
	return classes
}

// compare scores pairs: by a cross-encoder, if there is one, or else by embeddings. raw
// wants the cross-encoder's scores as they are.
func (s *Server) compare(c *fiber.Ctx, to selection, p pairs, what *embedding, raw bool, arrived time.Time) (scores []float64, tokens int, err error) {
	classes := s.crossEncoder(to)
	if classes == nil {
		return s.cosines(c, to, p, what, arrived)
	}
	texts := make([]classifiable, len(p.second))
	for i := range texts {
		first := 0
		if len(p.first) > 1 {
			first = i
		}
		field := p.names[1](i)
		if len(p.first) > 1 {
			field = p.names[0](i)
		}
		texts[i] = classifiable{field: field, text: p.first[first], second: &p.second[i]}
	}
	ask := classification{field: what.field, truncate: what.truncate, left: what.left, activation: sigmoid}
	if raw || classes.Identity {
		ask.activation = noneOf
	}
	all, tokens, release, err := s.classify(c, to, classes, texts, &ask, arrived)
	if err != nil {
		return nil, 0, err
	}
	defer release() // scores are few
	for _, one := range all {
		scores = append(scores, one.scores[0][0])
	}
	return scores, tokens, nil
}

// pairOf are the tokens of two texts that are cut to the context, and their types.
func (s *Server) pairOf(c *fiber.Ctx, to selection, text *classified, what *classification) (ids, types []int32, err error) {
	var parts [2][]int32
	for i, part := range []string{text.text, *text.second} {
		ctx, done := s.attendLong(c, part)
		parts[i], err = to.text.AppendEncode(ctx, nil, part, tokenizer.Options{})
		done()
		if err != nil {
			return nil, nil, s.classifyFault(ctx, text.field, err)
		}
	}
	around, _ := to.text.JoinPair(nil, nil)
	parts[0], parts[1] = tokenizer.CutPair(parts[0], parts[1], max(to.room(s.context)-len(around), 0), what.left)
	ids, types = to.text.JoinPair(parts[0], parts[1])
	return ids, types, nil
}
