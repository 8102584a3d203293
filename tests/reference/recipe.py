#!/usr/bin/env python3
"""What PyTorch makes of a recipe's parts, in double precision: recipe.json, which test_recipe reads.

    recipe.py > recipe.json

Made with PyTorch 2.15. Inputs are float32 numbers.
  loss: logits (N, C), labels, smoothing; the mean loss and its gradient
"""
import json

import torch

torch.manual_seed(12)


def single(values):
    """The nearest float32 numbers, as doubles."""
    return torch.as_tensor(values).float().double()


def loss(images, classes, smoothing):
    logits = single(torch.randn(images, classes) * 2).requires_grad_()
    labels = torch.randint(classes, (images,))
    smoothing = single(smoothing).item()
    value = torch.nn.CrossEntropyLoss(label_smoothing=smoothing)(logits, labels)
    value.backward()
    return {'logits': logits.tolist(), 'labels': labels.tolist(), 'smoothing': smoothing, 'loss': value.item(),
            'grad': logits.grad.tolist()}


def main():
    print(json.dumps({'loss': [loss(4, 10, 0.0), loss(4, 10, 0.1), loss(3, 7, 0.4), loss(1, 100, 0.2)]}))


main()
