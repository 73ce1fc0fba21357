"""Writes the golden data of models/tokenizer and models/chat.

    python testdata/tokenizer/goldens.py ../shared

with tokenizers==0.22.2, transformers==4.57.6 and Jinja2==3.1.6 on Python 3.11.
The argument is a folder with tokenizers/*/tokenizer.json and text/gutenberg;
small tokenizers are trained from one book there and written beside the goldens.
"""

import json
import pathlib
import random
import sys

from tokenizers import (AddedToken, Regex, Tokenizer, decoders, models, normalizers,
                        pre_tokenizers, processors, trainers)

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "models/tokenizer/testdata"
SHARED = pathlib.Path(sys.argv[1])

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", " \n ", "\t\tx", "Hello world", " Hello  world ", "Hello, y'all! How are you 😁 ?",
    "I'VE we'Re it's 'ſx don't they'll I'd 'tis 's", "3 33 333 3333 33333 1.5e-9 ½ ² Ⅷ 四 ٣٤٥", "naïve café Å Å Ǆ İstanbul ΣΑΣ ẞ",
    "e\u0301 e\u0302\u0323 n\u0303 가 한국어", "日本語のテキスト。中文字符！你好", "ქართული ភាសា ไทย हिन्दी עברית العربية",
    "👨‍👩‍👧‍👦 🇩🇪 ✌🏽 🫠", "a\u00a0b\u2003c\u200bd\u3000e\u0085f\u2028g\ufeffh", "x\u0000y\u0007z\u00ad\ufffd\ue000",
    "for (int i=0;i<10;i++) {\n\tprintf(\"%d\\n\", i);\n    return;\n}\n", "https://example.com/a?b=c&d=%20#e_f user@host.tld",
    "snake_case camelCase PascalCase SCREAMING_CASE kebab-case", "...!!!???---===___###\n\n\n   \n  x", "   leading and trailing   ",
    "<|endoftext|>", "a<|endoftext|>b <|im_start|>user\nhi<|im_end|>\n", "<s>a</s> <s> b </s><unk><pad>", "[CLS] a [SEP] b[MASK]. [UNK] [PAD]",
    "  <mask>  x <mask>y", "<think>\nhm\n</think>\n<tool_call>{}</tool_call>", "<|im_start|", "<<|im_end|>>", "<0x0A> <0x41>", "▁under ▁▁ lower▁",
    "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "a" * 130, "ab" * 40, "word " * 12, "\r\n\r\n \r x\r\n",
    "🤷🏻‍♀️\u0301", "ﬁ ﬂ ① ™ ㎏ ｶﾞ", "do not can not I have n't . , ? ! ' x ' 's", "MiXeD 123abc456 a1b2", "¿Qué? «oui» „nein“ …—–", "#$%^&*()+={}[]|\\:;\"'<>,./?`~",
    "The <tok> x<tok>y  <tok> wrap<word>s a <word> b  <left>  c  <right>  d <NORM> norm",
]

PAIRS = [
    ("How old are you?", "I'm 6 years old"), ("", "b"), ("a", ""), ("", ""), ("A man is playing a flute.", "A man is playing a large flute."),
    ("naïve CAFÉ 日本語", "Å İ ẞ 🤷🏻‍♀️"), ("[CLS] a [SEP] b", "</s> <s> [MASK]"), ("  spaces  ", "\n\tlines\n"),
]


def trained():
    book = (SHARED / "text/gutenberg/Alice-s-Adventures-in-Wonderland_11.txt").read_text(encoding="utf-8")
    lines = [line + "\n" for line in book.split("\n")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bytes_ = [f"<0x{b:02X}>" for b in range(256)]

    def llama2(tokens):
        t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
        t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
        # Trained with words kept apart, as SentencePiece does; used without.
        t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
        t.train_from_iterator(lines, trainers.BpeTrainer(
            vocab_size=600, special_tokens=["<unk>", "<s>", "</s>"] + tokens, show_progress=False))
        t.pre_tokenizer = None
        t.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
        t.post_processor = processors.TemplateProcessing(
            single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
        f = json.loads(t.to_str())
        f["added_tokens"] = f["added_tokens"][:3]  # the byte pieces are not added tokens
        return Tokenizer.from_str(json.dumps(f))
    yield "sp-bpe", llama2(bytes_)

    t = llama2(bytes_)
    t.normalizer = None
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    t.add_special_tokens([AddedToken("<|im_start|>", normalized=False), AddedToken("<|im_end|>", rstrip=True, normalized=False)])
    yield "sp-first", t

    t = Tokenizer(models.BPE(ignore_merges=True))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False))
    t.add_special_tokens(["<|begin_of_text|>", "<|im_start|>", "<|im_end|>"])
    t.add_tokens([AddedToken("<tok>"), AddedToken("<word>", single_word=True), AddedToken("<left>", lstrip=True),
                  AddedToken("<right>", rstrip=True), AddedToken("world", single_word=True)])
    t.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
        special_tokens=[("<|begin_of_text|>", t.token_to_id("<|begin_of_text|>"))])])
    yield "llama3-like", t

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(add_prefix_space=True), pre_tokenizers.Digits(False),
        pre_tokenizers.Split(Regex("[0-9][0-9][0-9]"), "isolated")])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False))
    yield "falcon-like", t

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"), "removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(lines, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet, show_progress=False))
    yield "o200k-like", t

    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    t.normalizer = normalizers.BertNormalizer(lowercase=False)
    t.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    t.decoder = decoders.WordPiece(cleanup=False)
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False))
    t.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    yield "bert-cased-like", t

    t = Tokenizer(models.Unigram())
    t.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Lowercase(), normalizers.Strip(),
                                         normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    t.decoder = decoders.Metaspace(prepend_scheme="always")
    t.train_from_iterator(lines, trainers.UnigramTrainer(vocab_size=400, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False))
    t.add_tokens([AddedToken("<NORM>", normalized=True)])
    t.post_processor = processors.TemplateProcessing(single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    yield "t5-like", t

    t = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=20))
    t.normalizer = normalizers.NFC()
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Split("a", "merged_with_previous"),
                                               pre_tokenizers.Split("e", "merged_with_next"), pre_tokenizers.Split(".", "removed")])
    t.train_from_iterator(lines, trainers.WordPieceTrainer(vocab_size=200, special_tokens=["[UNK]"], show_progress=False))
    yield "splits", t


def golden(t):
    t.no_truncation()
    t.no_padding()
    rng = random.Random(1)
    out = {"cases": [], "pairs": [], "decodes": []}
    for text in TEXTS:
        case = {"ids": t.encode(text, add_special_tokens=False).ids}
        special = t.encode(text).ids
        if special != case["ids"]:
            case["special"] = special
        t.encode_special_tokens = True
        plain = t.encode(text, add_special_tokens=False).ids
        t.encode_special_tokens = False
        if plain != case["ids"]:
            case["plain"] = plain
        decoded = t.decode(special, skip_special_tokens=False)
        if decoded != text:
            case["decoded"] = decoded
        skipped = t.decode(special, skip_special_tokens=True)
        if skipped != decoded:
            case["skipped"] = skipped
        out["cases"].append(case)
    for a, b in PAIRS:
        e = t.encode(a, b)
        out["pairs"].append({"ids": e.ids, "types": e.type_ids})
    # Byte pieces are left out: a run of them that is not UTF-8 is one of the
    # places where the libraries differ among themselves.
    ids = [i for i in range(t.get_vocab_size()) if not (t.id_to_token(i) or "<0x").startswith("<0x")]
    for _ in range(12):
        some = [rng.choice(ids) for _ in range(12)]
        out["decodes"].append({"ids": some, "text": t.decode(some, skip_special_tokens=False)})
    return out


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    goldens = {}
    for name in ["gpt2", "roberta", "smollm2", "qwen3", "bert-uncased", "tiny-bpe2000"]:
        goldens[name] = golden(Tokenizer.from_file(str(SHARED / "tokenizers" / name / "tokenizer.json")))
    for name, t in trained():
        (OUT / f"{name}.json").write_text(json.dumps(json.loads(t.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")
        goldens[name] = golden(t)
    with open(OUT / "goldens.json", "w", encoding="utf-8") as f:
        f.write('{"texts":' + json.dumps(TEXTS) + ',\n"pairs":' + json.dumps(PAIRS) + ',\n"tokenizers":{\n')
        f.write(",\n".join(json.dumps(k) + ":" + json.dumps(v, separators=(",", ":")) for k, v in goldens.items()))
        f.write("}}\n")


main()
