#!/usr/bin/env python3
"""The Windows program: tests/windows.py RUN BLANCH [TEST...]. RUN runs a Windows program here (packaging/mingw/wine).
OpenCL.dll is missing, as on a machine without a driver, but where wine's leads to a device of this system. Prints
TAP."""
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile

import tap
from tap import check

RUN, BLANCH = [os.path.abspath(p) for p in sys.argv[1:3]]
HOME = tempfile.mkdtemp(prefix='blanch-windows-')
FOLDER = os.path.join(HOME, 'Übung läuft')      # as Windows has it: \tmp\...\Übung läuft
os.mkdir(FOLDER)
ENV = {**os.environ, 'XDG_CACHE_HOME': os.path.join(HOME, 'cache')}


def blanch(*args, status=0, says='', driver=False):
    """What it prints; status and the one line of an error are as they should be."""
    more = {'BLANCH_TUNE': '0', 'XDG_CACHE_HOME': 'NUL'} if driver else {'WINEDLLOVERRIDES': 'opencl='}
    done = subprocess.run([RUN, BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, cwd=FOLDER,
                          env={**ENV, **more})
    out, err = done.stdout.decode(), done.stderr.decode()
    check(done.returncode == status, '%s: exit status %d: %s' % (' '.join(args), done.returncode, err[-300:]))
    check('\r' not in out + err, '%s prints carriage returns' % ' '.join(args))
    check(says in out + err, "%s does not say '%s': %s" % (' '.join(args), says, (out + err)[-300:]))
    check(err.count('blanch: ') == (status > 1), '%s: not one line of an error: %s' % (' '.join(args), err))
    return out


def backslashes(path):
    return 'Z:' + path.replace('/', '\\')


def test_words():
    blanch('--version', says='blanch ')
    blanch('--help', says='doctor')
    blanch('train', '--help', says='--data')
    blanch('trian', status=2, says="did you mean 'train'")
    blanch('models', 'ü', status=2, says="unknown model 'ü'")


def test_no_driver():
    blanch('devices', status=3, says='no OpenCL platform is installed')
    found = json.loads(blanch('doctor', '--json', status=3, says='no OpenCL platform is installed'))
    check(found['devices'] == [] and len(found['findings']) == 1, found['findings'])
    host = found['host']
    check('Windows' in host['os'] and host['cores'] > 0 and host['memory'] > 1e8, host)
    check('cache' in found['caches'], found['caches'])


def weights():
    """Small whole numbers, under the names of smallcnn's state dict."""
    model = json.loads(blanch('models', 'smallcnn', '--norm', 'bn', '--json'))
    header, data = {}, b''
    for name, shape in model['parameters'] + model['buffers']:
        count = 1
        for size in shape:
            count *= size
        whole = name.endswith('tracked')
        part = struct.pack('<%d%s' % (count, 'q' if whole else 'f'), *(1 + i % 5 for i in range(count)))
        header[name] = {'dtype': 'I64' if whole else 'F32', 'shape': shape,
                        'data_offsets': [len(data), len(data) + len(part)]}
        data += part
    text = json.dumps(header).encode()
    return struct.pack('<Q', len(text)) + text + data


def test_export():
    with open(os.path.join(FOLDER, 'gewichte ü.safetensors'), 'wb') as f:
        f.write(weights())
    options = ['--model', 'smallcnn', '--norm', 'bn', '--weights', backslashes(FOLDER) + '\\gewichte ü.safetensors']
    for to in ('folded.safetensors', backslashes(FOLDER) + '\\größer.safetensors', 'folded.safetensors'):
        blanch('export', *options, '--safetensors', to)
    with open(os.path.join(FOLDER, 'folded.safetensors'), 'rb') as one, open(
            os.path.join(FOLDER, 'größer.safetensors'), 'rb') as other:
        folded = one.read()
        check(folded == other.read() and b'conv1.bias' in folded, 'not folded, or twice in two ways')
    check(sorted(os.listdir(FOLDER))[:1] == ['folded.safetensors'] and not any(
        n.endswith('.tmp') for n in os.listdir(FOLDER)), os.listdir(FOLDER))
    blanch('export', *options, '--safetensors', 'no\\such\\folder.safetensors', status=2, says='No such file')
    blanch('export', *options[:-1], 'missing.safetensors', '--safetensors', 'x', status=2, says='missing.safetensors')


def test_report():
    run = os.path.join(FOLDER, 'run')
    os.mkdir(run)
    with open(os.path.join(run, 'config.json'), 'w', newline='\r\n') as f:
        json.dump({'format': 2, 'kind': 'run', 'model': 'smallcnn', 'norm': 'bn', 'batch': 8}, f, indent=1)
    with open(os.path.join(run, 'log.jsonl'), 'w', newline='\r\n') as f:
        for step in (1, 2, 3):
            f.write('{"type": "step", "step": %d, "epoch": 1, "loss": 2, "lr": 0.1, "images_per_s": 80}\n' % step)
        f.write('{"type": "epoch", "epoch": 1, "train_loss": 2, "train_top1": 30, "test_loss": 1, "test_top1": 40}\n')
    blanch('report', backslashes(run), '--out', backslashes(FOLDER) + '\\seite.html', says='seite.html')
    with open(os.path.join(FOLDER, 'seite.html'), 'rb') as f:
        page = f.read()
    check(b'smallcnn' in page and b'40' in page and b'\r' not in page, 'the page lacks the run')
    blanch('report', backslashes(FOLDER) + '\\nirgends', status=2, says='nirgends')


def test_train():
    """Checkpoints take the former ones' place; what is resumed from one ends in the bits of a run in one."""
    try:
        blanch('devices', driver=True)
    except AssertionError as error:
        if 'no OpenCL' in str(error):
            raise tap.Skip('wine reaches no device')
        raise
    options = ['train', '--model', 'smallcnn', '--norm', 'bn', '--data', 'synthetic:1x28x28:10', '--batch', '64',
               '--schedule', 'constant']
    for out, *more in (['in eins', '6'], ['in zwei', '3'], ['in zwei', '6', '--resume']):
        blanch(*options, '--steps', *more, '--out', backslashes(FOLDER) + '\\läufe\\' + out, driver=True, says='done')
    one, two = [os.path.join(FOLDER, 'läufe', out) for out in ('in eins', 'in zwei')]
    check(sorted(os.listdir(one)) == sorted(os.listdir(two)), (os.listdir(one), os.listdir(two)))
    with open(os.path.join(one, 'last.safetensors'), 'rb') as f, open(os.path.join(two, 'last.safetensors'), 'rb') as g:
        check(f.read() == g.read(), 'other bits')
    blanch(*options, '--steps', '3', '--out', backslashes(one), driver=True, status=2, says='--resume')
    left = os.path.join(one, 'last.safetensors.0123456789abcdef.tmp')
    open(left, 'w').close()
    blanch(*options, '--steps', '7', '--resume', '--out', backslashes(one), driver=True, says='done')
    check(not os.path.exists(left), 'what a crash left stays')


if __name__ == '__main__':
    try:
        sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
    finally:
        shutil.rmtree(HOME)
