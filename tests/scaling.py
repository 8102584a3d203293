#!/usr/bin/env python3
"""What two ranks of one core each bring over one rank of one core, as a table for docs/scaling.md:

    tests/scaling.py BLANCH MPIEXEC [--networks vgg16,resnet18,densenet121] [--norms bn,nd] [--batch 64] [--steps 6]
                     [--rounds 3] [--realtime]

Runs take turns, round by round, so that a change in the machine's speed meets all of them; a time is the median of all
steps of all rounds but the first two of each. Efficiency is the time of one rank over twice that of two, the batch
being the same. ND is measured with the statistics of each rank, with those of all ranks (--sync-stats) and their
inverse roots divided by measurement, and with all roots on each rank. --realtime: with real-time priority, by chrt,
where others use the machine."""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import caches

HEAD = ('network, batch', 'statistics', 'one rank, ms', 'two ranks, ms', 'efficiency', '`communicate`, ms of a step',
        'hidden, ms')
WAYS = {'bn': (('of each rank', (), {}), ('of all ranks', ('--sync-stats',), {})),
        'nd': (('of each rank', (), {}), ('of all ranks, roots divided', ('--sync-stats',), {}),
               ('of all ranks, all roots on each', ('--sync-stats',), {'BLANCH_ROOTS': 'whole'}))}


class Machine:
    def __init__(self, options, home):
        self.options, self.home = options, home
        self.env = caches.environment(os.path.join(home, 'cache'))
        self.env.update(OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1', BLANCH_TUNE='0', TMPDIR='/tmp')

    def starter(self):
        said = subprocess.run([self.options.mpiexec, '--version'], stdout=subprocess.PIPE, text=True).stdout
        own = 'Open MPI' in said or 'OpenRTE' in said
        return [self.options.mpiexec] + (['--oversubscribe', '--bind-to', 'none'] if own else []) + ['-n', '2']

    def run(self, network, norm, ranks, more, env):
        """Seconds of each step behind the second, and what ledger.json says of the ranks."""
        out = os.path.join(self.home, 'run')
        shutil.rmtree(out, ignore_errors=True)
        words = (['chrt', '-r', '50'] if self.options.realtime else []) + (self.starter() if ranks > 1 else [])
        words += [self.options.blanch, 'train', '--model', network, '--norm', norm, '--data', self.options.data,
                  '--batch', str(self.options.batch), '--steps', str(self.options.steps), '--quiet', '--out', out,
                  '--shares', 'equal', '--device-per-rank' if ranks > 1 else '--device', '0:0/1']
        if ranks == 1:
            words.remove('--shares'), words.remove('equal')
        done = subprocess.run(words + list(more if ranks > 1 else ()), env=dict(self.env, **env), text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            sys.exit('%s: %s' % (' '.join(words), done.stderr))
        with open(os.path.join(out, 'log.jsonl')) as f:
            steps = [line for line in map(json.loads, f) if line['type'] == 'step']
        with open(os.path.join(out, 'ledger.json')) as f:
            told = json.load(f).get('ranks', [])
        return [self.options.batch / step['images_per_s'] for step in steps[2:]], told


def measure(machine, network, norm):
    ways = WAYS[norm]
    one, many = [], [[] for _ in ways]
    told = [[] for _ in ways]
    for _ in range(machine.options.rounds):
        one += machine.run(network, norm, 1, (), {})[0]
        for i, (_, more, env) in enumerate(ways):
            seconds, ranks = machine.run(network, norm, 2, more, env)
            many[i] += seconds
            told[i].append(ranks)
    alone = 1e3 * statistics.median(one)
    for (name, _, _), seconds, ledgers in zip(ways, many, told):
        both = 1e3 * statistics.median(seconds)
        times = [' and '.join('%.0f' % statistics.median(ranks[k][key] for ranks in ledgers) for k in range(2))
                 for key in ('communicate_ms', 'communicate_hidden_ms')]
        yield ('%s-%s, %d' % (network, norm, machine.options.batch), name, '%.0f' % alone, '%.0f' % both,
               '%.2f' % (alone / (2 * both)), *times)


def line(cells):
    print('| ' + ' | '.join(cells) + ' |', flush=True)


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument('blanch', type=os.path.abspath)
    parser.add_argument('mpiexec')
    parser.add_argument('--networks', default='vgg16,resnet18,densenet121')
    parser.add_argument('--norms', default='bn,nd')
    parser.add_argument('--data', default='synthetic:3x32x32:10')
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--steps', type=int, default=6)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--realtime', action='store_true')
    options = parser.parse_args()
    home = tempfile.mkdtemp(prefix='blanch-scaling-')
    try:
        line(HEAD)
        line(['---'] * len(HEAD))
        for network in options.networks.split(','):
            for norm in options.norms.split(','):
                for row in measure(Machine(options, home), network, norm):
                    line(row)
    finally:
        shutil.rmtree(home, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
