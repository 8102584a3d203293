#!/usr/bin/env python3
"""Counts of the source tree, to set beside those of another commit: tests/measure.py [FOLDER]. Figures, not a test:
long functions, functions and launches with many arguments, the longest files, include arrows, lines by folder.

FOLDER is a checkout of any commit (`git worktree add FOLDER COMMIT`); its files count as clang-format leaves them: a
function's head begins in the first column, its end is a brace there."""
import collections
import os
import re
import sys

import tree

LONG_FUNCTION, MANY_PARAMETERS, MANY_ARGUMENTS, LONGEST = 40, 6, 12, 12


def items(text):
    """How many a list between its outer brackets has, at its top level."""
    text, depth, count = text.strip(), 0, 1
    for c in text:
        depth += (c in '([{') - (c in ')]}')
        count += c == ',' and depth == 0
    return 0 if text in ('', 'void') else count


def inside(text, at):
    """What stands between the bracket at `at` and its partner."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == '(') - (text[i] == ')')
        if depth == 0:
            return text[at + 1:i]
    return text[at + 1:]


def functions(path):
    """(name, lines, parameters) of every function that a file defines."""
    lines = tree.read(path).splitlines()
    begin = None
    for number, line in enumerate(lines):
        if begin is None and re.match(r'[A-Za-z_].*\(', line) and not line.startswith(('typedef', 'else')):
            begin = number
        if begin is None:
            continue
        head = ' '.join(lines[begin:number + 1])
        if line.endswith('{') and not re.search(r'=\s*(\([^()]*\))?\s*\{$', head) and begin is not None:
            end = next((i for i in range(number, len(lines)) if lines[i].startswith('}')), len(lines) - 1)
            found = re.search(r'(\w+)\(', re.sub(r'__attribute__\(\(.*?\)\)', '', head))
            if found:
                yield found.group(1), end - begin + 1, items(inside(head, found.end() - 1))
            begin = None
        elif line.endswith((';', '}')):
            begin = None


def launches(path):
    """Arguments of every launch of a kernel, work sizes apart."""
    text = tree.read(path)
    for found in re.finditer(r'\bbl_launch(?:_light)?\(', text):
        yield items(inside(text, found.end() - 1)) - 2


def table(title, rows, shown=None):
    print('\n%s: %d' % (title, len(rows)))
    for row in rows[:shown]:
        print('  %-50s %s' % row)


def main():
    if len(sys.argv) > 1:
        tree.ROOT = os.path.abspath(sys.argv[1])
    host = [p for p in tree.sources() if p.endswith('.c')] + [p for p in tree.sources() if p.endswith('.h')]
    kernels = [p for p in tree.files('.cl', '.h') if p.startswith('kernels/')]
    defined = [(path, *f) for path in host for f in functions(path)]
    in_kernels = [(path, *f) for path in kernels for f in functions(path)]
    by_size = sorted(defined, key=lambda f: -f[2])
    table('functions of the host over %d lines' % LONG_FUNCTION,
          [('%s %s' % f[:2], '%d lines' % f[2]) for f in by_size if f[2] > LONG_FUNCTION])
    table('functions of kernels over %d lines' % LONG_FUNCTION,
          [('%s %s' % f[:2], '%d lines' % f[2]) for f in sorted(in_kernels, key=lambda f: -f[2])
           if f[2] > LONG_FUNCTION])
    table('functions of the host with over %d parameters' % MANY_PARAMETERS,
          [('%s %s' % f[:2], '%d parameters' % f[3]) for f in sorted(defined, key=lambda f: -f[3])
           if f[3] > MANY_PARAMETERS])
    launched = sorted(((path, n) for path in host for n in launches(path)), key=lambda l: -l[1])
    table('launches with over %d arguments' % MANY_ARGUMENTS,
          [(path, '%d arguments' % n) for path, n in launched if n > MANY_ARGUMENTS])
    length = {p: len(tree.read(p).splitlines()) for p in host + kernels}
    table('files of host, models, datasets and kernels; the longest',
          [(p, '%d lines' % n) for p, n in sorted(length.items(), key=lambda l: -l[1])], LONGEST)
    found = tree.arrows()
    table('include arrows between folders',
          [('%s -> %s' % pair, '%d' % len(lines)) for pair, lines in sorted(found.items())])
    folders = collections.Counter()
    for path in tree.files('.c', '.h', '.cl', '.py', '.sh', '.md'):
        folders[os.path.dirname(path) or '.'] += len(tree.read(path).splitlines())
    table('lines by folder (%d in all)' % sum(folders.values()), [(f, '%d' % n) for f, n in sorted(folders.items())])
    mean = sum(f[2] for f in defined) / max(1, len(defined))
    print('\n%d functions of the host, %.1f lines on average' % (len(defined), mean))


main()
