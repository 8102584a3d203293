#!/usr/bin/python3
"""What the Python package declares of the library, held against the header, a compiler, the command line and libraries
of other versions: bindings.py BLANCH LIBRARY [TEST...]. Prints TAP; needs NumPy."""
import os
import re
import shutil
import subprocess
import sys

import tap
from package import BLANCH, HOME, ROOT, python, read
from tap import Skip, check

import blanch
from blanch import library, options, structs


def declared():
    """{function of the public headers: its parameters}"""
    both = read('include', 'blanch', 'blanch.h') + read('include', 'blanch', 'definition.h')
    text = re.sub(r'/\*.*?\*/|//[^\n]*|^#.*?[^\\]$', '', both, flags=re.S | re.M)
    found = {}
    for match in re.finditer(r'\bblanch_(\w+)\(', text):
        depth, parameters, at = 1, [''], match.end()
        while depth:
            character = text[at]
            depth += (character in '({') - (character in ')}')
            if character == ',' and depth == 1:
                parameters.append('')
            elif depth:
                parameters[-1] += character
            at += 1
        found[match[1]] = [p.strip() for p in parameters if p.strip() not in ('', 'void')]
    return found


def test_functions_as_the_header_has_them():
    header = declared()
    check(len(header) > 60, 'the header was not understood: %d functions' % len(header))
    for name, (_, takes) in library.FUNCTIONS.items():
        check(name in header, 'blanch.h has no blanch_%s' % name)
        check(len(takes) == len(header[name]), 'blanch_%s takes %s' % (name, header[name]))
    package = os.path.join(ROOT, 'python', 'blanch')
    text = ''.join(read(package, name) for name in os.listdir(package) if name.endswith('.py'))
    called = set(re.findall(r"\blib\.blanch_(\w+)|\b(?:call|plain)\((?:[\w.]+(?:\(\))?, )?'(\w+)'", text))
    missing = set(sum(called, ())) - set(library.FUNCTIONS) - {''}
    check(len(called) > 10 and not missing, 'called, and not declared: %s' % ', '.join(sorted(missing)))


def compiler():
    for name in (os.environ.get('CC', ''), 'cc', 'gcc', 'clang'):
        if name and shutil.which(name.split()[0]):
            return name.split()
    raise Skip('there is no C compiler')


def test_structs_as_a_compiler_lays_them_out():
    lines, expected = [], []
    for kind in vars(structs).values():
        if not isinstance(kind, type) or not hasattr(kind, '_fields_'):
            continue
        name = 'struct blanch' + re.sub('([A-Z])', lambda m: '_' + m[1].lower(), kind.__name__)
        lines.append('sizeof(%s)' % name)
        expected.append((name, structs.ctypes.sizeof(kind)))
        for field, _ in kind._fields_:
            lines.append('offsetof(%s, %s)' % (name, field))
            expected.append((name + '.' + field, getattr(kind, field).offset))
    for number, code in (('BLANCH_PHASES', structs.PHASES), ('BLANCH_OWN', structs.NORMS.index('own')),
                         ('BLANCH_ND', structs.NORMS.index('nd')), ('BLANCH_NONE', structs.NORMS.index('none')),
                         ('BLANCH_BF16', structs.PRECISIONS.index('bf16')), ('BLANCH_GPU', structs.GPU),
                         ('BLANCH_TEST', structs.SPLITS.index('test')), ('BLANCH_RECOMPUTE_AUTO', -1)):
        lines.append(number)
        expected.append((number, code))
    source = os.path.join(HOME, 'structs.c')
    with open(source, 'w') as f:
        f.write('#include <blanch/blanch.h>\n#include <stdio.h>\nint main(void) {\n%s}\n' % ''.join(
            '    printf("%%lld\\n", (long long)(%s));\n' % line for line in lines))
    program = os.path.join(HOME, 'structs')
    subprocess.run([*compiler(), '-I' + os.path.join(ROOT, 'include'), source, '-o', program], check=True)
    found = subprocess.run([program], stdout=subprocess.PIPE, check=True).stdout.split()
    wrong = ['%s: %s, the package says %d' % (name, have, want) for (name, want), have in zip(expected, found)
             if int(have) != want]
    check(len(found) == len(expected) > 150 and not wrong, '\n'.join(wrong))


def test_errors_as_the_header_has_them():
    codes = dict((name, int(code)) for name, code in
                 re.findall(r'X\((\w+), (-\d+), ', read('include', 'blanch', 'blanch.h')))
    check(sorted(codes.values()) == sorted(blanch.errors.BY_CODE), codes)
    check(blanch.errors.BY_CODE[codes['LIMIT']] is blanch.LimitError and issubclass(blanch.LimitError, MemoryError))


def test_options_as_the_command_line_has_them():
    text = subprocess.run([BLANCH, 'train', '--help'], stdout=subprocess.PIPE, universal_newlines=True).stdout
    known = set(re.findall(r'--([\w-]+)', text)) | {'optimizer', 'precision'}
    for name in (*options.UPDATE, *options.ND, *options.OTHERS):
        check(name.replace('_', '-') in known, '`blanch train` has no --%s' % name.replace('_', '-'))


def test_every_file_of_the_package_is_installed():
    package = set(os.listdir(os.path.join(ROOT, 'python', 'blanch'))) - {'__pycache__'}
    installed = set(re.findall(r"'blanch/([\w.]+)'", read('python', 'meson.build')))
    check(package == installed, 'python/meson.build: %s' % ', '.join(sorted(package ^ installed)))


def test_library_of_another_version():
    source, wrong = os.path.join(HOME, 'other.c'), os.path.join(HOME, 'libother.so')
    with open(source, 'w') as f:
        f.write('const char *blanch_version(void);\nconst char *blanch_version(void) { return "9.8.7"; }\n')
    subprocess.run([*compiler(), '-shared', '-fPIC', source, '-o', wrong], check=True)
    for path, words in ((wrong, 'is Blanch 9.8.7, and this package is of ' + blanch.version),
                        (os.path.join(HOME, 'absent.so'), 'cannot be loaded')):
        last = python('import blanch', env={**os.environ, 'BLANCH_LIBRARY': path}).stderr.strip().splitlines()[-1]
        check(last.startswith('ImportError: ') and words in last and 'BLANCH_LIBRARY' in last, last)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[3:])))
