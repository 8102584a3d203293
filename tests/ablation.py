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
            (dict(seeds=0), ['"seeds"'])):
        err = study('--ablation', FILE, '--out', other, status=2, **changes)[1].strip()
        assert len(err.splitlines()) == 1 and all(word in err for word in words), err
    assert not os.path.exists(other)
    err = run(status=2, base=dict(GRID['base'], batch=4))[1]
    assert 'whose "base" was another' in err, err
    err = run('--networks', 'vgg11', status=2)[1]
    assert 'leave --networks' in err, err


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals()))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
