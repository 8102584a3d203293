#!/usr/bin/env python3
"""Step times of Blanch and, where it is installed, PyTorch on the same CPU, alternating in one run.

  tests/benchmark.py BLANCH [--networks vgg16-bn,vgg16-nd] [--batch 128] [--steps 3] [--rounds 2] [--python /usr/bin/python3]

BLANCH is the built program. Each round runs `blanch bench` and then `oracle.py bench` for every network; the table gives the
median of the rounds' medians and their ratio. PyTorch uses as many threads as there are processors that this process may use.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

ORACLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference', 'oracle.py')


def has_torch(python):
    return subprocess.run([python, '-c', 'import torch, numpy'], stderr=subprocess.DEVNULL).returncode == 0


def run_json(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit('%s: exit status %d: %s' % (' '.join(command), done.returncode, done.stderr.strip()[-400:]))
    return json.loads(done.stdout)


def blanch(options, network):
    model, norm = network.rsplit('-', 1)
    return run_json([options.blanch, 'bench', '--model', model, '--norm', norm, '--batch', str(options.batch), '--steps', str(options.steps), '--json'])


def pytorch(options, network):
    threads = str(len(os.sched_getaffinity(0)))
    return run_json([options.python, ORACLE, 'bench', network, '--batch', str(options.batch), '--steps', str(options.steps), '--threads', threads])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('blanch')
    parser.add_argument('--networks', default='vgg16-bn,vgg16-nd')
    parser.add_argument('--batch', type=int, default=128)
    parser.add_argument('--steps', type=int, default=3)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--python', default='/usr/bin/python3')
    options = parser.parse_args()
    torch = has_torch(options.python)
    if not torch:
        print('PyTorch is not installed for %s: Blanch alone is timed' % options.python)
    networks = options.networks.split(',')
    ours, theirs = {n: [] for n in networks}, {n: [] for n in networks}
    for turn in range(options.rounds):
        for network in networks:
            ours[network].append(blanch(options, network))
            if torch:
                theirs[network].append(pytorch(options, network))
            print('round %d of %d: %s' % (turn + 1, options.rounds, network), file=sys.stderr)
    report(networks, ours, theirs, torch)


def report(networks, ours, theirs, torch):
    median = lambda runs: statistics.median(r['step_ms'] for r in runs)
    print('%-24s %14s %14s %10s %12s' % ('network', 'Blanch, ms', 'PyTorch, ms', 'ratio', 'start, ms'))
    for n in networks:
        mine, peer = median(ours[n]), median(theirs[n]) if torch else None
        print('%-24s %14.1f %14s %10s %12.0f' % (n, mine, '%.1f' % peer if torch else '-', '%.3f' % (mine / peer) if torch else '-', ours[n][-1]['startup_ms']))
    print('device: %s; batch %d' % (ours[networks[0]][0]['device'], ours[networks[0]][0]['batch']) + ('; ' + theirs[networks[0]][0]['peer'] if torch else ''))


if __name__ == '__main__':
    main()
