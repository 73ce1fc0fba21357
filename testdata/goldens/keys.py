"""The keys of PEFT's configurations, from its own dataclasses."""

import dataclasses

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

def make_all(cases):
    if cases:
        return
    with open("peft_keys.txt", "w") as f:
        for peft_type, config in sorted(PEFT_TYPE_TO_CONFIG_MAPPING.items()):
            fields = dataclasses.fields(config)
            f.writelines(f"{peft_type.value} {name}\n" for name in sorted(field.name for field in fields))
    print("peft_keys.txt", flush=True)
