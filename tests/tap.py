"""TAP for the tests in Python (https://testanything.org, version 13).

A script ends in `sys.exit(tap.run(tap.functions(globals(), sys.argv[2:])))`: each function test_NAME is a case, which
fails by raising an exception and is skipped by raising Skip. Cases that follow from each other go through a Report."""
import os
import subprocess
import sys
import time


class Skip(Exception):
    """The reason why a case cannot run here."""


def check(condition, text=''):
    if not condition:
        raise AssertionError(text)


def say(line):
    print(line, flush=True)


class Report:
    """Lines of cases as they come. count: how many there will be; None: the plan ends the output."""

    def __init__(self, count=None):
        self.done = self.failed = 0
        self.planned = count is not None
        if self.planned:
            say('1..%d' % count)

    def case(self, name, good, why=''):
        """why, a text or lines, is told where the case is not good."""
        self.done += 1
        self.failed += not good
        say('%s %d - %s' % ('ok' if good else 'not ok', self.done, name))
        if not good:
            for line in why.splitlines() if isinstance(why, str) else why:
                say('# ' + line)

    def skip(self, name, reason):
        self.done += 1
        say('ok %d - %s # SKIP %s' % (self.done, name, reason))

    def end(self):
        """The exit status."""
        if not self.planned:
            say('1..%d' % self.done)
        return self.failed > 0


def functions(names, wanted=()):
    """(name, function) of the test_* among names, those wanted alone where any are."""
    cases = [(n[5:].replace('_', ' '), f) for n, f in names.items() if n.startswith('test_') and callable(f)]
    unknown = set(w.replace('_', ' ') for w in wanted) - set(name for name, _ in cases)
    if unknown:
        sys.exit('no test is called %s' % ', '.join(sorted(unknown)))
    return [case for case in cases if not wanted or case[0] in [w.replace('_', ' ') for w in wanted]]


def run(cases):
    """Runs (name, function) after (name, function); the exit status."""
    report = Report(len(cases))
    for name, test in cases:
        start, before = time.time(), sum(os.times()[:4])
        try:
            test()
            report.case(name, True)
        except Skip as reason:
            report.skip(name, reason)
        except Exception as error:      # a case that breaks is a case that fails; the others go on
            report.case(name, False, ('%s: %s' % (type(error).__name__, error))[:2000])
        say('# %.1f s, %.1f s of the processors' % (time.time() - start, sum(os.times()[:4]) - before))
    return report.end()


def skip_all(reason):
    say('1..0 # SKIP ' + reason)
    sys.exit(0)


def need_device(blanch):
    """Ends the script where there is no OpenCL device: skipped, but failed where CI is set, as the programs in C do."""
    if subprocess.run([blanch, 'devices'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0:
        return
    if not os.environ.get('CI'):
        skip_all('there is no OpenCL device')
    say('1..1\nnot ok 1 - there is an OpenCL device')
    sys.exit(1)
