#!/usr/bin/env python3
"""What a vendor's compiler makes of captured programs, without the vendor's device: compile.py TARGET DIR...

TARGET is amd:ARCH, nvidia:ARCH or intel:DEVICE (amd:gfx1100, nvidia:sm_90, intel:dg2-g10), DIR a capture of record.py.
Every program is compiled once with its options; a row for each kernel that was launched: registers, spills, private
memory, local memory. What the compiler refuses or does not end in time is named, and what was built and never launched.
Exit status 1 where a kernel of Blanch's has spills or private memory, runs in less than 16 lanes, though none of its
instructions asks for that, takes more than SLOW seconds (5), or fails.

Compilers: clang (CLANG, clang-19) with ROCm's device libraries (ROCM_BITCODE, a folder) for AMD; clang with libclc
(LIBCLC, /usr/lib/clc) and ptxas (PTXAS) for NVIDIA; ocloc (OCLOC) for Intel. JOBS at a time (2), LIMIT seconds each
(60). Seconds are the compilers' on a processor."""
import collections
import os
import re
import resource
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

import record

CLANG = os.environ.get('CLANG', 'clang-19')
ROCM = os.environ.get('ROCM_BITCODE', '/usr/lib/x86_64-linux-gnu/amdgcn/bitcode')
LIBCLC = os.environ.get('LIBCLC', '/usr/lib/clc')
PTXAS = os.environ.get('PTXAS', 'ptxas')
OCLOC = os.environ.get('OCLOC', 'ocloc')
LIMIT = int(os.environ.get('LIMIT', '60'))
SLOW = float(os.environ.get('SLOW', '5'))
OF_REGISTERS = 'spill', 'private'  # what a kernel should not have
LANES = 16  # what it should have at least
# Whose matrix units a program asks for, by kernels/matrix.h; programs for another device's are left out.
UNITS = {'1': 'nvidia:', '2': 'amd:gfx11', '3': ('amd:gfx90a', 'amd:gfx94'), '4': 'intel:dg2'}


class Refused(Exception):
    """A compiler's message."""


def run(folder, *command):
    """What a command prints. Its seconds are added to those in the folder."""
    with tempfile.TemporaryFile('w+', errors='replace') as said, open(os.path.join(folder, 'seconds'), 'a') as seconds:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (LIMIT, LIMIT))
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        print(used.ru_utime + used.ru_stime, file=seconds)
        said.seek(0)
        text = said.read()
    if used.ru_utime + used.ru_stime >= LIMIT:
        raise Refused('not done in %d s' % LIMIT)
    if process.returncode:
        raise Refused(' '.join(text.split())[:400] or 'status %d' % process.returncode)
    return text


def number(text, key):
    found = re.search(r'\b%s:\s+(\d+)' % key, text)
    return int(found[1]) if found else 0


# --- compilers: {kernel: figures} of a source ---------------------------------------------------


def assembly_of(source, options, arch, folder):
    out = os.path.join(folder, 'out.s')
    run(folder, CLANG, '-x', 'cl', *options, '-target', 'amdgcn-amd-amdhsa', '-mcpu=' + arch, '-O3', '-S',
        '--rocm-device-lib-path=' + ROCM, '-o', out, source)
    return out


def amd(source, options, arch, folder):
    with open(assembly_of(source, options, arch, folder)) as file:
        blocks = re.findall(r'^\s+- \.a(?:rgs|gpr_count):.*?\.wavefront_size:\s+\d+', file.read(), re.S | re.M)
    return {re.search(r"\.symbol:\s+'?(\w+)\.kd", block)[1]: {
        'registers': number(block, r'vgpr_count'), 'spill': number(block, 'vgpr_spill_count'),
        'private': number(block, 'private_segment_fixed_size'), 'local': number(block, 'group_segment_fixed_size')}
            for block in blocks}


def ptx_of(source, options, arch, folder):
    ptx = os.path.join(folder, 'out.ptx')
    library = os.path.join(LIBCLC, 'nvptx64--nvidiacl.bc')
    flags = ['-target-cpu', arch, '-target-feature', '+ptx75', '-mlink-builtin-bitcode', library]
    run(folder, CLANG, '-x', 'cl', *options, '-target', 'nvptx64-nvidia-nvcl', '-DFP_FAST_FMAF', '-O3', '-S', '-o', ptx,
        source, *[word for flag in flags for word in ('-Xclang', flag)])
    return ptx


def nvidia(source, options, arch, folder):
    ptx = ptx_of(source, options, arch, folder)
    text = run(folder, PTXAS, '-v', '-arch=' + arch, '-o', os.path.join(folder, 'out.cubin'), ptx)
    rows = {}
    for found in re.finditer(r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                             r'(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)', text, re.S):
        local = re.search(r'(\d+) bytes smem', found[6])
        rows[found[1]] = {'registers': int(found[5]), 'spill': int(found[3]) + int(found[4]), 'private': int(found[2]),
                          'local': int(local[1]) if local else 0}
    return rows


def intel(source, options, device, folder):
    run(folder, OCLOC, 'compile', '-file', source, '-device', device, '-out_dir', folder, '-output', 'out',
        '-output_no_suffix', '--format', 'zebin', '-options', ' '.join(options))
    built = [name for name in os.listdir(folder) if name.startswith('out') and not name.endswith(('.spv', '.gen'))]
    if not built:
        raise Refused('ocloc leaves no binary')
    with open(os.path.join(folder, built[0]), 'rb') as file:
        data = file.read()
    start = data.find(b'kernels:')
    text = data[start:data.find(b'\0', start)].decode('latin1') if start >= 0 else ''
    rows = {}
    for block in re.split(r'^\s+- name:\s+', text, flags=re.M)[1:]:
        if 'simd_size' in block:
            private = sum(map(int, re.findall(r'type:\s+scratch\s+usage:\s+\w+\s+size:\s+(\d+)', block)))
            rows[re.match(r"'?(\w+)", block)[1]] = {
                'lanes': number(block, 'simd_size'), 'spill': number(block, 'spill_size'), 'private': private,
                'local': number(block, 'slm_size')}
    return rows


COMPILERS = {'amd': amd, 'nvidia': nvidia, 'intel': intel}

# --- captured programs --------------------------------------------------------------------------


class Program:
    def __init__(self, text, options):
        self.text, self.launched = text, collections.Counter()
        self.options = [o for o in options.split() if o.startswith(('-D', '-cl-', '-w'))] or ['-cl-std=CL1.2']
        self.own = any(option == '-w' for option in self.options)  # CLBlast gives other options

    def is_for(self, target):
        unit = re.search(r'-DUNIT=(\d)', ' '.join(self.options))
        return not unit or target.startswith(UNITS.get(unit[1], target))

    def defines(self):
        return ' '.join(o[2:] for o in self.options if o.startswith('-D')) if self.own else 'CLBlast'

    def compiled(self, target):
        vendor, _, arch = target.partition(':')
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, 'in.cl')
            with open(source, 'w') as file:
                file.write(self.text)
            try:
                kernels, message = COMPILERS[vendor](source, self.options, arch, folder), ''
            except Refused as refused:
                kernels, message = None, str(refused)
            with open(os.path.join(folder, 'seconds')) as file:
                return kernels, message, sum(map(float, file))

    def is_bad(self, figures):
        """DPAS asks for 8 lanes on some devices."""
        narrow = figures.get('lanes', LANES) < LANES and '-DWAVE=8' not in self.options
        return self.own and (narrow or any(figures.get(what) for what in OF_REGISTERS))


def programs_of(folders):
    """Those of all captures, equal ones once, with what was launched of each."""
    programs = {}
    for folder in folders:
        log, here = record.read_log(folder), {}
        for line in log:
            if line['op'] == 'program':
                with open(os.path.join(folder, line['file'])) as file:
                    text = file.read()
                here[line['id']] = programs.setdefault((text, line['options']), Program(text, line['options']))
        for line in log:
            if line['op'] == 'launch':
                here[line['program']].launched[line['kernel']] += 1
    return sorted(programs.values(), key=lambda program: len(program.text))


def report(target, folders, kernels=None):
    """Of all programs, or of those that these kernels were launched of. How many kernels are not as they should be."""
    captured = [program for program in programs_of(folders) if not kernels or kernels & set(program.launched)]
    programs = [program for program in captured if program.is_for(target)]
    with ThreadPoolExecutor(int(os.environ.get('JOBS', '2'))) as pool:
        results = list(pool.map(lambda program: program.compiled(target), programs))
    rows, failed, unused, bad, most = [], [], [], 0, 0
    for program, (kernels, message, seconds) in zip(programs, results):
        most = max(most, seconds)
        if seconds > SLOW and kernels is not None:
            failed.append('slow: %s (%s): %.1f s' % (', '.join(program.launched), program.defines(), seconds))
            bad += program.own
        if kernels is None:
            failed.append('failed: %s (%s): %s' % (', '.join(program.launched), program.defines(), message))
            bad += program.own
            continue
        if not program.launched:
            unused.append('never launched: %s (%s)' % (', '.join(kernels), program.defines()))
        for kernel in program.launched:
            if kernel not in kernels:
                failed.append('failed: %s (%s): the compiler says nothing of it' % (kernel, program.defines()))
                bad += program.own
                continue
            figures = kernels[kernel]
            bad += program.is_bad(figures)
            rows.append([kernel, *figures.values(), program.defines()[:90], '!' if program.is_bad(figures) else ''])
            names = list(figures)
    print('%s: %d programs of %d captures, and %d for matrix units of other devices' % (
        target, len(programs), len(folders), len(captured) - len(programs)))
    if rows:
        record.table(['kernel', *names, 'defines', ''], sorted(rows, key=str))
    print('\n'.join(unused + failed))
    print('%d kernels, %d of Blanch with spills, private memory, few lanes, slow or failed; %.1f s at most' % (
        len(rows), bad, most))
    return bad


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    if sys.argv[1].partition(':')[0] not in COMPILERS or ':' not in sys.argv[1]:
        sys.exit('compile.py: %s is no TARGET: amd:ARCH, nvidia:ARCH or intel:DEVICE' % sys.argv[1])
    try:
        return 1 if report(sys.argv[1], sys.argv[2:]) else 0
    except FileNotFoundError as error:
        sys.exit('compile.py: %s is not there; CLANG, PTXAS and OCLOC name compilers (docs/gpu.md)' % error.filename)
    except record.Failed as error:
        sys.exit('compile.py: %s' % error)


if __name__ == '__main__':
    sys.exit(main())
