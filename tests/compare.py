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


def compared(name, *args, status=0):
    """The terminal's text, the document, the page's text, and the log's lines."""
    done = run(status, *SMALL, *args, '--out', path(name))
    with open(path(name + '/compare.json')) as f:
        document = json.load(f)
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
    _, document, page, log = compared('diverged', '--batch', 16, '--steps', STEPS, '--schedule', 'constant',
                                      '--sweep-lr', '1e6,0.001,0.01', status=1)
    best_of(document, lambda r: -r['last_loss'])
    gone = document['runs'][0]
    line = next(l for l in log if l['type'] == 'diverged')
    check((line['setting'], line['step']) == ('--lr 1e6', gone['diverged_after'] + 1), line)
    check(len(steps(log, 'bn', '--lr 1e6')) == gone['diverged_after'] < STEPS, 'it goes on')
    check(all(len(steps(log, 'bn', s)) == STEPS for s in ('--lr 0.001', '--lr 0.01')), 'others end too')
    check(document['pairs'][0]['bn_step_ms'] == document['runs'][1]['step_ms'], 'a pair with what diverged')
    check('diverged after %d steps' % gone['diverged_after'] in page, 'the page does not say so')


def test_one_rate_for_both_is_said():
    said = 'Both norms had one learning rate, 0.1 (cosine)'
    text, _, page, _ = compared('one', '--batch', 16, '--steps', 4, '--settings', 'slow: --norm nd --lr 0.05')
    check(said in text and said in page, 'neither the terminal nor the page may leave it out')
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
