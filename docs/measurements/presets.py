#!/usr/bin/env python3
"""One epoch of CIFAR-10 with batch norm at its best learning rate and with deconvolution's settings: presets.md.

  presets.py run BLANCH DATA OUT NETWORK...   trains the cells that are not finished; DATA as --data takes it
  presets.py keep OUT                         their results, into presets.json beside this script
  presets.py time BLANCH NETWORK...           step times, all settings in turn, three rounds, into presets-times.json
  presets.py table                            of both files, as Markdown
  presets.py plot NETWORK                     presets-NETWORK.svg: accuracy over the seconds of training

A cell is a run directory OUT/NETWORK-SETTING-SEED; what is there and finished, or kept, is not run again. Batch norm's
rates are swept in 130 steps with seed 0, with and without a linear warm-up of 40; the one with the least loss over the
last 13 steps is its rate for all seeds, and for twice the epoch."""
import glob
import json
import math
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
KEPT, TIMES = os.path.join(HERE, 'presets.json'), os.path.join(HERE, 'presets-times.json')
STEPS = 391          # of an epoch
SEEDS = {'vgg11': 3, 'resnet18d': 3, 'resnet18': 1, 'mobilenetv2': 1}
RATES = ('0.001', '0.003', '0.01', '0.03', '0.1')
SETTINGS = {  # of deconvolution
    'nd': (),
    'channels': ('--nd-preset', 'channels'),
    'fast': ('--nd-preset', 'fast'),
    'block16_4F': ('--block', '16', '--cov-samples', '4F'),
    'budget20': ('--overhead-budget', '20%'),
    '4F': ('--cov-samples', '4F'),
    'block32': ('--block', '32'),
}


def finished(cell):
    """The last line of its log that tells an epoch, what is kept of it, or None."""
    kept = read(KEPT).get(os.path.basename(cell), {})
    if 'test_top1' in kept:
        return kept
    try:
        with open(os.path.join(cell, 'log.jsonl'), encoding='utf-8') as f:
            epochs = [line for line in map(json.loads, f) if line['type'] == 'epoch']
    except OSError:
        return None
    return epochs[-1] if epochs else None


def last_loss(cell):
    """Mean loss of the last 13 steps; none where it diverged."""
    kept = read(KEPT).get(os.path.basename(cell), {})
    if 'loss_last_13' in kept:
        return math.inf if kept['loss_last_13'] is None else kept['loss_last_13']
    try:
        with open(os.path.join(cell, 'log.jsonl'), encoding='utf-8') as f:
            losses = [line['loss'] for line in map(json.loads, f) if line['type'] == 'step']
    except (OSError, TypeError):
        return math.inf
    mean = statistics.mean(losses[-13:]) if len(losses) >= 13 else math.inf
    return mean if math.isfinite(mean) else math.inf


def train(blanch, cell, *options):
    if finished(cell) or read(KEPT).get(os.path.basename(cell)):
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
                  '--normalise', 'cifar10',
                  *options)
            cells[cell] = options
    return cells[min(cells, key=last_loss)]


def run(blanch, data, out, networks):
    for network in networks:
        best = sweep(blanch, data, out, network)
        for seed in range(SEEDS[network]):
            common = ['--model', network, '--data', data, '--normalise', 'cifar10', '--seed', str(seed)]
            cell = os.path.join(out, network + '-%s-' + str(seed))
            train(blanch, cell % 'bn', *common, '--norm', 'bn', '--epochs', '1', *best)
            for name, options in SETTINGS.items():
                train(blanch, cell % name, *common, '--norm', 'nd', '--epochs', '1', *options)
            train(blanch, cell % 'bn2', *common, '--norm', 'bn', '--epochs', '2', *best)


def keep(out):
    kept = read(KEPT)
    for cell in sorted(glob.glob(os.path.join(out, '*-*-*'))):
        epoch = finished(cell)
        if os.path.basename(cell) in kept or not (epoch or 'bnsweep' in cell):
            continue
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
        lines = ('%s: %s' % (json.dumps(k), json.dumps(v)) for k, v in sorted(kept.items()))
        f.write('{\n' + ',\n'.join(lines) + '\n}\n')


def step_times(blanch, networks):
    times = read(TIMES)
    for network in networks:
        settings = {'bn': ('--norm', 'bn'), **{k: ('--norm', 'nd', *v) for k, v in SETTINGS.items() if k != 'budget20'}}
        found = {name: [] for name in settings}
        for _ in range(3):
            for name, options in settings.items():
                done = subprocess.run([blanch, 'bench', '--model', network, '--batch', '128', '--steps', '5', '--json',
                                       *options], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
                found[name].append(json.loads(done.stdout)['step_ms'])
        times[network] = {name: statistics.median(values) for name, values in found.items()}
        times[network]['budget20'] = 1.2 * times[network]['bn']     # what it holds
    with open(TIMES, 'w', encoding='utf-8') as f:
        json.dump(times, f, indent=1)


def read(path):
    try:
        with open(path, encoding='utf-8') as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def table():
    kept, times = read(KEPT), read(TIMES)
    print('| network | setting | seeds | step, of BN | test top-1, % | against ND exact |')
    print('| --- | --- | --- | --- | --- | --- |')
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
            step = times.get(network, {}).get(name)
            print('| %s | %s | %d | %s | %s | %s |' % (
                network, name, len(tops), '%.2f' % (step / times[network]['bn']) if step else '',
                ', '.join('%.1f' % t for t in tops),
                '%+.2f%s' % (statistics.mean(pairs), error) if pairs and name != 'nd' else ''))


COLOURS = {'bn': '#444', 'bn2': '#444', 'nd': '#1b6ca8', 'block32': '#2a9d8f', 'block16_4F': '#6a994e', '4F': '#8ecae6',
           'fast': '#e76f51', 'channels': '#9b5de5', 'budget20': '#f4a261'}
LABELS = {'bn': 'BN, its best rate', 'bn2': 'BN, twice as long', 'nd': 'ND exact', '4F': '--cov-samples 4F',
          'block32': '--block 32', 'block16_4F': '--block 16 --cov-samples 4F', 'fast': '--nd-preset fast',
          'channels': '--nd-preset channels', 'budget20': '--overhead-budget 20%'}


def plot(network):
    """A dot for every seed, a ring about a setting's mean, named."""
    kept, times = read(KEPT), read(TIMES)[network]
    dots = {}
    for name in LABELS:
        seconds = times['bn' if name == 'bn2' else name] * STEPS * (2 if name == 'bn2' else 1) / 1000
        tops = [kept[cell]['test_top1'] for s in range(SEEDS[network])
                for cell in ['%s-%s-%d' % (network, name, s)] if 'test_top1' in kept.get(cell, {})]
        if tops:
            dots[name] = seconds, tops
    width, height, left, bottom = 860, 460, 60, 50
    most = 1.15 * max(s for s, _ in dots.values())
    low = math.floor(min(min(t) for _, t in dots.values()) - 1)
    high = math.ceil(max(max(t) for _, t in dots.values()) + 1)
    x = lambda s: left + s / most * (width - left - 150)
    y = lambda t: 20 + (high - t) / (high - low) * (height - 20 - bottom)
    out = ['<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13">'
           % (width, height), '<rect width="100%" height="100%" fill="white"/>']
    for t in range(low, high + 1):
        out.append('<path d="M%d %.1fH%d" stroke="#eee"/><text x="%d" y="%.1f" text-anchor="end">%d</text>'
                   % (left, y(t), width - 20, left - 8, y(t) + 4, t))
    for s in range(0, int(most) + 1, max(10, int(most / 8) // 10 * 10)):
        out.append('<text x="%.1f" y="%d" text-anchor="middle">%d</text>' % (x(s), height - bottom + 20, s))
    out.append('<text x="%d" y="%d">seconds of training (steps x measured step time)</text>' % (left, height - 10))
    out.append('<text x="%d" y="14">%s, CIFAR-10 (JPEG), test top-1 in per cent</text>' % (left, network))
    placed = []
    for name, (seconds, tops) in sorted(dots.items(), key=lambda d: -statistics.mean(d[1][1])):
        mean, at = statistics.mean(tops), y(statistics.mean(tops))
        for top in tops:
            out.append('<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>' % (x(seconds), y(top), COLOURS[name]))
        out.append('<circle cx="%.1f" cy="%.1f" r="7" fill="none" stroke="%s" stroke-width="2"/>'
                   % (x(seconds), y(mean), COLOURS[name]))
        while any(abs(at - other) < 15 and abs(x(seconds) - where) < 190 for other, where in placed):
            at += 3
        placed.append((at, x(seconds)))
        text = '%s, %.1f' % (LABELS[name], mean)
        blocked = any(12 < x(other) - x(seconds) < 7 * len(text) and min(abs(y(top) - at) for top in tops + [mean]) < 8
                      for other, tops in dots.values() for mean in [statistics.mean(tops)])
        out.append('<text x="%.1f" y="%.1f" fill="%s"%s>%s</text>'
                   % (x(seconds) + (-12 if blocked else 12), at + 4, COLOURS[name],
                      ' text-anchor="end"' if blocked else '', text))
    with open(os.path.join(HERE, 'presets-%s.svg' % network), 'w', encoding='utf-8') as f:
        f.write('\n'.join(out) + '\n</svg>\n')


def main():
    command = sys.argv[1] if len(sys.argv) > 1 else ''
    if command == 'run' and len(sys.argv) > 5:
        run(sys.argv[2], sys.argv[3], sys.argv[4], sys.argv[5:])
    elif command == 'keep' and len(sys.argv) == 3:
        keep(sys.argv[2])
    elif command == 'time' and len(sys.argv) > 3:
        step_times(sys.argv[2], sys.argv[3:])
    elif command == 'table':
        table()
    elif command == 'plot' and len(sys.argv) == 3:
        plot(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == '__main__':
    main()
