"""Label goldens: what TRL's SFTTrainer trains on, and its loss, on tiny bases with tokenizers of two kinds.

labels/<base>/      config.json, model.safetensors, tokenizer.json and the rest of a folder
labels/cases.json   base, template, rows; input_ids, labels and the mean loss over all of them

Run by itself with the versions of requirements-trl.txt: python testdata/goldens/labels.py
"""

import json
import os
import shutil
import sys
import tempfile
import warnings

os.environ["HF_HUB_OFFLINE"] = "1"
sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")

import torch
from datasets import Dataset
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

ROOT = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(ROOT, "labels")
TEMPLATES = os.path.join(ROOT, "..", "templates")
CORPUS = [
    "The cat sat on the mat.",
    "What is the capital of France? Paris is the capital.",
    "Translate this into German: house, tree, dog.",
    "user assistant system\n",
    "Answer: yes. Answer: no.",
    "one two three four five six seven eight nine ten",
] * 3
CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def bytes_tokenizer(bos):
    """A byte-level BPE with the tokens of ChatML."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    t.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet))
    if bos:
        begin(t, "<s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=t, eos_token="<|im_end|>", bos_token="<s>" if bos else None, pad_token="<|endoftext|>"
    )


def pieces_tokenizer():
    """A BPE of Llama 2's kind: a space before the text, pieces across words' spaces, bytes for the rest."""
    t = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    t.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(content=" ", left=1)]
    )
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    alphabet = [f"<0x{b:02X}>" for b in range(256)]
    t.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=370, special_tokens=special + alphabet))
    raw = json.loads(t.to_str())  # the bytes are pieces like others, not tokens of their own
    raw["added_tokens"] = [a for a in raw["added_tokens"] if a["content"] in special]
    t = Tokenizer.from_str(json.dumps(raw))
    begin(t, "<s>")
    return PreTrainedTokenizerFast(
        tokenizer_object=t, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<unk>"
    )


def begin(t, bos):
    t.post_processor = processors.TemplateProcessing(
        single=f"{bos} $A", pair=f"{bos} $A $B", special_tokens=[(bos, t.token_to_id(bos))]
    )


TOKENIZERS = {
    "bytes": lambda: bytes_tokenizer(False),
    "bytes-bos": lambda: bytes_tokenizer(True),
    "pieces": pieces_tokenizer,
}


def make_base(name):
    path = os.path.join(OUT, name)
    shutil.rmtree(path, ignore_errors=True)
    tok = TOKENIZERS[name]()
    tok.chat_template = CHATML
    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_config(
        LlamaConfig(
            vocab_size=len(tok) + 2,
            hidden_size=8,
            intermediate_size=12,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
            max_position_embeddings=1024,
            bos_token_id=tok.bos_token_id,
            eos_token_id=tok.eos_token_id,
            pad_token_id=None,
            tie_word_embeddings=True,
        )
    )
    with torch.no_grad():
        for p in model.parameters():
            p.uniform_(0.5, 1.5) if p.ndim == 1 else p.normal_(0, 0.5)
    model.save_pretrained(path)
    tok.save_pretrained(path)
    return path


def user(text):
    return {"role": "user", "content": text}


def said(text, **more):
    return {"role": "assistant", "content": text, **more}


TEXTS = [
    {"prompt": "The cat", "completion": " sat on the mat."},
    {"prompt": "What is", "completion": " the capital of France?"},
    {"prompt": "one two", "completion": " three four five"},
    {"prompt": "Answer:", "completion": " yes."},
    {"prompt": "The c", "completion": "at sat"},  # one token is both
    {"prompt": "Answer: ", "completion": "yes."},
    {"prompt": "one ", "completion": " two"},
    {"prompt": "", "completion": "The cat"},
    {"prompt": "user\n", "completion": "\nassistant\n"},
    {"prompt": "house 🌳 é", "completion": "ß 犬 dog"},
]
TALKS = [
    [user("What is"), said("Paris"), user("one"), said("two")],
    [user("Answer:"), said("yes.")],
    [{"role": "system", "content": "The cat"}, user("What is\n"), said(" the mat "), user("one"), said("two three")],
]
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get",
            "description": "dog",
            "parameters": {"type": "object", "properties": {"x": {"type": "string"}}, "required": ["x"]},
        },
    }
]
CALLS = [
    user("What is"),
    said("", tool_calls=[{"type": "function", "function": {"name": "get", "arguments": {"x": "tree"}}}]),
    {"role": "tool", "name": "get", "content": "house"},
    said("two"),
]


def split(talk):
    return {"prompt": talk[:-1], "completion": talk[-1:]}


# name: base, template, turns, the rows as TRL has them, the rows as they are here, settings of TRL's
CASES = {
    **{f"prompt-{b}": (b, None, "all", TEXTS, TEXTS, {}) for b in TOKENIZERS},
    **{f"text-{b}": (b, None, "all", *[[{"text": t} for t in CORPUS[:6]]] * 2, {}) for b in TOKENIZERS},
    **{
        f"last-{b}": (b, None, "last", [split(t) for t in TALKS], [{"messages": t} for t in TALKS], {})
        for b in TOKENIZERS
    },
    "parts": ("bytes", None, "all", *[[split(t) for t in TALKS]] * 2, {}),
    **{
        f"{t}-{b}": (b, f"trl/{t}.jinja", "all", *[[{"messages": talk} for talk in TALKS]] * 2, {"assistant_only_loss": True})
        for t in ("qwen3_training", "lfm2_training", "gemma3_training", "phi3_5_training")
        for b in TOKENIZERS
    },
    "tools": (
        "bytes",
        "trl/qwen3_training.jinja",
        "all",
        *[[{"messages": CALLS, "tools": json.dumps(TOOLS)}]] * 2,
        {"assistant_only_loss": True},
    ),
}


def prepared(path, template, rows, settings):
    tok = AutoTokenizer.from_pretrained(path)
    if template:
        with open(os.path.join(TEMPLATES, template)) as f:
            tok.chat_template = f.read()
    model = AutoModelForCausalLM.from_pretrained(path)
    with tempfile.TemporaryDirectory() as scratch:
        args = SFTConfig(output_dir=scratch, max_length=1024, report_to=[], use_cpu=True, disable_tqdm=True, **settings)
        trainer = SFTTrainer(model, args, train_dataset=Dataset.from_list(rows), processing_class=tok)
        made = [{k: row[k] for k in ("input_ids", "labels")} for row in trainer.train_dataset]
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad():
        for row in made:
            logits = model(torch.tensor([row["input_ids"]])).logits[0, :-1].double()
            labels = torch.tensor(row["labels"][1:])
            total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
            count += int((labels != -100).sum())
    return made, total / count


def main():
    torch.set_num_threads(1)
    paths = {name: make_base(name) for name in TOKENIZERS}
    cases = []
    for name, (base, template, turns, theirs, ours, settings) in CASES.items():
        made, loss = prepared(paths[base], template, theirs, settings)
        assert len(made) == len(theirs), name
        cases.append({"name": name, "base": base, "template": template, "turns": turns, "rows": ours, "made": made, "loss": loss})
        print(f"{name}: {sum(len(m['input_ids']) for m in made)} tokens, loss {loss:.4f}")
    with open(os.path.join(OUT, "cases.json"), "w") as f:
        f.write("[\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]\n")


main()
