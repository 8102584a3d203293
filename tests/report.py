#!/usr/bin/env python3
"""compare over devices and settings, the ledger, traces and pages: tests/report.py BLANCH [TEST...]. Prints TAP. No
time is asserted, only that what is written agrees with itself."""
import csv
import glob
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

import caches
import tap
from tap import Skip, check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-report-')
SMALL = ['--model', 'smallcnn', '--data', 'synthetic:1x28x28:10', '--batch', '32']
OCLGRIND = next((p for p in ('/usr/lib/oclgrind/liboclgrind-rt-icd.so',
                             '/usr/lib/x86_64-linux-gnu/oclgrind/liboclgrind-rt-icd.so')
                 if os.path.exists(p)), None)
CHROMIUM = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')


def path(name):
    return os.path.join(HOME, name)


def blanch(*args, status=0, env=None):
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=600,
                          cwd=HOME,
                          env=dict(os.environ, **(env or {})))
    check(done.returncode == status, '%s: exit status %d, not %d: %s' % (' '.join(args), done.returncode, status,
                                                                         done.stderr[-300:]))
    return done


def load(name):
    with open(path(name)) as f:
        return json.load(f)


def made(name, *args):
    if not os.path.exists(path(name)):
        blanch(*args)
    return path(name)


def comparison():
    return made('compare', 'compare', *SMALL, '--devices', 'cpu,0:0/1', '--settings', '--refresh 3; small: --block 16',
                '--steps', '12', '--out', path('compare'))


def training():
    return made('run', 'train', *SMALL, '--norm', 'nd', '--steps', '20', '--out', path('run'))


def bench(norm):
    name = path('bench-%s.json' % norm)
    if not os.path.exists(name):
        done = blanch('bench', '--model', 'smallcnn', '--norm', norm, '--batch', '32', '--steps', '2', '--json')
        with open(name, 'w') as f:
            f.write(done.stdout)
    return name


def page():
    name = path('page.html')
    if not os.path.exists(name):
        blanch('report', comparison(), training(), bench('bn'), bench('nd'), '--out', name, '--csv', path('page.csv'))
    return name


def documents():
    paths = comparison(), training(), bench('bn'), bench('nd')
    return json.loads(blanch('report', *paths, '--json').stdout)['documents']


def near(a, b, share=1e-3):
    return abs(a - b) <= share * max(abs(a), abs(b))


def check_layers(layers, limits):
    for layer in layers:
        for phase, work in layer['work'].items():
            check(work['launches'] > 0 and work['bytes'] > 0, '%s, %s: no commands or bytes' % (layer['name'], phase))
            check(work['host_ms'] >= 0 and work['device_ms'] >= 0, 'a negative time')
            check(('arithmetic' in work) == bool(limits), 'fractions without limits, or limits without fractions')
    rows = {l['name']: l for l in layers}
    return rows


# --- tests ---------------------------------------------------------------------------------------

def test_compare_devices_and_settings():
    document = load(os.path.join(comparison(), 'compare.json'))
    runs = [(r['device'], r['norm'], r['setting']) for r in document['runs']]
    check(len(set(runs)) == len(runs) == 8, 'two devices with bn, nd and two settings are 8 runs: %s' % runs)
    check({r[2] for r in runs} == {'', '--refresh 3', 'small'}, 'settings: %s' % runs)
    units = {d['name']: d['compute_units'] for d in document['devices']}
    check(sorted(units.values())[0] == 1 and len(units) == 2, 'the devices are two, one of one core: %s' % units)
    check(len(document['pairs']) == 6, 'a pair for each nd: %d' % len(document['pairs']))
    blocks = {r['setting']: r['settings']['block'] for r in document['runs'] if r['norm'] == 'nd'}
    check(blocks['small'] <= 16 < blocks[''], 'the settings reached the networks: %s' % blocks)
    for pair in document['pairs']:
        check(near(pair['overhead_pct'], 100 * (pair['nd_step_ms'] / pair['bn_step_ms'] - 1), 0.02), 'overhead')
    check(all(abs(r['coverage'] - 1) < 0.02 for r in document['runs']), 'phases add up: %s'
          % [r['coverage'] for r in document['runs']])
    refreshed = [sum(l['work'].get('inverse_sqrt', {}).get('launches', 0) for l in r['layers'])
                 for r in document['runs'] if r['norm'] == 'nd']
    check(min(refreshed) > 0, 'every nd run shows its inverse roots: %s' % refreshed)


def test_compare_refuses_settings():
    for settings, word in (('refresh 3', 'no option'), ('--refresh x', 'refresh'), ('a b --block 4', 'NAME: OPTIONS'),
                           ('--block 4; --block 4', 'twice')):
        done = blanch('compare', *SMALL, '--settings', settings, '--out', path('never'), status=2)
        check(word in done.stderr and done.stderr.count('\n') == 1, done.stderr)
    done = blanch('compare', *SMALL, '--norms', 'bn', '--settings', '--block 4', '--out', path('never'), status=2)
    check('--block' in done.stderr, done.stderr)
    done = blanch('compare', *SMALL, '--target-top1', '50', '--out', path('never'), status=2)
    check('--epochs' in done.stderr, done.stderr)
    check(not os.path.exists(path('never')), 'a refused comparison leaves a folder')


def test_compare_with_a_budget():
    budgeted = ['--model', 'smallcnn', '--data', 'synthetic:1x28x28:10', '--batch', '8']
    out = made('budget', 'compare', *budgeted, '--steps', '45', '--settings', 'held: --overhead-budget 30%', '--out',
               path('budget'))
    document = load('budget/compare.json')
    exact, held = (next(r for r in document['runs'] if r['norm'] == 'nd' and r['setting'] == s) for s in ('', 'held'))
    check(held['settings']['overhead_budget_pct'] == 30 and 'overhead_budget_pct' not in exact['settings'],
          'the budget is the one setting\'s')
    decisions = held['budget']['decisions']
    check(decisions and decisions[0]['step'] == 15 and decisions[0]['bn_ms'] > 0, 'decided at step 15: %s' % decisions)
    check([l['name'] for l in decisions[0]['layers']] == ['conv1', 'conv2', 'conv3', 'conv4', 'fc'], 'for every layer')
    check('comparison' in held['budget']['yardstick'] and 'budget' not in exact, 'the yardstick')
    with open(os.path.join(out, 'log.jsonl')) as f:
        logged = [l for l in map(json.loads, f) if l['type'] == 'budget']
    check([l['step'] for l in logged] == [d['step'] for d in decisions] and logged[0]['setting'] == 'held',
          'the log has them')
    pair = next(p for p in document['pairs'] if p['setting'] == 'held')
    check(near(pair['overhead_mean_pct'], 100 * (held['mean_ms'] / document['runs'][0]['mean_ms'] - 1), 0.02),
          'the overhead of means')
    check(pair['bound_steps'] == 45 - 15 and 'overhead_bound_pct' in pair,
          'steps after the decision: %s' % pair['bound_steps'])
    refreshes = [sum(l['work'].get('inverse_sqrt', {}).get('launches', 0) for l in r['layers']) for r in (exact, held)]
    check(0 < refreshes[1] < refreshes[0], 'a budget refreshes less: %s' % refreshes)
    check('The overhead budget of 30' in open(os.path.join(out, 'report.html')).read(), 'the report shows it')


def test_compare_budget_alone():
    """Without batch norm in the comparison the budget makes its own; too short a run is told so."""
    done = blanch('compare', '--model', 'smallcnn', '--data', 'synthetic:1x28x28:10', '--batch', '8', '--norms', 'nd',
                  '--steps', '15',
                  '--overhead-budget', '30%', '--out', path('alone'))
    budget = load('alone/compare.json')['runs'][0]['budget']
    check('own' in budget['yardstick'] and len(budget['decisions']) == 1, budget)
    check('saves nothing' in done.stderr, done.stderr)
    blanch('compare', '--model', 'smallcnn', '--data', 'synthetic:1x28x28:10', '--batch', '8', '--steps', '10',
           '--overhead-budget', '30%',
           '--out', path('short'))
    with open(path('short/report.html')) as f:
        check('ended before anything was decided' in f.read(), 'the page says that the run was too short')
    for args, word in ((['--overhead-budget', 'x'], 'percentage'),
                       (['--overhead-budget', '20%', '--refresh', '3'], '--refresh'),
                       (['--settings', '--overhead-budget 20% --refresh 3'], '--refresh'),
                       (['--overhead-budget', '20%', '--norms', 'bn'], 'no nd')):
        done = blanch('compare', *SMALL, *args, '--out', path('never'), status=2)
        check(word in done.stderr and done.stderr.count('\n') == 1, done.stderr)


def test_time_to_accuracy():
    blanch('compare', '--model', 'smallcnn', '--data', 'synthetic:1x28x28:10', '--batch', '128', '--epochs', '1',
           '--target-top1', '1',
           '--out', path('target'))
    for run in load('target/compare.json')['runs']:
        epochs = run['epochs']
        reached = [e for e in range(len(epochs)) if epochs[e]['test_top1'] >= 1]
        seconds = sum(e['train_s'] for e in epochs[:reached[0] + 1]) if reached else None
        check(run.get('target_s') is None if seconds is None else near(run['target_s'], seconds), 'time to the target')


def test_ledger():
    ledger = load(os.path.join(training(), 'ledger.json'))
    check(abs(ledger['covered'] - 1) < 0.02, 'phases add up to the wall time: %s' % ledger['covered'])
    check(ledger['limits']['operations_per_s'] > 0 and ledger['limits']['bytes_per_s'] > 0, 'limits')
    rows = check_layers(ledger['layers'], ledger['limits'])
    for key in ('launches', 'bytes', 'operations'):
        total = sum(l['work_all'][key] for l in ledger['layers'] if 'work_all' in l)
        check(near(total, ledger['work_all'][key]), '%s of the rows add up to the step: %g, %g'
              % (key, total, ledger['work_all'][key]))
    conv = rows['conv2']['work']
    check(near(conv['forward']['operations'], conv['backward_data']['operations']), 'forward and data gradient')
    check(near(conv['forward']['operations'], conv['backward_weights']['operations']), 'forward and weight gradient')
    described = json.loads(blanch('models', 'smallcnn', '--norm', 'nd', '--json').stdout)
    multiply_adds = next(n['multiply_adds'] for n in described['graph'] if n['id'] == 'conv2')
    check(near(conv['forward']['operations'], 2 * 32 * multiply_adds),
          'a convolution of 32 images is 2 operations a multiply-add')


def test_limits_are_measured_at_the_end():
    """What is kept is what a busy machine gave, far too low. A benchmark raises it, trainings of seconds do not (those
    of ten: test_tune.c)."""
    env = caches.environment(path('low'))
    blanch('bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '4', '--steps', '1', '--no-tune', env=env)
    kept, = glob.glob(path('low/blanch/limits/*.json'))
    small = [*SMALL[:-1], '4', '--no-tune']
    changed(kept, kept, lambda d: d.update(operations_per_s=1, bytes_per_s=1))
    for args in (['train', *small, '--norm', 'bn', '--steps', '2'],
                 ['compare', *small, '--norms', 'bn,none', '--steps', '4']):
        out = path('measured-' + args[0])
        blanch(*args, '--out', out, env=env)
        for run in [load(out + '/ledger.json')] if args[0] == 'train' else load(out + '/compare.json')['runs']:
            check(run['limits'] == {'bytes_per_s': 1, 'operations_per_s': 1}, '%s: %s' % (args[0], run['limits']))
    bench = ['bench', '--model', 'smallcnn', '--norm', 'bn', '--batch', '4', '--steps', '1', '--no-tune', '--json']
    limits, now = json.loads(blanch(*bench, env=env).stdout)['limits'], load(kept)
    check(limits['bytes_per_s'] > 1e6 and limits['operations_per_s'] > 1e6, limits)
    check(all(limits[key] == now[key] for key in limits), '%s, and %s is kept' % (limits, now))


def test_phases_add_up():
    for model, batch in (('smallcnn', '4'), ('vgg11', '2')):
        for norm in ('bn', 'nd'):
            done = blanch('bench', '--model', model, '--norm', norm, '--batch', batch, '--steps', '2', '--json')
            coverage = json.loads(done.stdout)['coverage']
            check(abs(coverage - 1) < 0.02, '%s with %s: the phases add up to %s of the step' % (model, norm, coverage))


def test_trace():
    trace = load(os.path.join(training(), 'trace.json'))
    events = trace['traceEvents']
    names = {e['tid']: e['args']['name'] for e in events if e['ph'] == 'M' and e['name'] == 'thread_name'}
    check(len(names) == 2 and 'host' in names.values(), 'a track for the queue and one for the host: %s' % names)
    check({e['ph'] for e in events} == {'M', 'X'}, 'metadata and complete events alone')
    spans = [e for e in events if e['ph'] == 'X']
    for e in spans:
        check(isinstance(e['ts'], (int, float)) and e['dur'] >= 0 and e['tid'] in names and e['pid'] == 1,
              'event %s' % e)
    kernels = [e for e in spans if e['cat'] == 'kernel']
    check(len(kernels) > 50, 'kernels: %d' % len(kernels))
    told = all(e['args']['bytes'] > 0 and {'layer', 'phase', 'operations'} <= e['args'].keys() for e in kernels)
    check(told, 'kernels tell their layer, phase, bytes and operations')
    layers = {e['name'] for e in spans if e['cat'] == 'layer'}
    check({'conv1', 'fc'} <= layers, 'layers: %s' % layers)


def test_every_cell_has_its_head():
    """Which a narrow page shows beside it."""
    text = open(page()).read()
    for table in re.findall(r'<table.*?</table>', text, re.S):
        strip = lambda cell: re.sub('<[^>]*>', '', cell)[:62]
        heads = [strip(head) for head in re.findall(r'<th[ >](.*?)</th>', table.replace('<th>', '<th >'), re.S)]
        heads = [head.split('>', 1)[-1] for head in heads]
        for row in re.findall(r'<tr>(<td.*?)</tr>', table, re.S):
            said = re.findall(r'<td data-h="(.*?)"', row)
            check(said == heads[:len(said)], '%s and %s' % (said, heads))
    check(text.count('data-h="device"') >= 8, 'the overview says which column a device is')


def test_numbers_are_as_they_were_given():
    with open(os.path.join(comparison(), 'report.html')) as f:
        facts = dict(re.findall(r'<dt>(.*?)</dt><dd>(.*?)</dd>', f.read()))
    check((facts['learning rate'], facts['momentum'], facts['weight decay']) == ('0.1', '0.9', '0.001'), facts)


def test_report_numbers():
    rows = re.findall(r'<tr><td.*?</tr>', re.search(r'id="overview".*?</table>', open(page()).read(), re.S).group(0),
                      re.S)
    runs = [(d, r) for d in documents() for r in d['runs']]
    check(len(rows) == len(runs), '%d rows for %d runs' % (len(rows), len(runs)))
    for row, (document, run) in zip(rows, runs):
        cells = re.findall(r'<td([^>]*)>(.*?)</td>', row, re.S)
        check(html.unescape(cells[1][1]) == run['device'], 'device')
        value = float(re.search(r'data-v="([^"]*)"', cells[4][0]).group(1))
        check(near(value, run['step_ms']), 'step %s, %s' % (value, run['step_ms']))
        check(near(float(re.search(r'data-v="([^"]*)"', cells[8][0]).group(1)),
                   100 * run['work_all']['arithmetic'] / 100), 'arithmetic')


def test_shares_beyond_a_limit():
    """A word stands in the table; numbers stay in data."""
    beyond = changed('beyond.json', bench('bn'), lambda d: d['work_all'].update(arithmetic=1.25, bandwidth=2.71))
    documents = json.loads(blanch('report', beyond, '--out', path('beyond.html'), '--csv', path('beyond.csv'),
                                  '--json').stdout)['documents']
    with open(path('beyond.html')) as f:
        row = re.search(r'id="overview".*?<tbody>(.*?)</tr>', f.read(), re.S).group(1)
    cells = re.findall(r'data-v="([^"]*)"[^>]*>([^<]*)</td>', row)
    check(('1.25', 'fewer') in cells and ('2.71', 'cached') in cells, cells)
    work = documents[0]['runs'][0]['work_all']
    check((work['arithmetic'], work['bandwidth']) == (1.25, 2.71), work)
    with open(path('beyond.csv')) as f:
        run = next(csv.DictReader(f))
    check((run['arithmetic'], run['bandwidth']) == ('1.25', '2.71'), run)


def test_csv():
    page()
    rows = list(csv.DictReader(open(path('page.csv'))))
    steps = [float(r['ms']) for r in rows if r['layer'] == '(run)']
    runs = [r for d in documents() for r in d['runs']]
    check(len(steps) == len(runs) and all(near(a, r['step_ms']) for a, r in zip(steps, runs)), 'step times')
    phases = sum(len(l['phases']) for r in runs for l in r['layers'])
    check(len(rows) == phases + len(runs), '%d rows, %d phases' % (len(rows), phases))


BLOCK = ['format', 'date', 'blanch', 'host', 'device', 'settings', 'kind']


def test_every_document_starts_alike():
    """The same block, made by one function, before all else."""
    run, made_by = training(), {}
    for name in ('config', 'ledger', 'trace'):
        made_by[name] = load('run/%s.json' % name)
    for name in ('config', 'compare'):
        made_by['compare ' + name] = load(os.path.join(comparison(), name + '.json'))
    made_by['bench'] = load(bench('nd'))
    case = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference', 'conformance', 'relu.safetensors')
    for args in (['devices'], ['models'], ['models', 'smallcnn'], ['eval', '--run', run], ['report', run],
                 ['tune', '--show'], ['check', case], ['bench', '--gemm', '16', '--steps', '1'],
                 ['study', '--show', '--out', os.path.dirname(run)]):
        made_by[' '.join(args)] = json.loads(blanch(*args, '--json').stdout)
    for name, document in made_by.items():
        check(list(document)[:len(BLOCK)] == BLOCK, '%s begins with %s' % (name, list(document)[:len(BLOCK)]))
        check(set(document['blanch']) == {'version', 'commit'} and document['blanch']['version'], name)
        host = document['host']
        check(host['cores'] > 0 and host['memory'] > 0, '%s: %s' % (name, host))
        check(host['kernel'] == os.uname().release, '%s: %s' % (name, host))
        check(re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ', document['date']), document['date'])
    device = made_by['bench']['device']
    keys = {'platform', 'name', 'driver', 'version', 'compute_units', 'memory', 'kind'}
    check(set(device) == keys and device['name'], device)
    check(made_by['devices']['device'] is None, 'a list of devices is of none of them')
    check(made_by['config']['settings']['steps'] == 20 and made_by['bench']['settings']['batch'] == 32, 'settings')


def overview(*paths):
    """(from, network and norm, device, beside BN) of each row of the page of these."""
    blanch('report', *paths, '--out', path('overview.html'))
    with open(path('overview.html')) as f:
        table = re.search(r'id="overview".*?</table>', f.read(), re.S).group(0)
    rows = [[html.unescape(re.sub('<[^>]*>', '', cell)) for cell in re.findall(r'<td[^>]*>(.*?)</td>', row, re.S)]
            for row in re.findall(r'<tr>(<td.*?)</tr>', table, re.S)]
    return [(os.path.basename(r[12]), r[0], r[1], r[6]) for r in rows]


def changed(name, source, change):
    document = load(source)
    change(document)
    with open(path(name), 'w') as f:
        json.dump(document, f)
    return path(name)


def test_devices_of_several_machines():
    """One device in two files is one; a name alone is not."""
    bn, nd = bench('bn'), bench('nd')
    check(overview(bn, nd)[1][3].endswith('%'), 'the same device in two files: %s' % overview(bn, nd))
    for key, value in (('os', 'another system'), ('cpu', 'another processor'), ('cores', 999), ('kernel', '0')):
        other = changed('other.json', nd, lambda d: d['host'].update({key: value}))
        rows = overview(bn, other)
        check(rows[1][3] == '–', "ND of a host with another %s beside this one's BN: %s" % (key, rows))
        check(rows[0][2] != rows[1][2] and str(value) in rows[1][2], 'the page tells them apart: %s' % rows)
    other = changed('other.json', nd, lambda d: d['device'].update(driver='another driver'))
    check(overview(bn, other)[1][3] == '–', "ND of another driver beside this one's BN")
    faster = lambda d: (d['device'].update(driver='another driver'), d.update(step_ms=1e-3 * d['step_ms']))
    other_bn = changed('other-bn.json', bn, faster)
    rows = overview(bn, nd, other_bn, other)
    own = rows[1][3].endswith('%') and rows[3][3].endswith('%') and rows[1][3] != rows[3][3]
    check(own, 'each has its own pair: %s' % rows)
    card = changed('card.json', nd, lambda d: d['device'].update(kind='gpu'))
    more = changed('more.json', bn, lambda d: d['device'].update(kind='gpu', memory=1))
    check(overview(more, card)[1][3] == '–', "a card's memory tells it from another")


def older(document):
    """What the program wrote before there was the block."""
    device, blanch_ = document.pop('device'), document.pop('blanch')
    for key in ('format', 'host', 'settings'):
        document.pop(key)
    if document['kind'] == 'bench':
        document.pop('kind')
        document['device'] = device['name']
        document.pop('date')
    else:
        document['blanch'] = blanch_['version']
    for part in document.get('runs', []) + document.get('pairs', []) + [document]:
        part.pop('engines', None)
        for layer in part.get('layers', []):
            layer.pop('role', None)


def test_files_of_earlier_versions():
    old = [changed('old-%s.json' % norm, bench(norm), older) for norm in ('bn', 'nd')]
    os.makedirs(path('old-compare'), exist_ok=True)
    old.append(os.path.dirname(changed('old-compare/compare.json', os.path.join(comparison(), 'compare.json'), older)))
    shutil.copytree(training(), path('old-run'))
    changed('old-run/config.json', 'run/config.json', lambda d: (older(d), d.update(device='cpu')))
    changed('old-run/ledger.json', 'run/ledger.json', older)
    old.append(path('old-run'))
    read = [json.loads(blanch('report', *paths, '--json').stdout)['documents'] for paths in
            (old, [bench('bn'), bench('nd'), comparison(), training()])]
    for before, now in zip(*read):
        for document in (before, now):
            for run in document['runs']:
                run.pop('engines')
        same = before['runs'] == now['runs'] and before['pairs'] == now['pairs']
        check(same, '%s is read differently' % before['source'])
        check(before['format'] == 1 and now['format'] == 2, 'formats')
        check(before['blanch']['version'] in ('', now['blanch']['version']), 'versions')
    rows = overview(*old)
    check(rows[1][3].endswith('%') and len(rows) == len([r for d in read[0] for r in d['runs']]), rows)
    pages = []
    for source in (path('old-compare'), comparison()):
        blanch('report', source, '--out', path('aged.html'))
        with open(path('aged.html')) as f:
            pages.append(re.findall(r'<h3>.*?(?=<h2>|<h3>)', f.read(), re.S))
    check(pages[0] == pages[1] and len(pages[0]) > 20, 'the page of an older file differs')


def test_report_refuses():
    with open(path('cut.json'), 'w') as f:
        f.write('{"model": "a", ')
    with open(path('list.json'), 'w') as f:
        f.write('[1, 2]')
    with open(path('odd.json'), 'w') as f:
        f.write('{"runs": [{"norm": 3}], "devices": []}')
    os.makedirs(path('empty'), exist_ok=True)
    os.makedirs(path('half'), exist_ok=True)
    with open(path('half/config.json'), 'w') as f:
        f.write('{"model": "smallcnn"}')
    for name in ('cut.json', 'list.json', 'odd.json', 'empty', 'half', 'absent'):
        done = blanch('report', path(name), '--out', path('refused.html'), status=2)
        check(name in done.stderr and done.stderr.count('\n') == 1, done.stderr)
    check(not os.path.exists(path('refused.html')), 'a page was written')


def chromium(*args):
    if not CHROMIUM:
        raise Skip('chromium is not installed')
    return subprocess.run([CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--enable-logging=stderr', '--v=0',
                           *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=120,
                          env=dict(os.environ, HOME=HOME))


def test_page_in_a_browser():
    """No console message; sorting works; nothing is wider than a phone."""
    probe = ('<script>addEventListener("load",function(){'
             'var t=document.getElementById("overview"),b=t.querySelectorAll("th button")[4];'
             'b.click();var v=Array.from(t.tBodies[0].rows).map(function(r){return +r.cells[4].dataset.v});'
             'document.body.dataset.sorted=v.every(function(x,i){return !i||v[i-1]>=x});'
             'document.body.dataset.rows=v.length})</script>')
    with open(path('probe.html'), 'w') as f:
        f.write(open(page()).read().replace('</body>', probe + '</body>'))
    done = chromium('--dump-dom', 'file://' + path('probe.html'))
    check('CONSOLE' not in done.stderr, [l for l in done.stderr.splitlines() if 'CONSOLE' in l][:2])
    check('data-sorted="true"' in done.stdout, 'the table is not sorted')
    check('data-rows="%d"' % sum(len(d['runs']) for d in documents()) in done.stdout, 'rows in the DOM')
    with open(path('phone.html'), 'w') as f:
        f.write('<body><iframe style="width:390px;height:800px;border:0" srcdoc="%s"></iframe>'
                '<script>addEventListener("load",function(){'
                'var d=document.querySelector("iframe").contentDocument.documentElement;'
                'document.body.dataset.width=d.scrollWidth;'
                'document.body.dataset.wide=Array.from(d.querySelectorAll(".scroll")).filter('
                'function(s){return s.scrollWidth>s.clientWidth+1}).length})</script></body>'
                % html.escape(open(page()).read()))
    done = chromium('--dump-dom', 'file://' + path('phone.html'))
    width = re.search(r'data-width="(\d+)"', done.stdout)
    check(width and int(width.group(1)) <= 390, 'the page is %s wide on a phone of 390' % (width and width.group(1)))
    check('data-wide="0"' in done.stdout, 'tables wider than the phone: %s'
          % re.findall(r'data-wide="\d+"', done.stdout))


def test_axe_finds_nothing():
    """Accessibility, contrast among it, at three widths and in both colour schemes."""
    try:
        from axe_selenium_python import Axe
        from selenium import webdriver
    except ImportError:
        raise Skip('selenium and axe-selenium-python are not both installed')
    driver = shutil.which('chromedriver')
    if not CHROMIUM or not driver:
        raise Skip('chromium and chromedriver are not both installed')
    small = path('small.html')
    blanch('report', bench('bn'), bench('nd'), '--out', small)
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ('--headless=new', '--no-sandbox', '--disable-gpu'):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        browser.set_script_timeout(120)
        for width, scheme in ((375, 'light'), (1024, 'dark'), (1920, 'light')):
            browser.execute_cdp_cmd('Emulation.setDeviceMetricsOverride',
                                    {'width': width, 'height': 800, 'deviceScaleFactor': 1, 'mobile': False})
            browser.execute_cdp_cmd('Emulation.setEmulatedMedia',
                                    {'features': [{'name': 'prefers-color-scheme', 'value': scheme}]})
            browser.get('file://' + small)
            axe = Axe(browser)
            axe.inject()
            found = [(v['id'], v['nodes'][0]['html'][:100]) for v in axe.run()['violations']]
            check(not found, '%d, %s: %s' % (width, scheme, found))
            wide = browser.execute_script('return document.documentElement.scrollWidth')
            check(wide <= width, 'the page is %d wide in %d' % (wide, width))
    finally:
        browser.quit()


def number(text):
    return float(text.replace('−', '-').replace(',', ''))


def test_the_first_sentence_adds_up():
    """Its parts to its sum as they are printed, which is that of the table of layers."""
    text = html.unescape(open(page()).read())
    said = re.findall(r'recorded, ([+−][\d.,]+)\s*ms: (.*?)\. ', text)
    sums = re.findall(r'all rows</td>(?:<td[^>]*>[^<]*</td>){2}<td[^>]*class="strong"[^>]*>(.*?)</td>', text)
    check(said and len(said) == len(sums), '%s %s' % (said, sums))
    for (total, parts), row in zip(said, sums):
        values = [number(part.split()[-1]) for part in parts.replace('\xa0', ' ').split(', ')]
        check(abs(sum(values) - number(total)) < 1e-6, '%s is not %s' % (parts, total))
        near = 0.006 * abs(number(total)) + 0.03
        check(abs(number(total) - number(row)) <= near, '%s, and the table %s' % (total, row))


def noted(factor):
    """What the page says of recorded steps whose share is so many times that of the medians."""
    def change(document):
        for pair in document['pairs']:
            share = sum(l['nd_ms'] for l in pair['layers']) / sum(l['bn_ms'] for l in pair['layers'])
            pair.update(nd_step_ms=pair['bn_step_ms'] * share / factor, overhead_pct=100 * (share / factor - 1))
    blanch('report', changed('noted.json', comparison() + '/compare.json', change), '--out', path('noted.html'))
    with open(path('noted.html')) as f:
        return [number(said) for said in re.findall(r'<p class="recorded">.*?<b>(.*?)\xa0%</b>', f.read())]


def test_recorded_steps_that_say_something_else_are_named():
    """The flame's, where they lie more than a tenth from the headline's; not of steps that differ by plan."""
    check(not noted(1.05), 'near enough')
    pairs = [p for p in load('noted.json')['pairs'] if not p['settings'].get('refresh', 1) > 1]
    wanted = [100 * (sum(l['nd_ms'] for l in p['layers']) / sum(l['bn_ms'] for l in p['layers']) - 1) for p in pairs]
    for found in (noted(2), noted(0.5)):
        near = all(abs(a - b) < 0.51 for a, b in zip(found, wanted))
        check(len(found) == len(wanted) == 4 and near, '%s, not %s' % (found, wanted))


def test_commands_are_code():
    with open(os.path.join(comparison(), 'report.html')) as f:
        text = f.read().split('<script>')[0]
    check('<code>compare --sweep-lr 0.003,0.01,0.03,0.1</code>' in text and '`' not in text, 'backticks')


def test_the_flame_opens_without_a_script():
    text = open(page()).read()
    start = text.index('class="flame"')
    phases = re.findall(r'<details class="phase"><summary>.*?<span class="what">(.*?)</span>', text[start:])
    check({'inverse root', 'batch norm', 'covariance'} <= set(phases), phases)
    check(text.count('a step of') % 2 == 0, 'not a flame of each norm')


def test_tables_are_copied_as_markdown():
    probe = ('<script>addEventListener("load",function(){document.execCommand=function(){'
             'document.body.dataset.copied=document.activeElement.value;return true};'
             'document.querySelector("button.copy").click()})</script>')
    with open(path('copy.html'), 'w') as f:
        f.write(open(page()).read().replace('</body>', probe + '</body>'))
    copied = re.search(r'data-copied="(.*?)"', chromium('--dump-dom', 'file://' + path('copy.html')).stdout, re.S)
    lines = html.unescape(copied[1]).strip().split('\n') if copied else []
    check(len(lines) == 2 + sum(len(d['runs']) for d in documents()), lines)
    check(len({line.count('|') for line in lines}) == 1 and set(lines[1]) == set('| -'), lines[:3])


def test_second_implementation():
    """PoCL beside oclgrind's simulated device, on a network of two dozen pixels."""
    if not OCLGRIND or not os.path.exists('/etc/OpenCL/vendors/pocl.icd'):
        raise Skip('oclgrind and PoCL are not both installed')
    os.makedirs(path('vendors'), exist_ok=True)
    shutil.copy('/etc/OpenCL/vendors/pocl.icd', path('vendors/pocl.icd'))
    with open(path('vendors/oclgrind.icd'), 'w') as f:
        f.write(OCLGRIND + '\n')
    env = {'OCL_ICD_VENDORS': path('vendors')}
    names = [d['name'] for d in json.loads(blanch('devices', '--json', env=env).stdout)['devices']]
    if not any('Oclgrind' in n for n in names):
        raise Skip('the OpenCL loader does not take a second implementation: %s' % names)
    blanch(*OCLGRIND_COMPARE, '--out', path('two'), env=env)
    check(len({r['device'] for r in load('two/compare.json')['runs']}) == 2, 'two devices')


OCLGRIND_COMPARE = ['compare', '--model', 'smallcnn', '--data', 'synthetic:1x8x8:10', '--batch', '1', '--devices',
                    'pthread,Oclgrind',
                    '--steps', '4', '--norms', 'bn']


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
