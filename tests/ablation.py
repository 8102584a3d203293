#!/usr/bin/env python3
"""`blanch study --ablation` end to end, on runs of two steps: tests/ablation.py BLANCH. Prints TAP."""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

import tap

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-ablation-')
OUT = os.path.join(HOME, 'out')
FILE = os.path.join(HOME, 'grid.json')
GRID = {'data': 'synthetic:3x16x16:5', 'models': ['smallcnn'], 'steps': 2, 'seeds': 2,
        'base': {'batch': 8, 'augment': 'none', 'size': 16},
        'grid': {'norm': ['bn', {'norm': 'nd', 'block': 8, 'whiten': 'variances'}], 'lr': [0.1, 0.01]},
        'best': ['lr']}


def study(*args, status=0, **changes):
    with open(FILE, 'w', encoding='utf-8') as f:
        json.dump({**GRID, **changes}, f)
    return command(*args, status=status)


def command(*args, status=0):
    done = subprocess.run([BLANCH, 'study', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    assert done.returncode == status, 'exit status %d: %s' % (done.returncode, done.stderr.decode()[-300:])
    return done.stdout.decode(), done.stderr.decode()


def run(*args, **changes):
    return study('--ablation', FILE, '--out', OUT, *args, **changes)


def config(cell):
    with open(os.path.join(OUT, cell, 'config.json'), encoding='utf-8') as f:
        return json.load(f)


def test_rates_first_then_the_other_seeds_at_the_best():
    out, err = run()
    assert 'cell 1 of 6: smallcnn,norm=bn,lr=0.1,2,seed0' in err and 'cell 6 of 6: ' in err, err
    one = config('smallcnn,norm=nd,block=8,whiten=variances,lr=0.01,2,seed0')
    has = [one[key] for key in ('norm', 'block', 'lr', 'batch', 'steps', 'seed')]
    assert has == ['nd', 8, 0.01, 8, 2, 0], one
    assert one['whiten'] == 'variances', one
    made = json.loads(study('--show', '--out', OUT, '--json')[0])
    assert made['kind'] == 'ablation' and len(made['cells']) == 6 and len(made['rows']) == 2, made
    for row in made['rows']:
        tried = {c['sweep']: c['test_top1'] for c in made['cells'] if c['setting'] == row['setting'] and not c['seed']}
        assert tried[row['best']] == max(tried.values()), (row, tried)
        both = [c['test_top1'] for c in made['cells'] if (c['setting'], c['sweep']) == (row['setting'], row['best'])]
        mean = sum(both) / 2
        spread = math.sqrt(sum((x - mean) ** 2 for x in both))
        assert len(both) == 2 == row['seeds'] and abs(row['top1'] - mean) < 1e-3, (row, both)
        assert abs(row['spread'] - spread) < 1e-3, (row, both)
    first, second = made['rows']
    assert abs(second['against_first'] - (second['top1'] - first['top1'])) < 1e-3 and first['against_first'] is None
    assert '--norm nd --block 8 --whiten variances' in out and '--lr 0.1' in out, out
    assert 'Best at an end of what was tried' in out, out


def test_finished_cells_are_kept_and_a_grid_grows():
    err = run()[1]
    assert '6 of 6 cells are finished already' in err and 'cell 1' not in err, err
    err = run(seeds=3)[1]
    assert '6 of 8 cells are finished already' in err and 'cell 2 of 2' in err, err


def test_a_page_with_curves_and_rates():
    with open(os.path.join(OUT, 'ablation.html'), encoding='utf-8') as f:
        page = f.read()
    assert 'Training loss over time' in page and 'of each rate' in page, page[:500]
    for text in ('>0.01</span>', '>0.1</span>', 'class="line dot bn"', 'Best at an end of what was tried'):
        assert text in page, text
    assert page.count('<h2>smallcnn</h2>') == 1 and '--norm bn' in page and 'http' not in page


def test_one_line_for_what_is_wrong():
    other = os.path.join(HOME, 'other')
    for changes, words in (
            (dict(gird={}), ['grid.json', 'did you mean "grid"']),
            (dict(grid={'norm': ['bn'], 'lrr': [1]}, best=[]), ['grid.json', 'lrr=1', '--lrr']),
            (dict(grid={'norm': ['bn', 'xy']}, best=[]), ['norm=xy', '--norm takes']),
            (dict(grid={'norm': ['bn'], 'seed': [1]}, best=[]), ['--seed is no option to vary']),
            (dict(grid={'norm': ['bn', 'bn']}), ['has --norm bn twice']),
            (dict(grid={'norm': ['bn']}), ['"best" has lr']),
            (dict(grid={'norm': []}, best=[]), ['"norm" takes a list']),
            (dict(models=[]), ['"models"']),
            (dict(models=['vgg61']), ['vgg61']),
            (dict(epochs=2), ['"steps" and "epochs"']),
            (dict(seeds=0), ['"seeds"']),
            (dict(models=['ddpm-unet'], data='synthetic:3x32x32:5', grid={'norm': ['own']}, best=[]),
             ['ddpm-unet generates images', 'judge by accuracy'])):
        err = study('--ablation', FILE, '--out', other, status=2, **changes)[1].strip()
        assert len(err.splitlines()) == 1 and all(word in err for word in words), err
    assert not os.path.exists(other)
    err = run(status=2, base=dict(GRID['base'], batch=4))[1]
    assert 'whose "base" was another' in err, err
    err = run('--networks', 'vgg11', status=2)[1]
    assert 'leave --networks' in err, err


def test_what_would_share_a_folder_or_a_result_is_refused():
    other = os.path.join(HOME, 'twice')
    one = {'norm': 'nd', 'block': 8}
    for changes, words in (
            (dict(models=['smallcnn', 'smallcnn']), ['"models" has smallcnn twice']),
            (dict(models=['a/net.json', 'b/net.json']), ['a/net.json and b/net.json', 'share their folders']),
            (dict(seeds=[3, 0, 3]), ['"seeds" has 3 twice']),
            (dict(best=['lr', 'lr']), ['"best" has lr twice']),
            (dict(grid={'lr': [0.1, 0.2, 0.1]}), ['"lr"', '--lr 0.1 twice']),
            (dict(grid={'norm': [one, dict(reversed(one.items()))]}, best=[]), ['--block 8 --norm nd twice']),
            (dict(grid={'lr': [0.1], 'rate': [{'lr': 0.2}]}), ['"lr" and "rate" both set --lr']),
            (dict(grid={'norm': ['bn'], 'init': ['a/b', 'a~b']}, best=[]), ['the folder smallcnn,norm=bn,init=a~b']),
            ('"seeds": 1,', ['it has "seeds" twice']),
            ('"base": {"lr": 1, "lr": 2},', ['"base"', 'it has "lr" twice']),
            ('"grid": {"lr": [0.1], "lr": [0.2]},', ['"grid"', 'it has "lr" twice'])):
        if isinstance(changes, str):
            key = changes.split('"')[1]
            rest = GRID if key == 'seeds' else {k: v for k, v in GRID.items() if k != key}
            text = '{' + changes + json.dumps(rest)[1:]
        else:
            text = json.dumps({**GRID, **changes})
        with open(FILE, 'w', encoding='utf-8') as f:
            f.write(text)
        err = command('--ablation', FILE, '--out', other, status=2)[1].strip()
        assert len(err.splitlines()) == 1 and 'grid.json' in err and all(word in err for word in words), err
    assert not os.path.exists(other)


def network(path, channels, **more):
    """A file's network: pictures of 16x16 to 5 classes, or to one class of each pixel."""
    with open(path, 'w', encoding='utf-8') as f:
        json.dump({'input': [3, 16, 16], **more, 'graph': [
            {'op': 'conv2d', 'name': 'body', 'attrs': {'out_channels': channels, 'kernel': 3, 'padding': 1}},
            {'op': 'batchnorm2d', 'name': 'norm'}, {'op': 'relu'}, {'op': 'global_avgpool2d'},
            {'op': 'linear', 'name': 'head', 'attrs': {'out_features': 5}}]}, f)
    return path


def test_cells_of_another_network_are_not_taken_up():
    net, out = os.path.join(HOME, 'net.json'), os.path.join(HOME, 'network')
    base = {'batch': 8, 'augment': 'none'}
    grid = dict(models=[net], base=base, grid={'norm': ['bn', 'nd']}, best=[], seeds=1)
    call = ['--ablation', FILE, '--out', out]
    network(net, 4)
    study(*call, **grid)
    network(net, 4, summary='the same')
    os.mkdir(os.path.join(HOME, 'moved'))
    moved = network(os.path.join(HOME, 'moved', 'net.json'), 4)
    for models in ([moved], [net]):
        assert '2 of 2 cells are finished already' in study(*call, **dict(grid, models=models))[1]
    network(net, 8)
    cell = os.path.join(out, 'net.json,norm=nd,2,seed0')
    for args in (call, ['--show', '--out', out]):
        err = study(*args, **grid, status=2)[1].strip()
        assert len(err.splitlines()) == 1 and 'net.json,norm=bn,2,seed0 is of another network than ' + net in err, err
    shutil.rmtree(os.path.join(out, 'net.json,norm=bn,2,seed0'))
    with open(os.path.join(cell, 'log.jsonl'), encoding='utf-8') as f:
        lines = [line for line in f if '"epoch"' not in line.split(',')[0]]
    with open(os.path.join(cell, 'log.jsonl'), 'w', encoding='utf-8') as f:
        f.writelines(lines)
    err = study(*call, **grid, status=2)[1].strip()
    assert len(err.splitlines()) == 1 and 'net.json,norm=nd,2,seed0 is of another network' in err, err
    network(net, 4)
    err = study(*call, **grid)[1]
    assert 'net.json,norm=nd,2,seed0, continued' in err, err


def test_networks_that_label_pixels_by_mean_iou():
    net, out = os.path.join(HOME, 'pixels.json'), os.path.join(HOME, 'pixels')
    with open(net, 'w', encoding='utf-8') as f:
        json.dump({'input': [3, 16, 16], 'graph': [
            {'op': 'conv2d', 'name': 'body', 'attrs': {'out_channels': 8, 'kernel': 3, 'padding': 1}},
            {'op': 'batchnorm2d', 'name': 'norm'}, {'op': 'relu'},
            {'op': 'conv2d', 'name': 'head', 'attrs': {'out_channels': 3, 'kernel': 1}}]}, f)
    text, err = study('--ablation', FILE, '--out', out, models=[net], data='synthetic-seg:3x16x16:3', steps=3,
                      base={'batch': 8, 'augment': 'none'}, grid={'norm': ['bn'], 'lr': [0.1, 0.0001]})
    assert 'cell 3 of 3: ' in err and 'mean IoU' in text and 'Mean IoU of held-out data' in text, (text, err)
    assert 'top-1' not in text.lower() and 'nan' not in text, text
    made = json.loads(study('--show', '--out', out, '--json')[0])
    row, = made['rows']
    assert made['measure'] == 'mean_iou' and row['seeds'] == 2 and 'top1' not in row, made
    tried = {}
    for cell in made['cells']:
        with open(os.path.join(out, cell['dir'], 'log.jsonl'), encoding='utf-8') as f:
            last = json.loads(f.readlines()[-1])
        for key in ('test_mean_iou', 'train_pixel_accuracy'):
            assert abs(cell[key] - last[key]) < 1e-3, (cell, last)
        tried.setdefault(cell['sweep'], []).append(cell['test_mean_iou'])
    assert tried[row['best']][0] == max(values[0] for values in tried.values()), (row, tried)
    assert len(tried[row['best']]) == 2 and abs(row['mean_iou'] - sum(tried[row['best']]) / 2) < 1e-3, (row, tried)
    with open(os.path.join(out, 'ablation.html'), encoding='utf-8') as f:
        page = f.read()
    assert 'Mean IoU of held-out data' in page and '<th>mean IoU %</th>' in page and 'op-1' not in page, page[:500]


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals()))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
