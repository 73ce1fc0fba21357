package main

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// form is what answers are kept to.
type form struct {
	text    string // as it was written
	grammar *grammar.Grammar
}

// drawGrammars draws as many schemas, among them those of tools that are called,
// regular expressions and choices.
func drawGrammars(draw *rand.Rand, n int) (all []*form, err error) {
	for range n {
		f := &form{}
		switch draw.IntN(6) {
		case 0:
			f.text = drawRegex(draw, 2)
			f.grammar, err = grammar.Regex(f.text)
		case 1:
			var texts []string
			for range 1 + draw.IntN(6) {
				texts = append(texts, "abcab"[draw.IntN(3):][:1+draw.IntN(2)]+fmt.Sprint(draw.IntN(50)))
			}
			f.text = strings.Join(texts, " or ")
			f.grammar, err = grammar.Choice(texts)
		case 2:
			f.text = drawCalls(draw)
			f.grammar, err = grammar.Schema([]byte(f.text))
		default:
			f.text = drawSchema(draw, schemaDepth)
			f.grammar, err = grammar.Schema([]byte(f.text))
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.text, err)
		}
		all = append(all, f)
	}
	return all, nil
}

// schemaDepth is how deep schemas are nested.
const schemaDepth = 3

// drawSchema draws a schema in which others are nested so deep.
func drawSchema(draw *rand.Rand, deep int) string {
	kinds := 9
	switch deep {
	case 0:
		kinds = 6
	case schemaDepth: // which references begin at
		kinds = 10
	}
	switch draw.IntN(kinds) {
	case 0:
		return fmt.Sprintf(`{"type":"integer","minimum":%d,"maximum":%d}`, -draw.IntN(300), draw.IntN(5000))
	case 1:
		return `{"type":["number","null"]}`
	case 2:
		return fmt.Sprintf(`{"type":"string","minLength":%d,"maxLength":%d}`, draw.IntN(3), 3+draw.IntN(6))
	case 3:
		return fmt.Sprintf(`{"type":"string","pattern":"^%s$"}`, drawRegex(draw, 1))
	case 4:
		return fmt.Sprintf(`{"enum":["a","ab",%d,true,null,["x"]]}`, draw.IntN(100))
	case 5:
		return `{"type":"boolean"}`
	case 6:
		return fmt.Sprintf(`{"type":"array","minItems":%d,"maxItems":%d,"items":%s}`, draw.IntN(2), 2+draw.IntN(3), drawSchema(draw, deep-1))
	case 7:
		return fmt.Sprintf(`{"anyOf":[%s,%s]}`, drawSchema(draw, deep-1), drawSchema(draw, deep-1))
	case 9:
		return `{"$defs":{"t":{"type":"object","properties":{"v":{"type":"integer"},"l":{"anyOf":[{"type":"null"},{"$ref":"#/$defs/t"}]}},"required":["v","l"],"additionalProperties":false}},"$ref":"#/$defs/t"}`
	}
	var members, names []string
	for i := range 1 + draw.IntN(3) {
		name := fmt.Sprintf(`"%c%d"`, 'a'+rune(i), draw.IntN(10))
		if members = append(members, name+":"+drawSchema(draw, deep-1)); draw.IntN(3) > 0 {
			names = append(names, name)
		}
	}
	return fmt.Sprintf(`{"type":"object","properties":{%s},"required":[%s],"additionalProperties":%t}`,
		strings.Join(members, ","), strings.Join(names, ","), draw.IntN(4) == 0)
}

// drawCalls is the schema of calls of tools, as a conversation's tools give one.
func drawCalls(draw *rand.Rand) string {
	var calls, own []string
	for i := range 1 + draw.IntN(4) {
		calls = append(calls, fmt.Sprintf(`{"type":"object","properties":{"name":{"const":"tool_%d"},"parameters":{"$ref":"#/$defs/t%d"}},"required":["name","parameters"],"additionalProperties":false}`, i, i))
		own = append(own, fmt.Sprintf(`"t%d":{"type":"object","properties":{"a":%s},"required":["a"],"additionalProperties":false}`, i, drawSchema(draw, 0)))
	}
	return fmt.Sprintf(`{"type":"array","minItems":1,"maxItems":%d,"items":{"anyOf":[%s]},"$defs":{%s}}`, 1+draw.IntN(3), strings.Join(calls, ","), strings.Join(own, ","))
}

// drawRegex draws an expression in which others are nested so deep.
func drawRegex(draw *rand.Rand, deep int) string {
	if deep == 0 {
		return []string{"[a-f]", "x", "[0-9]{2}", "(ab|cd|a)", "([^a-y]b)?", "yes"}[draw.IntN(6)]
	}
	one, other := drawRegex(draw, deep-1), drawRegex(draw, deep-1)
	return []string{one + other, "(" + one + "|" + other + ")", "(" + one + "){1,3}" + other, "(" + one + ",)*" + other, "(" + one + ")+" + other}[draw.IntN(5)]
}

// forms are grammars over the vocabularies of one engine's rows, with what they have
// found out about those, for which there is so much room.
type forms struct {
	room *grammar.Room

	mu           sync.Mutex
	vocabularies map[rowsOf]*grammar.Vocabulary
	constraints  map[formOf]*grammar.Constraint
}

type rowsOf struct {
	text *tokenizer.Tokenizer
	rows int
}

type formOf struct {
	*form
	rowsOf
}

func newForms(bytes int) *forms {
	return &forms{room: grammar.NewRoom(int64(bytes)), vocabularies: map[rowsOf]*grammar.Vocabulary{}, constraints: map[formOf]*grammar.Constraint{}}
}

// constraint keeps an answer over so many rows, which have those texts, to a form.
func (f *forms) constraint(is *form, text *tokenizer.Tokenizer, rows int) *grammar.Constraint {
	f.mu.Lock()
	defer f.mu.Unlock()
	of := rowsOf{text, rows}
	if f.constraints[formOf{is, of}] == nil {
		if f.vocabularies[of] == nil {
			f.vocabularies[of] = grammar.NewVocabulary(rows, func(id int32) []byte {
				if text.IsSpecial(id) {
					return nil
				}
				return text.TokenBytes(id)
			}, f.room)
		}
		f.constraints[formOf{is, of}] = is.grammar.In(f.vocabularies[of])
	}
	return f.constraints[formOf{is, of}]
}
