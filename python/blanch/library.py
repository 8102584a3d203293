"""The shared library: where it is found, what it declares, and how a call is made.

Every call goes through `call`, which turns a failure into an exception. ctypes releases the interpreter's lock while
the library works. Ctrl-C reaches it there through its stop flag; the interpreter's own handler would have to wait for
the call's end."""
from __future__ import annotations

import atexit
import collections
import ctypes
import logging
import os
import signal
import sys
import threading
import weakref
from ctypes import POINTER, byref, c_bool, c_char_p, c_double, c_float, c_int, c_int64, c_size_t, c_uint64, c_void_p
from typing import Any, Callable, Optional

from . import errors, structs

VERSION = '1.0.0'
HERE = os.path.dirname(os.path.abspath(__file__))
NAME, SYSTEM = 'libblanch.so', 'libblanch.so.' + VERSION.split('.')[0]
if sys.platform == 'darwin':
    NAME, SYSTEM = 'libblanch.dylib', 'libblanch.%s.dylib' % VERSION.split('.')[0]
LOG = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)
OUT = POINTER(c_void_p)

# What each function returns and takes. int that is 0 or an error is the plain case.
FUNCTIONS: dict[str, tuple[Any, list]] = {
    'version': (c_char_p, []),
    'error_message': (c_char_p, []),
    'log_set': (None, [LOG, c_void_p]),
    'stop_request': (None, []),
    'stop_clear': (None, []),
    'stop_requested': (c_bool, []),
    'free': (None, [c_void_p]),
    'devices_list': (c_int, [POINTER(POINTER(POINTER(structs.DeviceInfo))), POINTER(c_int)]),
    'device_open': (c_int, [OUT, c_char_p, c_uint64]),
    'device_close': (None, [c_void_p]),
    'device_info': (POINTER(structs.DeviceInfo), [c_void_p]),
    'device_tune': (c_int, [c_void_p, c_double]),
    'models_list': (POINTER(c_char_p), []),
    'model_find': (c_int, [OUT, c_char_p]),
    'model_from_json': (c_int, [OUT, c_char_p, c_size_t]),
    'model_free': (None, [c_void_p]),
    'model_info': (c_int, [c_void_p, POINTER(structs.ModelInfo)]),
    'model_json': (c_int, [c_void_p, c_int, POINTER(c_void_p)]),
    'network_create': (c_int, [OUT, c_void_p, POINTER(structs.NetworkOptions)]),
    'network_free': (None, [c_void_p]),
    'network_ema': (c_int, [OUT, c_void_p]),
    'network_info': (c_int, [c_void_p, POINTER(structs.NetworkInfo)]),
    'network_load': (c_int, [c_void_p, c_char_p]),
    'network_save': (c_int, [c_void_p, c_char_p]),
    'network_export': (c_int, [c_void_p, c_char_p]),
    'network_export_encoder': (c_int, [c_void_p, c_char_p]),
    'network_init': (c_int, [c_void_p, c_char_p, POINTER(c_int)]),
    'network_save_state': (c_int, [c_void_p, c_char_p]),
    'network_load_state': (c_int, [c_void_p, c_char_p]),
    'parameter_info': (c_int, [c_void_p, c_int, POINTER(structs.ParameterInfo)]),
    'parameter_read': (c_int, [c_void_p, c_int, c_void_p, c_int64]),
    'parameter_write': (c_int, [c_void_p, c_int, c_void_p, c_int64]),
    'counter_read': (c_int, [c_void_p, c_int, POINTER(c_int64)]),
    'counter_write': (c_int, [c_void_p, c_int, c_int64]),
    'nd_preset': (c_int, [c_char_p, POINTER(structs.NdOptions)]),
    'update_defaults': (c_int, [c_char_p, POINTER(structs.Update)]),
    'schedule_lr': (c_int, [POINTER(structs.Schedule), c_int64, POINTER(c_float)]),
    'network_step': (c_int, [c_void_p, c_void_p, c_void_p, c_int, POINTER(structs.Update), POINTER(structs.Metrics)]),
    'network_step_pairs': (c_int, [c_void_p, c_void_p, POINTER(structs.LabelPairs), c_int, POINTER(structs.Update),
                                   POINTER(structs.Metrics)]),
    'network_labels_pixels': (c_bool, [c_void_p]),
    'network_predict': (c_int, [c_void_p, c_void_p, c_int, c_void_p]),
    'network_evaluate': (c_int, [c_void_p, c_void_p, c_void_p, c_int, POINTER(structs.Metrics)]),
    'network_generates': (c_bool, [c_void_p]),
    'network_told_classes': (c_bool, [c_void_p]),
    'network_sample': (c_int, [c_void_p, POINTER(structs.SampleOptions), c_int, c_void_p]),
    'network_join': (c_int, [c_void_p, POINTER(structs.Collectives), c_bool]),
    'collectives_mpi': (c_int, [POINTER(structs.Collectives), c_void_p, c_double]),
    'collectives_mpi_free': (None, [POINTER(structs.Collectives)]),
    'network_layer': (c_int, [c_void_p, c_int, POINTER(structs.Layer)]),
    'network_record': (c_int, [c_void_p, c_bool]),
    'phase_name': (c_char_p, [c_int]),
    'network_ledger': (c_int, [c_void_p, POINTER(structs.Ledger)]),
    'network_ledger_row': (c_int, [c_void_p, c_int, POINTER(structs.LedgerRow)]),
    'network_budget': (c_int, [c_void_p, POINTER(structs.Budget)]),
    'network_budget_layer': (c_int, [c_void_p, c_int, POINTER(structs.BudgetLayer)]),
    'data_open_with': (c_int, [OUT, c_char_p, POINTER(structs.DataOptions)]),
    'data_close': (None, [c_void_p]),
    'data_info': (c_int, [c_void_p, POINTER(structs.DataInfo)]),
    'data_class': (c_char_p, [c_void_p, c_int]),
    'data_message': (c_char_p, [c_void_p]),
    'data_view': (c_int, [c_void_p, c_int, c_int, c_int, POINTER(structs.View)]),
    'view_normalise': (c_int, [POINTER(structs.View), c_void_p, c_char_p]),
    'network_view': (c_int, [c_void_p, POINTER(structs.View)]),
    'network_set_view': (c_int, [c_void_p, POINTER(structs.View), c_void_p]),
    'image_read': (c_int, [c_char_p, POINTER(structs.View), c_void_p]),
    'loader_open': (c_int, [OUT, c_void_p, POINTER(structs.LoaderOptions)]),
    'loader_close': (None, [c_void_p]),
    'loader_batches': (c_int64, [c_void_p]),
    'loader_next': (c_int, [c_void_p, POINTER(structs.Batch)]),
}


# --- loading ---------------------------------------------------------------------------------------

def find() -> str:
    """BLANCH_LIBRARY, which has to be there where it is set; the wheel's, beside this file; the system's."""
    chosen = os.environ.get('BLANCH_LIBRARY')
    beside = os.path.join(HERE, NAME)
    if chosen or os.path.exists(beside):
        return chosen or beside
    return SYSTEM


def load(path: str) -> ctypes.CDLL:
    """Opens the library and declares what it has; ImportError, with one line, where that is not possible."""
    try:
        loaded = ctypes.CDLL(path)
        version = loaded.blanch_version
    except OSError as error:
        advice = 'BLANCH_LIBRARY says where it is'
        if 'libOpenCL' in str(error):
            advice = 'it needs an OpenCL loader (Debian: ocl-icd-libopencl1) and a driver'
        raise ImportError('%s: the library of Blanch cannot be loaded; %s' % (error, advice))
    except AttributeError:
        raise ImportError('%s is no library of Blanch %s; BLANCH_LIBRARY says where one is' % (path, VERSION))
    version.restype = c_char_p
    if version().decode() != VERSION:
        raise ImportError('%s is Blanch %s, and this package is of %s; BLANCH_LIBRARY says where another is'
                          % (path, version().decode(), VERSION))
    for name, (returns, takes) in FUNCTIONS.items():
        function = getattr(loaded, 'blanch_' + name)
        function.restype, function.argtypes = returns, takes
    return loaded


lib = load(find())


@LOG
def _show(context, line):
    logging.getLogger('blanch').warning('%s', line.decode(errors='replace'))


lib.blanch_log_set(_show, None)
atexit.register(lib.blanch_log_set, LOG(), None)


# --- turns, and objects ------------------------------------------------------------------------------

class Turn:
    """Everything of one device belongs to one thread at a time: calls from several wait for each other, and an object
    that is collected meanwhile is released when its device is free."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.owner: Optional[int] = None
        self.dropped: collections.deque = collections.deque()

    def drop(self, release: Callable, pointer: c_void_p, process: int) -> None:
        if process == os.getpid():      # a fork has copies, which are not its own to release
            self.dropped.append((release, pointer))
            self.sweep()

    def sweep(self) -> None:
        while self.dropped and self.lock.acquire(blocking=False):
            try:
                while self.dropped:
                    release, pointer = self.dropped.popleft()
                    release(pointer)
            finally:
                self.lock.release()


class Handle:
    """An object of the library, which `make` gives through its first argument. It is released once: by close, by
    collection or at exit, whichever comes first."""

    def __init__(self, what: str, turn: Turn, release: str, make: str, *arguments: Any) -> None:
        self.what, self.turn, self._process = what, turn, os.getpid()
        pointer, free = c_void_p(), getattr(lib, 'blanch_' + release)
        try:
            call(turn, make, byref(pointer), *arguments)
        except BaseException:       # Ctrl-C may come once it is made
            free(pointer)
            raise
        self._pointer = pointer
        self.close = weakref.finalize(self, turn.drop, free, pointer, os.getpid())

    @property
    def pointer(self) -> c_void_p:
        if not self.close.alive:
            raise errors.UsageError('this %s is closed' % self.what)
        if self._process != os.getpid():
            raise errors.UsageError('this %s belongs to the process that made it, and this is a fork of it' % self.what)
        return self._pointer


class Closing:
    """What holds a handle: closed by `with`, by close(), or when it is collected."""

    _handle: Handle

    def close(self) -> None:
        """Releases what the library holds. Closing twice is fine; other calls are refused from then on."""
        handle = self.__dict__.get('_handle')
        if handle:
            handle.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _call(self, name: str, *arguments: Any) -> int:
        return call(self._handle.turn, name, self._handle.pointer, *arguments)


# --- calls -------------------------------------------------------------------------------------------

_getsig, _setsig = ctypes.pythonapi.PyOS_getsig, ctypes.pythonapi.PyOS_setsig
_getsig.restype, _getsig.argtypes = c_void_p, [c_int]
_setsig.restype, _setsig.argtypes = c_void_p, [c_int, c_void_p]
_stop = ctypes.cast(lib.blanch_stop_request, c_void_p)


def _answered(function: Callable, arguments: tuple) -> int:
    """The call, in the main thread: SIGINT asks the library to stop, then goes to Python's handler."""
    if threading.current_thread() is not threading.main_thread() or not callable(signal.getsignal(signal.SIGINT)):
        return function(*arguments)
    former = _getsig(signal.SIGINT)
    try:
        _setsig(signal.SIGINT, _stop)
        return function(*arguments)
    finally:
        _setsig(signal.SIGINT, former)
        if lib.blanch_stop_requested():
            lib.blanch_stop_clear()
            signal.raise_signal(signal.SIGINT)


def call(turn: Turn, name: str, *arguments: Any) -> int:
    """Calls blanch_NAME, in turn. Its value; a negative one is raised as an exception."""
    if turn.owner == threading.get_ident():
        raise errors.UsageError('a call from within another call: Blanch is at work in this thread')
    with turn.lock:
        turn.owner = threading.get_ident()
        try:
            code = _answered(getattr(lib, 'blanch_' + name), arguments)
            message = lib.blanch_error_message() if code < 0 else b''
        finally:
            turn.owner = None
    turn.sweep()
    if code < 0:
        raise errors.BY_CODE.get(code, errors.Error)(message.decode(errors='replace'))
    return code


def plain(name: str, *arguments: Any) -> int:
    """A call that concerns no device."""
    return call(Turn(), name, *arguments)
