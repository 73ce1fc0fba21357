package runtime

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/peft-serve/peft-serve/models"
	"github.com/peft-serve/peft-serve/runtime/grammar"
)

// tokenTexts are the texts of the fake model's tokens; the others have none.
var tokenTexts = []string{
	"{", "}", "[", "]", `"`, ",", ":", " ", "a", "b", "c", "d", "0", "1", "2", "3", "-", "true", "false", "null", `{"`, `": `, `, "`, "ab", "abc", "]}",
	"e", "t", "r", "u", "f", "l", "s", "n", `", "`, `"}`, "x", "y", "z",
}

func textOfTokens(tokens []int32) string {
	var s strings.Builder
	for _, t := range tokens {
		if int(t) < len(tokenTexts) {
			s.WriteString(tokenTexts[t])
		}
	}
	return s.String()
}

func fakeVocabulary() *grammar.Vocabulary {
	return grammar.NewVocabulary(64, func(id int32) []byte {
		if int(id) < len(tokenTexts) {
			return []byte(tokenTexts[id])
		}
		return nil
	}, grammar.NewRoom(16<<20))
}

func constraint(t testing.TB, g *grammar.Grammar, err error) *grammar.Constraint {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return g.In(fakeVocabulary())
}

const listOfRecords = `{"type":"array","minItems":1,"maxItems":3,"items":{"type":"object","properties":{"a":{"type":"integer","minimum":-3,"maximum":13},"bc":{"enum":["ab","abc",true,null]}},"required":["a","bc"],"additionalProperties":false}}`

// What is drawn among the tokens that a grammar allows is what would be drawn were
// the others impossible: the same bits, whatever the parameters.
func TestMaskedSampling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "vocabulary")
		logits, possible := make([]float32, n), make([]float32, n)
		mask := make([]uint64, (n+63)/64)
		some := rapid.IntRange(0, n-1).Draw(t, "allowed")
		density := rapid.IntRange(0, 10).Draw(t, "density")
		for i := range logits {
			logits[i] = float32(rapid.IntRange(-40, 40).Draw(t, "logit")) / 7
			possible[i] = float32(math.Inf(-1))
			if i == some || rapid.IntRange(0, 9).Draw(t, "in") < density {
				mask[i/64] |= 1 << (i % 64)
				possible[i] = logits[i]
			}
		}
		r := &Request{Prompt: []int32{0}, Sampling: Sampling{
			Temperature: float32(rapid.IntRange(0, 30).Draw(t, "temperature")) / 10, TopK: rapid.IntRange(0, 70).Draw(t, "top-k"),
			TopP: float32(rapid.IntRange(0, 20).Draw(t, "top-p")) / 20, MinP: float32(rapid.IntRange(0, 10).Draw(t, "min-p")) / 30,
			Repetition: rapid.SampledFrom([]float32{0, 1.3}).Draw(t, "repetition"), Seed: 7,
		}}
		s, err := newSampler(r, n)
		if err != nil {
			t.Fatal(err)
		}
		var c, d choice
		for place := range 5 {
			before := slices.Clone(logits)
			got, want := s.choose(&c, c.mask(logits, mask), place), s.choose(&d, slices.Clone(possible), place)
			if got != want || mask[got/64]>>(got%64)&1 == 0 {
				t.Fatalf("token %d, want %d of %x", got, want, mask)
			}
			if !slices.Equal(before, logits) {
				t.Fatal("the logits were changed")
			}
		}
	})
}

// The frequencies are those of free sampling, renormalised: a χ² test at about one in
// a million.
func TestMaskedFrequencies(t *testing.T) {
	logits := []float32{1, 2, 0.5, -1, 1.5, 0, 2.5, -0.5}
	mask := []uint64{0b10110101}
	s := Sampling{Temperature: 0.9, Seed: 42}
	p, err := newSampler(&Request{Sampling: s}, len(logits))
	if err != nil {
		t.Fatal(err)
	}
	const draws = 40000
	counts, want, mass := map[int32]int{}, kept(s, logits), 0.0
	for token := range want {
		if mask[0]>>token&1 == 0 {
			delete(want, token)
		}
	}
	for _, p := range want {
		mass += p
	}
	var c choice
	for i := range draws {
		counts[p.choose(&c, c.mask(logits, mask), i)]++
	}
	x2 := 0.0
	for token, p := range want {
		d := float64(counts[token]) - p/mass*draws
		x2 += d * d / (p / mass * draws)
		delete(counts, token)
	}
	if len(counts) > 0 || x2 > 45 {
		t.Errorf("χ² = %.1f, drawn outside: %v", x2, counts)
	}
}

// Answers kept to a grammar are whole texts of it whatever they run beside: free
// answers, others of the same grammar, preemptions. They are the same with
// log-probabilities, for which no token is skipped, and without.
func TestConstrained(t *testing.T) {
	records, err := grammar.Schema([]byte(listOfRecords))
	c := constraint(t, records, err)
	ask := func(name string, seed, logprobs int) *Request {
		return &Request{Prompt: prompt(name, 20), MaxTokens: 90, Logprobs: logprobs, PromptLogprobs: -1, Constraint: c,
			Sampling: Sampling{Temperature: 2, Seed: uint64(seed)}}
	}
	alone := map[int]answer{}
	steps := map[int]int{}
	for seed := range 12 {
		for _, logprobs := range []int{0, -1} {
			s := newScript(t, Options{})
			s.must(s.request("a", ask("a", seed, logprobs)))
			n := 0
			for s.step() != "" {
				n++
			}
			got := s.take("a")
			if got.finish != FinishEOS || !records.Match(textOfTokens(got.tokens)) || got.usage.CompletionTokens != len(got.tokens) {
				t.Fatalf("%q ended by %q (%v)", textOfTokens(got.tokens), got.finish, got.err)
			}
			s.empty()
			if logprobs == 0 {
				alone[seed], steps[seed] = got, n
				continue
			}
			if !slices.Equal(got.tokens, alone[seed].tokens) {
				t.Fatalf("%q without log-probabilities, %q with", textOfTokens(got.tokens), textOfTokens(alone[seed].tokens))
			}
			if n >= steps[seed] {
				t.Errorf("%d steps, %d where no token is skipped", n, steps[seed])
			}
		}
	}
	for _, blocks := range []int{100, 14} {
		s := newScript(t, Options{Slots: 20, CacheBlocks: blocks, StepTokens: 24})
		for seed := range 12 {
			s.must(s.request(fmt.Sprint(seed, "with"), ask("a", seed, 0)))
			s.must(s.request(fmt.Sprint(seed, "without"), ask("a", seed, -1)))
			s.must(s.submit(fmt.Sprintf("%cfree", 'b'+seed), 9, 30))
		}
		s.run()
		for seed := range 12 {
			for _, name := range []string{"with", "without"} {
				got := s.take(fmt.Sprint(seed, name))
				if !slices.Equal(got.tokens, alone[seed].tokens) || got.finish != FinishEOS {
					t.Errorf("%d %s: %q (%v), alone %q", seed, name, textOfTokens(got.tokens), got.err, textOfTokens(alone[seed].tokens))
				}
				if name == "with" && !slices.Equal(got.logprobs, alone[seed].logprobs) {
					t.Errorf("%d: other log-probabilities than alone", seed)
				}
			}
			s.want(fmt.Sprintf("%cfree", 'b'+seed), nil, 9, 30)
		}
		if preempted := s.e.Snapshot().Preemptions > 0; preempted != (blocks == 14) {
			t.Errorf("with %d blocks there were %d preemptions", blocks, s.e.Snapshot().Preemptions)
		}
		s.empty()
	}
}

// MaxTokens cuts an answer, within a stretch without a choice too, and where the
// vocabulary cannot go on the sequence fails.
func TestConstrainedEnds(t *testing.T) {
	only, err := grammar.Regex("(xyz){5}")
	c := constraint(t, only, err)
	for most := 1; most < 17; most++ {
		s := newScript(t, Options{})
		s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: most, Logprobs: -1, PromptLogprobs: -1, Constraint: c}))
		s.run()
		got, want := s.take("a"), FinishLength
		if most == 16 { // the end token is one
			want = FinishEOS
		}
		if got.finish != want || len(got.tokens) != most || !strings.HasPrefix(strings.Repeat("xyz", 5), textOfTokens(got.tokens)) {
			t.Errorf("at most %d tokens: %q ended by %q (%v)", most, textOfTokens(got.tokens), got.finish, got.err)
		}
		s.empty()
	}
	lacking, err := grammar.Regex("ab?Q")
	s := newScript(t, Options{})
	s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: 9, Logprobs: -1, PromptLogprobs: -1, Constraint: constraint(t, lacking, err)}))
	s.run()
	if got := s.take("a"); !errors.Is(got.err, ErrGrammar) {
		t.Errorf("%q ended by %q (%v)", textOfTokens(got.tokens), got.finish, got.err)
	}
	s.empty()
	for _, r := range []Request{
		{IgnoreEOS: true, Constraint: c},
		{MinTokens: 2, Constraint: c},
		{Sampling: Sampling{Bias: map[int32]float32{8: float32(math.Inf(-1))}}, Constraint: c},
		{Constraint: only.In(grammar.NewVocabulary(63, func(int32) []byte { return nil }, grammar.NewRoom(0)))},
	} {
		r.Prompt, r.MaxTokens = prompt("a", 3), 3
		if err := s.request("a", &r); !errors.Is(err, ErrSampling) {
			t.Errorf("%+v is not refused: %v", r, err)
		}
	}
}

// endless is a model without end tokens.
type endless struct {
	models.Model
	config models.Config
}

func (m *endless) Config() *models.Config { return &m.config }

// Of a base without end tokens a text ends where nothing may follow.
func TestConstrainedWithoutEndTokens(t *testing.T) {
	for pattern, finish := range map[string]Finish{"(ab|c)x": FinishStop, "ab*": FinishLength} {
		g, err := grammar.Regex(pattern)
		c := constraint(t, g, err)
		s := newScript(t, Options{})
		m := &endless{s.e.model, *s.e.model.Config()}
		m.config.EOS = nil
		s.e.model = m
		s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: 9, Logprobs: -1, PromptLogprobs: -1, Constraint: c}))
		s.run()
		if got := s.take("a"); got.finish != finish || !g.Match(textOfTokens(got.tokens)) {
			t.Errorf("%q ended by %q (%v)", textOfTokens(got.tokens), got.finish, got.err)
		}
		s.empty()
	}
}

// A text that can be read in more ways than are followed fails its sequence.
func TestConstrainedInTooManyWays(t *testing.T) {
	var lists []string
	for n := range 12 {
		lists = append(lists, fmt.Sprintf(`"l%d":{"type":"array","minItems":%d,"items":{"anyOf":[{"$ref":"#/$defs/a"},{"$ref":"#/$defs/b"},{"$ref":"#/$defs/c"}]}}`, n, n+1))
	}
	schema := `{"$defs":{"a":{"type":"string","pattern":"^a"},"b":{"type":"string","pattern":"^b"},"c":{"type":"string","pattern":"^c"},` + strings.Join(lists, ",") + `},"anyOf":[`
	for n := range 12 {
		schema += fmt.Sprintf(`{"$ref":"#/$defs/l%d"},`, n)
	}
	g, err := grammar.Schema([]byte(strings.TrimSuffix(schema, ",") + "]}"))
	c := constraint(t, g, err)
	s := newScript(t, Options{})
	s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: 9, Logprobs: -1, PromptLogprobs: -1, Constraint: c}))
	s.must(s.submit("b", 3, 5))
	s.run()
	if got := s.take("a"); !errors.Is(got.err, ErrGrammar) || !errors.Is(got.err, grammar.ErrTooLarge) {
		t.Errorf("%q ended by %q (%v)", textOfTokens(got.tokens), got.finish, got.err)
	}
	s.want("b", nil, 3, 5)
	s.empty()
}

// A stretch without a choice goes on in each step, however many prompts there are.
func TestConstrainedKeepsItsPlace(t *testing.T) {
	g, err := grammar.Regex("(xyz){20}(a|b)")
	c := constraint(t, g, err)
	s := newScript(t, Options{Slots: 12, CacheBlocks: 200, StepTokens: 2})
	s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: 70, Logprobs: -1, PromptLogprobs: -1, Constraint: c}))
	var forced *sequence
	for forced == nil || forced.computed < forced.promptEnd() {
		s.step()
		forced = s.e.running[0]
	}
	for n := range 10 {
		s.must(s.submit(fmt.Sprintf("%cfree", 'b'+n), 60, 2))
	}
	steps := 0
	for ; s.e.running != nil && slices.Contains(s.e.running, forced); steps++ {
		before := forced.computed
		if s.step(); slices.Contains(s.e.running, forced) && forced.computed == before {
			t.Fatalf("step %d did nothing for it", steps)
		}
	}
	if steps < 10 {
		t.Errorf("there were but %d steps", steps)
	}
	s.run()
}

// continuing is a decoder of tokens that begin with a blank but at the start of a text.
type continuing struct{ begun bool }

func (d *continuing) Push(int32) string {
	if d.begun {
		return " a"
	}
	d.begun = true
	return "a"
}
func (*continuing) Flush() string { return "" }
func (*continuing) Show([]int32)  {}
func (d *continuing) Continue()   { d.begun = true }

// The first token of an answer within a grammar has the text that the grammar has it
// with: that of the midst of a text.
func TestConstrainedContinues(t *testing.T) {
	g, err := grammar.Regex("ab?c")
	s := newScript(t, Options{})
	s.e.decoder = func(bool) Decoder { return &continuing{} }
	s.must(s.request("a", &Request{Prompt: prompt("a", 3), MaxTokens: 1, Logprobs: -1, PromptLogprobs: -1, Constraint: constraint(t, g, err)}))
	s.must(s.submit("b", 3, 1))
	s.run()
	if got := s.take("a"); got.text != " a" {
		t.Errorf("%q within a grammar", got.text)
	}
	if got := s.take("b"); got.text != "a" {
		t.Errorf("%q without", got.text)
	}
	s.empty()
}

// A step with answers that are kept to grammars allocates nothing once their masks
// are known.
func TestConstrainedStepAllocatesNothing(t *testing.T) {
	g, err := grammar.Schema([]byte(`{"type":"object","properties":{"a":{"type":"array","items":{"type":"string","maxLength":9}}},"required":["a"],"additionalProperties":false}`))
	c := constraint(t, g, err)
	s := newScript(t, Options{})
	s.e.model = &silentModel{Model: s.e.model}
	for i := range 4 {
		s.must(s.request(string(rune('a'+i)), &Request{Prompt: prompt("a", 3), MaxTokens: 450, Logprobs: -1, PromptLogprobs: -1, Constraint: c,
			Sampling: Sampling{Temperature: 1, Seed: uint64(i), Bias: map[int32]float32{3: -100, 25: -100}}})) // it never ends
	}
	for range 250 {
		s.step()
	}
	if n := testing.AllocsPerRun(100, func() { s.e.intake(); s.e.step() }); n != 0 {
		t.Errorf("%v allocations a step", n)
	}
	if n := s.e.Snapshot().Running; n != 4 {
		t.Errorf("%d run", n)
	}
	s.run()
}

// What a grammar adds to a token: its mask, the logits under it, and its next state.
func BenchmarkConstraint(b *testing.B) {
	const size = 49152
	draw := rand.New(rand.NewPCG(1, 2))
	texts := make([]string, size-1)
	for i := range texts {
		texts[i] = string(rune(i % 256))
		if i >= 256 {
			texts[i] = "" // words, with a blank before most, and pieces of JSON
			for range 1 + draw.IntN(7) {
				texts[i] += string("etaoinshrdlu{}[]\":, 0123456789"[min(draw.IntN(34), draw.IntN(60), 29)])
			}
		}
	}
	v := grammar.NewVocabulary(size, func(id int32) []byte {
		if int(id) == len(texts) {
			return nil
		}
		return []byte(texts[id])
	}, grammar.NewRoom(64<<20))
	schema, err := os.ReadFile("../examples/records.schema.json")
	if err != nil {
		b.Fatal(err)
	}
	g, err := grammar.Schema(schema)
	if err != nil {
		b.Fatal(err)
	}
	rows := make([][]float32, 16)
	for i := range rows {
		rows[i] = make([]float32, size)
		for j := range rows[i] {
			rows[i][j] = float32(draw.NormFloat64())
		}
	}
	s, err := newSampler(&Request{}, size)
	if err != nil {
		b.Fatal(err)
	}
	answer := func(c *choice, in *grammar.Constraint, tokens int) {
		m := in.NewMatcher([]int32{size - 1})
		for n := range tokens {
			allowed, _ := m.Mask()
			if !m.Accept(s.choose(c, c.mask(rows[n%len(rows)], allowed), n)) {
				b.Fatal("a token that may come is refused")
			}
		}
	}
	const tokens = 256
	for _, known := range []bool{true, false} {
		b.Run(map[bool]string{true: "known", false: "new"}[known], func(b *testing.B) {
			var c choice
			in := g.In(v)
			answer(&c, in, tokens)
			b.ReportAllocs()
			for b.Loop() {
				if !known {
					in.Close()
					in = g.In(v)
				}
				answer(&c, in, tokens)
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/tokens, "µs/token")
		})
	}
	b.Run("free", func(b *testing.B) {
		var c choice
		for b.Loop() {
			for n := range tokens {
				s.choose(&c, rows[n%len(rows)], n)
			}
		}
		b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/tokens, "µs/token")
	})
}

// A stretch without a choice fills the rows that a step has to spare, and no more.
func TestStretchesFillAStep(t *testing.T) {
	g, err := grammar.Regex("(xyz){20}(a|b)")
	c := constraint(t, g, err)
	for _, running := range []int{1, 3, 8, 9} {
		o := &widest{}
		s := newScript(t, Options{Slots: 12, CacheBlocks: 200, Observer: o})
		for n := range running {
			s.must(s.request(fmt.Sprintf("%c", 'a'+n), &Request{Prompt: prompt("a", 3), MaxTokens: 70, Logprobs: -1, PromptLogprobs: -1, Constraint: c}))
		}
		s.run()
		if want := (running + 7) / 8 * 8; o.rows != want {
			t.Errorf("%d requests: a step had %d rows, want %d", running, o.rows, want)
		}
	}
}

// widest is told the most rows of a step without prompts.
type widest struct {
	Silent
	rows int
}

func (w *widest) Step(_ time.Duration, rows, promptRows int) {
	if promptRows == 0 {
		w.rows = max(w.rows, rows)
	}
}
