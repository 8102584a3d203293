#!/usr/bin/env python3
"""Other implementations of OpenCL, made in a folder of their own, and conformance on each:

    tests/implementations.py BLANCH FOLDER [NAME...] [--cases PATH] [--limit SECONDS] [--only-make]
    tests/implementations.py BLANCH FOLDER [NAME...] --suite DIR [--rows PATTERN] [--note TEXT]

Makes what FOLDER does not hold yet (about 3 GB for all), runs `blanch check` on each in both kinds of kernels and
prints a table in Markdown; what each run printed stays in FOLDER/NAME/KIND.txt. NAME: one of those below alone. Exit
status 1 where a case failed or a run did not end, 2 where an implementation cannot be had. With --suite it runs
`blanch suite --quick` on each instead, into DIR/NAME-v1-quick.json, of all rows or of some. Nothing is installed and no
device of the machine changes: packages are unpacked, and found through OCL_ICD_VENDORS and a dynamic linker of their
own. Needs Debian 12 or later, amd64, with `apt-get update` done, and pip; rusticl also user namespaces (unshare)."""
import argparse
import glob
import json
import os
import re
import resource
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
LINKER = 'ld-linux-x86-64.so.2'
# name: release of Debian (None: PyPI), packages, environment
KNOWN = {
    'pocl-3.1': ('bookworm', ['pocl-opencl-icd'], {}),
    'pocl-6.0': ('trixie', ['pocl-opencl-icd'], {}),
    # The compiler's libraries, which the runtime's package does not ask for.
    'intel': (None, ['intel-opencl-rt', 'intel-cmplr-lib-rt'], {}),
    'rusticl-22.3': ('bookworm', ['mesa-opencl-icd'], {'RUSTICL_ENABLE': 'llvmpipe'}),
    'rusticl-25.0': ('trixie', ['mesa-opencl-icd'], {'RUSTICL_ENABLE': 'llvmpipe'}),
    'oclgrind': ('bookworm', ['oclgrind'], {}),
}
DRIVERS = {'rusticl-22.3': ['libRusticlOpenCL.so.1'], 'rusticl-25.0': ['libRusticlOpenCL.so.1'],
           'pocl-3.1': ['libpocl.so.2'], 'pocl-6.0': ['libpocl.so.2'], 'intel': ['libintelocl.so'], 'oclgrind': []}


class Missing(Exception):
    """An implementation cannot be had here, and why."""


def run(*words, **more):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True, **more)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        raise Missing('%s: %s' % (words[0], lines[-1] if lines else 'exit status %d' % done.returncode))
    return done.stdout


def mirror():
    """Where this machine gets Debian from."""
    for line in run('apt-get', 'indextargets', '--format', '$(REPO_URI) $(ORIGIN) $(COMPONENT)',
                    'Created-By: Packages').splitlines():
        words = line.split()
        if words[1:] == ['Debian', 'main'] and 'security' not in words[0]:
            return words[0]
    raise Missing('apt-get knows no mirror of Debian: is `apt-get update` done?')


def make_of_debian(folder, release, packages):
    """The packages with all that they depend on, unpacked below folder/root: apt-get's own state lies there too, and
    it is told that nothing is installed."""
    state, root = os.path.join(folder, 'apt'), os.path.join(folder, 'root')
    for part in ('lists/partial', 'cache/archives/partial'):
        os.makedirs(os.path.join(state, part), exist_ok=True)
    with open(state + '/sources.list', 'w') as f:
        f.write('deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] %s %s main\n' % (mirror(), release))
    open(state + '/status', 'w').close()
    options = ['Dir::Etc::sourcelist=' + state + '/sources.list', 'Dir::Etc::sourceparts=-',
               'Dir::Etc::preferencesparts=-', 'Dir::State=' + state, 'Dir::State::status=' + state + '/status',
               'Dir::Cache=' + state + '/cache', 'APT::Sandbox::User=root', 'APT::Install-Recommends=0']
    apt = ['apt-get', '-q'] + [word for option in options for word in ('-o', option)]
    run(*apt, 'update')
    run(*apt, '--yes', '--download-only', 'install', *packages)
    for package in sorted(glob.glob(state + '/cache/archives/*.deb')):
        run('dpkg', '-x', package, root)


def make_of_pypi(folder, packages):
    run(sys.executable, '-m', 'pip', 'install', '--quiet', '--ignore-installed', '--no-warn-script-location',
        '--prefix', os.path.join(folder, 'root'), *packages)


def make(name, folder):
    release, packages, _ = KNOWN[name]
    made = os.path.join(folder, 'made')
    if os.path.exists(made):
        return
    os.makedirs(folder, exist_ok=True)
    if release:
        make_of_debian(folder, release, packages)
    else:
        make_of_pypi(folder, packages)
    os.makedirs(folder + '/vendors', exist_ok=True)
    for library in DRIVERS[name]:
        found = [at for at in ('lib', 'usr/lib/x86_64-linux-gnu')
                 if os.path.exists(os.path.join(folder, 'root', at, library))]
        if not found:
            raise Missing('%s is not in the packages' % library)
        with open(folder + '/vendors/%s.icd' % name, 'w') as f:
            f.write(os.path.join(folder, 'root', found[0], library) + '\n')
    open(made, 'w').close()


def environment(name, folder, kind):
    env = dict(os.environ, OCL_ICD_VENDORS=folder + '/vendors', XDG_CACHE_HOME=folder + '/cache',
               POCL_CACHE_DIR=folder + '/cache/pocl', BLANCH_TUNE='0', BLANCH_KIND=kind, **KNOWN[name][2])
    for other in ('BLANCH_DEVICE', 'OPENCL_VENDOR_PATH', 'OCL_ICD_FILENAMES', 'LD_LIBRARY_PATH', 'LD_PRELOAD'):
        env.pop(other, None)
    for part in ('/vendors', '/cache/pocl'):
        os.makedirs(folder + part, exist_ok=True)
    return env


def command(name, folder, words):
    """words, as a command that finds the implementation's libraries first."""
    root = os.path.join(folder, 'root')
    linkers = [at for at in (root + '/usr/lib64/' + LINKER, root + '/lib64/' + LINKER) if os.path.exists(at)]
    if not KNOWN[name][0] or not linkers:
        return words
    libraries = ':'.join([root + '/usr/lib/x86_64-linux-gnu', root + '/lib/x86_64-linux-gnu'])
    words = [linkers[0], '--library-path', libraries] + words
    if not name.startswith('rusticl'):
        return words
    # Mesa looks for its device library in /usr/lib/clc and nowhere else.
    mount = 'mount -t overlay -o lowerdir="$0/usr/lib:/usr/lib" overlay /usr/lib && exec "$@"'
    return ['unshare', '--user', '--map-root-user', '--mount', 'sh', '-c', mount, root] + words


def devices(blanch, name, folder):
    done = subprocess.run(command(name, folder, [blanch, 'devices', '--json']), env=environment(name, folder, 'cpu'),
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    if done.returncode:
        raise Missing(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout)['devices']


def files_of(cases):
    """What `check` reads of cases and folders of them, in its order."""
    return [file for case in cases
            for file in (sorted(glob.glob(case + '/*.safetensors')) if os.path.isdir(case) else [case])]


def run_check(words, env, log, end):
    """Lines of a run, and its status: None where it did not end in time."""
    with open(log, 'a+', errors='replace') as out:
        begin = out.seek(0, os.SEEK_END)
        child = subprocess.Popen(words, stdout=out, stderr=out, env=env)
        try:
            status = child.wait(max(1, end - time.time()))
        except subprocess.TimeoutExpired:
            child.terminate()
            child.wait()
            status = None
        out.seek(begin)
        return out.read().splitlines(), status


def check(blanch, name, folder, kind, cases, limit):
    """What came of the cases in one kind of kernels: a row's cells, and whether all is well. Where a driver ends the
    process, the case that it ended in has failed, and the next run goes on behind it."""
    log, env = os.path.join(folder, kind + '.txt'), environment(name, folder, kind)
    start, before = time.time(), resource.getrusage(resource.RUSAGE_CHILDREN)
    open(log, 'w').close()
    passed, failed, ended, files = 0, [], '', files_of(cases)
    while files and not ended:
        lines, status = run_check(command(name, folder, [blanch, 'check', *files]), env, log, start + limit)
        found = [line.split()[:2] for line in lines if re.match(r'\S+ +(passed|failed) ', line)]
        passed += sum(verdict == 'passed' for _, verdict in found)
        failed += [case for case, verdict in found if verdict == 'failed']
        if status is None:
            ended = 'not ended after %d s' % limit
        elif status in (0, 1) and found:
            break
        elif len(found) < len(files):
            case = os.path.splitext(os.path.basename(files[len(found)]))[0]
            failed.append('%s (status %d: %s)' % (case, status, lines[-1][:80] if lines else ''))
        files = files[len(found) + 1:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print('%s, %s: %d passed, %d failed, %.0f s' % (name, kind, passed, len(failed), time.time() - start),
          file=sys.stderr, flush=True)
    what = '; '.join([', '.join(failed)] * bool(failed) + [ended] * bool(ended))
    return [kind, passed, len(failed), '%.0f' % used, what], not what


def measure(given, name, folder):
    """The suite's short form, with kernels and tuning as users have them. Whether all is well."""
    env = environment(name, folder, '')
    del env['BLANCH_TUNE'], env['BLANCH_KIND']
    words = [os.path.abspath(given.blanch), 'suite', '--quick', '--resume', '--out', name + '-v1-quick.json']
    words += ['--rows', given.rows] * bool(given.rows) + ['--note', given.note] * bool(given.note)
    start = time.time()
    status = subprocess.run(command(name, folder, words), env=env, cwd=given.suite).returncode
    print('%s: %.0f s' % (name, time.time() - start), file=sys.stderr, flush=True)
    return status == 0


def check_oclgrind(blanch, folder, cases, limit):
    """As tests/oclgrind.sh runs it, each case by itself: the simulated device reports races and stray accesses."""
    root = os.path.join(folder, 'root')
    names = [os.path.splitext(os.path.basename(case))[0] for case in cases if not os.path.isdir(case)]
    path = root + '/usr/bin:' + os.environ['PATH']
    env = dict(environment('oclgrind', folder, 'gpu'), PATH=path, BLANCH_KIND='')
    del env['OCL_ICD_VENDORS']
    libraries = [root + '/usr/lib/oclgrind', root + '/usr/lib/x86_64-linux-gnu', root + '/lib/x86_64-linux-gnu']
    env['LD_LIBRARY_PATH'] = ':'.join(libraries)
    with open(folder + '/gpu.txt', 'w') as out:
        status = subprocess.run(['bash', HERE + '/oclgrind.sh', blanch, str(limit), *names], env=env, stdout=out,
                                stderr=out).returncode
    lines = open(folder + '/gpu.txt', errors='replace').read().splitlines()
    clean = sum(line.endswith(': clean') for line in lines)
    left = [line.split(':')[0] for line in lines if ': left out' in line]
    wrong = [line.split(':')[0] for line in lines if re.match(r'\S+: (reported|exit status)', line)]
    what = '; '.join(['%s' % ', '.join(wrong)] * bool(wrong) + ['%d left out' % len(left)] * bool(left))
    return ['gpu', clean, len(wrong), '', what], status == 0


def options():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('blanch')
    parser.add_argument('folder')
    parser.add_argument('names', nargs='*', metavar='NAME', help=', '.join(KNOWN))
    parser.add_argument('--cases', action='append', help='a case or a folder of them (those of tests/reference)')
    parser.add_argument('--limit', type=int, default=3600, help='seconds for a run; for a case, oclgrind (%(default)s)')
    parser.add_argument('--only-make', action='store_true')
    parser.add_argument('--suite', metavar='DIR', help='timings, not conformance')
    parser.add_argument('--rows', help="of the suite: 'smallcnn-*,resnet18-bn-128'")
    parser.add_argument('--note', help='what a reader of the suite should know')
    given = parser.parse_args()
    unknown = set(given.names) - set(KNOWN)
    if unknown:
        parser.error('no implementation is called %s; there are %s' % (', '.join(sorted(unknown)), ', '.join(KNOWN)))
    return given


def rows_of(given, name, folder):
    """Rows of the table, and whether all is well."""
    blanch, cases = os.path.abspath(given.blanch), given.cases or [HERE + '/reference/conformance']
    if name == 'oclgrind':
        cells, good = check_oclgrind(blanch, folder, given.cases or [], given.limit)
        return [[name, 'Oclgrind', '21.10'] + cells], good
    rows, well = [], True
    device = devices(blanch, name, folder)[0]
    for kind in 'cpu', 'gpu':
        cells, good = check(blanch, name, folder, kind, cases, given.limit)
        rows.append([name, device['platform'], device['driver']] + cells)
        well &= good
    return rows, well


def main():
    given = options()
    rows, status = [], 0
    for name in given.names or KNOWN:
        folder = os.path.join(os.path.abspath(given.folder), name)
        try:
            make(name, folder)
            if given.only_make:
                continue
            if given.suite:
                status = max(status, 0 if measure(given, name, folder) else 1)
                continue
            more, good = rows_of(given, name, folder)
            rows += more
            status = max(status, 0 if good else 1)
        except (Missing, OSError) as error:
            print('%s: %s' % (name, error), file=sys.stderr)
            status = 2
    if rows:
        print('| name | platform | driver | kernels | passed | failed | processor s | what failed |')
        print('| --- ' * 8 + '|')
        for row in rows:
            print('| ' + ' | '.join(str(cell) for cell in row) + ' |')
    return status


if __name__ == '__main__':
    sys.exit(main())
