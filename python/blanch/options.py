"""Options by the names of the command line, made into the library's structs."""
from __future__ import annotations

import ctypes
import math
import re
from typing import Any, Mapping, Optional, Sequence

from . import structs
from .arrays import number, text, whole
from .errors import UsageError
from .library import plain
from .model import norm_number

UPDATE = ('lr', 'momentum', 'weight_decay', 'nesterov', 'beta1', 'beta2', 'eps', 'clip_grad_norm')
# of network deconvolution: the field of struct blanch_nd_options
COUNTS = {'block': 'block', 'nd_iter': 'iterations', 'sampling_stride': 'sampling_stride', 'block_fc': 'block_fc',
          'refresh': 'refresh'}
NUMBERS = {'nd_eps': 'eps', 'nd_momentum': 'momentum'}
ND = (*COUNTS, *NUMBERS, 'freeze', 'whiten', 'cov_samples', 'overhead_budget', 'whiten_grad', 'nd_preset',
      'nd_keep_norm')
PATTERNS = ('no_decay', 'freeze_layers')
RECIPE = ('label_smoothing', 'class_weights', 'accumulate', 'ema', *PATTERNS)
OTHERS = ('seed', 'recompute', 'precision', 'optimiser', 'optimizer', 'channel_deconv', *RECIPE)


def split(given: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings of updates, and what a network is made with; None is as if it were not given."""
    for name in given:
        if name not in (*UPDATE, *ND, *OTHERS):
            import difflib
            near = difflib.get_close_matches(name, (*UPDATE, *ND, *OTHERS), 1)
            raise UsageError('there is no option %s%s' % (name, ', did you mean %s?' % near[0] if near else ''))
    said = {name: value for name, value in given.items() if value is not None}
    return ({name: value for name, value in said.items() if name in UPDATE},
            {name: value for name, value in said.items() if name not in UPDATE})


def over(file: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a file, and what is given instead: another optimiser begins with its own defaults."""
    said = {name: value for name, value in given.items() if value is not None}
    other = said.get('optimiser', said.get('optimizer', file.get('optimiser')))
    kept = {name: value for name, value in file.items()
            if name not in UPDATE or other == file.get('optimiser') or name == 'clip_grad_norm'}
    return {**kept, **said}


def size_of(input: Sequence[int]) -> list[int]:
    size = list(input) if isinstance(input, (tuple, list)) else []
    if len(size) != 3:
        raise UsageError('input is (C, H, W), not %r' % (input,))
    return [whole(n, 'input', 1) for n in size]


def _choice(name: str, value: Any, choices: Sequence[Any]) -> int:
    if value not in choices:
        raise UsageError('%s takes %s, not %r' % (name, ' or '.join(str(c) for c in choices), value))
    return list(choices).index(value)


def _cov_samples(value: Any) -> int:
    """Of '4F': four times the features, -4."""
    times = re.fullmatch(r'([0-9]{1,7})F', value) if isinstance(value, str) else None
    return -whole(int(times[1]), 'cov_samples', 1, 10**6) if times else whole(value, 'cov_samples', 1, 10**9)


def _per_cent(value: Any) -> float:
    return number(value[:-1] if isinstance(value, str) and value.endswith('%') else value, 'overhead_budget')


def _nd(given: dict[str, Any]) -> structs.NdOptions:
    nd = structs.NdOptions(eps=math.nan, momentum=math.nan)
    for name, field in COUNTS.items():
        if name in given:
            setattr(nd, field, whole(given[name], name, 1, 10**6 if name == 'refresh' else 4096))
    for name, field in NUMBERS.items():
        if name in given:
            setattr(nd, field, number(given[name], name))
    if 'freeze' in given:
        nd.freeze = 1 if given['freeze'] else -1
    if 'nd_keep_norm' in given:
        nd.keep_norm = 1 if given['nd_keep_norm'] else -1
    if 'whiten' in given:
        nd.whiten = 1 + _choice('whiten', given['whiten'], ('patches', 'channels', 'variances'))
    if 'cov_samples' in given:
        nd.cov_samples = _cov_samples(given['cov_samples'])
    if 'overhead_budget' in given:
        nd.overhead_budget = _per_cent(given['overhead_budget'])
    if 'whiten_grad' in given:
        nd.constant_gradient = 2 * _choice('whiten_grad', given['whiten_grad'], ('exact', 'constant')) - 1
    if 'channel_deconv' in given:
        nd.channel_deconv = whole(given['channel_deconv'], 'channel_deconv', 1, 4096)
    if 'nd_preset' in given:
        plain('nd_preset', text(given['nd_preset'], 'nd_preset'), ctypes.byref(nd))
    return nd


def _loss(given: dict[str, Any]) -> structs.LossOptions:
    native = structs.LossOptions(label_smoothing=number(given.get('label_smoothing', 0), 'label_smoothing'))
    if 'class_weights' in given:
        weights = given['class_weights']
        if isinstance(weights, (str, bytes)):
            raise UsageError('class_weights is a weight for each class, not %r' % (weights,))
        values = (ctypes.c_float * len(weights))(*(number(w, 'class_weights') for w in weights))
        native.weights, native.class_weights = len(values), ctypes.addressof(values)
        native.values = values      # kept as long as the struct
    return native


def network(norm: Optional[str], given: dict[str, Any]) -> structs.NetworkOptions:
    unused = [name for name in given if name in ND] if norm in ('bn', 'none') else []
    if unused:
        raise UsageError('a network without deconvolution has no use for %s' % ', '.join(unused))
    native = structs.NetworkOptions(norm=norm_number(norm), nd=ctypes.pointer(_nd(given)))
    native.seed = whole(given.get('seed', 0), 'seed', 0, 2**53)
    native.precision = _choice('precision', given.get('precision', 'fp32'), structs.PRECISIONS)
    recompute = given.get('recompute', 0)
    native.recompute = -1 if recompute == 'auto' else whole(recompute, 'recompute')
    optimiser = given.get('optimiser', given.get('optimizer'))
    native.optimiser = text(optimiser, 'optimiser') if optimiser is not None else None
    native.accumulate = whole(given.get('accumulate', 1), 'accumulate', 1, 2**20)
    native.ema = number(given.get('ema', 0), 'ema')
    for name in PATTERNS:
        if name in given:
            setattr(native, name, text(given[name], name))
    native.loss = ctypes.pointer(_loss(given))
    return native


def update(optimiser: str, given: Mapping[str, Any]) -> structs.Update:
    """The optimiser's defaults, less what is given."""
    native = structs.Update()
    plain('update_defaults', optimiser.encode(), ctypes.byref(native))
    return changed(native, given)


def changed(native: structs.Update, given: Mapping[str, Any]) -> structs.Update:
    """A copy with other settings."""
    native = structs.Update.from_buffer_copy(native)
    for name, value in given.items():
        if name not in UPDATE:
            raise UsageError('an update has no setting %s: there are %s' % (name, ', '.join(UPDATE)))
        setattr(native, name, bool(value) if name == 'nesterov' else number(value, name))
    return native
