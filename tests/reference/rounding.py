#!/usr/bin/python3
"""How much Blanch rounds beside PyTorch: largest errors of both in float32, relative to double precision, medians over
seeds, since single seeds say little. Needs PyTorch and NumPy.

  rounding.py BLANCH [--seeds N] [--kinds cpu,gpu]             layers with deconvolution, a minute
  rounding.py BLANCH --network NAME [--batch N] [--steps N]    a network's first steps: it amplifies rounding

Layers: squeeze-and-excite's (pixels of deviation 0.1 about means of order 1, few samples) and 3x3 ones. Of networks:
the last step's loss, the first one's logits and gradient norms, and logits in evaluation at the end."""
import argparse
import copy
import json
import os
import statistics
import subprocess
import tempfile
import numpy as np
import torch

import cases
import oracle

LAYERS = {
    '64 to 4, 1x1 map': (cases.nd(cases.conv(64, 4, 1)), (16, 64, 1, 1)),
    '4 to 64, 1x1 map': (cases.nd(cases.conv(4, 64, 1)), (16, 4, 1, 1)),
    '512 to 32, 1x1 map': (cases.nd(cases.conv(512, 32, 1)), (16, 512, 1, 1)),
    '32 to 512, 1x1 map': (cases.nd(cases.conv(32, 512, 1)), (16, 32, 1, 1)),
    '3x3, 64 channels': (cases.nd(cases.conv(64, 64, 3)), (16, 64, 8, 8)),
    '3x3, 16 channels': (cases.nd(cases.conv(16, 16, 3)), (16, 16, 8, 8)),
}


def blanch_results(o, kind, tensors, metadata):
    """What Blanch makes of a case, by names with out."""
    with tempfile.TemporaryDirectory() as folder:
        case, out = os.path.join(folder, 'case.safetensors'), os.path.join(folder, 'out')
        oracle.save_safetensors(case, tensors, metadata)
        subprocess.run([o.blanch, 'check', case, '--write', out], stdout=subprocess.DEVNULL, check=False,
                       env=dict(os.environ, BLANCH_KIND=kind, BLANCH_TUNE='0'))
        found = oracle.load_safetensors(os.path.join(out, 'case.safetensors'))[0]
        return {k: torch.from_numpy(np.array(v, dtype=np.float64)) for k, v in found.items() if k.startswith('out.')}


def layer_errors(o, kinds, attrs, shape, seed):
    """{who: {what: error}} of one layer."""
    g = torch.Generator().manual_seed(seed)
    single = lambda t: t.float().double()                       # values that float32 holds
    layer = oracle.make_layer('nd_conv2d', attrs).double().train()
    bound = (attrs['in_channels'] * np.prod(attrs['kernel'])) ** -0.5
    with torch.no_grad():
        for p in layer.parameters():
            p.copy_(single((torch.rand(p.shape, generator=g, dtype=torch.float64) * 2 - 1) * bound))
    x = torch.randn(*shape, generator=g, dtype=torch.float64)
    if shape[2] == 1:
        x = torch.randn(1, *shape[1:], generator=g, dtype=torch.float64) + 0.1 * x
    else:
        x = (x + 0.7 * x.roll(1, 3) + 0.5 * x.roll(1, 1) + 0.6 * x.roll(1, 2)).relu()
    x = single(x)
    gy = single(torch.randn(*copy.deepcopy(layer)(x).shape, generator=g, dtype=torch.float64))
    truth = oracle.run_layer(copy.deepcopy(layer), 'nd_conv2d', attrs, [x], gy)
    results = {'pytorch': oracle.run_layer(copy.deepcopy(layer).float(), 'nd_conv2d', attrs, [x.float()], gy.float())}
    tensors = {'in.x': x, 'in.grad_y': gy, **{'in.' + k: v.detach() for k, v in layer.state_dict().items()}, **truth}
    for kind in kinds:
        results[kind] = blanch_results(o, kind, {k: v.float() for k, v in tensors.items()}, dict(
            kind='layer', op='nd_conv2d', attrs=json.dumps(attrs), mode='train', tolerance=1))
    return {who: {k[4:]: float((r[k].double() - truth[k]).abs().max() / truth[k].abs().max()) for k in truth}
            for who, r in results.items()}


def network_errors(o, kinds, seed):
    o.seed = seed
    init, data, truth = oracle.run_trace(o, torch.float64)
    bounds = {'tolerance_' + k: 1 for k in ('logits', 'eval_logits', 'grad_norm', 'grad')}
    results = {'pytorch': oracle.run_trace(o, torch.float32)[2]}
    for kind in kinds:
        results[kind] = blanch_results(o, kind, {**init, **data, **truth}, dict(
            kind='training-trace', network=o.network, lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay,
            batch=o.batch, steps=o.steps, seed=seed, tolerance_loss=','.join(['1'] * o.steps), **bounds))
    found = {}
    for who, result in results.items():
        e = oracle.errors(truth, result)
        found[who] = dict(loss=e['loss'][-1], logits=e['logits'], grad_norm=e['grad_norm'],
                          eval_logits=e['eval_logits'])
    return found


def show(name, errors, kinds):
    """errors: of every seed."""
    for what in errors[0]['pytorch']:
        median = {who: statistics.median(e[who][what] for e in errors) for who in errors[0]}
        print('%-20s %-16s pytorch %.1e' % (name, what, median['pytorch']), *(
            '  %s %.1e (%.2f)' % (k, median[k], median[k] / max(median['pytorch'], 1e-30)) for k in kinds), flush=True)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument('blanch'), p.add_argument('--network'), p.add_argument('--kinds', default='cpu,gpu')
    for name, default in (('seeds', 20), ('batch', 16), ('steps', 3)):
        p.add_argument('--' + name, type=int, default=default)
    p.add_argument('--lr', type=float, default=0.001)
    o = p.parse_args()
    o.momentum, o.weight_decay, kinds = 0.9, 1e-3, o.kinds.split(',')
    torch.set_num_threads(1)
    if o.network:
        show(o.network, [network_errors(o, kinds, s) for s in range(o.seeds)], kinds)
    else:
        for name, (attrs, shape) in LAYERS.items():
            show(name, [layer_errors(o, kinds, attrs, shape, s) for s in range(o.seeds)], kinds)


if __name__ == '__main__':
    main()
