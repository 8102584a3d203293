#!/usr/bin/env python3
"""`blanch tune` and tuning on first use, each in a cache of its own: tests/tune.py BLANCH. Prints TAP."""
import glob
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-tune-')
SHAPES = ['--model', 'smallcnn', '--norm', 'bn', '--batch', '2']
BENCH = ['bench', *SHAPES, '--steps', '1', '--warmup', '1']


def environment(cache, **more):
    kept = {k: v for k, v in os.environ.items() if k != 'BLANCH_TUNE'}
    return {**kept, 'XDG_CACHE_HOME': os.path.join(HOME, cache), **more}


def blanch(cache, *args, status=0, **more):
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(cache, **more), timeout=300)
    assert done.returncode == status, 'exit status %d: %s' % (done.returncode, done.stderr.decode()[-300:])
    return done.stdout.decode(), done.stderr.decode()


def tune(cache):
    return json.loads(blanch(cache, 'tune', *SHAPES, '--json')[0])


def entries(cache):
    return sorted(glob.glob(os.path.join(HOME, cache, 'blanch', 'tune', '*.json')))


def test_interrupted_and_resumed():
    run = subprocess.Popen([BLANCH, 'tune', *SHAPES], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment('a'))
    until = time.time() + 120
    while len(entries('a')) < 2 and run.poll() is None and time.time() < until:
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) == 130, 'exit status %d' % run.returncode
    kept = len(entries('a'))
    for path in entries('a'):
        json.load(open(path))
    rest = tune('a')
    assert kept >= 2 and rest['known'] == kept and rest['measured'] > 0 and not rest['left'], '%d kept: %s' % (kept, rest)


def test_second_process_measures_nothing():
    again = tune('a')
    assert again['measured'] == 0 and again['known'] > 0, str(again)


def test_show():
    shown = blanch('a', 'tune', '--show')[0]
    assert 'convolution forward' in shown and ' ms' in shown, shown[:300]


def test_first_use_of_known_shapes():
    said = blanch('a', *BENCH)[1]
    assert 'measur' not in said, said


def test_damaged_entry():
    victim = entries('a')[0]
    before = json.load(open(victim))
    open(victim, 'w').write('{"half": ')
    assert tune('a')['measured'] == 1, 'the damaged entry was not measured anew'
    assert set(json.load(open(victim))) == set(before), 'the damaged entry was not rewritten'


def test_no_tune():
    blanch('b', *BENCH, '--no-tune')
    assert not entries('b'), '--no-tune measured'
    blanch('b', *BENCH, BLANCH_TUNE='0')
    assert not entries('b'), 'BLANCH_TUNE=0 measured'


def main():
    tests = [(n[5:].replace('_', ' '), f) for n, f in globals().items() if n.startswith('test_')]
    print('1..%d' % len(tests), flush=True)
    failed = 0
    for number, (name, test) in enumerate(tests, 1):
        try:
            test()
            print('ok %d - %s' % (number, name), flush=True)
        except (AssertionError, subprocess.TimeoutExpired, ValueError, KeyError) as e:
            failed = 1
            print('# %s: %s: %s' % (name, type(e).__name__, e))
            print('not ok %d - %s' % (number, name), flush=True)
    return failed


if __name__ == '__main__':
    if subprocess.run([BLANCH, 'devices'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode and not os.environ.get('CI'):
        print('1..0 # SKIP no OpenCL device')
        sys.exit(0)
    sys.exit(main())
