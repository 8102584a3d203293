#!/usr/bin/env python3
"""Options of data in every subcommand that takes them, and the normalisation that weights carry.
tests/data_options.py BLANCH [TEST...]. Prints TAP; makes its own small data."""
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

import caches
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-data-')
ENV = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE='0')
SMALL = ('--model', 'smallcnn', '--size', 16, '--batch', 8, '--lr', 0.01)


def path(*parts):
    return os.path.join(HOME, *parts)


def run(*args, status=0, words=()):
    done = subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=300, cwd=HOME, env=ENV)
    check(done.returncode == status, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-400:]))
    for word in words:
        check(word in done.stderr, "'%s' is not in: %s" % (word, done.stderr))
    check(not status or done.stderr.count('\n') == 1, 'not one line: %s' % done.stderr)
    return done


def folder(name, size, count=12, shades=(60, 190), tests=0):
    """Pictures of two classes, whose shades tell them apart."""
    rng = random.Random(name)
    for part, images in (('train', count), ('test', tests)):
        for label, shade in zip('ab', shades):
            for i in range(images):
                os.makedirs(path(name, part, label), exist_ok=True)
                with open(path(name, part, label, '%d.png' % i), 'wb') as f:
                    f.write(pictures.png(size, size, bytes(min(255, shade + rng.randrange(50))
                                                           for _ in range(3 * size * size))))
    return 'folder:' + path(name)


def lines(out, kind, **have):
    with open(path(out, 'log.jsonl'), encoding='utf-8') as f:
        return [line for line in map(json.loads, f) if line['type'] == kind and have.items() <= line.items()]


def config(out):
    with open(path(out, 'config.json'), encoding='utf-8') as f:
        return json.load(f)


def losses(out, **have):
    return [line['loss'] for line in lines(out, 'step', **have)]


# --- compare ---------------------------------------------------------------------------------------

def compare_as_train(name, data, *options):
    """The same batches: the losses of `train` with the same options."""
    more = (*SMALL, '--data', data, '--steps', 6, '--seed', 3, *options)
    run('train', *more, '--norm', 'bn', '--quiet', '--out', path(name + '-train'))
    run('compare', *more, '--norms', 'bn,none', '--out', path(name))
    near = [abs(a - b) < 2e-5 for a, b in zip(losses(name, norm='bn'), losses(name + '-train'))]
    check(near == [True] * 6, '%s: %s, not %s' % (
        options, losses(name, norm='bn'), losses(name + '-train')))
    check(len(losses(name, norm='none')) == 6, name)
    return config(name)


def test_nothing_to_train_on():
    """Data that are no folder are told from one."""
    with open(path('none.txt'), 'w') as f:
        f.write('val 1\n')
    idx = pictures.mnist(path('idx'), 20, 10)
    for data, more, words in (('synthetic:3x16x16:1', (), 'one class alone'),
                              (idx, ('--split-file', path('none.txt')), 'no training images')):
        done = run('train', *SMALL, '--norm', 'bn', '--data', data, '--out', path('no'), *more, status=2, words=[words])
        check('CLASS' not in done.stderr, done.stderr)


def test_compare_takes_what_train_does():
    data = folder('plain', 16)
    whole = compare_as_train('whole', data)
    more = {'--auto-augment': 'ta', '--random-erase': 1, '--cutmix': 1, '--mixup': 0.4, '--val-split': '25%',
            '--workers': 2}
    found = compare_as_train('more', data, *sum(more.items(), ()))
    check(losses('more', norm='bn') != losses('whole', norm='bn'), 'they change nothing')
    settings = {'--' + key.replace('_', '-'): value for key, value in found['settings'].items()}
    check(more.items() <= settings.items(), str(settings))
    counts = {split: found['data_found'][split]['images'] for split in ('train', 'val')}
    check(counts == {'train': 16, 'val': 5} and whole['data_found']['train']['images'] == 21, str(counts))
    run('compare', *SMALL, '--data', data, '--steps', 6, '--out', path('none'), '--val-split', '0%', status=2,
        words=['--val-split'])
    run('compare', *SMALL, '--data', data, '--steps', 6, '--out', path('none'), '--auto-augment', 'x', status=2,
        words=["'x'"])
    check(not os.path.exists(path('none')), 'a refused comparison left a folder')


def test_compare_measures_what_was_asked_for():
    """Validation images, where some were asked for; test images, where the data have them."""
    data = folder('tested', 16, 12, tests=4)
    more = ('compare', *SMALL, '--data', data, '--norms', 'bn', '--epochs', 2)
    run(*more, '--out', path('by-test'))
    run(*more, '--val-split', '25%', '--out', path('by-val'))
    for out, name in (('by-test', 'test_top1'), ('by-val', 'val_top1')):
        check([name in line for line in lines(out, 'epoch')] == [True, True], str(lines(out, 'epoch')))
    with open(path('splits.txt'), 'w', encoding='utf-8') as f:
        f.writelines('%s train/%s/%d.png\n' % ('val' if i < 3 else 'train', label, i) for label in 'ab'
                     for i in range(12))
    run(*more, '--split-file', path('splits.txt'), '--out', path('by-file'))
    found = config('by-file')['data_found']
    check([found[split]['images'] for split in ('train', 'val', 'test')] == [18, 6, 0], str(found))


def test_cache():
    """The same losses, and pictures that are kept: of compare, and of study's cells."""
    data, kept = folder('large', 72, 6), path('kept')
    compare_as_train('uncached', data, '--augment', 'none')
    compare_as_train('cached', data, '--augment', 'none', '--cache', kept)
    check(losses('uncached', norm='bn') == losses('cached', norm='bn'), 'kept pictures are others')
    check(os.listdir(kept), 'nothing is kept')
    other = path('kept-by-study')
    run('study', '--data', data, '--out', path('study'), '--networks', 'mobilenetv2', '--norms', 'bn', '--steps', 1,
        '--cache', other, '-j', 1)
    check(os.listdir(other), 'nothing is kept')


# --- eval ------------------------------------------------------------------------------------------

def test_eval_divides_as_it_is_told():
    data = folder('divided', 16, 20)
    run('train', *SMALL, '--data', data, '--norm', 'bn', '--steps', 2, '--val-split', '30%', '--seed', 5, '--quiet',
        '--out', path('divided-run'))
    weights, kept = path('divided-run', 'last.safetensors'), path('kept-by-eval')
    own = json.loads(run('eval', '--run', path('divided-run'), '--split', 'val', '--json').stdout)
    more = ('eval', '--weights', weights, '--data', data, '--split', 'val', '--json', '--val-split', '30%')
    told = json.loads(run(*more, '--seed', 5, '--cache', kept).stdout)
    check((told['images'], told['loss']) == (own['images'], own['loss']), '%s, not %s' % (told, own))
    other = json.loads(run(*more, '--seed', 6).stdout)
    check(other['loss'] != own['loss'], 'the seed divides nothing')
    for option in (('--val-split', '30%'), ('--split-file', weights), ('--seed', 5)):
        run('eval', '--run', path('divided-run'), *option, status=2, words=[option[0]])


# --- weights to begin with ---------------------------------------------------------------------------

def test_init_takes_the_normalisation():
    """Of the weights, unless --normalise says otherwise; recorded, said, and repeated by --config."""
    body, new = folder('body', 16, shades=(10, 60)), folder('new', 16, shades=(120, 200))
    more = (*SMALL, '--norm', 'bn', '--steps', 2)
    run('train', *more, '--data', body, '--ema', 0.9, '--quiet', '--out', path('body-run'))
    view = lambda out: {key: config(out)['view'][key] for key in ('mean', 'deviation')}
    for weights, out in (('last', 'tuned'), ('ema', 'tuned-of-ema')):
        init = path('body-run', weights + '.safetensors')
        run('train', *more, '--data', new, '--init', init, '--new-head', '--out', path(out),
            words=['normalised as %s says' % init])
        check(view(out) == view('body-run'), '%s, not %s' % (view(out), view('body-run')))
        check(config(out)['normalise'] == 'weights', config(out)['normalise'])
    run('train', '--resume', '--out', path('tuned'), '--steps', 3)
    run('train', '--config', path('tuned', 'config.json'), '--out', path('again'), '--quiet')
    check(view('again') == view('tuned') and config('again')['normalise'] == 'weights', str(view('again')))
    done = run('train', *more, '--data', new, '--init', init, '--normalise', 'measured', '--out', path('measured'))
    check('normalised as' not in done.stderr and config('measured')['normalise'] == 'measured', done.stderr)
    check(view('measured')['mean'][0] > view('tuned')['mean'][0] + 0.2, str(view('measured')))
    again = json.loads(run('eval', '--weights', path('tuned', 'last.safetensors'), '--data', new, '--json').stdout)
    check(again['loss'] == json.loads(run('eval', '--run', path('tuned'), '--json').stdout)['loss'], str(again))


def test_init_of_weights_that_do_not_say():
    """As PyTorch saves them: what goes with the data."""
    data = folder('plain-init', 16)
    more = (*SMALL, '--norm', 'bn', '--steps', 1, '--data', data)
    run('train', *more, '--quiet', '--out', path('said'))
    with open(path('said', 'last.safetensors'), 'rb') as f:
        size = int.from_bytes(f.read(8), 'little')
        header, values = json.loads(f.read(size)), f.read()

    def write(metadata):
        text = json.dumps({**header, '__metadata__': metadata}).encode()
        with open(path('other.safetensors'), 'wb') as f:
            f.write(len(text).to_bytes(8, 'little') + text + values)
        return path('other.safetensors')

    for i, metadata in enumerate(({'format': 'pt'}, {'format': 'pt', 'view': 'of another program'})):
        run('train', *more, '--init', write(metadata), '--out', path('silent-%d' % i))
        check(config('silent-%d' % i)['normalise'] == 'measured', config('silent-%d' % i)['normalise'])
        run('train', *more, '--init', write(metadata), '--normalise', 'weights', '--out', path('none'), status=2,
            words=['other.safetensors does not say'])
    run('train', *more, '--normalise', 'weights', '--out', path('none'), status=2, words=['--init'])
    said = header['__metadata__']
    for view, word in (('{', 'view'), ('{"channels": 3}', 'size')):
        run('train', *more, '--init', write({**said, 'view': view}), '--out', path('none'), status=2,
            words=['other.safetensors', word])
        run('train', *more, '--init', write({**said, 'view': view}), '--normalise', 'none', '--out',
            path('none-' + word))
    check(not os.path.exists(path('none')), 'a refused run left a folder')


if __name__ == '__main__':
    tap.need_device(BLANCH)
    failed = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(failed)
