"""Arrays that come in, as the library takes them: whatever has __array__ or __dlpack__ and lies in host memory."""
from __future__ import annotations

import ctypes
import os
from typing import Any, Optional, Sequence

import numpy as np

from .errors import InputError, UsageError

MOST = 2**31 - 1


def array_of(value: Any, what: str) -> np.ndarray:
    """An array of numbers, not copied where it need not be."""
    try:
        if not hasattr(value, '__array__') and hasattr(value, '__dlpack__'):
            value = np.from_dlpack(value)
        array = np.asarray(value)
    except Exception as error:      # of whoever made the value: another device, a gradient that is asked for
        raise UsageError('%s: %s' % (what, str(error).strip().split('\n')[0])) from error
    if array.dtype.kind not in 'fiub':
        raise UsageError('%s: an array of numbers is needed, not of %s' % (what, array.dtype))
    return array


def _contiguous(array: np.ndarray, kind: Any) -> np.ndarray:
    with np.errstate(over='ignore'):
        return np.ascontiguousarray(array, kind)


def images_of(value: Any, shape: Sequence[int]) -> np.ndarray:
    """(count, *shape) float32, contiguous; copied only where it is not that already."""
    array = array_of(value, 'images')
    if array.ndim != 4 or array.shape[1:] != tuple(shape):
        raise UsageError('images have the shape %s, and the network takes (N, %s)'
                         % (array.shape, ', '.join(map(str, shape))))
    if array.dtype.kind != 'f':
        raise UsageError('images are %s: normalise them to float32' % array.dtype)
    if not 0 < len(array) <= MOST:
        raise UsageError('%d images are given: there has to be one' % len(array))
    return _contiguous(array, np.float32)


def labels_of(value: Any, count: int, pixels: Sequence[int] = ()) -> np.ndarray:
    """(count, *pixels) int32; pixels: (H, W) where those are labelled."""
    array = array_of(value, 'labels')
    if array.shape != (count, *pixels):
        raise UsageError('labels have the shape %s, and there are %d images%s'
                         % (array.shape, count, ' of %d x %d labelled pixels' % tuple(pixels) if pixels else ''))
    if array.dtype.kind not in 'iu':
        raise UsageError('labels are %s: whole numbers from 0 are needed' % array.dtype)
    if array.size and not 0 <= int(array.min()) <= int(array.max()) <= MOST:
        raise InputError('labels run from %d to %d: they count from 0' % (array.min(), array.max()))
    return _contiguous(array, np.int32)


def values_of(value: Any, name: str, shape: Sequence[int], counter: bool) -> np.ndarray:
    """A parameter's values: float32 of its shape, all finite; a counter's: one whole number."""
    array = array_of(value, name)
    if array.shape != tuple(shape):
        raise InputError("%s has the shape %s, and the network's is %s" % (name, array.shape, tuple(shape)))
    if not np.isfinite(array).all():
        raise InputError('%s has a value that is not finite' % name)
    if counter and not 0 <= int(array) < 2**63:
        raise InputError('%s counts from 0, and is %s' % (name, array))
    array = array.astype(np.int64) if counter else _contiguous(array, np.float32)
    if not counter and not np.isfinite(array).all():
        raise InputError('%s has a value that float32 does not hold' % name)
    return array.reshape(shape)     # ascontiguousarray makes one dimension of none


def copied(pointer: Any, shape: Sequence[int]) -> np.ndarray:
    """What lies at a pointer of the library's, for keeps."""
    return np.ctypeslib.as_array(pointer, tuple(shape)).copy()


def whole(value: Any, name: str, least: int = 0, most: int = MOST) -> int:
    """A whole number among the options."""
    if isinstance(value, bool) or not hasattr(value, '__index__') or not least <= value.__index__() <= most:
        raise UsageError('%s takes a whole number from %d to %d, not %r' % (name, least, most, value))
    return value.__index__()


def number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise UsageError('%s takes a number, not %r' % (name, value)) from None


def text(value: Any, name: str) -> bytes:
    """A path or a name, for the library; it may not hold a null byte."""
    try:
        encoded = os.fsencode(value)
    except (TypeError, ValueError) as error:
        raise UsageError('%s: %s' % (name, error)) from None
    if b'\0' in encoded:
        raise UsageError('%s: there is a null byte in %r' % (name, value))
    return encoded


def pointer(array: Optional[np.ndarray]) -> ctypes.c_void_p:
    return ctypes.c_void_p(None if array is None else array.ctypes.data)
