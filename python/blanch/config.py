"""Settings from JSON, under the names that a run's config.json has."""
from __future__ import annotations

import difflib
import json
import logging
from typing import Any

from . import options
from .errors import InputError

LOG = logging.getLogger('blanch')
FORMAT = 2      # of a run's config.json, as host/io/document.c has it
NETWORK = ('model', 'norm', 'batch', 'device', *options.UPDATE, *options.ND, *options.OTHERS)
FIT = ('data', 'epochs', 'lr', 'schedule', 'warmup', 'warmup_epochs', 'seed', 'augment', 'auto_augment', 'random_erase',
       'normalise', 'mixup', 'cutmix', 'early_stop', 'save_every', 'keep', 'val_split', 'split_file', 'cache')
OF_SPECS = {'augment', 'auto_augment', 'random_erase', 'normalise', 'mixup', 'cutmix', 'val_split', 'split_file',
            'cache'}
TRAIN = ('steps', 'size', 'init', 'new_head', 'drop_last', 'tensorboard', 'max_alloc', 'class_weights',
         'constant_gradient')     # that a file has under these names alone
RECORDS = ('format', 'kind', 'date', 'blanch', 'host', 'device_info', 'settings', 'classes', 'view', 'parameters',
           'exact', 'steps_per_epoch', 'network_hash', 'blocks', 'engines', 'class_names', 'class_weight', 'data_found',
           'ranks', 'mpi')


def _read(path: Any) -> dict[str, Any]:
    """All that the file has; InputError names a setting that there is not."""
    try:
        with open(path, encoding='utf-8') as f:
            found = json.load(f)
    except (OSError, ValueError) as error:
        raise InputError('%s: %s' % (path, error)) from None
    if not isinstance(found, dict):
        raise InputError('%s: holds no settings by their names' % (path,))
    if isinstance(found.get('format'), (int, float)) and found['format'] > FORMAT:
        by = found.get('blanch')
        raise InputError('%s has format %s, as Blanch %s writes it; this one reads up to format %d'
                         % (path, found['format'], by.get('version') if isinstance(by, dict) else by, FORMAT))
    asked = found.get('settings')
    asked = {**found, **(asked if isinstance(asked, dict) else {})}
    known = {*NETWORK, *FIT, *TRAIN, *RECORDS}
    for name in asked:
        if name not in known:
            near = difflib.get_close_matches(name, known - {*RECORDS}, 1)
            raise InputError('%s: there is no setting "%s"%s'
                             % (path, name, ', did you mean "%s"?' % near[0] if near else ''))
    return {name: value for name, value in asked.items() if value is not None}


def _tell(path: Any, asked: dict[str, Any], left_out: tuple) -> None:
    left_out = [name for name in left_out if name in asked]
    if left_out:
        LOG.warning('%s: left out, as `blanch train` alone takes them from a file: %s', path, ', '.join(left_out))


def of_fit(path: Any) -> dict[str, Any]:
    """Arguments of a fit."""
    asked = _read(path)
    _tell(path, asked, ('steps', 'drop_last', 'tensorboard'))
    if asked.get('normalise') == 'weights':     # which a fit does by itself
        del asked['normalise']
    return {name: asked[name] for name in FIT if name in asked}


def over_fit(file: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What is given goes before the file, and before what says the same in other words."""
    gone = {'warmup', 'warmup_epochs'} if {'warmup', 'warmup_epochs'} & set(given) else set()
    if callable(given.get('schedule')):
        gone |= {'lr', 'warmup', 'warmup_epochs'}
    if not isinstance(given.get('data', ''), str):
        gone |= OF_SPECS
    return {**{name: value for name, value in file.items() if name not in gone}, **given}


def of_network(path: Any) -> dict[str, Any]:
    """Arguments of a network: of a run's config.json the run's classes and input too."""
    asked = _read(path)
    made = {name: asked[name] for name in NETWORK if name in asked}
    _tell(path, asked, ('init', 'new_head', *(() if 'view' in asked else ('size',)),
                        *(() if 'class_weight' in asked else ('class_weights',))))
    if made.get('recompute') == -1:
        made['recompute'] = 'auto'
    if 'freeze' in made:
        made['freeze'] = made['freeze'] == 1
    if 'nd_keep_norm' in made:
        made['nd_keep_norm'] = made['nd_keep_norm'] == 1
    if asked.get('constant_gradient'):
        made['whiten_grad'] = 'constant' if asked['constant_gradient'] == 1 else 'exact'
    if 'class_weight' in asked:
        made['class_weights'] = asked['class_weight']
    if 'classes' in asked:
        made['classes'] = asked['classes']
    made['pairs'] = bool(asked.get('mixup') or asked.get('cutmix'))
    view = asked.get('view')
    if isinstance(view, dict) and 'channels' in view and 'size' in view:
        size = view['size'] if isinstance(view['size'], list) else [view['size']] * 2
        made['input'] = (view['channels'], *size)
    return made
