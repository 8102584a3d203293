#!/usr/bin/python3
"""Networks that generate, from Python: python_generate.py BLANCH LIBRARY [TEST...]. Fits beside those of the program,
on images alone too; samples, which a seed repeats; what is refused; what is exported, with ONNX Runtime where this
interpreter has it. Prints TAP; needs NumPy."""
import json
import os
import subprocess
import sys

import tap
from package import BLANCH, HOME, raises
from pictures import mnist
from tap import Skip, check

import numpy as np
import blanch


def data():
    return mnist(os.path.join(HOME, 'bars'), 64, 16, 28)


def network(model='vae', norm='own', **more):
    return blanch.Network(model, norm=norm, batch=16, optimiser='adamw', lr=2e-3, **more)


def squares(count=32):
    """Pixels from 0 to 1: a square somewhere."""
    rng, images = np.random.default_rng(0), np.zeros((count, 1, 28, 28), np.float32)
    for image in images:
        y, x = rng.integers(4, 12, 2)
        image[0, y:y + 12, x:x + 12] = 1
    return images


def test_a_fit_is_that_of_the_program():
    """Images are normalised as the network needs them, classes are told, and logs have losses alone."""
    for model, view in ('vae', ([0.0], [1.0])), ('ddpm-unet', ([0.5], [0.5])):
        out = os.path.join(HOME, model)
        done = subprocess.run([BLANCH, 'train', '--model', model, '--norm', 'own', '--data', data(), '--batch', '16',
                               '--optimiser', 'adamw', '--lr', '2e-3', '--epochs', '2', '--quiet', '--no-tune',
                               '--out', out], stderr=subprocess.PIPE, text=True)
        check(done.returncode == 0, done.stderr)
        with open(os.path.join(out, 'log.jsonl'), encoding='utf-8') as f:
            logged = [line for line in map(json.loads, f) if line['type'] == 'epoch']
        with network(model) as net:
            check((net.view['mean'], net.view['deviation']) == view, net.view)
            found = net.fit(data(), 2, quiet=True).epochs
            for name in 'train_loss', 'test_loss':
                both = [[epoch[name] for epoch in each] for each in (found, logged)]
                check(np.allclose(*both, rtol=1e-5), '%s: %s' % (model, both))
            check(not [name for name in found[-1] if 'top' in name], found)
            net.load(os.path.join(out, 'last.safetensors'))
            again = net.evaluate(data())
            check(abs(again.loss - logged[-1]['test_loss']) < 1e-5 * again.loss and again.top1 is None, again)
            check(np.isnan(again.accuracy))
            raises(blanch.UsageError, 'normalise', net.fit, data(), normalise='measured', quiet=True)


def test_an_autoencoder_learns_images_alone():
    images, told = squares(), []
    with network(ema=0.9) as net:
        check(net.generates and not net.told_classes)
        history = net.fit(images, 12, validation=images[:8], callbacks={'epoch': lambda fit: told.append(fit.epoch)},
                          quiet=True)
        check(history.epochs[-1]['train_loss'] < 0.5 * history.epochs[0]['train_loss'], history.epochs)
        check(history.epochs[-1]['val_loss'] == net.evaluate(images[:8]).loss and told[-1] == 12)
        check(net.fit([(images[:16],), (images[:5],)], quiet=True).epochs[0]['train_loss'] > 0, 'batches of images')
        made = net.sample(5, seed=3)
        check(made.shape == (5, 1, 28, 28) and 0 <= made.min() < made.max() <= 1)
        check((net.sample(5, seed=3) == made).all() and (net.sample(5, seed=4) != made).any())
        check(np.allclose(net.sample(2, seed=3, first=3), made[3:], atol=1e-5), 'images by their numbers')
        net.save(os.path.join(HOME, 'vae.safetensors'))
        with net.ema() as averaged:
            check((averaged.sample(1) != net.sample(1)).any(), 'the averages are not the weights')
        # a loss that does not fall any more
        stale = net.fit(images, 20, lr=0, schedule='constant', early_stop=1, validation=images, quiet=True)
        check(len(stale.epochs) < 20, len(stale.epochs))
    with network(inference=True) as net:
        net.load(os.path.join(HOME, 'vae.safetensors'))
        check(np.allclose(net.sample(5, seed=3), made, atol=1e-5), 'of weights that were saved')
        raises(blanch.UsageError, 'cannot be trained', net.step, images[:16])


def test_a_changed_description_learns_and_samples():
    described = blanch.Model('vae').json()
    with network(described) as read, network() as named:
        losses = [net.fit(squares(), 2, quiet=True).epochs[-1]['train_loss'] for net in (read, named)]
        check(losses[0] == losses[1], losses)
        check((read.sample(2, seed=1) == named.sample(2, seed=1)).all())
    for key in 'parameters', 'buffers', 'trainable':
        del described[key]
    for node in described['graph']:
        node.pop('out')
        node.update(op='silu') if node['op'] == 'relu' else None
    with network(described, norm='nd') as net:
        net.fit(squares(), 1, quiet=True)
        check(net.sample(2).shape == (2, 1, 28, 28))


def test_a_diffusion_is_told_classes():
    images = 2 * squares() - 1
    classes = np.arange(len(images)) % 10
    with network('ddpm-unet') as net:
        check(net.generates and net.told_classes)
        losses = [epoch['train_loss'] for epoch in net.fit((images, classes), 6, quiet=True).epochs]
        check(losses[-1] < 0.8 * losses[0], losses)
        made = net.sample(1, classes=3)
        check(made.shape == (1, 1, 28, 28) and 0 <= made.min() < made.max() <= 1)
        raises(blanch.UsageError, 'no labels', net.step, images[:4])
        raises(blanch.UsageError, 'no class 11', net.sample, 2, classes=[3, 11])
        raises(blanch.UsageError, 'labels have the shape', net.sample, 2, classes=[3])


# --- with ONNX Runtime ---------------------------------------------------------------------------

PURPOSE = 10     # BL_RANDOM_SAMPLE


def philox(seed, position, stream):
    """Philox 4x32-10 (Salmon et al., SC 2011), as host/base/base.c keys and counts it; a row for each position."""
    half = lambda x: np.asarray(x, np.uint64) & np.uint64(0xffffffff)
    position = np.asarray(position, np.uint64)
    c = [half(position), position >> np.uint64(32), np.full(position.shape, stream, np.uint64),
         np.zeros(position.shape, np.uint64)]
    k = [seed & 0xffffffff, seed >> 32 ^ PURPOSE * 0x85EBCA6B & 0xffffffff]
    for _ in range(10):
        a, b = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [b >> np.uint64(32) ^ c[1] ^ np.uint64(k[0]), half(b), a >> np.uint64(32) ^ c[3] ^ np.uint64(k[1]), half(a)]
        k = [(k[0] + 0x9E3779B9) & 0xffffffff, (k[1] + 0xBB67AE85) & 0xffffffff]
    return np.stack(c, -1)


def noise(seed, images, stream, values):
    """That which samples of these images are made of."""
    blocks = -(-values // 4)
    words = philox(seed, np.asarray(images)[:, None] * blocks + np.arange(blocks), stream) >> np.uint64(8)
    radius = np.sqrt(-2 * np.log((words[..., ::2] + 0.5) * 2.0 ** -24))
    angle = 2 * np.pi * words[..., 1::2] * 2.0 ** -24
    both = np.stack((radius * np.cos(angle), radius * np.sin(angle)), -1)
    return both.reshape(len(images), -1)[:, :values].astype(np.float32)


def diffused_back(unet, seed, images, classes):
    """Ancestral sampling, as host/train/sample.c has it (Ho, Jain and Abbeel, NeurIPS 2020, algorithm 2)."""
    left = np.cumprod(1 - np.linspace(1e-4, 0.02, 1000))
    shape = (len(images), 1, 28, 28)
    x = noise(seed, images, 1000, 784).reshape(shape)
    for t in reversed(range(1000)):
        e, = unet.run(None, {'images': x, 'time': np.full(len(x), t, np.float32), 'class': classes})
        before = left[t - 1] if t else 1.0
        beta = 1 - left[t] / before
        first = np.clip((x - np.sqrt(1 - left[t]) * e) / np.sqrt(left[t]), -1, 1)
        x = (np.sqrt(before) * beta * first + np.sqrt(1 - beta) * (1 - before) * x) / (1 - left[t]) + (
            np.sqrt(beta * (1 - before) / (1 - left[t])) * noise(seed, images, t, 784).reshape(shape))
        x = x.astype(np.float32)
    return x / 2 + 0.5


def exported(net, name, *options, encoder=False):
    """A session of what a network exports; by the program where there are options."""
    path = os.path.join(HOME, name)
    try:
        net.export(path + '.onnx', encoder=encoder)
    except blanch.UsageError as error:
        if 'protobuf-c' in str(error):
            raise Skip('the library does not write ONNX')
        raise
    if options:
        net.save(path + '.safetensors')
        done = subprocess.run([BLANCH, 'export', '--weights', path + '.safetensors', '--onnx', path + '.onnx',
                               *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        check(done.returncode == 0, done.stderr)
    try:
        import onnxruntime
    except ImportError:
        raise Skip('no ONNX Runtime for ' + sys.executable)
    return onnxruntime.InferenceSession(path + '.onnx')


def test_an_exported_decoder_makes_the_same_images():
    images = squares()
    for norm in 'own', 'nd':
        with network(norm=norm) as net:
            net.fit(images, 4, quiet=True)
            made = net.sample(5, seed=2, first=3)
            decoder = exported(net, 'decoder')
            given = noise(2, range(3, 8), 0, 32)
            check(np.abs(decoder.run(None, {'latent': given})[0] - made).max() < 1e-5)
            narrow = exported(net, 'narrow', '--precision', 'fp16')
            check(np.abs(narrow.run(None, {'latent': given})[0] - made).max() < 0.02)
            encoder = exported(net, 'encoder', '--encoder')
            gaussian, = encoder.run(None, {'images': images})
            own = exported(net, 'own-encoder', encoder=True)
            check((own.run(None, {'images': images})[0] == gaussian).all())
            mean, log_variance = gaussian[:, :32], gaussian[:, 32:]
            decoded, = decoder.run(None, {'latent': np.ascontiguousarray(mean)})
            crossed = -np.where(images > 0, np.log(decoded), np.log1p(-decoded.astype(np.float64))).sum((1, 2, 3))
            divergence = (mean ** 2 + np.exp(log_variance) - log_variance - 1).sum(1) / 2
            loss = net.evaluate(images).loss
            check(abs((crossed + divergence).mean() - loss) < 1e-4 * loss, ((crossed + divergence).mean(), loss))


def test_an_exported_unet_makes_the_same_images():
    images, classes = 2 * squares() - 1, np.arange(32) % 10
    for norm in 'own', 'nd':
        with network('ddpm-unet', norm=norm) as net:
            net.fit((images, classes), 2, quiet=True)
            unet = exported(net, 'unet')
            check([(i.name, i.type) for i in unet.get_inputs()] == [
                ('images', 'tensor(float)'), ('time', 'tensor(float)'), ('class', 'tensor(int64)')])
            made = net.sample(2, seed=5, first=1, classes=[3, 7])
            found = diffused_back(unet, 5, range(1, 3), np.array([3, 7]))
            check(np.abs(found - made).max() < 2e-3, np.abs(found - made).max())
            given = {'images': images[:3], 'time': np.array([0, 500, 999], np.float32), 'class': np.array([0, 4, 9])}
            whole, narrow = (session.run(None, given)[0] for session in (unet, exported(net, 'unet16', '--precision',
                                                                                        'fp16')))
            check(np.abs(whole - narrow).max() < 0.05 * np.abs(whole).max(), np.abs(whole - narrow).max())


def test_what_does_not_fit_is_refused():
    with network() as net:
        raises(blanch.UsageError, 'sample', net.predict, squares())
        raises(blanch.UsageError, 'not told a class', net.sample, 2, classes=1)
        raises(blanch.UsageError, 'count', net.sample, 0)
        raises(blanch.UsageError, 'first', net.sample, 2, first=2**31 - 1)
    with blanch.Network('smallcnn', batch=2) as net:
        raises(blanch.UsageError, 'makes none', net.sample, 2)
    for more in {'label_smoothing': 0.1}, {'pairs': True}, {'class_weights': [1] * 10}:
        raises(blanch.UsageError, 'vae generates images', blanch.Network, 'vae', **more)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
