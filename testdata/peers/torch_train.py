"""Training steps of PyTorch + peft on a random model of SmolLM2-135M's shape: tokens/s and peak memory by method."""
import argparse, resource, time
import torch
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

p = argparse.ArgumentParser()
p.add_argument("method")
p.add_argument("--threads", type=int, default=2)
p.add_argument("--batch", type=int, default=4)
p.add_argument("--length", type=int, default=256)
p.add_argument("--steps", type=int, default=2)
a = p.parse_args()
torch.set_num_threads(a.threads)
torch.manual_seed(0)
config = LlamaConfig(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                     num_key_value_heads=3, max_position_embeddings=8192, rope_theta=100000.0, tie_word_embeddings=True)
model = LlamaForCausalLM(config)
targets = ["q_proj", "v_proj"] if a.method == "lora-qv" else "all-linear"
if a.method == "lisa":  # the step of LISA with two blocks active
    for i, layer in enumerate(model.model.layers):
        layer.requires_grad_(i in (10, 20))
elif a.method != "full":
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=targets, use_dora=a.method == "dora-all"))
model.train()
opt = torch.optim.AdamW([q for q in model.parameters() if q.requires_grad], lr=1e-4)
tokens = torch.randint(0, 49152, (a.batch, a.length))
times = []
for i in range(a.steps + 1):
    t = time.time()
    loss = model(input_ids=tokens, labels=tokens).loss
    loss.backward()
    opt.step()
    opt.zero_grad()
    times.append(time.time() - t)
times = sorted(times[1:])
print(f"{a.method} {a.batch * a.length / times[len(times) // 2]:.1f} tokens/s, peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB, loss {loss.item():.3f}")
