#!/usr/bin/env python3
"""That no run is lost, whatever ends it: tests/runs.py BLANCH [TEST...]. Prints TAP; makes its own small data."""
import contextlib
import glob
import json
import os
import random
import re
import resource
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

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-runs-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
STEPS, EPOCHS = 4, 2                    # of an epoch; of a run
BATCH = 16
NAMES = ('last.safetensors', 'last.state.safetensors', 'best.safetensors')
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def path(*parts):
    return os.path.join(HOME, *parts)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return path(name)


def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), 'wb') as f:
        f.write(data)


def start(*args, **more):
    return subprocess.Popen([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV, **more)


def end(process, status, *words):
    """Waits; the lines of errors must be one, of exactly these words where the status is not 0."""
    err = process.communicate(timeout=120)[1].decode()
    errors = [line for line in err.splitlines() if line.startswith('blanch: ')]
    check(process.returncode == status, 'exit status %d, not %d: %s' % (process.returncode, status, err[-300:]))
    check(len(errors) == (status != 0), 'errors: %s' % errors)
    for word in words:
        check(word in err, "'%s' is not in: %s" % (word, err[-600:]))
    return err


def run(status, words, *args, **more):
    return end(start(*args, **more), status, *words)


def mnist(name='quick', size=12, train=STEPS * BATCH, test=2 * BATCH):
    return pictures.mnist(path(name), train, test, size)


def training(batch=BATCH, data=None):
    return ['train', '--model', 'smallcnn', '--norm', 'bn', '--batch', batch, '--data', data or mnist()]


def quick():
    return [*training(), '--epochs', EPOCHS]


def slow():
    """Steps and an evaluation that last long enough to be stopped within."""
    return [*training(128, mnist('slow', 28, STEPS * 128, 500)), '--epochs', EPOCHS]


def png(size, seed):
    return pictures.noise_png(size, random.Random(seed))


def folder(name, size, train, test):
    for split, count in (('train', train), ('test', test)):
        for i in range(count):
            write('%s/%s/class%d/%02d.png' % (name, split, i % 2, i), png(size, 100 * (split == 'test') + i))
    return 'folder:' + path(name)


def content(file):
    """A file of tensors without what depends on the clock."""
    with open(file, 'rb') as f:
        head = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        head.get('__metadata__', {}).pop('train_s', None)
        return head, f.read()


def log(out, name='log.jsonl'):
    with open(os.path.join(out, name)) as f:
        return [{k: v for k, v in json.loads(line).items() if k not in ('images_per_s', 'train_s', 'test_s')}
                for line in f]


def steps(out):
    return [line['step'] for line in log(out) if line['type'] == 'step']


def checkpoint(out):
    """The step that it is of."""
    return int(content(out + '/last.safetensors')[0]['__metadata__']['step'])


def same(a, b):
    for name in NAMES:
        check(content(os.path.join(a, name)) == content(os.path.join(b, name)), name + ' differs')
    check(log(a) == log(b), 'the logs differ: %s, %s' % (log(a), log(b)))
    tidy(b)


def tidy(out):
    left = [n for n in os.listdir(out) if n.endswith(('.tmp', '.new'))]
    check(not left, 'left over: %s' % left)


def logged(out, process, count):
    """Waits until so many steps are in the log."""
    file = os.path.join(out, 'log.jsonl')
    while process.poll() is None and not (os.path.exists(file) and
                                          open(file, 'rb').read().count(b'"type":"step"') >= count):
        time.sleep(0.005)


@contextlib.contextmanager
def halted(process):
    """Alive, and leaves the processors to others."""
    process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def worked(process, seconds):
    """Waits until it has used so much of the processors, where the system tells."""
    while os.path.exists('/proc/%d/stat' % process.pid) and process.poll() is None:
        with open('/proc/%d/stat' % process.pid) as f:
            used = f.read().rsplit(')', 1)[1].split()[11:13]
        if sum(map(int, used)) >= seconds * os.sysconf('SC_CLK_TCK'):
            break
        time.sleep(0.01)


def catching(process):
    """Waits until SIGTERM would be caught, where the system tells."""
    while os.path.exists('/proc/%d/status' % process.pid) and process.poll() is None:
        with open('/proc/%d/status' % process.pid) as f:
            if int(re.search('SigCgt:\\s*(\\w+)', f.read()).group(1), 16) >> signal.SIGTERM - 1 & 1:
                break


def whole(kind=quick):
    """A run that nothing stopped."""
    out = path('whole-' + kind.__name__)
    if not os.path.exists(out):
        run(0, [], *kind(), '--out', out)
    return out


def begun(name, *more):
    """A run that was killed within its first epoch."""
    process = start(*quick(), '--out', fresh(name), *more)
    logged(path(name), process, 1)
    process.kill()
    process.communicate()
    for file in glob.glob(path(name, 'last.*')) + glob.glob(path(name, 'best.*')):  # where the kill came late
        os.remove(file)
    return path(name)


# --- checkpoints ---------------------------------------------------------------------------------

def test_killed_within_an_evaluation():
    """The epoch before it is kept; its evaluation is made again, and its line is written once."""
    out = fresh('killed')
    process = start(*slow(), '--out', out)
    while process.poll() is None and not os.path.exists(out + '/last.safetensors'):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    check(checkpoint(out) == STEPS, 'not the step before evaluation')
    run(0, [', resumed'], 'train', '--resume', '--out', out)
    same(whole(slow), out)


def test_damaged_test_images():
    """Images that are decoded on demand, and refused in the evaluation: the epoch stays, and goes on once they are
    whole."""
    data, good = folder('images', 65, 16, 8), {}
    for file in glob.glob(path('images/test/class0/*.png')):
        good[file] = open(file, 'rb').read()
    args = [*training(8, data), '--epochs', 2, '--out']
    run(0, [], *args, fresh('undamaged'))
    for file in good:
        open(file, 'wb').write(b'not an image')
    process = start(*args, fresh('damaged'))
    err = process.communicate(timeout=120)[1].decode()
    check(process.returncode == 2 and 'damaged' in err, err)
    for file, data in good.items():
        open(file, 'wb').write(data)
    if os.path.exists(path('damaged')):         # not where they are met before training
        run(0, [], 'train', '--resume', '--out', path('damaged'))
        same(path('undamaged'), path('damaged'))


def test_precision():
    """Activations in half precision: the same bits again, and over an interruption, the loss's scale included; a scale
    that is too large skips updates, which the log says. Another precision is refused."""
    args = [*training(8), '--precision', 'fp16', '--schedule', 'constant', '--steps']
    for name, count in (('half', 8), ('half-again', 8), ('half-resumed', 3)):
        run(0, [], *args, count, '--out', fresh(name))
    out = path('half-resumed')
    run(2, ['--precision'], 'train', '--resume', '--out', out, '--precision', 'bf16')
    run(0, [], 'train', '--resume', '--out', out, '--steps', 8, '--precision', 'fp16')
    for name in ('last.safetensors', 'last.state.safetensors'):
        first, *others = [content(os.path.join(path(run), name)) for run in ('half', 'half-again', 'half-resumed')]
        check(all(other == first for other in others), name + ' differs')
    file = os.path.join(out, 'last.state.safetensors')
    head, tensors = content(file)
    check(head['__metadata__']['loss_scale_good'] == '8', head['__metadata__'])
    head['__metadata__'].update(loss_scale=repr(2.0 ** 100), train_s='1')
    text = json.dumps(head).encode()
    text += b' ' * (-len(text) % 8)
    with open(file, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + tensors)
    run(0, ['the loss scale is'], 'train', '--resume', '--out', out, '--steps', 10)
    skipped = [line for line in log(out) if line['type'] == 'overflow']
    check([line['step'] for line in skipped] == [9, 10] and abs(skipped[1]['loss_scale'] / 2.0 ** 98 - 1) < 1e-6,
          skipped)
    after = content(file)[0]['__metadata__']
    check((after['loss_scale_skipped'], after['loss_scale_good']) == ('2', '0'), after)


def test_error_after_a_step():
    """A full disk in the log: one line, which says of which step the last checkpoint is, and that one is whole."""
    out = fresh('full')
    args = [*training(1), '--out', out]     # a log that is larger than config.json
    run(0, [], *args, '--epochs', 1)
    before = [content(os.path.join(out, name)) for name in NAMES]

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (os.path.getsize(out + '/log.jsonl') + 100,) * 2)
    words = ['log.jsonl', 'the last checkpoint, %s/last.safetensors, is of step %d' % (out, BATCH * STEPS)]
    run(2, words, 'train', '--resume', '--out', out, '--epochs', 2, preexec_fn=limit)
    check(before == [content(os.path.join(out, name)) for name in NAMES], 'a former file is not whole')
    tidy(out)
    run(0, [], 'train', '--resume', '--out', out)
    check(steps(out) == list(range(1, 2 * BATCH * STEPS + 1)), 'steps are missing')


# --- begin anew ----------------------------------------------------------------------------------

def test_begins_anew():
    for resume in ([], ['--resume']):
        out = begun('anew')
        former = log(out)
        command = ['train', '--resume'] if resume else quick()
        run(0, ['begins anew', 'log.1.jsonl'], *command, '--out', out)
        check(log(out, 'log.1.jsonl') == former, 'the former log is not kept')
        same(whole(), out)


def test_begins_anew_twice():
    out = begun('twice')
    shutil.copy(out + '/log.jsonl', out + '/log.1.jsonl')
    run(0, ['log.2.jsonl'], *quick(), '--out', out)
    same(whole(), out)


def test_killed_while_the_directory_was_made():
    """A temporary file, nothing: with all settings given, --resume begins such a run too."""
    for names, more in (((), []), ((), ['--resume']), (('config.json.0123456789abcdef.tmp',), [])):
        out = fresh('made')
        os.makedirs(out)
        for name in names:
            write('made/' + name, b'12')
        run(0, [], *quick(), '--out', out, *more)
        same(whole(), out)
    run(2, ['config.json'], 'train', '--resume', '--out', fresh('nothing'))
    check(not os.path.exists(path('nothing')), 'a directory was made')


def test_other_settings_are_refused():
    out = begun('other')
    before = sorted(os.listdir(out))
    for option, value in (('--lr', 0.3), ('--seed', 2), ('--batch', 64), ('--augment', 'cifar'), ('--warmup', 2)):
        run(2, [option, out], *quick(), '--out', out, option, value)
        run(2, [option], 'train', '--resume', '--out', out, option, value)
    write('other/best.safetensors', b'weights')
    run(2, [out], *quick(), '--out', out)
    os.remove(out + '/best.safetensors')
    check(sorted(os.listdir(out)) == before, os.listdir(out))


def test_a_warm_up_goes_on():
    out = fresh('warm')
    run(0, [], *training(), '--schedule', 'constant', '--lr', 0.1, '--warmup', 5, '--steps', 6, '--out', out)
    run(2, ['--warmup: ', 'of 5 steps'], 'train', '--resume', '--steps', 5, '--out', out)
    run(2, ['--warmup'], 'train', '--resume', '--steps', 7, '--warmup', 6, '--out', out)
    run(0, [], 'train', '--resume', '--steps', 7, '--out', out)
    with open(out + '/log.jsonl') as f:
        rates = [line['lr'] for line in map(json.loads, f) if line['type'] == 'step']
    check([round(rate, 6) for rate in rates] == [0.02, 0.04, 0.06, 0.08, 0.1, 0.1, 0.1], rates)


def test_folders_of_others_stay_as_they_are():
    """Whatever the names in them; a link among them is not written through."""
    out, names = fresh('foreign'), ('letter.txt', 'lock', 'study.lock', 'report.0123456789abcdef.tmp')
    for name in names:
        write('foreign/' + name, b'mine')
    os.link(out + '/lock', out + '/linked')
    compare = ['compare', '--model', 'smallcnn', '--data', mnist(), '--batch', BATCH, '--norms', 'bn', '--steps', 2]
    for args in (training(), [*training(), '--resume'], ['train', '--resume'], compare):
        run(2, [out], *args, '--out', out)
        check(sorted(os.listdir(out)) == sorted([*names, 'linked']), os.listdir(out))
        check(all(open(os.path.join(out, n)).read() == 'mine' for n in os.listdir(out)), 'a file was written')


def test_folders_that_cannot_be_listed():
    """An error of the disk is not taken for the end of a folder."""
    shim, out = os.path.join(os.path.dirname(BLANCH), 'tests/faults/shim.so'), fresh('unlisted')
    if not os.path.exists(shim):
        raise tap.Skip('the library that makes calls fail is not built')
    write('unlisted/letter.txt', b'mine')
    ENV.update(LD_PRELOAD=shim, FAULT='readdir64:1:5:0')
    try:
        for args in (training(), ['study', '--show']):
            run(2, [out, os.strerror(5)], *args, '--out', out)
        check('cannot be listed: ' + os.strerror(5) in run(0, [], 'tune', '--show'), 'the cache seems to be empty')
    finally:
        del ENV['LD_PRELOAD'], ENV['FAULT']
    check(os.listdir(out) == ['letter.txt'], os.listdir(out))


def test_comparison_begins_anew():
    out = fresh('compared')
    args = ['compare', '--model', 'smallcnn', '--data', mnist(), '--batch', BATCH, '--norms', 'bn,none', '--out', out]
    process = start(*args, '--steps', 100000)
    logged(out, process, 4)
    with halted(process):
        run(2, ['another `blanch compare`', out], *args, '--steps', 100000)
        process.kill()
    process.communicate()
    run(2, [out], *args, '--steps', 5)              # other settings
    config = json.load(open(out + '/config.json'))
    config['settings']['steps'] = 5
    json.dump(config, open(out + '/config.json', 'w'))
    run(0, ['begins anew'], *args, '--steps', 5)
    check(len(steps(out)) == 10 and os.path.exists(out + '/log.1.jsonl') and os.path.exists(out + '/compare.json'), out)
    tidy(out)
    run(2, [out], *args, '--steps', 5)              # it is done


# --- one process a directory ---------------------------------------------------------------------

def test_two_processes():
    out = fresh('two')
    args = [*training(), '--epochs', 100000, '--out', out]
    process = start(*args)
    logged(out, process, STEPS + 1)
    before, words = json.load(open(out + '/config.json')), ['another `blanch train`', out]
    with halted(process):
        run(2, words, *args)
        run(2, words, 'train', '--resume', '--out', out, '--epochs', 5)
    check(json.load(open(out + '/config.json')) == before, 'config.json was written by another process')
    process.terminate()
    end(process, 130)
    tidy(out)
    run(0, [', resumed'], 'train', '--resume', '--out', out, '--steps', checkpoint(out) + 2)


def test_begun_together():
    """Of two that make the same directory, one trains."""
    out = fresh('together')
    both = [start(*quick(), '--seed', seed, '--out', out) for seed in (0, 1)]
    ended = sorted(zip([p.communicate(timeout=120)[1].decode() for p in both], both), key=lambda e: e[1].returncode)
    check([p.returncode for _, p in ended] == [0, 2] and out in ended[1][0], [e for e, _ in ended])
    check(steps(out) == list(range(1, EPOCHS * STEPS + 1)), 'the log is of both')


# --- signals -------------------------------------------------------------------------------------

def test_signals():
    for number in ENDING:
        out = fresh('signals')      # who runs the tests by nohup hands an ignored SIGHUP on
        process = start(*slow(), '--out', out, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL))
        logged(out, process, 2)
        process.send_signal(number)
        err = end(process, 130, 'interrupted at step', '--resume')
        check('a second' in err, err)
        run(0, [], 'train', '--resume', '--out', out)
        same(whole(slow), out)


def test_second_signal():
    out = fresh('second')
    process = start(*training(), '--epochs', 100000, '--out', out)
    logged(out, process, STEPS + 1)     # a checkpoint is there
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    check(process.returncode == 130, process.returncode)
    run(0, [', resumed'], 'train', '--resume', '--out', out, '--steps', checkpoint(out) + 2)
    tidy(out)


def test_ignored_hangup():
    """As nohup leaves it."""
    out = fresh('nohup')
    process = start(*slow(), '--out', out,
                    preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    logged(out, process, 2)
    process.send_signal(signal.SIGHUP)
    end(process, 0)
    same(whole(slow), out)


def test_signals_elsewhere():
    """Status 130 and one line, at whatever moment."""
    commands = (['bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', 8, '--steps', 1000000],
                ['compare', '--model', 'smallcnn', '--norms', 'bn', '--data', mnist(), '--batch', BATCH, '--steps',
                 1000000, '--out', path('cut')],
                ['tune', '--model', 'smallcnn', '--norm', 'bn'],
                ['study', '--data', 'synthetic:3x8x8:10', '--dataset', 'cifar10', '--networks', 'vgg16', '--out',
                 path('cells')])
    moments = [(command, used) for command in commands for used in (0, 0.2)]
    for command, used in moments + [(['eval', '--run', whole(slow), '--batch', 1], 0)]:
        shutil.rmtree(path('cut'), ignore_errors=True)
        process = start(*command)
        catching(process)
        worked(process, used)
        process.send_signal(signal.SIGTERM)
        end(process, 130, 'interrupted')


# --- partial batches -----------------------------------------------------------------------------

def test_last_batch_of_one():
    """What batch norm, or deconvolution of a classifier, cannot take of 33 images is known before the first step, and
    is left out alone: whitening one sample multiplies by 1/sqrt(eps), and the running constants keep a tenth of it."""
    args = ['train', '--norm', 'bn', '--data', folder('single', 32, 33, 4), '--batch', 16, '--out']
    run(0, ['2 steps; the last batch of an epoch, of 1, is left out'], *args, fresh('single-run'), '--model',
        'resnet18d')
    check(steps(path('single-run')) == [1, 2], log(path('single-run')))
    err = run(0, ['3 steps'], *args, fresh('single-run'), '--model', 'smallcnn')
    check('left out' not in err, err)
    args[args.index('--batch') + 1] = 1
    run(2, ['--batch'], *args, fresh('single-run'), '--model', 'resnet18d')
    check(not os.path.exists(path('single-run')), 'a directory was made')
    whitened = args[:args.index('--norm') + 1] + ['nd'] + args[args.index('--norm') + 2:]
    run(0, ['fc whitens a single sample'], *whitened, fresh('single-run'), '--model', 'smallcnn', '--steps', 1)
    whitened[whitened.index('--batch') + 1] = 16
    run(0, ['2 steps; the last batch of an epoch, of 1, is left out'], *whitened, fresh('single-run'), '--model',
        'smallcnn')


def test_drop_last():
    batch, words = 3 * BATCH // 2, 'the last batch of an epoch, of %d, is left out' % BATCH     # of 4 * BATCH images
    run(0, ['4 steps; %s: --drop-last' % words], *training(batch), '--drop-last', '--out', fresh('dropped'),
        '--epochs', 2)
    check(json.load(open(path('dropped/config.json')))['drop_last'] is True, 'config.json does not say it')
    run(0, ['6 steps, resumed'], 'train', '--resume', '--out', path('dropped'), '--epochs', 3)
    run(2, ['--drop-last', str(STEPS * BATCH)], *training(5 * BATCH), '--drop-last', '--out', fresh('none'))
    check(not os.path.exists(path('none')), 'a directory was made')
    run(2, ['--drop-last'], 'train', '--resume', '--out', whole(), '--drop-last')
    run(0, [words], 'compare', '--model', 'smallcnn', '--norms', 'none', '--data', mnist(), '--batch', batch,
        '--drop-last', '--epochs', 2, '--out', fresh('dropped-compare'))
    check(steps(path('dropped-compare')) == [1, 2, 3, 4], 'not four steps')


# --- event files ---------------------------------------------------------------------------------

def test_resume_keeps_tensorboard():
    out, events = fresh('events-run'), fresh('events')
    process = start(*training(), '--epochs', 1, '--out', out, '--tensorboard', events)
    if 'protobuf' in process.communicate(timeout=120)[1].decode():
        raise tap.Skip('built without protobuf-c')
    files = set(os.listdir(events))
    run(0, [], 'train', '--resume', '--out', out, '--epochs', 2)
    check(len(set(os.listdir(events)) - files) == 1, 'the resumed run wrote no event file')
    run(0, [], 'train', '--resume', '--out', out, '--epochs', EPOCHS, '--tensorboard', path('events/other'))
    check(json.load(open(out + '/config.json'))['tensorboard'] == path('events/other'), 'the new folder is not kept')


if __name__ == '__main__':
    tap.need_device(BLANCH)
    result = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(result)
