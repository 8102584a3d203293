"""What the library refuses or fails at, as exceptions with its one line."""
from __future__ import annotations


class Error(Exception):
    """A call failed. str() is one line that names what is wrong and what to do; `code` is the library's."""

    code = 0


class OutOfMemoryError(Error, MemoryError):
    """Out of host memory."""

    code = -1


class UsageError(Error, ValueError):
    """Wrong usage: an unknown name, an option or an array that does not fit, a closed object."""

    code = -2


class InputError(Error, ValueError):
    """What was given to be read cannot be, or is malformed: a file, labels, a state dict."""

    code = -3


class FileError(Error, OSError):
    """A file could not be written."""

    code = -4


class DeviceError(Error, RuntimeError):
    """The OpenCL device or its driver failed, or there is none."""

    code = -5


class LimitError(Error, MemoryError):
    """It does not fit the device's memory or limits."""

    code = -6


class DivergedError(Error, ArithmeticError):
    """A value is not finite."""

    code = -7


class MismatchError(Error):
    """A check found a difference."""

    code = -8


class Interrupted(Error):
    """A call ended early for Ctrl-C, which became no KeyboardInterrupt here: another thread's, or a handler of the
    program's took it."""

    code = -9


BY_CODE = {kind.code: kind for kind in (OutOfMemoryError, UsageError, InputError, FileError, DeviceError, LimitError,
                                        DivergedError, MismatchError, Interrupted)}
