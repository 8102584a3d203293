#!/usr/bin/env python3
"""Kills a command of blanch by SIGKILL, at moments drawn by chance or at every call by which it changes files,
and goes on as its user would: with the same command, or --resume where that says so.

    kills.py CASE[,...] --random KILLS | --points [--sample N] [--limit S] [--jobs J] [--seed N] [--work DIR]

CASE  train, resume (a run that has a checkpoint), compare, study, tune, or all

Promised: every whole file that is there can be read; the command can go on or begin anew; it ends with the weights, the
optimiser's state and the log of one that nothing killed (of tune, with every shape measured); nothing is left over.
Prints a table and what was otherwise; exits 1 then. --points needs the library that the build makes of shim.c."""
import argparse
import concurrent.futures
import glob
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import threading
import time
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
KILL = -9
NET = ['--model', 'smallcnn', '--batch', '16']
# Functions that change files: a kill at one that does not leaves what the next of these finds.
CHANGES = ('mkdir', 'mkdirat', 'open', 'open64', 'openat64', 'fopen64', 'flock', 'write', 'pwrite64', 'ftruncate64',
           'fchmod', 'fsync', 'close', 'rename', 'renameat', 'unlink', 'unlinkat', 'remove', 'mkstemp64', 'fputs',
           'fputc', 'putc', 'fwrite', 'fflush', 'fclose')
UNSTEADY = ('images_per_s', 'train_s', 'test_s')        # of lines and positions: what the clock says
KINDS = ('damaged', 'stuck', 'different', 'left over')


# --- data ----------------------------------------------------------------------------------------

def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def make_data(work):
    for part, count in (('train', 64), ('t10k', 16)):
        rng, labels, pixels = random.Random(count), bytearray(), bytearray()
        for _ in range(count):
            labels.append(rng.randrange(10))
            for y in range(28):
                pixels += bytes((200 if 2 * labels[-1] <= y < 2 * labels[-1] + 4 else rng.randrange(60),)) * 28
        images = struct.pack('>IIII', 2051, count, 28, 28) + pixels
        write(work + '/mnist/%s-images-idx3-ubyte.gz' % part, gzip.compress(images))
        write(work + '/mnist/%s-labels-idx1-ubyte.gz' % part, gzip.compress(struct.pack('>II', 2049, count) + labels))
    for i in range(20):
        rng = random.Random(i)
        rows = b''.join(b'\0' + bytes(rng.randrange(256) for _ in range(96)) for _ in range(32))
        chunk = lambda kind, data: (struct.pack('>I', len(data)) + kind + data +
                                    struct.pack('>I', zlib.crc32(kind + data)))
        write(work + '/pictures/%s/%s/%02d.png' % ('train' if i < 16 else 'test', 'cat' if i % 2 else 'dog', i),
              b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 32, 32, 8, 2, 0, 0, 0)) +
              chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


# --- what a directory holds ------------------------------------------------------------------------

def tensors(path):
    """A hash of a safetensors file without its clock; ValueError where it is not whole."""
    with open(path, 'rb') as f:
        data = f.read()
    size = struct.unpack('<Q', data[:8])[0] if len(data) >= 8 else len(data)
    head = json.loads(data[8:8 + size])
    meta = head.pop('__metadata__', {})
    end = max([v['data_offsets'][1] for v in head.values()] or [0])
    if 8 + size + end != len(data):
        raise ValueError('cut off')
    told = {k: v for k, v in meta.items() if k not in UNSTEADY}
    return hashlib.sha256(json.dumps([told, head], sort_keys=True).encode() + data[8 + size:]).hexdigest()[:16]


def lines(path):
    """The lines of a log without its clock."""
    with open(path) as f:
        return [{k: v for k, v in json.loads(line).items() if k not in UNSTEADY} for line in f]


def is_left_over(name):
    return name.endswith(('.tmp', '.new')) or re.search(r'\.[A-Za-z0-9]{6}$', name)


def files(out):
    return [p for p in glob.glob(out + '/**', recursive=True) if os.path.isfile(p)]


def damaged(out):
    """Names of files under out that are there and cannot be read."""
    wrong = []
    for path in files(out):
        try:
            if path.endswith('.safetensors'):
                tensors(path)
            elif path.endswith('.json'):
                with open(path) as f:
                    json.load(f)
        except ValueError as error:
            wrong.append('%s: %s' % (os.path.basename(path), error))
    return wrong


# --- the cases -------------------------------------------------------------------------------------

class Case:
    """base: a directory to begin from; what: what a finished directory is compared by."""

    def __init__(self, command, result, base=None, env=None):
        self.command, self.result, self.base, self.env = command, result, base, env or {}


def run_result(out):
    return {**{n: tensors('%s/%s.safetensors' % (out, n)) for n in ('last', 'last.state', 'best')},
            'log': lines(out + '/log.jsonl')}


def compare_result(out):
    with open(out + '/compare.json') as f:
        return {'log': lines(out + '/log.jsonl'), 'runs': len(json.load(f)['runs'])}


def study_result(out):
    """A cell whose log is complete is done: its state may still say that the last evaluation is due."""
    cells = {os.path.basename(cell): run_result(cell) for cell in sorted(glob.glob(out + '/cifar10-*'))}
    for cell in cells.values():
        del cell['last.state']
    return cells


def tune_result(out):
    """Measured times choose, so the convolutions' shapes alone are compared: which products there are depends on the
    engines chosen."""
    shapes = []
    for path in glob.glob(out + '/blanch/tune/**/*.json', recursive=True):
        with open(path) as f:
            shapes.append(json.load(f).get('shape', os.path.basename(path)))
    return sorted(shape for shape in shapes if not shape.startswith('product'))


def cases(work):
    data = ['--data', 'mnist:%s/mnist' % work]
    train = ['train', *NET, '--norm', 'nd', *data, '--epochs', '4', '--quiet', '--out', 'OUT']
    return {
        'train': Case(train, run_result),
        'resume': Case(['train', '--resume', '--epochs', '6', '--quiet', '--out', 'OUT'], run_result, base=train),
        'compare': Case(['compare', *NET, *data, '--steps', '8', '--out', 'OUT'], compare_result),
        'study': Case(['study', '--data', 'folder:%s/pictures' % work, '--networks', 'resnet18d', '--norms', 'bn',
                       '--steps', '4', '--attempts', '2', '--out', 'OUT'], study_result),
        'tune': Case(['tune', '--model', 'smallcnn', '--norm', 'bn', '--batch', '4'], tune_result,
                     env={'XDG_CACHE_HOME': 'OUT', 'BLANCH_TUNE': ''}),
    }


# --- a trial ---------------------------------------------------------------------------------------

class Campaign:
    def __init__(self, options):
        self.options, self.lock, self.number = options, threading.Lock(), 0
        self.work = os.path.abspath(options.work)
        self.env = dict(os.environ, XDG_CACHE_HOME=self.work + '/cache', BLANCH_TUNE='0')
        self.cases = cases(self.work)
        self.kills, self.same, self.seen, self.seconds = {}, {}, {}, {}
        self.end = time.time() + options.limit if options.limit else None
        if not os.path.exists(self.work + '/mnist'):
            make_data(self.work)

    def over(self):
        return self.end is not None and time.time() > self.end

    def note(self, case, kind, what):
        with self.lock:
            texts = self.seen.setdefault((case, kind), {})
            text = re.sub(r'\d+', '#', re.sub(r'/\S*/', '', what))
            texts.setdefault(text, []).append(what)

    def count(self, counts, case):
        with self.lock:
            counts[case] = counts.get(case, 0) + 1

    def directory(self, case):
        """A fresh one, which begins as the case does."""
        with self.lock:
            self.number += 1
            out = '%s/%s-%d' % (self.work, case, self.number)
        shutil.rmtree(out, ignore_errors=True)
        if self.cases[case].base:
            base = '%s/%s-base' % (self.work, case)
            with self.lock:
                if not os.path.exists(base + '/last.safetensors'):
                    status, error = self.start(case, base, self.cases[case].base)
                    if status:
                        sys.exit('%s: %s' % (case, error))
            shutil.copytree(base, out)
        return out

    def start(self, case, out, command=None, after=None, fault=None):
        """Exit status and last line; KILL where it was killed."""
        env = dict(self.env, **{k: v.replace('OUT', out) for k, v in self.cases[case].env.items()})
        if fault:
            env.update(FAULT=fault, LD_PRELOAD=self.options.shim, FAULT_REPORT=out + '.counts')
        argv = [self.options.blanch] + [w.replace('OUT', out) for w in command or self.cases[case].command]
        process = subprocess.Popen(argv, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            error = process.communicate(timeout=after)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            error = process.communicate()[1]
        said = error.decode(errors='replace').strip().splitlines()
        return process.returncode, said[-1] if said else ''

    def go_on(self, case, out, after=None):
        """The same command; where that is of a run that has a checkpoint, it says what goes on."""
        status, error = self.start(case, out, after=after)
        if status == 2 and '--resume' in error:
            return self.start(case, out, ['train', '--resume', '--quiet', '--out', 'OUT'], after)
        if status == 2 and 'exists already' in error and os.path.exists(out + '/compare.json'):
            return 0, ''                        # it is done
        return status, error

    def whole(self, case):
        """The result of the case without a kill, made once."""
        out, kept = '%s/%s-whole' % (self.work, case), '%s/%s-whole.json' % (self.work, case)
        if not os.path.exists(kept):
            first = self.directory(case)
            status, error = self.start(case, first)
            if status:
                sys.exit('%s: %s' % (case, error))
            shutil.rmtree(out, ignore_errors=True)
            os.rename(first, out)
            with open(kept, 'w') as f:
                json.dump(self.cases[case].result(out), f)
        with open(kept) as f:
            return json.load(f)

    def look(self, case, out, where):
        for what in damaged(out):
            self.note(case, 'damaged', '%s, killed at %s' % (what, where))

    def judge(self, case, out, where):
        """Goes on to the end; a directory that was as it should be is removed."""
        status, error = self.go_on(case, out)
        if status:
            return self.note(case, 'stuck', 'killed at %s: exit %d: %s' % (where, status, error))
        got, want = json.loads(json.dumps(self.cases[case].result(out))), self.whole(case)
        if got != want:
            unlike = [k for k in want if got.get(k) != want[k]] if isinstance(want, dict) else 'shapes'
            return self.note(case, 'different', 'killed at %s: %s, in %s' % (where, unlike, out))
        left = [os.path.basename(p) for p in files(out) if is_left_over(os.path.basename(p))]
        if left:
            self.note(case, 'left over', 'killed at %s: %s' % (where, left))
        self.count(self.same, case)
        shutil.rmtree(out)

    def trial(self, case, rng):
        """From the beginning to the end, killed some times on the way, within the time that the fastest took."""
        out, moments = self.directory(case), []
        for _ in range(rng.randint(1, 6)):
            moments.append(rng.uniform(0, self.seconds.get(case, 3600)))
            begun = time.time()
            status, error = self.go_on(case, out, moments[-1])
            if status == 0:
                if len(moments) == 1:
                    with self.lock:
                        self.seconds[case] = min(self.seconds.get(case, 3600), time.time() - begun)
                break
            if status != KILL:
                return self.note(case, 'stuck', 'killed after %s s: exit %d: %s' % (moments, status, error))
            self.count(self.kills, case)
            self.look(case, out, moments)
        self.judge(case, out, 'seconds %s' % moments)

    def points(self, case):
        """Every call that changes files: (name, number)."""
        out = self.directory(case)
        status, error = self.start(case, out, fault='nothing:1:0')
        if status:
            sys.exit('%s: %s' % (case, error))
        found = []
        with open(out + '.counts') as f:
            for name, calls in (line.split()[:2] for line in f):
                if name in CHANGES:
                    found += [(name, k) for k in range(1, int(calls) + 1)]
        shutil.rmtree(out)
        return found

    def point(self, case, name, number):
        if self.over():
            return
        out, where = self.directory(case), '%s:%d' % (name, number)
        status, error = self.start(case, out, fault='%s:%d' % (where, KILL))
        if status == KILL:
            self.count(self.kills, case)
            self.look(case, out, where)
        elif status:
            return self.note(case, 'stuck', 'at %s: exit %d: %s' % (where, status, error))
        self.judge(case, out, where)

    def show(self):
        print('%-9s %7s %7s %s' % ('case', 'kills', 'same', ' '.join('%9s' % k for k in KINDS)))
        for case in self.kills:
            wrong = [sum(len(v) for v in self.seen.get((case, kind), {}).values()) for kind in KINDS]
            print('%-9s %7d %7d %s' % (case, self.kills[case], self.same.get(case, 0),
                                       ' '.join('%9d' % n for n in wrong)))
        for (case, kind), texts in sorted(self.seen.items()):
            for examples in texts.values():
                print('%s, %s, %d times: %s' % (case, kind, len(examples), examples[0][:400]))
        return 1 if self.seen else 0


def random_kills(campaign, names):
    def work(job):
        rng = random.Random('%d %d' % (campaign.options.seed, job))
        while sum(campaign.kills.values()) < campaign.options.random and not campaign.over():
            campaign.trial(rng.choice(names), rng)

    with concurrent.futures.ThreadPoolExecutor(campaign.options.jobs) as pool:
        for done in [pool.submit(work, job) for job in range(campaign.options.jobs)]:
            done.result()


def all_points(campaign, names):
    with concurrent.futures.ThreadPoolExecutor(campaign.options.jobs) as pool:
        for case in names:
            points = campaign.points(case)
            print('%s: %d calls that change files' % (case, len(points)), flush=True)
            if campaign.options.sample:
                points = random.Random(campaign.options.seed).sample(points, min(len(points), campaign.options.sample))
            for done in [pool.submit(campaign.point, case, *point) for point in points]:
                done.result()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('cases')
    parser.add_argument('--random', type=int, metavar='KILLS')
    parser.add_argument('--points', action='store_true')
    parser.add_argument('--sample', type=int, metavar='N', help='of the calls of each case')
    parser.add_argument('--limit', type=float, metavar='S', help='seconds, after which no trial begins')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--seed', type=int, default=1)
    parser.add_argument('--work', default='kills-work')
    parser.add_argument('--blanch', default=ROOT + '/build/blanch')
    parser.add_argument('--shim', default=ROOT + '/build/tests/faults/shim.so')
    options = parser.parse_args()
    campaign = Campaign(options)
    names = list(campaign.cases) if options.cases == 'all' else options.cases.split(',')
    for name in names:
        if name not in campaign.cases:
            parser.error('no case is called %s' % name)
        campaign.whole(name)
    if options.random:
        random_kills(campaign, names)
    if options.points:
        all_points(campaign, names)
    return campaign.show()


if __name__ == '__main__':
    sys.exit(main())
