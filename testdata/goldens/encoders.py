"""Tiny random encoders in Hugging Face folder form, adapters on them, and their hidden states.

encoders/<base>/golden.safetensors: tokens.N [len] i32, types.N [len] i32 where the model has types,
hidden.N [rows,hidden] f32 of all tokens or of those at the places rows.N [rows] i32,
pooled.N [1,hidden] f32 where it has a pooler. So too in the folders of adapters.
"""

import os
import shutil
import tempfile
import zlib

import adapters as hub
import torch
import transformers
from adapters import BnConfig, DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from peft import IA3Config, LNTuningConfig, LoraConfig, MissConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig, VeraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import nn


from bases import randomise
from lora import CONFIG_FILE, SAFE_FILE, save
from lora import randomise as randomise_adapter
from oracle import seed, write_json

ROOT = "encoders"
TASK = "FEATURE_EXTRACTION"
VOCAB = 32
SMALL = dict(
    vocab_size=VOCAB,
    hidden_size=9,
    intermediate_size=14,
    num_hidden_layers=2,
    num_attention_heads=3,
    max_position_embeddings=46,
    type_vocab_size=3,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
TOKENS = dict(bos_token_id=0, pad_token_id=1, eos_token_id=2)

# Name: the class that is saved, and its configuration's values.
BASES = {
    "bert": ("BertModel", {**SMALL, "max_position_embeddings": 70}),
    # Names with "bert." before them, a pooler, and a head.
    "bert-classifier": ("BertForSequenceClassification", {**SMALL, "num_hidden_layers": 1, "hidden_act": "gelu_new", "num_labels": 5}),
    # No pooler.
    "bert-masked": ("BertForMaskedLM", {**SMALL, "num_hidden_layers": 1, "hidden_act": "relu", "layer_norm_eps": 1e-5}),
    "roberta": ("RobertaModel", {**SMALL, **TOKENS}),
    # Counted from another number.
    "xlm-roberta": ("XLMRobertaForTokenClassification", {**SMALL, **TOKENS, "num_hidden_layers": 1, "pad_token_id": 5, "type_vocab_size": 1}),
    "distilbert": (
        "DistilBertForMaskedLM",
        dict(vocab_size=VOCAB, dim=9, hidden_dim=14, n_layers=2, n_heads=3, max_position_embeddings=46, dropout=0.0, attention_dropout=0.0),
    ),
    # Embeddings of a size of their own.
    "electra": ("ElectraForPreTraining", {**SMALL, "embedding_size": 5}),
    # Long enough for every bucket of distances.
    "mpnet": ("MPNetModel", {**{k: v for k, v in SMALL.items() if k != "type_vocab_size"}, **TOKENS, "max_position_embeddings": 152}),
    # Two layers that see what is near, one that sees everything; no biases.
    "modernbert": (
        "ModernBertModel",
        dict(
            vocab_size=VOCAB, hidden_size=8, intermediate_size=10, num_hidden_layers=3, num_attention_heads=2, max_position_embeddings=80,
            global_attn_every_n_layers=2, local_attention=10, local_rope_theta=100.0, reference_compile=False, cls_token_id=4, sep_token_id=3, **TOKENS,
        ),
    ),
    # v3: keys and queries of positions by the same linears, in buckets, normed; long enough for the farther buckets.
    "deberta": (
        "DebertaV2Model",
        dict(
            vocab_size=VOCAB, hidden_size=9, intermediate_size=14, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=76,
            relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p",
            position_biased_input=False, type_vocab_size=0, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
    ),
    # v2: linears of their own, no buckets, positions and types in the input.
    "deberta-own": (
        "DebertaV2ForSequenceClassification",
        dict(
            vocab_size=VOCAB, hidden_size=9, intermediate_size=14, num_hidden_layers=1, num_attention_heads=3, max_position_embeddings=76,
            relative_attention=True, max_relative_positions=20, pos_att_type=["p2c", "c2p"], position_biased_input=True, type_vocab_size=3,
            hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=4,
        ),
    ),
    # The largest of v2: a convolution beside the first block.
    "deberta-conv": (
        "DebertaV2Model",
        dict(
            vocab_size=VOCAB, hidden_size=9, intermediate_size=14, num_hidden_layers=2, num_attention_heads=3, max_position_embeddings=76,
            relative_attention=True, position_buckets=8, norm_rel_ebd="layer_norm", share_att_key=True, pos_att_type="p2c|c2p",
            position_biased_input=False, type_vocab_size=0, conv_kernel_size=3, conv_act="gelu", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        ),
    ),
    # A wider one beside the block that is the last too, and the activation that no key names.
    "deberta-conv-one": (
        "DebertaV2Model",
        dict(
            vocab_size=VOCAB, hidden_size=9, intermediate_size=14, num_hidden_layers=1, num_attention_heads=3, max_position_embeddings=76,
            relative_attention=True, pos_att_type="p2c", share_att_key=True, type_vocab_size=0, conv_kernel_size=5, hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        ),
    ),
}
UNPOOLED = ("bert-masked", "xlm-roberta")  # of bases that could have a pooler
# What is not trained, and what is 0 but for rounding, since it adds the same to all scores of a query.
SKIPPED = ("relative_attention_bias.weight", "rel_embeddings.weight", ".key.bias", ".k.bias", ".pos_key_proj.bias")
GRADIENTS = ("bert", "roberta", "electra", "mpnet", "modernbert", "deberta", "deberta-own", "deberta-conv", "deberta-conv-one")
# What these have in common with bert is held there.
COMMON = {"roberta": ("encoder.", "pooler."), "mpnet": ("embeddings.position_embeddings.",)}
LENGTHS = (1, 7, 33, 40)
LONGER = {"bert": 70, "modernbert": 70, "deberta": 70, "deberta-own": 70, "deberta-conv": 70, "deberta-conv-one": 70, "mpnet": 150}  # in the place of the last
SHORT = (5, 36)
ALL = 8  # tokens of a text of which every row is kept
QV = {"distilbert": ["q_lin", "v_lin"], "mpnet": ["attn.q", "attn.v"]}


def lora(r=3, alpha=6, **options):
    return LoraConfig(task_type=TASK, r=r, lora_alpha=alpha, **options)


def queries(base):
    return lora(target_modules=QV.get(base, ["query", "value"]))


# (base, name, configuration)
CASES = [
    ("bert", "lora", lambda: lora()),  # PEFT's own choice of modules
    ("bert", "lora-all-linear", lambda: lora(r=2, target_modules="all-linear")),
    ("bert", "lora-regex", lambda: lora(target_modules=r"encoder\.layer\.1\..*(key|dense)")),
    ("bert", "lora-layers", lambda: lora(target_modules=["query", "output.dense"], layers_to_transform=[1])),
    ("bert", "lora-bias-all", lambda: lora(bias="all", target_modules=["query", "value"])),
    ("bert", "lora-embed", lambda: lora(target_modules=["word_embeddings", "token_type_embeddings", "query"])),
    ("bert", "lora-save-norm", lambda: lora(target_modules=["key"], modules_to_save=["LayerNorm"])),
    ("bert", "lora-save-pooler", lambda: lora(target_modules=["key"], modules_to_save=["pooler.dense"])),
    ("bert", "dora", lambda: lora(use_dora=True, target_modules=["query", "intermediate.dense"])),
    ("bert", "ia3", lambda: IA3Config(task_type=TASK)),
    ("bert", "vera", lambda: VeraConfig(task_type=TASK, r=5, target_modules=["query", "value"])),
    ("bert", "miss", lambda: MissConfig(task_type=TASK, r=4, target_modules=["query", "value"])),
    ("bert", "ln-tuning", lambda: LNTuningConfig(task_type=TASK, target_modules=["LayerNorm"])),
    ("bert", "prompt", lambda: PromptTuningConfig(task_type=TASK, num_virtual_tokens=4)),
    ("bert", "prefix", lambda: PrefixTuningConfig(task_type=TASK, num_virtual_tokens=5)),
    ("bert-classifier", "lora", lambda: LoraConfig(r=3, lora_alpha=6, target_modules=["query", "value"])),  # of the class with the head
    ("bert-masked", "lora", lambda: lora(target_modules=["query", "value"])),  # trained on the class without
    ("roberta", "lora", lambda: lora()),
    ("roberta", "ia3", lambda: IA3Config(task_type=TASK)),
    ("xlm-roberta", "lora", lambda: lora()),
    ("distilbert", "lora", lambda: queries("distilbert")),
    ("electra", "lora", lambda: lora(target_modules=["query", "embeddings_project", "word_embeddings"])),
    ("mpnet", "lora", lambda: queries("mpnet")),
    ("deberta", "lora", lambda: lora(target_modules=["query_proj", "key_proj", "dense"])),
    ("deberta-own", "lora", lambda: lora(target_modules=["pos_key_proj", "value_proj"])),
    ("deberta-conv", "lora", lambda: lora(bias="all", target_modules=["query_proj", "dense"])),
    ("deberta-conv-one", "lora", lambda: lora(target_modules=["query_proj", "value_proj"])),
    ("modernbert", "lora", lambda: lora(target_modules=["Wqkv", "Wi", "tok_embeddings"])),
]

# Bottlenecks by AdapterHub's own code.
BOTTLENECKS = [
    ("bert", "houlsby", lambda: DoubleSeqBnConfig(reduction_factor=4)),
    ("bert", "pfeiffer", lambda: SeqBnConfig(reduction_factor=4)),
    ("bert", "parallel", lambda: ParBnConfig(reduction_factor=4)),
    (
        "bert",
        "norms",
        lambda: BnConfig(
            mh_adapter=True, output_adapter=True, reduction_factor=3, non_linearity="gelu", original_ln_before=True, residual_before_ln=False,
            ln_before=True, ln_after=True, scaling="channel",
        ),
    ),
    ("roberta", "houlsby", lambda: DoubleSeqBnConfig(reduction_factor=4)),
    ("distilbert", "pfeiffer", lambda: SeqBnConfig(reduction_factor=4, leave_out=[0])),
    ("electra", "houlsby", lambda: DoubleSeqBnConfig(reduction_factor=4)),
]
# Those whose gradients are kept, beside the bottlenecks of bert.
TRAINED = {("bert", "lora"), ("bert", "dora"), ("bert", "ia3"), ("mpnet", "lora")}
KEYS = [
    "mh_adapter", "output_adapter", "reduction_factor", "non_linearity", "original_ln_before", "original_ln_after", "ln_before", "ln_after",
    "residual_before_ln", "adapter_residual_before_ln", "is_parallel", "scaling", "use_gating", "leave_out", "init_weights", "dropout",
]

BITFIT = [("bert", "bitfit", None), ("mpnet", "bitfit", None), ("distilbert", "bitfit", ["v_lin", "lin1", "sa_layer_norm"])]


def load(base, head=False):
    """The model without its head, or of the class that was saved."""
    path = os.path.join(ROOT, base)
    cls = getattr(transformers, BASES[base][0]) if head else transformers.AutoModel
    options = {"add_pooling_layer": False} if base in UNPOOLED and not head else {}
    model = cls.from_pretrained(path, dtype=torch.float32, attn_implementation="eager", **options)
    return model.eval()


@torch.no_grad()
def hidden(model, tokens, types):
    """Hidden states of the tokens, without virtual ones, and the pooled row or None."""
    model = getattr(model, "base_model", model) if hasattr(model, "classifier") else model
    options = {"token_type_ids": torch.tensor([types])} if types is not None else {}
    out = model(input_ids=torch.tensor([tokens]), **options)
    return out.last_hidden_state[0, -len(tokens) :].contiguous(), getattr(out, "pooler_output", None)


def places(length):
    """The rows that are kept of a long text: the ends, two of the middle, and those around multiples of 32."""
    around = [r for m in range(32, length, 32) for r in (m - 1, m)]
    return sorted({0, 1, length // 3, length // 2, *around, length - 2, length - 1})


def golden(model, path, config, lengths, typed=True):
    tensors = {}
    rng = torch.Generator().manual_seed(zlib.crc32(path.encode()))
    types = getattr(config, "type_vocab_size", 0) if typed else 0
    pad = config.pad_token_id if config.model_type in ("roberta", "xlm-roberta", "mpnet") else None
    for i, length in enumerate(lengths):
        tokens = torch.randint(6, config.vocab_size, (length,), generator=rng)
        if pad is not None and length == 7:
            tokens[2] = pad  # which has no place of its own
        kinds = torch.randint(0, types, (length,), generator=rng) if types > 0 else None
        states, pooled = hidden(model, tokens.tolist(), kinds.tolist() if kinds is not None else None)
        tensors[f"tokens.{i}"] = tokens.to(torch.int32)
        if kinds is not None:
            tensors[f"types.{i}"] = kinds.to(torch.int32)
        if length > ALL:
            kept = torch.tensor(places(length), dtype=torch.int32)
            tensors[f"rows.{i}"], states = kept, states[kept].contiguous()
        tensors[f"hidden.{i}"] = states
        if pooled is not None:
            tensors[f"pooled.{i}"] = pooled.contiguous()
    save_file(tensors, os.path.join(path, "golden.safetensors"))
    print(f"{path}: std {float(tensors['hidden.1'].std()):.2f}", flush=True)


def gradients(model, path, named, which):
    """Gradients of parameters by their names in the file, for some of the golden texts: of the sum of hidden states times
    weights that are easy to make again."""
    texts = load_file(os.path.join(path, "golden.safetensors"))
    loss = 0
    for i in which:
        options = {"token_type_ids": texts[f"types.{i}"][None].long()} if f"types.{i}" in texts else {}
        states = model(input_ids=texts[f"tokens.{i}"][None].long(), **options).last_hidden_state[0]
        row, column = torch.arange(states.shape[0])[:, None], torch.arange(states.shape[1])[None]
        loss = loss + (states * ((7 * row + 3 * column) % 11 - 5)).sum()
    loss.backward()
    save_file({k: p.grad for k, p in named.items() if p.grad is not None and not k.endswith(SKIPPED)}, os.path.join(path, "grads.safetensors"))


def stored(name):
    """The name under which PEFT saves a parameter."""
    return name.replace("lora_magnitude_vector.default.weight", "lora_magnitude_vector").replace(".default", "")


def make_base(base):
    path = os.path.join(ROOT, base)
    seed(path)
    name, values = BASES[base]
    cls = getattr(transformers, name)
    model = cls(cls.config_class(**values))
    randomise(model)
    if hasattr(model, "tie_weights"):
        model.tie_weights()
    model.save_pretrained(path)
    golden(load(base), path, model.config, (*LENGTHS[:-1], LONGER.get(base, LENGTHS[-1])))
    if base in GRADIENTS:
        model = load(base)
        gradients(model, path, {k: p for k, p in model.named_parameters() if not k.startswith(COMMON.get(base, ()))}, (2, 3))


def check_old_names(base):
    """Holds transformers to loading gamma and beta, as BERT's first checkpoints call weight and bias of norms, as the golden
    numbers are: models/encoder_test.go renames them likewise."""
    path = os.path.join(ROOT, base)
    with tempfile.TemporaryDirectory() as old:
        shutil.copy(os.path.join(path, "config.json"), old)
        tensors = load_file(os.path.join(path, "model.safetensors"))
        renamed = {k.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): v for k, v in tensors.items()}
        assert set(renamed) != set(tensors)
        save_file(renamed, os.path.join(old, "model.safetensors"), {"format": "pt"})
        model = transformers.AutoModel.from_pretrained(old, dtype=torch.float32, attn_implementation="eager").eval()
    texts = load_file(os.path.join(path, "golden.safetensors"))
    for i in range(len(LENGTHS)):
        states, pooled = hidden(model, texts[f"tokens.{i}"].tolist(), texts[f"types.{i}"].tolist())
        kept = texts.get(f"rows.{i}", torch.arange(len(states)))
        torch.testing.assert_close(states[kept], texts[f"hidden.{i}"])
        torch.testing.assert_close(pooled, texts[f"pooled.{i}"])


def folder(base, name):
    path = os.path.join(ROOT, base, "adapters", name)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path)
    return path


def make(base, name, config):
    path = folder(base, name)
    seed(path)
    head = config().task_type is None
    model = get_peft_model(load(base, head), config())
    randomise_adapter(model)
    save(model.eval(), path)
    loaded = PeftModel.from_pretrained(load(base, head), path).eval()
    if head:
        loaded = loaded.base_model.model.base_model
    # PEFT passes over the types of whoever has virtual tokens.
    golden(loaded, path, load(base).config, SHORT, typed=not config().is_prompt_learning)
    if (base, name) in TRAINED:
        loaded = PeftModel.from_pretrained(load(base), path, is_trainable=True).eval()
        gradients(loaded, path, {stored(k): p for k, p in loaded.named_parameters() if p.requires_grad}, (0, 1))


def bottlenecks(model):
    """The places of AdapterHub's modules, by our names of the sublayers."""
    if model.config.model_type == "distilbert":
        for i, layer in enumerate(model.transformer.layer):
            yield f"transformer.layer.{i}.attention", layer.attention_adapters
            yield f"transformer.layer.{i}.ffn", layer.output_adapters
        return
    for i, layer in enumerate(model.encoder.layer):
        yield f"encoder.layer.{i}.attention.output", layer.attention.output
        yield f"encoder.layer.{i}.output", layer.output


def make_bottleneck(base, name, config):
    path = folder(base, "bottleneck-" + name)
    seed(path)
    config = config()
    model = load(base)
    hub.init(model)
    model.add_adapter("golden", config=config)
    model.set_active_adapters("golden")
    tensors = {}
    with torch.no_grad():
        for place, module in bottlenecks(model):
            if "golden" not in module.adapters:
                continue
            b = module.adapters["golden"]
            parts = {"adapter_down": [m for m in b.adapter_down if isinstance(m, nn.Linear)][0], "adapter_up": b.adapter_up}
            parts |= {key: getattr(b, key) for key in ("adapter_norm_before", "adapter_norm_after") if hasattr(b, key)}
            named = {f"{part}.{key}": p for part, m in parts.items() for key, p in m.named_parameters()}
            if isinstance(b.scaling, nn.Parameter):
                named["scaling"] = b.scaling
            for key, p in named.items():
                if key == "scaling" or "norm" in key and key.endswith("weight"):
                    p.uniform_(0.5, 1.5)
                else:
                    p.normal_(0.0, 0.2)
                tensors[f"base_model.model.{place}.{key}"] = p
    trained, tensors = tensors, {k: p.detach().clone() for k, p in tensors.items()}
    write_json(
        {"base_model_name_or_path": base, "inference_mode": True, "peft_type": "BOTTLENECK", "task_type": TASK, **{k: config[k] for k in KEYS}},
        path,
        CONFIG_FILE,
    )
    save_file(tensors, os.path.join(path, SAFE_FILE), metadata={"format": "pt"})
    golden(model.eval(), path, model.config, SHORT)
    if base == "bert":
        gradients(model.requires_grad_(True), path, trained, (0, 1))


def make_bitfit(base, name, targets):
    path = folder(base, name)
    seed(path)
    model = load(base)
    tensors = {}
    with torch.no_grad():
        for key, p in model.named_parameters():
            module = key.removesuffix(".bias")
            if key.endswith(".bias") and (targets is None or any(module == t or module.endswith("." + t) for t in targets)):
                p.add_(torch.empty_like(p).normal_(0.0, 0.3))
                tensors["base_model.model." + key] = p.detach().clone()
    write_json(
        {"base_model_name_or_path": base, "inference_mode": True, "peft_type": "BITFIT", "target_modules": targets, "task_type": TASK}, path, CONFIG_FILE
    )
    save_file(tensors, os.path.join(path, SAFE_FILE), metadata={"format": "pt"})
    golden(model, path, model.config, SHORT)


def make_all(wanted=()):
    def asked(base, name):
        return not wanted or f"{ROOT}/{base}/{name}" in wanted

    for base in BASES:
        if not wanted or f"{ROOT}/{base}" in wanted:
            make_base(base)
            if base in ("bert", "bert-classifier"):
                check_old_names(base)
    for cases, made in ((CASES, make), (BITFIT, make_bitfit), (BOTTLENECKS, make_bottleneck)):
        for base, name, config in cases:
            if asked(base, name):
                made(base, name, config)
