"""What peft's save_as_lora writes of its other families, which is served as any LoRA."""

import os

import peft
from peft import PeftModel, get_peft_model, save_as_lora

from lora import TASK, folder, randomise
from oracle import golden, load_base, logits, seed

BASE, RANK = "llama-gqa", 3
TARGETS = ["q_proj", "v_proj"]
FAMILIES = {
    "c3a": lambda: peft.C3AConfig(block_size=8, target_modules=TARGETS),
    "delora": lambda: peft.DeloraConfig(r=4, target_modules=TARGETS),
    "fourierft": lambda: peft.FourierFTConfig(n_frequency=40, target_modules=TARGETS),
    "gralora": lambda: peft.GraloraConfig(r=4, target_modules=TARGETS),
    "loha": lambda: peft.LoHaConfig(r=4, target_modules=TARGETS),
    "lokr": lambda: peft.LoKrConfig(r=4, target_modules=TARGETS),
    "miss": lambda: peft.MissConfig(r=4, target_modules=TARGETS),
    "psoft": lambda: peft.PsoftConfig(r=4, psoft_alpha=4, target_modules=TARGETS),
    "randlora": lambda: peft.RandLoraConfig(r=4, randlora_alpha=16, target_modules=TARGETS),
    "tinylora": lambda: peft.TinyLoraConfig(target_modules=TARGETS),
    "unilora": lambda: peft.UniLoraConfig(r=4, target_modules=TARGETS),
    "vblora": lambda: peft.VBLoRAConfig(r=4, num_vectors=16, vector_length=8, target_modules=TARGETS),
    "vera": lambda: peft.VeraConfig(r=4, target_modules=TARGETS),
    "waveft": lambda: peft.WaveFTConfig(n_frequency=40, target_modules=TARGETS),
}


def make_all(wanted=()):
    for name, config in FAMILIES.items():
        if wanted and f"{BASE}/aslora-{name}" not in wanted:
            continue
        path = folder(BASE, f"aslora-{name}")
        seed(path)
        config = config()
        config.task_type = TASK
        model = get_peft_model(load_base(BASE), config)
        randomise(model)
        # One with a rank of its own for each module.
        save_as_lora(path, model.eval(), rank=0.9 if name == "lokr" else RANK)
        loaded = PeftModel.from_pretrained(load_base(BASE), path).eval()
        effect = (logits(loaded, range(2, 14)) - logits(load_base(BASE), range(2, 14))).abs().max()
        golden(loaded, os.path.join(path, "golden.safetensors"), lengths=(5,))
        print(f"  effect {effect:.3f}")
