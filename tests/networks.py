#!/usr/bin/env python3
"""The table of docs/measurements/networks.md: every network with its parameters, multiply-adds per image and step times
of both norms.

  tests/networks.py BLANCH [--batch 32] [--imagenet-batch 4] [--steps 5] [--device SPEC]
                    [--write docs/measurements/networks.md]

Runs `blanch models NAME --json` and `blanch bench --json` for every network, one after another: nothing else should run
beside it. Prints Markdown; --write puts it between the lines `<!-- table -->` and `<!-- end of table -->` of a file. A
network that cannot be timed (say, for want of memory) has the reason in its row.
"""
import argparse
import json
import subprocess
import sys

BEGIN, END = '<!-- table -->', '<!-- end of table -->'


def run(command):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)


def run_json(command):
    done = run(command)
    if done.returncode:
        return None, done.stderr.strip().splitlines()[-1:] or ['exit status %d' % done.returncode]
    return json.loads(done.stdout), None


def count(options, name, norm):
    """Trainable parameters and multiply-adds of an image."""
    model, wrong = run_json([options.blanch, 'models', name, '--norm', norm, '--json'])
    if wrong:
        sys.exit('%s: %s' % (name, wrong[0]))
    return model['trainable'], model['multiply_adds']


def step(options, name, norm, batch):
    command = [options.blanch, 'bench', '--model', name, '--norm', norm, '--batch', str(batch), '--steps',
               str(options.steps), '--warmup', '1', '--json']
    bench, wrong = run_json(command + (['--device', options.device] if options.device else []))
    print('%s-%s: %s' % (name, norm, wrong[0] if wrong else '%.1f ms' % bench['step_ms']), file=sys.stderr)
    return bench, wrong


def row(options, name):
    batch = options.imagenet_batch if 'imagenet' in name else options.batch
    parameters, operations = count(options, name, 'bn')
    bn, bn_wrong = step(options, name, 'bn', batch)
    nd, nd_wrong = step(options, name, 'nd', batch)
    ms = lambda bench, wrong: wrong[0] if wrong else '%.1f' % bench['step_ms']
    ratio = '%.2f' % (nd['step_ms'] / bn['step_ms']) if bn and nd else '-'
    cells = (name, '%.2f' % (parameters / 1e6), '%.1f' % (operations / 1e6), batch, ms(bn, bn_wrong), ms(nd, nd_wrong),
             ratio)
    return '| ' + ' | '.join(str(c) for c in cells) + ' |', (bn or nd or {}).get('device', {}).get('name')


def table(options):
    names = [m['name'] for m in run_json([options.blanch, 'models', '--json'])[0]['models']]
    lines = ['| network | parameters, millions | multiply-adds an image, millions | batch | BN step, ms | ND step, ms '
             '| ND / BN |',
             '| --- | --- | --- | --- | --- | --- | --- |']
    rows = [row(options, name) for name in names]
    device = next((d for _, d in rows if d), 'no device')
    lines += [line for line, _ in rows]
    return '\n'.join(lines + ['', 'Device: %s. Medians of %d steps.' % (device, options.steps)])


def write(path, text):
    with open(path) as f:
        before, rest = f.read().split(BEGIN, 1)
    with open(path, 'w') as f:
        f.write(before + BEGIN + '\n\n' + text + '\n\n' + END + rest.split(END, 1)[1])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('blanch')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--imagenet-batch', type=int, default=4)
    parser.add_argument('--steps', type=int, default=5)
    parser.add_argument('--device')
    parser.add_argument('--write', metavar='FILE')
    options = parser.parse_args()
    text = table(options)
    print(text)
    if options.write:
        write(options.write, text)


if __name__ == '__main__':
    main()
