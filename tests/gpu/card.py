#!/usr/bin/env python3
"""All that is to be known of a card, measured in a stated time: one folder to bring home.

    tests/gpu/card.py OUT [--minutes 14] [--device gpu] [--blanch PROGRAM] [--python PYTHON] [...]

Builds Blanch where there is no build (`./quickstart build`); then, first what proves correctness: what the machine is,
`doctor`, the conformance files; of each network `tune` and `bench` beside PyTorch on the same card, in float32 and in
16 bits; a product, `suite --quick`. Each part has a share of the time and is cut off at its end; what was finished is
kept. A second call with the same OUT goes on: with what was not tried yet, then with what was cut off (in twice the
time) or failed. OUT/summary.md has the figures beside the aims, OUT.tar.gz all but compiled programs. Exit status: 0
all is there and right, 1 something is not (the summary names it), 2 there is nothing to measure, 130 interrupted.

Where nothing can be installed, bundle.py's program serves (--blanch). docs/howto-nvidia.md has more."""
import argparse
import concurrent.futures
import glob
import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time

import figures
from beside import find_peer, last_line, needs_peer, output, peer_of
from figures import Failed, read_json, write_json

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
SUITE = 'card-v1-quick.json'
LEAST = 15        # seconds, with less of which no part begins
RESERVE = 10      # seconds, of the end: the summary and the archive
GRACE = 10        # seconds that a part has to end in, once it is asked to
CASES_AT_ONCE = 4
# Seconds of 14 minutes. Together they are more: most parts end sooner, and the last have the least value.
SHARES = {'build': 300, 'facts': 40, 'doctor': 60, 'conformance': 180, 'tune': 90, 'bench': 60, 'product': 30,
          'suite': 240}
BATCHES = {'resnet18': 128, 'smallcnn': 128}     # others: 64
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


# --- a part --------------------------------------------------------------------------------------

class Part:
    """name; share: whose of SHARES it has; run(card, part, *args): what came of it in a line, raising Failed or Cut."""

    def __init__(self, name, share, run=None, *args):
        self.name, self.seconds, self.run, self.args = name, SHARES[share], run, args
        self.begin = self.end = None

    def start(self, seconds, end):
        self.begin = time.time()
        self.end = min(self.begin + seconds, end)
        self.seconds = self.end - self.begin

    def left(self):
        return self.end - time.time()


class Cut(Exception):
    """The part's time is over."""


class Card:
    def __init__(self, given):
        self.given, self.out = given, os.path.abspath(given.out)
        self.start, self.end = time.time(), time.time() + 60 * given.minutes - RESERVE
        os.makedirs(self.path('logs'), exist_ok=True)
        open(self.out + '.tar.gz.part', 'w').close()        # that it can be, before minutes are spent
        os.remove(self.out + '.tar.gz.part')
        self.state = figures.read_state(self.path('state.json'))
        self.env = dict(os.environ, XDG_CACHE_HOME=self.path('cache'))
        self.blanch, self.peer = None, {}

    def path(self, *names):
        return os.path.join(self.out, *names)

    def batch(self, network):
        return self.given.batch or BATCHES.get(network, 64)

    def save(self):
        write_json(self.path('state.json'), self.state)
        with open(self.path('summary.md'), 'w') as f:
            f.write(figures.summary(self, [part.name for part in parts_of(self.given)], shown_suite(self)))
        archive = self.out + '.tar.gz'
        with tarfile.open(archive + '.part', 'w:gz') as tar:
            tar.add(self.out, os.path.basename(self.out), filter=kept)
        os.replace(archive + '.part', archive)

    def run(self, part, words, log=None):
        """Exit status of a command of the part, whose output goes to a log, and what it printed this time. At the
        part's end it is interrupted, then killed with all that it started, and Cut raised. For several threads."""
        with open(self.path('logs', (log or part.name) + '.txt'), 'a+', errors='replace') as out:
            out.write('$ %s\n' % ' '.join(words))
            out.flush()
            begin = out.seek(0, os.SEEK_END)
            child = subprocess.Popen(words, stdout=out, stderr=out, env=self.env, start_new_session=True)
            try:
                status = wait(child, part)
            except BaseException:
                end_group(child)
                raise
            out.seek(begin)
            printed = out.read()
        if status is None:
            raise Cut('%d s were not enough' % round(part.seconds))
        return status, printed

    def do(self, part, seconds):
        entry = self.state['parts'].setdefault(part.name, {'calls': 0})
        part.start(seconds, self.end)
        say('%s, at most %d s' % (part.name, part.left()))
        try:
            entry.update(what=part.run(self, part, *part.args), state='done')
        except KeyboardInterrupt:
            entry.update(what='interrupted', state='cut off')
            entry['calls'] -= 1                             # it did not have its time
            raise
        except Cut as cut:
            entry.update(what=str(cut), state='cut off')
        except (Failed, OSError, KeyError, ValueError) as error:
            entry.update(what=str(error) or type(error).__name__, state='failed')
        finally:
            entry['calls'] += 1
            entry['seconds'] = round(time.time() - part.begin, 1)
            say('%s: %s, %s' % (part.name, entry.get('state'), entry.get('what')))
        self.save()


def kept(member):
    """In the archive: not what compilers made."""
    return None if re.search(r'/cache/(?!blanch(/(tune|limits).*)?$)', member.name) else member


def say(text):
    print('card: ' + text, file=sys.stderr, flush=True)


def wait(child, part):
    """Its exit status; None: the part's time is over, which an interruption ends in all threads."""
    while part.left() > 0:
        try:
            return child.wait(min(0.5, part.left()))
        except subprocess.TimeoutExpired:
            pass
    end_group(child)
    return None


def stop(*_):
    """For every signal that ends, once: what was measured is kept, and nothing is left on the card."""
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


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
    about = {key: device[key] for key in ('name', 'kind', 'platform', 'driver', 'version', 'global_memory', 'device')}
    return {'device': about, 'blanch': listed['blanch'], 'host': listed['host']}


def keep(card, found):
    """OUT is of one device, one build and one set of what changes a figure."""
    before, given = card.state.get('device', found['device']), card.given
    if any(before.get(key) != found['device'][key] for key in ('name', 'platform', 'driver')):
        raise Failed('%s is of %s (%s): take another folder' % (card.out, before.get('name'), before.get('driver')))
    builds = [blanch.get('commit') or blanch.get('version') for blanch in (card.state.get('blanch', found['blanch']),
                                                                          found['blanch'])]
    if builds[0] != builds[1]:
        raise Failed('%s is of Blanch %s, this is %s: take another folder' % (card.out, *builds))
    settings = {key: getattr(given, key) for key in ('batch', 'steps', 'modes', 'product', 'rows')}
    for key, value in card.state.get('settings', settings).items():
        if settings.get(key) != value:
            raise Failed('%s was measured with%s: take another folder' % (
                card.out, ' --%s %s' % (key, value) if value else 'out --' + key))
    card.state.update(found, settings=settings)
    card.state.pop('wanting', None)


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


def check_some(card, part, files, keep_some, number):
    """Their verdicts. Where a driver ends the process, the case that it ended in has failed, and the next run goes on
    behind it."""
    while files and part.left() > 0:
        words = [card.blanch, 'check', *files, '--device', card.given.device]
        status, text = card.run(part, words, 'conformance-%d' % number)
        found = {name: [verdict, what]
                 for name, verdict, what in re.findall(r'^(\S+) +(passed|failed) +(.*)$', text, re.M)}
        files = [file for file in files if name_of(file) not in found]
        if files:
            found[name_of(files.pop(0))] = ['failed', 'status %d: %s' % (status, last_line(text))]
        keep_some(found)


def check_all(card, part, work, verdicts):
    """By several threads, each with its own process; what came of them. An interruption reaches this one alone."""
    lock = threading.Lock()

    def keep_some(found):
        with lock:
            verdicts.update(found)
            write_json(card.path('conformance.json'), verdicts)

    def worker(number):
        while part.left() > 0:
            try:
                check_some(card, part, work.get_nowait(), keep_some, number)
            except queue.Empty:
                return
    with concurrent.futures.ThreadPoolExecutor(card.given.jobs) as pool:
        try:
            running = [pool.submit(worker, number) for number in range(card.given.jobs)]
            return [future.exception() for future in running]
        except KeyboardInterrupt:
            part.end = 0
            raise


def conformance(card, part):
    """A few cases a process, several processes at once: most of the time goes to compiling on the host. What has
    failed is tried again, after all others."""
    verdicts = figures.verdicts_of(card)
    names = {name_of(file): file for file in sorted(glob.glob(os.path.join(card.given.cases, '*.safetensors')))}
    if not verdicts and os.path.exists(card.path('conformance.json')):
        say('%s tells nothing, all cases are run' % card.path('conformance.json'))
    if not names:
        raise Failed('%s has no cases' % card.given.cases)
    left = [name for name in names if verdicts.get(name, [''])[0] != 'passed']
    left, work = [names[name] for name in sorted(left, key=verdicts.__contains__)], queue.Queue()
    for k in range(0, len(left), CASES_AT_ONCE):
        work.put(left[k:k + CASES_AT_ONCE])
    errors = check_all(card, part, work, verdicts)
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
    result, peer = card.path('benchmark', '%s-%s.json' % (network, precision)), peer_of(card, network)
    words = [sys.executable, os.path.join(os.path.dirname(HERE), 'benchmark.py'), card.blanch, '--networks', network,
             '--batch', str(card.batch(network.rsplit('-', 1)[0])), '--steps', str(card.given.steps), '--rounds', '1',
             '--device', card.given.device, '--precision', precision, '--json', result, '--traces', card.path('traces'),
             '--modes', card.given.modes, '--python', peer.get('python', '')]
    words += ['--peer-device', peer['device']] if 'device' in peer else []
    words += ['--autocast', precision] if precision != 'fp32' else []
    status, text = card.run(part, words)
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    row = figures.figures(card, network, precision)
    if not row:
        raise Failed('%s tells no times' % result)
    card.state['parts'][part.name]['peer'] = peer
    if not row['peer_ms'] and needs_peer(card, network):
        raise Failed('%.2f ms, but PyTorch has no time: %s' % (row['ms'], '; '.join(
            ['%s: %s' % of for of in row['failed'].items()] or [peer.get('none', 'it told nothing')])))
    return '%.2f ms, %s' % (row['ms'], 'PyTorch %.2f ms' % row['peer_ms'] if row['peer_ms'] else 'no PyTorch beside it')


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
    if status == 130:
        raise Cut(last_line(text))
    if status != 0:
        raise Failed('status %d: %s' % (status, last_line(text)))
    return '%d rows' % len(read_json(file)['rows'])


def shown_suite(card):
    """Its table."""
    if not os.path.exists(card.path(SUITE)) or not card.blanch:
        return ''
    words = [card.blanch, 'suite', '--show', '--format', 'markdown', '--out', card.path(SUITE)]
    return output(words, env=card.env)[1].strip()


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


# --- all of it -----------------------------------------------------------------------------------

def options(words=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', metavar='OUT', help='the folder for all of it; one that exists goes on')
    parser.add_argument('--minutes', type=float, default=14, help='until this ends (%(default)s)')
    parser.add_argument('--device', default='gpu', help='as `blanch devices` lists it (%(default)s)')
    parser.add_argument('--blanch', metavar='PROGRAM', help='(build/blanch, built where it is not there)')
    parser.add_argument('--python', help='with PyTorch: A,B, or none (this one, python3, /usr/bin/python3)')
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


def take_back(card, parts):
    """Done, but without what this call asks for."""
    for part in parts:
        entry, why = card.state['parts'].get(part.name, {}), None
        if part.run is conformance and not figures.verdicts_of(card):
            why = '%s tells nothing' % card.path('conformance.json')
        if part.run is bench and not figures.figures(card, *part.args):
            why = 'its file in %s tells nothing' % card.path('benchmark')
        elif part.run is bench and needs_peer(card, part.args[0]) and 'python' not in entry.get('peer', {}):
            why = 'PyTorch was not beside it'
        if why and entry.get('state') == 'done':
            entry.update(state='failed', what=why)
            say('%s: %s' % (part.name, why))


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
    say('%s; PyTorch: %s' % (card.state['device']['name'], card.peer.get('version', 'none')))
    take_back(card, parts)
    try:
        for part in order(card, parts):
            if card.end - time.time() < LEAST:
                break
            cuts = card.state['parts'].get(part.name, {})
            card.do(part, part.seconds * (2 ** cuts['calls'] if cuts.get('state') == 'cut off' else 1))
    finally:
        card.save()
    states = {part.name: card.state['parts'].get(part.name, {}).get('state', 'not begun') for part in parts}
    wanting = ['%s (%s)' % (name, state) for name, state in states.items() if state != 'done']
    say('%s; %s' % (card.path('summary.md'), 'wanting: %s; the same call goes on' % ', '.join(wanting) if wanting else
                    'all is there'))
    return 1 if wanting else 0


def main():
    for number in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        if signal.getsignal(number) != signal.SIG_IGN:      # as nohup has it
            signal.signal(number, stop)
    try:
        return measure(options())
    except (Failed, OSError) as error:
        say(str(error))
    except KeyboardInterrupt:
        say('interrupted; the same call goes on')
        return 130
    return 2


if __name__ == '__main__':
    sys.exit(main())
