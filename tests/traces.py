#!/usr/bin/python3
"""Training traces made by tests/reference/oracle.py in PyTorch, checked by `blanch check`: first losses, gradients and
updates of whole networks. traces.py BLANCH [--all | NETWORK...]; prints TAP. --all: every CIFAR and ImageNet network in
tests/reference/architectures, which takes hours on two cores; without names, those that take a minute or two.

PyTorch computes the truth in double precision and bounds of at least four times its own float32 error, so that the odd
activation or maximum that rounding flips is within them."""
import glob
import os
import subprocess
import sys
import tempfile

REFERENCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference')
QUICK = ('pnasneta-bn', 'pnasneta-nd', 'vgg11-bn')


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def reason_to_skip(blanch):
    if run(blanch, 'devices').returncode:
        return 'no OpenCL device'
    try:
        import torch                                             # noqa: F401
    except ImportError:
        return 'no PyTorch for ' + sys.executable
    return None


def networks(names):
    if names == ['--all']:
        return sorted(os.path.basename(p)[:-5] for p in glob.glob(os.path.join(REFERENCE, 'architectures', '*.json')))
    return names or QUICK


def check(blanch, network, folder):
    """None, or the lines that say what went wrong."""
    path = os.path.join(folder, network + '.safetensors')
    batch, steps = ('2', '2') if 'imagenet' in network else ('8', '3')
    made = run(sys.executable, os.path.join(REFERENCE, 'oracle.py'), 'trace', network, '--out', path, '--batch', batch, '--steps', steps,
               '--threads', '1')                                 # several would spin where others use the cores
    if made.returncode:
        return made.stdout.splitlines()[-3:]
    checked = run(blanch, 'check', path)
    os.remove(path)
    return checked.stdout.splitlines()[-5:] if checked.returncode else None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    skip = reason_to_skip(sys.argv[1])
    if skip:
        print('1..0 # SKIP ' + skip)
        return
    names = networks(sys.argv[2:])
    print('1..%d' % len(names), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for count, network in enumerate(names, 1):
            wrong = check(sys.argv[1], network, folder)
            print('%s %d - trace of %s' % ('not ok' if wrong else 'ok', count, network), flush=True)
            for line in wrong or []:
                print('# ' + line, flush=True)


main()
