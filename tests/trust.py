#!/usr/bin/env python3
"""What SECURITY.md promises of caches, run directories and processes side by side: tests/trust.py BLANCH. Each case
trains two steps with a cache that is damaged, foreign or shared, and holds the weights against those of a clean one.
Prints TAP."""
import glob
import hashlib
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time

import caches
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
KERNELS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'kernels')
HOME = tempfile.mkdtemp(prefix='blanch-trust-')
TRAIN = ['train', '--model', 'smallcnn', '--norm', 'bn', '--data', pictures.mnist(os.path.join(HOME, 'mnist'), 32, 16),
         '--batch', '8', '--steps', '2', '--quiet', '--out']
ANOTHER = 12345     # a user
WAYS = ('noise', 'exchanged', 'cut', 'pipe', 'flipped', 'link', 'empty', 'folder', 'longer', 'huge')    # to damage it
LITTER = 'x.0123456789abcdef.tmp'


def path(*names):
    return os.path.join(HOME, *names)


def environment(**more):
    return caches.beside(**{'XDG_CACHE_HOME': path('warm'), 'BLANCH_TUNE': '0', **more})


def start(*args, **more):
    return subprocess.Popen([BLANCH, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(**more))


def end(process, status=0):
    """What it said on standard error; a case that hangs fails."""
    try:
        said = process.communicate(timeout=300)[1].decode()
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise AssertionError('it did not end')
    check(process.returncode == status, 'exit status %d: %s' % (process.returncode, said[-300:]))
    return said


def weights(out):
    with open(os.path.join(out, 'last.safetensors'), 'rb') as f:
        return hashlib.sha256(f.read()).hexdigest()


count = 0
reference = None


def train(**more):
    """Trains in a new directory; the same weights each time. What it said."""
    global count, reference
    count += 1
    out = path('run%d' % count)
    said = end(start(*TRAIN, out, **more))
    reference = reference or weights(out)
    check(weights(out) == reference, 'other weights')
    return said


def copy(name):
    """A cache of a case's own, warm: a run on PoCL writes one program at least, not all of them."""
    if not os.path.isdir(path('warm')):
        test_made_private()
    while len(glob.glob(path('warm/blanch/*/*'))) < len(WAYS):
        before = len(glob.glob(path('warm/blanch/*/*')))
        train()
        check(len(glob.glob(path('warm/blanch/*/*'))) > before, 'a run wrote no program')
    shutil.copytree(path('warm'), path(name))
    return path(name, 'blanch')


def warnings(said):
    return [line for line in said.splitlines() if line.startswith('warning: ')]


def need_root():
    if os.geteuid():
        raise tap.Skip('files of another user need root')


def all_private(folder):
    for where, _, names in os.walk(folder):
        check(stat.S_IMODE(os.stat(where).st_mode) == 0o700, where)
        for name in names:
            file = os.path.join(where, name)
            check(not name.endswith('.tmp'), 'left behind: ' + file)
            check(os.path.islink(file) or stat.S_IMODE(os.stat(file).st_mode) == 0o600, file)


# --- caches --------------------------------------------------------------------------------------

def test_made_private():
    before = os.umask(0)
    try:
        check(not warnings(train()))
    finally:
        os.umask(before)
    all_private(path('warm'))


def damage(file, data, other, how):
    """data: the file's, other: another's."""
    if how in ('folder', 'pipe', 'link'):
        os.remove(file)
        {'folder': os.mkdir, 'pipe': os.mkfifo, 'link': lambda f: os.symlink('/etc/passwd', f)}[how](file)
    elif how == 'huge':
        os.truncate(file, 1 << 29)
    else:
        middle = len(data) // 2
        with open(file, 'wb') as f:
            f.write({'exchanged': other, 'empty': b'', 'noise': os.urandom(len(data)), 'cut': data[:middle],
                     'longer': data + b'\0',
                     'flipped': data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]}[how])


def test_garbage():
    """Each entry damaged in another way, each way tried."""
    cache = copy('garbage')
    files = sorted(glob.glob(cache + '/*/*'))
    data = [open(file, 'rb').read() for file in files]
    for i, file in enumerate(files):
        damage(file, data[i], data[i - 2], WAYS[i % len(WAYS)])
    said = warnings(train(XDG_CACHE_HOME=path('garbage')))
    check(len(said) == 1 and 'Is a directory' in said[0] and cache in said[0], str(said))     # what cannot be replaced
    folders = [file for i, file in enumerate(files) if WAYS[i % len(WAYS)] == 'folder']
    check(all(os.path.isdir(file) for file in folders), 'a folder was removed')

    def is_whole(file):
        return os.path.isfile(file) and not os.path.islink(file) and os.path.getsize(file) < 1 << 24
    for _ in files:     # a run writes one program at least
        if not all(is_whole(file) for file in files if file not in folders):
            train(XDG_CACHE_HOME=path('garbage'))
    check(all(is_whole(file) for file in files if file not in folders), 'an entry was not written anew')


def test_files_of_others():
    cache = copy('foreign')
    shutil.rmtree(cache + '/limits')     # to be measured anew: every program is built
    for i, file in enumerate(sorted(glob.glob(cache + '/programs/*'))):
        with open(file, 'r+b') as f:
            f.seek(100)
            f.write(b'not to be loaded')
        if i % 2 and os.geteuid() == 0:
            os.chown(file, ANOTHER, ANOTHER)
        else:
            os.chmod(file, 0o660)
    check(not warnings(train(XDG_CACHE_HOME=path('foreign'))))
    all_private(cache)


def test_compiled_by_another_user():
    """The very same file, whole, of this user and private by now, but written by another: a cache that was copied."""
    file = sorted(glob.glob(copy('copied') + '/programs/*'))[0]
    data = open(file, 'rb').read()
    rest, hashed = (os.geteuid() + 1).to_bytes(8, 'little') + data[32:], 0xcbf29ce484222325
    for byte in rest:
        hashed = (hashed ^ byte) * 0x100000001b3 & (1 << 64) - 1
    check(int.from_bytes(data[24:32], 'little') == os.geteuid(), 'the entry does not say whose it is')
    open(file, 'wb').write(data[:16] + hashed.to_bytes(8, 'little') + rest)
    before = os.stat(file).st_ino
    train(XDG_CACHE_HOME=path('copied'))
    check(os.stat(file).st_ino != before, 'it was not written anew')


def distrusted(name, folder, why):
    """It is said once; nothing is read there, and nothing written."""
    for file in glob.glob(os.path.join(path(name), 'blanch/programs/*')):
        open(file, 'wb').close()
    before = sorted(glob.glob(path(name) + '/blanch/*/*'))
    said = warnings(train(XDG_CACHE_HOME=path(name)))
    check(len(said) == 1 and folder in said[0] and why in said[0], str(said))
    check(sorted(glob.glob(path(name) + '/blanch/*/*')) == before)
    check(not any(os.path.getsize(f) for f in before if '/programs/' in f), 'it was written to')


def test_folder_that_others_may_write():
    folder = copy('open')
    os.chmod(folder, 0o1777)
    distrusted('open', folder, 'may be written by others (mode 1777)')
    os.chmod(folder, 0o700)
    os.chmod(path('open'), 0o777)
    distrusted('open', path('open'), 'may be written by others (mode 0777)')
    os.chmod(path('open'), 0o1777)
    check(not warnings(train(XDG_CACHE_HOME=path('open'))), 'where all may write, as in /tmp, a folder is its owner\'s')


def test_folder_of_another_user():
    need_root()
    folder = os.path.join(copy('owned'), 'programs')
    os.chown(folder, ANOTHER, ANOTHER)
    distrusted('owned', folder, 'belongs to another user (%d)' % ANOTHER)


def test_link_of_another_user():
    need_root()
    folder = copy('linked')
    os.rename(folder, path('elsewhere'))
    os.symlink(path('elsewhere'), folder)
    check(not warnings(train(XDG_CACHE_HOME=path('linked'))), "the user's own link is followed")
    os.lchown(folder, ANOTHER, ANOTHER)
    distrusted('linked', folder, 'belongs to another user (%d)' % ANOTHER)


def test_no_cache():
    """No home; one that cannot be written."""
    for unset, said in (({'XDG_CACHE_HOME': None, 'HOME': None}, 'neither XDG_CACHE_HOME nor HOME is set'),
                        ({'XDG_CACHE_HOME': '/proc'}, '/proc/blanch cannot be used')):
        found = warnings(train(**unset))
        check(len(found) == 1 and said in found[0], str(found))


def test_why_there_is_no_cache():
    """A disk that fails, one that is read-only: the cause is told, not taken for another."""
    shim = os.path.join(os.path.dirname(BLANCH), 'tests/faults/shim.so')
    if not os.path.exists(shim):
        raise tap.Skip('the library that makes calls fail is not built')
    for fault, home, cause in (('fstat64:1:5', 'unknown', 5), ('fstat64:2:5', 'unknown', 5),
                               ('fstat64:3:5', 'unknown', 5), ('mkdirat:1:30:0', 'readonly', 30)):
        more = {'XDG_CACHE_HOME': None, 'HOME': path(home), 'LD_PRELOAD': shim, 'FAULT': fault}
        found = warnings(end(start('tune', '--show', **more)))
        check(len(found) == 1 and 'blanch cannot be used (%s)' % os.strerror(cause) in found[0], fault + str(found))


def test_where_the_cache_is():
    """XDG_CACHE_HOME may be empty, or relative."""
    copy('home/.cache'), copy('here/cache')
    before = os.getcwd()
    os.chdir(path('here'))
    try:
        check(not warnings(train(XDG_CACHE_HOME='', HOME=path('home'))))
        check(not warnings(train(XDG_CACHE_HOME='cache')))
    finally:
        os.chdir(before)


def test_clock_that_jumps():
    """Files from the future and from 1970 are as good as others, and what a crash left is known without a clock."""
    cache = copy('times')
    files = glob.glob(cache + '/*/*')
    for i, file in enumerate(files):
        when = (4e9, 0)[i % 2]
        os.utime(file, (when, when))
    for folder in ('programs', 'limits'):
        open(os.path.join(cache, folder, LITTER), 'w').close()
        os.utime(os.path.join(cache, folder, LITTER), (4e9, 4e9))
    before = {f: os.stat(f).st_ino for f in files if '/programs/' in f}
    train(XDG_CACHE_HOME=path('times'))
    check({f: os.stat(f).st_ino for f in before} == before, 'a program was compiled anew')
    all_private(cache)


# --- side by side --------------------------------------------------------------------------------

def test_four_at_once():
    """With one cold cache, the first of them stopped in the middle: the others end without it."""
    train()
    outs = [path('side%d' % i) for i in range(4)]
    runs = [start(*TRAIN, out, XDG_CACHE_HOME=path('side')) for out in outs]
    until = time.time() + 120
    while not glob.glob(path('side/blanch/programs/*')) and time.time() < until:
        time.sleep(0.002)
    runs[0].send_signal(signal.SIGSTOP)
    try:
        for run in runs[1:]:
            check(not warnings(end(run)))
    finally:
        runs[0].send_signal(signal.SIGCONT)
    end(runs[0])
    check({weights(out) for out in outs} == {reference}, 'other weights')
    all_private(path('side'))


def test_killed():
    """What is left of a run that is killed, in its directory and in the cache, goes with the next."""
    train()
    out = path('killed')
    for _ in range(3):
        run = start(*TRAIN, out, XDG_CACHE_HOME=path('kills'))
        until = time.time() + 120
        while not glob.glob(path('kills/blanch/*/*')) and time.time() < until and run.poll() is None:
            time.sleep(0.002)
        run.kill()
        run.communicate()
        shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    for folder in (out, path('kills/blanch/programs')):
        open(os.path.join(folder, LITTER), 'w').close()
    end(start(*TRAIN, out, XDG_CACHE_HOME=path('kills')))
    check(weights(out) == reference, 'other weights')
    check(not [f for f in os.listdir(out) if f.endswith('.tmp')], str(os.listdir(out)))
    all_private(path('kills'))


# --- run directories -----------------------------------------------------------------------------

def run_directory(name):
    end(start(*TRAIN, path(name)))
    return path(name)


def test_run_that_others_may_write():
    out = run_directory('sha\x1bred')
    os.chmod(out, 0o775)
    for command in (('train', '--resume', '--steps', '2', '--quiet', '--out', out), ('eval', '--run', out)):
        said = warnings(end(start(*command)))
        shown = out.replace('\x1b', '\\x1B')
        check(len(said) == 1 and shown in said[0] and 'mode 0775' in said[0], '%s: %s' % (command[0], said))
    if os.geteuid() == 0:
        os.chmod(out, 0o755)
        os.chown(out, ANOTHER, ANOTHER)
        said = warnings(end(start('eval', '--run', out)))
        check(len(said) == 1 and 'another user (%d)' % ANOTHER in said[0], str(said))


def test_links_in_a_run():
    """What is written takes the place of a link; what the link led to stays."""
    out = run_directory('links')
    kept = {}
    for name in os.listdir(out):
        os.rename(os.path.join(out, name), path('links-' + name))
        os.symlink(path('links-' + name), os.path.join(out, name))
        kept[name] = open(path('links-' + name), 'rb').read()
    end(start('train', '--resume', '--steps', '4', '--quiet', '--out', out))
    for name, data in kept.items():
        check(open(path('links-' + name), 'rb').read() == data, '%s was written through' % name)
    check(not os.path.islink(os.path.join(out, 'log.jsonl')))


def test_pipe_of_another_user():
    need_root()
    out = run_directory('pipe')
    for name in ('config.json', 'last.safetensors'):
        file = os.path.join(out, name)
        os.rename(file, file + '.kept')
        os.mkfifo(file, 0o666)
        os.chown(file, ANOTHER, ANOTHER)
        check(file in end(start('eval', '--run', out), 2))
        os.rename(file + '.kept', file)


def refused(file, *command):
    """In one line with the file's name, and without waiting."""
    said = end(start(*command), 2)
    check(file in said and said.count('blanch: ') == 1, '%s: %s' % (command, said))


def test_pipes():
    """This user's own: weights and what stands in a run are files. Documents named on the command line may be piped."""
    out = run_directory('piped')
    resume = ('train', '--resume', '--steps', '4', '--quiet', '--out', out)
    for name, commands in (('last.safetensors', (('eval', '--run', out), resume)),
                           ('last.state.safetensors', (resume,)), ('log.jsonl', (resume, ('report', out))),
                           ('config.json', (('eval', '--run', out), resume, ('report', out)))):
        file = os.path.join(out, name)
        os.rename(file, path('kept'))
        for target in (None, '/dev/zero'):
            os.symlink(target, file) if target else os.mkfifo(file)
            for command in commands:
                refused(file, *command)
            os.remove(file)
        os.rename(path('kept'), file)
    pipe = path('weights.pipe')
    os.mkfifo(pipe)
    refused(pipe, 'eval', *TRAIN[1:7], '--weights', pipe)
    refused(pipe, *TRAIN, path('initial'), '--init', pipe)
    refused(pipe, 'check', pipe)
    os.mkfifo(os.path.join(out, 'report.html'))
    refused('report.html', 'report', out, '--out', os.path.join(out, 'report.html'))
    bench = [BLANCH, 'bench', *TRAIN[1:5], '--batch', '8', '--steps', '2', '--warmup', '1', '--json']
    document = subprocess.run(bench, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()).stdout
    piped = subprocess.run([BLANCH, 'report', '/dev/stdin', '--out', path('piped.html')], input=document,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment())
    check(piped.returncode == 0 and os.path.exists(path('piped.html')), piped.stderr)


def test_link_of_another_user_in_a_run():
    """Followed where it leads to a file of that user's own."""
    need_root()
    out = run_directory('led')
    file, target = os.path.join(out, 'last.safetensors'), path('led.safetensors')
    os.rename(file, target)
    os.symlink(target, file)
    end(start('eval', '--run', out))
    os.lchown(file, ANOTHER, ANOTHER)
    refused(file, 'eval', '--run', out)
    os.chown(target, ANOTHER, ANOTHER)
    end(start('eval', '--run', out))


def test_names_in_a_run():
    """A name in config.json is looked up, not opened."""
    out = run_directory('names')
    file = os.path.join(out, 'config.json')
    config = json.load(open(file))
    for key in ('model', 'norm', 'optimiser', 'augment'):
        text = json.dumps(config).replace('"%s": "%s"' % (key, config.get(key) or config['view'].get(key)),
                                          '"%s": "../../etc/passwd"' % key)
        open(file, 'w').write(text)
        check('passwd' in text, key)
        check('passwd' in end(start('train', '--resume', '--steps', '4', '--quiet', '--out', out), 2), key)


# --- kernels -------------------------------------------------------------------------------------

def test_kernels_stay_in_their_folder():
    shutil.copytree(KERNELS, path('kernels'))
    file = path('kernels/sgd.cl')
    text = open(file).read()
    for name, said in (('../outside.h', 'leads out'), ('/etc/passwd', 'leads out'), ('nd/../../x', 'leads out'),
                       ('sgd.cl', 'more than')):
        open(file, 'w').write(re.sub('#include ".*"', '#include "%s"' % name, text, 1))
        check(said in end(start(*TRAIN, path('none'), BLANCH_KERNELS=path('kernels')), 2), name)


if __name__ == '__main__':
    tap.need_device(BLANCH)
    status = tap.run(tap.functions(globals(), sys.argv[2:]))
    shutil.rmtree(HOME, ignore_errors=True)
    sys.exit(status)
