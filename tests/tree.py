#!/usr/bin/env python3
"""What the source tree promises of itself: tests/tree.py [TEST...]. Include arrows as docs/overview.md states them,
OpenCL headers in their two folders alone, format, width of lines, links of documents, results of devices. Prints TAP;
needs no build and no device."""
import glob
import json
import os
import re
import shutil
import subprocess
import sys

import jsonschemas
import tap

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FOLDERS = ('include', 'host', 'kernels', 'models', 'datasets', 'tests', 'docs', '.ci', 'examples', 'python')
OPENCL = ('CL/', 'OpenCL/', 'clblast', 'clFFT')
WIDTH = 120


def files(*ends):
    """Paths from the root, sorted: what lies at the top and in FOLDERS."""
    found = [p for p in os.listdir(ROOT) if os.path.isfile(os.path.join(ROOT, p))]
    for folder in FOLDERS:
        found += [os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, folder, '**'), recursive=True)
                  if os.path.isfile(p)]
    return sorted(p for p in found if p.endswith(ends) and '__pycache__' not in p)


def read(path):
    with open(os.path.join(ROOT, path), encoding='utf-8') as f:
        return f.read()


def none(wrong):
    tap.check(not wrong, '%d:\n%s' % (len(wrong), '\n'.join(wrong[:30])))


# --- include arrows ------------------------------------------------------------------------------

def area(path):
    """The folder that a file belongs to: `graph` of host/graph/op.h, `models` of models/vgg.c."""
    parts = path.split('/')
    return parts[1] if parts[0] == 'host' else parts[0]


def included(path):
    """Paths that a file includes from this tree, and the names in angle brackets."""
    text = read(path)
    own, others = [], re.findall(r'^\s*#\s*include\s*<([^>]+)>', text, re.M)
    for name in re.findall(r'^\s*#\s*include\s*"([^"]+)"', text, re.M):
        places = [os.path.join(d, name) for d in (os.path.dirname(path), 'host', 'models', 'datasets', 'include')]
        own += [p for p in places if os.path.exists(os.path.join(ROOT, p))][:1]     # none: made by the build
    return own, others


def sources():
    return [p for p in files('.c', '.h') if p.startswith(('host/', 'models/', 'datasets/', 'include/'))]


def arrows():
    """{(folder, folder): ['FILE includes FILE']} between different folders; the public API counts to base."""
    found = {}
    for path in sources():
        for other in included(path)[0]:
            pair = tuple('base' if a == 'include' else a for a in (area(path), area(other)))
            if pair[0] != pair[1]:
                found.setdefault(pair, []).append('%s includes %s' % (path, other))
    return found


def allowed():
    """{folder: folders that it may include}, from the line of docs/overview.md."""
    line = re.search(r'Dependencies point one way: ([^.]+)\.', read('docs/overview.md'))
    tap.check(line, "docs/overview.md has no line 'Dependencies point one way: ...'")
    chain = [[name.strip() for name in group.split(',')] for group in line.group(1).split('→')]
    may = {name: {n for later in chain[i + 1:] for n in later} for i, group in enumerate(chain) for name in group}
    tap.check('base' in may and 'graph' in may and 'cli' in may, 'the line does not name base, graph and cli')
    for name in ('graph', 'sched', 'train', 'report', 'cli'):
        may[name].add('io')
    for name in ('train', 'cli'):
        may[name] |= {'models', 'datasets'}
    may['cli'].add('report')
    return {**may, 'models': {'graph'}, 'datasets': {'base'}, 'io': {'base'}}


def test_include_arrows():
    may = allowed()
    unknown = sorted({a for pair in arrows() for a in pair} - set(may))
    tap.check(not unknown, 'docs/overview.md places no folder %s' % ', '.join(unknown))
    none([line for (a, b), lines in sorted(arrows().items()) if b not in may[a] for line in lines])


def test_opencl_headers_in_cl_and_blas_alone():
    none(['%s includes <%s>' % (path, name) for path in sources() if area(path) not in ('cl', 'blas')
          for name in included(path)[1] if name.startswith(OPENCL)])


def test_internal_headers_stay_in_their_folder():
    """*internal.h is for its folder, cl_raw.h for cl/ and blas/."""
    wrong = []
    for path in sources():
        for other in included(path)[0]:
            if other.endswith('internal.h') and os.path.dirname(other) != os.path.dirname(path):
                wrong.append('%s includes %s' % (path, other))
            if other.endswith('cl_raw.h') and area(path) not in ('cl', 'blas'):
                wrong.append('%s includes %s' % (path, other))
    none(wrong)


# --- format --------------------------------------------------------------------------------------

def clang_format():
    for name in ('clang-format-14', 'clang-format'):
        program = shutil.which(name)
        if program and ' version 14.' in subprocess.run([program, '--version'], stdout=subprocess.PIPE,
                                                        universal_newlines=True).stdout:
            return program
    raise tap.Skip('clang-format 14 is not installed')


def test_clang_format_finds_nothing():
    done = subprocess.run([clang_format(), '--dry-run', '-Werror', *files('.c', '.h', '.cl')], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    none([line for line in done.stdout.splitlines() if ' error: ' in line])
    tap.check(done.returncode == 0, done.stdout)


def lines(path):
    """(number, line) of what has to keep the width: in documents, not tables, addresses and what programs print."""
    text = read(path)
    if path.endswith('.md'):
        text = re.sub(r'^```.*?^```', lambda block: '\n' * block.group(0).count('\n'), text, flags=re.M | re.S)
        text = re.sub(r'^(\|.*|.*://.*)$', '', text, flags=re.M)
    return enumerate(text.splitlines(), 1)


def test_lines_are_not_wider_than_120():
    kinds = ('.c', '.h', '.cl', '.py', '.sh', '.md', 'meson.build', 'meson_options.txt', 'quickstart', '.ci/run')
    none(['%s:%d: %d characters' % (path, number, len(line)) for path in files(*kinds)
          for number, line in lines(path) if len(line) > WIDTH])


# --- documents -----------------------------------------------------------------------------------

def headings(path):
    """The anchors that GitHub makes of a document's headings."""
    found = set()
    for title in re.findall(r'^#+ +(.+?) *$', re.sub(r'^```.*?^```', '', read(path), flags=re.M | re.S), re.M):
        anchor = re.sub(r'[^\w\- ]', '', re.sub(r'\[([^]]*)\]\([^)]*\)', r'\1', title).lower()).replace(' ', '-')
        number = 0
        while anchor + ('-%d' % number if number else '') in found:
            number += 1
        found.add(anchor + ('-%d' % number if number else ''))
    return found


def broken_links(path):
    text = re.sub(r'^```.*?^```|`[^`\n]*`', '', read(path), flags=re.M | re.S)
    for target in re.findall(r'\]\(\s*<?([^)>\s]+)', text) + re.findall(r'(?:src|href)="([^"]+)"', text):
        if re.match(r'[a-z]+:', target):
            continue
        name, _, anchor = target.partition('#')
        other = os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path
        if not os.path.exists(os.path.join(ROOT, other)):
            yield '%s: %s is not there' % (path, target)
        elif anchor and other.endswith('.md') and anchor not in headings(other):
            yield '%s: %s has no heading #%s' % (path, other, anchor)


def test_links_of_documents():
    none([line for path in files('.md') for line in broken_links(path)])


def test_files_that_documents_name():
    """Paths in backticks that begin with a folder of this tree and have an ending are there."""
    named = re.compile(r'`((?:include|host|kernels|models|datasets|tests|docs|examples)/[\w./-]+'
                       r'\.(?:c|h|cl|py|sh|md|csv))`')
    none(['%s names %s, which is not there' % (path, name) for path in files('.md')
          for name in named.findall(read(path))
          if 'NAME' not in name and not os.path.exists(os.path.join(ROOT, name))])


def test_programs_in_documents_are_those_of_the_examples():
    programs = [read(path) for path in files('.c') if path.startswith('examples/')]
    none(['%s shows what no program in examples/ has:\n%s' % (path, block) for path in files('.md')
          for block in re.findall(r'^```c\n(.*?)^```', read(path), re.M | re.S)
          if not any(block in program for program in programs)])


def test_workflows():
    """They are YAML, with jobs and steps; actionlint, which CI runs, looks further."""
    try:
        import yaml
    except ImportError:
        raise tap.Skip('there is no yaml for Python')
    found = glob.glob(os.path.join(ROOT, '.github', 'workflows', '*.yml'))
    tap.check(found, 'there are none')
    for path in found:
        jobs = yaml.safe_load(open(path, encoding='utf-8'))['jobs']
        tap.check(all(job['steps'] for job in jobs.values()), path)


def test_results_of_devices():
    """Each file of docs/results is what the suite's schema says, comparable, and named in the README there."""
    wrong, table = [], read('docs/results/README.md')
    for path in files('.json'):
        if not path.startswith('docs/results/'):
            continue
        document = json.loads(read(path))
        wrong += ['%s: %s' % (path, problem) for problem in jsonschemas.problems('suite', document)]
        wrong += [] if document.get('suite', {}).get('comparable') else ['%s is not comparable' % path]
        wrong += [] if os.path.basename(path) in table else ['%s is not in the README beside it' % path]
    none(wrong)


if __name__ == '__main__':
    sys.exit(tap.run(tap.functions(globals(), sys.argv[1:])))
