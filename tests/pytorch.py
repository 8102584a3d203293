#!/usr/bin/python3
"""Weights go from Blanch to PyTorch and back: a checkpoint loads into the oracle's network by load_state_dict,
strictly, and a PyTorch state dict loads into `blanch eval`; both measure the same loss on the same images. pytorch.py
BLANCH; prints TAP."""
import json
import os
import struct
import subprocess
import sys
import tempfile

import tap

HERE = os.path.dirname(os.path.abspath(__file__))
BLANCH = sys.argv[1]
NETWORKS = [(model, norm) for model in ('pnasneta', 'vgg11') for norm in ('bn', 'nd')]
IMAGES = 40


try:
    import numpy as np
    import torch
except ImportError:
    tap.skip_all('no PyTorch for ' + sys.executable)
sys.path.insert(0, os.path.join(HERE, 'reference'))
import oracle                                                    # noqa: E402


def run(*command):
    result = subprocess.run((BLANCH,) + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            universal_newlines=True)
    if result.returncode:
        raise RuntimeError('blanch %s: exit status %d: %s' % (command[0], result.returncode,
                                                              result.stderr.splitlines()[-1:]))
    return result.stdout


def write_cifar10(folder):
    """The binary version of CIFAR-10 with few images: smooth, with the class in the brightness. Returns the test
    set."""
    rng = np.random.default_rng(3)
    os.makedirs(folder)
    for name in ['data_batch_%d.bin' % k for k in range(1, 6)] + ['test_batch.bin']:
        labels = rng.integers(0, 10, IMAGES)
        coarse = rng.integers(0, 150, (IMAGES, 3, 8, 8)) + labels[:, None, None, None] * 10
        pixels = coarse.repeat(4, 2).repeat(4, 3).astype(np.uint8)
        records = np.concatenate([labels[:, None].astype(np.uint8), pixels.reshape(IMAGES, -1)], 1)
        records.tofile(os.path.join(folder, name))
    return pixels, labels


def write_safetensors(path, tensors):
    """As the safetensors library does: scalars have the shape []."""
    header, blobs, at = {}, [], 0
    for name, tensor in tensors.items():
        array = tensor.detach().numpy()
        kind = {'float32': 'F32', 'int64': 'I64'}[str(array.dtype)]
        header[name] = {'dtype': kind, 'shape': list(array.shape), 'data_offsets': [at, at + array.nbytes]}
        blobs.append(array.tobytes())
        at += array.nbytes
    text = json.dumps(header).encode()
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + b''.join(blobs))


def normalised(pixels, view):
    shape = (1, 3, 1, 1)
    mean, deviation = np.float32(view['mean']).reshape(shape), np.float32(view['deviation']).reshape(shape)
    return torch.from_numpy((pixels.astype(np.float32) / 255 - mean) / deviation)


def measure(net, x, y):
    net.eval()
    with torch.no_grad():
        logits = net(x)
    top1 = 100 * float((logits.argmax(1) == y).float().mean())
    return float(torch.nn.functional.cross_entropy(logits, y)), top1


def difference(blanch, torch_loss, torch_top1):
    """One image may rank otherwise by rounding."""
    off = abs(blanch['loss'] - torch_loss) / max(abs(torch_loss), 1e-3)
    if off <= 1e-3 and abs(blanch['top1'] - torch_top1) <= 100.01 / IMAGES:
        return None
    return 'Blanch: loss %.7g, top-1 %g; PyTorch: loss %.7g, top-1 %g' % (blanch['loss'], blanch['top1'], torch_loss,
                                                                          torch_top1)


def from_blanch(model, norm, folder, data, test):
    out = os.path.join(folder, model + norm)
    run('train', '--model', model, '--norm', norm, '--data', data, '--batch', '16', '--steps', '3', '--lr', '0.01',
        '--schedule',
        'constant', '--quiet', '--out', out)
    with open(os.path.join(out, 'config.json')) as f:
        x = normalised(test[0], json.load(f)['view'])
    tensors, _ = oracle.load_safetensors(os.path.join(out, 'last.safetensors'))
    net = oracle.Network(model + '-' + norm)
    slashed = {name.replace('/', '.'): name for name in net.state_dict()}
    if set(slashed) != set(tensors):
        return x, 'the names differ: %s' % sorted(set(slashed) ^ set(tensors))[:5]
    tracked = [v for k, v in tensors.items() if k.endswith('num_batches_tracked')]
    if any(v != 3 or v.dtype != np.int64 for v in tracked) or (norm == 'bn') != bool(tracked):
        return x, 'num_batches_tracked is not 3 everywhere: %s' % tracked[:3]
    net.load_state_dict({slashed[k]: torch.from_numpy(v.copy()) for k, v in tensors.items()}, strict=True)
    return x, difference(json.loads(run('eval', '--run', out, '--json')), *measure(net, x, test[1]))


def to_blanch(model, norm, folder, data, test, x):
    net = oracle.Network(model + '-' + norm)
    oracle.initialise(net, 5)
    net.train()
    sgd = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(2):                                           # so that the buffers are not what they start at
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(net(x), test[1]).backward()
        sgd.step()
    path = os.path.join(folder, model + norm + '.safetensors')
    write_safetensors(path, net.named())
    got = json.loads(run('eval', '--weights', path, '--model', model, '--norm', norm, '--data', data, '--json'))
    return difference(got, *measure(net, x, test[1]))


def main():
    tap.need_device(BLANCH)
    report = tap.Report(2 * len(NETWORKS))
    torch.set_num_threads(1)                                     # several would spin where others use the cores
    with tempfile.TemporaryDirectory() as folder:
        pixels, labels = write_cifar10(os.path.join(folder, 'cifar'))
        data, test = 'cifar10:' + os.path.join(folder, 'cifar'), (pixels, torch.from_numpy(labels))
        for model, norm in NETWORKS:
            x, wrong = from_blanch(model, norm, folder, data, test)
            report.case('%s-%s loads into PyTorch' % (model, norm), not wrong, wrong)
            wrong = to_blanch(model, norm, folder, data, test, x)
            report.case('%s-%s comes from PyTorch' % (model, norm), not wrong, wrong)
    return report.end()


sys.exit(main())
