#!/usr/bin/env python3
"""card.py where there is no card: cards.py BLANCH RECORDER [TEST...]. On the default device with a tiny network, on a
described device that computes nothing, and with programs that fail. Prints TAP. RECORDER is the recording device; empty
where it could not be built."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import bundle
import caches
import card
import figures
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
# In place of Blanch, on a card in FAKE.json: `check` passes the first cases and hangs in others, once; c1 fails once.
FAKE = '''#!/bin/sh
case "$1" in
--version) echo 1 ;;
devices) cat "$0.json" ;;
check)
    echo $$ >>"$0.processes"
    case "$*" in *c0.*) ;; *) test -e "$0.goes-on" || sleep 60 ;; esac
    for word; do
        name=$(basename "$word" .safetensors)
        case $name in
        c1) test -e "$0.goes-on" && echo "c1 passed it" || echo "c1 failed it" ;;
        c*[0-9]) echo "$name passed it" ;;
        esac
    done ;;
bench) cat "$0.bench" ;;
suite) echo "interrupted; 1 of 2 rows" >&2; exit 130 ;;
esac
'''
DEVICE = {'name': 'NVIDIA Fake', 'kind': 'GPU', 'platform': 'p', 'driver': '1', 'version': '1', 'global_memory': 1,
          'device': '0:0'}
BENCH = {'step_ms': 2, 'batch': 4, 'startup_ms': 1, 'planned_bytes': 1, 'device_bytes': 1, 'host_bytes': 1,
         'device': {'name': 'NVIDIA Fake'}, 'layers': [], 'engines': {}}
# An interpreter whose PyTorch has a card, and times as TORCH.answer says.
TORCH = '''#!/bin/sh
case "$*" in
*get_device_properties*) echo '["2.9", {"cuda": ["NVIDIA Fake", ""]}]' ;;
*peers.py*) cat "$0.answer" ;;
esac
'''
NO_MEMORY = {'peer': 'PyTorch 2.9', 'failed': 'no memory'}
A_TIME = {'peer': 'PyTorch 2.9', 'mode': 'plain', 'device': 'NVIDIA Fake', 'autocast': None, 'step_ms': 1,
          'peak_device_mb': 1}
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
        done, text = states(out), summary(out)
        check(broken(out, *words, '--blanch', program) == 1)
    finally:
        card.SHARES, card.GRACE = shares, grace
    check(done['conformance'] == ('failed', '1 of 3 cases: relu'), 'the next one is tried: %s' % done)
    check('- relu: status -9' in text and '2 passed, 1 failed' in text, text)
    done, text = states(out), summary(out)
    check(done['doctor'] == ('failed', 'status 3: the device is lost'), done)
    check(done['conformance'] == ('done', '3 cases passed'), 'by itself it is computed: %s' % done)
    check(done['tune-smallcnn'] == ('cut off', '2 s were not enough'), 'the second time is twice the first: %s' % done)
    check(done['smallcnn-bn-fp32'][0] == 'done', done)
    check('3 passed, 0 failed' in text and '| tune-smallcnn | cut off |' in text, text)
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


def script(name, text, **documents):
    """A program, and the JSON beside it."""
    path = os.path.join(tempfile.mkdtemp(dir=HOME.name), name)
    with open(path, 'w') as f:
        f.write(text)
    os.chmod(path, 0o755)
    for end, document in documents.items():
        figures.write_json('%s.%s' % (path, end), document)
    return path


def fake(commit='a', **other):
    listed = {'blanch': {'version': '1', 'commit': commit}, 'host': {}, 'devices': [dict(DEVICE, **other)]}
    return script('fake', FAKE, json=listed, bench=BENCH)


def measure(out, blanch, *words):
    return card.measure(card.options([out, '--blanch', blanch, *words]))


def refused(out, *words):
    try:
        measure(out, *words)
    except card.Failed as failed:
        return str(failed)
    return 'it goes on'


def read(*names):
    with open(os.path.join(*names)) as f:
        return json.load(f)


def until(condition, what):
    end = time.time() + 60
    while not condition():
        check(time.time() < end, what)
        time.sleep(0.05)


def test_interrupted():
    """What was measured is kept, no process is left, and the next call goes on, with what failed too."""
    program, out, folder = fake(), os.path.join(HOME.name, 'interrupted'), tempfile.mkdtemp(dir=HOME.name)
    for k in range(20):
        open(os.path.join(folder, 'c%d.safetensors' % k), 'w').close()
    words = ['--cases', folder, '--jobs', '2', '--parts', 'conformance', '--python', 'none']
    child = subprocess.Popen([sys.executable, os.path.join(HERE, 'card.py'), out, '--blanch', program, *words],
                             stderr=subprocess.PIPE, text=True)

    def processes():
        with open(program + '.processes') as f:
            return f.read().split()
    try:
        until(lambda: os.path.exists(program + '.processes') and len(processes()) == 3, 'two hang')
        child.send_signal(signal.SIGTERM)
        said = child.communicate(timeout=40)[1]
    finally:
        child.kill()
    check(child.returncode == 130 and 'Traceback' not in said and 'the same call goes on' in said, said)
    check(len(processes()) == 3 and not any(is_there(int(process)) for process in processes()), 'no process is left')
    verdicts = read(out, 'conformance.json')
    check(len(verdicts) == 4 and verdicts['c1'][0] == 'failed', verdicts)
    check(read(out, 'state.json')['parts']['conformance']['calls'] == 0, 'it did not have its time')
    check(states(out)['conformance'] == ('cut off', 'interrupted') and '3 passed, 1 failed' in summary(out), said)
    check(os.path.exists(out + '.tar.gz'), 'the archive')
    open(program + '.goes-on', 'w').close()
    check(measure(out, program, *words) == 0 and states(out)['conformance'][1] == '20 cases passed', states(out))
    figures.write_json(os.path.join(out, 'conformance.json'), [])
    check(measure(out, program, *words) == 0 and len(read(out, 'conformance.json')) == 20, 'broken, so measured again')
    check(measure(out, program, *words[:4], '--parts', 'suite', '--python', 'none') == 1)
    check(states(out)['suite'] == ('cut off', 'interrupted; 1 of 2 rows'), states(out))


def test_folder_is_of_one_build_and_batch():
    out, words = os.path.join(HOME.name, 'one'), ['--parts', 'product', '--python', 'none', '--batch', '4']
    measure(out, fake(), *words)
    check('Blanch a, this is b: take another' in refused(out, fake('b'), *words), refused(out, fake('b'), *words))
    check('measured with --batch 4: take another' in refused(out, fake(), *words[:4]), refused(out, fake(), *words[:4]))
    check('measured without --rows' in refused(out, fake(), *words, '--rows', 'x'), 'rows')
    check(measure(out, fake(), *words) == 1)


def test_peer_of_each_figure():
    out, torch, program = os.path.join(HOME.name, 'peer'), script('torch', TORCH, answer=NO_MEMORY), fake()
    name, base = 'resnet18-nd-fp32', ['--networks', 'resnet18,smallcnn', '--modes', 'plain']
    words = [*base, '--parts', name]
    check(measure(out, program, *words, '--python', 'none') == 0 and 'Blanch\'s alone' in summary(out), summary(out))
    check(measure(out, program, *words, '--python', torch) == 1)
    check(states(out)[name][0] == 'failed' and 'plain: no memory' in states(out)[name][1], states(out))
    figures.write_json(torch + '.answer', A_TIME)
    check(measure(out, program, *words, '--python', torch) == 0)
    text = summary(out)
    check('| 2.00 | 1.00 | 0.50 |' in text and 'PyTorch 2.9, cuda (NVIDIA Fake), of' in text and 'alone' not in text and
          'same card' not in text, text)
    check(measure(out, program, *words, '--python', 'none') == 0 and 'alone' not in summary(out), summary(out))
    check(measure(out, program, *base, '--parts', 'smallcnn-nd-fp32', '--python', torch) == 0, 'none can be')
    check('peers have the networks of' in summary(out), summary(out))
    figures.write_json(os.path.join(out, 'benchmark', 'resnet18-nd-fp32.json'), [1])
    check(measure(out, program, *words, '--python', torch) == 0 and '| 2.00 | 1.00 |' in summary(out), 'measured again')
    check(measure(out + '2', fake(name='NVIDIA Other'), *words, '--python', torch) == 0)
    check('OpenCL\'s device is NVIDIA Other: they may not be the same card' in summary(out + '2'), summary(out + '2'))
    check(measure(out + '3', fake(kind='CPU'), *words, '--python', torch) == 1, 'asked for')
    check('the device is a CPU' in states(out + '3')[name][1], states(out + '3'))


def test_folders_and_files_that_do_not_do():
    out = os.path.join(HOME.name, 'bad')
    os.makedirs(out)
    for state in [], None, {}, {'parts': {'doctor': 3}}, {'parts': {}, 'device': []}:
        figures.write_json(os.path.join(out, 'state.json'), state)
        check('state.json is not what card.py writes' in refused(out, 'none'), state)
    for runs in [1], {'networks': {'n': {'blanch': [{}], 'peers': {}, 'failed': {}}}}, {'networks': {'n': 3}}:
        found = card.Card(card.options([os.path.join(HOME.name, 'new')]))
        os.makedirs(found.path('benchmark'), exist_ok=True)
        figures.write_json(found.path('benchmark', 'n-fp32.json'), runs)
        check(figures.figures(found, 'n', 'fp32') is None, runs)
    os.makedirs(os.path.join(HOME.name, 'locked.tar.gz.part'))
    open(os.path.join(HOME.name, 'file'), 'w').close()
    for name in out, '/dev/null/x', os.path.join(HOME.name, 'file'), os.path.join(HOME.name, 'locked'):
        status, said = run(name)
        check(status == 2 and said.count('\n') == 1 and name in said, said)


def test_words_that_do_not_do():
    benchmark = os.path.join(os.path.dirname(HERE), 'benchmark.py')
    packs = os.path.join(HERE, 'bundle.py')
    for words in ((benchmark, 'none', '--json', '/nonexistent/x'), (benchmark, 'none', '--grow', 'n', '--json', 'x'),
                  (packs, HOME.name, '/nonexistent/x'), (packs, HOME.name, script('words', '#!/bin/sh')),
                  (packs, '/dev/null/x', BLANCH)):
        done = subprocess.run([sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        check(done.returncode in (1, 2) and 'Traceback' not in done.stdout and done.stdout, (words, done.stdout))
    program, torch = fake(), script('torch', TORCH)
    done = subprocess.run([sys.executable, benchmark, program, '--networks', 'smallcnn-bn', '--python', torch],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    check(done.stdout.count('smallcnn-bn: peers have the networks of tests/reference') == 1, done)


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
