#!/usr/bin/python3
"""What a fit in Python has of the command line: options of data, files of settings, weights of epochs, and what weights
say of their images. python_fit.py BLANCH LIBRARY [TEST...]. Prints TAP; needs NumPy."""
import contextlib
import io
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


def bars():
    return mnist(os.path.join(HOME, 'bars'), 64, 32, 28)


def small(**more):
    return blanch.Network('smallcnn', **{'batch': 16, 'lr': 0.05, **more})


def path(*parts):
    return os.path.join(HOME, *parts)


def train(out, *more):
    done = subprocess.run([BLANCH, 'train', '--model', 'smallcnn', '--norm', 'bn', '--batch', '16', '--data', bars(),
                           '--out', path(out), '--quiet', *more], stderr=subprocess.PIPE, text=True)
    check(done.returncode == 0, done.stderr)
    with open(path(out, 'config.json'), encoding='utf-8') as f:
        return json.load(f)


def losses_of(out):
    with open(path(out, 'log.jsonl'), encoding='utf-8') as f:
        return [line['loss'] for line in map(json.loads, f) if line['type'] == 'step']


def near(a, b):
    return len(a) == len(b) and np.allclose(a, b, rtol=1e-5)


def test_options_of_data_are_those_of_train():
    """The same images validate, normalised alike, and the losses are the same."""
    run = train('run', '--epochs', '2', '--val-split', '25%', '--seed', '3', '--normalise', 'measured',
                '--random-erase', '0.5', '--lr', '0.05')
    network = small(seed=3)
    history = network.fit(bars(), 2, val_split='25%', seed=3, normalise='measured', random_erase=0.5, workers=2,
                          quiet=True)
    check(near([step['loss'] for step in history.steps], losses_of('run')), (history.steps, losses_of('run')))
    check('val_top1' in history.epochs[-1], history.epochs[-1])
    check(network.view['mean'] == np.float32(run['view']['mean']).tolist(), network.view)
    data = blanch.Data(bars(), 3, val_split='25%')
    check(data.images == {'train': run['data_found']['train']['images'],
                          'validation': run['data_found']['val']['images'], 'test': 32}, data.images)
    with open(path('splits.txt'), 'w', encoding='utf-8') as f:
        f.write('train 0\ntrain 1\nval 2\n')
    check(blanch.Data(bars(), split_file=path('splits.txt')).images['validation'] == 1, 'the file divides nothing')
    blanch.Data(bars(), cache=path('kept')).close()
    check(os.path.isdir(path('kept')), 'no folder for kept pictures')
    raises(blanch.UsageError, '--val-split', blanch.Data, bars(), val_split='10')
    raises(blanch.InputError, 'absent', blanch.Data, bars(), split_file=path('absent'))
    raises(blanch.UsageError, 'val_split: of a data spec alone', network.fit, blanch.Data(bars()), val_split='10%')
    raises(blanch.UsageError, '--normalise', network.fit, bars(), normalise='imagent')
    raises(blanch.UsageError, 'workers', network.fit, bars(), workers=17)


def test_weights_say_how_images_are_normalised():
    """From a fit to a file, from there to a network that begins with it, and to the command line."""
    first, second = small(), small(seed=1)
    check(first.view is None, first.view)
    first.fit(bars(), normalise='none', quiet=True)
    first.save(path('said.safetensors'))
    second.init(path('said.safetensors'))
    check(second.view == first.view and second.view['mean'] == [0], second.view)
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        second.fit(bars(), lr=0, schedule='constant')
    check('as the weights of the network say' in shown.getvalue() and second.view['mean'] == [0], shown.getvalue())
    asked = [BLANCH, 'eval', '--weights', path('said.safetensors'), '--data', bars(), '--json']
    measured = json.loads(subprocess.run(asked, stdout=subprocess.PIPE, check=True).stdout)
    check(abs(measured['loss'] - first.evaluate(bars()).loss) < 1e-5, measured)
    second.fit(bars(), lr=0, schedule='constant', normalise='mnist', quiet=True)
    check(second.view['mean'] != [0], second.view)
    plain = small()
    plain.fit(bars(), quiet=True)
    check(plain.view['mean'] == second.view['mean'], 'without weights that say it, as goes with the data')


def test_weights_of_epochs():
    network, out = small(), path('epochs')
    network.fit(bars(), 5, out=out, save_every=2, keep=1, quiet=True)
    check(os.listdir(out) == ['epoch-0004.safetensors'], os.listdir(out))
    network.fit(bars(), 5, out=path('last'), save_every=5, quiet=True)
    other = small()
    other.load(path('last', 'epoch-0005.safetensors'))
    check(all(np.array_equal(value, other.state_dict()[name]) for name, value in network.state_dict().items()),
          'other weights')
    raises(blanch.UsageError, 'save_every', network.fit, bars(), keep=2)
    raises(blanch.UsageError, 'out', network.fit, bars(), save_every=2)
    raises(blanch.UsageError, 'save_every', network.fit, bars(), out=path('none'))
    check(not os.path.exists(path('none')), 'a refused fit left a folder')


def test_a_file_of_settings():
    """A run's config.json makes the run's network and its fit; arguments go before it."""
    train('settings', '--epochs', '2', '--label-smoothing', '0.1', '--schedule', 'constant', '--optimiser', 'adamw',
          '--lr', '0.002', '--seed', '2', '--val-split', '50%', '--mixup', '0.5', '--no-decay', 'norm-bias')
    file = path('settings', 'config.json')
    network = blanch.Network(config=file)
    history = network.fit(config=file, quiet=True)
    check(near([step['loss'] for step in history.steps], losses_of('settings')), losses_of('settings'))
    check((network.optimiser, network.batch, network.input) == ('adamw', 16, (1, 28, 28)), network)
    other = blanch.Network(config=file, batch=8, optimiser='sgd', norm='nd')
    check((other.batch, other.norm, other.settings['lr']) == (8, 'nd', np.float32(0.1)), other.settings)
    check(len(other.fit(config=file, epochs=1, lr=0.01, quiet=True).epochs) == 1, 'epochs go before the file')

    def write(settings):
        with open(path('own.json'), 'w', encoding='utf-8') as f:
            f.write(settings if isinstance(settings, str) else json.dumps(settings))
        return path('own.json')

    for settings, words in (({'lerning_rate': 1}, 'lerning_rate'), ({'epoch': 1}, 'did you mean "epochs"'),
                            ([], 'names'), ('{', 'own.json'),
                            ({'format': 3, 'blanch': {'version': '9.8.7'}}, 'as Blanch 9.8.7 writes it')):
        raises(blanch.InputError, words, small().fit, bars(), config=write(settings))
    raises(blanch.InputError, 'absent.json', blanch.Network, config=path('absent.json'))
    raises(blanch.UsageError, 'no data', network.fit, config=write({'epochs': 1}))
    raises(blanch.UsageError, 'no model', blanch.Network, config=write({'norm': 'bn'}))


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
