#!/usr/bin/env python3
"""`blanch suite`, its file, and the page that ranks devices: tests/suite.py BLANCH [TEST...]. Prints TAP. No time is
asserted, only that what is written agrees with itself."""
import copy
import csv
import gzip
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

import caches
import jsonschemas
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-suite-')
SHORT = ['--seconds', '0.05']
CASES = ('add', 'conv-3x3', 'flatten')
TRAIN, INFERENCE, BLOCK = 'smallcnn-bn-128', 'smallcnn-bn-128-inference', 'smallcnn-nd-block16-128'


def path(name):
    return os.path.join(HOME, name)


def blanch(*args, status=0, env=None):
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
                          cwd=HOME, env=dict(os.environ, **(env or {})))
    check(done.returncode == status, '%s: exit status %d, not %d: %s' % (' '.join(args), done.returncode, status,
                                                                         done.stderr[-400:]))
    return done


def refused(word, *args, status=2):
    done = blanch(*args, status=status)
    check(word in done.stderr and done.stderr.count('\n') == 1, '%s: %s' % (word, done.stderr))


def load(name):
    with open(path(name)) as f:
        return json.load(f)


def save(name, document):
    with open(path(name), 'w') as f:
        json.dump(document, f)
    return path(name)


def near(a, b, share=2e-3):
    return abs(a - b) <= share * max(abs(a), abs(b))


def rows(document):
    return {row['name']: row for row in document['rows']}


def power():
    """Two watts, as hwmon tells them."""
    with open(path('power1_average'), 'w') as f:
        f.write('2000000\n')
    return path('power1_average')


def measured():
    """A row of training and one of inference, and what was printed."""
    if not os.path.exists(path('a.json')):
        os.makedirs(path('cases'))
        for name in CASES:
            shutil.copy(os.path.join(ROOT, 'tests', 'reference', 'conformance', name + '.safetensors'), path('cases'))
        done = blanch('suite', '--quick', '--rows', TRAIN + ',' + INFERENCE, *SHORT, '--energy', power(), '--note',
                      'a | note', '--cases', 'cases', '--format', 'markdown', '--out', 'a.json')
        with open(path('a.md'), 'w') as f:
            f.write(done.stdout)
    return load('a.json')


def asked_for(name):
    if name not in sys.argv:
        raise tap.Skip("it takes long: tests/suite.py BLANCH '%s' runs it" % name)


def problems(document):
    return jsonschemas.problems('suite', document)


# --- the file ------------------------------------------------------------------------------------

def test_figures():
    document = measured()
    suite, found = document['suite'], rows(document)
    check(list(found) == [TRAIN, INFERENCE] and suite['rows_of_set'] == 12 and not suite['complete'], suite)
    check(not suite['comparable'] and '0.05 s, not 60' in suite['incomparable'], suite)
    check(len(suite['checks']) == 3 and all(c['passed'] for c in suite['checks']), suite['checks'])
    check(suite['cases'] == {'passed': len(CASES), 'failed': 0}, suite)
    limits = suite['limits']
    for key in ('operations_per_s', 'bytes_per_s'):
        check(limits['kept'][key] >= max(limits['start'][key], limits['end'][key]) > 0, limits)
    check(suite['energy'] == path('power1_average') and suite['note'] == 'a | note', suite)
    for row in found.values():
        check(row['status'] == 'measured' and row['ended'] in ('spread', 'time') and row['steps'] >= 5, row)
        check(row['min_ms'] <= row['quartile1_ms'] <= row['ms'] <= row['quartile3_ms'], row)
        check(near(row['images_per_s'], 128e3 / row['ms']), row)
        check(near(row['watts'], 2, 0.05), '2 W: %s' % row['watts'])
        check(near(row['joules_per_image'], row['watts'] * row['seconds'] / (128 * row['steps']), 0.01), row)
        check(abs(row['coverage'] - 1) < 0.02 and row['phases']['forward'] > 0, row)
        check(row['ended'] == 'time' or row['quartile3_ms'] - row['quartile1_ms'] <= 0.0301 * row['ms'], row)
    check('backward_data' in found[TRAIN]['phases'] and 'backward_data' not in found[INFERENCE]['phases'], 'phases')
    check(found[INFERENCE]['planned_bytes'] < found[TRAIN]['planned_bytes'], 'inference takes less memory')


def test_schema():
    document = measured()
    check(not problems(document), problems(document))
    changes = (lambda d: d['suite'].pop('incomparable'), lambda d: d['rows'][0].pop('ms'),
               lambda d: d['rows'][0].update(status='failed'), lambda d: d['suite'].update(version=2),
               lambda d: d['suite']['limits'].pop('kept'),
               lambda d: d['suite']['limits']['end'].pop('bytes_per_s'), lambda d: d['suite'].update(checks=[]),
               lambda d: d['rows'][1].update(ms='fast'), lambda d: d['rows'][1].update(speed=3),
               lambda d: d.update(device=None), lambda d: d.pop('rows'))
    for number, change in enumerate(changes):
        other = copy.deepcopy(document)
        change(other)
        check(problems(other), 'change %d is taken' % number)


def test_tables():
    document = measured()
    with open(path('a.md')) as f:
        markdown = f.read()
    lines = [line for line in markdown.splitlines() if line.startswith('|')]
    check(len(lines) == 4 and lines[2].startswith('| %s | ' % TRAIN), markdown)
    check('not to be ranked' in markdown, markdown)
    text = blanch('suite', '--show', '--out', 'a.json').stdout
    check(re.search(r'^%s +\d+' % TRAIN, text, re.M) and '|' not in text, text)
    table = list(csv.DictReader(blanch('suite', '--show', '--out', 'a.json', '--format', 'csv').stdout.splitlines()))
    check([r['name'] for r in table] == [TRAIN, INFERENCE], table)
    check(all(near(float(r['ms']), rows(document)[r['name']]['ms']) for r in table), table)
    shown = json.loads(blanch('suite', '--show', '--out', 'a.json', '--json').stdout)
    check(shown == document, 'what is read is what was written')


def test_the_set():
    full, quick = (blanch('suite', '--list', *more).stdout.split() for more in ([], ['--quick']))
    check(len(full) == len(set(full)) == 77 and len(quick) == 12 and set(quick) < set(full), (full, quick))
    with open(os.path.join(ROOT, 'docs', 'suite.md')) as f:
        named = re.findall(r'`((?:resnet18|vgg16|smallcnn)-[a-z0-9-]+)`', f.read())
    check(named and set(named) <= set(full), named)
    check(blanch('suite', '--list', '--rows', 'vgg16-bn-*').stdout.split() ==
          ['vgg16-bn-128', 'vgg16-bn-32', 'vgg16-bn-128-fp16', 'vgg16-bn-128-inference', 'vgg16-bn-1-inference'],
          'patterns')


def test_resume():
    before = measured()
    shutil.copy(path('a.json'), path('more.json'))
    refused('more.json exists', 'suite', '--quick', *SHORT, '--out', 'more.json')
    refused('--seconds', 'suite', '--quick', '--resume', '--out', 'more.json')
    refused('another set', 'suite', *SHORT, '--resume', '--out', 'more.json')
    refused('another device', 'suite', '--quick', *SHORT, '--resume', '--device', '0:0/1', '--out', 'more.json')
    check(load('more.json') == before, 'a refused resumption changes the file')
    blanch('suite', '--quick', '--rows', TRAIN + ',' + BLOCK, *SHORT, '--resume', '--out', 'more.json')
    after = load('more.json')
    check(list(rows(after)) == [TRAIN, INFERENCE, BLOCK], list(rows(after)))
    check(after['rows'][:2] == before['rows'] and after['suite']['note'] == 'a | note', 'measured rows stay')
    check(rows(after)[BLOCK]['setting'] == '--block 16', rows(after)[BLOCK])
    check(after['suite']['limits']['start'] == before['suite']['limits']['start'], 'limits of the start stay')


def test_engines_are_measured_at_first():
    env = caches.environment(path('cache'), BLANCH_TUNE='1')
    said = blanch('suite', '--quick', '--rows', INFERENCE, *SHORT, '--out', 'first.json', env=env).stderr
    check('measuring engines for new shapes' in said, said)
    check(rows(load('first.json'))[INFERENCE]['status'] == 'measured', load('first.json')['rows'])


def test_interrupted():
    args = [BLANCH, 'suite', '--quick', '--rows', 'smallcnn-bn-*,' + BLOCK, '--seconds', '0.5',
            '--out', 'stop.json']
    with open(path('stop.err'), 'w') as err:
        child = subprocess.Popen(args, cwd=HOME, stdout=subprocess.DEVNULL, stderr=err)
        end = time.time() + 300
        while time.time() < end and not (os.path.exists(path('stop.json')) and load('stop.json')['rows']):
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        status = child.wait(timeout=300)
    kept = load('stop.json')
    with open(path('stop.err')) as f:
        check(status == 130 and '--resume goes on' in f.read(), status)
    check(1 <= len(kept['rows']) < 3 and all(r['status'] == 'measured' for r in kept['rows']), kept['rows'])
    check(not problems(kept), problems(kept))
    check(set(kept['suite']['limits']) == {'start', 'kept'}, 'the end is not come to, and has no limits')
    blanch(*args[1:], '--resume')
    check('end' in load('stop.json')['suite']['limits'], 'the end')
    check(load('stop.json')['rows'][0] == kept['rows'][0] and len(load('stop.json')['rows']) == 3, 'the rest')


def test_what_fails():
    """A row that does not fit is recorded, and the next is measured; it is tried again."""
    args = ['suite', '--quick', '--rows', TRAIN + ',' + INFERENCE, *SHORT, '--out', 'small.json']
    done = blanch(*args, '--max-alloc', '24M', status=2)
    found = rows(load('small.json'))
    check(TRAIN in done.stderr and found[TRAIN]['status'] == 'failed' and 'ms' not in found[TRAIN], done.stderr)
    check('batch' in found[TRAIN]['reason'] and found[INFERENCE]['status'] == 'measured', found)
    check('failed: ' in done.stdout, done.stdout)
    check(not problems(load('small.json')), problems(load('small.json')))
    blanch(*args, '--resume')
    check(rows(load('small.json'))[TRAIN]['status'] == 'measured', 'tried again')


def test_wrong_results():
    """A device that computes wrongly: every ReLU lets less through. All its kernels are compiled anew."""
    asked_for('wrong results')
    shutil.copytree(os.path.join(ROOT, 'kernels'), path('kernels'))
    with open(path('kernels/activation.h')) as f:
        text = f.read()
    changed = text.replace('((x) <= ZERO ? ZERO : (x))', '((x) <= (vec)(0.5f) ? ZERO : (x))')
    check(changed != text, 'the kernel no longer holds what is changed')
    with open(path('kernels/activation.h'), 'w') as f:
        f.write(changed)
    done = blanch('suite', '--quick', '--rows', INFERENCE, *SHORT, '--out', 'wrong.json', status=1,
                  env={'BLANCH_KERNELS': path('kernels'), 'XDG_CACHE_HOME': '/dev/null', 'POCL_CACHE_DIR': caches.POCL})
    suite = load('wrong.json')['suite']
    check('computed wrongly' in done.stderr, done.stderr)
    check(not all(c['passed'] for c in suite['checks']) and 'BLANCH_KERNELS' in suite['incomparable'], suite)
    check(not problems(load('wrong.json')), problems(load('wrong.json')))


def images(name, labels, folder):
    """IDX files in which a class is a bright row."""
    pixels = b''.join(bytes(255 if y // 2 == label else 0 for y in range(28) for _ in range(28)) for label in labels)
    for kind, head, data in (('images-idx3', struct.pack('>4I', 0x803, len(labels), 28, 28), pixels),
                             ('labels-idx1', struct.pack('>2I', 0x801, len(labels)), bytes(labels))):
        with gzip.open(os.path.join(folder, '%s-%s-ubyte.gz' % (name, kind)), 'wb', 1) as f:
            f.write(head + data)


def test_absent_data():
    done = blanch('suite', '--rows', 'smallcnn-bn-128-to-85', *SHORT, '--data', 'fashion-mnist:nowhere', '--out',
                  'absent.json')
    row, = load('absent.json')['rows']
    check(row['status'] == 'left out' and 'nowhere' in row['reason'] and 'nowhere' in done.stderr, row)
    check(not problems(load('absent.json')), problems(load('absent.json')))


def test_slow_rows():
    """Time to accuracy on a simple set, a budget, a sustained run."""
    asked_for('slow rows')
    os.makedirs(path('data'))
    images('train', [i % 10 for i in range(6400)], path('data'))
    images('t10k', [i % 10 for i in range(100)], path('data'))
    done = blanch('suite', '--rows', 'smallcnn-bn-128-to-85,smallcnn-nd-budget20-32,resnet18-bn-128', *SHORT,
                  '--sustain', '0.5', '--data', 'fashion-mnist:data', '--out', 'slow.json')
    document = load('slow.json')
    budget, sustained, row = document['rows']
    check(row['status'] == 'measured' and row['runs'] == row['reached'] == 3 and row['best_top1'] >= 85, row)
    check(row['target_s_least'] <= row['target_s'] <= row['target_s_most'] and row['target_steps'] % 50 == 0, row)
    check('to 85 per cent (3 of 3 runs)' in done.stdout, done.stdout)
    check(budget['ended'] == 'time' and budget['ms'] == budget['mean_ms'], budget)
    check(near(sustained['sustained_images_per_s'], 128e3 / sustained['sustained_ms']), sustained)
    check(sustained['sustained_s'] >= 0.5 and 'sustained_s' not in budget, sustained)
    check('0.5 s, not 300' in document['suite']['incomparable'] and not problems(document), problems(document))


# --- the page ------------------------------------------------------------------------------------

def device(file, speed, **more):
    """The file of a device that is `speed` times as fast."""
    document = copy.deepcopy(measured())
    document['suite'].update(comparable=True)
    document['suite'].pop('incomparable')
    document['device'].update(more)
    for row in document['rows']:
        for key in row:
            if key.endswith('ms'):
                row[key] /= speed
        row['images_per_s'] *= speed
    return save(file, document)


def ranks(page):
    """[label, rank, device, images/s, ...] of each row of the page."""
    with open(path(page)) as f:
        text = f.read()
    tables = re.findall(r'<table class="sort ranks">.*?</table>', text, re.S)
    return [[re.sub(r'<[^>]*>', '', cell) for cell in re.findall(r'<td[^>]*>(.*?)</td>', row, re.S)]
            for table in tables for row in re.findall(r'<tr><td.*?</tr>', table, re.S)]


def test_ranking():
    slow, fast = device('slow.json', 1, name='Card'), device('fast.json', 2.5, name='Card', driver='newer')
    short = save('short.json', dict(measured(), device=dict(measured()['device'], name='Short')))
    wrong = device('bad.json', 9, name='Wrong')
    document = load('bad.json')
    document['suite']['checks'][1].update(passed=False, message='x')
    save('bad.json', document)
    blanch('report', slow, short, fast, wrong, '--price', 'slow.json=100; fast.json=2000', '--watts', 'Card=50',
           '--out', 'page.html', '--csv', 'page.csv')
    found = ranks('page.html')
    check([r[:2] for r in found[:4]] == [['BN, batch 128', p] for p in ('1', '2', '–', '–')], found)
    check(found[4][0] == 'BN, inference, batch 128' and len(found) == 8, found)
    check('newer' in found[0][2] and 'Card' in found[1][2] and 'newer' not in found[1][2], found[:2])
    base = rows(measured())[TRAIN]['images_per_s']
    rate = lambda text: float(text.replace(',', ''))
    check(found[0][4] == '100' and found[1][4] == '40', found[:2])
    check(near(rate(found[0][3]), 2.5 * base, 0.01) and near(rate(found[1][3]), base, 0.01), found[:2])
    joule, watt, price = (rate(cell) for cell in found[1][7:10])
    check(near(joule, 1 / rows(measured())[TRAIN]['joules_per_image'], 0.01), found[1])
    check(near(watt, base / 50, 0.01) and near(price, 10 * base, 0.01), found[1])
    check(near(rate(found[0][9]), 2.5 * base / 2, 0.01), found[0])
    with open(path('page.html')) as f:
        page = f.read()
    for text in ('smallcnn-nd was computed wrongly', 'not 60', 'a | note', '50 W as given'):
        check(text in page, text)
    with open(path('page.csv')) as f:
        table = list(csv.DictReader(f))
    check([r['counts'] for r in table] == ['yes'] * 2 + ['no'] * 2 + ['yes'] * 2 + ['no'] * 2, table)
    again = json.loads(blanch('report', slow, '--json').stdout)['documents'][0]
    again.pop('source')
    check(again == load('slow.json'), 'the document as it was read')


def test_one_device_twice():
    first, second = device('first.json', 1), device('second.json', 1.5)
    document = load('second.json')
    save('second.json', dict(document, date='2031-01-01T00:00:00Z'))
    blanch('report', first, second, '--out', 'twice.html')
    check('2031-01-01T00:00:00Z' in ranks('twice.html')[0][2], 'the date tells them apart')
    blanch('report', first, '--out', 'once.html')
    check(measured()['date'] not in ranks('once.html')[0][2], 'of one there is nothing to tell')


def test_names_from_outside():
    """A file may hold any text: none of it becomes a part of the page, of a line or of a formula."""
    document = load('first.json') if os.path.exists(path('first.json')) else measured()
    harm = '</td><script>x</script>\x1b[2J'
    for key in ('name', 'model', 'norm', 'setting', 'status', 'reason'):
        document['rows'][1][key] = harm + key
    document['device']['name'] = document['suite']['set'] = document['suite']['note'] = '=1+1' + harm
    document['suite']['checks'][0].update(name=harm, passed=False)
    blanch('report', save('harm.json', document), '--out', 'harm.html', '--csv', 'harm.csv')
    shown = blanch('suite', '--show', '--out', 'harm.json').stdout
    with open(path('harm.html')) as f, open(path('harm.csv')) as g:
        page, table = f.read(), g.read()
    check(page.count('<script>') == 1 and '\x1b' not in page + table + shown, 'it stands there as it is')
    check(all(row['device'].startswith("'=1+1") for row in csv.DictReader(table.splitlines())), table)


def test_report_refuses_suites():
    first = device('first.json', 1)
    old = save('old.json', dict(load('first.json'), suite=dict(load('first.json')['suite'], version=7)))
    done = blanch('report', first, old, '--out', 'one.html', status=2)
    check('old.json is of suite 7' in done.stderr and len(ranks('one.html')) == 2, done.stderr)
    double = load('first.json')
    save('double.json', dict(double, rows=double['rows'][:1] * 2))
    for name, change in (('no-version', lambda d: d['suite'].pop('version')), ('no-suite', lambda d: d.pop('suite')),
                         ('no-device', lambda d: d.update(device=None)),
                         ('no-name', lambda d: d['rows'][0].pop('name')),
                         ('many', lambda d: d.update(rows=d['rows'] * 200))):
        document = copy.deepcopy(double)
        change(document)
        refused(name, 'report', save(name + '.json', document), '--out', 'never.html')
    refused('two rows', 'report', path('double.json'), '--out', 'never.html')
    for text, word in (('Nothing=3', "'Nothing'"), ('first.json', 'NAME=NUMBER'), ('first.json=0', 'NAME=NUMBER'),
                       ('=3', 'NAME=NUMBER'), ('first.json=3x', 'NAME=NUMBER')):
        refused(word, 'report', first, '--price', text, '--out', 'never.html')
    with open(path('bench.json'), 'w') as f:
        f.write(blanch('bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '4', '--steps', '1', '--json').stdout)
    blanch('report', path('bench.json'), first, '--out', 'mixed.html')
    with open(path('mixed.html')) as f:
        text = f.read()
    check(text.index('suite 1') < text.index('smallcnn with BN'), 'suites come first')
    refused('--csv', 'report', path('bench.json'), first, '--csv', 'never.csv')
    check(not os.path.exists(path('never.html')) and not os.path.exists(path('never.csv')), 'something was written')


def test_refusals():
    refused('smallcnn-x', 'suite', '--rows', TRAIN + ',smallcnn-x', '--out', 'never.json')
    refused('markdown', 'suite', '--format', 'html', '--out', 'never.json')
    refused('--energy', 'suite', '--energy', 'nowhere', '--out', 'never.json')
    refused('nowhere', 'suite', '--cases', 'nowhere', '--out', 'never.json')
    refused('seconds', 'suite', '--seconds', '0', '--out', 'never.json')
    refused('absent', 'suite', '--show', '--out', 'absent-file.json')
    save('else.json', {'kind': 'else'})
    refused('else.json', 'suite', '--show', '--out', 'else.json')
    refused('else.json', 'suite', '--resume', '--out', 'else.json')
    check(load('else.json') == {'kind': 'else'} and not os.path.exists(path('never.json')), 'something was written')


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
