"""What the ranks of a data-parallel training ask of each other: over an MPI communicator, or by an object's methods."""
from __future__ import annotations

import ctypes
import logging
from typing import Any, Callable, NoReturn

from . import structs
from .arrays import number, whole
from .errors import UsageError
from .library import Turn, call


def _guarded(method: Callable[..., None], raised: list) -> Callable[..., int]:
    """As the library calls it: an exception ends at the border, as an error of the device. The first is kept."""
    def made(context: Any, *arguments: Any) -> int:
        try:
            method(*arguments)
        except BaseException as error:      # ctypes would print it, and return what says that all is well
            raised.append(error)
            if isinstance(error, Exception):
                logging.getLogger('blanch').exception('the ranks do not answer')
            return -5
        return 0
    return made


def explain(tables: list, failed: Exception) -> NoReturn:
    """Raises an error of a call as what it was in the object's methods, where that was no error: Ctrl-C, an exit."""
    first = None
    for table in tables:
        raised = getattr(table, 'raised', [])
        first = raised[0] if raised else first
        raised.clear()
    if first is not None and not isinstance(first, Exception):
        raise first
    raise failed from first


def _blocks(at: int, count: int, size: int) -> list:
    return [ctypes.string_at(at + k * size, size) for k in range(count)]


def _of_object(comm: Any) -> structs.Collectives:
    rank, ranks = whole(comm.rank, 'rank'), whole(comm.ranks, 'ranks', 1)

    def put(blocks: Any, size: int, at: int) -> None:
        blocks = list(blocks)
        if len(blocks) != ranks or any(len(block) != size for block in blocks):
            raise UsageError('collectives give a block of %d bytes for each of %d ranks' % (size, ranks))
        for k, block in enumerate(blocks):
            ctypes.memmove(at + k * size, bytes(block), size)

    def gather(own: int, size: int, to: int) -> None:
        put(comm.gather(ctypes.string_at(own, size)), size, to)

    def exchange(blocks: int, size: int, to: int) -> None:
        put(comm.exchange(_blocks(blocks, ranks, size)), size, to)

    def spread(values: int, size: int, root: int) -> None:
        ctypes.memmove(values, bytes(comm.spread(ctypes.string_at(values, size), root)), size)

    told, raised = getattr(comm, 'give_up', None), []
    tell = _guarded(lambda code: told(), raised)
    table = structs.Collectives(rank=rank, ranks=ranks, gather=structs.COLLECTIVE(_guarded(gather, raised)),
                                exchange=structs.COLLECTIVE(_guarded(exchange, raised)),
                                spread=structs.SPREAD(_guarded(spread, raised)),
                                give_up=structs.GIVE_UP(lambda context, code: tell(context, code) and None)
                                if told else structs.GIVE_UP())
    table.raised = raised
    return table


def _of_mpi(comm: Any, timeout: float) -> structs.Collectives:
    from mpi4py import MPI
    table = structs.Collectives()
    call(Turn(), 'collectives_mpi', ctypes.byref(table), MPI._addressof(comm), number(timeout, 'timeout'))
    return table


def collectives(comm: Any, timeout: float) -> structs.Collectives:
    """Of an mpi4py communicator, or of an object with rank, ranks, gather, exchange and spread (Network.join)."""
    if all(hasattr(comm, name) for name in ('rank', 'ranks', 'gather', 'exchange', 'spread')):
        return _of_object(comm)
    if not hasattr(comm, 'Get_rank'):
        raise UsageError('ranks talk over a communicator of mpi4py, or an object with rank, ranks, gather, exchange '
                         'and spread, and this is a %s' % type(comm).__name__)
    return _of_mpi(comm, timeout)
