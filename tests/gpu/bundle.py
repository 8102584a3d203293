#!/usr/bin/env python3
"""The program beside what it is linked with, for a machine where nothing can be installed:

    tests/gpu/bundle.py FOLDER [PROGRAM]

FOLDER/blanch runs there, where the processor is of the same kind and the C library at least as new as here; that and
the library of C++ are the system's. PROGRAM: build/blanch. clinfo goes with it where it is installed."""
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYSTEM = re.compile(r'(ld-linux.*|lib(c|m|dl|rt|pthread|resolv|util|stdc\+\+|gcc_s))\.so')
WRAPPER = '''#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
LD_LIBRARY_PATH="$here/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" exec "$here/%s.program" "$@"
'''


def bundle(folder, program, name):
    done = subprocess.run(['ldd', program], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if done.returncode:
        raise ValueError('%s: ldd: %s' % (program, done.stdout.strip()))
    os.makedirs(os.path.join(folder, 'lib'), exist_ok=True)
    for library, path in re.findall(r'^\s*(\S+) => (/\S+)', done.stdout, re.M):
        if not SYSTEM.match(library):
            shutil.copy(path, os.path.join(folder, 'lib', library))
    shutil.copy(program, os.path.join(folder, name + '.program'))
    with open(os.path.join(folder, name), 'w') as f:
        f.write(WRAPPER % name)
    os.chmod(os.path.join(folder, name), 0o755)


def main():
    if not 2 <= len(sys.argv) <= 3 or sys.argv[1].startswith('-'):
        sys.exit(__doc__)
    clinfo = shutil.which('clinfo')
    try:
        bundle(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else os.path.join(ROOT, 'build', 'blanch'), 'blanch')
        if clinfo:
            bundle(sys.argv[1], clinfo, 'clinfo')
    except (OSError, ValueError) as error:
        sys.exit(str(error))


if __name__ == '__main__':
    main()
