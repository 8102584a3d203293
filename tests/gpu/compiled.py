#!/usr/bin/env python3
"""What vendors' compilers make of a network's kernels, with those that are installed: compiled.py BLANCH RECORDER.
Prints TAP. No kernel of Blanch's has spills or private memory, or is refused; compile.py says which variables name the
compilers. A target whose compiler is not there is skipped."""
import contextlib
import io
import os
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


def captured(device):
    """smallcnn with both norms, and its convolutions by each engine that is had on GPUs alone."""
    runs = [('bn', 'fp32', ''), ('nd', 'fp32', ''), ('bn', 'fp16', 'matrix'),
            ('bn', 'fp32', 'winograd'), ('bn', 'fp32', 'winograd4')]
    folders = []
    for norm, precision, engine in runs:
        folder = os.path.join(HOME.name, '-'.join((device, norm, precision, engine)))
        os.environ['BLANCH_CONV'] = engine
        done = record.run(device, folder, BLANCH, RECORDER,
                          ['bench', '--model', 'smallcnn', '--norm', norm, '--precision', precision, *SIZE],
                          capture_output=True, text=True)
        check(done.returncode == 0, done.stderr)
        folders.append(folder)
    return folders


def compiles(target, device, *needs):
    missing = [need for need in needs if not (shutil.which(need) or os.path.exists(need))]
    if not RECORDER or missing:
        raise tap.Skip(', '.join(missing) + ' is not there' if missing else 'the recording device was not built')
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        bad = compilers.report(target, captured(device))
    check(not bad, said.getvalue())


def test_amd():
    compiles('amd:gfx90a', 'amd-mi210', compilers.CLANG, os.path.join(compilers.ROCM, 'ocml.bc'))


def test_nvidia():
    compiles('nvidia:sm_90', 'nvidia-h100', compilers.CLANG, compilers.PTXAS,
             os.path.join(compilers.LIBCLC, 'nvptx64--nvidiacl.bc'))


def test_intel():
    compiles('intel:dg2-g10', 'intel-a770', compilers.OCLOC)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
