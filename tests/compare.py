#!/usr/bin/env python3
"""Settings and learning rates of compare: tests/compare.py BLANCH [TEST...]. Prints TAP. No time is asserted."""
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile

import caches
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-compare-')
ENV = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE='0')
SMALL = ['compare', '--model', 'smallcnn', '--data', 'synthetic:1x28x28:10']
STEPS = 12


def path(name):
    return os.path.join(HOME, name)


def run(status, *args):
    done = subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=300, cwd=HOME, env=ENV)
    errors = [l for l in done.stderr.splitlines() if l.startswith('blanch: ')]
    check(done.returncode == status and len(errors) == (status != 0), '%s: exit status %d, not %d: %s'
          % (' '.join(map(str, args)), done.returncode, status, done.stderr[-400:]))
    return done


def read(name):
    with open(path(name)) as f:
        return json.load(f)


def write(name, document):
    with open(path(name), 'w') as f:
        json.dump(document, f)


def compared(name, *args, status=0):
    """The terminal's text, the document, the page's text, and the log's lines."""
    done = run(status, *SMALL, *args, '--out', path(name))
    document = read(name + '/compare.json')
    with open(path(name + '/report.html')) as f:
        page = f.read()
    with open(path(name + '/log.jsonl')) as f:
        return done.stdout, document, page, [json.loads(line) for line in f]


def steps(log, norm, setting=''):
    return [l for l in log if l['type'] == 'step' and l['norm'] == norm and l.get('setting', '') == setting]


def near(a, b):
    return abs(a - b) <= 1e-4 * max(abs(a), abs(b))


# --- settings --------------------------------------------------------------------------------------

def test_a_setting_has_a_norm_and_a_schedule_of_its_own():
    """And trains as the command line with the same options does."""
    _, document, _, log = compared('settings', '--batch', 16, '--steps', STEPS, '--settings',
                                   'bn01: --norm bn --lr 0.01 --schedule constant --warmup 4; small: --block 16;'
                                   'slow: --norm nd --lr 0.05; --norm none --optimiser adamw')
    runs = {(r['norm'], r['setting']): r for r in document['runs']}
    check(list(runs) == [('bn', ''), ('nd', ''), ('bn', 'bn01'), ('nd', 'small'), ('nd', 'slow'),
                         ('none', '--norm none --optimiser adamw')], list(runs))
    facts = {k[1] or k[0]: (r['lr'], r['schedule'], r.get('warmup'), r['optimiser']) for k, r in runs.items()}
    check(facts == {'bn': (0.1, 'cosine', None, 'sgd'), 'nd': (0.1, 'cosine', None, 'sgd'),
                    'bn01': (0.01, 'constant', 4, 'sgd'), 'small': (0.1, 'cosine', None, 'sgd'),
                    'slow': (0.05, 'cosine', None, 'sgd'),
                    '--norm none --optimiser adamw': (0.001, 'cosine', None, 'adamw')}, facts)
    rates = [l['lr'] for l in steps(log, 'bn', 'bn01')]
    check(rates == [0.0025, 0.005, 0.0075] + [0.01] * (STEPS - 3), rates)
    check(all(near(l['lr'], 0.05 * (1 + math.cos(math.pi * i / STEPS))) for i, l in enumerate(steps(log, 'nd'))),
          'the command line\'s own schedule')
    check([p['setting'] for p in document['pairs']] == ['', 'small', 'slow'], 'a pair for every nd, beside one bn')
    _, _, _, alone = compared('alone', '--batch', 16, '--steps', STEPS, '--norms', 'bn', '--lr', 0.01, '--schedule',
                              'constant', '--warmup', 4)
    check([l['loss'] for l in steps(alone, 'bn')] == [l['loss'] for l in steps(log, 'bn', 'bn01')], 'other losses')


def test_refused():
    for args, word in ((['--norms', 'bn', '--settings', '--block 4'], '--block'),
                       (['--settings', 'a: --block 4;a : --block 8 --lr 1'], "nd, a twice, the second time in 'a : "
                        "--block 8 --lr 1'"),
                       (['--norms', 'bn', '--sweep-lr', '0.1', '--settings', '--lr 0.1'], 'bn, --lr 0.1 twice'),
                       (['--settings', ': --block 8'], "': --block 8' has no name before its colon"),
                       (['--settings', '--zigzag 1'], "no option '--zigzag'; of `blanch train --help` it takes"),
                       (['--settings', 'a: ' + 20 * '--nd-iter 5 '], 'a has more than 38 words'),
                       (['--norms', 'nope'], "--norms takes bn, gn, ln, nd and none, not 'nope'"),
                       (['--norms', 'bn,own'], "--norms takes bn, gn, ln, nd and none, not 'own'"),
                       (['--settings', '--norm own'], "--norm takes bn, gn, ln, nd and none, not 'own'"),
                       (['--lr', '1e-46'], '--lr: 1e-46 is 0'), (['--sweep-lr', '0.1,1e-46'], '--sweep-lr: 1e-46 is 0'),
                       (['--settings', 'a: --norm bn --refresh 4'], '--refresh'),
                       (['--settings', 'a: --norm none --overhead-budget 5%'], '--norm nd'),
                       (['--settings', 'a: --norm in'], 'in'),
                       (['--settings', 'a: --lr 0.1 --schedule zigzag'], 'zigzag'),
                       (['--norms', 'nd', '--sweep-lr', '0.1'], 'no bn'),
                       (['--sweep-lr', '0.1,x'], "'x'"), (['--sweep-lr', '0.1,-1'], "'-1'"),
                       (['--sweep-lr', '0.1,0.10'], 'twice'), (['--sweep-lr', ','], '--sweep-lr'),
                       (['--steps', 8, '--warmup', 8], '--warmup'),
                       (['--steps', 8, '--settings', '--norm bn --warmup 9'], '--warmup')):
        check(word in run(2, *SMALL, *args, '--out', path('never')).stderr, word)
        check(not os.path.exists(path('never')), 'a refused comparison leaves a folder')
    done = run(2, *SMALL, '--settings', 'a: --help', '--out', path('never'))
    check('`blanch train --help`' in done.stderr and done.stderr.count('\n') == 1 and not done.stdout, done.stderr)


def test_what_was_asked_is_recorded():
    """Options as they were given, though the one layer's block is less and it samples at every sixth pixel."""
    write('net.json', {'model': 'net', 'norm': 'bn', 'num_classes': 10, 'input': [3, 32, 32], 'graph': [
        {'id': 'x', 'op': 'input', 'inputs': []},
        {'id': 'conv', 'op': 'conv2d', 'inputs': ['x'], 'name': 'conv', 'attrs': {
            'in_channels': 3, 'out_channels': 8, 'kernel': [3, 3], 'stride': [2, 2], 'padding': [1, 1]}},
        {'id': 'pool', 'op': 'global_avgpool2d', 'inputs': ['conv']},
        {'id': 'flat', 'op': 'flatten', 'inputs': ['pool']},
        {'id': 'fc', 'op': 'linear', 'inputs': ['flat'], 'name': 'fc',
         'attrs': {'in_features': 8, 'out_features': 10}}]})
    run(0, 'compare', '--model', path('net.json'), '--data', 'synthetic:3x32x32:10', '--batch', 4, '--steps', 4,
        '--norms', 'nd', '--settings', 'given: --block 4 --sampling-stride 2; auto: --block auto --overhead-budget '
        '9000% --cov-samples 9F', '--out', path('asked'))
    for name in 'compare.json', 'config.json':
        runs = {r['setting']: r for r in read('asked/' + name)['runs']}
        facts = {k: [r['settings'].get(key) for key in ('block', 'sampling_stride', 'cov_samples')]
                 for k, r in runs.items()}
        check(facts == {'': [3, 3, None], 'given': [4, 2, None], 'auto': ['auto', 3, -9]}, facts)
        check('blocks' not in runs[''] and runs['auto']['exact'] is True, name)
        check(runs['auto']['blocks'] == {'conv': {'block': 3, 'cov_samples': '9F'}}, runs['auto']['blocks'])
    again = json.loads(run(0, 'report', path('asked'), '--out', path('asked.html'), '--json').stdout)['documents'][0]
    check([[r.get(k) for k in ('settings', 'blocks', 'exact')] for r in again['runs']] ==
          [[r.get(k) for k in ('settings', 'blocks', 'exact')] for r in read('asked/compare.json')['runs']],
          'a report reads something else')


# --- learning rates --------------------------------------------------------------------------------

def best_of(document, merit):
    """The one that is marked, which must be the one of the highest merit."""
    bn = [r for r in document['runs'] if r['norm'] == 'bn']
    marked = [r for r in bn if r['best']]
    check(len(marked) == 1 and len(bn) > 2, 'marked: %s' % [(r['setting'], r['best']) for r in bn])
    check(all('best' not in r for r in document['runs'] if r['norm'] != 'bn'), 'another norm is marked')
    whole = [r for r in bn if 'diverged_after' not in r]
    check(marked[0] is max(whole, key=merit), [(r['setting'], merit(r)) for r in whole])
    return marked[0]


def test_a_sweep_marks_the_best_by_accuracy():
    text, document, page, _ = compared('epochs', '--batch', 128, '--epochs', 1, '--sweep-lr', '0.0001,0.003,0.1',
                                       '--settings', 'warm: --norm bn --lr 0.1 --warmup 5')
    check([r['setting'] for r in document['runs']] == ['--lr 0.0001', '--lr 0.003', '--lr 0.1', '', 'warm'], 'runs')
    best = best_of(document, lambda r: r['epochs'][-1]['test_top1'])
    others = [r for r in document['runs'] if r.get('best') is not False]
    reached = min(max(e['test_top1'] for e in r['epochs']) for r in others)
    check(all(near(r['target_top1'], reached) for r in document['runs']), 'a poor rate lowers what all are timed to')
    check(len(document['pairs']) == 1 and document['pairs'][0]['bn_step_ms'] == document['runs'][0]['step_ms'],
          'one pair, with the times of one bn')
    said = 'Best of 4 runs with batch norm: learning rate %g' % best['lr']
    for where, words in (('the terminal', text), ('the page', page)):
        check(said in words and 'one learning rate' not in words, '%s lacks: %s' % (where, said))
    check('%g best' % best['lr'] in text and '%g, best' % best['lr'] in page, 'the tables do not mark it')
    read = json.loads(run(0, 'report', path('epochs'), '--out', path('again.html'), '--json').stdout)['documents'][0]
    check([(r['lr'], r.get('best')) for r in read['runs']] == [(r['lr'], r.get('best')) for r in document['runs']],
          'a report reads other rates')


def test_a_sweep_goes_on_without_a_rate_that_diverges():
    text, document, page, log = compared('diverged', '--batch', 16, '--steps', STEPS, '--schedule', 'constant',
                                         '--sweep-lr', '1e6,0.001,0.01', '--settings', '--lr 0.01; fast: --nd-preset '
                                         'fast --lr 0.02 --schedule cosine', status=1)
    best_of(document, lambda r: -r['last_loss'])
    said = 'Deconvolution had 0.1 (constant), 0.01 (constant) and 0.02 (cosine).'
    check(said in text and said in page, 'every rate of deconvolution is told')
    check([r['norm'] for r in document['runs'] if r['setting'] == '--lr 0.01'] == ['bn', 'nd'], 'one name in two norms')
    gone = document['runs'][0]
    line = next(l for l in log if l['type'] == 'diverged')
    check((line['setting'], line['step']) == ('--lr 1e6', gone['diverged_after'] + 1), line)
    check(len(steps(log, 'bn', '--lr 1e6')) == gone['diverged_after'] < STEPS, 'it goes on')
    check(all(len(steps(log, 'bn', s)) == STEPS for s in ('--lr 0.001', '--lr 0.01')), 'others end too')
    check(document['pairs'][0]['bn_step_ms'] == document['runs'][1]['step_ms'], 'a pair with what diverged')
    check('diverged after %d steps' % gone['diverged_after'] in page, 'the page does not say so')


def test_one_rate_for_both_is_said():
    said = 'Batch norm had one learning rate, 0.1 (cosine), which deconvolution had too, beside 0.05 and 0.02 (cosine)'
    text, _, page, _ = compared('one', '--batch', 16, '--steps', 4, '--settings',
                                'slow: --norm nd --lr 0.05; --lr 0.02; same: --block 8')
    check(said in text and said in page, 'neither the terminal nor the page may leave it out')
    check('Both norms' not in text + page, 'both norms do not have one')
    said = 'Both norms had one learning rate, 0.1 (cosine)'
    for norm in ('bn', 'nd'):
        run(0, 'train', *SMALL[1:], '--norm', norm, '--batch', 16, '--steps', 2, '--out', path(norm), '--quiet')
    run(0, 'report', path('bn'), path('nd'), '--out', path('both.html'))
    with open(path('both.html')) as f:
        check(said in f.read(), 'nor a page of two runs')
    text, _, page, _ = compared('two', '--batch', 16, '--steps', 4, '--norms', 'nd', '--settings',
                                '--norm bn --lr 0.01')
    check('one learning rate' not in text + page, 'two rates are one')


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
