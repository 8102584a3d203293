#!/usr/bin/python3
"""The Python package at work: python.py BLANCH LIBRARY [TEST...]. Prints TAP; needs NumPy."""
import doctest
import gc
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import warnings

import tap
from package import BLANCH, HOME, ROOT, python, raises, read
from pictures import mnist
from tap import Skip, check

import numpy as np
import blanch
from blanch import nn
try:
    import torch
except ImportError:
    torch = None


def bars(count, shape=(1, 28, 28), seed=0):
    """Images whose label shows as a bright bar, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    images = rng.normal(0, 0.3, (count, *shape)).astype(np.float32)
    images[np.arange(count), :, 2 * labels + 4] += 2
    return images, labels


def small(**more):
    return blanch.Network('smallcnn', **{'batch': 16, 'lr': 0.05, **more})


def same(one, other):
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


# --- what documents and examples say -------------------------------------------------------------

def test_doctests():
    done = 0
    for name in ('', '.nn', '.data', '.device', '.fit', '.model', '.network'):
        out = io.StringIO()
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
        for case in doctest.DocTestFinder().find(importlib.import_module('blanch' + name)):
            runner.run(case, out=out.write)
        check(not runner.failures, out.getvalue())
        done += runner.tries
    check(done > 20, done)


def run_text(text, name, space):
    """Runs it in an empty folder, with little data in place of Fashion-MNIST."""
    folder, before, shown = os.path.join(HOME, 'run'), os.getcwd(), io.StringIO()
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    text = text.replace("'fashion-mnist'", repr(mnist(os.path.join(HOME, 'bars'), 128, 32)))
    os.chdir(folder)
    stdout, sys.stdout = sys.stdout, shown
    try:
        exec(compile(text, name, 'exec'), space)
        return shown.getvalue()
    finally:
        sys.stdout = stdout
        os.chdir(before)


def test_blocks_of_the_document():
    page = read('docs', 'python.md')
    blocks = re.findall(r'^```python\n(.*?)^```', page, re.M | re.S)
    check(len(blocks) > 5, len(blocks))
    out = run_text('\n'.join(blocks), 'docs/python.md', {'__name__': 'page'})
    check("did you mean 'resnet18'" in out and 'epoch 1: train loss' in out and '(2, 10)' in out, out)


def test_example_train():
    text = read('examples', 'train.py')
    check(len(text.splitlines()) <= 12, 'README says that it is short')
    space = {}
    check(text in read('README.md'), 'README has another')
    try:
        out = run_text(text, 'train.py', space)
    except blanch.UsageError as error:
        if 'protobuf-c' in str(error):
            raise Skip('the library does not write ONNX: %s' % error)
        raise
    check('epoch 1: train loss' in out and 'test loss' in out, out)
    check({'weights.safetensors', 'net.onnx'} <= set(os.listdir(os.path.join(HOME, 'run'))), 'no files')


def test_example_torch_module():
    if not torch:
        raise Skip('no PyTorch for ' + sys.executable)
    warnings.simplefilter('ignore')     # the exporter's
    try:
        out = run_text(read('examples', 'torch_module.py'), 'torch_module.py', {})
    except blanch.UsageError as error:
        if 'unknown model' in str(error) or 'protobuf-c' in str(error):
            raise Skip('the library does not read ONNX: %s' % error)
        raise
    check('logits differ by' in out, out)


# --- training ------------------------------------------------------------------------------------

def test_steps_learn_and_evaluation_agrees():
    images, labels = bars(64)
    with small(norm='nd') as network:
        losses = [network.step(images[i:i + 16], labels[i:i + 16]).loss for _ in range(4) for i in range(0, 64, 16)]
        check(sum(losses[-4:]) < 0.7 * sum(losses[:4]), losses)
        found, logits = network.evaluate(images, labels), network.predict(images)
        check(logits.shape == (64, 10) and found.count == 64 and network.steps == 16, found)
        check(found.top1 == (logits.argmax(1) == labels).sum() and found.accuracy == found.top1 / 64, found)
        shifted = logits - logits.max(1, keepdims=True)
        loss = (np.log(np.exp(shifted).sum(1)) - shifted[np.arange(64), labels]).mean()
        check(abs(found.loss - loss) < 1e-4 * loss, (found.loss, loss))


def test_fit_makes_the_weights_that_train_makes():
    data, out = mnist(os.path.join(HOME, 'bars'), 128, 32), os.path.join(HOME, 'train')
    subprocess.run([BLANCH, 'train', '--model', 'smallcnn', '--norm', 'nd', '--data', data, '--batch', '48', '--epochs',
                    '2', '--seed', '5', '--nd-iter', '4', '--lr', '0.03', '--warmup', '2', '--no-tune', '--out', out],
                   check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with small(norm='nd', batch=48, seed=5, nd_iter=4, lr=0.03) as network, small(norm='nd', nd_iter=4) as other:
        history = network.fit(data, epochs=2, warmup=2, seed=5, quiet=True)
        other.load(os.path.join(out, 'last.safetensors'))
        check(same(network.state_dict(), other.state_dict()), 'the weights differ')
        with open(os.path.join(out, 'log.jsonl')) as f:
            judged = [line for line in map(json.loads, f) if line['type'] == 'epoch']
        check(len(judged) == 2 == len(history.epochs), judged)
        for line, record in zip(judged, history.epochs):
            for key in ('epoch', 'train_loss', 'train_top1', 'test_loss', 'test_top1', 'test_top5'):
                check(abs(line[key] - record[key]) <= 1e-5 * abs(line[key]), (key, line[key], record[key]))


def test_resumed_fit_has_the_same_bits():
    data, folder = bars(48), os.path.join(HOME, 'checkpoint')
    with small(norm='bn') as whole, small(norm='bn') as first, small(norm='bn') as second:
        whole.fit(data, epochs=3, lr=0.05, quiet=True)
        first.fit(data, epochs=3, lr=0.05, quiet=True,
                  callbacks={'epoch': lambda fit: setattr(fit, 'stop', fit.epoch == 2)})
        check(first.steps == 6, first.steps)
        first.checkpoint(folder)
        second.resume(folder)
        second.fit(data, epochs=3, lr=0.05, begin=2, quiet=True)
        check(second.steps == whole.steps == 9 and same(second.state_dict(), whole.state_dict()), 'other bits')


def test_fit_takes_batches_and_calls_back():
    images, labels = bars(40)
    batches = [(images[i:i + 16], labels[i:i + 16]) for i in range(0, 40, 16)]
    seen = []
    note = lambda event: lambda fit: seen.append((event, fit.epoch, fit.step))
    with small() as network:
        history = network.fit(batches, epochs=2, quiet=True, validation=batches, schedule=lambda step: 0.01 + step,
                              callbacks={'begin': note('begin'), 'epoch': note('epoch'), 'end': [note('end')] * 2})
        check(seen == [('begin', 0, 0), ('epoch', 1, 3), ('epoch', 2, 6)] + [('end', 2, 6)] * 2, seen)
        check([round(step['lr'], 2) for step in history.steps] == [0.01 + k for k in range(6)], history.steps)
        check(history.epochs[1]['val_top1'] >= 0 and 'test_loss' not in history.epochs[1], history.epochs)
        raises(blanch.UsageError, "there is no event 'steps'", network.fit, batches, callbacks={'steps': print})
        raises(blanch.UsageError, "schedule='constant'", network.fit, iter(batches))
        raises(blanch.UsageError, 'epoch 2 had no batch', network.fit, iter(batches), 2, schedule='constant', lr=1e-3,
               quiet=True)
        raises(blanch.DivergedError, 'the loss is not finite at step 1', network.fit, (images * np.nan, labels),
               quiet=True)
        raises(blanch.UsageError, 'cosine', network.fit, batches, schedule='cosinus')
        raises(blanch.UsageError, 'not int', network.fit, 7, schedule='constant')
        raises(blanch.InputError, '/nowhere', network.fit, 'mnist:/nowhere')
    if torch:
        loader = torch.utils.data.DataLoader(
            torch.utils.data.TensorDataset(torch.from_numpy(images), torch.from_numpy(labels)), 16)
        with small() as network:
            check(len(network.fit(loader, quiet=True).steps) == 3, 'a DataLoader')


def test_progress():
    """Lines where there is no terminal, a bar where there is one, nothing where it is to be quiet."""
    script = ("import blanch, numpy as np, sys; n = blanch.Network('smallcnn', batch=8);"
              "n.fit((np.ones((32, 1, 28, 28), 'f4'), np.arange(32) % 10), epochs=2, quiet=len(sys.argv) > 1)")
    plain = python(script)
    check(re.fullmatch(r'(epoch \d: train loss [\d.]+, top-1 [\d.]+ %; [\d.]+ s\n){2}', plain.stdout), plain)
    check(python(script, 'quiet').stdout == '', 'it is not quiet')
    try:
        main, other = os.openpty()
    except OSError as error:
        raise Skip('no terminal: %s' % error)
    with subprocess.Popen([sys.executable, '-c', script], stdout=other, stderr=subprocess.PIPE) as process:
        os.close(other)
        shown = b''
        while b'epoch 2: train' not in shown:
            shown += os.read(main, 4096)
        check(process.wait(60) == 0, process.stderr.read())
    os.close(main)
    check(b'\r' in shown and b'/8 epoch 1: loss' in shown and b'#' in shown, shown)


# --- state ---------------------------------------------------------------------------------------

def test_state_dicts():
    class Foreign:      # what is no array but has DLPack
        def __init__(self, array):
            self.array = array

        def __dlpack__(self, **more):
            return self.array.__dlpack__(**more)

        def __dlpack_device__(self):
            return self.array.__dlpack_device__()
    path = os.path.join(HOME, 'state.safetensors')
    with small(norm='bn', seed=1) as one, small(norm='bn', seed=2) as two:
        one.step(*bars(16))
        state = one.state_dict()
        check(state['bn1.num_batches_tracked'] == 1 and state['conv1.weight'].dtype == np.float32, state.keys())
        two.load_state_dict({name: Foreign(array) if array.ndim else int(array) for name, array in state.items()})
        check(same(two.state_dict(), state), 'it does not come back')
        one.save(path)
        state['conv1.weight'][:] = 1
        check(two.load_state_dict({'conv1.weight': state['conv1.weight'], 'more': 1}, strict=False)[1] == ['more'], '')
        check((two.state_dict()['conv1.weight'] == 1).all(), 'not taken')
        two.load(path)
        check(same(two.state_dict(), one.state_dict()) and two.init(path) == len(state), 'of a file')
        bad = {**state, 'fc.bias' if 'fc.bias' in state else list(state)[-1]: np.full(3, 1.0)}
        raises(blanch.InputError, "has the shape (3,)", two.load_state_dict, bad)
        raises(blanch.InputError, 'lacks 1 names (conv1.weight)', two.load_state_dict,
               {name: array for name, array in state.items() if name != 'conv1.weight'})
        state['bn1.weight'][0] = np.nan
        raises(blanch.InputError, 'bn1.weight has a value that is not finite', two.load_state_dict, state)
        check(same(two.state_dict(), one.state_dict()), 'a state dict that was refused left something')
        raises(blanch.UsageError, 'maps names to arrays', two.load_state_dict, [1])
        raises(blanch.Error, 'absent', two.load, os.path.join(HOME, 'absent.safetensors'))
        raises(OSError, 'nowhere', two.save, '/nowhere/x.safetensors')


def tensors_of(path):
    """A file of float32 safetensors, for PyTorch."""
    with open(path, 'rb') as f:
        header = json.loads(f.read(int.from_bytes(f.read(8), 'little')))
        data = f.read()
    header.pop('__metadata__', None)
    return {name: torch.from_numpy(np.frombuffer(data[slice(*of['data_offsets'])], np.float32)
                                   .reshape(of['shape']).copy()) for name, of in header.items()}


def without_norms(module):
    """The PyTorch module that folded weights belong to."""
    for name, child in module.named_children():
        if isinstance(child, torch.nn.BatchNorm2d):
            setattr(module, name, torch.nn.Identity())
        elif isinstance(child, torch.nn.Conv2d) and child.bias is None:
            child.bias = torch.nn.Parameter(torch.zeros(child.out_channels))
        without_norms(child)
    return module


def layers(nn):
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(4),
                         nn.Conv2d(8, 8, 3, groups=2), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(200, 10))


def test_exports_compute_what_the_network_does():
    images, labels = bars(16)
    for norm, precise in (('bn', {}), ('nd', {'block': 4}), ('nd', {'block': 4, 'overhead_budget': '50%'})):
        with blanch.Network(layers(nn), input=(1, 28, 28), norm=norm, batch=16, lr=0.02, **precise) as network:
            for _ in range(3):
                network.step(images, labels)
            logits = network.predict(images)
            near = lambda found: np.abs(found - logits).max() < 1e-4 * np.abs(logits).max()
            folded = os.path.join(HOME, 'folded.safetensors')
            network.export(folded)
            raises(blanch.UsageError, 'FILE.onnx or FILE.safetensors', network.export, os.path.join(HOME, 'x.pt'))
            raises(OSError, 'nowhere', network.export, '/nowhere/x.safetensors')
            if torch:
                module = without_norms(layers(torch.nn)).eval()
                module.load_state_dict(tensors_of(folded))
                with torch.no_grad():
                    check(near(module(torch.from_numpy(images)).numpy()), 'in PyTorch: ' + norm)
            path = os.path.join(HOME, 'net.onnx')
            try:
                network.export(path)
            except blanch.UsageError as error:
                check('protobuf-c' in str(error), error)
                continue
            with blanch.Network(path, batch=16, inference=True) as back:
                check(near(back.predict(images)), 'of the ONNX file: ' + norm)
            check(np.array_equal(network.predict(images), logits), 'the export changed the network')


def residual(nn, torch_like):
    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.conv1 = nn.Conv2d(width, width, 3, padding=1, groups=2)
            self.conv2 = nn.Conv2d(2 * width, width, (1, 3), padding=(0, 1), bias=False)
            self.bn = nn.BatchNorm2d(width, eps=1e-4)
            self.act = nn.LeakyReLU(0.2)

        def forward(self, x):
            y = self.act(self.conv1(x))
            y = (torch.cat if torch_like else nn.cat)([x[:, :4], y, x[:, 4:]], 1)
            return self.act(self.bn(self.conv2(y))) + x
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.Sequential(Block(8), Block(8)),
                         nn.MaxPool2d(3, 2, 1), nn.GELU(), nn.AvgPool2d(2), nn.Hardswish(), nn.Dropout(0.0),
                         nn.Flatten(), nn.Linear(32, 16), nn.SiLU(), nn.Linear(16, 4, bias=False))


def test_modules_are_those_of_pytorch():
    with blanch.Network(residual(nn, False), input=(3, 16, 16), batch=4) as network:
        state = network.state_dict()
        check(list(state)[2:7] == ['2.0.conv1.weight', '2.0.conv1.bias', '2.0.conv2.weight', '2.0.bn.weight',
                                   '2.0.bn.bias'], list(state))
        if not torch:
            raise Skip('no PyTorch for ' + sys.executable)
        module = residual(torch.nn, True).eval()
        expected = module.state_dict()
        check(sorted(state) == sorted(expected), sorted(set(state) ^ set(expected)))
        trained = [name for name, _ in module.named_parameters()]
        check([name for name in state if name in trained] == trained, 'in another order')
        network.load_state_dict(expected)
        images = torch.randn(6, 3, 16, 16)
        with torch.no_grad():
            logits = module(images).numpy()
        found = network.predict(images)
        check(np.abs(found - logits).max() < 1e-4 * np.abs(logits).max(), np.abs(found - logits).max())
        module.load_state_dict({name: torch.from_numpy(array) for name, array in network.state_dict().items()})


def pools(nn, torch_like):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.max = nn.MaxPool2d(3, 2, ceil_mode=True)
            self.avg = nn.AvgPool2d(3, 1, 1, True, False)
            self.ceil = nn.AvgPool2d(2, 2, ceil_mode=True)
            self.even = nn.AdaptiveAvgPool2d((3, 2))
            self.drop = nn.Dropout(0.0, inplace=True)
            self.fc = nn.Linear(24, 5)

        def forward(self, x):
            x = self.drop(self.even(self.ceil(self.avg(self.max(x)))))
            if not torch_like:
                x = nn.StochasticDepth(0.0)(x)
            return self.fc((torch if torch_like else nn).flatten(x, 1))
    return Net()


def test_pools_are_those_of_pytorch():
    with blanch.Network(pools(nn, False), input=(4, 18, 13), batch=4) as network:
        if not torch:
            raise Skip('no PyTorch for ' + sys.executable)
        module, images = pools(torch.nn, True).eval(), torch.randn(4, 4, 18, 13)
        network.load_state_dict(module.state_dict())
        with torch.no_grad():
            logits = module(images).numpy()
        check(np.abs(network.predict(images) - logits).max() < 1e-5 * np.abs(logits).max(), 'other logits')


def test_models_of_every_kind():
    description = {'input': [1, 8, 8], 'graph': [{'op': 'flatten'}, {'op': 'linear', 'name': 'fc', 'attrs': {
        'in_features': 64, 'out_features': 3, 'bias': True}}]}
    path = os.path.join(HOME, 'net.json')
    with open(path, 'w') as f:
        json.dump(description, f)
    for source in (description, path, json.dumps(description), blanch.Model(path)):
        with blanch.Network(source, batch=2) as network:
            check(list(network.state_dict()) == ['fc.weight', 'fc.bias'] and network.classes == 3, network)
    model = blanch.Model('vgg11')
    check(model.json('nd')['graph'][1]['op'] == 'nd_conv2d' and model.json()['graph'][1]['op'] == 'conv2d', 'json')
    check('resnet18' in blanch.models(), blanch.models())
    kept = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3), nn.AdaptiveAvgPool2d(), nn.Flatten(), nn.Linear(4, 2))
    kept[0].keep, kept[1].nd = True, {'block': 2}
    ops = {node.get('name'): node for node in blanch.Model(kept, (1, 8, 8)).json('nd')['graph']}
    check(ops['0']['op'] == 'conv2d' and ops['1']['attrs']['block'] == 2, ops)
    raises(blanch.UsageError, "did you mean 'resnet18'", blanch.Network, 'resnet81')
    raises(blanch.InputError, 'no JSON', blanch.Network, '{')
    raises(blanch.InputError, "did you mean 'relu'", blanch.Network, {'input': [3], 'graph': [{'op': 'rellu'}]})
    raises(blanch.UsageError, 'input=(C, H, W)', blanch.Network, kept)
    raises(blanch.UsageError, 'there is no model', blanch.Network, None)
    raises(blanch.InputError, 'takes 4 channels', blanch.Network, nn.Sequential(nn.Conv2d(4, 4, 3)), input=(3, 9, 9))
    twice = nn.Linear(4, 4)
    raises(blanch.UsageError, 'run twice', nn.Sequential(twice, twice).describe, (4, 1, 1))
    raises(blanch.UsageError, "mode is 'row'", nn.StochasticDepth, 0.1, 'batch')
    raises(blanch.UsageError, 'kernel_size is a whole number', nn.Conv2d, 1, 1, 'same')


def test_options():
    for preset, features in (('study', 9 * 32), ('fast', 9 * 16), ('channels', 32)):
        with small(norm='nd', nd_preset=preset) as network:
            check(network.state_dict()['conv3.running_deconv'].shape == (features, features), preset)
    raises(blanch.UsageError, 'study, fast or channels', small, norm='nd', nd_preset='slow')
    with small(norm='nd', nd_preset='fast', whiten='channels', cov_samples='4F', freeze=False, overhead_budget='20%',
               optimiser='adamw', beta2=0.99, lr=None) as network:
        check(network.optimiser == 'adamw' and abs(network.settings['lr'] - 1e-3) < 1e-9, network.settings)
        check(abs(network.settings['beta2'] - 0.99) < 1e-6 and network.overhead()['allowed'] == 20, network.overhead())
        network.set(lr=0.01)
        check(abs(network.settings['lr'] - 0.01) < 1e-9, network.settings)
    raises(blanch.UsageError, 'did you mean nd_iter?', small, nd_iters=4)
    raises(blanch.UsageError, 'has no use for nd_iter', small, norm='bn', nd_iter=4)
    raises(blanch.UsageError, 'norm takes bn, nd, none, own, gn, ln', small, norm='in')
    raises(blanch.UsageError, 'batch takes a whole number', small, batch=0)
    raises(blanch.UsageError, 'batch takes a whole number', small, batch=2.5)
    raises(blanch.UsageError, 'recompute takes a whole number', small, recompute='some')
    raises(blanch.UsageError, 'adam', small, optimiser='adam')
    raises(blanch.UsageError, "no setting rate", small().set, rate=1)
    raises(MemoryError, 'largest batch that fits', blanch.Network, 'resnet18', blanch.Device('cpu', max_alloc=1 << 29),
           batch=4096)


def test_recipe():
    """Names of the recipe reach the library; what they make is held against PyTorch in test_recipe.c."""
    data = mnist(os.path.join(HOME, 'bars'), 128, 32)
    network = small(label_smoothing=0.1, class_weights=[1] * 9 + [2], ema=0.5, no_decay='norm-bias', accumulate=2,
                    freeze_layers='conv1', clip_grad_norm=1, optimiser='muon', pairs=True)
    check(network.batch == 2 * small().batch and network.settings['clip_grad_norm'] == 1, network.settings)
    first = network.state_dict()
    history = network.fit(data, epochs=1, lr=0.01, schedule='onecycle', auto_augment='ta', random_erase=0.5, mixup=0.2,
                          cutmix=1, quiet=True)
    last, averages = network.state_dict(), network.ema().state_dict()
    check(len(history.steps) > 2 and np.array_equal(first['conv1.weight'], last['conv1.weight']), history)
    check(not np.array_equal(last['fc.weight'], averages['fc.weight']), 'no averages')
    images, labels = bars(8)
    one, two = small(pairs=True), small(pairs=True)
    one.step(images, labels)
    two.step(images, labels, others=labels[::-1].copy(), share=1)
    check(same(one.state_dict(), two.state_dict()), 'a share of 1 is not all')
    for words, options in (('label smoothing', {'label_smoothing': 1}), ('ema', {'ema': 1}),
                           ("'nowhere'", {'no_decay': 'nowhere'}), ('10 classes', {'class_weights': [1, 2]}),
                           ('nothing to train', {'freeze_layers': '*'}), ('accumulate', {'accumulate': 0}),
                           ('class_weights', {'class_weights': 'balanced'})):
        raises(blanch.UsageError, words, small, **options)
    raises(blanch.UsageError, 'clip-grad-norm', small(clip_grad_norm=-1).step, images, labels)
    raises(blanch.UsageError, 'pairs', small().step, images, labels, others=labels)
    raises(blanch.UsageError, 'ema', small().ema)
    stopped = small().fit((images, labels), epochs=9, lr=0, schedule='constant', early_stop=2, quiet=True)
    check(len(stopped.epochs) == 3, stopped.epochs)


def test_where_the_time_goes():
    with small(norm='nd') as network:
        network.record()
        network.step(*bars(16))
        network.record(False)
        network.step(*bars(16))
        ledger = network.ledger()
        check(ledger['steps'] == 1 and ledger['layers'][-1]['name'] == '(step)', ledger)
        rows = {row['name']: row for row in ledger['layers']}
        check(rows['conv1']['phases']['forward'] > 0, rows['conv1'])
        check(abs(sum(rows['conv1']['phases'].values()) - rows['conv1']['total_ms']) < 1e-6, rows['conv1'])
        layers = {layer['name']: layer for layer in network.layers()}
        check(layers['conv1']['output'][1:] == (28, 28) and layers['conv1']['multiply_adds'] > 0, layers['conv1'])
        check(set(network.engines()['conv2']) == {'forward', 'backward_data', 'backward_weights'}, network.engines())
        try:
            check(ledger.to_pandas().loc['conv1', 'forward'] > 0, 'pandas')
        except blanch.UsageError as error:
            check('pandas' in str(error), error)


def test_data():
    data = blanch.Data(mnist(os.path.join(HOME, 'bars'), 128, 32))
    check((data.classes, data.images['train'], data.images['test'], data.judge) == (10, 128, 32, 'test'), data.images)
    with small() as network:
        loader = data.batches(network)
        check(len(loader) == 8, len(loader))
        images, labels = next(loader)
        check(images.shape == (16, 1, 28, 28) and labels.dtype == np.int32 and len(list(loader)) == 7, images.shape)
        again = next(data.batches(network))
        check(np.array_equal(again[0], images) and not np.array_equal(next(data.batches(network, epoch=1))[1], labels),
              'the order is not that of seed and epoch')
        raises(blanch.UsageError, 'has no validation images', data.batches, network, 'validation')
        raises(blanch.UsageError, 'whatever', data.batches, network, augment='whatever')
        check(data.read(os.path.join(ROOT, 'examples', 'bar.pgm'), network).shape == (1, 28, 28), 'an image')
        raises(blanch.InputError, 'README.md', data.read, os.path.join(ROOT, 'README.md'), network)
    raises(blanch.UsageError, 'nothing:x', blanch.Data, 'nothing:x')


# --- interruptions and threads -------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys, threading, time
import numpy as np, blanch
kind, device = sys.argv[1], blanch.Device('cpu', tune=30 if sys.argv[1] == 'tuning' else 0)
network = blanch.Network('smallcnn', device, batch=32) if kind != 'tuning' else None
images, labels = np.ones((32000, 1, 28, 28), 'f4'), np.arange(32000) % 10
if network:
    network.step(images[:32], labels[:32]), network.evaluate(images[:32], labels[:32])
begun = time.time()
threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    if kind == 'fit':
        network.fit((images[:640], labels[:640]), epochs=100000, quiet=True)
    elif kind == 'evaluation':
        while True:
            network.evaluate(images, labels)
    else:
        blanch.Network('vgg11', device, norm='nd', batch=64)
    print('it was not interrupted')
except KeyboardInterrupt:
    took = time.time() - begun
    network = network or blanch.Network('smallcnn', blanch.Device('cpu', tune=0), batch=32)
    check = network.step(images[:32], labels[:32]).count, network.evaluate(images[:64], labels[:64]).count
    print('interrupted', took < 15, check)
"""


def test_ctrl_c():
    for kind in ('fit', 'evaluation', 'tuning'):
        done = python(INTERRUPTED, kind)
        check(done.stdout == 'interrupted True (32, 64)\n' and not done.stderr, '%s: %s %s' % (kind, done.stdout,
                                                                                              done.stderr[-500:]))


def test_other_threads_run_meanwhile():
    images, labels = bars(2000)
    with small(batch=256) as network:
        network.evaluate(images, labels)
        ticks, done = [], threading.Event()

        def tick():
            while not done.wait(0.001):
                ticks.append(time.monotonic())
        thread = threading.Thread(target=tick)
        thread.start()
        begin = time.monotonic()
        network.evaluate(images, labels)        # one call of the library's
        end = time.monotonic()
        done.set()
        thread.join()
        within = [t for t in ticks if begin + 0.1 * (end - begin) < t < end - 0.1 * (end - begin)]
        check(within, '%d ticks in a call of %.3f s' % (len(within), end - begin))


def test_two_threads_take_turns():
    images, labels = bars(16)
    with small(batch=16) as network:
        failures = []

        def work(what):
            try:
                for _ in range(8):
                    what()
            except Exception as error:
                failures.append(error)
        threads = [threading.Thread(target=work, args=(what,)) for what in (
            lambda: network.step(images, labels), lambda: network.step(images, labels), network.state_dict,
            lambda: blanch.Network('smallcnn', network.device, batch=4).predict(images[:2]), gc.collect)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        check(not failures and network.steps == 16, failures)


class Rank:
    """One of two threads that exchange through memory."""

    def __init__(self, given, barrier, rank):
        self.given, self.barrier, self.rank, self.ranks = given, barrier, rank, 2

    def gather(self, own):
        self.given[self.rank] = own
        self.barrier.wait(60)
        every = list(self.given)
        self.barrier.wait(60)
        return every

    def exchange(self, blocks):
        return [of[self.rank] for of in self.gather(blocks)]

    def spread(self, values, root):
        return self.gather(values)[root]


def test_two_ranks_make_one_step():
    images, labels = bars(8)
    one, given, barrier, ranks = small(norm='nd', batch=8), [None] * 2, threading.Barrier(2), [None] * 2
    whole = [one.step(images, labels) for _ in range(2)]

    def train(rank):
        own = slice(0, 3) if rank == 0 else slice(3, 8)
        with blanch.Network('smallcnn', blanch.Device('0:0'), norm='nd', batch=5, lr=0.05, seed=rank) as network:
            network.join(Rank(given, barrier, rank), sync_stats=True)
            metrics = [network.step(images[own], labels[own]) for _ in range(2)]
            ranks[rank] = metrics, network.state_dict()

    threads = [threading.Thread(target=train, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(all(ranks), 'a rank failed')
    for metrics, state in ranks:
        check(all(m.count == 8 and m.top1 == w.top1 and abs(m.loss - w.loss) < 1e-4 for m, w in zip(metrics, whole)),
              '%s and %s' % (metrics, whole))
        for name, value in one.state_dict().items():
            check(np.allclose(value, state[name], rtol=1e-3, atol=1e-3), name)
    raises(blanch.UsageError, 'mpi4py', one.join, 5)
    table = Rank([None] * 2, threading.Barrier(2), 0)       # whose other rank has left
    table.give_up, told = lambda: told.append(table.barrier.abort()), []
    table.spread = lambda values, root: values
    table.gather = lambda own: [own, own] if not told and len(own) < 256 else 1 / 0
    two = small(norm='bn', batch=8)
    two.join(table)
    raises(blanch.DeviceError, '', two.step, images, labels)
    check(told == [None], 'the other rank was not told')
    raises(blanch.DeviceError, 'an earlier step or join has failed', two.step, images, labels)
    for kind in KeyboardInterrupt, SystemExit:
        def leave(own):
            raise kind('now')
        table = Rank(given, barrier, 0)
        table.spread, table.gather = lambda values, root: values, lambda own: [own, own]
        two = small(norm='bn', batch=8)
        two.join(table)
        table.gather = leave
        raises(kind, 'now', two.step, images, labels)
        raises(blanch.DeviceError, 'failed in gather', two.step, images, labels)
    table = Rank(given, barrier, 0)
    table.ranks = 1         # alone: nothing is asked
    one.join(table)
    check(one.step(images, labels).count == 8, 'a step alone')


def test_objects_close_in_any_order():
    images, labels = bars(16)
    device = blanch.Device('cpu')
    network, model = blanch.Network('smallcnn', device, batch=16), blanch.Model('vgg11')
    data = blanch.Data(mnist(os.path.join(HOME, 'bars'), 128, 32))
    loader = data.batches(network)
    device.close(), data.close(), model.close(), device.close()
    check(network.step(images, labels).count == 16 and next(loader)[0].shape[0] == 16, 'what is needed went')
    raises(blanch.UsageError, 'this device is closed', blanch.Network, 'smallcnn', device)
    raises(blanch.UsageError, 'this model is closed', blanch.Network, model, 'cpu')
    raises(blanch.UsageError, 'this data is closed', data.batches, network)
    network.close(), network.close()
    for call in (lambda: network.step(images, labels), lambda: network.predict(images), network.state_dict,
                 lambda: network.save('x'), network.ledger, network.layers, lambda: network.steps,
                 lambda: network.fit((images, labels))):
        raises(blanch.UsageError, 'this network is closed', call)
    check('closed' in repr(network), network)
    loader.close()
    raises(blanch.UsageError, 'this loader is closed', next, loader)
    ring = [blanch.Network('smallcnn', blanch.Device('cpu'), batch=2)]
    ring[0].ring = ring     # collected with its device, in whatever order
    del ring
    gc.collect()
    script = ("import blanch, numpy as np, sys; d = blanch.Device('cpu'); n = blanch.Network('smallcnn', d, batch=2);"
              "n.predict(np.zeros((1, 1, 28, 28), 'f4')); sys.n = n; print('end')")
    done = python(script)
    check(done.returncode == 0 and done.stdout == 'end\n' and not done.stderr, done)


def test_forks_are_refused():
    if not hasattr(os, 'fork'):
        raise Skip('no fork')
    warnings.simplefilter('ignore')     # of forks beside threads: the child does nothing but ask and end
    network = small()
    child = os.fork()
    if not child:
        try:
            network.steps
        except blanch.UsageError as error:
            os._exit(0 if 'fork' in str(error) else 2)
        os._exit(1)
    check(os.waitpid(child, 0)[1] == 0, 'a fork may use the network')


# --- what should not be given --------------------------------------------------------------------

def test_hostile_arrays():
    images, labels = bars(16)
    with small() as network:
        before = network.state_dict()
        usage, step = blanch.UsageError, network.step
        raises(usage, 'images have the shape (16, 28, 28)', step, images[:, 0], labels)
        raises(usage, 'takes (N, 1, 28, 28)', step, images[:, :, :, :27], labels)
        raises(usage, '0 images', step, images[:0], labels[:0])
        raises(usage, '0 images', network.predict, images[:0])
        raises(usage, '17 images', step, *bars(17))
        raises(usage, 'normalise them', step, (images * 9).astype(np.uint8), labels)
        raises(usage, 'not of complex', step, images.astype(complex), labels)
        raises(usage, 'not of object', step, np.array([None] * 16), labels)
        raises(usage, 'images', step, 'images', labels)
        raises(usage, 'labels have the shape (15,)', step, images, labels[:15])
        raises(usage, 'labels have the shape (16, 1)', step, images, labels[:, None])
        raises(usage, 'labels are float64', step, images, np.full(16, np.nan))
        raises(usage, 'labels are bool', step, images, labels > 3)
        raises(blanch.InputError, 'they count from 0', step, images, labels - 10)
        raises(blanch.InputError, 'they count from 0', step, images, labels.astype(np.int64) + 2**40)
        raises(blanch.InputError, 'label 10', step, images, np.full(16, 10, np.uint8))
        raises(blanch.InputError, 'label 10', network.evaluate, images, np.full(16, 10))
        raises(usage, 'lr takes a number', step, images, labels, lr='fast')
        raises(usage, 'no setting rate', step, images, labels, rate=3)
        raises(usage, 'lr', step, images, labels, lr=-1.0)
        check(same(network.state_dict(), before) and network.steps == 0, 'what was refused changed something')
        check(np.isnan(step(images * np.nan, labels).loss), 'NaN is not told')
        after = network.state_dict()
        check(all(np.array_equal(after[name], before[name]) for name in after if not name.startswith('bn')),
              'NaN was learned')
    with small() as one, small() as two:
        wide = np.zeros((16, 1, 28, 56), '>f8')
        wide[:, :, :, ::2] = images
        check(one.step(images, labels) == two.step(wide[:, :, :, ::2], labels.astype('>i2')), 'strided')
        check(same(one.state_dict(), two.state_dict()), 'not contiguous, of other types')
    if torch:
        with small() as network:
            raises(blanch.UsageError, 'images', network.predict, torch.zeros(2, 1, 28, 28, requires_grad=True))
            check(network.step(torch.from_numpy(images), torch.from_numpy(labels)).count == 16, 'tensors')


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
