#!/usr/bin/env python3
"""The options of a training recipe on the command line: what they make, what config.json says, runs that are resumed
with them, values that are refused. tests/recipe.py BLANCH [TEST...]. Prints TAP; makes its own small data."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import caches
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-recipe-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
TRAIN = ('train', '--model', 'smallcnn', '--batch', 16, '--quiet')


def path(*parts):
    return os.path.join(HOME, *parts)


def fresh(name):
    shutil.rmtree(path(name), ignore_errors=True)
    return path(name)


def blanch(*args):
    return subprocess.run([BLANCH, *map(str, args)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENV,
                          universal_newlines=True, timeout=300)


def succeeds(*args):
    done = blanch(*args)
    check(done.returncode == 0, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-300:]))
    return done


def refuses(words, *args, status=2):
    """One line, which has the words."""
    done = blanch(*args)
    check(done.returncode == status, '%s: exit status %d: %s' % (args, done.returncode, done.stderr[-300:]))
    check(done.stderr.count('\n') == 1, 'not one line: %s' % done.stderr[-300:])
    for word in words:
        check(word in done.stderr, "'%s' is not in: %s" % (word, done.stderr))


def data():
    return pictures.mnist(path('mnist'), 64, 32, 28)


def train(out, *more, norm='bn'):
    succeeds(*TRAIN, '--data', data(), '--norm', norm, '--out', fresh(out), *more)
    return path(out)


def tensors(file):
    with open(file, 'rb') as f:
        header = json.loads(f.read(struct.unpack('<Q', f.read(8))[0]))
        header.pop('__metadata__', None)
        return header, f.read()


def config(out):
    with open(os.path.join(out, 'config.json')) as f:
        return json.load(f)


def log(out, kind):
    with open(os.path.join(out, 'log.jsonl')) as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def resumed(name, *options, norm='bn', files=('last.safetensors', 'last.state.safetensors')):
    """A run of 4 steps that goes on to 8 ends with the bits of one of 8; its directory."""
    whole = train(name + '-whole', '--schedule', 'constant', '--steps', 8, *options, norm=norm)
    parts = train(name + '-parts', '--schedule', 'constant', '--steps', 4, *options, norm=norm)
    succeeds('train', '--resume', '--out', parts, '--steps', 8, '--quiet')
    for file in files:
        check(tensors(os.path.join(whole, file)) == tensors(os.path.join(parts, file)), '%s differs' % file)
    return whole


def changes(name, *options, norm='bn'):
    """The option's weights are others than those without it."""
    plain = train('plain-' + norm, '--schedule', 'constant', '--steps', 8, norm=norm)
    check(tensors(path(name, 'last.safetensors')) != tensors(os.path.join(plain, 'last.safetensors')),
          '%s changes nothing' % name)


# --- the loss ------------------------------------------------------------------------------------

def test_label_smoothing():
    out = resumed('smoothed', '--label-smoothing', 0.1)
    changes('smoothed-whole')
    check(config(out)['label_smoothing'] == 0.1, config(out))
    for value in (1, -0.1, 'x'):
        refuses(['--label-smoothing'], *TRAIN, '--data', data(), '--norm', 'bn', '--out', fresh('no'),
                '--label-smoothing', value)
    refuses(['--label-smoothing', 'differs'], 'train', '--resume', '--out', out, '--label-smoothing', 0.2)


if __name__ == '__main__':
    tap.need_device(BLANCH)
    failed = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(failed)
