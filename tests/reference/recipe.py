#!/usr/bin/env python3
"""What PyTorch makes of a recipe's parts, in double precision: recipe.json, which test_recipe reads.

    recipe.py > recipe.json

Made with PyTorch 2.15. Inputs are float32 numbers.
  loss: logits (N, C), labels, smoothing, weights of classes, a share of the label and others; the mean loss and its
      gradient
  mixing: images (N, C, H, W), and what MixUp makes of them; boxes of CutMix by shares and centres, and the share left
  schedules: as --schedule has them, and the rate of each step
  training: linear layers fc1, middle, fc2 with tanh between them, and batch norm behind the first; settings by their
      names on the command line, parameters before and after the steps, by name, and of each step its
      images (N, FEATURES) and labels
"""
import fnmatch
import json
import unittest.mock

import torch

torch.manual_seed(12)


def single(values):
    """The nearest float32 numbers, as doubles."""
    return torch.as_tensor(values).float().double()


def loss(images, classes, smoothing, weighted=False, share=1):
    logits = single(torch.randn(images, classes) * 2).requires_grad_()
    labels = torch.randint(classes, (images,))
    smoothing = single(smoothing).item()
    weights = single(torch.rand(classes) * 3) if weighted else None
    others, target = torch.randint(classes, (images,)), labels
    if share < 1:
        target = share * torch.eye(classes).double()[labels] + (1 - share) * torch.eye(classes).double()[others]
    value = torch.nn.CrossEntropyLoss(weights, label_smoothing=smoothing)(logits, target)
    value.backward()
    return {'logits': logits.tolist(), 'labels': labels.tolist(), 'smoothing': smoothing, 'loss': value.item(),
            'grad': logits.grad.tolist(), **({'weights': weights.tolist()} if weighted else {}),
            **({'others': others.tolist(), 'share': share} if share < 1 else {})}


def mixing():
    """What torchvision's MixUp and CutMix make of a batch (N, C, H, W) of 7 x 7, by given shares and boxes' centres."""
    from torchvision.transforms import v2
    images, labels = single(torch.randn(5, 3, 7, 7)), torch.tensor([3, 0, 1, 1, 2])
    out = {'images': images.tolist(), 'mixed': [], 'cut': []}
    for share in (0.25, 0.75, 0.9375):
        mix = v2.MixUp(num_classes=4)
        both = mix.transform({'labels': labels, 'batch_size': 5, 'lam': share}['labels'],
                             {'labels': labels, 'batch_size': 5, 'lam': share})
        made = share * images + (1 - share) * images.roll(1, 0)
        assert torch.allclose(mix.transform(images, {'labels': labels, 'batch_size': 5, 'lam': share}), made)
        target = share * torch.eye(4)[labels] + (1 - share) * torch.eye(4)[labels].roll(1, 0)
        assert torch.allclose(both.double(), target.double())
        out['mixed'].append({'share': share, 'images': made.tolist()})
    cut = v2.CutMix(num_classes=4)
    for share, x, y in ((0.25, 0, 0), (0.5, 3, 5), (0.875, 6, 2), (0.03125, 4, 4)):
        with unittest.mock.patch.object(torch, 'randint', side_effect=[torch.tensor([x]), torch.tensor([y])]):
            with unittest.mock.patch.object(cut, '_dist') as dist:
                dist.sample.return_value = torch.tensor([share])
                params = cut.make_params([images])
        out['cut'].append({'share': share, 'x': x, 'y': y, 'box': list(params['box']), 'left': params['lam_adjusted']})
    return out


def schedule(text, make, warmup=0, epoch_steps=5, steps=40):
    """The rate of each step; make: the scheduler of an optimiser for the steps after the warm-up."""
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    scheduler = make(optimiser)
    if warmup:
        linear = torch.optim.lr_scheduler.LinearLR(optimiser, 1 / warmup, total_iters=warmup - 1)
        scheduler = torch.optim.lr_scheduler.SequentialLR(optimiser, [linear, scheduler], [warmup])
    rates = []
    for _ in range(steps):
        rates.append(optimiser.param_groups[0]['lr'])
        optimiser.step()
        scheduler.step()
    return {'text': text, 'lr': 0.5, 'steps': steps, 'epoch_steps': epoch_steps, 'warmup': warmup, 'rates': rates}


def schedules():
    kinds = torch.optim.lr_scheduler
    return [
        schedule('cosine', lambda o: kinds.CosineAnnealingLR(o, 40)),
        schedule('cosine', lambda o: kinds.CosineAnnealingLR(o, 30), warmup=10),
        schedule('constant', lambda o: kinds.ConstantLR(o, 1)),
        schedule('multistep:2,5:0.5', lambda o: kinds.MultiStepLR(o, [10, 25], 0.5)),
        schedule('step:2', lambda o: kinds.StepLR(o, 10)),
        schedule('step:3:0.5', lambda o: kinds.StepLR(o, 15, 0.5)),
        schedule('step', lambda o: kinds.StepLR(o, 30), epoch_steps=1),
        schedule('onecycle', lambda o: kinds.OneCycleLR(o, 0.5, 40, cycle_momentum=False)),
        schedule('onecycle:0.125', lambda o: kinds.OneCycleLR(o, 0.5, 40, pct_start=0.125, cycle_momentum=False)),
        schedule('polynomial', lambda o: kinds.PolynomialLR(o, 40)),
        schedule('polynomial:2', lambda o: kinds.PolynomialLR(o, 40, 2)),
        schedule('polynomial:1.5', lambda o: kinds.PolynomialLR(o, 32, 1.5), warmup=8),
    ]


FEATURES, HIDDEN, MIDDLE, CLASSES, IMAGES, STEPS = 6, 8, 4, 5, 12, 4
class Muon:
    """torch.optim.Muon of matrices but the classifier, in double precision where it has bfloat16; AdamW of the rest."""

    def __init__(self, groups, lr, momentum):
        pairs = [(group['params'][0], group['weight_decay']) for group in groups]
        last = [value for value, _ in pairs if value.dim() > 1][-1]
        matrix = [value.dim() > 1 and value is not last for value, _ in pairs]
        self.all = [torch.optim.Muon([value], lr, decay, momentum, adjust_lr_fn='match_rms_adamw') if is_matrix
                    else torch.optim.AdamW([value], lr, weight_decay=decay)
                    for (value, decay), is_matrix in zip(pairs, matrix)]

    def zero_grad(self):
        for one in self.all:
            one.zero_grad()

    def step(self):
        with unittest.mock.patch.object(torch, 'bfloat16', torch.float64):
            for one in self.all:
                one.step()


OPTIMISERS = {'muon': (Muon, {'lr': 2**-6, 'momentum': 0.875}),
              'sgd': (torch.optim.SGD, {'lr': 0.125, 'momentum': 0.875}),
              'adamw': (torch.optim.AdamW, {'lr': 2**-6})}


def selected(pattern, name):
    """As --no-decay takes it."""
    for part in pattern.split(',') if pattern else ():
        before = [name[:i] for i, c in enumerate(name + '.') if c == '.']
        if part == 'norm-bias' and ('bn' in name or name.endswith('bias')):
            return True
        if any(fnmatch.fnmatchcase(word, part) for word in before):
            return True
    return False


def training(**settings):
    module = torch.nn.Sequential()
    module.add_module('fc1', torch.nn.Linear(FEATURES, HIDDEN))
    module.add_module('tanh', torch.nn.Tanh())     # before the norm: the bias has a gradient
    module.add_module('bn1', torch.nn.BatchNorm1d(HIDDEN))
    module.add_module('middle', torch.nn.Linear(HIDDEN, MIDDLE))
    module.add_module('tanh2', torch.nn.Tanh())
    module.add_module('fc2', torch.nn.Linear(MIDDLE, CLASSES))
    module.double()
    with torch.no_grad():
        for value in module.parameters():
            value.copy_(single(torch.randn(value.shape) * 0.5))
    kind, more = OPTIMISERS[settings['optimiser']]
    decay = settings.get('weight_decay', 0)
    for name, value in module.named_parameters():
        value.requires_grad_(not selected(settings.get('freeze_layers'), name))
    optimiser = kind([{'params': [value], 'weight_decay': 0 if selected(settings.get('no_decay'), name) else decay}
                      for name, value in module.named_parameters() if value.requires_grad], **more)
    weights = torch.tensor(settings.get('class_weights', [1] * CLASSES)).double()
    criterion = torch.nn.CrossEntropyLoss(weights, label_smoothing=settings.get('label_smoothing', 0))
    out = {'settings': {**more, **settings}, 'steps': [], 'before': values(module)}
    averaged = torch.optim.swa_utils.AveragedModel(
        module, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(settings.get('ema', 0)), use_buffers=True)
    for _ in range(STEPS):
        images, labels = single(torch.randn(IMAGES, FEATURES)), torch.randint(CLASSES, (IMAGES,))
        optimiser.zero_grad()
        for some, right in zip(images.chunk(settings.get('parts', 1)), labels.chunk(settings.get('parts', 1))):
            share = weights[right].sum() / weights[labels].sum()    # of the mean over all
            (share * criterion(module(some), right)).backward()
        if settings.get('clip_grad_norm'):
            torch.nn.utils.clip_grad_norm_(module.parameters(), settings['clip_grad_norm'])
        optimiser.step()
        averaged.update_parameters(module)
        out['steps'].append({'images': images.tolist(), 'labels': labels.tolist()})
    if 'ema' in settings:
        out['ema'] = values(averaged.module)
    return {**out, 'after': values(module)}


def values(module):
    return {name: value.tolist() for name, value in module.state_dict().items() if 'num' not in name}


TRAINING = [
    dict(optimiser='sgd', weight_decay=0.125),
    dict(optimiser='sgd', clip_grad_norm=0.25),
    dict(optimiser='adamw', clip_grad_norm=8, label_smoothing=0.125),
    dict(optimiser='sgd', weight_decay=0.25, no_decay='norm-bias'),
    dict(optimiser='adamw', weight_decay=0.5, no_decay='fc1,*2.b*'),
    dict(optimiser='sgd', weight_decay=0.25, freeze_layers='fc1,bn1', clip_grad_norm=0.5),
    dict(optimiser='adamw', freeze_layers='fc2'),
    dict(optimiser='sgd', freeze_layers='*.bias', weight_decay=0.125),
    dict(optimiser='muon', weight_decay=0.25),
    dict(optimiser='muon', weight_decay=0.5, no_decay='middle', clip_grad_norm=0.25, freeze_layers='*.bias'),
    dict(optimiser='sgd', class_weights=[0.5, 2, 1, 0.25, 3], label_smoothing=0.125),
    dict(optimiser='sgd', parts=3, batch=4, accumulate=3, weight_decay=0.125),
    dict(optimiser='adamw', parts=2, batch=8, accumulate=2, class_weights=[1, 2, 3, 4, 5]),
    dict(optimiser='sgd', parts=2, batch=6, accumulate=4, clip_grad_norm=0.25, freeze_layers='fc2'),
    dict(optimiser='sgd', ema=0.75, freeze_layers='fc1.bias'),
]


def main():
    print(json.dumps({'loss': [loss(4, 10, 0.0), loss(4, 10, 0.1), loss(3, 7, 0.4), loss(1, 100, 0.2),
                               loss(4, 7, 0.0, True), loss(5, 9, 0.25, True),
                               loss(5, 4, 0.0, share=0.75), loss(4, 11, 0.125, share=0.5)],
                      'mixing': mixing(), 'schedules': schedules(),
                      'training': [training(**case) for case in TRAINING]}))


main()
