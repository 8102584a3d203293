#!/usr/bin/env python3
"""`blanch report` on documents that mean harm: tests/hostile_report.py BLANCH [TEST...]. Prints TAP. Each ends with 0
and a page without anything in it but what pages have, or with 2 and one line. No device is needed."""
import csv
import html.parser
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
# in memory, where that is: every page is synchronised
HOME = tempfile.mkdtemp(prefix='blanch-hostile-', dir='/dev/shm' if os.path.isdir('/dev/shm') else None)
PHASES = ['forward', 'norm']
TAGS = set('html head meta link title style body main p h1 h2 h3 b i a code div span table thead tbody tfoot tr th td '
           'ul li dl dt dd figure figcaption svg path line rect details summary script'.split())
NUMBERS = re.compile(r'[-0-9.%ML ]*')
NUMERIC = {'x', 'y', 'x1', 'x2', 'y1', 'y2', 'width', 'height', 'd'}


def path(name):
    return os.path.join(HOME, name)


# --- a document as `compare` writes them -----------------------------------------------------------

def work():
    return {'device_ms': 1.5, 'host_ms': .1, 'launches': 3, 'bytes': 1e6, 'operations': 1e9, 'arithmetic': .5,
            'bandwidth': .4}


def layer(name):
    return {'name': name, 'op': 'conv2d', 'role': 'layer', 'phases': {p: 1.25 for p in PHASES}, 'quartile1_ms': 1,
            'quartile3_ms': 2, 'work': {'forward': work()}, 'work_all': work()}


def run(norm, setting):
    return {'device': 'a device', 'norm': norm, 'setting': setting, 'settings': {'block': 64, 'freeze': True},
            'parameters': 1000, 'step_ms': 12.5, 'mean_ms': 13, 'images_per_s': 100, 'inference_ms': 3,
            'recording_cost': 1.1, 'target_top1': 50, 'target_s': 3, 'coverage': 1, 'last_loss': .5,
            'limits': {'operations_per_s': 1e11, 'bytes_per_s': 1e10}, 'work': {'forward': work()}, 'work_all': work(),
            'engines': {'conv1': {'forward': 'direct'}}, 'layers': [layer('conv1')],
            'budget': {'budget_pct': 20, 'held_pct': 19, 'least_pct': 5, 'yardstick': 'its own', 'decisions': [
                {'reason': 'first', 'step': 15, 'base_ms': 10, 'bn_ms': 10, 'allowance_ms': 2, 'held_pct': 12,
                 'layers': [{'name': 'conv1', 'interval': 3, 'refresh_ms': 1, 'drift': .01}]}]},
            'epochs': [{'epoch': e, 'train_loss': 1 / e, 'train_top1': 10 * e, 'test_top1': 9 * e, 'train_s': 3}
                       for e in (1, 2)],
            'curve': [{'step': s, 'seconds': s / 10, 'loss': 2 / s} for s in (1, 2, 3)]}


def pair(setting):
    return {'device': 'a device', 'setting': setting, 'settings': {'block': 16}, 'bn_step_ms': 10, 'nd_step_ms': 12,
            'overhead_pct': 20, 'bn_mean_ms': 10, 'nd_mean_ms': 12, 'overhead_mean_pct': 20, 'overhead_bound_pct': 18,
            'bound_steps': 5, 'bn_inference_ms': 1, 'nd_inference_ms': 1, 'layers': [
                {'name': 'conv1', 'bn_name': 'conv1', 'op': 'conv2d', 'role': 'layer', 'bn_ms': 3, 'nd_ms': 5,
                 'bn_phases': {p: .5 for p in PHASES}, 'nd_phases': {p: 1 for p in PHASES}}]}


def document():
    return {'format': 2, 'date': '2026-01-01T00:00:00Z', 'blanch': {'version': '0.1', 'commit': 'abc'},
            'host': {'cpu': 'a processor', 'cores': 2, 'memory': 1e9, 'os': 'a system', 'kernel': '1'},
            'device': {'platform': 'a platform', 'name': 'a device', 'driver': '1', 'version': '1.2',
                       'compute_units': 2, 'memory': 1e9, 'kind': 'cpu'},
            'settings': {'model': 'smallcnn'}, 'kind': 'compare', 'model': 'smallcnn', 'data': 'folder:data',
            'augment': 'none', 'optimiser': 'sgd', 'schedule': 'cosine', 'batch': 32, 'steps': 20, 'lr': .1, 'seed': 0,
            'devices': [{'name': 'a device', 'platform': 'a platform', 'driver': '1', 'compute_units': 2,
                         'memory_bytes': 1e9}],
            'runs': [run('bn', ''), run('nd', ''), run('nd', 'small')], 'pairs': [pair(''), pair('small')]}


def leaves(value, at=()):
    """The paths of all values of a document, of a list's first element alone."""
    yield at
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], at + (key,))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], at + (0,))


def put(value, at, new):
    for key in at[:-1]:
        value = value[key]
    value[at[-1]] = new


# --- judging ---------------------------------------------------------------------------------------

class Page(html.parser.HTMLParser):
    """What a browser would make of it."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self.script, self.wrong = 0, None, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in TAGS:
            self.wrong.append('<%s>' % tag)
        if tag == 'script':
            self.scripts, self.script = self.scripts + 1, attributes
        for name, value in attributes:
            if not re.fullmatch(r'[a-z][-a-z0-9]*|preserveaspectratio|viewbox', name) or name.startswith('on'):
                self.wrong.append('attribute %s of <%s>' % (name, tag))
            if name in ('src', 'href') and value != 'data:,':
                self.wrong.append('%s=%s' % (name, value))
            if name in NUMERIC and not NUMBERS.fullmatch(value):
                self.wrong.append('%s="%.60s"' % (name, value))
            if name == 'style' and not re.fullmatch(r'(left|bottom):-?[0-9.]+%', value):
                self.wrong.append('style="%.60s"' % value)
            if name == 'data-v' and not re.fullmatch(r'-?[0-9.]+(e[-+][0-9]+)?', value):
                self.wrong.append('data-v="%.60s"' % value)


def judge_page(what):
    with open(path('page.html'), encoding='utf-8', newline='') as f:
        text = f.read()
    page = Page(text)
    check(not page.wrong and page.scripts == 1 and not page.script, '%s: %s, %d scripts' % (what, page.wrong[:3],
                                                                                          page.scripts))
    body = text[text.index('<body'):]
    hidden = re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]', body)
    check(not hidden, '%s: a hidden character in the page' % what)
    check(not re.search(r'\b(nan|inf)\b', re.sub('<[^>]*>', ' ', body)), '%s: nan or inf in the page' % what)


def judge_table(what):
    with open(path('page.csv'), encoding='utf-8', newline='') as f:
        rows = list(csv.reader(f, strict=True))
    check(len({len(row) for row in rows}) == 1, '%s: rows of several lengths' % what)
    for cell in (cell for row in rows for cell in row):
        number = re.fullmatch(r'[-+]?[0-9.]+(e[-+]?[0-9]+)?', cell)
        check(number or not cell or cell[0] not in '=+-@\t\r\n', '%s: the cell %.60r is a formula' % (what, cell))


def report(what, *paths):
    """The exit status, after the page and the table were judged."""
    for name in ('page.html', 'page.csv'):
        if os.path.exists(path(name)):
            os.remove(path(name))
    command = [BLANCH, 'report', *paths, '--out', path('page.html'), '--csv', path('page.csv')]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    check(done.returncode in (0, 2), '%s: exit status %d: %r' % (what, done.returncode, done.stderr[-300:]))
    lines = done.stderr.decode('utf-8').splitlines()
    check(all(line.isprintable() for line in lines), '%s: %r' % (what, lines))
    if done.returncode == 0:
        check(not lines, '%s: %s' % (what, lines))
        judge_page(what)
        judge_table(what)
    elif len(paths) == 1:
        check(len(lines) == 1 and lines[0].startswith('blanch: '), '%s: %s' % (what, lines))
        check(not os.path.exists(path('page.html')), '%s: a page was written' % what)
    return done.returncode


def judge(what, text, name='document.json'):
    with open(path(name), 'wb') as f:
        f.write(text if isinstance(text, bytes) else text.encode())
    return report(what, path(name))


def strings(value):
    """Of every string but those that make it a document of its kind."""
    return [at for at in leaves(value) if isinstance(get(value, at), str) and at[-1] not in ('kind', 'norm')]


def get(value, at):
    for key in at:
        value = value[key]
    return value


# --- tests -----------------------------------------------------------------------------------------

TEXTS = ['</script><script>alert(1)</script>', '"><img src=x onerror=alert(1)>', "' onmouseover='alert(1)",
         '<!--', ']]>', '&lt;script&gt;', '\x1b[2J\x1b]0;x\x07\x9b31m', '\u202eevil\u2066', 'a\u2028b\u2029c\ufeff',
         '=cmd|\' /C calc\'!A0', '+1+1', '-2+3', '@SUM(A1:A9)', '\t=1', '\r\n=1', 'a,b"c\nd', '%s%n%1000000d',
         'é' * 3000, '\U0001f600' * 40, '&' * 63 + '<', '\\xE9', '"onx=1 ', 'k0" x']


def test_an_ordinary_document():
    check(judge('an ordinary document', json.dumps(document())) == 0, 'it is refused')


def test_texts():
    """In every string at once, the device's name alike everywhere, and in the norm, which a page makes a class of."""
    for text in TEXTS:
        changed = document()
        for at in strings(changed):
            put(changed, at, text)
        for r in changed['runs']:
            r['engines'] = {text: {'forward': text}}
        check(judge(repr(text), json.dumps(changed)) == 0, '%r is refused' % text)
        changed['runs'][2]['norm'] = text
        judge('norm %r' % text, json.dumps(changed))


def test_bytes_that_are_no_utf8():
    for raw in (b'\xff', b'\xc3', b'\xed\xa0\x80', b'\xf8\x88\x80\x80', b'\x80<b>', b'\xe2\x82'):
        text = json.dumps(document()).encode()
        for value in (b'a device', b'conv1', b'folder:data', b'small'):
            text = text.replace(value, b'x' + raw)
        check(judge(repr(raw), text) == 0, '%r is refused' % raw)
        done = subprocess.run([BLANCH, 'report', path('document.json'), '--json'], stdout=subprocess.PIPE, check=True)
        shown = json.loads(done.stdout.decode('utf-8'))['documents'][0]['devices'][0]['name']
        check(shown.startswith('x') and shown.encode() == b'x' + b''.join(
            b'\\x%02X' % b if b >= 0x80 else bytes([b]) for b in raw), '%r is %r' % (raw, shown))
    check(judge('a zero in a string', json.dumps(document()).replace('conv1', 'a\\u0000b')) == 2, 'a zero is taken')


def test_numbers():
    """Every number by turns, as far out as a double goes and beyond what an int holds; then all of them."""
    values = ('1e400', '5e-324', '-2147483649', '1e99', '1e308', '-1e308', '0', '-1')
    for at in leaves(document()):
        if not at or isinstance(get(document(), at), (dict, list, str, bool)):
            continue
        for value in values[:3]:
            changed = document()
            put(changed, at, 'HERE')
            judge('%s = %s' % (at, value), json.dumps(changed).replace('"HERE"', value))
    for value in values:
        judge('all numbers %s' % value, re.sub(r'(?<=": )-?[0-9][-+.e0-9]*', value, json.dumps(document())))


def test_types():
    """Every value by turns, of another type."""
    for at in leaves(document()):
        for value in (None, [{}], 'x') if at else ():
            changed = document()
            put(changed, at, value)
            judge('%s = %r' % (at, value), json.dumps(changed))


def test_axes():
    """Curves whose axis would have no end, no length, or no number."""
    points = [0, 1, -1, 1e-300, 5e-324, 1e16, 10000000000000002, 1e99, -1e99, 1e308, -1e308, 1e15 + .5]
    for a in points:
        for b in points:
            changed = document()
            for r in changed['runs']:
                r['curve'] = [{'step': x, 'seconds': y, 'loss': x} for x, y in ((a, b), (b, a), (a, a))]
                r['epochs'] = [{'epoch': x, 'train_s': y, 'train_top1': x, 'test_top1': y} for x, y in ((a, b), (b, a))]
            judge('axes of %g and %g' % (a, b), json.dumps(changed))


def test_sizes():
    def with_list(count, *at):
        changed = document()
        put(changed, at, 'HERE')
        element = '{"name":"a","phases":{"forward":1}}' if at[-1] == 'layers' else json.dumps(get(document(), at)[0])
        return json.dumps(changed).replace('"HERE"', '[' + ','.join([element] * count) + ']')
    for at in (('runs', 0, 'layers'), ('runs', 0, 'curve'), ('runs', 0, 'epochs'), ('pairs', 0, 'layers'),
               ('runs', 0, 'budget', 'decisions', 0, 'layers')):
        check(judge('many %s' % (at,), with_list(200000, *at)) == 2, 'so many %s are read' % (at,))
    check(judge('4,000 layers', with_list(4000, 'runs', 0, 'layers')) == 0, '4,000 layers are refused')
    for key in ('devices', 'runs', 'pairs'):
        check(judge('many %s' % key, with_list(3000, key)) == 2, 'so many %s are read' % key)
    check(judge('a long text', json.dumps(document()).replace('conv1', 'x' * 5000000)) == 0, 'it is refused')
    changed = document()
    changed['runs'][0]['engines'] = {'layer %d' % i: {} for i in range(200000)}
    check(judge('many engines', json.dumps(changed)) == 2, 'so many engines are read')
    with open(path('large.json'), 'wb') as f:
        f.truncate(1 << 32)
    check(report('4 GiB', path('large.json')) == 2, '4 GiB are read')
    check(report('a device', '/dev/zero') == 2, '/dev/zero is read')


def test_structure():
    whole = json.dumps(document())
    for depth in (900, 2000, 3000000):
        check(judge('%d deep' % depth, '[' * depth + ']' * depth) == 2, 'it is taken')
        judge('settings %d deep' % depth, whole.replace('"smallcnn"}', '[' * depth + ']' * depth + '}', 1))
    for key in ('runs', 'model', 'devices', 'batch'):
        judge('%s twice' % key, whole.replace('"%s":' % key, '"%s": 3, "%s":' % (key, key), 1))
        judge('%s twice, the first counts' % key, whole[:-1] + ', "%s": null}' % key)
    for end in range(0, len(whole), 97):
        judge('cut at %d' % end, whole[:end])
    for junk in ('', ' ', '\0', '\ufeff' + whole, whole + 'x', '{"runs": [{}], "devices": []}', '1e999', '"',
                 '[' + whole):
        judge('%.30r' % junk, junk)


def test_run_directories():
    config = {'model': 'smallcnn', 'norm': 'nd', 'device': 'cpu', 'batch': 32, 'data': 'folder:<b>'}
    step = '{"type":"step","step":%s,"epoch":1,"loss":%s,"images_per_s":%s}'
    epoch = '{"type":"epoch","epoch":%s,"train_loss":1,"train_top1":%s,"test_top1":%s,"train_s":%s}'
    values = ('1', '1e308', '-1e308', '5e-324', '1e400', 'null', '"x"')
    logs = ['\n'.join([step % ('1', '1', '1')] * 3) + '\n']
    logs += ['\n'.join([step % (a, b, a), step % (b, a, b), epoch % (a, b, a, b), step % (a, a, b)]) + '\n'
             for a in values for b in values]
    logs += [logs[0] + '{"type":"step","st', '', '\n' * 9]
    os.makedirs(path('run'), exist_ok=True)
    with open(path('run/ledger.json'), 'w') as f:
        json.dump(dict(run('nd', ''), kind='ledger'), f)
    with open(path('run/config.json'), 'w') as f:
        json.dump(config, f)
    for log in logs:
        with open(path('run/log.jsonl'), 'w') as f:
            f.write(log)
        status = report('the log %.300r' % log, path('run'))
        check(status == (2 if log.startswith('\n') else 0), 'the log %.300r: %d' % (log, status))
    with open(path('run/log.jsonl'), 'w') as f:
        f.write((epoch % (1, 2, 3, 4) + '\n') * 150000)
    check(report('many epochs', path('run')) == 2, 'so many epochs are read')
    for name in ('config.json', 'ledger.json'):
        for text in ('{', '[]', '{"model": 3, "norm": {}}', '{"layers": [1, "x", null]}'):
            with open(path('run/log.jsonl'), 'w') as f:
                f.write(logs[0])
            shutil.copy(path('run/' + name), path('kept'))
            with open(path('run/' + name), 'w') as f:
                f.write(text)
            report('%s is %s' % (name, text), path('run'))
            shutil.copy(path('kept'), path('run/' + name))


def test_what_cannot_be_read_is_left_out():
    with open(path('good.json'), 'w') as f:
        json.dump(document(), f)
    with open(path('bad\n\x1b[2J.json'), 'w') as f:
        f.write('{')
    paths = [path('good.json'), path('bad\n\x1b[2J.json'), path('absent'), path('good.json')]
    check(report('two of four', *paths) == 2, 'the status does not tell')
    judge_page('two of four')
    with open(path('page.html')) as f:
        check('2 results side by side' in f.read(), 'the page is not of the two that are there')
    done = subprocess.run([BLANCH, 'report', *paths, '--json'], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True)
    check(done.returncode == 2 and len(json.loads(done.stdout)['documents']) == 2, 'documents')
    lines = done.stderr.splitlines()
    check(len(lines) == 2 and 'bad\\x0A\\x1B[2J.json' in lines[0] and 'absent' in lines[1], lines)


try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
