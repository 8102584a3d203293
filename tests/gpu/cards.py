#!/usr/bin/env python3
"""card.py where there is no card: cards.py BLANCH RECORDER [TEST...]. On the default device with a tiny network, on a
described device that computes nothing, and with programs that fail. Prints TAP. RECORDER is the recording device; empty
where it could not be built."""
import glob
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import bundle
import caches
import card
import record
import tap
from tap import check

BLANCH, RECORDER = os.path.abspath(sys.argv[1]), sys.argv[2]
HERE = os.path.dirname(os.path.abspath(__file__))
REFERENCE = os.path.join(os.path.dirname(HERE), 'reference')
HOME = tempfile.TemporaryDirectory(prefix='blanch-cards-')
SMALL = ['--blanch', BLANCH, '--networks', 'smallcnn', '--batch', '4', '--steps', '1', '--python', 'none', '--jobs',
         '2']
# Ends one case as a driver that fails does, hangs in `tune`, and leaves something behind that hears no interruption.
BROKEN = '''#!/bin/sh
case "$1 $*" in
check*elu.safetensors*relu6.safetensors*)
    echo "elu                                  passed  largest error 0 of its bound (out.y)"
    kill -9 $$ ;;
doctor*) echo "the device is lost" >&2; exit 3 ;;
tune*) trap "" INT; echo $$ >>"$0.hanging"; while :; do sleep 0.2; done ;;
esac
exec %s "$@"
'''
# A step of each in one process, which imports PyTorch once.
ON_META = '''
import sys
sys.path.insert(0, sys.argv[1])
import argparse, peers
for network in 'resnet18d-nd', 'cct-2-bn', 'vae-bn', 'ddpm-unet-bn':
    print(network)
    o = argparse.Namespace(network=network, mode='plain', batch=2, steps=1, peer_device='meta', autocast=None)
    peers.set_up(o)
    peers.step(o)
'''


def default_device():
    done = subprocess.run([BLANCH, 'devices', '--json'], stdout=subprocess.PIPE, text=True)
    return next(device['device'] for device in json.loads(done.stdout)['devices'] if device['default'])


def cases(*names):
    folder = tempfile.mkdtemp(dir=HOME.name)
    for name in names:
        shutil.copy(os.path.join(REFERENCE, 'conformance', name + '.safetensors'), folder)
    return folder


def run(out, *words, env=os.environ):
    """Exit status and what was said; the caches are a test's own, what PoCL compiles is everyone's."""
    done = subprocess.run([sys.executable, os.path.join(HERE, 'card.py'), out, *words, *SMALL], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=dict(env, POCL_CACHE_DIR=caches.POCL))
    return done.returncode, done.stderr


def states(out):
    with open(os.path.join(out, 'state.json')) as f:
        return {name: (part['state'], part['what']) for name, part in json.load(f)['parts'].items()}


def summary(out):
    with open(os.path.join(out, 'summary.md')) as f:
        return f.read()


def test_parts_and_what_comes_home():
    out = os.path.join(HOME.name, 'whole')
    words = ['--device', default_device(), '--precisions', 'fp32', '--norms', 'nd', '--cases', cases('relu', 'linear'),
             '--parts', 'facts,conformance,smallcnn-nd-fp32']
    status, said = run(out, *words)
    check(status == 0 and 'all is there' in said, said)
    done = states(out)
    check([state for state, _ in done.values()] == ['done'] * 3 and done['conformance'][1] == '2 cases passed', done)
    text = summary(out)
    check('| smallcnn-nd | fp32 | 4 |' in text and 'the times are Blanch\'s alone' in text, text)
    with tarfile.open(out + '.tar.gz') as tar:
        names = set(tar.getnames())
    check({'whole/summary.md', 'whole/traces/smallcnn-nd-fp32.json', 'whole/benchmark/smallcnn-nd-fp32.json',
           'whole/logs/facts.txt', 'whole/cache/blanch'} <= names, names)
    check(not any('/cache/blanch/programs' in name for name in names), 'compiled programs stay')
    before = os.stat(os.path.join(out, 'benchmark', 'smallcnn-nd-fp32.json')).st_mtime_ns
    status, said = run(out, *words)
    check(status == 0 and 'at most' not in said, 'a second call has nothing to do: ' + said)
    check(os.stat(os.path.join(out, 'benchmark', 'smallcnn-nd-fp32.json')).st_mtime_ns == before, 'it measures again')
    status, said = run(out, '--device', 'no such device')
    check(status == 2 and 'no device no such device' in said, said)
    empty = os.path.join(HOME.name, 'empty')
    status, said = run(empty, '--device', 'no such device')
    check(status == 2 and states(empty)['facts'][0] == 'done' and os.path.exists(empty + '.tar.gz'), 'what may say why')


def is_there(process):
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def broken(out, *words):
    """card.py with little time for tune, in this process."""
    given = card.options([out, *SMALL, '--device', default_device(), '--precisions', 'fp32', '--norms', 'bn', *words])
    return card.measure(given)


def test_what_fails_is_named_and_the_rest_goes_on():
    program, out = os.path.join(HOME.name, 'broken'), os.path.join(HOME.name, 'lost')
    with open(program, 'w') as f:
        f.write(BROKEN % BLANCH)
    os.chmod(program, 0o755)
    words = ['--cases', cases('elu', 'relu', 'relu6'), '--parts', 'doctor,conformance,tune-smallcnn,smallcnn-bn-fp32']
    shares, grace = dict(card.SHARES), card.GRACE
    os.environ['POCL_CACHE_DIR'] = caches.POCL
    try:
        card.SHARES['tune'], card.GRACE = 1, 0.5
        check(broken(out, *words, '--blanch', program) == 1)
        check(broken(out, *words, '--blanch', program) == 1)
    finally:
        card.SHARES, card.GRACE = shares, grace
    done = states(out)
    check(done['doctor'] == ('failed', 'status 3: the device is lost'), done)
    check(done['conformance'] == ('failed', '1 of 3 cases: relu'), 'the next one is tried: %s' % done)
    check(done['tune-smallcnn'] == ('cut off', '2 s were not enough'), 'the second time is twice the first: %s' % done)
    check(done['smallcnn-bn-fp32'][0] == 'done', done)
    text = summary(out)
    check('- relu: status -9' in text and '2 passed, 1 failed' in text and '| tune-smallcnn | cut off |' in text, text)
    with open(program + '.hanging') as f:
        hanging = f.read().split()
    check(len(hanging) == 2 and not any(is_there(int(process)) for process in hanging), 'nothing is left behind')


def test_no_time():
    out = os.path.join(HOME.name, 'none')
    status, said = run(out, '--device', default_device(), '--minutes', '0.2', '--parts', 'smallcnn-bn-fp32')
    check(status == 1 and 'smallcnn-bn-fp32 (not begun)' in said, said)
    check('| smallcnn-bn-fp32 | not begun |' in summary(out), summary(out))


def test_described_device():
    """Nothing is computed there, and that is seen."""
    if not RECORDER:
        raise tap.Skip('the recording device could not be built here')
    out, folder = os.path.join(HOME.name, 'described'), os.path.join(HOME.name, 'recorded')
    env = record.environment('nvidia-h100', folder, RECORDER)
    words = ['--cases', cases('relu'), '--norms', 'nd', '--precisions', 'fp16',
             '--parts', 'conformance,smallcnn-nd-fp16']
    status, said = run(out, *words, env=env)
    done = states(out)
    check(status == 1 and done['conformance'][0] == 'failed' and done['smallcnn-nd-fp16'][0] == 'done', (said, done))
    check('# NVIDIA H100' in summary(out) and '- relu: largest error' in summary(out), summary(out))
    status, said = run(out, *words, '--device', 'gpu', env=record.environment('amd-7900xtx', folder, RECORDER))
    check(status == 2 and 'take another folder' in said, 'a folder is of one device: ' + said)
    check('# NVIDIA H100' in summary(out), 'what was there is whole')


def test_drivers_that_the_loader_does_not_find():
    places, vendors, before = card.PLACES, card.VENDORS, os.environ.pop('OCL_ICD_VENDORS', None)
    folder = os.path.join(HOME.name, 'nvidia', 'lib64')
    os.makedirs(folder)
    os.makedirs(os.path.join(HOME.name, 'vendors'))
    for name in 'libnvidia-opencl.so.580.1', 'libnvidia-opencl.so.1', 'libamdocl64.so', 'libcuda.so.1':
        open(os.path.join(folder, name), 'w').close()
    with open(os.path.join(HOME.name, 'vendors', 'amd.icd'), 'w') as f:
        f.write('libamdocl64.so')
    try:
        card.PLACES, card.VENDORS = (os.path.join(HOME.name, 'nvidia', 'lib*'),), os.path.join(HOME.name, 'vendors')
        found = card.Card(card.options([os.path.join(HOME.name, 'drivers')]))
        card.find_drivers(found)
    finally:
        card.PLACES, card.VENDORS = places, vendors
        if before is not None:
            os.environ['OCL_ICD_VENDORS'] = before
    check(sorted(os.listdir(found.env['OCL_ICD_VENDORS'])) == ['amd.icd', 'libnvidia-opencl.icd'], 'what was known too')
    with open(found.env['OCL_ICD_VENDORS'] + '/libnvidia-opencl.icd') as f:
        check(f.read() == os.path.join(folder, 'libnvidia-opencl.so.1') + '\n', 'the driver')
    check(folder in found.env['LD_LIBRARY_PATH'].split(':'), found.env['LD_LIBRARY_PATH'])


def test_bundle():
    if not shutil.which('ldd'):
        raise tap.Skip('there is no ldd')
    folder = os.path.join(HOME.name, 'bundle')
    bundle.bundle(folder, BLANCH, 'blanch')
    libraries = [os.path.basename(path) for path in glob.glob(folder + '/lib/*')]
    check(any(name.startswith('libOpenCL.so') for name in libraries), libraries)
    check(not any(name.startswith(('libc.so', 'libm.so', 'libstdc++')) for name in libraries), libraries)
    done = subprocess.run([folder + '/blanch', '--version'], stdout=subprocess.PIPE, text=True)
    check(done.returncode == 0 and done.stdout == subprocess.run([BLANCH, '--version'], stdout=subprocess.PIPE,
                                                                 text=True).stdout, done)


def test_networks_of_pytorch_on_another_device():
    """PyTorch's device `meta` refuses a tensor that was made on the CPU, as a card does."""
    if subprocess.run([sys.executable, '-c', 'import torch, numpy'], stderr=subprocess.DEVNULL).returncode:
        raise tap.Skip('no PyTorch for ' + sys.executable)
    done = subprocess.run([sys.executable, '-c', ON_META, REFERENCE], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True)
    check(done.returncode == 0, done.stdout[-2000:])


tap.need_device(BLANCH)
sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
