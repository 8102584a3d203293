#!/usr/bin/env python3
"""The command line end to end, bad input included: tests/cli.py BLANCH [TEST...]. Prints TAP; makes its own small
data."""
import array
import base64
import glob
import gzip
import json
import os
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import caches
import tap
from pictures import mnist, noise_png
from tap import Skip, check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-cli-')
ENV = caches.environment(os.path.join(HOME, 'cache'))


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err
        lines = [l for l in err.splitlines() if l.startswith('blanch: ')]
        self.errors, self.error = lines, lines[-1] if lines else ''


def blanch(*args, env=None, limit=300, **more):
    done = subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit,
                          env=dict(ENV, **(env or {})), **more)
    return Result(done.returncode, done.stdout.decode(), done.stderr.decode())


def succeeds(*args, **more):
    r = blanch(*args, **more)
    check(r.status == 0, '%s: exit status %d: %s' % (' '.join(map(str, args)), r.status, r.err.strip()[-300:]))
    return r


def refuses(status, words, *args, started=False, **more):
    """Exit status, exactly one error line, and every one of the words in it. started: progress may come before it."""
    r = blanch(*args, **more)
    check(r.status == status, '%s: exit status %d, not %d: %s' % (' '.join(map(str, args)), r.status, status,
                                                                  r.err.strip()[-300:]))
    check(len(r.errors) == 1, 'not one error line but %d: %s' % (len(r.errors), r.err.strip()[-300:]))
    check(started or r.err.count('\n') == 1, 'more than one line on standard error: %s' % r.err.strip()[-300:])
    for word in words:
        check(word in r.error, "'%s' is not in: %s" % (word, r.error))
    return r


def path(*parts):
    return os.path.join(HOME, *parts)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return path(name)


# --- data ----------------------------------------------------------------------------------------

def write(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), 'wb') as f:
        f.write(data)
    return path(name)


def make_mnist(folder, train=96, test=32):
    return mnist(fresh(folder), train, test, 28)


def make_cifar(folder, train=40, test=10):
    rng = random.Random(3)
    record = lambda: bytes([rng.randrange(10)]) + bytes(rng.randrange(256) for _ in range(3072))
    for i in range(1, 6):
        write('%s/data_batch_%d.bin' % (folder, i), b''.join(record() for _ in range(train // 5)))
    write('%s/test_batch.bin' % folder, b''.join(record() for _ in range(test)))
    return 'cifar10:' + path(folder)


def png(size, seed):
    return noise_png(size, random.Random(seed))


# 32x32, grey
JPEG = base64.b64decode(
    '/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAFA3PEY8MlBGQUZaVVBfeMiCeG5uePWvuZHI////////////////////////////////'
    '////////////////////wAALCAAgACABAREA/8QAFwABAQEBAAAAAAAAAAAAAAAAAwAEBf/EABYQAQEBAAAAAAAAAAAAAAAAAAAC'
    'Ev/aAAgBAQAAPwDLBoPBocyDQeDQHKysrJsrKysv/9k=')


def make_folder(folder, classes=2, count=12):
    for c in range(classes):
        for i in range(count):
            write('%s/class%d/%02d.png' % (folder, c, i), png(32, 100 * c + i))
    return 'folder:' + path(folder)


def tensors(file):
    with open(file, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        header.pop('__metadata__', None)
        return header, f.read()


def lines(file):
    with open(file) as f:
        return [json.loads(l) for l in f]


TRAIN = ('train', '--model', 'smallcnn', '--batch', 32)


def train(data, out, *more, norm='nd', **options):
    return succeeds(*TRAIN, '--norm', norm, '--data', data, '--out', out, *more, **options)


# --- wrong words ---------------------------------------------------------------------------------

def test_help():
    for name in ('', 'devices', 'models', 'train', 'eval', 'predict', 'compare', 'bench', 'check'):
        r = succeeds(*([name] if name else []), '--help')
        check('usage' in r.out, 'no usage in the help of %s' % name)


def test_unknown_words():
    data = make_mnist('m')
    refuses(2, ['frobnicate'], 'frobnicate')
    refuses(2, ['--frobnicate'], 'train', '--frobnicate')
    refuses(2, ['nosuchnet'], 'train', '--model', 'nosuchnet', '--norm', 'bn', '--data', data, '--out', fresh('o'))
    refuses(2, ['--norm'], *TRAIN, '--norm', 'xn', '--data', data, '--out', fresh('o'))
    refuses(2, ['nosuchdata'], *TRAIN, '--norm', 'bn', '--data', 'nosuchdata:x', '--out', fresh('o'))
    refuses(2, ['--batch'], 'train', '--model', 'smallcnn', '--norm', 'bn', '--batch', 0, '--data', data, '--out',
            fresh('o'))
    refuses(2, ['--epochs'], *TRAIN, '--norm', 'bn', '--data', data, '--out', fresh('o'), '--epochs', 'many')
    refuses(2, ['--schedule', 'zigzag'], *TRAIN, '--norm', 'bn', '--data', data, '--out', fresh('o'), '--schedule',
            'zigzag')
    for option, value in (('--whiten-grad', 'half'), ('--whiten', 'pixels'), ('--cov-samples', '4G'),
                          ('--cov-samples', '0'), ('--nd-preset', 'slow')):
        refuses(2, [option, value], *TRAIN, '--norm', 'nd', '--data', data, '--out', fresh('o'), option, value)
    check(not os.path.exists(path('o')), 'a refused run left a folder')


def test_preset():
    """What a preset stands for is recorded, an option of its own goes before it, and a resumed run keeps both."""
    run, data = fresh('preset'), make_mnist('m')
    succeeds(*TRAIN, '--norm', 'nd', '--data', data, '--steps', 1, '--nd-preset', 'fast', '--cov-samples', '4F',
             '--whiten', 'channels', '--out', run)
    with open(os.path.join(run, 'config.json'), encoding='utf-8') as f:
        settings = json.load(f)['settings']
    check((settings['block'], settings['whiten'], settings['cov_samples']) == (16, 'channels', '4F'), str(settings))
    refuses(2, ['--whiten'], 'train', '--resume', '--out', run, '--whiten', 'patches', '--steps', 2)
    succeeds('train', '--resume', '--out', run, '--nd-preset', 'channels', '--steps', 2)


def test_size():
    """Any size that the layers take, rectangles too: recorded, resumed, measured, classified."""
    data, run = make_folder('sized'), fresh('size')
    succeeds('train', '--model', 'smallcnn', '--norm', 'bn', '--data', data, '--batch', 8, '--steps', 1, '--size',
             '20x36', '--out', run)
    with open(os.path.join(run, 'config.json'), encoding='utf-8') as f:
        config = json.load(f)
    check(config['size'] == '20x36' and config['view']['size'] == [20, 36], str(config['view']))
    check(config['view']['scaled_to_cover'] == [20, 36], str(config['view']))
    succeeds('train', '--resume', '--out', run, '--steps', 2)
    refuses(2, ['--size'], 'train', '--resume', '--out', run, '--steps', 3, '--size', '20x40')
    check('images' in succeeds('eval', '--run', run).out, 'nothing measured')
    check('images' in succeeds('eval', '--run', run, '--size', 40).out, 'nothing measured at another size')
    picture = write('one.png', png(50, 1))
    check('%' in succeeds('predict', picture, '--run', run).out, 'nothing classified')
    weights = os.path.join(run, 'last.safetensors')
    succeeds('eval', '--weights', weights, '--model', 'smallcnn', '--norm', 'bn', '--size', '20x36', '--data', data)
    json.loads(succeeds('bench', '--model', 'smallcnn', '--norm', 'bn', '--size', '20x36', '--batch', 2, '--steps', 1,
                        '--json').out)
    succeeds('compare', '--model', 'smallcnn', '--data', data, '--size', '20x36', '--batch', 8, '--steps', 4, '--out',
             fresh('sizes'))
    check('3x64x96' in succeeds('models', 'vgg16', '--size', '64x96').out, 'models took no size')
    for size in ('0', '9x', 'x9', '20x36x3', '-4', '99999', 'small'):
        refuses(2, ['--size', "'%s'" % size], 'models', 'vgg16', '--size', size)
    refuses(2, ['maxpool2d_43', 'too small'], 'train', '--model', 'vgg16', '--norm', 'bn', '--data', data, '--size', 16,
            '--out', fresh('o'))
    check(not os.path.exists(path('o')), 'a refused run left a folder')


def test_unknown_device():
    refuses(2, ['nosuchdevice'], 'bench', '--model', 'smallcnn', '--norm', 'bn', '--device', 'nosuchdevice')
    refuses(2, ['7:0'], 'bench', '--model', 'smallcnn', '--norm', 'bn', '--device', '7:0')
    refuses(2, ['nosuchdevice'], 'bench', '--model', 'smallcnn', '--norm', 'bn', env={'BLANCH_DEVICE': 'nosuchdevice'})


def test_no_platform():
    nothing = {'OCL_ICD_VENDORS': path('none') + '/', 'OCL_ICD_FILENAMES': '', 'OPENCL_VENDOR_PATH': path('none')}
    r = refuses(3, ['pocl'], 'devices', env=nothing)
    check('install' in r.error, 'the line does not say what to install: ' + r.error)


# --- bad data ------------------------------------------------------------------------------------

def bad_data(words, spec):
    refuses(2, words, *TRAIN, '--norm', 'bn', '--data', spec, '--out', fresh('o'))
    check(not os.path.exists(path('o')), 'a refused run left a folder')


def test_missing_folder():
    for kind in ('mnist', 'cifar10', 'cifar100', 'folder'):
        bad_data([path('nowhere')], '%s:%s' % (kind, path('nowhere')))


def test_damaged_idx():
    for what, change in (('cut', lambda d: d[:-100]), ('empty', lambda d: b''), ('longer', lambda d: d + b'xx')):
        spec = make_mnist('bad')
        name = 'bad/train-images-idx3-ubyte.gz'
        write(name, gzip.compress(change(gzip.decompress(open(path(name), 'rb').read()))))
        bad_data(['train-images'], spec)
    spec = make_mnist('bad')
    whole = open(path('bad/train-images-idx3-ubyte.gz'), 'rb').read()
    write('bad/train-images-idx3-ubyte.gz', whole[:len(whole) // 2])
    bad_data(['train-images'], spec)


def test_label_out_of_range():
    spec = make_cifar('badcifar')
    write('badcifar/data_batch_2.bin', b'\x0b' + bytes(3072))
    bad_data(['data_batch_2.bin', '11'], spec)
    spec = make_mnist('bad')
    name = 'bad/train-labels-idx1-ubyte.gz'
    labels = gzip.decompress(open(path(name), 'rb').read())
    write(name, gzip.compress(labels[:-1] + b'\x0c'))
    bad_data(['train-labels', '12'], spec)


def test_damaged_cifar():
    for data in (b'', bytes(3072), bytes(3074)):
        spec = make_cifar('badcifar')
        write('badcifar/data_batch_3.bin', data)
        bad_data(['data_batch_3.bin'], spec)


def test_damaged_image():
    """One of many is named and skipped; when too many are damaged the folder is refused."""
    spec = make_folder('pics')
    name = 'pics/class1/03.png'
    write(name, png(32, 5)[:200])
    r = succeeds('train', '--model', 'smallcnn', '--norm', 'nd', '--batch', 8, '--steps', 1, '--data', spec, '--out',
                 fresh('o'))
    check('03.png' in r.err, 'the damaged image is not named: ' + r.err[-300:])
    write(name, png(32, 5))
    write('pics/class1/whole.jpg', JPEG)
    write('pics/class1/half.jpg', JPEG[:len(JPEG) // 2])
    r = succeeds('train', '--model', 'smallcnn', '--norm', 'nd', '--batch', 8, '--steps', 1, '--data', spec, '--out',
                 fresh('o'))
    check('half.jpg' in r.err and 'whole.jpg' not in r.err,
          'the JPEG that was cut in half is not named: ' + r.err[-300:])
    for i in range(12):
        write('pics/class0/%02d.png' % i, b'not an image')
    out = fresh('o')
    refuses(2, ['pics'], 'train', '--model', 'smallcnn', '--norm', 'nd', '--batch', 8, '--steps', 1, '--data', spec,
            '--out', out, started=True)
    check(not os.path.exists(out), 'a run that made no step left its directory')


# --- limits --------------------------------------------------------------------------------------

def test_one_value_per_channel():
    refuses(2, ['layer4', 'value per channel'], 'bench', '--model', 'resnet18d', '--norm', 'bn', '--batch', 1,
            '--steps', 1)


def test_batch_larger_than_memory():
    limit = ('--max-alloc', '24M')
    r = refuses(2, ['largest batch'], 'bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', 4096, '--steps', 1,
                *limit)
    largest = int(r.error.split()[-1])
    check(1 <= largest < 4096, 'the largest batch is said to be %d' % largest)
    succeeds('bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', largest, '--steps', 1, '--warmup', 1, *limit)


def test_existing_run():
    data, out = make_mnist('m'), fresh('run')
    train(data, out, '--steps', 2)
    before = {f: open(f, 'rb').read() for f in glob.glob(out + '/*')}
    refuses(2, [out, '--resume'], *TRAIN, '--norm', 'nd', '--data', data, '--out', out, '--steps', 2)
    check(before == {f: open(f, 'rb').read() for f in glob.glob(out + '/*')}, 'the refused run changed a file')


def test_full_disk():
    """Files limited in size stand in for a disk that is full: the former checkpoint survives and still loads. It is
    large, of many classes: what a compiler writes is less than the limit."""
    data, out = 'synthetic:1x28x28:4000', fresh('run')
    train(data, out, '--steps', 3)
    before = tensors(out + '/last.safetensors')

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1200000, 1200000))
    r = blanch(*TRAIN, '--norm', 'nd', '--data', data, '--out', out, '--resume', '--steps', 6, preexec_fn=limit)
    check(r.status == 2 and len(r.errors) == 1, 'exit status %d: %s' % (r.status, r.err[-300:]))
    check(tensors(out + '/last.safetensors') == before, 'the former checkpoint is gone')
    succeeds('eval', '--run', out, '--data', data)


def test_full_standard_output():
    with open('/dev/full', 'w') as full:
        done = subprocess.run([BLANCH, 'models'], stdout=full, stderr=subprocess.PIPE, env=ENV)
    check(done.returncode == 2 and b'standard output' in done.stderr, 'exit status %d: %s'
          % (done.returncode, done.stderr))
    done = subprocess.run([BLANCH, 'models'], stderr=subprocess.PIPE, env=ENV, preexec_fn=lambda: os.close(1))
    check(done.returncode == 2 and done.stderr.count(b'\n') == 1, 'closed: exit status %d: %s'
          % (done.returncode, done.stderr))


def test_diverged():
    data, out = make_mnist('m'), fresh('run')
    r = blanch(*TRAIN, '--norm', 'none', '--data', data, '--out', out, '--lr', '1e6', '--epochs', 4, '--schedule',
               'constant')
    check(r.status == 1 and len(r.errors) == 1, 'exit status %d: %s' % (r.status, r.err[-300:]))
    check('step' in r.error, 'no step is named: ' + r.error)


def test_diverged_later():
    """Weights that grow fourfold at every step: the line names step, layer and a checkpoint, and that one is finite."""
    data, out = make_mnist('m'), fresh('run')
    r = refuses(1, ['step', 'first seen in', out + '/last.safetensors'], *TRAIN, '--norm', 'none', '--data', data,
                '--out', out, '--lr', 0.1, '--weight-decay', 50, '--momentum', 0, '--epochs', 40,
                '--schedule', 'constant', started=True)
    check('nan' not in r.error, r.error)
    values = array.array('f', tensors(out + '/last.safetensors')[1])
    check(all(abs(v) < 3.4e38 for v in values), 'the last good checkpoint is not finite')


def test_diverged_in_the_last_update():
    """Its loss was finite; the weights that it left are, and what they compute is not."""
    out = fresh('run')
    refuses(1, ['the test loss at the end is not finite', out + '/last.safetensors', 'step 1'], *TRAIN,
            '--norm', 'none', '--data', make_mnist('m'), '--out', out, '--lr', '1e6', '--weight-decay', 1000,
            '--steps', 1, started=True)


def test_full_file_system():
    """A file system with room for one checkpoint and a half: the one that is there survives and loads."""
    data, out, disk = make_mnist('m'), fresh('run'), path('disk')
    train(data, out, '--steps', 3)
    before = {name: tensors('%s/%s.safetensors' % (out, name)) for name in ('last', 'last.state', 'best')}
    room = sum(os.path.getsize(f) for f in glob.glob(out + '/*')) + os.path.getsize(out + '/last.safetensors') // 2
    os.makedirs(disk, exist_ok=True)
    if subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=%d' % room, 'blanch', disk],
                      stderr=subprocess.DEVNULL).returncode:
        raise Skip('a file system cannot be mounted')
    try:
        shutil.copytree(out, disk + '/run')
        refuses(2, [disk, 'space'], *TRAIN, '--norm', 'nd', '--data', data, '--out', disk + '/run', '--resume',
                '--steps', 6, started=True)
        after = {name: tensors('%s/run/%s.safetensors' % (disk, name)) for name in before}
        check(after == before, 'the former checkpoint is gone')
        succeeds('eval', '--run', disk + '/run', '--data', data)
    finally:
        subprocess.run(['umount', disk], check=True)


# --- training ------------------------------------------------------------------------------------

def test_run_directory():
    data, out = make_mnist('m'), fresh('run')
    train(data, out, '--epochs', 2)
    log = lines(out + '/log.jsonl')
    steps, epochs = [l for l in log if l['type'] == 'step'], [l for l in log if l['type'] == 'epoch']
    check(len(steps) == 6 and len(epochs) == 2, '%d steps and %d epochs are logged' % (len(steps), len(epochs)))
    check(set(steps[0]) == {'type', 'step', 'epoch', 'loss', 'lr', 'images_per_s'},
          'keys of a step: %s' % sorted(steps[0]))
    want = {'type', 'epoch', 'train_loss', 'train_top1', 'train_top5', 'test_loss', 'test_top1', 'test_top5', 'train_s',
            'test_s'}
    check(set(epochs[0]) == want, 'keys of an epoch: %s' % sorted(epochs[0]))
    for name in ('config.json', 'last.safetensors', 'best.safetensors', 'last.state.safetensors', 'ledger.json',
                 'trace.json'):
        check(os.path.exists(os.path.join(out, name)), name + ' is missing')
    check(json.load(open(out + '/trace.json'))['traceEvents'], 'the trace is empty')
    r = json.loads(succeeds('eval', '--run', out, '--data', data, '--json').out)
    check(abs(r['top1'] - epochs[-1]['test_top1']) < 1e-3, 'eval says %s, the log %s'
          % (r['top1'], epochs[-1]['test_top1']))


def test_same_seed_same_bits():
    data = make_mnist('m')
    for norm in ('bn', 'nd'):
        for name in ('one', 'two'):
            train(data, fresh(name), '--steps', 4, norm=norm)
        check(tensors(path('one/last.safetensors')) == tensors(path('two/last.safetensors')),
              'two %s runs of one seed differ' % norm)


def test_interrupt_and_resume():
    """Ctrl-C ends with status 130 and a checkpoint; resumed, the run ends with the bits of one never stopped."""
    data = make_mnist('m')
    train(data, fresh('whole'), '--epochs', 30)
    command = [BLANCH, *map(str, TRAIN), '--norm', 'nd', '--data', data, '--out', fresh('parts'), '--epochs', '30']
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV)
    log = path('parts/log.jsonl')
    for _ in range(2000):
        if process.poll() is not None or (os.path.exists(log) and open(log).read().count('\n') >= 5):
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=120)
    check(process.returncode == 130, 'exit status %d after SIGINT' % process.returncode)
    succeeds('train', '--resume', '--out', path('parts'))
    check(tensors(path('whole/last.safetensors')) == tensors(path('parts/last.safetensors')),
          'the resumed run ends with other weights')


def test_optimisers():
    """Either spelling; config.json says all that is needed to repeat it, and a resumed run keeps to it."""
    data, out = make_mnist('m'), fresh('adamw')
    for words, options in ((['momentum', 'adamw'], ['--optimiser', 'adamw', '--momentum', 0.5]),
                           (['beta1', 'sgd'], ['--beta1', 0.5]), (['adam', 'sgd, adamw'], ['--optimiser', 'adam']),
                           (['beta2', 'less than 1'], ['--optimiser', 'adamw', '--beta2', 1]),
                           (['--nesterov'], ['--nesterov', '--momentum', 0])):
        refuses(2, words, *TRAIN, '--norm', 'bn', '--data', data, '--out', fresh('refused'), '--steps', 1, *options)
    train(data, out, '--optimizer', 'adamw', '--beta2', 0.99, '--steps', 2, norm='bn')
    with open(out + '/config.json') as f:
        config = json.load(f)
    found = {key: config.get(key) for key in ('optimiser', 'lr', 'weight_decay', 'beta1', 'beta2', 'eps', 'momentum')}
    check(found == dict(optimiser='adamw', lr=1e-3, weight_decay=1e-2, beta1=0.9, beta2=0.99, eps=1e-8, momentum=None),
          found)
    refuses(2, ['--optimiser', out], 'train', '--resume', '--out', out, '--optimiser', 'sgd')
    refuses(2, ['--beta2', out], 'train', '--resume', '--out', out, '--beta2', 0.5)
    r = json.loads(succeeds('bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', 2, '--steps', 1, '--optimizer',
                            'adamw', '--json').out)
    check(r['settings'].get('optimiser') == 'adamw' and 'optimizer' not in r['settings'], r['settings'])
    train(data, fresh('nesterov'), '--nesterov', '--steps', 1, norm='bn')
    with open(path('nesterov/config.json')) as f:
        config = json.load(f)
    check(config['nesterov'] is True and config['optimiser'] == 'sgd' and 'beta1' not in config, config)


def test_recompute():
    """In segments, a network ends with the same bits."""
    data = make_mnist('m')
    for name, options in (('kept', []), ('again', ['--recompute', 3])):
        train(data, fresh(name), *options, '--steps', 3, norm='bn')
    check(tensors(path('kept/last.safetensors')) == tensors(path('again/last.safetensors')),
          'recomputed, the weights are others')
    for wrong in ('x', 0, '3x'):
        refuses(2, ['--recompute', 'auto'], *TRAIN, '--norm', 'bn', '--data', data, '--out', fresh('refused'),
                '--recompute', wrong)


def test_weights_that_do_not_fit():
    data, out = make_mnist('m'), fresh('run')
    train(data, out, '--steps', 1)
    refuses(2, ['does not fit', 'missing'], 'eval', '--weights', out + '/last.safetensors', '--model', 'smallcnn',
            '--norm', 'bn', '--data', data)
    cut = write('cut.safetensors', open(out + '/last.safetensors', 'rb').read()[:-4])
    refuses(2, ['cut.safetensors'], 'eval', '--weights', cut, '--model', 'smallcnn', '--norm', 'nd', '--data', data)


def test_predict():
    data, out = make_cifar('c'), fresh('run')
    succeeds('train', '--model', 'vgg11', '--norm', 'nd', '--batch', 16, '--steps', 1, '--data', data, '--out', out)
    image = write('image.png', png(40, 1))
    r = succeeds('predict', '--run', out, image)
    check('image.png' in r.out, 'the image is not named: ' + r.out)
    refuses(2, ['nothing.png'], 'predict', '--run', out, path('nothing.png'))


# --- timing and reports --------------------------------------------------------------------------

def finite(value):
    if isinstance(value, dict):
        return all(map(finite, value.values()))
    if isinstance(value, list):
        return all(map(finite, value))
    return value is not None and value == value


def test_bench_json():
    for norm in ('bn', 'nd'):
        r = json.loads(succeeds('bench', '--model', 'smallcnn', '--norm', norm, '--batch', 64, '--steps', 5,
                                '--json').out)
        keys = {'model', 'norm', 'precision', 'batch', 'device', 'steps', 'step_ms', 'min_ms', 'images_per_s',
                'startup_ms', 'device_bytes', 'host_bytes', 'layers'}
        check(keys <= set(r), 'keys: %s' % sorted(r))
        check(finite(r), 'not every number is finite')
        names = {p for l in r['layers'] for p in l['phases']}
        known = set('forward backward_data backward_weights covariance inverse_sqrt fold whiten_backward norm '
                    'activation pool loss update load wait other'.split())
        check(names <= known, 'unknown phases: %s' % sorted(names - known))


def test_bench_inference():
    command = ('bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', 3, '--inference', '--steps', 2)
    r = json.loads(succeeds(*command, '--json').out)
    keys = {'inference_ms', 'inference_images_per_s', 'min_ms', 'quartile1_ms', 'planned_bytes', 'layers', 'engines'}
    check(keys <= set(r), 'keys: %s' % sorted(r))
    check('step_ms' not in r and finite(r), 'not an inference: %s' % r)
    names = {p for l in r['layers'] for p in l['phases']}
    check(not names & {'backward_data', 'backward_weights', 'loss', 'update'}, 'phases: %s' % sorted(names))
    check('\ninference ' in succeeds(*command).out, 'the text does not say inference')
    folder = fresh('inference')
    os.mkdir(folder)
    path = os.path.join(folder, 'bench.json')
    with open(path, 'w') as f:
        json.dump(r, f)
    succeeds('report', path, '--out', os.path.join(folder, 'page.html'))
    refuses(2, ['--inference', '--optimiser'], *command, '--optimiser', 'adamw')
    refuses(2, ['--inference'], 'bench', '--gemm', '64', '--inference')


def test_bench_precision():
    command = ('bench', '--model', 'smallcnn', '--batch', 16, '--steps', 1, '--warmup', 1)
    bytes = {}
    for precision in ('fp32', 'fp16'):
        r = json.loads(succeeds(*command, '--norm', 'bn', '--precision', precision, '--json').out)
        check(r['precision'] == precision, 'precision: %s' % r['precision'])
        check(finite(r), 'not every number is finite')
        bytes[precision] = r['planned_bytes']
    check(bytes['fp16'] < bytes['fp32'], 'planned bytes: %s' % bytes)
    refuses(2, ['--precision', 'bf16'], *command, '--norm', 'bn', '--precision', 'half')
    out = fresh('o')
    succeeds(*TRAIN, '--norm', 'bn', '--data', 'synthetic:1x28x28:10', '--out', out, '--precision', 'fp16', '--steps',
             '2')
    check(json.load(open(os.path.join(out, 'config.json')))['precision'] == 'fp16', 'config.json lacks the precision')
    refuses(2, ['--precision', 'half'], *TRAIN, '--norm', 'bn', '--data', 'synthetic:1x28x28:10', '--out', fresh('o'),
            '--precision', 'half')


def test_bench_phases():
    """Phases add up to the recorded steps, other at most a twentieth."""
    r = succeeds('bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', 64, '--steps', 10)
    covered = float(r.out.split('phases account for ')[1].split()[0])
    check(abs(covered - 100) <= 3, 'phases account for %s %%' % covered)
    layers = json.loads(succeeds('bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', 64, '--steps', 10,
                                 '--json').out)['layers']
    total = sum(ms for l in layers for ms in l['phases'].values())
    check(sum(l['phases'].get('other', 0) for l in layers) <= 0.05 * total, 'other is more than a twentieth')


def test_compare():
    data, out = make_mnist('m', 256), fresh('compare')
    r = succeeds('compare', '--model', 'smallcnn', '--batch', 64, '--data', data, '--epochs', 3, '--out', out, '--json')
    document = json.loads(r.out)
    check({'model', 'batch', 'runs', 'pairs'} <= set(document), 'keys: %s' % sorted(document))
    check([run['norm'] for run in document['runs']] == ['bn', 'nd'], 'norms of the runs')
    pair = document['pairs'][0]
    check({'device', 'settings', 'bn_step_ms', 'nd_step_ms', 'overhead_pct', 'layers'} <= set(pair),
          'keys of a pair: %s' % sorted(pair))
    check(any(l['name'] == '(step)' for l in pair['layers']), 'no row (step)')
    for run in document['runs']:
        check(abs(run['coverage'] - 1) <= 0.03 or abs(run['coverage'] - 100) <= 3,
              'phases cover %s of the step' % run['coverage'])
    page = open(out + '/report.html').read()
    check('<svg' in page and 'http://' not in page.replace('http://www.w3.org/2000/svg', '')
          and '<script src' not in page, 'report.html is not self-contained')
    refuses(2, [out], 'compare', '--model', 'smallcnn', '--data', data, '--steps', 2, '--out', out)


# --- programs ------------------------------------------------------------------------------------

def test_kernels_from_a_folder():
    command = ('bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', 8, '--steps', 1, '--warmup', 1)
    succeeds(*command, env={'BLANCH_KERNELS': os.path.join(ROOT, 'kernels')})
    os.makedirs(path('empty'), exist_ok=True)
    refuses(2, ['BLANCH_KERNELS', path('empty')], *command, env={'BLANCH_KERNELS': path('empty')})


def test_devices():
    listed = json.loads(succeeds('devices', '--json').out)['devices']
    check(sum(d['default'] for d in listed) == 1, 'not one default device')


def test_sub_device():
    r = blanch('bench', '--model', 'smallcnn', '--norm', 'nd', '--batch', 8, '--steps', 1, '--warmup', 1, '--device',
               '0:0/1')
    if r.status:
        raise Skip('the device cannot be divided: ' + r.error)


# --- all of them ---------------------------------------------------------------------------------

WITHOUT_DEVICE = ('help', 'no platform', 'full standard output')


def main():
    cases = tap.functions(globals(), sys.argv[2:])
    if any(name not in WITHOUT_DEVICE for name, _ in cases) and blanch('devices').status:
        if os.environ.get('CI'):
            tap.need_device(BLANCH)
        cases = [(name, test if name in WITHOUT_DEVICE else no_device) for name, test in cases]
    status = tap.run(cases)
    shutil.rmtree(HOME, ignore_errors=True)
    return status


def no_device():
    raise Skip('there is no OpenCL device')


if __name__ == '__main__':
    sys.exit(main())
