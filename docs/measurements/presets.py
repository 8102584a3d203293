#!/usr/bin/env python3
"""One epoch of CIFAR-10 with batch norm at its best learning rate and with deconvolution's settings: presets.md.

  presets.py run BLANCH DATA OUT NETWORK...   trains the cells that are not finished; DATA as --data takes it
  presets.py keep OUT                         their results, into presets.json beside this script
  presets.py table                            of presets.json, as Markdown

A cell is a run directory OUT/NETWORK-SETTING-SEED; what is there and finished is not run again. Batch norm's rates are
swept in 130 steps with seed 0, with and without a linear warm-up of 40; the one with the least loss over the last 13
steps is its rate for all seeds, and for twice the epoch."""
import glob
import json
import math
import os
import statistics
import subprocess
import sys

KEPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'presets.json')
SEEDS = {'vgg11': 3, 'resnet18d': 3, 'resnet18': 1, 'mobilenetv2': 1}
RATES = ('0.003', '0.01', '0.03', '0.1')
SETTINGS = {  # of deconvolution
    'nd': (),
    'block32': ('--block', '32'),
    'block16': ('--block', '16'),
    '4F': ('--cov-samples', '4F'),
    'fast': ('--nd-preset', 'fast'),
    'channels': ('--nd-preset', 'channels'),
    'budget20': ('--overhead-budget', '20%'),
}


def finished(cell):
    """The last line of its log that tells an epoch, or None."""
    try:
        with open(os.path.join(cell, 'log.jsonl'), encoding='utf-8') as f:
            epochs = [line for line in map(json.loads, f) if line['type'] == 'epoch']
    except OSError:
        return None
    return epochs[-1] if epochs else None


def last_loss(cell):
    """Mean loss of the last 13 steps; none where it diverged."""
    try:
        with open(os.path.join(cell, 'log.jsonl'), encoding='utf-8') as f:
            losses = [line['loss'] for line in map(json.loads, f) if line['type'] == 'step']
    except (OSError, TypeError):
        return math.inf
    mean = statistics.mean(losses[-13:]) if len(losses) >= 13 else math.inf
    return mean if math.isfinite(mean) else math.inf


def train(blanch, cell, *options):
    if finished(cell):
        return
    command = [blanch, 'train', '--out', cell, *options]
    if os.path.exists(os.path.join(cell, 'last.safetensors')):
        command.append('--resume')
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, universal_newlines=True)
    epoch = finished(cell)
    print(os.path.basename(cell), 'top-1 %.2f' % epoch['test_top1'] if epoch else done.stderr.strip()[-200:],
          flush=True)


def sweep(blanch, data, out, network):
    """Options of batch norm's best rate."""
    cells = {}
    for rate in RATES:
        for warmup in ('0', '40'):
            cell = os.path.join(out, '%s-bnsweep_%s_%s-0' % (network, rate, warmup))
            options = ['--lr', rate] + (['--warmup', warmup] if warmup != '0' else [])
            train(blanch, cell, '--model', network, '--norm', 'bn', '--data', data, '--steps', '130', '--seed', '0',
                  *options)
            cells[cell] = options
    return cells[min(cells, key=last_loss)]


def run(blanch, data, out, networks):
    for network in networks:
        best = sweep(blanch, data, out, network)
        for seed in range(SEEDS[network]):
            common = ['--model', network, '--data', data, '--seed', str(seed)]
            cell = os.path.join(out, network + '-%s-' + str(seed))
            train(blanch, cell % 'bn', *common, '--norm', 'bn', '--epochs', '1', *best)
            for name, options in SETTINGS.items():
                train(blanch, cell % name, *common, '--norm', 'nd', '--epochs', '1', *options)
            train(blanch, cell % 'bn2', *common, '--norm', 'bn', '--epochs', '2', *best)


def keep(out):
    kept = {}
    for cell in sorted(glob.glob(os.path.join(out, '*-*-*'))):
        epoch = finished(cell)
        with open(os.path.join(cell, 'config.json'), encoding='utf-8') as f:
            config = json.load(f)
        entry = dict(config['settings'], device=config['device_info']['name'], loss_last_13=last_loss(cell))
        for key in ('data', 'out', 'init', 'tensorboard'):
            entry.pop(key, None)
        entry.update({k: epoch[k] for k in ('test_top1', 'test_loss', 'train_top1', 'train_s')} if epoch else {})
        if entry['loss_last_13'] == math.inf:
            entry['loss_last_13'] = None
        kept[os.path.basename(cell)] = entry
    with open(KEPT, 'w', encoding='utf-8') as f:
        f.write('{\n' + ',\n'.join('%s: %s' % (json.dumps(k), json.dumps(v)) for k, v in kept.items()) + '\n}\n')


def table():
    with open(KEPT, encoding='utf-8') as f:
        kept = json.load(f)
    print('| network | setting | seeds | test top-1, % | against ND exact |\n| --- | --- | --- | --- | --- |')
    for network in SEEDS:
        for name in ('bn', 'bn2', *SETTINGS):
            cells = {s: kept['%s-%s-%d' % (network, name, s)].get('test_top1')
                     for s in range(SEEDS[network]) if '%s-%s-%d' % (network, name, s) in kept}
            tops = [v for v in cells.values() if v is not None]
            if not tops:
                continue
            exact = {s: kept.get('%s-nd-%d' % (network, s), {}).get('test_top1') for s in cells}
            pairs = [cells[s] - exact[s] for s in cells if cells[s] is not None and exact[s] is not None]
            error = ' ± %.2f' % (statistics.stdev(pairs) / math.sqrt(len(pairs))) if len(pairs) > 1 else ''
            print('| %s | %s | %d | %s | %s |' % (network, name, len(tops), ', '.join('%.1f' % t for t in tops),
                                                  '%+.2f%s' % (statistics.mean(pairs), error) if pairs else ''))


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else ''
    if command == 'run' and len(sys.argv) > 5:
        run(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    elif command == 'keep' and len(sys.argv) == 3:
        keep(sys.argv[2])
    elif command == 'table':
        table()
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
