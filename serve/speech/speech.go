// Package speech takes apart what a model writes in a conversation: its reasoning,
// what it says, and the tools that it calls. A [Parser] is given the text as it
// comes and returns pieces of which each is certain: no part of a marker is taken
// for text, and a call is told when it is whole. So an answer that is streamed and
// one that is not are the same.
//
// A [Format] is how a family of models writes its calls, one file each.
// docs/howto/toolparser.md says how to add one.
package speech

import "strings"

// A Piece is what is new in a reply; one field is set.
type Piece struct {
	Reasoning string
	Content   string
	Call      *Call
}

// A Call is a tool that the model calls.
type Call struct {
	Name      string
	Arguments string // JSON, as the model wrote it
}

// A Parser takes one reply apart. White space around a call is no content, and
// nothing is that comes after one.
type Parser struct {
	reasoning *reasoning // nil: there is none
	format    Format     // nil: no tools may be called
	scan      scan
	called    bool
	white     string // that may come before a call
}

// New returns a parser of a reply that may call tools in a format, nil: in none,
// and that may begin with reasoning, or begins in it.
func New(format Format, reasons Reasoning) *Parser {
	p := &Parser{format: format}
	if reasons != NoReasoning {
		p.reasoning = &reasoning{within: reasons == Within}
	}
	return p
}

// Push adds text and returns what is certain now.
func (p *Parser) Push(text string) []Piece { return p.take(text, false) }

// End returns what is left when no text follows.
func (p *Parser) End() []Piece { return p.take("", true) }

func (p *Parser) take(text string, ended bool) (pieces []Piece) {
	if p.reasoning != nil {
		var thought string
		if thought, text = p.reasoning.split(text, ended); thought != "" {
			pieces = append(pieces, Piece{Reasoning: thought})
		}
	}
	if p.format == nil {
		if text != "" {
			pieces = append(pieces, Piece{Content: text})
		}
		return pieces
	}
	p.scan.add(text)
	p.scan.ended = ended
	for p.scan.text != "" {
		t := p.format.next(&p.scan)
		if t.n == 0 {
			break
		}
		p.scan.advance(t.n)
		if t.call != nil {
			p.called, p.white = true, ""
			pieces = append(pieces, Piece{Call: t.call})
		} else if said := p.say(t.content); said != "" {
			pieces = append(pieces, Piece{Content: said})
		}
	}
	if ended && !p.called && p.white != "" {
		pieces = append(pieces, Piece{Content: p.white})
	}
	return pieces
}

// say is what of a text is content by now.
func (p *Parser) say(text string) string {
	if p.called || text == "" {
		return ""
	}
	text = p.white + text
	said := strings.TrimRight(text, white)
	p.white = text[len(said):]
	return said
}

const white = " \t\r\n"
