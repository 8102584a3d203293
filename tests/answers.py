#!/usr/bin/env python3
"""What a trained network answers, and what its weights say of themselves: tests/answers.py BLANCH [TEST...]. Prints
TAP; makes its own small data."""
import csv
import json
import os
import random
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import xml.etree.ElementTree
import zipfile

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


def test_an_auxiliary_classifier_is_passed_over():
    """torchvision's, which serves training alone; what else is not the network's is refused."""
    picture, weights = os.path.join(pictures(), 'test', 'red', '00.png'), os.path.join(trained(), 'last.safetensors')
    with open(weights, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        data = f.read()
    for name in 'aux_classifier.4.bias', 'aux.bias':
        more = {name: {'dtype': 'F32', 'shape': [1], 'data_offsets': [len(data), len(data) + 4]}}
        text = json.dumps({**header, **more}).encode()
        text += b' ' * (-len(text) % 8)
        with open(path(name + '.safetensors'), 'wb') as f:
            f.write(struct.pack('<Q', len(text)) + text + data + bytes(4))
    alone = run('predict', picture, '--weights', path('aux_classifier.4.bias.safetensors'), '--json')
    check(json.loads(alone.stdout)['images'] ==
          json.loads(run('predict', picture, '--weights', weights, '--json').stdout)['images'], alone.stdout)
    refused('predict', picture, '--weights', path('aux.bias.safetensors'), words=['1 unexpected', 'aux.bias'])


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


# --- torchvision's names ---------------------------------------------------------------------------

def zeros(file, model, norm, classes=5, rename=lambda name: name):
    """Weights of a network as torchvision names them."""
    said = json.loads(run('models', model, '--norm', norm, '--classes', classes, '--json').stdout)
    header, at = {}, 0
    for name, shape in said['parameters'] + said['buffers']:
        size = 8 if not shape else 4
        for length in shape:
            size *= length
        header[rename(name)] = {'dtype': 'F32' if shape else 'I64', 'shape': shape, 'data_offsets': [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(file, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        f.truncate(8 + len(text) + at)      # of zeros
    return file


def test_torchvision_names():
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    said = run('models', 'torchvision:vgg16_bn').stdout
    check('vgg16-imagenet-bn' in said, said[:100])
    check('vgg16-imagenet-none' in run('models', 'torchvision:vgg16').stdout, 'vgg16 has batch norm')
    refused('models', 'torchvision:resnet81', words=["'torchvision:resnet18'"])
    refused('models', 'torchvision:alexnet', words=['alexnet', 'densenet121'])
    weights = zeros(path('tv.safetensors'), 'resnet18-imagenet', 'bn')
    done = run('predict', picture, '--weights', weights, '--model', 'torchvision:resnet18', '--size', 32, '--json')
    check(len(json.loads(done.stdout)['images'][0]['classes']) == 5 and not done.stderr, done.stderr)
    for model, right in (('resnet18', 'resnet18'), ('vgg16', 'resnet18'), ('resnet50-imagenet', 'resnet18')):
        refused('predict', picture, '--weights', weights, '--model', model, '--norm', 'bn', '--size', 32,
                words=['torchvision:' + right])
    data = 'folder:' + pictures()
    for more in ((), ('--new-head',)):
        refused('train', '--model', 'resnet18', '--norm', 'bn', '--data', data, '--init', weights, *more, '--out',
                path('none'), words=['torchvision:resnet18'])
    refused('train', '--model', 'torchvision:resnet18', '--data', data, '--size', 32, '--init', weights, '--out',
            path('none'), words=['--new-head'])
    refused('train', '--model', 'torchvision:resnet18', '--norm', 'nd', '--data', data, '--size', 32, '--init', weights,
            '--new-head', '--out', path('none'), words=['without --norm'])


def test_old_densenet_names():
    """norm.1 and conv.2 of torchvision's files, norm1 and conv2 of its networks."""
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    old = lambda name: re.sub(r'(denselayer\d+\.(?:norm|conv))([12])\.', r'\1.\2.', name)
    weights = zeros(path('dense.safetensors'), 'densenet121-imagenet', 'bn', rename=old)
    run('predict', picture, '--weights', weights, '--model', 'torchvision:densenet121', '--size', 32)
    refused('predict', picture, '--weights', weights, '--model', 'densenet121', '--norm', 'bn',
            words=['torchvision:densenet121'])


def test_files_of_torch():
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    for start in (b'PK\3\4', b'\x80\2', b'\x80\5'):
        with open(path('w.pth'), 'wb') as f:
            f.write(start + bytes(100))
        refused('predict', picture, '--weights', path('w.pth'), words=['python -m blanch.convert'])


# --- measuring -----------------------------------------------------------------------------------

def relabelled():
    """The test images of the pictures, two of red among the green ones."""
    root = path('relabelled')
    if os.path.exists(root):
        return root
    shutil.copytree(pictures(), root)
    for i in (0, 1):
        os.rename(os.path.join(root, 'test', 'red', '%02d.png' % i), os.path.join(root, 'test', 'green', 'r%d.png' % i))
    return root


def test_classes():
    """Counted by hand: a network that knows the colours is measured on images of which two are in the wrong folder."""
    out, data = trained(), 'folder:' + relabelled()
    answer = json.loads(run('eval', '--run', out, '--data', data, '--json').stdout)
    check(answer['confusion'] == [[4, 0, 0], [0, 4, 2], [0, 0, 2]], str(answer['confusion']))
    scores = [(c['name'], c['images'], c['answered'], c['right']) for c in answer['classes']]
    check(scores == [('blue', 4, 4, 4), ('green', 6, 4, 4), ('red', 2, 4, 2)], str(scores))
    green, red = answer['classes'][1:]
    check(green['precision'] == 100 and abs(green['recall'] - 100 * 4 / 6) < 1e-3 and green['f1'] == 80, str(green))
    check(red['precision'] == 50 and red['recall'] == 100 and abs(red['f1'] - 100 * 4 / 6) < 1e-3, str(red))
    check(abs(answer['macro_recall'] - (200 + 100 * 4 / 6) / 3) < 1e-3, str(answer['macro_recall']))
    check(abs(answer['top1'] - 100 * 10 / 12) < 1e-3, str(answer['top1']))
    with open(os.path.join(out, 'eval.json'), encoding='utf-8') as f:
        kept = json.load(f)
    check(kept['confusion'] == answer['confusion'] and kept['data'] == data, 'eval.json is of something else')
    text = run('eval', '--run', out, '--data', data).stdout
    check('    1  green                                6    100.00     66.67     80.00' in text, text)
    check('    1     0     4     2' in text, text)
    summed = json.loads(run('eval', '--run', out, '--split', 'all', '--json').stdout)
    check(sum(map(sum, summed['confusion'])) == summed['images'] == 48, str(summed['confusion']))


def test_many_classes():
    """Of more classes than a table shows: the worst, and what is taken for what."""
    out = path('many')
    run('train', '--model', 'smallcnn', '--norm', 'bn', '--data', 'synthetic:1x12x12:300', '--batch', 64, '--steps', 2,
        '--out', out)
    text = run('eval', '--run', out).stdout
    check('of least recall' in text and 'most often taken for another' in text, text)
    answer = json.loads(run('eval', '--run', out, '--json').stdout)
    check(len(answer['classes']) == 300 and 'confusion' not in answer, 'a matrix of 300 x 300')


def test_class_never_answered():
    """Has no precision, and no images no recall."""
    root = path('lacking')
    shutil.copytree(pictures(), root)
    shutil.rmtree(os.path.join(root, 'test', 'blue'))
    answer = json.loads(run('eval', '--run', trained(), '--data', 'folder:' + root, '--json').stdout)
    blue = answer['classes'][0]
    check(blue['precision'] is None and blue['recall'] is None and blue['f1'] is None, str(blue))
    check(answer['macro_recall'] == 100, str(answer['macro_recall']))


def test_eval_of_a_run_that_is_read_alone():
    out = path('read-only')
    shutil.copytree(trained(), out)
    if os.path.exists(os.path.join(out, 'eval.json')):
        os.remove(os.path.join(out, 'eval.json'))
    os.makedirs(os.path.join(out, 'eval.json', 'in-the-way'))    # root writes everywhere else
    done = run('eval', '--run', out)
    check('warning: ' in done.stderr and 'eval.json' in done.stderr and 'top-1' in done.stdout, done.stderr)


def test_report_of_classes():
    """eval.json becomes a picture and a table; one that is damaged is named."""
    out, page = path('reported'), path('page.html')
    shutil.copytree(trained(), out, ignore=shutil.ignore_patterns('eval.json'))
    run('report', out, '--out', page)
    with open(page, encoding='utf-8') as f:
        check('Each class' not in f.read(), 'classes of a run that was not measured')
    run('eval', '--run', out, '--data', 'folder:' + relabelled())
    run('report', out, '--out', page)
    with open(page, encoding='utf-8') as f:
        text = f.read()
    start = text.index('<svg viewBox="-6')
    figure = xml.etree.ElementTree.fromstring(text[start:text.index('</svg>', start) + 6])
    cells = [(cell.get('x'), cell.get('y'), cell[0].text) for cell in figure.iter('rect') if len(cell)]
    check(cells == [('0', '0', 'blue: 4'), ('1', '1', 'green: 4'), ('2', '1', 'green taken for red: 2'),
                    ('2', '2', 'red: 2')], str(cells))
    check('>66.67</td>' in text, 'no recall of green')
    check(json.loads(run('report', out, '--json').stdout)['documents'][0]['eval']['confusion'][1] == [0, 4, 2], 'JSON')
    with open(os.path.join(out, 'eval.json'), encoding='utf-8') as f:
        whole = json.load(f)
    for change in ({'kind': 'bench'}, {'classes': []}, {'classes': 7}, {'confusion': [[1]]},
                   {'confusion': [[1, 2, -3]] * 3}, {'confusion': [[1, 2, 'x']] * 3}):
        with open(os.path.join(out, 'eval.json'), 'w', encoding='utf-8') as f:
            json.dump({**whole, **change}, f)
        refused('report', out, '--out', page, words=['eval.json'])


def test_normalise():
    """Measured of a folder of small pictures, recorded, kept; or as it is asked for."""
    with open(os.path.join(trained(), 'config.json'), encoding='utf-8') as f:
        config = json.load(f)
    values = [sum(rgb[c] for rgb in COLOURS.values()) / 3 / 255 for c in range(3)]
    check(config['normalise'] == 'measured', str(config['normalise']))
    check(all(abs(m - v) < 0.02 for m, v in zip(config['view']['mean'], values)), str(config['view']))
    start = ('train', '--model', 'smallcnn', '--norm', 'bn', '--data', 'folder:' + pictures(), '--batch', 12, '--steps')
    run(*start, 1, '--normalise', 'imagenet', '--out', path('normalised'))
    with open(path('normalised', 'config.json'), encoding='utf-8') as f:
        config = json.load(f)
    check(config['view']['mean'] == [0.485, 0.456, 0.406], str(config['view']))
    refused('train', '--resume', '--out', path('normalised'), '--steps', 2, '--normalise', 'none',
            words=['--normalise'])
    refused(*start, 1, '--normalise', 'cifar', '--out', path('none'), words=['cifar10'])
    silent = with_metadata(os.path.join(trained(), 'last.safetensors'), path('silent2.safetensors'), model=None)
    picture = os.path.join(pictures(), 'test', 'red', '00.png')
    how = ('--weights', silent, '--model', 'smallcnn', '--norm', 'bn', '--size', '16x20')
    done = run('predict', picture, *how, '--normalise', 'none')
    guessed = run('predict', picture, *how)
    check(not done.stderr and done.stdout != guessed.stdout and 'CIFAR-10' in guessed.stderr, guessed.stderr)


# --- classifying ---------------------------------------------------------------------------------

def table(file):
    with open(file, newline='', encoding='utf-8') as f:
        return list(csv.reader(f))


def test_predict_folder():
    """All images below it, by name, as a table; one that is damaged has a row without an answer."""
    root, file = path('asked'), path('answers.csv')
    shutil.copytree(os.path.join(pictures(), 'test'), root)
    for name, data in (('notes.txt', b'no image'), ('blue/a, "b".png', b'no image')):
        with open(os.path.join(root, name), 'wb') as f:
            f.write(data)
    os.symlink('..', os.path.join(root, 'red', 'up'))
    done = blanch('predict', root + '/', '--run', trained(), '--csv', file, '--topk', 2)
    check(done.returncode == 2 and done.stdout == file + '\n', '%d: %s' % (done.returncode, done.stdout))
    check('1 file of types not read' in done.stderr and 'a, "b".png' in done.stderr, done.stderr)
    head, *rows = table(file)
    check(head == ['image', 'class_1', 'probability_1', 'class_2', 'probability_2'], str(head))
    check([r[0] for r in rows] == sorted(r[0] for r in rows) and len(rows) == 13, str(rows))
    for image, *answers in rows:
        if 'a, "b"' in image:
            check(answers == [''] * 4, str(answers))
            continue
        check(answers[0] == image.split('/')[-2], '%s: %s' % (image, answers))
        check(float(answers[1]) >= float(answers[3]) >= 0, str(answers))
    answer = json.loads(run('predict', os.path.join(root, 'red', '00.png'), '--run', trained(), '--topk', 1,
                            '--json').stdout)
    check(len(answer['images'][0]['classes']) == 1, str(answer))
    refused('predict', root, '--run', trained(), '--topk', 0, words=['--topk'])
    os.makedirs(path('empty'), exist_ok=True)
    refused('predict', path('empty'), '--run', trained(), words=['empty', 'no images'])
    refused('predict', os.path.join(root, 'green'), '--run', trained(), '--csv', path('none', 'x.csv'), words=['x.csv'])


# --- which images validate ------------------------------------------------------------------------

def config_of(out):
    with open(os.path.join(out, 'config.json'), encoding='utf-8') as f:
        return json.load(f)


def found(out):
    return {split: config_of(out)['data_found'][split]['images'] for split in ('train', 'val', 'test')}


SMALL = ('train', '--model', 'smallcnn', '--norm', 'bn', '--batch', 12, '--steps')


def test_val_split():
    """A share by seed, of named images and of numbered ones; later images change no sides; a run keeps to it."""
    root = path('growing')
    shutil.copytree(pictures(), root)
    data, out = 'folder:' + root, path('share')
    done = run(*SMALL, 3, '--data', data, '--val-split', '25%', '--out', out)
    check(found(out) == {'train': 27, 'val': 9, 'test': 12}, str(found(out)))
    check('validation chooses best' in done.stderr, done.stderr)
    check(config_of(out)['val_split'] == '25%', str(config_of(out)['val_split']))
    run('train', '--resume', '--out', out, '--steps', 4)
    answer = json.loads(run('eval', '--run', out, '--split', 'val', '--json').stdout)
    check(answer['images'] == 9, str(answer['images']))
    other = path('share-2')
    run(*SMALL, 1, '--data', data, '--val-split', '25%', '--seed', 1, '--out', other)
    names = [config_of(o)['data_found']['val']['names'] for o in (out, other)]
    check(names[0] != names[1], 'two seeds chose the same images')
    shutil.copy(os.path.join(root, 'train', 'red', '00.png'), os.path.join(root, 'train', 'red', 'more.png'))
    refused('train', '--resume', '--out', out, '--steps', 5, words=['training images'])
    run(*SMALL, 1, '--data', 'synthetic:3x16x16:4', '--val-split', '10%', '--out', path('share-3'))
    check(found(path('share-3')) == {'train': 1843, 'val': 205, 'test': 512}, str(found(path('share-3'))))
    for share in ('10', '0%', '95%', '%', 'x%', '-1%'):
        refused(*SMALL, 1, '--data', data, '--val-split', share, '--out', path('none'), words=['--val-split'])
    shutil.copytree(os.path.join(root, 'test'), os.path.join(root, 'val'))
    refused(*SMALL, 1, '--data', data, '--val-split', '10%', '--out', path('none'), words=['of its own'])
    check(not os.path.exists(path('none')), 'a refused run left a folder')


def test_split_file():
    root, file, out = pictures(), path('splits.txt'), path('by-file')
    names = [os.path.join(split, name, '%02d.png' % i) for split, count in (('train', 12), ('test', 4))
             for name in COLOURS for i in range(count)]
    said = [('val' if i % 4 == 0 else 'test' if i % 4 == 1 else 'train', name) for i, name in enumerate(names)][:-2]

    def write(lines):
        with open(file, 'w', encoding='utf-8') as f:
            f.write(''.join('%s %s\n' % line for line in lines))

    write(said)
    done = run(*SMALL, 1, '--data', 'folder:' + root, '--split-file', file, '--out', out)
    counts = {split: sum(s == split for s, _ in said) for split in ('train', 'val', 'test')}
    check(found(out) == counts, str(found(out)))
    check('2 images that' in done.stderr, done.stderr)
    run('train', '--resume', '--out', out, '--steps', 2)
    write([('train' if split == 'val' else split, name) for split, name in said])
    refused('train', '--resume', '--out', out, '--steps', 3, words=['training images'])
    write([('train' if i % 2 else 'val', '%d' % i) for i in range(100)])
    run(*SMALL, 1, '--data', 'synthetic:3x16x16:4', '--split-file', file, '--out', path('by-number'))
    check(found(path('by-number')) == {'train': 50, 'val': 50, 'test': 0}, str(found(path('by-number'))))
    for lines, word in (([('train', names[0]), ('test', names[0])], 'twice'), ([('train', 'no.png')], 'no.png'),
                        ([('some', names[0])], 'line 1'), ([('train', '')], 'line 1')):
        write(lines)
        refused(*SMALL, 1, '--data', 'folder:' + root, '--split-file', file, '--out', path('none'),
                words=['splits.txt', word])
    refused(*SMALL, 1, '--data', 'foldr:' + root, '--out', path('none'), words=['did you mean folder?'])
    refused(*SMALL, 1, '--data', 'folder:' + root, '--split-file', path('absent'), '--out', path('none'),
            words=['absent'])


# --- arrays --------------------------------------------------------------------------------------

def npy(kind, shape, values, order=False):
    head = repr({'descr': kind, 'fortran_order': order, 'shape': tuple(shape)}).encode()
    head += b' ' * (-(len(head) + 11) % 64) + b'\n'
    return b'\x93NUMPY\1\0' + struct.pack('<H', len(head)) + head + bytes(values)


def npz(name, packed=False, **arrays):
    with zipfile.ZipFile(path(name), 'w', zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        for key, array in arrays.items():
            with archive.open(key + '.npy', 'w', force_zip64=True) as f:     # as NumPy does
                f.write(array)
    return 'npz:' + path(name)


def test_npz():
    """Five channels of 6x9 pixels, packed: a tenth is for testing, mean and deviation are measured."""
    count, (h, w, c), rng, out = 40, (6, 9, 5), random.Random(4), path('arrays')
    images = npy('|u1', (count, h, w, c), (rng.randrange(256) for _ in range(count * h * w * c)))
    labels = npy('<i8', (count,), struct.pack('<40q', *(i % 4 for i in range(count))))
    run('train', '--model', 'smallcnn', '--norm', 'bn', '--batch', 8, '--steps', 3, '--size', '6x9', '--data',
        npz('arrays.npz', True, images=images, labels=labels), '--out', out)
    check(found(out) == {'train': 36, 'val': 0, 'test': 4}, str(found(out)))
    view = config_of(out)['view']
    check(config_of(out)['normalise'] == 'measured' and view['channels'] == 5, str(view))
    check(all(abs(m - 0.5) < 0.05 and abs(d - 12 ** -0.5) < 0.03 for m, d in zip(view['mean'], view['deviation'])),
          str(view))
    check(json.loads(run('eval', '--run', out, '--split', 'all', '--json').stdout)['images'] == 40, 'not all images')


def test_npz_of_splits():
    """As MedMNIST and Keras name them; planes where the last dimension is no number of channels."""
    picture = lambda i, k: [(40 * i + 7 * p + 90 * k) % 256 for p in range(20 * 20)]
    flat = [sum((list(x) for x in zip(picture(i, 0), picture(i, 1), picture(i, 2))), []) for i in range(12)]
    planes = [sum((picture(i, k) for k in range(3)), []) for i in range(12)]
    labels, losses = npy('|u1', (12, 1), [i % 3 for i in range(12)]), []
    for keys, shape, images in ((('train_images', 'train_labels', 'test_images', 'test_labels'), (12, 20, 20, 3), flat),
                                (('x_train', 'y_train', 'x_test', 'y_test'), (12, 3, 20, 20), planes)):
        array = npy('|u1', shape, sum(images, []))
        spec = npz(keys[0] + '.npz', **dict(zip(keys, (array, labels, array, labels))))
        out = path('run-' + keys[0])
        run(*SMALL, 2, '--data', spec, '--out', out)
        check(found(out) == {'train': 12, 'val': 0, 'test': 12}, str(found(out)))
        with open(os.path.join(out, 'log.jsonl'), encoding='utf-8') as f:
            losses.append([line['loss'] for line in map(json.loads, f) if line['type'] == 'step'])
    check(losses[0] == losses[1], str(losses))


def test_npz_with_names():
    """Texts of either kind; a class may be without images."""
    images, labels = npy('|u1', (40, 8, 8), bytes(2560)), npy('|u1', (40,), [i % 2 for i in range(40)])
    kinds = (('classes', '<U4', 'cat\0kön\0dog\0'.encode('utf-32-le'), ['cat', 'kön', 'dog']),
             ('class_names', '|S3', b'catd\0\0dog', ['cat', 'd', 'dog']))
    for key, kind, values, names in kinds:
        out = path('named-' + key)
        spec = npz(key + '.npz', images=images, labels=labels, **{key: npy(kind, (3,), values)})
        run(*SMALL, 1, '--data', spec, '--out', out)
        check(config_of(out)['class_names'] == names, str(config_of(out)['class_names']))


def test_wrong_npz():
    good, labels = npy('|u1', (4, 2, 2), range(16)), npy('|u1', (4,), [0, 1, 0, 1])
    names = lambda kind, count, values: {'images': good, 'labels': labels, 'classes': npy(kind, (count,), values)}
    arrays = (({}, 'images and labels'), ({'images': good}, 'no labels'),
              ({'images': npy('<f4', (1, 2, 2), bytes(16)), 'labels': labels}, 'uint8'),
              ({'images': npy('<i2', (4, 2, 2), bytes(32)), 'labels': labels}, 'uint8'),
              ({'images': npy('|u1', (4, 4), range(16)), 'labels': labels}, 'shape'),
              ({'images': npy('|u1', (4, 2, 3), range(16)), 'labels': labels}, 'announces 24'),
              ({'images': npy('|u1', (4, 2, 2), range(16), True), 'labels': labels}, 'Fortran'),
              ({'images': good, 'labels': npy('|u1', (3,), [0, 1, 0])}, 'label for each of 4'),
              ({'images': good, 'labels': npy('|i1', (4,), [0, 1, 0, 255])}, 'label 3'),
              ({'images': good, 'labels': labels[:-2]}, 'labels'),
              ({'images': b'no array', 'labels': labels}, 'malformed'), (names('|S1', 1, b'a'), '1 names'),
              (names('|S1', 2, b'aa'), 'a twice'), (names('|S1', 2, b'a\0'), 'name 1 of classes is empty'),
              (names('<U1', 2, b'a\0\0\0\0\xd8\0\0'), 'no text'), (names('|u1', 2, b'ab'), 'array of texts'),
              (names('|S2000', 1, b'a' * 2000), 'S2000'))
    for made, word in arrays:
        refused(*SMALL, 1, '--data', npz('wrong.npz', True, **made), '--out', path('none'), words=['wrong.npz', word])
    spec = npz('cut.npz', True, images=good, labels=labels)
    with open(path('cut.npz'), 'rb') as f:
        whole = f.read()
    for change in (whole[:-10], whole[:40], whole[40:], b'', b'PK\5\6' + bytes(18)):
        with open(path('cut.npz'), 'wb') as f:
            f.write(change)
        refused(*SMALL, 1, '--data', spec, '--out', path('none'), words=['cut.npz'])
    check(not os.path.exists(path('none')), 'a refused run left a folder')


# --- CIFAR for Python ----------------------------------------------------------------------------

def test_cifar_for_python():
    """The same images as the binary version: the same losses. What is no such batch is refused, and nothing runs."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), 'fuzz'))
    from seeds import pickled
    rng, row, losses = random.Random(5), 3072, []
    batches = [([rng.randrange(10) for _ in range(12)], bytes(rng.randrange(256) for _ in range(12 * row)))
               for _ in range(6)]
    names = ['data_batch_%d' % i for i in range(1, 6)] + ['test_batch']
    for kind in ('bin', 'py'):
        folder, out = path('cifar-' + kind, 'cifar-10-batches-' + kind), path('run-cifar-' + kind)
        os.makedirs(folder)
        for name, (labels, pixels) in zip(names, batches):
            records = b''.join(bytes([label]) + pixels[i * row:(i + 1) * row] for i, label in enumerate(labels))
            with open(os.path.join(folder, name + ('.bin' if kind == 'bin' else '')), 'wb') as f:
                f.write(records if kind == 'bin' else pickled(labels, pixels, row))
        run(*SMALL, 3, '--data', 'cifar10:' + path('cifar-' + kind), '--out', out)
        with open(os.path.join(out, 'log.jsonl'), encoding='utf-8') as f:
            losses.append([line['loss'] for line in map(json.loads, f) if line['type'] == 'step'])
    check(losses[0] == losses[1] and len(losses[0]) == 3, str(losses))
    whole = pickled(*batches[0], row)
    for change in (whole[:-3], whole[:2000], whole.replace(b'numpy\nndarray', b'os\nsystem'), b'\x80\4' + whole[2:],
                   whole.replace(b'U\6labels', b'U\6labelz'), pickled([3] * 11, batches[0][1], row), whole[2:]):
        with open(path('cifar-py', 'cifar-10-batches-py', 'data_batch_1'), 'wb') as f:
            f.write(change)
        refused(*SMALL, 1, '--data', 'cifar10:' + path('cifar-py'), '--out', path('none'), words=['data_batch_1'])
    with open(path('cifar-py', 'cifar-10-batches-py', 'data_batch_1'), 'wb') as f:
        f.write(pickled([10] * 12, batches[0][1], row))
    refused(*SMALL, 1, '--data', 'cifar10:' + path('cifar-py'), '--out', path('none'), words=['label 10'])


# --- kept pictures -------------------------------------------------------------------------------

def test_cache():
    """The same losses without the folder, with it, and from it alone; the ledger tells the loader's rate."""
    root, kept, losses = pictures(100, 80), path('kept'), []
    for name, more in (('none', ()), ('first', ('--cache', kept)), ('second', ('--cache', kept))):
        out = path('cached-' + name)
        run(*SMALL, 3, '--data', 'folder:' + root, '--size', 32, *more, '--out', out)
        with open(os.path.join(out, 'log.jsonl'), encoding='utf-8') as f:
            losses.append([line['loss'] for line in map(json.loads, f) if line['type'] == 'step'])
        with open(os.path.join(out, 'ledger.json'), encoding='utf-8') as f:
            loader = json.load(f)['loader']
        check(loader['images'] >= 36 and loader['threads'] >= 1 and loader['images_per_s'] > 0, str(loader))
        if name == 'first':
            files = {f: os.stat(os.path.join(kept, f)).st_mtime_ns for f in os.listdir(kept)}
            check(len(files) == 48, '%d pictures are kept' % len(files))
    check(losses[0] == losses[1] == losses[2], str(losses))
    check(files == {f: os.stat(os.path.join(kept, f)).st_mtime_ns for f in os.listdir(kept)}, 'written again')
    with open(path('a-file'), 'w', encoding='utf-8') as f:
        f.write('x')
    refused(*SMALL, 1, '--data', 'folder:' + root, '--cache', path('a-file'), '--out', path('none'), words=['a-file'])


# --- an example ---------------------------------------------------------------------------------

def test_example():
    """The lines of docs/tutorial.md, on a few small pictures, from weights of other pictures."""
    here = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'examples', 'pictures.py')
    for folder, more in (('drawn', ()), ('drawn-others', ('--others',))):
        subprocess.run([sys.executable, here, path(folder), *more, '--size', '32', '--train', '3', '--test', '1'],
                       check=True)
    start = ('train', '--model', 'torchvision:resnet18', '--size', 32, '--batch', 10, '--augment', 'cifar',
             '--optimiser', 'adamw', '--no-tune')
    run(*start, '--data', 'folder:' + path('drawn-others'), '--steps', 1, '--out', path('drawn-pre'))
    weights = path('drawn-pre', 'last.safetensors')
    run(*start, '--data', 'folder:' + path('drawn'), '--init', weights, '--new-head', '--epochs', 1, '--out',
        path('tuned'))
    check('mean of classes' in run('eval', '--run', path('tuned')).stdout, 'no classes')
    run('predict', path('drawn', 'test'), '--run', path('tuned'), '--csv', path('tuned.csv'))
    rows = table(path('tuned.csv'))
    check(len(rows) == 11 and {row[1] for row in rows[1:]} <= set(os.listdir(path('drawn', 'train'))), str(rows))


# --- epochs as a table ---------------------------------------------------------------------------

def test_results():
    """The log's epochs, with their keys; resumed, the table goes on."""
    out = path('epochs')
    start = ('train', '--model', 'smallcnn', '--norm', 'bn', '--data', 'folder:' + pictures(), '--batch', 12)
    run(*start, '--epochs', 2, '--out', out)
    run('train', '--resume', '--out', out, '--epochs', 3)
    with open(os.path.join(out, 'log.jsonl'), encoding='utf-8') as f:
        lines = [line for line in map(json.loads, f) if line['type'] == 'epoch']
    head, *rows = table(os.path.join(out, 'results.csv'))
    check(head == [key for key in lines[0] if key != 'type'] and len(rows) == 3, str(head))
    for row, line in zip(rows, lines):
        check([float(value) for value in row] == [line[key] for key in head], '%s: %s' % (row, line))


if __name__ == '__main__':
    tap.need_device(BLANCH)
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME)
    sys.exit(status)
