#!/usr/bin/env python3
"""Training on several ranks: tests/ranks.py BLANCH MPIEXEC [TEST...]. Against one rank, failures, what is refused. The
ranks share the processor's cores: two, three and four run anywhere, as root too. Prints TAP; makes its own small data.

    tests/ranks.py BLANCH MPIEXEC --matrix [NETWORK-NORM...]   those of docs/scaling.md against one rank (long)
    tests/ranks.py BLANCH MPIEXEC --kills N    a rank killed at a random step N times, and resumed (long)
"""
import glob
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import caches
import pictures
import tap
from tap import check

BLANCH, MPIEXEC = os.path.abspath(sys.argv[1]), sys.argv[2]
HOME = tempfile.mkdtemp(prefix='blanch-ranks-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
ENV.update(OMPI_ALLOW_RUN_AS_ROOT='1', OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1', BLANCH_TUNE='0', TMPDIR='/tmp')
SMALL = ('--model', 'smallcnn', '--quiet')


def path(*parts):
    return os.path.join(HOME, *parts)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return path(name)


def data():
    return pictures.mnist(path('mnist'), 70, 30, 28)


def is_open_mpi():
    said = subprocess.run([MPIEXEC, '--version'], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          universal_newlines=True).stdout
    return 'Open MPI' in said or 'OpenRTE' in said


def command(ranks, *args):
    """One rank is a plain run. Several share the first device, unless args say otherwise."""
    words = [BLANCH, 'train', *map(str, args)]
    if ranks == 1:
        return words
    if '--device-per-rank' not in args:
        words += ['--device-per-rank', '0:0']
    more = ['--oversubscribe', '--bind-to', 'none'] if is_open_mpi() else ['-disable-auto-cleanup']
    return [MPIEXEC, *more, '-n', str(ranks), *words]


def start(words):
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, env=ENV,
                            universal_newlines=True)


def end(process):
    try:
        out, err = process.communicate(timeout=300)
    except subprocess.TimeoutExpired:
        process.kill()
        raise AssertionError('the ranks hang')
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def train(ranks, *args, status=0):
    done = end(start(command(ranks, *args)))
    check(done.returncode == status, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-600:]))
    return done


def one_rank(args, out, **env):
    done = subprocess.run(command(1, *args, '--out', fresh(out)), env=dict(ENV, **env), stderr=subprocess.PIPE,
                          text=True)
    check(done.returncode == 0, done.stderr)


def own_lines(text):
    return [line for line in text.splitlines() if line.startswith('blanch: ')]


# --- what came out -----------------------------------------------------------------------------------

def weights(run, name='last.safetensors'):
    with open(path(run, name), 'rb') as f:
        size = struct.unpack('<Q', f.read(8))[0]
        head, body = json.loads(f.read(size)), f.read()
    found = {}
    for key, of in head.items():
        if key != '__metadata__' and of['dtype'] == 'F32':
            begin, stop = of['data_offsets']
            found[key] = struct.unpack('<%df' % ((stop - begin) // 4), body[begin:stop])
    return found


def lines(run, kind='step'):
    with open(path(run, 'log.jsonl')) as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def differences(one, other):
    """The largest difference of a parameter, of its largest value, and of a step's loss."""
    a, b = weights(one), weights(other)
    check(a.keys() == b.keys(), 'other parameters')
    worst = max(max(abs(x - y) for x, y in zip(a[k], b[k])) / max(1e-3, max(map(abs, a[k]))) for k in a)
    losses = [[line['loss'] for line in lines(run)] for run in (one, other)]
    check(len(losses[0]) == len(losses[1]), 'other steps: %d and %d' % (len(losses[0]), len(losses[1])))
    return worst, max(abs(x - y) for x, y in zip(*losses))


def compare(ranks, *args, most=1e-3):
    train(1, *args, '--out', fresh('one'))
    train(ranks, *args, '--sync-stats', '--out', fresh('many'))
    worst, loss = differences('one', 'many')
    check(worst <= most and loss <= most, '%d ranks, %s: weights differ by %.1e, losses by %.1e'
          % (ranks, args, worst, loss))
    held = [[line['test_loss'] for line in lines(run, 'epoch')] for run in ('one', 'many')]
    check(all(abs(x - y) <= 10 * most for x, y in zip(*held)), 'evaluations: %s' % held)
    return worst


SMOOTH = {'relu': 'silu', 'relu6': 'silu', 'maxpool2d': 'avgpool2d'}


def smoothed(model, size):
    """The network with activations and pooling that have no kinks. A value within rounding of a kink takes one side of
    it here and the other there, and a gradient over few values is another then."""
    done = end(start([BLANCH, 'models', model, '--json', '--size', size]))
    check(done.returncode == 0, done.stderr)
    network = json.loads(done.stdout)
    for node in network['graph']:
        node['op'] = SMOOTH.get(node['op'], node['op'])
    with open(path(model + '.json'), 'w') as f:
        json.dump(network, f)
    return path(model + '.json')


# --- the same training -------------------------------------------------------------------------------

def test_ranks_equal_one():
    """Odd batches, a last one of 4 images, which three ranks still share."""
    small = ('--model', smoothed('smallcnn', '28'), '--quiet', '--data', data())
    for more in ((2, '--norm', 'bn', '--batch', 33, '--epochs', 2), (3, '--norm', 'nd', '--batch', 22, '--epochs', 1),
                 (2, '--norm', 'nd', '--batch', 24, '--epochs', 1, '--shares', '3,1')):
        tap.say('# %s: differs by %.1e' % (more[1:], compare(more[0], *small, *more[1:], most=5e-5)))


def test_a_batch_too_small_to_share():
    """The last batch, of 2 images, is every rank's."""
    compare(4, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 34, '--epochs', 1)


def test_with_accumulation_and_a_recipe():
    compare(2, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 17, '--epochs', 2, '--accumulate', 2, '--recompute',
            2, '--mixup', 0.4, '--cutmix', 1, '--clip-grad-norm', 0.5, '--ema', 0.9, '--optimiser', 'adamw',
            '--class-weights', 'balanced', '--label-smoothing', 0.1, most=5e-3)


def test_same_ranks_same_bits():
    for out in 'a', 'b':
        train(3, *SMALL, '--norm', 'nd', '--data', data(), '--batch', 24, '--steps', 3, '--out', fresh(out), '--shares',
              '5,2,1')
    check(weights('a') == weights('b'), 'other bits')
    config = json.load(open(path('a', 'config.json')))
    check([row['share'] for row in config['ranks']] == [5, 2, 1], config['ranks'])
    check(all(row['host'] and '0:0' in row['device'] for row in config['ranks']) and config['mpi'], config['ranks'])
    ledger = json.load(open(path('a', 'ledger.json')))
    check(any('communicate' in layer['phases'] for layer in ledger['layers']), 'no phase communicate')
    check(ledger['communicate_hidden_ms'] >= 0 and len(ledger['ranks']) == 3, 'ranks are not in ledger.json')
    check(ledger['covered'] > 0.9, 'phases cover %g' % ledger['covered'])


def test_local_statistics():
    """Without --sync-stats the first step's loss is no other, but for rounding, where there is no batch norm."""
    for ranks in 1, 2:
        train(ranks, *SMALL, '--norm', 'none', '--data', data(), '--batch', 32, '--steps', 3, '--out',
              fresh('local%d' % ranks))
    worst, loss = differences('local1', 'local2')
    check(worst < 1e-5 and loss < 1e-5, 'differ by %g, %g' % (worst, loss))
    train(2, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 2, '--out', fresh('local'))


# --- several devices of one machine ----------------------------------------------------------------------

def test_devices_without_mpirun():
    done = train(1, '--model', 'smallcnn', '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 3, '--devices',
                 '0:0,0:0', '--sync-stats', '--block', 16, '--out', fresh('box'))
    check(done.stderr.count('warning: ') == 1 and '--block has no effect' in done.stderr, done.stderr)
    check('rank 1: ' in done.stderr and 'done: 3 steps' in done.stderr, done.stderr)
    train(2, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 1, '--device-per-rank',
          '0:0/1:0,0:0/1:0', '--out', fresh('parts'))
    train(1, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 3, '--out', fresh('alone'))
    worst, loss = differences('alone', 'box')
    check(worst < 1e-3 and loss < 1e-3, 'differ by %g, %g' % (worst, loss))


def test_one_device_of_a_list():
    one_rank((*SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 1, '--devices', '0:0'), 'single',
             BLANCH_MPIEXEC='false')


def test_interrupted():
    """Ctrl-C reaches the starter; the ranks end in order."""
    process = start(command(1, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 100000, '--devices',
                            '0:0,0:0', '--out', fresh('long')))
    wait_for_steps(process, 'long', 5)
    process.send_signal(signal.SIGINT)
    done = end(process)
    check(done.returncode == 130, 'exit status %d: %s' % (done.returncode, done.stderr))
    check(len(own_lines(done.stderr)) == 1 and 'interrupted at step' in done.stderr, done.stderr)
    check(os.path.exists(path('long', 'last.safetensors')), 'no checkpoint')


# --- failures ----------------------------------------------------------------------------------------

def wait_for_steps(process, run, count):
    for _ in range(3000):
        check(process.poll() is None, 'ended early')
        if os.path.exists(path(run, 'log.jsonl')) and len(lines_so_far(run)) >= count:
            return
        time.sleep(0.05)
    raise AssertionError('%s makes no steps' % run)


def lines_so_far(run):
    with open(path(run, 'log.jsonl')) as f:
        return [line for line in f if '"step",' in line]


def process_of(rank, out):
    """The process of a rank that writes to out, by what its environment says."""
    for folder in glob.glob('/proc/[0-9]*'):
        try:
            words = open(folder + '/cmdline', 'rb').read().split(b'\0')
            around = open(folder + '/environ', 'rb').read().split(b'\0')
        except OSError:
            continue
        names = (b'OMPI_COMM_WORLD_RANK=%d' % rank, b'PMI_RANK=%d' % rank)
        if words[0].endswith(b'blanch') and out.encode() in words and any(name in around for name in names):
            return int(os.path.basename(folder))
    raise AssertionError('rank %d is not there' % rank)


def killed(run, rank, steps, *args, devices=False):
    """Of a run whose rank was killed after so many steps: what is said, and the status."""
    if devices:
        process = start(command(1, *args, '--devices', '0:0,0:0,0:0', '--out', fresh(run)))
    else:
        process = start(command(3, *args, '--out', fresh(run)))
    wait_for_steps(process, run, steps)
    os.kill(process_of(rank, path(run)), signal.SIGKILL)
    return end(process)


def test_a_killed_rank():
    """One line; then a resumed run, of other ranks, ends as one that nothing happened to."""
    if not os.path.exists('/proc/self/environ'):
        raise tap.Skip('processes are found by /proc')
    args = (*SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 8, '--lr', 0.01, '--sync-stats')
    done = killed('killed', 1, 6, *args, devices=True)
    check(done.returncode == 3, 'exit status %d: %s' % (done.returncode, done.stderr))
    said = own_lines(done.stderr)
    check(len(said) == 1 and 'rank 1 ' in said[0] and ('is gone' in said[0] or 'signal 9' in said[0]), done.stderr)
    check(len(done.stderr.splitlines()) == 1, done.stderr)
    train(2, '--resume', '--quiet', '--out', path('killed'))
    train(1, *args, '--out', fresh('whole'))
    worst, loss = differences('whole', 'killed')      # a parameter near 0 drifts by part of its size
    check(worst < 0.1 and loss < 1e-3, 'differ by %g, %g' % (worst, loss))


def test_a_rank_that_fails():
    for way in (('--devices', '0:0,0:99'), ('--device-per-rank', '0:0,0:99')):
        done = end(start(command(1 if way[0] == '--devices' else 2, *SMALL, '--norm', 'bn', '--data', data(), '--steps',
                                 2, *way, '--out', fresh('bad'))))
        said = own_lines(done.stderr)
        check(done.returncode == 2, 'exit status %d: %s' % (done.returncode, done.stderr))
        check(len(said) == 1 and 'rank 1 (' in said[0] and "'0:99'" in said[0], done.stderr)
        check(not os.path.exists(path('bad')), 'a folder is left')


def test_a_rank_that_fails_in_a_step():
    """At a launch of the backward pass, while sums of gradients and exchanges of layers are under way."""
    shim = os.path.join(os.path.dirname(BLANCH), 'tests', 'faults', 'shim.so')
    if not os.path.exists(shim):
        raise tap.Skip('built without tests/faults')
    args = ('--model', 'vgg11', '--norm', 'bn', '--sync-stats', '--data', 'synthetic:3x32x32:96', '--batch', 8,
            '--steps', 2, '--quiet')
    began = time.monotonic()
    check(not end(start(command(2, *args, '--out', fresh('whole')))).returncode, 'without a fault it fails too')
    usual = time.monotonic() - began
    for call in (200, 290):
        words = command(2, *args, '--out', fresh('broken'))
        at = words.index('-n') + 2
        one = words[at:]
        words = words[:at - 2] + ['-n', '1', *one, ':', '-n', '1', 'env', 'LD_PRELOAD=' + shim,
                                  'FAULT=clEnqueueNDRangeKernel:%d:-5' % call, *one]
        began = time.monotonic()
        done = end(start(words))
        said = own_lines(done.stderr)
        check(done.returncode == 3, 'exit status %d: %s' % (done.returncode, done.stderr))
        check(len(said) == 1 and 'rank 1 (' in said[0] and 'CL_OUT_OF_RESOURCES' in said[0], done.stderr)
        check(time.monotonic() - began < usual + 60, 'the other rank was not told')     # it gave up after 70 s more


def test_a_program_whose_step_fails():
    tests = os.path.join(os.path.dirname(BLANCH), 'tests')
    program, shim = os.path.join(tests, 'ranks_program'), os.path.join(tests, 'faults', 'shim.so')
    if not os.path.exists(shim):
        raise tap.Skip('built without tests/faults')
    words = command(2)
    words = words[:words.index('-n')] + ['-n', '1', program, ':', '-n', '1', 'env', 'LD_PRELOAD=' + shim,
                                         'FAULT=clEnqueueNDRangeKernel:300:-5', program]
    began = time.monotonic()
    said = end(start(words)).stderr
    for line in ('rank 0: -5: ', ') failed', 'rank 1: -5: ', 'CL_OUT_OF_RESOURCES', 'sum of codes: -10'):
        check(line in said, '%s is not in: %s' % (line, said))
    check(time.monotonic() - began < 90, 'a rank waited until it gave up')


def test_a_rank_that_hangs():
    if not os.path.exists('/proc/self/environ'):
        raise tap.Skip('processes are found by /proc')
    process = start(command(2, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 100000,
                            '--rank-timeout', 3, '--out', fresh('hung')))
    wait_for_steps(process, 'hung', 3)
    os.kill(process_of(1, path('hung')), signal.SIGSTOP)
    done = end(process)
    said = own_lines(done.stderr)
    check(done.returncode in (3, 9, 137), 'exit status %d: %s' % (done.returncode, done.stderr))
    check(len(said) == 1 and 'rank 1 (' in said[0] and 'it hangs' in said[0], done.stderr)
    check(os.path.exists(path('hung', 'last.safetensors')), 'no checkpoint')


def test_a_rank_that_hangs_at_the_end():
    """When everything is written; one that is only slow is waited for as long as in a step."""
    if not os.path.exists('/proc/self/environ'):
        raise tap.Skip('processes are found by /proc')
    for _ in range(5):
        process = start(command(2, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 20,
                                '--rank-timeout', 3, '--out', fresh('late')))
        wait_for_steps(process, 'late', 1)
        number = process_of(1, path('late'))
        while not os.path.exists(path('late', 'ledger.json')):
            time.sleep(0.0005)
        try:
            os.kill(number, signal.SIGSTOP)
        except ProcessLookupError:      # too late: it had ended
            pass
        done = end(process)
        if done.returncode:
            break
    said = own_lines(done.stderr)
    check(len(said) == 1 and 'rank 1 (' in said[0] and 'no answer for 3 s' in said[0], done.stderr)


def test_rank_0_hangs_too():
    """The one that lives names both, and ends them."""
    if not os.path.exists('/proc/self/environ'):
        raise tap.Skip('processes are found by /proc')
    process = start(command(3, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 100000,
                            '--rank-timeout', 3, '--out', fresh('hung')))
    wait_for_steps(process, 'hung', 3)
    for rank in 0, 2:
        os.kill(process_of(rank, path('hung')), signal.SIGSTOP)
    done = end(process)
    said = own_lines(done.stderr)
    check(done.returncode in (3, 9, 137), 'exit status %d: %s' % (done.returncode, done.stderr))
    check(len(said) == 1 and 'rank 0 (' in said[0] and 'rank 2 (' in said[0] and 'it hangs' in said[0], done.stderr)


def test_a_rank_killed_at_its_start():
    """One line, whatever the ranks have come to."""
    if not os.path.exists('/proc/self/environ'):
        raise tap.Skip('processes are found by /proc')
    for delay in 0.1, 0.6:
        process = start(command(1, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 100000,
                                '--devices', '0:0,0:0', '--out', fresh('young')))
        for _ in range(3000):
            try:
                number = process_of(1, path('young'))
                break
            except AssertionError:
                time.sleep(0.01)
        time.sleep(delay)
        os.kill(number, signal.SIGKILL)
        done = end(process)
        said = done.stderr.splitlines()
        check(done.returncode == 3, 'exit status %d: %s' % (done.returncode, done.stderr))
        check(len(said) == 1 and ('is gone' in said[0] or 'signal 9' in said[0] or 'MPI has failed' in said[0]),
              done.stderr)


def test_diverged():
    done = end(start(command(2, *SMALL, '--norm', 'none', '--data', data(), '--batch', 32, '--epochs', 20, '--lr', 1e5,
                             '--out', fresh('diverged'))))
    said = own_lines(done.stderr)
    check(done.returncode == 1 and len(said) == 1 and 'not finite at step' in said[0], done.stderr)


def test_refused():
    few = (*SMALL, '--norm', 'bn', '--data', data(), '--out', path('never'))
    for words, args in (('--batch 2', ('--batch', 2)),
                        ("--shares takes", ('--shares', '1,2')),
                        ('names 2 devices', ('--device-per-rank', '0:0,0:0')),
                        ('--block auto', ('--block', 'auto', '--overhead-budget', '20%')),
                        ('has no statistics of several ranks', ('--channel-deconv', 8, '--sync-stats'))):
        done = end(start(command(3, *few, *args)))
        said = own_lines(done.stderr)
        check(done.returncode == 2 and len(said) == 1 and words in said[0], '%s: %s' % (args, done.stderr))
    whole = command(2, *few)
    at = whole.index('-n')
    other = whole[at + 2:]
    for more in ('--lr', '0.5'), ('--sync-stats',), ('--diagnose',):
        done = end(start([*whole[:at], '-n', '1', *other, ':', '-n', '1', *other, *more]))
        said = own_lines(done.stderr)
        check(done.returncode == 2 and len(said) == 1 and 'different options' in said[0],
              '%s: %s' % (more, done.stderr))
    for devices in '0:0,', ',0:0', '0:0,,0:0':
        done = end(start([BLANCH, 'train', *map(str, few), '--devices', devices]))
        said = own_lines(done.stderr)
        check(done.returncode == 2 and len(said) == 1 and 'an entry is empty' in said[0],
              '%s: %s' % (devices, done.stderr))
    done = end(start([BLANCH, 'train', *map(str, few), '--devices', '0:0,0:0', '--device-per-rank', '0:0']))
    check(done.returncode == 2 and 'not both' in done.stderr, done.stderr)
    other = ('PMI_SIZE', 'PMI_RANK') if is_open_mpi() else ('OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_RANK')
    for rank in 0, 1:       # another MPI's mpirun
        done = subprocess.run(command(1, *few), env=dict(ENV, **{other[0]: '2', other[1]: str(rank)}),
                              stderr=subprocess.PIPE, text=True)
        said = own_lines(done.stderr)
        check(done.returncode == 2 and len(said) == 1 - rank, '%d: %s' % (done.returncode, done.stderr))
        check(rank or 'its own mpirun' in said[0], done.stderr)
    done = end(start([*whole, '--devices', '0:0,0:0']))
    said = own_lines(done.stderr)
    check(done.returncode == 2 and len(said) == 1 and '--device-per-rank instead' in said[0], done.stderr)
    done = subprocess.run(command(1, *few, '--devices', '0:0,0:0'), env=dict(ENV, BLANCH_MPIEXEC='true'),
                          stderr=subprocess.PIPE, text=True)
    check(done.returncode == 3 and 'true has started no ranks' in done.stderr, done.stderr)
    check(not os.path.exists(path('never')), 'a folder is left')


# --- what is told --------------------------------------------------------------------------------------

def test_scaling_is_told():
    """compare and report of runs on one and two ranks."""
    for ranks in 1, 2:
        train(ranks, *SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--steps', 6, '--out',
              fresh('scale%d' % ranks))
    ledgers = [json.load(open(path('scale%d' % ranks, 'ledger.json'))) for ranks in (1, 2)]
    done = end(start([BLANCH, 'compare', path('scale2'), path('scale1')]))
    check(done.returncode == 0, done.stderr)
    rows = [line.split() for line in done.stdout.splitlines() if line.strip()[:2] in ('1 ', '2 ')]
    check([row[0] for row in rows] == ['1', '2'] and rows[0][3:5] == ['1.00', '-'], done.stdout)
    speed_up = ledgers[0]['step_ms'] / ledgers[1]['step_ms']
    check(abs(float(rows[1][3]) - speed_up) < 0.02 and abs(float(rows[1][4]) - speed_up / 2) < 0.02, done.stdout)
    for k, rank in enumerate(ledgers[1]['ranks']):
        row = next(line.split() for line in done.stdout.splitlines() if line.split()[:2] == ['rank', str(k)])
        check(abs(float(row[2]) - rank['step_ms']) < 0.1 and abs(float(row[4]) - rank['communicate_ms']) < 0.1,
              '%s: %s' % (row, rank))
        waits = rank['communicate_ms'] + rank['load_ms'] + rank['wait_ms']
        check(abs(float(row[3]) - rank['step_ms'] + waits) < 0.1, '%s: %s' % (row, rank))
    done = end(start([BLANCH, 'report', path('scale1'), path('scale2'), '--out', path('page.html')]))
    page = open(path('page.html')).read()
    check('id="scaling"' in page and page.count('What each rank does') == 1, 'the page does not tell of ranks')
    done = end(start([BLANCH, 'report', path('scale2'), '--json']))
    check(len(json.loads(done.stdout)['documents'][0]['runs'][0]['ranks']) == 2, 'no ranks in the JSON of report')
    for args in (('scale1', 'scale1'), ('scale1', 'scale2', '--model', 'vgg11')):
        words = [path(word) if word.startswith('scale') else word for word in args]
        done = end(start([BLANCH, 'compare', *words]))
        check(done.returncode == 2 and len(own_lines(done.stderr)) == 1, '%s: %s' % (args, done.stderr))


# --- long ones ---------------------------------------------------------------------------------------

MATRIX = (('vgg11', '32'), ('resnet18', '32'), ('mobilenetv2', '32'))


def matrix(wanted):
    """Networks of docs/scaling.md: parameters after two steps, of 2, 3 and 4 ranks, against one. As they are, beside
    one rank with the kernels for GPUs, which add up in another order; and without kinks."""
    report = tap.Report()
    for model, size, norm in ((*row, norm) for row in MATRIX for norm in ('bn', 'nd')):
        if not wanted or '%s-%s' % (model, norm) in wanted:
            for smooth in False, True:
                args = ('--model', smoothed(model, size) if smooth else model, '--norm', norm, '--data',
                        'synthetic:3x%sx%s:10' % (size, size), '--size', size, '--batch', 24, '--steps', 2, '--lr',
                        0.001, '--quiet')
                name = '%s-%s%s' % (model, norm, ', smooth' if smooth else '')
                train(1, *args, '--out', fresh('one'))
                one_rank(args, 'other', BLANCH_KIND='gpu')
                other, other_loss = differences('one', 'other')
                report.case('%s: other kernels, one rank: parameters differ by %.1e, losses by %.1e'
                            % (name, other, other_loss), True)
                for ranks in 2, 3, 4:
                    train(ranks, *args, '--sync-stats', '--out', fresh('many'))
                    worst, loss = differences('one', 'many')
                    good = worst <= 3e-4 if smooth else worst <= max(1e-3, 3 * other)
                    report.case('%s, %d ranks: parameters differ by %.1e, losses by %.1e' % (name, ranks, worst, loss),
                                good)
    return report.end()


def kills(count):
    report, chance = tap.Report(count), random.Random(0)
    args = (*SMALL, '--norm', 'bn', '--data', data(), '--batch', 32, '--epochs', 12, '--lr', 0.01, '--sync-stats')
    train(1, *args, '--out', fresh('whole'))
    for k in range(count):
        rank, steps, ranks = chance.randrange(3), chance.randrange(1, 30), chance.choice((1, 2, 4))
        name = 'rank %d killed after step %d, resumed by %d' % (rank, steps, ranks)
        try:
            done = killed('killed', rank, steps, *args, devices=True)
            check(done.returncode == 3, 'exit status %d: %s' % (done.returncode, done.stderr))
            check(len(own_lines(done.stderr)) == 1, done.stderr)
            train(ranks, '--resume', '--quiet', '--out', path('killed'))
            worst, loss = differences('whole', 'killed')
            check(worst < 1e-2 and loss < 1e-2, 'differ by %g, %g' % (worst, loss))
            report.case('%s: differs by %.1e' % (name, worst), True)
        except AssertionError as error:
            report.case(name, False, str(error))
    return report.end()


def main():
    if not MPIEXEC:
        tap.skip_all('built without MPI')
    if subprocess.run([MPIEXEC, '--version'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
        tap.skip_all('%s does not run' % MPIEXEC)
    try:
        if sys.argv[3:4] == ['--matrix']:
            return matrix(sys.argv[4:])
        if sys.argv[3:4] == ['--kills']:
            return kills(int(sys.argv[4]))
        return tap.run(tap.functions(globals(), sys.argv[3:]))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)


if __name__ == '__main__':
    sys.exit(main())
