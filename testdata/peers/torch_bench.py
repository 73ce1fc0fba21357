"""The forward pass and training steps of PyTorch, ONNX Runtime and OpenVINO on bases of random weights.

python torch_bench.py write minilm DIR               # a base for peft-serve and peft-train
python torch_bench.py export minilm DIR              # the same weights as model.onnx
python torch_bench.py forward minilm DIR sdpa        # eager, sdpa, bf16; onnx, openvino: of model.onnx
python torch_bench.py lora mpnet DIR sdpa            # steps of peft's LoRA, r 8, on query and value
python torch_bench.py lora-all qwen DIR bf16         # on all linears, under bfloat16 autocast; dora-all
python torch_bench.py full smollm2 DIR bf16          # every weight; lisa: of two blocks, embeddings and the last norm

Writes a line of JSON: tokens a second by the clock and by the time of the processors,
and the largest resident size in bytes. minilm, mpnet, smollm2 (SmolLM2-135M) and qwen
(Qwen2.5-0.5B) have the shapes of those models; the last two have no forward pass.
scripts/bench-torch.py calls it in turn with ours.
"""

import argparse
import json
import os
import resource
import statistics
import time

os.environ["HF_HUB_OFFLINE"] = "1"

FAMILIES = {"minilm": "Bert", "mpnet": "MPNet", "smollm2": "Llama", "qwen": "Qwen2"}
DECODERS = ("smollm2", "qwen")
TARGETS = {"minilm": ["query", "value"], "mpnet": ["q", "v"], "smollm2": ["q_proj", "v_proj"], "qwen": ["q_proj", "v_proj"]}
SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "mpnet": dict(vocab_size=30527, max_position_embeddings=514, layer_norm_eps=1e-5),
    "smollm2": dict(
        vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
        max_position_embeddings=8192, rope_theta=100000.0, tie_word_embeddings=True,
    ),
    "qwen": dict(
        vocab_size=151936, hidden_size=896, intermediate_size=4864, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
        max_position_embeddings=32768, rope_theta=1000000.0, tie_word_embeddings=True,
    ),
}  # fmt: skip


def build(base, kind, attention):
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.manual_seed(0)
    config = getattr(transformers, FAMILIES[base] + "Config")(**SHAPES[base])
    config._attn_implementation = "eager" if base == "mpnet" or attention == "eager" else "sdpa"  # MPNet has no other
    return getattr(transformers, FAMILIES[base] + kind)(config)


def write(a):
    build(a.base, "ForCausalLM" if a.base in DECODERS else "Model", "eager").save_pretrained(a.dir)


def export(a):
    import torch

    model = build(a.base, "Model", "eager").eval()
    os.makedirs(a.dir, exist_ok=True)

    class Hidden(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, tokens, mask):
            return self.model(input_ids=tokens, attention_mask=mask).last_hidden_state

    tokens = torch.ones((a.batch, a.length), dtype=torch.int64)
    torch.onnx.export(
        Hidden(), (tokens, tokens), os.path.join(a.dir, "model.onnx"), input_names=["tokens", "mask"], output_names=["hidden"], external_data=False
    )


def exported(a):
    """A function of ONNX Runtime or OpenVINO. PyTorch is not in the process."""
    import numpy

    path = os.path.join(a.dir, "model.onnx")
    feed = {"tokens": numpy.random.default_rng(0).integers(1000, 30000, (a.batch, a.length)), "mask": numpy.ones((a.batch, a.length), numpy.int64)}
    if a.how == "onnx":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = a.threads
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return lambda: session.run(None, feed)
    import openvino

    settings = {"INFERENCE_NUM_THREADS": a.threads, "INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda: request.infer(feed)


def forward(a):
    """A function that computes the hidden states of all tokens."""
    if a.how in ("onnx", "openvino"):
        return exported(a)
    import torch

    torch.set_num_threads(a.threads)
    model = build(a.base, "Model", a.how).eval()
    tokens = torch.randint(1000, 30000, (a.batch, a.length))
    mask = torch.ones_like(tokens)

    def step():
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=a.how == "bf16"):
            model(input_ids=tokens, attention_mask=mask)

    return step


def training(a):
    """A function that takes a training step."""
    import torch

    torch.set_num_threads(a.threads)
    decoder = a.base in DECODERS
    model = build(a.base, "ForCausalLM" if decoder else "ForSequenceClassification", a.how)
    for m in model.modules():
        if isinstance(m, torch.nn.Dropout):
            m.p = 0.0  # as on our side
    if a.what == "lisa":  # a step with two blocks active
        layers = model.model.layers
        for i, layer in enumerate(layers):
            layer.requires_grad_(i in (len(layers) // 3, 2 * len(layers) // 3))
    elif a.what != "full":
        from peft import LoraConfig, get_peft_model

        targets = TARGETS[a.base] if a.what == "lora" else "all-linear"
        task = None if decoder else "SEQ_CLS"
        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, use_dora=a.what == "dora-all", task_type=task))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5)
    tokens = torch.randint(1000, 30000, (a.batch, a.length))
    labels = tokens if decoder else torch.randint(0, 2, (a.batch,))

    def step():
        with torch.autocast("cpu", torch.bfloat16, enabled=a.how == "bf16"):
            loss = model(input_ids=tokens, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(a):
    step = forward(a) if a.what == "forward" else training(a)
    clock, processors = [], []
    for i in range(a.steps + 1):
        began, had = time.perf_counter(), time.process_time()
        step()
        if i > 0:  # the first warms caches
            clock.append(time.perf_counter() - began)
            processors.append(time.process_time() - had)
    rows = a.batch * a.length
    print(json.dumps({
        "tokens_per_second": rows / statistics.median(clock),
        "tokens_per_processor_second": rows / statistics.median(processors),
        "resident_peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))  # fmt: skip


p = argparse.ArgumentParser()
p.add_argument("what", choices=["write", "export", "forward", "lora", "lora-all", "dora-all", "full", "lisa"])
p.add_argument("base", choices=SHAPES)
p.add_argument("dir")
p.add_argument("how", nargs="?", default="sdpa", choices=["eager", "sdpa", "bf16", "onnx", "openvino"])
p.add_argument("--threads", type=int, default=2)
p.add_argument("--batch", type=int, default=32)
p.add_argument("--length", type=int, default=128)
p.add_argument("--steps", type=int, default=3)
arguments = p.parse_args()
{"write": write, "export": export}.get(arguments.what, measure)(arguments)
