#!/usr/bin/env python3
"""What `report` says may be compared, and what differs: tests/differences.py BLANCH [TEST...]. Files of a bench are
measured once and changed, so that what they say is known. Prints TAP."""
import copy
import csv
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-differences-')
SMALL = ('--model', 'smallcnn', '--batch', '4', '--no-tune')
MEASURED = {}


def path(name):
    return os.path.join(HOME, name)


def blanch(*args, status=0):
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300,
                          cwd=HOME)
    check(done.returncode == status, '%s: exit status %d: %s' % (' '.join(args), done.returncode, done.stderr[-400:]))
    return done.stdout


def bench(norm, *args):
    if (norm, args) not in MEASURED:
        MEASURED[norm, args] = json.loads(blanch('bench', *SMALL, '--norm', norm, '--steps', '3', '--json', *args))
    return copy.deepcopy(MEASURED[norm, args])


def write(name, document):
    with open(path(name), 'w') as f:
        json.dump(document, f)
    return name


def timed(name, ms, spread=0.02, norm='nd', **keys):
    """A bench whose steps take ms, their quartiles so far apart; keys: others of the document, of two levels by __."""
    document = bench(norm)
    document.update(step_ms=ms, quartile1_ms=ms * (1 - spread / 2), quartile3_ms=ms * (1 + spread / 2))
    for key, value in keys.items():
        outer, _, inner = key.partition('__')
        (document[outer] if inner else document)[inner or outer] = value
    return write(name, document)


def differences(*names):
    return json.loads(blanch('report', *names, '--json'))['differences']


def table(*names):
    """Rows of the page's table, each a list of texts."""
    blanch('report', *names, '--out', path('page.html'))
    with open(path('page.html'), encoding='utf-8') as f:
        text = f.read()
    rows = re.findall(r'<tr>(<td.*?)</tr>', re.search(r'id="differences".*?</table>', text, re.S)[0], re.S)
    return [[html.unescape(re.sub('<[^>]*>', '', c)) for c in re.findall(r'<td[^>]*>(.*?)</td>', row, re.S)]
            for row in rows]


def runs(*names):
    """The CSV's rows of runs."""
    blanch('report', *names, '--csv', path('rows.csv'))
    with open(path('rows.csv'), newline='') as f:
        return [row for row in csv.DictReader(f) if row['layer'] == '(run)']


OTHER = {'device__driver': 'another driver'}    # the same card, which is another device then


def test_repeated_runs_show_their_spread():
    names = [timed('a%d.json' % i, ms) for i, ms in enumerate((100, 104, 98))]
    found, = differences(*names)
    check(found['of']['runs'] == 3 and found['of']['ms'] == 100 and found['of']['spread_pct'] == 6, found)
    check(found['against'] is None and not found['not_comparable'], found)
    said = blanch('report', *names, '--out', path('page.html'))
    check('smallcnn nd: a0.json: 3 runs take 100 ms, 6 % from least to most' in said, said)
    row, = table(*names)
    check(row[2] == 'a0.json, and 2 more' and row[3:6] == ['3', '100', '6.0'], row)
    check([(r['runs'], r['spread_pct']) for r in runs(*names)] == [('3', '6')] * 3, runs(*names))


def test_a_difference_below_the_spread_is_none():
    a = timed('a.json', 100, spread=0.05)
    for ms, none, words in ((104, True, 'no difference (+4 %, where the spread is 5 %)'),
                            (96, True, 'no difference (-4 %, where the spread is 5 %)'),
                            (150, False, 'b.json takes 50 % more than a.json'),
                            (60, False, 'b.json takes 40 % less than a.json')):
        b = timed('b.json', ms, **OTHER)
        found = differences(a, b)[1]
        check(found['none'] is none and abs(found['difference_pct'] - (ms - 100)) < 1e-6, found)
        said = blanch('report', a, b, '--out', path('page.html'))
        check(words in said, said)
        verdict = table(a, b)[1][-1]
        check(verdict == ('none: within the spread' if none else 'beyond the spread'), verdict)
        row = runs(a, b)[1]
        check((row['against'], row['difference']) == ('a.json', 'none' if none else 'yes'), row)
    wide = [timed('w%d.json' % i, ms, **OTHER) for i, ms in enumerate((90, 110))]     # of which none is so wide
    check(differences(timed('a.json', 96, spread=0.01), *wide)[1]['none'] is True, 'the spread of repeated runs counts')


def test_an_overhead_below_the_spread_is_none():
    blanch('report', timed('bn.json', 100, spread=0.05, norm='bn'), timed('nd.json', 103), '--out', path('page.html'))
    with open(path('page.html'), encoding='utf-8') as f:
        row = re.search(r'id="overview".*?</tbody>', f.read(), re.S)[0]
    check('none, +3.0' in row, row[-900:])


def test_what_is_not_comparable_and_why():
    a = timed('a.json', 100)
    inference = write('i.json', bench('nd', '--inference'))
    block = write('k.json', bench('nd', '--block', '16'))
    for other, words in ((timed('b.json', 100, batch=8), 'batch 8, not 4'),
                         (timed('p.json', 100, precision='bf16'), 'bf16, not fp32'),
                         (timed('h.json', 100, network_hash='0123456789abcdef'), 'another network of that name'),
                         (block, '--block 16, not the default'),
                         (timed('r.json', 100, settings__refresh=5), '--refresh 5, not the default'),
                         (timed('t.json', 100, settings__no_tune=False), '--no-tune false, not true'),
                         (timed('o.json', 100, settings__optimiser='adamw'), 'adamw, not sgd'),
                         (timed('m.json', 100, ranks=[{'share': 2}, {'share': 2}]), '2 ranks, not 1'),
                         (inference, 'inference, not training')):
        found = differences(a, other)[1]
        check(words in found['not_comparable'] and found['difference_pct'] is None, '%s: %s' % (words, found))
        said = blanch('report', a, other, '--out', path('page.html'))
        check('%s is not comparable with a.json: ' % other in said and words in said, said)
        row = table(a, other)[1]
        check(row[6] == 'a.json' and row[7] == '–' and words in row[8], row)
        row = runs(a, other)[1]
        check(words in row['not_comparable'] and not row['difference_pct'], row)
        if other != inference:
            page = open(path('page.html'), encoding='utf-8').read()
            check('Fastest with' not in page, 'a fastest of what is not comparable')
    check([d['not_comparable'] for d in differences(a, timed('n.json', 100, norm='bn', model='another'))] ==
          ['no other document has this network with this norm'] * 2, 'networks that stand alone')


def test_other_engines_are_no_repetition():
    """On one device by one version; another device has its own."""
    engines = bench('nd')['engines']
    layer = next(iter(engines))
    name = engines[layer]['forward']
    engines[layer]['forward'] = 'other'
    a, b = timed('a.json', 100), timed('b.json', 180, engines=engines)
    found = differences(a, b)
    words = 'other engines (%s, forward: other, not %s)' % (layer, name)
    check(len(found) == 2 and found[1]['not_comparable'] == words, found)
    check(differences(a, timed('c.json', 180, engines=engines, **OTHER))[1]['difference_pct'] == 80, 'another device')
    bare = bench('nd')['engines']
    del bare[layer]
    check(len(differences(a, timed('d.json', 101, engines=bare))) == 1, 'engines that are not told tell nothing')


def test_runs_of_comparisons():
    """Their deconvolution counts, their rates do not."""
    blanch('compare', *SMALL, '--data', 'synthetic:1x28x28:10', '--steps', '4', '--norms', 'nd', '--settings',
           '--refresh 3; small: --block 16; rate: --lr 0.01', '--out', path('settings'))
    found = {d['of']['source'] + d['setting']: d['not_comparable']
             for d in differences(write('b.json', bench('nd')), 'settings/compare.json')}
    check(found['settings/compare.json--refresh 3'] == 'refresh 3, not 1', found)
    check('another network' in found['settings/compare.jsonsmall'], found)
    check(not {'settings/compare.json', 'settings/compare.jsonrate'} & set(found), 'repetitions of the bench')
    os.rename(path('settings'), path('first'))
    blanch('compare', *SMALL, '--data', 'synthetic:1x28x28:10', '--steps', '4', '--norms', 'nd', '--settings',
           'small: --block 16', '--out', path('settings'))
    found = {d['of']['source'] + d['setting']: d for d in differences('settings/compare.json', 'first/compare.json')}
    check(found['settings/compare.jsonsmall']['of']['runs'] == 2, found)
    check(found['first/compare.json--refresh 3']['not_comparable'] == 'refresh 3, not 1', found)


def test_one_card_under_two_drivers():
    """It stands apart, and deconvolution is set against batch norm under its own driver."""
    names = [timed('bn.json', 100, norm='bn'), timed('nd.json', 150), timed('other.json', 200, **OTHER)]
    said = table(*names)
    check(len({row[1] for row in said if row[0].endswith('ND')}) == 2 and 'another driver' in said[2][1], said)
    with open(path('page.html'), encoding='utf-8') as f:
        lonely = re.findall(r'class="soft lonely">(.*?)</p>', f.read())
    check(len(lonely) == 1 and 'other.json stands beside no batch norm' in lonely[0] and
          'the same device under another driver' in lonely[0], lonely)
    names.append(timed('other-bn.json', 100, norm='bn', **OTHER))
    blanch('report', *names, '--out', path('page.html'))
    with open(path('page.html'), encoding='utf-8') as f:
        text = f.read()
    check('class="soft lonely"' not in text and '+50' in text and '+100' in text, 'each has its own')


def test_another_version_is_no_repetition():
    a = timed('a.json', 100)
    found = differences(a, timed('b.json', 130, blanch={'version': '0.0.9', 'commit': ''}))
    check(len(found) == 2 and found[1]['difference_pct'] == 30 and not found[1]['none'], found)


def test_hashes_tell_networks_apart():
    """One network has one, whatever wrote it; another of the same name has another."""
    blanch('compare', *SMALL, '--data', 'synthetic:1x28x28:10', '--steps', '4', '--out', path('compared'))
    blanch('train', *SMALL, '--norm', 'nd', '--data', 'synthetic:1x28x28:10', '--steps', '1', '--out', path('run'))
    with open(path('compared/compare.json')) as f:
        compared = {run['norm']: run['network_hash'] for run in json.load(f)['runs']}
    with open(path('run/config.json')) as f:
        trained = json.load(f)['network_hash']
    check(compared == {norm: bench(norm)['network_hash'] for norm in ('bn', 'nd')}, compared)
    check(trained == compared['nd'] and compared['bn'] != compared['nd'], trained)
    check(bench('nd', '--block', '16')['network_hash'] != compared['nd'], 'blocks are of the network')
    check(bench('bn', '--size', '14')['network_hash'] != compared['bn'], 'its input too')


def test_suites_share_a_rank_within_their_spread():
    with open(os.path.join(ROOT, 'docs', 'results', 'pocl-3.1-v1-quick.json')) as f:
        first = json.load(f)
    first['suite']['incomparable'] = ''
    names = []
    for name, factor in (('first', 1), ('near', 1.01), ('far', 30)):
        document = copy.deepcopy(first)
        document['device']['name'] = name
        for row in document['rows']:
            for key in ('ms', 'quartile1_ms', 'quartile3_ms', 'min_ms', 'mean_ms'):
                row[key] *= factor
            row['images_per_s'] /= factor
        names.append(write(name + '.json', document))
    blanch('report', *names, '--out', path('ranks.html'))
    with open(path('ranks.html'), encoding='utf-8') as f:
        rows = re.findall(r'<tr><td><span.*?</tr>', f.read(), re.S)
    ranks = [re.sub('<[^>]*>', '', re.findall(r'<td[^>]*>.*?</td>', row, re.S)[1]) for row in rows]
    check(ranks == ['1', '1', '3'] * (len(rows) // 3), ranks)
    bad = copy.deepcopy(first)
    bad['suite'].update(comparable=False, incomparable='BLANCH_CONV was set')
    blanch('report', write('bad.json', bad), names[0], '--csv', path('suites.csv'))
    with open(path('suites.csv'), newline='') as f:
        said = {row['source']: (row['counts'], row['why_not']) for row in csv.DictReader(f)}
    check(said == {'bad.json': ('no', 'BLANCH_CONV was set'), 'first.json': ('yes', '')}, said)
    first['rows'][0]['ms'] = -5
    blanch('report', write('impossible.json', first), names[0], status=2)


def test_nothing_that_is_read_is_written_over():
    a, b = timed('a.json', 100), timed('b.json', 100)
    os.makedirs(path('folder/inner'), exist_ok=True)
    shutil.copy(path(a), path('folder/compare.json'))
    files = [write(name, {'any': 1}) for name in ('folder/best.safetensors', 'folder/inner/x', 'card.json')]
    os.symlink('a.json', path('link'))
    for args in ((a, '--out', a), (b, a, '--csv', './a.json'), (a, '--csv', path(a)), (a, '--out', 'link'),
                 ('folder', '--out', files[0]), (a, path('folder'), '--csv', files[1]), ('link', '--out', a)):
        refused(args, '%s: %s is read and would be overwritten' % (args[-2], args[-1]))
    refused(('--csv', 'card.json', b), '--csv: card.json is there and is no page or table of a report')
    blanch('report', a, '--out', 'folder/report.html', '--csv', 'folder/rows.csv')
    blanch('report', a, 'folder', '--out', 'folder/report.html', '--csv', 'folder/rows.csv')    # its own, once more
    open(path('empty'), 'w').close()
    blanch('report', a, '--out', 'empty')
    with open(path('other.html'), 'w') as f:
        f.write('<!doctype html><title>Mine</title>')
    refused((a, '--out', 'other.html'), 'is no page or table')


def refused(args, words):
    """In one line, with nothing changed."""
    name = path(next(after for option, after in zip(args, args[1:]) if option in ('--out', '--csv')))
    with open(name, 'rb') as f:
        before = f.read()
    done = subprocess.run([BLANCH, 'report', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=60, cwd=HOME)
    check(done.returncode == 2 and words in done.stderr and done.stderr.count('\n') == 1, '%s: %s' % (args, done))
    with open(name, 'rb') as f:
        check(f.read() == before, '%s: it was written over' % (args,))


def test_a_table_is_printed():
    a = timed('a.json', 100)
    blanch('report', a, '--csv', 'table.csv')
    with open(path('table.csv')) as f:
        check(f.read() == blanch('report', a, '--csv', '-'), 'another table')
    blanch('report', a, '--csv', '-', '--json', status=2)
    blanch('report', a, '--out', '-', status=2)
    check(not os.path.exists(path('-')), 'a file called -')
    blanch('report', a, '--out', 'both', '--csv', 'both', status=2)
    check(not os.path.exists(path('both')), 'one file for both')


if __name__ == '__main__':
    tap.need_device(BLANCH)
    try:
        sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
