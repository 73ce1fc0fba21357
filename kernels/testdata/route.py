"""What PyTorch's autograd makes of routing: python route.py writes route.json beside it.

softmax, top-k and the shares in their sum as transformers' Qwen3MoeSparseMoeBlock
has them, the chosen experts in ascending order; the gradient of the logits for a
given one of the weights.
"""

import json
import os

import torch

ROWS, EXPERTS, K = 11, 9, 3


def main():
    torch.manual_seed(1)
    cases = []
    for normalise in (False, True):
        logits = (2 * torch.randn(ROWS, EXPERTS)).requires_grad_()
        weights, experts = torch.topk(torch.softmax(logits, dim=-1), K, dim=-1)
        if normalise:
            weights = weights / weights.sum(dim=-1, keepdim=True)
        experts, order = experts.sort(dim=-1)
        weights = weights.gather(-1, order)
        dweights = torch.randn(ROWS, K)
        weights.backward(dweights)
        cases.append(
            {
                "normalise": normalise,
                **{
                    name: [round(v, 9) for v in t.detach().flatten().tolist()]
                    for name, t in dict(logits=logits, weights=weights, dweights=dweights, dlogits=logits.grad).items()
                },
                "experts": experts.flatten().tolist(),
            }
        )
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "route.json"), "w") as f:
        json.dump(cases, f)
        f.write("\n")


main()
