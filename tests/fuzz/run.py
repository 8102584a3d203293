#!/usr/bin/env python3
"""Runs the fuzz targets with libFuzzer: run.py [--seconds S | --runs N] [--sanitizers LIST] [TARGET...]; run.py --sum.

Builds them with clang into build-fuzz-LIST, from there uses one core. Inputs that lead further are kept in
build-fuzz/corpus/TARGET, what ends a target in build-fuzz/found, numbers of executions in build-fuzz/executions.tsv,
which --sum adds up. The exit status is 1 where something was found."""
import argparse
import os
import re
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KEPT = os.path.join(ROOT, 'build-fuzz')
LOG = os.path.join(KEPT, 'executions.tsv')
FLAGS = '-fsanitize=fuzzer-no-link,float-cast-overflow -fno-sanitize-recover=all -fno-omit-frame-pointer'
ENV = dict(os.environ, ASAN_OPTIONS='allocator_may_return_null=1:detect_leaks=1:max_allocation_size_mb=2000',
           UBSAN_OPTIONS='print_stacktrace=1')


def build(sanitizers):
    """The folder of the built targets."""
    folder = os.path.join(ROOT, 'build-fuzz-' + sanitizers.replace(',', '-'))
    if not os.path.exists(os.path.join(folder, 'build.ninja')):
        subprocess.run(['meson', 'setup', '-Dlibfuzzer=true', '-Db_sanitize=' + sanitizers, '-Db_lundef=false',
                        '-Dbuildtype=debugoptimized', '-Dc_args=' + FLAGS, folder], cwd=ROOT, check=True,
                       env=dict(os.environ, CC='clang'), stdout=subprocess.DEVNULL)
    listed = subprocess.run(['ninja', '-C', folder, '-t', 'targets', 'all'], check=True, stdout=subprocess.PIPE,
                            universal_newlines=True).stdout
    targets = sorted(set(re.findall(r'^tests/fuzz/fuzz_(\w+): c_LINKER', listed, re.M)))
    subprocess.run(['ninja', '-j2', '-C', folder, 'tests/fuzz/seeds'] + ['tests/fuzz/fuzz_' + t for t in targets],
                   check=True, stdout=subprocess.DEVNULL)
    return os.path.join(folder, 'tests', 'fuzz'), targets


def fuzz(folder, target, options):
    """Executions, and whether something was found."""
    corpus, found = os.path.join(KEPT, 'corpus', target), os.path.join(KEPT, 'found')
    for path in (corpus, found):
        os.makedirs(path, exist_ok=True)
    findings = os.path.join(ROOT, 'tests', 'fuzz', 'findings', target)
    words = os.path.join(folder, 'seeds', target + '.dict')
    command = [os.path.join(folder, 'fuzz_' + target), corpus, os.path.join(folder, 'seeds', target),
               *([findings] if os.path.isdir(findings) else []), '-artifact_prefix=%s/%s-' % (found, target),
               '-print_final_stats=1', '-timeout=60', '-rss_limit_mb=3000', '-max_len=4096', '-dict=' + words,
               '-runs=%d' % options.runs if options.runs else '-max_total_time=%d' % options.seconds]
    start = time.time()
    done = subprocess.run(command, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    text = done.stderr.decode(errors='replace')
    count = re.search(r'stat::number_of_executed_units: (\d+)', text) or re.search(r'(?s).*#(\d+)', text)
    count = int(count.group(1)) if count else 0
    with open(LOG, 'a', encoding='utf-8') as f:
        f.write('%s\t%d\t%.0f\t%s\n' % (target, count, time.time() - start, options.sanitizers))
    edges = [int(n) for n in re.findall(r'cov: (\d+)', text)] or [0]
    print('%-12s %12d executions, %8.0f a second, %6d edges, from %d%s' % (
        target, count, count / max(time.time() - start, 1e-3), edges[-1], edges[0],
        ', FOUND' if done.returncode else ''), flush=True)
    if done.returncode:
        print(text[-6000:])
    return done.returncode != 0


def print_sum():
    total = {}
    with open(LOG, encoding='utf-8') as f:
        for line in f:
            target, count = line.split('\t')[:2]
            total[target] = total.get(target, 0) + int(count)
    for target in sorted(total):
        print('%-12s %12d' % (target, total[target]))
    print('%-12s %12d' % ('in all', sum(total.values())))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seconds', type=int, default=60, help='for each target (60)')
    parser.add_argument('--runs', type=int, default=0, help='executions of each target, in place of seconds')
    parser.add_argument('--sanitizers', default='address,undefined', help='as -Db_sanitize; undefined alone is faster')
    parser.add_argument('--sum', action='store_true', help='adds up what was executed so far')
    parser.add_argument('targets', nargs='*')
    options = parser.parse_args()
    if options.sum:
        return print_sum()
    folder, targets = build(options.sanitizers)
    unknown = set(options.targets) - set(targets)
    if unknown:
        sys.exit('there is no target %s; there are %s' % (', '.join(sorted(unknown)), ', '.join(targets)))
    return int(any([fuzz(folder, target, options) for target in options.targets or targets]))


if __name__ == '__main__':
    sys.exit(main())
