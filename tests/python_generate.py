#!/usr/bin/python3
"""Networks that generate, from Python: python_generate.py BLANCH LIBRARY [TEST...]. Fits beside those of the program,
on images alone too; samples, which a seed repeats; what is refused. Prints TAP; needs NumPy."""
import json
import os
import subprocess
import sys

import tap
from package import BLANCH, HOME, raises
from pictures import mnist
from tap import check

import numpy as np
import blanch


def data():
    return mnist(os.path.join(HOME, 'bars'), 64, 16, 28)


def network(model='vae', **more):
    return blanch.Network(model, norm='own', batch=16, optimiser='adamw', lr=2e-3, **more)


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
