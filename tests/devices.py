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


def main():
    if blanch('devices')[0]:
        tap.need_device(BLANCH)
    return tap.run(tap.functions(globals(), sys.argv[2:]))


if __name__ == '__main__':
    sys.exit(main())
