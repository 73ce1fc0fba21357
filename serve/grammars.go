package serve

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/peft-serve/peft-serve/memory"
	"github.com/peft-serve/peft-serve/models/tokenizer"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// grammars keeps what answers are kept to, compiled, by its text. Requests that use
// one hold it; of the others the least recently used go when room is needed.
type grammars struct {
	room   *grammar.Room
	turns  chan struct{} // whoever compiles has one
	pace   *pace         // nanoseconds of compiling
	memory *memory.Account

	compile func(*form) (*grammar.Grammar, error)

	mu           sync.Mutex
	known        map[grammarKey]*knownGrammar
	vocabularies map[vocabularyKey]*knownVocabulary
	uses         uint64 // counts them
}

type grammarKey struct {
	digest     [sha256.Size]byte
	vocabulary vocabularyKey
}

// vocabularyKey is the texts of the tokens of a row.
type vocabularyKey struct {
	text *tokenizer.Tokenizer
	size int
}

// knownGrammar is one with its users.
type knownGrammar struct {
	key        grammarKey
	constraint *grammar.Constraint
	bytes      int
	users      int
	last       uint64 // use
}

type knownVocabulary struct {
	*grammar.Vocabulary
	bytes int
	users int // grammars
}

// compilers is how many grammars are compiled at once, beside the engine's steps.
const compilers = 2

func newGrammars(bytes int64, account *memory.Account, pace *pace) *grammars {
	g := &grammars{
		room: grammar.NewRoom(bytes), turns: make(chan struct{}, compilers), pace: pace, memory: account, compile: (*form).compile,
		known: map[grammarKey]*knownGrammar{}, vocabularies: map[vocabularyKey]*knownVocabulary{},
	}
	g.room.OnFull(g.spare)
	return g
}

// LeastGrammars is the least memory that grammars need over the tokens of a
// tokenizer: for their texts, and for some schemas of the usual size.
func LeastGrammars(text *tokenizer.Tokenizer, vocabulary int) int64 {
	return int64(newVocabulary(vocabularyKey{text, vocabulary}, grammar.NewRoom(0)).Bytes()) + 2<<20
}

func newVocabulary(key vocabularyKey, room *grammar.Room) *grammar.Vocabulary {
	return grammar.NewVocabulary(key.size, func(id int32) []byte {
		if key.text.IsSpecial(id) {
			return nil
		}
		return key.text.TokenBytes(id)
	}, room)
}

// spare gives back what has been found out about grammars that nobody uses. A step may
// be waiting for it: while somebody else has g.mu it does nothing.
func (g *grammars) spare() {
	if !g.mu.TryLock() {
		return
	}
	defer g.mu.Unlock()
	for _, known := range g.known {
		if known.users == 0 {
			known.constraint.Drop()
		}
	}
}

// constraint is what keeps an answer of a selection to a form; nil: there is none.
// It is compiled here, in the request's own time: while tokens are generated, a tenant
// that has had others compiled waits. release ends its use.
func (s *Server) constraint(tenant string, to selection, f *form) (c *grammar.Constraint, release func(), err error) {
	if f == nil {
		return nil, func() {}, nil
	}
	known, err := s.grammars.get(s.ctx, tenant, f, vocabularyKey{to.text, to.vocabulary})
	if err != nil {
		return nil, nil, err
	}
	return known.constraint, func() { s.grammars.release(known.constraint) }, nil
}

func (f *form) digest() (d [sha256.Size]byte) {
	h := sha256.New()
	h.Write([]byte{byte(f.kind)})
	for _, text := range append([]string{f.text}, f.choices...) {
		h.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(text))))
		h.Write([]byte(text))
	}
	h.Sum(d[:0])
	return d
}

// get returns the grammar of a form, held once more.
func (g *grammars) get(ctx context.Context, tenant string, f *form, vocabulary vocabularyKey) (*knownGrammar, error) {
	key := grammarKey{f.digest(), vocabulary}
	known, end, err := g.turn(ctx, tenant, key)
	if known != nil || err != nil {
		return known, err
	}
	defer end()
	made, err := g.timed(ctx, tenant, f)
	if err != nil {
		return nil, err
	}
	v, err := g.vocabulary(f.field, vocabulary)
	if err != nil {
		return nil, err
	}
	known = &knownGrammar{key: key, constraint: made.In(v.Vocabulary), bytes: made.Bytes() + len(f.text)}
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.take(f.field, known.bytes, v.bytes); err != nil {
		g.leave(key.vocabulary)
		return nil, err
	}
	if other := g.known[key]; other != nil { // both have been compiled at once
		g.room.Give(known.bytes)
		g.leave(key.vocabulary)
		g.use(other)
		return other, nil
	}
	g.known[key] = known
	g.use(known)
	return known, nil
}

// turn waits until a tenant may have a grammar compiled: others of its own, which had
// their turn meanwhile, have used up its time too. end ends the turn; there is none of a
// grammar that is known by then, which is held once more.
func (g *grammars) turn(ctx context.Context, tenant string, key grammarKey) (known *knownGrammar, end func(), err error) {
	end = func() { <-g.turns }
	for {
		if known := g.hold(key); known != nil {
			return known, nil, nil
		}
		if err := g.pace.spend(ctx, tenant, 0); err != nil {
			return nil, nil, err
		}
		select {
		case g.turns <- struct{}{}:
		case <-ctx.Done():
			return nil, nil, context.Cause(ctx)
		}
		if known := g.hold(key); known != nil { // somebody else has compiled it
			end()
			return known, nil, nil
		}
		if !g.pace.owes(tenant) {
			return nil, end, nil
		}
		end()
	}
}

// compilingBytes is what compiling may hold, whatever it compiles: grammar's budget
// of states bounds it.
const compilingBytes = 32 << 20

// timed compiles a form at the tenant's cost.
func (g *grammars) timed(ctx context.Context, tenant string, f *form) (*grammar.Grammar, error) {
	ctx, cancel := context.WithTimeout(ctx, bodyWait)
	defer cancel()
	release, err := g.memory.Take(ctx, memory.Compiling, compilingBytes)
	if err != nil {
		return nil, err
	}
	defer release()
	began := time.Now()
	defer func() { g.pace.spent(tenant, int(time.Since(began))) }()
	return g.compile(f)
}

// hold returns the grammar of that key with one user more; nil: it is not known.
func (g *grammars) hold(key grammarKey) *knownGrammar {
	g.mu.Lock()
	defer g.mu.Unlock()
	known := g.known[key]
	if known != nil {
		g.use(known)
	}
	return known
}

// use counts a user; g.mu is held.
func (g *grammars) use(known *knownGrammar) {
	g.uses++
	known.last = g.uses
	known.users++
}

// again adds a user to what a request has a constraint of.
func (g *grammars) again(c *grammar.Constraint) { g.count(c, 1) }

// release takes one away.
func (g *grammars) release(c *grammar.Constraint) { g.count(c, -1) }

func (g *grammars) count(c *grammar.Constraint, by int) {
	if c == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, known := range g.known {
		if known.constraint == c {
			known.users += by
			return
		}
	}
}

// vocabulary is that of a key, with one grammar more.
func (g *grammars) vocabulary(field string, key vocabularyKey) (*knownVocabulary, error) {
	g.mu.Lock()
	known := g.vocabularies[key]
	if known != nil {
		known.users++
	}
	g.mu.Unlock()
	if known != nil {
		return known, nil
	}
	known = &knownVocabulary{users: 1, Vocabulary: newVocabulary(key, g.room)}
	known.bytes = known.Bytes()
	g.mu.Lock()
	defer g.mu.Unlock()
	if other := g.vocabularies[key]; other != nil {
		other.users++
		return other, nil
	}
	if err := g.take(field, known.bytes, 0); err != nil {
		return nil, err
	}
	g.vocabularies[key] = known
	return known, nil
}

// leave takes a grammar from a vocabulary, which is forgotten with the last; g.mu is
// held.
func (g *grammars) leave(key vocabularyKey) {
	known := g.vocabularies[key]
	if known.users--; known.users == 0 {
		known.Close()
		g.room.Give(known.bytes)
		delete(g.vocabularies, key)
	}
}

// take takes room for what a field asks for, beside its vocabulary's. Those go that
// nobody uses, the least recently used first, and then what has been found out about
// vocabularies; g.mu is held.
func (g *grammars) take(field string, bytes, beside int) error {
	idle := slices.DeleteFunc(slices.Collect(maps.Values(g.known)), func(k *knownGrammar) bool { return k.users > 0 })
	slices.SortFunc(idle, func(a, b *knownGrammar) int { return cmp.Compare(a.last, b.last) })
	for !g.room.Take(bytes) {
		if len(idle) == 0 {
			for _, v := range g.vocabularies {
				v.Drop()
			}
			if g.room.Take(bytes) {
				return nil
			}
			if need := int64(bytes + beside); len(g.known) == 0 || need > g.room.Most() {
				return invalid(field, "%s: the server would need %d bytes for what the answer is kept to, with the tokens' texts, and has %d: ask for less, or start it with a larger --grammar-cache", field, need, g.room.Most())
			}
			return fmt.Errorf("%w: the schemas and expressions that answers are being kept to take all of --grammar-cache", memory.ErrFull)
		}
		gone := idle[0]
		idle = idle[1:]
		gone.constraint.Close()
		g.room.Give(gone.bytes)
		delete(g.known, gone.key)
		g.leave(gone.key.vocabulary)
	}
	return nil
}
