"""OpenCL devices."""
from __future__ import annotations

import ctypes
import os
import threading
from dataclasses import dataclass, fields
from typing import Any, Optional

from . import structs
from .arrays import number, text, whole
from .library import Closing, Handle, Turn, lib, plain


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself; sizes in bytes."""

    platform: int
    device: int
    kind: str               # 'cpu', 'gpu' or 'accelerator'
    name: str
    platform_name: str
    vendor: str
    version: str
    driver: str
    c_version: str
    compute_units: int
    clock_mhz: int
    max_work_group: int
    max_work_item: tuple
    max_alloc: int
    global_memory: int
    local_memory: int
    constant_memory: int
    base_align: int
    float_width: int
    local_is_real: bool
    fp16: bool
    fp64: bool
    subgroups: bool
    out_of_order: bool
    partition: bool
    unified_memory: bool
    pci: str
    is_default: bool

    @property
    def spec(self) -> str:
        """What `Device` and `--device` take: 'PLATFORM:DEVICE'."""
        return '%d:%d' % (self.platform, self.device)

    def __str__(self) -> str:
        return '%s %s, %d units, %.1f GiB' % (self.spec, self.name, self.compute_units, self.global_memory / 2**30)


def _info(raw: structs.DeviceInfo) -> DeviceInfo:
    def value(name: str) -> Any:
        found = getattr(raw, name)
        if isinstance(found, bytes):
            return found.decode(errors='replace')
        if name == 'kind':
            return {structs.CPU: 'cpu', structs.GPU: 'gpu'}.get(found, 'accelerator')
        return tuple(found) if name == 'max_work_item' else found
    return DeviceInfo(**{field.name: value(field.name) for field in fields(DeviceInfo)})


def devices() -> list[DeviceInfo]:
    """Every device of every OpenCL platform. DeviceError: there is none.

    >>> import blanch
    >>> all(info.compute_units > 0 for info in blanch.devices())
    True
    """
    infos, count = ctypes.POINTER(ctypes.POINTER(structs.DeviceInfo))(), ctypes.c_int()
    try:
        plain('devices_list', ctypes.byref(infos), ctypes.byref(count))
        return [_info(infos[i].contents) for i in range(count.value)]
    finally:
        lib.blanch_free(infos)


class Device(Closing):
    """An OpenCL device.

    spec: 'cpu', 'gpu', 'P:D', 'P:D/CORES' or part of a name, as `--device` takes it. None: BLANCH_DEVICE of the
    environment, else the fastest GPU, else the CPU.
    max_alloc: bytes that one buffer, and all memory, may have; 0: what the device allows.
    tune: for at most so many seconds in all, engines are measured for shapes that the tuning cache does not know, when
    networks are made; 0: by rule. None: 30, or 0 where BLANCH_TUNE=0 is in the environment, as the subcommands do.

    >>> import blanch
    >>> with blanch.Device('cpu', tune=0) as device:
    ...     device.info.kind
    'cpu'
    """

    def __init__(self, spec: Optional[str] = None, *, max_alloc: int = 0, tune: Optional[float] = None) -> None:
        if tune is None:
            tune = 0 if os.environ.get('BLANCH_TUNE') == '0' else 30
        self.turn = Turn()
        self._handle = Handle('device', self.turn, 'device_close', 'device_open', text(spec or '', 'device'),
                              whole(max_alloc, 'max_alloc', 0, 2**63))
        self.info = _info(lib.blanch_device_info(self._handle.pointer).contents)
        if tune:
            self._call('device_tune', number(tune, 'tune'))

    @property
    def pointer(self) -> ctypes.c_void_p:
        return self._handle.pointer

    def __repr__(self) -> str:
        return '<blanch.Device %s>' % self.info


_default: Optional[Device] = None
_guard = threading.Lock()


def default_device() -> Device:
    """The one that networks share for which none is named; it stays open."""
    global _default
    with _guard:
        if _default is None or not _default._handle.close.alive:
            _default = Device()
        return _default
