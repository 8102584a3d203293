#!/usr/bin/env python3
"""Names from outside in everything that is printed and written, and no silence: tests/outside.py BLANCH [TEST...].
Prints TAP."""
import json
import math
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1]).encode()
HOME = tempfile.mkdtemp(prefix='blanch-outside-').encode()
SMALL = [b'--model', b'smallcnn', b'--data', b'synthetic:1x28x28:3', b'--batch', b'8']
CLASSES = [b'=1+1', b'a\n\x1b[2Jb', b'caf\xe9', b'<script>', '\u202eevil'.encode()]


def blanch(*args, status=0):
    """(standard output, lines of standard error), both judged: nothing in them does anything to a terminal."""
    args = [a if isinstance(a, bytes) else a.encode() for a in args]
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, cwd=HOME)
    out, err = done.stdout.decode('utf-8'), done.stderr.decode('utf-8')
    check(done.returncode == status, '%s: exit status %d, not %d: %s' % (args, done.returncode, status, err[-400:]))
    for line in out.split('\n') + err.split('\n'):
        check(line.replace('\t', '').isprintable(), '%s prints %r' % (args[0], line))
    return out, err.splitlines()


def image(path, shade):
    with open(path, 'wb') as f:
        f.write(b'P5\n28 28\n255\n' + bytes((shade + 7 * i) % 256 for i in range(784)))
    return path


def folder():
    """Images in classes with names of all kinds, below a name that is no UTF-8."""
    root = os.path.join(HOME, b'd\xffta \x1b[31m')
    for part in (b'train', b'test') if not os.path.exists(root) else ():
        for k, name in enumerate(CLASSES):
            os.makedirs(os.path.join(root, part, name))
            for i in range(4):
                image(os.path.join(root, part, name, b'%d.pgm' % i), 50 * k + i)
    return root


def run():
    out = os.path.join(HOME, b'run\n\xfe')
    if not os.path.exists(out):
        blanch('train', '--model', 'smallcnn', '--norm', 'bn', '--data', b'folder:' + folder(), '--batch', '8',
               '--epochs', '1', '--out', out)
    return out


def tensors(path):
    with open(path, 'rb') as f:
        data = bytearray(f.read())
    size, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + size])
    return data, 8 + size, {k: v['data_offsets'] for k, v in header.items() if v.get('dtype') == 'F32'}


def poisoned(name, value, every=False, tensor='conv1.weight'):
    """A copy of the run in which a value, or every value of every weight, is another."""
    out = os.path.join(HOME, name)
    shutil.copytree(run(), out)
    path = os.path.join(out, b'last.safetensors')
    data, base, places = tensors(path)
    for key, (begin, end) in places.items():
        for at in range(begin, end, 4) if every and key.endswith('weight') else [begin] if key == tensor else ():
            data[base + at:base + at + 4] = struct.pack('<f', value)
    with open(path, 'wb') as f:
        f.write(data)
    return out


# --- names -----------------------------------------------------------------------------------------

def test_names_that_are_no_utf8():
    """A run on such a folder is recorded, read back, resumed, measured, and reported."""
    out = run()
    with open(os.path.join(out, b'config.json'), encoding='utf-8') as f:
        config = json.load(f)
    check(config['data'] == 'folder:%s/d\\xFFta \x1b[31m' % HOME.decode(), config['data'])
    check(sorted(config['class_names']) == sorted(['=1+1', 'a\n\x1b[2Jb', 'caf\\xE9', '<script>', '\u202eevil']),
          config['class_names'])
    blanch('train', '--resume', '--epochs', '2', '--out', out)
    picture = os.path.join(folder(), b'test', b'caf\xe9', b'0.pgm')
    for args in (['eval', '--run', out], ['predict', picture, '--run', out]):
        blanch(*args)
        document = json.loads(blanch(*args, '--json')[0])
        check(document['settings']['run'] == HOME.decode() + '/run\n\\xFE', document['settings'])
    check('caf\\xE9' in [c['name'] for c in document['images'][0]['classes']], document['images'])
    blanch('report', out, '--out', os.path.join(HOME, b'p\n.html'), '--csv', os.path.join(HOME, b'\x1b.csv'))


def test_messages_are_one_line():
    for args in (['predict', b'no\nsuch\x1b[2J\xff.png', '--run', run()], ['eval', '--run', b'no\nsuch\x9b'],
                 ['report', b'a\nb'], ['check', b'a\r\nb'], ['bench', '--model', b'a\nb\x1b[2J', '--norm', 'bn'],
                 ['train', '--model', 'smallcnn', '--norm', b'\nbn', '--data', 'x', '--out', 'y'], [b'tr\nain'],
                 ['eval', b'--no\nption'], ['train', '--data', b'folder:a\nb', '--model', 'smallcnn', '--norm', 'bn',
                                            '--out', 'y'],
                 ['study', '--show', '--out', b'a\nb'], ['devices', '--device', b'\x1b[2J\n']):
        err = blanch(*args, status=2)[1]
        check(len(err) == 1 and err[0].startswith('blanch: ') and '\\x' in err[0], err)


# --- no silence ------------------------------------------------------------------------------------

def test_predict_classifies_the_rest():
    good, bad = image(os.path.join(HOME, b'good.pgm'), 3), os.path.join(HOME, b'bad.png')
    with open(bad, 'wb') as f:
        f.write(b'no image')
    empty = os.path.join(HOME, b'none')
    os.mkdir(empty)
    paths = [good, bad, b'absent.pgm', empty, good]
    out, err = blanch('predict', *paths, '--run', run(), status=2)
    check(out.count('good.pgm') == 2 and out.count('%') == 2 * len(CLASSES), out)
    named = [w for w, line in zip(('bad.png', 'absent.pgm', empty.decode()), err) if w in line]
    check(len(err) == 3 and len(named) == 3, err)
    out, err = blanch('predict', *paths, '--json', '--run', run(), status=2)
    images = json.loads(out)['images']
    check([('classes' in i, 'error' in i) for i in images] == [(w, not w) for w in (True, False, False, False, True)],
          images)
    check(images[1]['image'] == bad.decode() and 'bad.png' in images[1]['error'] and len(err) == 3, images)
    check(blanch('predict', bad, '--run', run(), status=2)[0] == '', 'a bad image alone prints something')


def test_compare_needs_steps():
    """Fewer steps than it takes are refused before anything is made; four give results, whole batches or not."""
    out = os.path.join(HOME, b'compare')
    for steps in ('1', '2', '3'):
        err = blanch('compare', *SMALL, '--steps', steps, '--out', out, status=2)[1]
        check(len(err) == 1 and 'at least 4 steps' in err[0] and not os.path.exists(out), err)
    few = ['--model', 'smallcnn', '--data', b'folder:' + folder(), '--norms', 'bn', '--out', out]
    for epochs, batch in (('1', '128'), ('3', '128'), ('1', '10')):
        err = blanch('compare', *few, '--epochs', epochs, '--batch', batch, status=2)[1]
        check('at least 4 steps' in err[-1] and not os.path.exists(out), err)
    for args in (few + ['--epochs', '4'], few + ['--epochs', '2', '--batch', '12'],
                 few + ['--steps', '4', '--batch', '8']):
        document = json.loads(blanch('compare', *args, '--json')[0])
        check(document['runs'][0]['step_ms'] > 0 and document['runs'][0]['images_per_s'] > 0, document['runs'][0])
        printed = blanch('report', out, '--csv', os.path.join(HOME, b'few.csv'))[0]
        check('few.csv' in printed, printed)
        shutil.rmtree(out)


def test_weights_that_are_not_finite():
    for name, value in ((b'nan', math.nan), (b'inf', math.inf), (b'-inf', -math.inf)):
        out = poisoned(b'weights ' + name, value, tensor='bn1.running_var')
        weights = os.path.join(out, b'last.safetensors')
        for args in (['eval', '--run', out], ['predict', image(os.path.join(HOME, b'i.pgm'), 1), '--run', out],
                     ['train', '--resume', '--epochs', '2', '--out', out],
                     ['train', '--model', 'smallcnn', '--norm', 'bn', '--data', b'folder:' + folder(), '--batch',
                      '8', '--init', weights, '--out', os.path.join(HOME, b'never')]):
            printed, err = blanch(*args, status=2)
            check(not printed and len(err) == 1 and 'last.safetensors' in err[0] and 'bn1.running_var' in err[0], err)


def test_outputs_that_are_not_finite():
    """Finite weights, logits that are none: no accuracy, no class. Equal logits: chance, not certainty."""
    out, picture = poisoned(b'large', 3e38, every=True), image(os.path.join(HOME, b'i.pgm'), 1)
    for args in (['eval', '--run', out], ['eval', '--run', out, '--json'], ['predict', picture, '--run', out]):
        printed, err = blanch(*args, status=1)
        check(not printed and 'not finite' in err[-1], (printed, err))
    document = json.loads(blanch('predict', picture, '--run', out, '--json', status=1)[0])
    check('not finite' in document['images'][0]['error'], document['images'])
    same = json.loads(blanch('eval', '--run', poisoned(b'zero', 0.0, every=True), '--json')[0])
    check(same['top1'] <= 100 / len(CLASSES) + 1, 'equal logits are right: %s' % same)


def test_check_and_study_do_the_rest():
    case = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference', 'conformance', 'relu.safetensors')
    out, err = blanch('check', case, 'absent\n', case, status=2)
    check('2 passed, 0 failed' in out and len(err) == 1 and 'absent' in err[0], (out, err))
    study = os.path.join(HOME, b'study')
    for name, config in ((b'cifar10-vgg11-bn-1-a1', b'{'), (b'cifar10-vgg11-nd-1-a1', b'{"data": "x\\u001b"}'),
                         (b'\x1bx-vgg11-nd-1-a1', b'{}')):
        os.makedirs(os.path.join(study, name))
        with open(os.path.join(study, name, b'config.json'), 'wb') as f:
            f.write(config)
    out, err = blanch('study', '--show', '--out', study, status=2)
    check(len(err) == 1 and 'vgg11-bn' in err[0] and 'data: x\\x1B' in out and '\\x1Bx' in out, (out, err))
    check(len(json.loads(blanch('study', '--show', '--json', '--out', study, status=2)[0])['cells']) == 2, 'cells')


def test_options_without_effect():
    """They are named, or refused where they would choose the command's work."""
    net = ['--model', 'smallcnn', '--batch', '2', '--steps', '1', '--warmup', '0']
    for args, word in ((['--norm', 'bn', '--block', '32', '--refresh', '3'], '--block, --refresh'),
                       (['--norm', 'nd', '--channel-deconv', '4'], '--channel-deconv')):
        err = blanch('bench', *net, *args)[1]
        check('warning: ' + word in err[0], err)
    for args in (['models', '--classes', '5'], ['tune', '--show', '--model', 'vgg11'],
                 ['eval', '--run', run(), '--block', '3'], ['bench', '--gemm', '8', '--model', 'vgg11'],
                 ['predict', 'x.png', '--run', run(), '--data', 'synthetic:1x28x28:5'],
                 ['train', *SMALL, '--norm', 'bn', '--steps', '1', '--epochs', '1', '--out', 'both']):
        err = blanch(*args, status=2)[1]
        check(len(err) == 1, err)
    check("'-d'" in blanch('predict', '--run', run(), '-dash.jpg', status=2)[1][0], 'another word is named')


def test_quiet_says_what_is_left_out():
    data = os.path.join(HOME, b'pictures')
    shutil.copytree(folder(), data)
    with open(os.path.join(data, b'train', CLASSES[0], b'x.webp'), 'wb'):
        pass
    args = ['train', '--quiet', '--model', 'smallcnn', '--norm', 'bn', '--batch', '8', '--steps', '1']
    err = blanch(*args, '--data', b'folder:' + data, '--out', 'quiet')[1]
    check(err and '.webp 1' in err[0], err)
    check(not blanch(*args, '--data', 'synthetic:1x28x28:3', '--out', 'still')[1], 'quiet is not quiet')


def test_little_is_not_nothing():
    for args in (['bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '2', '--steps', '1', '--warmup', '0'],
                 ['tune', '--show'],
                 ['tune', '--model', 'smallcnn', '--norm', 'bn', '--batch', '2', '--seconds', '0'],
                 ['study', '--show', '--out', HOME]):
        check(blanch(*args)[0].strip(), '%s prints nothing' % args)


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
