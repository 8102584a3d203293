#!/usr/bin/env python3
"""What a vendor's compiler makes of captured programs, without the vendor's device: compile.py TARGET DIR...

TARGET is amd:ARCH, nvidia:ARCH or intel:DEVICE (amd:gfx1100, nvidia:sm_90, intel:dg2-g10), DIR a capture of record.py.
Every program is compiled once with its options; a row for each kernel that was launched: registers, spills, private
memory, local memory. What the compiler refuses or does not end in time is named, and what was built and never launched.
Exit status 1 where a kernel of Blanch's has spills or private memory, or fails.

Compilers: clang (CLANG, clang-19) with ROCm's device libraries (ROCM_BITCODE, a folder) for AMD; clang with libclc
(LIBCLC, /usr/lib/clc) and ptxas (PTXAS) for NVIDIA; ocloc (OCLOC) for Intel. JOBS at a time (2), LIMIT seconds each
(60)."""
import collections
import os
import re
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
OF_REGISTERS = 'spill', 'private'  # what a kernel should not have


class Refused(Exception):
    """A compiler's message."""


def run(*command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                              timeout=LIMIT)
    except subprocess.TimeoutExpired:
        raise Refused('not done in %d s' % LIMIT) from None
    if done.returncode:
        raise Refused(' '.join(done.stdout.split())[:400])
    return done.stdout


def number(text, key):
    found = re.search(r'\b%s:\s+(\d+)' % key, text)
    return int(found[1]) if found else 0


# --- compilers: {kernel: figures} of a source ---------------------------------------------------


def amd(source, options, arch, folder):
    out = os.path.join(folder, 'out.s')
    run(CLANG, '-x', 'cl', *options, '-target', 'amdgcn-amd-amdhsa', '-mcpu=' + arch, '-O3', '-S',
        '--rocm-device-lib-path=' + ROCM, '-o', out, source)
    with open(out) as file:
        blocks = re.findall(r'^\s+- \.a(?:rgs|gpr_count):.*?\.wavefront_size:\s+\d+', file.read(), re.S | re.M)
    return {re.search(r"\.symbol:\s+'?(\w+)\.kd", block)[1]: {
        'registers': number(block, r'vgpr_count'), 'spill': number(block, 'vgpr_spill_count'),
        'private': number(block, 'private_segment_fixed_size'), 'local': number(block, 'group_segment_fixed_size')}
            for block in blocks}


def nvidia(source, options, arch, folder):
    ptx = os.path.join(folder, 'out.ptx')
    library = os.path.join(LIBCLC, 'nvptx64--nvidiacl.bc')
    flags = ['-target-cpu', arch, '-target-feature', '+ptx75', '-mlink-builtin-bitcode', library]
    run(CLANG, '-x', 'cl', *options, '-target', 'nvptx64-nvidia-nvcl', '-DFP_FAST_FMAF', '-O3', '-S', '-o', ptx, source,
        *[word for flag in flags for word in ('-Xclang', flag)])
    text = run(PTXAS, '-v', '-arch=' + arch, '-o', os.path.join(folder, 'out.cubin'), ptx)
    rows = {}
    for found in re.finditer(r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, "
                             r'(\d+) bytes spill loads.*?Used (\d+) registers([^\n]*)', text, re.S):
        local = re.search(r'(\d+) bytes smem', found[6])
        rows[found[1]] = {'registers': int(found[5]), 'spill': int(found[3]) + int(found[4]), 'private': int(found[2]),
                          'local': int(local[1]) if local else 0}
    return rows


def intel(source, options, device, folder):
    run(OCLOC, 'compile', '-file', source, '-device', device, '-out_dir', folder, '-output', 'out',
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

    def defines(self):
        return ' '.join(o[2:] for o in self.options if o.startswith('-D')) if self.own else 'CLBlast'

    def compiled(self, target):
        vendor, _, arch = target.partition(':')
        with tempfile.TemporaryDirectory() as folder:
            source = os.path.join(folder, 'in.cl')
            with open(source, 'w') as file:
                file.write(self.text)
            try:
                return COMPILERS[vendor](source, self.options, arch, folder), ''
            except Refused as refused:
                return None, str(refused)


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


def report(target, folders):
    programs = programs_of(folders)
    with ThreadPoolExecutor(int(os.environ.get('JOBS', '2'))) as pool:
        results = list(pool.map(lambda program: program.compiled(target), programs))
    rows, failed, unused, bad = [], [], [], 0
    for program, (kernels, message) in zip(programs, results):
        if kernels is None:
            failed.append('failed: %s (%s): %s' % (', '.join(program.launched), program.defines(), message))
            bad += program.own
            continue
        if not program.launched:
            unused.append('never launched: %s (%s)' % (', '.join(kernels), program.defines()))
        for kernel in program.launched:
            figures = kernels.get(kernel, {})
            bad += program.own and any(figures.get(what) for what in OF_REGISTERS)
            rows.append([kernel, *figures.values(), program.defines()[:90]])
            names = list(figures)
    print('%s: %d programs of %d captures' % (target, len(programs), len(folders)))
    if rows:
        record.table(['kernel', *names, 'defines'], sorted(rows, key=str))
    print('\n'.join(unused + failed + ['%d kernels, %d of Blanch with spills, private memory or failed' % (len(rows),
                                                                                                         bad)]))
    return bad


def main():
    if len(sys.argv) < 3 or sys.argv[1].partition(':')[0] not in COMPILERS or ':' not in sys.argv[1]:
        sys.exit(__doc__)
    try:
        return 1 if report(sys.argv[1], sys.argv[2:]) else 0
    except (record.Failed, FileNotFoundError) as error:
        sys.exit('compile.py: %s' % error)


if __name__ == '__main__':
    sys.exit(main())
