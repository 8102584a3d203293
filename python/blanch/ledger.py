"""What a network tells of its layers and of where its time goes."""
from __future__ import annotations

import math
from ctypes import byref
from typing import Any, Callable, Optional

from . import structs
from .errors import UsageError
from .library import lib

PASSES = ('forward', 'backward_data', 'backward_weights')


class Ledger(dict):
    """steps: how many were recorded. step_ms, min_ms: wall time of a step, the median and the least. covered: the share
    of it that the layers add up to. layers: a dict each, with name, op, total_ms and phases, {phase: ms of a step};
    the last, '(step)', has what belongs to none."""

    def to_pandas(self) -> Any:
        """A frame with a row for each layer and a column for each phase, in milliseconds."""
        try:
            import pandas
        except ImportError:
            raise UsageError('to_pandas needs pandas; the ledger itself is a dict') from None
        rows = [{'name': row['name'], 'op': row['op'], 'total': row['total_ms'], **row['phases']}
                for row in self['layers']]
        return pandas.DataFrame(rows).set_index('name').fillna(0.0)


def _phases() -> list[Optional[str]]:
    names = [lib.blanch_phase_name(index) for index in range(structs.PHASES)]
    return [name.decode() if name else None for name in names]


def read_ledger(call: Callable) -> Ledger:
    whole, layers = structs.Ledger(), []
    call('network_ledger', byref(whole))
    phases = _phases()
    for index in range(whole.rows):
        row = structs.LedgerRow()
        call('network_ledger_row', index, byref(row))
        spent = {name: row.ms[i] for i, name in enumerate(phases) if name and row.ms[i] > 0}
        layers.append({'name': row.name.decode(), 'op': row.op.decode(), 'total_ms': row.total_ms, 'phases': spent})
    return Ledger(steps=whole.steps, step_ms=whole.step_ms, min_ms=whole.min_ms, covered=whole.covered, layers=layers)


def read_layers(call: Callable, count: int) -> list[dict]:
    found = []
    for index in range(count):
        layer = structs.Layer()
        call('network_layer', index, byref(layer))
        engines = {name: engine.decode() for name, engine in zip(PASSES, layer.engine) if engine}
        found.append({'name': layer.name.decode(), 'op': layer.op.decode(),
                      'output': (layer.channels, layer.height, layer.width), 'multiply_adds': layer.multiply_adds,
                      'engines': engines})
    return found


def read_overhead(call: Callable) -> dict:
    budget, layers = structs.Budget(), {}
    call('network_budget', byref(budget))
    for index in range(budget.layers):
        layer = structs.BudgetLayer()
        call('network_budget_layer', index, byref(layer))
        layers[layer.name.decode()] = _known(layer.interval)
    return {'allowed': _known(budget.allowed), 'held': _known(budget.held), 'least': _known(budget.least),
            'layers': layers}


def _known(value: float) -> Optional[float]:
    return None if math.isnan(value) else value
