#!/usr/bin/env python3
"""A long training watched from outside:

    soak.py STEPS [--blanch FILE] [--shim FILE] [--work DIR] [-- TRAIN OPTION...]

Prints anonymous memory, descriptors, threads and mappings as the steps go by, the slope of memory over the last two
thirds, and what the library that the build makes of shim.c has counted of OpenCL's objects at the end. Exits 1 where
memory grows by more than 1 KiB in 100 steps, the others grow, or an object is left. Options after -- are those of
`blanch train`; without any, smallcnn with deconvolution on synthetic images, an evaluation and a checkpoint every 128
steps."""
import argparse
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TRAIN = ['--model', 'smallcnn', '--norm', 'nd', '--batch', '16', '--data', 'synthetic:1x28x28:10', '--schedule',
         'constant', '--lr', '0.001']
MOST = 0.01                             # KiB a step


def look(pid, out):
    """(steps, KiB of anonymous memory, descriptors, threads, mappings), or None: it is over."""
    try:
        with open('/proc/%d/status' % pid) as f:
            status = dict(line.split(':', 1) for line in f)
        with open('/proc/%d/maps' % pid) as f:
            maps = sum(1 for _ in f)
        with open(out + '/log.jsonl', 'rb') as f:
            f.seek(max(0, os.path.getsize(out + '/log.jsonl') - 2000))
            steps = [line.split(b'"step":')[1].split(b',')[0] for line in f.read().split(b'\n') if b'"step":' in line]
        return (int(steps[-1]), int(status['RssAnon'].split()[0]), len(os.listdir('/proc/%d/fd' % pid)),
                int(status['Threads']), maps)
    except (FileNotFoundError, ProcessLookupError, KeyError, IndexError, ValueError):
        return None


def watch(process, out, steps):
    """About 200 looks, at most one a second."""
    rows = []
    while process.poll() is None:
        row = look(process.pid, out)
        if row and (not rows or row[0] - rows[-1][0] >= steps / 200):
            rows.append(row)
        time.sleep(1)
    return rows


def slope(rows):
    """Of memory over steps, by least squares."""
    late = [r for r in rows if 3 * r[0] >= rows[-1][0]]
    x, y = sum(r[0] for r in late) / len(late), sum(r[1] for r in late) / len(late)
    return sum((r[0] - x) * (r[1] - y) for r in late) / sum((r[0] - x) ** 2 for r in late)


def left(report):
    """Lines of the kinds of objects that are left at the end."""
    with open(report) as f:
        lives = [line.split()[1:] for line in f if line.startswith('live ')]
    print('; '.join('%s: %s made, %s released' % (kind, made, gone) for kind, made, kept, gone in lives))
    return [kind for kind, made, kept, gone in lives if int(made) + int(kept) != int(gone) and kind != 'blocks']


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('steps', type=int)
    parser.add_argument('--work', default='soak-work')
    parser.add_argument('--blanch', default=ROOT + '/build/blanch')
    parser.add_argument('--shim', default=ROOT + '/build/tests/faults/shim.so')
    end = sys.argv.index('--') if '--' in sys.argv else len(sys.argv)
    options, train = parser.parse_args(sys.argv[1:end]), sys.argv[end + 1:] or TRAIN
    out, report = os.path.abspath(options.work) + '/run', os.path.abspath(options.work) + '/counts'
    shutil.rmtree(options.work, ignore_errors=True)
    os.makedirs(options.work)
    env = dict(os.environ, BLANCH_TUNE='0', LD_PRELOAD=options.shim, FAULT_REPORT=report)
    begun = time.time()
    process = subprocess.Popen([options.blanch, 'train', '--steps', str(options.steps), '--out', out, '--quiet',
                                *train], env=env)
    rows = watch(process, out, options.steps)
    print('exit %d after %.0f s' % (process.wait(), time.time() - begun))
    if len(rows) < 10:
        sys.exit('too few looks to judge by')
    print('%8s %9s %4s %8s %5s' % ('step', 'anon KiB', 'fds', 'threads', 'maps'))
    for row in rows[::max(1, len(rows) // 10)] + rows[-1:]:
        print('%8d %9d %4d %8d %5d' % row)
    grown = [name for i, name in ((2, 'descriptors'), (3, 'threads')) if rows[-1][i] > max(r[i] for r in rows[:5])]
    print('memory grows by %.3f KiB in 100 steps' % (100 * slope(rows)))
    return 1 if process.returncode or slope(rows) > MOST or grown or left(report) else 0


if __name__ == '__main__':
    sys.exit(main())
