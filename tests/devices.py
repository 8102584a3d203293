#!/usr/bin/env python3
"""Devices that do not answer, cases that cannot be read, numbers that are none: tests/devices.py BLANCH [TEST...].
Prints TAP."""
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile

import caches
import tap
from tap import Skip, check

BLANCH = os.path.abspath(sys.argv[1])
CASE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'reference/conformance/relu6.safetensors')
HOME = tempfile.mkdtemp(prefix='blanch-devices-')
ENV = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE='0')
atexit.register(shutil.rmtree, HOME, True)


def blanch(*words, env={}):
    """Exit status, standard output, standard error."""
    done = subprocess.run([BLANCH, *map(str, words)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env=dict(ENV, **env), timeout=300)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def refuses(status, text, *words, env={}):
    """One error line, with the text in it; standard output."""
    got, out, err = blanch(*words, env=env)
    check(got == status, '%s: exit status %d, not %d: %s' % (' '.join(words), got, status, err[-300:]))
    check(err.startswith('blanch: ') and err.count('\n') == 1 and text in err, '%s: %s' % (' '.join(words), err[-300:]))
    return out


def write(name, data):
    with open('%s/cases/%s.safetensors' % (HOME, name), 'wb') as f:
        f.write(data)


def listed(env):
    return json.loads(blanch('devices', '--json', env=env)[1])['devices']


def test_device_that_does_not_answer():
    shim = os.path.join(os.path.dirname(BLANCH), 'tests', 'faults', 'shim.so')
    two = {'POCL_DEVICES': 'basic pthread', 'LD_PRELOAD': shim}
    if not os.path.exists(shim) or len(listed(two)) != 2:
        raise Skip('PoCL is not there, or calls cannot be made to fail')
    names = [d['device'] for d in listed(two)]
    for fault, lost in (('clGetDeviceInfo:1:-5', 0), ('clGetDeviceInfo:30:-36', 1), ('clGetDeviceInfo:1:-30', 0)):
        broken = dict(two, FAULT=fault)
        silent = 'no answer from device ' + names[lost]
        out = refuses(3, silent, 'devices', '--json', env=broken)
        left = json.loads(out)['devices']
        check([d['device'] for d in left] == [names[1 - lost]] and left[0]['default'], out)
        status, _, err = blanch('check', CASE, env=broken)
        check(status == 0 and err.startswith('warning: ' + silent), err)
        refuses(3, silent, 'check', CASE, '--device', names[lost], env=broken)
        status, _, err = blanch('check', CASE, '--device', names[1 - lost], env=broken)
        check(status == 0 and not err, 'that device was asked for: ' + err)
    for fault in ('clGetDeviceInfo:1:-5:0', 'clGetPlatformInfo:1:-6:0', 'clGetDeviceIDs:1:-6', 'cl:8:-36:0'):
        refuses(3, 'no answer from', 'devices', env=dict(two, FAULT=fault))


def test_device_spec():
    for spec in ('0:0/\n1', '0:0/ 1', '0:0/+1', '0:0/0', '0:0/', '0:0/1x', '0:0/4294967297', ' 0:0', '+0:0', '0: 0',
                 '0:-0'):
        refuses(2, "device '", 'devices', '--device', spec)


def test_device_by_its_platform():
    """The same processor under two platforms: who has the one takes it by the implementation's name."""
    if not any('PoCL' in d['version'] for d in listed({})):
        raise Skip('PoCL is not there')
    status, out, err = blanch('devices', '--device', 'pocl')
    check(status == 0 and 'CPU, PoCL, Portable Computing Language; ' in out, out + err)
    check(blanch('devices', '--device', 'portable computing')[0] == 0, 'by the platform\'s name')
    refuses(2, '(Portable Computing Language)', 'devices', '--device', 'rusticl')


def test_what_a_check_cannot_read():
    """A malformed case is a difference; one that cannot be read says nothing of the device."""
    data = open(CASE, 'rb').read()
    os.makedirs(HOME + '/cases')
    write('a', data[:-4])
    check(blanch('check', HOME + '/cases')[0] == 1, 'a malformed case is no difference')
    os.symlink('nowhere', HOME + '/cases/b.safetensors')
    write('c', data)
    out = refuses(2, 'b.safetensors', 'check', HOME + '/cases')
    check('1 passed, 1 failed' in out, out)
    refuses(2, 'b.safetensors', 'check', HOME + '/cases/b.safetensors', '--json')


def test_numbers():
    """Digits, a minus, a point, an exponent; not what C reads as a number besides."""
    train = ('train', '--model', 'smallcnn', '--norm', 'nd', '--data', 'synthetic:3x32x32:10', '--steps', '1')
    bench = ('bench', '--model', 'smallcnn', '--norm', 'nd')
    for words, option, wrong in (
            (train, '--lr', (' 0.1', '+0.1', 'nan', '0x1p-3')),
            (train, '--batch', (' 4', '+4')),
            (train, '--seed', ('\t7',)),
            (train, '--max-alloc', (' 512M', '0x200M')),
            (train, '--overhead-budget', ('\n20', '+20%', '0x14')),
            (train, '--schedule',
             ('multistep:+1', 'multistep:1, 2', 'multistep:1:0x1p-1')),
            (train, '--recompute', ('\n2', '+2')),
            (bench, '--input', ('1x 28', '1x28x\n28')),
            (('bench',), '--gemm', ('8x 8x8',))):
        more = ('--out', HOME + '/never') if words is train else ()
        for value in wrong:
            refuses(2, option + ' takes', *words, option, value, *more)
    refuses(2, '--epochs takes', 'study', '--data', 'mnist:nowhere', '--dataset', 'cifar10',
            '--out', HOME + '/study', '--epochs', '1, 20')


def vendors(**files):
    """A folder of .icd files, each with a line, as the loader is told to look in."""
    folder = tempfile.mkdtemp(dir=HOME)
    for name, line in files.items():
        with open('%s/%s.icd' % (folder, name), 'w') as f:
            f.write(line)
    return folder


def pocl():
    """What the loader is told of PoCL."""
    try:
        with open('/etc/OpenCL/vendors/pocl.icd') as f:
            return f.read()
    except OSError:
        raise Skip('PoCL is not there')


def test_hints():
    """A driver that is installed and silent is named, with what to do."""
    # Called as Mesa's library is, and loads as that does.
    rusticl = os.path.join(HOME, 'libRusticlOpenCL.so.1')
    shutil.copyfile(os.path.join(os.path.dirname(BLANCH), 'tests', 'faults', 'shim.so'), rusticl)
    cases = (('lost', '/nowhere/libdriver.so\n', 'lost.icd: its library does not load (/nowhere/libdriver.so'),
             ('empty', '', 'empty.icd names no library'),
             ('mesa', rusticl, 'mesa.icd: rusticl shows no device until RUSTICL_ENABLE names a driver'))
    for name, line, text in cases:
        for variable in 'OCL_ICD_VENDORS', 'OPENCL_VENDOR_PATH':
            refuses(3, 'no OpenCL platform is installed: ', 'devices',
                    env={variable: vendors(**{name: line}), 'RUSTICL_ENABLE': ''})
            refuses(3, text, 'check', CASE, env={variable: vendors(**{name: line}), 'RUSTICL_ENABLE': ''})
    refuses(3, 'RUSTICL_ENABLE=nonesuch gives no device', 'devices',
            env={'OCL_ICD_VENDORS': vendors(mesa=rusticl), 'RUSTICL_ENABLE': 'nonesuch'})
    refuses(3, 'install the driver of your GPU', 'devices', env={'OCL_ICD_VENDORS': vendors()})
    refuses(3, 'lost.icd: its library', 'devices',
            env={'OCL_ICD_VENDORS': vendors(lost='/nowhere/libdriver.so') + '/lost.icd'})


def test_hints_beside_devices():
    real = pocl()
    env = {'OCL_ICD_VENDORS': vendors(pocl=real, lost='/nowhere/libdriver.so')}
    status, out, err = blanch('devices', env=env)
    check(status == 0 and not err, err)
    check(out.count('\nhint: ') == 1 and 'lost.icd: its library does not load' in out.splitlines()[-1], out)
    hints = json.loads(blanch('devices', '--json', env=env)[1])['hints']
    check(len(hints) == 1 and 'lost.icd' in hints[0], hints)
    check('hint: ' not in blanch('devices', env={'OCL_ICD_VENDORS': vendors(pocl=real)})[1], 'nothing is silent')
    check(not blanch('check', CASE, env=env)[2], 'who does not ask for devices is not told')


def test_gpu_that_may_not_be_opened():
    """As another user sees it: in a namespace with a /dev of its own, without the right to pass over permissions."""
    mount = 'mount -t tmpfs none /dev && mkdir /dev/dri && : > /dev/dri/renderD128 && chmod 0 /dev/dri/renderD128 && ' \
            'exec setpriv --bounding-set=-dac_override,-dac_read_search "$0" "$@"'
    within = ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount]
    env = dict(ENV, OCL_ICD_VENDORS=vendors())
    if not shutil.which('unshare') or subprocess.run(within + ['true'], stderr=subprocess.DEVNULL).returncode:
        raise Skip('no namespace can be made here')
    err = subprocess.run(within + [BLANCH, 'devices'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env,
                         universal_newlines=True).stderr
    check('/dev/dri/renderD128, a GPU, may not be opened by this user: join the group' in err, err)


def test_loops_that_end_early():
    """As Mesa's llvmpipe 22.3 runs them: 65,535 turns, then on."""
    kernels = changed_kernels('probe.cl', 'k < turns', 'k < min(turns, 65535)')
    status, out, err = blanch('doctor', '--quick', env={'BLANCH_KERNELS': kernels})
    check(status == 3 and 'loops: failed' in out and 'fails in what Blanch relies on: loops' in err, out + err)


def changed_kernels(file, old, new):
    """A folder of kernels, one of which is another."""
    kernels = os.path.join(tempfile.mkdtemp(dir=HOME), 'kernels')
    shutil.copytree(os.path.join(os.path.dirname(os.path.abspath(__file__)), '../kernels'), kernels)
    with open(os.path.join(kernels, file)) as f:
        text = f.read()
    check(old in text, '%s has no %s' % (file, old))
    with open(os.path.join(kernels, file), 'w') as f:
        f.write(text.replace(old, new))
    return kernels


def test_doctor_finds():
    broken = os.path.join(HOME, 'no-folder')
    with open(broken, 'w'):
        pass
    env = {'BLANCH_CONV': 'direct', 'XDG_CACHE_HOME': broken,
           'OCL_ICD_VENDORS': vendors(pocl=pocl(), lost='/nowhere/libdriver.so')}
    status, out, err = blanch('doctor', '--quick', '--json', env=env)
    found = json.loads(out)['findings']
    for word in ('BLANCH_CONV=direct changes', 'there is no cache', 'lost.icd'):
        check(sum(word in line for line in found) == 1, '%s: %s' % (word, found))
    check(status == 1, '%d: %s' % (status, err))
    status, out, err = blanch('doctor', '--quick', env={'BLANCH_CONV': 'direct'})
    check(status == 0 and 'BLANCH_CONV=direct changes' in out, '%d: %s' % (status, out + err))
    for name, value in ('BLANCH_DEVICE', '77:7'), ('OCL_ICD_VENDORS', '/nowhere/at/all/'):
        status, out, err = blanch('doctor', '--quick', '--json', env={name: value})
        found = json.loads(out)['findings']
        check(sum('%s=%s' % (name, value) in line for line in found) == 1, '%s: %s' % (name, found))
        check(status in (1, 3), '%d: %s' % (status, err))


def test_doctor_finds_the_cache_at_once():
    """Also where it was empty, of a driver whose programs are written as the device is closed."""
    empty = os.path.join(HOME, 'empty-cache')
    os.makedirs(empty)
    status, out, err = blanch('doctor', '--quick', env={'XDG_CACHE_HOME': empty})
    check('cache of programs: available' in out, out + err)


def test_doctor_of_a_wrong_network():
    kernels = changed_kernels('softmax_cross_entropy.cl', 'exp(', '1.01f * exp(')
    status, out, err = blanch('doctor', env={'BLANCH_KERNELS': kernels})
    check(status == 3 and 'computes wrong results' in err, '%d %s' % (status, err))
    check('network smallcnn-bn: failed' in out and 'BLANCH_KERNELS=' in out.split('found:')[1], out)


def main():
    if blanch('devices')[0]:
        tap.need_device(BLANCH)
    return tap.run(tap.functions(globals(), sys.argv[2:]))


if __name__ == '__main__':
    sys.exit(main())
