package tokenizer

// A preTokenizer is what a name in tokenizer.ggml.pre stands for: expressions
// that cut the text one after the other, and habits of the model's tokenizer
// that the file does not spell out.
type preTokenizer struct {
	patterns []string
	nfc      bool // normalised to NFC
	whole    bool // ignore_merges
	bos, eos bool // add_bos_token, add_eos_token where the file does not say
	joined   bool // the second text of a pair has nothing before it but the end of the first
}

// splitters are those of the expressions.
func (p preTokenizer) splitters() (all []splitter, err error) {
	for _, expression := range p.patterns {
		s, err := newSplit(ggufPrefix+"pre", pattern{Regex: &expression}, "Isolated", false)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

const (
	contractions = `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
	upperish     = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+`
	lowerish     = `[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*`
	afterWords   = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	deepseekV3   = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
)

var (
	preGPT2     = preTokenizer{patterns: []string{patternGPT2}}
	preDigits   = preTokenizer{patterns: []string{`\p{N}`, patternGPT2}}
	preLlama3   = preTokenizer{patterns: []string{patternLlama3}, whole: true, bos: true}
	preLlama3As = preTokenizer{patterns: []string{patternLlama3}}
	preQwen2    = preTokenizer{patterns: []string{patternQwen2}, nfc: true}
	preQwen2As  = preTokenizer{patterns: []string{patternQwen2}}
	preModern   = preTokenizer{patterns: []string{patternGPT2}, nfc: true, joined: true}
	preRoberta  = preTokenizer{patterns: []string{patternGPT2}, bos: true, eos: true}
	preGPT4o    = preTokenizer{patterns: []string{
		upperish + contractions + `?|` + lowerish + contractions + `?|\p{N}{1,3}` + afterWords}}
	preDeepseekV3 = preTokenizer{patterns: []string{`\p{N}{1,3}`, `[一-龥぀-ゟ゠-ヿ]+`, deepseekV3}}
	preBloom      = preTokenizer{patterns: []string{` ?[^(\s|.,!?…。，、।۔،)]+`}}
)

// ggufPre has the names that llama.cpp gives to ways of splitting text.
var ggufPre = map[string]preTokenizer{
	"default": {patterns: []string{`[\p{P}\$\+<=>\^~\|]+`, patternGPT2, `\p{N}+`, `[0-9][0-9][0-9]`}},

	"gpt-2": preGPT2, "phi-2": preGPT2, "mpt": preGPT2, "olmo": preGPT2, "jais": preGPT2,
	"trillion": preGPT2, "granite-docling": preGPT2, "exaone4": preGPT2, "gigachat": preGPT2,
	"mellum": preGPT2, "modern-bert": preModern, "a.x-4.0": preGPT2, "jina-es": preGPT2,
	"jina-de": preGPT2, "jina-v2-es": preGPT2, "jina-v2-de": preGPT2,

	"roberta-bpe": preRoberta, "jina-v1-en": preRoberta, "jina-v2-code": preRoberta,

	"smollm": preDigits, "starcoder": preDigits, "refact": preDigits, "command-r": preDigits,
	"codeshell": preDigits, "exaone": preDigits, "minerva-7b": preDigits, "mellum2": preDigits,

	"llama-bpe": preLlama3, "llama3": preLlama3, "llama-v3": preLlama3, "falcon3": preLlama3,
	"falcon-h1": preLlama3, "pixtral": preLlama3, "midm-2.0": preLlama3, "lfm2": preLlama3,
	"jina-v5-nano": preLlama3,
	"dbrx":         preLlama3As, "smaug-bpe": preLlama3As, "glm4": preLlama3As, "chatglm-bpe": preLlama3As,

	"qwen2": preQwen2, "stablelm2": preQwen2,
	"deepseek-r1-qwen": preQwen2As, "kormo": preQwen2As, "f2llmv2": preQwen2As, "megrez": preQwen2As,
	"hunyuan": preQwen2As, "solar-open": preQwen2As, "grok-2": preQwen2As,
	"qwen35": {patterns: []string{patternMarks}, nfc: true},

	"minicpm5": {patterns: []string{`\p{N}{1,3}`, patternDigits}, whole: true},

	"gpt-4o": preGPT4o, "llama4": preGPT4o, "kanana2": preGPT4o, "talkie": preGPT4o, "minimax-m2": preGPT4o,
	"tekken": {patterns: []string{upperish + `|` + lowerish + `|\p{N}` + afterWords}, whole: true, bos: true},

	"deepseek-v3": preDeepseekV3, "hunyuan-dense": preDeepseekV3, "joyai-llm": preDeepseekV3,
	"deepseek-coder": {patterns: []string{`[\r\n]`, `\s?\p{L}+`, `\s?\p{P}+`, `[一-龥ࠀ-一가-퟿]+`, `\p{N}`}},

	"falcon": {patterns: []string{"[\\p{P}\\$\\+<=>\\^~\\|`]+", patternGPT2, `[0-9][0-9][0-9]`}},

	"bloom": preBloom, "gpt3-finnish": preBloom, "poro-chat": preBloom,
	"viking": {patterns: []string{` ?[^(\s|.,!?…。，、।۔،)]+`, `\p{N}`}},

	"seed-coder": {patterns: []string{
		contractions + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`}},
	"bailingmoe": preBailing, "bailingmoe2": preBailing, "llada-moe": preBailing,
}

var preBailing = preTokenizer{patterns: []string{
	`'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`}}
