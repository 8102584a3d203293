#!/usr/bin/env python3
"""ONNX with PyTorch and ONNX Runtime: onnx_peers.py BLANCH FOLDER [NETWORK...].

NETWORK.json, a network in Blanch's format, is exported for ONNX Runtime alone. Every other, of torchvision (without
any, a small module), with dropout 0 and 10 classes, goes through both exporters to Blanch, which exports it at once
with PyTorch's logits, and trains it for one step on all images of a CIFAR-10 of 20: the loss is PyTorch's of the same
batch. The weights go back by load_state_dict, strictly, to the same probabilities; `blanch export` gives ONNX Runtime
the same logits, and onnx.checker finds nothing.
A line each; the exit status is 1 where something differs."""
import copy
import json
import os
import subprocess
import sys
import warnings

import pictures

sys.path.pop(0)             # what is imported from now on does not find this folder's files: there is a pytorch.py

import numpy as np
import onnx
import onnxruntime
import torch
from safetensors.torch import load_file

warnings.filterwarnings('ignore')
BLANCH, FOLDER = os.path.abspath(sys.argv[1]), sys.argv[2]
MEAN = np.array((0.4914, 0.4822, 0.4465), np.float32).reshape(3, 1, 1)
DEVIATION = np.array((0.2023, 0.1994, 0.2010), np.float32).reshape(3, 1, 1)
IMAGES, RATE = 20, 0.01


class Small(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.features = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3, padding=1, bias=False), torch.nn.BatchNorm2d(8), torch.nn.SiLU(),
            torch.nn.MaxPool2d(3, 2, ceil_mode=True), torch.nn.Conv2d(8, 16, 3, padding=1, groups=2), torch.nn.GELU(),
            torch.nn.AvgPool2d(2), torch.nn.BatchNorm2d(16), torch.nn.Hardswish(), torch.nn.GroupNorm(4, 16),
            torch.nn.Conv2d(16, 16, 1), torch.nn.GroupNorm(16, 16, eps=1e-4), torch.nn.SiLU())
        self.dropout = torch.nn.Dropout(0.25)
        self.head = torch.nn.Linear(16, 10)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).mean((2, 3))))


def path(name):
    return os.path.join(FOLDER, name)


def blanch(*command):
    done = subprocess.run((BLANCH,) + command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-600:])
    return done.stdout


def cifar():
    """(images, labels) of training, as the network gets them, and the spec."""
    rng = np.random.default_rng(3)
    os.makedirs(path('cifar'), exist_ok=True)
    pixels = rng.integers(0, 256, (IMAGES + 5, 3, 32, 32), dtype=np.uint8)
    labels = rng.integers(0, 10, IMAGES + 5)
    for i in range(6):
        part = slice(4 * i, 4 * i + 4) if i < 5 else slice(IMAGES, None)
        name = 'data_batch_%d.bin' % (i + 1) if i < 5 else 'test_batch.bin'
        records = np.concatenate([labels[part, None].astype(np.uint8), pixels[part].reshape(-1, 3072)], 1)
        records.tofile(path(os.path.join('cifar', name)))
    return normalised(pixels[:IMAGES]), torch.from_numpy(labels[:IMAGES]), 'cifar10:' + path('cifar')


def normalised(pixels):
    return torch.from_numpy((pixels.astype(np.float32) / 255 - MEAN) / DEVIATION)


def picture():
    """A file and its pixels."""
    pixels = np.random.default_rng(5).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    with open(path('picture.png'), 'wb') as f:
        f.write(pictures.png(32, 32, pixels.tobytes()))
    return path('picture.png'), normalised(pixels.transpose(2, 0, 1)[None])


def make(name):
    torch.manual_seed(1)
    if name == 'small':
        module = Small()
    else:
        import torchvision
        module = getattr(torchvision.models, name)(weights=None, num_classes=10)
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.dim() == 1:
                tensor.add_(0.1 * torch.randn_like(tensor))
        for buffer_name, buffer in module.named_buffers():
            if buffer_name.endswith(('running_mean', 'running_var')):
                buffer.add_(torch.rand_like(buffer))
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout) or type(part).__name__ == 'StochasticDepth':
            part.p = 0.0
    return module


def export(module, dynamo, file):
    """As docs/onnx.md says."""
    images = torch.randn(2, 3, 32, 32)
    net = copy.deepcopy(module).train()
    if dynamo:
        torch.onnx.export(net, (images,), file, dynamo=True, optimize=False, verbose=False)
        return
    for part in net.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            part.eval()
    torch.onnx.export(net, (images,), file, dynamo=False, opset_version=17, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)


def probabilities(*options):
    classes = json.loads(blanch('predict', *options, '--json'))['images'][0]['classes']
    return {c['class']: c['probability'] for c in classes}


def onnx_runtime(image, *options):
    """The logits of what is exported."""
    blanch('export', '--onnx', path('out.onnx'), *options)
    onnx.checker.check_model(path('out.onnx'), full_check=True)
    session = onnxruntime.InferenceSession(path('out.onnx'), providers=['CPUExecutionProvider'])
    return session.run(None, {'images': image.numpy()})[0][0]


def check_own(name, spec, file, image):
    """Whether a network of Blanch's format has the same probabilities in ONNX Runtime, in float32 and float16."""
    run = path('run-own')
    blanch('train', '--model', name, '--data', spec, '--augment', 'none', '--steps', '2', '--batch', '10', '--no-tune',
           '--lr', '0.01', '--out', run)
    mine, apart = probabilities(file, '--run', run), []
    for options in ((), ('--precision', 'fp16')):
        got = torch.softmax(torch.from_numpy(onnx_runtime(image, '--run', run, *options)), 0)
        apart.append(max(abs(got[c].item() - p) for c, p in mine.items()))
    print('%s: probabilities of ONNX Runtime %.0e, in float16 %.0e' % (os.path.basename(name), *apart), flush=True)
    return apart[0] > 2e-5 or apart[1] > 1e-2


def check(name, dynamo, spec, images, labels, file, image):
    """The largest differences: of logits as exported; of the loss; of probabilities when the weights are back; of ONNX
    Runtime's logits."""
    module = make(name)
    export(module, dynamo, path('net.onnx'))
    with torch.no_grad():
        logits = copy.deepcopy(module).eval()(image)[0].numpy()
    first = np.abs(onnx_runtime(image, '--model', path('net.onnx')) - logits).max() / np.abs(logits).max()
    run = path('run-%s-%d' % (name, dynamo))
    blanch('train', '--model', path('net.onnx'), '--data', spec, '--augment', 'none', '--steps', '1', '--batch',
           str(IMAGES), '--lr', str(RATE), '--momentum', '0', '--weight-decay', '0', '--no-tune', '--out', run)
    with open(os.path.join(run, 'log.jsonl')) as f:
        loss = next(entry['loss'] for entry in map(json.loads, f) if entry['type'] == 'step' and 'loss' in entry)
    with torch.no_grad():
        expected = torch.nn.functional.cross_entropy(copy.deepcopy(module).train()(images), labels).item()
    module.load_state_dict(load_file(os.path.join(run, 'last.safetensors')), strict=True)
    with torch.no_grad():
        logits = module.eval()(image)[0]
    mine = probabilities(file, '--run', run)
    back = max(abs(torch.softmax(logits, 0)[c].item() - p) for c, p in mine.items())
    got = onnx_runtime(image, '--run', run)
    apart = np.abs(got - logits.numpy()).max() / np.abs(logits.numpy()).max()
    return first, abs(loss - expected) / expected, back, apart, loss


def main():
    images, labels, spec = cifar()
    file, image = picture()
    failed = 0
    for name in sys.argv[3:] or ['small']:
        if name.endswith('.json'):
            failed += check_own(name, spec, file, image)
            continue
        for dynamo in (True, False):
            first, loss, back, apart, value = check(name, dynamo, spec, images, labels, file, image)
            wrong = first > 1e-4 or loss > 2e-5 or back > 2e-5 or apart > 1e-4
            failed += int(wrong)
            print('%-20s %-12s logits %.0e from PyTorch\'s; loss %.5f, %.0e; weights back: probabilities %.0e; ONNX '
                  'Runtime: logits %.0e%s' % (name, 'dynamo=True' if dynamo else 'dynamo=False', first, value, loss,
                                              back, apart, '  WRONG' if wrong else ''), flush=True)
    return failed > 0


if __name__ == '__main__':
    sys.exit(main())
