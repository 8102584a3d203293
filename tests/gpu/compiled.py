#!/usr/bin/env python3
"""What vendors' compilers make of a network's kernels, with those that are installed: compiled.py BLANCH RECORDER.
Prints TAP. No kernel of Blanch's has spills or private memory, or is refused; compile.py says which variables name the
compilers. A target whose compiler is not there is skipped."""
import contextlib
import io
import os
import re
import shutil
import sys
import tempfile

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__)))]
import compile as compilers
import record
import tap
from tap import check

BLANCH, RECORDER = sys.argv[1:3]
HOME = tempfile.TemporaryDirectory(prefix='blanch-compiled-')
SIZE = ['--batch', '64', '--steps', '1', '--warmup', '1', '--json']


def capture(device, model, norm, precision='fp32', engine=''):
    folder = os.path.join(HOME.name, '-'.join((device, model, norm, precision, engine)))
    os.environ['BLANCH_CONV'] = engine
    done = record.run(device, folder, BLANCH, RECORDER,
                      ['bench', '--model', model, '--norm', norm, '--precision', precision, *SIZE],
                      capture_output=True, text=True)
    check(done.returncode == 0, done.stderr)
    return folder


def captured(device):
    """smallcnn with both norms, and its convolutions by each engine that is had on GPUs alone."""
    runs = [('bn',), ('nd',), ('bn', 'fp16', 'matrix'), ('bn', 'fp32', 'winograd'), ('bn', 'fp32', 'winograd4')]
    return [capture(device, 'smallcnn', *run) for run in runs]


def needs(*programs):
    missing = [need for need in programs if not (shutil.which(need) or os.path.exists(need))]
    if not RECORDER or missing:
        raise tap.Skip(', '.join(missing) + ' is not there' if missing else 'the recording device was not built')


def compiles(target, folders, kernels=None):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        bad = compilers.report(target, folders, kernels)
    check(not bad, said.getvalue())


def test_amd():
    needs(compilers.CLANG, os.path.join(compilers.ROCM, 'ocml.bc'))
    compiles('amd:gfx90a', captured('amd-mi210'))


def made_of(program, make, arch):
    """What a compiler writes for a program."""
    with tempfile.TemporaryDirectory() as folder:
        source = os.path.join(folder, 'in.cl')
        with open(source, 'w') as file:
            file.write(program.text)
        with open(make(source, program.options, arch, folder)) as file:
            return file.read()


def read_ahead(assembly, kernel):
    """Of a kernel's multiply-adds, how many there are, and how many while something that was asked of memory is not
    waited for."""
    body = re.search(r'^%s:.*?s_endpgm' % kernel, assembly, re.S | re.M)[0]
    total, ahead, asked = 0, 0, False
    for word, waits in re.findall(r'^\s+(global_load|buffer_load|s_waitcnt|v_\w*f(?:ma|mac)\w*)([^\n]*)', body, re.M):
        if word == 's_waitcnt':
            asked = asked and 'vmcnt' not in waits
        elif 'load' in word:
            asked = True
        else:
            total, ahead = total + 1, ahead + asked
    return total, ahead


def test_tiles_are_read_ahead_on_amd():
    """The next piece of a tile's factors comes from memory while this one is multiplied."""
    needs(compilers.CLANG, os.path.join(compilers.ROCM, 'ocml.bc'))
    found = set()
    for program in compilers.programs_of([capture('amd-mi210', 'smallcnn', 'nd')]):
        kernels = {'convolve', 'weights', 'product'} & set(program.launched) - found
        if not kernels or '-DCOLS=' not in ' '.join(program.options):
            continue
        text = made_of(program, compilers.assembly_of, 'gfx90a')
        for kernel in kernels:
            total, ahead = read_ahead(text, kernel)
            check(2 * ahead > total > 0, '%s: %d of %d multiply-adds wait for memory' % (kernel, total - ahead, total))
        found |= kernels
    check(len(found) == 3, 'launched: %s' % found)


def test_nvidia():
    needs(compilers.CLANG, compilers.PTXAS, os.path.join(compilers.LIBCLC, 'nvptx64--nvidiacl.bc'))
    compiles('nvidia:sm_90', captured('nvidia-h100'))


def test_vectors_are_one_access_on_nvidia():
    """Of a pointer to single values that compiler makes an access for each."""
    needs(compilers.CLANG, os.path.join(compilers.LIBCLC, 'nvptx64--nvidiacl.bc'))
    found = {'apply', 'input_gradient', 'relu_backward'}  # batch norm and activations
    for program in compilers.programs_of([capture('nvidia-h100', 'smallcnn', 'bn')]):
        if not found & set(program.launched) or '-DVEC=4' not in program.options:
            continue
        text = made_of(program, compilers.ptx_of, 'sm_90')
        for kernel in found & set(program.launched):
            body = re.search(r'\.entry %s\(.*?^}' % kernel, text, re.S | re.M)[0]
            check(re.search(r'ld\.global\S*\.v4', body) and re.search(r'st\.global\S*\.v4', body),
                  '%s reads or writes no vectors' % kernel)
            found.remove(kernel)
    check(len(found) < 2, 'not launched: %s' % found)


def test_intel():
    needs(compilers.OCLOC)
    compiles('intel:dg2-g10', captured('intel-a770'))


def test_lanes_on_intel():
    """Of kernels that had 8, or private memory, and that smallcnn does not have."""
    needs(compilers.OCLOC)
    runs = (('cct-2', 'nd'), ('mobilenetv2', 'nd'), ('resnet18', 'nd', 'fp16'))
    kernels = {'dropout', 'others', 'covariance_depthwise', 'gather_samples', 'scatter_samples'}
    compiles('intel:dg2-g10', [capture('intel-a770', *run) for run in runs[:2]], kernels - {'gather_samples'})
    compiles('intel:tgllp', [capture('intel-irisxe', *run) for run in runs], kernels)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
