#!/usr/bin/env python3
"""Networks that generate, by their commands: generation.py BLANCH [TEST...]. Training known from the network, resumed
with the same bits; pictures that a seed repeats; distances of features; what is refused. Prints TAP."""
import json
import os
import struct
import subprocess
import sys
import tempfile
import zlib

import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
WORK = tempfile.TemporaryDirectory()
DATA = 'synthetic:1x28x28:4'


def path(name):
    return os.path.join(WORK.name, name)


def run(*command, status=0):
    done = subprocess.run([BLANCH, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True)
    check(done.returncode == status, '%s: %d: %s' % (' '.join(map(str, command)), done.returncode, done.stderr[-400:]))
    return done


def refused(words, *command):
    error = run(*command, status=2).stderr.splitlines()
    lines = [line for line in error if line.startswith('blanch: ')]
    check(len(lines) == 1 and all(word in lines[0] for word in words), '%s: %s' % (words, error))


def train(name, *options):
    """A run's directory, made once."""
    if not os.path.exists(path(name)):
        run('train', '--data', DATA, '--batch', 8, '--optimiser', 'adamw', '--no-tune', '--out', path(name), *options)
    return path(name)


def trained():
    return train('vae', '--task', 'generate', '--model', 'vae', '--norm', 'own', '--steps', 6)


def contents(name):
    with open(name, 'rb') as f:
        return f.read()


def tensors(name):
    """Shape and bytes by name."""
    data = contents(name)
    size = struct.unpack('<Q', data[:8])[0]
    header = json.loads(data[8:8 + size])
    header.pop('__metadata__', None)
    return {key: (value['shape'], data[8 + size:][slice(*value['data_offsets'])]) for key, value in header.items()}


def pixels(name):
    """Of a PNG of grey: its width, height and bytes."""
    data, at, packed = contents(name), 8, b''
    check(data[:8] == b'\x89PNG\r\n\x1a\n')
    while at < len(data):
        size, kind = struct.unpack('>I4s', data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        check(zlib.crc32(kind + body) == struct.unpack('>I', data[at + 8 + size:at + 12 + size])[0], kind)
        if kind == b'IHDR':
            width, height, depth, colours = struct.unpack('>IIBB', body[:10])
            check((depth, colours) == (8, 0), body)
        packed += body if kind == b'IDAT' else b''
        at += 12 + size
    rows = zlib.decompress(packed)
    check(len(rows) == (width + 1) * height and not any(rows[::width + 1]))
    return width, height, b''.join(rows[y * (width + 1) + 1:(y + 1) * (width + 1)] for y in range(height))


def test_training_tells_losses_alone():
    with open(os.path.join(trained(), 'log.jsonl')) as f:
        lines = [json.loads(line) for line in f]
    epoch = [line for line in lines if line['type'] == 'epoch'][-1]
    check(epoch['train_loss'] > 50 and not [key for key in epoch if 'top' in key or 'iou' in key], epoch)
    with open(os.path.join(trained(), 'config.json')) as f:
        config = json.load(f)
    check(config['settings']['task'] == 'generate' and config['settings']['normalise'] == 'network', config['settings'])
    check(config['view']['mean'] == [0] and config['view']['deviation'] == [1], config['view'])
    run('report', trained(), '--out', path('report.html'))


def test_a_resumed_run_has_the_bits_of_one_that_was_not():
    how = ('--model', 'vae', '--norm', 'nd', '--schedule', 'constant')
    whole = train('whole', *how, '--steps', 6)
    parts = train('parts', *how, '--steps', 3)
    run('train', '--resume', '--out', parts, '--steps', 6, '--no-tune')
    check(contents(whole + '/last.safetensors') == contents(parts + '/last.safetensors'))


def definition(model, norm):
    return json.loads(run('models', model, '--norm', norm, '--json').stdout)


def written(name, network):
    with open(path(name), 'w') as f:
        json.dump(network, f)
    return path(name)


def node(network, name):
    return next(row for row in network['graph'] if row['id'] == name)


def test_a_file_of_the_network_is_the_network():
    """Weights and pictures have the same bits, whether named or read; the rule of ND makes the named form too."""
    for model, norm in (('vae', 'own'), ('vae', 'nd'), ('ddpm-unet', 'own')):
        how = ('--norm', norm, '--steps', 2, '--batch', 2, '--val-split', '1%')
        named = train('%s-%s-named' % (model, norm), '--model', model, *how)
        file = written(model + '.json', definition(model, 'bn'))
        read = train('%s-%s-read' % (model, norm), '--model', file, *how)
        os.remove(file)                                          # the run has its own
        weights = [tensors(folder + '/last.safetensors') for folder in (named, read)]
        check(weights[0] == weights[1], '%s-%s: the weights differ' % (model, norm))
        if model == 'vae':
            for folder in (named, read):
                run('sample', '--run', folder, '--count', 4, '--out', path('read.png'))
                check(pixels(path('read.png'))[2] == pixels_of(named), folder)


def pixels_of(folder):
    run('sample', '--run', folder, '--count', 4, '--out', path('named.png'))
    return pixels(path('named.png'))[2]


def test_a_changed_file_trains_samples_and_is_exported():
    """A wider decoder, whose latent is one of pixels; a diffusion of fewer steps."""
    vae = {'input': [1, 28, 28], 'graph': [
        {'op': 'conv2d', 'id': 'enc', 'attrs': {'out_channels': 8, 'kernel': 3, 'stride': 4, 'padding': 1}},
        {'op': 'batchnorm2d', 'id': 'enc_norm'}, {'op': 'silu', 'id': 'act'},
        {'op': 'conv2d', 'id': 'gauss', 'attrs': {'out_channels': 4, 'kernel': 1}},
        {'op': 'gaussian_sample', 'id': 'z'},
        {'op': 'embedding', 'id': 'told', 'inputs': ['labels'], 'attrs': {'count': 4, 'channels': 2}},
        {'op': 'shift', 'id': 'shifted', 'inputs': ['z', 'told']},
        {'op': 'conv_transpose2d', 'id': 'dec', 'attrs': {'out_channels': 1, 'kernel': 4, 'stride': 4}},
        {'op': 'gaussian_divergence', 'id': 'far', 'inputs': ['gauss']},
        {'op': 'binary_cross_entropy', 'inputs': ['dec', 'input', 'far'], 'attrs': {'sum': True}}]}
    folder = train('changed-nd', '--model', written('changed.json', vae), '--norm', 'nd', '--steps', 3)
    run('sample', '--run', folder, '--count', 4, '--out', path('changed.png'))
    check(pixels(path('changed.png'))[:2] == (58, 58), pixels(path('changed.png'))[:2])
    run('sample', '--run', folder, '--count', 1, '--class', 2, '--out', path('changed.png'))
    for part in ((), ('--encoder',)):
        run('export', '--run', folder, '--safetensors', path('changed.safetensors'), *part)
    colours = train('changed-colours', '--data', 'synthetic:3x28x28:7', '--model', path('changed.json'), '--norm',
                    'own', '--steps', 1)
    check(tensors(colours + '/last.safetensors')['told.weight'][0] == [7, 2])
    ddpm = definition('ddpm-unet', 'bn')
    node(ddpm, 'diffuse_0')['attrs'].update(steps=4, last=0.9)
    folder = train('changed-ddpm', '--model', written('ddpm.json', ddpm), '--norm', 'own', '--steps', 1, '--batch', 2,
                   '--val-split', '1%')
    run('sample', '--run', folder, '--count', 2, '--out', path('ddpm.png'))


def test_a_wrong_file_is_refused():
    def wrong(model, words, change):
        network = definition(model, 'bn')
        for key in ('parameters', 'buffers', 'trainable'):
            del network[key]
        change(network)
        refused(words, 'models', written('wrong.json', network))
    skip = {'id': 'skip', 'op': 'shift', 'inputs': ['decoder.6', 'far'], 'out': [1, 28, 28]}
    wrong('vae', ["'loss'", 'gaussian_sample or a diffuse'], lambda n: node(n, 'gaussian_sample_8').update(
        op='slice_channels', attrs={'begin': 32}))
    wrong('vae', ["'loss'", 'of the image'], lambda n: node(n, 'loss').update(op='mean_squared_error'))
    wrong('vae', ['no loss of images'], lambda n: n['graph'].pop())
    wrong('vae', ["'encoder.0'", 'takes the image'], lambda n: (
        n['graph'].insert(-1, dict(skip, inputs=['decoder.6', 'gaussian_divergence_16'])),
        node(n, 'loss').update(inputs=['skip', 'x', 'gaussian_divergence_16'])))
    wrong('vae', ["'relu_2'", 'loss'], lambda n: node(n, 'relu_2').update(op='mean_squared_error', inputs=['x', 'x']))
    wrong('ddpm-unet', ["'loss'", "'diffuse_0:1'"], lambda n: node(n, 'loss').update(inputs=['conv_out', 'x']))
    wrong('vae', ["'gaussian_sample_8'", 'first output of a node'], lambda n: node(n, 'gaussian_sample_8').update(
        inputs=['x']))
    wrong('ddpm-unet', ["'silu_3'", "'labels'"], lambda n: node(n, 'silu_3').update(inputs=['labels']))
    wrong('ddpm-unet', ['"deviation"'], lambda n: n.update(deviation=0))


def test_layers_agree_with_plain_c():
    for model in 'vae', 'ddpm-unet':
        run('train', '--data', DATA, '--model', model, '--norm', 'own', '--batch', 2, '--steps', 1, '--validate', 1,
            '--val-split', '1%', '--no-tune', '--out', path('validated-' + model))


def test_a_seed_repeats_its_picture():
    for name, options in (('one', ()), ('again', ()), ('other', ('--seed', 1)), ('more', ('--count', 7))):
        out = run('sample', '--run', trained(), '--count', 5, '--columns', 5, '--out', path(name + '.png'), *options)
        check('images' in out.stdout, out.stdout)
    width, height, one = pixels(path('one.png'))
    check((width, height) == (5 * 30 - 2, 28), (width, height))
    check(pixels(path('again.png'))[2] == one and pixels(path('other.png'))[2] != one)
    width, height, more = pixels(path('more.png'))
    check((width, height) == (5 * 30 - 2, 58))
    check(max(abs(a - b) for a, b in zip(more, one)) <= 1)        # an image is its number's, whatever is made with it
    run('sample', '--weights', trained() + '/last.safetensors', '--count', 5, '--columns', 5, '--out', path('w.png'))
    check(pixels(path('w.png'))[2] == one)


def test_distance_of_features():
    judge = train('judge', '--model', 'smallcnn', '--norm', 'bn', '--steps', 20)
    out = json.loads(run('sample', '--run', trained(), '--count', 40, '--features', judge, '--json').stdout)
    check(out['distance'] > 10 * out['distance_of_training_images'] >= 0 and out['test_images'] > 0, out)
    refused(['--features', 'vae generates'], 'sample', '--run', trained(), '--features', trained())
    other = train('large', '--data', 'synthetic:3x28x28:4', '--model', 'smallcnn', '--norm', 'bn', '--steps', 1)
    refused(['--features', '3x28x28'], 'sample', '--run', trained(), '--features', other)


def test_what_is_refused():
    out = ('--norm', 'own', '--data', DATA, '--out', path('none'))
    refused(['--task classify', 'vae'], 'train', '--model', 'vae', '--task', 'classify', *out)
    refused(['--task generate', 'smallcnn'], 'train', '--model', 'smallcnn', '--task', 'generate', *out)
    for option, value in (('mixup', 0.2), ('label-smoothing', 0.1), ('normalise', 'none'), ('expect-top1', 5)):
        refused(['--' + option, 'vae'], 'train', '--model', 'vae', '--' + option, value, *out)
    refused(['vae', 'sample'], 'eval', '--run', trained())
    refused(['vae', 'sample'], 'predict', path('one.png'), '--run', trained())
    refused(['vae', 'comparisons'], 'compare', '--model', 'vae', '--data', DATA, '--steps', 4, '--batch', 4, '--out',
            path('compared'))
    refused(['--out'], 'sample', '--run', trained())
    folded = ('export', '--safetensors', path('folded.safetensors'))
    run(*folded, '--run', trained())
    run(*folded, '--run', trained(), '--encoder')
    judge = train('judge', '--model', 'smallcnn', '--norm', 'bn', '--steps', 20)
    refused(['smallcnn has no encoder'], *folded, '--run', judge, '--encoder')
    done = subprocess.run([BLANCH, 'export', '--run', trained(), '--precision', 'int8', '--onnx', path('x.onnx')],
                          stderr=subprocess.PIPE, universal_newlines=True)
    check(done.returncode == 2 and ('take fp16' in done.stderr or 'protobuf-c' in done.stderr), done.stderr)
    refused(['not told a class'], 'sample', '--run', trained(), '--class', 1, '--out', path('x.png'))
    refused(['smallcnn', 'makes none'], 'sample', '--run', train('judge', '--model', 'smallcnn', '--norm', 'bn',
                                                                '--steps', 20), '--out', path('x.png'))
    refused(['x.png'], 'sample', '--run', trained(), '--count', 1, '--out', path('nowhere/x.png'))


if __name__ == '__main__':
    tap.need_device(BLANCH)
    sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
