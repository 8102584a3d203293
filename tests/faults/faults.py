#!/usr/bin/env python3
"""Runs a command of blanch again and again, each time with another call failing (shim.c), and judges how it ends:

    faults.py SCENARIO[,...] CLASS[,...] [--limit S] [--all] [--sample N] [--only NAME] [--jobs J]

SCENARIO  a name of SCENARIOS, or all
CLASS     cl (OpenCL), mem (the allocator, threads), file (files, streams), or all

Promised (docs/faults.md): exit 3 where the device fails, 2 for memory and files, with exactly one line `blanch: ...`,
the last one; or success with the results of a run without the fault. No signal, no hang, no object of OpenCL and no
block of memory left, files whole. Prints what is otherwise, by kind, and exits 1 then. What was as promised is kept in
WORK, and the next call goes on from there; --sample tries N calls of as many functions as there are, and keeps
nothing."""
import argparse
import concurrent.futures
import gzip
import hashlib
import json
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
NET = ['--model', 'smallcnn', '--norm', 'nd', '--batch', '8']
TRAIN = ['train', *NET, '--data', 'mnist:DATA/mnist', '--quiet', '--out', 'OUT']
# Commands: OUT is a path of the run's own, DATA a folder with what prepare() makes. Then variables of the environment.
SCENARIOS = {
    'train': ([*TRAIN, '--steps', '3'], {}),
    'budget': ([*TRAIN, '--steps', '14', '--overhead-budget', '20%', '--lr', '0.01'], {}),
    'resume': (['train', '--resume', '--epochs', '2', '--quiet', '--out', 'OUT'], {}),
    'events': ([*TRAIN, '--steps', '2', '--tensorboard', 'OUT.events'], {}),
    'eval': (['eval', '--run', 'DATA/base', '--json'], {}),
    'predict': (['predict', 'DATA/image.pgm', '--run', 'DATA/base', '--json'], {}),
    'compare': (['compare', '--model', 'smallcnn', '--data', 'mnist:DATA/mnist', '--batch', '8', '--steps', '4',
                 '--json', '--out', 'OUT'], {}),
    'bench': (['bench', *NET, '--steps', '2', '--json'], {}),
    'clblast': (['bench', *NET, '--steps', '2', '--json'], {'BLANCH_GEMM': 'clblast'}),
    'fft': (['bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '8', '--steps', '2', '--json'],
            {'BLANCH_CONV': 'fft'}),
    'cold': (['bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '8', '--steps', '2', '--json'],
             {'XDG_CACHE_HOME': 'OUT.cache'}),
    'tune': (['tune', '--model', 'smallcnn', '--norm', 'bn', '--batch', '2', '--json'],
             {'XDG_CACHE_HOME': 'OUT.cache', 'BLANCH_TUNE': ''}),
    'study': (['study', '--data', 'folder:DATA/pictures', '--networks', 'vgg16', '--norms', 'bn', '--steps', '1',
               '--json', '--out', 'OUT'], {}),
    # A sub-device that is released while PoCL's thread lets go of its last command's event must still be there.
    'devices': (['devices', '--json'], {'FAULT_LATE': '1000', 'MALLOC_PERTURB_': '95'}),
    'models': (['models', '--json'], {}),
    'check': (['check', ROOT + '/tests/reference/conformance/linear.safetensors', '--json'], {}),
    'show': (['tune', '--show', '--json'], {}),
    'report': (['report', 'DATA/base', 'DATA/bench.json', '--out', 'OUT.html', '--csv', 'OUT.csv'], {}),
}
CL_CODES = {  # what is plausible, in turn
    'clCreateBuffer': [-4, -5, -6, -61], 'clCreateSubBuffer': [-4, -5, -6, -13], 'clBuildProgram': [-11, -5, -6, -3],
    'clCreateKernel': [-46, -5, -6, -45], 'clCreateContext': [-2, -6, -5], 'clCreateCommandQueue': [-5, -6, -35],
    'clGetPlatformIDs': [-6, -1001], 'clGetDeviceIDs': [-1, -6, -5], 'clFinish': [-5, -36, -6, -9999],
    'clFlush': [-36, -5, -6], 'clEnqueueNDRangeKernel': [-5, -4, -6, -36, -54, -14, -9999],
    'clEnqueueMapBuffer': [-12, -4, -5], 'clEnqueueUnmapMemObject': [-5, -6],
    'clSetKernelArg': [-5, -6, -51], 'clCreateProgramWithBinary': [-42, -6, -5],
    'clGetEventProfilingInfo': [-7, -5, -58],
    'clGetDeviceInfo': [-5, -6, -33], 'clGetPlatformInfo': [-6, -32], 'cl': [-36, -9999, -2],
    'clReleaseKernel': [-5, -6, -48]}
FILE_CODES = {
    'write': [28, 5, 122, 0], 'fsync': [5, 28], 'rename': [5, 30, 28, 13], 'close': [5, 28],
    'open64': [28, 13, 30, 24], 'open': [24, 13], 'fopen64': [13, 24, 30], 'fdopen': [12],
    'fflush': [28, 5], 'fputs': [28, 5], 'fputc': [28], 'putc': [28], 'puts': [28], 'printf': [28], 'fprintf': [28],
    'vfprintf': [28], 'fclose': [5, 28], 'fwrite': [28, 0], 'fread': [5], 'fseek': [29], 'ftell': [29], 'unlink': [13],
    'remove': [13], 'mkstemp64': [28, 13, 30], 'opendir': [13, 24], 'readdir64': [5], 'scandir64': [12, 13],
    'renameat': [5, 28, 13], 'openat64': [28, 13, 30, 24], 'unlinkat': [13], 'fchmod': [1],
    'mkdirat': [28, 30, 13], 'pwrite64': [28, 5], 'fdopendir': [24], 'stat64': [13], 'lstat64': [13], 'fstat64': [5],
    'flock': [37], 'ftruncate64': [5], 'disk': [28]}
# Faults that once ended otherwise than promised: a sample has them all.
ONCE = {('train', 'cl'): ['clCreateBuffer:1:-4', 'clCreateCommandQueue:1:-35', 'clFlush:2:-36', 'clGetDeviceInfo:3:-6',
                          'clGetEventProfilingInfo:3:-7', 'clReleaseKernel:1:-48', 'cl:3000:-36:0'],
        ('train', 'file'): ['disk:20:28:0']}
KEPT = 8        # blocks of memory that what prints (bl_shown) keeps for the life of the process
MEMORY = ['malloc', 'calloc', 'realloc', 'pthread_create', 'memory']


def class_of(function):
    if function == 'cl' or re.match('cl[A-Z]', function):
        return 'cl'
    return 'mem' if function in MEMORY else 'file' if function in FILE_CODES else None


# --- what is tried on -----------------------------------------------------------------------------

def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as f:
        f.write(data)


def make_data(folder):
    """IDX files of 24 and 8 images, a folder of pictures, an image."""
    rng = random.Random(1)
    for part, count in (('train', 24), ('t10k', 8)):
        labels = [rng.randrange(10) for _ in range(count)]
        pixels = bytearray()
        for label in labels:
            for y in range(28):
                pixels += bytes(200 if 2 * label <= y < 2 * label + 4 else rng.randrange(60) for _ in range(28))
        images = struct.pack('>IIII', 2051, count, 28, 28) + bytes(pixels)
        write('%s/mnist/%s-images-idx3-ubyte.gz' % (folder, part), gzip.compress(images))
        write('%s/mnist/%s-labels-idx1-ubyte.gz' % (folder, part),
              gzip.compress(struct.pack('>II', 2049, count) + bytes(labels)))
    for split, count in (('train', 4), ('test', 2)):
        for number in range(2 * count):
            write('%s/pictures/%s/%s/%d.ppm' % (folder, split, 'ab'[number % 2], number),
                  b'P6\n32 32\n255\n' + bytes(rng.randrange(256) for _ in range(3072)))
    write(folder + '/image.pgm', b'P5\n28 28\n255\n' + bytes(range(28)) * 28)


class Trial:
    """Where things are, and how a command is run there."""

    def __init__(self, options):
        self.blanch, self.shim, self.work = options.blanch, options.shim, options.work
        self.data = os.path.join(self.work, 'data')

    def environment(self, more, out):
        env = dict(os.environ, BLANCH_TUNE='0')
        env.update({name: self.path(value, out) for name, value in more.items()})
        return env

    def path(self, text, out):
        return text.replace('DATA', self.data).replace('OUT', out)

    def prepare(self):
        if os.path.exists(self.data + '/bench.json'):
            return
        shutil.rmtree(self.data, ignore_errors=True)
        make_data(self.data)
        base = [self.path(word, self.data + '/base') for word in TRAIN]
        subprocess.run([self.blanch, *base, '--epochs', '1'], env=self.environment({}, ''), check=True)
        bench = subprocess.run([self.blanch, *SCENARIOS['bench'][0]], env=self.environment({}, ''), check=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        write(self.data + '/bench.json', bench.stdout)

    def clean(self, out):
        for path in [out] + [out + end for end in ('.cache', '.counts', '.events', '.html', '.csv')]:
            if os.path.isdir(path):
                shutil.rmtree(path, ignore_errors=True)
            elif os.path.lexists(path):
                os.remove(path)

    def start_from(self, scenario, out):
        """What the command finds: a run to resume, a cache without what is measured."""
        self.clean(out)
        if scenario == 'resume':
            shutil.copytree(self.data + '/base', out)
        if scenario == 'tune':
            cache = os.environ.get('XDG_CACHE_HOME', os.path.expanduser('~/.cache'))
            os.makedirs(out + '.cache/blanch', 0o700)
            shutil.copytree(cache + '/blanch/programs', out + '.cache/blanch/programs', copy_function=shutil.copy)

    def run(self, scenario, fault, out, limit=60):
        """A dict: exit status, standard error, counted calls and objects, digest of the results."""
        self.start_from(scenario, out)
        words, more = SCENARIOS[scenario]
        env = dict(self.environment(more, out), FAULT_REPORT=out + '.counts', LD_PRELOAD=self.shim, FAULT=fault or '')
        start = time.time()
        process = subprocess.Popen([self.blanch, *[self.path(w, out) for w in words]], env=env, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE)
        try:
            printed, said = process.communicate(timeout=limit)
            status = process.returncode
        except subprocess.TimeoutExpired:
            process.kill()
            printed, said = process.communicate()
            status = None
        calls, live = read_counts(out + '.counts')
        return {'fault': fault, 'status': status, 'said': said.decode(errors='replace').replace('\r', '\n'),
                'calls': calls, 'live': live, 'seconds': round(time.time() - start, 2),
                'digest': digest(scenario, out, printed) if status == 0 else None}


def read_counts(path):
    calls, live = {}, {}
    if os.path.exists(path):
        with open(path) as f:
            for words in map(str.split, f):
                if words[0] == 'live':
                    live[words[1]] = int(words[2]) + int(words[3]) - int(words[4])
                else:
                    calls[words[0]] = int(words[1])
    return calls, live


# --- judging --------------------------------------------------------------------------------------

def read_safetensors(path):
    """(metadata, data); ValueError where the file is not whole."""
    with open(path, 'rb') as f:
        data = f.read()
    (length,) = struct.unpack('<Q', data[:8])
    head = json.loads(data[8:8 + length])
    meta = head.pop('__metadata__', {})
    if 8 + length + max([t['data_offsets'][1] for t in head.values()] or [0]) != len(data):
        raise ValueError('cut off')
    return meta, json.dumps(head).encode() + data[8 + length:]


def all_files(folder):
    return sorted(os.path.join(at, name) for at, _, names in os.walk(folder) for name in names)


def damage(scenario, fault, out):
    """What is wrong with files left behind."""
    wrong = []
    for path in all_files(out):
        name = os.path.relpath(path, out)
        try:
            if name.endswith('.tmp') and not fault.startswith(('unlink', 'remove')):
                wrong.append('left ' + name)
            elif path.endswith('.safetensors'):
                read_safetensors(path)
            elif name.endswith('.json'):
                with open(path) as f:
                    json.load(f)
        except (ValueError, struct.error) as error:
            wrong.append('%s: %s' % (name, error))
    return wrong + ([] if scenario != 'resume' else no_pair(out))


def no_pair(out):
    """Weights and state of one step must be there to go on from."""
    steps = {}
    for kind in ('last', 'last.state'):
        for end in ('.safetensors', '.safetensors.new'):
            try:
                steps.setdefault(kind, set()).add(read_safetensors('%s/%s%s' % (out, kind, end))[0]['step'])
            except (OSError, ValueError, KeyError, struct.error):
                pass
    return [] if steps.get('last', set()) & steps.get('last.state', set()) else ['no checkpoint to go on from']


def shape_of(value):
    """What a JSON document holds, but for what is measured (numbers, which phases took any time) and told of the
    machine."""
    if isinstance(value, dict):
        return {key: key if re.search('(date|host|phases|verdict|detail)$', key) else shape_of(v)
                for key, v in sorted(value.items())}
    if isinstance(value, list):
        return [shape_of(v) for v in value]
    return value if isinstance(value, str) else type(value).__name__.replace('int', 'float')


def hashed(data):
    return hashlib.sha256(data).hexdigest()[:8]


def digest_file(path, out):
    name = os.path.basename(path)
    if '.safetensors' in name:
        meta, data = read_safetensors(path)
        meta.pop('train_s', None)       # a time
        meta.pop('overhead_budget', None)
        data += json.dumps(meta, sort_keys=True).encode()
    elif name.endswith(('.json', '.jsonl')) and name != 'trace.json':
        with open(path) as f:
            documents = [f.read()] if name.endswith('.json') else f.read().splitlines()
        data = json.dumps([shape_of(json.loads(d)) for d in documents])
        data = re.sub('"left": "[^"]*"', '', data).replace(os.path.basename(out), '').encode()
    else:
        data = b''
    return hashed(data)


def digest(scenario, out, printed):
    """Of everything that the command has made: a success with something left out is none."""
    parts = {os.path.relpath(path, out): digest_file(path, out) for path in all_files(out)}
    parts['.events'] = len(all_files(out + '.events'))
    for end in ('.html', '.csv'):
        if os.path.exists(out + end):
            with open(out + end, 'rb') as f:
                parts[end] = hashed(re.sub(rb'\d{4}-\d\d-\d\d.\d\d:\d\d\S*', b'', f.read()))
    if scenario in ('eval', 'predict'):
        told = {k: v for k, v in json.loads(printed).items() if k not in ('date', 'host', 'device', 'seconds')}
        parts['printed'] = hashed(json.dumps(told).encode())
    elif scenario in SCENARIOS and '--json' in SCENARIOS[scenario][0]:
        try:
            document = json.dumps(shape_of(json.loads(printed))) if printed else ''
        except ValueError:
            document = 'no JSON: %s' % printed[:100]
        parts['printed'] = hashed(document.replace(os.path.basename(out), '').encode())
    return parts


def keeps_objects(fault):
    """Of a device that is lost, and of one that calls an object invalid, nothing can be released."""
    name, _, code = (fault.split(':') + ['', '0'])[:3]
    return name == 'cl' or name.startswith('clRelease') and int(code) <= -30


def judge(scenario, result, base, out):
    """What is not as promised; ''."""
    status, fault = result['status'], result['fault'] or ''
    kind = class_of(fault.split(':')[0])
    if status is None:
        return 'does not end'
    if status < 0:
        return 'signal %s' % signal.Signals(-status).name
    wrong = []
    lines = [line for line in result['said'].splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith('blanch: ')]
    promised = {'cl': (0, 3), 'mem': (0, 2), 'file': (0, 2), None: (0,)}[kind]
    if status not in promised:
        wrong.append('exit %d' % status)
    elif status and (len(errors) != 1 or lines[-1] != errors[0] or len(errors[0]) < 16):
        wrong.append('%d error lines' % len(errors))
    elif not status and errors:
        wrong.append('exit 0 with an error line')
    left = {k: n for k, n in result['live'].items() if n and not (k != 'blocks' and keeps_objects(fault))}
    if kind == 'mem' or 0 < left.get('blocks', 0) <= KEPT:
        left.pop('blocks', None)
    if not result['live']:
        wrong.append('no report')
    if left:
        wrong.append('left ' + ', '.join('%d %s' % (n, k) for k, n in left.items()))
    wrong += damage(scenario, fault, out)
    if status == 0 and base and result['digest'] != base['digest']:
        names = sorted(set(result['digest']) | set(base['digest']))
        wrong.append('other results: ' + ' '.join(n for n in names if result['digest'].get(n) != base['digest'].get(n)))
    return '; '.join(wrong)


# --- which faults ---------------------------------------------------------------------------------

def plan(kind, calls, everything):
    """FAULT=... for calls of every function of a class: all of them, or the first and last and some between."""
    rng, planned = random.Random(5), []
    for name, count in sorted(calls.items()):
        if class_of(name) != kind or not count:
            continue
        at = list(range(1, count + 1))
        if name in ('cl', 'memory', 'disk'):
            codes = CL_CODES.get(name, FILE_CODES.get(name, [0]))
            picked = at if everything else sorted(rng.sample(at, min(count, 12)))
            planned += ['%s:%d:%d:0' % (name, k, codes[i % len(codes)]) for i, k in enumerate(picked)]
            continue
        if not everything and count > 40:
            at = sorted(set(at[:12] + at[-6:] + rng.sample(at, min(count, 60 if kind == 'mem' else 24))))
        codes = CL_CODES.get(name, [-5, -6, -4]) if kind == 'cl' else FILE_CODES.get(name, [0])
        if kind == 'file':
            planned += ['%s:%d:%d' % (name, k, code) for k in at for code in codes]
        else:
            planned += ['%s:%d:%d' % (name, k, codes[i % len(codes)]) for i, k in enumerate(at)]
    rng.shuffle(planned)       # what a limit lets through is of all functions
    return planned


def sample(planned, count, rng):
    """count faults, every function in turn."""
    by_name = {}
    for fault in planned:
        by_name.setdefault(fault.split(':')[0], []).append(fault)
    names = sorted(by_name)
    rng.shuffle(names)
    picked = []
    while len(picked) < min(count, len(planned)):
        for name in names:
            if by_name[name] and len(picked) < count:
                picked.append(by_name[name].pop(rng.randrange(len(by_name[name]))))
    return picked


# --- a campaign -----------------------------------------------------------------------------------

def attempt(trial, scenario, fault, base):
    out = '%s/%s-%s' % (trial.work, scenario, re.sub('[^A-Za-z0-9]', '_', fault))
    result = trial.run(scenario, fault, out)
    wrong = judge(scenario, result, base, out)
    if not wrong:
        trial.clean(out)
    said = [line for line in result['said'].splitlines() if line.strip()]
    return {'scenario': scenario, 'fault': fault, 'status': result['status'], 'seconds': result['seconds'],
            'wrong': wrong, 'said': said[-1][:300] if said else ''}


def measure_base(trial, scenario):
    """The run without a fault, which must repeat itself."""
    out = '%s/%s-base' % (trial.work, scenario)
    base, again = trial.run(scenario, None, out), trial.run(scenario, None, out)
    wrong = judge(scenario, again, base, out)
    if base['status'] or wrong:
        sys.exit('faults.py: %s without a fault: exit %s, %s\n%s' % (scenario, base['status'], wrong, base['said']))
    trial.clean(out)
    return base


def read_log(path):
    if not os.path.exists(path):
        return []
    with open(path) as f:
        return [json.loads(line) for line in f]


def campaign(trial, scenario, kind, planned, base, options):
    """The rows of what was tried, those of former calls that were as promised included."""
    path = '%s/log/%s-%s.jsonl' % (trial.work, scenario, kind)
    wanted = set() if options.sample else set(planned)
    rows = [row for row in read_log(path) if row['fault'] in wanted and not row['wrong']]
    done = {row['fault'] for row in rows}
    os.makedirs(os.path.dirname(path), exist_ok=True)

    def work(fault):
        return attempt(trial, scenario, fault, base) if time.time() < options.end else None

    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool, open(path, 'a') as log:
        for row in pool.map(work, [fault for fault in planned if fault not in done]):
            if not row:
                continue
            rows.append(row)
            if not options.sample:
                log.write(json.dumps(row) + '\n')
                log.flush()
    return rows


def summarise(name, rows, planned):
    bad = [row for row in rows if row['wrong']]
    statuses = {}
    for row in rows:
        statuses[str(row['status'])] = statuses.get(str(row['status']), 0) + 1
    print('%s: %d of %d tried, %d as promised, %d not; exits %s' % (
        name, len(rows), planned, len(rows) - len(bad), len(bad),
        ', '.join('%s: %d' % pair for pair in sorted(statuses.items()))), flush=True)
    kinds = {}
    for row in bad:
        kinds.setdefault((row['fault'].split(':')[0], re.sub(r'\d+', '#', row['wrong'])[:150]), []).append(row)
    for (function, wrong), same in sorted(kinds.items(), key=lambda item: -len(item[1])):
        print('  %4d x %s: %s; FAULT=%s: %s' % (len(same), function, wrong, same[0]['fault'], same[0]['said'][:160]))
    return len(bad)


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('scenario'), parser.add_argument('cls', metavar='class')
    parser.add_argument('--limit', type=float, default=1e9, help='seconds; the next call goes on')
    parser.add_argument('--all', action='store_true', help='every call, not a part of those that are many')
    parser.add_argument('--sample', type=int, help='so many faults in all')
    parser.add_argument('--only', help='a function')
    parser.add_argument('--jobs', type=int, default=2)
    parser.add_argument('--blanch', default=ROOT + '/build/blanch')
    parser.add_argument('--shim', default=ROOT + '/build/tests/faults/shim.so')
    parser.add_argument('--work', default=ROOT + '/build/faults')
    options = parser.parse_args()
    options.scenarios = list(SCENARIOS) if options.scenario == 'all' else options.scenario.split(',')
    options.classes = ['cl', 'mem', 'file'] if options.cls == 'all' else options.cls.split(',')
    options.work, options.shim = os.path.abspath(options.work), options.shim and os.path.abspath(options.shim)
    options.end = time.time() + options.limit
    return options


def skip_where_needless(options):
    """Meson's status for a test that cannot run here."""
    if not options.shim or not os.path.exists(options.shim):
        print('the library that makes calls fail is not built here')
        sys.exit(77)
    if subprocess.run([options.blanch, 'devices'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        print('there is no OpenCL device')
        sys.exit(1 if os.environ.get('CI') else 77)


def main():
    options = parse()
    skip_where_needless(options)
    trial, rng, failed, tried = Trial(options), random.Random(13), 0, 0
    trial.prepare()
    pairs = [(s, c) for s in options.scenarios for c in options.classes]
    for scenario in options.scenarios:
        base = measure_base(trial, scenario)
        for kind in options.classes:
            planned = [f for f in plan(kind, base['calls'], options.all) if options.only in (None, f.split(':')[0])]
            if options.sample:
                planned = ONCE.get((scenario, kind), []) + sample(planned, options.sample // len(pairs), rng)
            rows = campaign(trial, scenario, kind, planned, base, options)
            failed += summarise('%s %s' % (scenario, kind), rows, len(planned))
            tried += len(rows)
    print('%d faults tried, %d as promised, %d not' % (tried, tried - failed, failed))
    return failed > 0


sys.exit(main())
