#!/usr/bin/env python3
"""Networks from files at the command line: tests/described.py BLANCH [TEST...]. Prints TAP."""
import glob
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import time

import caches
import jsonschemas
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-described-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
ENV['PATH'] = os.path.dirname(BLANCH) + os.pathsep + ENV.get('PATH', '')
DATA = ('--data', pictures.mnist(os.path.join(HOME, 'digits'), 24, 8, size=28), '--no-tune')


def path(*parts):
    return os.path.join(HOME, *parts)


def run(*args, status=0, timeout=300):
    done = subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
                          universal_newlines=True, cwd=HOME, timeout=timeout)
    check(done.returncode == status, '%s: exit status %d: %s' % (' '.join(map(str, args)), done.returncode,
                                                                done.stderr[-500:]))
    return done


def refused(*args, words=()):
    """One line that begins with the program's name, exit status 2."""
    errors = [line for line in run(*args, status=2).stderr.splitlines() if line.startswith('blanch: ')]
    check(len(errors) == 1, errors)
    for word in words:
        check(word in errors[0], "'%s' is not in: %s" % (word, errors[0]))


def write(name, text):
    with open(path(name), 'w') as f:
        f.write(text)
    return path(name)


def described(*args):
    return run('models', *args, '--json').stdout


def network(name, norm='bn'):
    """A built-in network's description, in a file."""
    return write('%s-%s.json' % (name, norm), described(name, '--norm', norm))


def losses(directory):
    with open(os.path.join(directory, 'log.jsonl')) as f:
        return [line['loss'] for line in map(json.loads, f) if line['type'] == 'step']


def train(model, norm, out, *more, steps=3, batch=4):
    shutil.rmtree(path(out), ignore_errors=True)
    run('train', '--model', model, *(('--norm', norm) if norm else ()), *DATA, '--steps', steps, '--batch', batch,
        '--seed', 5, '--out', path(out), '--quiet', *more)
    return path(out)


def tensors(path):
    """What follows the header, whose metadata tell the network."""
    with open(path, 'rb') as f:
        data = f.read()
    return data[8 + struct.unpack('<Q', data[:8])[0]:]


# --- the format ----------------------------------------------------------------------------------

NETWORK = ('num_classes', 'input', 'trainable', 'multiply_adds', 'parameters', 'buffers', 'graph', 'nd')


def names():
    return [m['name'] for m in json.loads(run('models', '--json').stdout)['models']]


def part(document):
    return {key: document.get(key) for key in NETWORK}


def test_what_is_no_file_is_not_waited_for():
    os.mkfifo(path('pipe.json'))
    refused('models', path('pipe.json'), words=['a pipe, not a file'])


def test_what_models_writes_is_read():
    """As it is, of every network and norm; what is read is described alike."""
    for name in names():
        for norm in ('bn', 'nd', 'none', 'gn', 'ln'):
            text = described(name, '--norm', norm)
            again = json.loads(described(write('again.json', text)))
            check(part(json.loads(text)) == part(again), '%s-%s is another network, read again' % (name, norm))


def test_schema():
    validator = jsonschemas.validator('network')
    files = glob.glob(os.path.join(ROOT, 'tests', 'reference', 'architectures', '*.json'))
    check(len(files) > 40, 'the tables of the networks are not there')
    for file in files:
        with open(file) as f:
            validator.validate(json.load(f))
    for name in ('smallcnn', 'preact18', 'efficientnetb0', 'vgg11-imagenet'):
        for norm in ('bn', 'nd'):
            validator.validate(json.loads(described(name, '--norm', norm)))
    for wrong in ('{"op": "rely"}', '{"op": "relu", "input": []}', '{"op": "conv2d"}', '{"op": "relu", "id": 3}',
                  '{"op": "conv2d", "attrs": {"kernel": 3, "out_channels": 3, "pad": 1}}'):
        check(not validator.is_valid({'input': [3, 8, 8], 'graph': [json.loads(wrong)]}), '%s is valid' % wrong)


def test_example_of_the_document():
    with open(os.path.join(ROOT, 'docs', 'network-format.md')) as f:
        text = f.read()
    write('two.json', re.search(r'^```json\n(.*?)^```', text, re.M | re.S).group(1))
    for line in re.search(r'^```sh\n(.*?)^```', text, re.M | re.S).group(1).splitlines():
        done = subprocess.run(line, shell=True, cwd=HOME, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              universal_newlines=True)
        check(done.returncode == 0, '%s: %s' % (line, done.stdout[-500:]))
    check(os.path.exists(path('runs', 'two', 'network.json')), 'the run has no network.json')
    said = re.search(r'^    blanch: (.*)$', text, re.M).group(1)
    with open(path('two.json')) as f:
        wrong = f.read()
    last = wrong.rindex('"padding"')
    write('two.json', wrong[:last] + '"paddin"' + wrong[last + len('"padding"'):])
    refused('models', 'two.json', words=[said])


# --- training ------------------------------------------------------------------------------------

def test_same_bits_as_the_built_in_network():
    for name, norm in (('smallcnn', 'bn'), ('smallcnn', 'nd'), ('resnet18', 'nd')):
        built_in, read = train(name, norm, 'built-in'), train(network(name), norm, 'read')
        check(losses(built_in) == losses(read), '%s-%s: %s, then %s' % (name, norm, losses(built_in), losses(read)))
        for weights in ('last.safetensors', 'best.safetensors'):
            check(tensors(os.path.join(built_in, weights)) == tensors(os.path.join(read, weights)),
                  '%s-%s: %s differs' % (name, norm, weights))


def test_a_run_is_complete_by_itself():
    """The file may go, or become another network: eval, predict and --resume take the run's own."""
    file = network('smallcnn', 'nd')
    whole, parts = train(file, None, 'whole', steps=6), train(file, None, 'parts', steps=3)
    write(os.path.basename(file), '{}')
    run('train', '--resume', '--out', parts, '--steps', 6, '--quiet')
    check(len(losses(parts)) == 6, 'steps: %d' % len(losses(parts)))
    os.remove(file)
    with open(os.path.join(parts, 'config.json')) as f:
        config = json.load(f)
    check((config['model'], config['norm']) == (file, 'own'), '%s, %s' % (config['model'], config['norm']))
    result = json.loads(run('eval', '--run', whole, '--json').stdout)
    check(result['model'] == file and result['norm'] == 'own', result)
    image = write('image.ppm', 'P3 1 1 255 10 20 30\n')
    check(len(json.loads(run('predict', '--run', whole, image, '--json').stdout)['images']) == 1, 'predict')
    write('whole/network.json', '{"input": [3, 32, 32], "graph": [{"op": "rely"}]}')
    refused('eval', '--run', whole, words=['whole/network.json', "'rely', did you mean 'relu'?"])


def test_weights_go_with_the_file():
    file = network('smallcnn')
    out = train(file, 'nd', 'weights')
    weights = ('--weights', os.path.join(out, 'last.safetensors'), '--norm', 'nd', *DATA[:2])
    results = [json.loads(run('eval', *weights, '--model', model, '--json').stdout) for model in (file, 'smallcnn')]
    check(results[0]['loss'] == results[1]['loss'], 'the file and the built-in network differ')
    bench = json.loads(run('bench', '--model', file, '--batch', 2, '--steps', 1, '--no-tune', '--json').stdout)
    check(bench['norm'] == 'own' and bench['model'] == file, '%s, %s' % (bench['model'], bench['norm']))


def test_comparison():
    """Four networks of one file in one process, two devices."""
    file, out = network('smallcnn'), path('compared')
    shutil.rmtree(out, ignore_errors=True)
    run('compare', '--model', file, *DATA, '--steps', 4, '--batch', 4, '--devices', '0:0,0:0/1', '--out', out)
    with open(os.path.join(out, 'compare.json')) as f:
        result = json.load(f)
    check(result['model'] == file, result['model'])
    refused('compare', '--model', network('smallcnn', 'nd'), *DATA, '--out', path('none'), words=['--norm nd or own'])
    refused('compare', '--model', file, '--norms', 'own', *DATA, '--out', path('none'),
            words=['bn, gn, ln, nd and none'])
    check(not os.path.exists(path('none')), 'a refused comparison has made its folder')


def test_other_data():
    """Channels and classes are the data's, and it is said."""
    file = network('smallcnn')
    done = run('train', '--model', file, '--data', 'synthetic:3x32x32:7', '--steps', 1, '--batch', 2, '--no-tune',
               '--out', path('other'))
    check('is made for 1 channel and 10 classes; here it has 3 and 7' in done.stderr, done.stderr[-600:])
    wide = write('wide.json', json.dumps({'input': [3, 8, 9], 'classes': 7, 'graph': [
        {'op': 'global_avgpool2d'}, {'op': 'flatten'}, {'op': 'linear', 'name': 'fc',
         'attrs': {'in_features': 3, 'out_features': 7, 'bias': True}}]}))
    run('train', '--model', wide, '--data', 'synthetic:3x8x9:7', '--steps', 1, '--batch', 2, '--no-tune', '--out',
        path('wide'))
    with open(path('wide', 'config.json')) as f:
        check(json.load(f)['view']['size'] == [8, 9], 'not of the size of the file')


# --- what is refused -----------------------------------------------------------------------------

def test_refused():
    nd = network('smallcnn', 'nd')
    refused('models', path('missing.json'), words=['missing.json'])
    refused('models', write('broken.json', '{"input": ['), words=['broken.json', 'line 1'])
    refused('models', 'smallcn', words=["did you mean 'smallcnn'?"])
    refused('models', nd, '--norm', 'bn', words=[nd, '--norm nd or own'])
    refused('models', nd, '--block', 16, words=[nd, '--block'])
    refused('train', '--model', nd, *DATA, '--overhead-budget', '20%', '--out', path('none'), words=[nd, 'budget'])
    refused('train', '--model', 'smallcnn', *DATA, '--out', path('none'), words=['--norm is missing'])
    for command in (('train', '--out', path('none')), ('bench',)):
        refused(*command, '--model', 'resnet81', *(DATA if command[0] == 'train' else ()),
                words=["did you mean 'resnet18'?"])
    wrong = write('wrong.json', '{"input": [3, 8, 8], "graph": [{"op": "global_avgpool2d"}, {"op": "upsample", '
                                '"attrs": {"scale": 2}}]}')
    refused('train', '--model', wrong, *DATA, '--out', path('none'), words=['wrong.json', '3 x 2 x 2'])
    check(not os.path.exists(path('none')), 'a refused run has made its directory')


def test_large_and_deep_files_end_quickly():
    node = '{"op": "relu"},'
    files = {'nested.json': ('[' * 200000, 'nested.json'),
             'large.json': ('{"input": [3], "graph": [' + ' ' * (17 << 20), 'large.json'),
             'many.json': ('{"input": [3], "graph": [%s]}' % (node * 100000)[:-1], 'more than 5000'),
             'huge.json': ('{"input": [1048576, 1048576, 1048576], "graph": [{"op": "flatten"}]}', 'huge.json'),
             'wide.json': ('{"input": [3], "graph": [{"op": "linear", "attrs": {"out_features": 2147483648}}]}',
                           "node '0'")}
    for name, (text, word) in files.items():
        begin = time.time()
        refused('models', write(name, text), words=[word])
        check(time.time() - begin < 5, '%s took %.1f s' % (name, time.time() - begin))


if __name__ == '__main__':
    tap.need_device(BLANCH)
    try:
        sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
