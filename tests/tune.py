#!/usr/bin/env python3
"""`blanch tune` and tuning on first use, each in a cache of its own: tests/tune.py BLANCH. Prints TAP."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import caches
import tap

BLANCH = os.path.abspath(sys.argv[1])
HOME = tempfile.mkdtemp(prefix='blanch-tune-')
SHAPES = ['--model', 'smallcnn', '--norm', 'bn', '--batch', '2']
KERNELS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'kernels')
BENCH = ['bench', *SHAPES, '--steps', '1', '--warmup', '1']

UNBOUNDED = ['--candidate-seconds', '10000', '--build-seconds', '10000']    # a slow machine finds what a fast one does


def environment(cache, **more):
    return caches.environment(os.path.join(HOME, cache), **{'BLANCH_TUNE': None, **more})


def blanch(cache, *args, status=0, **more):
    done = subprocess.run([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=environment(cache, **more), timeout=900)
    assert done.returncode == status, 'exit status %d: %s' % (done.returncode, done.stderr.decode()[-300:])
    return done.stdout.decode(), done.stderr.decode()


def tune(cache, **more):
    return json.loads(blanch(cache, 'tune', *SHAPES, '--json', **more)[0])


def start(cache, *args):
    return subprocess.Popen([BLANCH, 'tune', *args], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                            env=environment(cache))


def wait_for(found, run):
    until = time.time() + 240
    while not found() and run.poll() is None and time.time() < until:
        time.sleep(0.02)


def entries(cache):
    return sorted(glob.glob(os.path.join(HOME, cache, 'blanch', 'tune', '*.json')))


def test_interrupted_and_resumed():
    run = start('a', *SHAPES)
    wait_for(lambda: len(entries('a')) >= 2, run)
    run.send_signal(signal.SIGINT)
    assert run.wait(120) == 130, 'exit status %d' % run.returncode
    kept = len(entries('a'))
    for path in entries('a'):
        json.load(open(path))
    rest = tune('a')
    assert kept >= 2 and rest['known'] == kept and rest['measured'] > 0 and not rest['left'], (kept, rest)


def test_second_process_measures_nothing():
    again = tune('a')
    assert again['measured'] == 0 and again['known'] > 0, str(again)


def test_memory_that_the_driver_counts_otherwise():
    again = tune('a', POCL_MEMORY_LIMIT='2')    # GiB; other drivers ignore it
    assert again['measured'] == 0 and again['known'] > 0, str(again)


def test_show():
    shown = blanch('a', 'tune', '--show')[0]
    assert 'convolution forward' in shown and ' ms' in shown, shown[:300]


def test_first_use_of_known_shapes():
    said = blanch('a', *BENCH)[1]
    assert 'measur' not in said, said


def test_inference_has_shapes_of_its_own():
    """Its weights are packed once, which is no part of what is measured."""
    said = blanch('inference', *BENCH, '--inference')[1]
    shown = blanch('inference', 'tune', '--show')[0]
    assert 'measur' in said, said
    assert 'convolution inference' in shown and 'convolution forward' not in shown, shown[:300]


def test_first_line():
    """What was found comes before what is said of measuring."""
    net, data = ['--model', 'smallcnn', '--batch', '4', '--steps', '4'], 'synthetic:1x28x28:3'
    for args in (['train', *net, '--norm', 'bn'], ['compare', *net, '--norms', 'bn']):
        said = blanch('first-' + args[0], *args, '--data', data, '--out', os.path.join(HOME, args[0]))[1].splitlines()
        assert said[0].startswith(data + ': ') and 'measuring' in said[1], said[:3]


def test_damaged_entries():
    """Each in another way; all are measured anew, and replaced. Which products there are hangs on the engines chosen,
    and so on time."""
    files = [file for file in entries('a') if json.load(open(file))['shape'].startswith('convolution')]
    kept = [json.load(open(file)) for file in files]
    one = kept[0]
    ways = ['{"half": ', '', '[]', 'null', '[' * 5000, '\0', json.dumps(kept[1])]
    ways += [json.dumps({**one, **other}) for other in (
        {'choice': 'none such'}, {'choice': 5}, {'ms': -1}, {'ms': 'fast'}, {'shape': ''}, {'device_hash': '0'},
        {'kernels': None}, {'limit': -1})]
    ways.append(json.dumps({**one, 'ms': 0}).replace('"ms": 0', '"ms": 1e999'))
    damaged = 0
    for start in range(0, len(ways), len(files)):
        some = ways[start:start + len(files)]
        for file, entry, text in zip(files, kept, some):
            open(file, 'w').write(text.replace(json.dumps(one['shape']), json.dumps(entry['shape'])))
        anew = tune('a')
        assert anew['measured'] >= len(some), '%d damaged entries, measured anew: %s' % (len(some), anew)
        damaged += len(some)
        for file, before in zip(files, kept):
            assert set(json.load(open(file))) == set(before), 'a damaged entry was not rewritten'
    assert damaged == len(ways)


def test_no_tune():
    blanch('b', *BENCH, '--no-tune')
    assert not entries('b'), '--no-tune measured'
    blanch('b', *BENCH, BLANCH_TUNE='0')
    assert not entries('b'), 'BLANCH_TUNE=0 measured'


def kernels_with(name, old, new):
    folder = os.path.join(HOME, name)
    shutil.copytree(KERNELS, folder)
    path = os.path.join(folder, 'conv', 'winograd.h')
    text = open(path).read()
    assert text.count(old) == 1, '%r stands %d times in winograd.h' % (old, text.count(old))
    open(path, 'w').write(text.replace(old, new))
    return folder


def results_of(cache, engine, passes='convolution'):
    """What the entries of these passes say of it, and whether one chose it."""
    read = [e for e in (json.load(open(path)) for path in entries(cache)) if e['shape'].startswith(passes)]
    return {t['result'] for e in read for t in e['tried'] if t['name'] == engine}, any(e['choice'] == engine
                                                                                       for e in read)


def test_wrong_candidate():
    damaged = kernels_with('damaged', 'y[0] = m[0] + even_p + even_q;', 'y[0] = m[0] + even_p - even_q;')
    out, said = blanch('wrong', 'tune', *SHAPES, '--json', BLANCH_KERNELS=damaged)
    done, (results, chosen) = json.loads(out), results_of('wrong', 'winograd4',
                                                          ('convolution forward', 'convolution backward_data'))
    assert done['wrong'] > 0 and not done['failed'] and not done['left'], out
    assert 'wrong' in results and 'right' not in results and not chosen, (results, chosen)
    assert said.count('winograd4 is not taken') == 1 and 'its result is wrong' in said, said
    assert 'winograd4 wrong' in blanch('wrong', 'tune', '--show', BLANCH_KERNELS=damaged)[0]


def test_candidate_that_does_not_build():
    broken = kernels_with('broken', '#define E (M + 2)', '#define E (M + 2)\nint int;')
    out, said = blanch('failed', 'tune', *SHAPES, '--json', BLANCH_KERNELS=broken)
    done = json.loads(out)
    assert done['failed'] > 1 and not done['wrong'] and not done['left'], out
    assert done['measured'] == len(entries('failed')), out
    for engine in 'winograd', 'winograd4':
        results, chosen = results_of('failed', engine)
        assert results == {'failed'} and not chosen, '%s, broken, was %s, chosen: %s' % (engine, results, chosen)
        assert said.count(engine + ' is not taken') == 1, said
    assert results_of('failed', 'direct')[1], 'nothing else was chosen'


def test_two_at_once():
    both = [start('two', *SHAPES) for _ in range(2)]
    assert [run.wait(300) for run in both] == [0, 0]
    for path in entries('two'):
        json.load(open(path))
    files = os.listdir(os.path.join(HOME, 'two', 'blanch', 'tune'))
    assert len(files) == len(entries('two')), 'left over: %s' % files
    again = tune('two')
    assert again['measured'] == 0 and 0 < again['known'] <= len(files), '%d files: %s' % (len(files), again)


def test_what_does_not_fit_is_not_measured():
    said = blanch('big', 'train', '--model', 'vgg16', '--norm', 'bn', '--data', 'synthetic:3x32x32:10', '--batch',
                  '128', '--steps', '1',
                  '--max-alloc', '64M', '--out', os.path.join(HOME, 'refused'), status=2)[1]
    assert 'measuring' not in said and not entries('big'), said
    assert 'fits' in said, said


def path_of_search():
    found = [path for path in entries('a') if json.load(open(path))['shape'].startswith('clblast')]
    assert len(found) == 1, str(found)
    return found[0]


def search(**more):
    """The entry of the search, after it was given other values."""
    entry = json.load(open(path_of_search()))
    if more:
        entry.update(more)
        json.dump(entry, open(path_of_search(), 'w'))
    return entry


def search_on(sets):
    return json.loads(blanch('a', 'tune', '--clblast', '--sets', str(sets), *UNBOUNDED, '--json')[0])


def test_clblast_search_that_finds_nothing():
    out, said = blanch('a', 'tune', '--clblast', '--sets', '1', '--json', '--candidate-seconds', '1e-6',
                       '--build-seconds', '10000')
    done = json.loads(out)
    assert done['measured'] == 1 and not done['left'], out
    assert search()['choice'] == 'none' and search()['sets'] == 1, str(search())
    assert [line for line in said.splitlines() if line.startswith('CLBlast: none of the 1 sets')], said


def test_candidate_that_is_slow_to_build():
    out, said = blanch('unbuilt', 'tune', '--clblast', '--sets', '1', '--json', '--candidate-seconds', '10000',
                       '--build-seconds', '1e-6')
    assert json.loads(out)['measured'] == 1 and not json.loads(out)['failed'], out
    assert said.count('clblast is not taken') == 1 and 'building its kernels takes more than' in said, said


def test_clblast_search_goes_on():
    """After the shipped set, which the case above has tried, comes the second. Its kernels are built once."""
    run = subprocess.Popen([BLANCH, 'tune', '--clblast', '--sets', '1000', *UNBOUNDED], stdout=subprocess.DEVNULL,
                           stderr=subprocess.PIPE, env=environment('a'))
    assert b'measuring' in run.stderr.readline()
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=600)
    assert run.returncode == 130, 'exit status %d' % run.returncode
    kept = search()['sets']
    assert kept >= 1, str(search())
    other = ('GEMMK=0,KREG=1,KWG=16,KWI=1,MDIMA=1,MDIMC=1,MWG=8,NDIMB=8,NDIMC=8,NWG=64,SA=0,SB=0,STRM=0,STRN=0,VWM=8,'
             'VWN=1')
    search(choice=other, ms=1e9)
    done = search_on(kept)
    assert done['known'] == kept and not done['measured'] and not done['left'], str(done)
    done, found = search_on(kept + 1), search()
    assert done['known'] == kept and done['measured'] == 1 and not done['left'], str(done)
    assert found['sets'] == kept + 1, str(found)
    assert (found['choice'] != other) == (found['ms'] < 1e9), str(found)
    search(choice=other, ms=1e-6, sets=kept)
    search_on(kept + 1)
    assert search()['choice'] == other and search()['ms'] == 1e-6, 'a slower set was kept: %s' % search()


def test_run_uses_what_the_search_found():
    run = os.path.join(HOME, 'run')
    blanch('a', 'train', *SHAPES, '--data', 'synthetic:1x28x28:10', '--steps', '1', '--out', run)
    used = json.load(open(os.path.join(run, 'config.json')))['engines']
    assert used['clblast Xgemm f32'] == search()['choice'], str(used)


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
