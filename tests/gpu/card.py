#!/usr/bin/env python3
"""All that is to be known of a card, measured in a stated time: one folder to bring home.

    tests/gpu/card.py OUT [--minutes 14] [--device gpu] [--blanch PROGRAM] [--python PYTHON] [...]

Builds Blanch where there is no build (`./quickstart build`); then, first what proves correctness: what the machine is,
`doctor`, the conformance files; of each network `tune` and `bench` beside PyTorch on the same card, in float32 and in
16 bits; a product, `suite --quick`. Each part has a share of the time and is cut off at its end; what was finished is
kept. A second call with the same OUT goes on: with what was not tried yet, then with what was cut off (in twice the
time) or failed. OUT/summary.md has the figures beside the aims, OUT.tar.gz all but compiled programs. Exit status: 0
all is there and right, 1 something is not (the summary names it), 2 there is nothing to measure.

Where nothing can be installed, bundle.py's program serves (--blanch). docs/howto-nvidia.md has more."""
import argparse
import concurrent.futures
import datetime
import glob
import json
import os
import queue
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tarfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SUITE = 'card-v1-quick.json'
LEAST = 15        # seconds, with less of which no part begins
RESERVE = 10      # seconds, of the end: the summary and the archive
GRACE = 10        # seconds that a part has to end in, once it is asked to
CASES_AT_ONCE = 4
# Seconds of 14 minutes. Together they are more: most parts end sooner, and the last have the least value.
SHARES = {'build': 300, 'facts': 40, 'doctor': 60, 'conformance': 180, 'tune': 90, 'bench': 60, 'product': 30,
          'suite': 180}
BATCHES = {'resnet18': 128, 'smallcnn': 128}     # others: 64
# Times as fast as PyTorch: (norm, in 16 bits)
AIMS = {('bn', False): 0.8, ('nd', False): 3, ('bn', True): 0.5}
# Drivers that may lie where the OpenCL loader does not look, as in containers.
VENDORS = '/etc/OpenCL/vendors'
DRIVERS = ('libnvidia-opencl', 'libamdocl64', 'libigdrcl')
PLACES = ('/usr/local/nvidia/lib64', '/usr/local/nvidia/lib', '/usr/lib/%s-linux-gnu' % os.uname().machine,
          '/usr/lib/%s-linux-gnu/intel-opencl' % os.uname().machine, '/usr/lib64', '/usr/lib', '/opt/rocm*/lib',
          '/run/opengl-driver/lib', '/usr/lib/wsl/lib')
FACTS = ('uname -srvm', 'cat /etc/os-release', 'lscpu', 'free -m', 'nvidia-smi',
         'nvidia-smi -q -d CLOCK,POWER,PERFORMANCE', 'rocm-smi', 'ls -l %s /dev/dri /dev/kfd' % VENDORS,
         'ls /usr/local/nvidia/lib64', 'ldconfig -p | grep -iE "opencl|nvidia|cuda|amdocl|clblast"',
         'python3 --version', 'gcc --version', 'clinfo')
WHAT_PYTORCH = '''
import torch, numpy
there = lambda k: hasattr(torch, k) and getattr(torch, k).is_available()
print(torch.__version__, *[k for k in ('cuda', 'xpu') if there(k)], 'cpu')
'''


class Failed(Exception):
    """One line for the user."""


def write_json(path, document):
    with open(path + '.part', 'w') as f:
        json.dump(document, f, indent=1)
    os.replace(path + '.part', path)


def read_json(path, other=None):
    try:
        with open(path) as f:
            return json.load(f)
    except (OSError, ValueError):
        return other


def output(words, seconds=60, env=None):
    """Exit status and what was printed; None: it cannot be run, or does not end."""
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, env=env,
                              shell=isinstance(words, str))
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, str(error)
    return done.returncode, done.stdout.decode(errors='replace')


# --- a part --------------------------------------------------------------------------------------

class Part:
    """name; share: whose of SHARES it has; run(card, part, *args): what came of it in a line, raising Failed or Cut."""

    def __init__(self, name, share, run=None, *args):
        self.name, self.seconds, self.run, self.args = name, SHARES[share], run, args
        self.begin = self.end = None

    def start(self, seconds, end):
        self.begin = time.time()
        self.end = min(self.begin + seconds, end)

    def left(self):
        return self.end - time.time()


class Cut(Exception):
    """The part's time is over."""


class Card:
    def __init__(self, given):
        self.given, self.out = given, os.path.abspath(given.out)
        self.start, self.end = time.time(), time.time() + 60 * given.minutes - RESERVE
        os.makedirs(self.path('logs'), exist_ok=True)
        self.state = read_json(self.path('state.json'), {'parts': {}})
        self.env = dict(os.environ, XDG_CACHE_HOME=self.path('cache'))
        self.blanch = None

    def path(self, *names):
        return os.path.join(self.out, *names)

    def batch(self, network):
        return self.given.batch or BATCHES.get(network, 64)

    def save(self):
        write_json(self.path('state.json'), self.state)
        with open(self.path('summary.md'), 'w') as f:
            f.write(summary(self))
        archive = self.out + '.tar.gz'
        with tarfile.open(archive + '.part', 'w:gz') as tar:
            tar.add(self.out, os.path.basename(self.out), filter=kept)
        os.replace(archive + '.part', archive)

    def run(self, part, words, log=None):
        """Exit status of a command of the part, whose output goes to a log, and what it printed this time. At the
        part's end it is interrupted, then killed with all that it started, and Cut raised."""
        with open(self.path('logs', (log or part.name) + '.txt'), 'a+', errors='replace') as out:
            out.write('$ %s\n' % ' '.join(words))
            out.flush()
            begin = out.seek(0, os.SEEK_END)
            child = subprocess.Popen(words, stdout=out, stderr=out, env=self.env, start_new_session=True)
            try:
                status = child.wait(max(1, part.left()))
            except subprocess.TimeoutExpired:
                status = None
                end_group(child)
            except BaseException:
                end_group(child)
                raise
            out.seek(begin)
            printed = out.read()
        if status is None:
            raise Cut('%d s were not enough' % round(part.end - part.begin))
        return status, printed

    def do(self, part, seconds):
        entry = self.state['parts'].setdefault(part.name, {'calls': 0})
        part.start(seconds, self.end)
        say('%s, at most %d s' % (part.name, part.left()))
        try:
            entry.update(what=part.run(self, part, *part.args), state='done')
        except Cut as cut:
            entry.update(what=str(cut), state='cut off')
        except (Failed, OSError, KeyError, ValueError) as error:
            entry.update(what=str(error) or type(error).__name__, state='failed')
        entry['calls'] += 1
        entry['seconds'] = round(time.time() - part.begin, 1)
        say('%s: %s, %s' % (part.name, entry['state'], entry['what']))
        self.save()


def kept(member):
    """In the archive: not what compilers made."""
    return None if re.search(r'/cache/(?!blanch(/(tune|limits).*)?$)', member.name) else member


def say(text):
    print('card: ' + text, file=sys.stderr, flush=True)


def end_group(child):
    """With what it started, also where that outlives it."""
    for number in signal.SIGINT, signal.SIGKILL:
        try:
            os.killpg(child.pid, number)
            child.wait(GRACE)
        except (ProcessLookupError, subprocess.TimeoutExpired):
            pass


def some(names):
    return ', '.join(names[:10]) + (' and %d more' % (len(names) - 10) if len(names) > 10 else '')


def last_line(text):
    return (text.strip().splitlines() or ['it printed nothing'])[-1][:300]


# --- what there is -------------------------------------------------------------------------------

def find_drivers(card):
    """Drivers that the OpenCL loader does not know are named to it, beside those that it does."""
    if 'OCL_ICD_VENDORS' in os.environ:
        return
    known = {}
    for path in glob.glob(VENDORS + '/*.icd'):
        with open(path, errors='replace') as f:
            known[os.path.basename(path)] = f.read()
    found = {}
    for place in PLACES:
        for path in sorted(glob.glob(place + '/*.so*')):
            name = os.path.basename(path).split('.')[0]
            if name in DRIVERS and not any(name in text for text in known.values()):
                found.setdefault(name, path)
    if not found:
        return
    os.makedirs(card.path('vendors'), exist_ok=True)
    for name, text in dict(known, **{name + '.icd': path + '\n' for name, path in found.items()}).items():
        with open(card.path('vendors', name), 'w') as f:
            f.write(text)
    libraries = [os.environ.get('LD_LIBRARY_PATH'), *sorted({os.path.dirname(path) for path in found.values()})]
    card.env.update(OCL_ICD_VENDORS=card.path('vendors'), LD_LIBRARY_PATH=':'.join(filter(None, libraries)))
    say('OpenCL drivers: ' + ', '.join(found.values()))


def find_blanch(card):
    """The program, built where there is none."""
    program = os.path.abspath(card.given.blanch or os.path.join(ROOT, 'build', 'blanch'))
    status, text = output([program, '--version'], env=card.env)
    if status != 0 and not card.given.blanch:
        build = Part('build', 'build')
        build.start(build.seconds, card.end)
        say('building, at most %d s' % build.left())
        try:
            card.run(build, [os.path.join(ROOT, 'quickstart'), 'build'])
        except Cut as cut:
            raise Failed('building: %s; %s' % (cut, card.path('logs', 'build.txt'))) from None
        status, text = output([program, '--version'], env=card.env)
    if status != 0:
        raise Failed('%s does not run: %s (%s)' % (program, last_line(text), card.path('logs')))
    card.blanch = program
    card.env['PATH'] = os.path.dirname(program) + ':' + os.environ['PATH']      # a bundle has clinfo


def find_device(card):
    """What the state keeps of it."""
    status, text = output([card.blanch, 'devices', '--json', '--device', card.given.device], env=card.env)
    if status != 0:
        _, shown = output([card.blanch, 'devices'], env=card.env)
        raise Failed('no device %s: %s\n%s' % (card.given.device, last_line(text), shown))
    listed = json.loads(text[text.index('{'):])
    device = listed['devices'][0]
    about = {key: device[key] for key in ('name', 'platform', 'driver', 'version', 'global_memory', 'device')}
    return {'device': about, 'blanch': listed['blanch'], 'host': listed['host']}


def keep(card, found):
    """OUT is of one device."""
    before = card.state.get('device', found['device'])
    if any(before[key] != found['device'][key] for key in ('name', 'platform', 'driver')):
        raise Failed('%s is of %s (%s): take another folder' % (card.out, before['name'], before['driver']))
    card.state.update(found)
    card.state.pop('wanting', None)


def find_peer(card):
    """The interpreter whose PyTorch has the card, or why there is none."""
    given = card.given
    pythons = given.python.split(',') if given.python else [sys.executable, shutil.which('python3'), '/usr/bin/python3']
    why = []
    for python in dict.fromkeys(filter(None, pythons)):
        status, text = output([python, '-c', WHAT_PYTORCH], 120)
        if status != 0:
            why.append('%s: %s' % (python, last_line(text)))
            continue
        version, *devices = last_line(text).split()
        wanted = given.peer_device if given.peer_device != 'auto' else (devices[:-1] or [None])[0]
        if wanted in devices:
            card.state['peer'] = {'python': python, 'device': wanted, 'version': version}
            return
        why.append('%s: PyTorch %s has %s' % (python, version, ' and '.join(devices)))
    card.state['peer'] = {'none': '; '.join(why)}


def facts(card, part):
    """Programs that are not there say so."""
    limit = ['timeout', '10'] if shutil.which('timeout') else []
    for command in FACTS:
        card.run(part, [*limit, 'sh', '-c', command])
    if card.blanch:
        card.run(part, [card.blanch, 'devices'])
    return 'logs/facts.txt'


# --- is it right ---------------------------------------------------------------------------------

def doctor(card, part):
    """Each layer of steps of smallcnn beside plain C, and what Blanch relies on."""
    status, text = card.run(part, [card.blanch, 'doctor', '--json', '--device', card.given.device])
    if '{' not in text:
        raise Failed('status %d: %s' % (status, last_line(text)))
    document, _ = json.JSONDecoder().raw_decode(text[text.index('{'):])
    write_json(card.path('doctor.json'), document)
    checks = [check for device in document['devices'] for check in device['checks']]
    wrong = [c for c in checks if c['verdict'] not in ('available', 'missing')]
    card.state['doctor'] = ['%s: %s, %s' % (c['probe'], c['verdict'], c['detail']) for c in checks
                            if c in wrong or c['probe'].startswith(('network', 'limits'))]
    if wrong:
        raise Failed('%d of %d probes: %s' % (len(wrong), len(checks), ', '.join(c['probe'] for c in wrong)))
    return '%d probes are right' % len(checks)


def name_of(file):
    return os.path.splitext(os.path.basename(file))[0]


def check_some(card, part, files, verdicts, number):
    """Their verdicts. Where a driver ends the process, the case that it ended in has failed, and the next run goes on
    behind it."""
    while files and part.left() > 0:
        words = [card.blanch, 'check', *files, '--device', card.given.device]
        status, text = card.run(part, words, 'conformance-%d' % number)
        found = {name: [verdict, what]
                 for name, verdict, what in re.findall(r'^(\S+) +(passed|failed) +(.*)$', text, re.M)}
        verdicts.update(found)
        files = [file for file in files if name_of(file) not in found]
        if files:
            verdicts[name_of(files.pop(0))] = ['failed', 'status %d: %s' % (status, last_line(text))]


def conformance(card, part):
    """A few cases a process, several processes at once: most of the time goes to compiling on the host."""
    kept, done = card.path('conformance.json'), {}
    verdicts = read_json(kept, {})
    names = {name_of(file): file for file in sorted(glob.glob(os.path.join(card.given.cases, '*.safetensors')))}
    if not names:
        raise Failed('%s has no cases' % card.given.cases)
    left, work = [file for name, file in names.items() if name not in verdicts], queue.Queue()
    for k in range(0, len(left), CASES_AT_ONCE):
        work.put(left[k:k + CASES_AT_ONCE])

    def worker(number):
        while True:
            try:
                check_some(card, part, work.get_nowait(), done, number)
            except queue.Empty:
                return
    with concurrent.futures.ThreadPoolExecutor(card.given.jobs) as pool:
        running = [pool.submit(worker, number) for number in range(card.given.jobs)]
        errors = [future.exception() for future in running]
    verdicts.update(done)
    write_json(kept, verdicts)
    failed = sorted(name for name in names if verdicts.get(name, [''])[0] == 'failed')
    wanting = sorted(set(names) - set(verdicts))
    if wanting:
        raise Cut('%d of %d cases were not run: %s' % (len(wanting), len(names), some(wanting)))
    for error in filter(None, errors):
        raise error
    if failed:
        raise Failed('%d of %d cases: %s' % (len(failed), len(names), some(failed)))
    return '%d cases passed' % len(names)


# --- how fast is it ------------------------------------------------------------------------------

def tune(card, part, network):
    """Interrupted or not: what was measured is kept."""
    seconds = max(1, int(part.left() - GRACE))
    status, text = card.run(part, [card.blanch, 'tune', '--model', network, '--batch', str(card.batch(network)),
                                   '--seconds', str(seconds), '--candidate-seconds', '1', '--build-seconds', '20',
                                   '--device', card.given.device])
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    return last_line(text)


def bench(card, part, network, precision):
    """network: resnet18-nd."""
    for folder in 'benchmark', 'traces':
        os.makedirs(card.path(folder), exist_ok=True)
    result, peer = card.path('benchmark', '%s-%s.json' % (network, precision)), card.state['peer']
    words = [sys.executable, os.path.join(os.path.dirname(HERE), 'benchmark.py'), card.blanch, '--networks', network,
             '--batch', str(card.batch(network.rsplit('-', 1)[0])), '--steps', str(card.given.steps), '--rounds', '1',
             '--device', card.given.device, '--precision', precision, '--json', result, '--traces', card.path('traces'),
             '--modes', card.given.modes, '--python', peer.get('python', '')]
    words += ['--peer-device', peer['device']] if 'device' in peer else []
    words += ['--autocast', precision] if precision != 'fp32' else []
    status, text = card.run(part, words)
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    row = figures(card, network, precision)
    return '%.2f ms, %s' % (row['ms'], 'PyTorch %.2f ms' % row['peer_ms'] if row['peer_ms'] else 'no PyTorch beside it')


def figures(card, network, precision):
    """Of one network, as far as they were measured."""
    runs = read_json(card.path('benchmark', '%s-%s.json' % (network, precision)), {})
    runs = runs.get('networks', {}).get(network)
    if not runs or not runs['blanch']:
        return None
    peers = {name: statistics.median(run['step_ms'] for run in of) for name, of in runs['peers'].items()}
    best = min(peers, key=peers.get, default=None)
    finite = best is None or all(run.get('finite') is not False for run in runs['peers'][best])
    return {'ms': statistics.median(run['step_ms'] for run in runs['blanch']), 'batch': runs['blanch'][0]['batch'],
            'peer': best, 'peer_ms': peers.get(best), 'failed': runs['failed'], 'finite': finite}


def product(card, part):
    """By the device's own kernel and by CLBlast."""
    size = str(card.given.product)
    status, text = card.run(part, [card.blanch, 'bench', '--gemm', size, '--json', '--device', card.given.device])
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    document, _ = json.JSONDecoder().raw_decode(text[text.index('{'):])
    write_json(card.path('product.json'), document)
    return '%s: %s GFLOP/s' % (size, ', '.join('%s %.0f' % (way['name'], 2e-6 * card.given.product ** 3 / way['ms'])
                                               for way in document['ways']))


def suite(card, part):
    """The file that docs/results/ takes."""
    file = card.path(SUITE)
    words = [card.blanch, 'suite', '--quick', '--cases', card.given.cases, '--out', file, '--device', card.given.device]
    words += ['--resume'] * os.path.exists(file)
    words += ['--rows', card.given.rows] * bool(card.given.rows)
    status, text = card.run(part, words)
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    return '%d rows' % len(read_json(file)['rows'])


def parts_of(given):
    """In the order of their value."""
    def of(network):
        yield Part('tune-' + network, 'tune', tune, network)
        for precision in given.precisions.split(','):
            for norm in given.norms.split(','):
                name = '%s-%s' % (network, norm)
                yield Part('%s-%s' % (name, precision), 'bench', bench, name, precision)
    first, *others = given.networks.split(',')
    parts = [Part('facts', 'facts', facts), Part('doctor', 'doctor', doctor),
             Part('conformance', 'conformance', conformance), *of(first), Part('product', 'product', product),
             Part('suite', 'suite', suite), *(part for network in others for part in of(network))]
    names = [part.name for part in parts]
    wanted = given.parts.split(',') if given.parts else names
    if not set(wanted) <= set(names):
        raise Failed('--parts takes of %s' % ', '.join(names))
    return [part for part in parts if part.name in wanted]


# --- the summary ---------------------------------------------------------------------------------

def rows_of(card):
    """Lines of the table of times, and reasons why a peer is not beside one."""
    lines, why = [], []
    for precision in card.given.precisions.split(','):
        for network in card.given.networks.split(','):
            for norm in card.given.norms.split(','):
                name = '%s-%s' % (network, norm)
                row = figures(card, name, precision)
                if not row:
                    continue
                aim = AIMS.get((norm, precision != 'fp32'))
                speed = row['peer_ms'] / row['ms'] if row['peer_ms'] else None
                verdict = '' if not aim or not speed else 'reached' if speed >= aim else 'not reached'
                lines.append('| %s | %s | %d | %.2f | %s | %s | %s | %s | %s |' % (
                    name, precision, row['batch'], row['ms'], '%.2f' % row['peer_ms'] if speed else '-',
                    '%.2f' % speed if speed else '-', aim or '-', verdict, row['peer'] or '-'))
                why += ['%s, %s, %s: %s' % (name, precision, mode, reason) for mode, reason in row['failed'].items()]
                why += ['%s, %s: PyTorch\'s loss was not finite' % (name, precision)] * (not row['finite'])
    return lines, why


def summary(card):
    state, device = card.state, card.state.get('device', {})
    if 'wanting' in state:
        return '# Nothing is measured\n\n%s\n\nlogs/ may say why.\n' % state['wanting']
    peer, verdicts = state.get('peer', {}), read_json(card.path('conformance.json'), {})
    failed = ['- %s: %s' % (name, what) for name, (verdict, what) in sorted(verdicts.items()) if verdict == 'failed']
    rows, why = rows_of(card)
    lines = ['# ' + device.get('name', 'no device'), '']
    blanch, host = state.get('blanch', {}), state.get('host', {})
    lines += ['%s, driver %s, %s; Blanch %s, %s; %s, %s cores; %s.' % (
        device.get('platform'), device.get('driver'), device.get('version'), blanch.get('version'),
        blanch.get('commit') or 'no commit', host.get('cpu'), host.get('cores'),
        datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d, %H:%M UTC')), '']
    lines += ['PyTorch %s, %s, of `%s`.' % (peer['version'], peer['device'], peer['python']) if 'python' in peer else
              'No PyTorch on this device, the times are Blanch\'s alone: %s.' % peer.get('none', 'not looked for')]
    lines += ['', '## Is it right', '']
    lines += ['- ' + line for line in state.get('doctor', ['doctor told nothing: see its part'])]
    lines += ['- conformance: %d passed, %d failed' % (sum(v[0] == 'passed' for v in verdicts.values()), len(failed))]
    lines += failed + ['', '## Times of a step', '',
                       '| network | precision | batch | Blanch, ms | PyTorch, ms | times as fast | aim | | the peer |',
                       '| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | --- |', *rows, '']
    if 'python' in peer:
        lines += ['PyTorch\'s fastest of the modes %s; in fp32 with TF32 off, else with autocast.' % card.given.modes]
    lines += ['- ' + line for line in why]
    lines += [''] * (lines[-1] != '') + ['## Parts', '', '| part | | seconds | |', '| --- | --- | ---: | --- |']
    for part in parts_of(card.given):
        entry = state['parts'].get(part.name, {'state': 'not begun', 'seconds': '', 'what': 'no time was left for it'})
        lines.append('| %s | %s | %s | %s |' % (part.name, entry.get('state', 'begun'), entry.get('seconds', ''),
                                               entry.get('what', '').replace('|', '/')))
    if os.path.exists(card.path(SUITE)):
        words = [card.blanch, 'suite', '--show', '--format', 'markdown', '--out', card.path(SUITE)]
        shown = output(words, env=card.env)[1]
        lines += ['', '## Suite', '', shown.strip()]
    return '\n'.join(lines) + '\n'


# --- all of it -----------------------------------------------------------------------------------

def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', metavar='OUT', help='the folder for all of it; one that exists goes on')
    parser.add_argument('--minutes', type=float, default=14, help='until this ends (%(default)s)')
    parser.add_argument('--device', default='gpu', help='as `blanch devices` lists it (%(default)s)')
    parser.add_argument('--blanch', metavar='PROGRAM', help='(build/blanch, built where it is not there)')
    parser.add_argument('--python', help='with PyTorch: A,B (this one, python3, /usr/bin/python3)')
    parser.add_argument('--peer-device', default='auto', choices=('auto', 'cpu', 'cuda', 'xpu'),
                        help="PyTorch's (auto: cuda, which is ROCm's too, or xpu)")
    parser.add_argument('--modes', default='plain,channels_last', help="PyTorch's; there is compile too (%(default)s)")
    parser.add_argument('--networks', default='resnet18,resnet50,densenet121', help='(%(default)s)')
    parser.add_argument('--norms', default='bn,nd', help='(%(default)s)')
    parser.add_argument('--precisions', default='fp32,fp16', help='(%(default)s)')
    parser.add_argument('--batch', type=int, help='(128 of resnet18, else 64)')
    parser.add_argument('--steps', type=int, default=20, help='timed of each network (%(default)s)')
    parser.add_argument('--product', type=int, default=4096, metavar='SIZE', help='rows, columns, depth (%(default)s)')
    parser.add_argument('--cases', default=os.path.join(ROOT, 'tests', 'reference', 'conformance'),
                        help='a folder of conformance files (those of the tree)')
    parser.add_argument('--rows', help="of the suite: 'smallcnn-*' (all)")
    parser.add_argument('--jobs', type=int, default=min(8, os.cpu_count() or 1),
                        help='processes of conformance (%(default)s)')
    parser.add_argument('--parts', help='these alone, as the summary names them: A,B')
    given = parser.parse_args(words)
    if given.minutes <= 0 or given.steps < 1 or given.jobs < 1 or (given.batch is not None and given.batch < 1):
        parser.error('--minutes, --steps, --jobs and --batch are above 0')
    return given


def order(card, parts):
    """Not tried yet, then those that were cut off, then what failed."""
    rank = {'cut off': 1, 'failed': 2}
    state = lambda part: card.state['parts'].get(part.name, {}).get('state')
    return sorted((part for part in parts if state(part) != 'done'), key=lambda part: rank.get(state(part), 0))


def measure(given):
    parts = parts_of(given)
    card = Card(given)
    find_drivers(card)
    try:
        find_blanch(card)
        found = find_device(card)
    except Failed as failed:
        card.state['wanting'] = str(failed)
        card.do(Part('facts', 'facts', facts), SHARES['facts'])      # they may say why
        raise
    keep(card, found)
    find_peer(card)
    say('%s; PyTorch: %s' % (card.state['device']['name'], card.state['peer'].get('version', 'none')))
    for part in order(card, parts):
        if card.end - time.time() < LEAST:
            break
        cuts = card.state['parts'].get(part.name, {})
        card.do(part, part.seconds * (2 ** cuts['calls'] if cuts.get('state') == 'cut off' else 1))
    card.save()
    states = {part.name: card.state['parts'].get(part.name, {}).get('state', 'not begun') for part in parts}
    wanting = ['%s (%s)' % (name, state) for name, state in states.items() if state != 'done']
    say('%s; %s' % (card.path('summary.md'), 'wanting: %s; the same call goes on' % ', '.join(wanting) if wanting else
                    'all is there'))
    return 1 if wanting else 0


def main():
    try:
        return measure(options())
    except Failed as failed:
        say(str(failed))
        return 2


if __name__ == '__main__':
    sys.exit(main())
