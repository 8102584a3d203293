"""Definitions of networks, from wherever they come."""
from __future__ import annotations

import ctypes
import itertools
import json as json_module
import os
from typing import Any, Optional, Sequence, Union

from . import structs
from .arrays import text
from .errors import UsageError
from .library import Closing, Handle, Turn, lib
from .nn import Module


def models() -> list[str]:
    """Names of the built-in networks.

    >>> import blanch
    >>> 'resnet18' in blanch.models()
    True
    """
    names = lib.blanch_models_list()
    return [name.decode() for name in itertools.takewhile(lambda name: name is not None, names)]


def norm_number(norm: Optional[str]) -> int:
    """None: as the definition says."""
    if norm is None:
        return structs.NORMS.index('own')
    if norm not in structs.NORMS:
        raise UsageError('norm takes %s, not %r' % (', '.join(structs.NORMS), norm))
    return structs.NORMS.index(norm)


class Model(Closing):
    """A network's definition, from which networks are made on any device.

    source: a name ('resnet18'), a path ('FILE.json', 'FILE.onnx'), a description as text or as a dict
    (docs/network-format.md), or a blanch.nn module; input, (C, H, W), goes with a module.

    >>> import blanch
    >>> model = blanch.Model('resnet18')
    >>> model.classes, model.input
    (10, (3, 32, 32))
    """

    def __init__(self, source: Union[str, os.PathLike, dict, Module], input: Optional[Sequence[int]] = None) -> None:
        if isinstance(source, Module):
            if input is None:
                raise UsageError('a module needs input=(C, H, W), the size of the images')
            source = source.describe(input)
        elif input is not None:
            raise UsageError('input goes with a blanch.nn module, and the model is none')
        self._handle = Handle('model', Turn(), 'model_free', *_maker(source))
        info = structs.ModelInfo()
        self._call('model_info', ctypes.byref(info))
        self.name = info.name.decode()
        self.summary = info.summary.decode() if info.summary else ''
        self.classes = info.classes
        self.input = (info.channels, info.height, info.width)

    @property
    def pointer(self) -> ctypes.c_void_p:
        return self._handle.pointer

    def json(self, norm: Optional[str] = None) -> dict:
        """The description, as built with norm ('bn', 'nd', 'none', None: its own): docs/network-format.md."""
        made = ctypes.c_void_p()
        try:
            self._call('model_json', norm_number(norm), ctypes.byref(made))
            return json_module.loads(ctypes.string_at(made))
        finally:
            lib.blanch_free(made)

    def __repr__(self) -> str:
        return '<blanch.Model %s>' % self.name


def _maker(source: Any) -> tuple:
    """The call that makes a model of it, and its arguments after the first."""
    if isinstance(source, str) and source.lstrip().startswith('{'):
        described = source.encode()
    elif isinstance(source, dict):
        try:
            described = json_module.dumps(source).encode()
        except (TypeError, ValueError) as error:
            raise UsageError('the description: %s' % error) from None
    elif isinstance(source, (str, os.PathLike)):
        return 'model_find', text(source, 'model')
    else:
        raise UsageError('a model is a name, a path, a description or a blanch.nn module, not %s'
                         % type(source).__name__)
    return 'model_from_json', described, len(described)
