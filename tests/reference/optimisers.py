#!/usr/bin/env python3
"""What torch.optim makes of 17 parameters in five steps, in double precision: optimisers.json, which test_optim reads.

    optimisers.py > optimisers.json

Made with PyTorch 1.13.1. Inputs are float32 numbers. Per case: `options` as torch.optim takes them, `lr` of each step,
`value` before the first step; after each step the value and the optimiser's state, where it has one. The gradients are
the same in every case."""
import json
import random

import torch

COUNT, STEPS = 17, 5
CASES = [
    ('sgd', 'SGD', 0.1, {}),
    ('sgd', 'SGD', 0.1, {'momentum': 0.9}),
    ('sgd', 'SGD', 0.05, {'weight_decay': 0.01}),
    ('sgd', 'SGD', 0.1, {'momentum': 0.9, 'weight_decay': 1e-3}),
    ('sgd', 'SGD', 0.1, {'momentum': 0.8, 'weight_decay': 0.1, 'nesterov': True}),
    ('adamw', 'AdamW', 1e-3, {'weight_decay': 1e-2, 'betas': (0.9, 0.999), 'eps': 1e-8}),
    ('adamw', 'AdamW', 0.02, {'weight_decay': 0, 'betas': (0.8, 0.95), 'eps': 1e-3}),
    ('adamw', 'AdamW', 0.02, {'weight_decay': 0.3, 'betas': (0.0, 0.5), 'eps': 1e-6}),
]


def single(values):
    """The nearest float32 numbers, as doubles."""
    return torch.tensor(values, dtype=torch.float32).double()


def numbers():
    """Of all magnitudes from 1e-3 to 1; the first of the gradients are zeros."""
    draw = random.Random(12)
    some = [draw.choice((-1, 1)) * 10 ** draw.uniform(-3, 0) for _ in range(COUNT * (STEPS + 1))]
    grads = [some[(s + 1) * COUNT:(s + 2) * COUNT] for s in range(STEPS)]
    for step in grads:
        step[0] = 0.0
    return single(some[:COUNT]), [single(step) for step in grads]


def case(name, torch_name, lr, options):
    value, grads = numbers()
    parameter = torch.nn.Parameter(value.clone())
    settings = {key: tuple(single(v).tolist()) if key == 'betas' else v if key == 'nesterov' else single([v]).item()
                for key, v in options.items()}
    optimiser = getattr(torch.optim, torch_name)([parameter], lr=lr, **settings)
    out = {'optimiser': name, 'options': settings, 'lr': [], 'value': value.tolist(), 'after': []}
    for step in range(STEPS):
        rate = single([lr * (1 - step / 10)]).item()  # as a schedule has it
        optimiser.param_groups[0]['lr'] = rate
        parameter.grad = grads[step].clone()
        optimiser.step()
        state = {key: kept.tolist() for key, kept in optimiser.state[parameter].items()
                 if torch.is_tensor(kept) and kept.numel() == COUNT}
        out['lr'].append(rate)
        out['after'].append({'value': parameter.detach().tolist(), **state})
    return out


def main():
    _, grads = numbers()
    print(json.dumps({'grads': [step.tolist() for step in grads], 'cases': [case(*c) for c in CASES]}))


main()
