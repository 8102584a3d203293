"""What the tests of the Python package share. Importing it loads the package over the library that the command line
names, SCRIPT BLANCH LIBRARY [TEST...], with caches of the test's own; it ends the script where there is no NumPy or no
device."""
import atexit
import os
import shutil
import subprocess
import sys
import tempfile

import caches
import tap

try:
    import numpy                                                     # noqa: F401
except ImportError:
    tap.skip_all('no NumPy for ' + sys.executable)

BLANCH, LIBRARY = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
HOME = tempfile.mkdtemp(prefix='blanch-python-')
atexit.register(shutil.rmtree, HOME, ignore_errors=True)
os.environ.update(caches.environment(os.path.join(HOME, 'cache')), BLANCH_LIBRARY=LIBRARY, BLANCH_TUNE='0',
                  PYTHONPATH=os.path.join(ROOT, 'python'), PYTHONDONTWRITEBYTECODE='1')
sys.path.insert(0, os.environ['PYTHONPATH'])
sys.dont_write_bytecode = True
tap.need_device(BLANCH)


def read(*parts):
    with open(os.path.join(ROOT, *parts), encoding='utf-8') as f:
        return f.read()


def raises(kind, words, function, *arguments, **more):
    """The exception, one line that has the words in it."""
    try:
        function(*arguments, **more)
    except kind as error:
        tap.check(words in str(error) and '\n' not in str(error),
                  "'%s' is not in, or is not one line: %s" % (words, error))
        return error
    raise AssertionError('no %s that says %s' % (kind.__name__, words))


def python(script, *arguments, **more):
    return subprocess.run([sys.executable, '-c', script, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          universal_newlines=True, timeout=200, **more)
