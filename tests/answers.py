#!/usr/bin/env python3
"""What a trained network answers, and what its weights say of themselves: tests/answers.py BLANCH [TEST...]. Prints
TAP; makes its own small data."""
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile

import caches
import tap
from pictures import png
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-answers-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
COLOURS = {'blue': (40, 60, 200), 'green': (40, 190, 60), 'red': (210, 50, 40)}


def path(*parts):
    return os.path.join(HOME, *parts)


def blanch(*args, limit=300, **more):
    return subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=limit,
                          env=ENV, encoding='utf-8', **more)


def run(*args, **more):
    done = blanch(*args, **more)
    check(done.returncode == 0, '%s: %d: %s' % (' '.join(map(str, args)), done.returncode, done.stderr[-400:]))
    return done


def refused(*args, words, status=2):
    done = blanch(*args)
    lines = [line for line in done.stderr.splitlines() if line.startswith('blanch: ')]
    check(done.returncode == status and len(lines) == 1, '%s: %d: %s' % (' '.join(map(str, args)), done.returncode,
                                                                         done.stderr[-400:]))
    for word in words:
        check(word in lines[0], "'%s' is not in: %s" % (word, lines[0]))


def colour(rgb, width, height, rng):
    return png(width, height, bytes(min(255, max(0, value + rng.randrange(-30, 30)))
                                    for _ in range(width * height) for value in rgb))


def pictures(width=20, height=16):
    """A folder of three colours, 12 training and 4 test images each, made once."""
    root, rng = path('pictures-%dx%d' % (width, height)), random.Random(1)
    if not os.path.exists(root):
        for split, count in (('train', 12), ('test', 4)):
            for name, rgb in COLOURS.items():
                os.makedirs(os.path.join(root, split, name))
                for i in range(count):
                    with open(os.path.join(root, split, name, '%02d.png' % i), 'wb') as f:
                        f.write(colour(rgb, width, height, rng))
    return root


def trained(norm='bn', *more, epochs=6):
    """A run of smallcnn on them, made once."""
    out = path('-'.join(['run', norm, *map(str, more)]).replace('/', '_'))
    if not os.path.exists(out):
        run('train', '--model', 'smallcnn', '--norm', norm, '--data', 'folder:' + pictures(), '--batch', 12,
            '--epochs', epochs, '--lr', 0.02, '--size', '16x20', '--out', out, *more)
    return out


def metadata(file):
    with open(file, 'rb') as f:
        return json.loads(f.read(struct.unpack('<Q', f.read(8))[0])).get('__metadata__', {})


def with_metadata(file, to, **changes):
    """A copy whose metadata differ; None: leaves a key out."""
    with open(file, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = f.read()
    header['__metadata__'] = {k: v for k, v in {**header['__metadata__'], **changes}.items() if v is not None}
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(to, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data)
    return to


# --- weights that say what they are --------------------------------------------------------------

def test_weights_need_nothing_else():
    """Class, probability: by the run, and by the file of weights alone."""
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    for norm, more in (('bn', ()), ('nd', ('--block', 16, '--nd-iter', 3))):
        out = trained(norm, *more)
        weights = shutil.copy(os.path.join(out, 'best.safetensors'), path('alone.safetensors'))
        said = metadata(weights)
        check((said['model'], said['norm'], said['input']) == ('smallcnn', norm, '[3,16,20]'), str(said))
        check(json.loads(said['classes']) == sorted(COLOURS), said['classes'])
        check(('options' in said) == (norm == 'nd'), str(said))
        by_run = json.loads(run('predict', picture, '--run', out, '--best', '--json').stdout)['images']
        alone = run('predict', picture, '--weights', weights, '--json')
        check(json.loads(alone.stdout)['images'] == by_run, alone.stdout)
        check(by_run[0]['classes'][0]['name'] == 'red', str(by_run))
        check('warning' not in alone.stderr, alone.stderr)
        spec = 'folder:' + pictures()
        measured = [json.loads(run('eval', *how, '--data', spec, '--json').stdout)
                    for how in (('--run', out, '--best'), ('--weights', weights))]
        check(measured[0]['loss'] == measured[1]['loss'], str(measured))


def test_network_of_a_file():
    """The description goes with the weights; the file may be gone."""
    model, out, picture = path('net.json'), path('described'), os.path.join(pictures(), 'test', 'blue', '00.png')
    with open(model, 'w') as f:
        f.write(run('models', 'smallcnn', '--json', '--classes', 3).stdout)
    run('train', '--model', model, '--norm', 'nd', '--data', 'folder:' + pictures(), '--batch', 12, '--steps', 2,
        '--out', out)
    os.remove(model)
    by_run = json.loads(run('predict', picture, '--run', out, '--json').stdout)['images']
    alone = run('predict', picture, '--weights', os.path.join(out, 'last.safetensors'), '--json')
    check(json.loads(alone.stdout)['images'] == by_run, alone.stdout)


def test_weights_that_say_nothing():
    """As PyTorch saves them: the network has to be named."""
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    weights = os.path.join(trained(), 'last.safetensors')
    silent = with_metadata(weights, path('silent.safetensors'), model=None)
    refused('predict', picture, '--weights', silent, words=['silent.safetensors', '--model'])
    done = run('predict', picture, '--weights', silent, '--model', 'smallcnn', '--norm', 'bn', '--size', '16x20',
               '--data', 'folder:' + pictures())
    check('red' in done.stdout, done.stdout)


def test_wrong_metadata():
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    weights = os.path.join(trained(), 'last.safetensors')
    for key, value, word in (('model', 'nonet', 'nonet'), ('norm', 'xn', 'xn'), ('norm', None, 'norm'),
                             ('classes', '{', 'classes'), ('classes', '[1,2,3]', 'classes'),
                             ('classes', '0', 'classes'), ('classes', '1e99', 'classes'),
                             ('classes', '["a","b"]', 'classes'), ('input', '[3,16]', 'input'),
                             ('input', '[3,16,99999]', 'input'), ('input', None, 'input'),
                             ('view', '{}', 'channels'), ('view', '7', 'channels'), ('network', '{}', 'input'),
                             ('options', '{"block": 0.5}', 'block')):
        file = with_metadata(weights, path('wrong.safetensors'), **{key: value})
        refused('predict', picture, '--weights', file, words=['wrong.safetensors', word])


if __name__ == '__main__':
    tap.need_device(BLANCH)
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME)
    sys.exit(status)
