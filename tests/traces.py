#!/usr/bin/python3
"""Training traces made by tests/reference/oracle.py in PyTorch, checked by `blanch check`: first losses, gradients and
updates of whole networks. traces.py BLANCH [--keep DIR] [--all | NETWORK...]; prints TAP. Without names: eleven traces
of four images and two steps, some minutes, of which PyTorch takes nearly all. --all: every network in
tests/reference/architectures, an hour on two cores. --keep: trace files are made in DIR and left there, and one that is
there already is not made again.

PyTorch computes the truth in double precision, and bounds of at least four times its own float32 error over several
runs, since a gradient can jump where parameters move by a unit in the last place (docs/exactness.md)."""
import glob
import os
import subprocess
import sys
import tempfile

import tap

REFERENCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference')
QUICK = ('pnasneta-bn', 'pnasneta-nd', 'vgg11-bn', 'vgg11-nd', 'resnet18-bn', 'resnet18-nd', 'mobilenetv2-bn',
         'mobilenetv2-nd',
         'senet18-bn',                      # senet18-nd needs more images than are quick
         'vae-nd', 'ddpm-unet-bn')


def run(*command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)


def need_pytorch():
    try:
        import torch                                             # noqa: F401
    except ImportError:
        tap.skip_all('no PyTorch for ' + sys.executable)


def networks(names):
    if names == ['--all']:
        return sorted(os.path.basename(p)[:-5] for p in glob.glob(os.path.join(REFERENCE, 'architectures', '*.json')))
    return names or QUICK


def size_of(network, quick):
    """Images and steps. Two images are the fewest that batch norm can use, and ImageNet's take long."""
    if quick:
        return ['--batch', '4', '--steps', '2']
    if network == 'senet18-nd':             # its squeeze layers need them: docs/exactness.md
        return ['--batch', '64', '--steps', '1']
    if network == 'vgg16-nd':               # two of ten runs in PyTorch are far off the others: docs/exactness.md
        return ['--batch', '8', '--steps', '3', '--nudged', '9']
    if network == 'resnet18-imagenet-nd':   # two images give its last layers 144 samples of 576 features: ditto
        return ['--batch', '8', '--steps', '2']
    large = 'imagenet' in network or network.startswith('deeplabv3')
    return ['--batch', '2', '--steps', '2'] if large else ['--batch', '8', '--steps', '3']


def rate_of(network):
    """Losses that are sums over pixels, and whitened embeddings, leave nothing to compare at the others' rate."""
    return {'vae-bn': ['--lr', '1e-4'], 'vae-nd': ['--lr', '1e-4'], 'ddpm-unet-nd': ['--lr', '1e-3']}.get(network, [])


def check(blanch, network, folder, quick):
    """None, or the lines that say what went wrong."""
    path = os.path.join(folder, network + '.safetensors')
    if not os.path.exists(path):
        made = run(sys.executable, os.path.join(REFERENCE, 'oracle.py'), 'trace', network, '--out', path + '.part',
                   '--threads', '1',               # several would spin where others use the cores
                   *size_of(network, quick), *rate_of(network))
        if made.returncode:
            return made.stdout.splitlines()[-3:]
        os.rename(path + '.part', path)
    checked = run(blanch, 'check', path)
    return checked.stdout.splitlines()[-5:] if checked.returncode else None


def main():
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    blanch, arguments, keep = sys.argv[1], sys.argv[2:], None
    if arguments[:1] == ['--keep'] and len(arguments) > 1:
        keep, arguments = arguments[1], arguments[2:]
    tap.need_device(blanch)
    need_pytorch()
    names = networks(arguments)
    report = tap.Report(len(names))
    with tempfile.TemporaryDirectory() as scratch:
        if keep:
            os.makedirs(keep, exist_ok=True)
        for network in names:
            wrong = check(blanch, network, keep or scratch, not arguments)
            report.case('trace of ' + network, not wrong, wrong or '')
    return report.end()


sys.exit(main())
