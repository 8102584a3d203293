#!/usr/bin/env python3
"""The schemas of docs/schemas against what the program writes, and files of later formats: tests/schemas.py BLANCH
[TEST...]. Prints TAP."""
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile

import caches
import jsonschemas
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-schemas-')
ENV = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE=None)
SMALL = ('--model', 'smallcnn', '--batch', 4, '--no-tune')
CASE = os.path.join(ROOT, 'tests', 'reference', 'conformance', 'relu.safetensors')
GRID = {'data': 'synthetic:1x28x28:10', 'models': ['smallcnn'], 'steps': 1, 'base': {'batch': 4, 'no-tune': True},
        'grid': {'norm': ['bn'], 'lr': [0.01, 0.1]}, 'best': ['lr']}


def path(*parts):
    return os.path.join(HOME, *parts)


def blanch(*args, status=0):
    done = subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env=ENV, cwd=HOME, timeout=300)
    check(done.returncode == status, '%s: exit status %d: %s' % (' '.join(map(str, args)), done.returncode,
                                                                done.stderr[-500:]))
    return done


def read(name):
    with open(path(name), encoding='utf-8') as f:
        return json.load(f)


def write(name, document):
    with open(path(name), 'w', encoding='utf-8') as f:
        json.dump(document, f)
    return path(name)


def metadata(name):
    with open(path(name), 'rb') as f:
        return json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))['__metadata__']


def printed(*args):
    return json.loads(blanch(*args, '--json').stdout)


def run_of(out, *args):
    blanch('train', '--data', DATA, '--out', path(out), '--quiet', *SMALL, *args)


DATA = pictures.mnist(path('digits'), 24, 8, size=28)
FILES = {}      # (schema, what): document


def files():
    """All that the program writes, each made once."""
    if FILES:
        return FILES
    run_of('nd', '--norm', 'nd', '--steps', 24, '--diagnose', '--overhead-budget', '30%')
    run_of('bn', '--norm', 'bn', '--epochs', 1, '--val-split', '20%', '--class-weights', 'balanced')
    run_of('half', '--norm', 'nd', '--steps', 2, '--precision', 'fp16')
    run_of('blocks', '--norm', 'nd', '--steps', 2, '--block', 'auto', '--overhead-budget', '30%')
    blanch('train', '--model', 'vae', '--norm', 'own', '--data', DATA, '--batch', 4, '--steps', 2, '--task',
           'generate', '--optimiser', 'adamw', '--no-tune', '--out', path('vae'), '--quiet')
    image = pictures.png(28, 28, bytes(28 * 28 * 3))
    with open(path('a.png'), 'wb') as f:
        f.write(image)
    write('grid.json', GRID)
    write('network.json', json.loads(blanch('models', 'smallcnn', '--json').stdout))
    blanch('train', '--model', 'network.json', '--norm', 'bn', '--data', DATA, '--batch', 4, '--steps', 1, '--no-tune',
           '--out', path('own'), '--quiet')
    blanch('compare', *SMALL, '--data', DATA, '--epochs', 1, '--settings',
           '--overhead-budget 20%; auto: --overhead-budget 900% --block auto', '--sweep-lr', '0.01,0.1', '--out',
           path('compared'), '--target-top1', 1)
    blanch('suite', '--quick', '--rows', 'smallcnn-bn-128-inference', '--seconds', 0.05, '--no-tune',
           '--out', path('suite.json'))
    blanch('bench', *SMALL, '--norm', 'nd', '--steps', 2, '--trace', path('bench-trace.json'))
    blanch('study', '--ablation', path('grid.json'), '--out', path('grid'))
    os.makedirs(path('study', 'cifar10-resnet18d-bn-1-a1'))
    blanch('tune', '--model', 'smallcnn', '--norm', 'bn', '--batch', 4, '--seconds', 2)
    found = {
        'bench': [printed('bench', *SMALL, '--norm', 'bn', '--steps', 2),
                  printed('bench', *SMALL, '--norm', 'nd', '--steps', 2, '--inference')],
        'product': [printed('bench', '--gemm', 16, '--steps', 1)],
        'devices': [printed('devices')],
        'doctor': [printed('doctor')],
        'models': [printed('models')],
        'network': [printed('models', 'smallcnn', '--norm', 'nd'), read('own/network.json'), read('network.json')],
        'check': [printed('check', CASE)],
        'eval': [printed('eval', '--run', path('bn')), read('bn/eval.json')],
        'predict': [printed('predict', path('a.png'), '--run', path('bn'))],
        'sample': [printed('sample', '--run', path('vae'), '--count', 4, '--out', path('samples.png'))],
        'tune': [printed('tune', '--show'), printed('tune', *SMALL[:-1], '--norm', 'nd', '--seconds', 0.1)],
        'report': [printed('report', path('bn'), path('compared'), path('suite.json'))],
        'ablation': [printed('study', '--ablation', path('grid.json'), '--out', path('grid'), '--show')],
        'ablation-file': [GRID, read('grid/ablation.json')],
        'study': [printed('study', '--show', '--out', path('study'))],
        'suite': [read('suite.json')],
        'compare': [read('compared/compare.json'), read('compared/config.json')],
        'train': [read('%s/config.json' % name) for name in ('nd', 'bn', 'half', 'blocks', 'vae', 'own')],
        'ledger': [read('%s/ledger.json' % name) for name in ('nd',)],
        'trace': [read('nd/trace.json'), read('bench-trace.json')],
        'weights': [metadata('%s/last.safetensors' % name) for name in ('nd', 'bn', 'half', 'blocks', 'vae', 'own')],
        'state': [metadata('%s/last.state.safetensors' % name) for name in ('nd', 'bn', 'half', 'blocks', 'vae')],
    }
    for name in ('nd/log.jsonl', 'bn/log.jsonl', 'half/log.jsonl', 'blocks/log.jsonl', 'compared/log.jsonl'):
        with open(path(name)) as f:
            found.setdefault('log', []).extend(map(json.loads, f))
    for kind, pattern in (('limits', 'limits/*.json'), ('tuning', 'tune/**/*.json')):
        for name in glob.glob(path('cache', 'blanch', pattern), recursive=True):
            found.setdefault(kind, []).append(read(name))
    FILES.update(found)
    return FILES


def of_project(*parts):
    with open(os.path.join(ROOT, *parts), encoding='utf-8') as f:
        return f.read()


# --- schemas -------------------------------------------------------------------------------------

def test_every_kind_has_a_schema_with_its_number():
    table = re.search(r'\} formats\[\] = \{(.*?)\};', of_project('host', 'io', 'document.c'), re.S)[1]
    kinds = re.findall(r'\{"(\w+)", (\d+)\}', table)
    check(len(kinds) > 15, kinds)
    for kind, number in kinds:
        found = jsonschemas.schema('network' if kind == 'model' else kind)['properties']
        if kind != 'model':     # of which the block is no part: people write networks too
            check((found['kind'], found['format']) == ({'const': kind}, {'const': int(number)}), kind)
    page = of_project('docs', 'schemas', 'README.md')
    check(not [name for name in jsonschemas.names() if '(%s.schema.json)' % name not in page], 'not in the README')


def test_every_setting_of_a_run_is_in_its_schema():
    settings = re.findall(r'^    \{"(\w+)", [A-Z]', of_project('host', 'train', 'settings.c'), re.M)
    found = jsonschemas.schema('train')
    check(len(settings) > 50 and set(settings) == set(found['$defs']['settings']['properties']),
          set(settings) ^ set(found['$defs']['settings']['properties']))
    check(set(settings) <= set(found['properties']), set(settings) - set(found['properties']))
    records = re.search(r'keys\[\] = \{(.*?)\};', of_project('host', 'train', 'config.c'), re.S)[1]
    missing = set(found['properties']) - set(settings) - set(re.findall(r'"(\w+)"', records))
    check(not missing, '--config refuses the config.json of a run, whose keys are %s too' % missing)


def test_what_is_written_is_as_its_schema_says():
    for name, documents in files().items():
        check(documents, 'nothing of %s' % name)
        wrong = [line for document in documents for line in jsonschemas.problems(name, document)]
        check(not wrong, '\n'.join(wrong[:20]))
    check(not set(jsonschemas.names()) - set(files()) - {'common', 'diverged'}, 'schemas that nothing is held against')


def test_a_schema_takes_nothing_else():
    """Without a key that it asks for, or with one that it does not know, a document is another."""
    for name, documents in files().items():
        validator, document = jsonschemas.validator(name), documents[0]
        found = jsonschemas.schema(name)
        for key in found.get('required', []):
            rest = {k: v for k, v in document.items() if k != key}
            check(not validator.is_valid(rest), '%s without %s' % (name, key))
        if found.get('additionalProperties') is False:
            check(not validator.is_valid({**document, 'unheard': 1}), '%s with another key' % name)


# --- files of later formats ----------------------------------------------------------------------

LATER = '9.8.7'


def later(name, source, number=99):
    """A copy of a document, as a later version would write it."""
    document = read(source)
    document['format'], document['blanch']['version'] = number, LATER
    return write(name, document)


def later_weights(name):
    """The same of safetensors, in place."""
    with open(path(name), 'rb') as f:
        data = f.read()
    size, = struct.unpack('<Q', data[:8])
    header = json.loads(data[8:8 + size])
    header['__metadata__'].update({'blanch.format': '99', 'blanch.version': LATER})
    text = json.dumps(header).encode()
    with open(path(name), 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + data[8 + size:])


def refused(name, number, *args):
    """One line, which names the file, its number, who wrote it and who cannot read it."""
    errors = [line for line in blanch(*args, status=2).stderr.splitlines() if line.startswith('blanch: ')]
    check(len(errors) == 1, errors)
    own = blanch('--version').stdout.split()[1]
    for word in (name, 'format 99', 'Blanch ' + LATER, 'this is Blanch ' + own, 'up to format %d' % number):
        check(word in errors[0], '%s: %s' % (word, errors[0]))


def run_with(part):
    """A run of which one file is of a later format."""
    files()
    out = path('later-' + part.rsplit('.', 1)[0])
    shutil.copytree(path('bn'), out)
    if part.endswith('.json'):
        later(os.path.join(out, part), 'bn/' + part)
    else:
        later_weights(os.path.join(out, part))
    return out


def test_runs_of_later_versions():
    run, again = run_with('config.json'), ('train', '--resume', '--epochs', 2, '--out')
    for args in (('eval', '--run', run), ('predict', path('a.png'), '--run', run), ('report', run), (*again, run),
                 ('export', '--run', run, '--safetensors', path('none')),
                 ('train', '--config', os.path.join(run, 'config.json'), '--out', path('none'))):
        refused('config.json', 2, *args)
    before = sorted(os.listdir(run))
    check(before == sorted(os.listdir(path('bn'))), 'a refused run was changed')
    refused('eval.json', 2, 'report', run_with('eval.json'))
    run = run_with('last.safetensors')
    refused('last.safetensors', 1, 'eval', '--run', run)
    refused('last.safetensors', 1, *again, run)
    refused('last.safetensors', 1, 'train', '--init', os.path.join(run, 'last.safetensors'), '--data', DATA, *SMALL,
            '--norm', 'bn', '--out', path('none'))
    refused('last.state.safetensors', 1, *again, run_with('last.state.safetensors'))
    check(not os.path.exists(path('none')), 'a refused command has made its file')


def test_results_of_later_versions():
    files()
    for source in ('compared/compare.json', 'suite.json'):
        refused('later.json', 2, 'report', later('later.json', source), '--out', path('none.html'))
    write('bench.json', files()['bench'][0])
    refused('later.json', 2, 'report', later('later.json', 'bench.json'), '--out', path('none.html'))
    check(not os.path.exists(path('none.html')), 'a page was written')
    blanch('report', path('later.json'), path('bench.json'), '--out', path('some.html'), status=2)
    check(os.path.exists(path('some.html')), 'the others make the page')
    suite = later('later-suite.json', 'suite.json')
    for args in (('--show',), ('--resume', '--quick')):
        refused('later-suite.json', 2, 'suite', *args, '--out', suite)


def test_networks_of_later_versions():
    files()
    network = later('later-network.json', 'network.json')
    refused('later-network.json', 2, 'models', network)
    refused('later-network.json', 2, 'train', '--model', network, '--norm', 'bn', '--data', DATA, '--out', path('none'))


def test_the_number_of_today_and_those_before_it_are_read():
    files()
    for number in (1, 2):
        blanch('report', later('earlier.json', 'compared/compare.json', number), '--out', path('earlier.html'))


def test_a_format_is_a_positive_whole_number():
    document = json.loads(blanch('bench', *SMALL, '--norm', 'bn', '--steps', 1, '--json').stdout)
    for value in ('x', '2', -1, 0, 1.5, [2], {}, None, True, 1e300):
        odd = write('odd.json', {**document, 'format': value})
        done = blanch('report', odd, '--out', path('odd.html'), status=2)
        check('odd.json: its "format" is no positive whole number' in done.stderr and done.stderr.count('\n') == 1,
              '%s: %s' % (value, done.stderr))
    check(not os.path.exists(path('odd.html')), 'a page was written')
    document.pop('format')
    blanch('report', write('odd.json', document), '--out', path('odd.html'))


if __name__ == '__main__':
    tap.need_device(BLANCH)
    try:
        sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
