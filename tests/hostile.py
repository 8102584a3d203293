#!/usr/bin/env python3
"""Run directories with hostile values: tests/hostile.py BLANCH [--seed N | --all]. Prints TAP.

In a copy of a small run, one value of config.json or of a checkpoint's metadata is another at a time, and
`eval --run` or `train --resume` goes on with it: they work, or end with status 2 and one line that names what is wrong.
They never crash, hang or take gigabytes. Every key has its turn with one value, drawn by the seed; --all takes every
value with both commands (many minutes)."""
import argparse
import itertools
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile

import caches
import pictures
import tap

HOME = tempfile.mkdtemp(prefix='blanch-hostile-')
ENV = caches.environment(os.path.join(HOME, 'cache'))
VALUES = (None, True, -1, 0, 0.5, -0.5, 3, 2 ** 31, 2 ** 53 + 1, -2 ** 63, 1e38, 1e308, '', 'nan', 'x' * 5000,
          'a\0b', '%n%s', '/dev/zero', '../../x', [], [0], [1e-40, None], [[1]], {}, {'a': 1})
TEXTS = ('', 'x', '-1', '0', '0.5', 'nan', 'inf', '1e308', str(2 ** 31), str(2 ** 53 + 1), str(2 ** 63), '-' + '9' * 40,
         '9' * 5000, '[[1]]', '3x')
NAMES = ('last.safetensors', 'last.state.safetensors')
SECONDS, MEMORY = 120, 3 << 30


def write(path, data):
    with open(path, 'wb') as f:
        f.write(data)
    return path


def read_json(path):
    with open(path, encoding='utf-8') as f:
        return json.load(f)


# --- changing a run ------------------------------------------------------------------------------

def paths(value, at=()):
    """Every key of a document, of objects within it too."""
    for key, inner in value.items():
        yield at + (key,)
        if isinstance(inner, dict):
            yield from paths(inner, at + (key,))


def change_config(run, at, value):
    path = os.path.join(run, 'config.json')
    config = read_json(path)
    inner = config
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    write(path, json.dumps(config).encode())


def read_tensors(path):
    with open(path, 'rb') as f:
        data = f.read()
    (length,) = struct.unpack('<Q', data[:8])
    return json.loads(data[8:8 + length]), data[8 + length:]


def write_tensors(path, header, data):
    text = json.dumps(header).encode()
    write(path, struct.pack('<Q', len(text)) + text + data)


def change_state(run, at, value):
    for name in NAMES:
        header, data = read_tensors(os.path.join(run, name))
        if at[0] in header['__metadata__'] or name == NAMES[1]:
            header['__metadata__'][at[0]] = value
        write_tensors(os.path.join(run, name), header, data)


def fill(run, at, value):
    """Every value of the floats of a file."""
    header, data = read_tensors(os.path.join(run, at[0]))
    data = bytearray(data)
    for key, tensor in header.items():
        if key != '__metadata__' and tensor['dtype'] == 'F32':
            begin, end = tensor['data_offsets']
            data[begin:end] = struct.pack('<f', float(value)) * ((end - begin) // 4)
    write_tensors(os.path.join(run, at[0]), header, bytes(data))


# --- one case ------------------------------------------------------------------------------------

def run(*words):
    """Status, error lines, all of standard error."""
    process = subprocess.Popen(words, env=ENV, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    signal.alarm(SECONDS)
    try:
        text = process.stderr.read().decode(errors='replace')
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    except TimeoutError:
        process.kill()
        process.wait()
        return None, 0, [], 'no end after %d s' % SECONDS
    finally:
        signal.alarm(0)
        process.stderr.close()
    return process.returncode, used.ru_maxrss * 1024, [l for l in text.splitlines() if l.startswith('blanch: ')], text


def is_as_promised(status, memory, lines, sanitized):
    return status in (0, 2) and len(lines) == (status == 2) and (sanitized or memory < MEMORY)


def try_case(blanch, base, change, at, value, command):
    """None, or what is wrong."""
    folder = os.path.join(HOME, 'run')
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(base, folder)
    change(folder, at, value)
    words = {'eval': ('eval', '--run', folder),
             'resume': ('train', '--resume', '--quiet', '--steps', '5', '--out', folder)}[command]
    if command == 'resume' and at[-1] in ('steps', 'epochs'):
        words = words[:3] + words[5:]
    status, memory, lines, text = run(blanch, *words)
    if is_as_promised(status, memory, lines, 'asan' in blanch):
        return None
    return '%s = %.60r, %s: status %s, %d MiB: %s' % ('.'.join(at), value, command, status, memory >> 20, text[-500:])


def cases(base):
    """(change, key, values) of all."""
    for at in paths(read_json(os.path.join(base, 'config.json'))):
        yield change_config, at, VALUES
    for key in read_tensors(os.path.join(base, NAMES[1]))[0]['__metadata__']:
        yield change_state, (key,), TEXTS
    yield change_state, ('overhead_budget',), TEXTS
    for name in NAMES:
        yield fill, (name,), ('nan', 'inf', '3e38', '1e-42', '0')


def chosen(options, base):
    rng = random.Random(options.seed)
    for change, at, values in cases(base):
        for value in values if options.all else [rng.choice(values)]:
            for command in ('eval', 'resume') if options.all else [rng.choice(('eval', 'eval', 'resume'))]:
                yield change, at, value, command


def name_of(case):
    return '%s: %s' % (case[0].__name__.replace('_', ' '), case[1][0])


def time_out(number, frame):
    raise TimeoutError


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('blanch')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--all', action='store_true')
    options = parser.parse_args()
    blanch, base, report = os.path.abspath(options.blanch), os.path.join(HOME, 'base'), tap.Report()
    tap.need_device(blanch)
    signal.signal(signal.SIGALRM, time_out)
    data = pictures.mnist(os.path.join(HOME, 'mnist'), 32, 16)
    status, _, _, text = run(blanch, 'train', '--model', 'smallcnn', '--norm', 'nd', '--data', data, '--batch', '8',
                             '--steps', '2', '--quiet', '--out', base)
    report.case('a run to start from', status == 0, text)
    for name, group in itertools.groupby(chosen(options, base) if status == 0 else (), name_of):
        found = [try_case(blanch, base, *case) for case in group]
        report.case('%s, %d' % (name, len(found)), not any(found), '\n'.join(filter(None, found)))
    shutil.rmtree(HOME, ignore_errors=True)
    return report.end()


if __name__ == '__main__':
    sys.exit(main())
