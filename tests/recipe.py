#!/usr/bin/env python3
"""The options of a training recipe on the command line: what they make, what config.json says, runs that are resumed
with them, values that are refused. tests/recipe.py BLANCH [TEST...]. Prints TAP; makes its own small data."""
import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import caches
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-recipe-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
TRAIN = ('train', '--model', 'smallcnn', '--batch', 16, '--quiet')


def path(*parts):
    return os.path.join(HOME, *parts)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return path(name)


def blanch(*args):
    return subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
                          universal_newlines=True, timeout=300)


def succeeds(*args):
    done = blanch(*args)
    check(done.returncode == 0, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-300:]))
    return done


def refuses(words, *args, status=2):
    """One line, which has the words."""
    done = blanch(*args)
    check(done.returncode == status, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-300:]))
    check(done.stderr.count('\n') == 1, 'not one line: %s' % done.stderr[-300:])
    for word in words:
        check(word in done.stderr, "'%s' is not in: %s" % (word, done.stderr))


def data():
    return pictures.mnist(path('mnist'), 64, 32, 28)


def train(out, *more, norm='bn'):
    succeeds(*TRAIN, '--data', data(), '--norm', norm, '--out', fresh(out), *more)
    return path(out)


def tensors(file):
    with open(file, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        header.pop('__metadata__', None)
        return header, f.read()


def config(out):
    with open(os.path.join(out, 'config.json')) as f:
        return json.load(f)


def log(out, kind):
    with open(os.path.join(out, 'log.jsonl')) as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def resumed(name, *options, norm='bn', files=('last.safetensors', 'last.state.safetensors')):
    """A run of 4 steps that goes on to 8 ends with the bits of one of 8; its directory."""
    whole = train(name + '-whole', '--schedule', 'constant', '--steps', 8, *options, norm=norm)
    parts = train(name + '-parts', '--schedule', 'constant', '--steps', 4, *options, norm=norm)
    succeeds('train', '--resume', '--out', parts, '--steps', 8, '--quiet')
    for file in files:
        check(tensors(os.path.join(whole, file)) == tensors(os.path.join(parts, file)), '%s differs' % file)
    return whole


def changes(name, *options, norm='bn'):
    """The option's weights are others than those without it."""
    plain = train('plain-' + norm, '--schedule', 'constant', '--steps', 8, norm=norm)
    check(tensors(path(name, 'last.safetensors')) != tensors(os.path.join(plain, 'last.safetensors')),
          '%s changes nothing' % name)


# --- the loss ------------------------------------------------------------------------------------

def test_label_smoothing():
    out = resumed('smoothed', '--label-smoothing', 0.1)
    changes('smoothed-whole')
    check(config(out)['label_smoothing'] == 0.1, config(out))
    for value in (1, -0.1, 'x'):
        refuses(['--label-smoothing'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'),
                '--label-smoothing', value)
    for value in (0.2, 0):
        refuses(['--label-smoothing', 'differs'], 'train', '--resume', '--out', out, '--label-smoothing', value)


def test_class_weights():
    def write(text):
        with open(path('weights.json'), 'w') as f:
            json.dump(text, f)
        return path('weights.json')
    out = resumed('balanced', '--class-weights', 'balanced')
    changes('balanced-whole')
    found = config(out)
    check(found['class_weights'] == 'balanced' and len(found['class_weight']) == 10, found)
    mean = sum(count * weight for count, weight in zip(labels(), found['class_weight'])) / 64
    check(abs(mean - sum(map(bool, labels())) / 10) < 1e-6, mean)
    names = {str(i): 1 + i for i in range(10)}
    for text in (list(range(1, 11)), names):
        out = train('weighed', '--class-weights', write(text), '--steps', 1)
        check(config(out)['class_weight'] == list(range(1, 11)), config(out))
    os.remove(path('weights.json'))
    succeeds('train', '--resume', '--out', out, '--steps', 2, '--quiet')
    for text, words in (([1] * 9, ['9 weights', '10 classes']), ([-1] * 10, ['class 0']),
                        ([0] * 10, ['weights.json', 'above 0']), ({**names, '3': 'x'}, ['class 3']), (7, ['array'])):
        refuses(words, *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--class-weights', write(text))
    refuses(['nowhere'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--class-weights',
            path('nowhere'))


def labels():
    """How many training images each class has."""
    with gzip.open(path('mnist', 'train-labels-idx1-ubyte.gz')) as f:
        found = f.read()[8:]
    return [found.count(bytes([c])) for c in range(10)]


# --- images in bytes -----------------------------------------------------------------------------

def test_augmented_images():
    for name, options in (('ra', ['--auto-augment', 'ra']), ('ta', ['--auto-augment', 'ta', '--augment', 'cifar']),
                          ('erased', ['--random-erase', 0.5])):
        out = resumed(name, *options)
        changes(name + '-whole')
    check(config(out)['random_erase'] == 0.5, config(out))
    one = train('one', '--steps', 4, '--auto-augment', 'ta', '--random-erase', 1, '-j', 1)
    more = train('more', '--steps', 4, '--auto-augment', 'ta', '--random-erase', 1, '-j', 3)
    check(tensors(os.path.join(one, 'last.safetensors')) == tensors(os.path.join(more, 'last.safetensors')),
          'more threads augment otherwise')
    for options in (['--auto-augment', 'aa'], ['--random-erase', 2], ['--random-erase', 'x']):
        refuses([options[0]], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), *options)


# --- mixed images --------------------------------------------------------------------------------

def test_mixed_images():
    for name, options in (('mixup', ['--mixup', 0.2]), ('cutmix', ['--cutmix', 1]),
                          ('either', ['--mixup', 0.2, '--cutmix', 1, '--accumulate', 2, '--class-weights',
                                      'balanced'])):
        out = resumed(name, *options)
        changes(name + '-whole')
    check((config(out)['mixup'], config(out)['cutmix']) == (0.2, 1), config(out))
    one = train('one', '--steps', 4, '--mixup', 0.5, '-j', 1)
    more = train('more', '--steps', 4, '--mixup', 0.5, '-j', 3)
    check(tensors(os.path.join(one, 'last.safetensors')) == tensors(os.path.join(more, 'last.safetensors')),
          'more threads mix otherwise')
    succeeds(*TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('checked'), '--steps', 1, '--validate', 1,
             '--mixup', 1, '--label-smoothing', 0.1)
    for option in ('--mixup', '--cutmix'):
        for value in (0.0001, -1, 1000):
            refuses([option], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), option, value)


# --- steps of several batches --------------------------------------------------------------------

def test_accumulate():
    """But for rounding, as a step of the larger batch; dropout and the last, smaller step included."""
    runs = []
    for name, options in (('large', ['--batch', 24]), ('parts', ['--batch', 8, '--accumulate', 3])):
        out = train(name, '--epochs', 2, '--lr', 0.05, *options, norm='none')
        runs.append([(line['step'], line['loss'], line['lr']) for line in log(out, 'step')])
        check(config(out)['steps_per_epoch'] == 3, config(out))
    check(len(runs[0]) == 6 and all(a[0] == b[0] and a[2] == b[2] and abs(a[1] - b[1]) < 1e-4 * a[1]
                                    for a, b in zip(*runs)), runs)
    for norm in ('bn', 'nd'):
        resumed('accumulated-' + norm, '--accumulate', 2, norm=norm)
    refuses(['leave --accumulate out'], *TRAIN, '--data', data(), '--norm', 'nd', '--out', fresh('no'),
            '--accumulate', 2, '--overhead-budget', '20%')
    for most in 0, 100000000:
        refuses(['--accumulate'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--accumulate', most)
    refuses(['--cache', 'empty'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--cache', '')


# --- the rate ------------------------------------------------------------------------------------

def test_accumulate_auto():
    """A step's images in as few passes as fit, after recomputation; without a limit in one."""
    bench = ('bench', '--model', 'smallcnn', '--norm', 'bn', '--steps', 1, '--warmup', 0, '--json', '--batch', 64)
    need = json.loads(succeeds(*bench, '--recompute', 64).stdout)['planned_bytes']
    for name, limit, passes in (('room', (), 1), ('narrow', ('--max-alloc', int(0.6 * need)), 2)):
        made = config(train(name, '--batch', 64, '--steps', 1, '--accumulate', 'auto', *limit))
        check(made['accumulate'] >= passes and made['batch'] * made['accumulate'] == 64, made)
        check(made['accumulate'] == 1 or passes > 1, made)
    resumed('narrow-on', '--batch', 64, '--accumulate', 'auto', '--max-alloc', int(0.6 * need))


def test_schedules():
    """An epoch has four steps."""
    for text, rates in (('step:1:0.5', [0.25, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25, 0.25]),
                        ('polynomial', [0.25, 0.5, 0.5, 0.5 * 5 / 6, 0.5 * 4 / 6, 0.5 * 3 / 6, 0.5 * 2 / 6, 0.5 / 6])):
        out = train('schedule', '--schedule', text, '--epochs', 2, '--warmup-epochs', 0.5, '--lr', 0.5)
        found = [line['lr'] for line in log(out, 'step')]
        check(all(abs(a - b) < 1e-6 for a, b in zip(found, rates)) and len(found) == 8, found)
        check((config(out)['schedule'], config(out)['warmup_epochs']) == (text, 0.5), config(out))
    for words, options in ((['--warmup'], ['--warmup-epochs', 0.5, '--warmup', 1]),
                           (['--warmup-epochs:'], ['--warmup-epochs', 2]),
                           (['leave --warmup out'], ['--schedule', 'onecycle', '--warmup', 2]),
                           (['leave --warmup-epochs out'], ['--schedule', 'onecycle', '--warmup-epochs', 1])):
        refuses(words, *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--epochs', 2, *options)
    refuses(['--schedule', "'step:'"], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--schedule',
            'step:')


# --- other weights to begin with -----------------------------------------------------------------

def classes_of(count):
    """Pictures of so many classes."""
    return 'synthetic:1x28x28:%d' % count


def test_new_head():
    train('body', '--steps', 2)
    body = path('body', 'last.safetensors')
    for norm, count in (('bn', 7), ('bn', 10)):
        out = fresh('headed')
        succeeds(*TRAIN, '--data', classes_of(count), '--norm', norm, '--out', out, '--init', body, '--new-head',
                 '--steps', 1, '--lr', 0)
        found, first = values(os.path.join(out, 'last.safetensors')), values(body)
        moved = {name for name in found if 'running' not in name and 'num_' not in name and found[name] != first[name]}
        check(moved == {'fc.weight', 'fc.bias'}, moved)
        check(config(out)['new_head'] is True and config(out)['init'] == body, config(out))
    more = [*TRAIN, '--data', classes_of(7), '--out', fresh('no'), '--init', body]
    refuses(['--new-head takes all but'], *more, '--norm', 'bn')
    refuses(['missing', 'check the model and the norm'], *more, '--norm', 'nd', '--new-head')
    refuses(['--new-head'], *TRAIN, '--data', classes_of(7), '--norm', 'bn', '--out', fresh('no'), '--new-head')


# --- which parameters ----------------------------------------------------------------------------

def values(file):
    """{name: bytes}"""
    header, data = tensors(file)
    return {name: data[slice(*entry['data_offsets'])] for name, entry in header.items()}


def test_no_decay_and_frozen_layers():
    out = resumed('selected', '--no-decay', 'norm-bias', '--freeze-layers', 'conv1,bn*.bias', '--weight-decay', 0.1)
    check((config(out)['no_decay'], config(out)['freeze_layers']) == ('norm-bias', 'conv1,bn*.bias'), config(out))
    first = values(os.path.join(train('first', '--schedule', 'constant', '--lr', 0, '--steps', 1), 'last.safetensors'))
    last = values(os.path.join(out, 'last.safetensors'))
    same = {name for name in first if first[name] == last[name]}
    check({'conv1.weight', 'bn1.bias', 'bn2.bias'} <= same and not {'conv2.weight', 'bn1.weight'} & same, same)
    resumed('selected-nd', '--no-decay', '*.bias', '--freeze-layers', 'conv1', norm='nd')
    for option in ('--no-decay', '--freeze-layers'):
        for value, words in (('layer9', ['layer9']), ('conv9', ["did you mean 'conv1'?"]), ('conv1,x', ['x']),
                             ('norm_bias', ["did you mean 'norm-bias'?"]), ('bn2.wieght', ["'bn2.weight'?"]),
                             ('', ['nothing']), (',', ['nothing'])):
            refuses([option, *words], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), option, value)
    refuses(['nothing to train'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--freeze-layers',
            '*')
    refuses(['leave --freeze-layers out'], *TRAIN, '--data', data(), '--norm', 'nd', '--out', fresh('no'),
            '--freeze-layers', 'conv1', '--overhead-budget', '20%')


# --- epochs --------------------------------------------------------------------------------------

def test_early_stop():
    """With a rate of nothing the first epoch is the best."""
    out = train('early', '--lr', 0, '--schedule', 'constant', '--epochs', 9, '--early-stop', 2)
    check([line['epoch'] for line in log(out, 'epoch')] == [1, 2, 3], log(out, 'epoch'))
    succeeds('train', '--resume', '--out', out, '--quiet')
    check(len(log(out, 'epoch')) == 3, 'it goes on when it is resumed')
    done = succeeds('train', '--resume', '--out', out, '--early-stop', 4)
    check(len(log(out, 'epoch')) == 5 and 'stopped early' in done.stderr, log(out, 'epoch'))
    parts = train('early-parts', '--lr', 0, '--schedule', 'constant', '--epochs', 2, '--early-stop', 2)
    succeeds('train', '--resume', '--out', parts, '--epochs', 9, '--quiet')
    check(len(log(parts, 'epoch')) == 3, log(parts, 'epoch'))


def test_weights_of_epochs():
    def kept(out):
        return sorted(name for name in os.listdir(out) if name.startswith('epoch-'))
    out = train('every', '--epochs', 5, '--save-every', 2)
    check(kept(out) == ['epoch-0002.safetensors', 'epoch-0004.safetensors'], kept(out))
    out = train('some', '--epochs', 5, '--save-every', 1, '--keep', 2)
    check(kept(out) == ['epoch-0004.safetensors', 'epoch-0005.safetensors'], kept(out))
    check(tensors(os.path.join(out, 'epoch-0005.safetensors')) == tensors(os.path.join(out, 'last.safetensors')),
          'the last epoch has other weights')
    refuses(['--save-every'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--keep', 2)
    for option in ('--early-stop', '--save-every', '--keep'):
        refuses([option], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), option, 0)


# --- a file of settings --------------------------------------------------------------------------

def test_config():
    def write(text):
        with open(path('settings.json'), 'w') as f:
            f.write(text if isinstance(text, str) else json.dumps(text))
        return path('settings.json')
    options = ['--schedule', 'constant', '--lr', 0.05, '--epochs', 2, '--label-smoothing', 0.1, '--ema', 0.5,
               '--no-decay', 'norm-bias', '--seed', 3]
    first = train('first', *options)
    succeeds('train', '--config', os.path.join(first, 'config.json'), '--out', fresh('again'), '--quiet')
    for file in ('last.safetensors', 'ema.safetensors'):
        check(tensors(os.path.join(first, file)) == tensors(path('again', file)), '%s differs' % file)
    check(config(first)['settings'] == config(path('again'))['settings'], config(path('again')))
    own = dict(model='smallcnn', norm='nd', data=data(), batch=16, steps=3, lr=0.05, nd_iter=4, early_stop=2)
    succeeds('train', '--config', write(own), '--out', fresh('own'), '--norm', 'bn', '--epochs', 1, '--lr', 0.01,
             '--quiet')
    found = {key: config(path('own')).get(key) for key in ('norm', 'epochs', 'steps', 'lr', 'batch', 'early_stop')}
    check(found == dict(norm='bn', epochs=1, steps=None, lr=0.01, batch=16, early_stop=2), found)
    amounts = dict(label_smoothing=0.1, ema=0.5, random_erase=0.5, mixup=0.2, cutmix=0.3, val_split='10%')
    with open(path('split.txt'), 'w') as f:
        f.write('val 0\r\n' + ''.join('train %d\r\n' % i for i in range(1, 64)))
    none = [word for name in amounts if name != 'val_split' for word in ('--' + name.replace('_', '-'), 0)]
    succeeds('train', '--config', write({**own, **amounts}), '--out', fresh('none'), '--quiet', *none, '--split-file',
             path('split.txt'))
    check(not set(amounts) & set(config(path('none'))), config(path('none')))
    succeeds('train', '--config', write({**own, 'steps': 1, 'constant_gradient': 1}), '--out', fresh('exact'),
             '--quiet', '--whiten-grad', 'exact')
    check(config(path('exact'))['constant_gradient'] == -1, config(path('exact')))
    for text, words in (({**own, 'optimiser': {}}, ['"optimiser"']), ({**own, 'settings': [1]}, ['"settings"']),
                        ({**own, 'label_smothing': 0.1}, ['label_smoothing']), ({**own, 'lr': 'x'}, ['"lr"']),
                        ({**own, 'lr': 1e-46}, ['"lr" is 0']),
                        ([1], ['settings']), ('{', ['settings.json']), ({**own, 'ema': 2}, ['"ema"']),
                        ({'model': 'smallcnn', 'data': data()}, ['--norm']), ({'norm': 'bn'}, ['--model']),
                        ({**own, 'settings': {'x': 1}}, ['"x"'])):
        refuses(words, 'train', '--config', write(text), '--out', fresh('no'))
        check(not os.path.exists(path('no')), 'a directory is left')
    refuses(['nowhere'], 'train', '--config', path('nowhere.json'), '--out', fresh('no'))
    refuses(['--config'], 'train', '--config', write(own), '--out', path('own'), '--resume')


# --- epochs as a table ----------------------------------------------------------------------------

def test_results():
    """A run that was stopped within its first epoch begins the table again."""
    out = train('table', '--steps', 3, '--ema', 0.9, '--label-smoothing', 0.1, '--random-erase', 0.5,
                '--clip-grad-norm', 1, '--mixup', 0.2)
    succeeds('train', '--resume', '--out', out, '--steps', 5, '--quiet')
    with open(os.path.join(out, 'results.csv')) as f:
        rows = [line.rstrip('\n').split(',') for line in f]
    lines = log(out, 'epoch')
    check(len(lines) == 2 and rows[1:] == [['%.9g' % line[key] for key in rows[0]] for line in lines], rows)


# --- muon ----------------------------------------------------------------------------------------

def test_muon():
    for norm in ('bn', 'nd'):
        out = resumed('muon-' + norm, '--optimiser', 'muon', norm=norm)
    header, _ = tensors(os.path.join(out, 'last.state.safetensors'))
    kinds = {name: {key.rsplit('.', 1)[1] for key in header if key.startswith(name + '.')}
             for name in ('conv1.weight', 'conv1.bias', 'fc.weight')}
    check(kinds == {'conv1.weight': {'momentum_buffer'}, 'conv1.bias': {'exp_avg', 'exp_avg_sq'},
                    'fc.weight': {'exp_avg', 'exp_avg_sq'}}, kinds)
    found = {key: config(out).get(key) for key in ('optimiser', 'momentum', 'nesterov', 'lr', 'weight_decay', 'beta2')}
    check(found == dict(optimiser='muon', momentum=0.95, nesterov=True, lr=1e-3, weight_decay=0.1, beta2=0.999), found)
    done = json.loads(succeeds('bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', 2, '--steps', 1,
                               '--optimiser', 'muon', '--json').stdout)
    work = done['work']['update']
    check(work['operations'] > 1e6 and work['bytes'] > 1e5, work)
    out = train('muon-learns', '--optimiser', 'muon', '--epochs', 6, '--lr', 0.01)
    check(log(out, 'epoch')[-1]['train_top1'] > 60, log(out, 'epoch'))


# --- averages ------------------------------------------------------------------------------------

def test_ema():
    for norm in ('bn', 'nd'):
        out = resumed('averaged-' + norm, '--ema', 0.75, norm=norm,
                      files=('last.safetensors', 'last.state.safetensors', 'ema.safetensors'))
        averages, last = values(os.path.join(out, 'ema.safetensors')), values(os.path.join(out, 'last.safetensors'))
        check(averages.keys() == last.keys() and averages != last, 'the averages are the weights, or others')
        plain = train('not-averaged', '--schedule', 'constant', '--steps', 8, norm=norm)
        check(last == values(os.path.join(plain, 'last.safetensors')), 'averages change the run')
        line = log(out, 'epoch')[-1]
        check({'ema_test_loss', 'ema_test_top1', 'ema_test_top5'} <= set(line), line)
        done = succeeds('eval', '--weights', os.path.join(out, 'ema.safetensors'), '--model', 'smallcnn', '--norm',
                        norm, '--data', data(), '--json')
        check(abs(json.loads(done.stdout)['loss'] - line['ema_test_loss']) < 1e-5, (done.stdout, line))
    check(config(out)['ema'] == 0.75, config(out))
    for value in (1, -0.5, 'half'):
        refuses(['--ema'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), '--ema', value)


def test_clip_grad_norm():
    out = resumed('clipped', '--clip-grad-norm', 0.01)
    changes('clipped-whole')
    check(config(out)['clip_grad_norm'] == 0.01, config(out))
    resumed('clipped-nd', '--clip-grad-norm', 0.5, '--refresh', 8, norm='nd')
    for value in (0, -1, 'much'):
        refuses(['--clip-grad-norm'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'),
                '--clip-grad-norm', value)


# --- what a CI job asks --------------------------------------------------------------------------

def test_expectations():
    """A miss is status 1, one line, and leaves a whole run."""
    more = [*TRAIN, '--data', data(), '--norm', 'bn', '--epochs', 6, '--lr', 0.05, '--out']
    succeeds(*more, fresh('kept'), '--expect-top1', 5)
    refuses(['--expect-top1'], *more, fresh('missed'), '--expect-top1', 100, status=1)
    for file in ('last.safetensors', 'best.safetensors'):
        check(tensors(path('kept', file)) == tensors(path('missed', file)), '%s differs' % file)
    bench = ['bench', '--model', 'smallcnn', '--norm', 'bn', '-b', 2, '--steps', 2]
    succeeds(*bench, '--expect-ms', 1e6)
    done = blanch(*bench, '--expect-ms', 1e-3, '--tolerance', '50%', '--json')
    check(done.returncode == 1 and json.loads(done.stdout)['step_ms'] > 0 and '50 %' in done.stderr, done.stderr)
    for options in (['--tolerance', '5%'], ['--expect-ms', 1, '--tolerance', 'much'], ['--expect-ms', 1, '--tolerance',
                    '-5%']):
        refuses(['--tolerance'], *bench, *options)
    refuses(['--expect-ms'], *bench, '--expect-ms', 0)
    refuses(['--expect-top1'], *more, fresh('no'), '--expect-top1', 101)


def test_habits():
    """-b, --batch-size and -j are known, and what is near something is named."""
    for options in (['-b', 8, '-j', 2], ['-b8', '--workers', 1], ['--batch-size', 8]):
        out = fresh('habit')
        succeeds('train', '--model', 'smallcnn', '--norm', 'bn', '--data', data(), '--out', out, '--steps', 1, *options)
        check(config(out)['batch'] == 8, config(out))
    refuses(['--batch needs a value'], *TRAIN, '-b')
    refuses(["'-x'"], *TRAIN, '-x', 3)
    refuses(['--label-smoothing'], *TRAIN, '--labl-smoothing', 0.1)
    refuses(['--workers'], *TRAIN, '-j', 0)
    for option, wrong, near in (('--optimiser', 'adam', 'adamw'), ('--augment', 'imgnet', 'imagenet')):
        refuses(["did you mean '%s'?" % near], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'), option,
                wrong)


if __name__ == '__main__':
    tap.need_device(BLANCH)
    failed = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(failed)
