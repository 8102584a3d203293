#!/usr/bin/env python3
"""`blanch study` end to end, on cells shortened by --steps: tests/study.py BLANCH. Prints TAP."""
import csv
import fcntl
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
TABLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference', 'study')
HOME = tempfile.mkdtemp(prefix='blanch-study-')
OUT = os.path.join(HOME, 'study')
DATA = ['--data', 'synthetic:3x32x32:10', '--dataset', 'cifar10', '--out', OUT]
CHEAP = [*DATA, '--networks', 'resnet18d', '--norms', 'bn', '--steps', '2']
CELL = os.path.join(OUT, 'cifar10-resnet18d-bn-1-s2-a1')


def study(*args, status=0, env=None):
    done = subprocess.run([BLANCH, 'study', *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300,
                          env=env)
    assert done.returncode == status, 'exit status %d: %s' % (done.returncode, done.stderr.decode()[-300:])
    return done.stdout.decode(), done.stderr.decode()


def lines(cell, kind):
    with open(cell + '/log.jsonl') as f:
        return [line for line in map(json.loads, f) if line['type'] == kind]


def made_cell(name, data='cifar10:/data', device='a device', epochs=1, **values):
    """A finished cell with chosen results."""
    cell = os.path.join(HOME, 'made', name)
    os.makedirs(cell)
    with open(cell + '/config.json', 'w') as f:
        json.dump({'data': data, 'device_info': {'name': device}}, f)
    with open(cell + '/log.jsonl', 'w') as f:
        for epoch in range(1, epochs + 1):
            f.write(json.dumps(dict({'type': 'epoch', 'epoch': epoch, 'test_s': 1}, **values)) + '\n')


def test_runs_and_resumes_nothing_finished():
    out, err = study(*CHEAP)
    assert 'cell 1 of 1: cifar10-resnet18d-bn-1-s2-a1' in err, err
    assert 'shortened by --steps' in out and 'data: synthetic:3x32x32:10' in out, out
    before, left = os.stat(CELL + '/log.jsonl'), CELL + '/last.state.safetensors.0123456789abcdef.tmp'
    open(left, 'w').close()     # as a kill while the last state was written leaves it
    out, err = study(*DATA, '--networks', 'resnet18d', '--norms', 'bn', '--steps', '2', '--attempts', '2')
    assert not os.path.exists(left), left
    assert '1 of 2 cells are finished already' in err and 'cell 1 of 1: cifar10-resnet18d-bn-1-s2-a2' in err, err
    after = os.stat(CELL + '/log.jsonl')
    assert (before.st_mtime_ns, before.st_size) == (after.st_mtime_ns, after.st_size), 'a finished cell was run again'
    with open(CELL + '/config.json') as one, open(CELL[:-1] + '2/config.json') as two:
        one, two = json.load(one), json.load(two)
    assert (one['seed'], two['seed']) == (0, 1), (one['seed'], two['seed'])
    assert (one['batch'], one['lr'], one['weight_decay'], one['momentum'], one['schedule']) == (128, 0.1, 0.001, 0.9,
                                                                                                'cosine'), one


def test_measures_engines_as_train_does():
    env = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE=None)
    out = os.path.join(HOME, 'tuned')
    cheap = ['--data', 'synthetic:3x32x32:10', '--dataset', 'cifar10', '--networks', 'resnet18d', '--norms', 'bn',
             '--steps', '1']
    said = study(*cheap, '--out', out, env=env)[1]
    assert 'measuring engines' in said, said
    with open(os.path.join(out, 'cifar10-resnet18d-bn-1-s1-a1', 'config.json')) as f:
        assert json.load(f)['engines']
    said = study(*cheap, '--out', out, '--attempts', '2', '--no-tune', env=env)[1]
    with open(os.path.join(out, 'cifar10-resnet18d-bn-1-s1-a2', 'config.json')) as f:
        assert 'engines' not in json.load(f), said


def test_goes_on_after_an_interruption():
    command = [BLANCH, 'study', *DATA, '--networks', 'resnet18d', '--norms', 'bn', '--steps', '12']
    cell = os.path.join(OUT, 'cifar10-resnet18d-bn-1-s12-a1')
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    for _ in range(600):
        if os.path.exists(cell + '/log.jsonl') and os.path.getsize(cell + '/log.jsonl'):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    err = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 130, '%d: %s' % (process.returncode, err[-300:])
    made = len(lines(cell, 'step'))
    assert 1 <= made < 12, made
    shown = json.loads(study('--show', '--out', OUT, '--json')[0])
    assert [c['state'] for c in shown['cells'] if c.get('steps') == 12] == ['started'], shown['cells']
    out, err = study(*command[2:])
    assert 'continued' in err, err
    assert [line['step'] for line in lines(cell, 'step')] == list(range(1, 13)), 'steps were lost or repeated'


def test_starts_again_without_a_checkpoint():
    cell = os.path.join(OUT, 'cifar10-resnet18d-bn-1-s1-a1')
    os.makedirs(cell)
    with open(cell + '/log.jsonl', 'w') as f:
        f.write('{"type":"step","step":1,"epo')
    study(*DATA, '--networks', 'resnet18d', '--norms', 'bn', '--steps', '1')
    assert [line['step'] for line in lines(cell, 'step')] == [1]


def test_refusals():
    for words, args in ((["'vgg61'", 'vgg16'], [*DATA, '--networks', 'vgg61']),
                        (["'none'"], [*DATA, '--norms', 'none']),
                        (["'mnist'"], ['--data', 'synthetic:3x32x32:10', '--dataset', 'mnist', '--out', OUT]),
                        (['--dataset'], ['--data', 'synthetic:3x32x32:10', '--out', OUT]),
                        (['--epochs'], [*DATA, '--epochs', '1,x']),
                        (['twice'], [*DATA, '--networks', 'vgg16,vgg16']),
                        (['--epochs names 1 twice'], [*DATA, '--epochs', '1,2,01']),
                        (['--out'], ['--show']),
                        (['--data'], ['--out', OUT]),
                        (['trained on synthetic:3x32x32:10'], ['--data', 'folder:/nowhere', *CHEAP[2:]])):
        err = study(*args, status=2)[1]
        assert err.count('\n') == 1 and all(word in err for word in words), (words, err)


def test_one_at_a_time():
    lock = os.open(OUT, os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    err = study(*CHEAP, status=2)[1]
    os.close(lock)
    assert 'another `blanch study`' in err, err
    study(*CHEAP)


def test_table():
    made_cell('cifar10-vgg16-bn-1-a1', test_top1=14.0, train_top1=12.0, train_s=100)
    made_cell('cifar10-vgg16-nd-1-a1', test_top1=60.0, train_top1=50.0, train_s=150)
    made_cell('cifar10-vgg16-nd-1-a2', test_top1=62.0, train_top1=52.0, train_s=170)
    made_cell('cifar10-preact18-bn-1-a1', test_top1=40.0, train_top1=41.0, train_s=100)
    made_cell('cifar10-preact18-nd-1-a1', test_top1=40.0, train_top1=41.0, train_s=100, device='another')
    made_cell('cifar10-senet18-bn-20-a1', test_top1=90.0, train_top1=91.0, train_s=10, epochs=3)
    made = os.path.join(HOME, 'made')
    text = json.loads(study('--show', '--out', made, '--json')[0])
    rows = {(r['network'], r['norm']): r for r in text['rows']}
    nd = rows['vgg16', 'nd']
    assert (nd['runs'], nd['test_top1'], nd['train_top1'], nd['train_s'], nd['overhead_pct']) == (2, 61, 51, 160,
                                                                                                  60), nd
    assert (nd['original_mark'], nd['reproduced_mark']) == ('worse', 'worse'), nd
    assert rows['vgg16', 'bn']['original_mark'] == 'within', rows['vgg16', 'bn']
    preact = rows['preact18', 'bn']
    assert (preact['original_mark'], preact['reproduced_mark']) == ('worse', 'better'), preact
    assert rows['preact18', 'nd']['overhead_pct'] is None, 'times of two devices were compared'
    assert rows['senet18', 'bn']['runs'] == 0 and rows['senet18', 'bn']['test_top1'] is None, rows['senet18', 'bn']
    assert next(c for c in text['cells'] if c['network'] == 'senet18')['epochs_done'] == 3
    out = study('--show', '--out', made)[0]
    assert 'not finished: 3 of 20 epochs' in out and '60.00 to 62.00' in out and 'device: another' in out, out


def test_published_values():
    made = os.path.join(HOME, 'made')
    with open(TABLES + '/table1.csv') as f:
        published = list(csv.DictReader(f))
    for row in published:
        name = '%s-%s-%s-%s-a1' % (row['dataset'], row['architecture'], row['norm'], row['epochs'])
        if not os.path.exists(os.path.join(made, name)):
            os.makedirs(os.path.join(made, name))
    rows = {(r['dataset'], r['network'], r['norm'], r['epochs']): r for r in json.loads(study('--show', '--out', made,
                                                                                              '--json')[0])['rows']}
    assert len(rows) == len(published) == 120, len(rows)
    for row in published:
        ours = rows[row['dataset'], row['architecture'], row['norm'], int(row['epochs'])]
        for key, column in (('original_top1', 'original_accuracy_pct'), ('reproduced_top1', 'reproduced_accuracy_pct'),
                            ('reproduced_train_s', 'reproduced_train_seconds_v100')):
            assert abs(ours[key] - float(row[column])) <= 1e-5 * float(row[column]), (row, ours)


def test_divergence_is_kept():
    cell = os.path.join(OUT, 'cifar10-resnet18d-bn-2-s1-a1')
    os.makedirs(cell)
    with open(cell + '/diverged.json', 'w') as f:
        json.dump({'message': 'the loss is not finite at step 7'}, f)
    out, err = study(*DATA, '--networks', 'resnet18d', '--norms', 'bn', '--epochs', '2', '--steps', '1')
    assert '1 of 1 cells are finished already' in err, err
    assert 'diverged' in out and 'not finite at step 7' in out, out


def poison(path):
    """Every float32 of a safetensors file becomes 3e38."""
    with open(path, 'r+b') as f:
        size = int.from_bytes(f.read(8), 'little')
        header = json.loads(f.read(size))
        for name, tensor in header.items():
            if name != '__metadata__' and tensor['dtype'] == 'F32':
                begin, end = tensor['data_offsets']
                f.seek(8 + size + begin)
                f.write(b'\x7f' * (end - begin))


def test_the_rest_go_on_after_a_divergence():
    cell = os.path.join(OUT, 'cifar10-resnet18d-bn-1-s3-a1')
    shutil.copytree(CELL, cell)
    with open(cell + '/config.json') as f:
        config = dict(json.load(f), steps=3)
    with open(cell + '/config.json', 'w') as f:
        json.dump(config, f)
    poison(cell + '/last.safetensors')
    command = [*DATA, '--networks', 'resnet18d', '--norms', 'bn', '--steps', '3', '--attempts', '2']
    out, err = study(*command, status=1)
    with open(cell + '/diverged.json') as f:
        assert 'not finite at step 3' in json.load(f)['message']
    assert len(lines(cell[:-1] + '2', 'epoch')) == 1, 'the next cell was not run'
    assert '1 diverged' in out and 'cell 2 of 2' in err, (out, err)
    assert '2 of 2 cells are finished already' in study(*command)[1]


tap.need_device(BLANCH)
try:
    status = tap.run(tap.functions(globals()))
finally:
    shutil.rmtree(HOME, ignore_errors=True)
sys.exit(status)
