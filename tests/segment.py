#!/usr/bin/python3
"""Networks that label pixels: segment.py BLANCH LIBRARY [TEST...]. Masks of files, cropped and mirrored as their
pictures; figures of an evaluation beside those of the masks that were predicted; what is refused. Prints TAP; needs
NumPy."""
import json
import os
import re
import struct
import subprocess
import sys
import zlib

import tap
from package import BLANCH, HOME, raises
from pictures import png
from tap import check

import numpy as np
import blanch
from blanch import nn

SIDE, CLASSES, NAMES = 16, 3, ('ground', 'left', 'right')
NETWORK = {'input': [3, SIDE, SIDE], 'graph': [
    {'op': 'conv2d', 'name': 'down', 'attrs': {'out_channels': 8, 'kernel': 3, 'stride': 2, 'padding': 1}},
    {'op': 'batchnorm2d', 'name': 'norm'}, {'op': 'relu'},
    {'op': 'conv2d', 'name': 'head', 'attrs': {'out_channels': CLASSES, 'kernel': 1}},
    {'op': 'upsample', 'attrs': {'scale': 2, 'bilinear': True}}]}


def path(*parts):
    return os.path.join(HOME, *parts)


def put(name, data):
    os.makedirs(os.path.dirname(path(name)), exist_ok=True)
    with open(path(name), 'wb') as f:
        f.write(data)
    return path(name)


def mask_png(mask, depth=8, palette=False):
    """Indices as a PNG of so many bits, grey or with a palette; rows by every filter in turn."""
    chunk = lambda kind, data: struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    height, width = mask.shape
    rows, before = b'', None
    for y in range(height):
        bits = ''.join(format(int(v), '0%db' % depth) for v in mask[y])
        row = int(bits.ljust(-len(bits) // 8 * -8, '0'), 2).to_bytes(-(-len(bits) // 8), 'big')
        up, filtered = before or bytes(len(row)), bytearray()
        for i, value in enumerate(row):
            a, b, c = (row[i - 1] if i else 0), up[i], (up[i - 1] if i else 0)
            p = a + b - c
            paeth = min((abs(p - a), 0, a), (abs(p - b), 1, b), (abs(p - c), 2, c))[2]
            filtered.append((value - (0, a, b, (a + b) // 2, paeth)[y % 5]) & 255)
        rows += bytes((y % 5,)) + bytes(filtered)
        before = row
    colours = chunk(b'PLTE', bytes(i % 256 for i in range(3 << depth))) if palette else b''
    header = chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, depth, 3 if palette else 0, 0, 0, 0))
    data = zlib.compress(rows)
    return (b'\x89PNG\r\n\x1a\n' + header + colours + chunk(b'IDAT', data[:9]) + chunk(b'IDAT', data[9:]) +
            chunk(b'IEND', b''))


def scene(seed, size=SIDE):
    """A picture and its mask: a block of another colour for each class; some pixels have no label."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((size, size), np.int64)
    for c in (1, 2):
        y, x = rng.integers(0, size - 5, 2)
        mask[y:y + 5, x:x + 5] = c
    picture = 40 + 80 * mask[:, :, None].repeat(3, 2) + rng.integers(0, 20, (size, size, 3))
    mask[rng.integers(0, size), :3] = 255
    return picture.astype(np.uint8), mask


def pairs(folder='pairs', count=12, **more):
    if not os.path.exists(path(folder)):
        for i in range(count + 4):
            picture, mask = scene(i)
            part = 'train' if i < count else 'val'
            put('%s/%s/images/%02d.png' % (folder, part, i), png(SIDE, SIDE, picture.tobytes()))
            put('%s/%s/masks/%02d.png' % (folder, part, i), mask_png(mask, palette=i % 2 == 1))
        put(folder + '/classes.txt', '\n'.join(NAMES).encode())
        put('net.json', json.dumps(NETWORK).encode())
    return 'pairs:' + path(folder)


def run(*arguments, status=0):
    done = subprocess.run([BLANCH, *[str(a) for a in arguments]], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    check(done.returncode == status, '%s: %d %s' % (arguments, done.returncode, done.stderr[-600:]))
    return done


def train(name, *more, **how):
    return run('train', '--model', path('net.json'), '--norm', 'bn', '--data', pairs(), '--batch', 4, '--lr', 0.2,
               '--schedule', 'constant', '--out', path(name), '--no-tune', *more, **how)


def lines(name, kind):
    with open(path(name, 'log.jsonl')) as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def read(name):
    with open(path(name), 'rb') as f:
        return f.read()


def trained():
    if not os.path.exists(path('whole')):
        train('whole', '--steps', 36, '--task', 'segment')


def test_a_run_that_was_resumed_has_the_bits_of_one_that_was_not():
    trained()
    train('parts', '--steps', 5)
    run('train', '--resume', '--out', path('parts'), '--steps', 36)
    last = lines('whole', 'epoch')[-1]
    check(read('whole/last.safetensors') == read('parts/last.safetensors'), 'other bits')
    losses = [[line['train_loss'] for line in lines(name, 'epoch')][-3:] for name in ('whole', 'parts')]
    check(losses[0] == losses[1], losses)
    check({'train_pixel_accuracy', 'val_mean_iou', 'val_pixel_accuracy', 'val_iou_2'} <= set(last), last)
    check('train_top1' not in last, last)
    check(last['val_mean_iou'] > 60, 'blocks of three colours are not told apart: %s' % last)
    with open(path('whole', 'results.csv')) as f:
        check('val_mean_iou' in f.readline())


def iou(confusion):
    right = np.diag(confusion)
    return right / (confusion.sum(0) + confusion.sum(1) - right)


def test_an_evaluation_counts_what_predict_answers():
    trained()
    run('eval', '--run', path('whole'), '--split', 'val')
    with open(path('whole', 'eval.json')) as f:
        found = json.load(f)
    images = [path('pairs/val/images/%02d.png' % i) for i in range(12, 16)]
    told = run('predict', *images, '--run', path('whole'), '--masks', path('masks')).stdout.split()
    confusion = np.zeros((CLASSES, CLASSES), int)
    for i, name in zip(range(12, 16), told):
        data = read(name)
        check(data[25] == 3, 'a mask has a palette')
        rows = zlib.decompress(data[data.index(b'IDAT') + 4:])
        answer = np.frombuffer(rows, np.uint8).reshape(SIDE, SIDE + 1)[:, 1:]
        mask = scene(i)[1]
        for label, given in zip(mask[mask != 255], answer[mask != 255]):
            confusion[label, given] += 1
    check(found['confusion'] == confusion.tolist(), '%s %s' % (found['confusion'], confusion))
    check(abs(found['mean_iou'] - 100 * iou(confusion).mean()) < 1e-3, found['mean_iou'])
    check([c['name'] for c in found['classes']] == list(NAMES) and found['pixels'] == confusion.sum())
    logged = lines('whole', 'epoch')[-1]
    check(abs(logged['val_mean_iou'] - found['mean_iou']) < 1e-3, 'the run saw %s' % logged)
    check(read(path('whole', 'overlays.png'))[16:24] == struct.pack('>II', 3 * SIDE, 4 * SIDE), 'overlays')


def test_masks_are_cropped_and_mirrored_as_their_pictures():
    """A picture whose grey level says the class."""
    for i in range(6):
        mask = scene(i, 24)[1]
        grey = np.where(mask == 255, 250, 50 * (mask + 1)).astype(np.uint8)
        put('same/train/images/%d.png' % i, png(24, 24, grey[:, :, None].repeat(3, 2).tobytes()))
        put('same/train/masks/%d.png' % i, mask_png(mask))
    data = blanch.Data('pairs:' + path('same'))
    check(data.masks and data.classes == CLASSES, data.classes)
    for size, augment, exact in ((24, 'none', True), (24, 'cifar', True), (SIDE, 'imagenet', False)):
        with blanch.Network({**NETWORK, 'input': [3, size, size]}, norm='own', batch=6) as network:
            check(network.pixels == (size, size))
            moved = 0
            for epoch in range(3):
                for images, labels in data.batches(network, augment=augment, epoch=epoch, normalise='none'):
                    grey = np.rint(255 * images[:, 0]).astype(int)
                    told = np.where(labels == 255, np.where(grey == 0, 0, 250), 50 * (labels + 1))
                    same = (grey == told).mean()
                    check(same == 1 if exact else same > 0.7, '%s: %.3f of the pixels' % (augment, same))
                    moved += (grey == 0).sum()
            check((moved > 0) == (augment == 'cifar'), '%s: %d pixels from outside' % (augment, moved))


def test_masks_of_any_depth():
    mask = np.arange(35).reshape(5, 7) % 4
    for depth in (2, 4, 8):
        put('depth%d/images/a.png' % depth, png(7, 5, bytes(105)))
        put('depth%d/masks/a.png' % depth, mask_png(mask, depth, palette=depth == 4))
        data = blanch.Data('pairs:' + path('depth%d' % depth))
        check(data.classes == 4, data.classes)
        with blanch.Network({**NETWORK, 'input': [3, 6, 8]}, norm='own', batch=1, classes=4) as network:
            (images, labels), = data.batches(network, training=False)
        check(labels.shape == (1, 6, 8) and set(labels.flatten()) == {0, 1, 2, 3}, labels)


def test_voc_is_read_where_its_lists_say():
    pairs()
    for i in range(3):
        picture, mask = scene(i)
        put('voc/JPEGImages/2007_%d.jpg' % i, png(SIDE, SIDE, picture.tobytes()))  # known by its first bytes
        put('voc/SegmentationClass/2007_%d.png' % i, mask_png(mask, palette=True))
    put('voc/ImageSets/Segmentation/train.txt', b'2007_0\n2007_2\n')
    put('voc/ImageSets/Segmentation/val.txt', b'2007_1\n')
    data = blanch.Data('voc:' + path('voc'))
    check(data.classes == 21 and data.masks, data.classes)
    with blanch.Network(path('net.json'), norm='bn', batch=1, classes=21) as network:
        (_, labels), = data.batches(network, 'validation', training=False)
    check((labels[0] == scene(1)[1]).all(), 'another mask')


def test_transposed_convolutions_are_those_of_network_deconvolution():
    """In evaluation, with the buffers that it starts with, it is the plain one, each tap with the channel's bias."""
    pixels = {'input': [4, 6, 10], 'graph': [
        {'op': 'avgpool2d', 'attrs': {'kernel': 2, 'stride': 2}},
        {'op': 'conv_transpose2d', 'name': 'up', 'attrs': {'out_channels': CLASSES, 'kernel': 2, 'stride': 2}}]}
    images = np.random.default_rng(0).normal(size=(2, 4, 6, 10)).astype(np.float32)
    with blanch.Network(pixels, norm='bn', batch=2) as plain, blanch.Network(pixels, norm='nd', batch=2) as network:
        values, turned = plain.state_dict(), network.state_dict()
        turned['up.weight'] = values['up.weight'].reshape(4, -1).T
        turned['up.bias'] = values['up.bias'].repeat(4)
        network.load_state_dict(turned)
        check(np.abs(network.predict(images) - plain.predict(images)).max() < 1e-5)
        learns(network, images, (6, 10))


def learns(network, images, size):
    labels = np.random.default_rng(1).integers(0, CLASSES, (len(images), *size))
    before = network.step(images, labels, lr=0.1).loss
    check(network.step(images, labels, lr=0.1).loss < before, 'it does not learn')
    check((network.state_dict()['up.running_mean'] != 0).all(), 'what it whitens is not measured')


def phases(weight, stride, groups):
    """Of a transposed convolution those of the convolution that it is: tests/reference/README.md."""
    taps = [-(-k // stride) for k in weight.shape[2:]]
    weight = np.pad(weight, [(0, 0), (0, 0)] + [(0, t * stride - k) for t, k in zip(taps, weight.shape[2:])])
    weight = weight.reshape(groups, -1, weight.shape[1], taps[0], stride, taps[1], stride)[:, :, :, ::-1, :, ::-1]
    return weight.transpose(0, 2, 4, 6, 1, 3, 5).reshape(-1, weight.shape[1], *taps)


def test_transposed_convolutions_that_overlap_are_convolutions_of_every_phase():
    """The same, of kernels that are larger than the stride or are not its multiple, padded, dilated, of groups."""
    images = np.random.default_rng(0).normal(size=(3, 4, 5, 7)).astype(np.float32)
    for a in (dict(kernel=4, stride=2, padding=1), dict(kernel=3, stride=2, padding=1, output_padding=1),
              dict(kernel=3, stride=2), dict(kernel=3, padding=1), dict(kernel=[2, 3], padding=[2, 1], dilation=[2, 3]),
              dict(kernel=[5, 4], stride=2, padding=[2, 0], output_padding=1, groups=2),
              dict(kernel=6, stride=3, padding=4, output_padding=2), dict(kernel=16, stride=8, padding=4)):
        # the logits are the pixels of the image
        net = {'input': [4, 5, 7], 'graph': [
            {'op': 'conv_transpose2d', 'name': 'up', 'attrs': dict(a, out_channels=2 * CLASSES)},
            {'op': 'adaptive_avgpool2d', 'attrs': {'out': [5, 7]}},
            {'op': 'conv2d', 'name': 'head', 'keep': True, 'attrs': {'out_channels': CLASSES, 'kernel': 1}}]}
        with blanch.Network(net, norm='bn', batch=3) as plain, blanch.Network(net, norm='nd', batch=3) as network:
            values, stride = plain.state_dict(), a.get('stride', 1)
            turned = dict(network.state_dict(), **{k: v for k, v in values.items() if k.startswith('head')})
            turned['up.weight'] = phases(values['up.weight'], stride, a.get('groups', 1))
            turned['up.bias'] = values['up.bias'].repeat(stride ** 2)
            network.load_state_dict(turned)
            for some in images, images[1:2]:
                expected = plain.predict(some)
                wrong = np.abs(network.predict(some) - expected).max() / np.abs(expected).max()
                check(wrong < 1e-5, '%s: %g' % (a, wrong))
            learns(network, images, (5, 7))


def test_an_exported_network_answers_as_its_run():
    trained()
    images = [path('pairs/val/images/%02d.png' % i) for i in (12, 13)]
    done = subprocess.run([BLANCH, 'export', '--run', path('whole'), '--onnx', path('net.onnx')],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode and 'protobuf-c' in done.stderr:
        return
    check(not done.returncode, done.stderr)
    run('predict', *images, '--run', path('whole'), '--masks', path('own'))
    run('predict', *images, '--model', path('net.onnx'), '--masks', path('read'))
    for name in sorted(os.listdir(path('own'))):
        check(read('own/' + name) == read('read/' + name), 'another ' + name)
    said = run('export', '--run', path('whole'), '--onnx', path('eight.onnx'), '--precision', 'int8').stdout
    found = re.search(r'val images: mean IoU ([0-9.]+) % before, ([0-9.]+) % with 8 bits', said)
    check(found and abs(float(found[1]) - lines('whole', 'epoch')[-1]['val_mean_iou']) < 0.01, said)
    check(abs(float(found[2]) - float(found[1])) < 10, said)


def test_python_measures_as_the_program():
    trained()
    with blanch.Network(path('net.json'), norm='bn', batch=4) as network:
        network.load(path('whole', 'last.safetensors'))
        data = blanch.Data(pairs())
        found = network.evaluate(data)
        logged = lines('whole', 'epoch')[-1]
        check(abs(100 * found.mean_iou - logged['val_mean_iou']) < 1e-3, '%s %s' % (found.iou, logged))
        check(abs(found.loss - logged['val_loss']) < 1e-5 * found.loss, '%s %s' % (found.loss, logged['val_loss']))
        before = network.step(*next(iter(data.batches(network))), lr=0)
        check(before.pixels > 600 and 0 < before.right <= before.pixels, before)
        raises(blanch.UsageError, 'labelled pixels', network.step, np.zeros((1, 3, SIDE, SIDE)), [0])


def test_a_fit_in_python_is_that_of_the_program():
    """On data by their spec, on arrays, and on a module of Python's."""
    trained()
    settings = dict(lr=0.2, schedule='constant', quiet=True)
    with blanch.Network(path('net.json'), norm='bn', batch=4) as network:
        found = network.fit(pairs(), 12, **settings).epochs
    logged = lines('whole', 'epoch')
    check(np.allclose([e['train_loss'] for e in found], [e['train_loss'] for e in logged], rtol=1e-5), (found, logged))
    check(abs(found[-1]['val_mean_iou'] - logged[-1]['val_mean_iou']) < 1e-3 and 'train_top1' not in found[-1], found)
    both = [scene(i) for i in range(16)]
    images = np.stack([picture.transpose(2, 0, 1) / 255 - 0.5 for picture, _ in both])
    masks = np.stack([mask for _, mask in both])
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                        nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(8, CLASSES, 2, 2))
    for norm in 'bn', 'nd':
        with blanch.Network(net, input=(3, SIDE, SIDE), norm=norm, batch=4) as network:
            check(network.pixels == (SIDE, SIDE) and network.predict(images).shape == (16, CLASSES, SIDE, SIDE))
            found = network.fit((images[:12], masks[:12]), 24, validation=(images[12:], masks[12:]), early_stop=24,
                                **settings).epochs[-1]
            check(found['val_mean_iou'] > 60, found)
            check(abs(network.evaluate(images[12:], masks[12:]).mean_iou - found['val_mean_iou'] / 100) < 1e-6)
            raises(blanch.UsageError, '(N, 16, 16) are needed', network.fit, (images, masks[:, 0]), quiet=True)
    with blanch.Network(net, input=(3, SIDE, SIDE), norm='bn', batch=32) as network:
        found = network.fit('synthetic-seg:3x%dx%d:3' % (SIDE, SIDE), **settings).epochs[-1]
        check(found['train_pixel_accuracy'] > 50 and 'test_mean_iou' in found, found)


def test_what_does_not_fit_is_refused():
    data = pairs()
    both = ('--steps', 1, '--batch', 4, '--no-tune', '--out', path('none'))
    for arguments, why in (
            (('--model', 'smallcnn', '--norm', 'bn', '--data', data), 'labels whole images'),
            (('--model', path('net.json'), '--norm', 'bn', '--data', 'synthetic:3x16x16:3'), 'labels pixels'),
            (('--model', path('net.json'), '--norm', 'bn', '--data', data, '--task', 'classify'), '--task classify'),
            (('--model', path('net.json'), '--norm', 'bn', '--data', data, '--mixup', 0.2), '--mixup'),
            (('--model', path('net.json'), '--norm', 'bn', '--data', data, '--class-weights', 'balanced'), 'balanced'),
            (('--model', 'unet', '--norm', 'bn', '--data', 'synthetic-seg:3x64x64:1'), '2 to 250 classes')):
        said = run('train', *arguments, *both, status=2).stderr
        check(why in said and said.count('\n') == 1, said)
    put('lone/images/a.png', png(4, 4, bytes(48)))
    put('lone/classes.txt', b'ground\nother\n')
    for mask, why in ((None, 'no such mask'), (png(4, 4, bytes(48)), 'colours or alpha'),
                      (mask_png(np.zeros((4, 4)))[:60], 'cut off'), (mask_png(np.zeros((4, 5))), 'a mask of 5x4')):
        if mask:
            put('lone/masks/a.png', mask)
        said = run('train', '--model', path('net.json'), '--norm', 'bn', '--data', 'pairs:' + path('lone'), *both,
                   status=2).stderr
        check(why in said, '%s: %s' % (why, said))
    put('lone/masks/a.png', mask_png(np.full((4, 4), 255)))
    said = run('train', '--model', path('net.json'), '--norm', 'bn', '--data', 'pairs:' + path('lone'), *both[:-1],
               path('unlabelled'), status=2).stderr
    check('of a class; 255 is none' in said, said)
    os.remove(path('lone/classes.txt'))
    for mask, why in ((png(4, 4, bytes(48)), 'colours or alpha'), (mask_png(np.full((4, 4), 255)), 'and 255 none')):
        put('lone/masks/a.png', mask)
        said = run('train', '--model', path('net.json'), '--norm', 'bn', '--data', 'pairs:' + path('lone'), *both,
                   status=2).stderr
        check(why in said and said.count('\n') == 1, '%s: %s' % (why, said))
    trained()
    check('--masks' in run('predict', path('pairs/val/images/12.png'), '--run', path('whole'), status=2).stderr)


if __name__ == '__main__':
    tap.need_device(BLANCH)
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
