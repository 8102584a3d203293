#!/usr/bin/env python3
"""`blanch train --validate` on the default device: it agrees with kernels as they are, and names the layer whose kernel
was altered. validate.py BLANCH KERNELS; prints TAP."""
import os
import re
import shutil
import subprocess
import sys
import tempfile

import caches
import tap
from pictures import png

BLANCH, KERNELS = sys.argv[1:3]


def train(folder, norm, name, kernels=None, network='smallcnn'):
    out = os.path.join(folder, name)
    command = [BLANCH, 'train', '--model', network, '--norm', norm, '--data',
               'folder:' + os.path.join(folder, 'images'), '--batch', '4',
               '--steps', '2', '--lr', '0.01', '--schedule', 'constant', '--validate', '1', '--augment', 'none',
               '--out', out]
    environment = caches.beside(XDG_CACHE_HOME='/dev/null', **({'BLANCH_KERNELS': kernels} if kernels else {}))
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True)


def write_images(folder):
    """Two classes of ten noisy images each."""
    state = 1
    for k in range(20):
        path = os.path.join(folder, 'images', 'ab'[k % 2])
        os.makedirs(path, exist_ok=True)
        pixels = bytearray()
        for i in range(32 * 32 * 3):
            state = (state * 1103515245 + 12345) % 2 ** 31
            pixels.append((state >> 16) % 128 + (64 if k % 2 else 0) + i // 96)
        write_png(os.path.join(path, '%d.png' % k), 32, 32, bytes(pixels))


def write_png(path, width, height, rgb):
    with open(path, 'wb') as f:
        f.write(png(width, height, rgb))


def alter(folder, name, file, old, new):
    """A copy of the kernels with one line changed."""
    kernels = os.path.join(folder, 'kernels-' + name)
    shutil.copytree(KERNELS, kernels)
    path = os.path.join(kernels, file)
    with open(path) as f:
        text = f.read()
    if old not in text:
        sys.exit('%s no longer holds %r: choose another line to alter' % (file, old))
    with open(path, 'w') as f:
        f.write(text.replace(old, new))
    return kernels


ALTERED = [  # name, norm, file, text, what it becomes, what the error line must say
    ('relu', 'bn', 'activation.h', '((x) <= ZERO ? ZERO : (x))', '((x) <= (vec)(0.5f) ? ZERO : (x))',
     r'step 1: \S+ \(batchnorm2d\): output\[\d+, \d+, \d+, \d+\] is \S+ on the device, \S+ in plain C'),
    ('the gradient of relu', 'bn', 'activation.h', '((y) <= ZERO ? ZERO : (dy))', '((dy) / ZERO)',
     r'step 1: \S+ \(\w+\): the gradient of its input is not finite'),
    ('the inverse root', 'nd', 'nd/inverse_root.cl', '1.0f / sqrt(s)', '1.1f / sqrt(s)',
     r'step 1: \S+ \(nd_\w+\): .* in plain C'),
]


def cases(folder):
    for norm in ('bn', 'nd'):
        result = train(folder, norm, norm, network='pnasneta')     # of many kinds of layers
        yield ('kernels as they are agree, ' + norm, result,
               result.returncode == 0 and len(re.findall(r'step \d: \d+ layers agree', result.stdout)) == 2)
    for name, norm, file, old, new, message in ALTERED:
        result = train(folder, norm, 'altered-' + file.replace('/', '-') + str(len(old)),
                       alter(folder, name.replace(' ', '-'), file, old, new))
        yield (name + ' altered is named', result, result.returncode == 1 and re.search(message, result.stdout))


def main():
    tap.need_device(BLANCH)
    report = tap.Report()
    with tempfile.TemporaryDirectory() as folder:
        write_images(folder)
        for name, result, good in cases(folder):
            why = ['exit status %d' % result.returncode] + result.stdout.splitlines()[-5:]
            report.case(name, good, why)
    return report.end()


sys.exit(main())
