"""Writes models/tokenizer/testdata/stages.json: what each stage of a
tokenizer.json does, in the shapes in which real files have it.

    python testdata/tokenizer/stages.py

with tokenizers==0.22.2 on Python 3.11.
"""

import json
import pathlib
import random

from tokenizers import Tokenizer

OUT = pathlib.Path(__file__).resolve().parents[2] / "models/tokenizer/testdata/stages.json"

TEXTS = [
    "", " ", "  a", "a  b ", "Hello, y'all! It's 12345 o'clock.", "\n\n x\r\n\ty  ", "naïve CAFÉ Å Å ſ İ ẞ", "e\u0301 n\u0303 ﬁ ① ½ ² Ⅷ Ⓐ",
    "日本語のテキスト。中文！ 한국어", "a\u00a0b\u2003c\u200bd\u3000e\u0085f\u2028g\ufeffh\u200d", "x\u0001y\u007fz\u00ad\ufffd\u2581▁▁w", "a-b--c - d", "aaaa  bbbb",
    "def f(x):\n    return x**2  # ok\n\n", "١٢٣ ४५६ 1a2b", "🤷🏻‍♀️ 😁", "<0x41>", "DonaudampfschifffahrtselektrizitätenXYZ", "'S 'LL we'Re", "tab\there  \n  \n x",
]

S = lambda **k: k
SPLIT = lambda p, behavior="Isolated", invert=False: {"type": "Split", "pattern": p, "behavior": behavior, "invert": invert}
R = lambda r: {"Regex": r}
BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}

NORMALIZERS = {
    "nothing": {"type": "Sequence", "normalizers": []},
    "llama-2": {"type": "Sequence", "normalizers": [S(type="Prepend", prepend="▁"), S(type="Replace", pattern={"String": " "}, content="▁")]},
    "gemma": S(type="Replace", pattern={"String": " "}, content="▁"),
    "bert": S(type="BertNormalizer", clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True),
    "bert-accents": S(type="BertNormalizer", clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False),
    "albert": {"type": "Sequence", "normalizers": [
        S(type="Replace", pattern={"String": "``"}, content='"'), {"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"},
        S(type="Replace", pattern=R(" {2,}"), content=" ")]},
    "clip": {"type": "Sequence", "normalizers": [{"type": "NFC"}, S(type="Replace", pattern=R(r"\s+"), content=" "), {"type": "Lowercase"}]},
    "nmt-nfkc": {"type": "Sequence", "normalizers": [{"type": "Nmt"}, {"type": "NFKC"}, S(type="Strip", strip_left=False, strip_right=True)]},
    "nfd-strip": {"type": "Sequence", "normalizers": [{"type": "NFD"}, S(type="Strip", strip_left=True, strip_right=True)]},
    "bytes": {"type": "ByteLevel"},
    "many": {"type": "Sequence", "normalizers": [S(type="Replace", pattern={"String": d}, content=f" {d} ") for d in "0123456789"]},
}

LLAMA3 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
O200K = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
TEKKEN = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
DEEPSEEK = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
META = lambda **k: {"type": "Metaspace", "replacement": "▁", **k}
SEQ = lambda *s: {"type": "Sequence", "pretokenizers": list(s)}

PRE_TOKENIZERS = {
    "gpt-2": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "roberta": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
    "llama-3": SEQ(SPLIT(R(LLAMA3)), BYTES),
    "o200k": SEQ(SPLIT(R(O200K), "Removed", True), BYTES),
    "tekken": SEQ(SPLIT(R(TEKKEN)), BYTES),
    "deepseek-v3": SEQ(SPLIT(R(r"\p{N}{1,3}")), SPLIT(R("[一-龥぀-ゟ゠-ヿ]+")), SPLIT(R(DEEPSEEK)), BYTES),
    "deepseek-llm": SEQ(SPLIT(R("[\r\n]")), SPLIT(R(r"\s?\p{L}+")), SPLIT(R(r"\s?\p{P}+")), SPLIT(R(r"\s+$")),
                        SPLIT(R("[一-龥ࠀ-一가-퟿]+")), S(type="Digits", individual_digits=True), BYTES),
    "smollm": SEQ(S(type="Digits", individual_digits=True), {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}),
    "twice-bytes": SEQ(BYTES, {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": False}),
    "mistral-v3": META(prepend_scheme="first", split=False),
    "t5": META(prepend_scheme="always", split=True),
    "old-metaspace": META(add_prefix_space=True, str_rep="▁"),
    "old-metaspace-no-prefix": META(prepend_scheme="never", add_prefix_space=False),
    "never": META(prepend_scheme="never", split=True),
    "xlm-r": SEQ({"type": "WhitespaceSplit"}, META(prepend_scheme="always", split=True)),
    "gemma": SPLIT({"String": " "}, "MergedWithPrevious"),
    "bert": {"type": "BertPreTokenizer"},
    "whitespace": {"type": "Whitespace"},
    "delimiter": {"type": "CharDelimiterSplit", "delimiter": "-"},
    "fixed": {"type": "FixedLength", "length": 5},
    "digits": S(type="Digits", individual_digits=False),
    "bloom": SEQ(SPLIT(R(r" ?[^\s.,!?…。，、।۔،]+")), BYTES),
    "words": SPLIT(R(r"\w+|[^\w\s]+"), "Removed", True),
    "lines": SPLIT(R(r"^a|b$"), "Isolated"),
    "ahead": SPLIT(R(r"a(?=a)|(?<= )b"), "MergedWithNext"),
}
for b in ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
    PRE_TOKENIZERS[f"punctuation-{b}"] = S(type="Punctuation", behavior=b)
    for invert in [False, True]:
        PRE_TOKENIZERS[f"split-{b}-{invert}"] = SPLIT(R("[a-c]"), b, invert)
        PRE_TOKENIZERS[f"split-string-{b}-{invert}"] = SPLIT({"String": "a"}, b, invert)

DSEQ = lambda *s: {"type": "Sequence", "decoders": list(s)}
FALLBACK, FUSE = {"type": "ByteFallback"}, {"type": "Fuse"}
SPACE = S(type="Replace", pattern={"String": "▁"}, content=" ")
STRIP = S(type="Strip", content=" ", start=1, stop=0)
SPELLED = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}
PLAIN = ["a", "b", "▁", "▁the", "x▁y", "é", "日", ".", "'s", "##ing", " ", "A", "</w>", "the</w>", "Ġx", "Ċ"]
BYTE_PIECES = ["<0x41>", "<0x0A>", "<0xE2>", "<0x96>", "<0x81>", "<0xC3>", "<0xA9>", "<0xFF>"]
ALPHABET = ["a", "b", "Ġthe", "Ġ", "Ċ", "Ã", "©", "âĸ", "ģ", "ð", "ŁĺĢ", "'s", ".", "Ä¿"]

DECODERS = {
    "none": (None, PLAIN),
    "llama-2": (DSEQ(SPACE, FALLBACK, FUSE, STRIP), PLAIN + BYTE_PIECES),
    "gemma": (DSEQ(SPACE, FALLBACK, FUSE), PLAIN + BYTE_PIECES),
    "gguf-llama": (DSEQ(FALLBACK, FUSE, SPACE, STRIP), PLAIN + BYTE_PIECES),
    "gguf-llama-3": (DSEQ(FALLBACK, FUSE, SPACE, SPELLED), ALPHABET),
    "byte-level": (SPELLED, ALPHABET + ["日", "▁x", "a b"]),
    "byte-level-strip": (DSEQ(SPELLED, STRIP), ALPHABET),
    "byte-level-replace": (DSEQ(SPELLED, SPACE), ALPHABET),
    "fuse-bytes": (DSEQ(FUSE, SPELLED), ALPHABET),
    "metaspace": (META(prepend_scheme="always", split=True), PLAIN),
    "metaspace-never": (META(prepend_scheme="never", split=True), PLAIN),
    "old-metaspace": (META(add_prefix_space=True, str_rep="▁"), PLAIN),
    "bert": (S(type="WordPiece", prefix="##", cleanup=True), PLAIN),
    "wordpiece": (S(type="WordPiece", prefix="##", cleanup=False), PLAIN),
    "strip": (S(type="Strip", content="a", start=0, stop=1), PLAIN),
    "replace-strip": (DSEQ(S(type="Replace", pattern={"String": "th"}, content="TH"), S(type="Strip", content="▁", start=2, stop=0), FUSE), PLAIN),
}

BPE = lambda vocab, merges, **k: {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                                  "vocab": {p: i for i, p in enumerate(vocab)}, "merges": merges, **k}
LETTERS = ["<unk>", "a", "b", "c", "ab", "abc", "aa"]
MERGES = [["a", "b"], ["ab", "c"], ["a", "a"]]
SOME_BYTES = ["<0xC3>", "<0xA9>", "<0x64>"]
B2U = {**{b: chr(b) for b in [*range(33, 127), *range(161, 173), *range(174, 256)]}}
for b in range(256):
    B2U.setdefault(b, chr(256 + sum(1 for c in range(b) if c not in [*range(33, 127), *range(161, 173), *range(174, 256)])))

MODELS = {
    "unknown": dict(model=BPE(LETTERS, MERGES, unk_token="<unk>")),
    "unknown-fused": dict(model=BPE(LETTERS, MERGES, unk_token="<unk>", fuse_unk=True)),
    "dropped": dict(model=BPE(LETTERS, MERGES)),
    "old-merges": dict(model=BPE(LETTERS, ["a b", "ab c", "a a"], unk_token="<unk>")),
    "some-bytes": dict(model=BPE(LETTERS + SOME_BYTES, MERGES, unk_token="<unk>", byte_fallback=True)),
    "some-bytes-fused": dict(model=BPE(LETTERS + SOME_BYTES, MERGES, unk_token="<unk>", byte_fallback=True, fuse_unk=True)),
    "some-bytes-dropped": dict(model=BPE(LETTERS + SOME_BYTES, MERGES, byte_fallback=True)),
    "whole": dict(model=BPE(LETTERS + ["cab"], MERGES, unk_token="<unk>", ignore_merges=True), pre_tokenizer={"type": "WhitespaceSplit"}),
    "prefix": dict(model=BPE(["<unk>", "a", "b", "##b", "##a", "##c", "ab", "abc", "##bc"], [["a", "##b"], ["##b", "##c"], ["a", "##bc"]],
                             unk_token="<unk>", continuing_subword_prefix="##"), pre_tokenizer={"type": "WhitespaceSplit"}),
    "suffix": dict(model=BPE(["<unk>", "a", "b", "c", "a</w>", "b</w>", "c</w>", "ab", "abc</w>"], [["a", "b"], ["ab", "c</w>"]],
                             unk_token="<unk>", end_of_word_suffix="</w>"), pre_tokenizer={"type": "WhitespaceSplit"}),
    "clip": dict(model=BPE(["<unk>", "a", "b", "c", "Ã", "a</w>", "b</w>", "©</w>", "ab", "abc</w>", "Ã©</w>"], [["a", "b"], ["Ã", "©</w>"]],
                           unk_token="<unk>", end_of_word_suffix="</w>"), pre_tokenizer={"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}),
    "bytes-and-fallback": dict(model=BPE(list(B2U.values()) + ["ab", "Ġa"], [["a", "b"], ["Ġ", "a"]], byte_fallback=True, fuse_unk=True),
                               pre_tokenizer=BYTES),
    "bytes-missing": dict(model=BPE(["<unk>", "a", "b", "Ġ", "Ã", "ab", "<0x63>", "<0xC2>", "<0xA9>"], [["a", "b"]], unk_token="<unk>", fuse_unk=True, byte_fallback=True),
                          pre_tokenizer=BYTES),
    "normalized-bytes": dict(model=BPE(list(B2U.values()) + ["ab"], [["a", "b"]]), normalizer={"type": "ByteLevel"}),
    "words": dict(model={"type": "WordLevel", "vocab": {"[UNK]": 0, "a": 1, "b": 2, "ab": 3}, "unk_token": "[UNK]"}, pre_tokenizer={"type": "Whitespace"}),
    "unigram": dict(model={"type": "Unigram", "unk_id": 0, "byte_fallback": False,
                           "vocab": [["<unk>", 0.0], ["a", -1.0], ["b", -2.0], ["ab", -2.5], ["abc", -3.0], ["c", -4.0], ["▁", -2.0], ["▁a", -2.2], ["é", -5.0]]},
                    pre_tokenizer=META(prepend_scheme="always", split=True)),
    "unigram-unknown-text": dict(model={"type": "Unigram", "unk_id": 1, "byte_fallback": False, "vocab": [["a", -1.0], ["<0x41>", -2.0], ["aa", -1.5]]}),
}
WORDS = ["abc", "ab cab a", "aabb", "é", "aéb", "déd", "xyz", "a x y b", "abc abc", "©", "ab©c", "日本 a", "a<0x41>b", "<unk> a", "", "aaab" * 12, "x" * 70, "cabé" * 20]


def tokenizer(model, normalizer=None, pre_tokenizer=None, decoder=None):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": normalizer,
            "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": model}


def load(f):
    return Tokenizer.from_str(json.dumps(f))


def main():
    rng = random.Random(7)
    out = {"texts": TEXTS, "words": WORDS, "normalizers": [], "pre_tokenizers": [], "decoders": [], "models": []}
    some = BPE(["a"], [])
    for name, n in NORMALIZERS.items():
        t = load(tokenizer(some, normalizer=n))
        out["normalizers"].append({"name": name, "stage": n, "want": [t.normalizer.normalize_str(x) for x in TEXTS]})
    for name, p in PRE_TOKENIZERS.items():
        t = load(tokenizer(some, pre_tokenizer=p))
        out["pre_tokenizers"].append({"name": name, "stage": p, "want": [[w for w, _ in t.pre_tokenizer.pre_tokenize_str(x)] for x in TEXTS]})
    for name, (d, pieces) in DECODERS.items():
        t = load(tokenizer({"type": "WordLevel", "vocab": {p: i for i, p in enumerate(pieces)}, "unk_token": pieces[0]}, decoder=d))
        ids = [[i] for i in range(len(pieces))] + [[rng.randrange(len(pieces)) for _ in range(1 + rng.randrange(6))] for _ in range(40)]
        # A run of byte pieces that is not UTF-8 is left out: it is one of the
        # places where the libraries differ among themselves.
        ids = [i for i in ids if "\ufffd" not in t.decode(i) or not any(pieces[k] in BYTE_PIECES for k in i)]
        out["decoders"].append({"name": name, "stage": d, "pieces": pieces, "ids": ids, "want": [t.decode(i) for i in ids]})
    for name, m in MODELS.items():
        f = tokenizer(**m)
        t = load(f)
        out["models"].append({"name": name, "file": f, "want": [t.encode(w, add_special_tokens=False).ids for w in WORDS]})
    with open(OUT, "w", encoding="utf-8") as f:
        json.dump(out, f, ensure_ascii=False, separators=(",", ":"))
        f.write("\n")


main()
