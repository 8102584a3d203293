"""Cache folders for the tests in Python: what is measured and kept is a test's own, what is compiled is everyone's, so
that the suite compiles each kernel once."""
import os

USERS = os.environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')
POCL = os.environ.get('POCL_CACHE_DIR') or os.path.join(USERS, 'pocl', 'kcache')    # as keep_no_programs in harness.h


def environment(home, **more):
    """With the cache folder `home`, which keeps its programs where the user's are kept. more: None unsets."""
    programs, own = os.path.join(USERS, 'blanch', 'programs'), os.path.join(home, 'blanch', 'programs')
    os.makedirs(os.path.dirname(own), exist_ok=True)
    os.makedirs(programs, mode=0o700, exist_ok=True)
    if not os.path.lexists(own):
        os.symlink(os.path.abspath(programs), own)
    return beside(XDG_CACHE_HOME=home, **more)


def beside(**more):
    """With PoCL's alone."""
    env = {**os.environ, 'POCL_CACHE_DIR': POCL, **more}
    return {name: value for name, value in env.items() if value is not None}
