"""The keys of PEFT's configurations that are served, from its own dataclasses."""

import dataclasses

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

SERVED = ["BEFT", "IA3", "LORA", "PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING", "TRAINABLE_TOKENS"]


def make_all(cases):
    if cases:
        return
    with open("peft_keys.txt", "w") as f:
        for peft_type in SERVED:
            fields = dataclasses.fields(PEFT_TYPE_TO_CONFIG_MAPPING[peft_type])
            f.writelines(f"{peft_type} {name}\n" for name in sorted(field.name for field in fields))
    print("peft_keys.txt", flush=True)
