#!/usr/bin/env python3
"""The commands that documents show: tests/documents.py BLANCH [TEST...]. Each that begins with `blanch` or
`build/blanch`, in a block or within a line, names a subcommand and options that there are; the blocks are run, each
document's in a folder of its own and in order, made small by what stands between (a few images and steps), unless
<!-- long: WHY --> stands above. `tests/documents.py BLANCH all` runs the blocks of all documents, not of those alone
that CI has the time for; docs/measurements/ says what was run, and when. Prints TAP."""
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

import caches
import pictures
import tap
from tap import check

BLANCH = os.path.abspath(sys.argv[1])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-documents-')
DOCUMENTS = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md',
             *sorted(os.path.relpath(p, ROOT) for p in glob.glob(os.path.join(ROOT, 'docs', '**', '*.md'),
                                                                 recursive=True))]
QUICK = ('README.md', 'docs/tutorial.md', 'docs/ci.md', 'docs/suite.md')     # what a newcomer types
LONG = re.compile(r'<!-- long: [^>]+ -->\s*\Z')
COMMAND = re.compile(r'(?:^|[\s(;&|])(?:build/|blanch/build/)?blanch +([a-z]+)(?![\w:./])((?: [^`|&;>#\n]*)?)')


def read(document):
    with open(os.path.join(ROOT, document), encoding='utf-8') as f:
        return f.read()


def blocks(document):
    """(marked as long, kind, text) of each block in a fence, without its indentation."""
    text = read(document)
    for found in re.finditer(r'^( *)```(\w*)\n(.*?)^\1```', text, re.M | re.S):
        body = re.sub(r'^' + found[1], '', found[3], flags=re.M)
        yield bool(LONG.search(text[:found.start()])), found[2], body


def commands(text):
    """(subcommand, its words) of each command in a text of the shell."""
    for found in COMMAND.finditer(text.replace('\\\n', ' ')):
        yield found[1], found[2].split()


def shown(document):
    """The commands of a document, those within a line too."""
    text = read(document)
    for _, kind, body in blocks(document):
        if kind in ('', 'sh', 'yaml', 'console'):
            yield from commands(body)
    rest = re.sub(r'^ *```.*?^ *```', '', text, flags=re.M | re.S)
    for code in re.findall(r'`([^`]+)`', rest):
        if re.match(r'(build/)?blanch ', code):
            yield from commands(code.replace('\n', ' '))


# --- names ---------------------------------------------------------------------------------------

OPTIONS = {}


def options(subcommand):
    """All that its --help names, `-b` and `--optimizer` too; None: there is no such subcommand."""
    if subcommand not in OPTIONS:
        done = subprocess.run([BLANCH, subcommand, '--help'], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              text=True)
        OPTIONS[subcommand] = done.returncode == 0 and set(re.findall(r'(?<![\w-])--?[a-z][\w-]*', done.stdout))
    return OPTIONS[subcommand] or None


def unknown(document):
    for subcommand, words in shown(document):
        known = options(subcommand)
        if known is None:
            yield '%s: there is no `blanch %s`' % (document, subcommand)
            continue
        for word in words:
            name = re.match(r'--?[a-z][\w-]*', word.strip("[]().,'"))
            if name and name[0] not in known and name[0] != '--help':
                yield '%s: `blanch %s` has no %s' % (document, subcommand, name[0])


def test_documents_name_what_there_is():
    count = sum(1 for document in DOCUMENTS for _ in shown(document))
    check(count > 100, 'only %d commands were found' % count)
    wrong = [line for document in DOCUMENTS for line in unknown(document)]
    check(not wrong, '\n'.join(wrong))


def test_it_would_notice():
    """A command with a word that there is not."""
    for text in ('blanch trian --model x', 'build/blanch train --modle x', 'a && blanch suite --quik --out x'):
        found = list(commands(text))
        check(len(found) == 1, text)
        known = options(found[0][0])
        check(known is None or [w for w in found[0][1] if w.startswith('--') and w not in known], text)


# --- running -------------------------------------------------------------------------------------

SMALL = '''#!/usr/bin/env python3
"""blanch with a few images and steps, whatever is asked for."""
import os, sys
args, data = sys.argv[1:], %(data)r
command = args[0] if args else ''
few = {'--steps': {'train': '2', 'compare': '4', 'bench': '1', 'study': '1'}.get(command), '--batch': '4',
       '--count': '4', '--calibrate': '8', '--seconds': '0.05', '--sustain': '0.05'}
made = {'fashion-mnist': 'digits', 'cifar10:': 'tiny', 'cifar100:': 'tiny'}
out, i = [], 0
while i < len(args):
    name = args[i]
    if name == '--epochs' and command in ('train', 'compare'):
        out += ['--steps', few['--steps']]
        i += 2
    elif name in few and few[name] and i + 1 < len(args):
        out += [name, few[name]]
        i += 2
    elif name == '--data' and i + 1 < len(args):
        known = [data[made[key]] for key in made if args[i + 1].startswith(key)]
        out += [name, known[0] if known else args[i + 1]]
        i += 2
    else:
        out.append(name)
        i += 1
if command in ('train', 'compare', 'bench') and '--resume' not in out:
    out += ['--no-tune'] + ([] if '--steps' in out or '--gemm' in out else ['--steps', few['--steps']])
if command == 'suite' and '--show' not in out and '--list' not in out and '--rows' not in out:
    out += ['--rows', 'smallcnn-bn-128-inference', '--seconds', '0.05', '--no-tune']
    out += [] if '--quick' in out else ['--sustain', '0.05']
os.execv(%(blanch)r, [%(blanch)r, *out])
'''


def put(path, text, mode=0o644):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb' if isinstance(text, bytes) else 'w') as f:
        f.write(text)
    os.chmod(path, mode)


def folder_of(document):
    """With the project's examples and tests, and the program made small as `blanch` and build/blanch."""
    folder = os.path.join(HOME, document.replace('/', '-'))
    data = {'digits': pictures.mnist(os.path.join(HOME, 'digits'), 24, 8, size=28), 'tiny': 'synthetic:3x32x32:10'}
    for path in ('build/blanch', 'blanch/build/blanch', 'bin/blanch'):
        put(os.path.join(folder, path), SMALL % {'data': data, 'blanch': BLANCH}, 0o755)
    for name in ('examples', 'tests', 'docs', 'python'):
        os.symlink(os.path.join(ROOT, name), os.path.join(folder, name))
    return folder


def colours(folder, *names):
    """Pictures of two classes."""
    for name in names:
        for part, count in (('train', 4), ('test', 2)):
            for label, colour in (('red', b'\xc0\x20\x20'), ('blue', b'\x20\x20\xc0')):
                for i in range(count):
                    put(os.path.join(folder, name, part, label, '%d.png' % i), pictures.png(40, 40, colour * 1600))


def has_ranks():
    """It was built with MPI, whose mpirun is there, on a machine that two ranks can share."""
    linked = subprocess.run(['ldd', BLANCH], stdout=subprocess.PIPE, text=True).stdout
    return 'libmpi' in linked and shutil.which('mpirun') is not None and (os.cpu_count() or 1) > 1


def run_blocks(document):
    folder = folder_of(document)
    colours(folder, 'DIR', 'pictures', 'others')
    put(os.path.join(folder, 'PICTURE.jpg'), pictures.png(40, 40, b'\x20\x20\xc0' * 1600))
    env = caches.environment(os.path.join(HOME, 'cache'), BLANCH_TUNE='0', OMPI_ALLOW_RUN_AS_ROOT='1',
                             OMPI_ALLOW_RUN_AS_ROOT_CONFIRM='1')
    env['PATH'] = os.path.join(folder, 'bin') + os.pathsep + env['PATH']
    if 'resnet18.safetensors' in read(document):    # as docs/tutorial.md makes it where torchvision's is not to be had
        made = ('blanch train --model torchvision:resnet18 --data folder:others --size 96 --quiet --out begun\n'
                'cp begun/last.safetensors resnet18.safetensors')
        subprocess.run(['bash', '-ec', made], cwd=folder, env=env, check=True)
    done, ranks = 0, has_ranks()
    for long, kind, body in blocks(document):
        if long or kind not in ('', 'sh') or not list(commands(body)) or body.startswith('usage:'):
            continue
        lines = [line for line in body.replace('\\\n', ' ').splitlines()
                 if (list(commands(line)) or line.startswith('cp ')) and
                 (ranks or not re.search(r'mpirun|train --devices', line))]
        start = time.time()
        ran = subprocess.run(['bash', '-euo', 'pipefail', '-c', '\n'.join(lines)], cwd=folder, env=env, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=600)
        check(ran.returncode == 0, '%s: %s\nends with %d: %s' % (document, '; '.join(lines), ran.returncode,
                                                                 ran.stdout[-700:]))
        tap.say('# %.1f s: %s: %s' % (time.time() - start, document, lines[0][:70]))
        done += 1
    return done


def test_commands_of_the_first_documents():
    done = {document: run_blocks(document) for document in QUICK}
    check(done['README.md'] and done['docs/tutorial.md'], done)


def test_all():
    if 'all' not in sys.argv[2:]:
        raise tap.Skip('tests/documents.py BLANCH all: it takes minutes')
    wrong = []
    for document in DOCUMENTS:
        if document in QUICK or document.startswith('docs/measurements/'):
            continue
        try:
            run_blocks(document)
        except Exception as error:
            wrong.append(str(error))
            tap.say('# ' + wrong[-1].replace('\n', '\n# '))
    check(not wrong, '\n'.join(wrong))


if __name__ == '__main__':
    tap.need_device(BLANCH)
    try:
        sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))
    finally:
        shutil.rmtree(HOME, ignore_errors=True)
